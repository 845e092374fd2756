// Package driver is what a backend of the vector search port implements. Who uses the port uses
// package vectorsearch.
package driver

import (
	"context"
	"errors"

	"github.com/hexdag/hexdag/host/kernel"
)

// The errors of an Upsert.
var (
	ErrFull      = errors.New("the tenant's vectors have no more room")
	ErrDimension = errors.New("the collection's vectors have another length")
)

// Metric says how near two vectors are. A score is the larger the nearer they are.
type Metric string

// The metrics.
const (
	Cosine    Metric = "cosine"    // the cosine of the angle between them
	Dot       Metric = "dot"       // their inner product
	Euclidean Metric = "euclidean" // minus their distance
)

// Item is a vector of a collection, by its id.
type Item struct {
	ID       string
	Vector   []float32
	Metadata []byte         // a JSON object; whoever has it does not change it
	Labels   *kernel.Labels // kept with the item; nil has none
}

// Size is what an item counts, in bytes.
func (i *Item) Size() int64 {
	n := int64(len(i.ID) + 4*len(i.Vector) + len(i.Metadata))
	if i.Labels != nil {
		n += int64(len(i.Labels.String()))
	}
	return n
}

// Condition is what a field of the metadata has to be: a.b is field b of the object in field a.
type Condition struct {
	Path  []string
	Value []byte // a JSON scalar
}

// Query asks for the nearest vectors.
type Query struct {
	Vector []float32
	Limit  int
	Where  []Condition // all must hold
}

// Match is one that was found.
type Match struct {
	Item
	Score float64
}

// Room is how much one tenant may keep.
type Room struct {
	Vectors int
	Bytes   int64 // of all items together, as Size counts them
}

// Collection is what is known of one.
type Collection struct {
	Count     int
	Dimension int
}

// Index keeps vectors under a tenant, a collection and an id.
//
// # Tenants
//
// A tenant is any text, the empty one included, and no two are the same. Nothing of one tenant
// can be told by what another gets, which of them is found included.
//
// # Concurrency
//
// All methods may be called from several goroutines, and by several processes if the backend is
// shared. What has returned is seen by every call that starts later. An Upsert happens wholly or
// not at all.
//
// # Exactness
//
// A Search returns as many as there are, up to the limit, the nearest first and equal ones by id. An
// index that approximates documents that it may miss some of the nearest, and never returns fewer
// for it; scores are exact, as float32 has them.
//
// # Collections
//
// A collection is there with its first vector, whose length is that of all, and goes with its last.
//
// # Conditions
//
// Equality is that of JSON: numbers by their value, null only where the field is there.
//
// # Fences
//
// Who writes says the tokens of the locks that the write is done under, in the order of the locks' names. A
// token that is smaller than one the tenant's writes under the lock have had before is kernel.Stale, and
// nothing is written; a write that fails leaves no token.
//
// # Durability, retries, errors
//
// What an Upsert or a Delete that returned did survives a crash of the process, unless the backend
// documents that it keeps nothing. An index tries once. Errors are ErrFull, ErrDimension, an ended
// context's, or a kernel.Error: CodeRetry and CodeUnavailable; package vectorsearch gives any other
// CodeFailed.
type Index interface {
	// Upsert puts items in place of those that have their ids. No id is there twice.
	Upsert(ctx context.Context, tenant, collection string, items []Item, room Room, fences []kernel.Fence) error

	// Search returns the nearest vectors of a collection; none for one that is not there, and
	// ErrDimension for a vector of another length.
	Search(ctx context.Context, tenant, collection string, q *Query) ([]Match, error)

	// Delete removes the items with these ids, or if ids is nil those for which all conditions
	// hold, and returns how many.
	Delete(ctx context.Context, tenant, collection string, ids []string, where []Condition, fences []kernel.Fence) (int, error)

	// Stat returns what is known of a collection, zero for one that is not there.
	Stat(ctx context.Context, tenant, collection string) (Collection, error)

	// Close releases the index.
	Close() error
}
