package guest_test

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/google/go-cmp/cmp"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/governance/allowall"
	"github.com/hexdag/hexdag/host/ports/llm"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/hexdag/hexdag/host/ports/llm/guest"
	"github.com/hexdag/hexdag/host/ports/llm/llmtest"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/testenv"
	"github.com/hexdag/hexdag/host/toolchain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// built is the module of testdata/answers.
func built(t *testing.T) func() string {
	return sync.OnceValue(func() string {
		testenv.NeedClang(t)
		path := filepath.Join(t.TempDir(), "answers.wasm")
		if err := toolchain.Build(t.Context(), "testdata/answers", path, io.Discard); err != nil {
			t.Fatal(err)
		}
		return path
	})
}

// model is a module that answers as its configuration says.
func model(t *testing.T, path string, config kernel.Value) driver.LLM {
	t.Helper()
	runtime, err := sandbox.New(t.Context(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = runtime.Close(context.Background()) })
	door := ports.NewDoor(governance.New(allowall.Driver{}, governance.Options{}), nil)
	m, err := extension.Load(t.Context(), runtime, door, slog.New(slog.DiscardHandler), extension.Spec{Name: "answers", Path: path, Config: config, Limits: sandbox.Limits{Deadline: time.Minute, Fuel: 1 << 50}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	return guest.New("answers", m.Serve)
}

func TestConformance(t *testing.T) {
	path := built(t)
	llmtest.Run(t, llmtest.Harness{
		New: func(t *testing.T, answers map[string]string) driver.LLM {
			var list []any
			for prompt, answer := range answers {
				list = append(list, []any{prompt, answer})
			}
			return model(t, path(), map[string]any{"answers": list})
		},
		Stall: func(t *testing.T) driver.LLM { return model(t, path(), map[string]any{"stall": true}) },
	})
}

func TestErrors(t *testing.T) {
	m := llm.New(model(t, built(t)(), map[string]any{}))
	if _, err := m.Complete(t.Context(), &llm.Request{Messages: []llm.Message{{Role: driver.User, Content: "who?"}}}); kernel.CodeOf(err) != kernel.CodeNotFound || !strings.Contains(err.Error(), "nobody told what to answer") {
		t.Error(err)
	}
}

// said is a model whose answer is this value.
func said(t *testing.T, value string) (*guest.Model, *kernel.PortCall) {
	t.Helper()
	v, err := kernel.DecodeJSON([]byte(value))
	if err != nil {
		t.Fatal(err)
	}
	asked := &kernel.PortCall{}
	return guest.New("m", func(_ context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
		*asked = *call
		return &kernel.PortReply{Value: v}, nil
	}), asked
}

func TestRequestAndAnswer(t *testing.T) {
	m, asked := said(t, `{"content": "yes", "finish_reason": "length", "model": "own", "usage": {"input_tokens": 7, "output_tokens": 2}}`)
	warm := 0.25
	resp, err := m.Complete(t.Context(), &driver.Request{
		Messages: []driver.Message{{Role: driver.System, Content: "s"}, {Role: driver.User, Content: "u"}},
		Model:    "big", MaxTokens: 9, Temperature: &warm, Schema: map[string]any{"type": "object"},
	})
	if err != nil || !cmp.Equal(*resp, driver.Response{Content: "yes", FinishReason: "length", Model: "own", Usage: driver.Usage{InputTokens: 7, OutputTokens: 2, TotalTokens: 9}}) {
		t.Errorf("%+v, %v", resp, err)
	}
	want := `{"max_tokens":9,"messages":[{"content":"s","role":"system"},{"content":"u","role":"user"}],"model":"big","schema":{"type":"object"},"temperature":0.25}`
	if text, _ := kernel.EncodeJSON(asked.Args); asked.Op != "llm.complete" || string(text) != want {
		t.Errorf("%s %s", asked.Op, text)
	}
	m, _ = said(t, `{"content": "{}", "finish_reason": "stop", "model": "own", "parsed": {}, "usage": {"input_tokens": 7, "output_tokens": 2, "total_tokens": 99, "estimated": true}}`)
	if resp, err = m.Complete(t.Context(), &driver.Request{}); err != nil || resp.Usage != (driver.Usage{InputTokens: 7, OutputTokens: 2, TotalTokens: 9, Estimated: true}) || resp.Parsed != nil {
		t.Errorf("what a model answered, passed on: %+v, %v", resp, err)
	}
	m, asked = said(t, `{"content": ""}`)
	resp, err = m.Complete(t.Context(), &driver.Request{Messages: []driver.Message{{Role: driver.User, Content: "u"}}})
	if err != nil || resp.Model != "m" || resp.FinishReason != "stop" || !resp.Usage.Estimated || resp.Usage.InputTokens != 5 {
		t.Errorf("%+v, %v", resp, err)
	}
	if text, _ := kernel.EncodeJSON(asked.Args); string(text) != `{"messages":[{"content":"u","role":"user"}]}` {
		t.Errorf("%s", text)
	}
}

func TestBrokenAnswers(t *testing.T) {
	for answer, says := range map[string]string{
		`null`: "no content", `{}`: "no content", `"yes"`: "llm.complete", `{"content": 1}`: "llm.complete", `{"content": "x", "tokens": 1}`: "tokens",
		`{"content": "x", "usage": {"input_tokens": -1, "output_tokens": 0}}`:            "usage cannot be",
		`{"content": "x", "usage": {"input_tokens": 0, "output_tokens": 1099511627777}}`: "usage cannot be",
		`{"content": "x", "usage": {"input_tokens": 1e99, "output_tokens": 1}}`:          "llm.complete",
	} {
		m, _ := said(t, answer)
		if resp, err := m.Complete(t.Context(), &driver.Request{}); kernel.CodeOf(err) != kernel.CodeABI || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %+v, %v", answer, resp, err)
		}
	}
}

// A module is told of tools, and calls them, as nodes and other modules do.
func TestTools(t *testing.T) {
	m, asked := said(t, `{"tool_calls": [{"name": "look", "arguments": {"at": "x"}}, {"id": "b", "name": "look", "arguments": "{"}, {"name": "end"}]}`)
	resp, err := m.Complete(t.Context(), &driver.Request{
		Messages: []driver.Message{{Role: driver.User, Content: "u"}, {Role: driver.Assistant, ToolCalls: []driver.ToolCall{{ID: "a", Name: "look", Arguments: `{"at":1}`, Signature: "s"}}}, {Role: driver.Tool, CallID: "a", Content: "r"}},
		Tools:    []driver.ToolSpec{{Name: "look", Parameters: map[string]any{"type": "object"}}}, ToolChoice: driver.ToolChoice{Name: "look"},
	})
	if err != nil || len(resp.ToolCalls) != 3 || resp.ToolCalls[0].Arguments != `{"at":"x"}` || resp.ToolCalls[1].Arguments != "{" || resp.ToolCalls[1].ID != "b" || resp.ToolCalls[2].Arguments != "" {
		t.Errorf("%+v, %v", resp, err)
	}
	want := `{"messages":[{"content":"u","role":"user"},{"content":"","role":"assistant","tool_calls":[{"arguments":{"at":1},"id":"a","name":"look","signature":"s"}]},{"content":"r","role":"tool","tool_call_id":"a"}],` +
		`"tool_choice":{"name":"look"},"tools":[{"description":"","name":"look","parameters":{"type":"object"}}]}`
	if text, _ := kernel.EncodeJSON(asked.Args); string(text) != want {
		t.Errorf("%s", text)
	}
}
