package pgdocs_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/datastore/datastoretest"
	"github.com/hexdag/hexdag/host/ports/datastore/driver"
	"github.com/hexdag/hexdag/host/ports/datastore/pgdocs"
	"github.com/hexdag/hexdag/host/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	_, url := testserver.Postgres(t)
	var tables atomic.Int64
	datastoretest.Run(t, func(t *testing.T) driver.Store {
		s, err := pgdocs.Open(t.Context(), pgdocs.Config{URL: url, Table: fmt.Sprintf("docs_%d", tables.Add(1))})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestConfig(t *testing.T) {
	for _, c := range []pgdocs.Config{{}, {URL: "postgres://u:secret@[::1"}, {URL: "postgres://h/d", Table: "a; DROP TABLE x"}} {
		_, err := pgdocs.Open(t.Context(), c)
		if kernel.CodeOf(err) != kernel.CodeConfig || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := pgdocs.Open(t.Context(), pgdocs.Config{URL: "postgres://u:secret@127.0.0.1:1/d?connect_timeout=2"}); kernel.CodeOf(err) != kernel.CodeUnavailable {
		t.Errorf("nobody there: %v", err)
	}
}
