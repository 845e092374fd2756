package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// runBody runs a body once, on what the node is given with vars over it, or goes on
// with it, and notes in one what came of it. labels are those of what it is given.
func (c *composite) runBody(ctx context.Context, one *BodyProgress, body *pipeline.Inner, name string, vars map[string]any, labels *kernel.Labels) {
	fields, isObject := c.call.Input.(map[string]any)
	input := make(map[string]any, len(fields)+len(vars))
	maps.Copy(input, fields)
	if !isObject && c.call.Input != nil {
		input["_input"] = c.call.Input
	}
	maps.Copy(input, vars)
	lane := c.bodyLane(name)
	ctx = journal.WithLane(ctx, lane)
	observed := c.g.r.observed()
	if observed {
		kernel.Emit(ctx, &kernel.Event{Type: kernel.BodyStarted, Node: c.n.Name, Body: name})
	}
	one.waits = nil
	if body.Function != nil {
		c.innerFunction(ctx, one, body.Function, input, labels, lane)
	} else {
		c.inner(ctx, one, body, name, input, labels, lane)
	}
	c.flow.Join(one.Labels)
	one.Done = one.err == nil && !one.paused()
	if observed && !one.paused() {
		event := &kernel.Event{Type: kernel.BodyCompleted, Node: c.n.Name, Body: name, Labels: one.Labels}
		if one.err != nil {
			event.Type = kernel.BodyFailed
			errors.As(one.err, &event.Error)
		}
		kernel.Emit(ctx, event)
	}
}

// bodyLane is the lane of a body. Each attempt of the node has its own.
func (c *composite) bodyLane(name string) *journal.Lane {
	if c.call.Attempt > 1 {
		name += fmt.Sprintf("@%d", c.call.Attempt)
	}
	return c.lane.Inner(name)
}

// innerFunction runs a body that is a function.
func (c *composite) innerFunction(ctx context.Context, one *BodyProgress, f *pipeline.Function, input map[string]any, labels *kernel.Labels, lane *journal.Lane) {
	if one.err = c.g.r.acquire(ctx); one.err != nil {
		return
	}
	defer c.g.r.release()
	changed := *c.call
	changed.Input, changed.Message = input, nil
	part := &worker{g: c.g, n: c.n, site: c.site, from: &Progress{Steps: one.Steps}, lane: lane}
	part.flow.Set(labels)
	one.Result, one.err = part.function(kernel.WithFlow(ctx, &part.flow), f, &changed)
	one.Labels = part.flow.Labels()
	var s *suspension
	if errors.As(part.suspended(one.err, &changed), &s) {
		one.waits, one.Steps, one.err = s.waits, s.progress.Steps, nil
	}
}

// inner runs a body of nodes.
func (c *composite) inner(ctx context.Context, one *BodyProgress, body *pipeline.Inner, name string, input map[string]any, labels *kernel.Labels, lane *journal.Lane) {
	g := c.g.r.graph(body.Graph, input, lane)
	g.inputLabels = labels
	g.body = c.n.Name + "/" + name
	if c.b.Nodes > 0 {
		g.at = c.b.Nodes
	}
	if c.b.NodeTimeout > 0 {
		g.timeout = c.b.NodeTimeout
	}
	g.resume(one.resumption())
	g.run(ctx)
	one.Nodes, one.NodeLabels, one.Inside = nil, nil, nil
	if one.err = g.failure(ctx); one.err != nil {
		one.Labels = g.all().Join(labels)
		return
	}
	if len(g.waits) > 0 {
		one.pause(g)
		return
	}
	if len(body.Output) > 0 {
		one.Result, one.Labels = body.Results(g), g.all()
		return
	}
	one.Result, one.Labels = g.last()
}

// last returns the result of the last declared node that was not skipped, with its
// labels and those of what decided that it is the last.
func (g *graph) last() (kernel.Value, *kernel.Labels) {
	var labels *kernel.Labels
	for i, n := range slices.Backward(g.Nodes) {
		if g.labels != nil {
			labels = labels.Join(g.labels[i])
		}
		if g.state[i] == finished {
			return g.results[n.Index], labels
		}
	}
	return nil, labels
}

// all returns the labels of all results together.
func (g *graph) all() *kernel.Labels {
	var labels *kernel.Labels
	for _, l := range g.labels {
		labels = labels.Join(l)
	}
	return labels
}
