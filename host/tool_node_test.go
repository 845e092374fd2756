package host_test

import (
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

// work is a node that calls the tool of the module box.
const work = `{kind: tool_call_node, metadata: {name: w}, dependencies: [], spec: {tool: box.work}}`

// A tool_call_node calls a tool as an agent does: governance is asked about the tool, and about what it does, and nothing
// is done twice where a person is asked in between.
func TestToolNodeWaits(t *testing.T) {
	s := careful(t, "")
	h := s.open(t)
	result := s.load(t, h, work).Run(t.Context(), map[string]any{}, host.RunOptions{})
	if result.Status != engine.Suspended || len(result.Waits) != 1 {
		t.Fatalf("%+v, %v", result, result.Err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	last := s.answerAll(t, true)
	if last.Status != engine.Completed || s.acts(t, "box.work") != 2 || s.acts(t, "artifacts.store") != 1 || s.acts(t, "metrics.count") != 2 {
		t.Errorf("%+v, %v; the tool %d times, stored %d, counted %d", last, last.Err, s.acts(t, "box.work"), s.acts(t, "artifacts.store"), s.acts(t, "metrics.count"))
	}
}

func TestToolNodeRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		node string
		code kernel.Code
		says []string
	}{
		"no such module": {`{kind: tool_call_node, metadata: {name: w}, spec: {tool: bax.work}}`, kernel.CodeModuleNotFound, []string{"there is no module bax", "configured are box"}},
		"no such tool":   {`{kind: tool_call_node, metadata: {name: w}, spec: {tool: box.walk}}`, kernel.CodeModuleExport, []string{"has no tool walk"}},
		"no tool":        {`{kind: tool_call_node, metadata: {name: w}, spec: {tool: box}}`, kernel.CodePipeline, []string{"names no tool", "write tool: module.tool, or server.tool"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := careful(t, "")
			h := s.open(t)
			s.write(t, "pipeline.yaml", "kind: Pipeline\nmetadata: {name: test}\nspec:\n  nodes:\n    - "+test.node+"\n")
			_, err := h.Load(t.Context(), s.path("pipeline.yaml"), host.LoadOptions{})
			wantError(t, err, test.code, test.says...)
		})
	}
}
