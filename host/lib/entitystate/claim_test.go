package entitystate_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/entitystate"
	"github.com/hexdag/hexdag/host/ports/datastore"
	"github.com/hexdag/hexdag/host/ports/datastore/memdocs"
	"github.com/hexdag/hexdag/host/ports/memory"
	"github.com/hexdag/hexdag/host/ports/memory/memstore"
)

// TestClaimIsRenewed: handlers may take as long as they like, and nobody else changes the entity meanwhile.
func TestClaimIsRenewed(t *testing.T) {
	everyKeeper(t, func(t *testing.T, two func(*testing.T) [2]entitystate.Keeper) {
		synctest.Test(t, func(t *testing.T) {
			keepers := two(t)
			counted := &cut{Keeper: keepers[0]}
			slow, other := keptIn(t, counted, entitystate.Options{}, order()), keptIn(t, keepers[1], entitystate.Options{}, order())
			register(t, slow, "acme", "order", "1")
			slow.Handle("order", func(ctx context.Context, _ *entitystate.Change) error {
				for range 40 {
					time.Sleep(31 * time.Second)
					if err := ctx.Err(); err != nil {
						return kernel.ContextError(ctx)
					}
					wantError(t, other.Transition(ctx, change("1", "processing")), entitystate.ErrStale, kernel.CodeRetry, "another transition of 'order'/'1' is under way")
				}
				return nil
			})
			if err := slow.Transition(t.Context(), change("1", "processing")); err != nil {
				t.Fatal(err)
			}
			if swaps := counted.swapped.Load(); swaps < 60 { // in 20 minutes, one in 20 seconds
				t.Errorf("it was swapped %d times", swaps)
			}
			expectState(t, other, "1", "new", "processing")
			if err := other.Transition(t.Context(), change("1", "shipped")); err != nil {
				t.Errorf("the claim was not given up: %v", err)
			}
		})
	})
}

// cut is a keeper that can no longer be reached, once it is told to be, by the one who has it.
type cut struct {
	entitystate.Keeper
	off, unheard atomic.Bool // unheard: the next swap happens, but its answer does not come
	swapped      atomic.Int64
}

var errCut = &kernel.Error{Code: kernel.CodeUnavailable, What: "nobody answers"}

func (k *cut) Get(ctx context.Context, scope, key string) (kernel.Value, bool, error) {
	if k.off.Load() {
		return nil, false, errCut
	}
	return k.Keeper.Get(ctx, scope, key)
}

func (k *cut) CompareAndSwap(ctx context.Context, scope, key string, expected, value kernel.Value, ttl time.Duration) (bool, error) {
	if k.off.Load() {
		return false, errCut
	}
	done, err := k.Keeper.CompareAndSwap(ctx, scope, key, expected, value, ttl)
	if done {
		k.swapped.Add(1)
	}
	if k.unheard.CompareAndSwap(true, false) {
		return false, errCut
	}
	return done, err
}

// TestDeadHostFreesTheEntity: a claim that nobody renews ends within a minute of when it was renewed last, in every store.
func TestDeadHostFreesTheEntity(t *testing.T) {
	everyKeeper(t, func(t *testing.T, two func(*testing.T) [2]entitystate.Keeper) {
		keepers := two(t)
		dying := &cut{Keeper: keepers[0]}
		opts := entitystate.Options{Claim: 300 * time.Millisecond}
		dead, other := keptIn(t, dying, opts, order()), keptIn(t, keepers[1], opts, order())
		register(t, dead, "acme", "order", "1")
		dead.Handle("order", func(context.Context, *entitystate.Change) error {
			dying.off.Store(true)
			return nil
		})
		wantError(t, dead.Transition(t.Context(), change("1", "processing")), errCut, kernel.CodeUnavailable)
		for {
			err := other.Transition(t.Context(), change("1", "processing"))
			if err == nil {
				break
			}
			if kernel.CodeOf(err) != kernel.CodeRetry {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond)
		}
		expectState(t, other, "1", "new", "processing")
	})
}

// TestUnreachableKeeper: whoever cannot renew its claim is stopped before anybody else can have the entity, which is after a minute.
func TestUnreachableKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New(memstore.New(), memory.Options{})
		k := &cut{Keeper: store}
		s, other := keptIn(t, k, entitystate.Options{}, order()), keptIn(t, store, entitystate.Options{}, order())
		register(t, s, "acme", "order", "1")
		began := time.Now()
		s.Handle("order", func(ctx context.Context, _ *entitystate.Change) error {
			time.Sleep(30 * time.Second) // it was renewed after 20
			k.off.Store(true)
			<-ctx.Done()
			if after := time.Since(began); after < 70*time.Second || after >= 80*time.Second {
				t.Errorf("stopped after %v", after)
			}
			wantError(t, other.Transition(t.Context(), change("1", "processing")), entitystate.ErrStale, kernel.CodeRetry)
			return kernel.ContextError(ctx)
		})
		wantError(t, s.Transition(t.Context(), change("1", "processing")), entitystate.ErrStale, kernel.CodeFailed, "the claim on 'order'/'1' is lost", "it could not be renewed in time", "nobody answers")
		time.Sleep(81*time.Second - time.Since(began))
		if err := other.Transition(t.Context(), change("1", "processing")); err != nil {
			t.Errorf("after the claim: %v", err)
		}
	})
}

// TestUncertainRenewal: a renewal whose answer does not come may have happened. It is found out, in a further renewal, at the end and
// when the claim is given up.
func TestUncertainRenewal(t *testing.T) {
	for name, tc := range map[string]struct {
		further time.Duration
		fails   error
	}{"renewed again": {further: time.Minute}, "done": {}, "given up": {fails: errors.New("no stock")}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memory.New(memstore.New(), memory.Options{})
				k := &cut{Keeper: store}
				s, other := keptIn(t, k, entitystate.Options{}, order()), keptIn(t, store, entitystate.Options{}, order())
				register(t, s, "acme", "order", "1")
				s.Handle("order", func(context.Context, *entitystate.Change) error {
					k.unheard.Store(true)
					time.Sleep(21*time.Second + tc.further)
					if k.unheard.Load() {
						t.Error("nothing was renewed")
					}
					return tc.fails
				})
				if err := s.Transition(t.Context(), change("1", "processing")); !errors.Is(err, tc.fails) {
					t.Fatal(err)
				}
				if tc.fails == nil {
					expectState(t, other, "1", "new", "processing")
				} else if err := other.Transition(t.Context(), change("1", "processing")); err != nil {
					t.Errorf("the claim was not given up: %v", err)
				}
			})
		})
	}
}

// TestClaimIsLost: a handler whose entity somebody removes, or registers anew, is stopped.
func TestClaimIsLost(t *testing.T) {
	for name, lose := range map[string]func(*entitystate.States) error{
		"removed": func(s *entitystate.States) error {
			_, err := s.Cleanup(t.Context(), "acme", "order", "1")
			return err
		},
		"registered": func(s *entitystate.States) error {
			_, err := s.Register(t.Context(), "acme", "order", "1", "")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := orders(t)
				s.Handle("order", func(ctx context.Context, _ *entitystate.Change) error {
					if err := lose(s); err != nil {
						t.Error(err)
					}
					<-ctx.Done()
					return kernel.ContextError(ctx)
				})
				wantError(t, s.Transition(t.Context(), change("1", "processing")), entitystate.ErrStale, kernel.CodeFailed, "the claim on 'order'/'1' is lost", "registered anew or removed")
			})
		})
	}
}

// TestClocksDiffer: what a claim is worth does not depend on the clocks of those who look at it.
func TestClocksDiffer(t *testing.T) {
	everyKeeper(t, func(t *testing.T, two func(*testing.T) [2]entitystate.Keeper) {
		keepers := two(t)
		for i, by := range []time.Duration{-time.Hour, time.Hour} {
			slow := keptIn(t, keepers[0], entitystate.Options{}, order())
			other := keptIn(t, keepers[1], entitystate.Options{Now: func() time.Time { return time.Now().Add(by) }}, order())
			id := []string{"behind", "ahead"}[i]
			register(t, slow, "acme", "order", id)
			slow.Handle("order", func(ctx context.Context, _ *entitystate.Change) error {
				wantError(t, other.Transition(ctx, change(id, "processing")), entitystate.ErrStale, kernel.CodeRetry)
				return nil
			})
			if err := slow.Transition(t.Context(), change(id, "processing")); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestLabelsOfRenewals: what a handler learns before it fails is not in what a renewal keeps, nor does a renewal teach the handler.
func TestLabelsOfRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		documents := datastore.New(memdocs.New())
		s := keptIn(t, entitystate.Documents(func(context.Context) (*datastore.Store, error) { return documents, nil }, 0), entitystate.Options{}, order())
		register(t, s, "acme", "order", "1")
		untrusted, err := kernel.NewLabels(kernel.Untrusted, kernel.Public)
		if err != nil {
			t.Fatal(err)
		}
		s.Handle("order", func(ctx context.Context, _ *entitystate.Change) error {
			kernel.FlowFrom(ctx).Join(untrusted)
			time.Sleep(time.Minute)
			seen := kernel.NewFlow(nil)
			if _, err := s.State(kernel.WithFlow(ctx, seen), "acme", "order", "1"); err != nil || seen.Labels().Integrity() == kernel.Untrusted {
				t.Errorf("%v, %v", seen.Labels(), err)
			}
			return nil
		})
		if err := s.Transition(kernel.WithFlow(t.Context(), kernel.NewFlow(nil)), change("1", "processing")); err != nil {
			t.Fatal(err)
		}
		seen := kernel.NewFlow(nil)
		if _, err := s.State(kernel.WithFlow(t.Context(), seen), "acme", "order", "1"); err != nil || seen.Labels().Integrity() != kernel.Untrusted {
			t.Errorf("the change has not what its handler learned: %v, %v", seen.Labels(), err)
		}
	})
}
