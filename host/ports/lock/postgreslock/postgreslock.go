// Package postgreslock keeps locks in a table of a PostgreSQL database, on the database's clock.
//
// A row is a permit: it is held until its time is up. Advisory locks are not used: they
// have no TTL and no token, and belong to a connection, which a pooler lends to others.
package postgreslock

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pgtables"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
)

const maxPermits = 10_000

// sweepEvery is after how many acquires rows are removed that ended long ago.
const sweepEvery = 1000

// Config says where the locks are. The JSON form is what an operator configures.
type Config struct {
	URL   string `json:"url"`   // postgres://user:password@host/database, or key=value
	Table string `json:"table"` // made if need be, as is the sequence Table_fence; hexdag_locks
}

// Store is a driver.Store over a table.
type Store struct {
	pool     *pgxpool.Pool
	issuer   string
	acquires atomic.Uint64
	sql      statements
}

var _ driver.Store = (*Store)(nil)

// Open connects and makes the table. The error has CodeConfig or CodeUnavailable.
func Open(ctx context.Context, c Config) (*Store, error) {
	table := cmp.Or(c.Table, "hexdag_locks")
	config, err := pgtables.Config(c.URL, table, "hexdag-locks")
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the locks' PostgreSQL cannot be used", Why: err.Error(), Fix: pgtables.Fix}
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, unavailable(err)
	}
	s := &Store{pool: pool, sql: statementsFor(table)}
	if err := s.prepare(ctx); err != nil {
		pool.Close()
		return nil, unavailable(err)
	}
	return s, nil
}

// prepare makes the table where it is not there, which takes a right that who uses it does not need. Several may do so at once.
func (s *Store) prepare(ctx context.Context) error {
	if err := s.pool.QueryRow(ctx, s.sql.issuer).Scan(&s.issuer); err == nil {
		return nil
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(7305805136418)"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, s.sql.create)
		return err
	})
	if err != nil {
		return err
	}
	return s.pool.QueryRow(ctx, s.sql.issuer).Scan(&s.issuer)
}

// Promises implements driver.Store.
func (s *Store) Promises() driver.Promises {
	return driver.Promises{
		Issuer: s.issuer, Scope: "server", Durable: true, MinTTL: time.Millisecond, MaxPermits: maxPermits,
		Caveat: "A failover to a standby that lags behind loses what it lacks: use a synchronous one.",
	}
}

// Acquire implements driver.Store.
func (s *Store) Acquire(ctx context.Context, r *driver.Request) (driver.Held, error) {
	if s.acquires.Add(1)%sweepEvery == 0 {
		if _, err := s.pool.Exec(ctx, s.sql.sweep); err != nil {
			return nil, failed(ctx, err)
		}
	}
	h := &held{store: s, request: r, id: rand.Text(), note: r.Encode("")}
	return driver.Poll(ctx, r, nil, h.acquire)
}

// Holders implements driver.Store.
func (s *Store) Holders(ctx context.Context, tenant, name string, limit int) ([]driver.Holder, error) {
	rows, err := s.pool.Query(ctx, s.sql.holders, driver.Escape(tenant), driver.Escape(name), name == "", limit)
	if err != nil {
		return nil, failed(ctx, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (driver.Holder, error) {
		h := driver.Holder{Key: driver.Key{Tenant: tenant}}
		var note []byte
		var left float64
		err := row.Scan(&h.Name, &h.Fence, &note, &h.Permits, &left)
		h.Name, h.Owner, h.Left = driver.Unescape(h.Name), driver.ReadNote(note).Owner, time.Duration(left*float64(time.Second))
		return h, err
	})
	if err != nil {
		return nil, failed(ctx, err)
	}
	return driver.Sorted(list, limit), nil
}

// Close implements driver.Store.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}

// failed gives an error of the database its code. It may hold no password: what it says of a
// connection is left out.
func failed(ctx context.Context, err error) error {
	var server *pgconn.PgError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &server):
		return fmt.Errorf("PostgreSQL: %s (%s)", server.Message, server.Code)
	}
	return unavailable(err)
}

func unavailable(err error) error {
	what, why, fix := "the locks' PostgreSQL cannot be reached", "no connection", "start it, or correct url"
	var server *pgconn.PgError
	if errors.As(err, &server) {
		what, why, fix = "the locks' PostgreSQL cannot be used", server.Message, "correct url, or grant its role what it lacks"
	}
	return &kernel.Error{Code: kernel.CodeUnavailable, What: what, Why: kernel.Quote(why), Fix: fix, Err: err}
}
