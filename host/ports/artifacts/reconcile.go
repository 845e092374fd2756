package artifacts

import (
	"context"
	"errors"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
)

// markers removes references and entries of runs whose artifact is not there: a Store did not come as
// far as its manifest, or a Delete not further.
func (c *collection) markers(ctx context.Context) error {
	for _, prefix := range []string{"runs/", "refs/"} {
		for object, err := range c.store.bucket.Walk(ctx, prefix) {
			if err != nil {
				return err
			}
			id, ok := sumOf(object.Key)
			if !ok || c.nodes[id] != nil {
				continue
			}
			if err := c.stray(ctx, object, func() (bool, error) { return c.store.exists(ctx, manifestKey(idOfKey(object.Key))) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// usage makes what counts for the tenants what there is.
func (c *collection) usage(ctx context.Context) error {
	for object, err := range c.store.bucket.Walk(ctx, "usage/") {
		if err != nil {
			return err
		}
		name, size := parseMark(object.Key)
		if strings.HasPrefix(name, wastePrefix) {
			// What it counts is not younger than it is, and went before this if it was old.
			if len(c.done.Corrupt) == 0 && c.old(object.Modified) {
				if err := c.unmark(ctx, object); err != nil {
					return err
				}
			}
			continue
		}
		id, ok := sumOf(name)
		if n := c.nodes[id]; !ok || n != nil && (n.weight < 0 || n.weight == size) {
			if n != nil {
				n.marked = true
			}
			continue
		}
		if err := c.stray(ctx, object, func() (bool, error) { return c.weighs(ctx, digestPrefix+name, size) }); err != nil {
			return err
		}
	}
	return c.unmarked(ctx)
}

// weighs reports whether an artifact is there and counts so much, or whether that cannot be told.
func (c *collection) weighs(ctx context.Context, id string, weight int64) (bool, error) {
	a, length, err := c.store.describe(ctx, id)
	switch {
	case kernel.CodeOf(err) == kernel.CodeNotFound:
		return false, nil
	case errors.Is(err, ErrCorrupt):
		return true, nil
	case err != nil:
		return false, err
	}
	return a.Size+length == weight, nil
}

// unmark removes a marker of waste, unless it was written anew.
func (c *collection) unmark(ctx context.Context, object driver.Object) error {
	if c.opts.Try {
		return nil
	}
	_, err := c.alone(ctx, object.Key, func() error { return c.store.bucket.Delete(ctx, object.Key) })
	return err
}

// stray removes a marker, unless stays says otherwise while nobody stores anything. Where other processes
// cannot be kept apart, it waits until who wrote it just now has ended.
func (c *collection) stray(ctx context.Context, object driver.Object, stays func() (bool, error)) error {
	if c.store.opts.Shared && !c.old(object.Modified) {
		return nil
	}
	unlock, err := c.store.bucket.Lock(ctx, true)
	if err != nil {
		return err
	}
	defer unlock()
	if there, err := stays(); there || err != nil {
		return err
	}
	c.done.Markers++
	if c.opts.Try {
		return nil
	}
	if err := c.store.bucket.Delete(ctx, object.Key); err != nil && !absent(err) {
		return err
	}
	return nil
}

// unmarked has artifacts count that do not yet: there was no quota when they were stored.
func (c *collection) unmarked(ctx context.Context) error {
	if c.store.opts.TenantBytes <= 0 {
		return nil
	}
	for id, n := range c.nodes {
		if n.marked || n.weight < 0 {
			continue
		}
		c.done.Markers++
		if c.opts.Try {
			continue
		}
		if err := c.mark(ctx, id.id()); err != nil {
			return err
		}
	}
	return nil
}

func (c *collection) mark(ctx context.Context, id string) error {
	unlock, err := c.store.bucket.Lock(ctx, false)
	if err != nil {
		return err
	}
	defer unlock()
	a, length, err := c.store.describe(ctx, id)
	if kernel.CodeOf(err) == kernel.CodeNotFound || errors.Is(err, ErrCorrupt) {
		return nil // deleted, or damaged, meanwhile
	}
	if err != nil {
		return err
	}
	return c.store.put(ctx, usageKey(a.Origin.Tenant, id, a.Size+length), nil)
}
