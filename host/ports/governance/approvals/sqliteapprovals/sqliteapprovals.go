// Package sqliteapprovals keeps approvals in a SQLite file that several processes of a machine can share.
package sqliteapprovals

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/approvals/driver"
	"github.com/hexdag/hexdag/host/sqlitefile"
)

// schema holds each approval as JSON, and beside it what is looked up. Times are Unix nanoseconds.
const schema = `
CREATE TABLE IF NOT EXISTS approvals (
	id TEXT PRIMARY KEY, bound TEXT NOT NULL, tenant TEXT NOT NULL, state TEXT NOT NULL,
	requested INTEGER NOT NULL, expires INTEGER NOT NULL, document TEXT NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS approvals_bound ON approvals (bound) WHERE state IN ('pending', 'approved', 'denied');
CREATE INDEX IF NOT EXISTS approvals_state ON approvals (state, expires);`

type records struct {
	path string

	mu     sync.Mutex
	db     *sql.DB
	closed bool
}

// New returns the records in a file, which is opened, and made for its owner alone, when it is first needed.
func New(path string) driver.Records { return &records{path: path} }

func (r *records) open(ctx context.Context) (*sql.DB, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errors.New("the approvals are closed")
	}
	if r.db != nil {
		return r.db, nil
	}
	if err := sqlitefile.Create(r.path); err != nil {
		return nil, err
	}
	db, err := sqlitefile.Open(r.path, 1, nil, "synchronous(FULL)")
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	r.db = db
	return db, nil
}

// Change implements driver.Records.
func (r *records) Change(ctx context.Context, do func(driver.Tx) error) error {
	db, err := r.open(ctx)
	if err != nil {
		return r.unusable(err)
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return r.unusable(err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	if err := do(transaction{tx}); err != nil {
		return r.unusable(err)
	}
	return r.unusable(tx.Commit())
}

func (r *records) unusable(err error) error {
	var known *kernel.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return &kernel.Error{Code: kernel.CodeUnavailable, What: "the approvals cannot be read or kept", Where: kernel.Where{File: r.path}, Why: err.Error(), Fix: "make room, or mend the file", Err: err}
}

// Close implements driver.Records.
func (r *records) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.db == nil {
		return nil
	}
	return r.db.Close()
}

type transaction struct{ *sql.Tx }

func (tx transaction) Now() time.Time { return time.Now() }

func (tx transaction) Expire(ctx context.Context, now, forget time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE approvals SET state = 'expired' WHERE state IN ('pending', 'approved', 'denied') AND expires <= ?`, now.UnixNano())
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM approvals WHERE state IN ('used', 'expired') AND expires <= ?`, forget.UnixNano())
	return err
}

const columns = "SELECT id, bound, tenant, state, requested, expires, document FROM approvals "

func (tx transaction) Current(ctx context.Context, bound string) (*driver.Record, error) {
	return tx.one(ctx, columns+`WHERE bound = ? AND state IN ('pending', 'approved', 'denied')`, bound)
}

func (tx transaction) Get(ctx context.Context, id string) (*driver.Record, error) {
	return tx.one(ctx, columns+`WHERE id = ?`, id)
}

func (tx transaction) one(ctx context.Context, statement string, args ...any) (*driver.Record, error) {
	r, err := scan(tx.QueryRowContext(ctx, statement, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return r, err
}

func (tx transaction) All(ctx context.Context) (all []driver.Record, err error) {
	rows, err := tx.QueryContext(ctx, columns+`ORDER BY requested DESC, id`)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, *r)
	}
	return all, rows.Err()
}

func scan(row interface{ Scan(...any) error }) (*driver.Record, error) {
	var r driver.Record
	var requested, expires int64
	if err := row.Scan(&r.ID, &r.Bound, &r.Tenant, &r.State, &requested, &expires, &r.Document); err != nil {
		return nil, err
	}
	r.Requested, r.Expires = time.Unix(0, requested), time.Unix(0, expires)
	return &r, nil
}

func (tx transaction) Waiting(ctx context.Context, tenant string) (n int, err error) {
	err = tx.QueryRowContext(ctx, `SELECT count(*) FROM approvals WHERE tenant = ? AND state = 'pending'`, tenant).Scan(&n)
	return n, err
}

func (tx transaction) Insert(ctx context.Context, r *driver.Record) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO approvals (id, bound, tenant, state, requested, expires, document) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		r.ID, r.Bound, r.Tenant, r.State, r.Requested.UnixNano(), r.Expires.UnixNano(), string(r.Document))
	return err
}

func (tx transaction) Update(ctx context.Context, r *driver.Record) error {
	_, err := tx.ExecContext(ctx, `UPDATE approvals SET state = ?, expires = ?, document = ? WHERE id = ?`, r.State, r.Expires.UnixNano(), string(r.Document), r.ID)
	return err
}
