package host_test

import (
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
)

// TestAgentWithoutTools: an agent that names no tools has those of all services of its pipeline, and one that names none has none.
func TestAgentWithoutTools(t *testing.T) {
	for more, has := range map[string]bool{"": true, ", available_tools: []": false, ", config: {tools: []}": false, ", available_tools: [], config: {tools: [\"desk:work\"]}": true} {
		s := careful(t, "    llm: {adapter: mock, config: {responses: [{tool_calls: [{name: nope, arguments: {}}]}, done]}}\n")
		p := loadText(t, s.open(t), "kind: Pipeline\nmetadata: {name: t}\nspec:\n  services: {desk: {module: box}}\n  nodes:\n    - {kind: agent_node, metadata: {name: a}, spec: {main_prompt: do it, max_steps: 1"+more+"}}\n")
		res := p.Run(t.Context(), map[string]any{}, host.RunOptions{})
		if res.Err != nil {
			t.Fatal(res.Err)
		}
		state, _ := res.NodeResults["a"].(map[string]any)
		if told := jsonText(t, state["tool_results"]); strings.Contains(told, "desk:work") != has || !strings.Contains(told, "tool_end") {
			t.Errorf("%s: %s", more, told)
		}
	}
}
