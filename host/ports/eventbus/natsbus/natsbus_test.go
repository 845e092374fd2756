package natsbus_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/natsserver"
	"github.com/hexdag/hexdag/host/natsserver/natsservertest"
	"github.com/hexdag/hexdag/host/ports/eventbus"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
	"github.com/hexdag/hexdag/host/ports/eventbus/eventbustest"
	"github.com/hexdag/hexdag/host/ports/eventbus/eventbustest/watermilltest"
	"github.com/hexdag/hexdag/host/ports/eventbus/natsbus"
	"github.com/hexdag/hexdag/host/testenv"
)

func TestMain(m *testing.M) {
	natsservertest.Node()
	eventbustest.Subscriber(subscriber)
	goleak.VerifyTestMain(m, watermilltest.Leaks()...)
}

func open(t *testing.T, s *natsserver.Server, c natsbus.Config) driver.Bus {
	t.Helper()
	b, err := natsbus.New(s, c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// In the process, with everything on the disk before it is acknowledged.
func TestConformance(t *testing.T) {
	folder := t.TempDir()
	server := func(t *testing.T) driver.Bus {
		return open(t, natsservertest.Open(t, natsserver.Config{Folder: folder}), natsbus.Config{})
	}
	eventbustest.Run(t, eventbustest.Harness{Open: server, Reopen: server})
}

func TestConformanceOnCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT CHECKED in -short: a cluster")
	}
	c := natsservertest.Start(t, 3, false)
	server := func(t *testing.T) driver.Bus {
		return open(t, natsservertest.Open(t, natsserver.Config{URL: c.URL()}), natsbus.Config{Streams: natsbus.Streams{Replicas: 3}})
	}
	eventbustest.Run(t, eventbustest.Harness{Open: server, Reopen: server})
}

func TestConfig(t *testing.T) {
	for _, c := range []natsbus.Config{{Streams: natsbus.Streams{Prefix: "a.b"}}, {Streams: natsbus.Streams{Prefix: "A"}}, {Streams: natsbus.Streams{Replicas: 9}}, {Streams: natsbus.Streams{RetainBytes: -1}}, {MaxAge: -1}} {
		if _, err := natsbus.New(nil, c); kernel.CodeOf(err) != kernel.CodeConfig {
			t.Error(c, err)
		}
	}
}

// watermill's own suite.
func TestWatermill(t *testing.T) {
	server := natsservertest.Embedded(t, false)
	watermilltest.Run(t, func(t *testing.T) driver.Bus { return open(t, server, natsbus.Config{}) })
}

// A subscription without group, whose consumer is in the server's memory, misses nothing when the server
// ends and another process takes over.
func TestSubscriptionOutlivesItsServer(t *testing.T) {
	testenv.NeedServer(t, "NATS") // before the first is open
	c := natsserver.Config{Folder: t.TempDir()}
	first, err := natsserver.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	b := eventbus.New(open(t, natsservertest.Open(t, c), natsbus.Config{}), eventbus.Options{})
	defer b.Close()
	got := make(chan string, 10)
	for _, opts := range []eventbus.SubscribeOptions{{}, {Concurrency: 2}} {
		if _, err := b.Subscribe(t.Context(), "acme", []string{"t"}, func(_ context.Context, d *eventbus.Delivery) error {
			got <- string(d.Event.Data)
			return nil
		}, opts); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{"1", "2"} {
		if _, err := b.Publish(t.Context(), &eventbus.Event{Topic: "t", Tenant: "acme", Key: "k", Data: []byte(data)}); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 {
		select {
		case <-got:
		case <-time.After(30 * time.Second):
			t.Fatal("an event is missing")
		}
	}
}

// A stream that is as configured is left alone, and one that is not is updated.
func TestStreamIsUpdatedOnlyIfNeedBe(t *testing.T) {
	server := natsservertest.Embedded(t, false)
	updates, err := server.Conn().SubscribeSync("$JS.EVENT.ADVISORY.STREAM.UPDATED.>")
	if err != nil {
		t.Fatal(err)
	}
	publish := func(c natsbus.Config) {
		t.Helper()
		b := eventbus.New(open(t, server, c), eventbus.Options{})
		if _, err := b.Publish(t.Context(), &eventbus.Event{Topic: "t", Tenant: "acme", Data: []byte("1")}); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]natsbus.Config{"defaults": {}, "all set": {Streams: natsbus.Streams{Prefix: "other", RetainBytes: 1 << 20}, MaxAge: time.Hour, Dedup: time.Minute}} {
		publish(c)
		publish(c)
		if msg, err := updates.NextMsg(500 * time.Millisecond); err == nil {
			t.Errorf("%s: the stream is updated: %s", name, msg.Data)
		}
		c.RetainBytes = 2 << 20
		publish(c)
		if _, err := updates.NextMsg(10 * time.Second); err != nil {
			t.Errorf("%s: the stream is not updated: %v", name, err)
		}
	}
}
