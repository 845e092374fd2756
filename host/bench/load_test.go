package bench

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox"
)

// BenchmarkLoad is loading a module whose code is in the cache: the checks, the
// rewriter, and the engine's reading of the code.
func BenchmarkLoad(b *testing.B) {
	for name, wasm := range map[string][]byte{"c-kernels": cGuest(b, "kernels"), "c-extism-sized": cGuest(b, "echo-1100k"), "go-3.3MB": goGuest(b, "gohook")} {
		b.Run(name, func(b *testing.B) {
			b.ReportMetric(float64(len(wasm))/1024, "KiB")
			warm := newSandbox(b) // another process, as it were: nothing of it is in this one's memory
			first, err := warm.Load(ctx, wasm, sandbox.LoadOptions{Name: "guest"})
			must(b, err)
			must(b, first.Close(ctx))
			for b.Loop() {
				m, err := warm.Load(ctx, wasm, sandbox.LoadOptions{Name: "guest"})
				must(b, err)
				must(b, m.Close(ctx))
			}
		})
	}
}

// BenchmarkKill is how much later than its deadline a call ends, whatever the guest does.
func BenchmarkKill(b *testing.B) {
	const deadline = 20 * time.Millisecond
	r := newSandbox(b)
	for _, name := range []string{"spin", "spin-calls", "flood", "blocked"} {
		file := name
		if name == "blocked" {
			file = "version" // which calls the host
		}
		wasm, err := os.ReadFile(filepath.Join("../redteam/modules", file+".wasm"))
		must(b, err)
		m, err := r.Load(ctx, wasm, sandbox.LoadOptions{Name: name, Limits: sandbox.Limits{Deadline: deadline, Fuel: 1 << 60, HostCalls: 1 << 30}})
		must(b, err)
		b.Run(name, func(b *testing.B) {
			var late []time.Duration
			for b.Loop() {
				start := time.Now()
				_, err := m.Call(ctx, sandbox.Call{Point: abi.PortBefore, Host: blocking{}})
				late = append(late, time.Since(start)-deadline)
				if kernel.CodeOf(err) != kernel.CodeTimeout {
					b.Fatal(err)
				}
			}
			slices.Sort(late)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(late[len(late)/2].Microseconds()), "late-us")
			b.ReportMetric(float64(late[len(late)-1].Microseconds()), "latest-us")
		})
		must(b, m.Close(ctx))
	}
}
