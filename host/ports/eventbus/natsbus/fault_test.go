package natsbus_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/natsserver"
	"github.com/hexdag/hexdag/host/natsserver/natsservertest"
	"github.com/hexdag/hexdag/host/ports/eventbus"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
	"github.com/hexdag/hexdag/host/ports/eventbus/eventbustest"
	"github.com/hexdag/hexdag/host/ports/eventbus/natsbus"
	"github.com/hexdag/hexdag/host/testenv"
	"github.com/hexdag/hexdag/host/testserver"
)

// long is whether the faults last as long as 'make bus-long' has them.
var long = os.Getenv("HEXDAG_TEST_LONG") != ""

// subscriber opens the bus of a process that is killed.
func subscriber(ctx context.Context, url string) (driver.Bus, error) {
	s, err := natsserver.Open(ctx, natsserver.Config{URL: url})
	if err != nil {
		return nil, err
	}
	return natsbus.New(s, natsbus.Config{})
}

// Subscribers and nodes are killed; nothing that was acknowledged is lost.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT CHECKED in -short: kill -9 of subscribers and nodes")
	}
	for _, test := range []struct {
		name                   string
		nodes                  int
		sync                   bool
		messages, longMessages int
	}{
		{"OneNode", 1, true, 100_000, 100_000},
		{"Cluster", 3, true, 4_000, 100_000},
		{"ClusterWithoutSync", 3, false, 0, 1_000_000},
	} {
		t.Run(test.name, func(t *testing.T) {
			messages, breaks := test.messages, 3
			if long {
				messages, breaks = test.longMessages, 15
			}
			if testenv.Race {
				messages /= 20
			}
			if messages == 0 {
				t.Skip("make bus-long runs it")
			}
			c := natsservertest.Start(t, test.nodes, test.sync)
			bus := open(t, natsservertest.Open(t, natsserver.Config{URL: c.URL()}), natsbus.Config{Streams: natsbus.Streams{Replicas: test.nodes}})
			eventbustest.Crash(t, eventbustest.Faults{Target: c.URL(), Bus: bus, Messages: messages, Keys: 50, Breaks: breaks, Every: 2 * time.Second, Break: func(n int) {
				c.Kill(n % test.nodes)
				time.Sleep(200 * time.Millisecond)
				c.Restart(n % test.nodes)
				c.WaitReady()
			}})
		})
	}
}

// A cluster that is cut in two publishes on one side alone, and has lost nothing when it is whole.
func TestPartition(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT CHECKED in -short: a cluster that is cut in two")
	}
	c := natsservertest.Start(t, 3, false)
	config := natsbus.Config{Streams: natsbus.Streams{Replicas: 3}}
	here := eventbus.New(open(t, natsservertest.Open(t, natsserver.Config{URL: c.URL(1, 2)}), config), eventbus.Options{})
	alone := eventbus.New(open(t, natsservertest.Open(t, natsserver.Config{URL: c.URL(0)}), config), eventbus.Options{PublishTimeout: 3})
	defer here.Close()
	defer alone.Close()
	publish := func(b *eventbus.Bus, id string) error {
		_, err := b.Publish(t.Context(), &eventbus.Event{ID: id, Topic: "t", Key: "k", Tenant: "acme", Data: []byte("1")})
		return err
	}
	if err := errors.Join(publish(here, "a"), publish(alone, "b")); err != nil {
		t.Fatal(err)
	}
	c.Isolate(0)
	var lost []string
	for i := range 3 {
		if err := publish(alone, fmt.Sprint("alone", i)); err == nil {
			lost = append(lost, fmt.Sprint("alone", i)) // acknowledged, so it has to be there
		}
	}
	for i := range 5 {
		if err := publish(here, fmt.Sprint("here", i)); err != nil {
			t.Error("the majority does not publish: ", err)
		}
	}
	if len(lost) > 0 {
		t.Error("one of three acknowledged ", lost)
	}
	c.Heal(0)
	c.WaitReady()
	deadline := time.Now().Add(30 * time.Second)
	for publish(alone, "after") != nil {
		if time.Now().After(deadline) {
			t.Fatal("the node that was cut off does not publish")
		}
	}
	ids := map[string]int{}
	var err error
	for ids["after"] == 0 && time.Now().Before(deadline) { // what is read may be a node's that is behind
		var events []*eventbus.Event
		events, err = here.Read(t.Context(), "acme", []string{"t"}, eventbus.Start{}, 100)
		clear(ids)
		for _, e := range events {
			ids[e.ID]++
		}
	}
	for _, id := range append(lost, "a", "b", "here0", "here4", "after") {
		if ids[id] != 1 {
			t.Errorf("%s is there %d times (%v)", id, ids[id], err)
		}
	}
}

// With no room on the disk nothing is acknowledged, and it says so; with room again it goes on.
func TestDiskFull(t *testing.T) {
	disk := testserver.SmallDisk(t, 8<<20)
	s := natsservertest.Open(t, natsserver.Config{Folder: filepath.Join(disk, "nats"), MaxBytes: 1 << 30})
	b := eventbus.New(open(t, s, natsbus.Config{Streams: natsbus.Streams{RetainBytes: 512 << 20}}), eventbus.Options{PublishTimeout: 5})
	defer b.Close()
	acknowledged, data := 0, []byte(`"`+strings.Repeat("x", 200<<10)+`"`)
	var err error
	for err == nil && acknowledged < 100 {
		if _, err = b.Publish(t.Context(), &eventbus.Event{Topic: "t", Tenant: "acme", Data: data}); err == nil {
			acknowledged++
		}
	}
	if kernel.CodeOf(err) != kernel.CodeUnavailable || acknowledged < 5 {
		t.Fatalf("%d events of 200 KiB on 8 MiB: %v", acknowledged, err)
	}
	if !strings.Contains(err.Error(), "no space left") && !strings.Contains(err.Error(), "resource") {
		t.Error("it does not say why: ", err)
	}
}
