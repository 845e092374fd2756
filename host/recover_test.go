package host_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/journal/memjournal"
	"github.com/hexdag/hexdag/host/kernel"
)

// ledger is a port whose calls cannot be told apart: adding twice adds twice.
type ledger struct {
	mu    sync.Mutex
	added []string
}

func (l *ledger) add(_ context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.added = append(l.added, fmt.Sprint(call.Args["item"]))
	return &kernel.PortReply{Value: map[string]any{"added": call.Args["item"]}}, nil
}

func (l *ledger) items() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(slices.Values(l.added))
}

// durable is a site whose runs are recorded in journals that several hosts share.
type durable struct {
	site
	journals *memjournal.Server
	fn       *worker
}

const durableConfig = `  modules:
    guard: {path: PUPPET, config: {op: metrics.count, args: {name: good}}, grants: [{metrics.count: {name: [good, bad]}}, {database.query: {table: orders}}]}
  hooks: [{module: guard, nodes: [ask, added, locked]}]
  ports:
    llm: {adapter: mock, config: {responses: ["one", "two"]}}
    database: {adapter: memory}
`

// everything is a pipeline that does a bit of all that there is.
var everything = []string{
	`{kind: expression_node, metadata: {name: first}, dependencies: [], spec: {expressions: {when: "now()", total: "1 + 2"}}}`,
	`{kind: llm_node, metadata: {name: ask}, dependencies: [first], spec: {human_message: "how many? {{ first.total }}"}}`,
	`{kind: service_call_node, metadata: {name: added}, dependencies: [ask], spec: {service: ledger, method: add, input_mapping: {item: "'added'"}}}`,
	`{kind: service_call_node, metadata: {name: remembered}, dependencies: [first], spec: {service: memory, method: set, input_mapping: {key: "'k'", value: "first.when"}}}`,
	`{kind: service_call_node, metadata: {name: published}, dependencies: [ask], spec: {service: eventbus, method: publish, input_mapping: {topic: "'orders.new'", data: "ask"}}}`,
	`{kind: service_call_node, metadata: {name: stored}, dependencies: [ask], spec: {service: artifacts, method: store, input_mapping: {name: "'x'", value: "ask"}}}`,
	`{kind: service_call_node, metadata: {name: kept}, dependencies: [ask], spec: {service: pipeline_memory, method: set, input_mapping: {key: "'k'", value: "first.when"}}}`,
	`{kind: composite_node, metadata: {name: loop}, dependencies: [kept], spec: {mode: for-each, items: "[1, 2, 3]", concurrency: 2, body: [{kind: service_call_node, metadata: {name: inner}, spec: {service: ledger, method: add, input_mapping: {item: "'loop' + str($item)"}}}]}}`,
	`{kind: function_node, metadata: {name: code}, dependencies: [added], spec: {fn: work}}`,
	`{kind: service_call_node, metadata: {name: locked}, dependencies: [added], spec: {service: ledger, method: add, lock: only, input_mapping: {item: "'locked'"}}}`,
	`{kind: service_call_node, metadata: {name: again}, dependencies: [loop, locked], spec: {service: pipeline_memory, method: get, input_mapping: {key: "'k'"}}}`,
	`{kind: data_node, metadata: {name: last}, dependencies: [again, code, stored, published, remembered], spec: {output: {said: "{{ ask }}"}}}`,
}

func newDurable(t *testing.T, spec string) *durable {
	t.Helper()
	return &durable{site: newSite(t, spec), journals: memjournal.NewServer(), fn: &worker{}}
}

// host opens a host of its own state, whose ledger is l.
func (d *durable) host(t *testing.T, name string, l *ledger, journals *memjournal.Server) *host.Host {
	t.Helper()
	cfg, err := host.LoadConfig(d.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.State = t.TempDir()
	h, err := host.New(t.Context(), cfg, host.Options{
		Journal: journals.Open(name), Functions: map[string]host.Function{"work": d.fn.work}, Version: "1",
		Ports: []host.PortOp{{Name: "ledger.add", Func: l.add}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close(t.Context()) })
	return h
}

// entries reads a run's journal.
func (d *durable) entries(t *testing.T, run string) []*journal.Entry {
	t.Helper()
	store := d.journals.Open("reader")
	defer store.Close()
	j, err := journal.Read(t.Context(), store, "default", run)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := j.All(t.Context())
	if err != nil || j.Torn != nil {
		t.Fatal(err, j.Torn)
	}
	return entries
}

// died returns journals in which a run's host died after these entries.
func died(t testing.TB, of *driver.Run, entries []*journal.Entry) *memjournal.Server {
	t.Helper()
	s := memjournal.NewServer()
	store := s.Open("dead")
	head := *of
	if err := store.Create(t.Context(), &head); err != nil {
		t.Fatal(err)
	}
	head.Epoch = 1
	w := journal.NewWriter(store, journal.WriterOptions{})
	r := w.Run(&head, 1)
	for _, e := range entries {
		r.Append(*e)
	}
	if err := r.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRecoverAnywhere: wherever a run's host dies, another has the run end as it would have, and does nothing a second time. What
// was under way is told, and done only where that does no harm.
func TestRecoverAnywhere(t *testing.T) {
	d := newDurable(t, durableConfig)
	l := &ledger{}
	h := d.host(t, "first", l, d.journals)
	p := d.load(t, h, everything...)
	whole := p.Run(t.Context(), map[string]any{"id": "1"}, host.RunOptions{Durable: true})
	if whole.Status != engine.Completed {
		t.Fatal(whole.Err)
	}
	all := l.items()
	if want := []string{"added", "locked", "loop1", "loop2", "loop3"}; !slices.Equal(all, want) {
		t.Fatal(all)
	}
	entries := d.entries(t, whole.RunID)
	of := &driver.Run{ID: whole.RunID, Tenant: "default", Pipeline: "test", Version: p.Version, Begun: entries[0].Time}
	step := 1
	if testing.Short() {
		step = 7
	}
	for at := 1; at < len(entries); at += step {
		d.die(t, of, whole, entries[:at], all)
	}
	t.Log(len(entries), "entries")
}

// die has a run's host die after some entries, and looks at what another makes of it.
func (d *durable) die(t *testing.T, of *driver.Run, whole *host.Result, known []*journal.Entry, all []string) {
	t.Helper()
	at := fmt.Sprintf("after %d, %s of %s", len(known), known[len(known)-1].Brief(), known[len(known)-1].Lane)
	l := &ledger{}
	work, asked := d.fn.times.Load(), false
	h := d.host(t, "second", l, died(t, of, known))
	var recovered []*host.Recovered
	if err := h.Recover(t.Context(), host.RunOptions{}, func(r *host.Recovered) { recovered = append(recovered, r) }); err != nil {
		t.Fatal(at, err)
	}
	if len(recovered) != 1 || recovered[0].Err != nil {
		t.Fatalf("%s: %+v", at, recovered)
	}
	r := recovered[0]
	var before []string // what was added, for all that is known
	open := 0
	for _, e := range known {
		item := ""
		if args, ok := e.Args.(map[string]any); ok {
			item = fmt.Sprint(args["item"])
		}
		switch {
		case e.Kind == journal.Call && e.Op == "ledger.add":
			before = append(before, item)
			open++
		case e.Kind == journal.Reply && e.Op == "ledger.add":
			open--
		case e.Kind == journal.Local && e.Op == "fn work":
			work--
		case e.Kind == journal.Reply && e.Op == "llm.complete":
			asked = true
		}
	}
	_ = asked
	now := l.items()
	if open > 0 {
		if r.Result.Status != engine.Failed || kernel.CodeOf(r.Result.Err) != kernel.CodeInFlight {
			t.Errorf("%s: %s %v", at, r.Result.Status, r.Result.Err)
		}
		if !slices.ContainsFunc(r.InFlight, func(c journal.InFlight) bool { return c.Op == "ledger.add" }) {
			t.Errorf("%s: nobody is told: %+v", at, r.InFlight)
		}
		for _, item := range now {
			if slices.Contains(before, item) {
				t.Errorf("%s: %s was added twice", at, item)
			}
		}
		return
	}
	if r.Result.Status != engine.Completed {
		t.Errorf("%s: %s %v", at, r.Result.Status, r.Result.Err)
		return
	}
	if got := slices.Sorted(slices.Values(append(before, now...))); !slices.Equal(got, all) {
		t.Errorf("%s: added %q, before that %q", at, now, before)
	}
	if d.fn.times.Load()-work != 1 {
		t.Errorf("%s: the function worked %d times", at, d.fn.times.Load()-work)
	}
	own := map[string]bool{"first": true, "stored": true, "published": true, "again": true, "code": true}
	for name, v := range whole.NodeResults {
		if got := r.Result.NodeResults[name]; !own[name] && !journal.Equal(v, got) {
			t.Errorf("%s: node %s answers %v, not %v", at, name, got, v)
		}
	}
	first, _ := r.Result.NodeResults["first"].(map[string]any)
	if v := r.Result.NodeResults["again"]; !journal.Equal(v, first["when"]) {
		t.Errorf("%s: what was kept is %v, not %v", at, v, first["when"])
	}
	if r.Result.Usage != whole.Usage || !maps.Equal(r.Result.Counters, whole.Counters) {
		t.Errorf("%s: used %+v and counted %v, not %+v and %v", at, r.Result.Usage, r.Result.Counters, whole.Usage, whole.Counters)
	}
	if text := strings.Join([]string{r.RunID, r.Pipeline}, " "); text != whole.RunID+" test" {
		t.Errorf("%s: %s", at, text)
	}
}
