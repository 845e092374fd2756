package kernel

import (
	"context"
	"slices"
	"sync"
)

// endings are what is to be done when a run ends.
type endings struct {
	mu    sync.Mutex
	ended bool
	list  []func(context.Context)
}

// AtEnd has f called when the run's nodes have ended, while its modules are still
// there. It reports false where that is over, and f is not called.
func (r *RunContext) AtEnd(f func(context.Context)) bool {
	r.endings.mu.Lock()
	defer r.endings.mu.Unlock()
	if r.endings.ended {
		return false
	}
	r.endings.list = append(r.endings.list, f)
	return true
}

// End calls what AtEnd was given, the last first.
func (r *RunContext) End(ctx context.Context) {
	r.endings.mu.Lock()
	list := r.endings.list
	r.endings.list, r.endings.ended = nil, true
	r.endings.mu.Unlock()
	for _, f := range slices.Backward(list) {
		f(ctx)
	}
}
