// Package blobartifacts keeps artifacts in an object store: S3 and what speaks its protocol,
// Google Cloud Storage, Azure Blob Storage, through gocloud.dev/blob.
package blobartifacts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/url"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
	"github.com/hexdag/hexdag/host/ports/artifacts/spool"
)

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
	driver.Sharing
	bucket *blob.Bucket
	opts   Options
}

var _ driver.Bucket = (*Bucket)(nil)

// NewBucket returns the bucket over another. The caller closes that one.
func NewBucket(bucket *blob.Bucket, opts Options) *Bucket {
	return &Bucket{Sharing: driver.Sharing{Others: opts.Lock}, bucket: bucket, opts: opts}
}

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
	var at *url.Error
	if errors.As(err, &at) { // its URL may hold a token
		at.URL, _, _ = strings.Cut(at.URL, "?")
	}
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

// Walk implements driver.Bucket.
func (b *Bucket) Walk(ctx context.Context, prefix string) iter.Seq2[driver.Object, error] {
	return func(yield func(driver.Object, error) bool) {
		list := b.bucket.List(&blob.ListOptions{Prefix: b.opts.Prefix + prefix})
		for {
			var o *blob.ListObject
			err := ctx.Err()
			if err == nil {
				o, err = list.Next(ctx)
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(driver.Object{}, problem(ctx, err))
				return
			}
			if !yield(driver.Object{Key: strings.TrimPrefix(o.Key, b.opts.Prefix), Size: o.Size, Modified: o.ModTime}, nil) {
				return
			}
		}
	}
}

// Delete implements driver.Bucket.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return problem(ctx, b.bucket.Delete(ctx, b.opts.Prefix+key))
}

// NewWriter implements driver.Bucket.
func (b *Bucket) NewWriter(ctx context.Context) (driver.Writer, error) {
	return &writer{Spool: spool.New(b.opts.TempDir), bucket: b}, ctx.Err()
}

type writer struct {
	*spool.Spool
	bucket *Bucket
}

// Commit implements driver.Writer.
func (w *writer) Commit(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	data, err := w.Reader()
	if err != nil {
		return err
	}
	// Upload, not NewWriter: that of azureblob panics where it is refused, in v0.47.
	err = w.bucket.bucket.Upload(ctx, w.bucket.opts.Prefix+key, data, &blob.WriterOptions{ContentType: "application/octet-stream"})
	if err != nil {
		return problem(ctx, err)
	}
	w.Close()
	return nil
}

// Abort implements driver.Writer.
func (w *writer) Abort() { w.Close() }
