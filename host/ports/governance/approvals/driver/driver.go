// Package driver defines what keeps approvals. Users of approvals need package approvals only.
package driver

import (
	"context"
	"time"
)

// Record is an approval as it is kept: as a document, with what it is looked up by beside it.
type Record struct {
	ID        string
	Bound     string // the hash of the call that it is for
	Tenant    string
	State     string // which is ahead of the document's
	Requested time.Time
	Expires   time.Time
	Document  []byte // JSON
}

// The states that a backend knows. Those of a call that is not over are the first three; a call has one such record at most.
const (
	Pending  = "pending"
	Approved = "approved"
	Denied   = "denied"
	Used     = "used"
	Expired  = "expired"
)

// Records keeps records. It is safe for concurrent use.
//
// # Concurrency
//
// Change calls do in one transaction, which no other comes between, of this process or of another that has the same records. What do
// did is kept when it returns nil, and nothing of it otherwise. do uses nothing but the transaction.
//
// # Durability
//
// When Change returns nil, what was done survives a crash of the process and, unless the backend documents otherwise, of the machine.
//
// # Errors
//
// An error that do returns is returned as it is. Others are of CodeUnavailable or CodeRetry, or the context's.
type Records interface {
	Change(ctx context.Context, do func(Tx) error) error

	// Close gives the records up; afterwards Change is an error.
	Close() error
}

// Tx is what can be done within a transaction.
type Tx interface {
	// Now is the time that all who share the records go by.
	Now() time.Time

	// Expire marks as expired what is not over and whose time was before now, and removes what is over and whose time was
	// before forget.
	Expire(ctx context.Context, now, forget time.Time) error

	// Current returns the record of a call that is not over; nil if there is none.
	Current(ctx context.Context, bound string) (*Record, error)

	// Get returns a record by its id; nil if there is none.
	Get(ctx context.Context, id string) (*Record, error)

	// All returns every record, the newest first.
	All(ctx context.Context) ([]Record, error)

	// Waiting counts a tenant's records that are pending.
	Waiting(ctx context.Context, tenant string) (int, error)

	// Insert adds a record.
	Insert(ctx context.Context, r *Record) error

	// Update puts a record's state, end and document in place of those of the same id.
	Update(ctx context.Context, r *Record) error
}
