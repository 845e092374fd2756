package sandbox_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox"
)

func TestExtismEcho(t *testing.T) {
	m := load(t, newRuntime(t), dialectGuest(t, "plugin"), sandbox.Limits{})
	for range 3 {
		out, err := m.Call(context.Background(), sandbox.Call{Point: abi.ToolCall, Input: value(t, `{"args":[1.50,"ä"]}`)})
		wantOutput(t, out, err, abi.Continue, `{"args":[1.50,"ä"]}`)
	}
}

// Variables last as long as the memory of the instance.
func TestExtismRemembers(t *testing.T) {
	r := newRuntime(t)
	for _, c := range []struct {
		isolation sandbox.Isolation
		run       string
		want      []string
	}{
		{sandbox.IsolateCall, "r", []string{"3", "3", "3"}},
		{sandbox.IsolateRun, "r", []string{"3", "6", "9"}},
		{sandbox.IsolateRun, "s", []string{"3", "6", "9"}},
		{sandbox.IsolateRun, "", []string{"3", "3", "3"}},
		{sandbox.Shared, "", []string{"3", "6", "9"}},
	} {
		m := served(t, r, dialectGuest(t, "plugin"), "remember", sandbox.Limits{})
		for n, want := range c.want {
			out, err := m.Call(context.Background(), sandbox.Call{Point: abi.ToolCall, Isolation: c.isolation, Run: c.run})
			if wantOutput(t, out, err, abi.Continue, want); t.Failed() {
				t.Fatalf("%s %q, call %d", c.isolation, c.run, n)
			}
		}
	}
}

// What a plugin cannot do ends its call, with the right error, and nothing else.
func TestExtismHostile(t *testing.T) {
	r := newRuntime(t)
	wasm := dialectGuest(t, "plugin")
	for function, want := range map[string]kernel.Code{
		"spin": kernel.CodeTimeout, "spin_host": kernel.CodeTimeout,
		"large_blocks": kernel.CodeLimit, "small_blocks": kernel.CodeLimit, "huge": kernel.CodeLimit, "vars": kernel.CodeLimit, "output_long": kernel.CodeLimit,
		"load_null": kernel.CodeTrap, "load_far": kernel.CodeTrap, "load_wrapping": kernel.CodeTrap, "store_far": kernel.CodeTrap,
		"input_past": kernel.CodeTrap, "input_wrapping": kernel.CodeTrap, "output_far": kernel.CodeTrap,
		"output_text": kernel.CodeABI,
		"nothing":     "", "bad_handles": "", "reuse": "", "both": "",
	} {
		t.Run(function, func(t *testing.T) {
			if function == "both" && os.Getenv("HEXDAG_TEST_ENGINE") == string(sandbox.Wasmtime) {
				t.Skip("wasmtime limits each of the two memories by itself: see wasmtime.go")
			}
			limits := sandbox.Limits{Memory: 4 << 20, Document: 64 << 10}
			if want == kernel.CodeTimeout {
				limits.Deadline = deadline
			}
			m := served(t, r, wasm, function, limits)
			for range 2 { // the second call finds everything as the first did
				out, took, err := call(t, m, sandbox.Call{Point: abi.ToolCall, Host: &fakeHost{}})
				if want == "" {
					wantOutput(t, out, err, abi.Continue, "null")
					continue
				}
				wantCode(t, err, want)
				if want == kernel.CodeTimeout && took > deadline+overshoot {
					t.Errorf("took %s", took)
				}
			}
		})
	}
}

func TestExtismFails(t *testing.T) {
	r := newRuntime(t)
	out, err := served(t, r, dialectGuest(t, "plugin"), "seven", sandbox.Limits{}).Call(context.Background(), sandbox.Call{Point: abi.ToolCall})
	wantOutput(t, out, err, abi.Error, `{"reason":"the plugin returned 7"}`)
	_, err = load(t, r, dialectGuest(t, "plugin-init"), sandbox.Limits{}).Call(context.Background(), sandbox.Call{Point: abi.ToolCall})
	wantCode(t, err, kernel.CodeABI)
	if err == nil || !strings.Contains(err.Error(), "config in _initialize") {
		t.Error(err)
	}
}

// A plugin made with Extism's own PDK, by the standard toolchain.
func TestExtismGo(t *testing.T) {
	r := newRuntime(t)
	m := loadAs(t, r, build(t, "extism-go", "-buildmode=c-shared"), sandbox.LoadOptions{Functions: map[abi.Point]string{abi.NodeRun: "fetch"}, Limits: sandbox.Limits{Deadline: 10 * overshoot}})
	if m.Dialect() != sandbox.Extism {
		t.Fatal(m.Dialect())
	}
	t.Run("config, vars and log", func(t *testing.T) {
		tool := func(isolation sandbox.Isolation, count string) {
			h := &fakeHost{}
			out, err := m.Call(context.Background(), sandbox.Call{Point: abi.ToolCall, Input: value(t, `{"tool":"x","args":{"n":5}}`),
				Config: value(t, `{"greeting":"hällo","size":[1.50]}`), Host: h, Isolation: isolation, Run: "r"})
			wantOutput(t, out, err, abi.Continue, `{"args":{"n":5},"count":`+count+`,"greeting":"hällo","known":true,"missing":false,"size":"[1.50]"}`)
			if !slices.Equal(h.lines, []string{"call " + count, "more"}) {
				t.Errorf("lines %q", h.lines)
			}
		}
		tool(sandbox.IsolateCall, "1")
		tool(sandbox.IsolateRun, "1")
		tool(sandbox.IsolateRun, "2")
		tool(sandbox.IsolateCall, "1")
		tool(sandbox.IsolateCall, "1")
	})
	t.Run("verdicts", func(t *testing.T) {
		hook := func(text string) (*sandbox.Outcome, error) {
			return m.Call(context.Background(), sandbox.Call{Point: abi.NodeBefore, Input: map[string]any{"input": map[string]any{"text": text}}})
		}
		out, err := hook("fine")
		wantOutput(t, out, err, abi.Continue, "null")
		out, err = hook("secret")
		wantOutput(t, out, err, abi.Deny, `{"reason":"it is secret","code":"secret"}`)
		out, err = hook("bad")
		wantOutput(t, out, err, abi.Error, `{"reason":"bad input"}`)
		out, err = hook("later")
		wantOutput(t, out, err, abi.RetryAfter, `{}`)
		if out.Arg != 250 {
			t.Error(out.Arg)
		}
		out, err = hook("long")
		wantOutput(t, out, err, abi.Replace, "null")
		if patched, _ := out.Patched.(map[string]any); patched["text"] != "short" {
			t.Error(out.Patched)
		}
	})
	t.Run("HTTP", func(t *testing.T) {
		h := &fakeHost{}
		out, err := m.Call(context.Background(), sandbox.Call{Point: abi.NodeRun, Input: map[string]any{}, Host: h})
		wantOutput(t, out, err, abi.Continue, `{"status":403,"headers":0}`)
		if len(h.lines) != 1 || !strings.Contains(h.lines[0], "HTTP is refused") {
			t.Errorf("lines %q", h.lines)
		}
	})
	t.Run("calls of the host", func(t *testing.T) {
		h := &fakeHost{}
		door := sandbox.Call{Point: abi.PortCall, Input: map[string]any{}, Host: h}
		out, err := m.Call(context.Background(), door)
		wantOutput(t, out, err, abi.Continue, `{"status":"denied","error":{"code":"denied","message":"no"}}`)
		h.call = func(_ context.Context, op string, args map[string]any, _ []byte) (*kernel.PortReply, error) {
			return &kernel.PortReply{Value: []any{op, args}}, nil
		}
		out, err = m.Call(context.Background(), door)
		wantOutput(t, out, err, abi.Continue, `{"status":"ok","reply":["database.query",{"sql":"select 1"}]}`)
		if out.Usage.HostCalls != 1 {
			t.Errorf("usage %+v", out.Usage)
		}
	})
}
