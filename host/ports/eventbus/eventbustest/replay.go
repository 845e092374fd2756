package eventbustest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/ports/eventbus"
)

func testBeginning(t *testing.T, w *world) {
	for i := range 20 {
		w.publish(t, "t.a", number(i%3), number(i))
	}
	w.publish(t, "u", "", `"other"`)
	late := w.subscribe(t, eventbus.SubscribeOptions{}, "t.>")
	all := w.subscribe(t, eventbus.SubscribeOptions{Start: eventbus.Start{Beginning: true}}, "t.>")
	group := w.subscribe(t, eventbus.SubscribeOptions{Group: "g", Start: eventbus.Start{Beginning: true}}, "t.>")
	w.publish(t, "t.b", "", "20")
	late.want(t, "20")
	all.want(t, numbers(21)...)
	group.want(t, numbers(21)...)
	all.wantNothingElse(t, 21)
	late.wantNothingElse(t, 1)
	if w.Capabilities().TotalOrder {
		all.wantOrder(t, numbers(21)...)
	}
}

func testRead(t *testing.T, w *world) {
	if topics, err := w.Topics(t.Context(), w.tenant, []string{">"}); err != nil || len(topics) != 0 {
		t.Error("before anything was published: ", topics, err)
	}
	if events, err := w.Read(t.Context(), w.tenant, []string{">"}, eventbus.Start{}, 10); err != nil || len(events) != 0 {
		t.Error("before anything was published: ", events, err)
	}
	for i := range 10 {
		w.publish(t, "t."+number(i%2), "k", number(i))
	}
	events, err := w.Read(t.Context(), w.tenant, []string{"t.1", "t.1.>"}, eventbus.Start{}, 3)
	var data []string
	for _, e := range events {
		data = append(data, string(e.Data))
	}
	if diff := cmp.Diff([]string{"1", "3", "5"}, data); diff != "" || err != nil {
		t.Error(diff, err)
	}
	topics, err := w.Topics(t.Context(), w.tenant, []string{"*.1", "*.0"})
	if err != nil || len(topics) != 2 || topics[0].Name != "t.0" || topics[1].Events != 5 {
		t.Error(topics, err)
	}
	if topics, err := w.Topics(t.Context(), w.tenant, []string{"x.>"}); err != nil || len(topics) != 0 {
		t.Error(topics, err)
	}
}

func testSequence(t *testing.T, w *world) {
	var fifth uint64
	for i := range 10 {
		r, err := w.Publish(t.Context(), &eventbus.Event{Topic: "t", Tenant: w.tenant, Key: "k", Data: []byte(number(i))})
		if err != nil {
			t.Fatal(err)
		}
		if i == 5 {
			fifth = r.Sequence
		}
	}
	start := eventbus.Start{Sequence: fifth}
	c := w.subscribe(t, eventbus.SubscribeOptions{Start: start}, "t")
	c.wantOrder(t, numbers(10)[5:]...)
	if got := c.events[0].Sequence; got != fifth {
		t.Errorf("the first has sequence %d, its receipt said %d", got, fifth)
	}
	w.subscribe(t, eventbus.SubscribeOptions{Start: start, Group: "g"}, "t").wantOrder(t, numbers(10)[5:]...)
	if events, err := w.Read(t.Context(), w.tenant, []string{"t"}, start, 2); err != nil || len(events) != 2 || string(events[0].Data) != "5" {
		t.Error(events, err)
	}
}

func testTime(t *testing.T, w *world) {
	for i := range 3 {
		w.publish(t, "t", "k", number(i))
	}
	time.Sleep(50 * time.Millisecond)
	start := eventbus.Start{Time: time.Now()}
	time.Sleep(50 * time.Millisecond)
	for i := range 3 {
		w.publish(t, "t", "k", number(3+i))
	}
	w.subscribe(t, eventbus.SubscribeOptions{Start: start}, "t").wantOrder(t, "3", "4", "5")
	w.subscribe(t, eventbus.SubscribeOptions{Start: start, Group: "g"}, "t").wantOrder(t, "3", "4", "5")
	if events, err := w.Read(t.Context(), w.tenant, []string{"t"}, start, 10); err != nil || len(events) != 3 {
		t.Error(events, err)
	}
}

func testDedup(t *testing.T, w *world) {
	c := w.subscribe(t, eventbus.SubscribeOptions{}, "t.*")
	var first uint64
	for i := range 3 {
		r, err := w.Publish(t.Context(), &eventbus.Event{ID: "same", Topic: "t.a", Tenant: w.tenant, Data: []byte(`"once"`)})
		if i == 0 {
			first = r.Sequence
		}
		if err != nil || r.Duplicate != (i > 0) || r.Sequence != first {
			t.Error(i, r, err)
		}
	}
	if r, err := w.Publish(t.Context(), &eventbus.Event{ID: "same", Topic: "t.a", Tenant: w.tenant + "2", Data: []byte("1")}); err != nil || r.Duplicate {
		t.Error("an id of another tenant: ", r, err)
	}
	if r, err := w.Publish(t.Context(), &eventbus.Event{ID: "same", Topic: "t.b", Tenant: w.tenant, Data: []byte("3")}); err != nil || r.Duplicate {
		t.Error("an id on another topic: ", r, err)
	}
	w.publish(t, "t.a", "", "2")
	eventually(t, "three deliveries", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return len(c.events) >= 3 })
	time.Sleep(quiet)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.events) != 3 {
		t.Errorf("%d deliveries", len(c.events))
	}
}

// Where the backend keeps what is published twice, a subscription handles it once.
func testRepeated(t *testing.T, w *world) {
	c := w.subscribe(t, eventbus.SubscribeOptions{}, "t")
	for range 3 {
		if _, err := w.Publish(t.Context(), &eventbus.Event{ID: "same", Topic: "t", Key: "k", Tenant: w.tenant, Data: []byte(`"once"`)}); err != nil {
			t.Error(err)
		}
	}
	w.publish(t, "t", "k", "2")
	c.want(t, `"once"`, "2")
	if n := len(c.events); n != 2 {
		t.Errorf("%d were handled", n)
	}
}

func testTotalOrder(t *testing.T, w *world) {
	var last uint64
	for i := range 20 {
		r, err := w.Publish(t.Context(), &eventbus.Event{Topic: "t." + number(i%4), Tenant: w.tenant, Key: number(i), Data: []byte("1")})
		if err != nil || r.Sequence <= last {
			t.Fatalf("%d behind %d: %v", r.Sequence, last, err)
		}
		last = r.Sequence
	}
}

// Two buses over one engine are one bus.
func testShared(t *testing.T, w *world) {
	other := &world{Bus: w.open(t, w.harness.Reopen), harness: w.harness, tenant: w.tenant}
	a := w.subscribe(t, eventbus.SubscribeOptions{Group: "g", Concurrency: 2}, "t")
	b := other.subscribe(t, eventbus.SubscribeOptions{Group: "g", Concurrency: 2}, "t")
	all := other.subscribe(t, eventbus.SubscribeOptions{}, "t")
	for i := range 100 {
		w.publish(t, "t", number(i), number(i))
	}
	all.want(t, numbers(100)...)
	eventually(t, "all are delivered", func() bool { return len(a.data())+len(b.data()) >= 100 })
	(&collector{events: append(append([]*eventbus.Event{}, a.events...), b.events...)}).want(t, numbers(100)...)
}

// What was published, and where a group is, outlives the bus.
func testDurable(t *testing.T, w *world) {
	a := w.subscribe(t, eventbus.SubscribeOptions{Group: "g"}, "t")
	for i := range 5 {
		w.publish(t, "t", "k", number(i))
	}
	a.want(t, numbers(5)...)
	w.leave(t, a.sub)
	for i := range 5 {
		w.publish(t, "t", "k", number(5+i))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	again := &world{Bus: w.open(t, w.harness.Reopen), harness: w.harness, tenant: w.tenant}
	again.subscribe(t, eventbus.SubscribeOptions{Group: "g"}, "t").want(t, numbers(10)[5:]...)
	again.subscribe(t, eventbus.SubscribeOptions{Start: eventbus.Start{Beginning: true}}, "t").want(t, numbers(10)...)
}
