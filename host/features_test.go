package host_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testserver/llmserver"
)

// ask is a node that asks the model.
func ask(name, rest string) string {
	return "    - {kind: llm_node, metadata: {name: " + name + "}, spec: {human_message: hi" + rest + "}}\n"
}

func answering(text string) string {
	return "{adapter: mock_llm, config: {responses: [" + text + "]}}"
}

func TestPortsOfKindsAndNodes(t *testing.T) {
	_, p := loaded(t, "kind: Pipeline\nmetadata: {name: t}\nspec:\n"+
		"  ports: {llm: "+answering("everybody")+"}\n  type_ports: {agent_node: {llm: "+answering("agents")+"}}\n  node_ports: {b: {llm: "+answering("b alone")+"}, d: {llm: "+answering("d alone")+"}}\n  nodes:\n"+
		ask("a", "")+ask("b", "")+"    - {kind: agent_node, metadata: {name: c}, spec: {main_prompt: x, max_steps: 1}}\n    - {kind: agent_node, metadata: {name: d}, spec: {main_prompt: x, max_steps: 1}}\n", host.Options{})
	res := run(t, p, "{}")
	if res.Err != nil || res.NodeResults["a"] != "everybody" || res.NodeResults["b"] != "b alone" {
		t.Fatalf("%v %v", res.NodeResults, res.Err)
	}
	for node, want := range map[string]string{"c": "agents", "d": "d alone"} {
		if state, _ := res.NodeResults[node].(map[string]any); state["response"] != want {
			t.Errorf("%s was answered %v", node, state["response"])
		}
	}
}

func TestPoolsAndMiddleware(t *testing.T) {
	_, p := loaded(t, `kind: Adapter
metadata: {name: second}
spec: {class: hexdag.stdlib.adapters.mock.MockLLM, config: {responses: [two]}}
---
kind: Middleware
metadata: {name: careful}
spec: {stack: [{ResponseCache: {max_size: 8}}, {RetryWithBackoff: {max_retries: 2}}]}
---
kind: Pipeline
metadata: {name: t}
spec:
  ports:
    llm: {adapters: [{adapter: mock, config: {responses: [one]}}, {ref: second}], strategy: round_robin}
  node_ports:
    c: {llm: {adapter: mock, config: {responses: [first, later]}, middleware: careful}}
  nodes:
`+ask("a", "")+ask("b", "")+`    - kind: composite_node
      metadata: {name: c}
      spec: {mode: times, count: 2, body: [{kind: llm_node, metadata: {name: c_in}, spec: {human_message: same}}]}
`, host.Options{})
	res := run(t, p, "{}")
	if res.Err != nil || res.NodeResults["a"] != "one" || res.NodeResults["b"] != "two" {
		t.Errorf("%v %v", res.NodeResults, res.Err)
	}
	// The bad ones say where.
	h := bare(t, host.Options{})
	for text, words := range map[string][]string{
		"{adapter: mock, middleware: [{RetryWithBackof: {}}]}":               {"RetryWithBackof", "did you mean RetryWithBackoff?", ":4:"},
		"{adapter: mock, middleware: [{RetryWithBackoff: {max_retrys: 3}}]}": {"max_retrys", "max_retries", ":4:"},
		"{adapters: [], strategy: failover}":                                 {"adapters must be a list that is not empty"},
		"{adapters: [{adapter: mock}], adapter: mock}":                       {"adapter and adapters exclude each other"},
		"{adapters: [{adapter: mock}], strategy: fastest}":                   {"there is no strategy fastest"},
		"{adapter: mock, strategy: failover}":                                {"strategy is for a pool"},
		"{adapter: myapp.adapters.Fast}":                                     {"import paths run no code here"},
		"{ref: nobody}":                                                      {"no kind: Adapter called nobody"},
		"{adapter: mock, config: {responses: ['${MISSING_API_KEY}']}}":       {"MISSING_API_KEY", "not set"},
	} {
		_, err := loadBad(t, h, "kind: Pipeline\nmetadata: {name: t}\nspec:\n  ports: {llm: "+text+"}\n  nodes:\n"+ask("a", ""))
		for _, word := range words {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v does not say %q", text, err, word)
			}
		}
	}
}

func loadBad(t *testing.T, h *host.Host, text string) (*host.Pipeline, error) {
	t.Helper()
	s := site{t.TempDir()}
	s.write(t, "pipeline.yaml", text)
	return h.Load(t.Context(), s.path("pipeline.yaml"), host.LoadOptions{})
}

func TestLimitsAreEnforced(t *testing.T) {
	for name, tc := range map[string]struct {
		limits, nodes string
		says          string
		events        []kernel.EventType
	}{
		"no calls":      {"{max_llm_calls: 0}", ask("a", ""), "limits.max_llm_calls is 0", []kernel.EventType{kernel.ResourceLimitExceeded}},
		"two calls":     {"{max_llm_calls: 2}", ask("a", "") + ask("b", "") + ask("c", ""), "limits.max_llm_calls is 2", []kernel.EventType{kernel.ResourceWarning, kernel.ResourceLimitExceeded}},
		"within":        {"{max_llm_calls: 4}", ask("a", "") + ask("b", "") + ask("c", ""), "", nil},
		"warned":        {"{max_llm_calls: 4, warning_threshold: 0.75}", ask("a", "") + ask("b", "") + ask("c", ""), "", []kernel.EventType{kernel.ResourceWarning}},
		"tokens":        {"{max_total_tokens: 1}", ask("a", "") + ask("b", ""), "limits.max_total_tokens is 1", nil},
		"unknown price": {"{max_cost_usd: 1}", ask("a", ""), "the cost of model mock is not known", nil},
		"agents":        {"{max_llm_calls: 2}", "    - {kind: agent_node, metadata: {name: a}, spec: {main_prompt: x, max_steps: 9}}\n", "limits.max_llm_calls is 2", nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, p := loaded(t, "kind: Pipeline\nmetadata: {name: t}\nspec:\n  limits: "+tc.limits+"\n  ports: {llm: "+answering("thinking")+"}\n  nodes:\n"+tc.nodes, host.Options{})
			rec := &host.Recorder{}
			res := p.Run(t.Context(), nil, host.RunOptions{Recorder: rec})
			if tc.says == "" {
				if res.Err != nil {
					t.Fatal(res.Err)
				}
			} else {
				wantError(t, res.Err, kernel.CodeLimit, tc.says)
			}
			var got []kernel.EventType
			for _, e := range rec.Events() {
				if e.Type == kernel.ResourceWarning || e.Type == kernel.ResourceLimitExceeded {
					got = append(got, e.Type)
				}
			}
			if tc.events != nil && !slices.Equal(got, tc.events) {
				t.Errorf("events %v, want %v", got, tc.events)
			}
		})
	}
}

func TestPricesAndCost(t *testing.T) {
	s := newSite(t, "  prices: {mock: {input: 0, output: 0}, 'gpt-*': {input: 2.5, output: 10}}\n")
	h := s.open(t)
	p := loadText(t, h, "kind: Pipeline\nmetadata: {name: t}\nspec:\n  limits: {max_cost_usd: 1}\n  ports: {llm: "+answering("x")+"}\n  nodes:\n"+ask("a", ""))
	if res := run(t, p, "{}"); res.Err != nil {
		t.Error(res.Err)
	}
}

// What the operator says of a model is what its versions cost, under whichever name an endpoint answers.
func TestPricesOfVersions(t *testing.T) {
	t.Setenv("TEST_MODEL_KEY", llmserver.Key)
	server := llmserver.New(t, modelSays("yes"))
	port := strings.Replace(providerPort("openai", server.URL), "model: gpt-4o", "model: gpt-4o-2024-08-06", 1)
	s := newSite(t, "  prices: {gpt-4o: {input: 1000000, output: 1000000}}\n  ports: {llm: "+port+"}\n")
	res := s.asking(t, s.open(t), "  limits: {max_cost_usd: 10}\n", ", max_tokens: 100").Run(t.Context(), nil, host.RunOptions{})
	wantError(t, res.Err, kernel.CodeLimit, "limits.max_cost_usd is 10", "this call may take 105 dollars")
}

func TestCapsAreEnforced(t *testing.T) {
	store := "    - {kind: service_call_node, metadata: {name: s}, spec: {service: artifacts, method: store, input_mapping: {name: \"'x'\", value: $input}}}\n"
	for name, tc := range map[string]struct{ caps, nodes, says string }{
		"denied":            {"{deny: [port.llm]}", ask("a", ""), "deny port.llm"},
		"not in the set":    {"{default_set: [mem.read]}", ask("a", ""), "deny port.llm"},
		"an empty set":      {"{default_set: []}", store, "deny vas.write"},
		"deny wins":         {"{default_set: ['*'], deny: [vas.write]}", store, "deny vas.write"},
		"others stay":       {"{deny: [vas.write, proc.spawn]}", ask("a", ""), ""},
		"a set that has it": {"{default_set: [port.llm]}", ask("a", ""), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, p := loaded(t, "kind: Pipeline\nmetadata: {name: t}\nspec:\n  caps: "+tc.caps+"\n  ports: {llm: "+answering("x")+"}\n  nodes:\n"+tc.nodes, host.Options{})
			res := run(t, p, "{}")
			if tc.says == "" {
				if res.Err != nil {
					t.Fatal(res.Err)
				}
				return
			}
			wantError(t, res.Err, kernel.CodeDenied, tc.says)
			if res.Status != engine.Denied {
				t.Error(res.Status)
			}
		})
	}
	h := bare(t, host.Options{})
	_, err := loadBad(t, h, "kind: Pipeline\nmetadata: {name: t}\nspec: {caps: {deny: [port.lllm]}, nodes: []}\n")
	wantError(t, err, kernel.CodePipeline, "no capability port.lllm", "did you mean port.llm?")
}

// What a run may not do, a run that it starts may not do either.
func TestCapsNarrow(t *testing.T) {
	h, p := loaded(t, "kind: Pipeline\nmetadata: {name: child}\nspec:\n  ports: {llm: "+answering("x")+"}\n  nodes:\n"+ask("a", ""), host.Options{})
	parent := &kernel.RunContext{RunID: "p", Caps: kernel.CapSet{Denied: []kernel.Capability{kernel.CapLLM}}}
	res := p.Run(t.Context(), nil, host.RunOptions{Parent: parent})
	wantError(t, res.Err, kernel.CodeDenied, "port.llm")
	_ = h
}

func TestServices(t *testing.T) {
	s := newSite(t, `  ports: {database: {adapter: memory}}
  modules:
    orders: {path: PUPPET, grants: [metrics.count, database.query], config: {output: {id: 7}}}
`)
	h := s.open(t)
	p := loadText(t, h, `kind: Pipeline
metadata: {name: t}
spec:
  services:
    shop: {module: orders}
    notes: {class: hexdag.stdlib.lib.pipeline_memory.PipelineMemory}
  output: {all: read}
  nodes:
    - {kind: service_call_node, metadata: {name: order}, spec: {service: shop, method: pull}}
    - {kind: service_call_node, metadata: {name: keep}, spec: {service: notes, method: set, input_mapping: {key: "'order'", value: order.id}}}
    - {kind: service_call_node, metadata: {name: more}, spec: {service: notes, method: update, input_mapping: {a: "1", b: "[2]"}}}
    - {kind: service_call_node, metadata: {name: read}, spec: {service: notes, method: snapshot, strict_mapping: true, input_mapping: {}}}
`)
	res := run(t, p, "{}")
	if res.Err != nil || jsonText(t, res.Output["all"]) != `{"a":1,"b":[2],"order":7}` {
		t.Errorf("%v %v", res.Output, res.Err)
	}
	for text, words := range map[string][]string{
		"{shop: {class: myapp.services.OrderService}}": {"import paths run no code here", "module: name"},
		"{shop: {}}":               {"service shop needs module"},
		"{shop: {module: nobody}}": {"there is no module nobody"},
	} {
		_, err := loadBad(t, h, "kind: Pipeline\nmetadata: {name: t}\nspec: {services: "+text+", nodes: [{kind: service_call_node, metadata: {name: n}, spec: {service: shop, method: pull}}]}\n")
		for _, word := range words {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v does not say %q", text, err, word)
			}
		}
	}
}

const machine = `  state_machines:
    order:
      initial: NEW
      transitions: {NEW: [PAID, {to: CLOSED, guard: "payload.ok == True"}], PAID: [SHIPPED]}
`

func TestTransitions(t *testing.T) {
	h := bare(t, host.Options{})
	move := func(to, more string) *host.Result {
		p := loadText(t, h, "kind: Pipeline\nmetadata: {name: t}\nspec:\n"+machine+"  nodes: [{kind: transition, metadata: {name: m}, spec: {entity: order, entity_id: $input.id, to_state: "+to+more+"}}]\n")
		return run(t, p, `{"id": 17}`)
	}
	res := move("PAID", ", reason: the card went through")
	if res.Err != nil || jsonText(t, res.NodeResults["m"]) != `{"entity_id":"17","entity_type":"order","from_state":"NEW","to_state":"PAID"}` {
		t.Fatalf("%v %v", res.NodeResults, res.Err)
	}
	wantError(t, move("CLOSED", "").Err, kernel.CodeFailed, "Cannot transition 'order'/'17' from 'PAID' to 'CLOSED'")
	if res := move("SHIPPED", ""); res.Err != nil {
		t.Error(res.Err)
	}
	guarded := func(payload string) error {
		p := loadText(t, h, "kind: Pipeline\nmetadata: {name: t}\nspec:\n"+machine+"  nodes: [{kind: transition, metadata: {name: m}, spec: {entity: order, entity_id: g-1, to_state: CLOSED, payload: {ok: $input.ok}}}]\n")
		return run(t, p, payload).Err
	}
	wantError(t, guarded(`{"ok": false}`), kernel.CodeFailed, "guard 'payload.ok == True' does not hold")
	if err := guarded(`{"ok": true}`); err != nil {
		t.Error(err)
	}
}

func TestSystemsRunInOrder(t *testing.T) {
	s := newSite(t, "  env: []\n")
	h := s.open(t)
	s.write(t, "a.yaml", "kind: Pipeline\nmetadata: {name: a}\nspec: {nodes: [{kind: expression_node, metadata: {name: n}, spec: {expressions: {x: v + 1}}}]}\n")
	s.write(t, "b.yaml", "kind: Pipeline\nmetadata: {name: b}\nspec: {nodes: [{kind: expression_node, metadata: {name: n}, spec: {expressions: {y: $input.got.x * 10, text: text}}}]}\n")
	s.write(t, "bad.yaml", "kind: Pipeline\nmetadata: {name: bad}\nspec: {nodes: [{kind: expression_node, metadata: {name: n}, spec: {expressions: {y: 1 / 0}}}]}\n")
	system := `kind: System
metadata: {name: sys}
spec:
  processes: [{name: two, pipeline: b.yaml}, {name: one, pipeline: a.yaml}]
  pipes: [{from: one, to: two, mapping: {got: "{{ one.n }}", text: "x={{ one.n }}!", v: "{{ one.missing }}"}}]
`
	s.write(t, "bad-sys.yaml", system)
	_, err := h.LoadSystem(t.Context(), s.path("bad-sys.yaml"), host.LoadOptions{})
	wantError(t, err, kernel.CodePipeline, "process one has no node missing")
	s.write(t, "sys.yaml", strings.Replace(system, `, v: "{{ one.missing }}"`, "", 1))
	sys, err := h.LoadSystem(t.Context(), s.path("sys.yaml"), host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close(t.Context())
	rec := &host.Recorder{}
	res := sys.Run(t.Context(), map[string]any{"v": 4}, host.RunOptions{Recorder: rec})
	if res.Err != nil || !slices.Equal(res.Order, []string{"one", "two"}) || jsonText(t, res.Processes["two"].NodeResults["n"]) != `{"text":"x={'x': 5}!","y":50}` {
		t.Errorf("%v %v %v", res.Order, res.Processes["two"], res.Err)
	}
	var kinds []string
	for _, e := range rec.Events() {
		if e.System != "" {
			kinds = append(kinds, string(e.Type)+" "+e.Process)
		}
		if e.Type == kernel.NodeStarted && e.ParentRunID != res.RunID {
			t.Errorf("a process's parent is %q, not %q", e.ParentRunID, res.RunID)
		}
	}
	if want := []string{"SystemStarted ", "ProcessStarted one", "ProcessCompleted one", "ProcessStarted two", "ProcessCompleted two", "SystemCompleted "}; !slices.Equal(kinds, want) {
		t.Errorf("events %v", kinds)
	}
	s.write(t, "fails.yaml", "kind: System\nmetadata: {name: sys}\nspec:\n  processes: [{name: one, pipeline: bad.yaml}, {name: two, pipeline: a.yaml}]\n")
	if sys, err = h.LoadSystem(t.Context(), s.path("fails.yaml"), host.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	defer sys.Close(t.Context())
	if res := sys.Run(t.Context(), map[string]any{"v": 1}, host.RunOptions{}); res.Status != engine.Failed || len(res.Order) != 1 || !strings.Contains(res.Err.Error(), "'y'") {
		t.Errorf("%s %v %v", res.Status, res.Order, res.Err)
	}
}

func TestSystemsFollowEntities(t *testing.T) {
	s := newSite(t, "  env: []\n")
	h := s.open(t)
	s.write(t, "look.yaml", "kind: Pipeline\nmetadata: {name: look}\nspec: {nodes: [{kind: expression_node, metadata: {name: n}, spec: {expressions: {who: entity_id, was: from_state, half: 10 / share}}}]}\n")
	s.write(t, "sys.yaml", `kind: System
metadata: {name: tickets}
spec:
  state_machines:
    ticket:
      initial: OPEN
      transitions: {OPEN: [LOOKED_AT, {to: CLOSED, guard: "payload.ok == True"}], LOOKED_AT: [CLOSED]}
  states: {LOOKED_AT: {on_enter: look}, CLOSED: {terminal: true, requires: [summary]}}
  processes: [{name: look, pipeline: look.yaml}]
`)
	sys, err := h.LoadSystem(t.Context(), s.path("sys.yaml"), host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close(t.Context())
	move := func(to string, payload map[string]any) (*host.Result, error) {
		return sys.Transition(t.Context(), host.Move{Entity: "ticket", ID: "T-1", To: to, Payload: payload}, host.RunOptions{})
	}
	// The process fails, so the entity keeps its state.
	if _, err := move("LOOKED_AT", map[string]any{"share": kernel.Number(0)}); err == nil || !strings.Contains(err.Error(), "half") {
		t.Fatalf("a process that fails: %v", err)
	}
	_, err = move("CLOSED", map[string]any{"ok": false})
	wantError(t, err, kernel.CodeFailed, "from 'OPEN'", "does not hold")
	res, err := move("LOOKED_AT", map[string]any{"share": kernel.Number(4), "entity_id": "forged"})
	if err != nil || jsonText(t, res.NodeResults["n"]) != `{"half":2.5,"was":"OPEN","who":"T-1"}` {
		t.Fatalf("%v %v", res, err)
	}
	_, err = move("CLOSED", nil)
	wantError(t, err, kernel.CodeFailed, "requires summary")
	if _, err := move("CLOSED", map[string]any{"summary": "done"}); err != nil {
		t.Fatal(err)
	}
	// It was forgotten, so it begins anew.
	_, err = move("CLOSED", map[string]any{"ok": false})
	wantError(t, err, kernel.CodeFailed, "from 'OPEN'")
	_, err = sys.Transition(t.Context(), host.Move{Entity: "tickets", ID: "x", To: "y"}, host.RunOptions{})
	wantError(t, err, kernel.CodeInput, "did you mean ticket?")
}

// chain is a pipeline of n nodes, one after the other.
func chain(n int) string {
	var b strings.Builder
	b.WriteString("kind: Pipeline\nmetadata: {name: chain}\nspec:\n  nodes:\n")
	for i := range n {
		fmt.Fprintf(&b, "    - {kind: data_node, metadata: {name: n%d}, spec: {output: {i: %d}}}\n", i, i)
	}
	return b.String()
}

// A slow observer misses events, but the end; a broken one breaks nothing.
func TestObserversAreIsolated(t *testing.T) {
	_, p := loaded(t, chain(3000), host.Options{})
	var seen, last atomic.Int64
	release := make(chan struct{})
	started := time.Now()
	go func() {
		time.Sleep(300 * time.Millisecond)
		close(release)
	}()
	rec := &host.Recorder{}
	res := p.Run(t.Context(), nil, host.RunOptions{Recorder: rec, Observer: func(e *host.Event) {
		<-release
		seen.Add(1)
		if e.Type == kernel.PipelineCompleted {
			last.Store(e.Dropped)
		}
		panic("an observer's own")
	}})
	if res.Err != nil || time.Since(started) > 20*time.Second {
		t.Fatalf("%v after %s", res.Err, time.Since(started))
	}
	all := int64(len(rec.Events()))
	if last.Load() == 0 || seen.Load()+last.Load() != all {
		t.Errorf("of %d events it saw %d and was told that it missed %d", all, seen.Load(), last.Load())
	}
}

func TestOneTerminalEvent(t *testing.T) {
	opts := host.Options{Functions: map[string]host.Function{"loop": func(ctx context.Context, _ *kernel.NodeCall) (kernel.Value, error) {
		<-ctx.Done()
		return nil, kernel.ContextError(ctx)
	}, "panic": func(context.Context, *kernel.NodeCall) (kernel.Value, error) { panic("boom") }}}
	h := bare(t, opts)
	for name, tc := range map[string]struct {
		spec   string
		status engine.Status
	}{
		"completed":      {"{nodes: [{kind: data_node, metadata: {name: a}, spec: {output: 1}}]}", engine.Completed},
		"empty":          {"{nodes: []}", engine.Completed},
		"failed":         {"{nodes: [{kind: expression_node, metadata: {name: a}, spec: {expressions: {x: 1 / 0}}}]}", engine.Failed},
		"panicked":       {"{nodes: [{kind: function_node, metadata: {name: a}, spec: {fn: panic}}]}", engine.Failed},
		"timed out":      {"{orchestrator: {pipeline_timeout: 0.05}, nodes: [{kind: function_node, metadata: {name: a}, spec: {fn: loop}}]}", engine.Cancelled},
		"a node did":     {"{nodes: [{kind: function_node, metadata: {name: a}, spec: {fn: loop, timeout: 0.05}}]}", engine.Failed},
		"suspended":      {"{nodes: [{kind: wait_node, metadata: {name: a}, spec: {event_key: k}}]}", engine.Suspended},
		"denied":         {"{caps: {deny: [mem.read]}, nodes: [{kind: service_call_node, metadata: {name: a}, spec: {service: memory, method: get, input_mapping: {key: \"'k'\"}}}]}", engine.Denied},
		"wrong input":    {"{input_schema: {a: int}, nodes: [{kind: data_node, metadata: {name: a1}, spec: {output: 1}}]}", engine.Failed},
		"wrong output":   {"{output: {o: a1}, output_schema: {o: int}, nodes: [{kind: data_node, metadata: {name: a1}, spec: {output: text}}]}", engine.Failed},
		"critical skip":  {"{nodes: [{kind: data_node, metadata: {name: a}, spec: {output: 1, when: 'False', critical: true}}]}", engine.Failed},
		"handled":        {"{nodes: [{kind: expression_node, metadata: {name: a}, spec: {expressions: {x: 1 / 0}, on_error: b}}, {kind: expression_node, metadata: {name: b}, spec: {expressions: {w: a._error.node}}}]}", engine.Completed},
		"required input": {"{nodes: [{kind: data_node, metadata: {name: a}, spec: {output: 1, required_inputs: [x]}}]}", engine.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			p := loadText(t, h, "kind: Pipeline\nmetadata: {name: t}\nspec: "+tc.spec+"\n")
			rec := &host.Recorder{}
			res := p.Run(t.Context(), nil, host.RunOptions{Recorder: rec})
			events := rec.Events()
			ends := 0
			for _, e := range events {
				if e.Type == kernel.PipelineCompleted {
					ends++
					if e.Status != string(tc.status) {
						t.Errorf("the event says %s", e.Status)
					}
				}
				if e.RunID != res.RunID || e.Pipeline != "t" || e.Tenant != "default" {
					t.Errorf("event %+v is of no run", e)
				}
			}
			if res.Status != tc.status || ends != 1 || events[len(events)-1].Type != kernel.PipelineCompleted {
				t.Errorf("%s with %d terminal events: %v", res.Status, ends, res.Err)
			}
		})
	}
}

// broken is a hook that fails.
type broken struct{}

func (broken) BeforeNode(context.Context, *kernel.NodeCall) (kernel.Verdict, error) {
	return kernel.Verdict{}, errors.New("the hook broke")
}

func (broken) AfterNode(context.Context, *kernel.NodeCall, kernel.Value, error) (kernel.Verdict, error) {
	return kernel.Verdict{}, errors.New("the hook broke again")
}

func (broken) BeforePort(context.Context, *kernel.PortCall) (kernel.Verdict, error) {
	return kernel.Verdict{}, errors.New("the hook broke")
}

func (broken) AfterPort(context.Context, *kernel.PortCall, *kernel.PortReply, error) (kernel.Verdict, error) {
	return kernel.Verdict{}, errors.New("the hook broke again")
}

func TestFailurePolicyOfHooks(t *testing.T) {
	text := "kind: Pipeline\nmetadata: {name: t}\nspec:\n  ports: {llm: " + answering("x") + "}\n  nodes:\n" + ask("a", "")
	everything := func(string) bool { return true }
	for name, tc := range map[string]struct {
		opts host.Options
		fine bool
	}{
		"a node hook, closed": {host.Options{NodeHooks: []host.NodeHook{{Name: "h", Hook: broken{}}}}, false},
		"a node hook, open":   {host.Options{NodeHooks: []host.NodeHook{{Name: "h", Hook: broken{}, Open: true}}}, true},
		"a port hook, closed": {host.Options{PortHooks: []host.PortHook{{Name: "h", Match: everything, Hook: broken{}}}}, false},
		"a port hook, open":   {host.Options{PortHooks: []host.PortHook{{Name: "h", Match: everything, Hook: broken{}, Open: true}}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			_, p := loaded(t, text, tc.opts)
			rec := &host.Recorder{}
			res := p.Run(t.Context(), nil, host.RunOptions{Recorder: rec})
			if (res.Err == nil) != tc.fine || tc.fine && res.NodeResults["a"] != "x" || !tc.fine && !strings.Contains(res.Err.Error(), "the hook broke") {
				t.Errorf("%s %v", res.Status, res.Err)
			}
			open := 0
			for _, e := range rec.Events() {
				if e.Type == kernel.HookDecided && e.Action == "failed_open" && strings.Contains(e.Reason, "broke") {
					open++
				}
			}
			if want := map[bool]int{true: 2}[tc.fine]; open != want {
				t.Errorf("%d events of it, want %d", open, want)
			}
		})
	}
}

// echoing is a port hook that calls what it is around.
type echoing struct{ depth atomic.Int64 }

func (h *echoing) BeforePort(ctx context.Context, call *kernel.PortCall) (kernel.Verdict, error) {
	h.depth.Add(1)
	_, err := kernel.RunFrom(ctx).Call(ctx, call.Op, call.Args)
	return kernel.Verdict{}, err
}

func (h *echoing) AfterPort(context.Context, *kernel.PortCall, *kernel.PortReply, error) (kernel.Verdict, error) {
	return kernel.Verdict{}, nil
}

func TestHooksInsideThemselvesEnd(t *testing.T) {
	h := &echoing{}
	_, p := loaded(t, "kind: Pipeline\nmetadata: {name: t}\nspec:\n  ports: {llm: "+answering("x")+"}\n  nodes:\n"+ask("a", ""), host.Options{PortHooks: []host.PortHook{{Name: "echo", Match: func(op string) bool { return op == "llm.complete" }, Hook: h}}})
	res := run(t, p, "{}")
	wantError(t, res.Err, kernel.CodeLimit, "hook echo runs inside itself too deeply", "the limit is 16")
	if h.depth.Load() != 16 {
		t.Errorf("%d deep", h.depth.Load())
	}
}

func TestHooksOfPipelinesAndNodes(t *testing.T) {
	s := newSite(t, `  ports: {database: {adapter: memory}}
  modules:
    deny: {path: PUPPET, grants: [metrics.count, database.query], config: {verdict: 3, output: {reason: not today}}}
    pass: {path: PUPPET, grants: [metrics.count, database.query]}
`)
	h := s.open(t)
	nodes := "  nodes: [{kind: data_node, metadata: {name: a}, spec: {output: 1}}, {kind: data_node, metadata: {name: b}, dependencies: [], spec: {output: 2HOOKS}}]\n"
	for spec, denied := range map[string]bool{
		strings.Replace(nodes, "HOOKS", ", hooks: [pass, deny]", 1):                               true,
		strings.Replace(nodes, "HOOKS", ", hooks: pass", 1):                                       false,
		"  hooks: [{module: deny, nodes: [b]}]\n" + strings.Replace(nodes, "HOOKS", "", 1):        true,
		"  hooks: [{module: deny, kinds: [llm_node]}]\n" + strings.Replace(nodes, "HOOKS", "", 1): false,
	} {
		p := loadText(t, h, "kind: Pipeline\nmetadata: {name: t}\nspec:\n"+spec)
		res := run(t, p, "{}")
		if (res.Status == engine.Denied) != denied || denied && !strings.Contains(res.Err.Error(), "not today") {
			t.Errorf("%s: %s %v", spec, res.Status, res.Err)
		}
	}
	_, err := loadBad(t, h, "kind: Pipeline\nmetadata: {name: t}\nspec:\n"+strings.Replace(nodes, "HOOKS", ", hooks: [denyy]", 1))
	wantError(t, err, kernel.CodeModuleNotFound, "there is no module denyy", "configured are deny, pass")
}

// A pipeline's own adapters reach what lies below its folder, and the variables
// that the operator lists.
func TestPipelinesOpenTheirOwnFilesAlone(t *testing.T) {
	s := newSite(t, "  env: [MAY_READ]\n  endpoints: [api.openai.com, 'localhost:*']\n")
	h := s.open(t)
	t.Setenv("MAY_READ", "public")
	t.Setenv("PRIVATE", "secret")
	outside := t.TempDir()
	if err := os.Symlink(outside, s.path("link")); err != nil {
		t.Fatal(err)
	}
	for port, words := range map[string][]string{
		"memory: {adapter: sqlite, config: {path: memory.db}}":                    nil,
		"database: {adapter: sqlite, config: {path: " + outside + "/shop.db}}":    {"path", "lies outside the pipeline's folder"},
		"database: {adapter: sqlite, config: {path: ../shop.db}}":                 {"lies outside the pipeline's folder"},
		"database: {adapter: sqlite, config: {path: link/shop.db}}":               {"not for a pipeline to open", "escapes"},
		"memory: {adapter: sqlite, config: {path: ../memory.db}}":                 {"lies outside the pipeline's folder"},
		"memory: {adapter: sqlite}":                                               {"has no path", "not for a pipeline to open"},
		"file_storage: {adapter: local}":                                          {"has no root", "not for a pipeline to open"},
		"artifacts: {adapter: file}":                                              {"has no root", "not for a pipeline to open"},
		"artifacts: {adapter: nats}":                                              {"the adapter nats of artifacts is not for a pipeline to open", "operator's credentials"},
		"artifacts: {adapter: file, config: {root: /}}":                           {"root", "lies outside the pipeline's folder"},
		"llm: {adapter: mock, config: {rules_file: ../rules.yaml}}":               {"rules_file", "lies outside the pipeline's folder"},
		"llm: {adapter: openai, config: {base_url: 'http://169.254.169.254/v1'}}": {"may not send to the model at 169.254.169.254", "endpoints"},
		"llm: {adapter: openai, config: {base_url: 'http://localhost:11434/v1'}}": nil,
		"llm: {adapter: openai, config: {api_key_env: MAY_READ}}":                 nil,
		"llm: {adapter: openai, config: {api_key_env: PRIVATE}}":                  {"PRIVATE", "not for a pipeline to read", "list it there under env"},
		"llm: {adapter: openai, config: {api_key: '${PRIVATE_API_KEY}'}}":         {"PRIVATE_API_KEY", "not for this file to read"},
	} {
		s.write(t, "pipeline.yaml", "kind: Pipeline\nmetadata: {name: t}\nspec: {ports: {"+port+"}, nodes: []}\n")
		p, err := h.Load(t.Context(), s.path("pipeline.yaml"), host.LoadOptions{})
		if words == nil {
			if err != nil {
				t.Errorf("%s: %v", port, err)
				continue
			}
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
			continue
		}
		wantError(t, err, kernel.CodeConfig, words...)
	}
}
