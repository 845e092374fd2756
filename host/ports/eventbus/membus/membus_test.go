package membus_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
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
	if testing.Short() {
		t.Skip("NOT CHECKED in -short: the suite with small queues")
	}
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

// Of groups that nobody is in, as many bytes are kept as of all events: the latest.
func TestLeftGroups(t *testing.T) {
	b := eventbus.New(membus.New(membus.Config{RetainBytes: 10_000}), eventbus.Options{})
	defer b.Close()
	subscribe := func(group string, handler eventbus.Handler) *eventbus.Subscription {
		t.Helper()
		s, err := b.Subscribe(t.Context(), "acme", []string{"t"}, handler, eventbus.SubscribeOptions{Group: group})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	waits := func(ctx context.Context, _ *eventbus.Delivery) error {
		<-ctx.Done()
		return ctx.Err()
	}
	groups := map[string]*eventbus.Subscription{}
	for _, group := range []string{"first", "second"} {
		groups[group] = subscribe(group, waits)
	}
	for i := range 8 {
		if _, err := publish(b, "", "t", fmt.Sprintf(`"%d%02000d"`, i, 0)); err != nil {
			t.Fatal(err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, group := range []string{"first", "second"} {
		if err := b.Unsubscribe(ended, groups[group].ID); err != nil {
			t.Fatal(err)
		}
	}
	publish(b, "", "t", "8")
	for group, want := range map[string]string{"first": "8", "second": "45678"} {
		got := make(chan string, 10)
		subscribe(group, func(_ context.Context, d *eventbus.Delivery) error {
			got <- strings.Trim(string(d.Event.Data), `"`)[:1]
			return nil
		})
		time.Sleep(100 * time.Millisecond)
		var all []string
		for range len(got) {
			all = append(all, <-got)
		}
		slices.Sort(all) // they have no keys
		if strings.Join(all, "") != want {
			t.Errorf("%s: %v, want %s", group, all, want)
		}
	}
}

// A group that nobody is in does not forget how often an event was delivered, and keeps it no longer
// than until somebody joins.
func TestAttemptsOfALeftGroup(t *testing.T) {
	b := eventbus.New(membus.New(membus.Config{}), eventbus.Options{})
	defer b.Close()
	attempts := make(chan int, 10)
	for n := range 3 {
		s, err := b.Subscribe(t.Context(), "acme", []string{"t"}, func(_ context.Context, d *eventbus.Delivery) error {
			attempts <- d.Attempt
			return eventbus.NakAfter(time.Hour, errors.New("later"))
		}, eventbus.SubscribeOptions{Group: "g"})
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			publish(b, "", "t", "1")
		}
		if got := <-attempts; got != n+1 {
			t.Errorf("attempt %d, want %d", got, n+1)
		}
		if err := b.Unsubscribe(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
	}
}

// Of more groups that nobody is in than may be, the one that was left first is forgotten.
func TestManyLeftGroups(t *testing.T) {
	b := eventbus.New(membus.New(membus.Config{}), eventbus.Options{})
	defer b.Close()
	got := make(chan string, 10)
	join := func(group string) *eventbus.Subscription {
		s, err := b.Subscribe(t.Context(), "acme", []string{"t"}, func(context.Context, *eventbus.Delivery) error {
			got <- group
			return nil
		}, eventbus.SubscribeOptions{Group: group})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	const groups = 1025
	for i := range groups {
		if err := b.Unsubscribe(t.Context(), join(fmt.Sprint(i)).ID); err != nil {
			t.Fatal(err)
		}
	}
	publish(b, "", "t", "1")
	join("0")
	join(fmt.Sprint(groups - 1))
	if group := <-got; group != fmt.Sprint(groups-1) {
		t.Error(group)
	}
	join("1")
	if group := <-got; group != "1" {
		t.Error(group)
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
