package sandbox

import (
	"fmt"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

// meterFunctions are what the rewriter makes modules import. A module that
// imports them by itself is refused. They are not charged: what they do is the charge.
func meterFunctions() []hostFunction {
	return []hostFunction{
		{rewrite.ImportRefill, []rewrite.ValType{i64}, []rewrite.ValType{i64}, func(a *activation, _ memory, stack []uint64) {
			stack[0] = uint64(a.refill(int64(stack[0])))
		}},
		{rewrite.ImportOverflow, nil, nil, func(a *activation, _ memory, _ []uint64) { a.overflow() }},
	}
}

// overflow stops a guest whose calls nest too deeply.
func (a *activation) overflow() {
	a.stopWith(a.errorf(kernel.CodeLimit, fmt.Sprintf("the guest's calls nest too deeply in %s", a.call.Point),
		fmt.Sprintf("static_limits.depth is %d frames, large frames counting more", a.module.static.MaxDepth), "recurse less"))
}
