package natslock_test

import (
	"context"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/natsserver"
	"github.com/hexdag/hexdag/host/natsserver/natsservertest"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
	"github.com/hexdag/hexdag/host/ports/lock/locktest"
	"github.com/hexdag/hexdag/host/ports/lock/natslock"
)

// Of three nodes one at a time is killed and started again, paused, and cut off from the others: the lock has one holder.
func TestFaults(t *testing.T) {
	cluster := natsservertest.Start(t, 3, true)
	locktest.Readme(t, "`nats`, a cluster (`replicas: 3`)", open(t, natsservertest.Open(t, natsserver.Config{URL: cluster.URL()}).JetStream(), natslock.Config{Replicas: 3}).Promises())
	locktest.Faults{
		TTL: time.Second, For: 8 * time.Second,
		Open: func(t *testing.T, client int) driver.Store {
			s := natsservertest.Open(t, natsserver.Config{URL: cluster.URL(client % 3)})
			return open(t, s.JetStream(), natslock.Config{Replicas: 3})
		},
		Fail: func(ctx context.Context) {
			for node := 0; ctx.Err() == nil; node = (node + 1) % 3 {
				locktest.Every(ctx, 900*time.Millisecond, func() { cluster.Isolate(node) }, func() { cluster.Heal(node) })
				locktest.Every(ctx, 900*time.Millisecond, func() { cluster.Pause((node + 1) % 3) }, func() { cluster.Resume((node + 1) % 3) })
				locktest.Every(ctx, 500*time.Millisecond, func() { cluster.Kill((node + 2) % 3) }, func() { cluster.Restart((node + 2) % 3) })
			}
		},
	}.Run(t)
}
