package redteam

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
)

// canary is another tenant's hook, which works while the attacks go on.
type canary struct {
	module *extension.Module
	hook   kernel.PortHook
	quiet  time.Duration // its median latency when nothing else goes on
}

// pause is how long the canary rests between two calls.
const pause = time.Millisecond

// call calls the hook once and looks at what it did.
func (c *canary) call(ctx context.Context) error {
	ctx = kernel.WithRun(ctx, &kernel.RunContext{RunID: "canary", Tenant: "alice", Principal: "alice", Started: time.Now()})
	v, err := c.hook.BeforePort(ctx, &kernel.PortCall{Op: "test.echo", Args: map[string]any{"text": "chirp"}})
	if err != nil {
		return err
	}
	if args, ok := v.Value.(map[string]any); v.Action != kernel.Replace || !ok || args["text"] != "hirp" {
		return fmt.Errorf("it answered %s with %v", v.Action, v.Value)
	}
	return nil
}

// measure finds out how long a call takes on a quiet host.
func (c *canary) measure(ctx context.Context) error {
	w := c.watch(ctx)
	time.Sleep(150 * time.Millisecond)
	c.quiet, _, _ = w.stop()
	return w.failure
}

// watch is a canary at work.
type watch struct {
	canary  *canary
	quit    chan struct{}
	done    chan struct{}
	took    []time.Duration
	failure error
}

func (c *canary) watch(ctx context.Context) *watch {
	w := &watch{canary: c, quit: make(chan struct{}), done: make(chan struct{})}
	go w.run(ctx)
	return w
}

// run counts a call from when it was due: a host that does not even let the
// canary start makes it wait, too.
func (w *watch) run(ctx context.Context) {
	defer close(w.done)
	due := time.Now()
	for {
		if err := w.canary.call(ctx); err != nil {
			w.failure = err
			return
		}
		w.took = append(w.took, time.Since(due))
		due = time.Now().Add(pause)
		select {
		case <-w.quit:
			return
		case <-time.After(pause):
		}
	}
}

// stop ends the watch and returns the median and the longest latency.
func (w *watch) stop() (median, longest time.Duration, calls int) {
	close(w.quit)
	<-w.done
	if len(w.took) == 0 {
		return 0, 0, 0
	}
	slices.Sort(w.took)
	return w.took[len(w.took)/2], w.took[len(w.took)-1], len(w.took)
}
