package redisbus_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
	"github.com/hexdag/hexdag/host/ports/eventbus/eventbustest"
	"github.com/hexdag/hexdag/host/ports/eventbus/eventbustest/watermilltest"
	"github.com/hexdag/hexdag/host/ports/eventbus/redisbus"
	"github.com/hexdag/hexdag/host/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
