package consullock_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
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
			consullock.Shorten(s, 400*time.Millisecond)
			t.Cleanup(func() { _ = s.Close() })
			return s
		}
	})
}

func TestConfig(t *testing.T) {
	if _, err := consullock.Open(t.Context(), consullock.Config{}); kernel.CodeOf(err) != kernel.CodeConfig {
		t.Error(err)
	}
	if _, err := consullock.Open(t.Context(), consullock.Config{Address: "http://127.0.0.1:1"}); kernel.CodeOf(err) != kernel.CodeUnavailable {
		t.Error(err)
	}
}
