package auditlog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// Place is one in a log: behind a record. The zero value is its start.
type Place struct {
	Record int64 // how many records are before it
	Offset int64 // in bytes
}

// String is the place as text, which ParsePlace reads.
func (p Place) String() string { return fmt.Sprintf("%d.%d", p.Record, p.Offset) }

// ParsePlace reads a place; "" is the start. Errors are of CodeArguments.
func ParsePlace(text string) (Place, error) {
	if text == "" {
		return Place{}, nil
	}
	record, offset, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(record, 10, 64)
	at, errAt := strconv.ParseInt(offset, 10, 64)
	if err := errors.Join(err, errAt); err != nil || n < 0 || at < n {
		return Place{}, noPlace(text)
	}
	return Place{n, at}, nil
}

func noPlace(text string) error {
	return &kernel.Error{Code: kernel.CodeArguments, What: kernel.Quote(text) + " is no place in the audit log", Fix: "pass the next of an answer as it was, or nothing"}
}

// pageBytes is how much of a log one page looks through.
const pageBytes = 4 << 20

// Page shows records from a place on as they stand, with their numbers, until visit returns false or some MiB were looked through. It returns
// the place behind the last, and whether there may be more; nothing is verified.
func Page(dir string, from Place, visit func(n int64, r *kernel.AuditRecord) bool) (next Place, more bool, err error) {
	f, err := os.OpenInRoot(dir, recordsFile)
	if err != nil {
		return from, false, noLog(dir, err)
	}
	defer f.Close()
	if from.Offset > 0 {
		before := make([]byte, 1)
		if _, err := f.ReadAt(before, from.Offset-1); err != nil || before[0] != '\n' {
			return from, false, noPlace(from.String())
		}
	}
	lines := newLineReader(io.NewSectionReader(f, from.Offset, 1<<62))
	for next = from; next.Offset-from.Offset < pageBytes; {
		line, err := lines.next()
		if errors.Is(err, io.EOF) || errors.Is(err, errTorn) { // it is being written
			return next, false, nil
		}
		if err != nil {
			return next, false, unusable(dir, err)
		}
		record, err := decode(line)
		if err != nil {
			return next, false, unusable(dir, fmt.Errorf("a line is no audit record: %w", err))
		}
		next.Record++
		next.Offset += int64(len(line)) + 1
		if !visit(next.Record, record) {
			return next, true, nil
		}
	}
	return next, true, nil
}

// Checkpoint returns the signed checkpoint of the log in dir, and the public key that it is held to: verifierKey, or, if that is "", the one in
// the directory.
func Checkpoint(dir, verifierKey string) (signed, key string, err error) {
	d, _, key, err := openLog(dir, verifierKey)
	if err != nil {
		return "", "", err
	}
	defer d.root.Close()
	text, err := d.root.ReadFile(checkpointFile)
	if err != nil {
		return "", "", unusable(dir, err)
	}
	return string(text), key, nil
}
