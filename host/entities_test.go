package host_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testserver"
)

// ticketSystem follows tickets: each state has a process that ends another way.
const ticketSystem = `kind: System
metadata: {name: tickets}
spec:
  state_machines:
    ticket: {initial: OPEN, transitions: {OPEN: [FAILS, DENIED, WAITS, TIMED, DONE], DONE: [CLOSED]}}
  states:
    FAILS: {on_enter: fails}
    DENIED: {on_enter: denied}
    WAITS: {on_enter: waits}
    TIMED: {on_enter: timed}
    DONE: {on_enter: done}
  on_transition: {}
  processes:
    - {name: fails, pipeline: fails.yaml}
    - {name: denied, pipeline: denied.yaml}
    - {name: waits, pipeline: waits.yaml}
    - {name: timed, pipeline: timed.yaml}
    - {name: done, pipeline: done.yaml}
`

// writeTickets writes the system. Each process has begun its work when it comes to its second node.
func writeTickets(t *testing.T, s site) {
	t.Helper()
	s.write(t, "sys.yaml", strings.Replace(ticketSystem, "  on_transition: {}\n", "", 1))
	for name, second := range map[string]string{
		"fails":  "{kind: expression_node, metadata: {name: second}, dependencies: [first], spec: {expressions: {x: 1 / 0}}}",
		"denied": "{kind: service_call_node, metadata: {name: second}, dependencies: [first], spec: {service: memory, method: get, input_mapping: {key: \"'k'\"}}}",
		"waits":  "{kind: wait_node, metadata: {name: second}, dependencies: [first], spec: {event_key: \"ticket:{{ $input.entity_id }}\"}}",
		"timed":  "{kind: llm_node, metadata: {name: second}, dependencies: [first], spec: {human_message: x, timeout: 0.05}}",
		"done":   "{kind: expression_node, metadata: {name: second}, dependencies: [first], spec: {expressions: {x: 1 + 1}}}",
	} {
		caps, ports := "", ""
		switch name {
		case "denied":
			caps = "  caps: {deny: [mem.read]}\n"
		case "timed":
			ports = "  ports: {llm: {adapter: mock, config: {responses: [x], delay_ms: 20000}}}\n"
		}
		s.write(t, name+".yaml", "kind: Pipeline\nmetadata: {name: "+name+"}\nspec:\n"+caps+ports+"  nodes:\n    - {kind: service_call_node, metadata: {name: first}, dependencies: [], spec: {service: pipeline_memory, method: set, strict_mapping: true, input_mapping: {key: \"'seen'\", value: to_state}}}\n    - "+second+"\n")
	}
}

// tickets is a host of its own with the system, over a store.
type tickets struct {
	*host.System
	host *host.Host
}

func newTickets(t *testing.T, store string) *tickets {
	t.Helper()
	s := newSite(t, "  libraries: {store: "+store+"}\n")
	writeTickets(t, s)
	h := s.open(t)
	sys, err := h.LoadSystem(t.Context(), s.path("sys.yaml"), host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sys.Close(t.Context()) })
	return &tickets{sys, h}
}

func (k *tickets) move(t *testing.T, id, to string) (*host.Result, error) {
	t.Helper()
	return k.Transition(t.Context(), host.Move{Entity: "ticket", ID: id, To: to, Reason: "because"}, host.RunOptions{})
}

// history is where a ticket has been, as a pipeline sees it.
func (k *tickets) history(t *testing.T, id string) string {
	t.Helper()
	p := loadText(t, k.host, "kind: Pipeline\nmetadata: {name: look}\nspec: {nodes: [{kind: service_call_node, metadata: {name: h}, spec: {service: entity_state, method: get_history, strict_mapping: true, input_mapping: {entity: \"'ticket'\", entity_id: \"'"+id+"'\"}}}]}\n")
	res := run(t, p, "{}")
	if res.Err != nil {
		t.Fatal(res.Err)
	}
	answer, _ := res.NodeResults["h"].(map[string]any)
	list, _ := answer["history"].([]any)
	var states []string
	for _, e := range list {
		entry, _ := e.(map[string]any)
		state, _ := entry["to_state"].(string)
		states = append(states, state)
	}
	return strings.Join(states, " ")
}

// TestFailedProcessKeepsState: hexDAG documents, and does not do, that an entity whose process fails keeps its old state. It does here,
// however the process ends but well, and so another process sees it; the next transition is not kept waiting.
func TestFailedProcessKeepsState(t *testing.T) {
	for name, store := range map[string]func(t *testing.T) string{
		"sqlite": func(t *testing.T) string { return "{adapter: sqlite, config: {path: " + t.TempDir() + "/l.db}}" },
		"postgres": func(t *testing.T) string {
			_, url := testserver.Postgres(t)
			return "{adapter: postgres, config: {url: '" + url + "'}}"
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := store(t)
			one, other := newTickets(t, in), newTickets(t, in)
			for _, tc := range []struct {
				to    string
				ends  engine.Status
				code  kernel.Code
				words string
			}{
				{"FAILS", engine.Failed, "expression.failed", "second"},
				{"DENIED", engine.Denied, kernel.CodeDenied, "memory.get"},
				{"WAITS", engine.Suspended, kernel.CodeFailed, "process waits is suspended"},
				{"TIMED", engine.Failed, kernel.CodeTimeout, ""},
			} {
				res, err := one.move(t, "T-1", tc.to)
				if res == nil || res.Status != tc.ends || kernel.CodeOf(err) != tc.code || !strings.Contains(err.Error(), tc.words) {
					t.Errorf("%s: %+v, %v (%s)", tc.to, res, err, kernel.CodeOf(err))
					continue
				}
				if res.NodeResults["first"] == nil {
					t.Errorf("%s: it did not fail midway", tc.to)
				}
				if states := other.history(t, "T-1"); states != "OPEN" {
					t.Errorf("%s: the ticket was in %s", tc.to, states)
				}
			}
			if res, err := one.move(t, "T-1", "DONE"); err != nil || res.Status != engine.Completed {
				t.Fatalf("%+v, %v", res, err)
			}
			if states := other.history(t, "T-1"); states != "OPEN DONE" {
				t.Errorf("the ticket was in %s", states)
			}
			if _, err := other.move(t, "T-1", "CLOSED"); err != nil {
				t.Error(err)
			}
			if states := other.history(t, "T-1"); states != "OPEN DONE CLOSED" {
				t.Errorf("the ticket was in %s", states)
			}
		})
	}
}

// TestFirstTransitionOfMany: of hosts that move an entity for the first time at once, one does.
func TestFirstTransitionOfMany(t *testing.T) {
	store := "{adapter: sqlite, config: {path: " + t.TempDir() + "/l.db}}"
	hosts := []*tickets{newTickets(t, store), newTickets(t, store)}
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		var all sync.WaitGroup
		var mu sync.Mutex
		moved := 0
		for i := range 8 {
			all.Go(func() {
				_, err := hosts[i%2].move(t, id, "DONE")
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					moved++
				}
			})
		}
		all.Wait()
		if states := hosts[0].history(t, id); moved != 1 || states != "OPEN DONE" {
			t.Errorf("%d moved it, which was in %s", moved, states)
		}
	}
}

// TestAgentsMoveEntities: an agent is told how entities of the types that it names can be moved, and moves those, and no others; what a guard
// asks for it can give.
func TestAgentsMoveEntities(t *testing.T) {
	const call = "{tool_calls: [{name: 'entity_state:TOOL', arguments: ARGS}]}"
	var script []string
	for _, c := range [][2]string{
		{"transition", "{entity: order, entity_id: o-1, to_state: CLOSED}"},
		{"transition", "{entity: order, entity_id: o-1, to_state: CLOSED, payload: {ok: true}, reason: asked}"},
		{"get_history", "{entity: order, entity_id: o-1}"},
		{"get_state", "{entity: secret, entity_id: s-1}"},
		{"transition", "{entity: secret, entity_id: s-1, to_state: x}"},
		{"register", "{entity: order, entity_id: o-1, initial_state: NEW}"},
	} {
		script = append(script, strings.NewReplacer("TOOL", c[0], "ARGS", c[1]).Replace(call))
	}
	script = append(script, "{tool_calls: [{name: tool_end, arguments: {output: 1}}]}") // which is no text: the state is the result
	spec := "kind: Pipeline\nmetadata: {name: t}\nspec:\n" + machine + "  ports: {llm: {adapter: mock, config: {responses: [" + strings.Join(script, ", ") + "]}}}\n  nodes:\n"
	s := newSite(t, "  env: []\n")
	h := s.open(t)
	res := run(t, loadText(t, h, spec+"    - {kind: agent_node, metadata: {name: a}, dependencies: [], spec: {main_prompt: do it, max_steps: 7, entities: [order]}}\n"), "{}")
	if res.Err != nil {
		t.Fatal(res.Err)
	}
	state, _ := res.NodeResults["a"].(map[string]any)
	results := jsonText(t, state["tool_results"])
	for _, says := range []string{
		"guard 'payload.ok == True' does not hold", `\"from_state\":\"NEW\",\"to_state\":\"CLOSED\"`, `\"metadata\":{\"reason\":\"asked\"}`, "this agent may not reach entities of type secret", "there is no tool entity_state:register",
	} {
		if !strings.Contains(results, says) {
			t.Errorf("%s does not say %s", results, says)
		}
	}
	// A model that writes its calls is told it in the prompt.
	rules := "{rules: [{match: 'order: begins in NEW; NEW -> PAID, CLOSED; PAID -> SHIPPED[.]', reply: \"INVOKE_TOOL: tool_end(output='told')\"}], default: hm}"
	res = run(t, loadText(t, h, "kind: Pipeline\nmetadata: {name: t}\nspec:\n"+machine+"  ports: {llm: {adapter: mock, config: "+rules+"}}\n  nodes:\n    - {kind: agent_node, metadata: {name: a}, dependencies: [], spec: {main_prompt: do it, max_steps: 1, entities: [order], tool_call_style: mixed}}\n"), "{}")
	if got := jsonText(t, res.NodeResults["a"]); got != `{"output":"told"}` {
		t.Errorf("%s, %v", got, res.Err)
	}
}

// TestEntitiesAreObserved: whoever watches a transition is told of the process, of the change and of the end, in this order.
func TestEntitiesAreObserved(t *testing.T) {
	k := newTickets(t, "{adapter: memory}")
	k.Machines[0].Terminal = []string{"CLOSED"}
	for name, watch := range map[string]func(*[]*host.Event) host.RunOptions{
		"observer": func(seen *[]*host.Event) host.RunOptions {
			return host.RunOptions{Observer: func(e *host.Event) { *seen = append(*seen, e) }}
		},
		"recorder": func(seen *[]*host.Event) host.RunOptions {
			return host.RunOptions{Recorder: host.Tell(func(e *host.Event) { *seen = append(*seen, e) })}
		},
	} {
		var seen []*host.Event
		for _, to := range []string{"DONE", "CLOSED"} {
			if _, err := k.Transition(t.Context(), host.Move{Entity: "ticket", ID: name, To: to, Reason: "because"}, watch(&seen)); err != nil {
				t.Fatal(err)
			}
		}
		var told []string
		for _, e := range seen {
			switch e.Type {
			case kernel.PipelineCompleted:
				told = append(told, "process "+e.Pipeline)
			case kernel.StateTransitioned:
				told = append(told, e.Entity+" "+e.EntityID+" "+e.FromState+" "+e.ToState+" "+e.Reason)
			case kernel.EntityCollected:
				result, _ := e.Result.(map[string]any)
				told = append(told, "end "+e.EntityID+" "+jsonText(t, result["final_state"])+jsonText(t, result["transition_count"])+" of "+e.System)
			}
		}
		want := []string{"process done", "ticket " + name + " OPEN DONE because", "ticket " + name + " DONE CLOSED because", "end " + name + ` "CLOSED"2 of tickets`}
		if !slices.Equal(told, want) {
			t.Errorf("%s: %q, want %q", name, told, want)
		}
	}
}
