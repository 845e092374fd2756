package redisbus_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
	"github.com/hexdag/hexdag/host/ports/eventbus/eventbustest"
	"github.com/hexdag/hexdag/host/ports/eventbus/eventbustest/watermilltest"
	"github.com/hexdag/hexdag/host/ports/eventbus/redisbus"
	"github.com/hexdag/hexdag/host/testserver"
)

func TestMain(m *testing.M) {
	eventbustest.Subscriber(func(ctx context.Context, url string) (driver.Bus, error) {
		return redisbus.Open(ctx, redisbus.Config{URL: url})
	})
	goleak.VerifyTestMain(m)
}

func opener(address string) func(t *testing.T) driver.Bus {
	return func(t *testing.T) driver.Bus {
		b, err := redisbus.Open(t.Context(), redisbus.Config{URL: "redis://" + address})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

func TestConformance(t *testing.T) {
	open := opener(testserver.Redis(t).Address())
	eventbustest.Run(t, eventbustest.Harness{Open: open, Reopen: open})
}

func TestConfig(t *testing.T) {
	for _, c := range []redisbus.Config{{}, {URL: "http://x"}, {URL: "redis://x", Retain: -1}} {
		if _, err := redisbus.Open(t.Context(), c); kernel.CodeOf(err) != kernel.CodeConfig {
			t.Error(c, err)
		}
	}
	if _, err := redisbus.Open(t.Context(), redisbus.Config{URL: "redis://127.0.0.1:1"}); kernel.CodeOf(err) != kernel.CodeUnavailable {
		t.Error(err)
	}
}

// watermill's own suite.
func TestWatermill(t *testing.T) {
	watermilltest.Run(t, opener(testserver.Redis(t).Address()))
}

// Subscribers and Redis are killed; with appendfsync always, nothing that was acknowledged is lost.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT CHECKED in -short: kill -9 of subscribers and of Redis")
	}
	server := testserver.Redis(t, "--appendonly", "yes", "--appendfsync", "always")
	eventbustest.Crash(t, eventbustest.Faults{Target: "redis://" + server.Address(), Bus: opener(server.Address())(t), Messages: 50_000, Keys: 50, Breaks: 3, Every: time.Second, Kills: time.Second, Break: func(int) {
		server.Kill()
		time.Sleep(200 * time.Millisecond)
		server.Restart()
	}})
}
