package mcpserver_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/server/mcpserver"
)

// Clients are told what tools answer, and a tool that answers something else has failed.
func TestOutputSchemas(t *testing.T) {
	for output, fits := range map[string]bool{
		`{"properties":{"roots":{"type":"boolean"}},"required":["roots"],"type":"object"}`: true,
		`{"properties":{"roots":{"type":"string"}},"required":["roots"],"type":"object"}`:  false,
	} {
		s := askingSite(t, doing("{op: client.describe}"))
		told := work
		told.OutputSchema = json.RawMessage(output)
		s.boxOf(t, []abi.Capability{{Op: "metrics.count"}, {Op: "client.ask"}, {Op: "client.describe"}}, told)
		s.write(t, "said.yaml", "kind: Pipeline\nmetadata: {name: said}\nspec:\n  output_schema: {said: str}\n  nodes:\n    - {kind: expression_node, metadata: {name: a}, spec: {expressions: {said: \"$input.text\"}}}\n  output: {said: a.said}\n")
		session := connect(t, s.open(t, mcpserver.Options{}, s.path("said.yaml")), nil)
		list, err := session.ListTools(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		shown := map[string]string{}
		for _, tool := range list.Tools {
			text, err := json.Marshal(tool.OutputSchema)
			if err != nil {
				t.Fatal(err)
			}
			shown[tool.Name] = string(text)
		}
		if shown["work"] != output || !strings.Contains(shown["said"], `"said":{"type":"string"`) {
			t.Errorf("%v", shown)
		}
		result := call(t, session, "work", map[string]any{})
		if fits {
			if text, _ := json.Marshal(result.StructuredContent); result.IsError || string(text) != `{"complete":false,"elicit":false,"roots":true}` {
				t.Errorf("%v: %s", result, text)
			}
		} else {
			says(t, result, kernel.CodeABI, "the result of tool work", "at '/roots': got boolean, want string")
		}
		if result := call(t, session, "said", map[string]any{"text": "a"}); result.IsError || fmt.Sprint(result.StructuredContent) != "map[said:a]" {
			t.Errorf("%v: %s", result.StructuredContent, text(result))
		}
		says(t, call(t, session, "said", map[string]any{"text": []int{1}}), kernel.CodeFailed, "breaks output_schema")
	}
}

// What a module's tool says is labelled in what the client is given, where it fails, too.
func TestResultsAreLabelled(t *testing.T) {
	for does, fails := range map[string]bool{doing(countOnce): false, doing("{op: memory.set, head: {nokey: 1}}"): true} {
		s := newSite(t, does, allowing)
		config, err := os.ReadFile(s.path("hexdag.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		s.write(t, "hexdag.yaml", strings.Replace(string(config), "  tenant: acme\n", "  tenant: acme\n  labels: {tools: {integrity: untrusted}}\n", 1))
		session := connect(t, s.open(t, mcpserver.Options{}), nil)
		result := call(t, session, "work", map[string]any{})
		if labels := fmt.Sprint(result.Meta["hexdag/labels"]); result.IsError != fails || labels != "map[confidentiality:public integrity:untrusted sources:[tool:box.work]]" {
			t.Errorf("%s: %s", labels, text(result))
		}
	}
}
