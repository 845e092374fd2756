// Package bench measures the sandbox side by side with what else a Go program
// could run WebAssembly with. See README.md.
package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox"
)

var ctx = context.Background()

// workDir keeps compiled modules and Go guests from one run to the next.
func workDir(b *testing.B) string {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("hexdag-bench-%d", os.Getuid()))
	must(b, os.MkdirAll(dir, 0o700))
	return dir
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// cGuest returns a guest that guests/build.sh has built.
func cGuest(b *testing.B, name string) []byte {
	wasm, err := os.ReadFile(filepath.Join("guests", name+".wasm"))
	must(b, err)
	return wasm
}

// goGuest builds a guest of the standard toolchain.
func goGuest(b *testing.B, name string) []byte {
	out := filepath.Join(workDir(b), name+".wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, "./"+name)
	cmd.Dir = "guests"
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, text)
	}
	wasm, err := os.ReadFile(out)
	must(b, err)
	return wasm
}

func newSandbox(b *testing.B) *sandbox.Runtime {
	r, err := sandbox.New(ctx, sandbox.Options{CacheDir: filepath.Join(workDir(b), "sandbox")})
	must(b, err)
	b.Cleanup(func() { r.Close(ctx) })
	return r
}

func load(b *testing.B, r *sandbox.Runtime, wasm []byte) *sandbox.Module {
	m, err := r.Load(ctx, wasm, sandbox.LoadOptions{Name: "guest", Limits: sandbox.Limits{Deadline: time.Minute, Fuel: 1 << 60}})
	must(b, err)
	b.Cleanup(func() { m.Close(ctx) })
	return m
}

// plain is wazero by itself, with WASI.
type plain struct {
	engine wazero.Runtime
	code   wazero.CompiledModule
}

func newPlain(b *testing.B, wasm []byte, config wazero.RuntimeConfig) *plain {
	cache, err := wazero.NewCompilationCacheWithDir(filepath.Join(workDir(b), "plain"))
	must(b, err)
	p := &plain{engine: wazero.NewRuntimeWithConfig(ctx, config.WithCompilationCache(cache))}
	b.Cleanup(func() {
		p.engine.Close(ctx)
		cache.Close(ctx)
	})
	wasi_snapshot_preview1.MustInstantiate(ctx, p.engine)
	p.code, err = p.engine.CompileModule(ctx, wasm)
	must(b, err)
	return p
}

func (p *plain) instance(b *testing.B) api.Module {
	guest, err := p.engine.InstantiateModule(ctx, p.code, wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize"))
	must(b, err)
	return guest
}

// payload is what the echo hooks get: a document of about ten fields, encoded, and 1 KB beside it.
func payload(b *testing.B) sandbox.Call {
	input := map[string]any{
		"run":   map[string]any{"run_id": "r-1", "tenant": "acme", "pipeline": "triage", "usage": map[string]any{"llm_calls": kernel.Number(3), "port_calls": kernel.Number(7)}},
		"op":    "database.query",
		"chain": []any{"user:1", "triage"},
		"args":  map[string]any{"table": "orders", "limit": kernel.Number(10)},
		"node":  "lookup",
	}
	text, err := kernel.EncodeJSON(input)
	must(b, err)
	return sandbox.Call{Point: abi.PortBefore, Input: input, Text: text, Body: body()}
}

func body() []byte { return bytes.Repeat([]byte("0123456789abcdef"), 64) }

func wantEcho(b *testing.B, got []byte) {
	b.Helper()
	if !bytes.Equal(got, body()) {
		b.Fatalf("not an echo: %d bytes", len(got))
	}
}
