package pgjournal

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hexdag/hexdag/host/journal/driver"
)

// Create implements driver.Store.
func (s *Store) Create(ctx context.Context, run *driver.Run) error {
	if err := s.visiting(); err != nil {
		return err
	}
	var touched time.Time
	err := s.pool.QueryRow(ctx, s.sql.insert, escape(run.Tenant), escape(run.ID), escape(run.Parent), escape(run.Pipeline), escape(run.Version), escape(s.owner), run.Begun).Scan(&touched)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return driver.ErrExists
	case err != nil:
		return failed(ctx, err)
	}
	run.Status, run.Owner, run.Epoch, run.Touched, run.Entries, run.Bytes, run.Free = driver.Running, s.owner, 1, touched, 0, 0, false
	return nil
}

// Claim implements driver.Store.
func (s *Store) Claim(ctx context.Context, tenant, run string, force bool) (*driver.Run, error) {
	if err := s.visiting(); err != nil {
		return nil, err
	}
	var epoch uint64
	err := s.pool.QueryRow(ctx, s.sql.claim, escape(tenant), escape(run), escape(s.owner), force).Scan(&epoch)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, failed(ctx, err)
	}
	head, until, getErr := s.get(ctx, tenant, run)
	switch {
	case getErr != nil:
		return nil, getErr
	case err == nil:
		head.Epoch = epoch // another may have taken it since
		return head, nil
	case head.Status != driver.Running && head.Status != driver.Suspended:
		return nil, &driver.Over{Status: head.Status}
	}
	return nil, &driver.Taken{Owner: head.Owner, Until: until}
}

// Wake implements driver.Store.
func (s *Store) Wake(ctx context.Context, tenant, run string, was uint64) (*driver.Run, error) {
	if err := s.visiting(); err != nil {
		return nil, err
	}
	var epoch uint64
	err := s.pool.QueryRow(ctx, s.sql.wake, escape(tenant), escape(run), escape(s.owner), was).Scan(&epoch)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, failed(ctx, err)
	}
	head, _, getErr := s.get(ctx, tenant, run)
	switch {
	case getErr != nil:
		return nil, getErr
	case err != nil:
		return nil, driver.ErrFenced
	}
	head.Epoch = epoch // another may have taken it since
	return head, nil
}

// group is the chunks of one run in an Append.
type group struct {
	from   int // the first
	chunks []driver.Chunk
}

// groups returns the runs of chunks that follow each other of one run.
func groups(chunks []driver.Chunk) []group {
	var all []group
	for i, c := range chunks {
		if n := len(all); n > 0 {
			last := &all[n-1]
			before := &last.chunks[len(last.chunks)-1]
			if before.Tenant == c.Tenant && before.Run == c.Run && before.Epoch == c.Epoch && before.First+before.Count == c.First && before.Status == "" {
				last.chunks = append(last.chunks, c)
				continue
			}
		}
		all = append(all, group{from: i, chunks: []driver.Chunk{c}})
	}
	return all
}

// Append implements driver.Store. What can be written as it is takes one statement; the rest is looked at one by one.
func (s *Store) Append(ctx context.Context, chunks []driver.Chunk) ([]error, error) {
	if err := s.visiting(); err != nil {
		return nil, err
	}
	errs := make([]error, len(chunks))
	if len(chunks) == 0 {
		return errs, nil
	}
	all := groups(chunks)
	// Of one run, one group at a time: the statement adds to what was there before it.
	seen := map[[2]string]bool{}
	var first, rest []group
	for _, g := range all {
		k := [2]string{g.chunks[0].Tenant, g.chunks[0].Run}
		if seen[k] {
			rest = append(rest, g)
			continue
		}
		seen[k] = true
		first = append(first, g)
	}
	done, err := s.add(ctx, first)
	if err != nil {
		return nil, failed(ctx, err)
	}
	for i, g := range first {
		if !done[i] {
			rest = append(rest, g)
		}
	}
	slices.SortStableFunc(rest, func(a, b group) int { return cmp.Compare(a.from, b.from) })
	for _, g := range rest {
		for i := range g.chunks {
			of, err := s.addOne(ctx, &g.chunks[i])
			if err != nil {
				return nil, failed(ctx, err)
			}
			errs[g.from+i] = of
		}
	}
	return errs, nil
}

// add appends groups, each of another run, and says which it could.
func (s *Store) add(ctx context.Context, all []group) ([]bool, error) {
	var tenants, runs, statuses []string
	var epochs, firsts, counts, bytes []int64
	var of, cFirsts, cCounts []int64
	var data, waits [][]byte
	var keys []*string
	var untils []*time.Time
	for i, g := range all {
		var count, size int64
		for _, c := range g.chunks {
			count += int64(c.Count)
			size += int64(len(c.Data))
			if c.Count > 0 {
				of, cFirsts, cCounts, data = append(of, int64(i+1)), append(cFirsts, int64(c.First)), append(cCounts, int64(c.Count)), append(data, notNil(c.Data))
			}
		}
		c, last := &g.chunks[0], &g.chunks[len(g.chunks)-1]
		tenants, runs, statuses = append(tenants, escape(c.Tenant)), append(runs, escape(c.Run)), append(statuses, string(cmp.Or(last.Status, driver.Running)))
		epochs, firsts, counts, bytes = append(epochs, int64(c.Epoch)), append(firsts, int64(c.First)), append(counts, count), append(bytes, size)
		w, err := columnsOf(last)
		if err != nil {
			return nil, err
		}
		waits, keys, untils = append(waits, w.data), append(keys, w.json), append(untils, w.until)
	}
	rows, err := s.pool.Query(ctx, s.sql.add, tenants, runs, epochs, firsts, counts, bytes, statuses, of, cFirsts, cCounts, data, waits, keys, untils)
	if err != nil {
		return nil, err
	}
	written, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, err
	}
	done := make([]bool, len(all))
	for _, i := range written {
		done[i-1] = true
	}
	return done, nil
}

// waiting is what the row of a run has of what it waits for: nothing unless it is suspended.
type waiting struct {
	data  []byte
	keys  []string
	json  *string // the keys
	until *time.Time
}

func columnsOf(c *driver.Chunk) (w waiting, err error) {
	if c.Status != driver.Suspended || c.Waits == nil {
		return w, nil
	}
	if w.data, err = c.Waits.Encode(); err != nil {
		return w, err
	}
	w.keys = []string{}
	for _, key := range c.Waits.Keys {
		w.keys = append(w.keys, escape(key))
	}
	text, err := json.Marshal(w.keys)
	w.json = new(string(text))
	if !c.Waits.Until.IsZero() {
		w.until = &c.Waits.Until
	}
	return w, err
}

func notNil(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}

// locked is a run's row that a transaction has locked.
type locked struct {
	n              int64
	epoch, entries uint64
	status         driver.Status
	free           bool
	owner          string
}

func (s *Store) lock(ctx context.Context, tx pgx.Tx, tenant, run string) (*locked, error) {
	l := &locked{}
	err := tx.QueryRow(ctx, s.sql.lock, escape(tenant), escape(run)).Scan(&l.n, &l.epoch, &l.status, &l.entries, &l.free, &l.owner)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, driver.ErrNotFound
	}
	return l, err
}

// addOne appends a chunk, or says why it cannot be: nothing where it is there already.
func (s *Store) addOne(ctx context.Context, c *driver.Chunk) (of, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		l, err := s.lock(ctx, tx, c.Tenant, c.Run)
		switch {
		case errors.Is(err, driver.ErrNotFound):
			of = err
			return nil
		case err != nil:
			return err
		case l.epoch != c.Epoch:
			of = driver.ErrFenced
			return nil
		case l.status != driver.Running || l.entries != c.First-1:
			of, err = s.refused(ctx, tx, l, c)
			return err
		}
		if c.Count > 0 {
			if _, err := tx.Exec(ctx, s.sql.chunk, l.n, c.First, c.Count, c.Epoch, notNil(c.Data)); err != nil {
				return err
			}
		}
		w, err := columnsOf(c)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, s.sql.set, l.n, c.Count, len(c.Data), string(cmp.Or(c.Status, driver.Running)), w.data, w.keys, w.until)
		return err
	})
	return of, err
}

func (s *Store) refused(ctx context.Context, tx pgx.Tx, l *locked, c *driver.Chunk) (of, err error) {
	there := c.Count == 0 && l.entries == c.First-1
	if c.Count > 0 {
		if err := tx.QueryRow(ctx, s.sql.there, l.n, c.First, c.Count, notNil(c.Data)).Scan(&there); err != nil {
			return nil, err
		}
	}
	switch {
	case there && (c.Status == "" || c.Status == l.status):
		return nil, nil
	case l.status != driver.Running:
		return driver.ErrFenced, nil
	}
	return driver.ErrGap, nil
}

// change does something to a run whose row nobody else changes meanwhile.
func (s *Store) change(ctx context.Context, tenant, run string, do func(tx pgx.Tx, l *locked) error) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		l, err := s.lock(ctx, tx, tenant, run)
		if err != nil {
			return err
		}
		return do(tx, l)
	})
	if err != nil {
		return failed(ctx, err)
	}
	return nil
}

// idle returns *Taken where somebody works on the run.
func (l *locked) idle() error {
	if l.status == driver.Running && !l.free {
		return &driver.Taken{Owner: unescape(l.owner)}
	}
	return nil
}

// Truncate implements driver.Store.
func (s *Store) Truncate(ctx context.Context, tenant, run string, epoch, first uint64) error {
	if err := s.visiting(); err != nil {
		return err
	}
	return s.change(ctx, tenant, run, func(tx pgx.Tx, l *locked) error {
		if l.epoch != epoch || l.status != driver.Running {
			return driver.ErrFenced
		}
		if _, err := tx.Exec(ctx, s.sql.cut, l.n, first); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, s.sql.recount, l.n)
		return err
	})
}

// Rewrite implements driver.Store.
func (s *Store) Rewrite(ctx context.Context, tenant, run string, chunks []driver.Chunk) error {
	return s.change(ctx, tenant, run, func(tx pgx.Tx, l *locked) error {
		if err := cmp.Or(l.idle(), driver.Consecutive(chunks)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, s.sql.cut, l.n, 0); err != nil {
			return err
		}
		for _, c := range chunks {
			if _, err := tx.Exec(ctx, s.sql.chunk, l.n, c.First, c.Count, c.Epoch, notNil(c.Data)); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, s.sql.recount, l.n)
		return err
	})
}

// Delete implements driver.Store.
func (s *Store) Delete(ctx context.Context, tenant, run string) error {
	return s.change(ctx, tenant, run, func(tx pgx.Tx, l *locked) error {
		if err := l.idle(); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, s.sql.cut, l.n, 0); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, s.sql.remove, l.n)
		return err
	})
}

// PutBlob implements driver.Store.
func (s *Store) PutBlob(ctx context.Context, tenant, digest string, data []byte) error {
	if _, err := s.pool.Exec(ctx, s.sql.putBlob, escape(tenant), escape(digest), notNil(data)); err != nil {
		return failed(ctx, err)
	}
	return nil
}

// Sweep implements driver.Store.
func (s *Store) Sweep(ctx context.Context, tenant string, before time.Time, keep map[string]bool) (int, error) {
	kept := []string{}
	for digest := range keep {
		kept = append(kept, escape(digest))
	}
	tag, err := s.pool.Exec(ctx, s.sql.sweep, escape(tenant), before, kept)
	if err != nil {
		return 0, failed(ctx, err)
	}
	return int(tag.RowsAffected()), nil
}
