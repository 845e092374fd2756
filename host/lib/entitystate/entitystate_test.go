package entitystate_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/entitystate"
	"github.com/hexdag/hexdag/host/ports/memory"
	"github.com/hexdag/hexdag/host/ports/memory/driver"
	"github.com/hexdag/hexdag/host/ports/memory/memstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// order is the machine of most tests.
func order() entitystate.Machine {
	return entitystate.Machine{Entity: "order", Initial: "new", States: []string{"new", "processing", "shipped", "lost"}, Transitions: map[string][]entitystate.Edge{
		"new": {{To: "processing"}}, "processing": {{To: "shipped"}, {To: "lost"}},
	}}
}

func open(t *testing.T, store driver.Store, opts entitystate.Options, machines ...entitystate.Machine) *entitystate.States {
	t.Helper()
	return keptIn(t, memory.New(store, memory.Options{Now: opts.Now}), opts, machines...)
}

func keptIn(t *testing.T, k entitystate.Keeper, opts entitystate.Options, machines ...entitystate.Machine) *entitystate.States {
	t.Helper()
	s, err := entitystate.New(k, machines, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func orders(t *testing.T) *entitystate.States {
	t.Helper()
	s := open(t, memstore.New(), entitystate.Options{}, order())
	register(t, s, "acme", "order", "1")
	return s
}

func register(t *testing.T, s *entitystate.States, tenant, entity, id string) {
	t.Helper()
	if _, err := s.Register(t.Context(), tenant, entity, id, ""); err != nil {
		t.Fatal(err)
	}
}

func change(id, to string) *entitystate.Change {
	return &entitystate.Change{Tenant: "acme", Entity: "order", ID: id, To: to}
}

// expectState compares an entity's state, and its history by where it led.
func expectState(t *testing.T, s *entitystate.States, id string, states ...string) {
	t.Helper()
	state, err := s.State(t.Context(), "acme", "order", id)
	history, herr := s.History(t.Context(), "acme", "order", id)
	var led []string
	for i, e := range history {
		led = append(led, e.To)
		if i > 0 && e.From != led[i-1] || i == 0 && e.From != "" {
			t.Errorf("entry %d comes from %q", i, e.From)
		}
	}
	if err = errors.Join(err, herr); err != nil || state != states[len(states)-1] {
		t.Errorf("state %q, %v, want %q", state, err, states[len(states)-1])
	}
	if diff := cmp.Diff(states, led); diff != "" {
		t.Errorf("history: %s", diff)
	}
}

func wantError(t *testing.T, err, cause error, code kernel.Code, says ...string) {
	t.Helper()
	if cause != nil && !errors.Is(err, cause) || kernel.CodeOf(err) != code {
		t.Errorf("%v (%s), want %v and %s", err, kernel.CodeOf(err), cause, code)
	}
	for _, text := range says {
		if !strings.Contains(fmt.Sprint(err), text) {
			t.Errorf("%v does not say %q", err, text)
		}
	}
}

func TestTransitions(t *testing.T) {
	s := orders(t)
	wantError(t, s.Transition(t.Context(), change("1", "shipped")), entitystate.ErrInvalidTransition, kernel.CodeFailed, "Cannot transition 'order'/'1' from 'new' to 'shipped'", "it can go to 'processing'")
	wantError(t, s.Transition(t.Context(), change("2", "processing")), entitystate.ErrNotRegistered, kernel.CodeNotFound, "Entity 'order'/'2' is not registered")
	expectState(t, s, "1", "new")
	c := change("1", "processing")
	c.Reason = "paid"
	if err := errors.Join(s.Transition(t.Context(), c), s.Transition(t.Context(), change("1", "shipped"))); err != nil {
		t.Fatal(err)
	}
	if c.From != "new" {
		t.Errorf("it came from %q", c.From)
	}
	expectState(t, s, "1", "new", "processing", "shipped")
	history, err := s.History(t.Context(), "acme", "order", "1")
	if err != nil || history[1].Reason != "paid" || history[2].Reason != "" || history[2].At.Before(history[1].At) {
		t.Errorf("%+v, %v", history, err)
	}
	wantError(t, s.Transition(t.Context(), change("1", "new")), entitystate.ErrInvalidTransition, kernel.CodeFailed, "no transition leads from 'shipped'")
	register(t, s, "acme", "order", "1") // begins anew
	expectState(t, s, "1", "new")
}

func TestRegister(t *testing.T) {
	s := orders(t)
	state, err := s.Register(t.Context(), "acme", "order", "2", "processing")
	if err != nil || state != "processing" {
		t.Errorf("%q, %v", state, err)
	}
	expectState(t, s, "2", "processing")
	_, err = s.Register(t.Context(), "acme", "order", "3", "flying")
	wantError(t, err, entitystate.ErrInvalidTransition, kernel.CodeFailed, "'order'/'3' cannot begin in 'flying'", "'new'")
	_, err = s.State(t.Context(), "acme", "order", "3")
	wantError(t, err, entitystate.ErrNotRegistered, kernel.CodeNotFound)
}

// Without a machine, any state follows any.
func TestFreeForm(t *testing.T) {
	s := open(t, memstore.New(), entitystate.Options{})
	if state, err := s.Register(t.Context(), "acme", "order", "1", ""); err != nil || state != "created" {
		t.Errorf("%q, %v", state, err)
	}
	for _, to := range []string{"a", "b", "b", "created"} {
		if err := s.Transition(t.Context(), change("1", to)); err != nil {
			t.Error(err)
		}
	}
	expectState(t, s, "1", "created", "a", "b", "b", "created")
}

func TestTenants(t *testing.T) {
	store := memstore.New()
	s := open(t, store, entitystate.Options{}, order())
	register(t, s, "acme", "order", "1")
	_, err := s.State(t.Context(), "bob", "order", "1")
	wantError(t, err, entitystate.ErrNotRegistered, kernel.CodeNotFound)
	register(t, s, "bob", "order", "1")
	if err := s.Transition(t.Context(), change("1", "processing")); err != nil {
		t.Fatal(err)
	}
	if state, err := s.State(t.Context(), "bob", "order", "1"); err != nil || state != "new" {
		t.Errorf("bob's is %q, %v", state, err)
	}
	// What a tenant keeps in the same memory is another thing.
	keys, err := memory.New(store, memory.Options{}).ListKeys(t.Context(), "acme", "", "", 10)
	if err != nil || len(keys) != 0 {
		t.Errorf("the tenant's own keys are %q, %v", keys, err)
	}
}

// TestHandlers: in their order, for their type alone, before anybody sees the
// change, and with what they were given.
func TestHandlers(t *testing.T) {
	s := open(t, memstore.New(), entitystate.Options{}, order(), entitystate.Machine{Entity: "ticket", Initial: "new", Transitions: map[string][]entitystate.Edge{"new": {{To: "processing"}}}})
	register(t, s, "acme", "order", "1")
	register(t, s, "acme", "ticket", "1")
	var called []string
	for _, name := range []string{"first", "second"} {
		s.Handle("order", func(ctx context.Context, c *entitystate.Change) error {
			state, err := s.State(ctx, c.Tenant, c.Entity, c.ID)
			called = append(called, fmt.Sprintf("%s %s %s->%s %s %v %s", name, c.ID, c.From, c.To, c.Reason, c.Payload, state))
			c.To = "stolen" // its own copy
			return err
		})
	}
	if err := s.Transition(t.Context(), &entitystate.Change{Tenant: "acme", Entity: "ticket", ID: "1", To: "processing"}); err != nil || called != nil {
		t.Errorf("another type: %v, %v", called, err)
	}
	c := change("1", "processing")
	c.Reason, c.Payload = "paid", "p"
	if err := s.Transition(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"first 1 new->processing paid p new", "second 1 new->processing paid p new"}, called); diff != "" {
		t.Error(diff)
	}
	expectState(t, s, "1", "new", "processing")
}

func TestHandlerFails(t *testing.T) {
	s := orders(t)
	failure := &kernel.Error{Code: kernel.CodeUnavailable, What: "no stock"}
	calls := 0
	fails := true
	s.Handle("order", func(context.Context, *entitystate.Change) error { calls++; return nil })
	s.Handle("order", func(context.Context, *entitystate.Change) error {
		if calls++; fails {
			return failure
		}
		return nil
	})
	s.Handle("order", func(context.Context, *entitystate.Change) error { calls++; return nil })
	err := s.Transition(t.Context(), change("1", "processing"))
	wantError(t, err, failure, kernel.CodeUnavailable, "no stock")
	if calls != 2 {
		t.Errorf("%d handlers were called", calls)
	}
	expectState(t, s, "1", "new")
	fails = false
	if err := s.Transition(t.Context(), change("1", "processing")); err != nil {
		t.Errorf("the claim was not given up: %v", err)
	}
	expectState(t, s, "1", "new", "processing")
}

// TestHandlerEndsTheContext: the claim is given up all the same; also after a panic.
func TestHandlerEndsTheContext(t *testing.T) {
	s := orders(t)
	ctx, cancel := context.WithCancel(t.Context())
	mode := "cancel"
	s.Handle("order", func(ctx context.Context, _ *entitystate.Change) error {
		switch mode {
		case "cancel":
			cancel()
			return kernel.ContextError(ctx)
		case "panic":
			panic("a bug")
		}
		return nil
	})
	wantError(t, s.Transition(ctx, change("1", "processing")), nil, kernel.CodeCanceled)
	mode = "panic"
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = s.Transition(t.Context(), change("1", "processing"))
	}()
	mode = ""
	expectState(t, s, "1", "new")
	if err := s.Transition(t.Context(), change("1", "processing")); err != nil {
		t.Error(err)
	}
}

// clock is a time that tests move.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}
func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

// TestClaims: while handlers run nobody else changes the entity; a claim whose owner
// is gone ends, and an owner that comes back late changes nothing.
func TestClaims(t *testing.T) {
	clock := newClock()
	store := memstore.New()
	opts := entitystate.Options{Now: clock.now, Claim: time.Minute}
	slow, quick := open(t, store, opts, order()), open(t, store, opts, order())
	register(t, slow, "acme", "order", "1")
	entered, release := make(chan struct{}), make(chan struct{})
	slow.Handle("order", func(context.Context, *entitystate.Change) error {
		close(entered)
		<-release
		return nil
	})
	done := make(chan error)
	go func() { done <- slow.Transition(t.Context(), change("1", "processing")) }()
	<-entered
	expectState(t, quick, "1", "new")
	wantError(t, quick.Transition(t.Context(), change("1", "processing")), entitystate.ErrStale, kernel.CodeRetry, "another transition of 'order'/'1' is under way")
	clock.advance(time.Minute)
	if err := quick.Transition(t.Context(), change("1", "processing")); err != nil {
		t.Errorf("after the claim: %v", err)
	}
	close(release)
	wantError(t, <-done, entitystate.ErrStale, kernel.CodeFailed, "'order'/'1' is no longer as it was in 'new'")
	expectState(t, quick, "1", "new", "processing")
}

// TestLateFailure: whoever fails after the claim has ended takes nothing back.
func TestLateFailure(t *testing.T) {
	clock := newClock()
	store := memstore.New()
	opts := entitystate.Options{Now: clock.now, Claim: time.Minute}
	s, other := open(t, store, opts, order()), open(t, store, opts, order())
	register(t, s, "acme", "order", "1")
	failure := errors.New("too late")
	s.Handle("order", func(ctx context.Context, _ *entitystate.Change) error {
		clock.advance(time.Minute)
		if err := other.Transition(ctx, change("1", "processing")); err != nil {
			t.Error(err)
		}
		return failure
	})
	wantError(t, s.Transition(t.Context(), change("1", "processing")), failure, kernel.CodeInternal)
	expectState(t, s, "1", "new", "processing")
}

func TestGuards(t *testing.T) {
	machine := order()
	machine.Transitions["new"][0].Guard = "payload.paid"
	var asked []string
	opts := entitystate.Options{Guard: func(_ context.Context, guard string, c *entitystate.Change) (bool, error) {
		asked = append(asked, fmt.Sprintf("%s %s->%s", guard, c.From, c.To))
		if c.Payload == nil {
			return true, errors.New("there is no payload")
		}
		return c.Payload == "paid", nil
	}}
	s := open(t, memstore.New(), opts, machine)
	register(t, s, "acme", "order", "1")
	handled := false
	s.Handle("order", func(context.Context, *entitystate.Change) error { handled = true; return nil })
	c := change("1", "processing")
	wantError(t, s.Transition(t.Context(), c), entitystate.ErrInvalidTransition, kernel.CodeFailed, "Cannot transition 'order'/'1' from 'new' to 'processing'", "'payload.paid' failed: there is no payload")
	c.Payload = "owed"
	wantError(t, s.Transition(t.Context(), c), entitystate.ErrInvalidTransition, kernel.CodeFailed, "'payload.paid' does not hold")
	if handled {
		t.Error("a handler was called")
	}
	expectState(t, s, "1", "new")
	c.Payload = "paid"
	if err := s.Transition(t.Context(), c); err != nil {
		t.Error(err)
	}
	if err := s.Transition(t.Context(), change("1", "shipped")); err != nil {
		t.Errorf("an edge without a guard: %v", err)
	}
	if want := slices.Repeat([]string{"payload.paid new->processing"}, 3); !slices.Equal(asked, want) {
		t.Errorf("asked %q", asked)
	}
	_, err := entitystate.New(memory.New(memstore.New(), memory.Options{}), []entitystate.Machine{machine}, entitystate.Options{})
	wantError(t, err, nil, kernel.CodeConfig, "has guards, which nothing here evaluates")
}

func TestCleanup(t *testing.T) {
	clock := newClock()
	s := open(t, memstore.New(), entitystate.Options{Now: clock.now}, order())
	register(t, s, "acme", "order", "1")
	clock.advance(time.Hour)
	if err := s.Transition(t.Context(), change("1", "processing")); err != nil {
		t.Fatal(err)
	}
	summary, err := s.Cleanup(t.Context(), "acme", "order", "1")
	if diff := cmp.Diff(&entitystate.Summary{FinalState: "processing", Lifetime: time.Hour, Transitions: 1}, summary); diff != "" || err != nil {
		t.Errorf("%s, %v", diff, err)
	}
	_, err = s.Cleanup(t.Context(), "acme", "order", "1")
	wantError(t, err, entitystate.ErrNotRegistered, kernel.CodeNotFound)
	wantError(t, s.Transition(t.Context(), change("1", "shipped")), entitystate.ErrNotRegistered, kernel.CodeNotFound, "not registered")
}

// An entity that is cleaned up while its handlers run is not brought back.
func TestCleanupWhileClaimed(t *testing.T) {
	s := orders(t)
	s.Handle("order", func(ctx context.Context, _ *entitystate.Change) error {
		_, err := s.Cleanup(ctx, "acme", "order", "1")
		return err
	})
	wantError(t, s.Transition(t.Context(), change("1", "processing")), entitystate.ErrStale, kernel.CodeFailed)
	_, err := s.State(t.Context(), "acme", "order", "1")
	wantError(t, err, entitystate.ErrNotRegistered, kernel.CodeNotFound)
}

func TestHistoryIsBounded(t *testing.T) {
	s := open(t, memstore.New(), entitystate.Options{})
	register(t, s, "acme", "order", "1")
	for i := range 2 * entitystate.MaxHistory {
		c := change("1", strings.Repeat(`"`, 60)+fmt.Sprint(i))
		c.Reason = strings.Repeat(`"`, 512)
		if err := s.Transition(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	history, err := s.History(t.Context(), "acme", "order", "1")
	if err != nil || len(history) != entitystate.MaxHistory || !strings.HasSuffix(history[len(history)-1].To, fmt.Sprint(2*entitystate.MaxHistory-1)) {
		t.Errorf("%d entries, %v", len(history), err)
	}
	summary, err := s.Cleanup(t.Context(), "acme", "order", "1")
	if err != nil || summary.Transitions != 2*entitystate.MaxHistory {
		t.Errorf("%+v, %v", summary, err)
	}
}

// TestOneWins: of many transitions from one state, through several keepers of one
// store, exactly one happens, with handlers and without.
func TestOneWins(t *testing.T) {
	everyKeeper(t, func(t *testing.T, two func(*testing.T) [2]entitystate.Keeper) {
		for _, handled := range []bool{false, true} {
			var states []*entitystate.States
			var entered atomic.Int64
			for _, k := range two(t) {
				s := keptIn(t, k, entitystate.Options{}, order())
				if handled {
					s.Handle("order", func(context.Context, *entitystate.Change) error {
						if entered.Add(1) != 1 {
							t.Error("two transitions are under way at once")
						}
						time.Sleep(time.Millisecond)
						entered.Add(-1)
						return nil
					})
				}
				states = append(states, s)
			}
			for round := range 5 {
				id := fmt.Sprint(round)
				register(t, states[0], "acme", "order", id)
				var won atomic.Int64
				var wg sync.WaitGroup
				for i := range 16 {
					wg.Go(func() {
						err := states[i%2].Transition(t.Context(), change(id, "processing"))
						switch {
						case err == nil:
							won.Add(1)
						case !errors.Is(err, entitystate.ErrStale) && !errors.Is(err, entitystate.ErrInvalidTransition):
							t.Error(err)
						}
					})
				}
				wg.Wait()
				if won.Load() != 1 {
					t.Errorf("handlers %v: %d won", handled, won.Load())
				}
				expectState(t, states[1], id, "new", "processing")
			}
		}
	})
}

func TestMachines(t *testing.T) {
	edges := func(from, to string) map[string][]entitystate.Edge {
		return map[string][]entitystate.Edge{from: {{To: to}}}
	}
	for _, c := range []struct {
		machine entitystate.Machine
		says    []string
	}{
		{entitystate.Machine{Entity: "order"}, []string{"'order': it has no initial state"}},
		{entitystate.Machine{Entity: "", Initial: "a"}, []string{"1 to 64 letters"}},
		{entitystate.Machine{Entity: "a:b", Initial: "a"}, []string{"1 to 64 letters"}},
		{entitystate.Machine{Entity: "order", Initial: "c", States: []string{"a", "b"}}, []string{"initial state 'c' is not one of its states", "a, b"}},
		{entitystate.Machine{Entity: "order", Initial: "a", States: []string{"a", "b"}, Transitions: edges("c", "b")}, []string{"from 'c' to 'b' names the state 'c'"}},
		{entitystate.Machine{Entity: "order", Initial: "a", States: []string{"a", "b"}, Transitions: edges("a", "d")}, []string{"names the state 'd'"}},
		{entitystate.Machine{Entity: "order", Initial: "a", Transitions: edges("a", "")}, []string{"names the state ''"}},
		{entitystate.Machine{Entity: "order", Initial: "a", Transitions: map[string][]entitystate.Edge{"a": {{To: "b"}, {To: "b"}}}}, []string{"two transitions from 'a' to 'b'"}},
		{entitystate.Machine{Entity: "order", States: []string{"a"}, Transitions: edges("x", "y")}, []string{"no initial state", "'x'", "'y'"}}, // all at once
	} {
		_, err := entitystate.New(memory.New(memstore.New(), memory.Options{}), []entitystate.Machine{c.machine}, entitystate.Options{})
		wantError(t, err, nil, kernel.CodeConfig, c.says...)
	}
	_, err := entitystate.New(nil, []entitystate.Machine{order(), order()}, entitystate.Options{})
	wantError(t, err, nil, kernel.CodeConfig, "two state machines 'order'")
}
