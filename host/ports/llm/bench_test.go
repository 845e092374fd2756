package llm_test

import (
	"fmt"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/hexdag/hexdag/host/ports/llm/mockllm"
)

// BenchmarkComplete is what the port adds to a model: checks, estimates, budgets and, with tools, the reading of calls.
func BenchmarkComplete(b *testing.B) {
	tools := make([]driver.ToolSpec, 20)
	for i := range tools {
		tools[i] = driver.ToolSpec{Name: fmt.Sprintf("tool%d", i), Description: "does this and that", Parameters: map[string]any{"type": "object", "required": []any{"at"}, "properties": map[string]any{"at": map[string]any{"type": "string"}}}}
	}
	limit := 1e12
	for name, req := range map[string]*llm.Request{"text": {}, "tools": {Tools: tools}} {
		b.Run(name, func(b *testing.B) {
			d, err := mockllm.New(mockllm.Config{Responses: []any{map[string]any{"tool_calls": []any{map[string]any{"name": "tool7", "arguments": map[string]any{"at": "x"}}}}}})
			if err != nil {
				b.Fatal(err)
			}
			p := llm.New(d)
			run := &kernel.RunContext{}
			run.Spending.Limits = kernel.Limits{Tokens: &limit}
			ctx := kernel.WithRun(b.Context(), run)
			req.Messages = []llm.Message{{Role: driver.System, Content: "be brief"}, {Role: driver.User, Content: "what is the weather in Bonn?"}}
			b.ReportAllocs()
			for b.Loop() {
				resp, err := p.Complete(ctx, req)
				if err != nil || len(resp.ToolCalls) != min(len(req.Tools), 1) || len(req.Tools) > 0 && resp.ToolCalls[0].Invalid != "" {
					b.Fatalf("%+v, %v", resp, err)
				}
			}
		})
	}
}
