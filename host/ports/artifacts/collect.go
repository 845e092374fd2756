package artifacts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
)

// MinGrace is how long what nothing needs stays at least: what is stored just now may
// come to need it.
const MinGrace = 24 * time.Hour

// reuse is how old a piece may be that a Store takes as it is, and how long that Store may take: both
// together end before what is unneeded goes, with some hours left for clocks that disagree.
const reuse = MinGrace / 3

// CollectOptions say what goes. The zero value removes nothing but what no artifact needs.
type CollectOptions struct {
	// KeepFor is how old an artifact may become; 0 keeps all. One that is a parent of one
	// that stays, or of whose children one is, stays too.
	KeepFor time.Duration
	// Gone returns whether an artifact is of no use any more, however young it is; nil means none is.
	Gone func(*Artifact) bool
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
	// Markers are those that were wrong, after stores and deletes that did not end, or under another
	// quota: of runs and contents for artifacts that are not there, and of what counts for tenants.
	Markers int `json:"markers"`
	// Corrupt are artifacts whose manifest cannot be read. They and all content stay: what they
	// need is not known.
	Corrupt []string `json:"corrupt,omitempty"`
}

// Collect removes artifacts that are too old, and what no artifact needs, and puts right what counts
// for quotas. Others may use the store meanwhile. On an error, what went is gone; calling it again goes
// on. It holds some 200 bytes of memory for each artifact, and 32 for each that is a parent.
func (s *Store) Collect(ctx context.Context, opts CollectOptions) (*Collected, error) {
	c := &collection{store: s, opts: opts, done: &Collected{}, nodes: map[sum]*node{}}
	c.before = time.Now().Add(-max(opts.Grace, MinGrace))
	for _, step := range []func(context.Context) error{c.artifacts, c.contents, c.pieces, c.markers, c.usage} {
		if err := step(ctx); err != nil {
			return c.done, s.failed("the store could not be cleared", err)
		}
	}
	s.quotas.recount()
	return c.done, nil
}

// collection is one Collect.
type collection struct {
	store *Store
	opts  CollectOptions
	done  *Collected
	// before is when what goes was written at the latest. It is fixed when the collection begins: a piece that
	// is older was taken by no Store that has not ended by then (see reuse), so that the recipes of all of
	// them are listed, however long the collection takes.
	before time.Time
	nodes  map[sum]*node // the artifacts that stay
}

// sum is an id or a digest.
type sum [sha256.Size]byte

// sumOf returns the sum that a key ends in, or an id.
func sumOf(key string) (s sum, ok bool) {
	digits := strings.TrimPrefix(path.Base(key), digestPrefix)
	if len(digits) != hex.EncodedLen(len(s)) {
		return s, false
	}
	_, err := hex.Decode(s[:], []byte(digits))
	return s, err == nil
}

// id returns the sum as an id, or a digest.
func (s sum) id() string { return digestPrefix + hex.EncodeToString(s[:]) }

// node is what is held of an artifact.
type node struct {
	content sum
	parents []sum // where it matters
	weight  int64 // that counts for its tenant; negative of one whose manifest cannot be read
	stays   bool
	marked  bool // its weight counts
}

// artifacts removes those that are too old, and notes what the others need.
func (c *collection) artifacts(ctx context.Context) error {
	for marker, err := range c.store.objects(ctx, "manifests/") {
		if err != nil {
			return err
		}
		if err := c.note(ctx, idOfKey(marker.Key)); err != nil {
			return err
		}
	}
	c.spread()
	for id, n := range c.nodes {
		if n.stays {
			continue
		}
		c.done.Artifacts++
		delete(c.nodes, id)
		if c.opts.Try {
			continue
		}
		if err := c.store.Delete(ctx, id.id()); err != nil && kernel.CodeOf(err) != kernel.CodeNotFound {
			return err
		}
	}
	return nil
}

// note notes an artifact, and whether it stays by itself.
func (c *collection) note(ctx context.Context, id string) error {
	a, length, err := c.store.describe(ctx, id)
	key, ok := sumOf(id)
	switch {
	case kernel.CodeOf(err) == kernel.CodeNotFound:
		return nil // deleted meanwhile
	case errors.Is(err, ErrCorrupt):
		c.done.Corrupt = append(c.done.Corrupt, id)
		if ok {
			c.nodes[key] = &node{weight: -1, stays: true}
		}
		return nil
	case err != nil:
		return err
	}
	n := &node{weight: a.Size + length}
	n.content, _ = sumOf(a.Digest)
	n.stays = (c.opts.Gone == nil || !c.opts.Gone(a)) && (c.opts.KeepFor <= 0 || !older(a.Stored, c.opts.KeepFor) || c.opts.Keep != nil && c.opts.Keep(a))
	if c.opts.KeepFor > 0 {
		for _, parent := range a.Origin.Parents {
			if p, ok := sumOf(parent); ok {
				n.parents = append(n.parents, p)
			}
		}
	}
	c.nodes[key] = n
	return nil
}

// spread has all stay that what stays was made from.
func (c *collection) spread() {
	var open []*node
	for _, n := range c.nodes {
		if n.stays {
			open = append(open, n)
		}
	}
	for len(open) > 0 {
		n := open[len(open)-1]
		open = open[:len(open)-1]
		for _, parent := range n.parents {
			if p := c.nodes[parent]; p != nil && !p.stays {
				p.stays = true
				open = append(open, p)
			}
		}
	}
}

// older reports whether it is known that something was written longer ago than that.
func older(written time.Time, than time.Duration) bool {
	return !written.IsZero() && time.Since(written) > than
}

// old reports whether it is known that something was written long enough ago to go.
func (c *collection) old(written time.Time) bool {
	return !written.IsZero() && written.Before(c.before)
}

// contents removes contents and recipes that no artifact needs.
func (c *collection) contents(ctx context.Context) error {
	if len(c.done.Corrupt) > 0 {
		return nil
	}
	needed := make(map[sum]struct{}, len(c.nodes))
	for _, n := range c.nodes {
		needed[n.content] = struct{}{}
	}
	for _, prefix := range []string{"content/", "recipes/"} {
		if err := c.unneeded(ctx, prefix, needed, c.sweep); err != nil {
			return err
		}
	}
	return nil
}

// unneeded removes the objects below prefix that are old and not needed.
func (c *collection) unneeded(ctx context.Context, prefix string, needed map[sum]struct{}, remove func(ctx context.Context, key string) error) error {
	for object, err := range c.store.objects(ctx, prefix) {
		if err != nil {
			return err
		}
		if !c.old(object.Modified) {
			continue
		}
		if key, ok := sumOf(object.Key); ok {
			if _, ok := needed[key]; ok {
				continue
			}
		}
		if err := c.remove(ctx, object, remove); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes content unless it is needed by now.
func (c *collection) sweep(ctx context.Context, key string) error {
	if needed, err := c.store.needed(ctx, idOfKey(key)); needed || err != nil {
		return err
	}
	return c.store.sweep(ctx, idOfKey(key))
}

// pieces removes pieces that no recipe needs.
func (c *collection) pieces(ctx context.Context) error {
	if len(c.done.Corrupt) > 0 {
		return nil
	}
	needed := map[sum]struct{}{}
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
			if key, ok := sumOf(p.Digest); ok {
				needed[key] = struct{}{}
			}
		}
	}
	return c.unneeded(ctx, "pieces/", needed, c.store.bucket.Delete)
}

// remove calls remove while nobody stores anything, unless the object was written anew since it
// was listed, and counts it.
func (c *collection) remove(ctx context.Context, object driver.Object, remove func(ctx context.Context, key string) error) error {
	if c.opts.Try {
		c.done.Objects++
		c.done.Bytes += object.Size
		return nil
	}
	stays, err := c.alone(ctx, object.Key, func() error { return remove(ctx, object.Key) })
	if stays || err != nil {
		return err
	}
	if there, err := c.store.exists(ctx, object.Key); there || err != nil {
		return err // somebody needs it after all
	}
	c.done.Objects++
	c.done.Bytes += object.Size
	return nil
}

// alone calls remove while nobody stores anything, or reports that the object was written anew.
func (c *collection) alone(ctx context.Context, key string, remove func() error) (stays bool, err error) {
	unlock, err := c.store.bucket.Lock(ctx, true)
	if err != nil {
		return false, err
	}
	defer unlock()
	r, object, err := c.store.bucket.Open(ctx, key)
	if absent(err) {
		return false, nil
	}
	if err == nil {
		err = r.Close()
	}
	if err != nil || !c.old(object.Modified) {
		return true, err
	}
	if err = remove(); absent(err) {
		err = nil
	}
	return false, err
}
