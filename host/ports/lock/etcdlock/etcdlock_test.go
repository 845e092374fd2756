package etcdlock_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
	"github.com/hexdag/hexdag/host/ports/lock/etcdlock"
	"github.com/hexdag/hexdag/host/ports/lock/locktest"
	"github.com/hexdag/hexdag/host/testserver/etcdserver"
)

func open(t *testing.T, c etcdlock.Config) driver.Store {
	t.Helper()
	s, err := etcdlock.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	endpoint := etcdserver.Start(t, 1).Endpoint(0)
	locktest.Readme(t, "`etcd`", open(t, etcdlock.Config{Endpoints: []string{endpoint}}).Promises())
	var prefixes atomic.Int64
	locktest.Run(t, func(*testing.T) locktest.Harness {
		prefix := fmt.Sprintf("locks/%d", prefixes.Add(1))
		return func(t *testing.T) driver.Store {
			return open(t, etcdlock.Config{Endpoints: []string{endpoint}, Prefix: prefix})
		}
	})
}

func TestConfig(t *testing.T) {
	for _, c := range []etcdlock.Config{{}, {Endpoints: []string{"h:1"}, CA: "none.pem"}} {
		if _, err := etcdlock.Open(t.Context(), c); kernel.CodeOf(err) != kernel.CodeConfig {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := etcdlock.Open(t.Context(), etcdlock.Config{Endpoints: []string{"127.0.0.1:1"}}); kernel.CodeOf(err) != kernel.CodeUnavailable {
		t.Errorf("nobody there: %v", err)
	}
}
