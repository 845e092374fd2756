package sqlitejournal

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/hexdag/hexdag/host/journal/driver"
)

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

const columns = "SELECT tenant, id, parent, pipeline, version, status, owner, epoch, begun, touched, entries, bytes, waits FROM runs"

// scan reads a row of columns.
func scan(row interface{ Scan(into ...any) error }) (*driver.Run, error) {
	r := &driver.Run{}
	var tenant, id, parent, pipeline, version, owner, waits []byte
	var status string
	var begun, touched int64
	if err := row.Scan(&tenant, &id, &parent, &pipeline, &version, &status, &owner, &r.Epoch, &begun, &touched, &r.Entries, &r.Bytes, &waits); err != nil {
		return nil, err
	}
	r.Tenant, r.ID, r.Parent, r.Pipeline, r.Version, r.Owner, r.Status = string(tenant), string(id), string(parent), string(pipeline), string(version), string(owner), driver.Status(status)
	if begun != 0 {
		r.Begun = time.Unix(0, begun)
	}
	r.Touched = time.Unix(0, touched)
	var err error
	r.Waits, err = driver.DecodeWaits(waits)
	return r, err
}

// free reports whether a run may be claimed: its owner is not the process that has the file's lock.
func (s *Store) free(ctx context.Context, r *driver.Run) bool {
	if r.Status != driver.Running {
		return false
	}
	if s.owner != "" {
		return r.Owner != s.owner
	}
	return !s.attended(ctx)
}

func (s *Store) get(ctx context.Context, q querier, tenant, run string) (*driver.Run, error) {
	r, err := scan(q.QueryRowContext(ctx, columns+" WHERE tenant = ? AND id = ?", blob(tenant), blob(run)))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, driver.ErrNotFound
	case err != nil:
		return nil, storeError(err)
	}
	r.Free = s.free(ctx, r)
	s.overlay(r)
	return r, nil
}

// Get implements driver.Store.
func (s *Store) Get(ctx context.Context, tenant, run string) (*driver.Run, error) {
	return s.get(ctx, s.reader, tenant, run)
}

// Runs implements driver.Store.
func (s *Store) Runs(ctx context.Context, tenant string, q driver.Query) ([]*driver.Run, error) {
	query, args := columns+" WHERE tenant = ?", []any{blob(tenant)}
	switch { // each has an index
	case q.Free:
		query += " AND status = 'running'"
	case q.Key != "":
		query = columns + " WHERE +tenant = ? AND n IN (SELECT run FROM waits WHERE key = ?)" // or SQLite would go through the tenant's runs, for their order
		args = append(args, blob(q.Key))
	case !q.Due.IsZero():
		query += " AND until IS NOT NULL AND until <= ?"
		args = append(args, nanos(q.Due))
	case q.Status == driver.Suspended:
		query += " AND status = 'suspended'"
	}
	rows, err := s.reader.QueryContext(ctx, query+" ORDER BY begun DESC, id DESC", args...)
	if err != nil {
		return nil, storeError(err)
	}
	defer rows.Close()
	var runs []*driver.Run
	attended := s.attended(ctx)
	for rows.Next() && (q.Limit == 0 || len(runs) < q.Limit) {
		r, err := scan(rows)
		if err != nil {
			return nil, storeError(err)
		}
		r.Free = r.Status == driver.Running && (!attended || s.owner != "" && r.Owner != s.owner)
		if s.overlay(r); q.Picks(r) {
			runs = append(runs, r)
		}
	}
	return runs, storeError(rows.Err())
}

// Chunks implements driver.Store.
func (s *Store) Chunks(ctx context.Context, tenant, run string) iter.Seq2[driver.Chunk, error] {
	return func(yield func(driver.Chunk, error) bool) {
		var n int64
		err := s.reader.QueryRowContext(ctx, "SELECT n FROM runs WHERE tenant = ? AND id = ?", blob(tenant), blob(run)).Scan(&n)
		if errors.Is(err, sql.ErrNoRows) {
			err = driver.ErrNotFound
		}
		if err != nil {
			yield(driver.Chunk{}, storeError(err))
			return
		}
		driver.Pages(tenant, run, func(after uint64) ([]driver.Chunk, error) { return s.chunks(ctx, n, after) })(yield)
	}
}

func (s *Store) chunks(ctx context.Context, n int64, after uint64) ([]driver.Chunk, error) {
	rows, err := s.reader.QueryContext(ctx, "SELECT first, count, epoch, data FROM chunks WHERE run = ? AND first > ? ORDER BY first LIMIT ?", n, after, driver.Page)
	if err != nil {
		return nil, damaged(err)
	}
	defer rows.Close()
	var chunks []driver.Chunk
	for rows.Next() {
		var c driver.Chunk
		if err := rows.Scan(&c.First, &c.Count, &c.Epoch, &c.Data); err != nil {
			return chunks, damaged(err)
		}
		chunks = append(chunks, c)
	}
	return chunks, damaged(rows.Err())
}

// damaged tells a file that cannot be read on from one that cannot be used now.
func damaged(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_CORRUPT {
		return errors.Join(driver.ErrDamaged, storeError(err))
	}
	return storeError(err)
}

// Last implements driver.Store.
func (s *Store) Last(ctx context.Context, tenant, run string) (driver.Chunk, error) {
	c := driver.Chunk{Tenant: tenant, Run: run}
	err := s.reader.QueryRowContext(ctx, `SELECT first, count, epoch, data FROM chunks
		WHERE run = (SELECT n FROM runs WHERE tenant = ? AND id = ?) ORDER BY first DESC LIMIT 1`, blob(tenant), blob(run)).Scan(&c.First, &c.Count, &c.Epoch, &c.Data)
	if errors.Is(err, sql.ErrNoRows) {
		err = driver.ErrNotFound
	}
	return c, damaged(err)
}

// Blob implements driver.Store.
func (s *Store) Blob(ctx context.Context, tenant, digest string) ([]byte, error) {
	var data []byte
	err := s.reader.QueryRowContext(ctx, "SELECT data FROM blobs WHERE tenant = ? AND digest = ?", blob(tenant), blob(digest)).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, driver.ErrNotFound
	}
	return data, storeError(err)
}
