package kafkabus_test

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
	"github.com/hexdag/hexdag/host/ports/eventbus/eventbustest"
	"github.com/hexdag/hexdag/host/ports/eventbus/eventbustest/watermilltest"
	"github.com/hexdag/hexdag/host/ports/eventbus/kafkabus"
	"github.com/hexdag/hexdag/host/testserver"
)

func TestMain(m *testing.M) {
	eventbustest.Subscriber(func(ctx context.Context, broker string) (driver.Bus, error) {
		return kafkabus.Open(ctx, kafkabus.Config{Brokers: []string{broker}})
	})
	goleak.VerifyTestMain(m, watermilltest.Leaks()...)
}

func opener(brokers ...string) func(t *testing.T) driver.Bus {
	return func(t *testing.T) driver.Bus {
		b, err := kafkabus.Open(t.Context(), kafkabus.Config{Brokers: brokers})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

func fake(t *testing.T) *kfake.Cluster {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SleepOutOfOrder())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// The fast lane: a Kafka in this process, which is not Kafka.
func TestConformanceOnFake(t *testing.T) {
	c := fake(t)
	open := opener(c.ListenAddrs()...)
	eventbustest.Run(t, eventbustest.Harness{Open: open, Reopen: open})
}

func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT CHECKED in -short: Apache Kafka")
	}
	open := opener(testserver.Kafka(t).Address())
	eventbustest.Run(t, eventbustest.Harness{Open: open, Reopen: open})
}

func TestConfig(t *testing.T) {
	for _, c := range []kafkabus.Config{{}, {Brokers: []string{"x"}, Prefix: "A"}, {Brokers: []string{"x"}, MaxAge: -time.Second}} {
		if _, err := kafkabus.Open(t.Context(), c); kernel.CodeOf(err) != kernel.CodeConfig {
			t.Error(c, err)
		}
	}
}

// watermill's own suite.
func TestWatermill(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT CHECKED in -short: Apache Kafka")
	}
	watermilltest.Run(t, opener(testserver.Kafka(t).Address()))
}

// Subscribers and Kafka are killed; nothing that was acknowledged is lost.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT CHECKED in -short: kill -9 of subscribers and of Kafka")
	}
	server := testserver.Kafka(t)
	eventbustest.Crash(t, eventbustest.Faults{Target: server.Address(), Bus: opener(server.Address())(t), Messages: 10_000, Keys: 50, Breaks: 2, Every: 2 * time.Second, Kills: 8 * time.Second, Break: func(int) {
		server.Kill()
		time.Sleep(200 * time.Millisecond)
		server.Restart()
	}})
}
