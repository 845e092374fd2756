package eventbustest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/eventbus"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
)

func testEnvelope(t *testing.T, w *world) {
	c := w.subscribe(t, eventbus.SubscribeOptions{}, "orders.created")
	e := &eventbus.Event{
		ID: "id-1", Source: "/here", Type: "made", Topic: "orders.created", Time: time.Date(2026, 11, 20, 12, 0, 0, 123456000, time.UTC),
		Key: "o 1/ü", Tenant: w.tenant, RunID: "run", Hops: 3, Labels: map[string]string{"a": "b", "c": `"`}, Data: []byte(`{"n":1,"text":"ü\""}`),
		Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
	want := *e
	if _, err := w.Publish(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	c.want(t, string(want.Data))
	got := *c.events[0]
	got.Sequence = 0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	bare := w.publish(t, "orders.created", "", "2")
	c.want(t, string(want.Data), "2")
	if e := c.events[1]; e.ID != bare || e.Source == "" || e.Type != "orders.created" || time.Since(e.Time).Abs() > time.Minute || e.Sequence == 0 {
		t.Errorf("%+v", e)
	}
}

func testPatterns(t *testing.T, w *world) {
	topics := []string{"a", "a.b", "a.b.c", "a.x.c", "b.a", "a-b", "A.b", "a.b.c.d"}
	collectors := map[string]*collector{}
	for _, p := range []string{"a", "a.b", "a.*", "a.>", "a.*.c", "*.b", ">", "*", "*.*.c", "a.b.>"} {
		collectors[p] = w.subscribe(t, eventbus.SubscribeOptions{}, p)
	}
	both := w.subscribe(t, eventbus.SubscribeOptions{}, "a.*", "*.b") // a.b matches twice
	for i, topic := range topics {
		w.publish(t, topic, "", number(i))
	}
	for p, c := range collectors {
		var want []string
		for i, topic := range topics {
			if driver.Match(p, topic) {
				want = append(want, number(i))
			}
		}
		c.want(t, want...)
	}
	both.want(t, "1", "6")
	both.wantNothingElse(t, 2)
	both.mu.Lock()
	defer both.mu.Unlock()
	if len(both.events) != 2 {
		t.Errorf("%d deliveries to two patterns", len(both.events))
	}
}

// No two texts are the same tenant, and none sees what another publishes.
func testTenants(t *testing.T, w *world) {
	mine := w.subscribe(t, eventbus.SubscribeOptions{}, ">")
	others := []string{w.tenant + "x", "", w.tenant + ".x", "*", ">", "TENANT", w.tenant[:len(w.tenant)-1]}
	for i, other := range others {
		e := &eventbus.Event{Topic: "t", Tenant: other, Data: []byte(number(i))}
		if _, err := w.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	w.publish(t, "t", "", `"mine"`)
	mine.want(t, `"mine"`)
	mine.wantNothingElse(t, 1)
	if topics, err := w.Topics(t.Context(), w.tenant, []string{">"}); err != nil || len(topics) != 1 || topics[0].Events != 1 {
		t.Error(topics, err)
	}
	if events, err := w.Read(t.Context(), w.tenant, []string{">"}, eventbus.Start{}, 10); err != nil || len(events) != 1 || counted(events[0].Sequence) != 1 && w.Capabilities().TotalOrder {
		t.Error(events, err)
	}
}

// counted returns a sequence that counts, or 1 for one that is a time in microseconds: it tells
// nobody what others publish.
func counted(sequence uint64) uint64 {
	if time.Since(time.UnixMicro(int64(sequence))).Abs() < time.Hour {
		return 1
	}
	return sequence
}

// Several publish at once, several subscribe, and all see everything.
func testNobodyLoses(t *testing.T, w *world) {
	const publishers, each = 4, 100
	var collectors []*collector
	for _, opts := range []eventbus.SubscribeOptions{{}, {Concurrency: 8}, {Group: "g"}, {Group: "h", Concurrency: 4}} {
		collectors = append(collectors, w.subscribe(t, opts, "n.*"))
	}
	var wait sync.WaitGroup
	for p := range publishers {
		wait.Go(func() {
			for i := range each {
				w.publish(t, "n."+number(p), number(i%7), number(p*each+i))
			}
		})
	}
	wait.Wait()
	for _, c := range collectors {
		c.want(t, numbers(publishers*each)...)
	}
}

// Events of a key are handled in their order, whatever fails and however many are
// handled at once.
func testOrder(t *testing.T, w *world) {
	const keys, each = 10, 30
	var mu sync.Mutex
	done := map[string][]int{}
	running := map[string]bool{}
	total := 0
	handler := func(_ context.Context, d *eventbus.Delivery) error {
		key := d.Event.Key
		n, _ := strconv.Atoi(string(d.Event.Data))
		mu.Lock()
		if running[key] {
			t.Errorf("two events of key %s are delivered at once", key)
		}
		running[key] = true
		mu.Unlock()
		if rand.IntN(10) == 0 {
			time.Sleep(time.Millisecond)
		}
		mu.Lock()
		defer mu.Unlock()
		running[key] = false
		if rand.IntN(10) == 0 && d.Attempt < 4 {
			return eventbus.NakAfter(time.Duration(rand.IntN(5))*time.Millisecond, errors.New("again"))
		}
		list := done[key]
		if len(list) == 0 || list[len(list)-1] != n { // a repeated delivery is no disorder
			done[key] = append(list, n)
			total++
		}
		return nil
	}
	for range 2 {
		w.handle(t, handler, eventbus.SubscribeOptions{Group: "g", Concurrency: 8}, "k.>")
	}
	for i := range each {
		for k := range keys {
			w.publish(t, "k.x", number(k), number(i))
		}
	}
	eventually(t, "all are handled", func() bool { mu.Lock(); defer mu.Unlock(); return total >= keys*each })
	for key, list := range done {
		for i, n := range list {
			if n != i {
				t.Fatalf("key %s was handled as %v", key, list)
			}
		}
	}
}

// A subscription alone, of concurrency 1, has all in the order of publishing.
func testOneAtATime(t *testing.T, w *world) {
	if !w.Capabilities().TotalOrder {
		t.Skip("the backend orders partitions alone")
	}
	c := w.subscribe(t, eventbus.SubscribeOptions{}, "o.*")
	for i := range 100 {
		w.publish(t, "o."+number(i%3), number(i%5), number(i))
	}
	c.wantOrder(t, numbers(100)...)
}

func testNak(t *testing.T, w *world) {
	for name, opts := range map[string]eventbus.SubscribeOptions{"alone": {}, "group": {Group: "g"}} {
		var mu sync.Mutex
		var attempts []int
		var times []time.Time
		opts.Backoff = []time.Duration{20 * time.Millisecond, 200 * time.Millisecond}
		w.handle(t, func(_ context.Context, d *eventbus.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			attempts, times = append(attempts, d.Attempt), append(times, time.Now())
			if d.Attempt < 4 {
				return errors.New("not yet")
			}
			return nil
		}, opts, "t."+name)
		w.publish(t, "t."+name, "", "1")
		eventually(t, name+": it is delivered four times", func() bool { mu.Lock(); defer mu.Unlock(); return len(attempts) >= 4 })
		time.Sleep(quiet)
		mu.Lock()
		if diff := cmp.Diff([]int{1, 2, 3, 4}, attempts); diff != "" {
			t.Error(name, diff)
		}
		for i, least := range []time.Duration{20, 200, 200} {
			if d := times[i+1].Sub(times[i]); d < least*time.Millisecond*9/10 {
				t.Errorf("%s: delivery %d came after %s", name, i+2, d)
			}
		}
		mu.Unlock()
	}
}

func testPanic(t *testing.T, w *world) {
	var calls atomic.Int32
	failures := make(chan error, 1)
	w.handle(t, func(context.Context, *eventbus.Delivery) error {
		if calls.Add(1) == 1 {
			panic("\x1b[31mred")
		}
		return nil
	}, eventbus.SubscribeOptions{Backoff: []time.Duration{time.Millisecond}, Failed: func(_ *eventbus.Delivery, err error, _ time.Duration, _ bool) { failures <- err }}, "t")
	w.publish(t, "t", "", "1")
	eventually(t, "it is delivered again", func() bool { return calls.Load() == 2 })
	wantCode(t, <-failures, kernel.CodeInternal, `\x1b[31mred`)
}

func testDeadLetters(t *testing.T, w *world) {
	letters := w.subscribe(t, eventbus.SubscribeOptions{}, "dlq.>")
	quick := []time.Duration{time.Millisecond}
	fail := func(context.Context, *eventbus.Delivery) error { return errors.New("it is broken") }
	w.handle(t, fail, eventbus.SubscribeOptions{Group: "g", MaxDeliveries: 3, Backoff: quick}, "a.*")
	w.handle(t, fail, eventbus.SubscribeOptions{MaxDeliveries: 1, Backoff: quick, NoDeadLetters: true}, "a.*")
	w.handle(t, fail, eventbus.SubscribeOptions{Group: "dead", MaxDeliveries: 2, Backoff: quick}, "dlq.>") // a letter makes no letter
	id := w.publish(t, "a.b", "key", `{"n":1}`)
	letters.want(t, `{"n":1}`)
	letters.wantNothingElse(t, 1)
	e := letters.events[0]
	want := &driver.Dead{Topic: "a.b", ID: id, Group: "g", Attempts: 3, Cause: "it is broken"}
	if diff := cmp.Diff(want, e.Dead); diff != "" || e.Topic != "dlq.a.b" || e.Key != "key" || e.ID == id {
		t.Error(e, diff)
	}
}

// What is given up makes room for what is behind it.
func testTerm(t *testing.T, w *world) {
	letters := w.subscribe(t, eventbus.SubscribeOptions{}, "dlq.t")
	c := &collector{}
	w.handle(t, func(ctx context.Context, d *eventbus.Delivery) error {
		if string(d.Event.Data) == "0" {
			return eventbus.Term(errors.New("never"))
		}
		return c.take(ctx, d)
	}, eventbus.SubscribeOptions{Group: "g"}, "t")
	w.publish(t, "t", "k", "0")
	w.publish(t, "t", "k", "1")
	c.want(t, "1")
	letters.want(t, "0")
	if d := letters.events[0].Dead; d.Attempts != 1 || d.Cause != "given up: never" {
		t.Error(d)
	}
}

func testRedrive(t *testing.T, w *world) {
	var mended atomic.Bool
	c := &collector{}
	w.handle(t, func(ctx context.Context, d *eventbus.Delivery) error {
		if !mended.Load() {
			return eventbus.Term(errors.New("broken"))
		}
		return c.take(ctx, d)
	}, eventbus.SubscribeOptions{Group: "g"}, "r.*")
	letters := w.subscribe(t, eventbus.SubscribeOptions{}, "dlq.>")
	for i := range 5 {
		w.publish(t, "r.a", "", number(i))
	}
	w.publish(t, "r.b", "", "9")
	letters.want(t, "0", "1", "2", "3", "4", "9")
	mended.Store(true)
	for _, want := range []int{5, 0} { // once is enough
		if n, err := w.Redrive(t.Context(), w.tenant, "r.a", time.Second); err != nil || n != want {
			t.Error(n, err)
		}
	}
	c.want(t, numbers(5)...)
	c.wantNothingElse(t, 5)
}

// A handler may take longer than AckWait.
func testSlowHandler(t *testing.T, w *world) {
	for name, opts := range map[string]eventbus.SubscribeOptions{"alone": {}, "group": {Group: "g", Concurrency: 2}} {
		opts.AckWait = 500 * time.Millisecond
		var calls, running atomic.Int32
		w.handle(t, func(context.Context, *eventbus.Delivery) error {
			calls.Add(1)
			if running.Add(1) > 1 {
				t.Error(name, ": it is delivered again while it is handled")
			}
			time.Sleep(1500 * time.Millisecond)
			running.Add(-1)
			return nil
		}, opts, "t."+name)
		w.publish(t, "t."+name, "k", "1")
		time.Sleep(2200 * time.Millisecond)
		if n := calls.Load(); n != 1 {
			t.Errorf("%s: %d deliveries", name, n)
		}
	}
}

// A slow subscriber loses nothing, and holds nobody up for ever.
func testSlowSubscriber(t *testing.T, w *world) {
	const n = 2000
	slow, fast := &collector{}, w.subscribe(t, eventbus.SubscribeOptions{}, "t")
	w.handle(t, func(ctx context.Context, d *eventbus.Delivery) error {
		time.Sleep(200 * time.Microsecond)
		return slow.take(ctx, d)
	}, eventbus.SubscribeOptions{}, "t")
	for i := range n {
		w.publish(t, "t", "", number(i))
	}
	fast.want(t, numbers(n)...)
	slow.want(t, numbers(n)...)
}

func testHops(t *testing.T, w *world) {
	var deepest atomic.Int64
	ended := make(chan error, 1)
	w.handle(t, func(ctx context.Context, d *eventbus.Delivery) error {
		deepest.Store(int64(d.Event.Hops))
		_, err := w.Publish(ctx, &eventbus.Event{Topic: "loop", Tenant: w.tenant, Data: []byte("1")})
		if err != nil {
			ended <- err
		}
		return nil
	}, eventbus.SubscribeOptions{}, "loop")
	w.publish(t, "loop", "", "1")
	select {
	case err := <-ended:
		wantCode(t, err, kernel.CodeLimit, "circle")
	case <-time.After(patience):
		t.Fatal("the loop goes on")
	}
	if n := deepest.Load(); n != int64(w.MaxHops()) {
		t.Error("it ended after", n)
	}
}

func testUnsubscribe(t *testing.T, w *world) {
	started, release := make(chan struct{}), make(chan struct{})
	var finished atomic.Bool
	var calls atomic.Int32
	s := w.handle(t, func(context.Context, *eventbus.Delivery) error {
		if calls.Add(1) == 1 {
			close(started)
			<-release
			finished.Store(true)
		}
		return nil
	}, eventbus.SubscribeOptions{}, "t")
	w.publish(t, "t", "", "1")
	<-started
	time.AfterFunc(100*time.Millisecond, func() { close(release) })
	w.leave(t, s)
	if !finished.Load() {
		t.Error("a handler that ran was not waited for")
	}
	w.publish(t, "t", "", "2")
	time.Sleep(quiet)
	if n := calls.Load(); n != 1 {
		t.Errorf("%d deliveries, one was before the end", n)
	}
	wantCode(t, w.Unsubscribe(t.Context(), s.ID), kernel.CodeNotFound, "no subscription")

	// One that hangs is told to end.
	hung := make(chan struct{})
	s = w.handle(t, func(ctx context.Context, _ *eventbus.Delivery) error {
		close(hung)
		<-ctx.Done()
		return ctx.Err()
	}, eventbus.SubscribeOptions{}, "h")
	w.publish(t, "h", "", "1")
	<-hung
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := w.Unsubscribe(ctx, s.ID); err != nil {
		t.Error(err)
	}
}

func testUnsubscribeItself(t *testing.T, w *world) {
	var calls atomic.Int32
	var s *eventbus.Subscription
	ready := make(chan struct{})
	s = w.handle(t, func(ctx context.Context, _ *eventbus.Delivery) error {
		<-ready
		calls.Add(1)
		return w.Unsubscribe(ctx, s.ID)
	}, eventbus.SubscribeOptions{}, "t")
	close(ready)
	w.publish(t, "t", "", "1")
	eventually(t, "it has ended", func() bool { return calls.Load() == 1 && w.Subscriptions() == 0 })
	time.Sleep(quiet)
	w.publish(t, "t", "", "2")
	time.Sleep(quiet)
	if n := calls.Load(); n != 1 {
		t.Errorf("%d deliveries", n)
	}
}

func testClosed(t *testing.T, w *world) {
	w.subscribe(t, eventbus.SubscribeOptions{}, "t")
	b := w.Bus
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := b.Publish(t.Context(), &eventbus.Event{Topic: "t", Tenant: w.tenant})
	wantCode(t, err, kernel.CodeUnavailable, "closed")
	_, err = b.Subscribe(t.Context(), w.tenant, []string{"t"}, (&collector{}).take, eventbus.SubscribeOptions{})
	wantCode(t, err, kernel.CodeUnavailable, "closed")
	if err := b.Close(); err != nil {
		t.Error("closed again: ", err)
	}
}

func testArguments(t *testing.T, w *world) {
	long := fmt.Sprintf("%0256d", 0)
	for _, topic := range []string{"", ".", "a.", ".a", "a..b", "a b", "a.*", "a.>", "*", ">", "ü", "a/b", long, "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q"} {
		_, err := w.Publish(t.Context(), &eventbus.Event{Topic: topic, Tenant: w.tenant})
		wantCode(t, err, kernel.CodeArguments, "topic")
	}
	for _, pattern := range []string{"", "a.>.b", "a*", "*a", "a>", ">.a", "**", long} {
		_, err := w.Subscribe(t.Context(), w.tenant, []string{pattern}, (&collector{}).take, eventbus.SubscribeOptions{})
		wantCode(t, err, kernel.CodeArguments, "pattern")
	}
	for _, opts := range []eventbus.SubscribeOptions{
		{Group: "a.b"}, {Group: long}, {Concurrency: -1}, {Concurrency: 1 << 20}, {MaxDeliveries: -1}, {Start: eventbus.Start{Beginning: true, Sequence: 1}},
	} {
		_, err := w.Subscribe(t.Context(), w.tenant, []string{"a"}, (&collector{}).take, opts)
		wantCode(t, err, kernel.CodeArguments, "subscribe: ")
	}
	_, err := w.Publish(t.Context(), &eventbus.Event{Topic: "t", Tenant: w.tenant, Data: make([]byte, 256<<10+1)})
	wantCode(t, err, kernel.CodeLimit, "max_data_bytes")
	_, err = w.Publish(t.Context(), &eventbus.Event{Topic: "t", Tenant: w.tenant, Key: fmt.Sprintf("%01025d", 0)})
	wantCode(t, err, kernel.CodeLimit, "envelope")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = w.Subscribe(ctx, w.tenant, []string{"t"}, (&collector{}).take, eventbus.SubscribeOptions{})
	wantCode(t, err, kernel.CodeCanceled, "")
}
