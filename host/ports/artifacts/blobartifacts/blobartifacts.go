// Package blobartifacts keeps artifacts in an object store: S3 and what speaks its protocol,
// Google Cloud Storage, Azure Blob Storage, through gocloud.dev/blob.
package blobartifacts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
)

// spoolAbove is up to how many bytes an object waits for its key in memory; a larger one
// waits in a file.
const spoolAbove = 1 << 20

// Options say how a bucket is used. The zero value is usable.
type Options struct {
	// Prefix is put before every key; it ends in '/' or is empty.
	Prefix string
	// TempDir is where objects of more than 1 MiB wait for their key; "" means the system's.
	TempDir string
	// StartAfter makes a list begin behind a key, where the provider can do that; what it
	// is given is what blob.ListOptions.BeforeList is. Without it, a list reads what is before.
	StartAfter func(asFunc func(any) bool, key string) error
	// Lock keeps other processes apart, as driver.Bucket says. Without it the bucket knows
	// only of this process: several may store and read at once, but one at a time may
	// delete and collect, while no other stores.
	Lock func(ctx context.Context, exclusive bool) (unlock func(), err error)
}

// Bucket is a driver.Bucket in a bucket of an object store.
type Bucket struct {
	bucket  *blob.Bucket
	opts    Options
	sharing sync.RWMutex // what Lock gives out within this process
}

var _ driver.Bucket = (*Bucket)(nil)

// NewBucket returns the bucket over another. The caller closes that one.
func NewBucket(bucket *blob.Bucket, opts Options) *Bucket { return &Bucket{bucket: bucket, opts: opts} }

// Open implements driver.Bucket.
func (b *Bucket) Open(ctx context.Context, key string) (io.ReadCloser, *driver.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	r, err := b.bucket.NewReader(ctx, b.opts.Prefix+key, nil)
	if err != nil {
		return nil, nil, problem(ctx, err)
	}
	return &reader{r, ctx}, &driver.Object{Key: key, Size: r.Size(), Modified: r.ModTime()}, nil
}

type reader struct {
	*blob.Reader
	ctx context.Context
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = problem(r.ctx, err)
	}
	return n, err
}

// problem makes of a provider's error one that the driver's contract names.
func problem(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case gcerrors.Code(err) == gcerrors.NotFound:
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// List implements driver.Bucket.
func (b *Bucket) List(ctx context.Context, prefix, after string, limit int) ([]driver.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	options := &blob.ListOptions{Prefix: b.opts.Prefix + prefix, Delimiter: "/"}
	if after != "" && b.opts.StartAfter != nil {
		options.BeforeList = func(as func(any) bool) error { return b.opts.StartAfter(as, b.opts.Prefix+after) }
	}
	var found []driver.Object
	list := b.bucket.List(options)
	for len(found) < limit {
		o, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, problem(ctx, err)
		}
		key := strings.TrimPrefix(o.Key, b.opts.Prefix)
		if !o.IsDir && key > after {
			found = append(found, driver.Object{Key: key, Size: o.Size, Modified: o.ModTime})
		}
	}
	return found, nil
}

// Delete implements driver.Bucket.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return problem(ctx, b.bucket.Delete(ctx, b.opts.Prefix+key))
}

// Lock implements driver.Bucket.
func (b *Bucket) Lock(ctx context.Context, exclusive bool) (unlock func(), err error) {
	release := b.sharing.RUnlock
	if exclusive {
		b.sharing.Lock()
		release = b.sharing.Unlock
	} else {
		b.sharing.RLock()
	}
	err = ctx.Err()
	if err == nil && b.opts.Lock != nil {
		var others func()
		if others, err = b.opts.Lock(ctx, exclusive); err == nil {
			return func() { others(); release() }, nil
		}
	}
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// NewWriter implements driver.Bucket.
func (b *Bucket) NewWriter(ctx context.Context) (driver.Writer, error) {
	return &writer{bucket: b}, ctx.Err()
}

// writer spools an object: a provider wants the key first.
type writer struct {
	bucket *Bucket
	small  bytes.Buffer
	large  *os.File // what small was, and the rest
	gone   bool
}

func (w *writer) Write(p []byte) (int, error) {
	if w.large == nil && w.small.Len()+len(p) <= spoolAbove {
		return w.small.Write(p)
	}
	if w.large == nil {
		f, err := os.CreateTemp(w.bucket.opts.TempDir, "hexdag-artifact-*")
		if err != nil {
			return 0, err
		}
		w.large = f
		if _, err := f.Write(w.small.Bytes()); err != nil {
			return 0, err
		}
		w.small = bytes.Buffer{}
	}
	return w.large.Write(p)
}

// Commit implements driver.Writer.
func (w *writer) Commit(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var data io.Reader = bytes.NewReader(w.small.Bytes())
	if w.large != nil {
		if _, err := w.large.Seek(0, io.SeekStart); err != nil {
			return err
		}
		data = w.large
	}
	// Upload, not NewWriter: that of azureblob panics where it is refused, in v0.47.
	err := w.bucket.bucket.Upload(ctx, w.bucket.opts.Prefix+key, data, &blob.WriterOptions{ContentType: "application/octet-stream"})
	if err != nil {
		return problem(ctx, err)
	}
	w.Abort()
	return nil
}

// Abort implements driver.Writer.
func (w *writer) Abort() {
	w.small = bytes.Buffer{}
	if w.large != nil && !w.gone {
		w.gone = true
		_ = w.large.Close()
		_ = os.Remove(w.large.Name()) // else the system clears its folder of it
	}
}
