package journaltest

import (
	"errors"
	"sync"
	"testing"

	"github.com/hexdag/hexdag/host/journal/driver"
)

// hosts has several hosts work on the same journals.
func hosts(t *testing.T, open Harness) {
	one, two := open(t, "one"), open(t, "two")
	defer two.Close()
	r := create(t, one, "acme", "r")
	put(t, one, chunk(r, 1, 1, "one"))

	// One host's run is nobody else's.
	_, err := two.Claim(t.Context(), "acme", "r", false)
	var taken *driver.Taken
	if !errors.As(err, &taken) || taken.Owner != r.Owner {
		t.Errorf("claimed while the other works on it: %v", err)
	}
	for name, err := range map[string]error{"Delete": two.Delete(t.Context(), "acme", "r"), "Rewrite": two.Rewrite(t.Context(), "acme", "r", nil)} {
		if !errors.As(err, &taken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if head := get(t, two, r); head.Free || head.Owner != r.Owner {
		t.Errorf("%+v", head)
	}

	// Taken by force: the first host hears of it when it writes.
	forced, err := two.Claim(t.Context(), "acme", "r", true)
	if err != nil || forced.Epoch != 2 || forced.Owner == r.Owner || forced.Entries != 1 {
		t.Fatalf("%+v %v", forced, err)
	}
	if err := add(t.Context(), one, chunk(r, 2, 2, "late")); !errors.Is(err, driver.ErrFenced) {
		t.Error(err)
	}
	put(t, two, chunk(forced, 2, 2, "two"))
	end(t, two, forced, 2, driver.Suspended)

	// Suspended, it is whoever's comes first.
	var wg sync.WaitGroup
	heads := make([]*driver.Run, 2)
	for i, s := range []driver.Store{one, two} {
		wg.Go(func() {
			head, err := s.Claim(t.Context(), "acme", "r", false)
			if err != nil && !errors.As(err, new(*driver.Taken)) {
				t.Error(err)
			}
			heads[i] = head
		})
	}
	wg.Wait()
	if (heads[0] == nil) == (heads[1] == nil) {
		t.Fatalf("claimed by %v and %v", heads[0], heads[1])
	}

	// What a host has is free when it closes.
	left := create(t, one, "acme", "left")
	put(t, one, chunk(left, 1, 1, "one"))
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	list, err := two.Runs(t.Context(), "acme", driver.Query{Free: true})
	if err != nil || len(list) == 0 || !list[0].Free {
		t.Errorf("%+v %v", list, err)
	}
	head, err := two.Claim(t.Context(), "acme", "left", false)
	if err != nil || head.Epoch != 2 || head.Owner == left.Owner {
		t.Fatalf("%+v %v", head, err)
	}
	put(t, two, chunk(head, 2, 2, "two"))
	holds(t, two, head, "one", "two")
}
