package auditlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/hexdag/hexdag/host/kernel"
)

// Proof shows, without the log, that a record is in it, and that the log has only
// grown since an earlier checkpoint. Whoever checks it needs the log's verifier key.
type Proof struct {
	Checkpoint string `json:"checkpoint"` // the signed note
	// Record is which one it is, from 1; 0 proves none. Line is its text.
	Record    int64       `json:"record,omitempty"`
	Line      string      `json:"line,omitempty"` // a text, so that whoever reformats the proof leaves it alone
	Inclusion []tlog.Hash `json:"inclusion,omitempty"`
	// Known is the earlier checkpoint, if there is one.
	Known       string      `json:"known,omitempty"`
	Consistency []tlog.Hash `json:"consistency,omitempty"`
}

// Prove returns a proof for a record, from 1, of the log in dir, or, with 0, for
// opts.Known alone. It takes time in the logarithm of the log's size, and of the
// records reads as far as the one. Live is of no account: what the checkpoint covers
// is proven.
//
// Errors: CodeInput if there is nothing to prove, or the checkpoint does not cover the
// record; else as of Verify: what cannot be proven is looked into.
func Prove(ctx context.Context, dir string, record int64, opts VerifyOptions) (*Proof, error) {
	d, cp, key, err := openLog(dir, opts.VerifierKey)
	if err != nil {
		return nil, err
	}
	defer d.root.Close()
	known, err := d.known(opts.Known, key, cp)
	if err != nil {
		return nil, err
	}
	if record == 0 && known == nil {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "there is nothing to prove", Fix: "name a record, from 1, or an earlier checkpoint"}
	}
	if record < 0 || record > cp.size {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: fmt.Sprintf("there is no proof for record %d", record), Where: kernel.Where{File: dir}, Why: fmt.Sprintf("the checkpoint covers %d records", cp.size), Fix: "name one of those; a log that is open covers a record within a second"}
	}
	p, err := d.prove(ctx, cp, known, record)
	if err == nil {
		p.Known = string(opts.Known)
		_, err = p.Check(key)
	}
	switch {
	case ctx.Err() != nil:
		return nil, kernel.ContextError(ctx)
	case err != nil:
		return nil, d.unprovable(ctx, cp, known, err)
	}
	return p, nil
}

// openLog opens a log to be read, and returns its checkpoint and the key that this is signed with.
func openLog(dir, key string) (folder, checkpoint, string, error) {
	d := folder{name: dir}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return d, checkpoint{}, "", noLog(dir, err)
	}
	d.root = root
	exists, err := d.exists()
	if err != nil || !exists {
		return d, checkpoint{}, "", errors.Join(noLog(dir, err), root.Close())
	}
	if key == "" {
		if key, err = d.verifierKey(); err != nil {
			return d, checkpoint{}, "", errors.Join(err, root.Close())
		}
	}
	cp, err := d.checkpoint(key)
	if err != nil {
		return d, checkpoint{}, "", errors.Join(err, root.Close())
	}
	return d, cp, key, nil
}

func (d folder) prove(ctx context.Context, cp checkpoint, known *checkpoint, record int64) (*Proof, error) {
	msg, err := d.root.ReadFile(checkpointFile)
	if err != nil {
		return nil, err
	}
	hashes, err := d.root.Open(hashesFile)
	if err != nil {
		return nil, err
	}
	defer hashes.Close()
	stored := storedHashes{hashes}
	p := &Proof{Checkpoint: string(msg), Record: record}
	if record > 0 {
		line, err := d.line(ctx, record)
		if err != nil {
			return nil, err
		}
		p.Line = string(line)
		if p.Inclusion, err = tlog.ProveRecord(cp.size, record-1, stored); err != nil {
			return nil, err
		}
	}
	if known != nil && known.size > 0 { // every log has grown from nothing
		p.Consistency, err = tlog.ProveTree(cp.size, known.size, stored)
	}
	return p, err
}

// line returns a record's line, from 1.
func (d folder) line(ctx context.Context, record int64) ([]byte, error) {
	f, err := d.root.Open(recordsFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := newLineReader(f)
	for n := int64(1); ; n++ {
		if n%checkEvery == 0 && ctx.Err() != nil {
			return nil, kernel.ContextError(ctx)
		}
		line, err := lines.next()
		switch {
		case err != nil && !errors.Is(err, errLong):
			return nil, err
		case n == record && err == nil:
			return append([]byte(nil), line...), nil
		case n == record:
			return nil, err
		}
	}
}

// storedHashes reads the file of hashes.
type storedHashes struct{ io.ReaderAt }

// ReadHashes implements tlog.HashReader.
func (s storedHashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if _, err := s.ReadAt(hashes[i][:], index*tlog.HashSize); err != nil {
			return nil, err
		}
	}
	return hashes, nil
}

// unprovable says what is wrong with a log of which something cannot be proven.
func (d folder) unprovable(ctx context.Context, cp checkpoint, known *checkpoint, cause error) error {
	if _, err := d.check(ctx, cp, known, nil); err != nil {
		return err
	}
	return unusable(d.name, cause) // or it was sealed meanwhile
}

// Check holds a proof to the key that the log is signed with, and returns the record,
// nil if the proof is for none. It needs nothing but the proof and the key.
//
// Errors: CodeAuditTampered if it does not prove what it says, CodeConfig if the key
// cannot be used.
func (p *Proof) Check(verifierKey string) (*kernel.AuditRecord, error) {
	verifier, err := note.NewVerifier(verifierKey)
	if err != nil {
		return nil, badKey("", "the verifier key cannot be used", err.Error(), "give the key as the log's file \"verifier\" has it")
	}
	cp, err := openCheckpoint([]byte(p.Checkpoint), verifier)
	if err != nil {
		return nil, unproven("its checkpoint: " + err.Error())
	}
	if p.Known == "" && p.Record == 0 {
		return nil, unproven("it is for nothing")
	}
	if err := p.checkKnown(cp, verifier); err != nil {
		return nil, err
	}
	if p.Record == 0 {
		return nil, nil
	}
	if p.Record < 0 || p.Record > cp.size {
		return nil, unproven(fmt.Sprintf("it is for record %d, and the checkpoint covers %d", p.Record, cp.size))
	}
	if err := tlog.CheckRecord(p.Inclusion, cp.size, cp.root, p.Record-1, tlog.RecordHash([]byte(p.Line))); err != nil {
		return nil, unproven(fmt.Sprintf("record %d is not the one that the checkpoint covers: %v", p.Record, err))
	}
	record, err := decode([]byte(p.Line))
	if err != nil {
		return nil, unproven("its line is no audit record: " + err.Error())
	}
	return record, nil
}

func (p *Proof) checkKnown(cp checkpoint, verifier note.Verifier) error {
	if p.Known == "" {
		return nil
	}
	known, err := openCheckpoint([]byte(p.Known), verifier)
	switch {
	case err != nil:
		return unproven("its earlier checkpoint: " + err.Error())
	case known.origin != cp.origin:
		return unproven("its checkpoints are of two logs")
	case known.size > cp.size:
		return unproven(fmt.Sprintf("its earlier checkpoint covers %d records, and the later one %d", known.size, cp.size))
	case known.size == 0:
		return nil
	}
	if err := tlog.CheckTree(p.Consistency, cp.size, cp.root, known.size, known.root); err != nil {
		return unproven(fmt.Sprintf("the first %d records are not those of the earlier checkpoint: %v", known.size, err))
	}
	return nil
}

// unproven is the error of a proof that does not hold.
func unproven(why string) error {
	return &kernel.Error{Code: kernel.CodeAuditTampered, What: "this proves nothing", Why: kernel.Quote(strings.TrimSpace(why)), Fix: "ask for the proof again, and check it with the log's own key"}
}
