package pipelinespawner

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/processregistry"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/arguments"
)

// Ops returns the operations for the door:
//
//	pipeline_spawner.spawn {pipeline, input?, ref_id?, ref_type?, caps?: [name], wait?, timeout?} -> {run_id, status}, and with wait: true
//	  {output, error}: a run that fails is one with the status failed, and no error of the call
//	pipeline_spawner.spawn_many {pipeline, inputs: [object], ref_id?, ref_type?, caps?} -> {run_ids}
//	pipeline_spawner.await {run_id, timeout?} -> {run_id, status, output}; a run that failed is an error
//	pipeline_spawner.cancel {run_id} -> {run_id, cancelled}
//
// A timeout, in seconds, ends the waiting of await, and the run that spawn waits for. A capability can restrict pipeline and run_id.
func (s *Spawner) Ops() []ports.Op {
	text := func(description string) any { return ports.Param("string", description) }
	seconds := map[string]any{"type": "number", "description": "seconds to wait at most"}
	common := func(more string, schema map[string]any) map[string]any {
		return map[string]any{
			"pipeline": text("its name"), more: schema, "ref_id": text("what the run is about"), "ref_type": text("what kind of thing that is"),
			"caps": map[string]any{"type": "array", "items": map[string]any{"type": "string"}, "description": "all that it may do"},
		}
	}
	one := common("input", ports.Param("object", "its input"))
	one["wait"], one["timeout"] = ports.Param("boolean", "until it has ended"), seconds
	many := common("inputs", map[string]any{"type": "array", "items": map[string]any{"type": "object"}, "description": "the input of each run"})
	run := map[string]any{"run_id": ports.Of("string"), "status": ports.Of("string"), "output": map[string]any{}, "error": ports.OrNull("string")}
	awaited := map[string]any{"run_id": run["run_id"], "status": run["status"], "output": run["output"]}
	return ports.Held([]ports.Op{
		{Name: "pipeline_spawner.spawn", Guards: []string{"pipeline"}, Func: s.opSpawn, Output: ports.Answer(run, "output", "error"), Tool: &ports.Tool{Description: "Starts a run of a pipeline.", Input: ports.Parameters(one, "pipeline")}},
		{Name: "pipeline_spawner.spawn_many", Guards: []string{"pipeline"}, Func: s.opSpawnMany, Output: ports.Answer(map[string]any{"run_ids": ports.ListOf(ports.Of("string"))}), Tool: &ports.Tool{Description: "Starts several runs of a pipeline.", Input: ports.Parameters(many, "pipeline", "inputs")}},
		{Name: "pipeline_spawner.await", Guards: []string{"run_id"}, Func: s.opAwait, Output: ports.Answer(awaited), Tool: &ports.Tool{Description: "Waits for a run, and tells what came of it.", Input: ports.Parameters(map[string]any{"run_id": text("the run"), "timeout": seconds}, "run_id")}},
		{Name: "pipeline_spawner.cancel", Guards: []string{"run_id"}, Func: s.opCancel, Output: ports.Answer(map[string]any{"run_id": ports.Of("string"), "cancelled": ports.Of("boolean")}), Tool: &ports.Tool{Description: "Stops a run.", Input: ports.Parameters(map[string]any{"run_id": text("the run")}, "run_id")}},
	})
}

// maxRef is how many bytes a reference may have.
const maxRef = 200

// read reads what spawn and spawn_many have in common.
func read(ctx context.Context, a *arguments.Reader, call *kernel.PortCall) *Spawn {
	spawn := &Spawn{Pipeline: a.Text("pipeline"), RefID: a.TextOr("ref_id", ""), RefType: a.TextOr("ref_type", ""), Labels: call.Labels, Key: kernel.IdempotencyKeyFrom(ctx)}
	if len(spawn.RefID) > maxRef || len(spawn.RefType) > maxRef {
		a.Fail("ref_id and ref_type have at most %d bytes", maxRef)
	}
	if names := a.Texts("caps", " of capabilities"); names != nil {
		spawn.Caps.Allowed = []kernel.Capability{}
		for _, name := range names {
			if !slices.Contains(kernel.Capabilities(), kernel.Capability(name)) {
				a.Fail("there is no capability %s", kernel.Quote(name))
			}
			spawn.Caps.Allowed = append(spawn.Caps.Allowed, kernel.Capability(name))
		}
	}
	return spawn
}

// timeout bounds a context by the argument timeout, if there is one.
func timeout(ctx context.Context, a *arguments.Reader) (context.Context, context.CancelFunc) {
	seconds, given := a.Number("timeout", " of seconds")
	if !given {
		return context.WithCancel(ctx)
	}
	if !(seconds > 0 && seconds <= 1e6) {
		a.Fail("timeout must be more than 0 and at most 1000000 seconds")
		seconds = 1
	}
	return context.WithTimeoutCause(ctx, time.Duration(seconds*float64(time.Second)), fmt.Errorf("timeout is %v seconds", seconds))
}

func (s *Spawner) opSpawn(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	run, spawn, wait := a.Run(ctx), read(ctx, a, call), a.Flag("wait", false)
	spawn.Input = a.Object("input", "")
	within, cancel := timeout(ctx, a)
	defer cancel()
	if within != ctx && call.Args["timeout"] != nil && !wait {
		a.Fail("timeout is for wait: true")
	}
	if err := a.End(); err != nil {
		return nil, err
	}
	id, err := s.Start(within, run, spawn, wait)
	if err != nil {
		return nil, err
	}
	value := map[string]any{"run_id": id, "status": string(processregistry.Running)}
	if !wait {
		return &kernel.PortReply{Value: value}, nil
	}
	// It ends with the child, and that with the timeout.
	outcome, err := kernel.Idle(ctx, func() (*Outcome, error) { return s.Await(ctx, run.Tenant, id) })
	if err != nil {
		return nil, err
	}
	value["status"], value["output"], value["error"] = string(outcome.Status), outcome.Output, nil
	if outcome.Err != nil {
		value["error"] = told(outcome.Err)
	}
	return &kernel.PortReply{Value: value, Labels: outcome.Labels}, nil
}

func (s *Spawner) opSpawnMany(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	run, spawn, inputs := a.Run(ctx), read(ctx, a, call), a.List("inputs", " of objects")
	if len(inputs) == 0 || len(inputs) > s.opts.MaxMany {
		a.Fail("inputs must be a list of 1 to %d objects", s.opts.MaxMany)
	}
	spawns := make([]*Spawn, len(inputs))
	for i, input := range inputs {
		own := *spawn
		if own.Input = input; own.Key != "" {
			own.Key = fmt.Sprint(own.Key, "\x00", i)
		}
		if _, ok := input.(map[string]any); !ok {
			a.Fail("inputs must be a list of objects")
		}
		spawns[i] = &own
	}
	if err := a.End(); err != nil {
		return nil, err
	}
	ids, err := s.start(ctx, run, spawns, false)
	if err != nil {
		return nil, err
	}
	list := make([]any, len(ids))
	for i, id := range ids {
		list[i] = id
	}
	return &kernel.PortReply{Value: map[string]any{"run_ids": list}}, nil
}

func (s *Spawner) opAwait(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	run, id := a.Run(ctx), a.Text("run_id")
	within, cancel := timeout(ctx, a)
	defer cancel()
	if err := a.End(); err != nil {
		return nil, err
	}
	if s.leads(id, run.RunID) {
		return nil, &kernel.Error{Code: kernel.CodeArguments, What: call.Op + ": a run cannot wait for itself, nor for one that has led to it", Why: "neither would end", Fix: "name another"}
	}
	outcome, err := kernel.Idle(ctx, func() (*Outcome, error) { return s.Await(within, run.Tenant, id) })
	if outcome != nil {
		kernel.FlowFrom(ctx).Join(outcome.Labels) // of an error, too
	}
	switch {
	case err != nil:
		return nil, err
	case outcome.Err != nil:
		return nil, &kernel.Error{Code: kernel.CodeFailed, What: "Run " + kernel.Quote(id) + " " + string(outcome.Status), Why: told(outcome.Err), Err: outcome.Err}
	}
	return &kernel.PortReply{Value: map[string]any{"run_id": id, "status": string(outcome.Status), "output": outcome.Output}, Labels: outcome.Labels}, nil
}

func (s *Spawner) opCancel(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	a.Run(ctx)
	id := a.Text("run_id")
	if err := a.End(); err != nil {
		return nil, err
	}
	cancelled, err := s.Cancel(ctx, id)
	if err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: map[string]any{"run_id": id, "cancelled": cancelled}}, nil
}

// told is what a run learns of another's error: not where on the host it was.
func told(err error) string { return processregistry.Told(err) }
