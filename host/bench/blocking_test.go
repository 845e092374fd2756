package bench

import (
	"context"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
)

// blocking is a host whose calls last until their context ends.
type blocking struct{}

func (blocking) Call(ctx context.Context, _ string, _ map[string]any, _ []byte) (*kernel.PortReply, error) {
	<-ctx.Done()
	return nil, kernel.ContextError(ctx)
}

func (blocking) Log(abi.Level, string) {}

func (blocking) Clock(context.Context, abi.ClockID) (int64, error) { return 0, nil }

func (blocking) Random(context.Context, []byte) error { return nil }
