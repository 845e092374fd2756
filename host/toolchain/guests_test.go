package toolchain

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox"
)

// doorstep is a host that notes what guests call and answers {}.
type doorstep struct{ calls []string }

func (d *doorstep) Call(_ context.Context, op string, args map[string]any, _ []byte) (*kernel.PortReply, error) {
	text, err := kernel.EncodeJSON(args)
	d.calls = append(d.calls, op+" "+string(text))
	return &kernel.PortReply{Value: map[string]any{}}, err
}

func (*doorstep) Log(abi.Level, string) {}

func (*doorstep) Clock(context.Context, abi.ClockID) (int64, error) { return 0, nil }

func (*doorstep) Random(context.Context, []byte) error { return nil }

func load(t *testing.T, wasm []byte) *sandbox.Module {
	t.Helper()
	runtime, err := sandbox.New(context.Background(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = runtime.Close(context.Background()) })
	m, err := runtime.Load(t.Context(), wasm, sandbox.LoadOptions{Limits: sandbox.Limits{Deadline: 30e9}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func value(t *testing.T, text string) kernel.Value {
	t.Helper()
	v, err := kernel.DecodeJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func text(t *testing.T, v kernel.Value) string {
	t.Helper()
	b, err := kernel.EncodeJSON(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestTokenBudget runs the checked-in module: the C SDK against the host.
func TestTokenBudget(t *testing.T) {
	wasm, err := os.ReadFile("../../guests/token-budget/token-budget.wasm")
	if err != nil {
		t.Fatal(err)
	}
	m := load(t, wasm)
	// 37 bytes are 10 tokens, and 4 more for the message.
	const hello = `"messages":[{"role":"user","content":"1234567890123456789012345678901234567"}]`
	payload := func(used, args string) string {
		return `{"run":{"usage":{"input_tokens":` + used + `,"output_tokens":20}},"op":"llm.complete","args":{` + args + `}}`
	}
	for _, tc := range []struct {
		name, config, payload string
		verdict               abi.Verdict
		want                  string // the patched arguments' end, or the reason
	}{
		{"sets what is left", `{"max_tokens_per_run":100}`, payload("10", hello), abi.Replace, `"max_tokens":56,`},
		{"lowers to what is left", `{"max_tokens_per_run":100}`, payload("10", hello+`,"max_tokens":57`), abi.Replace, `"max_tokens":56,`},
		{"leaves what fits", `{"max_tokens_per_run":100}`, payload("10", hello+`,"max_tokens":56`), abi.Continue, ""},
		{"the call's budget is smaller", `{"max_tokens_per_run":100,"max_tokens_per_call":20}`, payload("10", hello), abi.Replace, `"max_tokens":6,`},
		{"the call's budget alone", `{"max_tokens_per_call":20}`, payload("100000", hello+`,"max_tokens":6`), abi.Continue, ""},
		{"no limit is too much", `{"max_tokens_per_call":20}`, payload("0", hello+`,"max_tokens":-1`), abi.Replace, `"max_tokens":6,`},
		{"the last token", `{"max_tokens_per_run":45}`, payload("10", hello), abi.Replace, `"max_tokens":1,`},
		{"no room", `{"max_tokens_per_run":44}`, payload("10", hello), abi.Deny,
			"the run has used 30 tokens and this prompt takes about 14, which leaves no room for an answer within max_tokens_per_run: 44"},
		{"used up before", `{"max_tokens_per_run":20}`, payload("10", hello), abi.Deny, "the run has used 30 tokens"},
		{"a prompt too long for a call", `{"max_tokens_per_call":14}`, payload("0", hello), abi.Deny, "this prompt takes about 14, which leaves no room for an answer within max_tokens_per_call: 14"},
		{"another operation", `{"max_tokens_per_run":1}`, `{"op":"llm.embed","args":{}}`, abi.Continue, ""},
		{"no configuration", `{}`, payload("0", hello), abi.Error, "neither max_tokens_per_run nor"},
		{"a budget as text", `{"max_tokens_per_run":"100"}`, payload("0", hello), abi.Error, "max_tokens_per_run is not a positive integer"},
		{"a budget of nothing", `{"max_tokens_per_call":0}`, payload("0", hello), abi.Error, "max_tokens_per_call is not a positive integer"},
		{"a fractional budget", `{"max_tokens_per_call":1.5}`, payload("0", hello), abi.Error, "max_tokens_per_call is not a positive integer"},
	} {
		out, err := m.Call(t.Context(), sandbox.Call{Point: abi.PortBefore, Input: value(t, tc.payload), Config: value(t, tc.config), Host: &doorstep{}})
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		got := text(t, out.Patched) + text(t, out.Output)
		if out.Verdict != tc.verdict || !strings.Contains(got, tc.want) {
			t.Errorf("%s: got %v %s, want %v %s", tc.name, out.Verdict, got, tc.verdict, tc.want)
		}
	}
}

// TestGoGuestOnTheHost runs a guest of the Go SDK: what it imports, reads and
// patches is what the host offers, and not only what the SDK's own fake does.
func TestGoGuestOnTheHost(t *testing.T) {
	m := load(t, build(t, "../../guests/redact"))
	host := &doorstep{}
	out, err := m.Call(t.Context(), sandbox.Call{
		Point:  abi.NodeBefore,
		Input:  value(t, `{"input":{"name":"Anna Müller","text":["anna, ann@example.com",4111111111111111]}}`),
		Config: value(t, `{"names_from":["/input/name"]}`),
		Host:   host,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, out.Patched); out.Verdict != abi.Replace || got != `{"name":"[NAME]","text":["[NAME], [EMAIL]","[CARD]"]}` {
		t.Errorf("got %v %s %s", out.Verdict, got, text(t, out.Output))
	}
	if len(host.calls) != 1 || host.calls[0] != `metrics.count {"delta":4,"name":"fields_redacted"}` {
		t.Errorf("calls %q", host.calls)
	}
	if points := m.Points(); len(points) != 1 || points[0] != abi.NodeBefore {
		t.Errorf("a hook before nodes exports %v", points)
	}
}
