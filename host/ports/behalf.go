package ports

import (
	"context"

	"github.com/hexdag/hexdag/host/kernel"
)

type behalfKey struct{}

// OnBehalf returns operations whose backend can tell which call it serves, by Behalf:
// one that makes calls of its own, such as a module, makes them for somebody.
func OnBehalf(ops []Op) []Op {
	list := make([]Op, len(ops))
	for i, op := range ops {
		do := op.Func
		op.Func = func(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
			return do(context.WithValue(ctx, behalfKey{}, call), call)
		}
		list[i] = op
	}
	return list
}

// Behalf returns the call that a backend serves; the zero call where the host itself asks.
func Behalf(ctx context.Context) kernel.PortCall {
	if call, ok := ctx.Value(behalfKey{}).(*kernel.PortCall); ok {
		return *call
	}
	return kernel.PortCall{}
}
