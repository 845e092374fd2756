// Package pgapprovals keeps approvals in a table of a PostgreSQL database that several hosts share.
package pgapprovals

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hexdag/hexdag/host/pgtables"
	"github.com/hexdag/hexdag/host/ports/governance/approvals/driver"
)

// A text that came from a run is bytes here: PostgreSQL's have no NUL.
var kind = pgtables.Kind{
	Name: "approvals", Holds: "approvals", Version: 1, Lock: 7305805136423, Connections: 2,
	Schema: `
CREATE TABLE IF NOT EXISTS %[1]s (
	id text COLLATE "C" PRIMARY KEY, bound text COLLATE "C" NOT NULL, tenant bytea NOT NULL, state text NOT NULL,
	requested timestamptz NOT NULL, expires timestamptz NOT NULL, document bytea NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS %[1]s_bound ON %[1]s (bound) WHERE state IN ('pending', 'approved', 'denied');
CREATE INDEX IF NOT EXISTS %[1]s_state ON %[1]s (state, expires)`,
}

// Config says where the approvals are. The JSON form is what an operator configures.
type Config struct {
	URL   string `json:"url"`   // postgres://user:password@host/database, or key=value
	Table string `json:"table"` // hexdag_approvals
}

type records struct {
	pool  *pgxpool.Pool
	table string
}

// Open connects, and makes the table where it is missing. The error is of CodeConfig or CodeUnavailable.
func Open(ctx context.Context, c Config) (driver.Records, error) {
	r := &records{table: cmp.Or(c.Table, "hexdag_approvals")}
	var err error
	if r.pool, err = kind.Open(ctx, c.URL, r.table); err != nil {
		return nil, err
	}
	return r, nil
}

// Change implements driver.Records. Who changes has the table's lock: approvals are few, and of two who use one, one waits and finds
// that it is used.
func (r *records) Change(ctx context.Context, do func(driver.Tx) error) error {
	err := pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		t := transaction{Tx: tx, table: r.table}
		if _, err := tx.Exec(ctx, "LOCK TABLE "+r.table+" IN SHARE ROW EXCLUSIVE MODE"); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&t.now); err != nil {
			return err
		}
		return do(t)
	})
	return pgtables.Error(ctx, kind.Name, err)
}

// Close implements driver.Records.
func (r *records) Close() error {
	r.pool.Close()
	return nil
}

type transaction struct {
	pgx.Tx
	table string
	now   time.Time
}

func (tx transaction) Now() time.Time { return tx.now }

func (tx transaction) Expire(ctx context.Context, now, forget time.Time) error {
	_, err := tx.Exec(ctx, "UPDATE "+tx.table+" SET state = 'expired' WHERE state IN ('pending', 'approved', 'denied') AND expires <= $1", now)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "DELETE FROM "+tx.table+" WHERE state IN ('used', 'expired') AND expires <= $1", forget)
	return err
}

func (tx transaction) query(ctx context.Context, rest string, args ...any) ([]driver.Record, error) {
	rows, err := tx.Query(ctx, "SELECT id, bound, tenant, state, requested, expires, document FROM "+tx.table+" "+rest, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r driver.Record, err error) {
		var tenant []byte
		err = row.Scan(&r.ID, &r.Bound, &tenant, &r.State, &r.Requested, &r.Expires, &r.Document)
		r.Tenant = string(tenant)
		return r, err
	})
}

func (tx transaction) one(ctx context.Context, rest string, args ...any) (*driver.Record, error) {
	found, err := tx.query(ctx, rest, args...)
	switch {
	case err != nil || len(found) == 0:
		return nil, err
	case len(found) > 1:
		return nil, errors.New("one record is there twice")
	}
	return &found[0], nil
}

func (tx transaction) Current(ctx context.Context, bound string) (*driver.Record, error) {
	return tx.one(ctx, "WHERE bound = $1 AND state IN ('pending', 'approved', 'denied')", bound)
}

func (tx transaction) Get(ctx context.Context, id string) (*driver.Record, error) {
	return tx.one(ctx, "WHERE convert_to(id, 'UTF8') = $1", []byte(id)) // which somebody typed
}

func (tx transaction) All(ctx context.Context) ([]driver.Record, error) {
	return tx.query(ctx, "ORDER BY requested DESC, id")
}

func (tx transaction) Waiting(ctx context.Context, tenant string) (n int, err error) {
	err = tx.QueryRow(ctx, "SELECT count(*) FROM "+tx.table+" WHERE tenant = $1 AND state = 'pending'", append([]byte{}, tenant...)).Scan(&n)
	return n, err
}

func (tx transaction) Insert(ctx context.Context, r *driver.Record) error {
	_, err := tx.Exec(ctx, "INSERT INTO "+tx.table+" (id, bound, tenant, state, requested, expires, document) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		r.ID, r.Bound, append([]byte{}, r.Tenant...), r.State, r.Requested, r.Expires, r.Document)
	return err
}

func (tx transaction) Update(ctx context.Context, r *driver.Record) error {
	_, err := tx.Exec(ctx, "UPDATE "+tx.table+" SET state = $2, expires = $3, document = $4 WHERE id = $1", r.ID, r.State, r.Expires, r.Document)
	return err
}
