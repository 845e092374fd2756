// Package eventbustest is the suite that every backend of the event bus passes.
package eventbustest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/eventbus"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
)

// Harness makes buses. The suite closes them.
type Harness struct {
	// Open makes a bus whose tenants have no events yet.
	Open func(t *testing.T) driver.Bus
	// Reopen makes another bus over what the last that was opened keeps; nil for a
	// backend that is not Durable.
	Reopen func(t *testing.T) driver.Bus
}

// Run runs the suite. What a backend's Capabilities lack is not asked of it.
func Run(t *testing.T, h Harness) {
	slow := []string{"ForgetsGroups", "SlowHandler", "MembersComeAndGo", "Redrive"}
	for _, test := range []struct {
		name  string
		needs func(driver.Capabilities) bool // nil is nothing
		run   func(*testing.T, *world)
	}{
		{"Envelope", nil, testEnvelope},
		{"Patterns", nil, testPatterns},
		{"Tenants", nil, testTenants},
		{"NobodyLoses", nil, testNobodyLoses},
		{"Groups", nil, testGroups},
		{"GroupKeepsItsPlace", nil, testGroupKeepsItsPlace},
		{"GroupHasOneSetOfPatterns", nil, testGroupPatterns},
		{"MembersComeAndGo", nil, testMembersComeAndGo},
		{"LastMemberLeaves", nil, testLastMemberLeaves},
		{"LeavingLosesNothing", nil, testLeavingLosesNothing},
		{"ForgetsGroups", func(c driver.Capabilities) bool { return c.ForgetsGroups }, testForgetsGroups},
		{"OrderOfKeys", nil, testOrder},
		{"OneAtATime", nil, testOneAtATime},
		{"Nak", nil, testNak},
		{"Panic", nil, testPanic},
		{"DeadLetters", nil, testDeadLetters},
		{"Term", nil, testTerm},
		{"Redrive", nil, testRedrive},
		{"SlowHandler", nil, testSlowHandler},
		{"SlowSubscriber", nil, testSlowSubscriber},
		{"Unsubscribe", nil, testUnsubscribe},
		{"UnsubscribeItself", nil, testUnsubscribeItself},
		{"Beginning", nil, testBeginning},
		{"Read", nil, testRead},
		{"Hops", nil, testHops},
		{"Arguments", nil, testArguments},
		{"Closed", nil, testClosed},
		{"Sequence", func(c driver.Capabilities) bool { return c.ReplaySequence }, testSequence},
		{"Time", func(c driver.Capabilities) bool { return c.ReplayTime }, testTime},
		{"Dedup", func(c driver.Capabilities) bool { return c.Dedup }, testDedup},
		{"RepeatedWithoutDedup", func(c driver.Capabilities) bool { return !c.Dedup }, testRepeated},
		{"TotalOrder", func(c driver.Capabilities) bool { return c.TotalOrder }, testTotalOrder},
		{"Shared", func(c driver.Capabilities) bool { return c.Shared }, testShared},
		{"Durable", func(c driver.Capabilities) bool { return c.Durable }, testDurable},
	} {
		t.Run(test.name, func(t *testing.T) {
			if testing.Short() && slices.Contains(slow, test.name) {
				t.Skip("NOT CHECKED in -short: it waits for seconds")
			}
			w := &world{harness: h, tenant: fmt.Sprintf("tenant %s/ü*>.%d", test.name, time.Now().UnixNano())}
			w.Bus = w.open(t, h.Open)
			if test.needs != nil && !test.needs(w.Capabilities()) {
				t.Skip("the backend does not promise it")
			}
			test.run(t, w)
		})
	}
}

// world is a bus, and a tenant that nobody else uses.
type world struct {
	*eventbus.Bus
	harness Harness
	tenant  string
}

func (w *world) open(t *testing.T, open func(*testing.T) driver.Bus) *eventbus.Bus {
	t.Helper()
	b := eventbus.New(open(t), eventbus.Options{})
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

// publish publishes data, a JSON text, and returns the event's id.
func (w *world) publish(t *testing.T, topic, key, data string) string {
	t.Helper()
	return publishOn(t, w.Bus, w.tenant, topic, key, data)
}

func publishOn(t *testing.T, b *eventbus.Bus, tenant, topic, key, data string) string {
	t.Helper()
	e := &eventbus.Event{Topic: topic, Tenant: tenant, Key: key, Data: []byte(data)}
	r, err := b.Publish(t.Context(), e)
	if err != nil || r.Duplicate {
		t.Fatal(topic, r, err)
	}
	return e.ID
}

// subscribe subscribes with what collects.
func (w *world) subscribe(t *testing.T, opts eventbus.SubscribeOptions, patterns ...string) *collector {
	t.Helper()
	c := &collector{}
	c.sub = w.handle(t, c.take, opts, patterns...)
	return c
}

func (w *world) handle(t *testing.T, h eventbus.Handler, opts eventbus.SubscribeOptions, patterns ...string) *eventbus.Subscription {
	t.Helper()
	s, err := w.Subscribe(t.Context(), w.tenant, patterns, h, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) leave(t *testing.T, s *eventbus.Subscription) {
	t.Helper()
	if err := w.Unsubscribe(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
}

// collector keeps what it was delivered, and acknowledges it.
type collector struct {
	sub *eventbus.Subscription

	mu     sync.Mutex
	events []*eventbus.Event
}

func (c *collector) take(_ context.Context, d *eventbus.Delivery) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, d.Event)
	return nil
}

// data returns the data of what was delivered, each id once, in the order of first
// deliveries.
func (c *collector) data() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []string
	ids := map[string]bool{}
	for _, e := range c.events {
		if !ids[e.ID] {
			ids[e.ID] = true
			list = append(list, string(e.Data))
		}
	}
	return list
}

// patience is how long what has to happen may take.
const patience = 30 * time.Second

// quiet is how long nothing happens where nothing may.
const quiet = 300 * time.Millisecond

// eventually waits until done says so.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen: ", what)
		}
	}
}

// want waits until exactly this data, in any order, was delivered.
func (c *collector) want(t *testing.T, data ...string) {
	t.Helper()
	slices.Sort(data)
	var got []string
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		got = c.data()
		if len(got) >= len(data) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("delivered %d of %d: %v", len(got), len(data), short(got))
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, data) {
		t.Fatalf("delivered %v, want %v", short(got), short(data))
	}
}

// wantOrder waits until this data was delivered in this order.
func (c *collector) wantOrder(t *testing.T, data ...string) {
	t.Helper()
	eventually(t, fmt.Sprint(len(data), " deliveries"), func() bool { return len(c.data()) >= len(data) })
	if got := c.data(); !slices.Equal(got, data) {
		t.Fatalf("delivered %v, want %v", short(got), short(data))
	}
}

// wantNothingElse fails if more than n are delivered within a while.
func (c *collector) wantNothingElse(t *testing.T, n int) {
	t.Helper()
	time.Sleep(quiet)
	if got := c.data(); len(got) != n {
		t.Fatalf("delivered %v, want %d", short(got), n)
	}
}

func short(list []string) string {
	if len(list) > 20 {
		return strings.Join(list[:20], " ") + " ..."
	}
	return strings.Join(list, " ")
}

func number(i int) string { return fmt.Sprint(i) }

func numbers(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = number(i)
	}
	return list
}

func wantCode(t *testing.T, err error, code kernel.Code, says string) {
	t.Helper()
	if kernel.CodeOf(err) != code || !strings.Contains(err.Error(), says) {
		t.Errorf("%v (%s), want %s and %q", err, kernel.CodeOf(err), code, says)
	}
}
