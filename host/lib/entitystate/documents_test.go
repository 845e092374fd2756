package entitystate_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/entitystate"
	"github.com/hexdag/hexdag/host/ports/datastore"
	"github.com/hexdag/hexdag/host/ports/datastore/driver"
	"github.com/hexdag/hexdag/host/ports/datastore/memdocs"
	"github.com/hexdag/hexdag/host/ports/datastore/pgdocs"
	"github.com/hexdag/hexdag/host/ports/datastore/sqlitedocs"
	"github.com/hexdag/hexdag/host/ports/memory"
	"github.com/hexdag/hexdag/host/ports/memory/memstore"
	"github.com/hexdag/hexdag/host/testserver"
)

// everyKeeper runs a test on keepers of each kind; two returns two of one store, as two processes have it.
func everyKeeper(t *testing.T, test func(t *testing.T, two func(*testing.T) [2]entitystate.Keeper)) {
	t.Helper()
	over := func(t *testing.T, open func() (driver.Store, error)) entitystate.Keeper {
		d, err := open()
		if err != nil {
			t.Fatal(err)
		}
		store := datastore.New(d)
		t.Cleanup(func() { _ = store.Close() })
		return entitystate.Documents(func(context.Context) (*datastore.Store, error) { return store, nil }, 0)
	}
	t.Run("memory", func(t *testing.T) {
		test(t, func(*testing.T) [2]entitystate.Keeper {
			m := memory.New(memstore.New(), memory.Options{})
			return [2]entitystate.Keeper{m, m}
		})
	})
	t.Run("documents", func(t *testing.T) {
		test(t, func(t *testing.T) [2]entitystate.Keeper {
			k := over(t, func() (driver.Store, error) { return memdocs.New(), nil })
			return [2]entitystate.Keeper{k, k}
		})
	})
	t.Run("sqlite", func(t *testing.T) {
		test(t, func(t *testing.T) (two [2]entitystate.Keeper) {
			path := filepath.Join(t.TempDir(), "libraries.db")
			for i := range two {
				two[i] = over(t, func() (driver.Store, error) { return sqlitedocs.Open(t.Context(), path) })
			}
			return two
		})
	})
	t.Run("postgres", func(t *testing.T) {
		_, url := testserver.Postgres(t)
		var tables atomic.Int64
		test(t, func(t *testing.T) (two [2]entitystate.Keeper) {
			config := pgdocs.Config{URL: url, Table: fmt.Sprintf("docs_%d", tables.Add(1))}
			for i := range two {
				two[i] = over(t, func() (driver.Store, error) { return pgdocs.Open(t.Context(), config) })
			}
			return two
		})
	})
}

// TestKeepers: what one process keeps of an entity is what another finds, whatever is in it.
func TestKeepers(t *testing.T) {
	everyKeeper(t, func(t *testing.T, two func(*testing.T) [2]entitystate.Keeper) {
		keepers := two(t)
		one, other := keptIn(t, keepers[0], entitystate.Options{}), keptIn(t, keepers[1], entitystate.Options{})
		for _, s := range []*entitystate.States{one, other} {
			s.Handle("order", func(context.Context, *entitystate.Change) error { return nil }) // so that there are claims
		}
		register(t, one, "acme", "order", "<1> & ✓")
		for i, to := range []string{"<b>&amp;", "\"quoted\" \\n", "ütf-8 ✓", "1e2"} {
			c := change("<1> & ✓", to)
			c.Reason = "<" + to + ">"
			if err := []*entitystate.States{one, other}[i%2].Transition(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		expectState(t, one, "<1> & ✓", "created", "<b>&amp;", "\"quoted\" \\n", "ütf-8 ✓", "1e2")

		// Of labels, whoever reads learns those of whoever wrote.
		flow := kernel.NewFlow((&kernel.Labels{}).From("mails"))
		untrusted, err := kernel.NewLabels(kernel.Untrusted, kernel.Public)
		if err != nil {
			t.Fatal(err)
		}
		flow.Join(untrusted)
		if err := one.Transition(kernel.WithFlow(t.Context(), flow), change("<1> & ✓", "read")); err != nil {
			t.Fatal(err)
		}
		mine := kernel.NewFlow(nil)
		if _, err := other.State(kernel.WithFlow(t.Context(), mine), "acme", "order", "<1> & ✓"); err != nil || mine.Labels().Integrity() != kernel.Untrusted {
			t.Errorf("%v, %v", mine.Labels(), err)
		}

		// One that is removed is gone, and begins anew.
		if _, err := other.Cleanup(t.Context(), "acme", "order", "<1> & ✓"); err != nil {
			t.Fatal(err)
		}
		_, err = one.State(t.Context(), "acme", "order", "<1> & ✓")
		wantError(t, err, entitystate.ErrNotRegistered, kernel.CodeNotFound)
		register(t, one, "acme", "order", "<1> & ✓")
		expectState(t, other, "<1> & ✓", "created")
	})
}

// TestDocumentsEnd: a value with an end is there until then, and does not stay behind in the store.
func TestDocumentsEnd(t *testing.T) {
	store := datastore.New(memdocs.New())
	k := entitystate.Documents(func(context.Context) (*datastore.Store, error) { return store, nil }, 0)
	create := func(key string, ttl time.Duration) bool {
		t.Helper()
		done, err := k.Create(t.Context(), "s", key, "v", ttl)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	create("stays", 0)
	for i := range 40 {
		create(fmt.Sprint("a", i), time.Nanosecond)
	}
	create("b", time.Hour)
	if _, found, err := k.Get(t.Context(), "s", "a39"); found || err != nil {
		t.Errorf("what has ended is there: %v", err)
	}
	if done, err := k.CompareAndSwap(t.Context(), "s", "a39", "v", "w", 0); done || err != nil {
		t.Errorf("what has ended is swapped: %v", err)
	}
	if create("stays", 0) || create("b", 0) || !create("a39", 0) {
		t.Error("what is created is what is not there")
	}
	if n, err := store.Count(t.Context(), "s", "entity_states"); err != nil || n > 5 {
		t.Errorf("%d are in the store, %v", n, err)
	}
}

// TestEntitiesAreBounded: whoever may register entities fills no disk with them; one that ends makes room.
func TestEntitiesAreBounded(t *testing.T) {
	store := datastore.New(memdocs.New())
	s := keptIn(t, entitystate.Documents(func(context.Context) (*datastore.Store, error) { return store, nil }, 3), entitystate.Options{})
	for _, id := range []string{"1", "2", "3", "3"} {
		register(t, s, "acme", "order", id)
	}
	_, err := s.Register(t.Context(), "acme", "order", "4", "")
	wantError(t, err, nil, kernel.CodeLimit, "there are too many entities", "3 are known, and max_entities is 3")
	register(t, s, "bob", "order", "4") // who has entities of its own
	if err := s.Transition(t.Context(), change("3", "paid")); err != nil {
		t.Error(err)
	}
	if _, err := s.Cleanup(t.Context(), "acme", "order", "2"); err != nil {
		t.Fatal(err)
	}
	register(t, s, "acme", "order", "2") // in its own place
	if _, err := s.Cleanup(t.Context(), "acme", "order", "1"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond) // what is left of it is there for a second
	register(t, s, "acme", "order", "4")
}
