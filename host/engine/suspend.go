package engine

import (
	"context"
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
