package journal

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hexdag/hexdag/host/journal/driver"
)

// Policy says which journals are kept. Runs that are suspended, or go on, or could, are kept whatever it says.
type Policy struct {
	Keep       time.Duration // of those that completed, since they ended; 0: for ever
	KeepFailed time.Duration // of the others; 0: as Keep
	Max        int           // how many of those that have ended, the latest first; 0: no limit
	Dry        bool          // nothing is removed
}

// completed is the engine's status of a run that did all that it should.
const completed driver.Status = "completed"

// BlobsKept is for how long a blob is kept that no journal names: it may belong to a run that is about to begin. Whoever relies on one
// puts it again before that.
const BlobsKept = time.Hour

// Pruned is what a Prune has removed, or would have.
type Pruned struct {
	Runs  []*driver.Run
	Blobs int // always 0 of a dry one
}

// over reports whether a run has ended.
func over(r *driver.Run) bool { return r.Status != driver.Running && r.Status != driver.Suspended }

// Prune removes a tenant's journals that the policy does not keep, and the blobs that none of those names that are left. What it
// leaves free, Compact gives back. The error joins those of single runs.
func Prune(ctx context.Context, store driver.Store, tenant string, p Policy) (*Pruned, error) {
	all, err := store.Runs(ctx, tenant, driver.Query{})
	if err != nil {
		return nil, err
	}
	pruned := &Pruned{}
	var errs []error
	for _, r := range p.old(all, time.Now()) {
		if !p.Dry {
			err := store.Delete(ctx, tenant, r.ID)
			if errors.Is(err, driver.ErrNotFound) || errors.As(err, new(*driver.Taken)) {
				continue // another host was first
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
		}
		pruned.Runs = append(pruned.Runs, r)
	}
	if !p.Dry && len(errs) == 0 {
		pruned.Blobs, err = sweep(ctx, store, tenant)
		errs = append(errs, err)
	}
	return pruned, errors.Join(errs...)
}

// Maintain prunes from time to time until the context ends, and tells of what it has removed, and of what went wrong. Several hosts may do so.
func Maintain(ctx context.Context, store driver.Store, tenant string, p Policy, every time.Duration, tell func(*Pruned, error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// Where no run is too old, no blob has come to be unneeded either.
		dry := p
		dry.Dry = true
		pruned, err := Prune(ctx, store, tenant, dry)
		if err == nil && len(pruned.Runs) > 0 {
			if pruned, err = Prune(ctx, store, tenant, p); err == nil {
				err = store.Compact(ctx)
			}
		}
		if ctx.Err() == nil && (err != nil || len(pruned.Runs) > 0) {
			tell(pruned, err)
		}
	}
}

// old returns the runs that the policy does not keep.
func (p *Policy) old(all []*driver.Run, now time.Time) []*driver.Run {
	var ended []*driver.Run
	for _, r := range all {
		if over(r) {
			ended = append(ended, r)
		}
	}
	slices.SortStableFunc(ended, func(a, b *driver.Run) int { return b.Touched.Compare(a.Touched) })
	var old []*driver.Run
	for i, r := range ended {
		keep := p.Keep
		if r.Status != completed {
			keep = cmp.Or(p.KeepFailed, p.Keep)
		}
		if keep > 0 && now.Sub(r.Touched) > keep || p.Max > 0 && i >= p.Max {
			old = append(old, r)
		}
	}
	return old
}

// sweep removes the blobs that no journal names.
func sweep(ctx context.Context, store driver.Store, tenant string) (int, error) {
	before := time.Now().Add(-BlobsKept)
	// Those that begin from now on put theirs anew.
	runs, err := store.Runs(ctx, tenant, driver.Query{})
	if err != nil {
		return 0, err
	}
	keep := map[string]bool{}
	for _, r := range runs {
		if err := named(ctx, store, r, keep); err != nil {
			return 0, err
		}
	}
	return store.Sweep(ctx, tenant, before, keep)
}

// named adds the digests of the blobs that a run's heads name. What is behind a tear nobody can replay.
func named(ctx context.Context, store driver.Store, r *driver.Run, keep map[string]bool) error {
	for c, err := range store.Chunks(ctx, r.Tenant, r.ID) {
		switch {
		case errors.Is(err, driver.ErrNotFound):
			return nil
		case errors.Is(err, driver.ErrDamaged):
			continue
		case err != nil:
			return err
		}
		first, _, lines, err := unframe(c.Data)
		if isNewer(err) {
			return err // and what it names is not known
		}
		for n := uint64(0); err == nil && len(lines) > 0; n++ {
			end := bytes.IndexByte(lines, '\n') + 1
			line := lines[:end]
			lines = lines[end:]
			if !bytes.Contains(line[:min(len(line), 64)], []byte(`"kind":"begin"`)) {
				continue
			}
			var entries []*Entry
			if entries, err = decodeLines(line, first+n); err == nil && entries[0].Head != nil {
				for _, digests := range []map[string]string{entries[0].Head.Source, entries[0].Head.Modules} {
					for _, digest := range digests {
						keep[digest] = true
					}
				}
			}
		}
		if r.Epoch == 1 {
			return nil // who goes on with a run that was suspended claims it, and writes another head
		}
	}
	return nil
}
