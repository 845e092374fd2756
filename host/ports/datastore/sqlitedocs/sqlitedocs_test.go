package sqlitedocs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/datastore"
	"github.com/hexdag/hexdag/host/ports/datastore/datastoretest"
	"github.com/hexdag/hexdag/host/ports/datastore/driver"
	"github.com/hexdag/hexdag/host/ports/datastore/sqlitedocs"
	"github.com/hexdag/hexdag/host/ports/memory/sqlitestore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, path string) driver.Store {
	t.Helper()
	s, err := sqlitedocs.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	datastoretest.Run(t, func(t *testing.T) driver.Store { return open(t, filepath.Join(t.TempDir(), "a ?b#%.db")) })
}

// TestReopened: what was saved is there after a restart, and for another process that has the file open.
func TestReopened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.db")
	first, second := datastore.New(open(t, path)), datastore.New(open(t, path))
	if done, err := first.Put(t.Context(), "acme", "c", driver.Document{Key: "k", Value: []byte("1"), Terms: []string{"x"}}, driver.Absent); !done || err != nil {
		t.Fatal(done, err)
	}
	if done, err := second.Put(t.Context(), "acme", "c", driver.Document{Key: "k"}, driver.Absent); done || err != nil {
		t.Errorf("twice: %v, %v", done, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	third := datastore.New(open(t, path))
	defer third.Close()
	if n, err := third.Count(t.Context(), "acme", "c", "x"); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "text"), []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := sqlitestore.Open(t.Context(), filepath.Join(dir, "memory.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct {
		code kernel.Code
		says string
	}{
		"":                               {kernel.CodeConfig, "path is missing"},
		filepath.Join(dir, "no", "d.db"): {kernel.CodeConfig, "no such file"},
		filepath.Join(dir, "text"):       {kernel.CodeUnavailable, "cannot be used"},
		filepath.Join(dir, "memory.db"):  {kernel.CodeConfig, "is a database of something else"},
	} {
		_, err := sqlitedocs.Open(t.Context(), path)
		if kernel.CodeOf(err) != want.code || !strings.Contains(fmt.Sprint(err), want.says) {
			t.Errorf("%q: %v", path, err)
		}
	}
}
