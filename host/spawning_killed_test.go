package host_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/pipelinespawner"
	"github.com/hexdag/hexdag/host/lib/processregistry"
	"github.com/hexdag/hexdag/host/lib/scheduler"
	"github.com/hexdag/hexdag/host/testenv"
)

// A parent whose host is killed, once it has started its child or before, starts none twice, and each child does its work once.
func TestSpawnersKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT CHECKED in -short: hosts that are killed")
	}
	s := newSite(t, "  libraries: {pipelines: pipelines}\n")
	if err := os.Mkdir(s.path("pipelines"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.write(t, "pipelines/child.yaml", `kind: Pipeline
metadata: {name: child}
spec:
  nodes:
    - {kind: service_call_node, metadata: {name: first}, dependencies: [], spec: {service: ledger, method: add, lock: "'l.' + $input.id", input_mapping: {item: "$input.id + '.first'"}}}
    - {kind: service_call_node, metadata: {name: second}, dependencies: [first], spec: {service: ledger, method: add, lock: "'l.' + $input.id", input_mapping: {item: "$input.id + '.second'"}}}
`)
	s.write(t, "pipeline.yaml", `kind: Pipeline
metadata: {name: parent}
spec:
  nodes:
    - {kind: service_call_node, metadata: {name: start}, dependencies: [], spec: {service: pipeline_spawner, method: spawn, input_mapping: {pipeline: "'child'", input: "{'id': $input.id}"}}}
    - {kind: service_call_node, metadata: {name: many}, dependencies: [], spec: {service: pipeline_spawner, method: spawn_many, input_mapping: {pipeline: "'child'", inputs: "[{'id': $input.id + '.a'}, {'id': $input.id + '.b'}]"}}}
    - {kind: service_call_node, metadata: {name: wait}, dependencies: [start], spec: {service: pipeline_spawner, method: await, input_mapping: {run_id: start.run_id}}}
`)
	kills := []int{0, 1, 2, 3, 5, 8, 13, 21}
	if testenv.Race {
		kills = []int{0, 1, 5, 13}
	}
	for i, lines := range kills { // after so many things that children did
		cmd, said := s.live(t, fmt.Sprintf("b%d", i))
		die(t, cmd, said, lines, 0)
	}
	cmd, lines := s.live(t, "")
	ended(t, cmd, lines)
	did := counted(t, s.path("ledger.log"))
	twice, parents := 0, map[string]int{}
	for item, n := range did {
		if n > 1 {
			twice++
			t.Errorf("%s was done %d times", item, n)
		}
		parent, _, _ := strings.Cut(item, ".")
		parents[parent]++
	}
	if len(parents) == 0 {
		t.Error("nothing was done")
	}
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	j, err := host.OpenJournal(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	known, err := host.OpenProcesses(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer known.Close(t.Context())
	runs, err := known.List(t.Context(), "default", processregistry.Filter{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	children, completed := map[string][]*processregistry.Process{}, 0
	for _, r := range runs {
		if r.Pipeline == "child" {
			children[r.Parent] = append(children[r.Parent], r)
		}
	}
	for _, r := range runs {
		if r.Pipeline != "parent" || r.Status != processregistry.Completed {
			continue
		}
		completed++
		if len(children[r.RunID]) != 3 {
			t.Errorf("parent %s has %d children, and starts three", r.RunID, len(children[r.RunID]))
		}
		for _, c := range children[r.RunID] { // the registry may not have been told; failed is one of which nobody knows whether a call was done
			head, err := j.Get(t.Context(), "default", c.RunID)
			if err != nil || head.Status != "completed" && head.Status != "failed" {
				t.Errorf("child %s of %s has not come to its end: %+v, %v", c.RunID, r.RunID, head, err)
			}
		}
	}
	if completed == 0 {
		t.Error("no parent has come to its end")
	}
	t.Logf("%d parents, %d of them completed, %d things done", len(parents), completed, len(did))
}

// A run that was registered, and whose host died before it began, begins where its parent is recovered, once; and a schedule's
// where the next host serves it.
func TestRegisteredAndNotBegun(t *testing.T) {
	n := newNursery(t, "", host.Options{Durable: true})
	id := pipelinespawner.ID("acme", "once")
	dead := processregistry.Process{RunID: id, Pipeline: "double", Status: processregistry.Running, Started: time.Now()}
	if created, err := n.host.Processes().Create(t.Context(), "acme", &dead); err != nil || !created {
		t.Fatal(created, err)
	}
	parent := n.host.NewRun("parent", host.RunOptions{Durable: true})
	spawn := &pipelinespawner.Spawn{Pipeline: "double", Input: map[string]any{"x": kernel.Number(4)}, Key: "once"}
	for range 2 { // the second finds it begun
		got, err := n.host.Spawner().Start(t.Context(), parent, spawn, false)
		if err != nil || got != id {
			t.Fatal(got, err)
		}
		o, err := n.host.Spawner().Await(t.Context(), "acme", id)
		if err != nil || o.Err != nil || fmt.Sprint(o.Output) != "map[out:map[y:8]]" {
			t.Fatalf("%+v, %v", o, err)
		}
	}
	task := &scheduler.Task{ID: "t", Pipeline: "double", Input: []byte(`{"x": 5}`), Principal: "ada"}
	late := pipelinespawner.ID("acme", "late")
	dead.RunID = late
	if _, err := n.host.Processes().Create(t.Context(), "acme", &dead); err != nil {
		t.Fatal(err)
	}
	firing := &scheduler.Firing{Task: task, RunID: late, At: time.Now(), Began: func() {}}
	if status, err := n.host.Fire(t.Context(), firing); err != nil || status != "completed" {
		t.Errorf("%q, %v", status, err)
	}
	if _, err := n.host.Fire(t.Context(), firing); !errors.Is(err, scheduler.ErrBegun) {
		t.Errorf("it fires twice: %v", err)
	}
}

// Who goes on with one run whose host was killed goes on with what it had started, too, whether or not it waits for that, and with nothing
// else.
func TestRecoveredWithItsChildren(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT CHECKED in -short: hosts that are killed")
	}
	s := newSite(t, "  libraries: {pipelines: pipelines}\n")
	if err := os.Mkdir(s.path("pipelines"), 0o700); err != nil {
		t.Fatal(err)
	}
	// What each begins and ends with is done before and after it starts others: a chain of three, and one that nobody waits for.
	s.write(t, "pipelines/leaf.yaml", "kind: Pipeline\nmetadata: {name: leaf}\nspec:\n  nodes:\n    - {kind: service_call_node, metadata: {name: first}, dependencies: [], spec: {service: ledger, method: add, input_mapping: {item: \"$input.id + '.leaf'\"}}}\n"+
		"    - {kind: function_node, metadata: {name: slow}, dependencies: [first], spec: {fn: test.slow}}\n    - {kind: expression_node, metadata: {name: last}, dependencies: [slow], spec: {expressions: {n: \"1\"}}}\n")
	s.write(t, "pipelines/middle.yaml", `kind: Pipeline
metadata: {name: middle}
spec:
  nodes:
    - {kind: service_call_node, metadata: {name: start}, dependencies: [], spec: {service: pipeline_spawner, method: spawn, input_mapping: {pipeline: "'leaf'", input: "{'id': $input.id + '.deep'}"}}}
`)
	s.write(t, "pipeline.yaml", `kind: Pipeline
metadata: {name: parent}
spec:
  nodes:
    - {kind: service_call_node, metadata: {name: through}, dependencies: [], spec: {service: pipeline_spawner, method: spawn, input_mapping: {pipeline: "'middle'", input: "{'id': $input.id}"}}}
    - {kind: service_call_node, metadata: {name: start}, dependencies: [], spec: {service: pipeline_spawner, method: spawn, input_mapping: {pipeline: "'leaf'", input: "{'id': $input.id}"}}}
    - {kind: service_call_node, metadata: {name: wait}, dependencies: [start], spec: {service: pipeline_spawner, method: await, input_mapping: {run_id: start.run_id}}}
`)
	cmd, said := s.live(t, "b")
	die(t, cmd, said, 2*mortalRuns, time.Second) // all leaves have begun, and none can end
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(t.Context(), cfg, host.Options{KeyFile: s.path("audit.key"), CacheDir: s.path("cache"), Ports: []host.PortOp{
		{Name: "ledger.add", Func: func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
			return &kernel.PortReply{Value: true}, nil
		}},
	}, Functions: map[string]host.Function{"test.slow": func(context.Context, *kernel.NodeCall) (kernel.Value, error) { return nil, nil }}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(context.WithoutCancel(t.Context()))
	j, err := host.OpenJournal(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	family := func() (parents []string, of map[string][]string, status map[string]string) {
		t.Helper()
		runs, err := j.Runs(t.Context(), "default", driver.Query{})
		if err != nil {
			t.Fatal(err)
		}
		of, status = map[string][]string{}, map[string]string{}
		for _, r := range runs {
			status[r.ID] = string(r.Status)
			if r.Parent == "" {
				parents = append(parents, r.ID)
			}
			of[r.Parent] = append(of[r.Parent], r.ID)
		}
		return parents, of, status
	}
	parents, of, status := family()
	if len(parents) < 2 {
		t.Fatalf("%d parents", len(parents))
	}
	descendants := func(run string) (all []string) {
		for _, c := range of[run] {
			all = append(append(all, c), of[c]...)
		}
		return all
	}
	one := parents[0]
	if len(descendants(one)) != 3 {
		t.Fatalf("%s has started %v", one, descendants(one))
	}
	if r, err := h.RecoverRun(t.Context(), one, host.RunOptions{}); err != nil || r.Result.Status == engine.Suspended {
		t.Fatalf("%+v, %v", r, err)
	}
	_, _, after := family()
	for _, run := range append(descendants(one), one) {
		if after[run] != "completed" && after[run] != "failed" { // as one does of which nobody knows whether a call was done
			t.Errorf("run %s, of what was gone on with, was %s and is %s", run, status[run], after[run])
		}
	}
	for _, other := range parents[1:] {
		for _, run := range append(descendants(other), other) {
			if after[run] != status[run] {
				t.Errorf("run %s of another was %s and is %s", run, status[run], after[run])
			}
		}
	}
}
