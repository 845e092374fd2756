package localfiles

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"golang.org/x/text/cases"

	"github.com/hexdag/hexdag/host/kernel"
)

// The labels of a file are in marks, in a folder for its path: a mark has the name that the
// file had while it was written beside, its temp. It is made before the file is put in its place
// and removed once another is there, so that at all times the file that has the path has its mark,
// whatever ends in between and whoever else writes: there are no locks. A mark counts for a file
//
//   - while its temp is gone, and the file has the mark's path,
//   - while its temp is the file: it is being given its name.
//
// Marks that count and should not, as a crash can leave them, make labels stricter than they
// need be, until the file is written or deleted.
const labelsDir = tempDir + "/labels" // it stays, once it was made

// maxMark bounds what is read of a mark; labels and paths are smaller.
const maxMark = 64 << 10

type mark struct {
	Path   string         `json:"path"`
	Labels *kernel.Labels `json:"labels"`

	name string // its temp's
}

// marksOf is the folder of a path's marks. Paths that some file system takes for one have one.
func marksOf(name string) string {
	sum := sha256.Sum256([]byte(cases.Fold().String(name)))
	return path.Join(labelsDir, hex.EncodeToString(sum[:]))
}

// marks returns those of a path, and of those that differ from it in case alone.
func (s *storage) marks(name string) ([]mark, error) {
	dir := marksOf(name)
	entries, err := fs.ReadDir(s.root.FS(), dir)
	if err != nil {
		return nil, ignoreAbsent(err)
	}
	var list []mark
	for _, entry := range entries {
		m := mark{name: entry.Name()}
		text, err := s.read(path.Join(dir, m.name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // its file is not there any more
		}
		if err == nil {
			err = json.Unmarshal(text, &m)
		}
		if err != nil { // what nobody can read is the worst
			m.Path, m.Labels = name, unreadable
		}
		list = append(list, m)
	}
	return list, nil
}

// unreadable are the labels of a file whose mark is damaged.
var unreadable = func() *kernel.Labels {
	labels, _ := kernel.NewLabels(kernel.Untrusted, kernel.Secret, "file_storage:damaged") // both are known
	return labels
}()

func (s *storage) read(name string) ([]byte, error) {
	f, err := s.root.Open(name)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxMark))
	return text, errors.Join(err, f.Close())
}

// pending reports whether the file of a mark may yet be put in its place.
func (s *storage) pending(m mark) bool {
	_, err := s.root.Lstat(path.Join(tempDir, m.name))
	return !errors.Is(err, fs.ErrNotExist)
}

// has reports whether a path is a file's.
func (s *storage) has(name string, file fs.FileInfo) bool {
	info, err := s.root.Lstat(name)
	return err == nil && os.SameFile(info, file)
}

// labels returns those of a file that is open, and whether it still has the path. If it has not, they
// may be another's.
func (s *storage) labels(name string, file fs.FileInfo) (labels *kernel.Labels, still bool, err error) {
	marks, err := s.marks(name)
	if err != nil {
		return nil, false, err
	}
	for _, m := range marks {
		if s.has(path.Join(tempDir, m.name), file) || !s.pending(m) && s.has(m.Path, file) {
			labels = labels.Join(m.Labels.OrNil())
		}
	}
	return labels, s.has(name, file), nil
}

// mark keeps the labels of what is about to be put in its place.
func (w *writer) mark() error {
	text, err := json.Marshal(mark{Path: w.name, Labels: w.opts.Labels})
	if err != nil {
		return err
	}
	dir := marksOf(w.name)
	var f *os.File
	for range attempts { // another may remove the folder, which is empty
		if err = w.root.MkdirAll(dir, 0o700); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			return err
		}
		f, err = w.root.OpenFile(path.Join(dir, w.id), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return w.syncFolders(dir)
}

// unmark removes the writer's own mark, where its file was not put in its place.
func (w *writer) unmark() {
	if file, err := w.f.Stat(); err == nil && !w.has(w.name, file) {
		w.remove(mark{Path: w.name, name: w.id})
	}
}

// settle removes the marks of what the writer's file, which is open, has taken the place of. Those of
// other writers, whose files may yet take its place, are theirs.
func (w *writer) settle() {
	file, err := w.f.Stat()
	if err != nil {
		return
	}
	for _, m := range w.stale(w.name) {
		// Its temp is gone: if this file has the path, the mark's had it before, and never will again.
		if m.name != w.id && w.has(m.Path, file) {
			w.remove(m)
		}
	}
}

// stale are the marks of files that have, or had, their places. Where they cannot be listed, they stay.
func (s *storage) stale(name string) []mark {
	marks, _ := s.marks(name)
	return slices.DeleteFunc(marks, s.pending)
}

// remove removes a mark. One that cannot be removed makes labels stricter.
func (s *storage) remove(m mark) {
	dir := marksOf(m.Path)
	_ = s.root.Remove(path.Join(dir, m.name))
	_ = s.root.Remove(dir) // fails where there are others
}

// sweep removes the marks of temps whose writers have crashed, before these go.
func (s *storage) sweep(temps []string) {
	dirs, err := fs.ReadDir(s.root.FS(), labelsDir)
	if err != nil || len(temps) == 0 {
		return
	}
	for _, dir := range dirs {
		for _, temp := range temps {
			_ = s.root.Remove(path.Join(labelsDir, dir.Name(), temp))
		}
	}
}

// settled opens a file whose labels are known: not while others put files in its place.
func (s *storage) settled(ctx context.Context, name string) (*os.File, fs.FileInfo, *kernel.Labels, error) {
	for range maxReplaced {
		f, info, err := s.open(ctx, name)
		if err != nil {
			return nil, nil, nil, err
		}
		labels, still, err := s.labels(name, info)
		if err == nil && still {
			return f, info, labels, nil
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, nil, nil, err
		}
	}
	return nil, nil, nil, &kernel.Error{Code: kernel.CodeRetry, What: "the file is replaced all the time", Why: fmt.Sprintf("it was another each of %d times that it was opened", maxReplaced), Fix: "try again"}
}

// maxReplaced bounds how often a file that is replaced while it is opened is opened again.
const maxReplaced = 100
