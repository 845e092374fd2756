package postgreslock_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
	"github.com/hexdag/hexdag/host/ports/lock/locktest"
	"github.com/hexdag/hexdag/host/ports/lock/postgreslock"
	"github.com/hexdag/hexdag/host/testserver"
)

func TestMain(m *testing.M) {
	locktest.Holder(func(ctx context.Context, url string) (driver.Store, error) {
		return postgreslock.Open(ctx, postgreslock.Config{URL: url})
	})
	goleak.VerifyTestMain(m)
}

func open(t *testing.T, c postgreslock.Config) driver.Store {
	t.Helper()
	s, err := postgreslock.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	_, url := testserver.Postgres(t)
	locktest.Readme(t, "`postgres`", open(t, postgreslock.Config{URL: url}).Promises())
	var tables atomic.Int64
	locktest.Run(t, func(*testing.T) locktest.Harness {
		table := fmt.Sprintf("locks_%d", tables.Add(1))
		return func(t *testing.T) driver.Store { return open(t, postgreslock.Config{URL: url, Table: table}) }
	})
}

func TestKilledHolder(t *testing.T) {
	_, url := testserver.Postgres(t)
	locktest.Killed(t, url, time.Second, true, func(t *testing.T) driver.Store {
		return open(t, postgreslock.Config{URL: url})
	})
}

func TestConfig(t *testing.T) {
	for _, c := range []postgreslock.Config{{}, {URL: "postgres://u:secret@[::1"}, {URL: "postgres://h/d", Table: "a; DROP TABLE x"}} {
		_, err := postgreslock.Open(t.Context(), c)
		if kernel.CodeOf(err) != kernel.CodeConfig {
			t.Errorf("%+v: %v", c, err)
		}
	}
	_, err := postgreslock.Open(t.Context(), postgreslock.Config{URL: "postgres://u:secret@127.0.0.1:1/d?connect_timeout=2"})
	if kernel.CodeOf(err) != kernel.CodeUnavailable {
		t.Errorf("nobody there: %v", err)
	}
}
