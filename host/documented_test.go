package host_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

// model is the ports of a pipeline whose model answers these, one after the other.
func model(answers ...string) string {
	list, _ := json.Marshal(answers)
	return "  ports: {llm: {adapter: mock_llm, config: {responses: " + string(list) + "}}}\n"
}

// sum adds the items that it is given.
func sum(_ context.Context, call *kernel.NodeCall) (kernel.Value, error) {
	given, _ := call.Input.(map[string]any)
	items, _ := given["items"].([]any)
	total := int64(0)
	for _, item := range items {
		n, _ := item.(json.Number).Int64()
		total += n
	}
	return kernel.Number(total), nil
}

// What hexDAG documents and its reference does not do: a row for each of
// the list. (Two of its rows are about Python alone: dynamic=True, and what pip installs.)
func TestDocumentedButBrokenUpstream(t *testing.T) {
	for name, tc := range map[string]struct {
		spec  string // the lines of spec
		input string
		want  map[string]string // results of nodes
		fails string            // what the error says
		asked string            // the last message to the model
	}{
		"expressions name their one dependency": {
			spec: `  nodes:
    - {kind: data_node, metadata: {name: analyzer}, spec: {output: {confidence: 0.5}}}
    - {kind: expression_node, metadata: {name: b}, spec: {expressions: {score: "analyzer.confidence * 100"}}}
`, want: map[string]string{"b": `{"score": 50.0}`}},
		"an expression sees a structured answer": {
			spec: model(`{"confidence": 0.5}`) + `  nodes:
    - {kind: llm_node, metadata: {name: analyzer}, spec: {human_message: hi, output_schema: {confidence: float}}}
    - {kind: expression_node, metadata: {name: b}, spec: {expressions: {flat: "confidence * 100", named: "analyzer.confidence * 100"}}}
`, want: map[string]string{"b": `{"flat": 50.0, "named": 50.0}`}},
		"a prompt names its one dependency": {
			spec: model("ok") + `  nodes:
    - {kind: data_node, metadata: {name: analyzer}, spec: {output: {x: tea}}}
    - {kind: llm_node, metadata: {name: b}, spec: {human_message: "about {{ analyzer.x }}, {{ x }}"}}
`, want: map[string]string{"b": `"ok"`}, asked: "about tea, tea"},
		"a prompt names another model's text": {
			spec: model("one", "two") + `  nodes:
    - {kind: llm_node, metadata: {name: first}, spec: {human_message: hi}}
    - {kind: llm_node, metadata: {name: second}, spec: {human_message: "after {{first}}"}}
`, want: map[string]string{"second": `"two"`}, asked: "after one"},
		"$input in conditions, items, when and expressions": {
			spec: `  nodes:
    - {kind: composite_node, metadata: {name: c}, spec: {mode: if-else, condition: "$input.n > 1", body: [{kind: data_node, metadata: {name: y}, spec: {output: {v: 1}}}]}}
    - {kind: composite_node, metadata: {name: i}, spec: {mode: for-each, items: "$input.list", body: [{kind: expression_node, metadata: {name: e}, spec: {expressions: {v: "item + $input.n"}}}]}}
    - {kind: data_node, metadata: {name: w}, spec: {when: "$input.n == 2", output: {v: ran}}}
    - {kind: expression_node, metadata: {name: e}, spec: {expressions: {v: "$input.n * 2"}}}
`, input: `{"n": 2, "list": [1, 2]}`, want: map[string]string{
				"c": `{"result": {"v": 1}, "metadata": {"mode": "if-else", "condition_met": true, "branch_taken": "if"}}`, "w": `{"v": "ran"}`, "e": `{"v": 4}`,
				"i": `{"result": [{"v": 3}, {"v": 4}], "metadata": {"mode": "for-each", "iterations": 2, "stopped_by": "exhausted", "successful": 2, "failed": 0, "errors": null}}`,
			}},
		"$input in a prompt": {
			spec: model("ok") + "  nodes: [{kind: llm_node, metadata: {name: a}, spec: {human_message: \"on {{ $input.topic }}\"}}]\n", input: `{"topic": "tea"}`, want: map[string]string{"a": `"ok"`}, asked: "on tea"},
		"$item in a body": {
			spec: `  nodes:
    - {kind: composite_node, metadata: {name: i}, spec: {mode: times, count: 1, collect: last, body: [{kind: expression_node, metadata: {name: e}, spec: {expressions: {v: "$index"}}}]}}
    - {kind: composite_node, metadata: {name: l}, spec: {mode: for-each, items: "[7]", collect: last, body: [{kind: expression_node, metadata: {name: e}, spec: {expressions: {v: "$item * 2", last: "$is_last", of: "$total"}}}]}}
`, want: map[string]string{
				"i": `{"result": {"v": 0}, "metadata": {"mode": "times", "iterations": 1, "stopped_by": "exhausted", "successful": 1, "failed": 0, "errors": null}}`,
				"l": `{"result": {"v": 14, "last": true, "of": 1}, "metadata": {"mode": "for-each", "iterations": 1, "stopped_by": "exhausted", "successful": 1, "failed": 0, "errors": null}}`,
			}},
		"an agent's fields stand beside its prompt": {
			spec: model("INVOKE_TOOL: tool_end(answer='done')") + `  nodes:
    - {kind: agent_node, metadata: {name: a}, spec: {initial_prompt_template: "do {{ what }}", max_steps: 3, output_schema: {answer: str}}}
`, input: `{"what": "it"}`, want: map[string]string{"a": `{"answer": "done"}`}},
		"middleware takes parameters": {
			spec: `  ports: {memory: {adapter: memory, middleware: [{ResponseCache: {max_size: 3}}, {hexdag.stdlib.middleware.timeout.Timeout: {timeout_seconds: 5}}]}}
  nodes: [{kind: service_call_node, metadata: {name: a}, spec: {service: memory, method: exists, input_mapping: {key: "'k'"}}}]
`, want: map[string]string{"a": `{"exists": false}`}},
		"middleware's parameters are checked": {
			spec: `  ports: {memory: {adapter: memory, middleware: [{Timeout: {seconds: 5}}]}}
  nodes: []
`, fails: "seconds"},
		"type_ports and node_ports": {
			spec: `  ports: {llm: {adapter: mock_llm, config: {responses: [pipeline]}}}
  type_ports: {agent_node: {llm: {adapter: mock_llm, config: {responses: ["INVOKE_TOOL: tool_end(answer='kind')"]}}}}
  node_ports: {own: {llm: {adapter: mock_llm, config: {responses: [node]}}}}
  nodes:
    - {kind: llm_node, metadata: {name: shared}, spec: {human_message: hi}}
    - {kind: llm_node, metadata: {name: own}, spec: {human_message: hi}}
    - {kind: agent_node, metadata: {name: agent}, spec: {main_prompt: hi, output_schema: {answer: str}}}
`, want: map[string]string{"shared": `"pipeline"`, "own": `"node"`, "agent": `{"answer": "kind"}`}},
		"a mapping's default": {
			spec: `  nodes:
    - {kind: data_node, metadata: {name: a}, spec: {output: {b: null}}}
    - {kind: expression_node, metadata: {name: n}, spec: {input_mapping: {x: "a.b | default('n/a')"}, expressions: {y: x}}}
`, want: map[string]string{"n": `{"y": "n/a"}`}},
		"state_update counts": {
			spec: `  nodes:
    - kind: composite_node
      metadata: {name: w}
      spec: {mode: while, condition: "state.n < 3", initial_state: {n: 0}, state_update: {n: "state.n + 1", seen: "$body.v"}, collect: last, body: [{kind: expression_node, metadata: {name: e}, spec: {expressions: {v: "state.n * 10"}}}]}
`, want: map[string]string{"w": `{"result": {"v": 20}, "metadata": {"mode": "while", "iterations": 3, "stopped_by": "condition", "final_state": {"n": 3, "seen": 20, "iteration": 3}, "successful": 3, "failed": 0, "errors": null}}`}},
		"merge_strategy": {
			spec: `  nodes:
    - {kind: data_node, metadata: {name: a}, spec: {output: {v: 1}}, dependencies: []}
    - {kind: data_node, metadata: {name: b}, spec: {output: {v: 2}}, dependencies: []}
    - {kind: expression_node, metadata: {name: list}, spec: {merge_strategy: list, extract_field: v}, dependencies: [b, a]}
    - {kind: expression_node, metadata: {name: sum}, spec: {merge_strategy: reduce, extract_field: v, reducer: m.sum}, dependencies: [a, b]}
    - {kind: expression_node, metadata: {name: first}, spec: {merge_strategy: first, extract_field: v}, dependencies: [a, b]}
    - {kind: expression_node, metadata: {name: last}, spec: {merge_strategy: last, extract_field: v}, dependencies: [a, b]}
    - {kind: expression_node, metadata: {name: dict}, spec: {merge_strategy: dict}, dependencies: [a, b]}
`, want: map[string]string{"list": `{"result": [2, 1]}`, "sum": `{"result": 3}`, "first": `{"result": 1}`, "last": `{"result": 2}`, "dict": `{"result": {"a": {"v": 1}, "b": {"v": 2}}}`}},
		"an agent calls tools in JSON": {
			spec: model(`INVOKE_TOOL: {"tool": "tool_end", "params": {"answer": "done"}}`) + `  nodes:
    - {kind: agent_node, metadata: {name: a}, spec: {main_prompt: do it, config: {tool_call_style: json, max_steps: 3}, output_schema: {answer: str}}}
`, want: map[string]string{"a": `{"answer": "done"}`}},
		"limits": {
			spec:  model("a", "b") + "  limits: {max_llm_calls: 1}\n  nodes:\n    - {kind: llm_node, metadata: {name: a}, spec: {human_message: hi}}\n    - {kind: llm_node, metadata: {name: b}, spec: {human_message: hi}}\n",
			fails: "limits.max_llm_calls is 1"},
		"a limit of nothing": {
			spec: model("a") + "  limits: {max_llm_calls: 0}\n  nodes: [{kind: llm_node, metadata: {name: a}, spec: {human_message: hi}}]\n", fails: "limits.max_llm_calls is 0"},
		"caps": {
			spec: model("a") + "  caps: {deny: [port.llm]}\n  nodes: [{kind: llm_node, metadata: {name: a}, spec: {human_message: hi}}]\n", fails: "deny port.llm"},
		"policies say that they have no effect": {
			spec: "  policies: [{a: 1}]\n  nodes: [{kind: data_node, metadata: {name: a}, spec: {output: 1}}]\n", want: map[string]string{"a": `1`}},
		"a guard holds for a pipeline's transition": {
			spec: `  state_machines: {order: {initial: NEW, transitions: {NEW: [{to: PAID, guard: "payload.amount > 0"}]}}}
  nodes:
    - {kind: transition, metadata: {name: t}, spec: {entity: order, entity_id: "7", to_state: PAID, payload: {amount: $input.amount}}}
`, input: `{"amount": 0}`, fails: "guard"},
		"a transition registers its entity": {
			spec: `  state_machines: {order: {initial: NEW, transitions: {NEW: [{to: PAID, guard: "payload.amount > 0"}]}}}
  nodes:
    - {kind: transition, metadata: {name: t}, spec: {entity: order, entity_id: "7", to_state: PAID, payload: {amount: $input.amount}}}
`, input: `{"amount": 5}`, want: map[string]string{"t": `{"entity_type": "order", "entity_id": "7", "from_state": "NEW", "to_state": "PAID"}`}},
		"nodes of a macro are named": {
			spec: `  nodes:
    - {kind: macro_invocation, metadata: {name: m}, spec: {macro: double, config: {of: n}}}
    - {kind: expression_node, metadata: {name: after}, spec: {expressions: {v: "m_out.v + m.twice"}}}
`, input: `{"n": 2}`, want: map[string]string{"m_out": `{"v": 4}`, "m": `{"twice": 4}`, "after": `{"v": 8}`}},
	} {
		t.Run(name, func(t *testing.T) {
			asked := &askedModel{}
			h := bare(t, host.Options{Functions: map[string]host.Function{"m.sum": sum}, PortHooks: []host.PortHook{{Name: "asked", Match: func(op string) bool { return op == "llm.complete" }, Hook: asked}}})
			file := filepath.Join(t.TempDir(), "p.yaml")
			text := "kind: Macro\nmetadata: {name: double}\nparameters: [{name: of}]\nnodes:\n  - {kind: expression_node, metadata: {name: \"{{name}}_out\"}, spec: {expressions: {v: \"{{of}} * 2\"}}}\noutputs: {twice: \"{{name}}_out.v\"}\n---\nkind: Pipeline\nmetadata: {name: t}\nspec:\n" + tc.spec
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			p, err := h.Load(t.Context(), file, host.LoadOptions{})
			if err == nil {
				defer p.Close(t.Context())
				given := map[string]any{}
				if tc.input != "" {
					v, derr := kernel.DecodeJSON([]byte(tc.input))
					if derr != nil {
						t.Fatal(derr)
					}
					given = v.(map[string]any)
				}
				result := p.Run(t.Context(), given, host.RunOptions{})
				err = result.Err
				for node, want := range tc.want {
					wantValue(t, node, result.NodeResults[node], want)
				}
			}
			switch {
			case tc.fails == "" && err != nil:
				t.Error(err)
			case tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails)):
				t.Errorf("%v does not say %q", err, tc.fails)
			}
			if tc.asked != "" {
				messages, _ := asked.last.([]any)
				last, _ := messages[len(messages)-1].(map[string]any)
				if last["content"] != tc.asked {
					t.Errorf("the model was asked %v, want %q", last, tc.asked)
				}
			}
		})
	}
}

// An event's key is a template, of the input too.
func TestInputInEventKey(t *testing.T) {
	h := bare(t, host.Options{})
	file := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(file, []byte("kind: Pipeline\nmetadata: {name: t}\nspec: {nodes: [{kind: wait_node, metadata: {name: w}, spec: {event_key: 'approve:{{ $input.id }}:{{id}}'}}]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	result := runSample(t, loadSample(t, h, file), `{"id": 5}`)
	if len(result.Waits) != 1 || result.Waits[0].EventKey != "approve:5:5" {
		t.Errorf("it waits for %+v", result.Waits)
	}
}

// What a state of a lifecycle requires is also required of a transition inside the
// process of another state.
func TestRequiresInsideAProcess(t *testing.T) {
	h := bare(t, host.Options{})
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("p.yaml", "kind: Pipeline\nmetadata: {name: p}\nspec: {nodes: [{kind: transition, metadata: {name: close}, spec: {entity: other, entity_id: \"{{ entity_id }}\", to_state: CLOSED, payload: {summary: $input.payload.summary}}}]}\n")
	file := write("s.yaml", `kind: System
metadata: {name: s}
spec:
  state_machines:
    ticket: {initial: OPEN, transitions: {OPEN: [DONE]}}
    other: {initial: OPENED, transitions: {OPENED: [CLOSED]}}
  states: {DONE: {on_enter: close}, CLOSED: {requires: [summary]}}
  processes: [{name: close, pipeline: p.yaml}]
`)
	s, err := h.LoadSystem(t.Context(), file, host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	if _, err := s.Transition(t.Context(), host.Move{Entity: "ticket", ID: "1", To: "DONE", Payload: map[string]any{"summary": nil}}, host.RunOptions{}); err == nil || !strings.Contains(err.Error(), "summary") {
		t.Errorf("without a summary: %v", err)
	}
	// The ticket has kept its state, so that it can be moved again.
	if _, err := s.Transition(t.Context(), host.Move{Entity: "ticket", ID: "1", To: "DONE", Payload: map[string]any{"summary": "x"}}, host.RunOptions{}); err != nil {
		t.Error(err)
	}
}
