package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
)

// reasoningNode is a node of core:reasoning_agent, a, with this in its config, and these members of its spec.
func reasoningNode(config, more string) string {
	return "    - {kind: macro_invocation, metadata: {name: a}, spec: {macro: core:reasoning_agent, config: {" + config + "}" + more + "}}\n"
}

func TestReasoningAgent(t *testing.T) {
	p := mustParse(t, spec(data("z", "")+reasoningNode(`main_prompt: "on {{z}} {{question}}", max_steps: 2, allowed_tools: ["m:t", "s:*"], tool_format: json, model: big, timeout: 9, max_retries: 3`, ", dependencies: [z]")+data("y", "")))
	want := []string{
		"z data_node 1 after ",
		"a_step_0_llm llm_node 2 after z",
		"a_step_0_adapter tool_parser_node 3 after a_step_0_llm",
		"a_step_0_tool_executor tool_executor_node 4 after a_step_0_adapter",
		"a_step_0_result_merger tool_results_node 5 after a_step_0_adapter a_step_0_tool_executor",
		"a_step_1_llm llm_node 6 after a_step_0_llm a_step_0_result_merger",
		"a_step_1_adapter tool_parser_node 7 after a_step_1_llm",
		"a_step_1_tool_executor tool_executor_node 8 after a_step_1_adapter",
		"a_step_1_result_merger tool_results_node 9 after a_step_1_adapter a_step_1_tool_executor",
		"a_final llm_node 10 after a_step_0_llm a_step_0_result_merger a_step_1_llm a_step_1_result_merger",
		"y data_node 11 after a_final",
	}
	for i, n := range p.Nodes {
		if got := fmt.Sprintf("%s %s %d after %s", n.Name, n.Kind, n.Wave, strings.Join(n.DependsOn, " ")); got != want[i] {
			t.Errorf("got  %s\nwant %s", got, want[i])
		}
		if n.Where.Line != 7+map[string]int{"z": -1, "y": 1}[n.Name] {
			t.Errorf("%s stands at %s", n.Name, n.Where)
		}
		switch b := n.Body.(type) {
		case *LLM:
			if b.Model != "big" || n.Timeout.Seconds() != 9 || n.Retry.Attempts != 3 {
				t.Errorf("%s: %+v", n.Name, b)
			}
			if first := n.Name == "a_step_0_llm"; first != (b.Style == "json") || first != slices.Equal(b.Tools, []string{"m:t", "s:*"}) || b.Keeps == (n.Name == "a_final") {
				t.Errorf("%s: %+v", n.Name, b)
			}
		case *ToolParser:
			if b.Style != "json" {
				t.Errorf("%s: %+v", n.Name, b)
			}
		case *ToolExecutor:
			if !slices.Equal(b.Tools, []string{"m:t", "s:*"}) {
				t.Errorf("%s: %+v", n.Name, b)
			}
		}
	}
	if len(p.Nodes) != len(want) {
		t.Errorf("%d nodes", len(p.Nodes))
	}
}

// However it is invoked, its nodes take part in the graph as those of any macro.
func TestBuiltinMacros(t *testing.T) {
	const own = "kind: Macro\nmetadata: {name: reasoning_agent}\nparameters: [{name: main_prompt}]\nnodes: [{kind: data_node, metadata: {name: '{{name}}_own'}, spec: {output: 1}}]\n"
	const uses = "kind: Macro\nmetadata: {name: uses}\nparameters: [{name: about}]\nnodes: [{kind: core:reasoning_agent, metadata: {name: '{{name}}_r'}, spec: {main_prompt: 'on {{about}} {{rest}}', max_steps: 1}}]\n"
	one := func(kind, more string) string {
		return "    - {kind: " + kind + ", metadata: {name: a}, spec: {" + more + "}}\n"
	}
	const five = "a_step_4_llm:a_step_0_llm,a_step_1_llm,a_step_2_llm,a_step_3_llm,a_step_3_result_merger"
	for name, tc := range map[string]struct {
		nodes string
		want  string
		count int
	}{
		"by macro_invocation":         {one("macro_invocation", "macro: core:reasoning_agent, config: {main_prompt: x}"), five, 21},
		"by macro_node":               {one("macro_node", "macro: core:reasoning_agent, config: {main_prompt: x}"), five, 21},
		"by its kind":                 {one("core:reasoning_agent", "main_prompt: x"), five, 21},
		"by its kind, with config":    {one("core:reasoning_agent", "config: {main_prompt: x}, max_steps: 1"), "a_final:a_step_0_llm,a_step_0_result_merger", 5},
		"by its class":                {one("macro_invocation", "macro: hexdag.stdlib.macros.ReasoningAgentMacro, config: {main_prompt: x}"), five, 21},
		"by its class's name":         {one("macro_invocation", "macro: reasoning_agent_macro, config: {main_prompt: x}"), five, 21},
		"the file's own of that name": {one("reasoning_agent", "main_prompt: x"), "a_own:", 1},
		"after the node before it":    {data("b", "") + one("core:reasoning_agent", "main_prompt: x, max_steps: 1"), "a_step_0_llm:b", 6},
		"after what its prompt names": {data("b", "") + data("c", "") + one("core:reasoning_agent", "main_prompt: 'on {{ b.x }}', max_steps: 1"), "a_step_0_llm:b a_step_0_adapter:a_step_0_llm", 7},
		"after what its inputs name":  {data("b", "") + data("c", "") + one("core:reasoning_agent", "main_prompt: 'on {{ q }}', max_steps: 1, inputs: {q: b.x}"), "a_step_0_llm:b", 7},
		"after nothing":               {data("b", "") + one("core:reasoning_agent", "main_prompt: x, max_steps: 1, dependencies: []"), "a_step_0_llm:", 6},
		"another waits for it":        {one("core:reasoning_agent", "main_prompt: x, max_steps: 1") + data("b", ", dependencies: []") + data("c", ", dependencies: [a]"), "c:a_final", 7},
		"in a macro":                  {"    - {kind: uses, metadata: {name: m}, spec: {about: tea}}\n" + data("c", ""), "m_r_final:m_r_step_0_llm,m_r_step_0_result_merger c:m_r_final", 6},
		"in a body":                   {"    - {kind: composite_node, metadata: {name: c}, spec: {mode: times, count: 1, body: [{kind: core:reasoning_agent, metadata: {name: a}, spec: {main_prompt: x}}]}}\n", "c:", 1},
		"core:llm_macro":              {data("b", "") + one("core:llm_macro", "template: 'on {{ b.x }}', system_prompt: s, output_schema: {v: str}, parse_strategy: json, timeout: 3"), "a:b", 2},
		"core:llm_workflow":           {one("macro_invocation", "macro: core:llm_workflow, config: {template: 'on {{ q }}'}, inputs: {q: 1}"), "a:", 1},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Parse("p.yaml", []byte(macros([]string{own, uses}, tc.nodes)), Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range strings.Fields(tc.want) {
				node, deps, _ := strings.Cut(want, ":")
				if got := strings.ReplaceAll(after(t, p, node), " ", ","); got != deps {
					t.Errorf("%s depends on %q, want %q", node, got, deps)
				}
			}
			if len(p.Nodes) != tc.count {
				t.Errorf("%d nodes", len(p.Nodes))
			}
		})
	}
}

// An alias of the file's means one, too, and a node may be called what a part of the macro is.
func TestBuiltinMacroAlias(t *testing.T) {
	p := mustParse(t, "kind: Pipeline\nmetadata: {name: t}\nspec:\n  aliases: {thinker: core:reasoning_agent}\n  nodes:\n"+data("results", "")+data("content", "")+"    - {kind: thinker, metadata: {name: a}, spec: {main_prompt: x, max_steps: 1, dependencies: []}}\n")
	if got := after(t, p, "a_step_0_result_merger") + after(t, p, "a_final"); strings.Contains(got, "content") || len(p.Nodes) != 7 {
		t.Errorf("%d nodes, after %s", len(p.Nodes), got)
	}
}

func TestBuiltinMacrosRefuse(t *testing.T) {
	for name, tc := range map[string]struct {
		node string
		at   string
		says []string
	}{
		"no prompt":                    {reasoningNode("", ""), "p.yaml:6:", []string{"needs main_prompt", "under config"}},
		"a prompt that is no text":     {reasoningNode("main_prompt: [a]", ""), "p.yaml:6:", []string{"main_prompt must be a string"}},
		"an empty prompt":              {reasoningNode("main_prompt: ' '", ""), "p.yaml:6:", []string{"main_prompt is empty"}},
		"no steps":                     {reasoningNode("main_prompt: x, max_steps: 0", ""), "p.yaml:6:", []string{"max_steps must be a positive number"}},
		"half a step":                  {reasoningNode("main_prompt: x, max_steps: 1.5", ""), "p.yaml:6:", []string{"max_steps is no amount"}},
		"too many steps":               {reasoningNode("main_prompt: x, max_steps: 51", ""), "p.yaml:6:", []string{"max_steps is 51, the most is 50", "use an agent_node"}},
		"tools that are no list":       {reasoningNode("main_prompt: x, allowed_tools: {a: b}", ""), "p.yaml:6:", []string{"allowed_tools must be a list of strings"}},
		"a tool that is no text":       {reasoningNode("main_prompt: x, allowed_tools: [1]", ""), "p.yaml:6:", []string{"an item of allowed_tools must be a string"}},
		"another format":               {reasoningNode("main_prompt: x, tool_format: xml", ""), "p.yaml:6:", []string{"there is no such tool_format"}},
		"the model's own interface":    {reasoningNode("main_prompt: x, tool_format: native", ""), "p.yaml:6:", []string{"tool_format is native", "agent_node"}},
		"no time":                      {reasoningNode("main_prompt: x, timeout: -1", ""), "p.yaml:6:", []string{"timeout must be a positive number"}},
		"something else":               {reasoningNode("main_prompt: x, max_step: 3", ""), "p.yaml:6:", []string{"has no member max_step", "did you mean max_steps?"}},
		"config as input":              {reasoningNode("main_prompt: x", ", inputs: {max_steps: 3}"), "p.yaml:6:", []string{"max_steps is no input of the macro", "move it to config"}},
		"something else beside config": {reasoningNode("main_prompt: x", ", max_steps: 3"), "p.yaml:6:", []string{"has no member max_steps"}},
		"config twice":                 {"    - {kind: core:reasoning_agent, metadata: {name: a}, spec: {main_prompt: x, config: {main_prompt: y}}}\n", "p.yaml:6:", []string{"main_prompt is in config and beside it"}},
		"inputs that are no mapping":   {reasoningNode("main_prompt: x", ", inputs: [a]"), "p.yaml:6:", []string{"inputs must be a mapping"}},
		"an input that is none":        {reasoningNode("main_prompt: x", ", inputs: {q: '1 +'}"), "p.yaml:6:", nil},
		"a field at node level":        {"    - {kind: core:reasoning_agent, metadata: {name: a}, max_steps: 3, spec: {main_prompt: x}}\n", "p.yaml:6:", []string{"max_steps is not a valid node-level field"}},
		"no name":                      {"    - {kind: core:reasoning_agent, metadata: {}, spec: {main_prompt: x}}\n", "p.yaml:6:", []string{"metadata needs name"}},
		"a name that no path can have": {"    - {kind: core:reasoning_agent, metadata: {name: a-b}, spec: {main_prompt: x}}\n", "p.yaml:6:", []string{"a-b is no name for a reasoning_agent"}},
		"a name that is taken":         {reasoningNode("main_prompt: x", "") + data("a_final", ""), "p.yaml:7:", []string{"two nodes are called a_final"}},
		"none of that name":            {"    - {kind: macro_invocation, metadata: {name: a}, spec: {macro: core:reasoning_agnt, config: {main_prompt: x}}}\n", "p.yaml:6:", []string{"there is no macro core:reasoning_agnt", "did you mean core:reasoning_agent?"}},
		"a kind that is none":          {"    - {kind: core:reasoning_agnt, metadata: {name: a}, spec: {main_prompt: x}}\n", "p.yaml:6:", []string{"there is no node kind core:reasoning_agnt", "did you mean core:reasoning_agent?"}},
		"one that is not built":        {"    - {kind: macro_invocation, metadata: {name: a}, spec: {macro: core:conversation_agent, config: {system_prompt: x}}}\n", "p.yaml:6:", []string{"core:conversation_agent is not built yet", "memory port"}},
		"one by its class":             {"    - {kind: hexdag.stdlib.macros.ConversationMacro, metadata: {name: a}, spec: {system_prompt: x}}\n", "p.yaml:6:", []string{"core:conversation_agent is not built yet"}},
		"no template":                  {"    - {kind: core:llm_macro, metadata: {name: a}, spec: {}}\n", "p.yaml:6:", []string{"needs template"}},
		"another strategy":             {"    - {kind: core:llm_macro, metadata: {name: a}, spec: {template: x, parse_strategy: yaml}}\n", "p.yaml:6:", []string{"there is no such parse_strategy"}},
		"a schema that is none":        {"    - {kind: core:llm_macro, metadata: {name: a}, spec: {template: x, output_schema: [a]}}\n", "p.yaml:6:", []string{"output_schema must be a mapping"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("p.yaml", []byte(spec(tc.node)), Options{})
			wantProblem(t, err, kernel.CodeOf(err), append(tc.says, tc.at)...)
			if kernel.CodeOf(err).Class() != kernel.ClassBadInput || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v", err)
			}
		})
	}
}

// What its steps come to counts against the nodes that a file may have.
func TestReasoningAgentBomb(t *testing.T) {
	var nodes strings.Builder
	for i := range 200 {
		fmt.Fprintf(&nodes, "    - {kind: core:reasoning_agent, metadata: {name: a%d}, spec: {main_prompt: x, max_steps: 50}}\n", i)
	}
	_, err := Parse("p.yaml", []byte(spec(nodes.String())), Options{})
	wantProblem(t, err, kernel.CodePipeline, "more than 20000 nodes")
}

func TestToolNodesRefuse(t *testing.T) {
	for name, tc := range map[string]struct{ node, says string }{
		"nothing to parse":    {"{kind: tool_parser_node, metadata: {name: a}, spec: {}}", "a tool_parser_node needs text"},
		"native calls":        {"{kind: tool_parser_node, metadata: {name: a}, spec: {text: x, tool_call_style: native}}", "tool_call_style is native"},
		"no tools":            {"{kind: tool_executor_node, metadata: {name: a}, spec: {}}", "a tool_executor_node needs available_tools"},
		"tools and a schema":  {"{kind: llm_node, metadata: {name: a}, spec: {human_message: x, available_tools: ['m:t'], output_schema: {v: str}}}", "has no output_schema"},
		"another style":       {"{kind: llm_node, metadata: {name: a}, spec: {human_message: x, tool_call_style: xml}}", "there is no such tool_call_style"},
		"something else":      {"{kind: tool_results_node, metadata: {name: a}, spec: {results: x}}", "has no member results"},
		"a message, kept how": {"{kind: llm_node, metadata: {name: a}, spec: {human_message: x, keep_messages: 1}}", "keep_messages must be a boolean"},
	} {
		_, err := Parse("p.yaml", []byte(spec("    - "+tc.node+"\n")), Options{})
		wantProblem(t, err, kernel.CodeOf(err), tc.says, "p.yaml:6:")
		if t.Failed() {
			t.Fatal(name)
		}
	}
}
