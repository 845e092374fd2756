package redislock_test

import (
	"context"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/ports/lock/driver"
	"github.com/hexdag/hexdag/host/ports/lock/locktest"
	"github.com/hexdag/hexdag/host/ports/lock/redislock"
	"github.com/hexdag/hexdag/host/testserver"
)

func faults(server *testserver.Process, proxy *testserver.Proxy) locktest.Faults {
	return locktest.Faults{
		TTL: 200 * time.Millisecond, For: 3 * time.Second,
		Open: func(t *testing.T, client int) driver.Store {
			return open(t, redislock.Config{URL: "redis://" + []string{server.Address(), proxy.Address()}[client%2]})
		},
	}
}

// Paused, and cut off from some of its clients, the server gives the lock to one at a time.
func TestFaults(t *testing.T) {
	server := testserver.Redis(t)
	proxy := testserver.NewProxy(t, server.Address())
	f := faults(server, proxy)
	f.Fail = func(ctx context.Context) {
		for ctx.Err() == nil {
			locktest.Every(ctx, 300*time.Millisecond, proxy.Cut, proxy.Heal)
			locktest.Every(ctx, 300*time.Millisecond, server.Pause, server.Resume)
		}
	}
	f.Run(t)
}

// Where it restarts without what it had, two may hold a lock: it is for efficiency only. Tokens still rise, and
// what takes them refuses the earlier holder.
func TestRestarts(t *testing.T) {
	server := testserver.Redis(t)
	proxy := testserver.NewProxy(t, server.Address())
	f := faults(server, proxy)
	f.Shared = true
	f.Fail = func(ctx context.Context) {
		for ctx.Err() == nil {
			locktest.Every(ctx, 50*time.Millisecond, server.Kill, server.Restart)
		}
	}
	f.Run(t)
}
