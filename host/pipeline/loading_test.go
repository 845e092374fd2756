package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
)

// warnings returns what the pipeline warns of, a line for each.
func warnings(p *Pipeline) []string {
	list := make([]string, len(p.Warnings))
	for i, w := range p.Warnings {
		list[i] = w.Error()
	}
	return list
}

// after returns what a node depends on.
func after(t *testing.T, p *Pipeline, name string) string {
	t.Helper()
	n := p.Node(name)
	if n == nil {
		t.Fatalf("no node %s", name)
	}
	return strings.Join(n.DependsOn, " ")
}

// expression is a node that computes v.
func expression(name, v, rest string) string {
	return fmt.Sprintf("    - {kind: expression_node, metadata: {name: %s}, spec: {expressions: {v: %q}%s}}\n", name, v, rest)
}

// What is a reference, and what is not.
func TestReferences(t *testing.T) {
	nodes := data("analyzer", "") + data("b_node", ", dependencies: []") + data("last", ", dependencies: []")
	for name, tc := range map[string]struct{ node, want string }{
		"a template":                            {"    - {kind: data_node, metadata: {name: n}, spec: {output: '{{analyzer.result}}'}}\n", "analyzer"},
		"a template of the whole":               {"    - {kind: data_node, metadata: {name: n}, spec: {output: 'x {{ analyzer }} y'}}\n", "analyzer"},
		"a template deep in a value":            {"    - {kind: data_node, metadata: {name: n}, spec: {output: {a: [{b: ['{{ analyzer.x.y }}']}]}}}\n", "analyzer"},
		"templates of a prompt and its system":  {"    - {kind: llm_node, metadata: {name: n}, spec: {human_message: '{{ analyzer.x }}', system_message: '{{ b_node }}'}}\n", "analyzer b_node"},
		"templates of a request":                {"    - {kind: api_call_node, metadata: {name: n}, spec: {url: 'https://x/{{ analyzer.x }}', json_body: {k: '{{ b_node.v }}'}}}\n", "analyzer b_node"},
		"both of max(analyzer.a, b_node)":       {expression("n", "max(analyzer.a, b_node)", ""), "analyzer b_node"},
		"a bare name in an expression":          {expression("n", "analyzer", ""), "analyzer"},
		"when":                                  {expression("n", "1", ", when: 'b_node.ok'"), "b_node"},
		"a condition":                           {"    - {kind: composite_node, metadata: {name: n}, spec: {mode: if-else, condition: analyzer.ok}}\n", "analyzer"},
		"a branch's condition":                  {"    - {kind: composite_node, metadata: {name: n}, spec: {mode: switch, branches: [{condition: analyzer.ok, action: x}]}}\n", "analyzer"},
		"items":                                 {"    - {kind: composite_node, metadata: {name: n}, spec: {mode: for-each, items: analyzer.list, body: [{kind: data_node, metadata: {name: i}, spec: {output: 1}}]}}\n", "analyzer"},
		"a body":                                {"    - {kind: composite_node, metadata: {name: n}, spec: {mode: times, count: 1, body: [{kind: data_node, metadata: {name: i}, spec: {output: '{{ analyzer }}'}}]}}\n", "analyzer"},
		"a payload":                             {"    - {kind: transition, metadata: {name: n}, spec: {entity: e, entity_id: i, to_state: s, payload: {x: analyzer.v, y: [b_node]}}}\n", "analyzer b_node"},
		"a mapping":                             {"    - {kind: function_node, metadata: {name: n}, spec: {fn: m, input_mapping: {x: analyzer.v + 1, y: {z: [b_node]}}}}\n", "analyzer b_node"},
		"not $input":                            {expression("n", "$input.analyzer + $input.b_node", ""), "last"},
		"not ctx":                               {expression("n", "ctx.run_id", ""), "last"},
		"not a function":                        {expression("n", "len([1])", ""), "last"},
		"not what follows a dot":                {expression("n", "$input.x.analyzer", ""), "last"},
		"not a text in an expression":           {expression("n", "'analyzer.x'", ""), "last"},
		"not a bare path in any text":           {"    - {kind: data_node, metadata: {name: n}, spec: {output: 'analyzer.result'}}\n", "last"},
		"not a template with a filter":          {"    - {kind: data_node, metadata: {name: n}, spec: {output: '{{ analyzer | upper }}'}}\n", "last"},
		"not itself":                            {"    - {kind: data_node, metadata: {name: n}, spec: {output: '{{ n }}'}}\n", "last"},
		"not a variable that was computed":      {"    - {kind: expression_node, metadata: {name: n}, spec: {expressions: {x: analyzer.v, y: x + 1}}}\n", "analyzer"},
		"not an item by a node's name":          {"    - {kind: composite_node, metadata: {name: n}, spec: {mode: for-each, items: '[1]', item_var: analyzer, body: [{kind: expression_node, metadata: {name: i}, spec: {expressions: {v: analyzer}}}]}}\n", "last"},
		"wait_for beside a reference":           {"    - {kind: data_node, metadata: {name: n}, spec: {output: '{{ analyzer }}'}, wait_for: b_node}\n", "analyzer b_node"},
		"dependencies in the spec":              {"    - {kind: data_node, metadata: {name: n}, spec: {output: 1, dependencies: [analyzer], wait_for: [b_node]}}\n", "analyzer b_node"},
		"a mapping of $input alone is no root":  {"    - {kind: function_node, metadata: {name: n}, spec: {fn: m, input_mapping: {x: $input.y}}}\n", "last"},
		"a list index and a deep path are fine": {expression("n", "analyzer.list.0.x", ""), "analyzer"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Parse("p.yaml", []byte(spec(nodes+tc.node)), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := after(t, p, "n"); got != tc.want {
				t.Errorf("it depends on %q, want %q", got, tc.want)
			}
		})
	}
}

func TestExplicitDependencies(t *testing.T) {
	p := mustParse(t, spec(data("a", "")+data("b", ", dependencies: []")+"    - {kind: data_node, metadata: {name: c}, dependencies: [a], spec: {output: '{{ b.v }} {{ b }}'}}\n"))
	if got := after(t, p, "c"); got != "a b" {
		t.Errorf("it depends on %q", got)
	}
	if w := warnings(p); len(w) != 1 || !strings.Contains(w[0], "node c names b and lists its dependencies without it; it was added") || !strings.HasPrefix(w[0], "p.yaml:8:") {
		t.Errorf("warnings %q", w)
	}
}

// A node without references that follows its own consumer.
func TestChainOntoItsConsumer(t *testing.T) {
	_, err := Parse("p.yaml", []byte(spec(expression("user", "later.v", "")+data("later", ""))), Options{})
	wantProblem(t, err, kernel.CodePipeline, "Cycle detected: user -> later -> user", "p.yaml:6:")
}

func TestRouting(t *testing.T) {
	router := func(rest string) string {
		return "    - {kind: composite_node, metadata: {name: router}, spec: {mode: switch, route_downstream: true, branches: [{condition: x > 1, action: pa}, {condition: x > 0, action: pb}]" + rest + "}}\n"
	}
	p := mustParse(t, spec(router(", else_action: pc")+"    - {kind: data_node, metadata: {name: pa}, dependencies: [], spec: {output: 1, when: 'x > 1'}}\n"+data("pb", ", dependencies: []")+data("pc", ", dependencies: []")))
	for node, when := range map[string]string{"pa": "(x > 1) and (router.result == 'pa')", "pb": "router.result == 'pb'", "pc": "router.result == 'pc'"} {
		if n := p.Node(node); after(t, p, node) != "router" || n.When == nil || n.When.Text != when {
			t.Errorf("%s depends on %q, when %+v", node, after(t, p, node), n.When)
		}
	}
	_, err := Parse("p.yaml", []byte(spec(router("")+data("pa", ", dependencies: []")+data("pq", ", dependencies: []"))), Options{})
	wantProblem(t, err, kernel.CodePipeline, "node router routes to pb, which does not exist", "known are pa, pq, router")
	without := mustParse(t, spec(strings.Replace(router(""), "route_downstream: true, ", "", 1)+data("pa", ", dependencies: []")))
	if without.Node("pa").When != nil || after(t, without, "pa") != "" {
		t.Error("a switch that does not route leads to a node")
	}
}

// Two branches that lead to one node say so once.
func TestRoutingTwice(t *testing.T) {
	p := mustParse(t, spec("    - {kind: composite_node, metadata: {name: r}, spec: {mode: switch, route_downstream: true, branches: [{condition: x, action: a}, {condition: y, action: a}]}}\n"+data("a", ", dependencies: []")))
	if got := p.Node("a").When.Text; got != "r.result == 'a'" {
		t.Errorf("when %q", got)
	}
}

func TestErrorHandlers(t *testing.T) {
	p := mustParse(t, spec("    - {kind: data_node, metadata: {name: a}, spec: {output: 1, on_error: h}}\n    - {kind: data_node, metadata: {name: b}, dependencies: [], spec: {output: 1, on_error: h}}\n"+data("h", ", dependencies: []")+
		"    - {kind: wait_node, metadata: {name: w}, dependencies: [], spec: {event_key: k, on_timeout: late}}\n"+data("late", ", dependencies: []")))
	if after(t, p, "h") != "a b" || after(t, p, "late") != "w" || after(t, p, "a") != "" {
		t.Errorf("h depends on %q, late on %q", after(t, p, "h"), after(t, p, "late"))
	}
	for on, says := range map[string]string{"nobody": "names as its handler nobody, which does not exist", "a": "node a handles its own errors"} {
		_, err := Parse("p.yaml", []byte(spec("    - {kind: data_node, metadata: {name: a}, spec: {output: 1, on_error: "+on+"}}\n")), Options{})
		wantProblem(t, err, kernel.CodePipeline, says)
	}
}

// The rules that need the whole pipeline.
func TestValidation(t *testing.T) {
	schema := "  input_schema: {price: float, qty: int}\n"
	for name, tc := range map[string]struct {
		settings, nodes string
		says            []string // nothing: it is taken
		warns           []string
	}{
		"an expression with a node's name":       {"", data("a", "") + "    - {kind: expression_node, metadata: {name: e}, spec: {expressions: {a: '1'}}}\n", []string{"expression a of node e has the name of a node"}, nil},
		"an expression with a function's name":   {"", "    - {kind: expression_node, metadata: {name: e}, spec: {expressions: {len: '1'}}}\n", []string{"expression len has the name of a built-in function"}, nil},
		"an expression with a mapping's name":    {"", "    - {kind: expression_node, metadata: {name: e}, spec: {input_mapping: {x: $input.x}, expressions: {x: '1'}}}\n", []string{"expression x has the name of an input_mapping"}, nil},
		"an unknown field of ctx":                {"", expression("e", "ctx.run_di", ""), []string{"ctx has no field run_di", "did you mean run_id?"}, nil},
		"an unknown field of ctx in a template":  {"", "    - {kind: data_node, metadata: {name: e}, spec: {output: '{{ ctx.nodename }}'}}\n", []string{"ctx has no field nodename", "did you mean node_name?"}, nil},
		"a known field of ctx":                   {"", expression("e", "ctx.run_id + ctx.pipeline_name + ctx.node_name", ""), nil, nil},
		"a field that input_schema lacks":        {schema, expression("e", "$input.prise", ""), []string{"input_schema declares no field prise", "did you mean price?"}, nil},
		"also in a template":                     {schema, "    - {kind: data_node, metadata: {name: e}, spec: {output: '{{ $input.prise }}'}}\n", []string{"input_schema declares no field prise"}, nil},
		"also in a mapping":                      {schema, "    - {kind: function_node, metadata: {name: e}, spec: {fn: m, input_mapping: {x: $input.prise}}}\n", []string{"input_schema declares no field prise"}, nil},
		"a field that it has":                    {schema, expression("e", "$input.price * qty", ""), nil, nil},
		"any field without a schema":             {"", expression("e", "$input.prise", ""), nil, nil},
		"an unknown first segment":               {"", data("analyzer", "") + expression("e", "analyser.x", ""), []string{"Unknown reference analyser in node e", "did you mean analyzer?"}, nil},
		"a template nearly names a node":         {"", data("root", "") + data("analyzer", ", dependencies: []") + "    - {kind: data_node, metadata: {name: e}, dependencies: [root], spec: {output: '{{ analyser.x }}'}}\n", nil, []string{"template of node e names analyser, which is no node", "did you mean analyzer?"}},
		"but not one that it depends on":         {"", data("analyzer", "") + "    - {kind: data_node, metadata: {name: e}, dependencies: [analyzer], spec: {output: '{{ analyser.x }}'}}\n", nil, nil},
		"an output of no node":                   {"  output: {x: nobody.y}\n", data("a", ""), nil, []string{"output x names nobody, which does not exist: it will be null", "known are a"}},
		"an output that is no path":              {"  output: {x: 'a + 1'}\n", data("a", ""), []string{"output"}, nil},
		"an unknown type":                        {"  input_schema: {price: flaot}\n", data("a", ""), []string{"there is no type flaot", "known are Any, bool"}, nil},
		"observers":                              {"  observers: [{class: x}]\n", data("a", ""), []string{"observers of a pipeline are not built yet"}, nil},
		"what is removed":                        {"  common_field_mappings: {a: b}\n", data("a", ""), []string{"common_field_mappings is no part of the format any more"}, nil},
		"policies":                               {"  policies: {a: b}\n", data("a", ""), nil, []string{"policies has no effect: governance is the operator's"}},
		"an unknown member of spec":              {"  orchestrater: {}\n", data("a", ""), nil, []string{"spec has the member orchestrater, which has no effect", "did you mean orchestrator?"}},
		"members that are the author's":          {"  variables: {a: 1}\n  environments: {}\n  outputs: {}\n", data("a", ""), nil, nil},
		"a limit below zero":                     {"  limits: {max_llm_calls: -1}\n", data("a", ""), []string{"max_llm_calls must be a number of at least zero"}, nil},
		"an unknown limit":                       {"  limits: {max_calls: 1}\n", data("a", ""), []string{"has no member max_calls"}, nil},
		"an unknown capability":                  {"  caps: {deny: [port.lmm]}\n", data("a", ""), []string{"there is no capability port.lmm", "did you mean port.llm?"}, nil},
		"a timeout of nothing":                   {"  orchestrator: {pipeline_timeout: 0}\n", data("a", ""), []string{"pipeline_timeout must be a positive number"}, nil},
		"an alias for no kind":                   {"  aliases: {x: my.Class}\n", data("a", ""), []string{"alias x names my.Class, which is no node kind", "import paths run no code here"}, nil},
		"an alias for a kind":                    {"  aliases: {thing: llm_node, llm_node: data_node}\n", "    - {kind: llm_node, metadata: {name: a}, spec: {output: 1}}\n", nil, nil}, // of this file alone
		"a service that is Python":               {"  services: {s: {class: my.Class}}\n", data("a", ""), []string{"class my.Class is an import path"}, nil},
		"a service without anything":             {"  services: {s: {}}\n", data("a", ""), []string{"service s needs module"}, nil},
		"hexDAG's own services":                  {"  services: {m: {class: hexdag.stdlib.lib.PipelineMemory}, e: {class: entity_state}}\n", data("a", ""), nil, nil},
		"a composite without a body":             {"", "    - {kind: composite_node, metadata: {name: c}, spec: {mode: while, condition: x}}\n", []string{"mode while requires body or body_pipeline"}, nil},
		"body and body_pipeline":                 {"", "    - {kind: composite_node, metadata: {name: c}, spec: {mode: times, count: 1, body: m, body_pipeline: b.yaml}}\n", []string{"body and body_pipeline exclude each other"}, nil},
		"times 0":                                {"", "    - {kind: composite_node, metadata: {name: c}, spec: {mode: times, count: 0, body: m}}\n", []string{"count must be a positive number"}, nil},
		"a branch without a condition":           {"", "    - {kind: composite_node, metadata: {name: c}, spec: {mode: switch, branches: [{action: x}]}}\n", []string{"a branch needs condition"}, nil},
		"a branch with both":                     {"", "    - {kind: composite_node, metadata: {name: c}, spec: {mode: switch, branches: [{condition: x, action: x, body: m}]}}\n", []string{"a branch has an action or a body"}, nil},
		"collect by nothing":                     {"", "    - {kind: composite_node, metadata: {name: c}, spec: {mode: times, count: 1, body: m, collect: reduce}}\n", []string{"collect: reduce needs a reducer"}, nil},
		"two nodes of a name in a body":          {"", "    - {kind: composite_node, metadata: {name: c}, spec: {mode: times, count: 1, body: [{kind: data_node, metadata: {name: x}, spec: {output: 1}}, {kind: data_node, metadata: {name: x}, spec: {output: 1}}]}}\n", []string{"two nodes are called x"}, nil},
		"a cycle in a body":                      {"", "    - {kind: composite_node, metadata: {name: c}, spec: {mode: times, count: 1, body: [{kind: data_node, metadata: {name: x}, spec: {output: '{{ y }}'}}, {kind: data_node, metadata: {name: y}, spec: {output: '{{ x }}'}}]}}\n", []string{"Cycle detected: x -> y -> x"}, nil},
		"a hook around nodes and ports":          {"  hooks: [{module: m, nodes: [a], ops: [llm.*]}]\n", data("a", ""), []string{"around nodes or around ports, not both"}, nil},
		"a hook with an unknown policy":          {"  hooks: [{module: m, failure: maybe}]\n", data("a", ""), []string{"failure cannot be maybe"}, nil},
		"ports of a node that there is not":      {"  node_ports: {b: {llm: {adapter: mock}}}\n", data("a", ""), []string{"node_ports names b, which does not exist"}, nil},
		"ports of a kind that there is not":      {"  type_ports: {lllm: {llm: {adapter: mock}}}\n", data("a", ""), []string{"there is no node kind lllm"}, nil},
		"a machine without a beginning":          {"  state_machines: {o: {transitions: {A: [B]}}}\n", data("a", ""), []string{"state machine o needs initial"}, nil},
		"a machine with a state it has not":      {"  state_machines: {o: {initial: A, states: [A, B], transitions: {A: [C]}}}\n", data("a", ""), []string{"state machine o has no state C"}, nil},
		"a guard that is no expression":          {"  state_machines: {o: {initial: A, transitions: {A: [{to: B, guard: 'x = 1'}]}}}\n", data("a", ""), []string{"x = 1"}, nil},
		"an unknown member of a node":            {"", "    - {kind: data_node, metadata: {name: a}, spec: {output: 1, tiemout: 3}}\n", []string{"has no member tiemout", "did you mean timeout?"}, nil},
		"a wait without a key":                   {"", "    - {kind: wait_node, metadata: {name: a}, spec: {}}\n", []string{"a wait_node needs event_key"}, nil},
		"a transition without its state":         {"", "    - {kind: transition, metadata: {name: a}, spec: {entity: e, entity_id: 1}}\n", []string{"a transition needs to_state"}, nil},
		"a time that is none":                    {"", "    - {kind: wait_node, metadata: {name: a}, spec: {event_key: k, timeout: 1x2d}}\n", []string{"timeout is no duration"}, nil},
		"settings under the spec":                {"", "    - {kind: data_node, metadata: {name: a}, settings: {output: 1, critical: true}, spec: {}}\n", nil, nil},
		"hexDAG's path of a kind":                {"", "    - {kind: hexdag.stdlib.nodes.DataNode, metadata: {name: a}, spec: {output: 1}}\n    - {kind: core:static_node, metadata: {name: b}, spec: {output: 1}}\n", nil, nil},
		"an import path of a kind":               {"", "    - {kind: my.nodes.Node, metadata: {name: a}, spec: {}}\n", []string{"there is no node kind my.nodes.Node", "import paths run no code here", "kind: function_node"}, nil},
		"a number where text belongs":            {"", "    - {kind: data_node, metadata: {name: 5}, spec: {output: 1}}\n", []string{"name must be a string, this is a number"}, nil},
		"a cache that is no cache":               {"", "    - {kind: data_node, metadata: {name: a}, spec: {output: 1, cache: 3}}\n", []string{"cache must be a mapping, this is a number"}, nil},
		"a cache that is none":                   {"", "    - {kind: wait_node, metadata: {name: a}, spec: {event_key: k, cache: false}}\n", nil, nil},
		"an output_field of no expression":       {"", "    - {kind: expression_node, metadata: {name: a}, spec: {expressions: {x: '1'}, output_fields: [y]}}\n", []string{"output_fields names y"}, nil},
		"a merge that there is not":              {"", "    - {kind: expression_node, metadata: {name: a}, spec: {merge_strategy: lsit}}\n", []string{"there is no merge_strategy lsit", "known are dict"}, nil},
		"an agent's style that there is not":     {"", "    - {kind: agent_node, metadata: {name: a}, spec: {main_prompt: x, config: {tool_call_style: xml}}}\n", []string{"there is no such tool_call_style"}, nil},
		"a request's method that there is not":   {"", "    - {kind: api_call_node, metadata: {name: a}, spec: {url: x, method: FETCH}}\n", []string{"there is no method FETCH"}, nil},
		"conversation that is no list":           {"", "    - {kind: llm_node, metadata: {name: a}, spec: {human_message: x, conversation: 3}}\n", []string{"conversation must be a list"}, nil},
		"a condition that is no expression":      {"", "    - {kind: data_node, metadata: {name: a}, spec: {output: 1, when: [1]}}\n", []string{"when must be an expression, this is a list"}, nil},
		"YAML's own true is a condition":         {"", "    - {kind: data_node, metadata: {name: a}, spec: {output: 1, when: true}}\n", nil, nil},
		"a name of a node in a name of a mapped": {"", data("a", "") + "    - {kind: function_node, metadata: {name: f}, spec: {fn: m, input_mapping: [a]}}\n", []string{"input_mapping must be a mapping, this is a list"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Parse("p.yaml", []byte("kind: Pipeline\nmetadata: {name: t}\nspec:\n"+tc.settings+"  nodes:\n"+tc.nodes), Options{})
			if tc.says != nil {
				if kernel.CodeOf(err).Class() != kernel.ClassBadInput {
					t.Fatalf("it is taken: %v", err)
				}
				for _, s := range append(tc.says, "p.yaml:") {
					if !strings.Contains(err.Error(), s) {
						t.Errorf("%v does not say %q", err, s)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if w := strings.Join(warnings(p), "\n"); (w == "") != (len(tc.warns) == 0) {
				t.Errorf("it warns of %q", w)
			} else {
				for _, s := range tc.warns {
					if !strings.Contains(w, s) {
						t.Errorf("%q does not say %q", w, s)
					}
				}
			}
		})
	}
}

func TestPortRules(t *testing.T) {
	for ports, says := range map[string]string{
		"llm: {adapters: []}":                                    "adapters must be a list that is not empty",
		"llm: {adapters: [{adapter: a}], adapter: b}":            "adapter and adapters exclude each other",
		"llm: {adapters: [{adapter: a}], ref: b}":                "ref and adapters exclude each other",
		"llm: {adapters: [{adapter: a}], config: {}}":            "config and adapters exclude each other",
		"llm: {adapters: [{adapter: a}], strategy: random}":      "there is no strategy random",
		"llm: {adapter: a, strategy: failover}":                  "strategy is for a pool",
		"llm: {adapter: a, ref: b}":                              "adapter and ref exclude each other",
		"llm: {ref: b}":                                          "there is no kind: Adapter called b",
		"llm: {}":                                                "needs adapter",
		"llm: {adapter: my.Adapter}":                             "adapter my.Adapter is an import path",
		"llm: {adapters: [{adapter: my.Adapter}]}":               "adapter my.Adapter is an import path",
		"llm: {adapter: a, config: [1]}":                         "config must be a mapping",
		"llm: {adapter: a, middleware: {a: 1}}":                  "middleware must be a list",
		"llm: {adapter: a, middleware: [{a: {}, b: {}}]}":        "a middleware has one name",
		"llm: {adapter: a, midleware: x}":                        "did you mean middleware?",
		"llm: {adapters: [{adapter: a, middleware: [Timeout]}]}": "has no member middleware",
	} {
		_, err := Parse("p.yaml", []byte("kind: Pipeline\nmetadata: {name: t}\nspec:\n  nodes: []\n  ports: {"+ports+"}\n"), Options{})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v does not say %q", ports, err, says)
		}
	}
	p := mustParse(t, `kind: Adapter
metadata: {name: shop}
spec: {class: hexdag.stdlib.adapters.mock.MockLLM, config: {responses: [a], delay: 1}, capabilities: {requires: [x]}}
---
kind: Middleware
metadata: {name: careful}
spec: {stack: [Timeout, {RetryWithBackoff: {max_retries: 2}}]}
---
kind: Pipeline
metadata: {name: t}
spec:
  nodes: [{kind: data_node, metadata: {name: n}, spec: {output: 1}}]
  ports:
    llm: {ref: shop, config: {delay: 2}, middleware: careful}
    memory: {adapters: [{name: memory, params: {max_keys: 3}}, {ref: shop}]}
    database: {adapter: sqlite, middleware: Timeout}
  type_ports: {hexdag.stdlib.nodes.DataNode: {llm: {adapter: b}}}
  node_ports: {n: {llm: {adapter: c, middleware: [careful, ResponseCache]}}}
`)
	llm, memory := p.Ports["llm"], p.Ports["memory"]
	if llm.Adapter != "MockLLM" || fmt.Sprint(llm.Config) != "map[delay:2 responses:[a]]" || len(llm.Middleware) != 2 || llm.Middleware[1].Name != "RetryWithBackoff" || fmt.Sprint(llm.Middleware[1].Params) != "map[max_retries:2]" {
		t.Errorf("llm read as %+v", llm)
	}
	if len(memory.Pool) != 2 || memory.Strategy != "round_robin" || memory.Pool[0].Adapter != "memory" || fmt.Sprint(memory.Pool[0].Config) != "map[max_keys:3]" || memory.Pool[1].Adapter != "MockLLM" {
		t.Errorf("memory read as %+v", memory)
	}
	if p.TypePorts["data_node"]["llm"].Adapter != "b" || len(p.NodePorts["n"]["llm"].Middleware) != 3 || p.Ports["database"].Middleware[0].Name != "Timeout" {
		t.Errorf("type_ports %+v, node_ports %+v", p.TypePorts, p.NodePorts)
	}
}

// The types of schemas, through the file.
func TestTypesOfSchemas(t *testing.T) {
	p := mustParse(t, `kind: Pipeline
metadata: {name: t}
spec:
  custom_types:
    sku: {base: str, trim: true, pattern: 'SKU-(\d+)', upper: true}
    ratio: {base: float, clamp: [0, 10], nulls: common}
  nodes:
    - kind: llm_node
      metadata: {name: n}
      spec:
        human_message: hi
        output_schema: {s: str, i: "int?", f: float, b: bool, l: list, d: dict, a: Any, price: currency, yes: flexible_bool, sc: score, up: upper_str, low: lower_str, no: nullable_str, tr: trimmed_str, sku: sku, r: ratio}
`)
	got, err := p.Nodes[0].Output.Coerce(jsonValue(t, `{"s":"x","f":1.5,"b":true,"l":[1],"d":{},"a":null,"price":"$1,200","yes":"Yes","sc":7,"up":" abc ","low":"ABC","no":"N/A","tr":" x ","sku":" sku SKU-12 ","r":"99"}`))
	if err != nil {
		t.Fatal(err)
	}
	text, err := kernel.EncodeJSON(got)
	if want := `{"a":null,"b":true,"d":{},"f":1.5,"i":null,"l":[1],"low":"abc","no":null,"price":1200.0,"r":10.0,"s":"x","sc":1.0,"sku":"12","tr":"x","up":"ABC","yes":true}`; err != nil || string(text) != want {
		t.Errorf("got  %s\nwant %s (%v)", text, want, err)
	}
	_, err = p.Nodes[0].Output.Coerce(jsonValue(t, `{"s":1}`))
	if err == nil || !strings.Contains(err.Error(), "s") {
		t.Errorf("a number for a text: %v", err)
	}
	for types, says := range map[string]string{
		"{x: {base: strr}}":           "strr",
		"{str: {base: int}}":          "str",
		"{x: {base: str, pttern: a}}": "pttern",
		"{x: {pattern: '('}}":         "pattern",
	} {
		_, err := Parse("p.yaml", []byte("kind: Pipeline\nmetadata: {name: t}\nspec:\n  custom_types: "+types+"\n  nodes: []\n"), Options{})
		if kernel.CodeOf(err) != kernel.CodePipeline || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "p.yaml:4:") {
			t.Errorf("%s: %v", types, err)
		}
	}
}

func TestEnvironments(t *testing.T) {
	text := "kind: Pipeline\nmetadata: {name: d, namespace: dev}\nspec: {nodes: []}\n---\nkind: Pipeline\nmetadata: {name: p, namespace: prod}\nspec: {nodes: []}\n"
	for env, want := range map[string]string{"": "d", "dev": "d", "prod": "p"} {
		p, err := Parse("p.yaml", []byte(text), Options{Environment: env})
		if err != nil || p.Name != want {
			t.Errorf("%q: %+v, %v", env, p, err)
			continue
		}
		if w := warnings(p); (len(w) == 1) != (env == "") || env == "" && !strings.Contains(w[0], "the file holds 2 pipelines; the first was taken (name one with --env: dev, prod)") {
			t.Errorf("%q warns of %q", env, w)
		}
	}
	_, err := Parse("p.yaml", []byte(text), Options{Environment: "test"})
	wantProblem(t, err, kernel.CodePipeline, "there is no environment test", "the file has dev, prod")
	_, err = Parse("p.yaml", []byte("kind: Pipeline\nmetadata: {name: d}\nspec: {nodes: []}\n"), Options{Environment: "test"})
	wantProblem(t, err, kernel.CodePipeline, "there is no environment test", "metadata.namespace")
}

func TestVariablesAndTemplates(t *testing.T) {
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"NAME": "shop", "N": "3", "KEY_API_KEY": "s3cret"}[name]
		return v, ok
	}
	at := folder(t, map[string]string{
		"p.yaml": `kind: Pipeline
metadata: {name: "${NAME}-{{ spec.variables.region }}"}
spec:
  variables: {region: eu, limit: 7, deep: {x: [1, 2]}}
  orchestrator: {max_concurrent_nodes: "${N}", pipeline_timeout: "{{ spec.variables.limit * 2 }}"}
  limits: {max_llm_calls: "{{ spec.variables.deep.x[1] }}"}
  ports:
    "!include": shared/ports.yaml
  nodes:
    - "!include": nodes.yaml#nodes
    - {kind: data_node, metadata: {name: own}, spec: {output: "{{ spec.variables.region }} ${NAME}"}}
`,
		"shared/ports.yaml": "llm: {adapter: mock, config: {key: '${KEY_API_KEY}', region: '{{ spec.variables.region }}', tries: '${N:1}'}}\n",
		"nodes.yaml":        "nodes:\n  - {kind: data_node, metadata: {name: a}, spec: {output: 1}}\n  - {kind: data_node, metadata: {name: b}, spec: {output: 1}}\n",
	})
	p, err := Load(at("p.yaml"), Options{Env: env})
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "shop-eu" || p.Concurrency != 3 || p.Timeout.Seconds() != 14 || *p.Limits.LLMCalls != 2 {
		t.Errorf("read as %+v", p)
	}
	if got := fmt.Sprint(p.Ports["llm"].Config); got != "map[key:${KEY_API_KEY} region:eu tries:3]" {
		t.Errorf("the port's configuration is %s", got)
	}
	if got := nodeNames(p.Graph); !slices.Equal(got, []string{"a", "b", "own"}) {
		t.Errorf("nodes %v", got)
	}
	// The spec of a node is left for the run: its templates name what there is then.
	if b := p.Node("own").Body.(*Data); b.Output.template.Source() != "{{ spec.variables.region }} shop" {
		t.Errorf("the node's template is %q", b.Output.template.Source())
	}
	_, err = Load(at("p.yaml"), Options{})
	wantProblem(t, err, kernel.CodePipeline, "the environment variable NAME is not set", "p.yaml:2:", "N is not set")
	for text, says := range map[string]string{
		"{{ spec.variables.nope }}": "nope",
		"{{ undefined_name }}":      "undefined_name",
		"{% for %}":                 "",
	} {
		_, err := Parse("p.yaml", []byte("kind: Pipeline\nmetadata: {name: \""+text+"\"}\nspec: {variables: {a: 1}, nodes: []}\n"), Options{})
		if kernel.CodeOf(err).Class() != kernel.ClassBadInput || !strings.Contains(err.Error(), "p.yaml:2:") || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestBodyFiles(t *testing.T) {
	composite := func(file string) string {
		return "    - {kind: composite_node, metadata: {name: c}, spec: {mode: times, count: 1, body_pipeline: " + file + "}}\n"
	}
	at := folder(t, map[string]string{
		"p.yaml":        spec(composite("sub/body.yaml")),
		"sub/body.yaml": "kind: Pipeline\nmetadata: {name: b}\nspec:\n  output: {x: n.v}\n  nodes: [{kind: data_node, metadata: {name: n}, spec: {output: {v: 1}}}]\n",
		"out.yaml":      spec(composite("../body.yaml")),
		"abs.yaml":      spec(composite("/etc/passwd")),
		"none.yaml":     spec(composite("nobody.yaml")),
		"loop.yaml":     spec(composite("loop.yaml")),
		"bad.yaml":      spec(composite("wrong.yaml")),
		"wrong.yaml":    spec("    - {kind: nope, metadata: {name: x}}\n"),
	})
	p, err := Load(at("p.yaml"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if b := p.Nodes[0].Body.(*Composite); b.Body.Graph.Node("n") == nil || b.Body.Results(ResultMap{"n": map[string]any{"v": 5}})["x"] != 5 {
		t.Errorf("read as %+v", b.Body)
	}
	for name, says := range map[string]string{"out": "below its folder", "abs": "below its folder", "none": "cannot be read", "loop": "go in a circle", "bad": "wrong.yaml:6:"} {
		_, err := Load(at(name+".yaml"), Options{})
		if kernel.CodeOf(err).Class() != kernel.ClassBadInput || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v does not say %q", name, err, says)
		}
	}
}

// What a mapping's text is: a path, or an expression.
func TestMappingForms(t *testing.T) {
	for text, want := range map[string]string{
		"coalesce_results.field":      "path",
		"len_x":                       "path",
		"$input.a.0.b":                "path",
		"{{ a.b }}":                   "path",
		"len(items)":                  "expression",
		"a.b * 2":                     "expression",
		"'a.b'":                       "expression",
		"a.x if t else 0":             "expression",
		"a.b | required":              "path, required",
		"a.b + 1 | default('x')":      "expression, default x",
		"a | default(None)":           "path, default <nil>",
		"a | default(2.5)":            "path, default 2.5",
		"a | default(True)":           "path, default true",
		"a | default(bare)":           "path, default bare",
		"a | default('| required')":   "path, default | required",
		"[a.b, 'x']":                  "expression",
		"a.b | default([1, 2])":       "path, default [1 2]",
		"coalesce(a.b, 'n') == 'n'":   "expression",
		"'Order: ' + a.name":          "expression",
		"a.b   |   default(  'x'  ) ": "path, default x",
	} {
		p, err := Parse("p.yaml", []byte(spec("    - {kind: function_node, metadata: {name: n}, spec: {fn: m, input_mapping: {x: \""+text+"\"}}}\n")), Options{})
		if err != nil && strings.Contains(err.Error(), "Unknown reference") { // a is no node here
			p, err = Parse("p.yaml", []byte(spec(data("a", "")+data("coalesce_results", "")+"    - {kind: function_node, metadata: {name: n}, spec: {fn: m, input_mapping: {x: \""+text+"\"}}}\n")), Options{})
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		m := p.Node("n").mapping.members["x"]
		got := "path"
		if m.program != nil {
			got = "expression"
		}
		if m.required {
			got += ", required"
		}
		if m.hasFallback {
			got += fmt.Sprintf(", default %v", m.fallback)
		}
		if got != want {
			t.Errorf("%s is read as %s, want %s", text, got, want)
		}
	}
	for text, says := range map[string]string{"my_len(data)": "my_len", "a +": "a +", "a b": "a b", "": ""} {
		_, err := Parse("p.yaml", []byte(spec("    - {kind: function_node, metadata: {name: n}, spec: {fn: m, input_mapping: {x: \""+text+"\"}}}\n")), Options{})
		if kernel.CodeOf(err).Class() != kernel.ClassBadInput || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "p.yaml:6:") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
