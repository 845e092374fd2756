package bench

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/sandbox"
)

// How many modules BenchmarkIdle has. HEXDAG_BENCH_IDLE sets another number of idle ones.
const hotModules, idleModules = 100, 10_000

// BenchmarkIdle is what a loaded module costs that nobody calls, and what it does
// to the calls of others.
func BenchmarkIdle(b *testing.B) {
	idle := idleModules
	if text := os.Getenv("HEXDAG_BENCH_IDLE"); text != "" {
		n, err := strconv.Atoi(text)
		must(b, err)
		idle = n
	}
	r, err := sandbox.New(ctx, sandbox.Options{})
	must(b, err)
	b.Cleanup(func() { r.Close(ctx) })
	wasm := cGuest(b, "echo-64k")
	hot := loadMany(b, r, wasm, 0, hotModules)
	b.Run("hot-alone", func(b *testing.B) { latency(b, hot) })
	before := resident(b)
	start := time.Now()
	rest := loadMany(b, r, wasm, hotModules, idle)
	perLoad := time.Since(start) / time.Duration(idle)
	loaded := resident(b)
	b.Run("hot-among-idle", func(b *testing.B) {
		latency(b, hot)
		b.ReportMetric(float64(idle), "idle")
		b.ReportMetric(float64(loaded-before)/float64(idle)/1024, "KiB/idle")
		b.ReportMetric(float64(perLoad.Microseconds()), "load-us")
	})
	call, out := payload(b), &sandbox.Outcome{}
	for _, m := range rest {
		must(b, m.Invoke(ctx, call, out))
		wantEcho(b, out.Body)
	}
	called := resident(b)
	b.Run("hot-among-called", func(b *testing.B) {
		latency(b, hot)
		b.ReportMetric(float64(called-before)/float64(idle)/1024, "KiB/idle")
	})
}

// loadMany loads modules that differ in one constant.
func loadMany(b *testing.B, r *sandbox.Runtime, wasm []byte, from, n int) []*sandbox.Module {
	var list []*sandbox.Module
	for i := from; i < from+n; i++ {
		own := bytes.Replace(wasm, []byte("TAG-00000"), fmt.Appendf(nil, "TAG-%05d", i), 1)
		if i > 0 && bytes.Equal(own, wasm) {
			b.Fatal("the guest has no tag")
		}
		list = append(list, load(b, r, own))
	}
	return list
}

// resident returns the process's bytes in memory, after a collection.
func resident(b *testing.B) int64 {
	runtime.GC()
	runtime.GC()
	text, err := os.ReadFile("/proc/self/statm")
	must(b, err)
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	must(b, err)
	return pages * int64(os.Getpagesize())
}

// latency calls the modules in turn.
func latency(b *testing.B, hot []*sandbox.Module) {
	call, out := payload(b), &sandbox.Outcome{}
	took := make([]time.Duration, 0, 1<<20)
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		if err := hot[i%len(hot)].Invoke(ctx, call, out); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	wantEcho(b, out.Body)
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
}
