package eventbustest

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/eventbus"
)

// An event goes to one of a group.
func testGroups(t *testing.T, w *world) {
	const n = 200
	a := w.subscribe(t, eventbus.SubscribeOptions{Group: "g", Concurrency: 2}, "t")
	b := w.subscribe(t, eventbus.SubscribeOptions{Group: "g", Concurrency: 2}, "t")
	other := w.subscribe(t, eventbus.SubscribeOptions{Group: "other"}, "t")
	for i := range n {
		w.publish(t, "t", number(i), number(i))
	}
	other.want(t, numbers(n)...)
	eventually(t, "all are delivered", func() bool { return len(a.data())+len(b.data()) >= n })
	all := &collector{events: append(append([]*eventbus.Event{}, a.events...), b.events...)}
	all.want(t, numbers(n)...)
	if len(all.events) != n {
		t.Errorf("%d deliveries of %d events", len(all.events), n)
	}
}

// Who joins a group goes on where the others have left.
func testGroupKeepsItsPlace(t *testing.T, w *world) {
	a := w.subscribe(t, eventbus.SubscribeOptions{Group: "g"}, "t")
	w.publish(t, "t", "", "0")
	a.want(t, "0")
	w.leave(t, a.sub)
	w.publish(t, "t", "", "1")
	w.publish(t, "t", "", "2")
	b := w.subscribe(t, eventbus.SubscribeOptions{Group: "g"}, "t")
	w.publish(t, "t", "", "3")
	b.want(t, "1", "2", "3")
	b.wantNothingElse(t, 3)
	if n := len(a.data()); n != 1 {
		t.Errorf("who has left was delivered %d", n)
	}
}

func testGroupPatterns(t *testing.T, w *world) {
	w.subscribe(t, eventbus.SubscribeOptions{Group: "g"}, "a", "b")
	_, err := w.Subscribe(t.Context(), w.tenant, []string{"a"}, (&collector{}).take, eventbus.SubscribeOptions{Group: "g"})
	wantCode(t, err, kernel.CodeArguments, "other patterns")
}

// Members come and go while events are published: each event is handled once, those of a key in
// their order, and never two at once.
func testMembersComeAndGo(t *testing.T, w *world) {
	const n, keys = 600, 12
	var mu sync.Mutex
	running, last, seen := map[string]bool{}, map[string]int{}, map[int]int{}
	handler := func(_ context.Context, d *eventbus.Delivery) error {
		i, _ := strconv.Atoi(string(d.Event.Data))
		key := d.Event.Key
		mu.Lock()
		if running[key] {
			t.Errorf("two events of key %s are handled at once", key)
		}
		if before, known := last[key]; known && i < before {
			t.Errorf("key %s: %d is handled behind %d", key, i, before)
		}
		running[key], last[key] = true, i
		seen[i]++
		mu.Unlock()
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
		mu.Lock()
		running[key] = false
		mu.Unlock()
		return nil
	}
	opts := eventbus.SubscribeOptions{Group: "g", Concurrency: 4}
	members := []*eventbus.Subscription{w.handle(t, handler, opts, "t")}
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for i := range n {
			w.publish(t, "t", number(i%keys), number(i))
			time.Sleep(5 * time.Millisecond)
		}
	})
	for range 3 {
		members = append(members, w.handle(t, handler, opts, "t"))
		time.Sleep(500 * time.Millisecond)
		w.leave(t, members[0])
		members = members[1:]
		time.Sleep(500 * time.Millisecond)
	}
	publisher.Wait()
	eventually(t, "all are handled", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == n })
	time.Sleep(quiet)
	mu.Lock()
	defer mu.Unlock()
	for i, times := range seen {
		if times != 1 {
			t.Errorf("%d was handled %d times", i, times)
		}
	}
}

// What the last member of a group had not handled, had in its hands, or had no room for yet, comes
// to whoever joins the group next, in its order.
func testLastMemberLeaves(t *testing.T, w *world) {
	const n = 100
	hands, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	opts := eventbus.SubscribeOptions{Group: "g"}
	s := w.handle(t, func(context.Context, *eventbus.Delivery) error { // it does not heed its context
		once.Do(func() { close(hands) })
		<-release
		return context.Canceled
	}, opts, "t")
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for i := range n {
			w.publish(t, "t", "k", number(i))
		}
	})
	<-hands
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_ = w.Unsubscribe(ctx, s.ID) // the handler does not end
	c := w.subscribe(t, opts, "t")
	close(release)
	publisher.Wait()
	c.wantOrder(t, numbers(n)...)
}

// Publishers that are under way when a group's last member leaves lose nothing.
func testLeavingLosesNothing(t *testing.T, w *world) {
	const publishers, each = 4, 100
	c := &collector{}
	// What is on its way to who leaves is another's after AckWait, and some engines count it as a delivery.
	opts := eventbus.SubscribeOptions{Group: "g", Concurrency: 2, AckWait: 2 * time.Second, MaxDeliveries: 1000}
	var all sync.WaitGroup
	w.leave(t, w.handle(t, c.take, opts, "t")) // the group is there
	for p := range publishers {
		all.Go(func() {
			for i := range each { // one that was published again, since the engine did not answer, is a duplicate
				if _, err := w.Publish(t.Context(), &eventbus.Event{Topic: "t", Tenant: w.tenant, Key: number(p), Data: []byte(number(p*each + i))}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	published := make(chan struct{})
	go func() {
		all.Wait()
		close(published)
	}()
	stay := time.Millisecond
	if w.Capabilities().Shared { // to join takes an engine its time
		stay = 100 * time.Millisecond
	}
	for going := true; going; {
		s := w.handle(t, c.take, opts, "t")
		select {
		case <-published:
			going = false
		case <-time.After(stay):
		}
		w.leave(t, s)
	}
	w.handle(t, c.take, opts, "t")
	c.want(t, numbers(publishers*each)...)
}

// A group is kept for as long as somebody is in it, and for so long behind that.
func testForgetsGroups(t *testing.T, w *world) {
	opts := eventbus.SubscribeOptions{Group: "g", Keep: 2 * time.Second}
	c := w.subscribe(t, opts, "t")
	time.Sleep(2 * opts.Keep)
	w.publish(t, "t", "k", "0")
	c.want(t, "0")
	w.leave(t, c.sub)
	w.publish(t, "t", "k", "1")
	c = w.subscribe(t, opts, "t")
	c.want(t, "1")
	w.leave(t, c.sub)
	w.publish(t, "t", "k", "2")
	time.Sleep(2*opts.Keep + time.Second)
	c = w.subscribe(t, opts, "t")
	w.publish(t, "t", "k", "3")
	c.want(t, "3")
	c.wantNothingElse(t, 1)
}
