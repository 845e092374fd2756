// Package blobfiles keeps files in what gocloud.dev/blob opens: a folder (file:///folder) or
// this process's memory (mem://), which keeps nothing. Unlike localfiles it follows links in the
// folder; who can make them is the operator. Labels are kept right by one process: several use localfiles.
package blobfiles

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"sync"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/fileblob" // file:///folder
	_ "gocloud.dev/blob/memblob"  // mem://
	"gocloud.dev/gcerrors"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/filestorage/driver"
)

type storage struct {
	bucket  *blob.Bucket
	folder  bool // it is a folder's, whose pages are not to be had
	fencing sync.Mutex

	marks sync.RWMutex // held while a file and its mark change, or are read
}

// Config names the bucket.
type Config struct {
	URL    string `json:"url"`
	Prefix string `json:"prefix"` // of every object's name in the bucket
}

// Open opens the bucket. What is wrong with the configuration is CodeConfig.
func Open(ctx context.Context, cfg Config) (driver.Storage, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "mem" && u.Scheme != "file" {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the blob file storage's configuration: url is missing, or cannot be opened", Fix: "write file:///folder or mem://"}
	}
	folder := u.Scheme == "file"
	if q := u.Query(); folder && !q.Has("metadata") {
		q.Set("metadata", "skip") // it is in files beside, which are not replaced together with the file
		u.RawQuery = q.Encode()
	}
	bucket, err := blob.OpenBucket(ctx, u.String())
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the blob file storage cannot be opened", Why: kernel.Quote(err.Error()), Fix: "name a folder that there is, with ?create_dir=true one that there is not", Err: err}
	}
	if cfg.Prefix != "" {
		bucket = blob.PrefixedBucket(bucket, cfg.Prefix)
	}
	return &storage{bucket: bucket, folder: folder}, nil
}

// Close implements driver.Storage.
func (s *storage) Close() error { return s.bucket.Close() }

// blobError gives an error the meaning that package driver asks for.
func blobError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		return fs.ErrNotExist
	case gcerrors.AlreadyExists, gcerrors.FailedPrecondition:
		return fs.ErrExist
	}
	return err
}

// Open implements driver.Storage.
func (s *storage) Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, *driver.Info, error) {
	s.marks.RLock()
	defer s.marks.RUnlock()
	info, err := s.stat(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	if offset > info.Size { // which buckets refuse
		offset, length = info.Size, 0
	}
	r, err := s.bucket.NewRangeReader(ctx, path, offset, length, nil)
	if err != nil {
		return nil, nil, blobError(ctx, err)
	}
	return r, &driver.Info{Path: path, Size: r.Size(), Modified: r.ModTime(), Labels: info.Labels}, nil
}

// Stat implements driver.Storage.
func (s *storage) Stat(ctx context.Context, path string) (*driver.Info, error) {
	s.marks.RLock()
	defer s.marks.RUnlock()
	return s.stat(ctx, path)
}

func (s *storage) stat(ctx context.Context, path string) (*driver.Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a, err := s.bucket.Attributes(ctx, path)
	if err != nil {
		return nil, blobError(ctx, err)
	}
	labels, err := s.labels(ctx, path)
	return &driver.Info{Path: path, Size: a.Size, Modified: a.ModTime, Labels: labels}, err
}

// Delete implements driver.Storage.
func (s *storage) Delete(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.marks.Lock()
	defer s.marks.Unlock()
	if err := s.bucket.Delete(ctx, path); err != nil {
		return blobError(ctx, err)
	}
	_ = s.label(context.WithoutCancel(ctx), path, nil) // one that stays makes the labels of a later file stricter
	return nil
}

// Fenced implements driver.Storage. Of several processes in one folder, one may still pass the check while
// another is about to write under a larger token.
func (s *storage) Fenced(ctx context.Context, folder string, fences []kernel.Fence, write func() error) error {
	s.fencing.Lock()
	defer s.fencing.Unlock()
	if err := driver.Fences(ctx, s, folder, fences); err != nil {
		return err
	}
	return write()
}

// Create implements driver.Storage. The object is written by an upload that reads from a pipe:
// a canceled upload leaves nothing.
func (s *storage) Create(ctx context.Context, path string, opts driver.CreateOptions) (driver.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	u := &upload{storage: s, path: path, labels: opts.Labels, ctx: ctx, cancel: cancel, w: w, ended: make(chan struct{})}
	go func() {
		defer close(u.ended)
		u.err = s.bucket.Upload(ctx, path, r, &blob.WriterOptions{ContentType: "application/octet-stream", IfNotExist: opts.IfAbsent, DisableContentTypeDetection: true})
		_ = r.CloseWithError(errors.Join(u.err, io.ErrClosedPipe)) // so that no Write waits
	}()
	return u, nil
}

type upload struct {
	*storage
	path   string
	labels *kernel.Labels
	ctx    context.Context
	cancel context.CancelFunc
	w      *io.PipeWriter
	ended  chan struct{}
	err    error // once it has ended
	done   bool
}

func (u *upload) Write(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.w.Write(p)
}

// Commit implements driver.Writer.
func (u *upload) Commit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		u.Abort()
		return err
	}
	defer u.Abort()
	u.marks.Lock()
	defer u.marks.Unlock()
	old, err := u.storage.labels(ctx, u.path)
	if err != nil {
		return err
	}
	both := old.Join(u.labels) // whatever a crash leaves
	if both != old {
		if err := u.label(ctx, u.path, both); err != nil {
			return err
		}
	}
	u.done = true
	_ = u.w.Close() // never fails
	<-u.ended
	u.cancel()
	is := u.labels
	if u.err != nil {
		is = old
	}
	if is != both {
		_ = u.label(context.WithoutCancel(ctx), u.path, is) // else they are stricter than they need be
	}
	return blobError(ctx, u.err)
}

// errAborted is what an upload reads that is given up.
var errAborted = errors.New("the file was given up")

// Abort implements driver.Writer.
func (u *upload) Abort() {
	if u.done {
		return
	}
	u.done = true
	u.cancel()
	_ = u.w.CloseWithError(errAborted) // never fails
	<-u.ended
}

// List implements driver.Storage. A page is the bucket's own, in letters.
func (s *storage) List(ctx context.Context, prefix, page string, limit int) ([]driver.Info, string, error) {
	if err := ctx.Err(); err != nil || limit < 1 {
		return nil, "", err
	}
	if s.folder {
		return s.listFolder(ctx, prefix, page, limit)
	}
	token := blob.FirstPageToken
	if page != "" {
		var err error
		if token, err = base64.RawURLEncoding.DecodeString(page); err != nil || len(token) == 0 {
			return nil, "", &kernel.Error{Code: kernel.CodeArguments, What: "file_storage: page is none", Why: "it is what the call before answered as next"}
		}
	}
	objects, next, err := s.bucket.ListPage(ctx, token, limit, &blob.ListOptions{Prefix: prefix})
	if err != nil {
		return nil, "", blobError(ctx, err)
	}
	files, err := s.labelled(ctx, infos(objects))
	return files, base64.RawURLEncoding.EncodeToString(next), err
}

func infos(objects []*blob.ListObject) []driver.Info {
	files := make([]driver.Info, 0, len(objects))
	for _, o := range objects {
		if !o.IsDir && !strings.HasPrefix(o.Key, labelsFolder) {
			files = append(files, driver.Info{Path: o.Key, Size: o.Size, Modified: o.ModTime})
		}
	}
	return files
}

// listFolder lists the whole folder for every page, which is its last path: fileblob walks a/x
// before "a b", which sorts before it, and so leaves files out where a page ends between them.
func (s *storage) listFolder(ctx context.Context, prefix, page string, limit int) ([]driver.Info, string, error) {
	files, err := s.walk(ctx, prefix)
	if err != nil {
		return nil, "", err
	}
	slices.SortFunc(files, func(a, b driver.Info) int { return strings.Compare(a.Path, b.Path) })
	i, _ := slices.BinarySearchFunc(files, page, func(f driver.Info, page string) int {
		if f.Path > page {
			return 1
		}
		return -1
	})
	next := ""
	if files = files[i:]; len(files) > limit {
		files, next = files[:limit], files[limit-1].Path
	}
	files, err = s.labelled(ctx, files)
	return files, next, err
}

// walk returns all files. fileblob fails where one goes while it walks, and is asked again.
func (s *storage) walk(ctx context.Context, prefix string) ([]driver.Info, error) {
	for attempt, size := 1, 10_000; ; { // room is made for as many
		objects, next, err := s.bucket.ListPage(ctx, blob.FirstPageToken, size, &blob.ListOptions{Prefix: prefix})
		err = blobError(ctx, err)
		switch {
		case errors.Is(err, fs.ErrNotExist) && attempt < 100:
			attempt++
		case err != nil:
			return nil, err
		case len(next) > 0:
			size *= 10
		default:
			return infos(objects), nil
		}
	}
}
