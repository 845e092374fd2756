package locktest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/lock"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
)

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
