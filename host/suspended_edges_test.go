package host_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
)

// A run that has waited goes on with the modules of now, as its waiting may take longer than it takes to mend one; where it could not, it waits on.
func TestGoesOnWithModulesOfNow(t *testing.T) {
	d := newDurable(t, durableConfig)
	m := &machines{site: d.site}
	wait := `{kind: wait_node, metadata: {name: event}, dependencies: [], spec: {event_key: now, timeout: 60, on_timeout: late}}`
	hooked := m.suspends(t, d.host(t, "first", &ledger{}, d.journals), host.RunOptions{}, wait, addsTo("late", "event"))
	d.write(t, "hexdag.yaml", "kind: Config\nmetadata: {name: test}\nspec:\n  ports:\n    database: {adapter: memory}\n")
	h := d.host(t, "second", &ledger{}, d.journals)
	if res, err := h.Resume(t.Context(), hooked.RunID, "now", nil, host.RunOptions{}); err != nil || res.Status != engine.Completed {
		t.Fatalf("%+v %v", res, err)
	}
	store := d.journals.Open("reader")
	defer store.Close()
	read, err := journal.Read(t.Context(), store, "default", hooked.RunID)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := read.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if parts := journal.Parts(entries); len(parts) != 2 || len(parts[0].Head.Modules) != 1 || len(parts[1].Head.Modules) != 0 {
		t.Errorf("%d parts, the last with %v", len(parts), parts[len(parts)-1].Head.Modules)
	}
}

// A run that governance does not let go on has ended.
func TestDeniedAtAnotherMachine(t *testing.T) {
	d := newDurable(t, `  ports:
    governance: {adapter: abac, config: {rules: [{id: all, effect: allow, actions: ["**"]}, {id: none, effect: deny, actions: [pipeline.resume], message: "not now"}]}}
`)
	m := &machines{site: d.site}
	r := m.suspends(t, d.host(t, "first", &ledger{}, d.journals), host.RunOptions{}, waiter...)
	h := d.host(t, "second", &ledger{}, d.journals)
	res, err := h.Resume(t.Context(), r.RunID, "", nil, host.RunOptions{})
	if err != nil || res.Status != engine.Denied {
		t.Fatalf("%+v %v", res, err)
	}
	waits(t, h)
	_, err = h.Resume(t.Context(), r.RunID, "", nil, host.RunOptions{})
	wantError(t, err, kernel.CodeNotFound, "no run "+r.RunID+" waits")
	store := d.journals.Open("reader")
	defer store.Close()
	if head, err := store.Get(t.Context(), "default", r.RunID); err != nil || head.Status != "denied" {
		t.Errorf("%+v %v", head, err)
	}
}

// What a policy masks is in no journal: the run waits where it was suspended, and goes on there.
func TestMaskedWaitsAtItsHost(t *testing.T) {
	d := newDurable(t, `  ports:
    governance: {adapter: abac, config: {rules: [
        {id: all, effect: allow, actions: ["**"]},
        {id: hidden, effect: allow, actions: [pipeline_memory.set], obligations: [{type: mask, record: ["/args/value"]}]}]}}
`)
	first, second := d.host(t, "first", &ledger{}, d.journals), d.host(t, "second", &ledger{}, d.journals)
	r := d.load(t, first, waiter...).Run(t.Context(), map[string]any{"id": 7}, host.RunOptions{Durable: true})
	if r.Status != engine.Suspended {
		t.Fatal(r.Err)
	}
	waits(t, first, r.RunID)
	waits(t, second)
	for _, e := range d.entries(t, r.RunID) {
		if e.Kind == journal.End && (len(e.Pause) > 0 || e.Head != nil) {
			t.Errorf("its journal has %s", e.Pause)
		}
	}
	if results, err := second.Signal(t.Context(), "order:7", nil, host.RunOptions{}); err != nil || len(results) > 0 {
		t.Errorf("%+v %v", results, err)
	}
	_, err := second.Resume(t.Context(), r.RunID, "order:7", nil, host.RunOptions{})
	wantError(t, err, kernel.CodeNotFound, "no run "+r.RunID+" waits")
	results, err := first.Signal(t.Context(), "order:7", map[string]any{"by": "Ann"}, host.RunOptions{})
	if err != nil || len(results) != 1 || results[0].Status != engine.Completed {
		t.Fatalf("%+v %v", results, err)
	}
	if said, _ := kernel.Field(results[0].NodeResults["last"], "said"); said != "Ann v 7" {
		t.Error(said)
	}
}

// A host that has recorded nothing makes no journal to see whether anything waits, and one that shares another's file looks, and leaves what waits there to that.
func TestLooksWithoutAJournal(t *testing.T) {
	m := &machines{site: newSite(t, "  journal: {config: {path: 'journal.db'}}\n")}
	h := m.next(t)
	waits(t, h)
	if _, err := h.Expire(t.Context(), time.Now(), host.RunOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := h.Signal(t.Context(), "k", nil, host.RunOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(m.path("journal.db")); !errors.Is(err, os.ErrNotExist) {
		t.Error("there is a journal now")
	}
	r := m.suspends(t, h, host.RunOptions{}, `{kind: wait_node, metadata: {name: event}, dependencies: [], spec: {event_key: now, timeout: 60}}`)
	m.together = true // although they share a file
	other := m.next(t)
	waits(t, other, r.RunID)
	if results, err := other.Expire(t.Context(), time.Now().Add(time.Hour), host.RunOptions{}); err != nil || len(results) > 0 {
		t.Errorf("%+v %v", results, err)
	}
	_, err := other.Resume(t.Context(), r.RunID, "now", nil, host.RunOptions{})
	wantError(t, err, kernel.CodeUnavailable, "another process has the journal open", "use the adapter postgres")
}
