package entitystate_test

import (
	"context"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/entitystate"
	"github.com/hexdag/hexdag/host/ports/memory/memstore"
)

// TestBegins: an entity begins with its first transition, once: of two that find it not there, the later leaves what the other made of it.
func TestBegins(t *testing.T) {
	store := &between{Store: memstore.New()}
	s := open(t, store, entitystate.Options{Begins: true}, order())
	other := open(t, store.Store, entitystate.Options{Begins: true}, order())
	store.do = func() {
		if err := other.Transition(t.Context(), change("1", "processing")); err != nil {
			t.Error(err)
		}
	}
	err := s.Transition(t.Context(), change("1", "processing"))
	wantError(t, err, entitystate.ErrInvalidTransition, kernel.CodeFailed, "from 'processing' to 'processing'")
	expectState(t, s, "1", "new", "processing")
	err = s.Transition(t.Context(), &entitystate.Change{Tenant: "acme", Entity: "ticket", ID: "1", To: "x"})
	wantError(t, err, entitystate.ErrNotRegistered, kernel.CodeNotFound) // no machine says how
}

// TestHandledTooLate: where handlers are done but the change does not happen, the claim is given up, too.
func TestHandledTooLate(t *testing.T) {
	s := orders(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.Handle("order", func(context.Context, *entitystate.Change) error { cancel(); return nil })
	wantError(t, s.Transition(ctx, change("1", "processing")), nil, kernel.CodeCanceled)
	expectState(t, s, "1", "new")
	if err := s.Transition(t.Context(), change("1", "processing")); err != nil {
		t.Errorf("the claim was not given up: %v", err)
	}
	expectState(t, s, "1", "new", "processing")
}
