package host_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/schema"
)

// libraryCalls are calls of all methods of libraries, in the order of a run, with arguments in which results before stand for themselves. What
// is called more than once has its number behind.
var libraryCalls = []struct{ method, args string }{
	{"pipeline_memory.set", `key: "'k'", value: "1"`},
	{"pipeline_memory.get", `key: "'k'"`},
	{"pipeline_memory.get 2", `key: "'none'"`},
	{"pipeline_memory.update", `a: "1", b: "[2]"`},
	{"pipeline_memory.snapshot", ``},
	{"entity_state.register", `entity: "'order'", entity_id: "'1'", initial_state: "'new'"`},
	{"entity_state.transition", `entity: "'order'", entity_id: "'1'", to_state: "'paid'", reason: "'cash'"`},
	{"entity_state.get_state", `entity: "'order'", entity_id: "'1'"`},
	{"entity_state.get_history", `entity: "'order'", entity_id: "'1'"`},
	{"pipeline_spawner.spawn", `pipeline: "'double'", input: "{'x': 4}", wait: true, ref_id: "'o'", ref_type: "'order'"`},
	{"pipeline_spawner.spawn 2", `pipeline: "'fails'", wait: true`},
	{"pipeline_spawner.spawn 3", `pipeline: "'waits'"`},
	{"pipeline_spawner.spawn_many", `pipeline: "'double'", inputs: "[{'x': 1}, {'x': 2}]"`},
	{"pipeline_spawner.await", `run_id: pipeline_spawner_spawn.run_id`},
	{"pipeline_spawner.cancel", `run_id: pipeline_spawner_spawn_3.run_id`},
	{"process_registry.get", `run_id: pipeline_spawner_spawn.run_id, results: true`},
	{"process_registry.get 2", `run_id: pipeline_spawner_spawn_2.run_id`},
	{"process_registry.list", `limit: "10"`},
	{"process_registry.list_by_ref", `ref_id: "'o'"`},
	{"scheduler.schedule_once", `pipeline: "'double'", delay_seconds: "3600", ref_id: "'o'"`},
	{"scheduler.schedule_recurring", `pipeline: "'double'", interval_seconds: "90.5"`},
	{"scheduler.schedule_recurring 2", `pipeline: "'double'", cron: "'0 4 * * *'", zone: "'Europe/Berlin'"`},
	{"scheduler.list", ``},
	{"scheduler.cancel", `task_id: scheduler_schedule_once.task_id`},
	{"scheduler.cancel 2", `task_id: "'none'"`},
	{"scheduler.list 2", `ended: true`},
	{"database_tools.list_tables", ``},
	{"database_tools.describe_table", `table: "'t'"`},
	{"database_tools.query", `sql: "'SELECT a, NULL AS b, 0.5 AS c FROM t'"`},
	{"database_tools.query 2", `sql: "'SELECT a FROM t WHERE a > 100'"`},
	{"central_agent.survey", ``},
	{"central_agent.note", `text: "'a plan'"`},
	{"central_agent.start", `pipeline: "'double'", input: "{'x': 1}"`},
	{"central_agent.wait", `run_ids: "[central_agent_start.run_id]"`},
	{"central_agent.submit", `pipeline: "'double'", input: "{'x': 1}"`},
	{"central_agent.goals", ``},
	{"central_agent.goal", `goal_id: central_agent_submit.goal_id`},
	{"central_agent.cancel", `goal_id: central_agent_submit.goal_id`},
	{"central_agent.goal 2", `goal_id: central_agent_submit.goal_id`},
	{"central_agent.report", `outcome: "'done'", summary: "'all well'"`},
	{"central_agent.ask", `question: "'may I?'"`}, // a person has to answer, while all else is done
}

// Every method of a library says what it answers, and what it does answer is that.
func TestLibrariesAnswerWhatTheyTell(t *testing.T) {
	n := newNursery(t, ", central_agent: {pipelines: {double: {untrusted: allow}}}, database_tools: {adapter: sqlite, config: {path: tools.db, seed: tools.sql}}", host.Options{}, func(s site) {
		s.write(t, "tools.sql", "CREATE TABLE t (a INTEGER PRIMARY KEY); INSERT INTO t VALUES (7);")
	})
	told := n.host.LibraryOutputs()
	var nodes []string
	before, tried := "", map[string]bool{}
	nodeOf := func(method string) string { return strings.NewReplacer(".", "_", " ", "_").Replace(method) }
	for _, c := range libraryCalls {
		op, _, _ := strings.Cut(c.method, " ")
		library, method, _ := strings.Cut(op, ".")
		nodes = append(nodes, fmt.Sprintf("{kind: service_call_node, metadata: {name: %s}, dependencies: [%s], spec: {service: %s, method: %s, strict_mapping: true, input_mapping: {%s}}}", nodeOf(c.method), before, library, method, c.args))
		before, tried[op] = nodeOf(c.method), true
	}
	for op, output := range told {
		if output == nil {
			t.Errorf("%s says nothing of what it answers", op)
		}
		if !tried[op] {
			t.Errorf("%s is not tried", op)
		}
	}
	for _, op := range n.host.Operations() {
		port, _, _ := strings.Cut(op, ".")
		if _, known := told[op]; !known && slices.Contains([]string{"pipeline_memory", "entity_state", "pipeline_spawner", "process_registry", "scheduler", "database_tools", "central_agent"}, port) {
			t.Errorf("%s is not told of", op)
		}
	}
	p := n.load(t, n.host, nodes...)
	result := p.Run(t.Context(), map[string]any{}, host.RunOptions{})
	if result.Status == engine.Suspended {
		id := strings.TrimPrefix(result.Waits[0].EventKey, kernel.ApprovalKey)
		if _, err := n.host.Approvals().Answer(t.Context(), id, "bob", true, ""); err != nil {
			t.Fatal(err)
		}
		var err error
		if result, err = n.host.Resume(t.Context(), result.RunID, kernel.ApprovalKey+id, nil, host.RunOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if result.Status != engine.Completed {
		t.Fatal(result.Status, result.Err)
	}
	for _, c := range libraryCalls {
		op, _, _ := strings.Cut(c.method, " ")
		s, err := schema.Compile(told[op])
		if err != nil {
			t.Fatal(op, err)
		}
		v, there := result.NodeResults[nodeOf(c.method)]
		if err := s.Validate(v); err != nil || !there {
			t.Errorf("%s answers %v: %v", c.method, v, err)
		}
		// What is told is no more than there is: without any one member, an answer does not fit.
		fields, _ := v.(map[string]any)
		required, _ := told[op]["required"].([]any)
		for _, name := range required {
			less := maps.Clone(fields)
			delete(less, name.(string))
			if s.Validate(less) == nil {
				t.Errorf("%s need not answer %s", c.method, name)
			}
		}
	}
}

// A model is told what methods answer; what they do is answered from the journal where the run is done again.
func TestAgentsAreToldOfAnswers(t *testing.T) {
	var asked atomic.Value
	complete := func(_ context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
		text, err := kernel.EncodeJSON(call.Args)
		if err != nil {
			return nil, err
		}
		said := "INVOKE_TOOL: database_tools:query(sql='SELECT a FROM t')"
		switch {
		case strings.Contains(string(text), `\"stored\":true`):
			said = "INVOKE_TOOL: tool_end(output='done')"
		case strings.Contains(string(text), `{\"a\":7}`):
			said = "INVOKE_TOOL: pipeline_memory:set(key='k', value=1)"
		}
		asked.Store(string(text))
		return &kernel.PortReply{Value: map[string]any{"message": map[string]any{"role": "assistant", "content": said}, "content": said, "finish_reason": "stop", "model": "m"}}, nil
	}
	n := newNursery(t, ", database_tools: {adapter: sqlite, config: {path: tools.db, seed: tools.sql}}", host.Options{Ports: []host.PortOp{{Name: "llm.complete", Func: complete}}}, func(s site) {
		s.write(t, "tools.sql", "CREATE TABLE t (a INTEGER PRIMARY KEY); INSERT INTO t VALUES (7);")
	})
	p := n.load(t, n.host, `{kind: agent_node, metadata: {name: n}, dependencies: [], spec: {main_prompt: "Do it.", available_tools: ["database_tools:*", "pipeline_memory:*", "scheduler:list"], max_steps: 6}}`)
	result := p.Run(t.Context(), map[string]any{}, host.RunOptions{Durable: true})
	if result.Status != engine.Completed {
		t.Fatal(result.Status, result.Err, asked.Load())
	}
	for _, words := range []string{
		"The rows that a SELECT finds; nothing can be changed. Answers {columns, row_count, rows, truncated}.", "The columns of a table. Answers {columns: [{name, nullable, primary_key, type}], table}.",
		`"A value that was kept in this run."`, "Answers {key, stored}.", "The tasks that are scheduled. Answers {tasks: [{catch_up, created_at,",
	} {
		if text, _ := asked.Load().(string); !strings.Contains(text, words) {
			t.Errorf("%s is not told to the model:\n%s", words, text)
		}
	}
	if got := result.Labels["n"]; got.Integrity() != kernel.Untrusted { // it has read what a database keeps
		t.Errorf("the result carries %s", got)
	}
	if err := n.host.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := n.replayed(t, result.RunID); again.Is != engine.Completed {
		t.Errorf("%+v", again)
	}
}
