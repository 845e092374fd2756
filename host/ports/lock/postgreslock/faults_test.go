package postgreslock_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/ports/lock/driver"
	"github.com/hexdag/hexdag/host/ports/lock/locktest"
	"github.com/hexdag/hexdag/host/ports/lock/postgreslock"
	"github.com/hexdag/hexdag/host/testserver"
)

// Killed and started again, paused, and cut off from some of its clients, the server gives the lock to one at a time.
func TestFaults(t *testing.T) {
	server, url := testserver.Postgres(t)
	proxy := testserver.NewProxy(t, server.Address())
	cut := strings.Replace(url, server.Address(), proxy.Address(), 1)
	locktest.Faults{
		TTL: 300 * time.Millisecond, For: 5 * time.Second,
		Open: func(t *testing.T, client int) driver.Store {
			return open(t, postgreslock.Config{URL: []string{url, cut}[client%2]})
		},
		Fail: func(ctx context.Context) {
			for ctx.Err() == nil {
				locktest.Every(ctx, 400*time.Millisecond, proxy.Cut, proxy.Heal)
				locktest.Every(ctx, 400*time.Millisecond, server.Pause, server.Resume)
				locktest.Every(ctx, 200*time.Millisecond, server.Kill, server.Restart)
			}
		},
	}.Run(t)
}

// The database's clock may run faster than the holders' by less than their margin.
func TestSkew(t *testing.T) {
	_, url := testserver.Postgres(t)
	locktest.Faults{
		TTL: 200 * time.Millisecond, For: 2 * time.Second,
		Open: func(t *testing.T, _ int) driver.Store {
			return locktest.Skewed(open(t, postgreslock.Config{URL: url}), 1.05)
		},
	}.Run(t)
}
