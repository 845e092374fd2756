package artifactstest

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // what gocloud's suite compares with
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"strings"
	"testing"

	blobdriver "gocloud.dev/blob/driver"
	"gocloud.dev/blob/drivertest"
	"gocloud.dev/gcerrors"

	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
)

// RunBlobTests runs the suite of gocloud.dev/blob for what that calls drivers, on the bucket behind
// an adapter that adds what driver.Bucket has not: keys of any characters, attributes (before the
// content, in the same object), ranges, copies and conditional writes. What the suite skips by itself, since
// neither has it: signed URLs, a bucket that is not there, types of the provider.
// newBucket returns an empty bucket and leaves closing it to t.Cleanup.
func RunBlobTests(t *testing.T, newBucket func(t *testing.T) driver.Bucket) {
	drivertest.RunConformanceTests(t, func(_ context.Context, t *testing.T) (drivertest.Harness, error) {
		return harness{newBucket(t)}, nil
	}, nil)
}

type harness struct{ bucket driver.Bucket }

func (h harness) MakeDriver(context.Context) (blobdriver.Bucket, error) { return asBlob{h.bucket}, nil }
func (harness) MakeDriverForNonexistentBucket(context.Context) (blobdriver.Bucket, error) {
	return nil, nil //nolint:nilnil // "doesn't make sense for a driver"
}
func (harness) HTTPClient() *http.Client         { return nil }
func (harness) SupportsCopy() bool               { return true }
func (harness) SupportsNonSlashDelimiters() bool { return true }
func (harness) Close()                           {}

// asBlob is a driver.Bucket as gocloud's.
type asBlob struct{ driver.Bucket }

var (
	errUnsupported = errors.New("not supported")
	errThere       = errors.New("the object is there")
	errKey         = errors.New("the key cannot be used")
)

func (asBlob) ErrorCode(err error) gcerrors.ErrorCode {
	for cause, code := range map[error]gcerrors.ErrorCode{
		fs.ErrNotExist: gcerrors.NotFound, errUnsupported: gcerrors.Unimplemented, errThere: gcerrors.FailedPrecondition,
		errKey: gcerrors.InvalidArgument, context.Canceled: gcerrors.Canceled,
	} {
		if errors.Is(err, cause) {
			return code
		}
	}
	return gcerrors.Unknown
}

func (asBlob) As(any) bool             { return false }
func (asBlob) ErrorAs(error, any) bool { return false }
func (asBlob) Close() error            { return nil }
func (asBlob) SignedURL(context.Context, string, *blobdriver.SignedURLOptions) (string, error) {
	return "", errUnsupported
}

func noAs(any) bool { return false }

// The object of a key is flat/<key>. with the key in letters whose order is that of what they encode, and
// what ends it before all of them.
const (
	flat    = "flat/"
	flatEnd = ".b"
)

var letters = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

func objectKey(key string) (string, error) {
	name := letters.EncodeToString([]byte(key)) + flatEnd
	if key == "" || len(name) > 255 {
		return "", fmt.Errorf("%q: %w", key, errKey)
	}
	return flat + name, nil
}

func blobKey(key string) (string, error) {
	name, err := letters.DecodeString(strings.TrimSuffix(strings.TrimPrefix(key, flat), flatEnd))
	return string(name), err
}

// blobHead is what stands before an object's content, after its own length in four bytes.
type blobHead struct {
	CacheControl, ContentDisposition, ContentEncoding, ContentLanguage, ContentType string

	Metadata map[string]string
	MD5      []byte
}

// open returns the content of a key behind its head, and how long it is.
func (b asBlob) open(ctx context.Context, key string) (io.ReadCloser, *blobHead, *driver.Object, error) {
	name, err := objectKey(key)
	if err != nil {
		return nil, nil, nil, err
	}
	r, object, err := b.Open(ctx, name)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%s: %w", key, err)
	}
	var length [4]byte
	_, err = io.ReadFull(r, length[:])
	text := make([]byte, binary.BigEndian.Uint32(length[:]))
	if err == nil {
		_, err = io.ReadFull(r, text)
	}
	var head blobHead
	if err == nil {
		err = json.Unmarshal(text, &head)
	}
	if err != nil {
		return nil, nil, nil, errors.Join(err, r.Close())
	}
	return r, &head, &driver.Object{Key: key, Size: object.Size - int64(len(length)+len(text)), Modified: object.Modified}, nil
}

func (b asBlob) Attributes(ctx context.Context, key string) (*blobdriver.Attributes, error) {
	r, head, object, err := b.open(ctx, key)
	if err != nil {
		return nil, err
	}
	return &blobdriver.Attributes{
		CacheControl: head.CacheControl, ContentDisposition: head.ContentDisposition, ContentEncoding: head.ContentEncoding,
		ContentLanguage: head.ContentLanguage, ContentType: head.ContentType, Metadata: head.Metadata, MD5: head.MD5,
		ModTime: object.Modified, Size: object.Size, ETag: fmt.Sprintf("\"%x-%x\"", object.Modified.UnixNano(), object.Size),
	}, r.Close()
}

func (b asBlob) NewRangeReader(ctx context.Context, key string, offset, length int64, opts *blobdriver.ReaderOptions) (blobdriver.Reader, error) {
	r, head, object, err := b.open(ctx, key)
	if err != nil {
		return nil, err
	}
	if opts.BeforeRead != nil {
		err = opts.BeforeRead(noAs)
	}
	if err == nil {
		_, err = io.CopyN(io.Discard, r, offset)
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	out := &blobReader{Reader: r, close: r.Close, attributes: blobdriver.ReaderAttributes{ContentType: head.ContentType, ModTime: object.Modified, Size: object.Size}}
	if length >= 0 {
		out.Reader = io.LimitReader(r, length)
	}
	return out, nil
}

type blobReader struct {
	io.Reader
	close      func() error
	attributes blobdriver.ReaderAttributes
}

func (r *blobReader) Close() error                             { return r.close() }
func (r *blobReader) Attributes() *blobdriver.ReaderAttributes { return &r.attributes }
func (*blobReader) As(any) bool                                { return false }

func (b asBlob) NewTypedWriter(ctx context.Context, key, contentType string, opts *blobdriver.WriterOptions) (blobdriver.Writer, error) {
	name, err := objectKey(key)
	if err != nil {
		return nil, err
	}
	if opts.BeforeWrite != nil {
		if err := opts.BeforeWrite(noAs); err != nil {
			return nil, err
		}
	}
	head := blobHead{CacheControl: opts.CacheControl, ContentDisposition: opts.ContentDisposition, ContentEncoding: opts.ContentEncoding,
		ContentLanguage: opts.ContentLanguage, ContentType: contentType, Metadata: maps.Clone(opts.Metadata)}
	return &blobWriter{ctx: ctx, bucket: b, key: name, head: head, alone: opts.IfNotExist}, nil
}

// blobWriter holds the content until its sum is known, which stands before it.
type blobWriter struct {
	bytes.Buffer
	ctx    context.Context
	bucket asBlob
	key    string
	head   blobHead
	alone  bool
}

func (w *blobWriter) Close() (err error) {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	sum := md5.Sum(w.Bytes()) //nolint:gosec // no signature
	w.head.MD5 = sum[:]
	text, err := json.Marshal(w.head)
	if err != nil {
		return err
	}
	unlock, err := w.bucket.Lock(w.ctx, w.alone)
	if err != nil {
		return err
	}
	defer unlock()
	if w.alone {
		r, _, err := w.bucket.Open(w.ctx, w.key)
		if err == nil {
			return errors.Join(errThere, r.Close())
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	out, err := w.bucket.NewWriter(w.ctx)
	if err != nil {
		return err
	}
	defer out.Abort()
	for _, part := range [][]byte{binary.BigEndian.AppendUint32(nil, uint32(len(text))), text, w.Bytes()} { //nolint:gosec // attributes of a test
		if _, err := out.Write(part); err != nil {
			return err
		}
	}
	return out.Commit(w.ctx, w.key)
}

func (b asBlob) Copy(ctx context.Context, dstKey, srcKey string, opts *blobdriver.CopyOptions) error {
	if opts.BeforeCopy != nil {
		if err := opts.BeforeCopy(noAs); err != nil {
			return err
		}
	}
	from, err := objectKey(srcKey)
	if err != nil {
		return err
	}
	to, err := objectKey(dstKey)
	if err != nil {
		return err
	}
	r, _, err := b.Open(ctx, from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := b.NewWriter(ctx)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Commit(ctx, to)
}

func (b asBlob) Delete(ctx context.Context, key string, opts *blobdriver.DeleteOptions) error {
	name, err := objectKey(key)
	if err != nil {
		return err
	}
	if opts.BeforeDelete != nil {
		if err := opts.BeforeDelete(noAs); err != nil {
			return err
		}
	}
	return b.Bucket.Delete(ctx, name)
}

// blobPage is how many objects a page has, of those who ask for no number, and how many are listed at once.
const blobPage = 100

// ListPaged goes on behind a key; behind a folder's, all that is in it.
func (b asBlob) ListPaged(ctx context.Context, opts *blobdriver.ListOptions) (*blobdriver.ListPage, error) {
	if opts.BeforeList != nil {
		if err := opts.BeforeList(noAs); err != nil {
			return nil, err
		}
	}
	size := opts.PageSize
	if size == 0 {
		size = blobPage
	}
	page, last := &blobdriver.ListPage{}, string(opts.PageToken)
	for after := ""; ; {
		found, err := b.List(ctx, flat, after, blobPage)
		if err != nil {
			return nil, err
		}
		for _, o := range found {
			after = o.Key
			object, err := b.listed(ctx, o, opts)
			if err != nil {
				return nil, err
			}
			if object == nil || object.Key <= last {
				continue
			}
			if len(page.Objects) == size {
				page.NextPageToken = []byte(last)
				return page, nil
			}
			page.Objects, last = append(page.Objects, object), object.Key
		}
		if len(found) < blobPage {
			return page, nil
		}
	}
}

// listed is an object as a list has it: nil where it is elsewhere, a folder where it is in one.
func (b asBlob) listed(ctx context.Context, o driver.Object, opts *blobdriver.ListOptions) (*blobdriver.ListObject, error) {
	key, err := blobKey(o.Key)
	rest, below := strings.CutPrefix(key, opts.Prefix)
	if !below || err != nil {
		return nil, err
	}
	if i := strings.Index(rest, opts.Delimiter); opts.Delimiter != "" && i >= 0 {
		return &blobdriver.ListObject{Key: key[:len(opts.Prefix)+i+len(opts.Delimiter)], IsDir: true}, nil
	}
	r, head, object, err := b.open(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // deleted meanwhile
	}
	if err != nil {
		return nil, err
	}
	return &blobdriver.ListObject{Key: key, ModTime: o.Modified, Size: object.Size, MD5: head.MD5}, r.Close()
}
