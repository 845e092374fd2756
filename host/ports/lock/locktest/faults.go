package locktest

import (
	"context"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/hexdag/hexdag/host/ports/lock"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
)

// longEnv has the histories under faults be as long as it says: 5m.
const longEnv = "HEXDAG_FAULTS"

// Faults says what to record a history of.
type Faults struct {
	// Open opens the store of a client, by its number. The suite closes it.
	Open    func(t *testing.T, client int) driver.Store
	Clients int           // 5 if 0
	TTL     time.Duration // of leases
	For     time.Duration // how long; HEXDAG_FAULTS overrides it
	// Fail does what goes wrong, from the beginning until the context ends, and has all be well when it returns.
	Fail func(ctx context.Context)
	// Shared says that locks may be given to two where servers fail: tokens and resources alone are checked.
	Shared bool
}

// Run records a history of holders that work, that renew, that are paused past their leases and that die, and of
// leaders, while Fail goes on; and checks it.
func (f Faults) Run(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("faults take too long for -short")
	}
	history := f.record(t)
	leases, refused := history.acquires()
	t.Logf("%d leases; %d writes of stale holders were refused", leases, refused)
	if leases < 3 {
		t.Errorf("%d leases in all: nothing was tested", leases)
	}
	if result := history.Check(!f.Shared); result != porcupine.Ok {
		t.Errorf("the history is %s:\n%s", result, history)
	}
}

func (f Faults) record(t *testing.T) *History {
	t.Helper()
	if f.Clients == 0 {
		f.Clients = 5
	}
	if long, err := time.ParseDuration(os.Getenv(longEnv)); err == nil {
		f.For = long
	}
	history := NewHistory()
	ctx, cancel := context.WithTimeout(t.Context(), f.For)
	defer cancel()
	var all sync.WaitGroup
	clients := make([]*client, f.Clients)
	for i := range clients {
		store := f.Open(t, i)
		t.Cleanup(func() { _ = store.Close() })
		clients[i] = &client{number: i, locks: lock.New(store, lock.Options{}), history: history, ttl: f.TTL}
	}
	for _, c := range clients {
		all.Go(func() { c.work(ctx) })
	}
	if f.Fail != nil {
		f.Fail(ctx)
	}
	all.Wait()
	// All is well again: whoever comes now gets the lock.
	c := clients[0]
	for deadline := time.Now().Add(60 * time.Second); ; {
		if lease := c.acquire(t.Context(), 10*f.TTL+5*time.Second); lease != nil {
			c.release(t.Context(), lease)
			return history
		}
		if time.Now().After(deadline) {
			t.Error("nobody gets the lock once all is well again")
			return history
		}
	}
}

// client is one who takes the lock, in one of several ways.
type client struct {
	number  int
	locks   *lock.Locks
	history *History
	ttl     time.Duration
}

const contended = "contended"

func (c *client) work(ctx context.Context) {
	for ctx.Err() == nil {
		if rand.N(6) == 0 {
			c.lead(ctx)
			continue
		}
		lease := c.acquire(ctx, 2*c.ttl)
		if lease == nil {
			continue
		}
		c.history.write(c.number, lease.Token())
		switch rand.N(10) {
		case 0: // dies
			c.history.ended(c.number, lease.Token(), lease.Deadline())
			continue
		case 1, 2: // is paused past its lease, and does not know
			pause(ctx, c.ttl+rand.N(c.ttl))
		case 3, 4: // works long, and renews
			lease.Keep()
			pause(ctx, rand.N(2*c.ttl))
		default:
			pause(ctx, rand.N(c.ttl/8))
		}
		c.history.write(c.number, lease.Token())
		c.release(context.WithoutCancel(ctx), lease)
	}
}

// pause waits, not longer than the test.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// acquire returns nil where the lock is not to be had.
func (c *client) acquire(ctx context.Context, wait time.Duration) *lock.Lease {
	call := time.Now()
	lease, err := c.locks.Acquire(ctx, "acme", contended, lock.Ask{TTL: c.ttl, Wait: wait})
	if err != nil {
		pause(ctx, time.Millisecond)
		return nil
	}
	c.history.acquired(c.number, lease.Token(), call)
	return lease
}

// release gives the lease back, and notes what is known of its end.
func (c *client) release(ctx context.Context, lease *lock.Lease) {
	ctx, cancel := context.WithTimeout(ctx, c.ttl)
	defer cancel()
	call, deadline := time.Now(), lease.Deadline()
	if err := lease.Release(ctx); err == nil {
		c.history.released(c.number, lease.Token(), call)
		return
	}
	// It may be held, or given back, or over: from its time on, or from now.
	c.history.ended(c.number, lease.Token(), earlier(call, deadline))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// lead stands for election, leads for a while, and resigns or is paused.
func (c *client) lead(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 4*c.ttl)
	defer cancel()
	call := time.Now()
	_ = c.locks.Lead(ctx, "acme", contended, lock.Ask{TTL: c.ttl}, func(ctx context.Context, lease *lock.Lease) error {
		c.history.acquired(c.number, lease.Token(), call)
		c.history.write(c.number, lease.Token())
		pause(ctx, rand.N(c.ttl)) // it ends at once where the lease is lost
		c.history.write(c.number, lease.Token())
		// Lead gives the lease back after this, or it has ended.
		c.history.ended(c.number, lease.Token(), earlier(time.Now(), lease.Deadline()))
		call = time.Now()
		return nil
	})
}

// Every breaks something for a while, mends it, and waits as long again.
func Every(ctx context.Context, d time.Duration, breaks, mends func()) {
	breaks()
	pause(ctx, d)
	mends()
	pause(ctx, d)
}
