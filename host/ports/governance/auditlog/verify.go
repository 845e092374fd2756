package auditlog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/hexdag/hexdag/host/kernel"
)

// VerifyOptions says what a log is held to.
type VerifyOptions struct {
	// VerifierKey is the public key that the log must be signed with. Empty
	// means the key in the directory, which proves less: who can change the log
	// can change that key.
	VerifierKey string
	// Known is an earlier checkpoint of the log, the content of its file
	// "checkpoint" as it was. The log must contain it unchanged: this is what
	// finds a log that was rolled back, or rewritten with the right key.
	Known []byte
	// Live is for a log that is being written: records behind the checkpoint are
	// left alone instead of refused.
	Live bool
}

// What a report trusts.
const (
	TrustDirectory = "the key in the directory"
	TrustGiven     = "the given key"
)

// Report is what a verified log holds.
type Report struct {
	Origin   string                  `json:"origin"`
	Records  int64                   `json:"records"` // that the checkpoint covers
	Root     string                  `json:"root"`    // base64
	SignedAt time.Time               `json:"signed_at"`
	Key      string                  `json:"key"`
	Trust    string                  `json:"trust"`
	Kinds    map[string]int64        `json:"kinds"`
	Effects  map[kernel.Effect]int64 `json:"effects"` // of the records that have one
}

// Verify recomputes the log in dir from its records and compares it with the
// stored hashes and the signed checkpoint. It needs nothing but the directory and changes nothing.
//
// An error with CodeAuditTampered names the file, the record (a line of
// records.jsonl, from 1) and what was done to it; CodeConfig means that there is
// no log or that the options cannot be used; CodeAudit that a file cannot be read. It ends with ctx.
func Verify(ctx context.Context, dir string, opts VerifyOptions) (*Report, error) {
	d, cp, key, err := openLog(dir, opts.VerifierKey)
	if err != nil {
		return nil, err
	}
	defer d.root.Close()
	report := &Report{Key: key, Trust: TrustGiven}
	if opts.VerifierKey == "" {
		report.Trust = TrustDirectory
	}
	known, err := d.known(opts.Known, report.Key, cp)
	if err != nil {
		return nil, err
	}
	report.Kinds, report.Effects = map[string]int64{}, map[kernel.Effect]int64{}
	covered, err := d.check(ctx, cp, known, report.count)
	if err != nil {
		return nil, err
	}
	if !opts.Live {
		if err := d.checkEnd(cp, covered.bytes); err != nil {
			return nil, err
		}
	}
	report.Origin, report.Records, report.Root, report.SignedAt = cp.origin, cp.size, cp.root.String(), cp.signed
	return report, nil
}

// count adds a record to the report.
func (r *Report) count(line []byte) error {
	record, err := decode(line)
	if err != nil {
		return err
	}
	r.Kinds[record.Kind]++
	if record.Effect != "" {
		r.Effects[record.Effect]++
	}
	return nil
}

func noLog(dir string, cause error) error {
	if cause != nil && !errors.Is(cause, fs.ErrNotExist) {
		return unusable(dir, cause)
	}
	return &kernel.Error{Code: kernel.CodeConfig, What: "there is no audit log", Where: kernel.Where{File: dir},
		Why: "the directory has no checkpoint", Fix: "name the directory that the log was written to", Err: cause}
}

// known reads an earlier checkpoint and compares what needs no records. It
// returns nil if there is none.
func (d folder) known(msg []byte, verifierKey string, cp checkpoint) (*checkpoint, error) {
	if len(msg) == 0 {
		return nil, nil
	}
	verifier, err := note.NewVerifier(verifierKey)
	if err != nil {
		return nil, err
	}
	known, err := openCheckpoint(msg, verifier)
	if err != nil {
		return nil, badKey("", "the known checkpoint cannot be used", err.Error(), "give a checkpoint that this log had, signed with "+verifierKey)
	}
	if known.origin != cp.origin {
		return nil, d.tampered(checkpointFile, 0, "this is another log",
			fmt.Sprintf("its origin is %s, that of the known checkpoint %s", kernel.Quote(cp.origin), kernel.Quote(known.origin)), restore)
	}
	if known.size > cp.size {
		return nil, d.tampered(recordsFile, int(cp.size)+1, "the log was rolled back",
			fmt.Sprintf("its checkpoint covers %d records, the known one %d", cp.size, known.size), restore)
	}
	return &known, nil
}

const restore = "restore the log from a copy; what this one says is not proven"

// prefix is the part of a log that a checkpoint covers.
type prefix struct {
	tree  frontier
	bytes int64 // its length in records.jsonl
}

// checkEvery is how many records are read before it is looked again whether somebody still wants that.
const checkEvery = 256

// check recomputes what cp covers from the records, and shows each to visit if
// there is one. If anything differs it says what and where.
func (d folder) check(ctx context.Context, cp checkpoint, known *checkpoint, visit func(line []byte) error) (*prefix, error) {
	records, err := d.root.Open(recordsFile)
	if err != nil {
		return nil, d.missing(recordsFile, cp, err)
	}
	defer records.Close()
	hashes, err := d.root.Open(hashesFile)
	if err != nil {
		return nil, d.missing(hashesFile, cp, err)
	}
	defer hashes.Close()

	p := &prefix{}
	lines, stored := newLineReader(records), bufio.NewReader(hashes)
	for p.tree.size < cp.size {
		if p.tree.size%checkEvery == 0 && ctx.Err() != nil {
			return nil, kernel.ContextError(ctx)
		}
		if err := p.checkKnown(d, known); err != nil {
			return nil, err
		}
		line, ok := p.take(lines, stored)
		if !ok {
			return nil, d.diagnose(cp)
		}
		if visit == nil {
			continue
		}
		if err := visit(line); err != nil {
			return nil, d.tampered(recordsFile, int(p.tree.size), "the line is no audit record", err.Error(),
				"its hash is the stored one: another program, or another version, wrote it")
		}
	}
	if root, err := p.tree.root(); err != nil || root != cp.root {
		return nil, d.diagnose(cp)
	}
	return p, p.checkKnown(d, known)
}

// take returns the next record if it is there and its hashes are the stored ones.
func (p *prefix) take(lines *lineReader, stored io.Reader) ([]byte, bool) {
	line, err := lines.next()
	if err != nil {
		return nil, false
	}
	added, err := p.tree.append(tlog.RecordHash(line))
	if err != nil {
		return nil, false
	}
	for _, want := range added {
		var h tlog.Hash
		if _, err := io.ReadFull(stored, h[:]); err != nil || h != want {
			return nil, false
		}
	}
	p.bytes += int64(len(line)) + 1
	return line, true
}

// checkKnown compares the tree with the known checkpoint where it ends.
func (p *prefix) checkKnown(d folder, known *checkpoint) error {
	if known == nil || p.tree.size != known.size {
		return nil
	}
	if root, err := p.tree.root(); err != nil || root != known.root {
		return d.tampered(recordsFile, 1, "the log is not the one of the known checkpoint",
			fmt.Sprintf("records 1 to %d give another root than the known checkpoint of %s: history was rewritten and signed again, or the log forked",
				known.size, known.signed.Format(time.RFC3339)), restore)
	}
	return nil
}

// missing is the error of a file of the log that cannot be opened.
func (d folder) missing(file string, cp checkpoint, cause error) error {
	if !errors.Is(cause, fs.ErrNotExist) {
		return unusable(d.name, cause)
	}
	return d.tampered(file, 0, "a file of the audit log is missing", fmt.Sprintf("the checkpoint covers %d records", cp.size), restore)
}

// checkEnd makes sure that nothing lies behind what cp covers.
func (d folder) checkEnd(cp checkpoint, covered int64) error {
	records, err := d.root.Stat(recordsFile)
	if err != nil {
		return unusable(d.name, err)
	}
	const fix = "if the process was killed, or could not write, open the log once: it records what it finds; otherwise they were added"
	if extra := records.Size() - covered; extra > 0 {
		return d.tampered(recordsFile, int(cp.size)+1, "records that no checkpoint covers",
			fmt.Sprintf("the checkpoint covers %d records, %d more bytes follow", cp.size, extra), fix)
	}
	hashes, err := d.root.Stat(hashesFile)
	if err != nil {
		return unusable(d.name, err)
	}
	if extra := hashes.Size() - tlog.StoredHashCount(cp.size)*tlog.HashSize; extra > 0 {
		return d.tampered(hashesFile, 0, "hashes of records that are not there",
			fmt.Sprintf("%d bytes follow those of the %d records that the checkpoint covers", extra, cp.size), fix)
	}
	return nil
}
