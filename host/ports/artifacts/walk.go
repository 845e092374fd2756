package artifacts

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
)

// All walks over every artifact of the store, of all runs, in the order of their ids. One
// whose manifest cannot be read comes as its id alone, with the error; any other
// error is the last that is yielded, with a nil artifact.
func (s *Store) All(ctx context.Context) iter.Seq2[*Artifact, error] { return s.from(ctx, "") }

// from is All, beginning behind the id after.
func (s *Store) from(ctx context.Context, after string) iter.Seq2[*Artifact, error] {
	return s.marked(ctx, "manifests/", after)
}

// ofRun is from for the artifacts of a run.
func (s *Store) ofRun(ctx context.Context, runID, after string) iter.Seq2[*Artifact, error] {
	if err := checkRunID(runID); err != nil {
		return func(yield func(*Artifact, error) bool) { yield(nil, err) }
	}
	return s.marked(ctx, runPrefix(runID), after)
}

// marked walks over the artifacts that objects directly below prefix have the ids of.
func (s *Store) marked(ctx context.Context, prefix, after string) iter.Seq2[*Artifact, error] {
	return func(yield func(*Artifact, error) bool) {
		key := ""
		if after != "" {
			if err := checkID(after); err != nil {
				yield(nil, err)
				return
			}
			key = prefix + hexOf(after)
		}
		for marker, err := range s.objectsFrom(ctx, prefix, key) {
			if err != nil {
				yield(nil, s.failed("the artifacts could not be listed", err))
				return
			}
			id := idOfKey(marker.Key)
			a, err := s.lookup(ctx, id)
			switch {
			case kernel.CodeOf(err) == kernel.CodeNotFound:
				continue // deleted, or a Store that did not get so far
			case errors.Is(err, ErrCorrupt):
				a = &Artifact{ID: id}
			case err != nil:
				yield(nil, err)
				return
			}
			if !yield(a, err) {
				return
			}
		}
	}
}

// Page walks over the artifacts of a run, or of all where it is "", as All does, beginning behind
// the id after ("" is the start).
func (s *Store) Page(ctx context.Context, runID, after string) iter.Seq2[*Artifact, error] {
	if runID == "" {
		return s.from(ctx, after)
	}
	return s.ofRun(ctx, runID, after)
}

// objects walks over the objects directly below prefix.
func (s *Store) objects(ctx context.Context, prefix string) iter.Seq2[driver.Object, error] {
	return s.objectsFrom(ctx, prefix, "")
}

// objectsFrom is objects, beginning behind the key after.
func (s *Store) objectsFrom(ctx context.Context, prefix, after string) iter.Seq2[driver.Object, error] {
	const page = 1000
	return func(yield func(driver.Object, error) bool) {
		after := after // of this walk
		for {
			found, err := s.bucket.List(ctx, prefix, after, page)
			if err != nil {
				yield(driver.Object{}, err)
				return
			}
			for _, object := range found {
				if !yield(object, nil) {
					return
				}
				after = object.Key
			}
			if len(found) < page {
				return
			}
		}
	}
}

// Verify reads every artifact and tells report what it found: nil, or an error with the
// cause ErrCorrupt. Content that several share is read once. An error that it
// returns is about the store, or report's.
func (s *Store) Verify(ctx context.Context, report func(*Artifact, error) error) error {
	known := map[string]error{} // by digest
	for a, err := range s.All(ctx) {
		if a == nil {
			return err
		}
		if err == nil {
			var read bool
			if err, read = known[a.Digest]; !read {
				err = s.readWhole(ctx, a)
				if err != nil && !errors.Is(err, ErrCorrupt) {
					return err
				}
				known[a.Digest] = err
			}
		}
		if err := report(a, err); err != nil {
			return err
		}
	}
	return nil
}

// readWhole reads an artifact to its end.
func (s *Store) readWhole(ctx context.Context, a *Artifact) error {
	r, _, err := s.Retrieve(ctx, a.ID)
	if kernel.CodeOf(err) == kernel.CodeNotFound {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}

// absent reports whether err says that an object is not there.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
