package sandbox

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/hexdag/hexdag/host/kernel"
)

// gate lets a number of calls in at once and a number wait, first come, first
// served. Where nobody waits, going in and out is one atomic operation each.
type gate struct {
	limit, queue uint32
	state        atomic.Uint64 // running, waiting<<32, and the bit gateClosed
	wake         chan struct{} // a token for each waiting call that has got a place
	empty        chan struct{} // closed once the gate is closed and nobody is in
}

const (
	gateWaiting = uint64(1) << 32
	gateClosed  = uint64(1) << 63
)

var (
	errGateFull   = errors.New("too many wait")
	errGateClosed = errors.New("closed")
)

func newGate(limit, queue int) *gate {
	const most = 1 << 30
	g := &gate{limit: uint32(min(max(limit, 1), most)), queue: uint32(min(max(queue, 0), most))}
	g.wake, g.empty = make(chan struct{}, g.queue), make(chan struct{})
	return g
}

// enter lets a call in, at once or after others. It returns errGateFull,
// errGateClosed, or why the context is done. A call that must not wait is let in
// past the limit.
func (g *gate) enter(ctx context.Context, mustNotWait func(context.Context) bool) error {
	for {
		s := g.state.Load()
		waiting := uint32(s >> 32)
		switch {
		case s&gateClosed != 0:
			return errGateClosed
		case waiting == 0 && uint32(s) < g.limit || mustNotWait != nil && mustNotWait(ctx):
			if g.state.CompareAndSwap(s, s+1) {
				return nil
			}
		case waiting >= g.queue:
			return errGateFull
		case g.state.CompareAndSwap(s, s+gateWaiting):
			return g.wait(ctx)
		}
	}
}

func (g *gate) wait(ctx context.Context) error {
	select {
	case <-g.wake:
		return nil
	case <-ctx.Done():
	}
	for {
		s := g.state.Load()
		if s&^gateClosed < gateWaiting { // all that waited have got a place, and so has this call
			<-g.wake
			g.leave()
			break
		}
		if g.state.CompareAndSwap(s, s-gateWaiting) {
			break
		}
	}
	return kernel.ContextError(ctx)
}

// leave gives a call's place to the next one.
func (g *gate) leave() {
	for {
		s := g.state.Load()
		if s&^gateClosed >= gateWaiting && uint32(s) <= g.limit {
			if g.state.CompareAndSwap(s, s-gateWaiting) {
				g.wake <- struct{}{} // it has room for every token
				return
			}
			continue
		}
		if g.state.CompareAndSwap(s, s-1) {
			if s-1 == gateClosed {
				close(g.empty)
			}
			return
		}
	}
}

// close lets nobody in any more, and waits for those who are in or wait.
func (g *gate) close() {
	if g.state.Or(gateClosed) == 0 {
		close(g.empty)
	}
	<-g.empty
}
