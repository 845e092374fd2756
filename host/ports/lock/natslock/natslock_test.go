package natslock_test

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/natsserver/natsservertest"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
	"github.com/hexdag/hexdag/host/ports/lock/locktest"
	"github.com/hexdag/hexdag/host/ports/lock/natslock"
)

func TestMain(m *testing.M) {
	natsservertest.Node()
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func open(t *testing.T, js jetstream.JetStream, c natslock.Config) driver.Store {
	t.Helper()
	s, err := natslock.Open(t.Context(), js, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	locktest.Readme(t, "`nats`, one server", open(t, natsservertest.Embedded(t, false).JetStream(), natslock.Config{}).Promises())
	var buckets atomic.Int64
	locktest.Run(t, func(t *testing.T) locktest.Harness {
		bucket := fmt.Sprintf("locks-%d", buckets.Add(1))
		js := natsservertest.Embedded(t, false).JetStream()
		return func(t *testing.T) driver.Store { return open(t, js, natslock.Config{Bucket: bucket}) }
	})
}

func TestConfig(t *testing.T) {
	js := natsservertest.Embedded(t, false).JetStream()
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "plain"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []natslock.Config{{Bucket: "a.b"}, {Replicas: 6}, {Bucket: "plain"}} {
		if _, err := natslock.Open(t.Context(), js, c, nil); kernel.CodeOf(err) != kernel.CodeConfig {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
