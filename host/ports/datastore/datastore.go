// Package datastore is where libraries keep what outlives a run: JSON documents by tenant, collection and key, found by
// terms and in an order of their own. hexDAG calls it SupportsCollectionStorage. No operation reaches it: what runs may see of it, the
// libraries say. Backends are the packages below this one; they implement package driver.
//
// The memory port is not used for it: a tenant's room there is what its guests fill, its keys have no order but their own, and
// to find a value by a field is to read them all.
package datastore

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/datastore/driver"
)

// What a document may be.
const (
	MaxKey   = 512     // bytes
	MaxValue = 1 << 20 // bytes
	MaxTerms = 16
	MaxTerm  = 512 // bytes
	MaxBatch = 1024
	MaxLimit = 1000 // of one query
)

// Store keeps documents. It may be used by several goroutines. Errors are *kernel.Error: CodeArguments and CodeLimit for what no
// document can be, and those of [driver.Store].
type Store struct{ driver driver.Store }

// New returns the store over a backend, which Close closes.
func New(d driver.Store) *Store { return &Store{d} }

// Close releases what the backend holds.
func (s *Store) Close() error { return s.driver.Close() }

// Load returns a document, or nil where there is none.
func (s *Store) Load(ctx context.Context, tenant, collection, key string) (*driver.Document, error) {
	if err := checkText("a key", key, MaxKey); err != nil {
		return nil, err
	}
	d, err := s.driver.Load(ctx, tenant, collection, key)
	return d, failed(ctx, err)
}

// Put saves one document if its revision is ifRevision, which may be driver.Any or driver.Absent, and reports whether it was.
func (s *Store) Put(ctx context.Context, tenant, collection string, d driver.Document, ifRevision int64) (bool, error) {
	done, err := s.Save(ctx, tenant, collection, driver.Write{Document: d, If: ifRevision})
	return err == nil && done[0], err
}

// Save does several writes, whose keys differ, and reports which of them happened.
func (s *Store) Save(ctx context.Context, tenant, collection string, writes ...driver.Write) ([]bool, error) {
	if len(writes) == 0 {
		return nil, nil
	}
	if len(writes) > MaxBatch {
		return nil, limit("there are too many writes at once", len(writes), MaxBatch)
	}
	keys := make(map[string]bool, len(writes))
	for i := range writes {
		w := &writes[i]
		if err := check(w); err != nil {
			return nil, err
		}
		if keys[w.Key] {
			return nil, argument("two writes have the key "+kernel.Quote(w.Key), "those of one call differ")
		}
		keys[w.Key] = true
	}
	done, err := s.driver.Save(ctx, tenant, collection, writes)
	return done, failed(ctx, err)
}

func check(w *driver.Write) error {
	if err := checkText("a key", w.Key, MaxKey); err != nil {
		return err
	}
	if len(w.Value) > MaxValue {
		return limit("the document "+kernel.Quote(w.Key)+" is too large", len(w.Value), MaxValue)
	}
	return checkTerms(w.Terms)
}

func checkTerms(terms []string) error {
	if len(terms) > MaxTerms {
		return limit("a document has too many terms", len(terms), MaxTerms)
	}
	for _, term := range terms {
		if err := checkText("a term", term, MaxTerm); err != nil {
			return err
		}
	}
	return nil
}

func checkText(what, text string, most int) error {
	switch {
	case len(text) > most:
		return limit(what+" is too long", len(text), most)
	case text == "" || !utf8.ValidString(text):
		return argument(what+" of a document cannot be "+kernel.Quote(text), "it is text of at least one character")
	}
	return nil
}

// Query returns documents of a collection.
func (s *Store) Query(ctx context.Context, tenant, collection string, q driver.Query) ([]driver.Document, error) {
	if q.Limit < 1 || q.Limit > MaxLimit {
		return nil, argument(fmt.Sprintf("limit is %d", q.Limit), fmt.Sprintf("it is from 1 to %d", MaxLimit))
	}
	if err := checkTerms(q.Terms); err != nil {
		return nil, err
	}
	found, err := s.driver.Query(ctx, tenant, collection, q)
	return found, failed(ctx, err)
}

// Count returns how many documents have all terms.
func (s *Store) Count(ctx context.Context, tenant, collection string, terms ...string) (int64, error) {
	if err := checkTerms(terms); err != nil {
		return 0, err
	}
	n, err := s.driver.Count(ctx, tenant, collection, terms)
	return n, failed(ctx, err)
}

// Now returns the time by the store's clock, which is the same for all who have the store.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	now, err := s.driver.Now(ctx)
	return now, failed(ctx, err)
}

func argument(what, why string) error {
	return &kernel.Error{Code: kernel.CodeArguments, What: "the data store: " + what, Why: why}
}

func limit(what string, n, most int) error {
	return &kernel.Error{Code: kernel.CodeLimit, What: "the data store: " + what, Why: fmt.Sprintf("it is %d, the limit is %d", n, most)}
}

// failed gives a backend's error a code. The context's end wins over what the backend made of it.
func failed(ctx context.Context, err error) error {
	var known *kernel.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return kernel.ContextError(ctx)
	case errors.As(err, &known):
		return err
	}
	return &kernel.Error{Code: kernel.CodeFailed, What: "the data store failed", Why: kernel.Quote(err.Error()), Err: err}
}
