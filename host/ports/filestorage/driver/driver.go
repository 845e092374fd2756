// Package driver is what a backend of the file storage port implements. Who uses the port
// uses package filestorage.
package driver

import (
	"context"
	"io"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// Info is what a storage knows of a file.
type Info struct {
	Path     string
	Size     int64
	Modified time.Time
	Labels   *kernel.Labels // of what wrote it; nil is trusted and public
}

// Storage keeps files: bytes under a path. A path is what package filestorage lets through:
// segments joined by '/', none of which begins with '.', with a character that some system
// gives a meaning of its own, or is longer than 255 bytes.
//
// # Concurrency
//
// All methods may be called from several goroutines, and by several processes if the backend
// is shared. A file is never changed in place: who reads one that is replaced or deleted
// meanwhile sees the old bytes whole, or an error. Of several writers that commit with IfAbsent
// one succeeds.
//
// # Labels
//
// A file keeps the labels that it was written with. Whoever opens it, asks for it or lists it is told
// these; or, where a crash or another writer came in between, stricter ones; never those of other bytes
// alone.
//
// # Durability
//
// When Commit returns nil, the file survives a crash of the process, unless the backend
// documents that it keeps nothing. A Commit that was interrupted leaves the old bytes, or none.
//
// # Jail
//
// No path leads out of what the operator named, whatever links lie there. What is no ordinary
// file is not there.
//
// # Retries
//
// A storage tries once, or as its client library does, within the context.
//
// # Errors
//
// An error about an absent file satisfies errors.Is(err, fs.ErrNotExist), one of a Commit with
// IfAbsent about a file that is there errors.Is(err, fs.ErrExist), that of an ended context
// errors.Is with the context's error. Package filestorage gives any other a code, and none of
// its words to guests, because they hold paths.
type Storage interface {
	// Open returns a file's bytes from offset on, at most length of them, or all if that is
	// negative. An offset behind the end has no bytes. The caller closes the reader.
	Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, *Info, error)

	// Stat returns what is known of a file.
	Stat(ctx context.Context, path string) (*Info, error)

	// Create begins a file. The context is for all that is written.
	Create(ctx context.Context, path string, opts CreateOptions) (Writer, error)

	// List returns at most limit of the files whose paths begin with prefix, in the order of
	// their paths' bytes, and where to go on, "" at the end. page is "" for the beginning, or
	// what an earlier List returned for this prefix. A file that comes or goes meanwhile is
	// listed or not; all others are.
	List(ctx context.Context, prefix, page string, limit int) (files []Info, next string, err error)

	// Delete removes a file. It is an error if there is none.
	Delete(ctx context.Context, path string) error

	// Fenced does a write of a folder's files under the tokens of the locks that it is done under, unless one
	// is smaller than one that the folder's writes under the lock have had before, which is kernel.Stale.
	// From the check until write returns no other is done by Fenced, in this process and, unless the backend
	// documents that it cannot, in others.
	Fenced(ctx context.Context, folder string, fences []kernel.Fence, write func() error) error

	// Close releases the storage.
	Close() error
}

// CreateOptions say how to write a file.
type CreateOptions struct {
	IfAbsent bool           // Commit fails if there is a file
	Labels   *kernel.Labels // that the file keeps; nil has none
}

// Writer takes a file's bytes. It is used by one goroutine and ends with one call of Commit or
// Abort; Abort after either does nothing.
type Writer interface {
	io.Writer

	// Commit puts what was written in place of what is there.
	Commit(ctx context.Context) error

	// Abort drops what was written.
	Abort()
}
