package artifacts

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
)

// Lineage returns what an artifact was made from, what that was made from and so on, and
// all that was made from it, with the artifact itself, by the time at which they were stored.
// Parents that are gone are left out. Its time is that of a walk over the whole store, of which it
// holds who was made from whom.
func (s *Store) Lineage(ctx context.Context, id string) ([]*Artifact, error) {
	start, err := s.Describe(ctx, id)
	if err != nil {
		return nil, err
	}
	parents, children, err := s.family(ctx)
	if err != nil {
		return nil, err
	}
	list, found := []*Artifact{start}, map[sum]bool{}
	self, _ := sumOf(start.ID)
	for _, next := range []map[sum][]sum{parents, children} {
		for open := slices.Clone(next[self]); len(open) > 0; open = open[1:] {
			if open[0] == self || found[open[0]] {
				continue
			}
			found[open[0]] = true
			open = append(open, next[open[0]]...)
		}
	}
	for key := range found {
		a, err := s.lookup(ctx, key.id())
		if kernel.CodeOf(err) == kernel.CodeNotFound || errors.Is(err, ErrCorrupt) {
			continue // Verify tells of it
		}
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	slices.SortFunc(list, func(x, y *Artifact) int {
		if c := x.Stored.Compare(y.Stored); c != 0 {
			return c
		}
		return strings.Compare(x.ID, y.ID)
	})
	return list, nil
}

// family returns what every artifact of the store was made from, and what from it.
func (s *Store) family(ctx context.Context) (parents, children map[sum][]sum, err error) {
	parents, children = map[sum][]sum{}, map[sum][]sum{}
	for a, err := range s.All(ctx) {
		if a == nil {
			return nil, nil, err
		}
		if err != nil {
			continue // Verify tells of it
		}
		id, _ := sumOf(a.ID)
		for _, named := range a.Origin.Parents {
			if parent, ok := sumOf(named); ok {
				parents[id] = append(parents[id], parent)
				children[parent] = append(children[parent], id)
			}
		}
	}
	return parents, children, nil
}

// Describe returns what is known of an artifact.
func (s *Store) Describe(ctx context.Context, id string) (*Artifact, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	return s.lookup(ctx, id)
}

// minShort is how many digits of an id tell it from others, at the least.
const minShort = 6

// Find returns the one artifact whose id begins as given, with or without "sha256:".
func (s *Store) Find(ctx context.Context, short string) (*Artifact, error) {
	id, err := s.FindID(ctx, short)
	if err != nil {
		return nil, err
	}
	return s.lookup(ctx, id)
}

// FindID is Find of an artifact whose manifest may be damaged.
func (s *Store) FindID(ctx context.Context, short string) (string, error) {
	digits := strings.TrimPrefix(short, digestPrefix)
	full := digestPrefix + digits
	if checkID(full) == nil {
		return full, nil
	}
	if len(digits) < minShort || checkID(full+strings.Repeat("0", max(0, 64-len(digits)))) != nil {
		return "", badArgument("artifact id "+kernel.Quote(short)+" cannot be used", `an id is "sha256:" and 64 hexadecimal digits in lower case; the first six or more do where no other begins so`)
	}
	found, err := s.bucket.List(ctx, "manifests/", "manifests/"+digits, 2)
	if err != nil {
		return "", s.failed("the artifacts could not be listed", err)
	}
	found = slices.DeleteFunc(found, func(o driver.Object) bool { return !strings.HasPrefix(o.Key, "manifests/"+digits) })
	switch len(found) {
	case 0:
		return "", notFound(short)
	case 1:
		return idOfKey(found[0].Key), nil
	}
	return "", badArgument("artifact id "+kernel.Quote(short)+" is not the only one that begins so", "two are "+idOfKey(found[0].Key)+" and "+idOfKey(found[1].Key))
}
