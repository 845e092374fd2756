package pgjournal_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/journal/journaltest"
	"github.com/hexdag/hexdag/host/journal/pgjournal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, c pgjournal.Config, host string) *pgjournal.Store {
	t.Helper()
	s, err := pgjournal.Open(t.Context(), c, host)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	_, url := testserver.Postgres(t)
	var tables atomic.Int64
	journaltest.Backend{Shared: true, New: func(*testing.T) journaltest.Harness {
		table := fmt.Sprintf("journal_%d", tables.Add(1))
		return func(t *testing.T, host string) driver.Store {
			return open(t, pgjournal.Config{URL: url, Table: table}, host)
		}
	}}.Run(t)
}

func TestConfig(t *testing.T) {
	for _, c := range []pgjournal.Config{
		{}, {URL: "postgres://u:secret@[::1"}, {URL: "postgres://h/d", Table: "a; DROP TABLE x"}, {URL: "postgres://h/d", TTL: 0.01}, {URL: "postgres://h/d", TTL: -1},
	} {
		if _, err := pgjournal.Open(t.Context(), c, "h"); kernel.CodeOf(err) != kernel.CodeConfig {
			t.Errorf("%+v: %v", c, err)
		}
	}
	_, err := pgjournal.Open(t.Context(), pgjournal.Config{URL: "postgres://u:secret@127.0.0.1:1/d?connect_timeout=2"}, "h")
	if kernel.CodeOf(err) != kernel.CodeUnavailable {
		t.Errorf("nobody there: %v", err)
	}
}
