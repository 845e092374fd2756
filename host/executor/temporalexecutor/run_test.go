package temporalexecutor_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/api/enums/v1"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/executor"
	"github.com/hexdag/hexdag/host/kernel"
)

// same are pipelines whose runs end in the same way on both executors, with the status that they end with.
var same = []struct{ name, status, spec string }{
	{"large", "completed", `
nodes:
  - {kind: function_node, metadata: {name: text}, spec: {fn: test.large}}
  - {kind: expression_node, metadata: {name: size}, spec: {expressions: {n: "text.text[0]"}}}
output: {n: size.n}`},
	{"memory", "completed", `
nodes:
  - {kind: service_call_node, metadata: {name: set}, spec: {service: pipeline_memory, method: set, strict_mapping: true, input_mapping: {key: "'k'", value: $input}}}
  - {kind: service_call_node, metadata: {name: again}, dependencies: [set], spec: {service: pipeline_memory, method: set, strict_mapping: true, input_mapping: {key: "'k2'", value: "1"}}}
  - {kind: service_call_node, metadata: {name: all}, dependencies: [again], spec: {service: pipeline_memory, method: snapshot, strict_mapping: true, input_mapping: {}}}`},
	{"retries", "completed", `
nodes:
  - {kind: function_node, metadata: {name: tries}, spec: {fn: test.fails, max_retries: 3, retry_delay: 0.01}}`},
	{"failure", "failed", `
nodes:
  - {kind: expression_node, metadata: {name: good}, spec: {expressions: {n: "1"}}}
  - {kind: expression_node, metadata: {name: bad}, dependencies: [good], spec: {expressions: {n: "1 / 0"}}}
  - {kind: expression_node, metadata: {name: after}, spec: {expressions: {n: bad.n}}}`},
	{"handled", "completed", `
nodes:
  - {kind: expression_node, metadata: {name: bad}, spec: {on_error: mend, expressions: {n: "1 / 0"}}}
  - {kind: expression_node, metadata: {name: mend}, spec: {expressions: {why: bad._error.type}}}
output: {why: mend.why}`},
	{"node_timeout", "failed", `
nodes:
  - {kind: function_node, metadata: {name: slow}, spec: {fn: test.effect, timeout: 0.2, input_mapping: {gate: "'never'"}}}`},
	{"pipeline_timeout", "cancelled", `
orchestrator: {pipeline_timeout: 1.5}
nodes:
  - {kind: function_node, metadata: {name: slow}, spec: {fn: test.effect, input_mapping: {gate: "'never'"}}}
  - {kind: expression_node, metadata: {name: after}, dependencies: [slow], spec: {expressions: {n: "1"}}}`},
	{"input_schema", "failed", `
input_schema: {n: int}
nodes:
  - {kind: expression_node, metadata: {name: x}, spec: {expressions: {n: "1"}}}`},
	{"output_schema", "failed", `
output_schema: {n: int}
output: {n: x.n}
nodes:
  - {kind: expression_node, metadata: {name: x}, spec: {expressions: {n: "'one'"}}}`},
	{"loop", "completed", `
nodes:
  - kind: composite_node
    metadata: {name: each}
    spec: {mode: for-each, items: "[1, 2, 3]", body: [{kind: expression_node, metadata: {name: x}, spec: {expressions: {n: "$item"}}}]}`},
	{"limits", "failed", `
limits: {max_llm_calls: 1}
ports: {llm: {adapter: mock, config: {responses: [one, two]}}}
nodes:
  - {kind: llm_node, metadata: {name: first}, spec: {human_message: a}}
  - {kind: llm_node, metadata: {name: second}, dependencies: [first], spec: {human_message: b}}`},
	{"reasoning", "completed", `
ports: {llm: {adapter: mock, config: {rules: [{match: "final answer", reply: done}, {match: "memory:get: ", reply: "I know."}, {match: "memory:set: ", reply: "INVOKE_TOOL: pipeline_memory:get(key='k')"}],
  default: "INVOKE_TOOL: pipeline_memory:set(key='k', value=1) INVOKE_TOOL: nope()"}}}
nodes:
  - {kind: core:reasoning_agent, metadata: {name: a}, dependencies: [], spec: {main_prompt: Do it., allowed_tools: [pipeline_memory], max_steps: 4}}
output: {answer: a_final}`},
	{"skips", "completed", `
nodes:
  - {kind: expression_node, metadata: {name: a}, spec: {when: "1 == 2", expressions: {n: "1"}}}
  - {kind: expression_node, metadata: {name: b}, dependencies: [a], spec: {expressions: {n: "1"}}}`},
	{"lock", "completed", `
lock: one
nodes:
  - {kind: expression_node, metadata: {name: a}, spec: {lock: two, expressions: {n: "1"}}}
  - {kind: service_call_node, metadata: {name: held}, dependencies: [a], spec: {service: lock, method: is_locked, strict_mapping: true, input_mapping: {name: "'two'"}}}`},
}

// TestSameEnds runs pipelines on both executors.
func TestSameEnds(t *testing.T) {
	c := newCluster(t, 1, "  labels: {}\n")
	local, err := host.New(t.Context(), &host.Config{File: filepath.Join(t.TempDir(), "hexdag.yaml")}, host.Options{Functions: functions(c.dir)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = local.Close(context.Background()) })
	for _, one := range same {
		t.Run(one.name, func(t *testing.T) {
			c := *c
			c.t = t
			remote := c.load(one.name, one.spec)
			here, err := local.Load(t.Context(), filepath.Join(c.dir, one.name+".yaml"), host.LoadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer here.Close(t.Context())
			want := ending(t, here.Run(t.Context(), map[string]any{}, host.RunOptions{}))
			if !strings.Contains(want, `"status":"`+one.status+`"`) {
				t.Fatalf("here it ends as %.500s", want)
			}
			if diff := cmp.Diff(want, ending(t, remote.Run(t.Context(), map[string]any{}, host.RunOptions{}))); diff != "" {
				t.Errorf("on Temporal it ends otherwise (-want +got):\n%.2000s", diff)
			}
		})
	}
}

// ending is what of a result does not depend on where the run was.
func ending(t *testing.T, r *host.Result) string {
	t.Helper()
	shown := map[string]any{"status": r.Status, "nodes": r.NodeResults, "output": r.Output, "counters": r.Counters, "usage": r.Usage}
	if r.Error != nil {
		shown["error"] = []any{r.Error.Code, r.Error.Where.Node, filepath.Base(r.Error.Where.File), r.Error.Where.Line, r.Error.What}
	}
	v, err := kernel.ToValue(shown)
	if err != nil {
		t.Fatal(err)
	}
	text, err := kernel.EncodeJSON(v)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), r.RunID, "RUN")
}

const waits = `
output: {done: finish.text}
nodes:
  - {kind: expression_node, metadata: {name: before}, spec: {expressions: {seen: "str(n)"}}}
  - {kind: wait_node, metadata: {name: decision}, spec: {event_key: "decision:{{ n }}"TIMEOUT}, dependencies: [before]}
  - {kind: expression_node, metadata: {name: late}, spec: {when: "decision._error is not none", expressions: {why: decision._error.type}}}
  - {kind: expression_node, metadata: {name: finish}, dependencies: [late], spec: {expressions: {text: "before.seen + ': ' + str(decision.by)"}}}
`

// suspend runs a pipeline, which comes to wait.
func (c *cluster) suspend(p *host.Pipeline, input any) *host.Result {
	c.t.Helper()
	r := p.Run(c.t.Context(), input, host.RunOptions{})
	if r.Status != engine.Suspended {
		c.t.Fatalf("%s: %v", r.Status, r.Err)
	}
	return r
}

// TestEvents has runs wait for events that come, as signals, from whoever has them.
func TestEvents(t *testing.T) {
	c := newCluster(t, 1, "")
	p := c.load("waits", strings.ReplaceAll(waits, "TIMEOUT", ""))
	one, two := c.suspend(p, map[string]any{"n": 1}), c.suspend(p, map[string]any{"n": 2})
	if len(one.Waits) != 1 || one.Waits[0].EventKey != "decision:1" || one.NodeResults["before"] == nil {
		t.Fatalf("%+v", one)
	}
	c.until(func() string { // the list of runs follows the runs
		waiting, err := c.host.Waiting()
		if err != nil || len(waiting) != 2 || waiting[0].RunID != one.RunID || waiting[0].Pipeline != "waits" {
			return fmt.Sprintf("waiting are %+v, %v", waiting, err)
		}
		return ""
	})
	_, err := c.host.Resume(t.Context(), two.RunID, "decision:1", nil, host.RunOptions{})
	wantError(t, err, kernel.CodeNotFound, "does not wait for that event", "decision:2")
	_, err = c.host.Resume(t.Context(), "no-such-run", "", nil, host.RunOptions{})
	wantError(t, err, kernel.CodeNotFound, "no run", "hexdag resume --list")
	rec := &host.Recorder{}
	r, err := c.host.Resume(t.Context(), one.RunID, "", map[string]any{"by": "Ann"}, host.RunOptions{Recorder: rec, Labels: map[string]string{"integrity": "untrusted"}})
	if err != nil || r.Status != engine.Completed || r.RunID != one.RunID || r.Output["done"] != "1: Ann" {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, e := range rec.Events() {
		if e.Type == kernel.NodeStarted && e.Node != "late" && e.Node != "finish" {
			t.Errorf("node %s ran again", e.Node)
		}
	}
	if l := r.Labels["finish"]; l.Integrity() != kernel.Untrusted {
		t.Errorf("what was made of the event is %s", l)
	}
	if _, err := c.host.Resume(t.Context(), one.RunID, "", nil, host.RunOptions{}); kernel.CodeOf(err) != kernel.CodeNotFound {
		t.Errorf("resumed twice: %v", err)
	}
	results, err := c.host.Signal(t.Context(), "decision:2", map[string]any{"by": "Bob"}, host.RunOptions{})
	if err != nil || len(results) != 1 || results[0].Output["done"] != "2: Bob" {
		t.Errorf("%+v, %v", results, err)
	}
}

// TestEventFromOutside has Temporal's own command give a run its event: nobody vouches for what it holds.
func TestEventFromOutside(t *testing.T) {
	c := newCluster(t, 1, "")
	r := c.suspend(c.load("waits", strings.ReplaceAll(waits, "TIMEOUT", "")), map[string]any{"n": 1})
	cl := c.client()
	defer cl.Close()
	if err := cl.SignalWorkflow(t.Context(), r.RunID, "", "hexdag.event", map[string]any{"key": "decision:1", "data": map[string]any{"v": map[string]any{"by": "somebody"}}}); err != nil {
		t.Fatal(err)
	}
	for r.Status == engine.Suspended {
		var err error
		if r, err = c.host.Await(t.Context(), r.RunID, host.RunOptions{}); err != nil {
			// It had ended before it was asked after.
			if kernel.CodeOf(err) == kernel.CodeNotFound {
				return
			}
			t.Fatal(err)
		}
	}
	if r.Output["done"] != "1: somebody" || r.Labels["finish"].Integrity() != kernel.Untrusted {
		t.Errorf("%v, %s", r.Output, r.Labels["finish"])
	}
}

// TestLateEvents has the time to wait be over: a run fails, or goes on with who is to know.
func TestLateEvents(t *testing.T) {
	c := newCluster(t, 1, "")
	for _, tc := range []struct{ name, timeout, done string }{
		{"fails", ", timeout: 1", ""}, {"goes_on", ", timeout: 1, on_timeout: late", "1: None"},
	} {
		r := c.load(tc.name, strings.ReplaceAll(waits, "TIMEOUT", tc.timeout)).Run(t.Context(), map[string]any{"n": 1}, host.RunOptions{})
		if r.Status == engine.Suspended {
			var err error
			if r, err = c.host.Await(t.Context(), r.RunID, host.RunOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if tc.done == "" {
			wantError(t, r.Err, kernel.CodeTimeout, "decision:1", "node decision", "1s")
			continue
		}
		late, _ := r.NodeResults["late"].(map[string]any)
		if r.Status != engine.Completed || late["why"] != "timeout" {
			t.Errorf("%s: %s %v %v", tc.name, r.Status, r.NodeResults, r.Err)
		}
	}
}

// TestApproval has a node wait for a person inside of a loop, which goes on where it was.
func TestApproval(t *testing.T) {
	c := newCluster(t, 1, `  ports:
    governance: {adapter: abac, config: {rules: [{id: all, effect: allow, actions: ["**"], ttl_s: 60}, {id: stores, effect: approve, actions: [artifacts.store], message: "a person looks at it first", obligations: [{type: approval, by: [bob]}]}]}}
`)
	p := c.load("careful", `
nodes:
  - kind: composite_node
    metadata: {name: each}
    spec:
      mode: for-each
      items: "[1, 2]"
      body:
        - {kind: service_call_node, metadata: {name: count}, spec: {service: metrics, method: count, strict_mapping: true, input_mapping: {name: "'counted'"}}}
        - {kind: service_call_node, metadata: {name: store}, dependencies: [count], spec: {service: artifacts, method: store, strict_mapping: true, input_mapping: {name: "'x'", value: $input}}}`)
	r := c.suspend(p, map[string]any{})
	for range 4 {
		if r.Status != engine.Suspended {
			break
		}
		pending, err := c.host.Approvals().List(t.Context(), host.ApprovalPending)
		if err != nil || len(pending) == 0 {
			t.Fatalf("%v, %v", pending, err)
		}
		if _, err := c.host.Approvals().Answer(t.Context(), pending[0].ID, "bob", true, ""); err != nil {
			t.Fatal(err)
		}
		if r, err = c.host.Resume(t.Context(), r.RunID, kernel.ApprovalKey+pending[0].ID, nil, host.RunOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if r.Status != engine.Completed || r.Counters["counted"] != 2 {
		t.Errorf("%s %v %v: %v", r.Status, r.Counters, r.Waits, r.Err)
	}
}

// TestCancel cancels a run: its nodes are stopped, and it ends as Temporal's do that are cancelled.
func TestCancel(t *testing.T) {
	c := newCluster(t, 1, "")
	p := c.load("effects", effects)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan *host.Result, 1)
	go func() { done <- p.Run(ctx, map[string]any{}, host.RunOptions{}) }()
	c.begun("b", 1)
	cancel()
	r := <-done
	if r.Status != engine.Cancelled || kernel.CodeOf(r.Err) != kernel.CodeCanceled || r.NodeResults["a"] == nil {
		t.Errorf("%s %v: %v", r.Status, r.NodeResults, r.Err)
	}
	c.until(func() string {
		if len(c.lines("stopped")) == 0 {
			return "the node was not stopped"
		}
		return ""
	})
	cl := c.client()
	defer cl.Close()
	d, err := cl.DescribeWorkflowExecution(t.Context(), r.RunID, "")
	if err != nil || d.WorkflowExecutionInfo.Status != enums.WORKFLOW_EXECUTION_STATUS_CANCELED {
		t.Errorf("in Temporal it is %v, %v", d.GetWorkflowExecutionInfo().GetStatus(), err)
	}
}

// held is a run that waits for an event, and comes to a gate after it.
const held = `
nodes:
  - {kind: wait_node, metadata: {name: w}, spec: {event_key: go}}
  - {kind: function_node, metadata: {name: b}, dependencies: [w], spec: {fn: test.effect, input_mapping: {gate: "'held'"}}}
`

// TestLeft: a host that ends, as a server does whose time to end is up, leaves its runs to the workers: they end as they would have. On record is
// that they were left.
func TestLeft(t *testing.T) {
	c := newCluster(t, 1, "")
	waits := c.suspend(c.load("held", held), map[string]any{})
	p := c.load("effects", effects)
	done := make(chan *host.Result, 1)
	go func() { done <- p.Run(t.Context(), map[string]any{}, host.RunOptions{}) }()
	c.begun("b", 1)
	resumed := make(chan error, 1)
	go func() {
		_, err := c.host.Resume(t.Context(), waits.RunID, "go", nil, host.RunOptions{})
		resumed <- err
	}()
	c.begun("b", 2)
	c.host.Leave(t.Context())
	r := <-done
	if !errors.Is(r.Err, executor.ErrLeft) || kernel.CodeOf(r.Err) != kernel.CodeUnavailable || !strings.Contains(r.Err.Error(), "the executor's workers go on with it") {
		t.Errorf("%s: %v", r.Status, r.Err)
	}
	if err := <-resumed; !errors.Is(err, executor.ErrLeft) {
		t.Error(err)
	}
	late := p.Run(t.Context(), map[string]any{}, host.RunOptions{}) // it was accepted: it begins
	if !errors.Is(late.Err, executor.ErrLeft) {
		t.Error(late.Err)
	}
	ended := ""
	err := host.TailAudit(t.Context(), c.host.AuditDir(), 100, false, func(record *host.AuditRecord) error {
		if record.Action == "pipeline.end" && record.RunID == r.RunID && len(record.Detail) > 0 {
			ended = record.Result + " " + record.Detail
		}
		return nil
	})
	if err != nil || !strings.HasPrefix(ended, "left ") {
		t.Errorf("on record is %q, %v", ended, err)
	}
	cl := c.client()
	defer cl.Close()
	runs := []string{r.RunID, waits.RunID, late.RunID}
	for _, run := range runs {
		d, err := cl.DescribeWorkflowExecution(t.Context(), run, "")
		if err != nil || d.WorkflowExecutionInfo.Status != enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
			t.Errorf("in Temporal it is %v, %v", d.GetWorkflowExecutionInfo().GetStatus(), err)
		}
	}
	c.open("b")
	c.open("held")
	for _, run := range runs {
		c.until(func() string {
			d, err := cl.DescribeWorkflowExecution(t.Context(), run, "")
			if status := d.GetWorkflowExecutionInfo().GetStatus(); err != nil || status != enums.WORKFLOW_EXECUTION_STATUS_COMPLETED {
				return fmt.Sprint("the run is ", status, " ", err)
			}
			return ""
		})
	}
	if stopped := c.lines("stopped"); len(stopped) > 0 {
		t.Error("nodes were stopped:", stopped)
	}
}

// TestRunLock has two runs want the lock of their pipeline: one works after the other.
func TestRunLock(t *testing.T) {
	c := newCluster(t, 1, "")
	wait := c.run(c.load("locked", "lock: one\n"+strings.TrimSpace(effects)), 2)
	c.begun("b", 1)
	c.open("b")
	runs := wait()
	c.effects(runs, "a", "b", "c", "d")
	first := ""
	for i, line := range c.lines("begun") {
		id, _, _ := strings.Cut(line, ".")
		switch {
		case i == 0:
			first = id
		case (id == first) != (i < 4):
			t.Fatalf("the runs were not one after the other: %v", c.lines("begun"))
		}
	}
}

// TestSecrets has a run whose input is secret: nothing that is made of it is in Temporal.
func TestSecrets(t *testing.T) {
	c := newCluster(t, 1, "")
	p := c.load("secret", `
nodes:
  - {kind: expression_node, metadata: {name: x}, spec: {expressions: {text: "word + '!'"}}}
output: {text: x.text}`)
	r := p.Run(t.Context(), map[string]any{"word": "xyzzy"}, host.RunOptions{Labels: map[string]string{"confidentiality": "secret"}, Recorder: &host.Recorder{}})
	if r.Status != engine.Completed || r.Output["text"] != "xyzzy!" {
		t.Fatalf("%v %v", r.Output, r.Err)
	}
	cl := c.client()
	defer cl.Close()
	events := cl.GetWorkflowHistory(t.Context(), r.RunID, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		if text := e.String(); strings.Contains(text, "xyzzy") {
			t.Errorf("Temporal has been told: %s", text)
		}
	}
}

func wantError(t *testing.T, err error, code kernel.Code, words ...string) {
	t.Helper()
	if got := kernel.CodeOf(err); got != code {
		t.Errorf("code %q, want %q: %v", got, code, err)
	}
	for _, word := range words {
		if err != nil && !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
}

// TestSystem has the processes of a system work on Temporal, each a run of its own.
func TestSystem(t *testing.T) {
	c := newCluster(t, 1, "")
	process := func(name, expression string) {
		c.write(name+".yaml", "kind: Pipeline\nmetadata: {name: "+name+"}\nspec:\n  nodes:\n    - {kind: expression_node, metadata: {name: x}, spec: {expressions: {n: \""+expression+"\"}}}\n")
	}
	process("first", "n + 1")
	process("second", "n.n * 10")
	s, err := c.host.LoadSystem(t.Context(), c.write("system.yaml", `kind: System
metadata: {name: both}
spec:
  processes:
    - {name: a, pipeline: first.yaml}
    - {name: b, pipeline: second.yaml}
  pipes:
    - {from: a, to: b, mapping: {n: "{{ a.x }}"}}
`), host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	r := s.Run(t.Context(), map[string]any{"n": 1}, host.RunOptions{})
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	x, _ := r.Processes["b"].NodeResults["x"].(map[string]any)
	if fmt.Sprint(x["n"]) != "20" {
		t.Errorf("%v", x)
	}
}

// TestProgress tells whoever started a run of nodes while others work, and of each once.
func TestProgress(t *testing.T) {
	c := newCluster(t, 1, "")
	p := c.load("effects", effects)
	told := make(chan *host.Event, 100)
	done := make(chan *host.Result, 1)
	go func() {
		done <- p.Run(context.Background(), map[string]any{}, host.RunOptions{Recorder: host.Tell(func(e *host.Event) { told <- e })})
	}()
	for e := range told { // and b waits at its gate
		if e.Type == kernel.NodeCompleted && e.Node == "d" {
			break
		}
	}
	c.open("b")
	if r := <-done; r.Status != engine.Completed {
		t.Fatal(r.Err)
	}
	close(told)
	ends := map[string]int{}
	waves := 0
	for e := range told {
		switch e.Type {
		case kernel.NodeCompleted:
			ends[e.Node]++
		case kernel.WaveCompleted:
			waves++
		}
	}
	if ends["b"] != 1 || ends["c"] != 1 || len(ends) != 2 || waves != 2 {
		t.Errorf("then it was told of %v and %d waves", ends, waves)
	}
}
