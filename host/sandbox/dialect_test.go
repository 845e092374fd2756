package sandbox_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/testenv"
)

// dialectGuest returns a module of testdata/dialect.
func dialectGuest(t testing.TB, name string) []byte {
	t.Helper()
	wasm, err := os.ReadFile(filepath.Join("testdata", "dialect", name+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// build builds a program of testdata/dialect with the standard toolchain.
func build(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	if testing.Short() {
		t.Skip("building takes seconds")
	}
	run := func(args ...string) (string, error) {
		cmd := exec.Command("go", args...)
		cmd.Dir = filepath.Join("testdata", "dialect", name)
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=", "GOWORK=off")
		said, err := cmd.CombinedOutput()
		return string(said), err
	}
	if said, err := run("mod", "download"); err != nil {
		testenv.Missing(t, "module that the guest requires: "+said)
	}
	out := filepath.Join(t.TempDir(), "guest.wasm")
	if said, err := run(append(append([]string{"build", "-ldflags=-s -w", "-o", out}, args...), ".")...); err != nil {
		t.Fatal(said)
	}
	wasm, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// loadAs loads a module with what the operator says of its dialect.
func loadAs(t testing.TB, r *sandbox.Runtime, wasm []byte, opts sandbox.LoadOptions) *sandbox.Module {
	t.Helper()
	opts.Name = "guest"
	m, err := r.Load(context.Background(), wasm, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// served loads a module one of whose functions serves tool_call.
func served(t testing.TB, r *sandbox.Runtime, wasm []byte, function string, limits sandbox.Limits) *sandbox.Module {
	t.Helper()
	return loadAs(t, r, wasm, sandbox.LoadOptions{Limits: limits, Functions: map[abi.Point]string{abi.ToolCall: function}})
}

// value reads JSON as the host does.
func value(t testing.TB, text string) kernel.Value {
	t.Helper()
	v, err := kernel.DecodeJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// wantOutput checks the result of a call that came to its end.
func wantOutput(t testing.TB, out *sandbox.Outcome, err error, verdict abi.Verdict, output string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if out.Verdict != verdict || !reflect.DeepEqual(out.Output, value(t, output)) {
		t.Errorf("got %s %v, want %s %s", out.Verdict, out.Output, verdict, output)
	}
	if out.Usage.Fuel <= 0 {
		t.Errorf("it used %d of fuel", out.Usage.Fuel)
	}
}

func TestDialects(t *testing.T) {
	r := newRuntime(t)
	plugin, command := dialectGuest(t, "plugin"), dialectGuest(t, "command")
	hooks := map[abi.Point]string{abi.NodeBefore: "_start", abi.ToolCall: "_start"}
	for _, c := range []struct {
		name   string
		wasm   []byte
		opts   sandbox.LoadOptions
		want   sandbox.Dialect
		points []abi.Point
		says   string
	}{
		{name: "native", wasm: probe.Wasm, want: sandbox.Native, points: []abi.Point{abi.NodeBefore, abi.PortBefore, abi.ToolCall}},
		{name: "plugin", wasm: plugin, want: sandbox.Extism, points: []abi.Point{abi.ToolCall}},
		{name: "command", wasm: command, want: sandbox.Command, points: []abi.Point{abi.NodeRun, abi.ToolCall}},
		{name: "command named", wasm: command, opts: sandbox.LoadOptions{Dialect: sandbox.Command}, want: sandbox.Command, points: []abi.Point{abi.NodeRun, abi.ToolCall}},
		{name: "command as a hook", wasm: command, opts: sandbox.LoadOptions{Functions: hooks}, want: sandbox.Command, points: []abi.Point{abi.NodeBefore, abi.ToolCall}},
		{name: "plugin as native", wasm: plugin, opts: sandbox.LoadOptions{Dialect: sandbox.Native}, says: "no module extism:host/env in the dialect native"},
		{name: "native as a plugin", wasm: probe.Wasm, opts: sandbox.LoadOptions{Dialect: sandbox.Extism}, says: "no module hexdag_v1 in the dialect extism"},
		{name: "plugin as a command", wasm: plugin, opts: sandbox.LoadOptions{Dialect: sandbox.Command}, says: `in the dialect wasi-command`},
		{name: "library as a command", wasm: hostile(t, "spin-init"), opts: sandbox.LoadOptions{Dialect: sandbox.Command}, says: "no function _start"},
		{name: "unknown", wasm: plugin, opts: sandbox.LoadOptions{Dialect: "wapc"}, says: "the dialects are native, extism and wasi-command"},
		{name: "no such function", wasm: plugin, opts: sandbox.LoadOptions{Functions: map[abi.Point]string{abi.NodeRun: "run"}}, says: "no function run, which is to serve node_run"},
		{name: "another signature", wasm: plugin, opts: sandbox.LoadOptions{Functions: map[abi.Point]string{abi.NodeRun: "takes"}}, says: "it is (i32) -> (), the extension point is () -> (i32)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := r.Load(context.Background(), c.wasm, c.opts)
			if err != nil {
				if c.says == "" || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v, want %q", err, c.says)
				}
				return
			}
			if err := m.Close(context.Background()); err != nil {
				t.Error(err)
			}
			if c.says != "" {
				t.Fatalf("loaded, want %q", c.says)
			}
			if m.Dialect() != c.want || c.name != "native" && !slices.Equal(m.Points(), c.points) {
				t.Errorf("%s serves %v, want %s and %v", m.Dialect(), m.Points(), c.want, c.points)
			}
		})
	}
}

// A verdict document that cannot be read is a failure, never consent.
func TestVerdictDocuments(t *testing.T) {
	r := newRuntime(t)
	// The command puts out what it is given: each input is its own verdict.
	m := loadAs(t, r, dialectGuest(t, "command"), sandbox.LoadOptions{Functions: map[abi.Point]string{abi.NodeBefore: "_start", abi.NodeAfter: "_start"}})
	for _, c := range []struct {
		point   abi.Point
		text    string
		verdict abi.Verdict
		arg     uint32
		output  string
		patched string
		says    string
	}{
		{point: abi.NodeBefore, text: `{"verdict":"continue"}`, output: `null`},
		{point: abi.NodeBefore, text: `{"verdict":"replace","patch":{"a":1.50}}`, verdict: abi.Replace, output: `null`, patched: `{"a":1.50}`},
		{point: abi.NodeBefore, text: `{"verdict":"skip","output":[1]}`, verdict: abi.Skip, output: `[1]`},
		{point: abi.NodeAfter, text: `{"verdict":"deny","reason":"no","code":"c"}`, verdict: abi.Deny, output: `{"reason":"no","code":"c"}`},
		{point: abi.NodeAfter, text: `{"verdict":"error","reason":7}`, verdict: abi.Error, output: `{}`},
		{point: abi.NodeAfter, text: `{"verdict":"retry_after","retry_ms":250,"reason":"busy"}`, verdict: abi.RetryAfter, arg: 250, output: `{"reason":"busy"}`},
		{point: abi.NodeAfter, text: `{"verdict":"skip"}`, says: "node_after may not return skip"},
		{point: abi.NodeBefore, text: `{"verdict":"replace"}`, says: "needs the member patch"},
		{point: abi.NodeBefore, text: `{"verdict":"retry_after"}`, says: "needs the member retry_ms"},
		{point: abi.NodeBefore, text: `{"verdict":"retry_after","retry_ms":4294967296}`, says: "needs the member retry_ms"},
		{point: abi.NodeBefore, text: `{"verdict":"allow"}`, says: `verdict is "allow"`},
		{point: abi.NodeBefore, text: `{"verdict":"continue","patches":1}`, says: `unknown member "patches"`},
		{point: abi.NodeBefore, text: `{}`, says: "verdict is"},
		{point: abi.NodeBefore, text: `true`, says: "not an object"},
	} {
		out, err := m.Call(context.Background(), sandbox.Call{Point: c.point, Input: value(t, c.text)})
		if c.says != "" {
			wantCode(t, err, kernel.CodeABI)
			if err == nil || !strings.Contains(err.Error(), c.says) || out.Verdict != abi.Continue || out.Output != nil {
				t.Errorf("%s: got %v %+v, want %q", c.text, err, out, c.says)
			}
			continue
		}
		wantOutput(t, out, err, c.verdict, c.output)
		if out.Arg != c.arg || c.patched != "" && !reflect.DeepEqual(out.Patched, value(t, c.patched)) {
			t.Errorf("%s: got %d and %v", c.text, out.Arg, out.Patched)
		}
	}
}

// deadline is that of guests that never end.
const deadline = 50 * time.Millisecond
