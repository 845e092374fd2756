// Package memvectors keeps vectors in this process. They are gone when it ends. A search looks at all
// vectors of the collection, or walks a graph (HNSW) that leads to almost all of the nearest.
package memvectors

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/vectorsearch/driver"
)

// index is a driver.Index for one process.
type index struct {
	metric driver.Metric
	graphs bool

	mu      sync.Mutex
	tenants map[string]*space // nil when closed
}

// space is what one tenant keeps. What one does takes no time from another.
type space struct {
	mu          sync.RWMutex
	collections map[string]*collection
	vectors     int
	bytes       int64
	fences      map[string]uint64 // the largest token that was seen, by lock
}

// check refuses tokens that are stale.
func (s *space) check(fences []kernel.Fence) error {
	for _, f := range fences {
		if seen := s.fences[f.Lock]; seen > f.Token {
			return kernel.Stale(f, seen)
		}
	}
	return nil
}

// saw remembers the tokens of a write.
func (s *space) saw(fences []kernel.Fence) {
	for _, f := range fences {
		s.fences[f.Lock] = max(s.fences[f.Lock], f.Token)
	}
}

// collection has its items by id, and their graph if it has one.
type collection struct {
	dimension int
	items     map[string]*entry
	graph     *graph
}

// entry is an item with its length, which is 1 where the metric does not ask.
type entry struct {
	driver.Item
	norm float64
}

// New returns an empty index that is exact.
func New(metric driver.Metric) driver.Index {
	return &index{metric: metric, tenants: map[string]*space{}}
}

// NewGraph returns an empty index that approximates in large collections.
func NewGraph(metric driver.Metric) driver.Index {
	return &index{metric: metric, graphs: true, tenants: map[string]*space{}}
}

var errClosed = errors.New("the index is closed")

// space returns a tenant's.
func (x *index) space(ctx context.Context, tenant string) (*space, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.tenants == nil {
		return nil, errClosed
	}
	s := x.tenants[tenant]
	if s == nil {
		s = &space{collections: map[string]*collection{}, fences: map[string]uint64{}}
		x.tenants[tenant] = s
	}
	return s, ctx.Err()
}

// Upsert implements driver.Index.
func (x *index) Upsert(ctx context.Context, tenant, name string, items []driver.Item, room driver.Room, fences []kernel.Fence) error {
	s, err := x.space(ctx, tenant)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(fences); err != nil {
		return err
	}
	c := s.collections[name]
	if c == nil {
		c = &collection{dimension: len(items[0].Vector), items: map[string]*entry{}}
		if x.graphs {
			c.graph = newGraph(x.metric)
		}
	}
	vectors, bytes := s.vectors, s.bytes
	for i := range items {
		if len(items[i].Vector) != c.dimension {
			return driver.ErrDimension
		}
		if old := c.items[items[i].ID]; old != nil {
			vectors, bytes = vectors-1, bytes-old.Size()
		}
		vectors, bytes = vectors+1, bytes+items[i].Size()
	}
	if vectors > room.Vectors || bytes > room.Bytes {
		return driver.ErrFull
	}
	s.vectors, s.bytes, s.collections[name] = vectors, bytes, c
	s.saw(fences)
	for _, item := range items {
		item.Vector = slices.Clone(item.Vector) // which is the caller's
		c.put(&entry{item, x.norm(item.Vector)})
	}
	return nil
}

func (c *collection) put(e *entry) {
	c.remove(e.ID)
	c.items[e.ID] = e
	if c.graph != nil {
		c.graph.add(e)
	}
}

func (c *collection) remove(id string) {
	if _, ok := c.items[id]; !ok {
		return
	}
	delete(c.items, id)
	if c.graph != nil {
		c.graph.remove(id, c.items)
	}
}

// Delete implements driver.Index.
func (x *index) Delete(ctx context.Context, tenant, name string, ids []string, where []driver.Condition, fences []kernel.Fence) (int, error) {
	s, err := x.space(ctx, tenant)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(fences); err != nil {
		return 0, err
	}
	s.saw(fences)
	c := s.collections[name]
	if c == nil {
		return 0, nil
	}
	if ids == nil {
		for id, e := range c.items {
			if matches(e.Metadata, where) {
				ids = append(ids, id)
			}
		}
	}
	n := 0
	for _, id := range ids {
		if e := c.items[id]; e != nil {
			n, s.vectors, s.bytes = n+1, s.vectors-1, s.bytes-e.Size()
			c.remove(id)
		}
	}
	if len(c.items) == 0 {
		delete(s.collections, name)
	}
	return n, nil
}

// Search implements driver.Index.
func (x *index) Search(ctx context.Context, tenant, name string, q *driver.Query) ([]driver.Match, error) {
	s, err := x.space(ctx, tenant)
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.collections[name]
	if c == nil {
		return nil, nil
	}
	if len(q.Vector) != c.dimension {
		return nil, driver.ErrDimension
	}
	if c.graph != nil {
		if found := x.walk(c, q); found != nil {
			return found, nil
		}
	}
	return x.scan(ctx, c, q)
}

// scan looks at every item.
func (x *index) scan(ctx context.Context, c *collection, q *driver.Query) ([]driver.Match, error) {
	norm := x.norm(q.Vector)
	best := make([]driver.Match, 0, min(q.Limit, len(c.items))+1)
	n := 0
	for _, e := range c.items {
		if n++; n%1000 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		m := driver.Match{Item: e.Item, Score: x.score(q.Vector, norm, e)}
		if len(best) == q.Limit && !before(&m, &best[len(best)-1]) || !matches(e.Metadata, q.Where) {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, m, order)
		best = slices.Insert(best, at, m)
		best = best[:min(len(best), q.Limit)]
	}
	return ours(best), nil
}

// ours returns matches whose vectors are the caller's.
func ours(found []driver.Match) []driver.Match {
	for i := range found {
		found[i].Vector = slices.Clone(found[i].Vector)
	}
	return found
}

func before(a, b *driver.Match) bool { return order(*a, *b) < 0 }

// order is the nearest first, and equal ones by id.
func order(a, b driver.Match) int {
	switch {
	case a.Score > b.Score:
		return -1
	case a.Score < b.Score:
		return 1
	}
	return strings.Compare(a.ID, b.ID)
}

// Stat implements driver.Index.
func (x *index) Stat(ctx context.Context, tenant, name string) (driver.Collection, error) {
	s, err := x.space(ctx, tenant)
	if err != nil {
		return driver.Collection{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.collections[name]
	if c == nil {
		return driver.Collection{}, nil
	}
	return driver.Collection{Count: len(c.items), Dimension: c.dimension}, nil
}

// Close implements driver.Index.
func (x *index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tenants = nil
	return nil
}
