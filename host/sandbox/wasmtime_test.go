//go:build wasmtime

package sandbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
)

// ending is all that a call leaves which must be the same on every engine.
type ending struct {
	Code      kernel.Code
	Why       string // of a limit
	Verdict   abi.Verdict
	Arg       uint32
	Patched   kernel.Value
	Output    kernel.Value
	Body      string
	Fuel      int64
	Memory    uint64
	HostCalls int
	LogLines  int
	BytesIn   int64
	BytesOut  int64
	Lines     []string
}

// both has the engines that are compared.
type both [2]*sandbox.Runtime

func newBoth(t *testing.T) (b both) {
	t.Helper()
	for n, engine := range []sandbox.Engine{sandbox.Wazero, sandbox.Wasmtime} {
		r, err := sandbox.New(context.Background(), sandbox.Options{Engine: engine, CacheDir: filepath.Join(t.TempDir(), "cache")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close(context.Background()) })
		b[n] = r
	}
	return b
}

// compare loads a module on both engines and makes the calls on each.
func (b both) compare(t *testing.T, wasm []byte, opts sandbox.LoadOptions, calls ...sandbox.Call) (compared int) {
	t.Helper()
	if opts.Name == "" {
		opts.Name = "guest"
	}
	if opts.Limits.Deadline == 0 {
		opts.Limits.Deadline = time.Minute // fuel is what ends them
	}
	var modules [2]*sandbox.Module
	var refusals [2]string
	for n, r := range b {
		m, err := r.Load(context.Background(), wasm, opts)
		if refusals[n] = string(kernel.CodeOf(err)); err == nil {
			defer m.Close(context.Background())
		}
		modules[n] = m
	}
	if refusals[0] != refusals[1] {
		t.Errorf("wazero loads it with %q, wasmtime with %q", refusals[0], refusals[1])
	}
	if refusals[0]+refusals[1] != "" {
		return 0
	}
	for n, c := range calls {
		if !modules[0].Has(c.Point) {
			continue
		}
		want, got := end(modules[0], c), end(modules[1], c)
		if want != got {
			t.Errorf("call %d of %s:\nwazero   %s\nwasmtime %s", n, c.Point, want, got)
		}
		compared++
	}
	return compared
}

// end is how a call ends, as text.
func end(m *sandbox.Module, c sandbox.Call) string {
	h := &fakeHost{
		call: func(_ context.Context, op string, args map[string]any, body []byte) (*kernel.PortReply, error) {
			if op == "deny.me" {
				return nil, errDenied
			}
			return &kernel.PortReply{Value: map[string]any{"op": op, "args": args}, Body: body}, nil
		},
		clock: func(id abi.ClockID) (int64, error) { return int64(id) + 42, nil },
		random: func(p []byte) error {
			for i := range p {
				p[i] = byte(i * 7)
			}
			return nil
		},
	}
	c.Host = h
	out, err := m.Call(context.Background(), c)
	u := out.Usage
	e := ending{Code: kernel.CodeOf(err), Verdict: out.Verdict, Arg: out.Arg, Patched: out.Patched, Output: out.Output, Body: string(out.Body),
		Fuel: u.Fuel, Memory: u.Memory, HostCalls: u.HostCalls, LogLines: u.LogLines, BytesIn: u.BytesIn, BytesOut: u.BytesOut, Lines: h.lines}
	if e.Code == kernel.CodeLimit {
		e.Why = err.Error()
	}
	text, err := json.Marshal(e)
	return fmt.Sprint(string(text), err)
}

// everywhere calls every extension point twice, in each isolation.
func everywhere(body []byte) (calls []sandbox.Call) {
	for _, p := range abi.Points() {
		for _, i := range []sandbox.Isolation{sandbox.IsolateCall, sandbox.Shared} {
			call := sandbox.Call{Point: p, Input: input(), Body: body, Config: map[string]any{"word": "x"}, Isolation: i}
			calls = append(calls, call, call)
		}
	}
	return calls
}

// fuel is little, so that what loops for ever ends soon, and at the same place.
const fuel = 3_000_000

func TestEnginesAgreeOnHostileModules(t *testing.T) {
	b := newBoth(t)
	files, err := filepath.Glob("../redteam/modules/*.wasm")
	if err != nil || len(files) < 40 {
		t.Fatal(files, err)
	}
	compared := 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".wasm"), func(t *testing.T) {
			wasm, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			compared += b.compare(t, wasm, sandbox.LoadOptions{Limits: sandbox.Limits{Fuel: fuel}}, everywhere(nil)...)
		})
	}
	if compared < 80 {
		t.Errorf("only %d calls were compared", compared)
	}
}

func TestEnginesAgreeOnTheProbe(t *testing.T) {
	b := newBoth(t)
	var calls []sandbox.Call
	for _, s := range []*probe.Script{
		stain(), inspect(), moving(20), new(probe.Script).Do(probe.Trap), new(probe.Script).Do(probe.Spin), new(probe.Script).Do(probe.ProcExit, 3),
		new(probe.Script).Do(probe.Recurse, 1000), new(probe.Script).Do(probe.Recurse, 1<<30),
		new(probe.Script).Do(probe.Call, "a.b", `{"x":1}`, 0, 0).Do(probe.Field, reply, "/args", free, 100).Do(probe.Append, output, free, 30),
		new(probe.Script).Do(probe.Call, "deny.me", 0, 0, 0, 0).Do(probe.Clock, 0).Do(probe.Random, free, 64).Do(probe.Append, output, free, 64),
		new(probe.Script).Do(probe.Grow, 100).Do(probe.Store, 70<<16, 1).Do(probe.Grow, 100_000).Do(probe.Size),
		new(probe.Script).Do(probe.Log, 1, "line").Do(probe.Set, 0, "/args/a", 4, "new"),
	} {
		for _, i := range []sandbox.Isolation{sandbox.IsolateCall, sandbox.Shared} {
			calls = append(calls, sandbox.Call{Point: abi.PortBefore, Input: input(), Body: s.Image(), Isolation: i})
		}
	}
	if n := b.compare(t, probe.Wasm, sandbox.LoadOptions{Limits: sandbox.Limits{Fuel: fuel}}, calls...); n != len(calls) {
		t.Errorf("%d of %d calls were compared", n, len(calls))
	}
}

func TestEnginesAgreeOnDialects(t *testing.T) {
	b := newBoth(t)
	plugin := dialectGuest(t, "plugin")
	compared := 0
	for _, function := range []string{
		"remember", "spin", "large_blocks", "small_blocks", "huge", "vars", "output_long", "load_null", "load_far", "load_wrapping", "store_far",
		"input_past", "input_wrapping", "output_far", "output_text", "nothing", "bad_handles", "reuse",
	} {
		compared += b.compare(t, plugin, sandbox.LoadOptions{Limits: sandbox.Limits{Fuel: fuel, Memory: 4 << 20}, Functions: map[abi.Point]string{abi.ToolCall: function}}, everywhere(nil)...)
	}
	for name, wasm := range map[string][]byte{"init": dialectGuest(t, "plugin-init"), "command": dialectGuest(t, "command")} {
		if n := b.compare(t, wasm, sandbox.LoadOptions{Limits: sandbox.Limits{Fuel: fuel}}, everywhere(nil)...); n > 0 || name == "init" {
			compared += n
		} else {
			t.Errorf("%s was not called", name)
		}
	}
	if compared < 70 {
		t.Errorf("only %d calls were compared", compared)
	}
}

// TestEnginesAgreeOnCompiledGuests has the guests of the benchmarks, of C and of Go.
func TestEnginesAgreeOnCompiledGuests(t *testing.T) {
	b := newBoth(t)
	file := func(name string) []byte {
		wasm, err := os.ReadFile(filepath.Join("../bench/guests", name+".wasm"))
		if err != nil {
			t.Fatal(err)
		}
		return wasm
	}
	body := bytes.Repeat([]byte("0123456789abcdef"), 64)
	for _, name := range []string{"echo-64k", "echo-128k", "echo-1100k"} {
		if b.compare(t, file(name), sandbox.LoadOptions{}, everywhere(body)...) == 0 {
			t.Errorf("%s was not called", name)
		}
	}
	var works []sandbox.Call
	for id := 1; id <= 5; id++ {
		works = append(works, sandbox.Call{Point: abi.NodeRun, Input: nil, Text: make([]byte, id)})
	}
	if n := b.compare(t, file("kernels"), sandbox.LoadOptions{}, works...); n != 5 {
		t.Errorf("%d kernels of C", n)
	}
	if testing.Short() {
		return
	}
	if n := b.compare(t, benchGuest(t, "gokernels"), sandbox.LoadOptions{}, works...); n != 5 {
		t.Errorf("%d kernels of Go", n)
	}
	hook := map[string]any{"input": map[string]any{"name": "bob", "city": "rome"}}
	if n := b.compare(t, benchGuest(t, "gohook"), sandbox.LoadOptions{}, sandbox.Call{Point: abi.NodeBefore, Input: hook}, sandbox.Call{Point: abi.NodeBefore, Input: hook}); n != 2 {
		t.Error("the hook of Go was not called")
	}
}

// benchGuest builds one of the benchmarks' guests with the standard toolchain.
func benchGuest(t *testing.T, name string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), name+".wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, "./"+name)
	cmd.Dir = "../bench/guests"
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	wasm, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// The cache of compiled code is used, and an entry that is broken is made anew.
func TestWasmtimeCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	load := func() {
		t.Helper()
		r, err := sandbox.New(context.Background(), sandbox.Options{Engine: sandbox.Wasmtime, CacheDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close(context.Background())
		m, err := r.Load(context.Background(), probe.Wasm, sandbox.LoadOptions{Name: "guest"})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close(context.Background())
		play(t, m, inspect(), nil)
	}
	load()
	entries, err := filepath.Glob(filepath.Join(dir, "wasmtime-*"))
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	first, err := os.Stat(entries[0])
	if err != nil {
		t.Fatal(err)
	}
	load()
	if again, err := os.Stat(entries[0]); err != nil || again.ModTime() != first.ModTime() {
		t.Error("compiled again")
	}
	if err := os.WriteFile(entries[0], []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	load()
	if again, err := os.Stat(entries[0]); err != nil || again.Size() != first.Size() {
		t.Errorf("a broken entry stays: %v, %v", again, err)
	}
}
