package bench

import (
	"context"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/sandbox"
)

// BenchmarkGoHook is a hook of the standard Go toolchain that reads two fields
// and sets one.
func BenchmarkGoHook(b *testing.B) {
	wasm := goGuest(b, "gohook")
	m := load(b, newSandbox(b), wasm)
	b.Run("hexdag-call", func(b *testing.B) { goHook(b, m, sandbox.IsolateCall) })
	b.Run("hexdag-shared", func(b *testing.B) { goHook(b, m, sandbox.Shared) })
	p := newPlain(b, wasm, wazero.NewRuntimeConfig())
	answers := &hostStub{}
	answers.offer(b, p)
	b.Run("wazero-fresh", func(b *testing.B) { plainGoHook(b, p, answers) })
}

const greeting = "hello bob from rome"

func goHook(b *testing.B, m *sandbox.Module, isolation sandbox.Isolation) {
	call := payload(b)
	input := call.Input.(map[string]any)
	input["input"] = map[string]any{"name": "bob", "city": "rome"}
	call.Point, call.Isolation, call.Text, call.Body = abi.NodeBefore, isolation, nil, nil
	out := &sandbox.Outcome{}
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Invoke(ctx, call, out); err != nil {
			b.Fatal(err)
		}
	}
	if got := out.Patched.(map[string]any)["greeting"]; got != greeting {
		b.Fatalf("got %q", got)
	}
}

// hostStub answers the guest's two imports from constants: the least that a host can do.
type hostStub struct{ set string }

func (h *hostStub) offer(b *testing.B, p *plain) {
	i32, i64 := api.ValueTypeI32, api.ValueTypeI64
	builder := p.engine.NewHostModuleBuilder(abi.ImportModule)
	add := func(name string, params int, result api.ValueType, f api.GoModuleFunc) {
		types := make([]api.ValueType, params)
		for i := range types {
			types[i] = i32
		}
		builder.NewFunctionBuilder().WithGoModuleFunction(f, types, []api.ValueType{result}).Export(name)
	}
	add(abi.ImportField, 5, i64, func(_ context.Context, mod api.Module, stack []uint64) {
		path, _ := mod.Memory().Read(uint32(stack[1]), uint32(stack[2]))
		text := "rome"
		if strings.HasSuffix(string(path), "name") {
			text = "bob"
		}
		mod.Memory().WriteString(uint32(stack[3]), text)
		stack[0] = uint64(abi.KindString)<<32 | uint64(len(text))
	})
	add(abi.ImportSet, 6, i32, func(_ context.Context, mod api.Module, stack []uint64) {
		text, _ := mod.Memory().Read(uint32(stack[4]), uint32(stack[5]))
		h.set, stack[0] = string(text), 0
	})
	_, err := builder.Instantiate(ctx)
	must(b, err)
}

func plainGoHook(b *testing.B, p *plain, answers *hostStub) {
	b.ReportAllocs()
	for b.Loop() {
		guest := p.instance(b)
		if _, err := guest.ExportedFunction("node_before").Call(ctx, 400); err != nil {
			b.Fatal(err)
		}
		guest.Close(ctx)
	}
	if answers.set != greeting {
		b.Fatalf("got %q", answers.set)
	}
}
