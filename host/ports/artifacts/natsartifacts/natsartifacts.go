// Package natsartifacts keeps artifacts in an object store of NATS JetStream, beside the
// events and the leases that are there anyway. It is for some thousands of artifacts: a list
// reads the description of every object. Where two processes store the same new content at
// once, who reads it in that moment may get an error.
package natsartifacts

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/natsstream"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
	"github.com/hexdag/hexdag/host/ports/artifacts/spool"
)

// Options say what the object store is. The zero value is usable.
type Options struct {
	Name     string // of the object store; "" means hexdag-artifacts
	Replicas int    // of every object, in a cluster; 0 means 1
	MaxBytes int64  // of all together; 0 means any number
	TempDir  string // where objects of more than 1 MiB wait for their key; "" means the system's
	// Lock keeps other processes apart, as driver.Bucket says. Without it the bucket knows
	// only of this process.
	Lock func(ctx context.Context, exclusive bool) (unlock func(), err error)
}

// Bucket is a driver.Bucket in an object store.
type Bucket struct {
	driver.Sharing
	objects jetstream.ObjectStore
	stream  jetstream.Stream // below the objects
	chunks  string           // the subject of an object's chunks, but for its id
	tempDir string
	// commits has one commit of an object at a time, so that the second of the same bytes finds the
	// first's: replacing it would take it away from those who read it. By the key's hash.
	commits [64]sync.Mutex
}

var _ driver.Bucket = (*Bucket)(nil)

// NewBucket returns the bucket, which it makes if there is none.
func NewBucket(ctx context.Context, js jetstream.JetStream, opts Options) (*Bucket, error) {
	config := jetstream.ObjectStoreConfig{Bucket: opts.Name, Description: "artifacts of hexdag", Replicas: opts.Replicas, MaxBytes: opts.MaxBytes}
	if config.Bucket == "" {
		config.Bucket = "hexdag-artifacts"
	}
	objects, stream, err := find(ctx, js, config)
	if err != nil {
		return nil, err
	}
	return &Bucket{Sharing: driver.Sharing{Others: opts.Lock}, objects: objects, stream: stream, chunks: "$O." + config.Bucket + ".C.", tempDir: opts.TempDir}, nil
}

// find finds the bucket, with the stream below it, or makes it once enough servers of a cluster are there.
func find(ctx context.Context, js jetstream.JetStream, config jetstream.ObjectStoreConfig) (objects jetstream.ObjectStore, stream jetstream.Stream, err error) {
	within, cancel := context.WithTimeout(ctx, natsstream.Patience)
	defer cancel()
	ctx = natsstream.EachRequest(ctx)
	err = natsstream.Insist(within, func() (err error) {
		objects, err = js.ObjectStore(ctx, config.Bucket)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			objects, err = js.CreateOrUpdateObjectStore(ctx, config)
		}
		if err != nil {
			return err
		}
		changed, err := natsstream.ReadFromLeader(ctx, js, "OBJ_"+config.Bucket) // what was stored is there for whoever reads next
		if err == nil && changed {
			objects, err = js.ObjectStore(ctx, config.Bucket)
		}
		if err != nil {
			return err
		}
		stream, err = js.Stream(ctx, "OBJ_"+config.Bucket)
		return err
	})
	return objects, stream, err
}

// ask does what may be done twice, again where no answer came.
func ask(ctx context.Context, do func(context.Context) error) error {
	within, cancel := context.WithTimeout(ctx, natsstream.Patience)
	defer cancel()
	return problem(ctx, natsstream.Insist(within, func() error { return do(natsstream.EachRequest(ctx)) }))
}

// problem makes of a client's error one that the driver's contract names.
func problem(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, jetstream.ErrObjectNotFound):
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	case err != nil && natsstream.Passing(err):
		return &kernel.Error{Code: kernel.CodeUnavailable, What: "the artifacts' JetStream does not answer", Why: kernel.Quote(err.Error()), Fix: "see whether it runs, and a cluster has a majority of its servers", Err: err}
	}
	return err
}

// Open implements driver.Bucket. Whoever reads an object that other bytes replace
// meanwhile gets an error.
func (b *Bucket) Open(ctx context.Context, key string) (io.ReadCloser, *driver.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	var result jetstream.ObjectResult
	if err := ask(ctx, func(ctx context.Context) (err error) {
		result, err = b.objects.Get(ctx, key)
		return err
	}); err != nil {
		return nil, nil, err
	}
	info, err := result.Info()
	if err != nil {
		return nil, nil, errors.Join(err, result.Close())
	}
	return result, describe(info), nil
}

func describe(info *jetstream.ObjectInfo) *driver.Object {
	return &driver.Object{Key: info.Name, Size: int64(info.Size), Modified: info.ModTime} //nolint:gosec // no object has 2^63 bytes
}

// List implements driver.Bucket.
func (b *Bucket) List(ctx context.Context, prefix, after string, limit int) ([]driver.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	all, err := b.all(ctx)
	if err != nil {
		return nil, err
	}
	var found []driver.Object
	for _, info := range all {
		name, below := strings.CutPrefix(info.Name, prefix)
		if below && !strings.Contains(name, "/") && info.Name > after {
			found = append(found, *describe(info))
		}
	}
	slices.SortFunc(found, func(x, y driver.Object) int { return strings.Compare(x.Key, y.Key) })
	return found[:min(limit, len(found))], nil
}

func (b *Bucket) all(ctx context.Context) ([]*jetstream.ObjectInfo, error) {
	var all []*jetstream.ObjectInfo
	err := ask(ctx, func(ctx context.Context) (err error) {
		all, err = b.objects.List(ctx)
		return err
	})
	if errors.Is(err, jetstream.ErrNoObjectsFound) {
		return nil, nil
	}
	return all, err
}

// Walk implements driver.Bucket.
func (b *Bucket) Walk(ctx context.Context, prefix string) iter.Seq2[driver.Object, error] {
	return func(yield func(driver.Object, error) bool) {
		all, err := b.all(ctx)
		for _, info := range all {
			if err = cmp.Or(err, ctx.Err()); err != nil {
				break
			}
			if strings.HasPrefix(info.Name, prefix) && !yield(*describe(info), nil) {
				return
			}
		}
		if err != nil {
			yield(driver.Object{}, err)
		}
	}
}

// Delete implements driver.Bucket.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := ask(ctx, func(ctx context.Context) error { // Delete of what was deleted is no error
		_, err := b.objects.GetInfo(ctx, key)
		return err
	})
	if err != nil {
		return err
	}
	return ask(ctx, func(ctx context.Context) error { return b.objects.Delete(ctx, key) })
}

// NewWriter implements driver.Bucket.
func (b *Bucket) NewWriter(ctx context.Context) (driver.Writer, error) {
	return &writer{Spool: spool.New(b.tempDir), bucket: b}, ctx.Err()
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
	turn := &w.bucket.commits[crc32.ChecksumIEEE([]byte(key))%uint32(len(w.bucket.commits))]
	turn.Lock()
	defer turn.Unlock()
	if err := ask(ctx, func(ctx context.Context) error { return w.put(ctx, key) }); err != nil {
		return err
	}
	w.Close()
	return nil
}

// put stores what was written, unless it is there.
func (w *writer) put(ctx context.Context, key string) error {
	data, err := w.Reader()
	if err != nil {
		return err
	}
	same, err := w.bucket.touch(ctx, key, data)
	if err != nil || same {
		return err
	}
	if data, err = w.Reader(); err != nil {
		return err
	}
	_, err = w.bucket.objects.Put(ctx, jetstream.ObjectMeta{Name: key}, data)
	return err
}

// touch makes an object that has these bytes already one that was written now, and reports
// whether it has. Its readers are not disturbed.
func (b *Bucket) touch(ctx context.Context, key string, data io.Reader) (bool, error) {
	info, err := b.objects.GetInfo(ctx, key)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	digest := sha256.New()
	if _, err := io.Copy(digest, data); err != nil {
		return false, err
	}
	if info.Digest != jetstream.GetObjectDigestValue(digest) {
		return false, nil
	}
	if whole, err := b.whole(ctx, info); err != nil || !whole {
		return false, err
	}
	err = b.objects.UpdateMeta(ctx, key, jetstream.ObjectMeta{Name: key})
	if errors.Is(err, jetstream.ErrUpdateMetaDeleted) {
		return false, nil
	}
	return err == nil, err
}

// whole reports whether an object has all of its chunks. A client that did not hear that an object is there removes its chunks, and
// leaves the object.
func (b *Bucket) whole(ctx context.Context, info *jetstream.ObjectInfo) (bool, error) {
	if info.Chunks == 0 {
		return true, nil
	}
	subject := b.chunks + info.NUID
	state, err := b.stream.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return false, err
	}
	return state.State.Subjects[subject] == uint64(info.Chunks), nil
}

// Abort implements driver.Writer.
func (w *writer) Abort() { w.Close() }
