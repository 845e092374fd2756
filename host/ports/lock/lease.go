package lock

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
)

// A lease ends for its holder this part of its TTL before the backend can end it: for clocks
// that do not run alike, and for what is under way.
const marginPart = 16

// The parts of its TTL after which a lease is renewed, and after which a renewal that failed is tried again.
const (
	renewPart = 3
	retryPart = 12
)

// Lease is a permit of a lock. It may be used by several goroutines.
type Lease struct {
	locks   *Locks
	request driver.Request
	held    driver.Held

	mu       sync.Mutex
	id       string
	over     bool // released or lost
	released bool
	lost     chan struct{} // nil until somebody asks
	watch    *time.Timer   // closes lost at the deadline
	keep     *time.Timer   // renews; nil where nobody does
	renewal  chan struct{} // closed when the renewal that is under way is done; nil without one
	stop     func()        // ends it
}

var _ kernel.Lease = (*Lease)(nil)

// Name returns the lock's name.
func (l *Lease) Name() string { return l.request.Name }

// ID returns a random text by which the holder can name the lease.
func (l *Lease) ID() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.id == "" {
		l.id = rand.Text()
	}
	return l.id
}

// Token returns the fencing token: it is larger than those of all earlier leases of the lock.
func (l *Lease) Token() uint64 { return l.held.Fence() }

// Fence returns the token for resources to compare; of a semaphore, which fences nothing, the zero value.
func (l *Lease) Fence() kernel.Fence {
	if l.request.Permits > 1 {
		return kernel.Fence{}
	}
	return kernel.Fence{Lock: driver.Escape(l.locks.promises.Issuer) + "/" + driver.Escape(l.request.Tenant) + "/" + driver.Escape(l.request.Name), Token: l.held.Fence()}
}

// TTL returns after how long the lease ends unless it is renewed.
func (l *Lease) TTL() time.Duration { return l.request.TTL }

// Deadline returns when the lease ends for its holder unless it is renewed, on this process's monotonic clock.
func (l *Lease) Deadline() time.Time {
	return l.held.From().Add(l.request.TTL - l.request.TTL/marginPart)
}

// Left returns how long the lease is still held for certain; 0 if it is not.
func (l *Lease) Left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return 0
	}
	return max(0, time.Until(l.Deadline()))
}

// Valid reports whether the lease is held for certain.
func (l *Lease) Valid() bool { return l.Left() > 0 }

// Lost returns a channel that is closed when the lease has been released or lost, by
// the holder's own clock before the backend can end it.
func (l *Lease) Lost() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.arm()
}

// arm returns the channel, with the timer that closes it.
func (l *Lease) arm() chan struct{} {
	if l.lost == nil {
		l.lost = make(chan struct{})
		if l.over {
			close(l.lost)
		} else {
			l.watch = time.AfterFunc(time.Until(l.Deadline()), l.expire)
		}
	}
	return l.lost
}

// expire loses the lease if its time is up. A renewal may have come first.
func (l *Lease) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if left := time.Until(l.Deadline()); left > 0 && !l.over {
		l.watch.Reset(left)
		return
	}
	l.end()
}

// end has the lease be over; it reports whether it was not before.
func (l *Lease) end() bool {
	if l.over {
		return false
	}
	l.over = true
	for _, timer := range []*time.Timer{l.watch, l.keep} {
		if timer != nil {
			timer.Stop()
		}
	}
	if l.stop != nil {
		l.stop()
	}
	if l.lost != nil {
		close(l.lost)
	}
	return true
}

// Context returns a context that ends with ctx, and with a CodeLockLost cause when the
// lease is lost. The caller calls cancel.
func (l *Lease) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	bound, cancel := context.WithCancelCause(ctx)
	lost := l.Lost()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-lost:
			cancel(kernel.LockLost(l.request.Name, "its lease was not renewed in time"))
		case <-bound.Done():
		}
	}()
	return bound, func() { cancel(context.Canceled); <-stopped }
}

// Renew has the TTL count anew. An error of CodeLockLost says that the lease is over; after any other, it
// is held until its time is up, and the call may be made again.
func (l *Lease) Renew(ctx context.Context) error {
	l.mu.Lock()
	for l.renewal != nil && !l.over { // one at a time
		under := l.renewal
		l.mu.Unlock()
		<-under
		l.mu.Lock()
	}
	if l.over {
		l.mu.Unlock()
		return l.locks.failed(ctx, l.request.Name, driver.ErrLost)
	}
	bound, cancel := context.WithDeadline(ctx, l.Deadline())
	defer cancel()
	l.renewal, l.stop = make(chan struct{}), cancel
	l.mu.Unlock()
	err := l.held.Renew(bound)
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.renewal)
	l.renewal, l.stop = nil, nil
	switch {
	case l.over: // it took too long, or the lease was given back
		err = driver.ErrLost
	case errors.Is(err, driver.ErrLost):
		l.end()
	case err == nil && l.watch != nil:
		l.watch.Reset(time.Until(l.Deadline()))
	}
	return l.locks.failed(ctx, l.request.Name, err)
}

// Keep has the lease renewed until it is released or lost. Where the backend does not
// answer, the lease is lost in time.
func (l *Lease) Keep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keep != nil || l.over {
		return
	}
	l.arm()
	l.keep = time.AfterFunc(l.request.TTL/renewPart, l.tick)
}

func (l *Lease) tick() {
	err := l.Renew(context.Background()) // it ends at the deadline
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.over:
	case err != nil:
		l.keep.Reset(l.request.TTL / retryPart)
	default:
		l.keep.Reset(l.request.TTL / renewPart)
	}
}

// Release gives the lease back, and waits for a renewal that is under way. It returns CodeLockLost if the
// lease was over before.
func (l *Lease) Release(ctx context.Context) error {
	l.mu.Lock()
	held, again, under := l.end(), l.released, l.renewal
	l.released = true
	l.mu.Unlock()
	if under != nil {
		<-under
	}
	if again {
		return l.locks.failed(ctx, l.request.Name, driver.ErrLost)
	}
	err := l.held.Release(ctx)
	if err == nil && !held {
		err = driver.ErrLost // its time was up, whatever the backend still thought
	}
	return l.locks.failed(ctx, l.request.Name, err)
}
