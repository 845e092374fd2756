// Package filestorage is the port to files: bytes under a path, in a folder or a bucket that
// the operator named. Backends are the packages below this one; they implement package driver.
// localfiles is a folder, blobfiles what gocloud.dev/blob opens.
//
// # Paths
//
// A path is segments joined by '/', at most 1,024 bytes of printable characters in Unicode's
// form NFC. There is one way to write it: no segment is empty or begins with a point, none ends with a
// point or a space, and none holds \ : * ? " < > or |. So '..', absolute paths, hidden files, drives and
// streams are no paths at all, and what a grant's pattern matches is what is opened.
//
// # Tenants
//
// Every tenant has files of its own, unless the operator says that they are shared.
//
// # Labels
//
// A file keeps the labels of the call that writes it, and who reads, asks for or lists it is told them.
package filestorage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/filestorage/driver"
)

// Options limits what tenants keep. A zero stands for the default. The JSON form is what an
// operator configures.
type Options struct {
	MaxFileBytes int64 `json:"max_file_bytes"` // of one file; 64 MiB
	MaxReadBytes int64 `json:"max_read_bytes"` // of one answer at the door; 1 MiB
	MaxFiles     int64 `json:"max_files"`      // of one tenant; 100,000
	MaxBytes     int64 `json:"max_bytes"`      // of one tenant together; 1 GiB
	ReadOnly     bool  `json:"read_only"`      // nothing is written or deleted
	Shared       bool  `json:"shared"`         // all tenants see the same files
}

// Check returns a CodeConfig error for limits that cannot be.
func (o Options) Check() error {
	if min(o.MaxFileBytes, o.MaxReadBytes, o.MaxFiles, o.MaxBytes) < 0 {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the limits of file_storage cannot be used", Why: "they are positive", Fix: "leave them out for the defaults"}
	}
	return nil
}

func (o Options) orDefault() Options {
	for _, limit := range []struct {
		value  *int64
		orElse int64
	}{{&o.MaxFileBytes, 64 << 20}, {&o.MaxReadBytes, 1 << 20}, {&o.MaxFiles, 100_000}, {&o.MaxBytes, 1 << 30}} {
		if *limit.value == 0 {
			*limit.value = limit.orElse
		}
	}
	return o
}

// Info is what is known of a file.
type Info = driver.Info

// Files keeps files in a storage. It may be used by several goroutines. Errors are
// *kernel.Error: CodeArguments for a path that is none, CodeNotFound for a file that is not
// there, CodeLimit for what is too large or one too many, CodeDenied where nothing may be written,
// CodeUnavailable for a storage that fails.
type Files struct {
	storage driver.Storage
	opts    Options

	mu   sync.Mutex
	used map[string]*usage // by folder
}

// New returns the files of a storage. Closing it closes the storage.
func New(storage driver.Storage, opts Options) *Files {
	return &Files{storage: storage, opts: opts.orDefault(), used: map[string]*usage{}}
}

// Close releases what the backend holds.
func (f *Files) Close() error { return f.storage.Close() }

// folder returns what stands before a tenant's paths: its name where that is plain, else a
// digest of it, so that no two tenants have one folder on any file system.
func (f *Files) folder(tenant string) string {
	if f.opts.Shared {
		return ""
	}
	plain := tenant != "" && len(tenant) <= 100 && strings.Trim(tenant, "abcdefghijklmnopqrstuvwxyz0123456789-_") == "" && tenant[0] != '-'
	if plain {
		return tenant + "/"
	}
	sum := sha256.Sum256([]byte(tenant))
	return "~" + hex.EncodeToString(sum[:]) + "/"
}

// Open returns a file's bytes from offset on, at most length of them, or all if that is
// negative. The caller closes the reader.
func (f *Files) Open(ctx context.Context, tenant, path string, offset, length int64) (io.ReadCloser, *Info, error) {
	if err := CheckPath(path); err != nil {
		return nil, nil, err
	}
	if offset < 0 {
		return nil, nil, argument("offset is negative", "it is a number of bytes")
	}
	folder := f.folder(tenant)
	r, info, err := f.storage.Open(ctx, folder+path, offset, length)
	if err != nil {
		return nil, nil, f.failed(ctx, path, err)
	}
	return r, relative(info, folder), nil
}

// Stat returns what is known of a file.
func (f *Files) Stat(ctx context.Context, tenant, path string) (*Info, error) {
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	folder := f.folder(tenant)
	info, err := f.storage.Stat(ctx, folder+path)
	if err != nil {
		return nil, f.failed(ctx, path, err)
	}
	return relative(info, folder), nil
}

func relative(info *Info, folder string) *Info {
	return &Info{Path: strings.TrimPrefix(info.Path, folder), Size: info.Size, Modified: info.Modified, Labels: info.Labels}
}

// List returns at most limit files whose paths begin with prefix, in the order of their bytes,
// and where to go on: the page of the next call, "" at the end.
func (f *Files) List(ctx context.Context, tenant, prefix, page string, limit int) (files []Info, next string, err error) {
	if err := checkPrefix(prefix); err != nil {
		return nil, "", err
	}
	if len(page) > maxPage {
		return nil, "", argument("page is none", "it is what the call before answered as next")
	}
	folder := f.folder(tenant)
	found, next, err := f.storage.List(ctx, folder+prefix, page, limit)
	if err != nil {
		return nil, "", f.failed(ctx, prefix, err)
	}
	files = found[:0]
	for _, info := range found {
		if own := relative(&info, folder); CheckPath(own.Path) == nil { // what the port cannot name is not there
			files = append(files, *own)
		}
	}
	return files, next, nil
}

// Delete removes a file.
func (f *Files) Delete(ctx context.Context, tenant, path string) error {
	if err := f.writable(path); err != nil {
		return err
	}
	folder := f.folder(tenant)
	u, err := f.usage(ctx, folder)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	info, err := f.storage.Stat(ctx, folder+path)
	if err == nil {
		err = f.fenced(ctx, folder, func() error { return f.storage.Delete(ctx, folder+path) })
	}
	if err != nil {
		return f.failed(ctx, path, err)
	}
	u.files--
	u.bytes -= info.Size
	return nil
}

// Written is what Write did.
type Written struct {
	Size   int64
	SHA256 string // in hexadecimal
}

// WriteOptions say how to write a file.
type WriteOptions struct {
	IfAbsent bool           // it is an error that satisfies errors.Is(err, fs.ErrExist) if there is a file
	Labels   *kernel.Labels // of what is written; nil is trusted and public
}

// Write puts what r has in place of a file. A crash or an error leaves the old file, or none.
func (f *Files) Write(ctx context.Context, tenant, path string, r io.Reader, opts WriteOptions) (*Written, error) {
	if err := f.writable(path); err != nil {
		return nil, err
	}
	folder := f.folder(tenant)
	u, err := f.usage(ctx, folder)
	if err != nil {
		return nil, err
	}
	w, err := f.storage.Create(ctx, folder+path, driver.CreateOptions{IfAbsent: opts.IfAbsent, Labels: opts.Labels.OrNil()})
	if err != nil {
		return nil, f.failed(ctx, path, err)
	}
	defer w.Abort()
	hash := sha256.New()
	into := &metered{w: io.MultiWriter(w, hash), usage: u, file: f.opts.MaxFileBytes, all: f.opts.MaxBytes}
	defer func() { u.release(into.n) }()
	if _, err := io.Copy(into, r); err != nil {
		return nil, f.failed(ctx, path, err)
	}
	if err := f.commit(ctx, folder, folder+path, w, u, into.n); err != nil {
		return nil, f.failed(ctx, path, err)
	}
	return &Written{Size: into.n, SHA256: hex.EncodeToString(hash.Sum(nil))}, nil
}

// commit ends a write, and accounts for what it replaced.
func (f *Files) commit(ctx context.Context, folder, path string, w driver.Writer, u *usage, size int64) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	old, err := f.storage.Stat(ctx, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if u.files >= f.opts.MaxFiles {
			return tooMuch(fmt.Sprintf("a tenant has at most %d files (max_files)", f.opts.MaxFiles))
		}
	case err != nil:
		return err
	}
	if err := f.fenced(ctx, folder, func() error { return w.Commit(ctx) }); err != nil {
		return err
	}
	if old != nil {
		u.bytes -= old.Size
	} else {
		u.files++
	}
	u.bytes += size
	return nil
}

// fenced does a write unless a lock that it is done under is lost, or held by another by now.
func (f *Files) fenced(ctx context.Context, folder string, write func() error) error {
	fences, err := kernel.FencesFrom(ctx)
	if err != nil {
		return err
	}
	if len(fences) == 0 {
		return write()
	}
	return f.storage.Fenced(ctx, folder, fences, write)
}

func (f *Files) writable(path string) error {
	if err := CheckPath(path); err != nil {
		return err
	}
	if f.opts.ReadOnly {
		return &kernel.Error{Code: kernel.CodeDenied, What: "no file can be written or deleted", Why: "the file storage is read-only", Fix: "set read_only to false in its configuration"}
	}
	return nil
}

func argument(what, why string) error {
	return &kernel.Error{Code: kernel.CodeArguments, What: "file_storage: " + what, Why: why}
}

func tooMuch(why string) error {
	return &kernel.Error{Code: kernel.CodeLimit, What: "file_storage: there is no room for the file", Why: why, Fix: "write less, or delete files"}
}

// failed gives a storage's error a code. The context's end wins over what the storage made of it.
func (f *Files) failed(ctx context.Context, path string, err error) error {
	var known *kernel.Error
	switch {
	case ctx.Err() != nil:
		return kernel.ContextError(ctx)
	case errors.As(err, &known):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return &kernel.Error{Code: kernel.CodeNotFound, What: "there is no file " + kernel.Quote(path)}
	case errors.Is(err, fs.ErrExist):
		return &kernel.Error{Code: kernel.CodeArguments, What: "the file " + kernel.Quote(path) + " is there", Fix: "write it without if_absent, or under another path", Err: err}
	}
	return &kernel.Error{Code: kernel.CodeUnavailable, What: "the file storage cannot be used for " + kernel.Quote(path), Why: reason(err), Fix: "see whether a folder of its path is a file, and the storage's rights and room", Err: err}
}

// reason is an error without the paths that it holds.
func reason(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return kernel.Quote(at.Err.Error())
	}
	return ""
}

// usage is what a tenant has.
type usage struct {
	mu           sync.Mutex
	counted      bool
	files, bytes int64
	reserved     int64 // bytes that are being written
}

// usage returns the account of a folder, which is counted when it is first used. What other
// processes write meanwhile is not in it.
func (f *Files) usage(ctx context.Context, folder string) (*usage, error) {
	f.mu.Lock()
	u := f.used[folder]
	if u == nil {
		u = &usage{}
		f.used[folder] = u
	}
	f.mu.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.counted {
		return u, nil
	}
	var files, bytes int64
	for page := ""; ; {
		found, next, err := f.storage.List(ctx, folder, page, 1000)
		if err != nil {
			return nil, f.failed(ctx, "", err)
		}
		for _, info := range found {
			files, bytes = files+1, bytes+info.Size
		}
		if page = next; next == "" {
			break
		}
	}
	u.files, u.bytes, u.counted = files, bytes, true
	return u, nil
}

func (u *usage) reserve(n, limit int64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.bytes+u.reserved+n > limit {
		return false
	}
	u.reserved += n
	return true
}

func (u *usage) release(n int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.reserved -= n
}

// metered stops a file that is too large while it is written.
type metered struct {
	w         io.Writer
	usage     *usage
	file, all int64
	n         int64
}

func (m *metered) Write(p []byte) (int, error) {
	if m.n+int64(len(p)) > m.file {
		return 0, tooMuch(fmt.Sprintf("a file has at most %d bytes (max_file_bytes)", m.file))
	}
	if !m.usage.reserve(int64(len(p)), m.all) {
		return 0, tooMuch(fmt.Sprintf("a tenant has at most %d bytes (max_bytes)", m.all))
	}
	m.n += int64(len(p))
	return m.w.Write(p)
}

// stamp writes a time as answers have it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
