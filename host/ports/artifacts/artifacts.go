// Package artifacts is the artifact store: what runs keep, by content, with
// metadata. Store is the portable type; a backend is a driver.Bucket. Package
// memartifacts keeps them in memory, fileartifacts in a directory.
//
// An artifact is an entry: a name in a run, metadata and content. Its id is the
// SHA-256 of its manifest, which holds these (the content by its own SHA-256), so
// the same thing stored twice is one artifact, and the same bytes in two runs are
// two artifacts that share one copy. In the bucket:
//
//	manifests/<id>        the manifest, JSON; an artifact is there once this is
//	content/<digest>      the bytes, or, of large content,
//	recipes/<digest>      the pieces that it is made of, and
//	pieces/<digest>       these, which others may share
//	refs/<digest>/<id>    says that the manifest needs the content
//	runs/<run>/<id>       says that the manifest is one of the run, by the SHA-256 of its id
//	usage/<tenant>/...    says what a tenant has, where there are quotas
//	fences/<lock>         the largest token of a lock that something was stored or deleted under
//
// all in hexadecimal. The manifest is committed last and deleted first, so that a
// crash leaves a whole artifact or none; a reference whose manifest is missing
// counts for nothing.
package artifacts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
)

// The limits that apply unless Options says otherwise.
const (
	DefaultMaxSize  = 1 << 30
	DefaultMaxReply = 16 << 20
)

// Options limits a store. The zero value is usable.
type Options struct {
	// MaxSize is how many bytes an artifact may have; 0 means DefaultMaxSize.
	MaxSize int64
	// MaxReply is how many bytes the operation artifacts.retrieve returns at
	// most; 0 means DefaultMaxReply. It does not limit Retrieve.
	MaxReply int64
	// TenantBytes is how many bytes the artifacts of a tenant may have together, with their
	// manifests; 0 means any number. Content that they share counts for each, and what a delete or
	// a Store that failed leaves to Collect counts until then.
	TenantBytes int64
	// Shared says that the bucket cannot keep other processes apart: content that nothing
	// needs then waits for Collect, since another may be between its content and its manifest.
	Shared bool
	// Serial says that the bucket's lock keeps other processes apart: then a quota is exact, since what a
	// tenant has is counted anew, by a list, before each artifact of it, and one is stored at a time.
	Serial bool
}

// Artifact describes an artifact.
type Artifact struct {
	ID          string         `json:"id"` // "sha256:" and 64 hexadecimal digits, as Digest
	RunID       string         `json:"run_id"`
	Name        string         `json:"name"`
	Digest      string         `json:"digest"` // of the content
	Size        int64          `json:"size"`   // in bytes
	ContentType string         `json:"content_type"`
	Metadata    map[string]any `json:"metadata"` // numbers are json.Number
	Origin      Origin         `json:"origin"`
	Stored      time.Time      `json:"stored"`           // UTC; of the last time that it was stored
	Labels      *kernel.Labels `json:"labels,omitempty"` // of what it was made of
}

// Origin is where an artifact comes from.
type Origin struct {
	Tenant          string   `json:"tenant,omitempty"`
	Pipeline        string   `json:"pipeline,omitempty"`
	PipelineVersion string   `json:"pipeline_version,omitempty"`
	Node            string   `json:"node,omitempty"`
	Modules         []string `json:"modules,omitempty"` // name@digest of those that stored it, outermost first
	Parents         []string `json:"parents,omitempty"` // ids of artifacts that it was made from
}

// ErrCorrupt is the cause of every error about an artifact that is not what was stored.
var ErrCorrupt = driver.ErrCorrupt

// damage says how something is not what was stored.
type damage string

func (d damage) Error() string        { return string(d) }
func (d damage) Is(target error) bool { return target == ErrCorrupt }

// Store keeps artifacts in a bucket. Its methods may be called from several
// goroutines. Errors are *kernel.Error: CodeArguments for a name, an id or
// metadata that cannot be used, CodeNotFound, CodeLimit, CodeCanceled and
// CodeTimeout, CodeFailed for what went wrong in the bucket.
type Store struct {
	bucket driver.Bucket
	opts   Options
	quotas quotas
}

// New returns the store over bucket. The caller closes the bucket, if it can be
// closed, when it needs the store no more.
func New(bucket driver.Bucket, opts Options) *Store {
	if opts.MaxSize <= 0 {
		opts.MaxSize = DefaultMaxSize
	}
	if opts.MaxReply <= 0 {
		opts.MaxReply = DefaultMaxReply
	}
	return &Store{bucket: bucket, opts: opts, quotas: quotas{tenants: map[string]*usage{}}}
}

// StoreOptions is what an artifact carries besides its bytes.
type StoreOptions struct {
	ContentType string         // a media type; "" means application/octet-stream
	Metadata    map[string]any // a JSON object of at most 64 KiB
	Origin      Origin         // of at most 64 KiB
	Labels      *kernel.Labels // of what it is made of; nil is trusted and public

	late func(*manifest) // completes what is said of it once all is read; may be nil
}

// Store keeps what data holds as an artifact of the run. A name is a path of
// printable characters, 1 to 255 bytes, with '/' between segments and without
// ".", "..", empty segments, '\' and ':'. It is not unique: other content under
// the same name is another artifact. On an error there is no artifact; pieces
// of a large one wait for Collect.
func (s *Store) Store(ctx context.Context, runID, name string, data io.Reader, opts StoreOptions) (*Artifact, error) {
	m, err := newManifest(runID, name, opts)
	if err != nil {
		return nil, err
	}
	reserved, err := s.reserve(ctx, m.Origin.Tenant)
	if err != nil {
		return nil, s.failed("the artifact could not be stored", err)
	}
	defer reserved.end()
	from := &source{ctx: ctx, data: data, max: s.opts.MaxSize, reserved: reserved, late: opts.late}
	a, err := s.keep(ctx, from, m)
	if err != nil {
		s.spoiled(ctx, m.Origin.Tenant, from.added)
		return nil, s.failed("the artifact could not be stored", err)
	}
	return a, nil
}

// keep writes the content, then what makes it an artifact.
func (s *Store) keep(ctx context.Context, from *source, m *manifest) (*Artifact, error) {
	content, err := s.write(ctx, from)
	if err != nil {
		return nil, err
	}
	defer content.last.Abort()
	m.Digest, m.Size = content.digest, content.size
	if from.late != nil {
		from.late(m)
	}
	return s.commit(ctx, from, content, m)
}

// source is the data of an artifact up to its limit and the end of its context.
type source struct {
	ctx       context.Context
	data      io.Reader
	max, read int64
	reserved  *reservation
	added     int64 // bytes that the bucket has because of it
	late      func(*manifest)
}

func (s *source) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.data.Read(p)
	if s.read += int64(n); s.read > s.max {
		return 0, tooLarge("the artifact is too large", fmt.Sprintf("an artifact has at most %d bytes", s.max))
	}
	if problem := s.reserved.take(n); problem != nil {
		return 0, problem
	}
	return n, err
}

// commit makes an artifact of what was written, the manifest last.
func (s *Store) commit(ctx context.Context, from *source, content *written, m *manifest) (*Artifact, error) {
	text, err := m.encode()
	if err != nil {
		return nil, err
	}
	if err := from.reserved.take(len(text)); err != nil {
		return nil, err
	}
	id := digest(text)
	exact := s.opts.Serial && s.opts.TenantBytes > 0
	unlock, err := s.begin(ctx, exact)
	if err != nil {
		return nil, err
	}
	defer unlock()
	there, err := s.exists(ctx, manifestKey(id))
	if err != nil {
		return nil, err
	}
	weight := m.Size + int64(len(text))
	if exact && !there {
		if err := s.room(ctx, m.Origin.Tenant, weight); err != nil {
			return nil, err
		}
	}
	if err := s.charge(ctx, m, id, weight, !there); err != nil {
		return nil, err
	}
	from.added = 0            // charged for
	var before errgroup.Group // not bound to the context: the first that fails leaves the others whole
	before.Go(func() error { return s.put(ctx, refKey(m.Digest, id), nil) })
	before.Go(func() error { return content.last.Commit(ctx, content.key) })
	before.Go(func() error { return s.put(ctx, runKey(m.RunID, id), nil) })
	if err := before.Wait(); err != nil {
		return nil, err
	}
	if err := s.put(ctx, manifestKey(id), text); err != nil {
		return nil, err
	}
	return s.lookup(ctx, id)
}

func (s *Store) put(ctx context.Context, key string, data []byte) error {
	w, err := s.bucket.NewWriter(ctx)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(data); err != nil {
		return err
	}
	return w.Commit(ctx, key)
}

// Delete removes an artifact, and its content if no other artifact has the same, unless
// Options.Shared leaves that to Collect.
func (s *Store) Delete(ctx context.Context, id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	unlock, err := s.begin(ctx, true)
	if err != nil {
		return s.failed("the artifact could not be deleted", err)
	}
	defer unlock()
	a, length, err := s.describe(ctx, id)
	if errors.Is(err, ErrCorrupt) {
		// Without a manifest nobody knows the content; that the entry goes is
		// what was asked for.
		err = s.bucket.Delete(ctx, manifestKey(id))
		return s.failed("the artifact could not be deleted", err)
	}
	if err != nil {
		return err
	}
	if err := s.remove(ctx, a, length); err != nil {
		return s.failed("the artifact could not be deleted", err)
	}
	return nil
}

// remove deletes the manifest, which has length bytes, first: from then on the artifact is gone.
func (s *Store) remove(ctx context.Context, a *Artifact, length int64) error {
	if err := s.bucket.Delete(ctx, manifestKey(a.ID)); err != nil {
		return err
	}
	for _, key := range []string{runKey(a.RunID, a.ID), refKey(a.Digest, a.ID)} {
		if err := s.bucket.Delete(ctx, key); err != nil && !absent(err) {
			return err
		}
	}
	needed, err := s.needed(ctx, a.Digest)
	if err != nil {
		return err
	}
	if !needed && s.leaves(a.Size) {
		if err := s.waste(ctx, a.Origin.Tenant, hexOf(a.Digest), a.Size); err != nil {
			return err
		}
	}
	if !needed && !s.opts.Shared {
		if err := s.sweep(ctx, a.Digest); err != nil {
			return err
		}
	}
	return s.discharge(ctx, a.Origin.Tenant, a.ID, a.Size+length)
}

// needed reports whether an artifact has the content. Its caller holds the bucket's lock alone, so
// that no Store is between its reference and its manifest. References that say nothing go, unless
// other processes may be there.
func (s *Store) needed(ctx context.Context, digest string) (bool, error) {
	for ref, err := range s.objects(ctx, refPrefix(digest)) {
		if err != nil {
			return false, err
		}
		there, err := s.exists(ctx, manifestKey(idOfKey(ref.Key)))
		if there || err != nil {
			return there, err
		}
		if s.opts.Shared {
			continue
		}
		if err := s.bucket.Delete(ctx, ref.Key); err != nil && !absent(err) {
			return false, err
		}
	}
	return false, nil
}

// sweep deletes content that no manifest needs, but for its pieces. Its caller holds the
// bucket's lock alone.
func (s *Store) sweep(ctx context.Context, digest string) error {
	for _, key := range []string{contentKey(digest), recipeKey(digest)} {
		if err := s.bucket.Delete(ctx, key); err != nil && !absent(err) {
			return err
		}
	}
	return nil
}

func (s *Store) exists(ctx context.Context, key string) (bool, error) {
	r, _, err := s.bucket.Open(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, r.Close()
}

// lookup returns what is known of an artifact.
func (s *Store) lookup(ctx context.Context, id string) (*Artifact, error) {
	a, _, err := s.describe(ctx, id)
	return a, err
}

// describe reads the manifest of an artifact, whose length it returns, and checks it against its id.
func (s *Store) describe(ctx context.Context, id string) (a *Artifact, length int64, err error) {
	text, object, err := s.read(ctx, manifestKey(id), maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, notFound(id)
	}
	if errors.Is(err, ErrCorrupt) {
		return nil, 0, corrupt(id, err.Error())
	}
	if err != nil {
		return nil, 0, s.failed("the artifact could not be read", err)
	}
	if digest(text) != id {
		return nil, 0, corrupt(id, "its manifest does not have the id as its digest")
	}
	m, err := decodeManifest(bytes.NewReader(text))
	if err != nil {
		return nil, 0, corrupt(id, err.Error())
	}
	return m.artifact(id, object.Modified), int64(len(text)), nil
}

// failed gives an error of the bucket, or of the reader of the data, its code.
func (s *Store) failed(what string, err error) error {
	var known *kernel.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	e := &kernel.Error{Code: kernel.CodeFailed, What: what, Why: err.Error(), Err: err}
	switch {
	case errors.Is(err, context.Canceled):
		e.Code = kernel.CodeCanceled
	case errors.Is(err, context.DeadlineExceeded):
		e.Code = kernel.CodeTimeout
	case errors.Is(err, syscall.ENOSPC):
		e.Code, e.Fix = kernel.CodeUnavailable, "make room on the disk: hexdag artifacts gc --keep-for 720h removes what is older"
	}
	return e
}

func notFound(id string) error {
	return &kernel.Error{Code: kernel.CodeNotFound, What: "there is no artifact " + kernel.Quote(id)}
}

func corrupt(id, why string) error {
	return &kernel.Error{Code: kernel.CodeFailed, What: "artifact " + id + " is not what was stored", Why: why,
		Fix: "store it again, or restore the bucket from a copy", Err: ErrCorrupt}
}

func tooLarge(what, why string) error {
	return &kernel.Error{Code: kernel.CodeLimit, What: what, Why: why}
}
