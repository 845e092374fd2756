package sqlitestore_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/memory"
	"github.com/hexdag/hexdag/host/ports/memory/driver"
	"github.com/hexdag/hexdag/host/ports/memory/memorytest"
	"github.com/hexdag/hexdag/host/ports/memory/sqlitestore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, path string) driver.Store {
	t.Helper()
	s, err := sqlitestore.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	memorytest.Run(t, func(t *testing.T) driver.Store { return open(t, filepath.Join(t.TempDir(), "memory.db")) })
}

func TestOddPaths(t *testing.T) {
	for _, name := range []string{"a b.db", "a?mode=ro#x.db", "100%.db", "é.db"} {
		path := filepath.Join(t.TempDir(), name)
		s := open(t, path)
		if err := memory.New(s, memory.Options{}).Set(t.Context(), "acme", "k", true, 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() == 0 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// TestReopened: what was stored is there after a restart, and expires then.
func TestReopened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory.db")
	now := time.Now()
	opts := memory.Options{Now: func() time.Time { return now }}
	m := memory.New(open(t, path), opts)
	if err := m.Set(t.Context(), "acme", "a", "kept", 0); err != nil {
		t.Fatal(err)
	}
	if err := m.Set(t.Context(), "acme", "b", "for a minute", time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	m = memory.New(open(t, path), opts)
	defer m.Close()
	if keys, err := m.ListKeys(t.Context(), "acme", "", "", 10); err != nil || len(keys) != 1 || keys[0] != "a" {
		t.Errorf("%v, %v", keys, err)
	}
}

// TestPurged: expired entries leave the file in the course of a Put of anybody.
func TestPurged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory.db")
	s := open(t, path)
	defer s.Close()
	now := time.Now()
	opts := memory.Options{Now: func() time.Time { return now }}
	m := memory.New(s, opts)
	if err := m.Set(t.Context(), "acme", "b", "secret", time.Second); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	if err := m.Set(t.Context(), "bob", "x", 1, 0); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var entries, used int
	if err := db.QueryRow("SELECT (SELECT count(*) FROM entries), (SELECT count(*) FROM used)").Scan(&entries, &used); err != nil || entries != 1 || used != 1 {
		t.Errorf("%d entries and %d tenants are left, %v", entries, used, err)
	}
}

// TestTwoStores share a file, as two processes do: one swap wins, and each sees
// what the other stored.
func TestTwoStores(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory.db")
	var memories []*memory.Memory
	for range 2 {
		m := memory.New(open(t, path), memory.Options{})
		defer m.Close()
		memories = append(memories, m)
	}
	for round := range 20 {
		var won atomic.Int64
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				swapped, err := memories[i%2].Create(t.Context(), "acme", string(rune('a'+round)), kernel.Number(int64(i)), 0)
				if err != nil {
					t.Error(err)
				}
				if swapped {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d won", won.Load())
		}
	}
	if keys, err := memories[1].ListKeys(t.Context(), "acme", "", "", 100); err != nil || len(keys) != 20 {
		t.Errorf("%v, %v", keys, err)
	}
}

func TestOtherFiles(t *testing.T) {
	dir := t.TempDir()
	text, other := filepath.Join(dir, "text"), filepath.Join(dir, "other.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE orders (id TEXT)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct {
		code kernel.Code
		says string
	}{
		"":                                      {kernel.CodeConfig, "path is missing"},
		dir:                                     {kernel.CodeConfig, "is a directory"},
		filepath.Join(dir, "no", "such", "dir"): {kernel.CodeConfig, "no such file"},
		text:                                    {kernel.CodeUnavailable, "not a database"},
		other:                                   {kernel.CodeConfig, "is a database of something else"},
	} {
		s, err := sqlitestore.Open(t.Context(), path)
		if s != nil || kernel.CodeOf(err) != want.code || !strings.Contains(err.Error(), want.says) {
			t.Errorf("%q: %v (%s), want %s and %q", path, err, kernel.CodeOf(err), want.code, want.says)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	m := memory.New(open(b, filepath.Join(b.TempDir(), "memory.db")), memory.Options{})
	defer m.Close()
	for b.Loop() {
		if err := m.Set(b.Context(), "acme", "k", "v", 0); err != nil {
			b.Fatal(err)
		}
	}
}
