package approvals

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sqlitefile"
)

// schema holds each approval as JSON, and beside it what is looked up. A call has one
// approval at most that is not over. Times are Unix nanoseconds.
const schema = `
CREATE TABLE IF NOT EXISTS approvals (
	id TEXT PRIMARY KEY, bound TEXT NOT NULL, tenant TEXT NOT NULL, state TEXT NOT NULL,
	requested INTEGER NOT NULL, expires INTEGER NOT NULL, document TEXT NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS approvals_bound ON approvals (bound) WHERE state IN ('pending', 'approved', 'denied');
CREATE INDEX IF NOT EXISTS approvals_state ON approvals (state, expires);`

// open opens the file, which is its owner's alone, when it is first needed.
func (s *Store) open(ctx context.Context) (*sql.DB, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("the approvals are closed")
	}
	if s.db != nil {
		return s.db, nil
	}
	if err := sqlitefile.Create(s.path); err != nil {
		return nil, err
	}
	db, err := sqlitefile.Open(s.path, 1, nil, "synchronous(FULL)")
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.db = db
	return db, nil
}

// commitAnd is an error that a change is kept in spite of.
func commitAnd(err error) error { return &kept{err} }

type kept struct{ error }

// change does something within one transaction, which no other process comes between.
// What has expired is marked so first.
func (s *Store) change(ctx context.Context, do func(tx *sql.Tx, now time.Time) error) error {
	db, err := s.open(ctx)
	if err != nil {
		return s.unusable(err)
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return s.unusable(err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	now := s.clock()
	if err = expire(ctx, tx, now); err == nil {
		err = do(tx, now)
	}
	var after *kept
	if err != nil && !errors.As(err, &after) {
		return s.unusable(err)
	}
	if err := tx.Commit(); err != nil {
		return s.unusable(err)
	}
	if after != nil {
		return after.error
	}
	return nil
}

func expire(ctx context.Context, tx *sql.Tx, now time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE approvals SET state = 'expired' WHERE state IN ('pending', 'approved', 'denied') AND expires <= ?`, now.UnixNano())
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM approvals WHERE state IN ('used', 'expired') AND expires <= ?`, now.Add(-keepFor).UnixNano())
	return err
}

func insert(ctx context.Context, tx *sql.Tx, a *Approval, bound string) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO approvals (id, bound, tenant, state, requested, expires, document) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		a.ID, bound, a.Request.Subject.Tenant, string(a.State), a.Requested.UnixNano(), a.Expires.UnixNano(), string(text))
	return err
}

func update(ctx context.Context, tx *sql.Tx, a *Approval) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE approvals SET state = ?, expires = ?, document = ? WHERE id = ?`, string(a.State), a.Expires.UnixNano(), string(text), a.ID)
	return err
}

// current returns a call's approval that is not over, or nil.
func current(ctx context.Context, tx *sql.Tx, bound string) (*Approval, error) {
	found, err := query(ctx, tx, `SELECT document, state FROM approvals WHERE bound = ? AND state IN ('pending', 'approved', 'denied')`, bound)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// query returns approvals by their document and their state, which is ahead of the document's.
func query(ctx context.Context, tx *sql.Tx, statement string, args ...any) (list []Approval, err error) {
	rows, err := tx.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var text, state string
		if err := rows.Scan(&text, &state); err != nil {
			return nil, err
		}
		var a Approval
		if err := kernel.UnmarshalStrict([]byte(text), &a); err != nil {
			return nil, err
		}
		a.State = State(state)
		list = append(list, a)
	}
	return list, rows.Err()
}
