package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// run is one run of a plan.
type run struct {
	*Plan
	context *kernel.RunContext
	started time.Time
	limit   chan struct{} // bounds the nodes of this run that work at once, bodies included
	tape    *journal.Tape // nil where nothing is taken down
}

// observed reports whether anybody is told of events.
func (r *run) observed() bool { return r.context.Observed() }

func (r *run) execute(ctx context.Context, input kernel.Value, from *Resumption) *Result {
	lane := r.tape.Lane("")
	ctx = journal.WithLane(ctx, lane)
	if r.observed() {
		event := &kernel.Event{Type: kernel.PipelineStarted, Nodes: len(r.Nodes), Waves: len(r.Waves)}
		if from != nil {
			event.Type = kernel.PipelineResumed
		}
		kernel.Emit(ctx, event)
	}
	g := r.graph(r.Graph, input, lane)
	g.inputLabels = r.context.InputLabels
	var err error
	if r.Input != nil && from == nil {
		if err = r.Input.Check(input); err != nil {
			err = worded(err, kernel.CodeInput, "the run's input breaks input_schema of pipeline "+kernel.Quote(r.Name), kernel.Where{File: r.File, Line: r.Where.Line, Run: r.context.RunID})
		}
	}
	if err == nil {
		g.resume(from)
		err = r.locked(ctx, r.door, r.Lock, &pipeline.Scope{Input: input}, "", r.context.InputLabels, func(ctx context.Context) error {
			g.run(ctx)
			return g.failure(ctx)
		})
	}
	return r.conclude(ctx, g, err)
}

// worded returns a schema's error under the name of what broke it.
func worded(err error, code kernel.Code, what string, where kernel.Where) error {
	var e *kernel.Error
	if !errors.As(err, &e) {
		return kernel.At(err, where)
	}
	changed := *e
	changed.Code, changed.What = code, what
	return kernel.At(&changed, where)
}

func (r *run) conclude(ctx context.Context, g *graph, err error) *Result {
	res := &Result{Status: Completed, RunID: r.context.RunID, NodeResults: g.values(), Labels: g.labelled(), Cached: g.cached, Err: err}
	res.Output = r.Output(g)
	if res.Err == nil && len(g.waits) > 0 {
		res.Status, res.Waits, res.Progress = Suspended, g.waits, g.progress
	}
	if res.Err == nil && res.Status == Completed && r.OutputType != nil {
		r.checkOutput(res)
	}
	if res.Err != nil {
		errors.As(res.Err, &res.Error)
		res.Status = StatusOf(ctx, res.Err)
	}
	res.Usage, res.Counters = r.context.Usage.Snapshot(), r.context.Counters()
	if r.observed() {
		for _, w := range res.Waits {
			kernel.Emit(ctx, &kernel.Event{Type: kernel.PipelineSuspended, Node: w.Node, EventKey: w.EventKey})
		}
		kernel.Emit(ctx, &kernel.Event{Type: kernel.PipelineCompleted, Status: string(res.Status), Nodes: g.done, DurationMS: milliseconds(time.Since(r.started)), Error: res.Error})
	}
	return res
}

func (r *run) checkOutput(res *Result) {
	v, err := r.OutputType.Coerce(res.Output)
	if err != nil {
		res.Err = worded(err, kernel.CodeFailed, "the output breaks output_schema of pipeline "+kernel.Quote(r.Name), kernel.Where{File: r.File, Line: r.Where.Line, Run: r.context.RunID})
		return
	}
	if fields, ok := v.(map[string]any); ok {
		res.Output = fields
	}
}

// failure returns what the graph failed with: the one failed node's error, or one
// that lists them all, or why it was stopped.
func (g *graph) failure(ctx context.Context) error {
	switch {
	case len(g.failures) == 1:
		return g.failures[0].err
	case len(g.failures) > 1:
		slices.SortFunc(g.failures, func(a, b nodeFailure) int { return a.node.Index - b.node.Index })
		all := make([]error, len(g.failures))
		why := ""
		for i, f := range g.failures {
			all[i] = f.err
			var e *kernel.Error
			errors.As(f.err, &e)
			why += fmt.Sprintf("\n  - node %s: %s: %s", kernel.Quote(f.node.Name), e.What, e.Why)
		}
		return &kernel.Error{Code: kernel.CodeOf(all[0]), What: fmt.Sprintf("%d nodes failed", len(all)), Where: kernel.Where{Run: g.r.context.RunID}, Why: why, Err: errors.Join(all...)}
	case ctx.Err() != nil && g.done < len(g.Nodes):
		err := kernel.ContextError(ctx)
		var e *kernel.Error
		if errors.As(err, &e) {
			e.Why = fmt.Sprintf("%s; %d of %d nodes were done", e.Why, g.done, len(g.Nodes))
		}
		return kernel.At(err, kernel.Where{File: g.r.File, Run: g.r.context.RunID})
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// nodeFailure is a node that failed and has no handler.
type nodeFailure struct {
	node *pipeline.Node
	err  error
}

// StatusOf is the status of a run that ends with err. Without an error it is Completed.
func StatusOf(ctx context.Context, err error) Status {
	switch code := kernel.CodeOf(err); {
	case err == nil:
		return Completed
	case code.Class() == kernel.ClassDenied:
		return Denied
	case code == kernel.CodeCanceled || code == kernel.CodeTimeout && ctx.Err() != nil:
		return Cancelled
	}
	return Failed
}
