package auditlog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/hexdag/hexdag/host/kernel"
)

// TestTornTail cuts a log at every byte behind its checkpoint, and its hashes
// elsewhere, as a machine that lost power may leave them.
func TestTornTail(t *testing.T) {
	base := t.TempDir()
	opts := Options{KeyFile: filepath.Join(base, "key"), SyncEvery: time.Hour}
	dir := filepath.Join(base, "log")
	signed := appendRecords(t, dir, opts, 3)
	oldCheckpoint, oldLength := read(t, dir, checkpointFile), len(signed)
	all := appendRecords(t, dir, opts, 2)
	hashes := read(t, dir, hashesFile)

	for cut := oldLength; cut <= len(all); cut++ {
		records := int64(3 + cut%3)
		write(t, dir, checkpointFile, oldCheckpoint)
		write(t, dir, recordsFile, all[:cut])
		write(t, dir, hashesFile, hashes[:tlog.StoredHashCount(records)*tlog.HashSize])
		appendRecords(t, dir, opts, 0)
		report, err := Verify(t.Context(), dir, VerifyOptions{})
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		whole := int64(strings.Count(string(all[:cut]), "\n"))
		recoveries := int64(1)
		if cut == oldLength && records == 3 {
			recoveries = 0
		}
		if report.Kinds["call"] != whole || report.Kinds["log"] != recoveries {
			t.Fatalf("cut at %d with %d hashes: %d records kept of %d, %d recoveries", cut, records, report.Kinds["call"], whole, report.Kinds["log"])
		}
	}
}

// TestJunkTail is about blocks of zeros, which some file systems leave behind the
// end of what was synced.
func TestJunkTail(t *testing.T) {
	base := t.TempDir()
	opts := Options{KeyFile: filepath.Join(base, "key"), SyncEvery: time.Hour}
	dir := filepath.Join(base, "log")
	whole := appendRecords(t, dir, opts, 3)
	write(t, dir, recordsFile, append(whole[:len(whole):len(whole)], make([]byte, 4096)...))
	write(t, dir, hashesFile, append(read(t, dir, hashesFile), make([]byte, 100)...))
	appendRecords(t, dir, opts, 1)
	if _, err := Verify(t.Context(), dir, VerifyOptions{}); err != nil {
		t.Fatal(err)
	}
	got := string(read(t, dir, recordsFile))
	if !strings.HasPrefix(got, string(whole)) || !strings.Contains(got, "dropped 4096 bytes") || strings.Contains(got, "\x00") {
		t.Errorf("%q", got)
	}
}

func appendRecords(t *testing.T, dir string, opts Options, n int) []byte {
	t.Helper()
	l, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if err := l.Audit(context.Background(), &kernel.AuditRecord{Kind: "call", Action: "a"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return read(t, dir, recordsFile)
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// failing is a file whose disk gives up at one of its operations.
type failing struct {
	file
	write, sync, truncate error
}

func (f failing) Write(p []byte) (int, error) {
	if f.write != nil {
		n, _ := f.file.Write(p[:len(p)/2]) // a short write
		return n, f.write
	}
	return f.file.Write(p)
}

func (f failing) Sync() error { return errors.Join(f.sync, f.file.Sync()) }

func (f failing) Truncate(size int64) error {
	if f.truncate != nil {
		return f.truncate
	}
	return f.file.Truncate(size)
}

// TestFailingDisk lets each operation fail under a running log: what was
// acknowledged before is there after the next Open, nothing is acknowledged
// after, and Close says why.
func TestFailingDisk(t *testing.T) {
	broken := errors.New("the disk is broken")
	breakHashes := func(l *Log) { l.hashes = failing{file: l.hashes, write: broken} }
	for name, c := range map[string]struct {
		breakIt func(*Log)
		every   time.Duration // that the log seals
	}{
		"write":                  {func(l *Log) { l.records = failing{file: l.records, write: broken} }, time.Millisecond},
		"write and truncate":     {func(l *Log) { l.records = failing{file: l.records, write: broken, truncate: broken} }, time.Millisecond},
		"sync of records":        {func(l *Log) { l.records = failing{file: l.records, sync: broken} }, time.Millisecond},
		"sync of hashes":         {func(l *Log) { l.hashes = failing{file: l.hashes, sync: broken} }, time.Millisecond},
		"write of hashes":        {breakHashes, time.Millisecond},
		"hashes in Audit itself": {breakHashes, time.Hour}, // when its buffer is full, before anything is sealed
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			opts := Options{KeyFile: filepath.Join(base, "key"), SyncEvery: c.every}
			dir := filepath.Join(base, "log")
			l, err := Open(dir, opts)
			if err != nil {
				t.Fatal(err)
			}
			c.breakIt(l) // nothing is pending, so the sealing goroutine looks at no file yet
			acknowledged := int64(0)
			deadline := time.Now().Add(10 * time.Second)
			for err == nil && time.Now().Before(deadline) {
				if err = l.Audit(context.Background(), &kernel.AuditRecord{Kind: "call", Action: "a"}); err == nil {
					acknowledged++
				}
			}
			if kernel.CodeOf(err) != kernel.CodeAudit || !errors.Is(err, broken) {
				t.Fatalf("Audit: %v", err)
			}
			if err := l.Audit(context.Background(), &kernel.AuditRecord{Kind: "call", Action: "b"}); !errors.Is(err, broken) {
				t.Fatalf("Audit after the failure: %v", err)
			}
			if err := l.Close(); !errors.Is(err, broken) {
				t.Fatalf("Close: %v", err)
			}
			l, err = Open(dir, opts)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			report, err := Verify(t.Context(), dir, VerifyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if report.Kinds["call"] != acknowledged {
				t.Errorf("%d records, %d acknowledged", report.Kinds["call"], acknowledged)
			}
		})
	}
}

// TestForeignLine is about a line that is covered, but that no Audit wrote.
func TestForeignLine(t *testing.T) {
	base := t.TempDir()
	opts := Options{KeyFile: filepath.Join(base, "key"), SyncEvery: time.Hour}
	for i, line := range []string{"{}", `{"time":"2026-01-02T03:04:05Z","kind":"call","action":"a","more":1}`, `{"time":"now","kind":"call","action":"a"}`} {
		l, err := Open(filepath.Join(base, strconv.Itoa(i)), opts)
		if err != nil {
			t.Fatal(err)
		}
		l.mu.Lock()
		err = l.append([]byte(line + "\n"))
		l.mu.Unlock()
		if err := errors.Join(err, l.Close()); err != nil {
			t.Fatal(err)
		}
		_, err = Verify(t.Context(), l.dir.name, VerifyOptions{})
		var e *kernel.Error
		if !errors.As(err, &e) || e.Code != kernel.CodeAuditTampered || e.Where.Line != 1 {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// TestFrontier compares the tree with tlog's own computation over all hashes.
func TestFrontier(t *testing.T) {
	var tree frontier
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			hashes[i] = stored[index]
		}
		return hashes, nil
	})
	for n := range int64(300) {
		want, err := tlog.TreeHash(n, reader)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tree.root(); err != nil || got != want {
			t.Fatalf("root of %d: %v, %v; want %v", n, got, err, want)
		}
		hashes, err := tree.append(tlog.RecordHash([]byte{byte(n), byte(n >> 8)}))
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		if int64(len(stored)) != tlog.StoredHashCount(n+1) {
			t.Fatalf("%d hashes for %d records", len(stored), n+1)
		}
	}
}
