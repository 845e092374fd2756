package rewrite

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

var (
	errFuel     = errors.New("out of fuel")
	errOverflow = errors.New("out of depth")

	runtimeConfig = wazero.NewRuntimeConfig()
)

// meter is the host's side of a rewritten module.
type meter struct {
	slice   int64
	budget  int64
	granted int64
	refills int
}

func newMeter() *meter { return &meter{slice: 1000, budget: math.MaxInt64 / 2} }

func (m *meter) refill(_ context.Context, _ api.Module, stack []uint64) {
	m.refills++
	left := int64(stack[0])
	need := max(m.slice, -left)
	if m.granted+need > m.budget {
		panic(errFuel)
	}
	m.granted += need
	stack[0] = uint64(left + need)
}

// used is the fuel that an instance has spent.
func (m *meter) used(mod api.Module) int64 {
	return m.granted - int64(mod.ExportedGlobal(ExportFuel).Get())
}

func depth(mod api.Module) int { return int(int32(mod.ExportedGlobal(ExportDepth).Get())) }

// define adds the host module to a runtime.
func (m *meter) define(t testing.TB, r wazero.Runtime) {
	t.Helper()
	i64 := []api.ValueType{api.ValueTypeI64}
	_, err := r.NewHostModuleBuilder(ImportModule).
		NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(m.refill), i64, i64).Export(ImportRefill).
		NewFunctionBuilder().WithFunc(func() { panic(errOverflow) }).Export(ImportOverflow).
		Instantiate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
}

func newRuntime(t testing.TB, config wazero.RuntimeConfig) wazero.Runtime {
	t.Helper()
	r := wazero.NewRuntimeWithConfig(t.Context(), config)
	t.Cleanup(func() { r.Close(context.Background()) })
	return r
}

// start rewrites a module and instantiates it.
func start(t testing.TB, wasm []byte, opts Options, m *meter) api.Module {
	t.Helper()
	res, err := Module(wasm, opts)
	if err != nil {
		t.Fatal(err)
	}
	r := newRuntime(t, runtimeConfig)
	m.define(t, r)
	mod, err := r.Instantiate(t.Context(), res.Wasm)
	if err != nil {
		t.Fatal(err)
	}
	return mod
}

// firstLine is the part of an engine's error that does not tell where it was.
func firstLine(err error) string {
	if err == nil {
		return ""
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
