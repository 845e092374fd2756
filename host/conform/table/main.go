// Command table builds the example and the probe of every SDK, measures the one and
// holds the other to the conformance kit, and prints the table of guests/README.md.
// It runs at the root of the repository.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/abi/tck"
	"github.com/hexdag/hexdag/host/conform"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/toolchain"
)

const (
	sdks  = "guests/sdk"
	calls = 2000 // measured, after as many to warm up
	loads = 3
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	entries, err := os.ReadDir(sdks)
	if err != nil {
		return err
	}
	fmt.Println("| language | module | cold load | hook | hook with reset | fuel | TCK |\n|---|---|---|---|---|---|---|")
	for _, entry := range entries {
		r, err := measure(ctx, filepath.Join(sdks, entry.Name()))
		if err != nil {
			return fmt.Errorf("%s: %w", entry.Name(), err)
		}
		fmt.Printf("| %s | %s | %s | %s | %s | %d | %d/%d |\n", entry.Name(), size(r.size), round(r.load), round(r.shared), round(r.reset), r.fuel, r.passed, r.total)
	}
	return nil
}

type row struct {
	size, passed, total int
	load, shared, reset time.Duration
	fuel                int64
}

func measure(ctx context.Context, sdk string) (r row, err error) {
	probe, err := build(ctx, filepath.Join(sdk, "probe"))
	if err != nil {
		return r, err
	}
	example, err := build(ctx, filepath.Join(sdk, "example"))
	if err != nil {
		return r, err
	}
	r.size = len(example)
	runtime, err := sandbox.New(ctx, sandbox.Options{})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, runtime.Close(ctx)) }()
	checks, err := tck.Run(ctx, conform.Host{Runtime: runtime}, probe, nil)
	if err != nil {
		return r, err
	}
	r.passed, r.total = tck.Passed(checks), len(checks)
	if r.load, err = load(ctx, example); err != nil {
		return r, err
	}
	m, err := runtime.Load(ctx, example, sandbox.LoadOptions{Limits: sandbox.Limits{Deadline: time.Minute}})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, m.Close(ctx)) }()
	if r.shared, r.fuel, err = hook(ctx, m, sandbox.Shared); err == nil {
		r.reset, r.fuel, err = hook(ctx, m, sandbox.IsolateCall)
	}
	return r, err
}

func build(ctx context.Context, dir string) ([]byte, error) {
	tmp, err := os.MkdirTemp("", "hexdag-table-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, "guest.wasm")
	var log bytes.Buffer
	if err := toolchain.Build(ctx, dir, out, &log); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, &log)
	}
	return os.ReadFile(out)
}

// load is the median time from the bytes to the first verdict, with no cache.
func load(ctx context.Context, wasm []byte) (time.Duration, error) {
	var times []time.Duration
	for range loads {
		start := time.Now()
		runtime, err := sandbox.New(ctx, sandbox.Options{})
		if err != nil {
			return 0, err
		}
		m, err := runtime.Load(ctx, wasm, sandbox.LoadOptions{Limits: sandbox.Limits{Deadline: time.Minute}})
		if err == nil {
			_, err = m.Call(ctx, message())
		}
		times = append(times, time.Since(start))
		if err := errors.Join(err, runtime.Close(ctx)); err != nil {
			return 0, err
		}
	}
	return median(times), nil
}

func message() sandbox.Call {
	input := map[string]any{"input": map[string]any{"name": "Ann", "message": "where is my order?"}, "node": map[string]any{"name": "classify", "kind": "llm_node", "attempt": kernel.Number(1)}}
	return sandbox.Call{Point: abi.NodeBefore, Input: input}
}

// hook is the median time of a call, and its fuel.
func hook(ctx context.Context, m *sandbox.Module, isolation sandbox.Isolation) (time.Duration, int64, error) {
	call := message()
	call.Isolation = isolation
	times := make([]time.Duration, 2*calls)
	var out sandbox.Outcome
	for i := range times {
		start := time.Now()
		if err := m.Invoke(ctx, call, &out); err != nil {
			return 0, 0, err
		}
		times[i] = time.Since(start)
		if out.Verdict != abi.Replace {
			return 0, 0, fmt.Errorf("the example says %s", out.Verdict)
		}
	}
	return median(times[calls:]), out.Usage.Fuel, nil
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

func round(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Nanosecond).String()
}

func size(n int) string {
	if n < 1<<20 {
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.2f MiB", float64(n)/(1<<20))
}
