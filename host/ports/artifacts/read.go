package artifacts

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
)

// Retrieve returns an artifact's content and description. The reader compares
// the content with its digest where it ends: only who reads as far as io.EOF
// knows that the bytes are those that were stored; otherwise the error is one
// with the cause ErrCorrupt. The caller closes the reader.
func (s *Store) Retrieve(ctx context.Context, id string) (io.ReadCloser, *Artifact, error) {
	if err := checkID(id); err != nil {
		return nil, nil, err
	}
	a, err := s.lookup(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	r, size, err := s.open(ctx, a.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		// Either a Delete came in between, or the content is lost.
		if _, err := s.lookup(ctx, id); err != nil {
			return nil, nil, err
		}
		return nil, nil, corrupt(id, "its content is missing")
	}
	if errors.Is(err, ErrCorrupt) {
		return nil, nil, corrupt(id, err.Error())
	}
	if err != nil {
		return nil, nil, s.failed("the artifact could not be read", err)
	}
	if size != a.Size {
		_ = r.Close()
		return nil, nil, corrupt(id, fmt.Sprintf("its content has %d bytes, %d were stored", size, a.Size))
	}
	return &verified{store: s, artifact: a, content: r, hash: sha256.New()}, a, nil
}

// RetrieveBytes returns an artifact's content, verified, if it is of at most limit bytes.
func (s *Store) RetrieveBytes(ctx context.Context, id string, limit int64) ([]byte, *Artifact, error) {
	r, a, err := s.Retrieve(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	if a.Size > limit {
		return nil, nil, tooLarge("artifact "+id+" is too large", fmt.Sprintf("it has %d bytes, the limit here is %d", a.Size, limit))
	}
	data := make([]byte, a.Size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, nil, s.failed("the artifact could not be read", err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return nil, nil, s.failed("the artifact could not be read", err)
	}
	return data, a, nil
}

// verified reads content and says at its end whether it was the right one.
type verified struct {
	store    *Store
	artifact *Artifact
	content  io.ReadCloser
	hash     hash.Hash
	ended    error
}

func (v *verified) Read(p []byte) (int, error) {
	if v.ended != nil {
		return 0, v.ended
	}
	n, err := v.content.Read(p)
	v.hash.Write(p[:n])
	switch {
	case errors.Is(err, io.EOF):
		if digestOf(v.hash) != v.artifact.Digest {
			err = corrupt(v.artifact.ID, "its content has another digest")
		}
	case errors.Is(err, ErrCorrupt):
		err = corrupt(v.artifact.ID, err.Error())
	case err != nil:
		err = v.store.failed("the artifact could not be read", err)
	}
	v.ended = err
	return n, err
}

func (v *verified) Close() error { return v.content.Close() }

// List returns the artifacts of a run, in the order of their ids.
func (s *Store) List(ctx context.Context, runID string) ([]*Artifact, error) {
	const page = 1000
	var all []*Artifact
	for after := ""; ; after = all[len(all)-1].ID {
		found, err := s.ListPage(ctx, runID, after, page)
		if err != nil {
			return nil, err
		}
		if all = append(all, found...); len(found) < page {
			return all, nil
		}
	}
}

// ListPage returns at most limit artifacts of a run, in the order of their ids,
// beginning behind the id after ("" is the start). Fewer than limit are the last. Page goes on
// behind an artifact whose manifest cannot be read, which here is an error.
func (s *Store) ListPage(ctx context.Context, runID, after string, limit int) ([]*Artifact, error) {
	var found []*Artifact
	if limit <= 0 {
		return nil, nil
	}
	for a, err := range s.ofRun(ctx, runID, after) {
		if err != nil {
			return nil, err
		}
		if found = append(found, a); len(found) == limit {
			break
		}
	}
	return found, nil
}
