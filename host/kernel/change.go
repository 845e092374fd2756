package kernel

import (
	"context"
	"slices"
	"sync/atomic"
)

// Changes notes what a part of a run changes outside. What hooks do, and the modules that
// serve ports, is not the part's doing. It is safe for concurrent use.
type Changes struct {
	modules []string // that the part runs
	first   atomic.Pointer[string]
	outer   *Changes
}

type changesKey struct{}

// WatchChanges returns a context in which the run's own changes are noted, and those of these modules.
func WatchChanges(ctx context.Context, modules []string) (context.Context, *Changes) {
	outer, _ := ctx.Value(changesKey{}).(*Changes)
	c := &Changes{modules: modules, outer: outer}
	return context.WithValue(ctx, changesKey{}, c), c
}

// NoteChange says that a call may have changed something.
func NoteChange(ctx context.Context, call *PortCall) {
	c, _ := ctx.Value(changesKey{}).(*Changes)
	for ; c != nil; c = c.outer {
		if c.own(call.Caller.Modules) {
			c.first.CompareAndSwap(nil, &call.Op)
		}
	}
}

func (c *Changes) own(chain []ModuleRights) bool {
	return len(chain) == 0 || slices.Contains(c.modules, chain[len(chain)-1].Name)
}

// First returns the operation that was the first to change something, or "".
func (c *Changes) First() string {
	if op := c.first.Load(); op != nil {
		return *op
	}
	return ""
}
