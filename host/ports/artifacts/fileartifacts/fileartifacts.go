// Package fileartifacts keeps artifacts in a local directory: the default.
//
// An object is a file whose path is its key. It is written to a file in tmp,
// synced and renamed, so that a crash leaves it whole or not at all; what a crash
// leaves in tmp is removed a day later by OpenBucket. Several processes may use
// one directory, where the system has flock (Linux, the BSDs, macOS, illumos);
// elsewhere one at a time. Network file systems are not supported: their flock
// and rename promise less.
package fileartifacts

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/flock"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
)

const (
	tempDir  = "tmp"
	lockFile = "lock"
	// maxTempAge is how long an upload that nobody ended may lie about.
	maxTempAge = 24 * time.Hour
)

// Bucket is a driver.Bucket in a directory.
type Bucket struct {
	root    *os.Root
	sharing sync.RWMutex // Lock, within this process

	mu      sync.Mutex
	durable map[string]fs.FileInfo // directories whose way from the root this process has synced
}

// maxDurable is how many directories are remembered; then all are forgotten.
const maxDurable = 1024

var _ driver.Bucket = (*Bucket)(nil)

// OpenBucket opens the bucket in dir, which it makes (mode 0700) if it is absent.
// Nothing outside dir is ever read or written, whatever links lie in it. The
// caller closes the bucket.
func OpenBucket(dir string) (*Bucket, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	b := &Bucket{root: root, durable: map[string]fs.FileInfo{}}
	if err := b.prepare(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return b, nil
}

// prepare makes the directory of unfinished objects and clears it of old ones.
func (b *Bucket) prepare() error {
	if err := b.root.MkdirAll(tempDir, 0o700); err != nil {
		return err
	}
	entries, err := fs.ReadDir(b.root.FS(), tempDir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && time.Since(info.ModTime()) > maxTempAge {
			err = b.root.Remove(path.Join(tempDir, entry.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Close gives up the directory. Readers that are open stay usable.
func (b *Bucket) Close() error { return b.root.Close() }

// Open implements driver.Bucket.
func (b *Bucket) Open(ctx context.Context, key string) (io.ReadCloser, *driver.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	f, err := b.root.Open(key)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errors.Join(fmt.Errorf("%s is no file", key), f.Close())
	}
	return f, &driver.Object{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil
}

// List implements driver.Bucket.
func (b *Bucket) List(ctx context.Context, prefix, after string, limit int) ([]driver.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(b.root.FS(), strings.TrimSuffix(prefix, "/")) // sorted
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	start, _ := slices.BinarySearchFunc(entries, after, func(e fs.DirEntry, after string) int {
		if prefix+e.Name() > after {
			return 1
		}
		return -1
	})
	var found []driver.Object
	for _, entry := range entries[start:] {
		if len(found) == limit {
			break
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		if info.Mode().IsRegular() {
			found = append(found, driver.Object{Key: prefix + entry.Name(), Size: info.Size(), Modified: info.ModTime()})
		}
	}
	return found, nil
}

// Walk implements driver.Bucket.
func (b *Bucket) Walk(ctx context.Context, prefix string) iter.Seq2[driver.Object, error] {
	return func(yield func(driver.Object, error) bool) {
		err := fs.WalkDir(b.root.FS(), strings.TrimSuffix(prefix, "/"), func(name string, entry fs.DirEntry, err error) error {
			if err = cmp.Or(ctx.Err(), err); errors.Is(err, fs.ErrNotExist) {
				return nil // deleted meanwhile
			}
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			info, err := entry.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && !yield(driver.Object{Key: name, Size: info.Size(), Modified: info.ModTime()}, nil) {
				return fs.SkipAll
			}
			return err
		})
		if err != nil {
			yield(driver.Object{}, err)
		}
	}
}

// Delete implements driver.Bucket. A directory that it empties goes too.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := b.root.Remove(key); err != nil {
		return err
	}
	dir := path.Dir(key)
	_, err := b.syncDir(dir)
	for dir != "." && b.root.Remove(dir) == nil { // fails where something is left
		b.forget(dir)
		dir = path.Dir(dir)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another Delete took the directory
	}
	return err
}

// forget has a directory that comes again be synced from the root.
func (b *Bucket) forget(dir string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.durable, dir)
}

// syncDir makes the entries of a directory durable.
func (b *Bucket) syncDir(dir string) (fs.FileInfo, error) {
	f, err := b.root.Open(dir)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	return info, errors.Join(err, f.Sync(), f.Close())
}

// NewWriter implements driver.Bucket.
func (b *Bucket) NewWriter(ctx context.Context) (driver.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	id := make([]byte, 16)
	rand.Read(id) // never fails
	temp := path.Join(tempDir, hex.EncodeToString(id))
	f, err := b.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &writer{bucket: b, temp: temp, file: f}, nil
}

type writer struct {
	bucket *Bucket
	temp   string   // "" once it is renamed or removed
	file   *os.File // nil once it is closed
	filled bool
}

func (w *writer) Write(p []byte) (int, error) {
	w.filled = w.filled || len(p) > 0
	return w.file.Write(p)
}

// Commit syncs the file, renames it, and syncs the directories that changed. Of an empty file there is
// nothing to sync but its name.
func (w *writer) Commit(ctx context.Context, key string) error {
	if w.file != nil {
		if w.filled {
			if err := w.file.Sync(); err != nil {
				return err
			}
		}
		err := w.file.Close()
		w.file = nil
		if err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := w.rename(key); err != nil {
		return err
	}
	w.temp = ""
	return w.bucket.syncPath(path.Dir(key))
}

// rename makes the directory that key needs. Where a Delete takes the directory
// away in between, it is made again.
func (w *writer) rename(key string) error {
	const attempts = 100
	var err error
	for range attempts {
		if err = w.bucket.root.MkdirAll(path.Dir(key), 0o700); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err = w.bucket.root.Rename(w.temp, key); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// syncPath makes dir durable, and the directories above it where this process has not done so since dir
// is the directory that it is: another may have removed it with its last file, and made it again.
func (b *Bucket) syncPath(dir string) error {
	info, err := b.syncDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // deleted meanwhile, and what was in it
	}
	if err != nil || dir == "." {
		return err
	}
	b.mu.Lock()
	known := b.durable[dir]
	b.mu.Unlock()
	if known != nil && os.SameFile(known, info) {
		return nil
	}
	if err := b.syncPath(path.Dir(dir)); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.durable) >= maxDurable {
		clear(b.durable)
	}
	b.durable[dir] = info
	return nil
}

// Abort implements driver.Writer.
func (w *writer) Abort() {
	if w.file != nil {
		w.file.Close()
		w.file = nil
	}
	if w.temp != "" {
		// What cannot be removed now goes with the next OpenBucket.
		_ = w.bucket.root.Remove(w.temp)
		w.temp = ""
	}
}

// Lock implements driver.Bucket. Waiting for another goroutine of this process
// does not look at ctx; those hold it for milliseconds.
func (b *Bucket) Lock(ctx context.Context, exclusive bool) (func(), error) {
	release := b.sharing.RUnlock
	if exclusive {
		b.sharing.Lock()
		release = b.sharing.Unlock
	} else {
		b.sharing.RLock()
	}
	f, err := b.lockFile(ctx, exclusive)
	if err != nil {
		release()
		return nil, err
	}
	return func() {
		f.Close() // gives the file's lock back
		release()
	}, nil
}

// lockFile takes the lock among processes.
func (b *Bucket) lockFile(ctx context.Context, exclusive bool) (*os.File, error) {
	f, err := b.root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock.Lock(ctx, f, exclusive); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
