package host

import (
	"context"
	"errors"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/entitystate"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
)

// Labels are what a value carries: whose words it can hold, and who may see it.
type Labels = kernel.Labels

// labelled has a port's operations answer with the labels that the configuration gives
// the port.
func labelled(ops []ports.Op, port string, spec *pipeline.PortSpec) []ports.Op {
	said := spec.AnswerLabels(port)
	rules := ports.LabelRules{Port: said.Port}
	for _, r := range said.Resources {
		rules.Resources = append(rules.Resources, ports.ResourceLabels{Pattern: r.Pattern, Labels: r.Labels})
	}
	for i := range ops {
		ops[i].Labels = rules
	}
	return ops
}

// inputLabels are those of a run's input: what whoever starts it says, has learned itself
// where it is a node of another run, and at least what the operator says of all inputs.
func (h *Host) inputLabels(ctx context.Context, opts *RunOptions) (*kernel.Labels, error) {
	said, err := kernel.LabelsOfRun(opts.Labels)
	if err != nil {
		var e *kernel.Error
		errors.As(err, &e)
		e.What = "the labels of the run cannot be used: " + e.What
		return nil, e
	}
	return h.config.Labels.Input.Join(said).Join(opts.InputLabels).Join(kernel.FlowFrom(ctx).Labels()), nil
}

// joined are the labels of what is made of results of other runs.
func joined(results map[string]*Result) *kernel.Labels {
	var l *kernel.Labels
	for _, r := range results {
		l = l.Join(joinedNodes(r))
	}
	return l
}

func joinedNodes(r *engine.Result) *kernel.Labels {
	var l *kernel.Labels
	for _, of := range r.Labels {
		l = l.Join(of)
	}
	return l
}

// within has a handler learn for itself, and its caller what it learned.
func within(h entitystate.Handler) entitystate.Handler {
	return func(ctx context.Context, c *entitystate.Change) error {
		outer := kernel.FlowFrom(ctx)
		flow := kernel.NewFlow(outer.Labels())
		defer func() { outer.Join(flow.Labels()) }()
		return h(kernel.WithFlow(ctx, flow), c)
	}
}
