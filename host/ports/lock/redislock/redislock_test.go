package redislock_test

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
	"github.com/hexdag/hexdag/host/ports/lock/redislock"
	"github.com/hexdag/hexdag/host/testserver"
)

func TestMain(m *testing.M) {
	locktest.Holder(func(ctx context.Context, url string) (driver.Store, error) {
		return redislock.Open(ctx, redislock.Config{URL: url})
	})
	goleak.VerifyTestMain(m)
}

func open(t *testing.T, c redislock.Config) driver.Store {
	t.Helper()
	s, err := redislock.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	server := testserver.Redis(t)
	locktest.Readme(t, "`redis`", open(t, redislock.Config{URL: "redis://" + server.Address()}).Promises())
	var prefixes atomic.Int64
	locktest.Run(t, func(*testing.T) locktest.Harness {
		prefix := fmt.Sprintf("locks[%d]*", prefixes.Add(1))
		return func(t *testing.T) driver.Store {
			return open(t, redislock.Config{URL: "redis://" + server.Address(), Prefix: prefix})
		}
	})
}

func TestKilledHolder(t *testing.T) {
	url := "redis://" + testserver.Redis(t).Address()
	locktest.Killed(t, url, time.Second, true, func(t *testing.T) driver.Store {
		return open(t, redislock.Config{URL: url})
	})
}

func TestConfig(t *testing.T) {
	for _, c := range []redislock.Config{{}, {URL: "http://u:secret@h"}} {
		if _, err := redislock.Open(t.Context(), c); kernel.CodeOf(err) != kernel.CodeConfig {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := redislock.Open(t.Context(), redislock.Config{URL: "redis://127.0.0.1:1"}); kernel.CodeOf(err) != kernel.CodeUnavailable {
		t.Errorf("nobody there: %v", err)
	}
}

// TestRestart: tokens rise, too, where Redis has forgotten the last one.
func TestRestart(t *testing.T) {
	server := testserver.Redis(t)
	store := open(t, redislock.Config{URL: "redis://" + server.Address()})
	request := &driver.Request{Key: driver.Key{Tenant: "acme", Name: "orders"}, TTL: 1e9, Permits: 1}
	before, err := store.Acquire(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	server.Kill()
	server.Restart()
	var after driver.Held
	for range 100 { // connections that are broken
		if after, err = store.Acquire(t.Context(), request); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if after.Fence() <= before.Fence() {
		t.Errorf("fence %d comes after %d", after.Fence(), before.Fence())
	}
}
