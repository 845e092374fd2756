// Package memartifacts keeps artifacts in the memory of this process. They are
// gone when it ends.
package memartifacts

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
)

// Bucket is an in-memory driver.Bucket for one process.
type Bucket struct {
	driver.Sharing

	mu      sync.Mutex
	objects map[string]object
}

type object struct {
	data     []byte // never changed
	modified time.Time
}

var _ driver.Bucket = (*Bucket)(nil)

// NewBucket returns an empty bucket.
func NewBucket() *Bucket { return &Bucket{objects: map[string]object{}} }

// NewWriter implements driver.Bucket.
func (b *Bucket) NewWriter(ctx context.Context) (driver.Writer, error) {
	return &writer{bucket: b}, ctx.Err()
}

type writer struct {
	bucket *Bucket
	buf    bytes.Buffer
}

func (w *writer) Write(p []byte) (int, error) { return w.buf.Write(p) }

func (w *writer) Commit(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.bucket.mu.Lock()
	defer w.bucket.mu.Unlock()
	w.bucket.objects[key] = object{data: w.buf.Bytes(), modified: time.Now()}
	return nil
}

func (w *writer) Abort() {}

// Open implements driver.Bucket.
func (b *Bucket) Open(ctx context.Context, key string) (io.ReadCloser, *driver.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o, ok := b.objects[key]
	if !ok {
		return nil, nil, absent(key)
	}
	return io.NopCloser(bytes.NewReader(o.data)), o.describe(key), nil
}

func (o object) describe(key string) *driver.Object {
	return &driver.Object{Key: key, Size: int64(len(o.data)), Modified: o.modified}
}

// List implements driver.Bucket.
func (b *Bucket) List(ctx context.Context, prefix, after string, limit int) ([]driver.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []driver.Object
	for key, o := range b.objects {
		name, below := strings.CutPrefix(key, prefix)
		if below && !strings.Contains(name, "/") && key > after {
			found = append(found, *o.describe(key))
		}
	}
	slices.SortFunc(found, func(x, y driver.Object) int { return strings.Compare(x.Key, y.Key) })
	return found[:min(limit, len(found))], nil
}

// Walk implements driver.Bucket. It walks over what is there when it begins.
func (b *Bucket) Walk(ctx context.Context, prefix string) iter.Seq2[driver.Object, error] {
	return func(yield func(driver.Object, error) bool) {
		b.mu.Lock()
		var found []driver.Object
		for key, o := range b.objects {
			if strings.HasPrefix(key, prefix) {
				found = append(found, *o.describe(key))
			}
		}
		b.mu.Unlock()
		for _, o := range found {
			if err := ctx.Err(); err != nil {
				yield(driver.Object{}, err)
				return
			}
			if !yield(o, nil) {
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
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.objects[key]; !ok {
		return absent(key)
	}
	delete(b.objects, key)
	return nil
}

func absent(key string) error { return fmt.Errorf("%s: %w", key, fs.ErrNotExist) }
