package consullock_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/ports/lock/consullock"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
	"github.com/hexdag/hexdag/host/ports/lock/locktest"
	"github.com/hexdag/hexdag/host/testserver"
)

// Cut off from some of its clients, a server that does what Consul documents gives the lock to one at a time.
func TestFaults(t *testing.T) {
	address := strings.TrimPrefix(newConsul(t).URL, "http://")
	proxy := testserver.NewProxy(t, address)
	locktest.Faults{
		TTL: 300 * time.Millisecond, For: 3 * time.Second,
		Open: func(t *testing.T, client int) driver.Store {
			s, err := consullock.Open(t.Context(), consullock.Config{Address: "http://" + []string{address, proxy.Address()}[client%2]})
			if err != nil {
				t.Fatal(err)
			}
			consullock.Shorten(s, 300*time.Millisecond)
			return s
		},
		Fail: func(ctx context.Context) {
			for ctx.Err() == nil {
				locktest.Every(ctx, 400*time.Millisecond, proxy.Cut, proxy.Heal)
			}
		},
	}.Run(t)
}
