package sqlitejournal

import (
	"context"
	"time"

	"github.com/hexdag/hexdag/host/journal/driver"
)

// creation is a run that is to be created.
type creation struct {
	ctx  context.Context // of whoever waits for it
	run  *driver.Run
	n    int64 // its number
	done bool
	err  error
}

// Create implements driver.Store. Runs that begin at a time are created together: each alone would wait for the disk by itself.
func (s *Store) Create(ctx context.Context, run *driver.Run) error {
	if err := s.visiting(); err != nil {
		return err
	}
	c := &creation{ctx: ctx, run: run}
	s.waiting.Lock()
	s.creations = append(s.creations, c)
	s.waiting.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.done {
		s.createAll(ctx)
	}
	return c.err
}

// createAll creates all runs that are to be, for who has the lock.
func (s *Store) createAll(ctx context.Context) {
	s.waiting.Lock()
	all := s.creations
	s.creations = nil
	s.waiting.Unlock()
	ctx = context.WithoutCancel(ctx) // it is for others, too
	now := time.Now()
	err := s.transact(ctx, func() error {
		for _, c := range all {
			if c.err = c.ctx.Err(); c.err != nil {
				continue
			}
			if err := s.create(ctx, c, now); err != nil {
				return err
			}
		}
		return nil
	})
	s.liveMu.Lock()
	defer s.liveMu.Unlock()
	for _, c := range all {
		if c.done = true; err != nil {
			c.err = err
		}
		if c.err != nil {
			continue
		}
		r := c.run
		r.Status, r.Owner, r.Epoch, r.Touched, r.Entries, r.Bytes, r.Free = driver.Running, s.owner, 1, now, 0, 0, false
		s.live[key{r.Tenant, r.ID}] = &live{n: c.n, epoch: 1, touched: now, status: driver.Running, version: s.version}
	}
}

// create adds a run's row. That there is one is the creation's error.
func (s *Store) create(ctx context.Context, c *creation, now time.Time) error {
	r := c.run
	done, err := s.add.run.ExecContext(ctx, blob(r.Tenant), blob(r.ID), blob(r.Parent), blob(r.Pipeline), blob(r.Version), blob(s.owner), nanos(r.Begun), nanos(now))
	if err != nil {
		return err
	}
	added, err := done.RowsAffected()
	if err == nil && added == 0 {
		c.err = driver.ErrExists
		return nil
	}
	if err == nil {
		c.n, err = done.LastInsertId()
	}
	return err
}
