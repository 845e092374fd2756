// Package memstore keeps the memory port's values in this process. They are gone
// when it ends.
package memstore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/ports/memory/driver"
)

// sweepEvery is how often a tenant's Puts look for expired entries.
const sweepEvery = time.Minute

// Store is a driver.Store for one process.
type Store struct {
	mu      sync.Mutex
	tenants map[string]*space // nil when closed
}

// space is what one tenant keeps.
type space struct {
	entries map[string]driver.Entry
	bytes   int64
	swept   time.Time
}

var _ driver.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store { return &Store{tenants: map[string]*space{}} }

var errClosed = errors.New("the store is closed")

// begin locks the store for a method. Its caller unlocks it, whatever the error.
func (s *Store) begin(ctx context.Context) error {
	s.mu.Lock()
	if s.tenants == nil {
		return errClosed
	}
	return ctx.Err()
}

// lookup returns the entry of a key that has not expired.
func (s *Store) lookup(now time.Time, tenant, key string) (driver.Entry, bool) {
	t := s.tenants[tenant]
	if t == nil {
		return driver.Entry{}, false
	}
	e, ok := t.entries[key]
	return e, ok && !expired(e, now)
}

func expired(e driver.Entry, now time.Time) bool {
	return !e.Expires.IsZero() && !e.Expires.After(now)
}

// Get implements driver.Store.
func (s *Store) Get(ctx context.Context, now time.Time, tenant, key string) ([]byte, bool, error) {
	defer s.mu.Unlock()
	if err := s.begin(ctx); err != nil {
		return nil, false, err
	}
	e, ok := s.lookup(now, tenant, key)
	return e.Value, ok, nil
}

// Put implements driver.Store.
func (s *Store) Put(ctx context.Context, now time.Time, tenant string, p *driver.Put) (bool, error) {
	defer s.mu.Unlock()
	if err := s.begin(ctx); err != nil {
		return false, err
	}
	old, found := s.lookup(now, tenant, p.Key)
	if !p.Holds(old.Value, found) {
		return false, nil
	}
	t := s.tenants[tenant]
	if t == nil {
		t = &space{entries: map[string]driver.Entry{}, swept: now}
		s.tenants[tenant] = t
	}
	if now.Sub(t.swept) >= sweepEvery {
		t.sweep(now)
	}
	if !t.fits(p) {
		if t.sweep(now); !t.fits(p) {
			return false, driver.ErrFull
		}
	}
	t.remove(p.Key)
	t.entries[p.Key] = p.Entry
	t.bytes += size(p.Entry)
	return true, nil
}

func size(e driver.Entry) int64 { return int64(len(e.Key)) + int64(len(e.Value)) }

// fits reports whether there is room for p in place of what its key has.
func (t *space) fits(p *driver.Put) bool {
	keys, bytes := len(t.entries)+1, t.bytes+size(p.Entry)
	if old, ok := t.entries[p.Key]; ok {
		keys, bytes = keys-1, bytes-size(old)
	}
	return keys <= p.Room.Keys && bytes <= p.Room.Bytes
}

func (t *space) remove(key string) {
	if e, ok := t.entries[key]; ok {
		t.bytes -= size(e)
		delete(t.entries, key)
	}
}

func (t *space) sweep(now time.Time) {
	t.swept = now
	for key, e := range t.entries {
		if expired(e, now) {
			t.remove(key)
		}
	}
}

// Delete implements driver.Store.
func (s *Store) Delete(ctx context.Context, now time.Time, tenant, key string) (bool, error) {
	defer s.mu.Unlock()
	if err := s.begin(ctx); err != nil {
		return false, err
	}
	_, found := s.lookup(now, tenant, key)
	if t := s.tenants[tenant]; t != nil {
		if t.remove(key); len(t.entries) == 0 {
			delete(s.tenants, tenant)
		}
	}
	return found, nil
}

// List implements driver.Store.
func (s *Store) List(ctx context.Context, now time.Time, tenant, prefix, after string, limit int) ([]string, error) {
	defer s.mu.Unlock()
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	return s.list(now, tenant, prefix, after, limit), nil
}

func (s *Store) list(now time.Time, tenant, prefix, after string, limit int) []string {
	var keys []string
	if t := s.tenants[tenant]; t != nil {
		for key, e := range t.entries {
			if key > after && strings.HasPrefix(key, prefix) && !expired(e, now) {
				keys = append(keys, key)
			}
		}
	}
	slices.Sort(keys)
	return keys[:min(limit, len(keys))]
}

// Entries implements driver.Store.
func (s *Store) Entries(ctx context.Context, now time.Time, tenant, prefix, after string, limit int, bytes int64) ([]driver.Entry, error) {
	defer s.mu.Unlock()
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	var entries []driver.Entry
	for i, key := range s.list(now, tenant, prefix, after, limit) {
		e := s.tenants[tenant].entries[key]
		if bytes -= size(e); bytes < 0 && i > 0 {
			break
		}
		entries = append(entries, driver.Entry{Key: key, Value: e.Value})
	}
	return entries, nil
}

// Close implements driver.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tenants = nil
	return nil
}
