package natsbus_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/natsserver"
	"github.com/hexdag/hexdag/host/natsserver/natsservertest"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
	"github.com/hexdag/hexdag/host/ports/eventbus/eventbustest"
	"github.com/hexdag/hexdag/host/ports/eventbus/eventbustest/watermilltest"
	"github.com/hexdag/hexdag/host/ports/eventbus/natsbus"
)

func TestMain(m *testing.M) {
	natsservertest.Node()
	eventbustest.Subscriber(subscriber)
	goleak.VerifyTestMain(m)
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
