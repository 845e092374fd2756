package membus_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/eventbus"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
	"github.com/hexdag/hexdag/host/ports/eventbus/eventbustest"
	"github.com/hexdag/hexdag/host/ports/eventbus/membus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	eventbustest.Run(t, eventbustest.Harness{Open: func(*testing.T) driver.Bus { return membus.New(membus.Config{}) }})
}

// A queue of few events holds up who publishes.
func TestConformanceOfSmallQueues(t *testing.T) {
	eventbustest.Run(t, eventbustest.Harness{Open: func(*testing.T) driver.Bus { return membus.New(membus.Config{Queue: 4}) }})
}

func publish(b *eventbus.Bus, id, topic string, data string) (eventbus.Receipt, error) {
	return b.Publish(context.Background(), &eventbus.Event{ID: id, Topic: topic, Tenant: "acme", Data: []byte(data)})
}

// A subscriber that hangs holds up a publisher for so long, and what the publisher
// tries again is no duplicate.
func TestFullQueue(t *testing.T) {
	b := eventbus.New(membus.New(membus.Config{Queue: 1, Patience: 30 * time.Millisecond}), eventbus.Options{})
	defer b.Close()
	release := make(chan struct{})
	got := make(chan string, 10)
	if _, err := b.Subscribe(t.Context(), "acme", []string{"t"}, func(_ context.Context, d *eventbus.Delivery) error {
		<-release
		got <- d.Event.ID
		return nil
	}, eventbus.SubscribeOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := publish(b, "a", "t", "1"); err != nil {
		t.Fatal(err)
	}
	_, err := publish(b, "b", "t", "1")
	if !errors.Is(err, driver.ErrFull) || kernel.CodeOf(err) != kernel.CodeRetry {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Publish(ctx, &eventbus.Event{ID: "c", Topic: "t", Tenant: "acme"}); kernel.CodeOf(err) != kernel.CodeCanceled {
		t.Error(err)
	}
	close(release)
	if id := <-got; id != "a" {
		t.Error(id)
	}
	if r, err := publish(b, "b", "t", "1"); err != nil || r.Duplicate {
		t.Error(r, err)
	}
	if id := <-got; id != "b" {
		t.Error(id)
	}
}

// What is kept is bounded in number and in bytes.
func TestRetention(t *testing.T) {
	b := eventbus.New(membus.New(membus.Config{Retain: 5, RetainBytes: 4000}), eventbus.Options{})
	defer b.Close()
	kept := func() (first string, n int) {
		events, err := b.Read(t.Context(), "acme", []string{">"}, eventbus.Start{}, 100)
		if err != nil || len(events) == 0 {
			t.Fatal(events, err)
		}
		return string(events[0].Data), len(events)
	}
	for i := range 8 {
		publish(b, "", "t", fmt.Sprint(i))
	}
	if first, n := kept(); first != "3" || n != 5 {
		t.Error(first, n)
	}
	publish(b, "", "t", fmt.Sprintf("%02500d", 8))
	if first, n := kept(); first != "4" && n > 5 {
		t.Error(first, n)
	}
	publish(b, "", "t", fmt.Sprintf("%05000d", 9)) // alone more than all may have
	if _, n := kept(); n != 1 {
		t.Error(n)
	}
	publish(b, "", "t", "10")
	if first, n := kept(); first != "10" || n != 1 {
		t.Error(first, n)
	}
}

// 100,000 subscriptions take no goroutine, and so much memory; each is found.
func TestManySubscriptions(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	b := eventbus.New(membus.New(membus.Config{}), eventbus.Options{})
	defer b.Close()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	goroutines := runtime.NumGoroutine()
	got := make(chan string, 8)
	handler := func(_ context.Context, d *eventbus.Delivery) error {
		got <- d.Event.Topic
		return nil
	}
	for i := range n {
		if _, err := b.Subscribe(t.Context(), "acme", []string{fmt.Sprintf("orders.%d.*", i)}, handler, eventbus.SubscribeOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (after.HeapAlloc - before.HeapAlloc) / uint64(n)
	t.Logf("%d bytes each", each)
	if each > 3000 || runtime.NumGoroutine() > goroutines+10 {
		t.Errorf("a subscription takes %d bytes; %d goroutines", each, runtime.NumGoroutine())
	}
	for _, i := range []int{0, n / 2, n - 1} {
		topic := fmt.Sprintf("orders.%d.created", i)
		if _, err := publish(b, "", topic, "1"); err != nil {
			t.Fatal(err)
		}
		if found := <-got; found != topic {
			t.Error(found)
		}
	}
}
