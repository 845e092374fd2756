// Package leaselock keeps the processes apart that share a bucket of artifacts which has nothing to lock with,
// by leases of the lock port: the Lock of blobartifacts, natsartifacts and mlflowartifacts.
//
// A lease is not mutual exclusion (see package lock): who is paused for longer than its lease goes on
// beside others. So what nothing needs stays for a day all the same.
package leaselock

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/lock"
)

const (
	// tenant has the locks, so that no run can name them.
	tenant = "hexdag:artifacts"
	// sharers is how many processes share a lock at once; more wait for their turn.
	sharers = 8
	// longest is for how long a process lets others of its goroutines join before it gives its share back.
	longest = time.Second
	// giveBack is how long giving a lease back may take; else it ends by itself.
	giveBack = 10 * time.Second
)

// Lock is a lock that many share, or one has alone. It may be used by several goroutines; those of one
// process share one lease.
type Lock struct {
	locks func() *lock.Locks
	name  string

	mu      sync.Mutex
	current *share // that others may join
}

// share is the lease that goroutines of this process share.
type share struct {
	holders int
	begun   time.Time     // zero while it is not acquired
	ready   chan struct{} // closed when it is, or err says why not
	over    chan struct{} // closed when it is given back
	release func()
	err     error
}

// New returns the lock of a name. What locks returns is asked for whenever it is used.
func New(locks func() *lock.Locks, name string) *Lock { return &Lock{locks: locks, name: name} }

// Lock waits until the lock is held. It is what driver.Sharing takes as Others.
func (l *Lock) Lock(ctx context.Context, exclusive bool) (unlock func(), err error) {
	if exclusive {
		return l.alone(ctx)
	}
	for {
		s, isNew := l.join()
		switch {
		case s == nil:
			continue
		case isNew:
			s.release, s.err = l.permit(ctx)
			l.ready(s)
		default:
			select {
			case <-s.ready:
			case <-ctx.Done():
			}
		}
		if err := ctx.Err(); err != nil {
			l.leave(s)
			return nil, err
		}
		if s.err == nil {
			return func() { l.leave(s) }, nil
		}
		l.leave(s)
		if isNew || !ended(s.err) { // else another gave up, and this one begins anew
			return nil, s.err
		}
	}
}

// ended reports whether an error is of a context's end.
func ended(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		kernel.CodeOf(err) == kernel.CodeCanceled || kernel.CodeOf(err) == kernel.CodeTimeout
}

// join returns the share that others have, or a new one, which its caller acquires; nil after waiting
// for one to be given back that is joined no more.
func (l *Lock) join() (s *share, isNew bool) {
	l.mu.Lock()
	s = l.current
	switch {
	case s == nil:
		s = &share{holders: 1, ready: make(chan struct{}), over: make(chan struct{})}
		l.current = s
		l.mu.Unlock()
		return s, true
	case !s.begun.IsZero() && time.Since(s.begun) > longest:
		l.mu.Unlock()
		<-s.over // its holders hold it for a few operations only
		return nil, false
	}
	s.holders++
	l.mu.Unlock()
	return s, false
}

// ready tells those who joined that the share is acquired, or is not to be had.
func (l *Lock) ready(s *share) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.begun = time.Now()
	if s.err != nil && l.current == s {
		l.current = nil
	}
	close(s.ready)
}

// leave gives the share back with its last holder.
func (l *Lock) leave(s *share) {
	l.mu.Lock()
	s.holders--
	last := s.holders == 0
	if last && l.current == s {
		l.current = nil
	}
	l.mu.Unlock()
	if !last {
		return
	}
	if s.release != nil {
		s.release()
	}
	close(s.over)
}

// permit acquires one share among processes. Who waits for all of them has the turn meanwhile.
func (l *Lock) permit(ctx context.Context) (release func(), err error) {
	turn, err := l.acquire(ctx, "turn", 1)
	if err != nil {
		return nil, err
	}
	defer turn()
	return l.acquire(ctx, "share", sharers)
}

// alone acquires all shares.
func (l *Lock) alone(ctx context.Context) (unlock func(), err error) {
	var held []func()
	unlock = func() {
		for i := len(held) - 1; i >= 0; i-- {
			held[i]()
		}
	}
	for i := range 1 + sharers {
		what, permits := "share", sharers
		if i == 0 {
			what, permits = "turn", 1
		}
		release, err := l.acquire(ctx, what, permits)
		if err != nil {
			unlock()
			return nil, err
		}
		held = append(held, release)
	}
	return unlock, nil
}

// acquire acquires a lease, which is renewed until it is released.
func (l *Lock) acquire(ctx context.Context, what string, permits int) (release func(), err error) {
	lease, err := l.locks().Acquire(ctx, tenant, l.name+" "+what, lock.Ask{Wait: lock.Forever, Permits: permits})
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	lease.Keep()
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBack)
		defer cancel()
		_ = lease.Release(ctx) // what is not given back ends by itself
	}, nil
}
