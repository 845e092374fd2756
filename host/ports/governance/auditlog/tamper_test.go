package auditlog_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/auditlog"
)

// wantTampered checks that err says where and what: a file, a record, a word.
func wantTampered(t *testing.T, err error, file string, line int, what string) {
	t.Helper()
	var e *kernel.Error
	if !errors.As(err, &e) || e.Code != kernel.CodeAuditTampered {
		t.Fatalf("got %v, want tampering", err)
	}
	if filepath.Base(e.Where.File) != file || e.Where.Line != line || !strings.Contains(e.What, what) {
		t.Errorf("got %v\nwant %s:%d: ... %s", err, file, line, what)
	}
	if e.Why == "" || e.Fix == "" {
		t.Errorf("no why or no fix: %+v", e)
	}
}

// TestTampering changes a closed log of 13 records in every way and expects both
// Verify and Open to find it.
func TestTampering(t *testing.T) {
	const records, n = "records.jsonl", 13
	edit := func(f func(lines []string) []string) func(*testing.T, site) {
		return func(t *testing.T, s site) { s.setLines(t, f(s.lines(t))) }
	}
	cases := []struct {
		name   string
		change func(*testing.T, site)
		file   string
		line   int
		what   string
		opens  bool // Open takes it for a crash, and records that
	}{
		{name: "first record edited", change: edit(func(l []string) []string {
			l[0] = strings.Replace(l[0], "allow", "deny", 1)
			return l
		}), file: records, line: 1, what: "edited"},
		{name: "record edited", change: edit(func(l []string) []string {
			l[6] = strings.Replace(l[6], "ann", "bob", 1)
			return l
		}), file: records, line: 7, what: "edited"},
		{name: "record replaced by junk", change: edit(func(l []string) []string {
			l[6] = strings.Repeat("x", 3<<20) + "\n"
			return l
		}), file: records, line: 7, what: "edited"},
		{name: "last record edited", change: edit(func(l []string) []string {
			l[n-1] = strings.Replace(l[n-1], "ann", "bob", 1)
			return l
		}), file: records, line: n, what: "edited"},
		{name: "a space added", change: edit(func(l []string) []string {
			l[2] = " " + l[2]
			return l
		}), file: records, line: 3, what: "edited"},
		{name: "record deleted", change: edit(func(l []string) []string { return slices.Delete(l, 4, 5) }),
			file: records, line: 5, what: "deleted"},
		{name: "records deleted", change: edit(func(l []string) []string { return slices.Delete(l, 4, 9) }),
			file: records, line: 5, what: "deleted"},
		{name: "neighbours swapped", change: edit(func(l []string) []string {
			l[3], l[4] = l[4], l[3]
			return l
		}), file: records, line: 4, what: "reordered"},
		{name: "far records swapped", change: edit(func(l []string) []string {
			l[1], l[9] = l[9], l[1]
			return l
		}), file: records, line: 2, what: "reordered"},
		{name: "record inserted", change: edit(func(l []string) []string {
			return slices.Insert(l, 8, strings.Replace(l[0], "orders", "refunds", 1))
		}), file: records, line: 9, what: "inserted"},
		{name: "record duplicated", change: edit(func(l []string) []string { return slices.Insert(l, 8, l[0]) }),
			file: records, line: 9, what: "inserted"},
		{name: "tail cut", change: edit(func(l []string) []string { return l[:n-2] }),
			file: records, line: n - 1, what: "cut off"},
		{name: "cut within the last record", change: func(t *testing.T, s site) {
			data := s.get(t, records)
			s.put(t, records, data[:len(data)-9])
		}, file: records, line: n, what: "cut off"},
		{name: "emptied", change: edit(func([]string) []string { return nil }),
			file: records, line: 1, what: "cut off"},
		{name: "record appended", change: edit(func(l []string) []string {
			return append(l[:n-1], l[n-1]+"\n", l[0])
		}), file: records, line: n + 1, what: "no checkpoint covers", opens: true},
		{name: "half a record appended", change: edit(func(l []string) []string {
			return append(l[:n-1], l[n-1]+"\n", l[0][:20])
		}), file: records, line: n + 1, what: "no checkpoint covers", opens: true},
		{name: "records file removed", change: remove(records), file: records, what: "missing"},
		{name: "hashes file removed", change: remove("hashes"), file: "hashes", what: "missing"},
		{name: "verifier removed", change: remove("verifier"), file: "verifier", what: "missing"},
		{name: "checkpoint removed", change: remove("checkpoint"), file: "checkpoint", what: "missing"},
		{name: "leaf hash changed", change: flip("hashes", tlog.StoredHashIndex(0, 5)*tlog.HashSize), file: "hashes", what: "hashes were changed"},
		{name: "inner hash changed", change: flip("hashes", tlog.StoredHashIndex(1, 2)*tlog.HashSize), file: "hashes", what: "hashes were changed"},
		{name: "hashes cut", change: func(t *testing.T, s site) { s.put(t, "hashes", s.get(t, "hashes")[:100]) },
			file: "hashes", what: "hashes were changed"},
		{name: "hashes added", change: func(t *testing.T, s site) {
			s.put(t, "hashes", append(s.get(t, "hashes"), make([]byte, 64)...))
		}, file: "hashes", what: "not there", opens: true},
		{name: "records and hashes rewritten", change: rewriteBoth, file: records, line: 1, what: "rewritten"},
		{name: "record edited and hash changed", change: func(t *testing.T, s site) {
			edit(func(l []string) []string { l[6] = l[5]; return l })(t, s)
			flip("hashes", tlog.StoredHashIndex(0, 9)*tlog.HashSize)(t, s)
		}, file: records, line: 7, what: "records and their hashes"},
		{name: "size in the checkpoint changed", change: func(t *testing.T, s site) {
			s.put(t, "checkpoint", bytes.Replace(s.get(t, "checkpoint"), []byte("\n13\n"), []byte("\n12\n"), 1))
		}, file: "checkpoint", what: "changed"},
		{name: "checkpoint of another log with the same key", change: func(t *testing.T, s site) {
			other := newSite(t)
			other.key = s.key
			other.write(t, 1, n)
			s.put(t, "checkpoint", other.get(t, "checkpoint"))
		}, file: records, line: 1, what: "rewritten"},
		{name: "checkpoint signed with another key", change: func(t *testing.T, s site) {
			other := newSite(t)
			other.write(t, 1, n)
			s.put(t, "checkpoint", other.get(t, "checkpoint"))
		}, file: "checkpoint", what: "another key"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.write(t, 1, n)
			c.change(t, s)
			_, err := auditlog.Verify(t.Context(), s.dir, auditlog.VerifyOptions{})
			wantTampered(t, err, c.file, c.line, c.what)
			l, err := auditlog.Open(s.dir, s.options())
			if !c.opens {
				wantTampered(t, err, c.file, c.line, c.what)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			wantRecovery(t, s)
		})
	}
}

// wantRecovery checks that the log is whole again and ends by saying what was found.
func wantRecovery(t *testing.T, s site) {
	t.Helper()
	if got := s.verify(t, auditlog.VerifyOptions{}); got.Kinds["log"] != 1 {
		t.Errorf("%d records of a recovery", got.Kinds["log"])
	}
	lines := s.lines(t)
	if last := lines[len(lines)-1]; !strings.Contains(last, "audit.recover") {
		t.Errorf("the last record is %s", last)
	}
}

func remove(name string) func(*testing.T, site) {
	return func(t *testing.T, s site) {
		if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func flip(name string, offset int64) func(*testing.T, site) {
	return func(t *testing.T, s site) {
		data := s.get(t, name)
		data[offset] ^= 1
		s.put(t, name, data)
	}
}

// rewriteBoth edits a record and makes the stored hashes fit, as one would who
// lacks only the key.
func rewriteBoth(t *testing.T, s site) {
	lines := s.lines(t)
	lines[4] = strings.Replace(lines[4], "ann", "bob", 1)
	s.setLines(t, lines)
	s.put(t, "hashes", storedHashes(t, lines))
}

// storedHashes computes the file of hashes with tlog alone.
func storedHashes(t *testing.T, lines []string) []byte {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var hashes []tlog.Hash
		for _, i := range indexes {
			hashes = append(hashes, stored[i])
		}
		return hashes, nil
	})
	var data []byte
	for n, line := range lines {
		hashes, err := tlog.StoredHashes(int64(n), []byte(strings.TrimSuffix(line, "\n")), reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
	}
	for _, h := range stored {
		data = append(data, h[:]...)
	}
	return data
}

func TestStoredHashesAreTlogs(t *testing.T) {
	s := newSite(t)
	s.write(t, 1, 100)
	if !bytes.Equal(s.get(t, "hashes"), storedHashes(t, s.lines(t))) {
		t.Error("the file of hashes is not what tlog computes from the records")
	}
}

func TestKnownCheckpoint(t *testing.T) {
	s := newSite(t)
	s.write(t, 1, 5)
	known := s.get(t, "checkpoint")
	s.write(t, 6, 9)
	s.verify(t, auditlog.VerifyOptions{Known: known})
	later := s.get(t, "checkpoint")
	s.verify(t, auditlog.VerifyOptions{Known: later}) // the log itself

	t.Run("rolled back", func(t *testing.T) {
		old := newSite(t)
		old.key = s.key
		s.copyTo(t, old)
		old.put(t, "checkpoint", known)
		old.setLines(t, old.lines(t)[:5])
		old.put(t, "hashes", old.get(t, "hashes")[:tlog.StoredHashCount(5)*tlog.HashSize])
		old.verify(t, auditlog.VerifyOptions{}) // alone it is a whole log
		_, err := auditlog.Verify(t.Context(), old.dir, auditlog.VerifyOptions{Known: later})
		wantTampered(t, err, "records.jsonl", 6, "rolled back")
	})
	t.Run("only the checkpoint rolled back", func(t *testing.T) {
		old := newSite(t)
		old.key = s.key
		s.copyTo(t, old)
		old.put(t, "checkpoint", known)
		_, err := auditlog.Verify(t.Context(), old.dir, auditlog.VerifyOptions{})
		wantTampered(t, err, "records.jsonl", 6, "no checkpoint covers")
	})
	for name, last := range map[string]int{"forked with the right key": 69, "forked to the same size": 63} {
		t.Run(name, func(t *testing.T) {
			fork := newSite(t)
			fork.key = s.key
			s.copyTo(t, fork)
			fork.put(t, "checkpoint", known)
			fork.setLines(t, fork.lines(t)[:5])
			fork.put(t, "hashes", fork.get(t, "hashes")[:tlog.StoredHashCount(5)*tlog.HashSize])
			fork.write(t, 60, last)
			if got := fork.verify(t, auditlog.VerifyOptions{Known: known}).Records; got != int64(5+last-59) {
				t.Errorf("the fork has %d records", got)
			}
			_, err := auditlog.Verify(t.Context(), fork.dir, auditlog.VerifyOptions{Known: later})
			wantTampered(t, err, "records.jsonl", 1, "not the one of the known checkpoint")
		})
	}
	t.Run("another log", func(t *testing.T) {
		other := newSite(t)
		other.key = s.key
		other.write(t, 1, 9)
		_, err := auditlog.Verify(t.Context(), other.dir, auditlog.VerifyOptions{Known: known})
		wantTampered(t, err, "checkpoint", 0, "another log")
	})
	t.Run("not a checkpoint", func(t *testing.T) {
		_, err := auditlog.Verify(t.Context(), s.dir, auditlog.VerifyOptions{Known: []byte("hello\n")})
		if kernel.CodeOf(err) != kernel.CodeConfig {
			t.Error(err)
		}
	})
}

func (s site) copyTo(t *testing.T, to site) {
	t.Helper()
	if err := os.CopyFS(to.dir, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
}

func TestGivenKey(t *testing.T) {
	s, other := newSite(t), newSite(t)
	s.write(t, 1, 3)
	other.write(t, 1, 3)
	key := string(bytes.TrimSpace(s.get(t, "verifier")))

	// Someone rewrites the whole log with a key of their own: only the given key tells.
	other.verify(t, auditlog.VerifyOptions{})
	_, err := auditlog.Verify(t.Context(), other.dir, auditlog.VerifyOptions{VerifierKey: key})
	wantTampered(t, err, "checkpoint", 0, "another key")

	if _, err := auditlog.Verify(t.Context(), s.dir, auditlog.VerifyOptions{VerifierKey: "nonsense"}); kernel.CodeOf(err) != kernel.CodeConfig {
		t.Error(err)
	}
}
