package journaltest

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/journal/driver"
)

// suspend appends a last chunk, after entries, behind which the run waits.
func suspend(t *testing.T, s driver.Store, r *driver.Run, entries uint64, w *driver.Waits) {
	t.Helper()
	c := chunk(r, entries+1, entries+1, "waits")
	c.Status, c.Waits = driver.Suspended, w
	for range 2 { // who does not know whether that was done asks again
		put(t, s, c)
	}
}

// waits has runs be found by what they wait for, and gone on with by one.
func waits(t *testing.T, open Harness) {
	s := opened(t, open)
	noon := time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)
	odd := "nul\x00, no\xfftext, back\\slash, '; --"
	all := map[string]*driver.Waits{
		"a": {Keys: []string{"k"}, Until: noon, Data: []byte(`{"any": "thing"}`)},
		"b": {Keys: []string{"k", odd, `["k"]`}},
		"c": {Keys: []string{"K", ""}, Until: noon.Add(time.Microsecond)},
		"d": nil,
		"e": {Until: noon},
	}
	for _, tenant := range []string{"acme", "globex"} {
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			r := create(t, s, tenant, id)
			put(t, s, chunk(r, 1, 2, "one"))
			suspend(t, s, r, 2, all[id])
			if tenant == "globex" { // whose runs wait no longer
				if _, err := s.Wake(t.Context(), tenant, id, 1); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	find := func(name string, q driver.Query, want string) {
		t.Helper()
		list, err := s.Runs(t.Context(), "acme", q)
		got := ""
		for _, r := range list {
			got += r.ID
			w := all[r.ID]
			if w == nil || r.Waits == nil {
				if r.Waits != nil || w != nil {
					t.Errorf("%s: %s waits for %+v", name, r.ID, r.Waits)
				}
				continue
			}
			if !slices.Equal(r.Waits.Keys, w.Keys) || !r.Waits.Until.Equal(w.Until) || string(r.Waits.Data) != string(w.Data) {
				t.Errorf("%s: %s waits for %+v, not %+v", name, r.ID, r.Waits, w)
			}
		}
		if err != nil || got != want {
			t.Errorf("%s: %q, not %q: %v", name, got, want, err)
		}
	}
	find("suspended", driver.Query{Status: driver.Suspended}, "edcba")
	find("a key", driver.Query{Key: "k"}, "ba")
	find("another's key", driver.Query{Key: odd}, "b")
	find("a key and a limit", driver.Query{Key: "k", Limit: 1}, "b")
	find("a key like several", driver.Query{Key: `["k"]`}, "b")
	find("another letter", driver.Query{Key: "K"}, "c")
	find("no run's key", driver.Query{Key: "k "}, "")
	find("before", driver.Query{Due: noon.Add(-time.Microsecond)}, "")
	find("at noon", driver.Query{Due: noon}, "ea")
	find("later", driver.Query{Due: noon.Add(time.Hour)}, "eca")
	find("both", driver.Query{Due: noon.Add(time.Hour), Key: "k"}, "a")
	find("another pipeline's", driver.Query{Key: "k", Pipeline: "none"}, "")

	// Of many that wake a run, one does, and nobody who saw it wait before.
	var mu sync.Mutex
	var woke []*driver.Run
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			head, err := s.Wake(t.Context(), "acme", "a", 1)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				woke = append(woke, head)
			case !errors.Is(err, driver.ErrFenced):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(woke) != 1 || woke[0].Epoch != 2 || woke[0].Status != driver.Running || woke[0].Entries != 3 || woke[0].Waits != nil || woke[0].Free {
		t.Fatalf("%+v", woke)
	}
	find("a key of one that runs", driver.Query{Key: "k"}, "b")
	find("the time of one that runs", driver.Query{Due: noon}, "e")
	if _, err := s.Wake(t.Context(), "acme", "a", 2); !errors.Is(err, driver.ErrFenced) {
		t.Error("one that runs:", err)
	}
	all["a"] = &driver.Waits{Keys: []string{"other"}}
	suspend(t, s, woke[0], 3, all["a"])
	find("what it waits for now", driver.Query{Key: "other"}, "a")
	find("what it waited for", driver.Query{Key: "k"}, "b")
	if _, err := s.Wake(t.Context(), "acme", "a", 1); !errors.Is(err, driver.ErrFenced) {
		t.Error("by who saw it wait before:", err)
	}
	if _, err := s.Wake(t.Context(), "acme", "none", 1); !errors.Is(err, driver.ErrNotFound) {
		t.Error(err)
	}
	// Claimed, or without entries, is no different.
	head, err := s.Claim(t.Context(), "acme", "b", false)
	if err != nil || head.Waits != nil {
		t.Fatalf("%+v %v", head, err)
	}
	find("of one that was claimed", driver.Query{Key: "k"}, "")
	alone := driver.Chunk{Tenant: "acme", Run: "b", Epoch: head.Epoch, First: 4, Status: driver.Suspended, Waits: all["b"]}
	put(t, s, alone)
	find("of one that was given back", driver.Query{Key: "k"}, "b")
	// What is over waits for nothing, and a name that is free is nobody's.
	over, err := s.Wake(t.Context(), "acme", "b", head.Epoch)
	if err != nil {
		t.Fatal(err)
	}
	end(t, s, over, 3, "completed")
	for _, id := range []string{"b", "e"} {
		if err := s.Delete(t.Context(), "acme", id); err != nil {
			t.Fatal(err)
		}
	}
	create(t, s, "acme", "e")
	find("of one that is gone", driver.Query{Key: "k"}, "")
	find("of one of that name", driver.Query{Due: noon}, "")
}

// last returns the last chunk.
func last(t *testing.T, open Harness) {
	s := opened(t, open)
	r, other := create(t, s, "acme", "r"), create(t, s, "globex", "r")
	for _, id := range []string{"r", "none"} {
		if _, err := s.Last(t.Context(), "acme", id); !errors.Is(err, driver.ErrNotFound) {
			t.Errorf("%s has a last chunk: %v", id, err)
		}
	}
	put(t, s, chunk(other, 1, 9, "another's"))
	for n := range uint64(3 * driver.Page) {
		put(t, s, chunk(r, 2*n+1, 2*n+2, "x"))
		c, err := s.Last(t.Context(), "acme", "r")
		if err != nil || c.Tenant != "acme" || c.Run != "r" || c.First != 2*n+1 || c.Count != 2 || c.Epoch != 1 || string(c.Data) != "x" {
			t.Fatalf("%+v %v", c, err)
		}
	}
}
