package sandbox

import (
	"context"
	"sync"

	"github.com/hexdag/hexdag/host/kernel"
)

// turns knows which calls wait for the instances of runs, over all modules of a runtime:
// guests that call guests may otherwise wait for each other.
type turns struct {
	mu    sync.Mutex
	waits map[*runInstance]map[*runInstance]int // how many who have the one wait for the other
}

// turnsKey is the key of a chain of callers' turns, the innermost first.
type turnsKey struct{}

type taken struct {
	turn  *runInstance
	outer *taken
}

// takes waits for the turn at the instance of a run. It is false, and not the caller's turn,
// where that would be for ever, for somebody in the chain of callers has to end first.
func (t *turns) takes(ctx context.Context, r *runInstance) (bool, error) {
	select {
	case r.turn <- struct{}{}:
		return true, nil
	default:
	}
	held, _ := ctx.Value(turnsKey{}).(*taken)
	if !t.await(held, r) {
		return false, nil
	}
	defer t.waited(held, r)
	select {
	case r.turn <- struct{}{}:
		return true, nil
	case <-ctx.Done():
		return false, kernel.ContextError(ctx)
	}
}

// await notes that whoever has these turns waits for another, unless that closed a circle.
func (t *turns) await(held *taken, r *runInstance) bool {
	if held == nil {
		return true // nobody waits for who has nothing
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.leads(r, held, map[*runInstance]bool{}) {
		return false
	}
	if t.waits == nil {
		t.waits = map[*runInstance]map[*runInstance]int{}
	}
	for h := held; h != nil; h = h.outer {
		if t.waits[h.turn] == nil {
			t.waits[h.turn] = map[*runInstance]int{}
		}
		t.waits[h.turn][r]++
	}
	return true
}

// leads reports whether who has a turn waits, through others perhaps, for one of those held.
func (t *turns) leads(r *runInstance, held *taken, seen map[*runInstance]bool) bool {
	for h := held; h != nil; h = h.outer {
		if h.turn == r {
			return true
		}
	}
	seen[r] = true
	for next := range t.waits[r] {
		if !seen[next] && t.leads(next, held, seen) {
			return true
		}
	}
	return false
}

func (t *turns) waited(held *taken, r *runInstance) {
	if held == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for h := held; h != nil; h = h.outer {
		if t.waits[h.turn][r]--; t.waits[h.turn][r] == 0 {
			delete(t.waits[h.turn], r)
		}
		if len(t.waits[h.turn]) == 0 {
			delete(t.waits, h.turn)
		}
	}
}
