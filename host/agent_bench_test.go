package host_test

import (
	"fmt"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
)

// BenchmarkAgentStep is what a step of an agent costs beside its model, which answers at once: of twenty, each with the conversation of those
// before it.
func BenchmarkAgentStep(b *testing.B) {
	const steps = 20
	for _, style := range []string{"native", "mixed"} {
		b.Run(style, func(b *testing.B) {
			h := benchHost(b, "  ports: {llm: {adapter: mock, config: {responses: [\"I think about it.\"]}}}\n", host.Options{})
			p := benchLoad(b, h, fmt.Sprintf("kind: Pipeline\nmetadata: {name: bench}\nspec:\n  nodes:\n    - {kind: agent_node, metadata: {name: a}, spec: {main_prompt: \"Think.\", max_steps: %d, tool_call_style: %s}}\n", steps, style))
			b.ResetTimer()
			for b.Loop() {
				if r := p.Run(b.Context(), map[string]any{}, host.RunOptions{}); r.Status != engine.Completed {
					b.Fatal(r.Err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/steps, "us/step")
		})
	}
}
