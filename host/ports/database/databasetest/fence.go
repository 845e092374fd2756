package databasetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/kernel/kerneltest"
	"github.com/hexdag/hexdag/host/ports/database"
	"github.com/hexdag/hexdag/host/ports/database/driver"
)

// testFences: who holds a lock no longer inserts nothing, whatever it thinks.
func (h Harness) testFences(t *testing.T) {
	p := h.open(t, orders, driver.Limits{})
	insert := func(ctx context.Context, id string) error {
		return p.Insert(ctx, "orders", map[string]kernel.Value{"id": id})
	}
	under := func(lock string, token uint64) context.Context {
		return kerneltest.Under(t.Context(), "acme", "r", lock, token)
	}
	for _, step := range []struct {
		lock  string
		token uint64
		fails bool
	}{{"a", 5, false}, {"a", 5, false}, {"a", 7, false}, {"a", 5, true}, {"a", 6, true}, {"b", 1, false}, {"a", 7, false}, {"a", 1 << 60, false}, {"a", 8, true}} {
		err := insert(under(step.lock, step.token), fmt.Sprintf("%s-%d", step.lock, step.token))
		if step.fails != (kernel.CodeOf(err) == kernel.CodeLockLost) || !step.fails && err != nil {
			t.Errorf("under %s with %d: %v", step.lock, step.token, err)
		}
	}
	if err := insert(t.Context(), "free"); err != nil {
		t.Errorf("without a lock: %v", err)
	}
	if err := insert(kerneltest.UnderLost(t.Context(), "acme", "r", "c"), "lost"); kernel.CodeOf(err) != kernel.CodeLockLost {
		t.Errorf("under a lock that is known to be lost: %v", err)
	}
	// A row that the table does not take leaves no trace of its token either.
	if err := p.Insert(under("d", 9), "orders", map[string]kernel.Value{"none": 1}); kernel.CodeOf(err) != kernel.CodeArguments {
		t.Errorf("a bad row: %v", err)
	}
	if err := insert(under("d", 8), "d-8"); err != nil {
		t.Errorf("after a bad row under a larger token: %v", err)
	}
	result, err := p.Query(t.Context(), database.Query{Table: "orders"})
	if err != nil || len(result.Rows) != 3+8 {
		t.Errorf("%d rows, %v, want 11", len(result.Rows), err)
	}
	if names, err := p.Tables(t.Context()); err != nil || strings.Join(names, " ") != "orders" {
		t.Errorf("tables %q, %v: what was seen of locks is nobody's to read", names, err)
	}
	for _, name := range []string{"hexdag_fences", "HEXDAG_FENCES"} {
		if err := p.Insert(t.Context(), name, map[string]kernel.Value{"lock": "test/a", "token": 0}); kernel.CodeOf(err) != kernel.CodeNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// testFencesRace: of inserts under rising tokens at once, none comes after one with a larger token.
func (h Harness) testFencesRace(t *testing.T) {
	p := h.open(t, Tables{"log": {{"n": int64(0)}}}, driver.Limits{})
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			err := p.Insert(kerneltest.Under(t.Context(), "acme", "r", "a", uint64(n+1)), "log", map[string]kernel.Value{"n": n + 1})
			if err != nil && kernel.CodeOf(err) != kernel.CodeLockLost {
				t.Errorf("insert: %v", err)
			}
		})
	}
	wg.Wait()
	result, err := p.Query(t.Context(), database.Query{Table: "log"}) // in the order of insertion, in these backends
	if err != nil {
		t.Fatal(err)
	}
	last := int64(-1)
	for _, row := range result.Rows {
		n, err := row["n"].(interface{ Int64() (int64, error) }).Int64()
		if err != nil || n < last {
			t.Errorf("%d comes after %d, %v", n, last, err)
		}
		last = n
	}
	if last != 20 {
		t.Errorf("the largest token's row is missing: the last is %d", last)
	}
}
