package sqlitejournal

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/journal/driver"
)

// headsEvery is how old what the file says of a run that goes on, its chunks aside, may be: writing that with each chunk would double the work.
const headsEvery = time.Second

// together is how many chunks one statement adds.
const together = 16

// live is what there is to know of a run that this process works on. It does not change any more once others can see it.
type live struct {
	n              int64 // its number
	epoch, entries uint64
	bytes          int64
	touched        time.Time
	status         driver.Status
	dirty          bool  // the file does not say so yet
	version        int64 // of the file, in which it was so
}

// statements are those that each Append uses.
type statements struct {
	version, still, run, head, chunk, chunks, begin, commit, rollback *sql.Stmt
}

func (p *statements) prepare(ctx context.Context, conn *sql.Conn) error {
	const row = "(?, ?, ?, ?, ?)"
	for _, s := range []struct {
		into **sql.Stmt
		text string
	}{
		{&p.begin, "BEGIN IMMEDIATE"}, {&p.commit, "COMMIT"}, {&p.rollback, "ROLLBACK"}, {&p.version, "PRAGMA data_version"},
		{&p.still, "SELECT epoch FROM runs WHERE n = ? AND tenant = ? AND id = ? AND status = 'running'"},
		{&p.run, `INSERT INTO runs (tenant, id, parent, pipeline, version, status, owner, epoch, begun, touched, entries, bytes)
			VALUES (?, ?, ?, ?, ?, 'running', ?, 1, ?, ?, 0, 0) ON CONFLICT DO NOTHING`},
		{&p.head, "UPDATE runs SET entries = ?, bytes = ?, touched = ?, status = ? WHERE n = ?"},
		{&p.chunk, "INSERT INTO chunks (run, first, count, epoch, data) VALUES " + row},
		{&p.chunks, "INSERT OR FAIL INTO chunks (run, first, count, epoch, data) VALUES " + strings.Repeat(row+", ", together-1) + row},
	} {
		prepared, err := conn.PrepareContext(ctx, s.text) //nolint:sqlclosecheck // close does
		if err != nil {
			return err
		}
		*s.into = prepared
	}
	return nil
}

func (p *statements) close() error {
	var errs []error
	for _, s := range []*sql.Stmt{p.version, p.still, p.run, p.head, p.chunk, p.chunks, p.begin, p.commit, p.rollback} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// fresh notes whether another process has written the file.
func (s *Store) fresh(ctx context.Context) error {
	return s.add.version.QueryRowContext(ctx).Scan(&s.version)
}

// forget has what is known of a run read from the file the next time.
func (s *Store) forget(tenant, run string) {
	s.liveMu.Lock()
	defer s.liveMu.Unlock()
	delete(s.live, key{tenant, run})
}

// find returns what there is to know of a run, as it is in this transaction.
func (s *Store) find(ctx context.Context, k key) (live, error) {
	s.liveMu.Lock()
	known := s.live[k]
	s.liveMu.Unlock()
	if known != nil && known.version != s.version {
		var err error
		if known, err = s.still(ctx, k, known); err != nil {
			return live{}, err
		}
	}
	if known != nil {
		return *known, nil
	}
	h := live{version: s.version}
	var status string
	err := s.conn.QueryRowContext(ctx, `SELECT n, epoch, status,
		(SELECT coalesce(max(first + count - 1), 0) FROM chunks WHERE run = n), (SELECT coalesce(sum(length(data)), 0) FROM chunks WHERE run = n)
		FROM runs WHERE tenant = ? AND id = ?`, blob(k.tenant), blob(k.id)).Scan(&h.n, &h.epoch, &status, &h.entries, &h.bytes)
	if errors.Is(err, sql.ErrNoRows) {
		err = driver.ErrNotFound
	}
	h.status = driver.Status(status)
	return h, err
}

// still returns what was known of a run, if it is this process's still: nobody else has added to it then.
func (s *Store) still(ctx context.Context, k key, known *live) (*live, error) {
	var epoch uint64
	err := s.add.still.QueryRowContext(ctx, known.n, blob(k.tenant), blob(k.id)).Scan(&epoch)
	switch {
	case errors.Is(err, sql.ErrNoRows) || err == nil && epoch != known.epoch:
		return nil, nil
	case err != nil:
		return nil, err
	}
	again := *known
	again.version = s.version
	return &again, nil
}

// adding is one Append under way.
type adding struct {
	*Store
	now  time.Time
	live map[key]*live // as it will be
	args []any         // of the chunks that are not added yet
}

// Append implements driver.Store.
func (s *Store) Append(ctx context.Context, chunks []driver.Chunk) ([]error, error) {
	if err := s.visiting(); err != nil {
		return nil, err
	}
	errs := make([]error, len(chunks))
	a := &adding{Store: s, now: time.Now(), live: map[key]*live{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.transact(ctx, func() error {
		for i := range chunks {
			var err error
			if errs[i], err = a.add(ctx, &chunks[i]); err != nil {
				return err
			}
		}
		if err := a.flush(ctx, s.add.chunk, 5); err != nil {
			return err
		}
		return s.writeHeads(ctx, a)
	})
	if err != nil {
		return nil, err
	}
	a.seen()
	return errs, nil
}

// add returns what is wrong with the chunk, and what with the file.
func (a *adding) add(ctx context.Context, c *driver.Chunk) (of, err error) {
	k := key{c.Tenant, c.Run}
	h := a.live[k]
	if h == nil {
		found, err := a.find(ctx, k)
		switch {
		case errors.Is(err, driver.ErrNotFound):
			return err, nil
		case err != nil:
			return nil, err
		}
		h = &found
		a.live[k] = h
	}
	switch {
	case h.epoch != c.Epoch:
		return driver.ErrFenced, nil
	case h.status != driver.Running || h.entries != c.First-1:
		return a.refused(ctx, h, c)
	}
	h.entries += c.Count
	h.bytes += int64(len(c.Data))
	h.status, h.touched, h.dirty = cmp.Or(c.Status, h.status), a.now, true
	if h.status == driver.Suspended && c.Waits != nil {
		if err := a.waits(ctx, h.n, c.Waits); err != nil {
			return nil, err
		}
	}
	if c.Count == 0 {
		return nil, nil
	}
	a.args = append(a.args, h.n, c.First, c.Count, c.Epoch, c.Data)
	return nil, a.flush(ctx, a.Store.add.chunks, 5*together)
}

// waits notes what a run waits for that is suspended now. That of before went when it was claimed.
func (a *adding) waits(ctx context.Context, n int64, w *driver.Waits) error {
	data, err := w.Encode()
	if err != nil {
		return err
	}
	var until *int64
	if !w.Until.IsZero() {
		until = new(w.Until.UnixNano())
	}
	if _, err := a.conn.ExecContext(ctx, "UPDATE runs SET waits = ?, until = ? WHERE n = ?", data, until, n); err != nil {
		return err
	}
	for _, key := range w.Keys {
		if _, err := a.conn.ExecContext(ctx, "INSERT INTO waits (key, run) VALUES (?, ?) ON CONFLICT DO NOTHING", blob(key), n); err != nil {
			return err
		}
	}
	return nil
}

// flush adds chunks as long as there are as many as a statement takes.
func (a *adding) flush(ctx context.Context, statement *sql.Stmt, args int) error {
	for len(a.args) >= args {
		if _, err := statement.ExecContext(ctx, a.args[:args]...); err != nil {
			return err
		}
		a.args = a.args[args:]
	}
	return nil
}

// refused says why a chunk cannot be added: nil where it is there already.
func (a *adding) refused(ctx context.Context, h *live, c *driver.Chunk) (of, err error) {
	if err := a.flush(ctx, a.Store.add.chunk, 5); err != nil {
		return nil, err
	}
	there := c.Count == 0 && h.entries == c.First-1
	if c.Count > 0 {
		var count uint64
		var data []byte
		err := a.conn.QueryRowContext(ctx, "SELECT count, data FROM chunks WHERE run = ? AND first = ?", h.n, c.First).Scan(&count, &data)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, err
		}
		there = err == nil && count == c.Count && bytes.Equal(data, c.Data)
	}
	switch {
	case there && (c.Status == "" || c.Status == h.status):
		return nil, nil
	case h.status != driver.Running:
		return driver.ErrFenced, nil
	}
	return driver.ErrGap, nil
}

// writeHeads writes those of runs that a changes the status of, and from time to time those of all.
func (s *Store) writeHeads(ctx context.Context, a *adding) error {
	heads := map[key]*live{}
	if a == nil || a.now.Sub(s.written) >= headsEvery {
		s.liveMu.Lock()
		for k, h := range s.live {
			if h.dirty {
				clean := *h
				heads[k] = &clean
			}
		}
		s.liveMu.Unlock()
		s.written = time.Now()
		if a != nil {
			for k, h := range a.live {
				heads[k] = h
			}
		}
	} else {
		for k, h := range a.live {
			if h.status != driver.Running {
				heads[k] = h
			}
		}
	}
	for k, h := range heads {
		if !h.dirty {
			continue
		}
		if _, err := s.add.head.ExecContext(ctx, h.entries, h.bytes, h.touched.UnixNano(), string(h.status), h.n); err != nil {
			return err
		}
		h.dirty = false
		if a != nil {
			a.live[k] = h
		}
	}
	return nil
}

// seen tells others of what was added.
func (a *adding) seen() {
	a.liveMu.Lock()
	defer a.liveMu.Unlock()
	for k, h := range a.live {
		if h.status == driver.Running {
			a.Store.live[k] = h
		} else {
			delete(a.Store.live, k)
		}
	}
}

// overlay puts what the file does not say yet into a head.
func (s *Store) overlay(r *driver.Run) {
	s.liveMu.Lock()
	defer s.liveMu.Unlock()
	if h := s.live[key{r.Tenant, r.ID}]; h != nil && h.epoch == r.Epoch && h.entries >= r.Entries && !h.touched.IsZero() {
		r.Entries, r.Bytes, r.Touched = h.entries, h.bytes, h.touched
	}
}
