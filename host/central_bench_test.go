package host_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

// BenchmarkCentralAgentDecision is what a decision of a central agent costs beside its model, which answers at once: the loop, the door with governance
// and the audit log, and the operation. A start is a run as well, and is told apart: what it takes is to keep that the run is there.
func BenchmarkCentralAgentDecision(b *testing.B) {
	const decisions = 30
	for name, call := range map[string]string{
		"refused": `{"id": "c", "name": "nosuch", "arguments": {}}`,
		"note":    `{"id": "c", "name": "central_agent:note", "arguments": {"text": "a decision"}}`,
		"start":   `{"id": "c", "name": "central_agent:start", "arguments": {"pipeline": "child"}}`,
	} {
		b.Run(name, func(b *testing.B) {
			s := newSite(b, "  libraries: {pipelines: pipelines, store: {adapter: memory}, pipeline_spawner: {max_running: 100000}, central_agent: {pipelines: {child: {untrusted: allow}}, max_starts: 100}}\n")
			s.write(b, "pipelines/child.yaml", "kind: Pipeline\nmetadata: {name: child}\nspec: {nodes: [{kind: data_node, metadata: {name: n}, spec: {output: {}}}]}\n")
			cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
			if err != nil {
				b.Fatal(err)
			}
			one, err := kernel.DecodeJSON([]byte(call))
			if err != nil {
				b.Fatal(err)
			}
			end, _ := kernel.DecodeJSON([]byte(`{"id": "e", "name": "tool_end", "arguments": {"outcome": "done", "summary": ""}}`))
			model := func(_ context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
				said := []any{one}
				if messages, _ := call.Args["messages"].([]any); len(messages) > 2*decisions {
					said = []any{end}
				}
				return &kernel.PortReply{Value: map[string]any{"content": "", "tool_calls": said}}, nil
			}
			h, err := host.New(b.Context(), cfg, host.Options{Ports: []host.PortOp{{Name: "llm.complete", Func: model}}})
			if err != nil {
				b.Fatal(err)
			}
			defer h.Close(context.Background())
			p := benchLoad(b, h, fmt.Sprintf("kind: Pipeline\nmetadata: {name: bench}\nspec:\n  nodes:\n    - {kind: central_agent_node, metadata: {name: a}, spec: {goal: go, max_steps: %d}}\n", decisions+1))
			b.ResetTimer()
			for b.Loop() {
				if r := p.Run(b.Context(), map[string]any{}, host.RunOptions{}); r.Status != engine.Completed {
					b.Fatal(r.Err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/decisions, "us/decision")
		})
	}
}
