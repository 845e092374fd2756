// Package engine runs pipelines: each node as soon as what it depends on is
// done, with hooks around it, within the bounds of the run.
package engine

import (
	"context"
	"slices"

	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
)

// Engine runs pipelines on the modules and ports of one host. It is safe for
// concurrent use.
type Engine struct {
	door    *ports.Door
	modules map[string]*extension.Module
	hooks   []NodeHook
	slots   chan struct{} // bounds the nodes that run at once, over all runs
}

// NodeHook is a hook and the nodes that it is around.
type NodeHook struct {
	Name  string
	Nodes []string // names; empty with Kinds empty means every node
	Kinds []string
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

// New returns an engine.
func New(door *ports.Door, modules map[string]*extension.Module, hooks []NodeHook) *Engine {
	return &Engine{door: door, modules: modules, hooks: hooks, slots: make(chan struct{}, maxNodes)}
}

// WithDoor returns an engine on the same modules and hooks that calls its ports
// through d.
func (e *Engine) WithDoor(d *ports.Door) *Engine {
	derived := *e
	derived.door = d
	return &derived
}

// Status is how a run ended.
type Status string

// The statuses of a run.
const (
	Completed Status = "completed"
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
	Error       *kernel.Error           `json:"error"`
	Usage       kernel.UsageSnapshot    `json:"usage"`
	Counters    map[string]int64        `json:"counters,omitempty"`
	Err         error                   `json:"-"`
}

// Check returns an error if a pipeline uses a module or an operation that this
// engine does not have.
func (e *Engine) Check(p *pipeline.Pipeline) error {
	var c checker
	for _, n := range p.Nodes {
		switch b := n.Body.(type) {
		case *pipeline.Function:
			c.function(e, n, b)
		case *pipeline.ServiceCall:
			if ops := e.door.Ops(); !slices.Contains(ops, b.Op) {
				c.add(n, kernel.CodePipeline, "there is no operation "+kernel.Quote(b.Op), "known are "+join(ops))
			}
		case *pipeline.LLM:
			if !slices.Contains(e.door.Ops(), opComplete) {
				c.add(n, kernel.CodePipeline, "missing required port 'llm'", "configure it: ports: {llm: {adapter: mock}}")
			}
		}
	}
	return c.err()
}

// Run runs a pipeline to its end. It never panics and always returns a result;
// Result.Err is what the run failed with.
func (e *Engine) Run(ctx context.Context, p *pipeline.Pipeline, run *kernel.RunContext, input kernel.Value) *Result {
	if input == nil {
		input = map[string]any{}
	}
	ctx = ports.WithDoor(kernel.WithRun(ctx, run), e.door)
	var cancel context.CancelFunc = func() {}
	if p.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, p.Timeout)
	}
	defer cancel()
	defer e.endRun(ctx, run.RunID)
	r := newRun(e, p, run, input)
	return r.execute(ctx)
}

// endRun closes the instances that modules keep for a run.
func (e *Engine) endRun(ctx context.Context, run string) {
	for _, m := range e.modules {
		m.EndRun(ctx, run)
	}
}
