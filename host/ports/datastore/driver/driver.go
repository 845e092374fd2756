// Package driver is what a backend of the data store implements. Who uses it uses package datastore.
package driver

import (
	"context"
	"math"
	"time"
)

// Document is a text under a key of a collection.
type Document struct {
	Key   string
	Value []byte // JSON; whoever has it does not change it
	// Order is where it stands among others: a time, mostly. Terms are words that it is found by.
	Order int64
	Terms []string
	// Revision is how often it was saved, from 1. A document that is deleted begins anew.
	Revision int64
}

// Any is the Write's If that asks nothing; Absent asks that there is no such document.
const (
	Any    int64 = -1
	Absent int64 = 0
)

// Write saves a document, or deletes it, if its revision is If, or Any.
type Write struct {
	Document
	If     int64
	Delete bool
}

// Query asks for documents of a collection.
type Query struct {
	Terms      []string // all of which they have
	Min, Max   int64    // of their Order, both included
	Descending bool
	After      *Place // behind which to begin; nil is the start
	Limit      int    // at most as many
}

// Place is a document's among the others.
type Place struct {
	Order int64
	Key   string
}

// All is a query for the first documents of a collection.
func All(limit int) Query { return Query{Min: math.MinInt64, Max: math.MaxInt64, Limit: limit} }

// Store keeps documents under a tenant, a collection and a key.
//
// # Tenants
//
// A tenant is any text, the empty one included, and no two are the same. Nothing of one tenant can be told by what
// another gets.
//
// # Concurrency
//
// All methods may be called from several goroutines, and by several processes if the backend is shared. Of several
// writes whose conditions exclude each other one happens, and what has returned is seen by everything that starts later.
// The writes of one Save are kept together or not at all; each happens or not by its own condition.
//
// # Durability
//
// What a Save that returned has kept survives a crash of the process, unless the backend documents that it keeps nothing.
//
// # Errors
//
// An ended context's error, or a kernel.Error: CodeRetry for what is held too long by others, CodeUnavailable for a store that cannot
// be used. A store tries once.
type Store interface {
	// Load returns a document, or nil where there is none.
	Load(ctx context.Context, tenant, collection, key string) (*Document, error)

	// Save does the writes, whose keys differ, and reports which of them happened.
	Save(ctx context.Context, tenant, collection string, writes []Write) ([]bool, error)

	// Query returns documents by their Order, those of the same by their keys' bytes; both the other way round where it is descending.
	Query(ctx context.Context, tenant, collection string, q Query) ([]Document, error)

	// Count returns how many documents have all terms.
	Count(ctx context.Context, tenant, collection string, terms []string) (int64, error)

	// Now returns the time by a clock that is the same for all who have the store, however their own differ.
	Now(ctx context.Context) (time.Time, error)

	// Close releases the store. Calls in flight may fail, and later ones do.
	Close() error
}
