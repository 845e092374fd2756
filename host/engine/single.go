package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
)

// NodeWork is the work on one node of a run whose other nodes may work elsewhere.
type NodeWork struct {
	Node string
	// Key names the work, whichever process does it and however often it is begun: what is
	// done under a key that was done before is to be done once.
	Key   string
	Input kernel.Value // of the run
	// From has what the node reads: the results of what it depends on, and their labels. Where the
	// node goes on after it waited, it has its progress, too.
	From Resumption
	// Since is when the run began, or went on, from which the pipeline's timeout is counted.
	Since time.Time
}

// NodeState is what has become of a node.
type NodeState string

// The states of a node that was worked on.
const (
	NodeFinished NodeState = "finished"
	NodeSkipped  NodeState = "skipped"
	NodeFailed   NodeState = "failed"  // and has no handler: the run fails
	NodeWaiting  NodeState = "waiting" // for an event
)

// NodeOutcome is what came of the work on one node.
type NodeOutcome struct {
	State    NodeState      `json:"state"`
	Value    kernel.Value   `json:"value"`
	Labels   *kernel.Labels `json:"labels,omitempty"`
	Error    *kernel.Error  `json:"error,omitempty"` // of a failed node
	Waits    []Wait         `json:"waits,omitempty"`
	Progress *Progress      `json:"progress,omitempty"` // of a node that waits for something inside
	Cached   *kernel.Cached `json:"cached,omitempty"`
	Stopped  bool           `json:"-"` // the run was cancelled meanwhile, or its time was up
}

// RunNode does the work of one node of a run as Run would: what it is given, whether it runs, its hooks, attempts,
// lock and time. It never panics, and starts no other node. The caller has begun the run with the engine's modules, and
// ends it there.
func (p *Plan) RunNode(ctx context.Context, rc *kernel.RunContext, work *NodeWork) *NodeOutcome {
	r, ctx, leave := p.enter(ctx, rc, work.Since)
	defer leave()
	r.tape, _ = rc.Journal.(*journal.Tape)
	lane := r.tape.Lane("")
	ctx = journal.WithLane(ctx, lane)
	g := r.graph(p.Graph, orEmpty(work.Input), lane)
	g.inputLabels = rc.InputLabels
	g.resume(&work.From)
	n := p.Node(work.Node)
	if n == nil {
		return failedNode(&kernel.Error{Code: kernel.CodeInternal, What: "pipeline " + kernel.Quote(p.Name) + " has no node " + kernel.Quote(work.Node), Where: kernel.Where{Run: rc.RunID}, Fix: "report it"})
	}
	for i := range g.waves { // a wave is complete where all of its nodes are known
		g.waves[i].left = len(g.Nodes) + 1
	}
	if err := ctx.Err(); err != nil {
		return failedNode(kernel.At(kernel.ContextError(ctx), kernel.Where{Node: n.Name, Run: rc.RunID}))
	}
	if g.restore(n) { // whoever worked on it did not live to say so
		return g.outcome(n)
	}
	given, e, settled := g.prepare(ctx, n)
	if settled {
		g.unworked(ctx, e)
	} else {
		e = g.work(ctx, given, e)
	}
	if err := leftHeld(rc); err != nil && e.err == nil {
		e.err = err
	}
	g.finish(ctx, e)
	o := g.outcome(n)
	o.Stopped = o.State == NodeFailed && ctx.Err() != nil
	return o
}

// leftHeld refuses that a node leaves a lock to those after it: they can be in other processes.
func leftHeld(rc *kernel.RunContext) error {
	names := rc.Leases.Names()
	if len(names) == 0 {
		return nil
	}
	return &kernel.Error{Code: kernel.CodeUnsupported, What: "the node leaves the lock " + kernel.Quote(names[0]) + " held", Why: "the nodes of this run work in several processes, and a lock is one process's to hold",
		Fix: "release it in the node that acquires it, or write lock: " + kernel.Quote(names[0]) + " at the node, or at the pipeline"}
}

// Expire ends a wait of a node for which no event came in time.
func (p *Plan) Expire(rc *kernel.RunContext, w Wait, labels *kernel.Labels) *NodeOutcome {
	r := &run{Plan: p, context: rc}
	g := r.graph(p.Graph, nil, nil)
	n := p.Node(w.Node)
	if n == nil {
		return failedNode(&kernel.Error{Code: kernel.CodeInternal, What: "pipeline " + kernel.Quote(p.Name) + " has no node " + kernel.Quote(w.Node), Fix: "report it"})
	}
	g.expire(w)
	g.label(n.Index, labels)
	return g.outcome(n)
}

func failedNode(err error) *NodeOutcome {
	o := &NodeOutcome{State: NodeFailed}
	errors.As(err, &o.Error)
	return o
}

// outcome is what has become of a node of the graph.
func (g *graph) outcome(n *pipeline.Node) *NodeOutcome {
	o := &NodeOutcome{Value: g.results[n.Index], Cached: g.cached[n.Name]}
	if g.labels != nil {
		o.Labels = g.labels[n.Index]
	}
	switch g.state[n.Index] {
	case finished:
		o.State = NodeFinished
	case skipped:
		o.State = NodeSkipped
	case waiting:
		o.State, o.Waits, o.Progress = NodeWaiting, g.waits, g.progress[n.Name]
	default:
		for _, f := range g.failures {
			failed := failedNode(f.err)
			failed.Labels = o.Labels
			return failed
		}
	}
	return o
}

// enter begins what this process does of a run, which may have begun elsewhere.
func (p *Plan) enter(ctx context.Context, rc *kernel.RunContext, since time.Time) (*run, context.Context, func()) {
	rc.Spending.Limits, rc.Caps = p.Limits, rc.Caps.Intersect(p.Caps)
	rc.Door = p.door.Call
	ctx = ports.WithDoor(kernel.WithRun(ctx, rc), p.door)
	cancel := func() {}
	if p.Timeout > 0 {
		ctx, cancel = context.WithDeadlineCause(ctx, since.Add(p.Timeout), timeoutError{"pipeline " + p.Name, p.Timeout})
	}
	rc.Deadline, _ = ctx.Deadline()
	return &run{Plan: p, context: rc, started: since, limit: make(chan struct{}, p.Concurrency)}, ctx, func() {
		rc.End(context.WithoutCancel(ctx))
		released, done := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
		defer done()
		_ = rc.Leases.Release(released) // what is not given back ends by itself
		cancel()
	}
}

func orEmpty(input kernel.Value) kernel.Value {
	if input == nil {
		return map[string]any{}
	}
	return input
}

// Ending is what became of the nodes of a run that worked elsewhere.
type Ending struct {
	Results  map[string]kernel.Value // of nodes that are done, as far as the output needs them
	Done     int                     // nodes
	Failures map[string]*kernel.Error
	Waits    []Wait
	// Stopped says that the run was stopped before its end: cancelled, or, with TimedOut, because its
	// time was up. Why is the reason.
	Stopped  bool
	TimedOut bool
	Why      string
}

// context is one that has ended as the run has.
func (e *Ending) context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	switch {
	case e.Stopped && e.TimedOut:
		cancel(nil)
		return context.WithDeadlineCause(context.Background(), time.Unix(0, 0), errors.New(e.Why))
	case e.Stopped:
		cancel(errors.New(e.Why))
	}
	return ctx, func() { cancel(nil) }
}

// Conclude makes of the ends of nodes that of their run, as Run would: its status, output and error.
func (p *Plan) Conclude(rc *kernel.RunContext, input kernel.Value, e *Ending) *Result {
	r := &run{Plan: p, context: rc, started: rc.Started}
	ctx, cancel := e.context()
	defer cancel()
	g := r.graph(p.Graph, orEmpty(input), nil)
	g.resume(&Resumption{Results: e.Results})
	g.done = e.Done
	for name, why := range e.Failures {
		g.failures = append(g.failures, nodeFailure{p.Node(name), why})
	}
	err := g.failure(ctx)
	g.waits = slices.Clone(e.Waits)
	return r.conclude(kernel.WithRun(ctx, rc), g, err)
}

// CheckInput holds a run's input to the pipeline's input_schema.
func (p *Plan) CheckInput(rc *kernel.RunContext, input kernel.Value) error {
	if p.Input == nil {
		return nil
	}
	err := p.Input.Check(orEmpty(input))
	if err == nil {
		return nil
	}
	return worded(err, kernel.CodeInput, "the run's input breaks input_schema of pipeline "+kernel.Quote(p.Name), kernel.Where{File: p.File, Line: p.Where.Line, Run: rc.RunID})
}

// Locked does f while the run holds the pipeline's lock, where it has one.
func (p *Plan) Locked(ctx context.Context, rc *kernel.RunContext, input kernel.Value, f func(context.Context) error) error {
	r, ctx, leave := p.enter(ctx, rc, rc.Started)
	defer leave()
	return r.locked(ctx, p.door, p.Lock, &pipeline.Scope{Input: orEmpty(input)}, "", rc.InputLabels, f)
}
