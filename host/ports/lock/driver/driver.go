// Package driver is what a backend of the lock port implements. Who uses the port
// uses package lock.
package driver

import (
	"context"
	"errors"
	"time"
)

// The errors of a Store, for errors.Is.
var (
	// ErrHeld is the error of an Acquire that does not wait and found no permit free.
	// It may be wrapped in a *HeldError.
	ErrHeld = errors.New("the lock is held")
	// ErrLost is the error of a Renew or Release of a permit that is no longer held.
	ErrLost = errors.New("the lock is no longer held")
	// ErrPermits is the error of an Acquire whose number of permits is not that of
	// those who hold some, where the store notices.
	ErrPermits = errors.New("its holders have another number of permits")
	// ErrFull is the error of a store that keeps no more locks.
	ErrFull = errors.New("there is no room for another lock")
)

// HeldError is ErrHeld with what the store knows of when to try again.
type HeldError struct {
	After time.Duration // until the first permit ends, if nobody renews it; 0 is unknown
}

func (e *HeldError) Error() string { return ErrHeld.Error() }

// Is reports that it is ErrHeld.
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// Key names a lock. The same name of two tenants is two locks.
type Key struct{ Tenant, Name string }

// Owner says who holds a lock, for people. Nothing is decided by it.
type Owner struct {
	Principal string    `json:"principal"`
	Run       string    `json:"run_id,omitempty"`
	Pipeline  string    `json:"pipeline,omitempty"`
	Node      string    `json:"node,omitempty"`
	Module    string    `json:"module,omitempty"`
	Since     time.Time `json:"since"` // the store fills it in where it is zero
}

// Request asks for one permit of a lock. It does not change once it is made.
type Request struct {
	Key
	Owner   Owner
	TTL     time.Duration // at least a millisecond
	Permits int           // how many may be held at once, from 1; everyone who takes the lock says the same
	Wait    bool          // until the context ends; else ErrHeld
}

// Holder is a permit that is held.
type Holder struct {
	Key
	Owner   Owner
	Fence   uint64
	Permits int
	Left    time.Duration // until it ends, if it is not renewed
}

// Promises is what a backend holds, beyond the duties of every Store.
type Promises struct {
	// Issuer names the counter that the fences are of: those of two issuers cannot be
	// compared. It outlives the process as long as the counter does.
	Issuer string
	// Scope says among whom locks exclude each other.
	Scope string // "process", "server" or "cluster"
	// Quorum says that an acquire is agreed on by a majority of servers before it returns:
	// neither the loss of one server nor a failover gives a lock to two holders.
	Quorum bool
	// Fair says that those who wait get permits in the order in which they came.
	Fair bool
	// Durable says that what is held survives a restart of the server.
	Durable bool
	// MinTTL is the shortest time after which the backend can end a lease; a shorter TTL
	// is only the holder's.
	MinTTL time.Duration
	// MaxTTL is the longest TTL that the backend has; 0 is no limit.
	MaxTTL time.Duration
	// MaxPermits is the most permits of one lock.
	MaxPermits int
	// Caveat is what whoever chooses the backend has to know, in a sentence.
	Caveat string
}

// Store keeps locks.
//
// # Exclusion
//
// Of a lock with n permits at most n are held at any moment. A permit is held from
// before Acquire returns until Release, or until its TTL has passed on the store's
// clock since it was acquired or last renewed, and never ends before. All methods
// are linearizable for each lock, Holders excepted.
//
// # Fences
//
// Every acquire has a fence, which is larger than those of all acquires of the same
// lock that were over before it began, also across restarts of the process and, where
// Promises says Durable, of the server. Permits that are held at once have different fences.
//
// # Time
//
// The store decides by its own clock, not the holder's, when a permit ends; the
// holder, by its own, stops earlier. Held.From is the holder's part of that.
//
// # Waiting
//
// An Acquire that waits ends soon after its context, takes nothing then, and leaves no
// trace. A permit that is released or ends goes to one of those who wait, soon.
//
// # Retries
//
// A store may try an acquire again where it knows that the first attempt took
// nothing. An Acquire that fails because an answer did not come may have taken a permit, which
// nobody knows of and which ends with its TTL.
//
// # Concurrency
//
// All methods may be called from several goroutines, and by several processes if the
// backend is shared.
//
// # Errors
//
// Those above, an ended context's, or a kernel.Error: CodeUnavailable for a store that
// cannot be reached. Package lock gives any other CodeFailed.
type Store interface {
	// Acquire takes a permit.
	Acquire(ctx context.Context, r *Request) (Held, error)

	// Holders returns the permits of a tenant that are held, at most limit, those of one
	// lock if name is not "". It is for people: what it says may be over already.
	Holders(ctx context.Context, tenant, name string, limit int) ([]Holder, error)

	// Promises returns what the backend holds.
	Promises() Promises

	// Close releases the store, not the permits. Calls in flight may fail, and later ones do.
	Close() error
}

// Held is a permit that was acquired. Its methods may be called from several goroutines.
type Held interface {
	// Fence returns the fence; it never changes.
	Fence() uint64

	// From returns a moment on the holder's clock, with its monotonic reading, that was
	// not after the one at which the store began to count the TTL.
	From() time.Time

	// Renew has the TTL count anew, as From then says, or returns ErrLost. After any other error
	// it may or may not have happened, and From is as it was.
	Renew(ctx context.Context) error

	// Release gives the permit back, or returns ErrLost. After any other error
	// it may or may not be held until its TTL has passed.
	Release(ctx context.Context) error
}
