package auditlog

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/commitment"
)

// The salts of what is masked lie beside a log, not in it: whoever is given the log must not be
// able to try out values, and erasing a salt must leave the log as it was signed.
//
// Each is a line, "commitment salt time", in which nothing but the salt is ever changed, in
// its place: a process that appends meanwhile goes on.
const saltsSuffix = ".salts"

// SaltsFile returns where the salts of the log in dir are unless Options say otherwise.
func SaltsFile(dir string) string { return dir + saltsSuffix }

// erased is what stands in the place of a salt that was erased. It is as long as one, and
// none: no base64 has it.
var erased = bytes.Repeat([]byte("-"), 44)

const (
	commitmentLength = len("hmac-sha256:") + 64
	saltAt           = commitmentLength + 1
	timeAt           = saltAt + 44 + 1
	saltLine         = timeAt + len("2006-01-02T15:04:05Z") + 1
	saltTime         = "2006-01-02T15:04:05Z"
)

func appendSalts(lines []byte, openings []kernel.Opening, now time.Time) ([]byte, error) {
	for _, o := range openings {
		before := len(lines)
		lines = fmt.Appendf(lines, "%s %s %s\n", o.Commitment, o.Salt, now.UTC().Format(saltTime))
		if len(lines)-before != saltLine || !commitment.Valid(o.Commitment) {
			return nil, errors.New("an opening has not the form of one")
		}
	}
	return lines, nil
}

// openSalts opens the file of salts for appending. What a crash cut off is completed, so
// that lines stay in their places.
func openSalts(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		if torn := info.Size() % int64(saltLine); torn > 0 {
			err = f.Truncate(info.Size() - torn) // its record was not written: salts come first
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// eachSalt shows the lines of a file of salts, with their places, until ctx ends.
func eachSalt(ctx context.Context, name string, visit func(at int64, line []byte) error) error {
	f, err := os.Open(name)
	if err != nil {
		return unreadableSalts(name, err)
	}
	defer f.Close()
	buffered, line := bufio.NewReaderSize(f, 256<<10), make([]byte, saltLine)
	for at := int64(0); ; at += int64(saltLine) {
		if at%int64(checkEvery*saltLine) == 0 && ctx.Err() != nil {
			return kernel.ContextError(ctx)
		}
		_, err := io.ReadFull(buffered, line)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // a line that is being written
			return nil
		}
		if err == nil && (line[saltLine-1] != '\n' || line[saltAt-1] != ' ' || line[timeAt-1] != ' ') {
			err = fmt.Errorf("byte %d begins no line of salts", at)
		}
		if err != nil {
			return unreadableSalts(name, err)
		}
		if err := visit(at, line); err != nil {
			return err
		}
	}
}

func unreadableSalts(name string, err error) error {
	e := &kernel.Error{Code: kernel.CodeAudit, What: "the salts of the audit log cannot be used", Where: kernel.Where{File: name}, Why: err.Error(), Err: err}
	if errors.Is(err, fs.ErrNotExist) {
		e.Code, e.Why, e.Fix = kernel.CodeNotFound, "there is no such file", "name the file with --salts; a log of which nothing was masked has none"
	}
	return e
}

var errFound = errors.New("found")

// Reveal returns the openings of what is masked in a record, by the pointers that it
// has in Masked. Of one whose salt is erased, or was never there, there is none; with that the value cannot
// be proven any more, nor be found out. Salts is the file of salts.
//
// Errors: CodeNotFound (no file of salts), CodeAudit, and those of a context that ended.
func Reveal(ctx context.Context, salts string, r *kernel.AuditRecord) (map[string]kernel.Opening, error) {
	pointers := map[string]string{}
	for pointer, c := range r.Commitments {
		pointers[c] = pointer
	}
	found := map[string]kernel.Opening{}
	err := eachSalt(ctx, salts, func(_ int64, line []byte) error {
		pointer, wanted := pointers[string(line[:commitmentLength])]
		if salt := line[saltAt : timeAt-1]; wanted && !bytes.Equal(salt, erased) {
			found[pointer] = kernel.Opening{Commitment: r.Commitments[pointer], Salt: string(salt)}
		}
		if len(found) == len(pointers) {
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return found, err
}

// Erase erases salts, those of the commitments given and those made before a time, unless it is
// zero: what they are of can then not be proven any more, nor found out. The log stays as it was signed. It
// returns how many were erased; where ctx ended before the first was, none. A log may be written meanwhile. What a disk, a journal or a backup
// kept of the file is beyond it.
func Erase(ctx context.Context, salts string, commitments map[string]bool, before time.Time) (n int, err error) {
	var places []int64
	err = eachSalt(ctx, salts, func(at int64, line []byte) error {
		made, err := time.Parse(saltTime, string(line[timeAt:saltLine-1]))
		if err != nil {
			return unreadableSalts(salts, err)
		}
		if (commitments[string(line[:commitmentLength])] || made.Before(before)) && !bytes.Equal(line[saltAt:timeAt-1], erased) {
			places = append(places, at+int64(saltAt))
		}
		return nil
	})
	if err != nil || len(places) == 0 {
		return 0, err
	}
	f, err := os.OpenFile(salts, os.O_WRONLY, 0)
	if err != nil {
		return 0, unreadableSalts(salts, err)
	}
	for _, at := range places {
		if _, err = f.WriteAt(erased, at); err != nil {
			break
		}
		n++
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		err = unreadableSalts(salts, err)
	}
	return n, err
}

// Masked proves a record, from 1, of the log in dir, and returns it with the openings of what is
// masked in it. Salts is the file of them, "" for SaltsFile. It stops with ctx.
func Masked(ctx context.Context, dir string, record int64, salts string, opts VerifyOptions) (*Proof, *kernel.AuditRecord, map[string]kernel.Opening, error) {
	p, err := Prove(ctx, dir, record, opts)
	if err != nil {
		return nil, nil, nil, err
	}
	r, err := decode([]byte(p.Line))
	if err != nil || len(r.Commitments) == 0 {
		return p, r, nil, err
	}
	if salts == "" {
		salts = SaltsFile(filepath.Clean(dir))
	}
	openings, err := Reveal(ctx, salts, r)
	return p, r, openings, err
}

// Disclosure is one masked value of a record, with all that it takes to check it.
type Disclosure struct {
	Proof   *Proof         `json:"proof"` // of the record
	Pointer string         `json:"pointer"`
	Opening kernel.Opening `json:"opening"`
	// Value is by the pointers, without a *, of what was masked. Whoever discloses it has it
	// from elsewhere: the log does not.
	Value map[string]any `json:"value"`
}

// Check holds a disclosure to the key that the log is signed with, and returns the record
// of which it is.
//
// Errors: CodeAuditTampered if the record is not in the log or the value is not the one that was
// masked; CodeConfig if the key cannot be used.
func (d *Disclosure) Check(verifierKey string) (*kernel.AuditRecord, error) {
	if d.Proof == nil {
		return nil, unproven("it has no proof of a record")
	}
	r, err := d.Proof.Check(verifierKey)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, unproven("its proof is of no record")
	}
	c, masked := r.Commitments[d.Pointer]
	switch {
	case !masked:
		return nil, unproven(fmt.Sprintf("record %d commits to nothing at %s", d.Proof.Record, d.Pointer))
	case c != d.Opening.Commitment:
		return nil, unproven(fmt.Sprintf("the opening is not of what record %d has at %s", d.Proof.Record, d.Pointer))
	}
	v, err := kernel.ToValue(d.Value)
	if err != nil || !commitment.Opens(d.Opening, d.Pointer, v) {
		return nil, unproven(fmt.Sprintf("what was at %s is not this value", d.Pointer))
	}
	return r, nil
}
