package memlock

import (
	"context"
	"time"

	"github.com/hexdag/hexdag/host/ports/lock/driver"
)

// held is a permit. What changes is the store's to guard.
type held struct {
	store   *Store
	entry   *entry
	request *driver.Request
	fence   uint64
	from    time.Duration // since the store began
	over    bool
}

var _ driver.Held = (*held)(nil)

func (h *held) ends() time.Duration { return h.from + h.request.TTL }

// Fence implements driver.Held.
func (h *held) Fence() uint64 { return h.fence }

// From implements driver.Held.
func (h *held) From() time.Time {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	return h.store.begun.Add(h.from)
}

// Renew implements driver.Held.
func (h *held) Renew(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	now := time.Since(h.store.begun)
	if err := h.check(now); err != nil {
		return err
	}
	h.from = now
	return nil
}

// Release implements driver.Held.
func (h *held) Release(context.Context) error {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	if h.store.tenants == nil {
		return errClosed
	}
	if h.over {
		return driver.ErrLost
	}
	now := time.Since(h.store.begun)
	lost := h.ends() <= now
	h.store.end(h, now)
	if lost {
		return driver.ErrLost
	}
	return nil
}

// check returns why the permit is not held. Its time may be up without anybody having noticed.
func (h *held) check(now time.Duration) error {
	if h.store.tenants == nil {
		return errClosed
	}
	if !h.over && h.ends() <= now {
		h.store.end(h, now)
	}
	if h.over {
		return driver.ErrLost
	}
	return nil
}
