package processregistry_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/processregistry"
	"github.com/hexdag/hexdag/host/ports/datastore"
	"github.com/hexdag/hexdag/host/ports/datastore/driver"
	"github.com/hexdag/hexdag/host/ports/datastore/memdocs"
	"github.com/hexdag/hexdag/host/ports/datastore/sqlitedocs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}
func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

// site is a store that several registries share.
type site struct {
	t     *testing.T
	clock *clock
	store *datastore.Store
}

func newSite(t *testing.T, d driver.Store) *site {
	s := &site{t: t, clock: newClock(), store: datastore.New(d)}
	t.Cleanup(func() { _ = s.store.Close() })
	return s
}

func (s *site) open(opts processregistry.Options) *processregistry.Registry {
	opts.Now, opts.Linger, opts.Poll = s.clock.now, time.Millisecond, 5*time.Millisecond
	if opts.Store == nil {
		opts.Store = func(context.Context) (*datastore.Store, error) { return s.store, nil }
	}
	r := processregistry.New(opts)
	s.t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			s.t.Error(err)
		}
	})
	return r
}

func (s *site) run(id string, status processregistry.Status) *processregistry.Process {
	s.clock.advance(time.Second)
	return &processregistry.Process{RunID: id, Pipeline: "orders", Status: status, Started: s.clock.now(), Principal: "ada"}
}

func list(t *testing.T, r *processregistry.Registry, f processregistry.Filter) []string {
	t.Helper()
	found, err := r.List(t.Context(), "acme", f)
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	for _, p := range found {
		ids = append(ids, p.RunID)
	}
	return ids
}

func wantIDs(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
}

func status(t *testing.T, r *processregistry.Registry, run string) processregistry.Status {
	t.Helper()
	p, err := r.Get(t.Context(), "acme", run)
	if err != nil {
		t.Fatal(err)
	}
	return p.Status
}

// The reference's case 35: newest first, by status, limited, by ref with and without its type.
func TestLists(t *testing.T) {
	file, err := sqlitedocs.Open(t.Context(), filepath.Join(t.TempDir(), "d.db"))
	if err != nil {
		t.Fatal(err)
	}
	for name, store := range map[string]driver.Store{"memory": memdocs.New(), "sqlite": file} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, store)
			r := s.open(processregistry.Options{})
			for i, p := range []*processregistry.Process{s.run("1", processregistry.Completed), s.run("2", processregistry.Running), s.run("3", processregistry.Failed), s.run("4", processregistry.Completed)} {
				p.Origin = kernel.Origin{RefID: fmt.Sprint("o", i%2), RefType: "order"}
				if i == 3 {
					p.Origin.RefType, p.Parent, p.Pipeline = "invoice", "2", "bills"
				}
				r.Put("acme", p)
			}
			wantIDs(t, list(t, r, processregistry.Filter{}), "4", "3", "2", "1")
			wantIDs(t, list(t, r, processregistry.Filter{Limit: 2}), "4", "3")
			wantIDs(t, list(t, r, processregistry.Filter{Status: processregistry.Completed}), "4", "1")
			wantIDs(t, list(t, r, processregistry.Filter{Status: processregistry.Lost}))
			wantIDs(t, list(t, r, processregistry.Filter{RefID: "o1"}), "4", "2")
			wantIDs(t, list(t, r, processregistry.Filter{RefID: "o1", RefType: "order"}), "2")
			wantIDs(t, list(t, r, processregistry.Filter{RefID: "o"}))
			wantIDs(t, list(t, r, processregistry.Filter{Parent: "2"}), "4")
			wantIDs(t, list(t, r, processregistry.Filter{Pipeline: "orders", Status: processregistry.Failed}), "3")
			if found, err := r.List(t.Context(), "bob", processregistry.Filter{}); len(found) != 0 || err != nil {
				t.Errorf("another tenant sees %v, %v", found, err)
			}
			for _, id := range []string{"5", "", "\xff", strings.Repeat("x", 600)} {
				if _, err := r.Get(t.Context(), "acme", id); !errors.Is(err, processregistry.ErrUnknown) || kernel.CodeOf(err) != kernel.CodeNotFound || !strings.Contains(err.Error(), "Unknown run ID") {
					t.Errorf("%q: %v", id, err)
				}
			}
			if _, err := r.Get(t.Context(), "bob", "1"); !errors.Is(err, processregistry.ErrUnknown) {
				t.Errorf("another tenant: %v", err)
			}
			if _, err := r.List(t.Context(), "acme", processregistry.Filter{Limit: processregistry.MaxList + 1}); kernel.CodeOf(err) != kernel.CodeArguments {
				t.Error(err)
			}
		})
	}
}

// Many runs of one pipeline at once are told apart by their ids, whatever their names, which the reference did not do.
func TestConcurrentRuns(t *testing.T) {
	s := newSite(t, memdocs.New())
	r := s.open(processregistry.Options{})
	var all sync.WaitGroup
	const n = 200
	for i := range n {
		p := s.run(fmt.Sprint(i), processregistry.Running)
		all.Go(func() {
			r.Put("acme", p)
			ended := *p
			ended.Status, ended.Ended = processregistry.Completed, p.Started.Add(time.Duration(i)*time.Millisecond)
			if i%2 == 1 {
				ended.Status, ended.Error = processregistry.Failed, &kernel.Error{Code: kernel.CodeFailed, What: fmt.Sprint("run ", i)}
			}
			r.Put("acme", &ended)
		})
	}
	all.Wait()
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		p, err := r.Get(t.Context(), "acme", fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		failed := p.Status == processregistry.Failed && p.Error != nil && p.Error.What == fmt.Sprint("run ", i)
		if p.Ended.Sub(p.Started) != time.Duration(i)*time.Millisecond || failed != (i%2 == 1) {
			t.Errorf("%d: %+v", i, p)
		}
	}
	if got := list(t, r, processregistry.Filter{Status: processregistry.Failed, Limit: n}); len(got) != n/2 {
		t.Errorf("%d failed", len(got))
	}
}

// A host that is killed leaves runs "running": they are lost once it has said nothing for a while, and running again where somebody recovers them.
func TestLostRuns(t *testing.T) {
	s := newSite(t, memdocs.New())
	dead := s.open(processregistry.Options{})
	survivor := s.open(processregistry.Options{TTL: time.Minute})
	dead.Put("acme", s.run("1", processregistry.Running))
	dead.Put("acme", s.run("2", processregistry.Suspended))
	if err := dead.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := status(t, survivor, "1"); got != processregistry.Running {
		t.Errorf("on a host that is there: %s", got)
	}
	s.clock.advance(2 * time.Minute) // it says nothing
	if got := status(t, survivor, "1"); got != processregistry.Lost {
		t.Errorf("on a host that is dead: %s", got)
	}
	if got := status(t, survivor, "2"); got != processregistry.Suspended {
		t.Errorf("what waits needs no host: %s", got)
	}
	if got := status(t, dead, "1"); got != processregistry.Running {
		t.Errorf("to itself: %s", got)
	}
	wantIDs(t, list(t, survivor, processregistry.Filter{Status: processregistry.Lost}), "1")
	wantIDs(t, list(t, survivor, processregistry.Filter{Status: processregistry.Running}))
	if p, err := survivor.Wait(t.Context(), "acme", "1"); err != nil || p.Status != processregistry.Lost {
		t.Errorf("%+v, %v", p, err)
	}
	again := s.run("1", processregistry.Running)
	survivor.Put("acme", again)
	wantIDs(t, list(t, survivor, processregistry.Filter{Status: processregistry.Running}), "1")
}

func TestClosedHostsRunsAreLost(t *testing.T) {
	s := newSite(t, memdocs.New())
	r := processregistry.New(processregistry.Options{Store: func(context.Context) (*datastore.Store, error) { return s.store, nil }, Now: s.clock.now})
	r.Put("acme", s.run("1", processregistry.Running))
	r.Put("acme", s.run("2", processregistry.Completed))
	if err := r.Close(t.Context()); err != nil { // which writes what is left
		t.Fatal(err)
	}
	r.Put("acme", s.run("3", processregistry.Running)) // too late, and does nothing
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	next := s.open(processregistry.Options{})
	wantIDs(t, list(t, next, processregistry.Filter{}), "2", "1")
	if got := status(t, next, "1"); got != processregistry.Lost {
		t.Error(got)
	}
}

func TestCreate(t *testing.T) {
	s := newSite(t, memdocs.New())
	a, b := s.open(processregistry.Options{}), s.open(processregistry.Options{})
	p := s.run("1", processregistry.Running)
	var won atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			created, err := []*processregistry.Registry{a, b}[i%2].Create(t.Context(), "acme", p)
			if err != nil {
				t.Error(err)
			}
			if created {
				won.Add(1)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d created it", won.Load())
	}
	if created, err := a.Create(t.Context(), "bob", p); !created || err != nil {
		t.Errorf("another tenant's: %v, %v", created, err)
	}
}

func TestWait(t *testing.T) {
	s := newSite(t, memdocs.New())
	here, there := s.open(processregistry.Options{}), s.open(processregistry.Options{})
	p := s.run("1", processregistry.Running)
	here.Put("acme", p)
	if err := here.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := there.Wait(ctx, "acme", "1"); kernel.CodeOf(err) != kernel.CodeTimeout {
		t.Error(err)
	}
	done := make(chan *processregistry.Process)
	go func() {
		p, err := there.Wait(t.Context(), "acme", "1")
		if err != nil {
			t.Error(err)
		}
		done <- p
	}()
	ended := *p
	ended.Status = processregistry.Completed
	ended.SetOutput(map[string]any{"a": "b"}, nil)
	here.Put("acme", &ended)
	if got := <-done; got == nil || string(got.Output) != `{"a":"b"}` {
		t.Errorf("%+v", got)
	}
}

func TestOutput(t *testing.T) {
	secret, err := kernel.NewLabels(kernel.Trusted, kernel.Secret, "vault")
	if err != nil {
		t.Fatal(err)
	}
	var p processregistry.Process
	if p.SetOutput(map[string]any{"key": "hunter2"}, secret); p.Output != nil || !p.Omitted {
		t.Errorf("a secret is kept: %s", p.Output)
	}
	p = processregistry.Process{}
	if p.SetOutput(strings.Repeat("x", processregistry.MaxOutput), nil); p.Output != nil || !p.Omitted {
		t.Error("a large output is kept")
	}
}

func TestRetention(t *testing.T) {
	s := newSite(t, memdocs.New())
	first := s.open(processregistry.Options{})
	for i := range 10 {
		first.Put("acme", s.run(fmt.Sprint(i), []processregistry.Status{processregistry.Completed, processregistry.Running}[i/9]))
	}
	first.Put("acme", s.run("waits", processregistry.Suspended))
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually := func(want ...string) {
		t.Helper()
		r := s.open(processregistry.Options{Keep: time.Hour, MaxRuns: 4})
		r.Put("acme", s.run("new", processregistry.Completed))
		var got []string
		for range 500 {
			if got = list(t, r, processregistry.Filter{}); slices.Equal(got, want) {
				return
			}
			time.Sleep(2 * time.Millisecond)
		}
		t.Errorf("kept %q, want %q", got, want)
	}
	eventually("new", "waits", "9", "8", "7", "6") // three and the new one have ended; the others are under way
	s.clock.advance(2 * time.Hour)
	eventually("new", "waits") // which waits for as long as it does
}

// What cannot be written is tried again, and said; runs go on.
func TestStoreFails(t *testing.T) {
	s := newSite(t, memdocs.New())
	var broken atomic.Bool
	broken.Store(true)
	told := make(chan error, 100)
	r := s.open(processregistry.Options{TTL: 40 * time.Millisecond, Failed: func(err error, runs int) {
		if runs != 1 {
			t.Errorf("%d runs", runs)
		}
		told <- err
	}, Store: func(context.Context) (*datastore.Store, error) {
		if broken.Load() {
			return nil, &kernel.Error{Code: kernel.CodeUnavailable, What: "the disk is full"}
		}
		return s.store, nil
	}})
	r.Put("acme", s.run("1", processregistry.Running))
	if err := <-told; !strings.Contains(err.Error(), "the disk is full") {
		t.Error(err)
	}
	if got := status(t, r, "1"); got != processregistry.Running {
		t.Error(got)
	}
	broken.Store(false)
	wantIDs(t, list(t, r, processregistry.Filter{}), "1")
}

func call(t *testing.T, r *processregistry.Registry, tenant, op, args string) (*kernel.PortReply, error) {
	t.Helper()
	v, err := kernel.DecodeJSON([]byte(args))
	if err != nil {
		t.Fatal(err)
	}
	fields, _ := v.(map[string]any)
	for _, o := range r.Ops() {
		if o.Name == op {
			return o.Func(kernel.WithRun(t.Context(), &kernel.RunContext{Tenant: tenant}), &kernel.PortCall{Op: op, Args: fields})
		}
	}
	t.Fatalf("there is no %s", op)
	return nil, nil
}

func TestOps(t *testing.T) {
	s := newSite(t, memdocs.New())
	r := s.open(processregistry.Options{})
	labels, err := kernel.NewLabels(kernel.Untrusted, kernel.Public, "http:x")
	if err != nil {
		t.Fatal(err)
	}
	p := s.run("1", processregistry.Failed)
	p.Ended, p.Origin = p.Started.Add(1500*time.Millisecond), kernel.Origin{RefID: "7", RefType: "order"}
	p.Error = &kernel.Error{Code: kernel.CodeTimeout, What: "too slow", Where: kernel.Where{File: "/etc/secret"}}
	p.SetOutput(map[string]any{"n": "x"}, labels)
	r.Put("acme", p)
	reply, err := call(t, r, "acme", "process_registry.get", `{"run_id": "1", "results": true}`)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"run_id": "1", "pipeline_name": "orders", "status": "failed", "parent_run_id": nil, "ref_id": "7", "ref_type": "order", "started_at": "2026-11-20T12:00:01Z", "completed_at": "2026-11-20T12:00:02.5Z",
		"duration_ms": kernel.Number(1500), "error": "too slow", "error_code": "timeout", "output": map[string]any{"n": "x"}, "output_omitted": false,
	}
	if diff := cmp.Diff(want, reply.Value); diff != "" {
		t.Error(diff)
	}
	if reply.Labels.Integrity() != kernel.Untrusted {
		t.Error("what another run was told is trusted")
	}
	reply, err = call(t, r, "acme", "process_registry.list_by_ref", `{"ref_id": "7"}`)
	if err != nil {
		t.Fatal(err)
	}
	fields, _ := reply.Value.(map[string]any)
	if runs, _ := fields["runs"].([]any); len(runs) != 1 {
		t.Errorf("%v", reply.Value)
	}
	if text := fmt.Sprint(reply.Value); strings.Contains(text, "too slow") || strings.Contains(text, "secret") {
		t.Errorf("a list tells %s", text)
	}
	for args, says := range map[string]string{
		`{"run_id": 1}`:                     "run_id must be a text",
		`{"run_id": "1", "x": 1}`:           "unknown argument x; it takes run_id, results",
		`{"run_id": "2"}`:                   "Unknown run ID 2",
		`{"run_id": "1", "results": "yes"}`: "results must be true or false",
	} {
		if _, err := call(t, r, "acme", "process_registry.get", args); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", args, err)
		}
	}
	if _, err := call(t, r, "bob", "process_registry.get", `{"run_id": "1"}`); kernel.CodeOf(err) != kernel.CodeNotFound {
		t.Error(err)
	}
	for args, says := range map[string]string{`{"status": "sleeping"}`: "there is no status sleeping; known are running", `{"limit": 0}`: "limit must be a whole number, from 1 to 500"} {
		if _, err := call(t, r, "acme", "process_registry.list", args); kernel.CodeOf(err) != kernel.CodeArguments || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", args, err)
		}
	}
	if _, err := call(t, r, "acme", "process_registry.list_by_ref", `{"ref_id": ""}`); kernel.CodeOf(err) != kernel.CodeArguments {
		t.Error(err)
	}
}

// What a run pays for being registered.
func BenchmarkPut(b *testing.B) {
	file, err := sqlitedocs.Open(b.Context(), filepath.Join(b.TempDir(), "d.db"))
	if err != nil {
		b.Fatal(err)
	}
	store := datastore.New(file)
	defer store.Close()
	r := processregistry.New(processregistry.Options{Store: func(context.Context) (*datastore.Store, error) { return store, nil }})
	defer r.Close(context.Background())
	for i := 0; b.Loop(); i++ {
		r.Put("acme", &processregistry.Process{RunID: fmt.Sprint(i), Pipeline: "orders", Status: processregistry.Completed, Started: time.Now()})
	}
}
