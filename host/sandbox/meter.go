package sandbox

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero/api"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

// meterFunctions are what the rewriter makes modules import. A module that
// imports them by itself is refused.
func meterFunctions() []hostFunction {
	return []hostFunction{
		{rewrite.ImportRefill, []api.ValueType{i64}, []api.ValueType{i64}, api.GoModuleFunc(func(ctx context.Context, _ api.Module, stack []uint64) {
			a := ctx.Value(activationKey{}).(*activation)
			stack[0] = uint64(a.refill(int64(stack[0])))
		})},
		{rewrite.ImportOverflow, nil, nil, api.GoModuleFunc(func(ctx context.Context, _ api.Module, _ []uint64) {
			a := ctx.Value(activationKey{}).(*activation)
			a.stopWith(a.errorf(kernel.CodeLimit, fmt.Sprintf("the guest's calls nest too deeply in %s", a.call.Point),
				fmt.Sprintf("static_limits.depth is %d frames, large frames counting more", a.module.static.MaxDepth), "recurse less"))
		})},
	}
}
