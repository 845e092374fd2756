package consullock_test

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/lock"
	"github.com/hexdag/hexdag/host/ports/lock/consullock"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
	"github.com/hexdag/hexdag/host/ports/lock/locktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReadme(t *testing.T) {
	s, err := consullock.Open(t.Context(), consullock.Config{Address: newConsul(t).URL})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	locktest.Readme(t, "`consul`", s.Promises())
}

func TestConformance(t *testing.T) {
	locktest.Run(t, func(t *testing.T) locktest.Harness {
		server := newConsul(t)
		return func(t *testing.T) driver.Store {
			t.Helper()
			s, err := consullock.Open(t.Context(), consullock.Config{Address: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			consullock.Shorten(s, 800*time.Millisecond)
			t.Cleanup(func() { _ = s.Close() })
			return s
		}
	})
}

// No lease is asked for that Consul ends before its holder knows.
func TestMaxTTL(t *testing.T) {
	s, err := consullock.Open(t.Context(), consullock.Config{Address: newConsul(t).URL})
	if err != nil {
		t.Fatal(err)
	}
	l := lock.New(s, lock.Options{MaxTTL: 48 * time.Hour})
	defer l.Close()
	lease, err := l.Acquire(t.Context(), "acme", "a", lock.Ask{TTL: consullock.MaxTTL})
	if err != nil {
		t.Fatal(err)
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := l.Acquire(t.Context(), "acme", "a", lock.Ask{TTL: consullock.MaxTTL + time.Second}); kernel.CodeOf(err) != kernel.CodeArguments || !strings.Contains(err.Error(), "24h0m0s (max_ttl)") {
		t.Error(err)
	}
}

func TestConfig(t *testing.T) {
	if _, err := consullock.Open(t.Context(), consullock.Config{}); kernel.CodeOf(err) != kernel.CodeConfig {
		t.Error(err)
	}
	if _, err := consullock.Open(t.Context(), consullock.Config{Address: "http://127.0.0.1:1"}); kernel.CodeOf(err) != kernel.CodeUnavailable {
		t.Error(err)
	}
}
