package host_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

// toolbox is the path of a guest with tools that its configuration says: see enforcement/toolbox.
func toolbox(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("enforcement/toolbox/toolbox.wasm")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

const grantsOfBox = `[artifacts.store, artifacts.list, memory.get, memory.set, metrics.count, pipeline_memory.get, pipeline_memory.set]`

// careful is a host on which whoever stores an artifact needs an approval. The module
// box counts, and then stores: as a tool, "work", and as a node's body.
func careful(t *testing.T, more string) site {
	t.Helper()
	const calls = `[{op: metrics.count, head: {name: worked, delta: 1}}, {op: artifacts.store, head: {name: made, value: 1}}, {op: metrics.count, head: {name: stored, delta: 1}}]`
	return newSite(t, `  principal: ada
  tenant: acme
  modules:
    box: {path: `+toolbox(t)+`, grants: `+grantsOfBox+`, config: {tools: {work: {calls: `+calls+`}, node: {calls: `+calls+`}}}}
  ports:
    governance: `+approving+"\n"+more)
}

// acts counts the calls of an operation that were allowed.
func (s site) acts(t *testing.T, op string) int {
	t.Helper()
	n := 0
	for _, r := range s.records(t) {
		if r.Kind == "call" && r.Action == op && r.Effect == kernel.Allow {
			n++
		}
	}
	return n
}

// answerAll has every approval that waits given, or refused, and resumes the runs that wait
// for them, on a host that is opened anew for each.
func (s site) answerAll(t *testing.T, yes bool) *host.Result {
	t.Helper()
	var last *host.Result
	for range 20 {
		func() {
			h, err := s.new(t)
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close(context.WithoutCancel(t.Context()))
			pending, err := h.Approvals().List(t.Context(), host.ApprovalPending)
			if err != nil {
				t.Fatal(err)
			}
			if len(pending) == 0 {
				return
			}
			id := pending[0].ID
			if _, err := h.Approvals().Answer(t.Context(), id, "bob", yes, "so be it"); err != nil {
				t.Fatal(err)
			}
			results, err := h.Signal(t.Context(), kernel.ApprovalKey+id, nil, host.RunOptions{})
			if err != nil || len(results) != 1 {
				t.Fatalf("%+v, %v", results, err)
			}
			last = results[0]
		}()
	}
	if last == nil {
		t.Fatal("nothing waited")
	}
	return last
}

// What a run waits for inside of a body, an agent or a module is waited for there: what
// was done before is not done again, in whatever process the run goes on.
func TestApprovalsInside(t *testing.T) {
	const model = `    llm: {adapter: mock_llm, config: {rules: [
        {match: "box:work: ", reply: "INVOKE_TOOL: tool_end(output='done')"},
        {match: "not found", reply: "INVOKE_TOOL: box:work()"}], default: "INVOKE_TOOL: box:nothing()"}}
`
	const agent = `{kind: agent_node, metadata: {name: agent}, dependencies: [], spec: {main_prompt: "Do it.", available_tools: [box]}}`
	count := func(name string) string {
		return `{kind: service_call_node, metadata: {name: ` + name + `}, dependencies: [], spec: {service: metrics, method: count, input_mapping: {name: "'before'"}, strict_mapping: true}}`
	}
	storing := func(name, value, deps string) string {
		return `{kind: service_call_node, metadata: {name: ` + name + `}, dependencies: [` + deps + `], spec: {service: artifacts, method: store, strict_mapping: true, input_mapping: {name: "'x'", value: "` + value + `"}}}`
	}
	for name, tc := range map[string]struct {
		node  string
		waits int            // approvals that are asked for in all
		first int            // of these, by the first run
		acts  map[string]int // calls that are allowed in all; a tool's own is on record each time that it goes on
		says  string         // in the result
	}{
		"a module": {
			`{kind: function_node, metadata: {name: n}, dependencies: [], spec: {fn: box}}`, 1, 1,
			map[string]int{"metrics.count": 2, "artifacts.store": 1}, `"n":{}`,
		},
		"a for-each": {
			`{kind: composite_node, metadata: {name: n}, dependencies: [], spec: {mode: for-each, items: "[1, 2, 3]", body: [` + count("c") + `, ` + storing("x", "$item", "c") + `]}}`, 3, 3,
			map[string]int{"metrics.count": 3, "artifacts.store": 3}, `"iterations":3`,
		},
		"a for-each, at once": {
			`{kind: composite_node, metadata: {name: n}, dependencies: [], spec: {mode: for-each, concurrency: 3, items: "[1, 2, 3]", body: [` + count("c") + `, ` + storing("x", "$item", "c") + `]}}`, 3, 3,
			map[string]int{"metrics.count": 3, "artifacts.store": 3}, `"successful":3`,
		},
		"a while": {
			`{kind: composite_node, metadata: {name: n}, dependencies: [], spec: {mode: while, condition: "state.n < 2", initial_state: {n: 0}, state_update: {n: "state.n + 1"}, body: [` + count("c") + `, ` + storing("x", "state.n", "c") + `]}}`, 2, 1,
			map[string]int{"metrics.count": 2, "artifacts.store": 2}, `"final_state":{"iteration":2,"n":2}`,
		},
		"a branch": {
			`{kind: composite_node, metadata: {name: n}, dependencies: [], spec: {mode: if-else, condition: "1 == 2", body: [` + count("c") + `], else_body: [` + count("c") + `, ` + storing("x", "1", "c") + `]}}`, 1, 1,
			map[string]int{"metrics.count": 1, "artifacts.store": 1}, `"branch_taken":"else"`,
		},
		"a switch": {
			`{kind: composite_node, metadata: {name: n}, dependencies: [], spec: {mode: switch, branches: [{condition: "1 == 2", action: a}, {condition: "1 == 1", body: [` + count("c") + `, ` + storing("x", "1", "c") + `]}]}}`, 1, 1,
			map[string]int{"metrics.count": 1, "artifacts.store": 1}, `"evaluations":[false,true]`,
		},
		"a module in a body": {
			`{kind: composite_node, metadata: {name: n}, dependencies: [], spec: {mode: times, count: 2, body: box}}`, 2, 1,
			map[string]int{"metrics.count": 4, "artifacts.store": 2}, `"successful":2`,
		},
		"a body in a body": {
			`{kind: composite_node, metadata: {name: n}, dependencies: [], spec: {mode: times, count: 2, body: [{kind: composite_node, metadata: {name: m}, spec: {mode: if-else, condition: "1 == 1", body: [` + count("c") + `, ` + storing("x", "$index", "c") + `]}}]}}`, 2, 2,
			map[string]int{"metrics.count": 2, "artifacts.store": 2}, `"successful":2`,
		},
		"a tool": {
			agent, 1, 1,
			map[string]int{"metrics.count": 2, "artifacts.store": 1, "llm.complete": 3, "box.work": 2}, `"output":"done"`,
		},
		"a tool in a body": {
			`{kind: composite_node, metadata: {name: n}, dependencies: [], spec: {mode: times, count: 2, body: [` + agent + `]}}`, 2, 1,
			map[string]int{"metrics.count": 4, "artifacts.store": 2, "llm.complete": 6, "box.work": 5}, `"output":"done"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := careful(t, model)
			h := s.open(t)
			result := s.load(t, h, tc.node).Run(t.Context(), map[string]any{}, host.RunOptions{})
			if result.Status != engine.Suspended {
				t.Fatalf("%s %v", result.Status, result.Err)
			}
			distinct := map[string]bool{}
			for _, w := range result.Waits {
				distinct[w.EventKey] = true
			}
			if len(distinct) != tc.first {
				t.Errorf("it waits for %+v", result.Waits)
			}
			if err := h.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			last := s.answerAll(t, true)
			if last.Status != engine.Completed {
				t.Fatalf("%s %+v %v", last.Status, last.Waits, last.Err)
			}
			for op, want := range tc.acts {
				if got := s.acts(t, op); got != want {
					t.Errorf("%s happened %d times, want %d", op, got, want)
				}
			}
			text, _ := kernel.EncodeJSON(map[string]any(last.NodeResults))
			if !strings.Contains(string(text), tc.says) {
				t.Errorf("the result does not say %s: %s", tc.says, text)
			}
			used := 0
			for _, r := range s.records(t) {
				if r.Action == "artifacts.store" && r.Effect == kernel.Allow && strings.Contains(r.Reasons[0].Msg, "by [bob]") {
					used++
				}
			}
			if used != tc.waits {
				t.Errorf("%d approvals were used, want %d", used, tc.waits)
			}
		})
	}
}

// A module that did more than is kept fails where it would wait, and its error says so; the approval
// holds for another run.
func TestTooMuchBeforeApproval(t *testing.T) {
	s := newSite(t, `  principal: ada
  tenant: acme
  modules:
    box: {path: `+toolbox(t)+`, limits: {deadline: 1m}, grants: `+grantsOfBox+`, config: {tools: {node: {calls: [`+strings.Repeat(`{op: memory.get, head: {key: "k"}}, `, 5)+`{op: artifacts.store, head: {name: made, value: 1}}]}}}}
  ports:
    memory: {adapter: memory, config: {max_value_bytes: 1000000}}
    governance: `+approving+"\n")
	h := s.open(t)
	p := s.load(t, h, `{kind: service_call_node, metadata: {name: set}, dependencies: [], spec: {service: memory, method: set, strict_mapping: true, input_mapping: {key: "'k'", value: $input}}}`,
		`{kind: function_node, metadata: {name: n}, dependencies: [set], spec: {fn: box}}`)
	run := func() *host.Result { return p.Run(t.Context(), strings.Repeat("x", 900_000), host.RunOptions{}) }
	wantError(t, run().Err, kernel.CodeApproval, "the run does not wait for it", "1024 calls and 4 MiB", "run the pipeline again")
	if _, err := h.Approvals().Answer(t.Context(), neededBy(t, s).ID, "bob", true, ""); err != nil {
		t.Fatal(err)
	}
	if again := run(); again.Status != engine.Completed {
		t.Errorf("with the approval: %s %v", again.Status, again.Err)
	}
}

// An agent is told that a person refused what it called.
func TestAgentIsRefusedApproval(t *testing.T) {
	s := careful(t, `    llm: {adapter: mock_llm, config: {rules: [{match: "so be it", reply: "INVOKE_TOOL: tool_end(output='gave up')"}], default: "INVOKE_TOOL: box:work()"}}
`)
	h := s.open(t)
	agent := `{kind: agent_node, metadata: {name: n}, dependencies: [], spec: {main_prompt: "Do it.", available_tools: [box]}}`
	if result := s.load(t, h, agent).Run(t.Context(), map[string]any{}, host.RunOptions{}); result.Status != engine.Suspended {
		t.Fatalf("%s %v", result.Status, result.Err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	last := s.answerAll(t, false)
	if answer, _ := last.NodeResults["n"].(map[string]any); last.Status != engine.Completed || answer["output"] != "gave up" {
		t.Fatalf("%s %v %+v", last.Status, last.Err, last.NodeResults)
	}
	if s.acts(t, "artifacts.store") != 0 || s.acts(t, "metrics.count") != 1 || s.acts(t, "llm.complete") != 2 {
		t.Error("something was done that should not, or twice")
	}
}

// An agent goes on from what an earlier version wrote, which had more to say of its turns.
func TestAgentOfAnEarlierVersion(t *testing.T) {
	s := careful(t, `    llm: {adapter: mock_llm, config: {rules: [{match: "box:work: ", reply: "INVOKE_TOOL: tool_end(output='done')"}], default: "INVOKE_TOOL: box:work()"}}
`)
	h := s.open(t)
	agent := `{kind: agent_node, metadata: {name: n}, dependencies: [], spec: {main_prompt: "Do it.", available_tools: [box]}}`
	result := s.load(t, h, agent).Run(t.Context(), map[string]any{}, host.RunOptions{})
	if result.Status != engine.Suspended {
		t.Fatalf("%s %v", result.Status, result.Err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(s.path("*/suspended/*.json"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	text := readFile(t, files[0])
	older := strings.NewReplacer(`"version": 7`, `"version": 2`, `"version":7`, `"version":2`, `"answer":`, `"labels": {"integrity": "untrusted", "confidentiality": "public"}, "answer":`).Replace(text)
	if strings.Count(older, `"labels"`) <= strings.Count(text, `"labels"`) || !strings.Contains(older, `"version":2`) && !strings.Contains(older, `"version": 2`) {
		t.Fatal(text)
	}
	if err := os.WriteFile(files[0], []byte(older), 0o600); err != nil {
		t.Fatal(err)
	}
	if last := s.answerAll(t, true); last.Status != engine.Completed || s.acts(t, "artifacts.store") != 1 || s.acts(t, "llm.complete") != 2 {
		t.Errorf("%s %v", last.Status, last.Err)
	}
}

// A tool that needs an approval itself is asked about once.
func TestApprovalOfATool(t *testing.T) {
	s := careful(t, `    llm: {adapter: mock_llm, config: {rules: [{match: "box:work: ", reply: "INVOKE_TOOL: tool_end(output='done')"}], default: "INVOKE_TOOL: box:work()"}}
`)
	s.write(t, "hexdag.yaml", strings.ReplaceAll(readFile(t, s.path("hexdag.yaml")), "actions: [artifacts.store]", "actions: [artifacts.store, box.work]"))
	h := s.open(t)
	agent := `{kind: agent_node, metadata: {name: n}, dependencies: [], spec: {main_prompt: "Do it.", available_tools: [box]}}`
	result := s.load(t, h, agent).Run(t.Context(), map[string]any{}, host.RunOptions{})
	asked := neededBy(t, s)
	if result.Status != engine.Suspended || asked.Request.Action.Name != "box.work" || asked.Request.Resource.Type != "tool" || s.acts(t, "metrics.count") != 0 {
		t.Fatalf("%s %v %+v", result.Status, result.Err, asked)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if last := s.answerAll(t, true); last.Status != engine.Completed {
		t.Fatalf("%s %v", last.Status, last.Err)
	}
	if s.acts(t, "artifacts.store") != 1 || s.acts(t, "metrics.count") != 2 || s.acts(t, "llm.complete") != 2 {
		t.Error("something was done twice, or not at all")
	}
	used := 0
	for _, r := range s.records(t) {
		if r.Kind == "call" && r.Action == "box.work" && r.Effect == kernel.Allow && strings.Contains(r.Reasons[0].Msg, "by [bob]") {
			used++
		}
	}
	if used != 1 {
		t.Errorf("the tool was approved %d times", used)
	}
}

// What one iteration learned before the run waited is not taken for what another is given.
func TestIterationsLearnForThemselves(t *testing.T) {
	s := careful(t, `    database: {adapter: memory, config: {tables: {mails: [{id: 1}]}}, labels: {integrity: untrusted}}
`)
	h := s.open(t)
	mails := `{kind: service_call_node, metadata: {name: m}, dependencies: [], spec: {when: "$item == 1", service: database, method: query, input_mapping: {table: "'mails'"}}}`
	x := `{kind: service_call_node, metadata: {name: x}, dependencies: [], spec: {service: artifacts, method: store, strict_mapping: true, input_mapping: {name: "'x'", value: $item}}}`
	node := `{kind: composite_node, metadata: {name: n}, dependencies: [], spec: {mode: for-each, items: "[1, 2]", body: [` + mails + `, ` + x + `, {kind: expression_node, metadata: {name: e}, dependencies: [m, x], spec: {expressions: {v: "1"}}}]}}`
	result := s.load(t, h, node).Run(t.Context(), map[string]any{}, host.RunOptions{})
	rec := &host.Recorder{}
	for result.Status == engine.Suspended {
		key := result.Waits[0].EventKey
		if _, err := h.Approvals().Answer(t.Context(), strings.TrimPrefix(key, kernel.ApprovalKey), "bob", true, ""); err != nil {
			t.Fatal(err)
		}
		var err error
		if result, err = h.Resume(t.Context(), result.RunID, key, nil, host.RunOptions{Recorder: rec}); err != nil {
			t.Fatal(err)
		}
	}
	learned := map[string]string{}
	for _, e := range rec.Events() {
		if e.Type == kernel.BodyCompleted {
			learned[e.Body] = e.Labels.String()
		}
	}
	if result.Err != nil || !strings.HasPrefix(learned["inline[0]"], "untrusted") || learned["inline[1]"] != "trusted, public" {
		t.Errorf("%s %v %v %v", result.Status, result.Err, learned, result.NodeResults)
	}
}

// A model that needs an approval is asked once for each.
func TestApprovalOfAModel(t *testing.T) {
	s := careful(t, `    llm: {adapter: mock_llm, config: {rules: [{match: "box:work: ", reply: "INVOKE_TOOL: tool_end(output='done')"}], default: "INVOKE_TOOL: box:work()"}}
`)
	s.write(t, "hexdag.yaml", strings.ReplaceAll(readFile(t, s.path("hexdag.yaml")), "actions: [artifacts.store]", "actions: [llm.complete]"))
	h := s.open(t)
	agent := `{kind: agent_node, metadata: {name: n}, dependencies: [], spec: {main_prompt: "Do it.", available_tools: [box]}}`
	if result := s.load(t, h, agent).Run(t.Context(), map[string]any{}, host.RunOptions{}); result.Status != engine.Suspended {
		t.Fatalf("%s %v", result.Status, result.Err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if last := s.answerAll(t, true); last.Status != engine.Completed {
		t.Fatalf("%s %v", last.Status, last.Err)
	}
	if s.acts(t, "llm.complete") != 2 || s.acts(t, "box.work") != 1 || s.acts(t, "metrics.count") != 2 {
		t.Error("something was done twice, or not at all")
	}
}

// What was written to wait with, and does not fit what runs now, is not taken for it.
func TestWaitingRunAndAnotherModule(t *testing.T) {
	s := careful(t, "")
	h := s.open(t)
	if result := s.load(t, h, `{kind: function_node, metadata: {name: n}, dependencies: [], spec: {fn: box}}`).Run(t.Context(), map[string]any{}, host.RunOptions{}); result.Status != engine.Suspended {
		t.Fatal(result.Err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.write(t, "hexdag.yaml", strings.Replace(readFile(t, s.path("hexdag.yaml")), "node: {calls: [{op: metrics.count, head: {name: worked", "node: {calls: [{op: metrics.count, head: {name: changed", 1))
	last := s.answerAll(t, true)
	wantError(t, last.Err, kernel.CodeFailed, "what waited cannot go on", "it asks for metrics.count", "run the pipeline again")
	if s.acts(t, "artifacts.store") != 0 {
		t.Error("it went on")
	}
}

// An event that comes for a wait_node in a body is its result; the others go on waiting.
func TestWaitsInABody(t *testing.T) {
	h, p := loaded(t, `kind: Pipeline
metadata: {name: waits}
spec:
  nodes:
    - kind: composite_node
      metadata: {name: each}
      spec:
        mode: for-each
        items: "['a', 'b']"
        body:
          - {kind: wait_node, metadata: {name: answer}, spec: {event_key: "asked:{{ $item }}"}}
          - {kind: expression_node, metadata: {name: said}, dependencies: [answer], spec: {expressions: {text: "answer.by + str($index)"}}}
`, host.Options{})
	result := run(t, p, `{}`)
	if result.Status != engine.Suspended || len(result.Waits) != 2 || !slices.Equal(result.Waits[1].Path, []string{"1", "answer"}) || result.Waits[1].Node != "each" {
		t.Fatalf("%s %+v %v", result.Status, result.Waits, result.Err)
	}
	results, err := h.Signal(t.Context(), "asked:b", map[string]any{"by": "Ann"}, host.RunOptions{})
	if err != nil || results[0].Status != engine.Suspended || len(results[0].Waits) != 1 || results[0].Waits[0].EventKey != "asked:a" {
		t.Fatalf("%+v, %v", results, err)
	}
	results, err = h.Signal(t.Context(), "asked:a", map[string]any{"by": "Bob"}, host.RunOptions{})
	if err != nil || results[0].Status != engine.Completed {
		t.Fatalf("%+v, %v", results[0], err)
	}
	if text := fmt.Sprint(results[0].NodeResults["each"]); !strings.Contains(text, "Bob0") || !strings.Contains(text, "Ann1") {
		t.Error(text)
	}
}

// TestApprovalOfANativeTool: an agent whose model calls tools by its interface goes on from the call that waited for an approval.
func TestApprovalOfANativeTool(t *testing.T) {
	s := careful(t, `    llm: {adapter: mock_llm, config: {rules: [{match: ".", after: "box:work", reply: {tool_calls: [{name: tool_end, arguments: {output: done}}]}}], default: {content: "I do.", tool_calls: [{name: "box:work", arguments: {}}]}}}
`)
	h := s.open(t)
	agent := `{kind: agent_node, metadata: {name: n}, dependencies: [], spec: {main_prompt: "Do it.", available_tools: [box]}}`
	if result := s.load(t, h, agent).Run(t.Context(), map[string]any{}, host.RunOptions{}); result.Status != engine.Suspended {
		t.Fatalf("%s %v", result.Status, result.Err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	last := s.answerAll(t, true)
	if answer, _ := last.NodeResults["n"].(map[string]any); last.Status != engine.Completed || answer["output"] != "done" {
		t.Fatalf("%s %v %+v", last.Status, last.Err, last.NodeResults)
	}
	if s.acts(t, "artifacts.store") != 1 || s.acts(t, "metrics.count") != 2 || s.acts(t, "llm.complete") != 2 {
		t.Error("something was done twice, or not at all")
	}
}
