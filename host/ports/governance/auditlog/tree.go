package auditlog

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// frontier is a Merkle tree that remembers the last complete subtree of each
// level: all that appending a leaf and computing the root need.
type frontier struct {
	size int64
	last [64]tlog.Hash
}

// ReadHashes implements tlog.HashReader for the hashes that the frontier has.
func (f *frontier) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		if n != f.size>>level-1 {
			return nil, fmt.Errorf("hash %d of level %d is not on the frontier of %d records", n, level, f.size)
		}
		hashes[i] = f.last[level]
	}
	return hashes, nil
}

// append adds a leaf and returns the hashes to store for it: its own, then those
// of the subtrees that it completes.
func (f *frontier) append(leaf tlog.Hash) ([]tlog.Hash, error) {
	hashes, err := tlog.StoredHashesForRecordHash(f.size, leaf, f)
	if err != nil {
		return nil, err
	}
	copy(f.last[:], hashes)
	f.size++
	return hashes, nil
}

func (f *frontier) root() (tlog.Hash, error) { return tlog.TreeHash(f.size, f) }
