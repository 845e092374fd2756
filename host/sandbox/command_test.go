package sandbox_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox"
)

// A command starts anew for every call, whatever isolation is asked for.
func TestCommandStartsAnew(t *testing.T) {
	m := load(t, newRuntime(t), dialectGuest(t, "command"), sandbox.Limits{})
	for range 3 {
		for _, isolation := range []sandbox.Isolation{sandbox.IsolateCall, sandbox.IsolateRun, sandbox.Shared} {
			const message = `{"args":["ä",1.50]}`
			out, err := m.Call(context.Background(), sandbox.Call{Point: abi.ToolCall, Input: value(t, message), Isolation: isolation, Run: "r"})
			wantOutput(t, out, err, abi.Continue, message)
			if want := int64(len(message)); out.Usage.BytesIn != want || out.Usage.BytesOut != want {
				t.Errorf("usage %+v", out.Usage)
			}
		}
	}
}

// A program of the standard toolchain, which knows nothing of this host.
func TestGoCommand(t *testing.T) {
	m := load(t, newRuntime(t), build(t, "command-go"), sandbox.Limits{Document: 64 << 10, Deadline: 5 * overshoot})
	do := func(what string) (*sandbox.Outcome, *fakeHost, error) {
		h := &fakeHost{}
		out, err := m.Call(context.Background(), sandbox.Call{Point: abi.NodeRun, Input: map[string]any{"args": map[string]any{"do": what}}, Host: h})
		return out, h, err
	}
	out, h, err := do("answer")
	wantOutput(t, out, err, abi.Continue, `{"args":{"do":"answer"},"argv":0,"env":0}`)
	if !slices.Equal(h.lines, []string{"a line for the log"}) {
		t.Errorf("lines %q", h.lines)
	}
	again, _, _ := do("answer")
	if again.Usage.Fuel != out.Usage.Fuel {
		t.Errorf("%d of fuel, then %d", out.Usage.Fuel, again.Usage.Fuel)
	}
	out, h, err = do("fail")
	wantOutput(t, out, err, abi.Error, `{"reason":"exit code 3: a line for the log\ntold to fail"}`)
	if len(h.lines) != 2 {
		t.Errorf("lines %q", h.lines)
	}
	out, _, err = do("panic")
	if err != nil || out.Verdict != abi.Error || !strings.Contains(out.Output.(map[string]any)["reason"].(string), "exit code 2: ") {
		t.Errorf("got %+v, %v", out, err)
	}
	_, _, err = do("flood")
	wantCode(t, err, kernel.CodeLimit)
	_, _, err = do("spin")
	if code := kernel.CodeOf(err); code != kernel.CodeTimeout && code != kernel.CodeLimit { // of time or of fuel, what a busy machine has less of
		t.Errorf("code %q: %v", code, err)
	}
}
