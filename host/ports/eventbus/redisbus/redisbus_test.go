package redisbus_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/eventbus"
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
	goleak.VerifyTestMain(m, watermilltest.Leaks()...)
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

// A clock that has gone back makes the numbers rise by one; nothing is lost, and the order is kept.
func TestClockGoesBack(t *testing.T) {
	address := testserver.Redis(t).Address()
	b := eventbus.New(opener(address)(t), eventbus.Options{})
	defer b.Close()
	publish := func(key string, n int) uint64 {
		t.Helper()
		r, err := b.Publish(t.Context(), &eventbus.Event{Topic: "t", Tenant: "acme", Key: key, Data: []byte(strconv.Itoa(n))})
		if err != nil {
			t.Fatal(err)
		}
		return r.Sequence
	}
	alone, group := subscribe(t, b, eventbus.SubscribeOptions{}), subscribe(t, b, eventbus.SubscribeOptions{Group: "g", Concurrency: 4})
	if at := time.UnixMicro(int64(publish("k", 0))); time.Since(at).Abs() > time.Minute {
		t.Error("the first is at", at)
	}
	client := redis.NewClient(&redis.Options{Addr: address})
	defer client.Close()
	ahead := uint64(time.Now().Add(time.Hour).UnixMicro())
	if err := client.Set(t.Context(), "hexdag:ev:{"+driver.NameOf("acme")+"}:n", ahead, 0).Err(); err != nil {
		t.Fatal(err)
	}
	for n := range uint64(20) {
		if got := publish("k", int(n)+1); got != ahead+1+n {
			t.Errorf("%d, want %d", got, ahead+1+n)
		}
	}
	for n := range 21 {
		if a, g := <-alone, <-group; a != strconv.Itoa(n) || g != a {
			t.Fatal("delivered", a, g, "want", n)
		}
	}
	events, err := b.Read(t.Context(), "acme", []string{"t"}, eventbus.Start{Sequence: ahead + 3}, 100)
	if err != nil || len(events) != 18 || string(events[0].Data) != "3" {
		t.Error(len(events), err)
	}
}

// subscribe returns the data of what is delivered.
func subscribe(t *testing.T, b *eventbus.Bus, opts eventbus.SubscribeOptions) <-chan string {
	t.Helper()
	got := make(chan string, 1000)
	_, err := b.Subscribe(t.Context(), "acme", []string{"t"}, func(_ context.Context, d *eventbus.Delivery) error {
		got <- string(d.Event.Data)
		return nil
	}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Who is subscribed when Redis loses all that it had is delivered what is published from then on.
func TestRedisForgets(t *testing.T) {
	server := testserver.Redis(t)
	b := eventbus.New(opener(server.Address())(t), eventbus.Options{})
	defer b.Close()
	all := map[string]<-chan string{
		"alone": subscribe(t, b, eventbus.SubscribeOptions{}), "several at once": subscribe(t, b, eventbus.SubscribeOptions{Concurrency: 4}),
		"group": subscribe(t, b, eventbus.SubscribeOptions{Group: "g", AckWait: time.Second}),
	}
	for _, data := range []string{`"before"`, `"after"`} {
		for key := range 16 {
			if _, err := b.Publish(t.Context(), &eventbus.Event{Topic: "t", Tenant: "acme", Key: strconv.Itoa(key), Data: []byte(data)}); err != nil {
				t.Fatal(err)
			}
		}
		for name, got := range all {
			for n := range 16 {
				select {
				case is := <-got:
					if is != data {
						t.Fatal(name, is)
					}
				case <-time.After(20 * time.Second):
					t.Fatalf("%s: %d of 16 were delivered %s", name, n, data)
				}
			}
		}
		server.Kill()
		server.Restart()
	}
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
