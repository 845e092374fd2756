package kernel_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
)

// flicker is a lease that is held until it is given back.
type flicker struct{ released atomic.Bool }

func (f *flicker) ID() string                    { return "1" }
func (f *flicker) Name() string                  { return "only" }
func (f *flicker) Fence() kernel.Fence           { return kernel.Fence{Lock: "only", Token: 1} }
func (f *flicker) Valid() bool                   { return !f.released.Load() }
func (f *flicker) Release(context.Context) error { f.released.Store(true); return nil }

func (f *flicker) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}

// TestFencesFrom: a node that gives a lock back takes nothing from another that asks at that moment under which locks it acts.
func TestFencesFrom(t *testing.T) {
	run := &kernel.RunContext{}
	ctx := kernel.WithRun(t.Context(), run)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20_000 {
			f := &flicker{}
			run.Leases.Add("", f, 1)
			run.Leases.Remove(f)
			_ = f.Release(ctx)
		}
	}()
	for {
		if _, err := kernel.FencesFrom(ctx); err != nil {
			t.Error(err)
			<-done
			return
		}
		select {
		case <-done:
			return
		default:
		}
	}
}
