package sqlitejournal_test

import (
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/journal/journaltest"
	"github.com/hexdag/hexdag/host/journal/sqlitejournal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
