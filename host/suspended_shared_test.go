package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/journal/memjournal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testenv"
	"github.com/hexdag/hexdag/host/testserver"
)

// machines are hosts with a state folder each, that share journals and approvals. Of those that share a file one is open at a time.
type machines struct {
	site
	together bool
	ledger   ledger
	last     *host.Host
	states   []string
}

// onMachines tests with journals in a file, and in a database.
func onMachines(t *testing.T, spec string, test func(t *testing.T, m *machines)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		shared := t.TempDir()
		test(t, &machines{site: newSite(t, spec+"  journal: {config: {path: '"+filepath.Join(shared, "journal.db")+"'}}\n  approvals: {config: {path: '"+filepath.Join(shared, "approvals.db")+"'}}\n")})
	})
	t.Run("postgres", func(t *testing.T) {
		_, url := testserver.Postgres(t)
		at := "{adapter: postgres, config: {url: '" + url + "'}}\n"
		test(t, &machines{site: newSite(t, spec+"  journal: "+at+"  approvals: "+at), together: true})
	})
}

// next opens the host of another machine.
func (m *machines) next(t *testing.T) *host.Host {
	t.Helper()
	if m.last != nil && !m.together {
		if err := m.last.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := host.LoadConfig(m.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.State = t.TempDir()
	m.states = append(m.states, cfg.State)
	h, err := host.New(t.Context(), cfg, host.Options{Ports: []host.PortOp{{Name: "ledger.add", Func: m.ledger.add}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close(context.Background()) })
	m.last = h
	return h
}

// suspends runs a pipeline, of which the file is gone then, as it is at another machine.
func (m *machines) suspends(t *testing.T, h *host.Host, opts host.RunOptions, nodes ...string) *host.Result {
	t.Helper()
	p := m.load(t, h, nodes...)
	defer p.Close(t.Context())
	opts.Durable = true
	r := p.Run(t.Context(), map[string]any{"id": 7}, opts)
	if r.Status != engine.Suspended || len(r.Waits) == 0 {
		t.Fatalf("%s %v", r.Status, r.Err)
	}
	if err := os.Remove(m.path("pipeline.yaml")); err != nil {
		t.Fatal(err)
	}
	for _, state := range m.states {
		if files, _ := filepath.Glob(filepath.Join(state, "suspended/*")); len(files) > 0 {
			t.Errorf("a file has what it waits with: %v", files)
		}
	}
	return r
}

// waits checks which runs wait, as a host sees it.
func waits(t *testing.T, h *host.Host, runs ...string) {
	t.Helper()
	list, err := h.Waiting()
	var got []string
	for _, w := range list {
		got = append(got, w.RunID)
		if w.Pipeline == "" || !filepath.IsAbs(w.File) || len(w.Waits) == 0 {
			t.Errorf("%+v", w)
		}
	}
	if err != nil || !slices.Equal(got, runs) {
		t.Errorf("%v wait, not %v: %v", got, runs, err)
	}
}

// waiter are nodes around a wait for EVENT, of which the first keeps something, and the last says what there is.
var waiter = []string{
	addsTo("before"),
	`{kind: service_call_node, metadata: {name: kept}, dependencies: [before], spec: {service: pipeline_memory, method: set, input_mapping: {key: "'k'", value: "'v'"}}}`,
	`{kind: wait_node, metadata: {name: event}, dependencies: [kept], spec: {event_key: "order:{{ $input.id }}"}}`,
	addsTo("after", "event"),
	`{kind: service_call_node, metadata: {name: memory}, dependencies: [after], spec: {service: pipeline_memory, method: get, input_mapping: {key: "'k'"}}}`,
	`{kind: data_node, metadata: {name: last}, dependencies: [memory, event], spec: {output: {said: "{{ event.by }} {{ memory }} {{ $input.id }}"}}}`,
}

func addsTo(name string, after ...string) string {
	return fmt.Sprintf(`{kind: service_call_node, metadata: {name: %[1]s}, dependencies: [%[2]s], spec: {service: ledger, method: add, input_mapping: {item: "'%[1]s'"}}}`, name, strings.Join(after, ", "))
}

// said is what the last node of waiter says, once all was done once.
func (m *machines) said(t *testing.T, r *host.Result, want string) {
	t.Helper()
	if r == nil || r.Status != engine.Completed {
		t.Fatalf("%+v", r)
	}
	if got, _ := kernel.Field(r.NodeResults["last"], "said"); got != want {
		t.Errorf("it says %v, not %s", got, want)
	}
	if items := m.ledger.items(); !slices.Equal(items, []string{"after", "before"}) {
		t.Errorf("done: %v", items)
	}
}

// A run that waits for an event goes on where that comes, from what its journal has, and is done again from there.
func TestEventAtAnotherMachine(t *testing.T) {
	onMachines(t, "", func(t *testing.T, m *machines) {
		r := m.suspends(t, m.next(t), host.RunOptions{Labels: map[string]string{"team": "a"}}, waiter...)
		h := m.next(t)
		waits(t, h, r.RunID)
		if _, err := h.Resume(t.Context(), r.RunID, "order:8", nil, host.RunOptions{}); kernel.CodeOf(err) != kernel.CodeNotFound || !strings.Contains(err.Error(), "order:7") {
			t.Errorf("another's event: %v", err)
		}
		if results, err := h.Signal(t.Context(), "order:8", nil, host.RunOptions{}); err != nil || len(results) > 0 {
			t.Errorf("%+v %v", results, err)
		}
		results, err := h.Signal(t.Context(), "order:7", map[string]any{"by": "Ann"}, host.RunOptions{})
		if err != nil || len(results) != 1 || results[0].RunID != r.RunID {
			t.Fatalf("%+v %v", results, err)
		}
		m.said(t, results[0], "Ann v 7")
		waits(t, h)
		if _, err := h.Resume(t.Context(), r.RunID, "", nil, host.RunOptions{}); kernel.CodeOf(err) != kernel.CodeNotFound {
			t.Errorf("gone on with twice: %v", err)
		}
		m.replayed(t, r.RunID)
		cfg, err := host.LoadConfig(m.path("hexdag.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		j, err := host.OpenJournal(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		read, err := journal.Read(t.Context(), j, "default", r.RunID)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := read.All(t.Context())
		if err != nil || len(journal.Parts(entries)) != 2 {
			t.Fatalf("%d entries, %v", len(entries), err)
		}
		paused := 0
		for _, e := range entries {
			if e.Kind == journal.End && len(e.Pause) > 0 {
				paused++
				if e.Status != "suspended" || e.Head.Run != r.RunID || len(e.Head.Resumption) > 0 {
					t.Errorf("%+v", e.Head)
				}
			}
		}
		if paused != 1 {
			t.Errorf("%d parts end with what goes on", paused)
		}
		// What it went on with is taken out like the rest.
		if n, _, err := journal.Redact(t.Context(), j, "default", r.RunID, journal.Redaction{}); err != nil || n == 0 {
			t.Fatal(n, err)
		}
		for e, err := range read.Entries(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if text, _ := e.AppendJSON(nil); e.Kind == journal.End && strings.Contains(string(text), `"kept"`) {
				t.Errorf("%s", text)
			}
		}
	})
}

// A run waits again and again, at one machine after the other, for what is inside of a body, too.
func TestWaitsOfManyMachines(t *testing.T) {
	onMachines(t, "", func(t *testing.T, m *machines) {
		r := m.suspends(t, m.next(t), host.RunOptions{},
			`{kind: composite_node, metadata: {name: each}, dependencies: [], spec: {mode: for-each, items: "[1, 2, 3]", body: [
				{kind: wait_node, metadata: {name: e}, spec: {event_key: "item:{{ $item }}"}},
				{kind: service_call_node, metadata: {name: a}, spec: {service: ledger, method: add, input_mapping: {item: "str($item) + e.by"}}}]}}`)
		for i, by := range []string{"x", "y", "z"} {
			h := m.next(t)
			waits(t, h, r.RunID)
			results, err := h.Signal(t.Context(), fmt.Sprint("item:", 3-i), map[string]any{"by": by}, host.RunOptions{})
			if err != nil || len(results) != 1 {
				t.Fatalf("%+v %v", results, err)
			}
			if want := map[bool]engine.Status{true: engine.Completed, false: engine.Suspended}[i == 2]; results[0].Status != want {
				t.Fatalf("%s %v", results[0].Status, results[0].Err)
			}
			waits(t, h, map[bool][]string{false: {r.RunID}}[i == 2]...)
		}
		if items := m.ledger.items(); !slices.Equal(items, []string{"1z", "2y", "3x"}) {
			t.Errorf("done: %v", items)
		}
	})
}

// What a person answers at one machine has a run go on there that waits since another, in the middle of a module.
func TestApprovalAtAnotherMachine(t *testing.T) {
	const calls = `[{op: pipeline_memory.set, head: {key: k, value: 1}}, {op: artifacts.store, head: {name: made, value: 1}}, {op: pipeline_memory.get, head: {key: k}}]`
	onMachines(t, `  principal: ada
  modules:
    box: {path: `+toolbox(t)+`, grants: `+grantsOfBox+`, config: {tools: {node: {calls: `+calls+`}}}}
  ports:
    governance: `+approving+"\n", func(t *testing.T, m *machines) {
		r := m.suspends(t, m.next(t), host.RunOptions{}, addsTo("before"), strings.Replace(pull("box"), "[]", "[before]", 1), addsTo("after", "box"))
		h := m.next(t)
		pending, err := h.Approvals().List(t.Context(), host.ApprovalPending)
		if err != nil || len(pending) != 1 {
			t.Fatalf("%+v %v", pending, err)
		}
		// Before there is an answer it waits as before.
		if again, err := h.Resume(t.Context(), r.RunID, "", nil, host.RunOptions{}); err != nil || again.Status != engine.Suspended {
			t.Fatalf("%+v %v", again, err)
		}
		if _, err := m.next(t).Approvals().Answer(t.Context(), pending[0].ID, "bob", true, ""); err != nil {
			t.Fatal(err)
		}
		results, err := m.next(t).Signal(t.Context(), kernel.ApprovalKey+pending[0].ID, nil, host.RunOptions{})
		if err != nil || len(results) != 1 || results[0].Status != engine.Completed {
			t.Fatalf("%+v %v", results, err)
		}
		if items := m.ledger.items(); !slices.Equal(items, []string{"after", "before"}) {
			t.Errorf("done: %v", items)
		}
	})
}

// What a module asks its client, that answers at another machine, where it asks on.
func TestClientAnswersAtAnotherMachine(t *testing.T) {
	wasm, err := os.ReadFile(toolbox(t))
	if err == nil {
		wasm, err = abi.RemoveCustomSections(wasm, func(name string) bool { return name == abi.ManifestSection })
	}
	if err == nil {
		wasm, err = abi.EmbedManifest(wasm, &abi.Manifest{Name: "box", Version: "1.0.0", Capabilities: []abi.Capability{{Op: "client.ask"}, {Op: "pipeline_memory.set"}}})
	}
	box := filepath.Join(t.TempDir(), "box.wasm")
	if err := errors.Join(err, os.WriteFile(box, wasm, 0o600)); err != nil {
		t.Fatal(err)
	}
	ask := func(of string) string {
		return "{op: client.ask, head: {requests: {user: {kind: elicit, message: '" + of + "', schema: {type: object, properties: {name: {type: string}}}}}}}"
	}
	onMachines(t, `  modules:
    box: {path: `+box+`, grants: [client.ask, pipeline_memory.set], config: {tools: {node: {calls: [`+ask("Who?")+`, `+ask("And who?")+`]}}}}
`, func(t *testing.T, m *machines) {
		r := m.suspends(t, m.next(t), host.RunOptions{Client: kernel.NewClient("elicit")}, pull("box"), addsTo("after", "box"))
		for i, name := range []string{"Ann", "Bob"} {
			if len(r.Waits) != 1 || !strings.HasPrefix(r.Waits[0].EventKey, kernel.InputKey) || r.Waits[0].Asks == nil {
				t.Fatalf("%+v", r.Waits)
			}
			h := m.next(t)
			listed, err := h.Waiting()
			if err != nil || len(listed) != 1 || jsonText(t, listed[0].Waits[0].Asks) != jsonText(t, r.Waits[0].Asks) {
				t.Fatalf("%+v %v", listed, err)
			}
			answer := map[string]any{"user": map[string]any{"action": "accept", "content": map[string]any{"name": name}}}
			if r, err = h.Resume(t.Context(), r.RunID, r.Waits[0].EventKey, answer, host.RunOptions{Client: kernel.NewClient("elicit")}); err != nil {
				t.Fatal(err)
			}
			if want := map[int]engine.Status{0: engine.Suspended, 1: engine.Completed}[i]; r.Status != want {
				t.Fatalf("%s %v", r.Status, r.Err)
			}
		}
		if text := jsonText(t, r.NodeResults["box"]); !strings.Contains(text, "Bob") {
			t.Error(text)
		}
	})
}

// A time to wait that is over has the run go on at whichever host is first, once.
func TestWaitExpiresAtAnotherMachine(t *testing.T) {
	onMachines(t, "", func(t *testing.T, m *machines) {
		r := m.suspends(t, m.next(t), host.RunOptions{},
			`{kind: wait_node, metadata: {name: event}, dependencies: [], spec: {event_key: never, timeout: 60, on_timeout: late}}`, addsTo("late", "event"))
		hosts := []*host.Host{m.next(t)}
		if m.together {
			hosts = append(hosts, m.next(t), m.next(t))
		}
		for _, h := range hosts {
			if results, err := h.Expire(t.Context(), time.Now().Add(50*time.Second), host.RunOptions{}); err != nil || len(results) > 0 {
				t.Errorf("before its time: %+v %v", results, err)
			}
		}
		var mu sync.Mutex
		var all []*host.Result
		var wg sync.WaitGroup
		for range 3 {
			for _, h := range hosts {
				wg.Go(func() {
					results, err := h.Expire(t.Context(), time.Now().Add(time.Hour), host.RunOptions{})
					mu.Lock()
					defer mu.Unlock()
					all = append(all, results...)
					if err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		if len(all) != 1 || all[0].RunID != r.RunID || all[0].Status != engine.Completed {
			t.Errorf("%+v", all)
		}
		if items := m.ledger.items(); !slices.Equal(items, []string{"late"}) {
			t.Errorf("done: %v", items)
		}
	})
}

// Of hosts that have one event for a run one goes on, whoever it is; the others are told that it does not wait.
func TestOneMachineGoesOn(t *testing.T) {
	_, url := testserver.Postgres(t)
	m := &machines{site: newSite(t, "  journal: {adapter: postgres, config: {url: '"+url+"'}}\n"), together: true}
	hosts := []*host.Host{m.next(t), m.next(t), m.next(t)}
	rounds := 30
	if testenv.Race {
		rounds = 10
	}
	for range rounds {
		r := m.suspends(t, hosts[0], host.RunOptions{}, `{kind: wait_node, metadata: {name: event}, dependencies: [], spec: {event_key: now}}`, addsTo("after", "event"))
		before := len(m.ledger.items())
		var mu sync.Mutex
		went := 0
		var wg sync.WaitGroup
		for _, h := range hosts {
			for range 2 {
				wg.Go(func() {
					res, err := h.Resume(t.Context(), r.RunID, "now", nil, host.RunOptions{})
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil && res.Status == engine.Completed:
						went++
					case res != nil || kernel.CodeOf(err) != kernel.CodeNotFound || !strings.Contains(err.Error(), "no run "+r.RunID+" waits"):
						t.Errorf("%+v %v", res, err)
					}
				})
			}
		}
		wg.Wait()
		if did := len(m.ledger.items()) - before; went != 1 || did != 1 {
			t.Fatalf("%d went on, and %d were added", went, did)
		}
	}
}

// dying is a store whose host dies once it has made a run its own.
type dying struct {
	driver.Store
	server *memjournal.Server
	once   sync.Once
}

func (s *dying) Wake(ctx context.Context, tenant, run string, epoch uint64) (*driver.Run, error) {
	head, err := s.Store.Wake(ctx, tenant, run, epoch)
	if err == nil {
		s.once.Do(func() { err = errors.New("the machine is off") })
	}
	return head, err
}

// A run of which a host has died between taking it and going on waits again: for an event that comes, or when it is recovered.
func TestDiesBeforeItGoesOn(t *testing.T) {
	for _, how := range []string{"resume", "signal", "recover"} {
		t.Run(how, func(t *testing.T) {
			d := newDurable(t, "")
			cfg, err := host.LoadConfig(d.path("hexdag.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			cfg.State = t.TempDir()
			added := &ledger{}
			first, err := host.New(t.Context(), cfg, host.Options{Journal: &dying{Store: d.journals.Open("first"), server: d.journals}, Ports: []host.PortOp{{Name: "ledger.add", Func: added.add}}})
			if err != nil {
				t.Fatal(err)
			}
			m := &machines{site: d.site}
			r := m.suspends(t, first, host.RunOptions{}, waiter...)
			if res, err := first.Resume(t.Context(), r.RunID, "", nil, host.RunOptions{}); err == nil || !strings.Contains(err.Error(), "off") {
				t.Fatalf("%+v %v", res, err)
			}
			if err := first.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			h := d.host(t, "second", added, d.journals)
			waits(t, h)
			var results []*host.Result
			switch how {
			case "recover":
				if err := h.Recover(t.Context(), host.RunOptions{}, func(r *host.Recovered) {
					if r.Err != nil || r.Result.Status != engine.Suspended {
						t.Errorf("%+v", r)
					}
				}); err != nil {
					t.Fatal(err)
				}
				waits(t, h, r.RunID)
				fallthrough
			case "signal":
				if results, err = h.Signal(t.Context(), "order:7", map[string]any{"by": "Eve"}, host.RunOptions{}); err != nil || len(results) != 1 {
					t.Fatalf("%+v %v", results, err)
				}
				r = results[0]
			case "resume":
				if r, err = h.Resume(t.Context(), r.RunID, "order:7", map[string]any{"by": "Eve"}, host.RunOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if said, _ := kernel.Field(r.NodeResults["last"], "said"); r.Status != engine.Completed || said != "Eve v 7" || len(added.items()) != 2 {
				t.Errorf("%s %v %v", r.Status, said, added.items())
			}
		})
	}
}

// What the journal has of the end, but not that the run waits, is told by who recovers it.
func TestDiesBeforeItWaits(t *testing.T) {
	d := newDurable(t, "")
	r := d.load(t, d.host(t, "first", &ledger{}, d.journals), waiter...).Run(t.Context(), map[string]any{"id": 7}, host.RunOptions{Durable: true})
	entries := d.entries(t, r.RunID)
	added := &ledger{}
	second := d.host(t, "second", added, died(t, headOf(entries), entries))
	waits(t, second)
	if got, err := second.RecoverRun(t.Context(), r.RunID, host.RunOptions{}); err != nil || got.Result.Status != engine.Suspended {
		t.Fatalf("%+v %v", got, err)
	}
	waits(t, second, r.RunID)
	res, err := second.Resume(t.Context(), r.RunID, "", map[string]any{"by": "Eve"}, host.RunOptions{})
	if err != nil || res.Status != engine.Completed || !slices.Equal(added.items(), []string{"after"}) {
		t.Errorf("%+v %v %v", res, err, added.items())
	}
}

// forgetful is a store as earlier versions use it: it is not told what runs wait for.
type forgetful struct{ driver.Store }

func (s forgetful) Append(ctx context.Context, chunks []driver.Chunk) ([]error, error) {
	for i := range chunks {
		chunks[i].Waits = nil
	}
	return s.Store.Append(ctx, chunks)
}

// A file of an earlier version is read, and its run goes on; from the next time on it waits in its journal.
func TestFileOfAnEarlierVersion(t *testing.T) {
	d := newDurable(t, "")
	cfg, err := host.LoadConfig(d.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.State = t.TempDir()
	added := &ledger{}
	old, err := host.New(t.Context(), cfg, host.Options{Journal: forgetful{d.journals.Open("old")}, Ports: []host.PortOp{{Name: "ledger.add", Func: added.add}}})
	if err != nil {
		t.Fatal(err)
	}
	nodes := slices.Concat(waiter, []string{`{kind: wait_node, metadata: {name: more}, dependencies: [last], spec: {event_key: more}}`})
	r := d.load(t, old, nodes...).Run(t.Context(), map[string]any{"id": 7}, host.RunOptions{Durable: true})
	if err := old.Close(t.Context()); err != nil || r.Status != engine.Suspended {
		t.Fatal(r.Err, err)
	}
	file := filepath.Join(cfg.State, "suspended", r.RunID+".json")
	text, err := json.Marshal(map[string]any{
		"version": 5, "run_id": r.RunID, "file": d.path("pipeline.yaml"), "pipeline": "test", "tenant": "default", "principal": "local", "caps": map[string]any{}, "durable": true, "since": time.Now(),
		"input": map[string]any{"id": 7}, "results": map[string]any{"before": map[string]any{"added": "before"}, "kept": true}, "waits": r.Waits, "kept": map[string]any{"k": "v"},
	})
	if err := errors.Join(err, os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, text, 0o600)); err != nil {
		t.Fatal(err)
	}
	h, err := host.New(t.Context(), cfg, host.Options{Journal: d.journals.Open("new"), Ports: []host.PortOp{{Name: "ledger.add", Func: added.add}}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(t.Context())
	other := d.host(t, "other", added, d.journals)
	waits(t, other)
	waits(t, h, r.RunID)
	res, err := h.Resume(t.Context(), r.RunID, "order:7", map[string]any{"by": "Ann"}, host.RunOptions{})
	if err != nil || res.Status != engine.Suspended {
		t.Fatalf("%+v %v", res, err)
	}
	if said, _ := kernel.Field(res.NodeResults["last"], "said"); said != "Ann v 7" {
		t.Error(said)
	}
	if left, _ := filepath.Glob(filepath.Join(cfg.State, "suspended/*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	waits(t, h, r.RunID)
	waits(t, other, r.RunID)
	if res, err = other.Resume(t.Context(), r.RunID, "more", nil, host.RunOptions{}); err != nil || res.Status != engine.Completed || len(added.items()) != 2 {
		t.Errorf("%+v %v %v", res, err, added.items())
	}
}
