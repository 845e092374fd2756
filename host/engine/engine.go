// Package engine runs pipelines: each node as soon as what it depends on is
// done, with hooks around it, within the bounds of the run.
package engine

import (
	"context"
	"slices"
	"time"

	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/tracing"
)

// Engine runs pipelines on the modules and ports of one host. It is safe for
// concurrent use.
type Engine struct {
	door      *ports.Door
	modules   map[string]*extension.Module
	functions map[string]Function
	hooks     []NodeHook
	relabel   func(pipeline, node string) kernel.Relabel
	results   Results
	servers   []string
	tracer    *tracing.Tracer
	slots     chan struct{} // bounds the nodes that run at once, over all runs
}

// Function is a node's body in Go: what an embedding program offers beside
// modules. It honours its context and does not change the call's input.
type Function func(ctx context.Context, call *kernel.NodeCall) (kernel.Value, error)

// NodeHook is a hook and the nodes that it is around.
type NodeHook struct {
	Name  string
	Nodes []string // names; empty with Kinds empty means every node
	Kinds []string
	Open  bool // a failure of the hook itself lets the node go on
	Hook  kernel.NodeHook
}

func (h *NodeHook) matches(n *pipeline.Node) bool {
	if len(h.Nodes)+len(h.Kinds) == 0 {
		return true
	}
	return slices.Contains(h.Nodes, n.Name) || slices.Contains(h.Kinds, n.Kind)
}

// maxNodes is how many nodes run at once over all runs of an engine.
const maxNodes = 256

// Options are what an engine runs nodes with.
type Options struct {
	Door      *ports.Door
	Modules   map[string]*extension.Module
	Functions map[string]Function // by the name that fn: gives them
	Hooks     []NodeHook          // the first is outermost
	// Relabel says what a node of a pipeline may take off its answer; nil: nothing.
	Relabel func(pipeline, node string) kernel.Relabel
	Results Results  // nil: pipelines that cache are refused
	Servers []string // of the mcp port, whose tools are called as modules' are
	Tracer  *tracing.Tracer
}

// New returns an engine.
func New(opts Options) *Engine {
	if opts.Relabel == nil {
		opts.Relabel = func(string, string) kernel.Relabel { return kernel.Relabel{} }
	}
	return &Engine{tracer: opts.Tracer, servers: opts.Servers, results: opts.Results, relabel: opts.Relabel, door: opts.Door, modules: opts.Modules, functions: opts.Functions, hooks: opts.Hooks, slots: make(chan struct{}, maxNodes)}
}

// Status is how a run ended.
type Status string

// The statuses of a run.
const (
	Completed Status = "completed"
	Suspended Status = "suspended" // it waits for events
	Failed    Status = "failed"
	Denied    Status = "denied"
	Cancelled Status = "cancelled"
)

// Result is the outcome of a run. NodeResults holds what every finished node
// answered, also where the run failed.
type Result struct {
	Status      Status                  `json:"status"`
	RunID       string                  `json:"run_id"`
	NodeResults map[string]kernel.Value `json:"node_results"`
	Output      map[string]kernel.Value `json:"output"`
	// Labels are those of node results that are untrusted or not public.
	Labels   map[string]*kernel.Labels `json:"labels,omitempty"`
	Error    *kernel.Error             `json:"error"`
	Waits    []Wait                    `json:"waits,omitempty"` // of a suspended run
	Usage    kernel.UsageSnapshot      `json:"usage"`
	Counters map[string]int64          `json:"counters,omitempty"`
	// Cached says of the nodes whose answers are earlier ones where these are from.
	Cached map[string]*kernel.Cached `json:"cached,omitempty"`
	Err    error                     `json:"-"`
	// Progress is what the nodes of a suspended run that wait for something inside go on from.
	Progress map[string]*Progress `json:"-"`
}

// Wait is an event that a suspended run waits for.
type Wait struct {
	Node string `json:"node"`
	// Path leads to what waits inside of the node: the body's number, then a node of it,
	// and so on.
	Path      []string      `json:"path,omitempty"`
	EventKey  string        `json:"event_key"`
	Timeout   time.Duration `json:"timeout_ns,omitempty"` // 0 means none
	OnTimeout string        `json:"on_timeout,omitempty"`
	Since     time.Time     `json:"since"`
	Asks      kernel.Value  `json:"asks,omitempty"` // of the run's client, whose answer is the event's data
}

// Resumption is what a run that was suspended goes on with.
type Resumption struct {
	Results  map[string]kernel.Value   // of the nodes that are done
	Labels   map[string]*kernel.Labels // of these results
	Progress map[string]*Progress      // of the nodes that waited for something inside
	Waits    []Wait                    // what it still waits for
	Expired  []Wait                    // what came too late
}

// Run runs a plan to its end. It never panics and always returns a result;
// Result.Err is what the run failed with. from is nil for a run from the start.
func (p *Plan) Run(ctx context.Context, rc *kernel.RunContext, input kernel.Value, from *Resumption) *Result {
	if input == nil {
		input = map[string]any{}
	}
	rc.Spending.Limits, rc.Caps = p.Limits, rc.Caps.Intersect(p.Caps)
	rc.Door = p.door.Call
	ctx = ports.WithDoor(kernel.WithRun(ctx, rc), p.door)
	if tape, _ := rc.Journal.(*journal.Tape); p.Timeout > 0 && !tape.Again() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, p.Timeout, timeoutError{"pipeline " + p.Name, p.Timeout})
		defer cancel()
	}
	rc.Deadline, _ = ctx.Deadline()
	for _, m := range p.engine.modules { // a run keeps to the versions that it began with
		m.BeginRun(rc)
	}
	defer p.engine.endRun(ctx, rc)
	defer rc.End(context.WithoutCancel(ctx))
	r := &run{Plan: p, context: rc, started: time.Now(), limit: make(chan struct{}, p.Concurrency)}
	r.tape, _ = rc.Journal.(*journal.Tape)
	return r.execute(ctx, input, from)
}

// timeoutError says whose time was up. It is worded only where it is shown.
type timeoutError struct {
	of string
	d  time.Duration
}

func (e timeoutError) Error() string { return "timeout of " + e.of + " is " + e.d.String() }

// endRun closes the instances that modules keep for a run, and gives the locks back that it still holds.
func (e *Engine) endRun(ctx context.Context, run *kernel.RunContext) {
	for _, m := range e.modules {
		m.EndRun(ctx, run.RunID)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	_ = run.Leases.Release(ctx) // what is not given back ends by itself
}
