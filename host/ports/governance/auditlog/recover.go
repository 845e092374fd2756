package auditlog

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/hexdag/hexdag/host/kernel"
)

// recovery is what Open finds behind the last checkpoint.
type recovery struct {
	first   int64  // the first record that no checkpoint covers, from 1
	kept    int64  // whole records
	dropped int64  // bytes of what is no record: a line that a crash cut
	digest  string // of the dropped bytes
	lost    int64  // records of which only the hash is left
}

// recover takes up the records behind the last checkpoint, cuts off what a crash
// left of another, and records that it did. A process that was killed leaves
// such records; so could someone who adds to the file, which is why they are named.
func (l *Log) recover() error {
	found, err := l.takeTail()
	if err != nil {
		return unusable(l.dir.name, err)
	}
	if err := l.resetHashes(found); err != nil {
		return unusable(l.dir.name, err)
	}
	if found.kept == 0 && found.dropped == 0 && found.lost == 0 {
		return nil
	}
	line, err := encode(found.record(), time.Now())
	if err != nil {
		return unusable(l.dir.name, err)
	}
	if err := l.append(line); err != nil {
		return unusable(l.dir.name, err)
	}
	return l.seal()
}

// takeTail adds the whole records behind the checkpoint to the tree and cuts the
// file behind the last of them.
func (l *Log) takeTail() (*recovery, error) {
	f, err := l.dir.root.Open(recordsFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(l.length, io.SeekStart); err != nil {
		return nil, err
	}
	found := &recovery{first: l.tree.size + 1}
	for lines := newLineReader(f); ; found.kept++ {
		line, err := lines.next()
		if err == nil {
			_, err = decode(line)
		}
		if err != nil {
			break // the end, or a line that is no record: the rest goes
		}
		hashes, err := l.tree.append(tlog.RecordHash(line))
		if err != nil {
			return nil, err
		}
		l.addHashes(hashes)
		l.length += int64(len(line)) + 1
	}
	if _, err := f.Seek(l.length, io.SeekStart); err != nil {
		return nil, err
	}
	hash := sha256.New()
	if found.dropped, err = io.Copy(hash, f); err != nil || found.dropped == 0 {
		return found, err
	}
	found.digest = "sha256:" + hex.EncodeToString(hash.Sum(nil))
	return found, l.records.Truncate(l.length)
}

// resetHashes cuts the stored hashes to what the checkpoint covers and writes
// those of the records behind it anew.
func (l *Log) resetHashes(found *recovery) error {
	info, err := l.dir.root.Stat(hashesFile)
	if err != nil {
		return err
	}
	for info.Size() >= tlog.StoredHashCount(l.tree.size+found.lost+1)*tlog.HashSize {
		found.lost++
	}
	return errors.Join(l.hashes.Truncate(tlog.StoredHashCount(l.sealed)*tlog.HashSize), l.flushHashes())
}

// record is the audit record of a recovery.
func (r *recovery) record() *kernel.AuditRecord {
	var detail []string
	if r.kept > 0 {
		detail = append(detail, fmt.Sprintf("kept records %d to %d, which no checkpoint covered", r.first, r.first+r.kept-1))
	}
	if r.dropped > 0 {
		detail = append(detail, fmt.Sprintf("dropped %d bytes behind them that are no record", r.dropped))
	}
	if r.lost > 0 {
		detail = append(detail, fmt.Sprintf("%d further records are lost: only their hashes were there", r.lost))
	}
	return &kernel.AuditRecord{
		Kind:   "log",
		Action: "audit.recover",
		Result: "ok",
		Digest: r.digest,
		Detail: strings.Join(detail, "; "),
	}
}
