//go:build wasmtime

package bench

import (
	"path/filepath"
	"testing"

	"github.com/bytecodealliance/wasmtime-go/v39"

	"github.com/hexdag/hexdag/host/bench/direct"
	"github.com/hexdag/hexdag/host/sandbox"
)

// BenchmarkWasmtime is the second engine: what its binding makes of a call, and
// what it computes.
func BenchmarkWasmtime(b *testing.B) {
	engine := wasmtime.NewEngine()
	wasm, err := wasmtime.Wat2Wasm(`(module (func (export "next") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))`)
	must(b, err)
	module, err := wasmtime.NewModule(engine, wasm)
	must(b, err)
	store := wasmtime.NewStore(engine)
	instance, err := wasmtime.NewInstance(store, module, nil)
	must(b, err)
	next := instance.GetFunc(store, "next")
	b.Run("nop-binding", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if v, err := next.Call(store, int32(41)); err != nil || v.(int32) != 42 {
				b.Fatal(v, err)
			}
		}
	})
	b.Run("nop-direct", func(b *testing.B) {
		b.ReportAllocs()
		values := &[2]uint64{}
		for b.Loop() {
			values[0] = 41
			if !direct.Call(store, next, values) || uint32(values[0]) != 42 {
				b.Fatal(values)
			}
		}
	})
	r, err := sandbox.New(ctx, sandbox.Options{Engine: sandbox.Wasmtime, CacheDir: filepath.Join(workDir(b), "wasmtime")})
	must(b, err)
	b.Cleanup(func() { r.Close(ctx) })
	m := load(b, r, cGuest(b, "echo-64k"))
	b.Run("echo-shared-64k", func(b *testing.B) { echo(b, m, sandbox.Shared) })
	b.Run("echo-call-64k", func(b *testing.B) { echo(b, m, sandbox.IsolateCall) })
	for language, wasm := range map[string][]byte{"c": cGuest(b, "kernels"), "go": goGuest(b, "gokernels")} {
		metered := load(b, r, wasm)
		for _, k := range kernels {
			want := k.inC
			if language == "go" {
				want = k.inGo
			}
			b.Run(k.name+"-"+language, func(b *testing.B) { computeMetered(b, metered, k.id, want) })
		}
	}
}
