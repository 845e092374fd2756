// Package encrypted keeps the objects of a bucket encrypted, with age
// (https://age-encryption.org/v1): who can read the bucket, but has not the key, learns the
// names of the objects, which are digests and random to who does not know the content, their
// sizes and when they were written. Bytes that somebody changes are an error. What is unseen is that an
// object is gone, or has bytes that it had before or that another has: an artifact's manifest and content
// are held to digests all the same, but whoever can write to the bucket can so take back the tokens of locks
// (fences/), what counts for a quota (usage/) and what a run lists (runs/).
package encrypted

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"filippo.io/age"

	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
)

// Bucket is a driver.Bucket whose objects lie in another, encrypted to all of its
// identities. An object that the bucket holds in the clear is an error. Sizes in lists
// are those that objects have which are written now; they are off by some bytes for those
// that were encrypted to another number of identities.
type Bucket struct {
	driver.Bucket
	identities []age.Identity
	recipients []age.Recipient
	header     int64 // bytes before the payload of an object that is written now
}

// NewBucket returns bucket, encrypted. Objects are readable with any of the identities,
// as age-keygen makes them: to change the key, put the new one first and keep the old
// one for as long as there are objects from its time.
func NewBucket(bucket driver.Bucket, identities ...*age.X25519Identity) (*Bucket, error) {
	b := &Bucket{Bucket: bucket}
	for _, identity := range identities {
		b.identities = append(b.identities, identity)
		b.recipients = append(b.recipients, identity.Recipient())
	}
	var empty bytes.Buffer
	w, err := age.Encrypt(&empty, b.recipients...)
	if err == nil {
		err = w.Close()
	}
	b.header = int64(empty.Len()) - tagBytes
	return b, err
}

// ParseIdentities reads the secret keys that a file of age-keygen holds.
func ParseIdentities(text io.Reader) ([]*age.X25519Identity, error) {
	parsed, err := age.ParseIdentities(text)
	if err != nil {
		return nil, err
	}
	keys := make([]*age.X25519Identity, len(parsed))
	for i, identity := range parsed {
		key, ok := identity.(*age.X25519Identity)
		if !ok {
			return nil, fmt.Errorf("identity %d is no secret key that begins with AGE-SECRET-KEY-1", i+1)
		}
		keys[i] = key
	}
	return keys, nil
}

// NewWriter implements driver.Bucket.
func (b *Bucket) NewWriter(ctx context.Context) (driver.Writer, error) {
	w, err := b.Bucket.NewWriter(ctx)
	if err != nil {
		return nil, err
	}
	sealed, err := age.Encrypt(w, b.recipients...)
	if err != nil {
		w.Abort()
		return nil, err
	}
	return &writer{Writer: w, sealed: sealed}, nil
}

type writer struct {
	driver.Writer
	sealed io.WriteCloser
	closed bool
}

func (w *writer) Write(p []byte) (int, error) { return w.sealed.Write(p) }

func (w *writer) Commit(ctx context.Context, key string) error {
	if !w.closed {
		if err := w.sealed.Close(); err != nil {
			return err
		}
		w.closed = true
	}
	return w.Writer.Commit(ctx, key)
}

// Open implements driver.Bucket. Of an object that is encrypted to none of the identities it is
// an *age.NoIdentityMatchError, which one whose header is damaged there cannot be told from.
func (b *Bucket) Open(ctx context.Context, key string) (io.ReadCloser, *driver.Object, error) {
	r, object, err := b.Bucket.Open(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	opened, sealed := *object, &reader{key: key, under: r}
	header, rest, err := readHeader(readerFunc(sealed.readUnder))
	if err == nil {
		sealed.plain, err = age.Decrypt(io.MultiReader(bytes.NewReader(header), rest), b.identities...)
		opened.Size = plainSize(object.Size, int64(len(header))+nonceBytes)
	}
	var stranger *age.NoIdentityMatchError
	if sealed.failed != nil || errors.As(err, &stranger) {
		return nil, nil, errors.Join(fmt.Errorf("%s cannot be decrypted: %w", key, err), r.Close())
	}
	if err != nil {
		sealed.damaged = sealed.damage(err)
	}
	return sealed, &opened, nil
}

// reader decrypts what is under it. What fails there is returned as it is; else the object is damaged.
type reader struct {
	key             string
	plain           io.Reader
	under           io.ReadCloser
	failed, damaged error
}

func (r *reader) Read(p []byte) (int, error) {
	if r.damaged != nil {
		return 0, r.damaged
	}
	n, err := r.plain.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && r.failed == nil {
		err = r.damage(err)
	}
	return n, err
}

func (r *reader) readUnder(p []byte) (int, error) {
	n, err := r.under.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.failed = err
	}
	return n, err
}

func (r *reader) damage(why error) error {
	return fmt.Errorf("%s: %w: it is not encrypted as it should be: %w", r.key, driver.ErrCorrupt, why)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func (r *reader) Close() error { return r.under.Close() }

// List implements driver.Bucket.
func (b *Bucket) List(ctx context.Context, prefix, after string, limit int) ([]driver.Object, error) {
	list, err := b.Bucket.List(ctx, prefix, after, limit)
	for i := range list {
		list[i].Size = plainSize(list[i].Size, b.header)
	}
	return list, err
}

// Walk implements driver.Bucket.
func (b *Bucket) Walk(ctx context.Context, prefix string) iter.Seq2[driver.Object, error] {
	return func(yield func(driver.Object, error) bool) {
		for o, err := range b.Bucket.Walk(ctx, prefix) {
			o.Size = plainSize(o.Size, b.header)
			if !yield(o, err) {
				return
			}
		}
	}
}

// The sizes of age's format: a header in text, a nonce, and chunks with a tag each.
const (
	maxHeader  = 64 << 10
	nonceBytes = 16
	tagBytes   = 16
	chunkBytes = 64 << 10
)

// readHeader returns the header with its last line, "--- " and a MAC, and what follows it.
func readHeader(r io.Reader) ([]byte, io.Reader, error) {
	lines := bufio.NewReader(r)
	var header []byte
	for {
		line, err := lines.ReadSlice('\n')
		header = append(header, line...)
		switch {
		case errors.Is(err, io.EOF):
			return nil, nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, nil, err
		case len(header) > maxHeader:
			return nil, nil, fmt.Errorf("its header has more than %d bytes", maxHeader)
		case bytes.HasPrefix(line, []byte("--- ")):
			return header, lines, nil
		}
	}
}

// plainSize returns how many bytes are encrypted in an object of size bytes, before of which
// come before the chunks.
func plainSize(size, before int64) int64 {
	payload := size - before
	chunks := (payload + chunkBytes + tagBytes - 1) / (chunkBytes + tagBytes)
	return max(0, payload-chunks*tagBytes)
}
