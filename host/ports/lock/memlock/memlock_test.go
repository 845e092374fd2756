package memlock_test

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/lock"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
	"github.com/hexdag/hexdag/host/ports/lock/locktest"
	"github.com/hexdag/hexdag/host/ports/lock/memlock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReadme(t *testing.T) { locktest.Readme(t, "`memory`", memlock.New().Promises()) }

func TestConformance(t *testing.T) {
	locktest.Run(t, func(*testing.T) locktest.Harness {
		store := memlock.New()
		return func(*testing.T) driver.Store { return store }
	})
}

func BenchmarkUncontended(b *testing.B) {
	locks := lock.New(memlock.New(), lock.Options{})
	b.ReportAllocs()
	for b.Loop() {
		lease, err := locks.Acquire(b.Context(), "acme", "orders", lock.Ask{})
		if err != nil {
			b.Fatal(err)
		}
		if err := lease.Release(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// What one tenant holds keeps no other from holding.
func TestFull(t *testing.T) {
	store := memlock.New()
	locks := lock.New(store, lock.Options{})
	for i := range 1 << 17 {
		if _, err := locks.Acquire(t.Context(), "greedy", fmt.Sprint(i), lock.Ask{TTL: time.Hour}); err != nil {
			t.Fatal(i, err)
		}
	}
	if _, err := locks.Acquire(t.Context(), "greedy", "more", lock.Ask{}); kernel.CodeOf(err) != kernel.CodeLimit {
		t.Errorf("one more: %v", err)
	}
	if _, err := locks.Acquire(t.Context(), "acme", "more", lock.Ask{}); err != nil {
		t.Errorf("another tenant: %v", err)
	}
}
