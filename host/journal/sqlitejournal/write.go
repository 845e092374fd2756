package sqlitejournal

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
)

// statements are those that each Append uses.
type statements struct {
	find, head, chunk, begin, commit, rollback *sql.Stmt
}

func (p *statements) prepare(ctx context.Context, conn *sql.Conn) error {
	for _, s := range []struct {
		into **sql.Stmt
		text string
	}{
		{&p.begin, "BEGIN IMMEDIATE"}, {&p.commit, "COMMIT"}, {&p.rollback, "ROLLBACK"},
		{&p.find, "SELECT n FROM runs WHERE tenant = ? AND id = ?"},
		{&p.head, `UPDATE runs SET entries = entries + ?2, bytes = bytes + ?3, touched = ?4, status = ?5
			WHERE n = ?1 AND epoch = ?6 AND entries = ?7 - 1 AND status = 'running'`},
		{&p.chunk, "INSERT INTO chunks (run, first, count, epoch, data) VALUES (?, ?, ?, ?, ?)"},
	} {
		var err error
		if *s.into, err = conn.PrepareContext(ctx, s.text); err != nil {
			return err
		}
	}
	return nil
}

func (p *statements) close() error {
	var errs []error
	for _, s := range []*sql.Stmt{p.find, p.head, p.chunk, p.begin, p.commit, p.rollback} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// write does something in a transaction, which nothing else of this process does meanwhile.
func (s *Store) write(ctx context.Context, do func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return &kernel.Error{Code: kernel.CodeUnavailable, What: "the journal is closed"}
	}
	if _, err := s.add.begin.ExecContext(ctx); err != nil {
		return storeError(err)
	}
	err := do()
	if err == nil {
		// Whoever gives up now would not know whether it was done.
		if _, err = s.add.commit.ExecContext(context.WithoutCancel(ctx)); err == nil {
			return nil
		}
	}
	clear(s.known)
	// A transaction that SQLite has ended by itself, as where the disk is full, cannot be.
	_, _ = s.add.rollback.ExecContext(context.WithoutCancel(ctx))
	return storeError(err)
}

// visiting refuses what is for the owner alone.
func (s *Store) visiting() error {
	if s.owner != "" {
		return nil
	}
	return &kernel.Error{Code: kernel.CodeUnavailable, What: "the journal is open for reading alone", Fix: "have the host do it"}
}

// Create implements driver.Store.
func (s *Store) Create(ctx context.Context, run *driver.Run) error {
	if err := s.visiting(); err != nil {
		return err
	}
	now := time.Now()
	err := s.write(ctx, func() error {
		done, err := s.conn.ExecContext(ctx, `INSERT INTO runs (tenant, id, parent, pipeline, version, status, owner, epoch, begun, touched, entries, bytes)
			VALUES (?, ?, ?, ?, ?, 'running', ?, 1, ?, ?, 0, 0) ON CONFLICT DO NOTHING`,
			blob(run.Tenant), blob(run.ID), blob(run.Parent), blob(run.Pipeline), blob(run.Version), blob(s.owner), nanos(run.Begun), nanos(now))
		return changed(done, err, driver.ErrExists)
	})
	if err == nil {
		run.Status, run.Owner, run.Epoch, run.Touched, run.Entries, run.Bytes, run.Free = driver.Running, s.owner, 1, now, 0, 0, false
	}
	return err
}

// changed returns none where nothing was changed.
func changed(done sql.Result, err, none error) error {
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		return cmp.Or(err, none)
	}
	return nil
}

// blob is a text as bytes: an order and an equality without any rules of language.
// An empty one is not NULL.
func blob(text string) []byte { return append([]byte{}, text...) }

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// Claim implements driver.Store. Whatever another process has left is free: this one has the file's lock.
func (s *Store) Claim(ctx context.Context, tenant, run string, _ bool) (*driver.Run, error) {
	if err := s.visiting(); err != nil {
		return nil, err
	}
	var head *driver.Run
	err := s.write(ctx, func() error {
		now := time.Now()
		done, err := s.conn.ExecContext(ctx, `UPDATE runs SET status = 'running', owner = ?, epoch = epoch + 1, touched = ?
			WHERE tenant = ? AND id = ? AND status IN ('running', 'suspended')`, blob(s.owner), nanos(now), blob(tenant), blob(run))
		none := errors.New("it has ended")
		err = changed(done, err, none)
		if err != nil && !errors.Is(err, none) {
			return err
		}
		got, getErr := s.get(ctx, s.conn, tenant, run)
		switch {
		case getErr != nil:
			return getErr
		case err != nil:
			return &driver.Over{Status: got.Status}
		}
		head = got
		return nil
	})
	if err != nil {
		return nil, err
	}
	return head, nil
}

// Append implements driver.Store.
func (s *Store) Append(ctx context.Context, chunks []driver.Chunk) ([]error, error) {
	if err := s.visiting(); err != nil {
		return nil, err
	}
	errs := make([]error, len(chunks))
	now := time.Now().UnixNano()
	err := s.write(ctx, func() error {
		for i := range chunks {
			var err error
			if errs[i], err = s.append(ctx, &chunks[i], now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return errs, nil
}

// append returns what is wrong with the chunk, and what with the file.
func (s *Store) append(ctx context.Context, c *driver.Chunk, now int64) (of, err error) {
	k := key{c.Tenant, c.Run}
	n, ok := s.known[k]
	if !ok {
		switch err := s.add.find.QueryRowContext(ctx, blob(c.Tenant), blob(c.Run)).Scan(&n); {
		case errors.Is(err, sql.ErrNoRows):
			return driver.ErrNotFound, nil
		case err != nil:
			return nil, err
		}
		s.known[k] = n
	}
	if c.Status != "" && c.Status != driver.Running {
		delete(s.known, k)
	}
	done, err := s.add.head.ExecContext(ctx, n, c.Count, len(c.Data), now, string(cmp.Or(c.Status, driver.Running)), c.Epoch, c.First)
	if err != nil {
		return nil, err
	}
	switch changed, err := done.RowsAffected(); {
	case err != nil:
		return nil, err
	case changed == 0:
		return s.refused(ctx, n, c)
	case c.Count > 0:
		_, err = s.add.chunk.ExecContext(ctx, n, c.First, c.Count, c.Epoch, c.Data)
	}
	return nil, err
}

// refused says why a chunk could not be added: nil where it is there already.
func (s *Store) refused(ctx context.Context, n int64, c *driver.Chunk) (of, err error) {
	var status string
	var epoch, entries, count uint64
	var data []byte
	err = s.conn.QueryRowContext(ctx, `SELECT r.status, r.epoch, r.entries, coalesce(c.count, 0), c.data
		FROM runs AS r LEFT JOIN chunks AS c ON c.run = r.n AND c.first = ? WHERE r.n = ?`, c.First, n).Scan(&status, &epoch, &entries, &count, &data)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return driver.ErrNotFound, nil
	case err != nil:
		return nil, err
	case epoch != c.Epoch:
		return driver.ErrFenced, nil
	}
	there := count == c.Count && bytes.Equal(data, c.Data)
	if c.Count == 0 {
		there = entries == c.First-1
	}
	switch {
	case there && (c.Status == "" || string(c.Status) == status):
		return nil, nil
	case status != string(driver.Running):
		return driver.ErrFenced, nil
	}
	return driver.ErrGap, nil
}

// Truncate implements driver.Store.
func (s *Store) Truncate(ctx context.Context, tenant, run string, epoch, first uint64) error {
	if err := s.visiting(); err != nil {
		return err
	}
	return s.write(ctx, func() error {
		var n int64
		var there uint64
		var status string
		err := s.conn.QueryRowContext(ctx, "SELECT n, epoch, status FROM runs WHERE tenant = ? AND id = ?", blob(tenant), blob(run)).Scan(&n, &there, &status)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return driver.ErrNotFound
		case err != nil:
			return err
		case there != epoch || status != string(driver.Running):
			return driver.ErrFenced
		}
		if _, err := s.conn.ExecContext(ctx, "DELETE FROM chunks WHERE run = ? AND first >= ?", n, first); err != nil {
			return err
		}
		return s.recount(ctx, n)
	})
}

// recount writes what a run's chunks hold into its head.
func (s *Store) recount(ctx context.Context, n int64) error {
	_, err := s.conn.ExecContext(ctx, `UPDATE runs SET touched = ?2,
		entries = (SELECT coalesce(max(first + count - 1), 0) FROM chunks WHERE run = ?1),
		bytes = (SELECT coalesce(sum(length(data)), 0) FROM chunks WHERE run = ?1) WHERE n = ?1`, n, time.Now().UnixNano())
	return err
}

// idle returns the number of a run that nobody works on.
func (s *Store) idle(ctx context.Context, tenant, run string) (n int64, err error) {
	head, err := s.get(ctx, s.conn, tenant, run)
	switch {
	case err != nil:
		return 0, err
	case head.Status == driver.Running && !head.Free:
		return 0, &driver.Taken{Owner: head.Owner}
	}
	err = s.add.find.QueryRowContext(ctx, blob(tenant), blob(run)).Scan(&n)
	return n, err
}

// Rewrite implements driver.Store.
func (s *Store) Rewrite(ctx context.Context, tenant, run string, chunks []driver.Chunk) error {
	err := s.write(ctx, func() error {
		n, err := s.idle(ctx, tenant, run)
		if err = cmp.Or(err, driver.Consecutive(chunks)); err != nil {
			return err
		}
		if _, err := s.conn.ExecContext(ctx, "DELETE FROM chunks WHERE run = ?", n); err != nil {
			return err
		}
		for _, c := range chunks {
			if _, err := s.add.chunk.ExecContext(ctx, n, c.First, c.Count, c.Epoch, c.Data); err != nil {
				return err
			}
		}
		return s.recount(ctx, n)
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.checkpoint(ctx)
}

// Delete implements driver.Store.
func (s *Store) Delete(ctx context.Context, tenant, run string) error {
	return s.write(ctx, func() error {
		n, err := s.idle(ctx, tenant, run)
		if err != nil {
			return err
		}
		delete(s.known, key{tenant, run})
		if _, err := s.conn.ExecContext(ctx, "DELETE FROM chunks WHERE run = ?", n); err != nil {
			return err
		}
		_, err = s.conn.ExecContext(ctx, "DELETE FROM runs WHERE n = ?", n)
		return err
	})
}

// PutBlob implements driver.Store.
func (s *Store) PutBlob(ctx context.Context, tenant, digest string, data []byte) error {
	return s.write(ctx, func() error {
		_, err := s.conn.ExecContext(ctx, "INSERT INTO blobs (tenant, digest, put, data) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET put = excluded.put",
			blob(tenant), blob(digest), time.Now().UnixNano(), append([]byte{}, data...))
		return err
	})
}

// Sweep implements driver.Store.
func (s *Store) Sweep(ctx context.Context, tenant string, before time.Time, keep map[string]bool) (n int, err error) {
	err = s.write(ctx, func() error {
		rows, err := s.conn.QueryContext(ctx, "SELECT digest FROM blobs WHERE tenant = ? AND put < ?", blob(tenant), nanos(before))
		if err != nil {
			return err
		}
		defer rows.Close()
		var old [][]byte
		for rows.Next() {
			var digest []byte
			if err := rows.Scan(&digest); err != nil {
				return err
			}
			if !keep[string(digest)] {
				old = append(old, digest)
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		for _, digest := range old {
			if _, err := s.conn.ExecContext(ctx, "DELETE FROM blobs WHERE tenant = ? AND digest = ?", blob(tenant), digest); err != nil {
				return err
			}
		}
		n = len(old)
		return nil
	})
	return n, err
}
