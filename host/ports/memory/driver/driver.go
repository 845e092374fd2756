// Package driver is what a backend of the memory port implements. Who uses the
// port uses package memory.
package driver

import (
	"bytes"
	"context"
	"errors"
	"time"
)

// ErrFull is the error of a Put for which the tenant has no room.
var ErrFull = errors.New("the tenant's memory is full")

// Entry is what a Put stores. Key and value are valid UTF-8 and within the
// operator's limits; package memory sees to that.
type Entry struct {
	Key     string
	Value   []byte    // JSON; whoever has it does not change it
	Expires time.Time // from then on the entry is not there; the zero time is never
}

// Condition says what has to be there for a Put to happen.
type Condition int

// The conditions.
const (
	Always Condition = iota
	IfAbsent
	IfEqual // to the expected value, byte by byte
)

// Put stores an entry.
type Put struct {
	Entry
	If       Condition
	Expected []byte // with IfEqual
	Room     Room
}

// Holds reports whether the condition holds for a key that has this value, or none.
func (p *Put) Holds(value []byte, found bool) bool {
	switch p.If {
	case IfAbsent:
		return !found
	case IfEqual:
		return found && bytes.Equal(value, p.Expected)
	}
	return true
}

// Room is how much one tenant may keep.
type Room struct {
	Keys  int
	Bytes int64 // of keys and values together
}

// Store keeps entries under a tenant and a key.
//
// # Tenants
//
// A tenant is any text, the empty one included, and no two are the same. Nothing of
// one tenant can be told by what another gets, how its room fills up included.
//
// # Concurrency
//
// All methods may be called from several goroutines, and by several processes if
// the backend is shared. Get, Put and Delete are linearizable for each key: what
// has returned is seen by everything that starts later, and of several Puts whose
// conditions exclude each other one happens. A List, and Entries, show every key that was
// there all the time that it took.
//
// # Time
//
// A store has no clock: now is what the caller says, and an entry whose Expires is not
// after it is absent to every method. Expired entries are also removed, in the
// course of later Puts and before a Put of their tenant fails with ErrFull; where
// they are removed does not show otherwise.
//
// # Durability
//
// What a Put that returned has stored survives a crash of the process, unless the
// backend documents that it keeps nothing. A Put that failed has stored all or nothing.
//
// # Retries
//
// A store tries once. Always-Puts and Deletes may be called again after an error.
//
// # Errors
//
// ErrFull, an ended context's error, or a kernel.Error: CodeRetry for a lock that
// is held too long, CodeUnavailable for a store that cannot be used. Package memory
// gives any other CodeFailed. None holds a value.
type Store interface {
	// Get returns the value of a key, and whether there is one.
	Get(ctx context.Context, now time.Time, tenant, key string) (value []byte, found bool, err error)

	// Put stores an entry in place of the key's, if its condition holds, and
	// reports whether it did.
	Put(ctx context.Context, now time.Time, tenant string, p *Put) (bool, error)

	// Delete removes a key and reports whether it was there.
	Delete(ctx context.Context, now time.Time, tenant, key string) (bool, error)

	// List returns at most limit of a tenant's keys that begin with prefix, in the
	// order of their bytes, beginning behind the key after ("" is the start).
	// Fewer than limit are the last.
	List(ctx context.Context, now time.Time, tenant, prefix, after string, limit int) ([]string, error)

	// Entries returns what List does with the values, and at most that many bytes of keys
	// and values together, of which the first entry may have any number: none are the
	// last. They have no Expires.
	Entries(ctx context.Context, now time.Time, tenant, prefix, after string, limit int, bytes int64) ([]Entry, error)

	// Close releases the store. Calls in flight may fail, and later ones do.
	Close() error
}
