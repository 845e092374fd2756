package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/journal/memjournal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/eventbus"
)

// until returns a run's entries up to the first that is the last of those that its host lived to write.
func (d *durable) until(t *testing.T, run string, last func(*journal.Entry) bool) []*journal.Entry {
	t.Helper()
	entries := d.entries(t, run)
	i := slices.IndexFunc(entries, last)
	if i < 0 {
		t.Fatal("there is no such entry")
	}
	return entries[:i+1]
}

func isDone(lane string) func(*journal.Entry) bool {
	return func(e *journal.Entry) bool { return e.Kind == journal.Done && e.Lane == lane }
}

// headOf is what a store knows of a run with these entries.
func headOf(entries []*journal.Entry) *driver.Run {
	head := entries[0].Head
	return &driver.Run{ID: head.Run, Parent: head.Parent, Tenant: head.Tenant, Pipeline: head.Pipeline, Version: head.Version, Begun: entries[0].Time}
}

// TestRecoverKeys: what a run does after it waited is offered under another key than what it did before, and so is no repetition of it.
func TestRecoverKeys(t *testing.T) {
	calls := `[{op: memory.set, head: {key: k, value: before}}, {op: artifacts.store, head: {name: made, value: 1}}, {op: memory.set, head: {key: k, value: after}}]`
	d := newDurable(t, `  principal: ada
  modules:
    box: {path: `+toolbox(t)+`, grants: `+grantsOfBox+`, config: {tools: {node: {calls: `+calls+`}}}}
  ports:
    governance: `+approving+"\n")
	h := d.host(t, "first", &ledger{}, d.journals)
	p := d.load(t, h, pull("box"))
	r := p.Run(t.Context(), nil, host.RunOptions{Durable: true})
	if r.Status != engine.Suspended {
		t.Fatal(r.Status, r.Err)
	}
	pending, err := h.Approvals().List(t.Context(), host.ApprovalPending)
	if err != nil || len(pending) != 1 {
		t.Fatal(pending, err)
	}
	if _, err := h.Approvals().Answer(t.Context(), pending[0].ID, "bob", true, ""); err != nil {
		t.Fatal(err)
	}
	results, err := h.Signal(t.Context(), kernel.ApprovalKey+pending[0].ID, nil, host.RunOptions{})
	if err != nil || len(results) != 1 || results[0].Status != engine.Completed {
		t.Fatalf("%+v %v", results, err)
	}
	entries := d.entries(t, r.RunID)
	keys := keysOf(t, entries)
	if len(keys) != 3 {
		t.Errorf("%q", keys)
	}
	// Where its host dies behind its second beginning, it counts on from there.
	last := func(e *journal.Entry) bool {
		return e.Kind == journal.Decision && e.Op == "artifacts.store" && e.Failed == nil
	}
	known := d.until(t, r.RunID, last)
	s := died(t, headOf(known), known)
	d.journals = s
	if r, err := d.host(t, "second", &ledger{}, s).RecoverRun(t.Context(), r.RunID, host.RunOptions{}); err != nil {
		t.Fatal(r, err)
	}
	if again := keysOf(t, d.entries(t, r.RunID)); len(again) != len(keys) || !slices.Equal(again, keys[:len(again)]) {
		t.Errorf("%q, then %q", keys, again)
	}
}

// keysOf are the keys of a run's calls, each of its own.
func keysOf(t *testing.T, entries []*journal.Entry) []string {
	t.Helper()
	var keys []string
	for _, e := range entries {
		if e.Kind != journal.Call {
			continue
		}
		if slices.Contains(keys, e.Key) {
			t.Errorf("%s has the key of another, %s", e.Brief(), e.Key)
		}
		keys = append(keys, e.Key)
	}
	return keys
}

// TestRecoverLimits: how often governance allows a run a call, holds over the death of its host.
func TestRecoverLimits(t *testing.T) {
	d := newDurable(t, `  ports:
    governance: {adapter: abac, config: {rules: [
        {id: all, effect: allow, actions: ["**"]},
        {id: few, effect: allow, actions: [ledger.add], obligations: [{type: limit, calls: 2}]}]}}
`)
	l := &ledger{}
	h := d.host(t, "first", l, d.journals)
	add := func(name, deps string) string {
		return `{kind: service_call_node, metadata: {name: ` + name + `}, dependencies: [` + deps + `], spec: {service: ledger, method: add, input_mapping: {item: "'` + name + `'"}}}`
	}
	p := d.load(t, h, add("one", ""), add("two", "one"), add("three", "two"))
	whole := p.Run(t.Context(), nil, host.RunOptions{Durable: true})
	if kernel.CodeOf(whole.Err) != kernel.CodeLimit || len(l.items()) != 2 {
		t.Fatal(whole.Err, l.items())
	}
	known := d.until(t, whole.RunID, isDone("two"))
	again := &ledger{}
	r, err := d.host(t, "second", again, died(t, headOf(known), known)).RecoverRun(t.Context(), whole.RunID, host.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if kernel.CodeOf(r.Result.Err) != kernel.CodeLimit || len(again.items()) != 0 {
		t.Error(r.Result.Err, again.items())
	}
}

// TestRecoverBudgets: what modules took of a run's limits of fuel and calls, and how long it has worked, holds over the death of its host.
func TestRecoverBudgets(t *testing.T) {
	spec := func(limits string) string {
		return `  run_limits: {` + limits + `}
  modules:
    box: {path: ` + toolbox(t) + `, grants: ` + grantsOfBox + `, config: {tools: {node: {calls: [{op: metrics.count, head: {name: a, delta: 1}}, {op: metrics.count, head: {name: b, delta: 1}}]}}}}
`
	}
	box := func(name, deps string) string {
		return `{kind: function_node, metadata: {name: ` + name + `}, dependencies: [` + deps + `], spec: {fn: box}}`
	}
	d := newDurable(t, spec("fuel: 1000000000"))
	p := d.load(t, d.host(t, "first", &ledger{}, d.journals), box("one", ""), box("two", "one"))
	whole := p.Run(t.Context(), nil, host.RunOptions{Durable: true})
	if whole.Status != engine.Completed {
		t.Fatal(whole.Err)
	}
	fuel := journal.Ends(d.entries(t, whole.RunID)).Fuel
	all := fuel["one"] + fuel["two"]
	known := d.until(t, whole.RunID, isDone("one"))
	late := slices.Clone(known) // its host had worked on it for an hour
	last := *late[len(late)-1]
	last.Time = last.Time.Add(time.Hour)
	late[len(late)-1] = &last
	for name, test := range map[string]struct {
		limits  string
		entries []*journal.Entry
		code    kernel.Code
		words   string
	}{
		"enough":          {fmt.Sprint("fuel: ", all, ", host_calls: 4, deadline: 2h"), late, "", ""},
		"too little fuel": {fmt.Sprint("fuel: ", all-1), known, kernel.CodeLimit, "fuel"},
		"too few calls":   {"host_calls: 3", known, kernel.CodeFailed, "the run has used up its calls of the host"},
		"too little time": {"deadline: 1h", late, kernel.CodeTimeout, "run_limits.deadline is 1h0m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			text := readFile(t, d.path("hexdag.yaml"))
			d.write(t, "hexdag.yaml", text[:strings.Index(text, "spec:\n")]+"spec:\n"+spec(test.limits))
			r, err := d.host(t, "second", &ledger{}, died(t, headOf(test.entries), test.entries)).RecoverRun(t.Context(), whole.RunID, host.RunOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if kernel.CodeOf(r.Result.Err) != test.code || test.words != "" && !strings.Contains(r.Result.Err.Error(), test.words) {
				t.Errorf("%s %v", r.Result.Status, r.Result.Err)
			}
		})
	}
}

// TestRecoverMasked: a run whose journal does not have what it kept, as a policy masks it, does not go on with something else.
func TestRecoverMasked(t *testing.T) {
	d := newDurable(t, `  ports:
    governance: {adapter: abac, config: {rules: [
        {id: all, effect: allow, actions: ["**"]},
        {id: hidden, effect: allow, actions: [pipeline_memory.set], obligations: [{type: mask, record: ["/args/value"]}]}]}}
`)
	h := d.host(t, "first", &ledger{}, d.journals)
	p := d.load(t, h,
		`{kind: service_call_node, metadata: {name: kept}, dependencies: [], spec: {service: pipeline_memory, method: set, input_mapping: {key: "'k'", value: "'secret'"}}}`,
		`{kind: service_call_node, metadata: {name: again}, dependencies: [kept], spec: {service: pipeline_memory, method: get, input_mapping: {key: "'k'"}}}`)
	whole := p.Run(t.Context(), nil, host.RunOptions{Durable: true})
	if whole.Status != engine.Completed {
		t.Fatal(whole.Err)
	}
	known := d.until(t, whole.RunID, isDone("kept"))
	second := d.host(t, "second", &ledger{}, died(t, headOf(known), known))
	for range 2 { // it stays as it is
		r, err := second.RecoverRun(t.Context(), whole.RunID, host.RunOptions{})
		if err == nil {
			t.Fatalf("%v %v", r.Result.NodeResults, r.Result.Err)
		}
		wantError(t, err, kernel.CodeDiverged, "pipeline_memory.set", "masks", whole.RunID)
	}
}

// TestResumeMasked: what a policy masks of what a run keeps is in no part of its journal, goes on with the run all the same, and is missed where
// that would go on from the journal.
func TestResumeMasked(t *testing.T) {
	d := newDurable(t, `  ports:
    governance: {adapter: abac, config: {rules: [
        {id: all, effect: allow, actions: ["**"]},
        {id: hidden, effect: allow, actions: [pipeline_memory.set], obligations: [{type: mask, record: ["/args/value"]}]}]}}
`)
	h := d.host(t, "first", &ledger{}, d.journals)
	p := d.load(t, h,
		`{kind: service_call_node, metadata: {name: kept}, dependencies: [], spec: {service: pipeline_memory, method: set, input_mapping: {key: "'k'", value: $input}}}`,
		`{kind: service_call_node, metadata: {name: open}, dependencies: [kept], spec: {service: pipeline_memory, method: update, input_mapping: {plain: "'seen'"}}}`,
		`{kind: wait_node, metadata: {name: first}, dependencies: [open], spec: {event_key: first}}`,
		`{kind: wait_node, metadata: {name: second}, dependencies: [first], spec: {event_key: second}}`,
		`{kind: service_call_node, metadata: {name: count}, dependencies: [second], spec: {service: pipeline_memory, method: snapshot}}`)
	input := []any{"s3cr3t"}
	run := p.Run(t.Context(), input, host.RunOptions{Durable: true})
	var err error
	for _, key := range []string{"first", "second"} {
		if run.Status != engine.Suspended {
			t.Fatal(run.Status, run.Err)
		}
		if run, err = h.Resume(t.Context(), run.RunID, key, nil, host.RunOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if kept, _ := run.NodeResults["count"].(map[string]any); run.Status != engine.Completed || kept["plain"] != "seen" || fmt.Sprint(kept["k"]) != "[s3cr3t]" {
		t.Fatalf("%s %v %v", run.Status, run.Err, run.NodeResults)
	}
	var parts []*journal.Entry
	entries := d.entries(t, run.RunID)
	for _, e := range entries {
		if e.Kind == journal.Begin && len(e.Head.Resumption) > 0 {
			parts = append(parts, e)
			if text := string(e.Head.Resumption); strings.Contains(text, `"kept":{"k"`) || !strings.Contains(text, `"plain":"seen"`) || !strings.Contains(text, `"masked":true`) {
				t.Errorf("a part begins with %s", text)
			}
		}
	}
	if len(parts) != 2 {
		t.Fatalf("%d parts", len(parts))
	}
	i := slices.Index(entries, parts[1])
	_, err = d.host(t, "second", &ledger{}, died(t, headOf(entries), entries[:i+1])).RecoverRun(t.Context(), run.RunID, host.RunOptions{})
	wantError(t, err, kernel.CodeDiverged, "pipeline_memory", "masks", run.RunID)
}

// TestRecoverCached: what a composite node answers is not kept where it changed something before its host died.
func TestRecoverCached(t *testing.T) {
	d := newDurable(t, `  ports: {artifacts: {adapter: memory}}
`)
	h := d.host(t, "first", &ledger{}, d.journals)
	nodes := []string{`{kind: composite_node, metadata: {name: loop}, dependencies: [], spec: {cache: true, mode: for-each, items: "[1]", body: [{kind: service_call_node, metadata: {name: inner}, spec: {service: ledger, method: add, input_mapping: {item: "'x'"}}}, {kind: expression_node, metadata: {name: end}, dependencies: [inner], spec: {expressions: {n: "1"}}}]}}`}
	p := d.load(t, h, nodes...)
	whole := p.Run(t.Context(), nil, host.RunOptions{Durable: true})
	if whole.Status != engine.Completed {
		t.Fatal(whole.Err)
	}
	entries := d.entries(t, whole.RunID)
	i := slices.IndexFunc(entries, func(e *journal.Entry) bool { return e.Kind == journal.Done && strings.HasSuffix(e.Lane, "/inner") })
	known := entries[:i+1]
	l := &ledger{}
	second := d.host(t, "second", l, died(t, headOf(known), known))
	r, err := second.RecoverRun(t.Context(), whole.RunID, host.RunOptions{})
	if err != nil || r.Result.Status != engine.Completed || len(l.items()) != 0 {
		t.Fatal(err, r, l.items())
	}
	if next := d.load(t, second, nodes...).Run(t.Context(), nil, host.RunOptions{}); next.Status != engine.Completed || len(l.items()) != 1 {
		t.Error("another run does without its effects:", next.Err, l.items())
	}
}

// TestRecoverOrphans: what a run had started, and begins anew, does not go on beside that, nor does what that had started.
func TestRecoverOrphans(t *testing.T) {
	d := newDurable(t, "  ports: {}\n")
	h := d.host(t, "first", &ledger{}, d.journals)
	p := d.load(t, h, `{kind: service_call_node, metadata: {name: add}, dependencies: [], spec: {service: ledger, method: add, input_mapping: {item: "'x'"}}}`)
	var runs [][]*journal.Entry
	parent := ""
	for i := range 3 {
		whole := p.Run(t.Context(), nil, host.RunOptions{Durable: true})
		first := *d.entries(t, whole.RunID)[0]
		head := *first.Head
		head.Parent, first.Head, parent = parent, &head, whole.RunID
		first.Time = first.Time.Add(time.Duration(i) * time.Second)
		runs = append(runs, []*journal.Entry{&first})
	}
	l := &ledger{}
	var recovered []string
	err := d.host(t, "second", l, diedTogether(t, runs)).Recover(t.Context(), host.RunOptions{}, func(r *host.Recovered) { recovered = append(recovered, r.RunID) })
	if err != nil || len(recovered) != 1 || recovered[0] != runs[0][0].Head.Run || len(l.items()) != 1 {
		t.Error(err, recovered, l.items())
	}
	// So it is where one is named.
	h = d.host(t, "third", l, diedTogether(t, runs))
	_, err = h.RecoverRun(t.Context(), runs[1][0].Head.Run, host.RunOptions{})
	wantError(t, err, kernel.CodeFenced, "the run does not go on by itself", runs[0][0].Head.Run)
	if r, err := h.RecoverRun(t.Context(), runs[0][0].Head.Run, host.RunOptions{}); err != nil || r.Result.Status != engine.Completed {
		t.Fatal(err)
	}
	if err := h.Recover(t.Context(), host.RunOptions{}, func(r *host.Recovered) { t.Errorf("%+v", r) }); err != nil || len(l.items()) != 2 {
		t.Error(err, l.items())
	}
}

// diedTogether returns journals of runs whose host died with all of them.
func diedTogether(t *testing.T, runs [][]*journal.Entry) *memjournal.Server {
	t.Helper()
	s := memjournal.NewServer()
	store := s.Open("dead")
	w := journal.NewWriter(store, journal.WriterOptions{})
	for _, entries := range runs {
		head := headOf(entries)
		if err := store.Create(t.Context(), head); err != nil {
			t.Fatal(err)
		}
		r := w.Run(head, 1)
		for _, e := range entries {
			r.Append(*e)
		}
		if err := r.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(t.Context()), store.Close()); err != nil {
		t.Fatal(err)
	}
	return s
}

// stopping is a store that is read while somebody stops the reader.
type stopping struct{ driver.Store }

func (s stopping) Chunks(context.Context, string, string) iter.Seq2[driver.Chunk, error] {
	return func(yield func(driver.Chunk, error) bool) {
		yield(driver.Chunk{}, &kernel.Error{Code: kernel.CodeCanceled, What: "canceled"})
	}
}

// TestRecoverStopped: a recovery that is stopped while it reads leaves the run as it is.
func TestRecoverStopped(t *testing.T) {
	d := newDurable(t, "  ports: {}\n")
	p := d.load(t, d.host(t, "first", &ledger{}, d.journals), `{kind: expression_node, metadata: {name: a}, dependencies: [], spec: {expressions: {n: "1"}}}`)
	whole := p.Run(t.Context(), nil, host.RunOptions{Durable: true})
	entries := d.entries(t, whole.RunID)[:1]
	s := died(t, headOf(entries), entries)
	cfg, err := host.LoadConfig(d.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.State = t.TempDir()
	h, err := host.New(t.Context(), cfg, host.Options{Journal: stopping{s.Open("second")}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.RecoverRun(t.Context(), whole.RunID, host.RunOptions{})
	wantError(t, err, kernel.CodeCanceled, whole.RunID)
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := d.host(t, "third", &ledger{}, s).RecoverRun(t.Context(), whole.RunID, host.RunOptions{})
	if err != nil || r.Result.Status != engine.Completed {
		t.Error(fmt.Sprint(r), err)
	}
}

// TestRecoverPanicked: what a node does after a port of the program has panicked is recorded as all else.
func TestRecoverPanicked(t *testing.T) {
	d := newDurable(t, "  ports: {}\n")
	times := 0
	cfg, err := host.LoadConfig(d.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.State = t.TempDir()
	h, err := host.New(t.Context(), cfg, host.Options{Journal: d.journals.Open("first"), Ports: []host.PortOp{{Name: "ledger.add", Func: func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
		if times++; times == 1 {
			panic("no")
		}
		return &kernel.PortReply{Value: "added"}, nil
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close(t.Context()) })
	p := d.load(t, h, `{kind: service_call_node, metadata: {name: add}, dependencies: [], spec: {service: ledger, method: add, max_retries: 3, retry_delay: 0.001, input_mapping: {item: "'x'"}}}`)
	r := p.Run(t.Context(), nil, host.RunOptions{Durable: true})
	if r.Status != engine.Completed || times != 2 {
		t.Fatal(r.Err, times)
	}
	entries := d.entries(t, r.RunID)
	if !slices.ContainsFunc(entries, isDone("add")) || len(keysOf(t, entries)) != 2 || len(journal.UnderWay(entries)) > 0 {
		t.Error(len(entries), keysOf(t, entries), journal.UnderWay(entries))
	}
	if again, err := d.replayer(t, host.ReplayOptions{}).Run(t.Context(), r.RunID); err != nil || !again.Same {
		t.Errorf("%+v %v", again, err)
	}
}

// synced is a sink that says how many entries are on the disk.
type synced struct {
	journal.Taken
	durable int
}

func (s *synced) Sync(context.Context) error {
	s.durable = len(s.Entries())
	return nil
}

// TestRecoverApproval: that an approval was used up is on the disk before the call that it was for.
func TestRecoverApproval(t *testing.T) {
	for effect, durable := range map[kernel.Effect]int{kernel.Approve: 1, kernel.Allow: 0} {
		s := &synced{}
		lane := journal.Record(&kernel.RunContext{RunID: "r"}, s).Lane("n")
		_, _, err := lane.Decide(t.Context(), "memory.get", func() (kernel.Decision, error) { return kernel.Decision{Effect: effect}, nil })
		if err != nil || s.durable != durable {
			t.Error(effect, err, s.durable)
		}
	}
}

// TestRecoverHeld: where a node that is done had acquired a lock for those after it, they do not go on without. What a node's spec locks
// is acquired again, and so is nothing where nothing was acquired.
func TestRecoverHeld(t *testing.T) {
	d := newDurable(t, "  ports: {}\n")
	acquire := `{kind: service_call_node, metadata: {name: held}, dependencies: [], spec: {service: lock, method: acquire, input_mapping: {name: "'orders'"}}}`
	release := `{kind: service_call_node, metadata: {name: free}, dependencies: [add], spec: {service: lock, method: release, input_mapping: {name: "'orders'"}}}`
	spec := `{kind: service_call_node, metadata: {name: held}, dependencies: [], spec: {service: ledger, method: add, lock: orders, input_mapping: {item: "'held'"}}}`
	add := `{kind: service_call_node, metadata: {name: add}, dependencies: [held], spec: {service: ledger, method: add, input_mapping: {item: "'x'"}}}`
	for name, tc := range map[string]struct {
		nodes []string
		last  string
		lost  bool
	}{
		"held":     {[]string{acquire, add, release}, "held", true},
		"released": {[]string{acquire, add, release, `{kind: expression_node, metadata: {name: end}, dependencies: [free], spec: {expressions: {n: "1"}}}`}, "free", false},
		"a spec's": {[]string{spec, add}, "held", false},
	} {
		h := d.host(t, "first "+name, &ledger{}, d.journals)
		whole := d.load(t, h, tc.nodes...).Run(t.Context(), nil, host.RunOptions{Durable: true})
		if whole.Status != engine.Completed {
			t.Fatal(name, whole.Err)
		}
		known := d.until(t, whole.RunID, isDone(tc.last))
		l := &ledger{}
		r, err := d.host(t, "second", l, died(t, headOf(known), known)).RecoverRun(t.Context(), whole.RunID, host.RunOptions{})
		switch {
		case tc.lost:
			if kernel.CodeOf(err) != kernel.CodeLockLost || len(l.items()) > 0 {
				t.Error(name, err, l.items())
			}
		case err != nil || r.Result.Status != engine.Completed:
			t.Error(name, err, r)
		}
	}
}

// TestRecoverFenced: a host that another has taken a run from does not tell that the run has ended.
func TestRecoverFenced(t *testing.T) {
	d := newDurable(t, "  ports: {}\n")
	cfg, err := host.LoadConfig(d.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.State = t.TempDir()
	other := d.journals.Open("other")
	defer other.Close()
	h, err := host.New(t.Context(), cfg, host.Options{Journal: d.journals.Open("first"), Ports: []host.PortOp{{Name: "ledger.add", Func: func(ctx context.Context, _ *kernel.PortCall) (*kernel.PortReply, error) {
		_, err := other.Claim(ctx, "default", kernel.RunFrom(ctx).RunID, true)
		return &kernel.PortReply{}, err
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close(t.Context()) })
	p := d.load(t, h, `{kind: service_call_node, metadata: {name: add}, dependencies: [], spec: {service: ledger, method: add, input_mapping: {item: "'x'"}}}`)
	r := p.Run(t.Context(), nil, host.RunOptions{Durable: true})
	wantError(t, r.Err, kernel.CodeFenced)
	events, err := h.Bus().Read(t.Context(), h.Tenant(), []string{"hexdag.pipeline.>"}, eventbus.Start{Beginning: true}, 10)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, e := range events {
		told = append(told, e.Topic)
	}
	if !slices.Equal(told, []string{"hexdag.pipeline.test.started"}) {
		t.Errorf("%q", told)
	}
}

// TestEndIsTold: a host that dies when a run is over, and before it could say so, has another say it, once.
func TestEndIsTold(t *testing.T) {
	d := newDurable(t, durableConfig+"    eventbus: {adapter: nats}\n")
	h := d.host(t, "first", &ledger{}, d.journals)
	p := d.load(t, h, `{kind: llm_node, metadata: {name: ask}, spec: {human_message: hello}}`)
	whole := p.Run(t.Context(), map[string]any{"id": "1"}, host.RunOptions{Durable: true})
	if whole.Status != engine.Completed {
		t.Fatal(whole.Err)
	}
	ends := func(h *host.Host) (found []*eventbus.Event) {
		t.Helper()
		events, err := h.Bus().Read(t.Context(), h.Tenant(), []string{eventbus.HostTopics + "pipeline.test.completed"}, eventbus.Start{Beginning: true}, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.RunID == whole.RunID {
				found = append(found, e)
			}
		}
		return found
	}
	told := ends(h)
	if len(told) != 1 {
		t.Fatalf("told %d times", len(told))
	}
	entries := d.entries(t, whole.RunID)
	of := &driver.Run{ID: whole.RunID, Tenant: "default", Pipeline: "test", Version: p.Version, Begun: entries[0].Time}
	second := d.host(t, "second", &ledger{}, died(t, of, entries))
	for range 2 {
		var recovered []*host.Recovered
		if err := second.Recover(t.Context(), host.RunOptions{}, func(r *host.Recovered) { recovered = append(recovered, r) }); err != nil {
			t.Fatal(err)
		}
		for _, r := range recovered {
			if r.Err != nil || r.Result.Status != engine.Completed || !journal.Equal(objectOf(r.Result.NodeResults), objectOf(whole.NodeResults)) {
				t.Errorf("%v %+v", r.Err, r.Result)
			}
		}
	}
	again := ends(second)
	if len(again) != 1 || again[0].ID != told[0].ID {
		t.Fatalf("the second host told %d times", len(again))
	}
	was, is := map[string]any{}, map[string]any{}
	if err := errors.Join(json.Unmarshal(told[0].Data, &was), json.Unmarshal(again[0].Data, &is)); err != nil {
		t.Fatal(err)
	}
	delete(was, "duration_ms")
	delete(is, "duration_ms")
	if !reflect.DeepEqual(was, is) {
		t.Errorf("it was told as %v, and is as %v", was, is)
	}
}

func objectOf(fields map[string]kernel.Value) kernel.Value { return fields }

// TestRunID: a durable run of which there is a journal is not begun again, and an id is no path.
func TestRunID(t *testing.T) {
	d := newDurable(t, durableConfig)
	l := &ledger{}
	h := d.host(t, "first", l, d.journals)
	p := d.load(t, h, `{kind: service_call_node, metadata: {name: added}, spec: {service: ledger, method: add, input_mapping: {item: "'x'"}}}`)
	if r := p.Run(t.Context(), nil, host.RunOptions{Durable: true, RunID: "order-1"}); r.Err != nil || r.RunID != "order-1" {
		t.Fatal(r.RunID, r.Err)
	}
	r := p.Run(t.Context(), nil, host.RunOptions{Durable: true, RunID: "order-1"})
	wantError(t, r.Err, kernel.CodeRunExists, "was begun before", "hexdag journal show order-1")
	if items := l.items(); len(items) != 1 {
		t.Error(items)
	}
	for _, id := range []string{"../x", "a/b", ".", "a b", strings.Repeat("a", 129)} {
		r := p.Run(t.Context(), nil, host.RunOptions{RunID: id})
		wantError(t, r.Err, kernel.CodeInput, "the run's id cannot be used", "leave it out")
	}
}

// TestRecoverOwn: a run that this host works on is not taken from it, and not begun a second time.
func TestRecoverOwn(t *testing.T) {
	d := newDurable(t, durableConfig)
	cfg, err := host.LoadConfig(d.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.State = t.TempDir()
	entered, leave := make(chan struct{}), make(chan struct{})
	h, err := host.New(t.Context(), cfg, host.Options{Journal: d.journals.Open("first"), Durable: true, Functions: map[string]host.Function{"work": func(context.Context, *kernel.NodeCall) (kernel.Value, error) {
		close(entered)
		<-leave
		return true, nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close(t.Context()) })
	p := d.load(t, h, `{kind: function_node, metadata: {name: code}, spec: {fn: work}}`)
	done := make(chan *host.Result)
	go func() { done <- p.Run(t.Context(), nil, host.RunOptions{RunID: "order-1"}) }()
	<-entered
	_, err = h.RecoverRun(t.Context(), "order-1", host.RunOptions{})
	wantError(t, err, kernel.CodeFenced, "the run goes on already", "this host works on it")
	wantError(t, p.Run(t.Context(), nil, host.RunOptions{RunID: "order-1"}).Err, kernel.CodeRunExists, "was begun before")
	if err := h.Recover(t.Context(), host.RunOptions{}, func(r *host.Recovered) { t.Errorf("it was taken: %+v", r) }); err != nil {
		t.Error(err)
	}
	close(leave)
	if r := <-done; r.Err != nil {
		t.Error(r.Err)
	}
	_, err = h.RecoverRun(t.Context(), "order-1", host.RunOptions{})
	wantError(t, err, kernel.CodeNotFound, "has ended already")
}
