package engine

import (
	"context"
	"errors"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// suspension is how a wait_node ends: no failure, and no result yet.
type suspension struct {
	wait  Wait
	setup kernel.Value // what its setup answered
}

func (s *suspension) Error() string { return "waits for " + s.wait.EventKey }

// wait runs a wait_node: the run goes on without what depends on it, and then
// ends as suspended.
func (w *worker) wait(ctx context.Context, b *pipeline.Wait, call *kernel.NodeCall) (kernel.Value, error) {
	key, err := b.EventKey.Render(w.scope(call.Input))
	if err != nil {
		return nil, err
	}
	var setup kernel.Value
	if b.Setup != nil {
		if setup, err = w.function(ctx, b.Setup, call); err != nil {
			return nil, err
		}
	}
	return nil, &suspension{wait: Wait{Node: call.Name, EventKey: key, Timeout: b.Timeout, OnTimeout: b.OnTimeout, Since: time.Now().UTC()}, setup: setup}
}

// untilApproved has the run wait for an approval that a node's call needs: the node
// runs anew when the run is resumed. That does nothing twice where the call is all that
// the node does. Any other node fails, and so does one that no run can go on from: in a
// body, or in a run that another has started and waits for.
func (w *worker) untilApproved(err error) error {
	var needed *kernel.ApprovalNeeded
	if kernel.CodeOf(err) != kernel.CodeApproval || !errors.As(err, &needed) || w.g.body != "" || w.g.r.context.ParentRunID != "" {
		return err
	}
	switch w.n.Body.(type) {
	case *pipeline.ServiceCall, *pipeline.APICall, *pipeline.LLM, *pipeline.Transition:
		now := time.Now().UTC()
		return &suspension{wait: Wait{Node: w.n.Name, EventKey: needed.EventKey(), Timeout: needed.Expires.Sub(now), Since: now}}
	}
	return err
}
