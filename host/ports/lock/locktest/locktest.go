// Package locktest is the suite that every backend of the lock port passes, and the check of
// histories that faults left behind.
package locktest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/lock"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
)

// Harness opens one more store on the same, empty backend. A backend for one process
// returns the same store again. The suite closes what it opens.
type Harness func(t *testing.T) driver.Store

// Run runs the suite. open returns a harness of an empty backend.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, c := range []struct {
		name string
		test func(*suite)
		slow bool // it waits for leases to end
	}{
		{"Exclusion", (*suite).testExclusion, false}, {"Owner", (*suite).testOwner, true}, {"Tenants", (*suite).testTenants, false}, {"Names", (*suite).testNames, false},
		{"Fences", (*suite).testFences, false}, {"TTL", (*suite).testTTL, true}, {"Renew", (*suite).testRenew, true}, {"From", (*suite).testFrom, false}, {"Keep", (*suite).testKeep, true},
		{"LostBeforeTheServer", (*suite).testLostBeforeTheServer, true}, {"PausedHolder", (*suite).testPausedHolder, true},
		{"Wait", (*suite).testWait, false}, {"WaitEnds", (*suite).testWaitEnds, false}, {"WaitExpiry", (*suite).testWaitExpiry, true}, {"Fair", (*suite).testFair, false},
		{"Semaphore", (*suite).testSemaphore, false}, {"Permits", (*suite).testPermits, false}, {"Detached", (*suite).testDetached, true}, {"Holders", (*suite).testHolders, false}, {"Counter", (*suite).testCounter, false},
		{"Election", (*suite).testElection, false}, {"Holder", (*suite).testHolder, false}, {"Arguments", (*suite).testArguments, false}, {"Ended", (*suite).testEnded, false}, {"Closed", (*suite).testClosed, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := &suite{T: t, open: open(t)}
			s.store = s.open(t)
			t.Cleanup(func() { _ = s.store.Close() })
			s.promises = s.store.Promises()
			if c.slow && testing.Short() && s.promises.MinTTL > time.Second {
				t.Skip("its leases are too long for -short")
			}
			s.ttl = max(s.promises.MinTTL, 400*time.Millisecond)
			c.test(s)
		})
	}
}

// suite is one test of a backend.
type suite struct {
	*testing.T
	open     Harness
	store    driver.Store
	promises driver.Promises
	ttl      time.Duration // short, for the backend
}

func (s *suite) locks() *lock.Locks { return lock.New(s.store, lock.Options{}) }

func (s *suite) try(name string, ask lock.Ask) (*lock.Lease, error) {
	return s.locks().Acquire(s.Context(), "acme", name, ask)
}

func (s *suite) acquire(name string, ask lock.Ask) *lock.Lease {
	s.Helper()
	lease, err := s.try(name, ask)
	if err != nil {
		s.Fatalf("acquire %q: %v", name, err)
	}
	return lease
}

func (s *suite) release(lease *lock.Lease) {
	s.Helper()
	if err := lease.Release(s.Context()); err != nil {
		s.Errorf("release %q: %v", lease.Name(), err)
	}
}

func (s *suite) expect(err error, code kernel.Code, what string) {
	s.Helper()
	if kernel.CodeOf(err) != code {
		s.Errorf("%s: %v, want %s", what, err, code)
	}
}

func (s *suite) request() *driver.Request {
	return &driver.Request{Key: driver.Key{Tenant: "acme", Name: "orders"}, TTL: s.ttl, Permits: 1}
}

func (s *suite) testExclusion() {
	first := s.acquire("orders", lock.Ask{})
	_, err := s.try("orders", lock.Ask{})
	s.expect(err, kernel.CodeLockHeld, "a second holder")
	other, err := lock.New(s.open(s.T), lock.Options{}).Acquire(s.Context(), "acme", "orders", lock.Ask{})
	s.expect(err, kernel.CodeLockHeld, "a second holder through another store")
	if other != nil || !first.Valid() {
		s.Errorf("two hold the lock, or none")
	}
	s.release(first)
	if first.Valid() {
		s.Errorf("what was released is held")
	}
	s.release(s.acquire("orders", lock.Ask{}))
}

func (s *suite) testOwner() {
	first := s.acquire("orders", lock.Ask{TTL: s.ttl})
	<-first.Lost()
	second := s.acquire("orders", lock.Ask{Wait: lock.Forever})
	s.expect(first.Release(s.Context()), kernel.CodeLockLost, "who held the lock releases the next one's")
	s.expect(first.Renew(s.Context()), kernel.CodeLockLost, "who held the lock renews the next one's")
	_, err := s.try("orders", lock.Ask{})
	s.expect(err, kernel.CodeLockHeld, "a third holder")
	if err := second.Renew(s.Context()); err != nil {
		s.Errorf("the second holder's renewal: %v", err)
	}
	s.release(second)
	s.expect(second.Release(s.Context()), kernel.CodeLockLost, "a second release")
}

func (s *suite) testTenants() {
	for _, tenant := range []string{"", "a", "A", "a/", "a/b", "a.b", "a\x00b", "a\xff", "'", "*", ">", "a b"} {
		if _, err := s.locks().Acquire(s.Context(), tenant, "orders", lock.Ask{}); err != nil {
			s.Errorf("tenant %q: %v", tenant, err)
		}
		list, err := s.locks().Holders(s.Context(), tenant, "", 100)
		if err != nil || len(list) != 1 || list[0].Tenant != tenant || list[0].Name != "orders" {
			s.Errorf("tenant %q sees %+v, %v", tenant, list, err)
		}
	}
}

func (s *suite) testNames() {
	for _, name := range []string{"a", "A", " a", "a ", "a.", "a.b", "a/b", "a/", ".", "..", "*", ">", "%", "_", "=", "a=20b", "'", `"`, `'; DROP TABLE hexdag_locks; --`, "é", "日本", "🦔", `a\b`, "{a}", strings.Repeat("n", 256)} {
		lease, err := s.try(name, lock.Ask{})
		if err != nil {
			s.Errorf("%q: %v", name, err)
			continue
		}
		if locked, err := s.locks().IsLocked(s.Context(), "acme", name); !locked || err != nil {
			s.Errorf("%q: locked is %v, %v", name, locked, err)
		}
		s.release(lease)
		if locked, err := s.locks().IsLocked(s.Context(), "acme", name); locked || err != nil {
			s.Errorf("%q, released: locked is %v, %v", name, locked, err)
		}
	}
}

func (s *suite) testFences() {
	var last uint64
	stores := []driver.Store{s.store, s.open(s.T)}
	for i := range 20 {
		held, err := stores[i%2].Acquire(s.Context(), s.request())
		if err != nil {
			s.Fatal(err)
		}
		if held.Fence() <= last {
			s.Fatalf("fence %d comes after %d", held.Fence(), last)
		}
		last = held.Fence()
		if err := held.Renew(s.Context()); err != nil || held.Fence() != last {
			s.Fatalf("renewed: %v, fence %d, want %d", err, held.Fence(), last)
		}
		if err := held.Release(s.Context()); err != nil {
			s.Fatal(err)
		}
	}
	if s.promises.Issuer == "" {
		s.Error("nobody says what counts the fences")
	}
}

// testTTL: a permit ends with its TTL, and not before.
func (s *suite) testTTL() {
	before := time.Now()
	if _, err := s.store.Acquire(s.Context(), s.request()); err != nil {
		s.Fatal(err)
	}
	for {
		start := time.Now()
		held, err := s.store.Acquire(s.Context(), s.request())
		if err == nil {
			if start = time.Now(); start.Sub(before) < s.ttl {
				s.Errorf("the permit ended after %s, its TTL is %s", start.Sub(before), s.ttl)
			}
			_ = held.Release(s.Context())
			return
		}
		if !errors.Is(err, driver.ErrHeld) {
			s.Fatal(err)
		}
		if start.Sub(before) > s.longest() {
			s.Fatalf("the permit has not ended after %s, its TTL is %s", start.Sub(before), s.ttl)
		}
		time.Sleep(s.ttl / 50)
	}
}

// longest is when a lease of the suite's TTL has ended on any backend, on a busy machine.
func (s *suite) longest() time.Duration { return 3*s.ttl + 10*time.Second }

// testRenew: a permit that is renewed outlives its TTL, and ends once nobody renews it.
func (s *suite) testRenew() {
	held, err := s.store.Acquire(s.Context(), s.request())
	if err != nil {
		s.Fatal(err)
	}
	for range 12 { // three TTLs
		time.Sleep(s.ttl / 4)
		if err := held.Renew(s.Context()); err != nil {
			s.Fatalf("renew: %v", err)
		}
	}
	if _, err := s.store.Acquire(s.Context(), s.request()); !errors.Is(err, driver.ErrHeld) {
		s.Errorf("a renewed lock: %v, want ErrHeld", err)
	}
	next := s.request()
	next.Wait = true
	ctx, cancel := context.WithTimeout(s.Context(), s.longest())
	defer cancel()
	if _, err := s.store.Acquire(ctx, next); err != nil {
		s.Errorf("a lock that nobody renews any more: %v", err)
	}
	if err := held.Renew(s.Context()); !errors.Is(err, driver.ErrLost) {
		s.Errorf("renewing what has ended: %v, want ErrLost", err)
	}
}

// testFrom: what the holder counts its TTL from is never later than what the store does.
func (s *suite) testFrom() {
	before := time.Now()
	held, err := s.store.Acquire(s.Context(), s.request())
	after := time.Now()
	if err != nil {
		s.Fatal(err)
	}
	if from := held.From(); from.After(after) || before.Sub(from) > s.ttl {
		s.Errorf("the TTL counts from %s after the call began, which took %s", from.Sub(before), after.Sub(before))
	}
	before = time.Now()
	if err := held.Renew(s.Context()); err != nil {
		s.Fatal(err)
	}
	if from := held.From(); from.Before(before) || from.After(time.Now()) {
		s.Errorf("after a renewal the TTL counts from %s after its beginning", from.Sub(before))
	}
}

func (s *suite) testKeep() {
	lease := s.acquire("orders", lock.Ask{TTL: s.ttl})
	lease.Keep()
	select {
	case <-lease.Lost():
		s.Fatal("a lease that is kept was lost")
	case <-time.After(3 * s.ttl):
	}
	_, err := s.try("orders", lock.Ask{})
	s.expect(err, kernel.CodeLockHeld, "a lock that is kept")
	s.release(lease)
	<-lease.Lost()
	s.release(s.acquire("orders", lock.Ask{}))
}

// testLostBeforeTheServer: the holder is told before another can have the lock.
func (s *suite) testLostBeforeTheServer() {
	lease := s.acquire("orders", lock.Ask{TTL: s.ttl})
	var lost atomic.Int64
	go func() {
		<-lease.Lost()
		lost.Store(time.Now().UnixNano())
	}()
	next, err := lock.New(s.open(s.T), lock.Options{}).Acquire(s.Context(), "acme", "orders", lock.Ask{Wait: s.longest()})
	at := time.Now().UnixNano()
	if err != nil {
		s.Fatal(err)
	}
	if l := lost.Load(); l == 0 || l > at {
		s.Errorf("the next one had the lock %s before its holder had lost it", time.Duration(l-at))
	}
	if lease.Valid() {
		s.Error("two hold the lock")
	}
	s.release(next)
}

// testPausedHolder: who is paused past its lease has a smaller token than who came next.
func (s *suite) testPausedHolder() {
	resource := &register{}
	paused := s.acquire("orders", lock.Ask{TTL: s.ttl})
	if !resource.write(paused.Token()) {
		s.Fatal("the first write was refused")
	}
	next := s.acquire("orders", lock.Ask{Wait: s.longest()}) // meanwhile the first does nothing
	if !resource.write(next.Token()) {
		s.Errorf("the next holder's write was refused: its token is %d, after %d", next.Token(), paused.Token())
	}
	if resource.write(paused.Token()) {
		s.Error("a stale holder has written")
	}
	s.expect(paused.Release(s.Context()), kernel.CodeLockLost, "a stale holder's release")
	s.release(next)
}

// register is a resource that takes tokens.
type register struct{ seen uint64 }

func (r *register) write(token uint64) bool {
	if token < r.seen {
		return false
	}
	r.seen = token
	return true
}

func (s *suite) testWait() {
	first := s.acquire("orders", lock.Ask{})
	had := make(chan error, 1)
	go func() {
		lease, err := s.try("orders", lock.Ask{Wait: 20 * time.Second})
		if err == nil {
			err = lease.Release(s.Context())
		}
		had <- err
	}()
	select {
	case err := <-had:
		s.Fatalf("a lock that is held: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	s.release(first)
	if err := <-had; err != nil {
		s.Errorf("who waited: %v", err)
	}
}

func (s *suite) testWaitEnds() {
	first := s.acquire("orders", lock.Ask{})
	begun := time.Now()
	_, err := s.try("orders", lock.Ask{Wait: 100 * time.Millisecond})
	s.expect(err, kernel.CodeLockHeld, "a wait that was too short")
	if took := time.Since(begun); took < 90*time.Millisecond || took > 5*time.Second {
		s.Errorf("a wait of 100 ms took %s", took)
	}
	ctx, cancel := context.WithTimeout(s.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = s.locks().Acquire(ctx, "acme", "orders", lock.Ask{Wait: lock.Forever})
	s.expect(err, kernel.CodeTimeout, "a context that ended")
	ctx, cancel = context.WithCancel(s.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err = s.locks().Acquire(ctx, "acme", "orders", lock.Ask{Wait: lock.Forever})
	s.expect(err, kernel.CodeCanceled, "a context that was canceled")
	s.release(first)
	s.release(s.acquire("orders", lock.Ask{})) // nobody who gave up got it
}

func (s *suite) testWaitExpiry() {
	if _, err := s.store.Acquire(s.Context(), s.request()); err != nil { // nobody gives it back
		s.Fatal(err)
	}
	s.release(s.acquire("orders", lock.Ask{Wait: s.longest()}))
}

func (s *suite) testFair() {
	if !s.promises.Fair {
		s.Skip("the backend does not promise it")
	}
	first := s.acquire("orders", lock.Ask{})
	var mu sync.Mutex
	var order []int
	var all sync.WaitGroup
	for i := range 5 {
		all.Go(func() {
			lease, err := s.try("orders", lock.Ask{Wait: 20 * time.Second})
			if err != nil {
				s.Errorf("waiter %d: %v", i, err)
				return
			}
			mu.Lock()
			order = append(order, i)
			mu.Unlock()
			if err := lease.Release(s.Context()); err != nil {
				s.Errorf("waiter %d: %v", i, err)
			}
		})
		time.Sleep(50 * time.Millisecond)
	}
	s.release(first)
	all.Wait()
	if fmt.Sprint(order) != "[0 1 2 3 4]" {
		s.Errorf("they came in the order 0 1 2 3 4 and had the lock in %v", order)
	}
}

func (s *suite) testSemaphore() {
	const permits, takers = 3, 8
	var now, most, had atomic.Int64
	var all sync.WaitGroup
	stores := []driver.Store{s.store, s.open(s.T)}
	for i := range takers {
		locks := lock.New(stores[i%2], lock.Options{})
		all.Go(func() {
			for range 3 {
				lease, err := locks.Acquire(s.Context(), "acme", "calls", lock.Ask{Permits: permits, Wait: 30 * time.Second})
				if err != nil {
					s.Error(err)
					return
				}
				had.Add(1)
				for n := now.Add(1); ; {
					if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
						break
					}
				}
				time.Sleep(5 * time.Millisecond)
				now.Add(-1)
				if err := lease.Release(s.Context()); err != nil {
					s.Error(err)
				}
			}
		})
	}
	all.Wait()
	if most.Load() > permits || had.Load() != takers*3 {
		s.Errorf("%d at once had one of %d permits, %d in all", most.Load(), permits, had.Load())
	}
	if most.Load() < 2 {
		s.Errorf("%d permits were used one by one", permits)
	}
}

func (s *suite) testPermits() {
	a, b := s.acquire("calls", lock.Ask{Permits: 2}), s.acquire("calls", lock.Ask{Permits: 2})
	if a.Token() == b.Token() {
		s.Error("two permits have one token")
	}
	if a.Fence() != (kernel.Fence{}) {
		s.Error("a semaphore's token fences")
	}
	_, err := s.try("calls", lock.Ask{Permits: 2})
	s.expect(err, kernel.CodeLockHeld, "a third permit of two")
	_, err = s.try("calls", lock.Ask{Permits: 3})
	s.expect(err, kernel.CodeArguments, "another number of permits")
	s.release(a)
	if locked, err := s.locks().IsLocked(s.Context(), "acme", "calls"); locked || err != nil {
		s.Errorf("with a permit free: locked is %v, %v", locked, err)
	}
	s.release(s.acquire("calls", lock.Ask{Permits: 2}))
	s.release(b)
	s.release(s.acquire("calls", lock.Ask{Permits: 3}))
	_, err = s.try("calls", lock.Ask{Permits: s.promises.MaxPermits + 1})
	s.expect(err, kernel.CodeArguments, "too many permits")
}

// testDetached: permits that nobody gives back or renews are a number of calls in a time, in any window of it.
func (s *suite) testDetached() {
	const permits = 3
	var taken []time.Time
	for begun := time.Now(); len(taken) < 3*permits; {
		if time.Since(begun) > 4*s.longest() {
			s.Fatalf("%d permits of %d in %s", len(taken), permits, time.Since(begun))
		}
		call := time.Now()
		_, err := s.try("calls", lock.Ask{TTL: s.ttl, Permits: permits})
		switch {
		case err == nil:
			taken = append(taken, time.Now())
			if n := len(taken) - 1 - permits; n >= 0 && time.Since(taken[n]) < s.ttl-time.Since(call) {
				s.Errorf("%d permits of %d within %s", permits+1, permits, time.Since(taken[n]))
			}
		case kernel.CodeOf(err) != kernel.CodeLockHeld:
			s.Fatal(err)
		default:
			time.Sleep(s.ttl / 20)
		}
	}
}

func (s *suite) testHolders() {
	owner := lock.Owner{Principal: "ann", Run: "r1", Pipeline: "import", Node: "write", Module: "loader"}
	lease := s.acquire("orders", lock.Ask{Owner: owner})
	s.acquire("other", lock.Ask{})
	list, err := s.locks().Holders(s.Context(), "acme", "orders", 10)
	if err != nil || len(list) != 1 {
		s.Fatalf("%+v, %v", list, err)
	}
	h := list[0]
	if h.Owner.Since.IsZero() || h.Left <= 0 || h.Fence != lease.Token() || h.Permits != 1 || h.Name != "orders" {
		s.Errorf("%+v", h)
	}
	h.Owner.Since = time.Time{}
	if h.Owner != owner {
		s.Errorf("%+v, want %+v", h.Owner, owner)
	}
	if list, err = s.locks().Holders(s.Context(), "acme", "", 10); err != nil || len(list) != 2 {
		s.Errorf("all: %+v, %v", list, err)
	}
	if list, err = s.locks().Holders(s.Context(), "acme", "", 1); err != nil || len(list) != 1 {
		s.Errorf("one: %+v, %v", list, err)
	}
	if list, err = s.locks().Holders(s.Context(), "acme", "none", 10); err != nil || len(list) != 0 {
		s.Errorf("none: %+v, %v", list, err)
	}
}

// testCounter: what is read and written under the lock loses nothing, and tokens rise in the order of the holders.
func (s *suite) testCounter() {
	const takers, rounds = 6, 10
	count, last := 0, uint64(0) // guarded by the lock alone
	var all sync.WaitGroup
	stores := []driver.Store{s.store, s.open(s.T), s.open(s.T)}
	for i := range takers {
		locks := lock.New(stores[i%3], lock.Options{})
		all.Go(func() {
			for range rounds {
				lease, err := locks.Acquire(s.Context(), "acme", "count", lock.Ask{Wait: 60 * time.Second})
				if err != nil {
					s.Error(err)
					return
				}
				if lease.Token() <= last {
					s.Errorf("token %d comes after %d", lease.Token(), last)
				}
				last = lease.Token()
				count++
				if err := lease.Release(s.Context()); err != nil {
					s.Error(err)
				}
			}
		})
	}
	all.Wait()
	if count != takers*rounds {
		s.Errorf("%d of %d", count, takers*rounds)
	}
}

func (s *suite) testElection() {
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	var leaders, terms atomic.Int64
	var all sync.WaitGroup
	for i := range 3 {
		locks := lock.New(s.open(s.T), lock.Options{})
		all.Go(func() {
			for ctx.Err() == nil {
				err := locks.Lead(ctx, "acme", "leader", lock.Ask{Owner: lock.Owner{Principal: fmt.Sprint(i)}}, func(context.Context, *lock.Lease) error {
					if n := leaders.Add(1); n > 1 {
						s.Errorf("%d lead", n)
					}
					defer leaders.Add(-1)
					if who, err := locks.Leader(ctx, "acme", "leader"); ctx.Err() == nil && (err != nil || who == nil || who.Owner.Principal != fmt.Sprint(i)) {
						s.Errorf("%d leads, and is said to be %+v, %v", i, who, err)
					}
					if terms.Add(1) == 6 {
						cancel()
					}
					return nil // resigns
				})
				if err != nil && ctx.Err() == nil {
					s.Errorf("%d: %v", i, err)
				}
			}
		})
	}
	all.Wait()
	if terms.Load() < 6 {
		s.Errorf("%d terms", terms.Load())
	}
}

func (s *suite) testHolder() {
	ann, bob := s.locks().Holder("acme", lock.Owner{Principal: "ann"}), s.locks().Holder("acme", lock.Owner{Principal: "bob"})
	for _, step := range []struct {
		who  *lock.Holder
		want bool
	}{{ann, true}, {bob, false}} {
		if got, err := step.who.Acquire(s.Context(), "orders", 0); got != step.want || err != nil {
			s.Errorf("acquire: %v, %v, want %v", got, err, step.want)
		}
	}
	s.expect(bob.Release(s.Context(), "orders"), kernel.CodeLockLost, "bob releases ann's lock")
	if locked, err := bob.IsLocked(s.Context(), "orders"); !locked || err != nil {
		s.Errorf("locked is %v, %v", locked, err)
	}
	if err := ann.Release(s.Context(), "orders"); err != nil {
		s.Error(err)
	}
	if got, err := bob.Acquire(s.Context(), "orders", lock.Forever); !got || err != nil {
		s.Errorf("bob: %v, %v", got, err)
	}
	if err := bob.Close(s.Context()); err != nil {
		s.Error(err)
	}
	if locked, err := ann.IsLocked(s.Context(), "orders"); locked || err != nil {
		s.Errorf("after its holder's end: locked is %v, %v", locked, err)
	}
}

func (s *suite) testArguments() {
	for _, name := range []string{"", "a\nb", "a\x00", "\xff", strings.Repeat("n", 257)} {
		_, err := s.try(name, lock.Ask{})
		s.expect(err, kernel.CodeArguments, fmt.Sprintf("the name %q", name))
	}
	for _, ask := range []lock.Ask{{TTL: -1}, {TTL: time.Millisecond}, {TTL: 25 * time.Hour}, {Permits: -1}} {
		_, err := s.try("orders", ask)
		s.expect(err, kernel.CodeArguments, fmt.Sprintf("%+v", ask))
	}
}

func (s *suite) testEnded() {
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	_, err := s.locks().Acquire(ctx, "acme", "orders", lock.Ask{})
	s.expect(err, kernel.CodeCanceled, "an ended context")
	lease := s.acquire("orders", lock.Ask{})
	s.expect(lease.Renew(ctx), kernel.CodeCanceled, "a renewal in an ended context")
	if !lease.Valid() {
		s.Error("a renewal that did not happen lost the lease")
	}
	s.release(lease)
}

func (s *suite) testClosed() {
	lease := s.acquire("orders", lock.Ask{})
	if err := s.store.Close(); err != nil {
		s.Errorf("Close: %v", err)
	}
	if _, err := s.try("other", lock.Ask{}); err == nil {
		s.Error("a closed store gave a lock")
	}
	if err := lease.Renew(s.Context()); err == nil || kernel.CodeOf(err) == kernel.CodeLockLost && s.promises.Scope != "process" {
		s.Errorf("a renewal at a closed store: %v", err)
	}
}
