package pipelinespawner_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/pipelinespawner"
	"github.com/hexdag/hexdag/host/lib/processregistry"
	"github.com/hexdag/hexdag/host/ports/datastore"
	"github.com/hexdag/hexdag/host/ports/datastore/memdocs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// runner runs pipelines of these names: ok answers its input, fails fails, panics panics, and sleeps waits for its end.
type runner struct {
	registry *processregistry.Registry
	unbegun  bool

	mu       sync.Mutex
	n        int
	runs     []pipelinespawner.Request
	released int
}

func (r *runner) Prepare(_ context.Context, name string) (pipelinespawner.Prepared, error) {
	if !slices.Contains([]string{"ok", "fails", "panics", "sleeps"}, name) {
		return nil, &kernel.Error{Code: kernel.CodeNotFound, What: "there is no pipeline " + name}
	}
	return prepared{r, name}, nil
}

func (r *runner) NewID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	return fmt.Sprint("run", r.n)
}

func (r *runner) Unbegun(context.Context, string, string) (bool, error) { return r.unbegun, nil }

type prepared struct {
	*runner
	name string
}

func (p prepared) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.released++
}

func (p prepared) Run(ctx context.Context, r *pipelinespawner.Request) *pipelinespawner.Outcome {
	p.mu.Lock()
	p.runs = append(p.runs, *r)
	p.mu.Unlock()
	switch p.name {
	case "fails":
		return &pipelinespawner.Outcome{Status: processregistry.Failed, Err: &kernel.Error{Code: kernel.CodeFailed, What: "no stock"}}
	case "panics":
		panic("at the disco")
	case "sleeps":
		<-ctx.Done()
		return &pipelinespawner.Outcome{Status: processregistry.Cancelled, Err: kernel.ContextError(ctx)}
	}
	return &pipelinespawner.Outcome{Status: processregistry.Completed, Output: r.Input}
}

type site struct {
	t *testing.T
	*runner
	spawner *pipelinespawner.Spawner
	parent  *kernel.RunContext
}

func newSite(t *testing.T, opts pipelinespawner.Options) *site {
	t.Helper()
	store := datastore.New(memdocs.New())
	registry := processregistry.New(processregistry.Options{Store: func(context.Context) (*datastore.Store, error) { return store, nil }})
	s := &site{t: t, runner: &runner{registry: registry}}
	s.spawner = pipelinespawner.New(s.runner, registry, opts)
	s.parent = &kernel.RunContext{RunID: "parent", PipelineName: "mother", Tenant: "acme", Principal: "ada"}
	s.parent.Runs = opts.Budget()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // what still sleeps is cancelled
		if err := s.spawner.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := registry.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if s.released < 1 && len(s.runs) > 0 {
			t.Error("no pipeline was given back")
		}
	})
	return s
}

// call calls a method as the parent.
func (s *site) call(method, args string) (map[string]any, error) {
	s.t.Helper()
	v, err := kernel.DecodeJSON([]byte(args))
	if err != nil {
		s.t.Fatal(err)
	}
	ctx := kernel.WithRun(s.t.Context(), s.parent)
	for _, op := range s.spawner.Ops() {
		if op.Name == "pipeline_spawner."+method {
			reply, err := op.Func(ctx, &kernel.PortCall{Op: op.Name, Args: v.(map[string]any)})
			if err != nil {
				return nil, err
			}
			return reply.Value.(map[string]any), nil
		}
	}
	s.t.Fatal(method)
	return nil, nil
}

func (s *site) refuses(method, args string, code kernel.Code, words string) {
	s.t.Helper()
	if _, err := s.call(method, args); kernel.CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), words) {
		s.t.Errorf("%s %s: %v (%s), want %q (%s)", method, args, err, kernel.CodeOf(err), words, code)
	}
}

func (s *site) answers(method, args, want string) {
	s.t.Helper()
	v, err := s.call(method, args)
	if err != nil {
		s.t.Errorf("%s %s: %v", method, args, err)
		return
	}
	if text, _ := kernel.EncodeJSON(v); string(text) != want {
		s.t.Errorf("%s %s: %s, want %s", method, args, text, want)
	}
}

func TestSpawnAndAwait(t *testing.T) {
	s := newSite(t, pipelinespawner.Options{})
	s.answers("spawn", `{"pipeline": "ok", "input": {"x": 1}, "wait": true, "ref_id": "o-1", "ref_type": "order"}`, `{"error":null,"output":{"x":1},"run_id":"run1","status":"completed"}`)
	s.answers("spawn", `{"pipeline": "fails", "wait": true}`, `{"error":"no stock","output":null,"run_id":"run2","status":"failed"}`)
	s.answers("spawn", `{"pipeline": "ok", "input": {"x": 2}}`, `{"run_id":"run3","status":"running"}`)
	s.answers("await", `{"run_id": "run3"}`, `{"output":{"x":2},"run_id":"run3","status":"completed"}`)
	s.answers("spawn", `{"pipeline": "fails"}`, `{"run_id":"run4","status":"running"}`)
	s.refuses("await", `{"run_id": "run4"}`, kernel.CodeFailed, "Run run4 failed")
	s.answers("spawn_many", `{"pipeline": "ok", "inputs": [{"i": 0}, {"i": 1}, {"i": 2}]}`, `{"run_ids":["run5","run6","run7"]}`)
	s.answers("await", `{"run_id": "run6"}`, `{"output":{"i":1},"run_id":"run6","status":"completed"}`)
	panicked, err := s.call("spawn", `{"pipeline": "panics", "wait": true}`)
	if err != nil || panicked["status"] != "failed" {
		t.Errorf("%v, %v", panicked, err)
	}
	s.refuses("await", `{"run_id": "nobody"}`, kernel.CodeNotFound, "nobody")
	s.refuses("await", `{"run_id": "parent"}`, kernel.CodeArguments, "a run cannot wait for itself")
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.runs[0]
	if first.Origin.RefID != "o-1" || first.Origin.RefType != "order" || fmt.Sprint(first.Origin.Lineage) != "[mother]" || first.Parent != s.parent || !first.Within || s.runs[2].Within {
		t.Errorf("%+v", first)
	}
}

func TestCancel(t *testing.T) {
	s := newSite(t, pipelinespawner.Options{})
	s.answers("spawn", `{"pipeline": "sleeps"}`, `{"run_id":"run1","status":"running"}`)
	s.answers("cancel", `{"run_id": "run1"}`, `{"cancelled":true,"run_id":"run1"}`)
	s.answers("cancel", `{"run_id": "run1"}`, `{"cancelled":false,"run_id":"run1"}`)
	s.answers("cancel", `{"run_id": "nobody"}`, `{"cancelled":false,"run_id":"nobody"}`)
	s.answers("spawn", `{"pipeline": "sleeps"}`, `{"run_id":"run2","status":"running"}`)
	s.refuses("await", `{"run_id": "run2", "timeout": 0.001}`, kernel.CodeTimeout, "timeout is 0.001 seconds")
	waited, err := s.call("spawn", `{"pipeline": "sleeps", "wait": true, "timeout": 0.001}`)
	if err == nil && waited["status"] != "cancelled" {
		t.Errorf("%v", waited)
	}
}

func TestBounds(t *testing.T) {
	s := newSite(t, pipelinespawner.Options{MaxDepth: 2, MaxRuns: 4, MaxRunning: 2, MaxMany: 3})
	s.refuses("spawn_many", `{"pipeline": "ok", "inputs": [{}, {}, {}, {}]}`, kernel.CodeArguments, "inputs must be a list of 1 to 3 objects")
	s.refuses("spawn_many", `{"pipeline": "ok", "inputs": []}`, kernel.CodeArguments, "inputs must be a list of 1 to 3 objects")
	s.refuses("spawn_many", `{"pipeline": "ok", "inputs": [1]}`, kernel.CodeArguments, "inputs must be a list of objects")
	s.refuses("spawn_many", `{"pipeline": "sleeps", "inputs": [{}, {}, {}]}`, kernel.CodeLimit, "max_running is 2")
	for _, begun := range []string{"run1", "run2"} { // all begin, or none goes on
		s.refuses("await", `{"run_id": "`+begun+`"}`, kernel.CodeFailed, "Run "+begun+" cancelled")
	}
	s.refuses("spawn", `{"pipeline": "none"}`, kernel.CodeNotFound, "there is no pipeline none")
	s.refuses("spawn", `{"pipeline": 1}`, kernel.CodeArguments, "pipeline must be a text")
	s.refuses("spawn", `{"pipeline": "ok", "surprise": 1}`, kernel.CodeArguments, "surprise")
	s.refuses("spawn", `{"pipeline": "ok", "timeout": 1}`, kernel.CodeArguments, "timeout is for wait: true")
	s.refuses("spawn", `{"pipeline": "ok", "wait": true, "timeout": -1}`, kernel.CodeArguments, "timeout must be more than 0")
	s.refuses("spawn", `{"pipeline": "ok", "ref_id": "`+strings.Repeat("a", 201)+`"}`, kernel.CodeArguments, "at most 200 bytes")
	s.refuses("spawn", `{"pipeline": "ok", "caps": ["everything"]}`, kernel.CodeArguments, "there is no capability everything")
	s.answers("spawn", `{"pipeline": "ok", "wait": true}`, `{"error":null,"output":{},"run_id":"run4","status":"completed"}`)
	s.refuses("spawn", `{"pipeline": "ok", "wait": true}`, kernel.CodeLimit, "max_runs")
	s.parent.Origin.Lineage = []string{"grand", "great"}
	s.refuses("spawn", `{"pipeline": "ok"}`, kernel.CodeLimit, "grand > great > mother led to this one, and max_depth is 2")
}

// What a child may do is what its request says, and what that narrows; that its parent's rights bound it the host sees to.
func TestCapsOfAChild(t *testing.T) {
	s := newSite(t, pipelinespawner.Options{})
	if _, err := s.call("spawn", `{"pipeline": "ok", "caps": ["mem.read"], "wait": true}`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.call("spawn", `{"pipeline": "ok", "caps": [], "wait": true}`); err != nil {
		t.Fatal(err)
	}
	if caps := s.runs[0].Caps; !caps.Allows("mem.read") || caps.Allows("mem.write") {
		t.Errorf("%+v", caps)
	}
	if caps := s.runs[1].Caps; caps.Allows("mem.read") {
		t.Errorf("no capabilities are all: %+v", caps)
	}
}

// With one key one run is meant, here and by whoever has died; what had not begun begins.
func TestKeys(t *testing.T) {
	s := newSite(t, pipelinespawner.Options{})
	s.parent.Durable = true
	spawn := &pipelinespawner.Spawn{Pipeline: "ok", Input: map[string]any{}, Key: "k"}
	for range 3 {
		id, err := s.spawner.Start(t.Context(), s.parent, spawn, false)
		if err != nil || id != pipelinespawner.ID("acme", "k") || !pipelinespawner.Keyed(id) {
			t.Fatal(id, err)
		}
		s.spawner.Ended("parent", false)
	}
	if len(s.runs) != 1 {
		t.Errorf("it has begun %d times", len(s.runs))
	}
	s.unbegun = true
	if _, err := s.spawner.Start(t.Context(), s.parent, spawn, false); err != nil || len(s.runs) != 2 {
		t.Errorf("it begins %d times, %v", len(s.runs)-1, err)
	}
	if pipelinespawner.Keyed("01a21840-0b27-7e20-a777-8af49c07d935") || pipelinespawner.ID("acme", "k") == pipelinespawner.ID("other", "k") {
		t.Error("an id stands for what it should not")
	}
}

// Of a run that seems lost its journal says whether another host goes on with it, has done so, or could.
func TestAwaitTheLost(t *testing.T) {
	store := datastore.New(memdocs.New())
	opts := processregistry.Options{Store: func(context.Context) (*datastore.Store, error) { return store, nil }}
	dead := processregistry.New(opts)
	dead.Put("acme", &processregistry.Process{RunID: "r", Pipeline: "p", Status: processregistry.Running, Started: time.Now()})
	if err := dead.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	opts.Now = func() time.Time { return time.Now().Add(time.Hour) }
	registry := processregistry.New(opts)
	t.Cleanup(func() {
		for _, r := range []*processregistry.Registry{registry, dead} {
			if err := r.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	as := func(s processregistry.Status) *processregistry.Process {
		return &processregistry.Process{RunID: "r", Status: s, Output: []byte(`{"n":1}`)}
	}
	failed := as(processregistry.Failed)
	failed.Output, failed.Error = nil, &kernel.Error{Code: kernel.CodeFailed, What: "no stock"}
	for name, test := range map[string]struct {
		recorded []*processregistry.Process // one after the other
		output   string
		code     kernel.Code
		says     string
	}{
		"it is over":                      {[]*processregistry.Process{as(processregistry.Completed)}, "map[n:1]", "", ""},
		"it has failed":                   {[]*processregistry.Process{failed}, "<nil>", kernel.CodeFailed, "no stock"},
		"it goes on":                      {[]*processregistry.Process{as(processregistry.Running), as(processregistry.Running), as(processregistry.Completed)}, "map[n:1]", "", ""},
		"it goes on, and is lost":         {[]*processregistry.Process{as(processregistry.Running), as(processregistry.Lost)}, "<nil>", kernel.CodeUnavailable, "the run is lost"},
		"nobody goes on with it":          {[]*processregistry.Process{as(processregistry.Lost)}, "<nil>", kernel.CodeUnavailable, "hexdag resume --crashed"},
		"it is not durable":               {[]*processregistry.Process{nil}, "<nil>", kernel.CodeUnavailable, "the run is lost"},
		"it goes on for longer than that": {[]*processregistry.Process{as(processregistry.Running)}, "<nil>", kernel.CodeTimeout, "soon"},
	} {
		t.Run(name, func(t *testing.T) {
			looked := 0
			s := pipelinespawner.New(nil, registry, pipelinespawner.Options{Recorded: func(_ context.Context, tenant, run string) (*processregistry.Process, error) {
				if tenant != "acme" || run != "r" {
					t.Error(tenant, run)
				}
				looked++
				return test.recorded[min(looked, len(test.recorded))-1], nil
			}})
			defer s.Close(t.Context())
			patience := time.Minute
			if test.code == kernel.CodeTimeout {
				patience = time.Second
			}
			ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New("soon"))
			defer cancel()
			o, err := s.Await(ctx, "acme", "r")
			if err == nil {
				err = o.Err
			} else {
				o = &pipelinespawner.Outcome{}
			}
			if fmt.Sprint(o.Output) != test.output || kernel.CodeOf(err) != test.code || test.says != "" && !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, %v", o.Output, err)
			}
			if test.code != kernel.CodeTimeout && looked != len(test.recorded) {
				t.Errorf("the journal was asked %d times", looked)
			}
		})
	}
}

// Whoever is told a run's id finds it, however soon, and also where it could not begin.
func TestSpawnedIsKnown(t *testing.T) {
	s := newSite(t, pipelinespawner.Options{})
	for range 50 {
		v, err := s.call("spawn", `{"pipeline": "sleeps"}`)
		if err != nil {
			t.Fatal(err)
		}
		id, _ := v["run_id"].(string)
		p, err := s.registry.Get(t.Context(), "acme", id)
		if err != nil || p.Status != processregistry.Running || p.Parent != "parent" || p.Pipeline != "sleeps" || p.Principal != "ada" {
			t.Fatalf("%+v, %v", p, err)
		}
	}
	v, err := s.call("spawn", `{"pipeline": "fails", "wait": true}`)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := v["run_id"].(string)
	if p, err := s.registry.Get(t.Context(), "acme", id); err != nil || p.Status != processregistry.Failed || p.Error.What != "no stock" {
		t.Errorf("%+v, %v", p, err)
	}
}
