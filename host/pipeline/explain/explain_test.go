package explain

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

func parse(t *testing.T, text string) *pipeline.Pipeline {
	t.Helper()
	p, err := pipeline.Parse("p.yaml", []byte(text), pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func config(t *testing.T, text string) *pipeline.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hexdag.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := pipeline.LoadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func node(t *testing.T, p *Plan, name string) *Node {
	t.Helper()
	for i := range p.Nodes {
		if p.Nodes[i].Name == name {
			return &p.Nodes[i]
		}
	}
	t.Fatalf("no node %s", name)
	return nil
}

// causes renders what a node depends on as "a:reference(member:line),route".
func causes(n *Node) string {
	var all []string
	for _, d := range n.DependsOn {
		var reasons []string
		for _, r := range d.Reasons {
			text := string(r.Cause)
			if r.Cause == pipeline.Named {
				text = r.Member
			}
			reasons = append(reasons, text)
		}
		all = append(all, d.Node+":"+strings.Join(reasons, ","))
	}
	return strings.Join(all, " ")
}

const everyCause = `kind: Macro
metadata: {name: pair}
parameters: [{name: k}]
nodes:
  - {kind: data_node, metadata: {name: "{{name}}_first"}, spec: {output: "{{k}}"}}
  - {kind: data_node, metadata: {name: "{{name}}_last"}, spec: {output: "{{ {{name}}_first }}"}, dependencies: ["{{name}}_first"]}
---
kind: Pipeline
metadata: {name: t}
spec:
  nodes:
    - {kind: data_node, metadata: {name: start}, spec: {output: 1}}
    - {kind: data_node, metadata: {name: next}, spec: {output: 1}}
    - {kind: data_node, metadata: {name: listed}, spec: {output: 1}, dependencies: [start]}
    - {kind: data_node, metadata: {name: waits}, spec: {output: 1}, wait_for: start}
    - {kind: data_node, metadata: {name: root}, spec: {output: 1}, dependencies: []}
    - kind: service_call_node
      metadata: {name: names}
      dependencies: [root]
      spec:
        service: artifacts
        method: store
        when: "next != None"
        input_mapping: {name: "'x'", value: {deep: [start, root.v]}}
    - {kind: composite_node, metadata: {name: router}, spec: {mode: switch, route_downstream: true, branches: [{condition: "names.id == 'x'", action: target}]}}
    - {kind: data_node, metadata: {name: target}, spec: {output: 1, when: "start == 1"}, dependencies: []}
    - {kind: expression_node, metadata: {name: risky}, spec: {expressions: {v: "1 / root"}, on_error: rescue}}
    - {kind: data_node, metadata: {name: rescue}, spec: {output: 1}, dependencies: []}
    - {kind: macro_invocation, metadata: {name: m}, spec: {macro: pair, inputs: {k: 1}, dependencies: [risky]}}
    - {kind: data_node, metadata: {name: after_macro}, spec: {output: 1}}
    - {kind: data_node, metadata: {name: by_macro}, spec: {output: 1}, dependencies: [m]}
    - {kind: composite_node, metadata: {name: loop}, spec: {mode: times, count: 2, body: [{kind: data_node, metadata: {name: x}, spec: {output: "{{ start }}"}}]}}
`

// A reasoning agent's nodes are shown as any: what they run, what they ask for, and why one follows another.
func TestReasoningAgent(t *testing.T) {
	plan := New(parse(t, "kind: Pipeline\nmetadata: {name: t}\nspec:\n  services: {desk: {module: m}}\n  nodes:\n    - {kind: data_node, metadata: {name: d}, spec: {output: 1}}\n"+
		"    - {kind: core:reasoning_agent, metadata: {name: a}, spec: {main_prompt: hi, max_steps: 2, allowed_tools: [\"desk:look\", \"n:*\"]}, dependencies: [d]}\n"), nil)
	for name, want := range map[string]string{
		"a_step_0_llm": "d:macro", "a_step_0_adapter": "a_step_0_llm:input_mapping.a_step_0_llm,text", "a_step_0_tool_executor": "a_step_0_adapter:input_mapping.content,input_mapping.tool_calls",
		"a_step_1_llm": "a_step_0_llm:conversation.0.messages a_step_0_result_merger:human_message,when",
	} {
		if got := causes(node(t, plan, name)); got != want {
			t.Errorf("%s depends on %q, want %q", name, got, want)
		}
	}
	made, asked := node(t, plan, "a_step_1_tool_executor"), node(t, plan, "a_step_1_llm")
	if made.Does != "desk:look, n:*" || !slices.Equal(made.Tools, []string{"m.look", "n.*"}) || asked.When != "a_step_0_result_merger.ended == False" || made.Description == "" {
		t.Errorf("%+v, %+v", made, asked)
	}
	var modules []string
	for _, m := range plan.Modules {
		modules = append(modules, m.Name)
	}
	if !slices.Equal(modules, []string{"m", "n"}) || len(plan.Operations) != 1 || len(plan.Operations[0].Nodes) != 3 {
		t.Errorf("it runs %v, and calls %+v", modules, plan.Operations)
	}
}

// Every edge is there for a reason, and the plan says which.
func TestWhy(t *testing.T) {
	plan := New(parse(t, everyCause), nil)
	for name, want := range map[string]string{
		"start": "", "next": "start:order", "listed": "start:dependencies", "waits": "start:wait_for", "root": "",
		"names":  "next:when root:dependencies,input_mapping.value.deep.1 start:input_mapping.value.deep.0",
		"router": "names:branches.0.condition", "target": "router:route start:when",
		"risky": "root:expressions.v", "rescue": "risky:on_error",
		"m_first": "risky:macro", "m_last": "m_first:dependencies,output", "after_macro": "m_last:order", "by_macro": "m_last:dependencies",
		"loop": "start:body.0.spec.output",
	} {
		if got := causes(node(t, plan, name)); got != want {
			t.Errorf("%s depends on %q, want %q", name, got, want)
		}
	}
	for _, n := range plan.Nodes {
		for _, d := range n.DependsOn {
			if len(d.Reasons) == 0 {
				t.Errorf("%s depends on %s without a reason", n.Name, d.Node)
			}
		}
	}
	if r := node(t, plan, "names").DependsOn[2].Reasons[0]; r.Line != 24 || r.Column == 0 {
		t.Errorf("the reference stands at %d:%d", r.Line, r.Column)
	}
}

const operator = `kind: Config
spec:
  run_limits: {fuel: 7, deadline: 3s}
  modules:
    redact: {path: r.wasm, grants: [{metrics.count: {name: x}}]}
    guard: {path: g.wasm, isolation: run}
    tools: {path: t.wasm}
    spare: {path: s.wasm}
  hooks:
    - {module: redact, kinds: [llm_node], failure: open}
    - {module: guard, ports: [llm]}
    - {module: guard, nodes: [ask]}
  ports: {llm: {adapter: openai}, api_call: {adapter: http}}
`

const guarded = `kind: Pipeline
metadata: {name: t, namespace: prod, description: what it does}
spec:
  hooks: [{module: guard, ops: ["artifacts.*"]}, {module: redact}]
  ports: {memory: {adapters: [{adapter: memory}, {adapter: sqlite}], strategy: failover, middleware: [Timeout]}}
  node_ports: {quiet: {llm: {adapter: mock}}}
  orchestrator: {max_concurrent_nodes: 3, default_node_timeout: 9, pipeline_timeout: 60}
  limits: {max_llm_calls: 2, max_cost_usd: 0.5}
  caps: {deny: [vas.write]}
  services: {orders: {module: tools}}
  output: {answer: ask}
  nodes:
    - {kind: llm_node, metadata: {name: ask}, spec: {human_message: hi, timeout: 4, max_retries: 3, hooks: [guard]}}
    - {kind: llm_node, metadata: {name: quiet}, spec: {human_message: hi}}
    - {kind: service_call_node, metadata: {name: keep}, spec: {service: artifacts, method: store}}
    - {kind: service_call_node, metadata: {name: recall}, spec: {service: memory, method: get}}
    - {kind: service_call_node, metadata: {name: order}, spec: {service: orders, method: find}}
    - {kind: agent_node, metadata: {name: agent}, spec: {main_prompt: hi, entities: [order]}}
    - {kind: api_call_node, metadata: {name: web}, spec: {url: "https://example.com"}}
    - {kind: function_node, metadata: {name: run}, spec: {fn: absent.tool}}
    - {kind: composite_node, metadata: {name: each}, spec: {mode: for-each, items: "[1]", default_node_timeout: 2, body: [{kind: transition, metadata: {name: move}, spec: {entity: order, entity_id: x, to_state: y}}]}}
`

func TestPlan(t *testing.T) {
	plan := New(parse(t, guarded), config(t, operator))
	served := map[string]string{}
	var visit func(nodes []Node)
	visit = func(nodes []Node) {
		for _, n := range nodes {
			for _, c := range n.Operations {
				served[n.Name+" "+c.Operation] = strings.TrimSpace(c.Adapter + " (" + c.From + ") " + hookNames(c.Hooks))
			}
			for _, b := range n.Bodies {
				visit(b.Nodes)
			}
		}
	}
	visit(plan.Nodes)
	for op, want := range map[string]string{
		"ask llm.complete": "openai (config) guard", "quiet llm.complete": "mock (node_ports) guard", "keep artifacts.store": "file (built in) guard",
		"recall memory.get": "failover of memory, sqlite in Timeout (pipeline)", "agent llm.complete": "openai (config) guard",
		"agent entity_state.transition": "entity_state (built in)", "agent entity_state.get_state": "entity_state (built in)", "web http.request": "http (config)", "move entity_state.transition": "entity_state (built in)",
	} {
		if served[op] != want {
			t.Errorf("%s is served %q, want %q", op, served[op], want)
		}
	}
	ask, quiet := node(t, plan, "ask"), node(t, plan, "quiet")
	if got := hookNames(ask.Hooks); got != "redact (failure: open), guard, redact, guard" || ask.Timeout != 4 || ask.Attempts != 3 {
		t.Errorf("ask: %s, %+v", got, ask)
	}
	if got := hookNames(quiet.Hooks); got != "redact (failure: open), redact" || quiet.Timeout != 9 || quiet.Attempts != 1 {
		t.Errorf("quiet: %s, %+v", got, quiet)
	}
	if got := node(t, plan, "each").Bodies[0].Nodes[0]; got.Name != "move" || got.Timeout != 2 {
		t.Errorf("the body: %+v", got)
	}
	if got := node(t, plan, "order").Tools; !slices.Equal(got, []string{"tools.find"}) {
		t.Errorf("order runs %v", got)
	}
	if got := node(t, plan, "agent").Tools; !slices.Equal(got, []string{"tools.*"}) {
		t.Errorf("agent runs %v", got)
	}
	allowed := map[kernel.Capability]bool{}
	for _, c := range plan.Capabilities {
		allowed[c.Name] = c.Allowed
	}
	if len(allowed) != 5 || !allowed[kernel.CapLLM] || allowed[kernel.CapWriteArtifacts] || !allowed[kernel.CapTools] || !allowed[kernel.CapTransition] || !allowed[kernel.CapReadMemory] {
		t.Errorf("capabilities %v", allowed)
	}
	modules := map[string]Module{}
	for _, m := range plan.Modules {
		modules[m.Name] = m
	}
	if len(modules) != 4 || modules["absent"].Configured || modules["guard"].Isolation != "run" || !slices.Equal(modules["redact"].Grants, []string{`metrics.count: {name: "x"}`}) {
		t.Errorf("modules %v", modules)
	}
	if plan.Concurrency != 3 || plan.Timeout != 60 || *plan.Limits.LLMCalls != 2 || plan.Limits.Tokens != nil || plan.RunLimits.Fuel != 7 || plan.RunLimits.Deadline != 3 || plan.Output["answer"] != "ask" || plan.Environment != "prod" {
		t.Errorf("bounds %+v", plan)
	}
	var text bytes.Buffer
	if err := plan.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"pipeline t (prod)  p.yaml\n", "  what it does\n", "9 nodes in 9 waves, 3 at once, timeout of a node 9s, of the run 1m0s", "hooks     redact (failure: open), guard, redact, guard",
		"calls     llm.complete by openai (config), inside guard", "after     ask: the node before it in the file", "bounds    timeout 4s, 3 attempts", "vas.write  DENIED by the pipeline's caps",
		"absent  NOT CONFIGURED", "granted metrics.count: {name: \"x\"}", "limits    max_llm_calls 2, max_cost_usd 0.5, and by the configuration: fuel 7, host_calls 0, deadline 3s", "caps      not vas.write", "answer  ask",
	} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("it does not say %q:\n%s", line, text.String())
		}
	}
}

// Without a configuration the plan says what is not known.
func TestLocks(t *testing.T) {
	p := parse(t, `kind: Pipeline
metadata: {name: t}
spec:
  lock: {name: orders, timeout: 30, ttl: 60}
  nodes:
    - {kind: data_node, metadata: {name: a}, spec: {output: {id: 1}}}
    - {kind: data_node, metadata: {name: b}, dependencies: [], spec: {output: 1, lock: {name: "order-{{ a.id }}", permits: 3}}}
`)
	plan := New(p, config(t, "kind: Config\nspec:\n  ports: {lock: {adapter: etcd}}\n"))
	if l := plan.Lock; l == nil || l.Name != "orders" || *l.Timeout != 30 || l.TTL != 60 || l.Permits != 1 || l.Adapter != "etcd" || l.From != "config" {
		t.Errorf("%+v", l)
	}
	b := node(t, plan, "b")
	if l := b.Lock; l == nil || l.Name != "order-{{ a.id }}" || l.Timeout != nil || l.Permits != 3 {
		t.Errorf("%+v", l)
	}
	if got := causes(b); got != "a:lock.name" { // what a lock's name needs has to be there
		t.Errorf("b waits for %s", got)
	}
	var text bytes.Buffer
	if err := plan.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{"lock      orders, waited for 30s, ends after 1m0s by etcd (config)", "lock      order-{{ a.id }}, 3 at once, waited for as long as the run may take by etcd (config)", "lock.acquire  b"} {
		if !strings.Contains(text.String(), words) {
			t.Errorf("it does not say %q:\n%s", words, &text)
		}
	}
	if plan := New(p, nil); plan.Lock.Adapter != "memory" || plan.Lock.From != "built in" {
		t.Errorf("%+v", plan.Lock)
	}
}

func TestCache(t *testing.T) {
	p := parse(t, `kind: Pipeline
metadata: {name: t}
spec:
  nodes:
    - {kind: data_node, metadata: {name: a}, spec: {output: {id: 1}}}
    - {kind: function_node, metadata: {name: b}, dependencies: [], spec: {fn: m.tool, cache: {key: "{{ a.id }}", ttl: 1h, scope: tenant, side_effects: true}}}
    - {kind: data_node, metadata: {name: c}, spec: {output: 1, cache: {scope: run}}}
`)
	plan := New(p, nil)
	b := node(t, plan, "b")
	if c := b.Cache; c == nil || c.Key != "{{ a.id }}" || c.TTL != 3600 || c.Scope != pipeline.CacheForTenant || !c.SideEffects || !slices.Equal(c.Modules, []string{"m"}) {
		t.Errorf("%+v", c)
	}
	if got := causes(b); got != "a:cache.key" { // what a key needs has to be there
		t.Errorf("b waits for %s", got)
	}
	var text bytes.Buffer
	if err := plan.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{
		"cache     works once for the key {{ a.id }}, its configuration, the rules of governance and m, for the whole tenant, its effects outside included; its answer is good for 1h0m0s\n",
		"cache     works once for all that it is given, its configuration, the rules of governance, in each run\n",
	} {
		if !strings.Contains(text.String(), words) {
			t.Errorf("it does not say %q:\n%s", words, &text)
		}
	}
}

func TestPlanWithoutConfig(t *testing.T) {
	plan := New(parse(t, guarded), nil)
	if c := node(t, plan, "ask").Operations[0]; c.Adapter != "" || c.From != "" {
		t.Errorf("the model is served by %+v", c)
	}
	var text bytes.Buffer
	if err := plan.Write(&text); err != nil || !strings.Contains(text.String(), "llm.complete served by nothing that is known here") || strings.Contains(text.String(), "NOT CONFIGURED") {
		t.Errorf("%v:\n%s", err, text.String())
	}
}

// A name from the file reaches no terminal as it is.
func TestPlanIsEscaped(t *testing.T) {
	plan := New(parse(t, "kind: Pipeline\nmetadata: {name: \"a\\e[31m\", description: \"d\\nfake: line\"}\nspec:\n  output: {\"x\\e[1m\": n}\n  nodes: [{kind: data_node, metadata: {name: n, description: \"\\e]0;t\\a\"}, spec: {output: 1, when: \"x == '\\e[2J'\"}}]\n"), nil)
	var text bytes.Buffer
	if err := plan.Write(&text); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(text.String(), "\x1b\a") || strings.Contains(text.String(), "\nfake") {
		t.Errorf("%q", text.String())
	}
}

// A port that is a module is said to be it, and the module is one that runs.
func TestModulesAsPorts(t *testing.T) {
	c := config(t, `kind: Config
spec:
  modules: {sky: {path: s.wasm}, vault: {path: v.wasm}, spare: {path: x.wasm}}
  ports: {weather: {adapter: module, config: {module: sky}}, memory: {adapters: [{adapter: module, config: {module: vault, over: {adapter: sqlite}}}, {adapter: memory}], strategy: failover}}
`)
	plan := New(parse(t, `kind: Pipeline
metadata: {name: t}
spec:
  nodes:
    - {kind: service_call_node, metadata: {name: look}, spec: {service: weather, method: now}}
    - {kind: service_call_node, metadata: {name: recall}, spec: {service: memory, method: get}}
`), c)
	for name, want := range map[string]string{"look": "module sky", "recall": "failover of module vault over sqlite, memory"} {
		if ops := node(t, plan, name).Operations; len(ops) != 1 || ops[0].Adapter != want || ops[0].From != "config" {
			t.Errorf("%s: %+v, want %s", name, ops, want)
		}
	}
	var modules []string
	for _, m := range plan.Modules {
		modules = append(modules, m.Name)
	}
	if !slices.Equal(modules, []string{"sky", "vault"}) {
		t.Errorf("modules %v", modules)
	}
}

// What the operator says of labels is part of what a pipeline would do.
func TestPlanOfLabels(t *testing.T) {
	c := config(t, strings.Replace(operator, "ports: {llm: {adapter: openai}, api_call: {adapter: http}}", "ports: {llm: {adapter: openai, labels: {confidentiality: internal}}, api_call: {adapter: http}}\n  labels: {endorse: [{pipeline: t, node: ask}, {pipeline: other, node: quiet}]}", 1))
	for i := range c.Modules {
		if c.Modules[i].Name == "tools" {
			c.Modules[i].Labels.Endorse = true
			c.Modules[i].Labels.Result = c.Ports["llm"].Labels.Port
		}
	}
	plan := New(parse(t, guarded), c)
	ask, web := node(t, plan, "ask"), node(t, plan, "web")
	if got := ask.Operations[0].Labels.String(); got != "trusted, internal" || !slices.Equal(ask.Relabel, []string{"endorse"}) || node(t, plan, "quiet").Relabel != nil {
		t.Errorf("ask: %s, %v", got, ask.Relabel)
	}
	if got := web.Operations[0].Labels.String(); got != "untrusted, public" { // unless the operator says otherwise
		t.Errorf("web: %s", got)
	}
	var text bytes.Buffer
	if err := plan.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"; its answer is trusted, internal", "; its answer is untrusted, public", "may       endorse", "tools  labels: endorse", "tools  labels: answers trusted, internal"} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("it does not say %q:\n%s", line, text.String())
		}
	}
}
