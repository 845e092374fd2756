package kernel

import "context"

// Place is a node's among those that run at once. Leave gives it to others while the node does nothing but wait for them, and Return takes one
// again; both may be called by several goroutines, in pairs.
type Place interface {
	Leave()
	Return()
}

// PlaceKey is the key of a context's Place.
type PlaceKey struct{}

// Idle does what waits for other runs, without the place among the nodes that run at once: those that it waits for may need it.
func Idle[V any](ctx context.Context, wait func() (V, error)) (V, error) {
	if p, _ := ctx.Value(PlaceKey{}).(Place); p != nil {
		p.Leave()
		defer p.Return()
	}
	return wait()
}
