package bench

import (
	"testing"

	extism "github.com/extism/go-sdk"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/wapc/wapc-go"
	wapcwazero "github.com/wapc/wapc-go/engines/wazero"

	"github.com/hexdag/hexdag/host/sandbox"
)

// BenchmarkEcho is a hook that gives back 1 KB.
func BenchmarkEcho(b *testing.B) {
	r := newSandbox(b)
	for _, size := range []string{"64k", "128k", "1100k"} {
		m := load(b, r, cGuest(b, "echo-"+size))
		b.Run("hexdag-shared-"+size, func(b *testing.B) { echo(b, m, sandbox.Shared) })
		b.Run("hexdag-call-"+size, func(b *testing.B) { echo(b, m, sandbox.IsolateCall) })
	}
	b.Run("native", nativeEcho)
	p := newPlain(b, cGuest(b, "plain"), wazero.NewRuntimeConfig())
	b.Run("wazero-pooled", func(b *testing.B) { plainPooled(b, p) })
	b.Run("wazero-fresh", func(b *testing.B) { plainFresh(b, p) })
	b.Run("wapc", wapcEcho)
	b.Run("extism-warm", func(b *testing.B) { extismWarm(b, newExtism(b)) })
	b.Run("extism-fresh", func(b *testing.B) { extismFresh(b, newExtism(b)) })
}

func echo(b *testing.B, m *sandbox.Module, isolation sandbox.Isolation) {
	call := payload(b)
	call.Isolation = isolation
	out := &sandbox.Outcome{}
	must(b, m.Invoke(ctx, call, out))
	wantEcho(b, out.Body)
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Invoke(ctx, call, out); err != nil {
			b.Fatal(err)
		}
	}
	wantEcho(b, out.Body)
}

var nativeOut = make([]byte, 1024)

//go:noinline
func nativeHook(in []byte) []byte { return nativeOut[:copy(nativeOut, in)] }

func nativeEcho(b *testing.B) {
	in := body()
	wantEcho(b, nativeHook(in))
	b.ReportAllocs()
	for b.Loop() {
		nativeHook(in)
	}
}

// plainGuest is an instance with its functions and buffers looked up.
type plainGuest struct {
	module  api.Module
	echo    api.Function
	in, out uint32
	stack   [1]uint64
	result  []byte
}

func newPlainGuest(b *testing.B, p *plain) *plainGuest {
	g := &plainGuest{module: p.instance(b), result: make([]byte, 1024)}
	for name, at := range map[string]*uint32{"in": &g.in, "out": &g.out} {
		address, err := g.module.ExportedFunction(name).Call(ctx)
		must(b, err)
		*at = uint32(address[0])
	}
	g.echo = g.module.ExportedFunction("echo")
	return g
}

func (g *plainGuest) call(b *testing.B, in []byte) []byte {
	g.module.Memory().Write(g.in, in)
	g.stack[0] = uint64(len(in))
	if err := g.echo.CallWithStack(ctx, g.stack[:]); err != nil {
		b.Fatal(err)
	}
	out, ok := g.module.Memory().Read(g.out, uint32(g.stack[0]))
	if !ok {
		b.Fatal("out of the memory")
	}
	return g.result[:copy(g.result, out)]
}

func plainPooled(b *testing.B, p *plain) {
	g, in := newPlainGuest(b, p), body()
	wantEcho(b, g.call(b, in))
	b.ReportAllocs()
	for b.Loop() {
		g.call(b, in)
	}
	g.module.Close(ctx)
}

func plainFresh(b *testing.B, p *plain) {
	in := body()
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		g := newPlainGuest(b, p)
		out = g.call(b, in)
		g.module.Close(ctx)
	}
	wantEcho(b, out)
}

func wapcEcho(b *testing.B) {
	m, err := wapcwazero.Engine().New(ctx, wapc.NoOpHostCallHandler, cGuest(b, "wapc"), &wapc.ModuleConfig{})
	must(b, err)
	defer m.Close(ctx)
	instance, err := m.Instantiate(ctx)
	must(b, err)
	in := body()
	out, err := instance.Invoke(ctx, "echo", in)
	must(b, err)
	wantEcho(b, out)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := instance.Invoke(ctx, "echo", in); err != nil {
			b.Fatal(err)
		}
	}
}

func newExtism(b *testing.B) *extism.CompiledPlugin {
	manifest := extism.Manifest{Wasm: []extism.Wasm{extism.WasmData{Data: cGuest(b, "extism")}}}
	p, err := extism.NewCompiledPlugin(ctx, manifest, extism.PluginConfig{}, nil)
	must(b, err)
	b.Cleanup(func() { p.Close(ctx) })
	return p
}

func extismCall(b *testing.B, p *extism.Plugin, in []byte) []byte {
	_, out, err := p.Call("echo", in)
	must(b, err)
	return out
}

func extismWarm(b *testing.B, compiled *extism.CompiledPlugin) {
	p, err := compiled.Instance(ctx, extism.PluginInstanceConfig{})
	must(b, err)
	defer p.Close(ctx)
	in := body()
	wantEcho(b, extismCall(b, p, in))
	b.ReportAllocs()
	for b.Loop() {
		extismCall(b, p, in)
	}
}

func extismFresh(b *testing.B, compiled *extism.CompiledPlugin) {
	in := body()
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		p, err := compiled.Instance(ctx, extism.PluginInstanceConfig{})
		must(b, err)
		out = extismCall(b, p, in)
		p.Close(ctx)
	}
	wantEcho(b, out)
}
