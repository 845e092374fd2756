package artifacts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	chunkers "github.com/PlakarKorp/go-cdc-chunkers"
	_ "github.com/PlakarKorp/go-cdc-chunkers/chunkers/fastcdc" // the algorithm below
	"golang.org/x/sync/errgroup"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
)

// Content above PiecesAbove bytes is cut into pieces where the content itself says so
// (FastCDC), so that versions of a large artifact share all but what changed. The
// numbers are part of the format: others would still read what is there, but share
// nothing with it.
const (
	PiecesAbove = 4 << 20

	minPiece    = 512 << 10
	normalPiece = 1 << 20
	maxPiece    = 4 << 20
	cutter      = "fastcdc-v1.0.0"

	recipeVersion = 1
	maxRecipe     = 64 << 20 // bytes: more than half a million pieces
)

// recipe says of what pieces a content is made.
type recipe struct {
	Version int     `json:"version"`
	Size    int64   `json:"size"`
	Pieces  []piece `json:"pieces"`
}

type piece struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

// written is content in the bucket, but for the last commit.
type written struct {
	digest string
	size   int64
	last   driver.Writer // commits it under key
	key    string
}

// write puts data into the bucket: whole if it is small, else its pieces and, as what is
// to be committed, the recipe.
func (s *Store) write(ctx context.Context, data *source) (*written, error) {
	buffer, _ := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buffer)
	buffer.Reset()
	n, err := io.CopyN(buffer, data, PiecesAbove+1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if n > PiecesAbove {
		return s.writePieces(ctx, io.MultiReader(bytes.NewReader(buffer.Bytes()), data), &data.added)
	}
	out := &written{digest: digest(buffer.Bytes()), size: n}
	out.key = contentKey(out.digest)
	return out, s.fill(ctx, out, buffer.Bytes())
}

// buffers hold content until it is known whether it is small.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// scans are buffers of maxPiece bytes.
var scans = sync.Pool{New: func() any { b := make([]byte, maxPiece); return &b }}

func (s *Store) fill(ctx context.Context, out *written, data []byte) (err error) {
	if out.last, err = s.bucket.NewWriter(ctx); err != nil {
		return err
	}
	if _, err = out.last.Write(data); err != nil {
		out.last.Abort()
	}
	return err
}

// putters is how many pieces of one artifact are put at once: a disk and a network have more to do
// than to wait for one after the other.
const putters = 4

// writePieces cuts data and hashes the whole in one goroutine, and hashes and keeps the pieces in others. It
// adds the bytes of pieces that were not there to added, whether or not it succeeds.
func (s *Store) writePieces(ctx context.Context, data io.Reader, added *int64) (*written, error) {
	whole, total := sha256.New(), atomic.Int64{}
	defer func() { *added += total.Load() }()
	begun := time.Now()
	group, working := errgroup.WithContext(ctx)
	cuts := make(chan cutting)
	var pieces []*piece
	group.Go(func() (err error) {
		defer close(cuts)
		pieces, err = cut(working, data, whole, cuts)
		return err
	})
	for range putters {
		group.Go(func() error {
			for c := range cuts {
				c.Digest, c.Size = digest(*c.data), int64(len(*c.data))
				isNew, err := s.putPiece(working, *c.piece, *c.data)
				if err != nil {
					return err
				}
				if isNew {
					total.Add(c.Size)
				}
				scans.Put(c.data)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if took := time.Since(begun); took > reuse { // pieces that were there before may be gone
		return nil, &kernel.Error{Code: kernel.CodeTimeout, What: "the artifact took too long to store", Why: fmt.Sprintf("%s, the limit is %s", took.Round(time.Minute), reuse)}
	}
	r := recipe{Version: recipeVersion}
	for _, p := range pieces {
		r.Pieces, r.Size = append(r.Pieces, *p), r.Size+p.Size
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	out := &written{digest: digestOf(whole), size: r.Size}
	out.key = recipeKey(out.digest)
	return out, s.fill(ctx, out, text)
}

// cutting is a piece that is not known yet, with its bytes.
type cutting struct {
	*piece
	data *[]byte
}

// cut sends the pieces of data, each in a buffer of its own, and hashes the whole. It returns them in
// their order, for those who get them to fill in.
func cut(ctx context.Context, data io.Reader, whole hash.Hash, cuts chan<- cutting) (pieces []*piece, err error) {
	scan := scanBuffer()
	defer scans.Put(scan)
	chunks, err := chunkers.NewChunkerBuffer(cutter, data, &chunkers.ChunkerOpts{MinSize: minPiece, NormalSize: normalPiece, MaxSize: maxPiece}, *scan)
	if err != nil {
		return nil, err
	}
	for {
		chunk, err := chunks.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if len(chunk) > 0 {
			c := cutting{&piece{}, scanBuffer()}
			*c.data = append((*c.data)[:0], chunk...)
			pieces = append(pieces, c.piece)
			select {
			case cuts <- c:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			whole.Write(chunk) // while others hash and keep it
		}
		if err != nil {
			return pieces, nil
		}
	}
}

// scanBuffer returns a buffer of maxPiece bytes.
func scanBuffer() *[]byte {
	b, _ := scans.Get().(*[]byte)
	*b = (*b)[:maxPiece]
	return b
}

// putPiece keeps a piece that is not there yet, and reports whether it was not. One that has been
// there for long is written anew: Collect takes pieces that nothing needs and that are older than its
// grace, and what needs this one is not there yet.
func (s *Store) putPiece(ctx context.Context, p piece, data []byte) (isNew bool, err error) {
	unlock, err := s.bucket.Lock(ctx, false)
	if err != nil {
		return false, err
	}
	defer unlock()
	r, object, err := s.bucket.Open(ctx, pieceKey(p.Digest))
	if err == nil {
		_ = r.Close()
		if object.Size == p.Size && time.Since(object.Modified) < reuse {
			return false, nil
		}
	} else if !absent(err) {
		return false, err
	}
	return absent(err), s.put(ctx, pieceKey(p.Digest), data)
}

// open returns content, whole or in pieces.
func (s *Store) open(ctx context.Context, digest string) (io.ReadCloser, int64, error) {
	r, object, err := s.bucket.Open(ctx, contentKey(digest))
	if err == nil {
		return r, object.Size, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, 0, err
	}
	recipe, err := s.recipe(ctx, digest)
	if err != nil {
		return nil, 0, err
	}
	return s.readPieces(ctx, recipe.Pieces), recipe.Size, nil
}

// recipe reads and checks the recipe of a content. Its digests lead nowhere but to
// pieces, and the whole is held to its own digest, so that it needs none.
func (s *Store) recipe(ctx context.Context, digest string) (*recipe, error) {
	text, _, err := s.read(ctx, recipeKey(digest), maxRecipe)
	if err != nil {
		return nil, err
	}
	var r recipe
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, damage("its recipe is no JSON: " + err.Error())
	}
	if r.Version != recipeVersion {
		return nil, damage(fmt.Sprintf("its recipe has version %d, this program knows %d", r.Version, recipeVersion))
	}
	total := int64(0)
	for _, p := range r.Pieces {
		if checkID(p.Digest) != nil || p.Size <= 0 || p.Size > maxPiece {
			return nil, damage("its recipe has a piece that cannot be")
		}
		total += p.Size
	}
	if total != r.Size {
		return nil, damage(fmt.Sprintf("the pieces of its recipe have %d bytes, not %d", total, r.Size))
	}
	return &r, nil
}

// read returns a small object whole.
func (s *Store) read(ctx context.Context, key string, limit int64) ([]byte, *driver.Object, error) {
	r, object, err := s.bucket.Open(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, nil, err
	}
	if int64(len(text)) > limit {
		return nil, nil, damage(fmt.Sprintf("%s has more than %d bytes", key, limit))
	}
	return text, object, nil
}

// piecesReader reads pieces one after the other. It opens each while the one before it is read: a remote
// bucket takes a while for the first byte.
type piecesReader struct {
	ctx     context.Context
	stop    context.CancelFunc
	store   *Store
	pieces  []piece // that are to be opened
	current io.ReadCloser
	next    chan opened // the piece behind current; nil where there is none
}

type opened struct {
	content io.ReadCloser
	err     error
}

func (s *Store) readPieces(ctx context.Context, pieces []piece) *piecesReader {
	r := &piecesReader{store: s, pieces: pieces}
	r.ctx, r.stop = context.WithCancel(ctx)
	r.ahead()
	return r
}

// ahead begins to open the next piece.
func (r *piecesReader) ahead() {
	if len(r.pieces) == 0 {
		return
	}
	digest, next := r.pieces[0].Digest, make(chan opened, 1)
	r.pieces, r.next = r.pieces[1:], next
	go func() {
		content, _, err := r.store.bucket.Open(r.ctx, pieceKey(digest))
		if errors.Is(err, fs.ErrNotExist) {
			err = damage("a piece of it is missing")
		}
		next <- opened{content, err}
	}()
}

func (r *piecesReader) Read(p []byte) (int, error) {
	for {
		if r.current == nil {
			if r.next == nil {
				return 0, io.EOF
			}
			o := <-r.next
			if r.next = nil; o.err != nil {
				return 0, o.err
			}
			r.current = o.content
			r.ahead()
		}
		n, err := r.current.Read(p)
		if errors.Is(err, io.EOF) {
			err = r.current.Close()
			r.current = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Close closes what is open.
func (r *piecesReader) Close() error {
	r.stop()
	var err error
	if r.current != nil {
		err = r.current.Close()
	}
	if r.next != nil {
		if o := <-r.next; o.err == nil {
			err = errors.Join(err, o.content.Close())
		}
	}
	r.current, r.next, r.pieces = nil, nil, nil
	return err
}
