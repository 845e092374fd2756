// Package driver is what a backend of the secret port implements. Who uses the port uses
// package secret.
package driver

import (
	"context"
	"errors"
)

// ErrNotFound is the error of a Get for a reference that leads to nothing.
var ErrNotFound = errors.New("there is no such secret")

// Store is where secrets are kept. A reference is the operator's way to name one in it.
//
// # Concurrency
//
// All methods may be called from several goroutines.
//
// # Freshness
//
// Get returns what is there when it is called, or what was there no longer than a minute before:
// a secret that is replaced is used soon, without a restart.
//
// # Retries
//
// A store tries once.
//
// # Errors
//
// ErrNotFound, an ended context's error, or a kernel.Error: CodeRetry and CodeUnavailable for a
// store that cannot be asked. No error holds a value, or anything that a value can be told from.
type Store interface {
	// Check returns an error for a text that is no reference of the store's.
	Check(ref string) error

	// Get returns the secret that a reference leads to.
	Get(ctx context.Context, ref string) (string, error)

	// Close releases the store, and forgets what it knows.
	Close() error
}
