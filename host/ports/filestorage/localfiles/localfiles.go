// Package localfiles keeps files in a local folder: the default.
//
// A file is written beside, synced and renamed, so that a crash leaves the old bytes or the
// new ones; what a crash leaves beside is removed a day later by Open. The folder is a jail
// (os.Root), and links in it are not followed, wherever they lead. Several processes may use one
// folder. Where the file system ignores case, so do paths, and grants do not. Labels are beside the files:
// who moves files moves .hexdag with them.
package localfiles

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hexdag/hexdag/host/flock"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/filestorage/driver"
)

const (
	tempDir = ".hexdag" // which no path can name
	// maxTempAge is how long a file that nobody ended may lie about.
	maxTempAge = 24 * time.Hour
	// attempts is how often a folder is made that another's Delete takes away.
	attempts = 10
)

type storage struct {
	root    *os.Root
	fencing sync.Mutex
}

// Open opens the storage in a folder, which it makes (mode 0700) if it is absent.
func Open(dir string) (driver.Storage, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	s := &storage{root: root}
	s.clear()
	return s, nil
}

// clear removes what crashes left long ago. What cannot be removed is in nobody's way.
func (s *storage) clear() {
	entries, err := fs.ReadDir(s.root.FS(), tempDir)
	if err != nil {
		return // there is none, or it cannot be read
	}
	var old []string
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && !info.IsDir() && time.Since(info.ModTime()) > maxTempAge {
			old = append(old, entry.Name())
		}
	}
	s.sweep(old)
	for _, name := range old {
		_ = s.root.Remove(path.Join(tempDir, name))
	}
}

// Close implements driver.Storage.
func (s *storage) Close() error { return s.root.Close() }

// lookup returns what is known of an ordinary file that no link is on the way to.
func (s *storage) lookup(ctx context.Context, name string) (fs.FileInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i, c := range name {
		if c != '/' {
			continue
		}
		info, err := s.root.Lstat(name[:i])
		if err != nil {
			return nil, absent(err)
		}
		if !info.IsDir() {
			return nil, fs.ErrNotExist
		}
	}
	info, err := s.root.Lstat(name)
	if err != nil {
		return nil, absent(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fs.ErrNotExist
	}
	return info, nil
}

// absent is a name below a file as one that is not there.
func absent(err error) error {
	if errors.Is(err, syscall.ENOTDIR) {
		return fs.ErrNotExist
	}
	return err
}

// Open implements driver.Storage.
func (s *storage) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, *driver.Info, error) {
	f, info, labels, err := s.settled(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	if length < 0 {
		length = max(0, info.Size()-offset)
	}
	section := io.NewSectionReader(f, offset, length)
	return readCloser{&ending{ctx, section}, f}, &driver.Info{Path: name, Size: info.Size(), Modified: info.ModTime(), Labels: labels}, nil
}

// open opens an ordinary file that no link is on the way to.
func (s *storage) open(ctx context.Context, name string) (*os.File, fs.FileInfo, error) {
	before, err := s.lookup(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	f, err := s.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // should it have become a pipe
	if err != nil {
		return nil, nil, absent(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err == nil && !os.SameFile(before, info) {
		_, err = s.lookup(ctx, name) // replaced meanwhile: by a file, not by a link to one
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// ending is a reader that ends with its context.
type ending struct {
	ctx context.Context
	r   io.Reader
}

func (e *ending) Read(p []byte) (int, error) {
	if err := e.ctx.Err(); err != nil {
		return 0, err
	}
	return e.r.Read(p)
}

// Stat implements driver.Storage.
func (s *storage) Stat(ctx context.Context, name string) (*driver.Info, error) {
	f, info, labels, err := s.settled(ctx, name) // open, so that no other is taken for it
	if err != nil {
		return nil, err
	}
	return &driver.Info{Path: name, Size: info.Size(), Modified: info.ModTime(), Labels: labels}, f.Close()
}

// Delete implements driver.Storage. A folder that it empties goes, too.
func (s *storage) Delete(ctx context.Context, name string) error {
	stale := s.stale(name) // of files that had their places by now: once there is none, they are nobody's
	if _, err := s.lookup(ctx, name); err != nil {
		return err
	}
	if err := s.root.Remove(name); err != nil {
		return err
	}
	for _, m := range stale {
		if m.Path == name {
			s.remove(m)
		}
	}
	dir := path.Dir(name)
	for dir != "." && s.root.Remove(dir) == nil { // fails where something is left
		dir = path.Dir(dir)
	}
	return nil
}

// Fenced implements driver.Storage: of processes that share the folder, too, where the system has flock.
func (s *storage) Fenced(ctx context.Context, folder string, fences []kernel.Fence, write func() error) error {
	s.fencing.Lock()
	defer s.fencing.Unlock()
	if err := s.root.MkdirAll(driver.FenceDir, 0o700); err != nil {
		return err
	}
	f, err := s.root.OpenFile(path.Join(driver.FenceDir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close() // gives the lock back
	if err := flock.Lock(ctx, f, true); err != nil {
		return err
	}
	if err := driver.Fences(ctx, s, folder, fences); err != nil {
		return err
	}
	return write()
}

type writer struct {
	*storage
	ctx  context.Context
	name string
	id   string // of the file while it is written
	temp string // its path then
	opts driver.CreateOptions
	f    *os.File
	done bool
}

// Create implements driver.Storage.
func (s *storage) Create(ctx context.Context, name string, opts driver.CreateOptions) (driver.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.root.MkdirAll(tempDir, 0o700); err != nil {
		return nil, err
	}
	id := rand.Text()
	w := &writer{storage: s, ctx: ctx, name: name, id: id, temp: path.Join(tempDir, id), opts: opts}
	var err error
	w.f, err = s.root.OpenFile(w.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	return w, err
}

func (w *writer) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.f.Write(p)
}

// Abort implements driver.Writer.
func (w *writer) Abort() {
	if !w.done {
		w.done = true
		_ = w.f.Close() // what was written is dropped
		_ = w.root.Remove(w.temp)
	}
}

// Commit implements driver.Writer.
func (w *writer) Commit(ctx context.Context) error {
	defer w.Abort()
	if err := errors.Join(ctx.Err(), w.ctx.Err()); err != nil {
		return err
	}
	if err := w.f.Sync(); err != nil {
		return err
	}
	if w.opts.Labels != nil {
		if err := w.mark(); err != nil {
			return err
		}
	}
	dir := path.Dir(w.name)
	if err := w.placed(dir); err != nil {
		if w.opts.Labels != nil {
			w.unmark()
		}
		return err
	}
	w.done = true
	w.settle()
	_ = w.f.Close() // it was synced
	return w.syncFolders(dir)
}

// placed gives the file its name in a folder.
func (w *writer) placed(dir string) error {
	var err error
	for range attempts {
		if err = w.folders(dir); err != nil {
			return err
		}
		if err = w.place(); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return err
}

// folders makes the folders of a path, none of which may be a link.
func (w *writer) folders(dir string) error {
	if err := w.root.MkdirAll(dir, 0o700); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
		return err // but not what another's Delete is the cause of
	}
	for at := dir; at != "."; at = path.Dir(at) {
		info, err := w.root.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone again: place notices
		}
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return &fs.PathError{Op: "create", Path: at, Err: syscall.ENOTDIR}
		}
	}
	return nil
}

// place gives the file its name.
func (w *writer) place() error {
	if w.opts.IfAbsent {
		if err := w.root.Link(w.temp, w.name); err != nil {
			return err
		}
		_ = w.root.Remove(w.temp) // a second name; Open removes it some day
		return nil
	}
	if info, err := w.root.Lstat(w.name); err == nil && info.IsDir() {
		return &fs.PathError{Op: "create", Path: w.name, Err: syscall.EISDIR}
	}
	return w.root.Rename(w.temp, w.name)
}

// syncFolders makes the name survive a crash of the machine.
func (w *writer) syncFolders(dir string) error {
	for {
		if err := w.syncFolder(dir); err != nil || dir == "." {
			return err
		}
		dir = path.Dir(dir)
	}
}

func (w *writer) syncFolder(dir string) error {
	f, err := w.root.Open(dir)
	if err != nil {
		return ignoreAbsent(err)
	}
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) { // there are file systems without
		err = nil
	}
	return errors.Join(err, f.Close())
}

// List implements driver.Storage. A page is the last path of the one before.
func (s *storage) List(ctx context.Context, prefix, page string, limit int) ([]driver.Info, string, error) {
	if limit < 1 {
		return nil, "", nil
	}
	l := listing{storage: s, ctx: ctx, prefix: prefix, after: page, limit: limit}
	err := l.walk(strings.TrimSuffix(prefix[:strings.LastIndexByte(prefix, '/')+1], "/"))
	if err != nil && !errors.Is(err, errFull) {
		return nil, "", err
	}
	next := ""
	if err != nil {
		next = l.found[len(l.found)-1].Path
	}
	files, err := s.labelled(ctx, l.found)
	return files, next, err
}

// labelled returns files with their labels, but for those that are gone meanwhile.
func (s *storage) labelled(ctx context.Context, files []driver.Info) ([]driver.Info, error) {
	if _, err := s.root.Lstat(labelsDir); errors.Is(err, fs.ErrNotExist) {
		return files, nil
	}
	kept := files[:0]
	for i := range files {
		info, err := s.Stat(ctx, files[i].Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if errors.Is(err, fs.ErrPermission) { // which the port cannot read, and did not write
			kept = append(kept, files[i])
			continue
		}
		if err != nil {
			return nil, err
		}
		kept = append(kept, *info)
	}
	return kept, nil
}

// errFull ends a walk.
var errFull = errors.New("the page is full")

type listing struct {
	*storage
	ctx           context.Context
	prefix, after string
	limit         int
	found         []driver.Info
}

// walk lists a folder and those below in the order of their paths: a folder's name sorts as
// with the slash behind it.
func (l *listing) walk(dir string) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	at := dir
	if at == "" {
		at = "."
	}
	if info, err := l.root.Lstat(at); err != nil || !info.IsDir() {
		return ignoreAbsent(err) // a link, for one
	}
	entries, err := fs.ReadDir(l.root.FS(), at)
	if err != nil {
		return ignoreAbsent(err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(sortName(a), sortName(b)) })
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		if err := l.entry(name, entry); err != nil {
			return err
		}
	}
	return nil
}

func sortName(e fs.DirEntry) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}

func (l *listing) entry(name string, entry fs.DirEntry) error {
	if entry.Name()[0] == '.' {
		return nil
	}
	if entry.IsDir() {
		below := name + "/"
		if !strings.HasPrefix(below, l.prefix) && !strings.HasPrefix(l.prefix, below) || below < l.after && !strings.HasPrefix(l.after, below) {
			return nil
		}
		return l.walk(name)
	}
	if !entry.Type().IsRegular() || !strings.HasPrefix(name, l.prefix) || name <= l.after {
		return nil
	}
	info, err := entry.Info()
	if err != nil {
		return ignoreAbsent(err)
	}
	if len(l.found) == l.limit {
		return errFull
	}
	l.found = append(l.found, driver.Info{Path: name, Size: info.Size(), Modified: info.ModTime()})
	return nil
}

// ignoreAbsent is for what was deleted meanwhile.
func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
