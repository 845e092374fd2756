package agent

import (
	"context"
	"time"
)

// Outcomes are what a central agent can end with.
func Outcomes() []string { return []string{"done", "escalated", "failed"} }

// Bounds are what an agent says of the runs that it starts as a central agent: they narrow what the operator says. The zero value
// narrows nothing.
type Bounds struct {
	Pipelines []string // that it may start; nil is all
	Starts    int      // in all; 0 is no bound
	Retries   int      // of a pipeline that has failed; below 0 there is no bound
	// Until is when what it has started is stopped, and itself; zero is never.
	Until time.Time
}

type boundsKey struct{}

// WithBounds returns the context of what an agent does within bounds.
func WithBounds(ctx context.Context, b *Bounds) context.Context {
	return context.WithValue(ctx, boundsKey{}, b)
}

// BoundsFrom returns the bounds of whoever calls, or nil.
func BoundsFrom(ctx context.Context) *Bounds {
	b, _ := ctx.Value(boundsKey{}).(*Bounds)
	return b
}
