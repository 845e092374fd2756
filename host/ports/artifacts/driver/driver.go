// Package driver defines what a backend of the artifact store implements. Users
// of artifacts need package artifacts only.
package driver

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// ErrCorrupt is the cause of every error about an object that is not what was written.
var ErrCorrupt = errors.New("the artifact is not what was stored")

// Bucket keeps objects: bytes under a key. The portable type above it makes the
// digests, the manifests and the index, all of them objects.
//
// A key is one or more segments joined by '/'; a segment is 1 to 255 characters
// of a-z, 0-9, '-', '_' and '.', and does not begin with '.'.
//
// # Concurrency
//
// All methods may be called from several goroutines, and by several processes
// if the backend is shared. An object is never changed in place: readers of an
// object that is replaced or deleted meanwhile see the old bytes whole, or an error.
//
// # Durability
//
// When Commit returns nil, the object survives a crash of the process and, unless
// the backend documents that it keeps nothing, of the machine. A Commit that was
// interrupted leaves the object as it was: the old bytes, or none. What comes after
// one Commit in a program never survives without it.
//
// # Retention
//
// An object stays until Delete. A bucket drops by itself only what was written
// and never committed.
//
// # Retries
//
// Every method may be called again after an error, with the same effect as once.
// A bucket does not retry by itself longer than its context allows.
//
// # Errors
//
// An error about an absent object satisfies errors.Is(err, fs.ErrNotExist), that
// of an ended context errors.Is with the context's error. A backend that can tell that
// an object is not what was written opens it, and has reading it end with an error that
// satisfies errors.Is(err, ErrCorrupt). Everything else is returned as it is; the
// portable type gives it a code.
type Bucket interface {
	// NewWriter begins an object whose key is not known yet.
	NewWriter(ctx context.Context) (Writer, error)

	// Open returns an object for reading and what is known of it. The caller
	// closes the reader.
	Open(ctx context.Context, key string) (io.ReadCloser, *Object, error)

	// List returns at most limit objects directly below prefix, which ends in
	// '/', in the byte order of their keys, beginning behind the key after ("" is
	// the start). Fewer than limit means that there are no more. A prefix without
	// objects is no error. An object that is committed or deleted meanwhile may
	// be listed or not; all others are.
	List(ctx context.Context, prefix, after string, limit int) ([]Object, error)

	// Walk yields every object below prefix, which ends in '/', at any depth and in any order; what
	// was yielded may be deleted meanwhile. Otherwise it is as List. An error is the last that is yielded.
	Walk(ctx context.Context, prefix string) iter.Seq2[Object, error]

	// Delete removes an object. It is an error if there is none.
	Delete(ctx context.Context, key string) error

	// Lock keeps those who add objects apart from who removes those that nobody
	// needs: any number of holders that share, or one exclusive one, among all
	// who use the bucket, in this process and in others. A holder that dies gives
	// it up. It is held for a few operations only and not nested. A backend that
	// cannot keep other processes apart says so in its documentation.
	Lock(ctx context.Context, exclusive bool) (unlock func(), err error)
}

// Writer takes an object's bytes. It is used by one goroutine and ends with one
// call of Commit or Abort; Abort after either does nothing.
type Writer interface {
	io.Writer

	// Commit puts what was written under key, in place of what is there.
	Commit(ctx context.Context, key string) error

	// Abort drops what was written.
	Abort()
}

// Object is what a bucket knows of an object.
type Object struct {
	Key      string
	Size     int64
	Modified time.Time // of the commit; zero where the backend cannot tell
}
