package host_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/processregistry"
	"github.com/hexdag/hexdag/host/lib/scheduler"
)

const calling = `apiVersion: hexdag/v1
kind: Pipeline
metadata: {name: %s}
spec:
  %s
  nodes:
    - kind: service_call_node
      metadata: {name: call}
      spec: {service: %s, method: %s, input_mapping: {%s}}
`

// nursery is a host whose runs may start others.
type nursery struct {
	site
	t    *testing.T
	host *host.Host
}

func newNursery(t *testing.T, more string, opts host.Options, prepare ...func(site)) *nursery {
	t.Helper()
	n := &nursery{site: site{t.TempDir()}, t: t}
	for _, f := range prepare {
		f(n.site)
	}
	n.write(t, "hexdag.yaml", "kind: Config\nspec:\n  tenant: acme\n  principal: ada\n  state: "+n.path("state")+"\n  libraries: {pipelines: pipelines"+more+"}\n")
	n.pipeline("double", "", `{kind: expression_node, metadata: {name: out}, spec: {input_mapping: {x: $input.x}, expressions: {y: x * 2}, output_fields: [y]}}`)
	n.pipeline("fails", "", `{kind: function_node, metadata: {name: out}, spec: {fn: fails}}`)
	n.pipeline("waits", "", `{kind: wait_node, metadata: {name: out}, spec: {event_key: come}}`)
	n.pipeline("sleeps", "", `{kind: function_node, metadata: {name: out}, spec: {fn: sleeps}}`)
	functions := map[string]host.Function{
		"fails": func(context.Context, *kernel.NodeCall) (kernel.Value, error) {
			return nil, &kernel.Error{Code: kernel.CodeFailed, What: "no stock"}
		},
		"sleeps": func(ctx context.Context, _ *kernel.NodeCall) (kernel.Value, error) {
			<-ctx.Done()
			return nil, kernel.ContextError(ctx)
		},
	}
	for name, f := range opts.Functions {
		functions[name] = f
	}
	opts.Functions = functions
	n.host = n.open(opts)
	return n
}

func (n *nursery) open(opts host.Options) *host.Host {
	n.t.Helper()
	cfg, err := host.LoadConfig(n.path("hexdag.yaml"))
	if err != nil {
		n.t.Fatal(err)
	}
	h, err := host.New(n.t.Context(), cfg, opts)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			n.t.Error(err)
		}
	})
	return h
}

func (n *nursery) pipeline(name, spec, node string) {
	n.write(n.t, "pipelines/"+name+".yaml", "kind: Pipeline\nmetadata: {name: "+name+"}\nspec:\n  "+spec+"\n  nodes:\n    - "+node+"\n")
}

// call runs a pipeline of one node that calls a method.
func (n *nursery) call(spec, method, args string) *host.Result {
	n.t.Helper()
	return n.callAs(n.t.Context(), spec, method, args, nil)
}

func (n *nursery) callAs(ctx context.Context, spec, method, args string, input any) *host.Result {
	n.t.Helper()
	service, name, _ := strings.Cut(method, ".")
	n.write(n.t, "calls.yaml", fmt.Sprintf(calling, "calls", spec, service, name, args))
	p, err := n.host.Load(ctx, n.path("calls.yaml"), host.LoadOptions{})
	if err != nil {
		n.t.Fatal(err)
	}
	defer p.Close(ctx)
	return p.Run(ctx, input, host.RunOptions{})
}

func answer(t *testing.T, r *host.Result) map[string]any {
	t.Helper()
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	v, _ := r.NodeResults["call"].(map[string]any)
	return v
}

func says(t *testing.T, r *host.Result, code kernel.Code, words ...string) {
	t.Helper()
	if kernel.CodeOf(r.Err) != code {
		t.Errorf("%v (%s), want %s", r.Err, kernel.CodeOf(r.Err), code)
	}
	for _, w := range words {
		if !strings.Contains(fmt.Sprint(r.Err), w) {
			t.Errorf("%v does not say %q", r.Err, w)
		}
	}
}

// The reference's case 34, and 35: what is spawned is known by its own id, with its parent and what it is about.
func TestSpawn(t *testing.T) {
	n := newNursery(t, "", host.Options{})
	parent := n.callAs(t.Context(), "", "pipeline_spawner.spawn", `pipeline: "'double'", input: "{'x': 4}", ref_id: "'o-1'", ref_type: "'order'", wait: true`, nil)
	got := answer(t, parent)
	if got["status"] != "completed" || fmt.Sprint(got["output"]) != "map[out:map[y:8]]" || got["error"] != nil {
		t.Errorf("%v", got)
	}
	id, _ := got["run_id"].(string)
	p, err := n.host.Processes().Get(t.Context(), "acme", id)
	if err != nil || p.Status != processregistry.Completed || p.Parent != parent.RunID || p.Pipeline != "double" || p.Origin.RefID != "o-1" || p.Origin.RefType != "order" || p.Principal != "ada" || p.Ended.Before(p.Started) {
		t.Errorf("%+v, %v", p, err)
	}
	listed := answer(t, n.call("", "process_registry.list_by_ref", `ref_id: "'o-1'"`))
	if runs, _ := listed["runs"].([]any); len(runs) != 1 {
		t.Errorf("%v", listed)
	}
	failed := answer(t, n.call("", "pipeline_spawner.spawn", `pipeline: "'fails'", wait: true`))
	if failed["status"] != "failed" || failed["error"] != "no stock" {
		t.Errorf("%v", failed)
	}
	waits := answer(t, n.call("", "pipeline_spawner.spawn", `pipeline: "'waits.yaml'", wait: true`))
	if waits["status"] != "suspended" {
		t.Errorf("%v", waits)
	}
	id, _ = waits["run_id"].(string)
	if r, err := n.host.Resume(t.Context(), id, "come", map[string]any{"y": 1}, host.RunOptions{}); err != nil || r.Status != engine.Completed {
		t.Errorf("%+v, %v", r, err)
	}
	if p, err := n.host.Processes().Get(t.Context(), "acme", id); err != nil || p.Status != processregistry.Completed || len(p.Origin.Lineage) != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestSpawnInBackground(t *testing.T) {
	n := newNursery(t, "", host.Options{})
	many := answer(t, n.call("", "pipeline_spawner.spawn_many", `pipeline: "'double'", inputs: "[{'x': 1}, {'x': 2}, {'x': 3}]"`))
	ids, _ := many["run_ids"].([]any)
	if len(ids) != 3 || ids[0] == ids[1] || ids[1] == ids[2] || ids[0] == ids[2] {
		t.Fatalf("%v", many)
	}
	for i, id := range ids {
		got := answer(t, n.call("", "pipeline_spawner.await", fmt.Sprintf(`run_id: "'%s'", timeout: "10"`, id)))
		if got["status"] != "completed" || fmt.Sprint(got["output"]) != fmt.Sprintf("map[out:map[y:%d]]", 2*(i+1)) {
			t.Errorf("%v", got)
		}
	}
	failed, _ := answer(t, n.call("", "pipeline_spawner.spawn", `pipeline: "'fails'"`))["run_id"].(string)
	says(t, n.call("", "pipeline_spawner.await", `run_id: "'`+failed+`'"`), kernel.CodeFailed, "Run "+failed+" failed", "no stock")
	says(t, n.call("", "pipeline_spawner.await", `run_id: "'nobody'"`), kernel.CodeNotFound, "Unknown run ID nobody")
	sleeps := answer(t, n.call("", "pipeline_spawner.spawn", `pipeline: "'sleeps'"`))
	id, _ := sleeps["run_id"].(string)
	if sleeps["status"] != "running" {
		t.Errorf("%v", sleeps)
	}
	says(t, n.call("", "pipeline_spawner.await", `run_id: "'`+id+`'", timeout: "0.02"`), kernel.CodeTimeout, "timeout is 0.02 seconds") // and it goes on
	for _, want := range []bool{true, false} {
		if got := answer(t, n.call("", "pipeline_spawner.cancel", `run_id: "'`+id+`'"`)); got["cancelled"] != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
	if p, err := n.host.Processes().Get(t.Context(), "acme", id); err != nil || p.Status != processregistry.Cancelled {
		t.Errorf("%+v, %v", p, err)
	}
	if got := answer(t, n.call("", "pipeline_spawner.cancel", `run_id: "'nobody'"`)); got["cancelled"] != false {
		t.Errorf("%v", got)
	}
}

func TestSpawnNames(t *testing.T) {
	n := newNursery(t, "", host.Options{})
	n.write(t, "outside.yaml", "kind: Pipeline\n")
	if err := os.Symlink(n.path("outside.yaml"), n.path("pipelines/link.yaml")); err != nil {
		t.Fatal(err)
	}
	n.write(t, "pipelines/broken.yaml", "kind: Pipeline\nspec: {nodes: [{kind: nothing}]}\n")
	for name, c := range map[string]struct {
		code  kernel.Code
		words []string
	}{
		"../outside":                   {kernel.CodeArguments, []string{"there is no pipeline ../outside to start", "no path within the folder", "double, fails"}},
		filepath.Join(n.dir, "x.yaml"): {kernel.CodeArguments, []string{"no path within the folder"}},
		"link":                         {kernel.CodeArguments, []string{"no file within the folder"}},
		"none":                         {kernel.CodeNotFound, []string{"no such file", "name one of"}},
		"":                             {kernel.CodeArguments, []string{"no path"}},
		"broken":                       {kernel.CodePipeline, nil},
	} {
		r := n.call("", "pipeline_spawner.spawn", `pipeline: "'`+name+`'"`)
		if name == "broken" {
			if r.Err == nil {
				t.Error("a broken pipeline was started")
			}
			continue
		}
		says(t, r, c.code, c.words...)
	}
	says(t, n.call("", "pipeline_spawner.spawn", `pipeline: "1"`), kernel.CodeArguments, "argument pipeline must be a string")
	says(t, n.call("", "pipeline_spawner.spawn", `pipeline: "'double'", caps: "['fly']"`), kernel.CodeArguments, "there is no capability fly")
	says(t, n.call("", "pipeline_spawner.spawn", `pipeline: "'double'", timeout: "1"`), kernel.CodeArguments, "timeout is for wait: true")
	says(t, n.call("", "pipeline_spawner.spawn_many", `pipeline: "'double'", inputs: "[1]"`), kernel.CodeArguments, "inputs must be a list of objects")
	// What is changed is loaded anew.
	n.pipeline("double", "", `{kind: data_node, metadata: {name: out}, spec: {output: {y: new}}}`)
	if got := answer(t, n.call("", "pipeline_spawner.spawn", `pipeline: "'double'", wait: true`)); fmt.Sprint(got["output"]) != "map[out:map[y:new]]" {
		t.Errorf("%v", got)
	}
}

func TestSpawnNeedsAFolder(t *testing.T) {
	n := &nursery{site: site{t.TempDir()}, t: t}
	n.write(t, "hexdag.yaml", "kind: Config\nspec: {state: "+n.path("state")+"}\n")
	n.host = n.open(host.Options{})
	says(t, n.call("", "pipeline_spawner.spawn", `pipeline: "'double'"`), kernel.CodeUnavailable, "no folder of pipelines", "spec.libraries.pipelines")
}

// Two that start each other end, and say why.
func TestSpawnIsBounded(t *testing.T) {
	n := newNursery(t, ", pipeline_spawner: {max_depth: 4, max_running: 8, max_runs: 20}", host.Options{})
	for a, b := range map[string]string{"ping": "pong", "pong": "ping"} {
		n.pipeline(a, "", `{kind: service_call_node, metadata: {name: call}, spec: {service: pipeline_spawner, method: spawn, input_mapping: {pipeline: "'`+b+`'", wait: true}}}`)
	}
	got := fmt.Sprint(answer(t, n.call("", "pipeline_spawner.spawn", `pipeline: "'ping'", wait: true`)))
	if !strings.Contains(got, "runs start each other too deeply: calls > ping > pong > ping > pong led to this one, and max_depth is 4") {
		t.Error(got)
	}
	r := n.call("", "pipeline_spawner.spawn_many", `pipeline: "'sleeps'", inputs: "[{}, {}, {}, {}, {}, {}, {}, {}, {}]"`)
	says(t, r, kernel.CodeLimit, "too many runs are under way: 8 that others have started are, and max_running is 8")
	for range 200 { // none of them goes on
		if r = n.call("", "pipeline_spawner.spawn", `pipeline: "'double'", wait: true`); r.Err == nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	answer(t, r)
	inputs := strings.TrimSuffix(strings.Repeat("{}, ", 21), ", ")
	says(t, n.call("", "pipeline_spawner.spawn_many", `pipeline: "'double'", inputs: "[`+inputs+`]"`), kernel.CodeLimit, "too many runs are started: a run and all that comes of it start at most 20 (max_runs)")
}

// A child may do at most what its parent may.
func TestSpawnNarrows(t *testing.T) {
	n := newNursery(t, "", host.Options{})
	n.pipeline("remembers", "caps: {default_set: [mem.read, mem.write]}", `{kind: service_call_node, metadata: {name: call}, spec: {service: memory, method: set, input_mapping: {key: "'k'", value: "1"}}}`)
	n.pipeline("spawns", "", `{kind: service_call_node, metadata: {name: call}, spec: {service: pipeline_spawner, method: spawn, input_mapping: {pipeline: "'remembers'", wait: true}}}`)
	status := func(spec, args string) string {
		t.Helper()
		return fmt.Sprint(answer(t, n.call(spec, "pipeline_spawner.spawn", args+`, wait: true`)))
	}
	if got := status("", `pipeline: "'remembers'"`); !strings.Contains(got, "status:completed") {
		t.Error(got)
	}
	for spec, args := range map[string]string{"caps: {deny: [mem.write]}": `pipeline: "'remembers'"`, "": `pipeline: "'remembers'", caps: "['mem.read']"`, "caps: {deny: [mem.write, port.llm]}": `pipeline: "'spawns'"`} {
		if got := status(spec, args); !strings.Contains(got, "deny mem.write") {
			t.Errorf("%s: %s", spec, got)
		}
	}
	if got := status("", `pipeline: "'spawns'", caps: "['mem.read', 'mem.write']"`); !strings.Contains(got, "deny proc.spawn") {
		t.Error(got)
	}
	says(t, n.call("caps: {deny: [proc.spawn]}", "pipeline_spawner.spawn", `pipeline: "'double'"`), kernel.CodeDenied, "the run may not call pipeline_spawner.spawn", "proc.spawn")
}

// Children of a run that is cancelled end with it; those of one that has completed go on, until the host closes.
func TestSpawnedEndWithTheirOwner(t *testing.T) {
	started := make(chan struct{}, 4)
	n := newNursery(t, "", host.Options{Functions: map[string]host.Function{"parent": func(ctx context.Context, _ *kernel.NodeCall) (kernel.Value, error) {
		reply, err := kernel.RunFrom(ctx).Door(ctx, &kernel.PortCall{Op: "pipeline_spawner.spawn", Args: map[string]any{"pipeline": "sleeps"}, Caller: kernel.Caller{Principal: "ada"}})
		started <- struct{}{}
		if err != nil {
			return nil, err
		}
		<-ctx.Done()
		return reply.Value, kernel.ContextError(ctx)
	}}})
	n.write(t, "parent.yaml", "kind: Pipeline\nmetadata: {name: parent}\nspec: {nodes: [{kind: function_node, metadata: {name: call}, spec: {fn: parent}}]}\n")
	p, err := n.host.Load(t.Context(), n.path("parent.yaml"), host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan *host.Result)
	go func() { done <- p.Run(ctx, nil, host.RunOptions{}) }()
	<-started
	cancel()
	parent := <-done
	if parent.Status != engine.Cancelled {
		t.Errorf("%s: %v", parent.Status, parent.Err)
	}
	children, err := n.host.Processes().List(t.Context(), "acme", processregistry.Filter{Parent: parent.RunID})
	if err != nil || len(children) != 1 {
		t.Fatalf("%v, %v", children, err)
	}
	child, err := n.host.Processes().Wait(t.Context(), "acme", children[0].RunID)
	if err != nil || child.Status != processregistry.Cancelled {
		t.Errorf("%+v, %v", child, err)
	}
	answer(t, n.call("", "pipeline_spawner.spawn", `pipeline: "'sleeps'"`)) // which Close ends
}

// What ran is known after a restart; a run that waits, too.
func TestProcessesSurviveARestart(t *testing.T) {
	n := newNursery(t, "", host.Options{})
	done := answer(t, n.call("", "pipeline_spawner.spawn", `pipeline: "'double'", input: "{'x': 4}", wait: true`))
	waits := answer(t, n.call("", "pipeline_spawner.spawn", `pipeline: "'waits'", wait: true`))
	if err := n.host.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.host = n.open(host.Options{})
	for _, want := range []map[string]any{done, waits} {
		id, _ := want["run_id"].(string)
		got := answer(t, n.call("", "pipeline_spawner.await", `run_id: "'`+id+`'"`))
		if got["status"] != want["status"] || fmt.Sprint(got["output"]) != fmt.Sprint(want["output"]) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

// More runs wait for their children than nodes may run at once: the children have room all the same.
func TestWaitingTakesNoPlace(t *testing.T) {
	n := newNursery(t, ", pipeline_spawner: {max_running: 1000}", host.Options{})
	n.write(t, "calls.yaml", fmt.Sprintf(calling, "calls", "", "pipeline_spawner", "spawn", `pipeline: "'double'", input: "{'x': 1}", wait: true`))
	p, err := n.host.Load(t.Context(), n.path("calls.yaml"), host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all sync.WaitGroup
	for range 600 {
		all.Go(func() {
			if r := p.Run(ctx, nil, host.RunOptions{}); r.Err != nil {
				t.Error(r.Err)
			}
		})
	}
	all.Wait()
}

// What starting a run costs beside the run itself: 'direct' is the same pipeline, run by the program.
func BenchmarkSpawn(b *testing.B) {
	dir := b.TempDir()
	s := site{dir}
	s.write(b, "hexdag.yaml", "kind: Config\nspec:\n  state: "+s.path("state")+"\n  libraries: {pipelines: pipelines, pipeline_spawner: {max_runs: 1000000000}}\n")
	s.write(b, "pipelines/child.yaml", "kind: Pipeline\nmetadata: {name: child}\nspec: {nodes: [{kind: data_node, metadata: {name: n}, spec: {output: {}}}]}\n")
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		b.Fatal(err)
	}
	work := make(chan func(context.Context) error)
	h, err := host.New(b.Context(), cfg, host.Options{Functions: map[string]host.Function{"bench": func(ctx context.Context, _ *kernel.NodeCall) (kernel.Value, error) {
		f := <-work
		return nil, f(ctx)
	}}})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close(context.Background())
	s.write(b, "bench.yaml", "kind: Pipeline\nmetadata: {name: bench}\nspec: {orchestrator: {default_node_timeout: 3600}, nodes: [{kind: function_node, metadata: {name: n}, spec: {fn: bench}}]}\n")
	within := func(b *testing.B, f func(context.Context) error) {
		b.Helper()
		p, err := h.Load(b.Context(), s.path("bench.yaml"), host.LoadOptions{})
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close(context.Background())
		done := make(chan *host.Result)
		go func() { done <- p.Run(context.Background(), nil, host.RunOptions{}) }()
		work <- f
		if r := <-done; r.Err != nil {
			b.Fatal(r.Err)
		}
	}
	b.Run("direct", func(b *testing.B) {
		p, err := h.Load(b.Context(), s.path("pipelines/child.yaml"), host.LoadOptions{})
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close(context.Background())
		for b.Loop() {
			if r := p.Run(b.Context(), nil, host.RunOptions{}); r.Err != nil {
				b.Fatal(r.Err)
			}
		}
	})
	b.Run("spawn", func(b *testing.B) {
		within(b, func(ctx context.Context) error {
			run := kernel.RunFrom(ctx)
			call := kernel.PortCall{Op: "pipeline_spawner.spawn", Args: map[string]any{"pipeline": "child", "wait": true}, Caller: kernel.Caller{Principal: "ada"}}
			for b.Loop() {
				c := call
				if _, err := run.Door(ctx, &c); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// What a run has scheduled begins once, on the host that listens, with the principal and the rights of that run, and is known as any run.
func TestSchedules(t *testing.T) {
	n := newNursery(t, "", host.Options{})
	n.pipeline("remembers", "", `{kind: service_call_node, metadata: {name: call}, spec: {service: memory, method: set, input_mapping: {key: "'k'", value: "1"}}}`)
	task := answer(t, n.call("", "scheduler.schedule_once", `pipeline: "'double'", input: "{'x': 21}", delay_seconds: "0.2", ref_id: "'o-9'"`))
	denied := answer(t, n.call("caps: {deny: [mem.write]}", "scheduler.schedule_once", `pipeline: "'remembers'", ref_id: "'o-8'"`))
	says(t, n.call("", "scheduler.schedule_recurring", `pipeline: "'none'", cron: "'* * * * *'"`), kernel.CodeNotFound, "there is no pipeline none to start")
	says(t, n.call("caps: {deny: [proc.spawn]}", "scheduler.schedule_once", `pipeline: "'double'"`), kernel.CodeDenied, "proc.spawn")
	if task["status"] != "pending" || denied["status"] != "pending" {
		t.Errorf("%v, %v", task, denied)
	}
	l, err := n.host.Listen(t.Context(), host.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if left, err := n.host.Schedules().List(t.Context(), "", false, 10); err != nil || len(left) == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Error(err)
	}
	runs, err := n.host.Processes().List(t.Context(), "acme", processregistry.Filter{RefID: "o-9"})
	if err != nil || len(runs) != 1 || runs[0].Status != processregistry.Completed || string(runs[0].Output) != `{"out":{"y":42}}` || runs[0].Principal != "ada" {
		t.Errorf("%+v, %v", runs, err)
	}
	id, _ := denied["task_id"].(string)
	if failed, err := n.host.Schedules().Get(t.Context(), id); err != nil || failed.LastStatus != "denied" || !strings.Contains(failed.Error, "mem.write") {
		t.Errorf("%+v, %v", failed, err)
	}
}

// A task whose runs overlap tells what became of the one that began last, though it waits for none of them.
func TestSchedulesOverlap(t *testing.T) {
	var calls atomic.Int64
	release := make(chan struct{})
	n := newNursery(t, "", host.Options{Functions: map[string]host.Function{"turns": func(ctx context.Context, _ *kernel.NodeCall) (kernel.Value, error) {
		if calls.Add(1) == 1 { // the first outlasts the others, which fail
			select {
			case <-release:
			case <-ctx.Done():
			}
			return nil, nil
		}
		return nil, &kernel.Error{Code: kernel.CodeFailed, What: "no stock"}
	}}})
	n.pipeline("turns", "", `{kind: function_node, metadata: {name: out}, spec: {fn: turns}}`)
	task := answer(t, n.call("", "scheduler.schedule_recurring", `pipeline: "'turns'", interval_seconds: "1", overlap: "'allow'"`))
	l, err := n.host.Listen(t.Context(), host.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	id, _ := task["task_id"].(string)
	var last *scheduler.Task
	for deadline := time.Now().Add(30 * time.Second); last == nil || last.LastStatus != "failed"; time.Sleep(20 * time.Millisecond) {
		if last, err = n.host.Schedules().Get(t.Context(), id); err != nil || time.Now().After(deadline) {
			t.Fatalf("%+v, %v", last, err)
		}
	}
	if _, err := n.host.Schedules().Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	close(release)
	if err := l.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if last, err = n.host.Schedules().Get(t.Context(), id); err != nil || last.LastStatus != "failed" || last.Error != "no stock" || last.Runs < 2 || last.Status != scheduler.Cancelled {
		t.Errorf("%+v, %v", last, err)
	}
}

// An agent is given the methods of libraries that it names, and no others; what it passes is held to their schemas.
func TestLibrariesAsTools(t *testing.T) {
	n := newNursery(t, "", host.Options{})
	agent := func(tools, answers string) *host.Result {
		t.Helper()
		n.write(t, "agent.yaml", `kind: Pipeline
metadata: {name: agent}
spec:
  ports: {llm: {adapter: mock, config: {responses: [`+answers+`]}}}
  nodes:
    - {kind: agent_node, metadata: {name: call}, spec: {main_prompt: "Do it.", available_tools: [`+tools+`], output_schema: {answer: str}}}
`)
		p, err := n.host.Load(t.Context(), n.path("agent.yaml"), host.LoadOptions{})
		if err != nil {
			return &host.Result{Err: err}
		}
		defer p.Close(t.Context())
		return p.Run(t.Context(), nil, host.RunOptions{})
	}
	const spawn = `"INVOKE_TOOL: pipeline_spawner:spawn(pipeline='double', input={'x': 4}, wait=true)"`
	if r := agent(`"pipeline_spawner:spawn"`, spawn+`, "INVOKE_TOOL: tool_end(answer='done')"`); r.Err != nil || fmt.Sprint(r.NodeResults["call"]) != "map[answer:done]" {
		t.Errorf("%v, %v", r.NodeResults, r.Err)
	}
	spawned := func() int {
		t.Helper()
		runs, err := n.host.Processes().List(t.Context(), "acme", processregistry.Filter{Pipeline: "double"})
		if err != nil {
			t.Fatal(err)
		}
		return len(runs)
	}
	if got := spawned(); got != 1 {
		t.Errorf("%d runs were started", got)
	}
	// One that it does not name is not there, and what breaks a schema is not done.
	for _, answers := range []string{spawn, `"INVOKE_TOOL: pipeline_spawner:spawn(pipeline=['double'])"`, `"INVOKE_TOOL: pipeline_spawner:spawn(pipeline='double', sudo=true)"`} {
		tools := `"pipeline_spawner:*"`
		if answers == spawn {
			tools = `"process_registry:list"`
		}
		if r := agent(tools, answers+`, "INVOKE_TOOL: tool_end(answer='done')"`); r.Err != nil {
			t.Error(r.Err)
		}
	}
	if got := spawned(); got != 1 {
		t.Errorf("%d runs were started", got)
	}
	says(t, agent(`"pipeline_spawner:spwan"`, `"x"`), kernel.CodePipeline, "pipeline_spawner has no tool spwan", "spawn")
	says(t, agent(`"memory:get"`, `"x"`), kernel.CodeModuleNotFound, "there is no module memory")
}
