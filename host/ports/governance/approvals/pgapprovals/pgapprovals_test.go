package pgapprovals_test

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/approvals/driver"
	"github.com/hexdag/hexdag/host/ports/governance/approvals/pgapprovals"
	"github.com/hexdag/hexdag/host/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConfig(t *testing.T) {
	for _, c := range []pgapprovals.Config{{}, {URL: "postgres://u:secret@[::1"}, {URL: "postgres://h/d", Table: "a; DROP TABLE x"}} {
		_, err := pgapprovals.Open(t.Context(), c)
		if kernel.CodeOf(err) != kernel.CodeConfig || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := pgapprovals.Open(t.Context(), pgapprovals.Config{URL: "postgres://u:secret@127.0.0.1:1/d?connect_timeout=2"}); kernel.CodeOf(err) != kernel.CodeUnavailable {
		t.Errorf("nobody there: %v", err)
	}
}

// Once the server is away, every change says so, and once it is back, all is there.
func TestServerAway(t *testing.T) {
	server, url := testserver.Postgres(t)
	r, err := pgapprovals.Open(t.Context(), pgapprovals.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	add := func(id string) error {
		return r.Change(t.Context(), func(tx driver.Tx) error {
			return tx.Insert(t.Context(), &driver.Record{ID: id, Bound: id, State: driver.Pending, Requested: tx.Now(), Expires: tx.Now(), Document: []byte("{}")})
		})
	}
	if err := add("a"); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if err := add("b"); kernel.CodeOf(err) != kernel.CodeUnavailable && kernel.CodeOf(err) != kernel.CodeRetry || !strings.Contains(err.Error(), "PostgreSQL") {
		t.Errorf("away: %v", err)
	}
	server.Restart()
	if err := r.Change(t.Context(), func(tx driver.Tx) error {
		all, err := tx.All(t.Context())
		if len(all) != 1 || all[0].ID != "a" {
			t.Errorf("%+v", all)
		}
		return err
	}); err != nil {
		t.Errorf("back: %v", err)
	}
}
