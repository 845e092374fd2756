package auditlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// Read verifies the log in dir, as Verify does, and then shows each record that its
// checkpoint covers, from 1, with its line. Nothing of a log that was changed is
// shown. It stops with visit's first error, or with ctx.
func Read(ctx context.Context, dir string, opts VerifyOptions, visit func(n int64, line []byte, r *kernel.AuditRecord) error) (*Report, error) {
	report, err := Verify(ctx, dir, opts)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenInRoot(dir, recordsFile)
	if err != nil {
		return nil, unusable(dir, err)
	}
	defer f.Close()
	lines := newLineReader(f)
	for n := int64(1); n <= report.Records; n++ {
		if n%checkEvery == 0 && ctx.Err() != nil {
			return nil, kernel.ContextError(ctx)
		}
		line, err := lines.next()
		if err != nil {
			return nil, unusable(dir, fmt.Errorf("record %d: %w", n, err))
		}
		record, err := decode(line)
		if err != nil {
			return nil, unusable(dir, fmt.Errorf("record %d: %w", n, err))
		}
		if err := visit(n, line, record); err != nil {
			return nil, err
		}
	}
	return report, nil
}

const (
	// tailBytes is how far from its end a log is read for its last records.
	tailBytes = 4 << 20
	// tailEvery is how often Tail looks for new records.
	tailEvery = 200 * time.Millisecond
)

// Tail shows the last records of a log as they stand, at most last of them and 4 MiB,
// whether or not a checkpoint covers them; nothing is verified. With follow it goes on
// with each that is added, until ctx ends, which is no error.
func Tail(ctx context.Context, dir string, last int, follow bool, visit func(r *kernel.AuditRecord) error) error {
	f, err := os.OpenInRoot(dir, recordsFile)
	if err != nil {
		return noLog(dir, err)
	}
	defer f.Close()
	t := tail{file: f, visit: visit}
	if err := t.start(last); err != nil {
		return t.failed(dir, err)
	}
	if !follow {
		return nil
	}
	ticker := time.NewTicker(tailEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := t.more(); err != nil {
				return t.failed(dir, err)
			}
		}
	}
}

// tail is how far a log has been shown.
type tail struct {
	file  *os.File
	at    int64 // everything before has been shown
	visit func(r *kernel.AuditRecord) error
	own   error // of visit
}

func (t *tail) failed(dir string, err error) error {
	if t.own != nil {
		return t.own
	}
	return unusable(dir, err)
}

// start shows the last whole lines.
func (t *tail) start(last int) error {
	info, err := t.file.Stat()
	if err != nil {
		return err
	}
	from := max(info.Size()-tailBytes, 0)
	text := make([]byte, info.Size()-from)
	if _, err := t.file.ReadAt(text, from); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	whole := bytes.LastIndexByte(text, '\n') + 1 // behind it is a line that is being written
	t.at, text = from+int64(whole), text[:whole]
	if from > 0 { // the first line is cut
		text = text[bytes.IndexByte(text, '\n')+1:]
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	lines = lines[:len(lines)-1]
	return t.show(lines[max(len(lines)-last, 0):])
}

// more shows the whole lines that were added.
func (t *tail) more() error {
	text, err := io.ReadAll(io.NewSectionReader(t.file, t.at, tailBytes))
	if err != nil {
		return err
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	t.at += int64(len(text))
	lines := bytes.SplitAfter(text, []byte("\n"))
	return t.show(lines[:len(lines)-1])
}

func (t *tail) show(lines [][]byte) error {
	for _, line := range lines {
		record, err := decode(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil {
			return fmt.Errorf("a line is no audit record: %w", err)
		}
		if t.own = t.visit(record); t.own != nil {
			return t.own
		}
	}
	return nil
}
