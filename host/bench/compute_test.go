package bench

import (
	"runtime"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/sandbox"
)

// kernels are the works that the guests know by number, with their results:
// the same of two compilers, but for the padding that SHA-256 lacks in C.
var kernels = []struct {
	name      string
	id        int
	inC, inGo uint32
}{
	{"spin", 1, 2318261108, 2318261108},
	{"matmul", 2, 5306681, 5306681},
	{"sha256", 3, 4252078314, 2108465673},
	{"json", 4, 423523170, 423523170},
	{"sieve", 5, 17984, 17984},
}

// BenchmarkCompute is what metering costs.
func BenchmarkCompute(b *testing.B) {
	r := newSandbox(b)
	for language, wasm := range map[string][]byte{"c": cGuest(b, "kernels"), "go": goGuest(b, "gokernels")} {
		metered := load(b, r, wasm)
		bare := newPlain(b, wasm, wazero.NewRuntimeConfig()).instance(b)
		closing := newPlain(b, wasm, wazero.NewRuntimeConfig().WithCloseOnContextDone(true)).instance(b)
		for _, k := range kernels {
			want := k.inC
			if language == "go" {
				want = k.inGo
			}
			name := k.name + "-" + language + "/"
			b.Run(name+"hexdag", func(b *testing.B) { computeMetered(b, metered, k.id, want) })
			b.Run(name+"wazero", func(b *testing.B) { computePlain(b, bare, k.id, want) })
			b.Run(name+"wazero-closing", func(b *testing.B) { computePlain(b, closing, k.id, want) })
		}
	}
}

// work is the call of a kernel: the payload's length is its number.
func work(id int) sandbox.Call {
	return sandbox.Call{Point: abi.NodeRun, Text: make([]byte, id), Isolation: sandbox.Shared}
}

func computeMetered(b *testing.B, m *sandbox.Module, id int, want uint32) {
	call, out := work(id), &sandbox.Outcome{}
	for b.Loop() {
		if err := m.Invoke(ctx, call, out); err != nil {
			b.Fatal(err)
		}
	}
	if out.Arg != want {
		b.Errorf("got %d, want %d", out.Arg, want)
	}
}

func computePlain(b *testing.B, guest api.Module, id int, want uint32) {
	f, stack := guest.ExportedFunction("node_run"), []uint64{0}
	for b.Loop() {
		stack[0] = uint64(id)
		if err := f.CallWithStack(ctx, stack); err != nil {
			b.Fatal(err)
		}
	}
	if got := uint32(stack[0] >> 32); got != want {
		b.Errorf("got %d, want %d", got, want)
	}
}

// long is a loop of about a second.
const long = 6

// BenchmarkGC is how long runtime.GC() takes that begins while a guest loops.
func BenchmarkGC(b *testing.B) {
	wasm := cGuest(b, "kernels")
	m := load(b, newSandbox(b), wasm)
	guest := newPlain(b, wasm, wazero.NewRuntimeConfig()).instance(b)
	b.Run("hexdag", func(b *testing.B) {
		collect(b, func() error {
			_, err := m.Call(ctx, work(long))
			return err
		})
	})
	b.Run("wazero", func(b *testing.B) {
		collect(b, func() error {
			_, err := guest.ExportedFunction("node_run").Call(ctx, long)
			return err
		})
	})
}

func collect(b *testing.B, loop func() error) {
	var took, looped time.Duration
	for b.Loop() {
		done := make(chan error)
		start := time.Now()
		go func() { done <- loop() }()
		time.Sleep(20 * time.Millisecond)
		begin := time.Now()
		runtime.GC()
		took += time.Since(begin)
		must(b, <-done)
		looped += time.Since(start)
	}
	if looped < took {
		b.Fatalf("looped %s, collected %s", looped, took)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(took.Microseconds())/1000/float64(b.N), "gc-ms")
	b.ReportMetric(float64(looped.Milliseconds())/float64(b.N), "loop-ms")
}
