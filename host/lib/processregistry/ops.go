package processregistry

import (
	"context"
	"slices"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/arguments"
)

// Ops returns the operations for the door, about the runs of the tenant of the run that calls:
//
//	process_registry.get {run_id, results?} -> {run_id, pipeline_name, status, parent_run_id, ref_id, ref_type, started_at,
//	  completed_at, duration_ms, error}, and with results: true {output, output_omitted}
//	process_registry.list {status?, pipeline_name?, parent_run_id?, limit?} -> {runs: [...]}, the latest first
//	process_registry.list_by_ref {ref_id, ref_type?, limit?} -> {runs: [...]}
//
// A list tells the code of an error alone. A capability can restrict run_id, pipeline_name and ref_type.
func (r *Registry) Ops() []ports.Op {
	runs := ports.Answer(map[string]any{"runs": ports.ListOf(ports.Answer(summary()))})
	one := summary()
	one["error"], one["output"], one["output_omitted"] = ports.OrNull("string"), map[string]any{}, ports.Of("boolean")
	limit, text := ports.Param("integer", "how many at most"), func(description string) any { return ports.Param("string", description) }
	return ports.Held([]ports.Op{
		{Name: "process_registry.get", Guards: []string{"run_id"}, Func: r.opGet, Output: ports.Answer(one, "output", "output_omitted"), Tool: &ports.Tool{Description: "How a run stands, and what came of it.",
			Input: ports.Parameters(map[string]any{"run_id": text("the run"), "results": ports.Param("boolean", "with its output")}, "run_id")}},
		{Name: "process_registry.list", Guards: []string{"pipeline_name"}, Func: r.opList, Output: runs, Tool: &ports.Tool{Description: "The runs that there are and were, the latest first.",
			Input: ports.Parameters(map[string]any{"status": text("running, completed, suspended, failed, denied, cancelled or lost"), "pipeline_name": text("of one pipeline"), "parent_run_id": text("that this run has started"), "limit": limit})}},
		{Name: "process_registry.list_by_ref", Guards: []string{"ref_type", "ref_id"}, Func: r.opListByRef, Output: runs, Tool: &ports.Tool{Description: "The runs that are about something.",
			Input: ports.Parameters(map[string]any{"ref_id": text("what they are about"), "ref_type": text("what kind of thing that is"), "limit": limit}, "ref_id")}},
	})
}

func (r *Registry) opGet(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	run, id, results := a.Run(ctx), a.Text("run_id"), a.Flag("results", false)
	if err := a.End(); err != nil {
		return nil, err
	}
	p, err := r.Get(ctx, run.Tenant, id)
	if err != nil {
		return nil, err
	}
	value := p.Summary()
	value["error"] = nil
	if p.Error != nil {
		value["error"] = Told(p.Error)
	}
	reply := &kernel.PortReply{Value: value, Labels: p.Labels.Join(p.Origin.Told())}
	if !results {
		return reply, nil
	}
	value["output"], value["output_omitted"] = nil, p.Omitted
	if len(p.Output) > 0 {
		value["output"], err = kernel.DecodeJSON(p.Output)
	}
	return reply, err
}

// summary has the JSON Schemas of what Summary tells.
func summary() map[string]any {
	text, maybe := ports.Of("string"), ports.OrNull("string")
	statuses := []any{}
	for _, s := range Statuses() {
		statuses = append(statuses, string(s))
	}
	return map[string]any{
		"run_id": text, "pipeline_name": text, "status": map[string]any{"enum": statuses}, "parent_run_id": maybe, "ref_id": maybe, "ref_type": maybe,
		"started_at": text, "completed_at": maybe, "duration_ms": ports.OrNull("integer"), "error_code": maybe,
	}
}

// Summary is a process as lists show it.
func (p *Process) Summary() map[string]any {
	value := map[string]any{
		"run_id": p.RunID, "pipeline_name": p.Pipeline, "status": string(p.Status), "parent_run_id": orNull(p.Parent),
		"ref_id": orNull(p.Origin.RefID), "ref_type": orNull(p.Origin.RefType), "started_at": p.Started.UTC().Format(time.RFC3339Nano),
		"completed_at": nil, "duration_ms": nil, "error_code": nil,
	}
	if !p.Ended.IsZero() {
		value["completed_at"], value["duration_ms"] = p.Ended.UTC().Format(time.RFC3339Nano), kernel.Number(p.Ended.Sub(p.Started).Milliseconds())
	}
	if p.Error != nil {
		value["error_code"] = string(p.Error.Code)
	}
	return value
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func (r *Registry) opList(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	run, f := a.Run(ctx), Filter{Status: Status(a.TextOr("status", "")), Pipeline: a.TextOr("pipeline_name", ""), Parent: a.TextOr("parent_run_id", ""), Limit: int(a.Whole("limit", 1, MaxList, 50))}
	if f.Status != "" && !slices.Contains(Statuses(), f.Status) {
		a.Fail("there is no status %s; known are running, completed, suspended, failed, denied, cancelled and lost", kernel.Quote(string(f.Status)))
	}
	return r.listed(ctx, run, a, f)
}

func (r *Registry) opListByRef(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	run, f := a.Run(ctx), Filter{RefID: a.Text("ref_id"), RefType: a.TextOr("ref_type", ""), Limit: int(a.Whole("limit", 1, MaxList, 50))}
	if f.RefID == "" {
		a.Fail("ref_id must be a text of at least one character")
	}
	return r.listed(ctx, run, a, f)
}

func (r *Registry) listed(ctx context.Context, run *kernel.RunContext, a *arguments.Reader, f Filter) (*kernel.PortReply, error) {
	if err := a.End(); err != nil {
		return nil, err
	}
	found, err := r.List(ctx, run.Tenant, f)
	if err != nil {
		return nil, err
	}
	runs := make([]any, len(found))
	var labels *kernel.Labels
	for i, p := range found {
		runs[i], labels = p.Summary(), labels.Join(p.Origin.Told())
	}
	return &kernel.PortReply{Value: map[string]any{"runs": runs}, Labels: labels}, nil
}
