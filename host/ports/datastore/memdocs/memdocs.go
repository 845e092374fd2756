// Package memdocs keeps documents in this process, for tests and for hosts that are to keep nothing.
package memdocs

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/datastore/driver"
)

type place struct{ tenant, collection string }

type store struct {
	mu     sync.Mutex
	kept   map[place]map[string]driver.Document
	closed bool
}

// New returns an empty store.
func New() driver.Store { return &store{kept: map[place]map[string]driver.Document{}} }

var errClosed = errors.New("the store is closed")

// enter locks the store, unless the context has ended or the store is closed.
func (s *store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return &kernel.Error{Code: kernel.CodeUnavailable, What: "the data store is closed", Err: errClosed}
	}
	return nil
}

// Load implements driver.Store.
func (s *store) Load(ctx context.Context, tenant, collection, key string) (*driver.Document, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	d, found := s.kept[place{tenant, collection}][key]
	if !found {
		return nil, nil
	}
	return &d, nil
}

// Save implements driver.Store.
func (s *store) Save(ctx context.Context, tenant, collection string, writes []driver.Write) ([]bool, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	at := place{tenant, collection}
	if s.kept[at] == nil {
		s.kept[at] = map[string]driver.Document{}
	}
	done := make([]bool, len(writes))
	for i, w := range writes {
		old, found := s.kept[at][w.Key]
		if done[i] = w.If == driver.Any || w.If == old.Revision; !done[i] { // that of none is 0
			continue
		}
		if w.Delete {
			delete(s.kept[at], w.Key)
			done[i] = found
			continue
		}
		d := w.Document
		d.Revision, d.Value, d.Terms = old.Revision+1, bytes.Clone(w.Value), slices.Clone(w.Terms)
		s.kept[at][w.Key] = d
	}
	return done, nil
}

// Query implements driver.Store.
func (s *store) Query(ctx context.Context, tenant, collection string, q driver.Query) ([]driver.Document, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var found []driver.Document
	for _, d := range s.kept[place{tenant, collection}] {
		if d.Order >= q.Min && d.Order <= q.Max && has(&d, q.Terms) && (q.After == nil || order(&d, q.After.Order, q.After.Key, q.Descending) > 0) {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(a, b driver.Document) int { return order(&a, b.Order, b.Key, q.Descending) })
	return found[:min(q.Limit, len(found))], nil
}

func order(d *driver.Document, at int64, key string, descending bool) int {
	c := cmp.Or(cmp.Compare(d.Order, at), strings.Compare(d.Key, key))
	if descending {
		return -c
	}
	return c
}

func has(d *driver.Document, terms []string) bool {
	for _, term := range terms {
		if !slices.Contains(d.Terms, term) {
			return false
		}
	}
	return true
}

// Count implements driver.Store.
func (s *store) Count(ctx context.Context, tenant, collection string, terms []string) (int64, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	n := int64(0)
	for _, d := range s.kept[place{tenant, collection}] {
		if has(&d, terms) {
			n++
		}
	}
	return n, nil
}

// Now implements driver.Store.
func (s *store) Now(ctx context.Context) (time.Time, error) { return time.Now(), ctx.Err() }

// Close implements driver.Store.
func (s *store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}
