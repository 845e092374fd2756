package sqlitejournal

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
)

// write does something in a transaction, which nothing else of this process does meanwhile.
func (s *Store) write(ctx context.Context, do func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transact(ctx, do)
}

// transact is write for who has the lock.
func (s *Store) transact(ctx context.Context, do func() error) error {
	if s.conn == nil {
		return closedError()
	}
	if _, err := s.add.begin.ExecContext(ctx); err != nil {
		return storeError(err)
	}
	err := s.fresh(ctx)
	if err == nil {
		err = do()
	}
	if err == nil {
		// Whoever gives up now would not know whether it was done.
		if _, err = s.add.commit.ExecContext(context.WithoutCancel(ctx)); err == nil {
			return nil
		}
	}
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
	return s.take(ctx, tenant, run, func(was *driver.Run) error {
		if was.Status != driver.Running && was.Status != driver.Suspended {
			return &driver.Over{Status: was.Status}
		}
		return nil
	})
}

// Wake implements driver.Store.
func (s *Store) Wake(ctx context.Context, tenant, run string, epoch uint64) (*driver.Run, error) {
	return s.take(ctx, tenant, run, func(was *driver.Run) error {
		if was.Status != driver.Suspended || was.Epoch != epoch {
			return driver.ErrFenced
		}
		return nil
	})
}

// take makes a run this host's, unless may says why it must not be.
func (s *Store) take(ctx context.Context, tenant, run string, may func(*driver.Run) error) (*driver.Run, error) {
	if err := s.visiting(); err != nil {
		return nil, err
	}
	var head *driver.Run
	err := s.write(ctx, func() error {
		was, err := s.get(ctx, s.conn, tenant, run)
		if err == nil {
			err = may(was)
		}
		if err != nil {
			return err
		}
		s.forget(tenant, run)
		if _, err := s.conn.ExecContext(ctx, `UPDATE runs SET status = 'running', owner = ?, epoch = epoch + 1, touched = ?, waits = NULL, until = NULL
			WHERE tenant = ? AND id = ?`, blob(s.owner), nanos(time.Now()), blob(tenant), blob(run)); err != nil {
			return err
		}
		if was.Waits != nil {
			if _, err := s.conn.ExecContext(ctx, "DELETE FROM waits WHERE run = (SELECT n FROM runs WHERE tenant = ? AND id = ?)", blob(tenant), blob(run)); err != nil {
				return err
			}
		}
		// Its heads were written a while ago.
		if err := s.recount(ctx, "tenant = ? AND id = ?", blob(tenant), blob(run)); err != nil {
			return err
		}
		head, err = s.get(ctx, s.conn, tenant, run)
		return err
	})
	if err != nil {
		return nil, err
	}
	return head, nil
}

// Truncate implements driver.Store.
func (s *Store) Truncate(ctx context.Context, tenant, run string, epoch, first uint64) error {
	if err := s.visiting(); err != nil {
		return err
	}
	return s.write(ctx, func() error {
		h, err := s.find(ctx, key{tenant, run})
		switch {
		case err != nil:
			return err
		case h.epoch != epoch || h.status != driver.Running:
			return driver.ErrFenced
		}
		s.forget(tenant, run)
		if _, err := s.conn.ExecContext(ctx, "DELETE FROM chunks WHERE run = ? AND first >= ?", h.n, first); err != nil {
			return err
		}
		return s.recount(ctx, "n = ?", h.n)
	})
}

// recount writes what runs' chunks hold into their heads.
func (s *Store) recount(ctx context.Context, which string, args ...any) error {
	_, err := s.conn.ExecContext(ctx, `UPDATE runs SET
		entries = (SELECT coalesce(max(first + count - 1), 0) FROM chunks WHERE run = n),
		bytes = (SELECT coalesce(sum(length(data)), 0) FROM chunks WHERE run = n) WHERE `+which, args...)
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
	s.forget(tenant, run)
	err = s.conn.QueryRowContext(ctx, "SELECT n FROM runs WHERE tenant = ? AND id = ?", blob(tenant), blob(run)).Scan(&n)
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
		return s.recount(ctx, "n = ?", n)
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
		if _, err := s.conn.ExecContext(ctx, "DELETE FROM chunks WHERE run = ?", n); err != nil {
			return err
		}
		if _, err := s.conn.ExecContext(ctx, "DELETE FROM waits WHERE run = ?", n); err != nil {
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
