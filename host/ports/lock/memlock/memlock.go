// Package memlock keeps locks in this process, among whose runs they exclude each other.
package memlock

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/ports/lock/driver"
)

// The most permits of one lock, and the most that a tenant holds at once.
const (
	maxPermits = 10_000
	maxHeld    = 1 << 17
)

// sweepEvery is how often an Acquire looks for permits that have ended.
const sweepEvery = time.Minute

// Store is a driver.Store for one process.
type Store struct {
	begun time.Time // what all times are counted from
	micro int64     // begun, since 1970

	mu      sync.Mutex
	tenants map[string]*space // nil when closed
	last    uint64            // the fence of the last acquire
	spare   []*entry          // entries that nobody uses
}

// space is what one tenant's locks are. It stays when nobody holds one: the tenants are the operator's.
type space struct {
	locks map[string]*entry
	count int // of permits that are held
	swept time.Duration
}

// entry is a lock that somebody holds or waits for.
type entry struct {
	space   *space
	name    string
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
func New() *Store {
	now := time.Now()
	return &Store{begun: now, micro: now.UnixMicro(), tenants: map[string]*space{}}
}

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
	now := time.Since(s.begun)
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
		after := e.ends() - now
		s.mu.Unlock()
		return nil, &driver.HeldError{After: after}
	}
	w := &waiter{request: r, granted: make(chan *held, 1)}
	e.queue = append(e.queue, w)
	s.mu.Unlock()
	return s.wait(ctx, e, w)
}

// enter returns the lock of a request, without the permits that have ended.
func (s *Store) enter(r *driver.Request, now time.Duration) (*entry, error) {
	if s.tenants == nil {
		return nil, errClosed
	}
	t := s.tenants[r.Tenant]
	if t == nil {
		t = &space{locks: map[string]*entry{}, swept: now}
		s.tenants[r.Tenant] = t
	}
	if t.count >= maxHeld || now-t.swept >= sweepEvery {
		s.sweep(t, now)
	}
	if t.count >= maxHeld {
		return nil, driver.ErrFull
	}
	e := t.locks[r.Name]
	if e == nil {
		if n := len(s.spare); n > 0 {
			e, s.spare = s.spare[n-1], s.spare[:n-1]
		} else {
			e = &entry{}
		}
		e.space, e.name, e.permits = t, r.Name, r.Permits
		t.locks[r.Name] = e
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
func (s *Store) grant(e *entry, r *driver.Request, now time.Duration) *held {
	s.last = max(s.last+1, uint64(s.micro+now.Microseconds()))
	e.space.count++
	h := &held{store: s, entry: e, request: r, fence: s.last, from: now}
	e.holders = append(e.holders, h)
	return h
}

// wait is for a permit, or the end of the context. Somebody has to notice when a
// permit ends that nobody gives back: whoever waits.
func (s *Store) wait(ctx context.Context, e *entry, w *waiter) (driver.Held, error) {
	for {
		s.mu.Lock()
		now := time.Since(s.begun)
		s.expire(e, now)
		ends := e.ends()
		s.mu.Unlock()
		timer := time.NewTimer(ends - now + time.Millisecond)
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
			s.end(h, time.Since(s.begun))
		}
		return
	default:
	}
	e.queue = slices.DeleteFunc(e.queue, func(other *waiter) bool { return other == w })
	s.drop(e)
}

// ends returns when the first of the permits ends; never if none is held.
func (e *entry) ends() time.Duration {
	first := time.Duration(math.MaxInt64 / 2)
	for _, h := range e.holders {
		first = min(first, h.ends())
	}
	return first
}

// expire ends the permits whose time is up.
func (s *Store) expire(e *entry, now time.Duration) {
	for i := 0; i < len(e.holders); i++ {
		if h := e.holders[i]; h.ends() <= now {
			h.over = true
			e.holders = slices.Delete(e.holders, i, i+1)
			e.space.count--
			i--
		}
	}
	s.promote(e, now)
}

// promote gives the permits that are free to those who wait, the first first.
func (s *Store) promote(e *entry, now time.Duration) {
	for len(e.queue) > 0 && len(e.holders) < e.permits {
		w := e.queue[0]
		e.queue = slices.Delete(e.queue, 0, 1)
		w.granted <- s.grant(e, w.request, now)
	}
}

// end gives a permit up.
func (s *Store) end(h *held, now time.Duration) {
	e := h.entry
	h.over = true
	for i, other := range e.holders {
		if other == h {
			e.holders = slices.Delete(e.holders, i, i+1)
			e.space.count--
			break
		}
	}
	s.promote(e, now)
	s.drop(e)
}

// drop forgets a lock that nobody holds or waits for, where there are many: most are taken again.
func (s *Store) drop(e *entry) {
	const few, spares = 256, 64
	if len(e.space.locks) <= few || len(e.holders)+len(e.queue) > 0 || e.space.locks[e.name] != e {
		return
	}
	delete(e.space.locks, e.name)
	if len(s.spare) < spares {
		s.spare = append(s.spare, e)
	}
}

func (s *Store) sweep(t *space, now time.Duration) {
	t.swept = now
	for _, e := range t.locks {
		s.expire(e, now)
		s.drop(e)
	}
}

// Holders implements driver.Store.
func (s *Store) Holders(ctx context.Context, tenant, name string, limit int) ([]driver.Holder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tenants == nil {
		return nil, errClosed
	}
	now := time.Since(s.begun)
	var list []driver.Holder
	t := s.tenants[tenant]
	if t == nil {
		return nil, ctx.Err()
	}
	for _, e := range t.locks {
		if name != "" && e.name != name {
			continue
		}
		s.expire(e, now)
		for _, h := range e.holders {
			owner := h.request.Owner
			if owner.Since.IsZero() {
				owner.Since = s.begun.Add(h.from)
			}
			list = append(list, driver.Holder{Key: h.request.Key, Owner: owner, Fence: h.fence, Permits: e.permits, Left: h.ends() - now})
		}
	}
	return driver.Sorted(list, limit), ctx.Err()
}

// Close implements driver.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tenants {
		for _, e := range t.locks {
			for _, w := range e.queue {
				w.granted <- nil
			}
			e.queue = nil
		}
	}
	s.tenants = nil
	return nil
}
