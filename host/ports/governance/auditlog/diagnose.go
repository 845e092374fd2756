package auditlog

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"
)

// diagnose returns the error of a log that is not what cp covers. It reads both
// files again: the path that finds nothing wrong keeps no hashes in memory.
func (d folder) diagnose(cp checkpoint) error {
	actual, err := d.recordLeaves()
	if err != nil {
		return unusable(d.name, err)
	}
	stored, err := d.storedLeaves(cp.size)
	if err != nil {
		return unusable(d.name, err)
	}
	signed := rootIs(stored, cp)
	if !signed && rootIs(actual, cp) {
		return d.tampered(hashesFile, 0, "the stored hashes were changed",
			fmt.Sprintf("the %d records are what the checkpoint covers, the hashes are not theirs", cp.size),
			"restore the file; the records are proven by the checkpoint")
	}
	at := firstDifference(stored, actual)
	if signed {
		return d.alteration(stored, actual, at)
	}
	if at == len(stored) && at == len(actual) {
		return d.tampered(recordsFile, 1, "the records and their hashes were rewritten",
			fmt.Sprintf("somewhere in records 1 to %d: they agree with each other, but not with the checkpoint", cp.size), restore)
	}
	return d.tampered(recordsFile, at+1, "the records and their hashes were changed",
		fmt.Sprintf("they differ from record %d on, and neither is what the checkpoint covers", at+1), restore)
}

// alteration names the first change that made actual out of stored, which the
// checkpoint proves.
func (d folder) alteration(stored, actual []tlog.Hash, at int) error {
	line := at + 1
	report := func(what, why string, args ...any) error {
		return d.tampered(recordsFile, line, what, fmt.Sprintf(why, args...), restore)
	}
	switch {
	case at >= len(stored):
		// The leaves are right, so it is the hashes of the subtrees that are not.
		return d.tampered(hashesFile, 0, "the stored hashes were changed", "a hash above the records is not theirs", "restore the file; the records are proven by the checkpoint")
	case at >= len(actual):
		return report("the end of the log was cut off", "the checkpoint covers %d records, %d are there", len(stored), len(actual))
	}
	was, wasAt := indexOf(actual[at+1:], stored[at]), indexOf(stored[at+1:], actual[at])
	switch {
	case was >= 0 && wasAt >= 0:
		return report("records were reordered", "record %d is now in the place of record %d", line+1+wasAt, line)
	case wasAt >= 0:
		return report("records were deleted", "%d are missing: the line holds what was record %d", wasAt+1, line+1+wasAt)
	case was >= 0:
		return report("records were inserted", "%d were not there: record %d is now on line %d", was+1, line, line+1+was)
	}
	return report("the record was edited", "its hash is %s, the checkpoint covers %s", actual[at], stored[at])
}

// recordLeaves returns the hash of every whole line.
func (d folder) recordLeaves() ([]tlog.Hash, error) {
	f, err := d.root.Open(recordsFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var leaves []tlog.Hash
	for lines := newLineReader(f); ; {
		line, err := lines.next()
		switch {
		case err == nil:
			leaves = append(leaves, tlog.RecordHash(line))
		case errors.Is(err, errLong):
			leaves = append(leaves, tlog.Hash{}) // no record has it
		case errors.Is(err, io.EOF), errors.Is(err, errTorn):
			return leaves, nil
		default:
			return nil, err
		}
	}
}

// storedLeaves returns the stored hashes of the first size records, or of as
// many as there are.
func (d folder) storedLeaves(size int64) ([]tlog.Hash, error) {
	f, err := d.root.Open(hashesFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var leaves []tlog.Hash
	for n := range size {
		var h tlog.Hash
		_, err := f.ReadAt(h[:], tlog.StoredHashIndex(0, n)*tlog.HashSize)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		leaves = append(leaves, h)
	}
	return leaves, nil
}

// rootIs reports whether the first leaves give the root that cp signs.
func rootIs(leaves []tlog.Hash, cp checkpoint) bool {
	if int64(len(leaves)) < cp.size {
		return false
	}
	var tree frontier
	for _, leaf := range leaves[:cp.size] {
		if _, err := tree.append(leaf); err != nil {
			return false
		}
	}
	root, err := tree.root()
	return err == nil && root == cp.root
}

func firstDifference(a, b []tlog.Hash) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

func indexOf(hashes []tlog.Hash, h tlog.Hash) int {
	for i := range hashes {
		if hashes[i] == h {
			return i
		}
	}
	return -1
}
