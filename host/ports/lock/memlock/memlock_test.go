package memlock_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/ports/lock"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
	"github.com/hexdag/hexdag/host/ports/lock/locktest"
	"github.com/hexdag/hexdag/host/ports/lock/memlock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
