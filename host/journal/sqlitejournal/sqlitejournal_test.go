package sqlitejournal_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/journal/journaltest"
	"github.com/hexdag/hexdag/host/journal/sqlitejournal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testserver"
)

func TestMain(m *testing.M) {
	journaltest.Worker(func(ctx context.Context, path string) (driver.Store, error) {
		return sqlitejournal.Open(ctx, sqlitejournal.Config{Path: path}, "worker")
	})
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, path, host string) *sqlitejournal.Store {
	t.Helper()
	s, err := sqlitejournal.Open(t.Context(), sqlitejournal.Config{Path: path}, host)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	journaltest.Backend{New: func(t *testing.T) journaltest.Harness {
		path := filepath.Join(t.TempDir(), "journal.db")
		return func(t *testing.T, host string) driver.Store { return open(t, path, host) }
	}}.Run(t)
}

func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	journaltest.Killed(t, path, func(t *testing.T) driver.Store { return open(t, path, "test") })
}

// A second process that would work on runs is refused; one that looks is not, and clears up what nobody works on.
func TestOwnerAndVisitor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	config := sqlitejournal.Config{Path: path}
	if _, err := sqlitejournal.Visit(t.Context(), config); kernel.CodeOf(err) != kernel.CodeNotFound || !strings.Contains(err.Error(), "there is no journal") {
		t.Error("before there is a file:", err)
	}
	owner := open(t, path, "host")
	defer owner.Close()
	_, err := sqlitejournal.Open(t.Context(), config, "second")
	if kernel.CodeOf(err) != kernel.CodeUnavailable || !strings.Contains(err.Error(), "another process has the journal open") || !strings.Contains(err.Error(), "adapter postgres") {
		t.Error("a second process:", err)
	}
	visitor, err := sqlitejournal.Visit(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer visitor.Close()
	heads := map[string]*driver.Run{}
	for _, id := range []string{"runs", "ended", "old"} {
		heads[id] = &driver.Run{ID: id, Tenant: "acme"}
		if err := owner.Create(t.Context(), heads[id]); err != nil {
			t.Fatal(err)
		}
	}
	put := func(s driver.Store, id string, first uint64, status driver.Status) error {
		errs, err := s.Append(t.Context(), []driver.Chunk{{Tenant: "acme", Run: id, Epoch: 1, First: first, Count: 1, Data: []byte("x"), Status: status}})
		if err != nil {
			return err
		}
		return errs[0]
	}
	for id, status := range map[string]driver.Status{"runs": "", "ended": "completed", "old": "failed"} {
		if err := put(owner, id, 1, status); err != nil {
			t.Fatal(err)
		}
	}
	for name, err := range map[string]error{
		"Create": visitor.Create(t.Context(), &driver.Run{ID: "x"}), "Append": put(visitor, "runs", 2, ""), "Truncate": visitor.Truncate(t.Context(), "acme", "runs", 1, 1),
	} {
		if kernel.CodeOf(err) != kernel.CodeUnavailable {
			t.Errorf("%s of a visitor: %v", name, err)
		}
	}
	if err := visitor.Delete(t.Context(), "acme", "runs"); !errors.As(err, new(*driver.Taken)) {
		t.Error("removed what the owner works on:", err)
	}
	if err := visitor.Delete(t.Context(), "acme", "old"); err != nil {
		t.Error(err)
	}
	if err := visitor.Rewrite(t.Context(), "acme", "ended", []driver.Chunk{{First: 1, Count: 1, Epoch: 1, Data: []byte("y")}}); err != nil {
		t.Error(err)
	}
	// The owner sees what the other did, and goes on.
	if err := put(owner, "runs", 2, ""); err != nil {
		t.Error(err)
	}
	if err := put(owner, "old", 2, ""); !errors.Is(err, driver.ErrNotFound) {
		t.Error(err)
	}
	if head, err := owner.Get(t.Context(), "acme", "runs"); err != nil || head.Entries != 2 || head.Free {
		t.Errorf("%+v %v", head, err)
	}
	if head, err := visitor.Get(t.Context(), "acme", "runs"); err != nil || head.Free {
		t.Errorf("%+v %v", head, err)
	}
	if err := owner.Close(); err != nil {
		t.Fatal(err)
	}
	if head, err := visitor.Get(t.Context(), "acme", "runs"); err != nil || !head.Free || head.Entries != 2 {
		t.Errorf("after its owner has gone: %+v %v", head, err)
	}
}

// What was redacted, or removed, is in none of the files.
func TestOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	s := open(t, path, "host")
	defer s.Close()
	secret := []byte("correct horse battery staple")
	for _, id := range []string{"rewritten", "removed"} {
		head := &driver.Run{ID: id, Tenant: "acme"}
		if err := s.Create(t.Context(), head); err != nil {
			t.Fatal(err)
		}
		c := driver.Chunk{Tenant: "acme", Run: id, Epoch: 1, First: 1, Count: 1, Data: bytes.Repeat(secret, 1000), Status: "completed"}
		if errs, err := s.Append(t.Context(), []driver.Chunk{c}); err != nil || errs[0] != nil {
			t.Fatal(errs, err)
		}
	}
	found := func() (n int) {
		for _, suffix := range []string{"", "-wal"} {
			text, err := os.ReadFile(path + suffix)
			if err != nil {
				t.Fatal(err)
			}
			n += bytes.Count(text, secret)
		}
		return n
	}
	if found() < 2000 {
		t.Error("the secret is not where this test looks for it")
	}
	err := errors.Join(s.Rewrite(t.Context(), "acme", "rewritten", []driver.Chunk{{First: 1, Count: 1, Epoch: 1, Data: []byte("y")}}),
		s.Delete(t.Context(), "acme", "removed"), s.Compact(t.Context()))
	if n := found(); err != nil || n > 0 {
		t.Errorf("the secret is there %d times: %v", n, err)
	}
}

func TestNotAJournal(t *testing.T) {
	dir := t.TempDir()
	newer, other := filepath.Join(dir, "newer.db"), filepath.Join(dir, "other.db")
	for path, statement := range map[string]string{newer: "PRAGMA application_id = 0x68786a03", other: "CREATE TABLE x (y)"} {
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(statement + "; CREATE TABLE z (y)"); err != nil {
			t.Fatal(err)
		}
		db.Close()
	}
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, bytes.Repeat([]byte("no database"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct {
		code kernel.Code
		text string
	}{
		newer: {kernel.CodeJournal, "written by a newer version"}, other: {kernel.CodeConfig, "something else"}, text: {kernel.CodeUnavailable, "the journal's file cannot be used"},
		"": {kernel.CodeConfig, "path is missing"}, filepath.Join(dir, "none", "x"): {kernel.CodeConfig, "no such file"},
	} {
		_, err := sqlitejournal.Open(t.Context(), sqlitejournal.Config{Path: path}, "host")
		if kernel.CodeOf(err) != want.code || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A file with damaged pages is read as far as it can be.
func TestDamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	s := open(t, path, "host")
	head := &driver.Run{ID: "r", Tenant: "acme"}
	if err := s.Create(t.Context(), head); err != nil {
		t.Fatal(err)
	}
	w := journal.NewWriter(s, journal.WriterOptions{})
	r := w.Run(head, 1)
	for range 500 {
		r.Append(journal.Entry{Kind: journal.Draw, Body: []byte(rand.Text() + strings.Repeat(rand.Text(), 100))})
		if err := r.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(r.Close(t.Context(), "completed"), w.Close(t.Context()), s.Compact(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	torn := 0
	for _, at := range []int{len(file) / 4, len(file) / 2, len(file) * 3 / 4, len(file) - 5000} {
		damaged := bytes.Clone(file)
		copy(damaged[at:], bytes.Repeat([]byte{0xa5}, 4096))
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, path, "host")
		j, err := journal.Read(t.Context(), s, "acme", "r")
		if err != nil {
			t.Fatal(at, err)
		}
		entries, err := j.All(t.Context())
		if err != nil {
			t.Errorf("byte %d: %v", at, err)
		}
		if j.Torn != nil {
			torn++
			if j.Torn.At != uint64(len(entries)+1) || j.Torn.Why == "" || j.Torn.Entries != 500-uint64(len(entries)) {
				t.Errorf("byte %d: %d entries, %v", at, len(entries), j.Torn)
			}
		} else if len(entries) != 500 {
			t.Errorf("byte %d: %d entries, and nothing said of the others", at, len(entries))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if torn == 0 {
		t.Error("no damage was seen")
	}
}

// On a full disk runs end, closed; once there is room, others go on, and what was durable is there.
func TestDiskFull(t *testing.T) {
	dir := testserver.SmallDisk(t, 8<<20)
	s := open(t, filepath.Join(dir, "journal.db"), "host")
	defer s.Close()
	w := journal.NewWriter(s, journal.WriterOptions{Patience: 3 * time.Second})
	defer w.Close(context.Background())
	fill := func(id string, size int) (durable uint64, err error) {
		head := &driver.Run{ID: id, Tenant: "acme"}
		if err := s.Create(t.Context(), head); err != nil {
			t.Fatal(err)
		}
		r := w.Run(head, 1)
		for range 64 {
			body := make([]byte, size)
			if _, err := rand.Read(body); err != nil {
				t.Fatal(err)
			}
			seq := r.Append(journal.Entry{Kind: journal.Draw, Body: body})
			if err := r.Sync(t.Context()); err != nil {
				return durable, err
			}
			durable = seq
		}
		return durable, r.Close(t.Context(), "completed")
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	durable, err := fill("first", 256<<10)
	if kernel.CodeOf(err) != kernel.CodeUnavailable || !strings.Contains(err.Error(), "the run's journal cannot be written") || !strings.Contains(err.Error(), "make room on the disk") {
		t.Fatal(err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if n, err := fill("second", 1<<10); n != 64 || err != nil {
		t.Error("once there is room:", n, err)
	}
	for id, want := range map[string]uint64{"first": durable, "second": 64} {
		j, err := journal.Read(t.Context(), s, "acme", id)
		if err != nil {
			t.Fatal(err)
		}
		if entries, err := j.All(t.Context()); err != nil || j.Torn != nil || uint64(len(entries)) != want {
			t.Errorf("%s: %d entries of %d, %v: %v", id, len(entries), want, j.Torn, err)
		}
	}
}

// Room is given back, however much it is.
func TestCompact(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	s := open(t, path, "host")
	defer s.Close()
	size := func() int64 {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	empty := size()
	for n := range 4 {
		c := driver.Chunk{Tenant: "acme", Run: string(rune('a' + n)), Epoch: 1, First: 1, Count: 1, Data: make([]byte, 8<<20), Status: "completed"}
		if err := s.Create(t.Context(), &driver.Run{ID: c.Run, Tenant: "acme"}); err != nil {
			t.Fatal(err)
		}
		if errs, err := s.Append(t.Context(), []driver.Chunk{c}); err != nil || errs[0] != nil {
			t.Fatal(errs, err)
		}
	}
	if err := s.Compact(t.Context()); err != nil || size() < 32<<20 {
		t.Fatal(size(), err)
	}
	for n := range 4 {
		if err := s.Delete(t.Context(), "acme", string(rune('a'+n))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Compact(t.Context()); err != nil || size() > empty {
		t.Errorf("%d bytes are left, and %d were there at first: %v", size(), empty, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{"Compact": s.Compact(t.Context()), "PutBlob": s.PutBlob(t.Context(), "acme", "x", nil)} {
		if kernel.CodeOf(err) != kernel.CodeUnavailable || !strings.Contains(err.Error(), "is closed") {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
}

// A file of the first version becomes one of this, by whoever opens it, and has what it had.
func TestFirstVersion(t *testing.T) {
	for name, first := range map[string]func(path string) (*sqlitejournal.Store, error){
		"host": func(path string) (*sqlitejournal.Store, error) {
			return sqlitejournal.Open(t.Context(), sqlitejournal.Config{Path: path}, "new")
		},
		"visitor": func(path string) (*sqlitejournal.Store, error) {
			return sqlitejournal.Visit(t.Context(), sqlitejournal.Config{Path: path})
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal.db")
			s, err := sqlitejournal.Open(t.Context(), sqlitejournal.Config{Path: path}, "old")
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Create(t.Context(), &driver.Run{Tenant: "acme", ID: "r"}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Append(t.Context(), []driver.Chunk{{Tenant: "acme", Run: "r", Epoch: 1, First: 1, Count: 1, Data: []byte("one"), Status: driver.Suspended}}); err != nil {
				t.Fatal(err)
			}
			s.Close()
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.Exec(`DROP TABLE waits; DROP INDEX runs_suspended; DROP INDEX runs_until; ALTER TABLE runs DROP COLUMN until; ALTER TABLE runs DROP COLUMN waits;
				PRAGMA application_id = 0x68786a01`); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				s, err := first(path)
				if err != nil {
					t.Fatal(err)
				}
				list, err := s.Runs(t.Context(), "acme", driver.Query{Status: driver.Suspended})
				if err != nil || len(list) != 1 || list[0].ID != "r" || list[0].Entries != 1 || list[0].Waits != nil {
					t.Errorf("%+v %v", list, err)
				}
				s.Close()
			}
			s, err = sqlitejournal.Open(t.Context(), sqlitejournal.Config{Path: path}, "new")
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if _, err := s.Wake(t.Context(), "acme", "r", 1); err != nil {
				t.Fatal(err)
			}
			c := driver.Chunk{Tenant: "acme", Run: "r", Epoch: 2, First: 2, Status: driver.Suspended, Waits: &driver.Waits{Keys: []string{"k"}}}
			if errs, err := s.Append(t.Context(), []driver.Chunk{c}); err != nil || errs[0] != nil {
				t.Fatal(errs, err)
			}
			if list, err := s.Runs(t.Context(), "acme", driver.Query{Key: "k"}); err != nil || len(list) != 1 {
				t.Errorf("%+v %v", list, err)
			}
		})
	}
}
