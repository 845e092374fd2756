package rewrite

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// workload is a function of a guest and its argument.
type workload struct {
	name string
	arg  uint64
}

var (
	cKernels  = []workload{{"spin", 1_000_000}, {"matmul", 100}, {"sha", 100_000}, {"sieve", 1_000_000}, {"fib", 25}, {"scan", 10}}
	goKernels = []workload{{"spin", 1_000_000}, {"matmul", 64}, {"sha", 100_000}, {"json", 200}}
)

// buildGo builds testdata/guest once.
var buildGo = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "rewrite")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, "./testdata/guest")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
})

func goGuest(t testing.TB) []byte {
	t.Helper()
	wasm, err := buildGo()
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

func cGuest(t testing.TB) []byte {
	t.Helper()
	wasm, err := os.ReadFile("testdata/kernels.wasm")
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// reactor instantiates a guest that needs WASI.
func reactor(t testing.TB, config wazero.RuntimeConfig, wasm []byte, m *meter) api.Module {
	t.Helper()
	r := newRuntime(t, config)
	m.define(t, r)
	wasi_snapshot_preview1.MustInstantiate(t.Context(), r)
	mod, err := r.InstantiateWithConfig(t.Context(), wasm, wazero.NewModuleConfig().WithStartFunctions("_initialize"))
	if err != nil {
		t.Fatal(err)
	}
	return mod
}

// TestGuests has guests that compilers made pass the default limits and compute the same.
func TestGuests(t *testing.T) {
	for name, guest := range map[string]struct {
		wasm    []byte
		kernels []workload
	}{
		"C":  {cGuest(t), []workload{{"spin", 100}, {"matmul", 5}, {"sha", 640}, {"sieve", 1000}, {"fib", 10}, {"scan", 1}}},
		"Go": {goGuest(t), []workload{{"spin", 100}, {"matmul", 5}, {"sha", 640}, {"json", 3}}},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := Module(guest.wasm, DefaultOptions())
			if err != nil {
				t.Fatal(err)
			}
			config := wazero.NewRuntimeConfigInterpreter()
			original := reactor(t, config, guest.wasm, newMeter())
			meter := newMeter()
			rewritten := reactor(t, config, res.Wasm, meter)
			for _, k := range guest.kernels {
				before := meter.used(rewritten)
				want, err := original.ExportedFunction(k.name).Call(t.Context(), k.arg)
				if err != nil {
					t.Fatal(err)
				}
				got, err := rewritten.ExportedFunction(k.name).Call(t.Context(), k.arg)
				if err != nil || got[0] != want[0] {
					t.Errorf("%s: original %d, rewritten %d, %v", k.name, want, got, err)
				}
				if fuel := meter.used(rewritten) - before; fuel <= 0 {
					t.Errorf("%s: %d fuel", k.name, fuel)
				}
				if depth(rewritten) != DefaultOptions().MaxDepth {
					t.Errorf("%s: depth %d after the call", k.name, depth(rewritten))
				}
			}
		})
	}
}

// BenchmarkModule is the speed of rewriting.
func BenchmarkModule(b *testing.B) {
	for name, wasm := range map[string][]byte{"C": cGuest(b), "Go": goGuest(b)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(wasm)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Module(wasm, DefaultOptions()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMetering is what fuel and depth cost: the same kernels without and with
// them, refilled every 100,000.
func BenchmarkMetering(b *testing.B) {
	cache := wazero.NewCompilationCache()
	b.Cleanup(func() { cache.Close(context.Background()) })
	config := wazero.NewRuntimeConfigCompiler().WithCompilationCache(cache)
	for _, guest := range []struct {
		name    string
		wasm    []byte
		kernels []workload
	}{{"C", cGuest(b), cKernels}, {"Go", goGuest(b), goKernels}} {
		res, err := Module(guest.wasm, DefaultOptions())
		if err != nil {
			b.Fatal(err)
		}
		meter := newMeter()
		meter.slice = 100_000
		plain := reactor(b, config, guest.wasm, newMeter())
		metered := reactor(b, config, res.Wasm, meter)
		for _, k := range guest.kernels {
			for form, mod := range map[string]api.Module{"plain": plain, "metered": metered} {
				fn := mod.ExportedFunction(k.name)
				b.Run(guest.name+"/"+k.name+"/"+form, func(b *testing.B) {
					for b.Loop() {
						if _, err := fn.Call(b.Context(), k.arg); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}
