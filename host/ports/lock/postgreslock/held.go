package postgreslock

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hexdag/hexdag/host/ports/lock/driver"
)

// held is a permit: a row with this id.
type held struct {
	store   *Store
	request *driver.Request
	id      string
	note    []byte
	permit  int
	fence   uint64

	mu   sync.Mutex
	from time.Time
}

var _ driver.Held = (*held)(nil)

func (h *held) tenant() string { return driver.Escape(h.request.Tenant) }
func (h *held) name() string   { return driver.Escape(h.request.Name) }

func (h *held) ttl() float64 { return h.request.TTL.Seconds() }

// acquire tries once.
func (h *held) acquire(ctx context.Context) (driver.Held, error) {
	h.from = time.Now()
	err := h.store.pool.QueryRow(ctx, h.store.sql.acquire, h.tenant(), h.name(), h.request.Permits, h.id, string(h.note), h.ttl()).Scan(&h.permit, &h.fence)
	switch {
	case err == nil:
		return h, nil
	case !errors.Is(err, pgx.ErrNoRows):
		return nil, failed(ctx, err)
	}
	var permits int
	var after float64
	if err := h.store.pool.QueryRow(ctx, h.store.sql.next, h.tenant(), h.name()).Scan(&permits, &after); err != nil {
		return nil, failed(ctx, err)
	}
	if permits != 0 && permits != h.request.Permits {
		return nil, driver.ErrPermits
	}
	return nil, &driver.HeldError{After: max(time.Millisecond, time.Duration(after*float64(time.Second)))}
}

// Fence implements driver.Held.
func (h *held) Fence() uint64 { return h.fence }

// From implements driver.Held.
func (h *held) From() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.from
}

// Renew implements driver.Held.
func (h *held) Renew(ctx context.Context) error {
	from := time.Now()
	if err := h.exec(ctx, h.store.sql.renew, h.tenant(), h.name(), h.permit, h.id, h.ttl()); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.from = from
	return nil
}

// Release implements driver.Held.
func (h *held) Release(ctx context.Context) error {
	return h.exec(ctx, h.store.sql.release, h.tenant(), h.name(), h.permit, h.id)
}

// exec changes the permit's row, or returns ErrLost.
func (h *held) exec(ctx context.Context, sql string, args ...any) error {
	tag, err := h.store.pool.Exec(ctx, sql, args...)
	switch {
	case err != nil:
		return failed(ctx, err)
	case tag.RowsAffected() == 0:
		return driver.ErrLost
	}
	return nil
}
