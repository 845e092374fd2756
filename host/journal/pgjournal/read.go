package pgjournal

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/hexdag/hexdag/host/journal/driver"
)

// scan reads a row of a run, with what else there is in it.
func scan(row pgx.Row, more ...any) (*driver.Run, error) {
	r := &driver.Run{}
	var waits []byte
	into := append([]any{&r.Tenant, &r.ID, &r.Parent, &r.Pipeline, &r.Version, &r.Status, &r.Owner, &r.Epoch, &r.Begun, &r.Touched, &r.Entries, &r.Bytes, &waits, &r.Free}, more...)
	if err := row.Scan(into...); err != nil {
		return nil, err
	}
	for _, text := range []*string{&r.Tenant, &r.ID, &r.Parent, &r.Pipeline, &r.Version, &r.Owner} {
		*text = unescape(*text)
	}
	var err error
	r.Waits, err = driver.DecodeWaits(waits)
	return r, err
}

// get returns a run's head, and until when its owner has said that it is there.
func (s *Store) get(ctx context.Context, tenant, run string) (*driver.Run, time.Time, error) {
	var until pgtype.Timestamptz
	r, err := scan(s.pool.QueryRow(ctx, s.sql.head, escape(tenant), escape(run)), &until)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, time.Time{}, driver.ErrNotFound
	case err != nil:
		return nil, time.Time{}, failed(ctx, err)
	}
	return r, until.Time, nil
}

// Get implements driver.Store.
func (s *Store) Get(ctx context.Context, tenant, run string) (*driver.Run, error) {
	r, _, err := s.get(ctx, tenant, run)
	return r, err
}

// Runs implements driver.Store.
func (s *Store) Runs(ctx context.Context, tenant string, q driver.Query) ([]*driver.Run, error) {
	var before *time.Time
	if !q.Before.IsZero() {
		before = &q.Before
	}
	var limit *int64
	if q.Limit > 0 {
		n := int64(q.Limit)
		limit = &n
	}
	query, args := s.sql.runs, []any{escape(tenant), escape(q.Pipeline), string(q.Status), before, q.Free, limit}
	switch {
	case !q.Due.IsZero():
		query, args = s.sql.due, append(args, escape(q.Key), q.Due)
	case q.Key != "":
		query, args = s.sql.waiting, append(args, escape(q.Key))
	}
	rows, err := s.pool.Query(ctx, query, args...)
	if err != nil {
		return nil, failed(ctx, err)
	}
	runs, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*driver.Run, error) { return scan(row) })
	if err != nil {
		return nil, failed(ctx, err)
	}
	return runs, nil
}

// Chunks implements driver.Store.
func (s *Store) Chunks(ctx context.Context, tenant, run string) iter.Seq2[driver.Chunk, error] {
	return func(yield func(driver.Chunk, error) bool) {
		var n int64
		err := s.pool.QueryRow(ctx, s.sql.find, escape(tenant), escape(run)).Scan(&n)
		if errors.Is(err, pgx.ErrNoRows) {
			err = driver.ErrNotFound
		}
		if err != nil {
			yield(driver.Chunk{}, failed(ctx, err))
			return
		}
		driver.Pages(tenant, run, func(after uint64) ([]driver.Chunk, error) {
			chunks, err := s.chunks(ctx, n, after)
			if err != nil {
				err = failed(ctx, err)
			}
			return chunks, err
		})(yield)
	}
}

func (s *Store) chunks(ctx context.Context, n int64, after uint64) ([]driver.Chunk, error) {
	rows, err := s.pool.Query(ctx, s.sql.chunks, n, after, driver.Page)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var chunks []driver.Chunk
	for rows.Next() {
		var c driver.Chunk
		if err := rows.Scan(&c.First, &c.Count, &c.Epoch, &c.Data); err != nil {
			return chunks, err
		}
		chunks = append(chunks, c)
	}
	return chunks, rows.Err()
}

// Last implements driver.Store.
func (s *Store) Last(ctx context.Context, tenant, run string) (driver.Chunk, error) {
	c := driver.Chunk{Tenant: tenant, Run: run}
	err := s.pool.QueryRow(ctx, s.sql.last, escape(tenant), escape(run)).Scan(&c.First, &c.Count, &c.Epoch, &c.Data)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return c, driver.ErrNotFound
	case err != nil:
		return c, failed(ctx, err)
	}
	return c, nil
}

// Blob implements driver.Store.
func (s *Store) Blob(ctx context.Context, tenant, digest string) ([]byte, error) {
	var data []byte
	err := s.pool.QueryRow(ctx, s.sql.blob, escape(tenant), escape(digest)).Scan(&data)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, driver.ErrNotFound
	case err != nil:
		return nil, failed(ctx, err)
	}
	return data, nil
}
