package centralagent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/agent"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/pipelinespawner"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/arguments"
)

// What the operations take.
const (
	maxText    = 4000 // bytes of a note, a question or a summary
	maxWaited  = 50   // runs that are waited for at once
	maxCatalog = 200  // pipelines that a survey shows
	maxWait    = 1e6  // seconds
)

// Ops returns the operations for the door. Those of a central agent, about the run that calls and what it has started:
//
//	central_agent.survey {} -> {pipelines: [{pipeline, description, input_schema, when_untrusted}], runs: [...], starts_left}
//	central_agent.note {text, kind?} -> {noted}
//	central_agent.start {pipeline, input?, why?} -> {run_id, pipeline, status}
//	central_agent.wait {run_ids, timeout?} -> {runs: [{run_id, pipeline, status, output, error}]}; with timeout, in seconds, some may be running
//	central_agent.ask {question, why?} -> {approved: true}; a person who refuses it is an error of CodeDenied
//	central_agent.report {outcome, summary} -> {outcome}
//
// And those about the tenant's goals:
//
//	central_agent.submit {pipeline, input?, why?} -> {goal_id, status}
//	central_agent.goals {status?, limit?} -> {goals: [...]}, the latest first
//	central_agent.goal {goal_id} -> {goal_id, pipeline, status, outcome, summary, error, ...}
//	central_agent.cancel {goal_id} -> {goal_id, cancelled}
//
// A capability can restrict pipeline and goal_id.
func (l *Library) Ops() []ports.Op {
	text := func(description string) any { return ports.Param("string", description) }
	why := text("why: what makes this the right thing to do now")
	tool := func(description string, properties map[string]any, required ...string) *ports.Tool {
		return &ports.Tool{Description: description, Input: ports.Parameters(properties, required...)}
	}
	goal := map[string]any{"goal_id": text("the goal")}
	return []ports.Op{
		{Name: "central_agent.survey", Func: l.opSurvey, Tool: tool("Which pipelines you may start, with what input, and the runs that you have started.", map[string]any{})},
		{Name: "central_agent.note", Func: l.opNote, Tool: tool("Records your plan, or why you decide as you do.", map[string]any{"text": text("what to record"), "kind": text("plan or decision")}, "text")},
		{Name: "central_agent.start", Guards: []string{"pipeline"}, Judge: l.judgeStart, Func: l.opStart, Tool: tool("Starts a run of a pipeline, which goes on by itself.", map[string]any{"pipeline": text("its name"), "input": ports.Param("object", "its input"), "why": why}, "pipeline")},
		{Name: "central_agent.wait", Func: l.opWait, Tool: tool("Waits until runs that you have started have ended, and tells what came of them.", map[string]any{
			"run_ids": map[string]any{"type": "array", "items": map[string]any{"type": "string"}, "description": "the runs"}, "timeout": ports.Param("number", "seconds to wait at most"),
		}, "run_ids")},
		{Name: "central_agent.ask", Judge: judgeAsk, Func: l.opAsk, Tool: tool("Asks a person to approve something, and waits for the answer.", map[string]any{"question": text("what to approve, with all that a person has to know"), "why": why}, "question")},
		{Name: "central_agent.report", Func: l.opReport},
		{Name: "central_agent.submit", Guards: []string{"pipeline"}, Judge: l.judgeStart, Func: l.opSubmit, Tool: tool("Hands a goal to another central agent, which a host works on some time.", map[string]any{"pipeline": text("the pipeline of the agent"), "input": ports.Param("object", "its input, the goal in it"), "why": why}, "pipeline")},
		{Name: "central_agent.goals", Func: l.opGoals, Tool: tool("The goals that there are and were, the latest first.", map[string]any{"status": text("queued, running, waiting, completed, failed, denied or cancelled"), "limit": ports.Param("integer", "how many at most")})},
		{Name: "central_agent.goal", Guards: []string{"goal_id"}, Func: l.opGoal, Tool: tool("How a goal stands, and what came of it.", goal, "goal_id")},
		{Name: "central_agent.cancel", Guards: []string{"goal_id"}, Func: l.opCancel, Tool: tool("Has nobody work on a goal any more.", goal, "goal_id")},
	}
}

// text reads one of at most so many bytes.
func text(a *arguments.Reader, name string, required bool, most int) string {
	var v string
	if required {
		v = a.Text(name)
	} else {
		v = a.TextOr(name, "")
	}
	if len(v) > most {
		a.Fail("%s has at most %d bytes", name, most)
	}
	return v
}

func (l *Library) opSurvey(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	run := a.Run(ctx)
	if err := a.End(); err != nil {
		return nil, err
	}
	pipelines := []any{}
	for _, name := range l.opts.Pipelines.List() {
		if l.forbidden(ctx, name) != "" {
			continue
		}
		d, err := l.opts.Pipelines.Describe(ctx, name)
		if err != nil { // it cannot be started, which whoever tries is told
			continue
		}
		one := map[string]any{"pipeline": name, "description": d.Description, "input_schema": nil, "when_untrusted": string(l.rule(name).Untrusted)}
		if d.Input != nil {
			one["input_schema"] = d.Input
		}
		if pipelines = append(pipelines, one); len(pipelines) == maxCatalog {
			break
		}
	}
	started, err := l.started(ctx, run)
	if err != nil {
		return nil, err
	}
	runs := make([]any, len(started))
	for i, p := range started {
		s := p.Summary()
		runs[i] = map[string]any{"run_id": s["run_id"], "pipeline": s["pipeline_name"], "status": s["status"], "error_code": s["error_code"]}
	}
	most, _ := l.limits(ctx)
	return &kernel.PortReply{Value: map[string]any{"pipelines": pipelines, "runs": runs, "starts_left": kernel.Number(int64(max(0, most-len(started))))}}, nil
}

func (l *Library) opNote(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	note, kind := text(a, "text", true, maxText), text(a, "kind", false, 50)
	if err := a.End(); err != nil {
		return nil, err
	}
	if err := l.record(ctx, call, kind, note); err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: map[string]any{"noted": true}}, nil
}

func (l *Library) opStart(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	run, name, input, why := a.Run(ctx), plain(a.Text("pipeline")), a.Object("input", ""), text(a, "why", false, maxText)
	if err := a.End(); err != nil {
		return nil, err
	}
	if err := l.check(ctx, call.Op, name, input); err != nil {
		return nil, err
	}
	t, err := l.known(ctx, run)
	if err != nil {
		return nil, err
	}
	defer t.mu.Unlock()
	if err := l.admit(ctx, run, t, name); err != nil {
		return nil, l.refused(ctx, call, name, err)
	}
	id, err := l.opts.Spawner.Start(ctx, run, &pipelinespawner.Spawn{Pipeline: name, Input: given(input), Labels: call.Labels, RefID: run.RunID, RefType: refType, Key: l.key(ctx), Until: until(ctx)}, false)
	if err != nil {
		return nil, l.refused(ctx, call, name, err)
	}
	t.add(id, name)
	if err := l.record(ctx, call, name, detail("run "+id, why)); err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: map[string]any{"run_id": id, "pipeline": name, "status": "running"}}, nil
}

// until is when the time of a goal is up: what was started for it goes on no longer.
func until(ctx context.Context) pipelinespawner.Until {
	b := agent.BoundsFrom(ctx)
	if b == nil || b.Until.IsZero() {
		return pipelinespawner.Until{}
	}
	return pipelinespawner.Until{Time: b.Until, Why: fmt.Errorf("the goal that it was started for has until %s", b.Until.UTC().Format(time.RFC3339))}
}

// key stands for the run that a call starts: what is keyed is known before it begins.
func (l *Library) key(ctx context.Context) string {
	if key := kernel.IdempotencyKeyFrom(ctx); key != "" {
		return key
	}
	return l.opts.NewID()
}

// given is an input that may be left out.
func given(input map[string]any) kernel.Value {
	if input == nil {
		return map[string]any{}
	}
	return input
}

func detail(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + why
}

// refused puts on record why something was not done, and returns that.
func (l *Library) refused(ctx context.Context, call *kernel.PortCall, resource string, err error) error {
	if ctx.Err() != nil { // it may be done yet
		return err
	}
	r := "refused"
	if failed := l.record(ctx, call, resource, detail(r, kernel.Quote(err.Error()))); failed != nil {
		return failed
	}
	return err
}

// check holds an input to what a pipeline takes.
func (l *Library) check(ctx context.Context, op, pipeline string, input map[string]any) error {
	d, err := l.opts.Pipelines.Describe(ctx, pipeline)
	if err != nil {
		return err
	}
	if d.Check == nil {
		return nil
	}
	if err := d.Check(given(input)); err != nil {
		return &kernel.Error{Code: kernel.CodeArguments, What: op + ": pipeline " + kernel.Quote(pipeline) + " does not take this input", Why: err.Error(), Fix: "see its input_schema: central_agent.survey", Err: err}
	}
	return nil
}

func (l *Library) opWait(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	run, ids := a.Run(ctx), a.Texts("run_ids", " of runs")
	if len(ids) == 0 || len(ids) > maxWaited {
		a.Fail("run_ids must be a list of 1 to %d runs", maxWaited)
	}
	seconds, limited := a.Number("timeout", " of seconds")
	if limited && !(seconds > 0 && seconds <= maxWait) {
		a.Fail("timeout must be more than 0 and at most %d seconds", int64(maxWait))
	}
	if err := a.End(); err != nil {
		return nil, err
	}
	if err := l.own(ctx, call.Op, run, ids); err != nil {
		return nil, err
	}
	var over <-chan time.Time
	if limited {
		timer := time.NewTimer(time.Duration(seconds * float64(time.Second)))
		defer timer.Stop()
		over = timer.C
	}
	ended, err := kernel.Idle(ctx, func() ([]*ending, error) { return l.wait(ctx, run.Tenant, ids, over) })
	if err != nil {
		return nil, err
	}
	runs := make([]any, len(ended))
	var labels *kernel.Labels
	for i, e := range ended {
		labels = labels.Join(l.labels(e))
		one := map[string]any{"run_id": e.run, "pipeline": e.pipeline, "status": string(e.status), "output": e.output, "error": nil}
		if e.err != "" {
			one["error"] = e.err
		}
		runs[i] = one
	}
	return &kernel.PortReply{Value: map[string]any{"runs": runs}, Labels: labels}, nil
}

// labels are those of what came of a run.
func (l *Library) labels(e *ending) *kernel.Labels {
	if r := l.rule(e.pipeline); r != nil && r.Trusted {
		return e.labels.Endorsed()
	}
	untrusted, _ := kernel.NewLabels(kernel.Untrusted, "", "pipeline:"+e.pipeline) // it is known
	return e.labels.Join(untrusted)
}

// own refuses runs that are not of the goal: to wait for one that waits for this one would be for ever.
func (l *Library) own(ctx context.Context, op string, run *kernel.RunContext, ids []string) error {
	t, err := l.known(ctx, run)
	if err != nil {
		return err
	}
	defer t.mu.Unlock()
	for _, id := range ids {
		if _, ours := t.ours[id]; !ours {
			return &kernel.Error{Code: kernel.CodeNotFound, What: op + ": run " + kernel.Quote(id) + " is not one that this goal has started", Fix: "name what central_agent.start has answered"}
		}
	}
	return nil
}

func (l *Library) opAsk(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	question, why := text(a, "question", true, maxText), text(a, "why", false, maxText)
	if err := a.End(); err != nil {
		return nil, err
	}
	if err := l.record(ctx, call, "", detail("approved: "+question, why)); err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: map[string]any{"approved": true}}, nil
}

func (l *Library) opReport(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	outcome, summary := a.Text("outcome"), a.TextOr("summary", "")
	if !slices.Contains(agent.Outcomes(), outcome) {
		a.Fail("outcome is %s", strings.Join(agent.Outcomes(), ", "))
	}
	if err := a.End(); err != nil {
		return nil, err
	}
	if err := l.record(ctx, call, outcome, clip(summary, maxText)); err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: map[string]any{"outcome": outcome}}, nil
}

func noGoal(id string) error {
	return &kernel.Error{Code: kernel.CodeNotFound, What: "there is no goal " + kernel.Quote(id), Fix: fmt.Sprintf("list those that there are: %s", "hexdag goal list")}
}
