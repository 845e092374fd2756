package postgreslock_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/hexdag/hexdag/host/ports/lock/driver"
	"github.com/hexdag/hexdag/host/ports/lock/postgreslock"
	"github.com/hexdag/hexdag/host/testserver"
)

// A role that may make tables in its schema is enough, and where they are there, one that may use them.
func TestRoles(t *testing.T) {
	_, url := testserver.Postgres(t)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, statement := range []string{"CREATE ROLE owner LOGIN", "CREATE ROLE worker LOGIN", "GRANT CREATE, USAGE ON SCHEMA public TO owner", "GRANT USAGE ON SCHEMA public TO worker"} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(statement, err)
		}
	}
	as := func(role string) driver.Store {
		return open(t, postgreslock.Config{URL: strings.Replace(url, "hexdag@", role+"@", 1)})
	}
	request := &driver.Request{Key: driver.Key{Tenant: "acme", Name: "orders"}, TTL: 1e9, Permits: 1}
	if _, err := as("owner").Acquire(t.Context(), request); err != nil {
		t.Error(err)
	}
	if _, err := conn.Exec(t.Context(), "GRANT SELECT, INSERT, UPDATE, DELETE ON hexdag_locks TO worker; GRANT USAGE, SELECT ON SEQUENCE hexdag_locks_fence TO worker"); err != nil {
		t.Fatal(err)
	}
	other := *request
	other.Name = "other"
	if _, err := as("worker").Acquire(t.Context(), &other); err != nil {
		t.Error(err)
	}
}
