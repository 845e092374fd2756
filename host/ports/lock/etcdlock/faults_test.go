package etcdlock_test

import (
	"context"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/ports/lock/driver"
	"github.com/hexdag/hexdag/host/ports/lock/etcdlock"
	"github.com/hexdag/hexdag/host/ports/lock/locktest"
	"github.com/hexdag/hexdag/host/testserver"
	"github.com/hexdag/hexdag/host/testserver/etcdserver"
)

// Of three servers one at a time is stopped and started again, and clients are cut off from theirs: the lock has one holder.
func TestFaults(t *testing.T) {
	cluster := etcdserver.Start(t, 3)
	proxies := make([]*testserver.Proxy, 3)
	for i := range proxies {
		proxies[i] = testserver.NewProxy(t, cluster.Endpoint(i))
	}
	locktest.Faults{
		TTL: 2 * time.Second, For: 9 * time.Second,
		Open: func(t *testing.T, client int) driver.Store {
			return open(t, etcdlock.Config{Endpoints: []string{proxies[client%3].Address()}})
		},
		Fail: func(ctx context.Context) {
			for server := 0; ctx.Err() == nil; server = (server + 1) % 3 {
				locktest.Every(ctx, 1500*time.Millisecond, proxies[server].Cut, proxies[server].Heal)
				locktest.Every(ctx, 700*time.Millisecond, func() { cluster.Stop(server) }, func() { cluster.Restart(server) })
			}
		},
	}.Run(t)
}
