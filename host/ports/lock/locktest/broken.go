package locktest

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hexdag/hexdag/host/ports/lock/driver"
)

// Skewed returns a store on whose clock time passes by that factor: at 1.05, what is an hour for holders is 63 minutes for it.
func Skewed(s driver.Store, by float64) driver.Store { return skewed{s, by} }

type skewed struct {
	driver.Store
	by float64
}

func (s skewed) Acquire(ctx context.Context, r *driver.Request) (driver.Held, error) {
	shorter := *r
	shorter.TTL = time.Duration(float64(r.TTL) / s.by)
	return s.Store.Acquire(ctx, &shorter)
}

// generous gives every so manieth lock away that is held.
type generous struct {
	driver.Store
	asked *atomic.Uint64
}

func (g generous) Acquire(ctx context.Context, r *driver.Request) (driver.Held, error) {
	if g.asked.Add(1)%7 == 0 {
		other := *r
		other.Name += "?" // another lock, as far as the store knows
		return g.Store.Acquire(ctx, &other)
	}
	return g.Store.Acquire(ctx, r)
}

// forgetful has tokens that do not rise.
type forgetful struct{ driver.Store }

func (f forgetful) Acquire(ctx context.Context, r *driver.Request) (driver.Held, error) {
	held, err := f.Store.Acquire(ctx, r)
	if err != nil {
		return nil, err
	}
	return sameToken{held}, nil
}

type sameToken struct{ driver.Held }

func (s sameToken) Fence() uint64 { return 1 }

// hopeful thinks that its TTL counts from later than it does.
type hopeful struct{ driver.Store }

func (h hopeful) Acquire(ctx context.Context, r *driver.Request) (driver.Held, error) {
	held, err := h.Store.Acquire(ctx, r)
	if err != nil {
		return nil, err
	}
	return later{held, r.TTL}, nil
}

type later struct {
	driver.Held
	by time.Duration
}

func (l later) From() time.Time { return l.Held.From().Add(l.by) }
