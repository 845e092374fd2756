package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// run is the state of one run. Everything in it is touched by the goroutine of
// execute alone.
type run struct {
	engine   *Engine
	pipeline *pipeline.Pipeline
	context  *kernel.RunContext
	input    kernel.Value

	results  map[string]kernel.Value
	waiting  map[string]int // how many dependencies of a node are not done
	next     map[string][]*pipeline.Node
	ready    []*pipeline.Node
	running  int
	wave     map[int]*waveState
	failures []*nodeFailure
}

type waveState struct {
	left    int
	nodes   []string
	started time.Time
}

type nodeFailure struct {
	node *pipeline.Node
	err  error
}

// finished is what a node's goroutine reports.
type finished struct {
	node     *pipeline.Node
	output   kernel.Value
	err      error
	duration time.Duration
}

func newRun(e *Engine, p *pipeline.Pipeline, rc *kernel.RunContext, input kernel.Value) *run {
	r := &run{
		engine: e, pipeline: p, context: rc, input: input,
		results: map[string]kernel.Value{}, waiting: map[string]int{}, next: map[string][]*pipeline.Node{}, wave: map[int]*waveState{},
	}
	for _, n := range p.Nodes {
		r.waiting[n.Name] = len(n.DependsOn)
		for _, d := range n.DependsOn {
			r.next[d] = append(r.next[d], n)
		}
		if len(n.DependsOn) == 0 {
			r.ready = append(r.ready, n)
		}
		w := r.wave[n.Wave]
		if w == nil {
			w = &waveState{}
			r.wave[n.Wave] = w
		}
		w.left++
		w.nodes = append(w.nodes, n.Name)
	}
	return r
}

// execute starts nodes as they become ready until all are done or one has
// failed. Those that run when one fails are waited for, and their results kept.
func (r *run) execute(ctx context.Context) *Result {
	start := time.Now()
	kernel.Emit(ctx, &kernel.Event{Type: kernel.PipelineStarted, Nodes: len(r.pipeline.Nodes), Waves: r.pipeline.Waves()})
	done := make(chan finished)
	var owned sync.WaitGroup
	defer owned.Wait()
	for {
		for len(r.ready) > 0 && r.running < r.pipeline.Concurrency && len(r.failures) == 0 && ctx.Err() == nil {
			n := r.ready[0]
			r.ready = r.ready[1:]
			r.start(ctx, &owned, n, done)
		}
		if r.running == 0 {
			break
		}
		r.finish(ctx, <-done)
	}
	return r.conclude(ctx, start)
}

func (r *run) start(ctx context.Context, owned *sync.WaitGroup, n *pipeline.Node, done chan<- finished) {
	r.running++
	if w := r.wave[n.Wave]; w.started.IsZero() {
		w.started = time.Now()
	}
	given, err := n.Prepare(r.input, r.results)
	owned.Add(1)
	go func() {
		defer owned.Done()
		f := finished{node: n, err: err}
		if err == nil {
			select {
			case r.engine.slots <- struct{}{}:
				started := time.Now()
				kernel.Emit(ctx, &kernel.Event{Type: kernel.NodeStarted, Node: n.Name, Kind: n.Kind, Wave: n.Wave, Dependencies: n.DependsOn})
				f.output, f.err = r.engine.attempts(ctx, r.pipeline, n, given)
				f.duration = time.Since(started)
				<-r.engine.slots
			case <-ctx.Done():
				f.err = kernel.ContextError(ctx)
			}
		}
		done <- f
	}()
}

func (r *run) finish(ctx context.Context, f finished) {
	r.running--
	event := &kernel.Event{Type: kernel.NodeCompleted, Node: f.node.Name, Kind: f.node.Kind, Wave: f.node.Wave, DurationMS: milliseconds(f.duration), Result: f.output}
	if f.err != nil {
		f.err = kernel.At(f.err, kernel.Where{File: f.node.Where.File, Line: f.node.Where.Line, Column: f.node.Where.Column, Node: f.node.Name, Run: r.context.RunID})
		r.failures = append(r.failures, &nodeFailure{f.node, f.err})
		event.Type, event.Result = kernel.NodeFailed, nil
		if code := kernel.CodeOf(f.err); code == kernel.CodeTimeout || code == kernel.CodeCanceled {
			event.Type, event.Reason = kernel.NodeCancelled, string(code)
		}
		errors.As(f.err, &event.Error)
		kernel.Emit(ctx, event)
		return
	}
	kernel.Emit(ctx, event)
	r.results[f.node.Name] = f.output
	for _, n := range r.next[f.node.Name] {
		if r.waiting[n.Name]--; r.waiting[n.Name] == 0 {
			r.ready = append(r.ready, n)
		}
	}
	if w := r.wave[f.node.Wave]; w != nil {
		if w.left--; w.left == 0 {
			kernel.Emit(ctx, &kernel.Event{Type: kernel.WaveCompleted, Wave: f.node.Wave, DurationMS: milliseconds(time.Since(w.started))})
		}
	}
}

func (r *run) conclude(ctx context.Context, start time.Time) *Result {
	res := &Result{Status: Completed, RunID: r.context.RunID, NodeResults: maps.Clone(r.results)}
	res.Err = r.failure(ctx)
	if res.Err != nil {
		errors.As(res.Err, &res.Error)
		switch code := kernel.CodeOf(res.Err); {
		case code.Class() == kernel.ClassDenied:
			res.Status = Denied
		case code == kernel.CodeCanceled || code == kernel.CodeTimeout && ctx.Err() != nil:
			res.Status = Cancelled
		default:
			res.Status = Failed
		}
	}
	res.Output = r.pipeline.Output(r.results)
	res.Usage, res.Counters = r.context.Usage.Snapshot(), r.context.Counters()
	kernel.Emit(ctx, &kernel.Event{Type: kernel.PipelineCompleted, Status: string(res.Status), Nodes: len(r.results), DurationMS: milliseconds(time.Since(start)), Error: res.Error})
	return res
}

// failure returns what the run failed with: the one failed node's error, or one
// that lists them all, or why it was stopped.
func (r *run) failure(ctx context.Context) error {
	switch {
	case len(r.failures) == 1:
		return r.failures[0].err
	case len(r.failures) > 1:
		slices.SortFunc(r.failures, func(a, b *nodeFailure) int { return a.node.Where.Line - b.node.Where.Line })
		all := make([]error, len(r.failures))
		why := ""
		for i, f := range r.failures {
			all[i] = f.err
			var e *kernel.Error
			errors.As(f.err, &e)
			why += fmt.Sprintf("\n  - node %s: %s: %s", kernel.Quote(f.node.Name), e.What, e.Why)
		}
		return &kernel.Error{Code: kernel.CodeOf(all[0]), What: fmt.Sprintf("%d nodes failed", len(all)), Where: kernel.Where{Run: r.context.RunID}, Why: why, Err: errors.Join(all...)}
	case ctx.Err() != nil && len(r.results) < len(r.pipeline.Nodes):
		err := kernel.ContextError(ctx)
		return kernel.At(err, kernel.Where{File: r.pipeline.File, Run: r.context.RunID})
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
