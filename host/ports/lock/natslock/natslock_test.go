package natslock_test

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/natsserver"
	"github.com/hexdag/hexdag/host/natsserver/natsservertest"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
	"github.com/hexdag/hexdag/host/ports/lock/locktest"
	"github.com/hexdag/hexdag/host/ports/lock/natslock"
)

func TestMain(m *testing.M) {
	natsservertest.Node()
	locktest.Holder(func(ctx context.Context, folder string) (driver.Store, error) {
		s, err := natsserver.Open(ctx, natsserver.Config{Folder: folder})
		if err != nil {
			return nil, err
		}
		return natslock.Open(ctx, s.JetStream(), natslock.Config{}, s.Close)
	})
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

// The process that dies is one of two that share a folder: it runs the server, or the other does.
func TestKilledHolder(t *testing.T) {
	for name, first := range map[string]bool{"beside the server": true, "with the server": false} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			locktest.Killed(t, folder, 2*time.Second, first, func(t *testing.T) driver.Store {
				return open(t, natsservertest.Open(t, natsserver.Config{Folder: folder}).JetStream(), natslock.Config{})
			})
		})
	}
}

// A key that the server does not remove when its time is over keeps nobody out, of one permit or of several.
func TestKeyThatIsNotRemoved(t *testing.T) {
	js := natsservertest.Embedded(t, false).JetStream()
	store := open(t, js, natslock.Config{Bucket: "b"})
	for permits := 1; permits <= 2; permits++ {
		request := &driver.Request{Key: driver.Key{Tenant: "acme", Name: fmt.Sprint("n", permits)}, TTL: 2 * time.Second, Permits: permits, Wait: true}
		var last uint64
		for permit := range permits {
			subject := fmt.Sprintf("$KV.b.%s.%s.%d", driver.Escape("acme"), driver.Escape(request.Name), permit)
			ack, err := js.Publish(t.Context(), subject, request.Encode("dead")) // without a TTL of the message's
			if err != nil {
				t.Fatal(err)
			}
			last = ack.Sequence
		}
		begun := time.Now()
		held, err := store.Acquire(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took < 2*time.Second || took > 12*time.Second || held.Fence() <= last {
			t.Errorf("%d permits: after %s, with fence %d behind %d", permits, took, held.Fence(), last)
		}
		if err := held.Renew(t.Context()); err != nil {
			t.Error(err)
		}
		if err := held.Release(t.Context()); err != nil {
			t.Error(err)
		}
	}
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
