package artifacts

import (
	"context"

	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
)

// MinGrace is how long what nothing needs stays at least: what is stored just now may
// come to need it. Storing an artifact may take half of that.
const MinGrace = 24 * time.Hour

// CollectOptions say what goes. The zero value removes nothing but what no artifact needs.
type CollectOptions struct {
	// KeepFor is how old an artifact may become; 0 keeps all. One that is a parent of one
	// that stays, or of whose children one is, stays too.
	KeepFor time.Duration
	// Keep returns whether an artifact stays however old it is; nil means none does.
	Keep func(*Artifact) bool
	// Grace is how long what no artifact needs stays; MinGrace if it is less.
	Grace time.Duration
	// Try only reports.
	Try bool
}

// Collected is what went.
type Collected struct {
	Artifacts int   `json:"artifacts"`
	Objects   int   `json:"objects"` // contents, recipes and pieces
	Bytes     int64 `json:"bytes"`   // of these
	// Corrupt are artifacts whose manifest cannot be read. They and all content stay: what they
	// need is not known.
	Corrupt []string `json:"corrupt,omitempty"`
}

// Collect removes artifacts that are too old, and what no artifact needs. Others may use
// the store meanwhile. On an error, what went is gone; calling it again goes on.
func (s *Store) Collect(ctx context.Context, opts CollectOptions) (*Collected, error) {
	c := &collection{store: s, opts: opts, done: &Collected{}, needed: map[string]bool{}}
	c.opts.Grace = max(opts.Grace, MinGrace)
	for _, step := range []func(context.Context) error{c.artifacts, c.contents, c.pieces} {
		if err := step(ctx); err != nil {
			return c.done, s.failed("the store could not be cleared", err)
		}
	}
	return c.done, nil
}

type collection struct {
	store  *Store
	opts   CollectOptions
	done   *Collected
	needed map[string]bool // digests of contents, then of pieces
}

// artifacts removes those that are too old, and notes what the others need.
func (c *collection) artifacts(ctx context.Context) error {
	known := map[string]*Artifact{}
	for a, err := range c.store.All(ctx) {
		if a == nil {
			return err
		}
		if err != nil {
			c.done.Corrupt = append(c.done.Corrupt, a.ID)
			continue
		}
		known[a.ID] = a
	}
	stays := c.staying(known)
	for id, a := range known {
		if stays[id] {
			c.needed[a.Digest] = true
			continue
		}
		c.done.Artifacts++
		if c.opts.Try {
			continue
		}
		if err := c.store.Delete(ctx, id); err != nil && kernel.CodeOf(err) != kernel.CodeNotFound {
			return err
		}
	}
	return nil
}

// staying returns the artifacts that stay: with each, all that it was made from.
func (c *collection) staying(known map[string]*Artifact) map[string]bool {
	stays := make(map[string]bool, len(known))
	var open []*Artifact
	stay := func(a *Artifact) {
		if a != nil && !stays[a.ID] {
			stays[a.ID] = true
			open = append(open, a)
		}
	}
	for _, a := range known {
		if c.opts.KeepFor <= 0 || !older(a.Stored, c.opts.KeepFor) || c.opts.Keep != nil && c.opts.Keep(a) {
			stay(a)
		}
	}
	for len(open) > 0 {
		a := open[len(open)-1]
		open = open[:len(open)-1]
		for _, parent := range a.Origin.Parents {
			stay(known[parent])
		}
	}
	return stays
}

// older reports whether it is known that something was written longer ago than that.
func older(written time.Time, than time.Duration) bool {
	return !written.IsZero() && time.Since(written) > than
}

// contents removes contents and recipes that no artifact needs.
func (c *collection) contents(ctx context.Context) error {
	if len(c.done.Corrupt) > 0 {
		return nil
	}
	for _, prefix := range []string{"content/", "recipes/"} {
		for object, err := range c.store.objects(ctx, prefix) {
			if err != nil {
				return err
			}
			if c.needed[idOfKey(object.Key)] || !older(object.Modified, c.opts.Grace) {
				continue
			}
			if err := c.remove(ctx, object, func() error { return c.sweep(ctx, object.Key) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// sweep removes content unless it was written anew since it was listed, or is needed by now.
func (c *collection) sweep(ctx context.Context, key string) error {
	r, object, err := c.store.bucket.Open(ctx, key)
	if err != nil {
		return err
	}
	if err := r.Close(); err != nil || !older(object.Modified, c.opts.Grace) {
		return err
	}
	return c.store.sweep(ctx, idOfKey(key))
}

// pieces removes pieces that no recipe needs.
func (c *collection) pieces(ctx context.Context) error {
	if len(c.done.Corrupt) > 0 {
		return nil
	}
	clear(c.needed)
	for object, err := range c.store.objects(ctx, "recipes/") {
		if err != nil {
			return err
		}
		r, err := c.store.recipe(ctx, idOfKey(object.Key))
		if absent(err) {
			continue
		}
		if err != nil { // what it needs is not known
			c.done.Corrupt = append(c.done.Corrupt, idOfKey(object.Key))
			return nil // it is in the report
		}
		for _, p := range r.Pieces {
			c.needed[p.Digest] = true
		}
	}
	for object, err := range c.store.objects(ctx, "pieces/") {
		if err != nil {
			return err
		}
		if c.needed[idOfKey(object.Key)] || !older(object.Modified, c.opts.Grace) {
			continue
		}
		if err := c.remove(ctx, object, func() error { return c.removePiece(ctx, object.Key) }); err != nil {
			return err
		}
	}
	return nil
}

// removePiece removes a piece unless it was written anew since it was listed.
func (c *collection) removePiece(ctx context.Context, key string) error {
	r, object, err := c.store.bucket.Open(ctx, key)
	if err != nil {
		return err
	}
	if err := r.Close(); err != nil || !older(object.Modified, c.opts.Grace) {
		return err
	}
	return c.store.bucket.Delete(ctx, key)
}

// remove calls remove while nobody stores anything, and counts the object.
func (c *collection) remove(ctx context.Context, object driver.Object, remove func() error) error {
	if !c.opts.Try {
		unlock, err := c.store.bucket.Lock(ctx, true)
		if err != nil {
			return err
		}
		err = remove()
		unlock()
		if err != nil && !absent(err) {
			return err
		}
		if r, _, err := c.store.bucket.Open(ctx, object.Key); err == nil {
			return r.Close() // somebody needs it after all
		} else if !absent(err) {
			return err
		}
	}
	c.done.Objects++
	c.done.Bytes += object.Size
	return nil
}
