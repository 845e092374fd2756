package entitystate_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/kernel/kerneltest"
	"github.com/hexdag/hexdag/host/lib/entitystate"
	"github.com/hexdag/hexdag/host/ports/memory/driver"
	"github.com/hexdag/hexdag/host/ports/memory/memstore"
)

func under(t *testing.T, lock string, token uint64) context.Context {
	t.Helper()
	return kerneltest.Under(t.Context(), "acme", "r", lock, token)
}

// Who holds a lock no longer changes nothing, whatever it thinks.
func TestFences(t *testing.T) {
	s := open(t, memstore.New(), entitystate.Options{}) // any state may follow any
	register(t, s, "acme", "order", "1")
	move := func(ctx context.Context, to string, want kernel.Code) {
		t.Helper()
		if err := s.Transition(ctx, change("1", to)); kernel.CodeOf(err) != want {
			t.Errorf("to %s: %v, want %q", to, err, want)
		}
	}
	move(under(t, "a", 5), "b", "")
	move(under(t, "a", 7), "c", "")
	move(under(t, "a", 5), "d", kernel.CodeLockLost)
	move(kerneltest.UnderLost(t.Context(), "acme", "r", "a"), "d", kernel.CodeLockLost)
	move(under(t, "z", 1), "e", "")
	move(t.Context(), "f", "")
	for i := range 30 { // other locks do not crowd it out
		move(under(t, "a", 8), "g", "")
		move(under(t, "other"+string(rune('a'+i)), 1), "h", "")
		move(under(t, "a", 7), "i", kernel.CodeLockLost)
	}
	if _, err := s.Register(under(t, "a", 7), "acme", "order", "1", ""); kernel.CodeOf(err) != kernel.CodeLockLost {
		t.Errorf("a stale holder registers: %v", err)
	}
	if _, err := s.Register(t.Context(), "acme", "order", "1", ""); err != nil {
		t.Error(err)
	}
	move(under(t, "a", 7), "j", kernel.CodeLockLost) // to begin anew is no way around
	if _, err := s.Cleanup(under(t, "a", 7), "acme", "order", "1"); kernel.CodeOf(err) != kernel.CodeLockLost {
		t.Errorf("a stale holder cleans up: %v", err)
	}
	if state, err := s.State(t.Context(), "acme", "order", "1"); state != entitystate.FreeState || err != nil {
		t.Errorf("it is %q, %v", state, err)
	}
}

// Who holds many other locks has none forgotten, for as long as somebody may still believe to hold it.
func TestManyLocks(t *testing.T) {
	now := time.Now()
	s := open(t, memstore.New(), entitystate.Options{Now: func() time.Time { return now }})
	register(t, s, "acme", "order", "1")
	move := func(lock string, token uint64) error {
		return s.Transition(under(t, lock, token), change("1", "b"))
	}
	if err := move("a", 7); err != nil {
		t.Fatal(err)
	}
	for i := range 127 {
		if err := move(fmt.Sprint("other", i), 1); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := move("a", 6); kernel.CodeOf(err) != kernel.CodeLockLost {
		t.Errorf("behind 127 other locks: %v", err)
	}
	if err := move("one more", 1); kernel.CodeOf(err) != kernel.CodeLimit {
		t.Errorf("a lock for which there is no room: %v", err)
	}
	now = now.Add(25 * time.Hour)
	if err := move("one more", 1); err != nil {
		t.Errorf("a day later: %v", err)
	}
}

// between does something behind the next read of the store.
type between struct {
	driver.Store
	do func()
}

func (b *between) Get(ctx context.Context, now time.Time, tenant, key string) ([]byte, bool, error) {
	value, found, err := b.Store.Get(ctx, now, tenant, key)
	if do := b.do; do != nil {
		b.do = nil
		do()
	}
	return value, found, err
}

// A stale holder that was checked in time removes nothing, and what was removed is not forgotten.
func TestCleanupIsFenced(t *testing.T) {
	store := &between{Store: memstore.New()}
	s := open(t, store, entitystate.Options{})
	register(t, s, "acme", "order", "1")
	if err := s.Transition(under(t, "a", 1), change("1", "mine")); err != nil {
		t.Fatal(err)
	}
	store.do = func() {
		if err := s.Transition(under(t, "a", 2), change("1", "theirs")); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Cleanup(under(t, "a", 1), "acme", "order", "1"); kernel.CodeOf(err) != kernel.CodeLockLost {
		t.Errorf("a stale holder removes: %v", err)
	}
	if state, err := s.State(t.Context(), "acme", "order", "1"); state != "theirs" || err != nil {
		t.Errorf("it is %q, %v", state, err)
	}
	if _, err := s.Cleanup(under(t, "a", 2), "acme", "order", "1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.State(t.Context(), "acme", "order", "1"); kernel.CodeOf(err) != kernel.CodeNotFound {
		t.Errorf("what was removed is there: %v", err)
	}
	if _, err := s.Register(under(t, "a", 1), "acme", "order", "1", ""); kernel.CodeOf(err) != kernel.CodeLockLost {
		t.Errorf("a stale holder registers what was removed: %v", err)
	}
	if _, err := s.Register(under(t, "a", 3), "acme", "order", "1", ""); err != nil {
		t.Error(err)
	}
}

// A holder that is paused in a handler, and stale when it goes on, changes nothing.
func TestPausedHandler(t *testing.T) {
	s := open(t, memstore.New(), entitystate.Options{Claim: 1}) // a claim that ends at once
	register(t, s, "acme", "order", "1")
	first := true
	s.Handle("order", func(context.Context, *entitystate.Change) error {
		if first {
			first = false
			if err := s.Transition(under(t, "a", 2), change("1", "theirs")); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	if err := s.Transition(under(t, "a", 1), change("1", "mine")); err == nil {
		t.Error("a stale holder's change went through")
	}
	if state, err := s.State(t.Context(), "acme", "order", "1"); state != "theirs" || err != nil {
		t.Errorf("it is %q, %v", state, err)
	}
}
