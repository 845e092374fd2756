package sandbox

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

func TestGateNeverLetsInMoreThanItsLimit(t *testing.T) {
	const limit = 3
	g := newGate(limit, 1000)
	var in, most, entered atomic.Int64
	var calls sync.WaitGroup
	for n := range 64 {
		calls.Add(1)
		go func() {
			defer calls.Done()
			for i := range 200 {
				ctx, cancel := context.WithCancel(context.Background())
				if (n+i)%5 == 0 {
					go cancel() // some give up, at any moment
				}
				err := g.enter(ctx, nil)
				if err == nil {
					entered.Add(1)
					for now := in.Add(1); ; {
						seen := most.Load()
						if now <= seen || most.CompareAndSwap(seen, now) {
							break
						}
					}
					in.Add(-1)
					g.leave()
				} else if kernel.CodeOf(err) != kernel.CodeCanceled {
					t.Error(err)
				}
				cancel()
			}
		}()
	}
	calls.Wait()
	if most.Load() > limit || entered.Load() < 64*200/2 {
		t.Errorf("%d in at once of %d, %d entered", most.Load(), limit, entered.Load())
	}
	if s := g.state.Load(); s != 0 || len(g.wake) != 0 {
		t.Errorf("afterwards the state is %#x with %d tokens", s, len(g.wake))
	}
}

func TestGateRefusesAndPassesOn(t *testing.T) {
	ctx := context.Background()
	g := newGate(1, 1)
	if err := g.enter(ctx, nil); err != nil {
		t.Fatal(err)
	}
	second := make(chan error)
	go func() { second <- g.enter(ctx, nil) }()
	for g.state.Load() < gateWaiting {
		time.Sleep(time.Millisecond)
	}
	if err := g.enter(ctx, nil); !errors.Is(err, errGateFull) {
		t.Errorf("with one in and one waiting: %v", err)
	}
	if err := g.enter(ctx, func(context.Context) bool { return true }); err != nil {
		t.Errorf("a call that must not wait: %v", err)
	}
	g.leave() // two are in, one is allowed: nobody comes after this one
	select {
	case err := <-second:
		t.Fatalf("let in past the limit: %v", err)
	case <-time.After(10 * time.Millisecond):
	}
	g.leave()
	if err := <-second; err != nil {
		t.Error(err)
	}
	closed := make(chan struct{})
	go func() {
		g.close()
		close(closed)
	}()
	for g.state.Load()&gateClosed == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := g.enter(ctx, nil); !errors.Is(err, errGateClosed) {
		t.Errorf("once closed: %v", err)
	}
	select {
	case <-closed:
		t.Error("closed with a call in it")
	default:
	}
	g.leave()
	<-closed
}
