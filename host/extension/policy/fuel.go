package policy

import (
	"context"
	"fmt"
	"math"
	"runtime"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

// slice is the fuel that a module gets at a time, some tenths of a millisecond: how
// often the host looks whether it has to stop.
const slice = 1 << 18

// metered rewrites a module so that it counts its work and bounds its calls. A module
// that is stopped by wazero's own check of the context is several times slower.
func metered(wasm []byte, opts Options) ([]byte, error) {
	static := rewrite.DefaultOptions()
	static.MaxMemoryPages = maxPages
	r, err := rewrite.Module(wasm, static)
	if err != nil {
		return nil, invalid(opts.Name, "the policy is not a WebAssembly module that this host runs", kernel.Quote(err.Error()), "build it with hexdag policy build")
	}
	return r.Wasm, nil
}

// instantiateMeter gives a runtime the two functions that rewritten modules import.
func instantiateMeter(ctx context.Context, rt wazero.Runtime) error {
	i64 := []api.ValueType{api.ValueTypeI64}
	refill := func(ctx context.Context, _ api.Module, stack []uint64) {
		stack[0] = uint64(instanceFrom(ctx).refill(ctx, int64(stack[0])))
	}
	overflow := func(ctx context.Context, _ api.Module, _ []uint64) { instanceFrom(ctx).overflow() }
	_, err := rt.NewHostModuleBuilder(rewrite.ImportModule).
		NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(refill), i64, i64).Export(rewrite.ImportRefill).
		NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(overflow), nil, nil).Export(rewrite.ImportOverflow).
		Instantiate(ctx)
	return err
}

// setFuel gives a call of the module so much, whatever an earlier one left.
func (in *instance) setFuel(fuel int64) {
	first := min(slice, fuel)
	in.fuel = fuel - first
	in.fuelGlobal.Set(uint64(first)) // most decisions take no more, and never ask
}

// refill is the module's call for more fuel: left, below zero, is what it has
// overdrawn. It is where a module is stopped.
func (in *instance) refill(ctx context.Context, left int64) int64 {
	if err := ctx.Err(); err != nil {
		in.stop(ended(*in.opts, err, "it ran"))
	}
	runtime.Gosched()
	if left < -math.MaxInt64 {
		left = -math.MaxInt64
	}
	got := min(max(slice, -left), in.fuel)
	in.fuel -= got
	if left+got < 0 {
		in.stop(limit(in.opts.Name, "the policy ran out of fuel", fmt.Sprintf("it may take %d instructions", in.opts.Fuel)))
	}
	return left + got
}

func (in *instance) overflow() {
	in.stop(limit(in.opts.Name, "the policy nests calls too deep", fmt.Sprintf("the limit is %d", rewrite.DefaultOptions().MaxDepth)))
}
