// Package memlock keeps locks in this process, among whose runs they exclude each other.
package memlock

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/ports/lock/driver"
)

// The most permits of one lock, and the most that are held at once in a store.
const (
	maxPermits = 10_000
	maxHeld    = 1 << 20
)

// sweepEvery is how often an Acquire looks for permits that have ended.
const sweepEvery = time.Minute

// Store is a driver.Store for one process.
type Store struct {
	mu    sync.Mutex
	locks map[driver.Key]*entry // nil when closed
	last  uint64                // the fence of the last acquire
	count int                   // of permits that are held
	swept time.Time
	spare []*entry // entries that nobody uses
}

// entry is a lock that somebody holds or waits for.
type entry struct {
	permits int
	holders []*held
	queue   []*waiter // the first came first
}

type waiter struct {
	request *driver.Request
	granted chan *held // of one
}

var _ driver.Store = (*Store)(nil)

// New returns a store without locks.
func New() *Store { return &Store{locks: map[driver.Key]*entry{}, swept: time.Now()} }

var errClosed = errors.New("the store is closed")

// Promises implements driver.Store. Fences are of the clock where that is ahead of
// the count, so that they grow across restarts.
func (s *Store) Promises() driver.Promises {
	return driver.Promises{Issuer: "memory", Scope: "process", Fair: true, MinTTL: time.Millisecond, MaxPermits: maxPermits, Caveat: "Processes do not exclude each other."}
}

// Acquire implements driver.Store.
func (s *Store) Acquire(ctx context.Context, r *driver.Request) (driver.Held, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now := time.Now()
	s.mu.Lock()
	e, err := s.enter(r, now)
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	if len(e.queue) == 0 && len(e.holders) < e.permits {
		h := s.grant(e, r, now)
		s.mu.Unlock()
		return h, nil
	}
	if !r.Wait {
		after := e.ends().Sub(now)
		s.mu.Unlock()
		return nil, &driver.HeldError{After: after}
	}
	w := &waiter{request: r, granted: make(chan *held, 1)}
	e.queue = append(e.queue, w)
	s.mu.Unlock()
	return s.wait(ctx, e, w)
}

// enter returns the lock of a request, without the permits that have ended.
func (s *Store) enter(r *driver.Request, now time.Time) (*entry, error) {
	if s.locks == nil {
		return nil, errClosed
	}
	if s.count >= maxHeld || now.Sub(s.swept) >= sweepEvery {
		s.sweep(now)
	}
	if s.count >= maxHeld {
		return nil, driver.ErrFull
	}
	e := s.locks[r.Key]
	if e == nil {
		if n := len(s.spare); n > 0 {
			e, s.spare = s.spare[n-1], s.spare[:n-1]
		} else {
			e = &entry{}
		}
		e.permits = r.Permits
		s.locks[r.Key] = e
		return e, nil
	}
	s.expire(e, now)
	if e.permits != r.Permits {
		if len(e.holders)+len(e.queue) > 0 {
			return nil, driver.ErrPermits
		}
		e.permits = r.Permits
	}
	return e, nil
}

// grant gives a permit that is free.
func (s *Store) grant(e *entry, r *driver.Request, now time.Time) *held {
	s.last = max(s.last+1, uint64(now.UnixMicro()))
	s.count++
	h := &held{store: s, entry: e, request: r, fence: s.last, from: now}
	e.holders = append(e.holders, h)
	return h
}

// wait is for a permit, or the end of the context. Somebody has to notice when a
// permit ends that nobody gives back: whoever waits.
func (s *Store) wait(ctx context.Context, e *entry, w *waiter) (driver.Held, error) {
	for {
		s.mu.Lock()
		now := time.Now()
		s.expire(e, now)
		ends := e.ends()
		s.mu.Unlock()
		timer := time.NewTimer(ends.Sub(now) + time.Millisecond)
		select {
		case h := <-w.granted:
			timer.Stop()
			if h == nil {
				return nil, errClosed
			}
			return h, nil
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			s.leave(e, w)
			return nil, ctx.Err()
		}
	}
}

// leave takes out of the queue who waits no longer. A permit that it was given
// meanwhile is the next one's.
func (s *Store) leave(e *entry, w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case h := <-w.granted:
		if h != nil {
			s.end(h, time.Now())
		}
		return
	default:
	}
	e.queue = slices.DeleteFunc(e.queue, func(other *waiter) bool { return other == w })
	s.drop(e, w.request.Key)
}

// ends returns when the first of the permits ends; an hour from now if none is held.
func (e *entry) ends() time.Time {
	if len(e.holders) == 0 {
		return time.Now().Add(time.Hour)
	}
	first := e.holders[0].ends()
	for _, h := range e.holders[1:] {
		if t := h.ends(); t.Before(first) {
			first = t
		}
	}
	return first
}

// expire ends the permits whose time is up.
func (s *Store) expire(e *entry, now time.Time) {
	for i := 0; i < len(e.holders); i++ {
		if h := e.holders[i]; !h.ends().After(now) {
			h.over = true
			e.holders = slices.Delete(e.holders, i, i+1)
			s.count--
			i--
		}
	}
	s.promote(e, now)
}

// promote gives the permits that are free to those who wait, the first first.
func (s *Store) promote(e *entry, now time.Time) {
	for len(e.queue) > 0 && len(e.holders) < e.permits {
		w := e.queue[0]
		e.queue = slices.Delete(e.queue, 0, 1)
		w.granted <- s.grant(e, w.request, now)
	}
}

// end gives a permit up.
func (s *Store) end(h *held, now time.Time) {
	e := h.entry
	h.over = true
	for i, other := range e.holders {
		if other == h {
			e.holders = slices.Delete(e.holders, i, i+1)
			s.count--
			break
		}
	}
	s.promote(e, now)
	s.drop(e, h.request.Key)
}

// drop forgets a lock that nobody holds or waits for.
func (s *Store) drop(e *entry, key driver.Key) {
	const spares = 64
	if len(e.holders)+len(e.queue) > 0 || s.locks[key] != e {
		return
	}
	delete(s.locks, key)
	if len(s.spare) < spares {
		s.spare = append(s.spare, e)
	}
}

func (s *Store) sweep(now time.Time) {
	s.swept = now
	for key, e := range s.locks {
		s.expire(e, now)
		s.drop(e, key)
	}
}

// Holders implements driver.Store.
func (s *Store) Holders(ctx context.Context, tenant, name string, limit int) ([]driver.Holder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.locks == nil {
		return nil, errClosed
	}
	now := time.Now()
	var list []driver.Holder
	for key, e := range s.locks {
		if key.Tenant != tenant || name != "" && key.Name != name {
			continue
		}
		s.expire(e, now)
		for _, h := range e.holders {
			owner := h.request.Owner
			if owner.Since.IsZero() {
				owner.Since = h.from
			}
			list = append(list, driver.Holder{Key: key, Owner: owner, Fence: h.fence, Permits: e.permits, Left: h.ends().Sub(now)})
		}
	}
	return driver.Sorted(list, limit), ctx.Err()
}

// Close implements driver.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.locks {
		for _, w := range e.queue {
			w.granted <- nil
		}
		e.queue = nil
	}
	s.locks = nil
	return nil
}
