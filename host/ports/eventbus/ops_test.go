package eventbus_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/eventbus"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
	"github.com/hexdag/hexdag/host/ports/eventbus/membus"
)

// observers hand events to a channel.
type observers chan *eventbus.Event

func (o observers) Observer(context.Context, *kernel.PortCall) (eventbus.Handler, error) {
	return func(_ context.Context, d *eventbus.Delivery) error {
		o <- d.Event
		return nil
	}, nil
}

type caller struct {
	t   *testing.T
	run *kernel.RunContext
	ops []ports.Op
}

func newCaller(t *testing.T, opts eventbus.Options, o eventbus.Observers) (*caller, *eventbus.Bus) {
	b := eventbus.New(membus.New(membus.Config{}), opts)
	t.Cleanup(func() { b.Close() })
	return &caller{t, &kernel.RunContext{RunID: "r", PipelineName: "p", Tenant: "acme", Labels: map[string]string{"a": "b"}}, b.Ops(o)}, b
}

// call returns the reply as JSON.
func (c *caller) call(op, args string) (string, error) {
	c.t.Helper()
	v, err := kernel.DecodeJSON([]byte(args))
	if err != nil {
		c.t.Fatal(err)
	}
	i := slices.IndexFunc(c.ops, func(o ports.Op) bool { return o.Name == "eventbus."+op })
	reply, err := c.ops[i].Func(kernel.WithRun(c.t.Context(), c.run), &kernel.PortCall{Op: "eventbus." + op, Args: v.(map[string]any)})
	if err != nil {
		return "", err
	}
	text, err := kernel.EncodeJSON(reply.Value)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(text), nil
}

func TestOps(t *testing.T) {
	got := make(observers, 10)
	c, b := newCaller(t, eventbus.Options{}, got)
	subscribed, err := c.call("subscribe", `{"topic": "orders.*"}`)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := c.call("publish", `{"topic": "orders.paid", "data": {"n": 1}, "key": "k", "id": "i", "type": "paid", "labels": {"c": "d"}}`); err != nil || text != `{"duplicate":false,"id":"i","sequence":1}` {
		t.Fatal(text, err)
	}
	if text, err := c.call("publish", `{"topic": "orders.paid", "id": "i"}`); err != nil || text != `{"duplicate":true,"id":"i","sequence":1}` {
		t.Error(text, err)
	}
	e := <-got
	if e.Tenant != "acme" || e.RunID != "r" || e.Source != "/pipelines/p" || e.Labels["a"] != "b" || e.Labels["c"] != "d" || e.Type != "paid" || string(e.Data) != `{"n":1}` {
		t.Errorf("%+v", e)
	}
	text, err := c.call("replay", `{"topic": "orders.>", "limit": 1}`)
	if err != nil || !strings.Contains(text, `"specversion":"1.0"`) || !strings.Contains(text, `"next":2`) {
		t.Error(text, err)
	}
	if text, err := c.call("replay", `{"topic": "orders.>", "sequence": 2}`); err != nil || text != `{"events":[]}` {
		t.Error(text, err)
	}
	if text, err := c.call("topics", `{"topic": ">"}`); err != nil || !strings.HasPrefix(text, `{"topics":[{"events":1,"last":"`) {
		t.Error(text, err)
	}
	other := &caller{t, &kernel.RunContext{RunID: "r2", Tenant: "acme"}, c.ops}
	id := strings.TrimSuffix(strings.TrimPrefix(subscribed, `{"subscription":"`), `"}`)
	if _, err := other.call("unsubscribe", `{"subscription": "`+id+`"}`); kernel.CodeOf(err) != kernel.CodeNotFound {
		t.Error("another run ended it: ", err)
	}
	if text, err := c.call("unsubscribe", `{"subscription": "`+id+`"}`); err != nil || text != `{"unsubscribed":true}` {
		t.Error(text, err)
	}
	// What a run has not ended ends with it.
	if _, err := c.call("subscribe", `{"topic": "x", "group": "g", "start": "beginning", "concurrency": 2}`); err != nil || b.Subscriptions() != 1 {
		t.Fatal(err)
	}
	c.run.End(t.Context())
	if n := b.Subscriptions(); n != 0 {
		t.Error(n, "subscriptions")
	}
	if _, err := c.call("subscribe", `{"topic": "x"}`); kernel.CodeOf(err) != kernel.CodeCanceled || b.Subscriptions() != 0 {
		t.Error(err)
	}
}

// asked is a backend that remembers what was subscribed to it.
type asked struct {
	driver.Bus
	last *driver.Subscribe
}

func (a *asked) Subscribe(ctx context.Context, s *driver.Subscribe) (driver.Subscription, error) {
	a.last = s
	return a.Bus.Subscribe(ctx, s)
}

// A module's group is none of the operator's, and is not kept for ever.
func TestGroupsOfModules(t *testing.T) {
	a := &asked{Bus: membus.New(membus.Config{})}
	b := eventbus.New(a, eventbus.Options{})
	defer b.Close()
	c := &caller{t, &kernel.RunContext{RunID: "r", Tenant: "acme"}, b.Ops(make(observers))}
	defer c.run.End(t.Context())
	if _, err := c.call("subscribe", `{"topic": "x", "group": "g"}`); err != nil || a.last.Group != "run-g" || a.last.Keep != 24*time.Hour {
		t.Errorf("%+v %v", a.last, err)
	}
}

func TestOpsRefuse(t *testing.T) {
	c, _ := newCaller(t, eventbus.Options{}, make(observers))
	for _, test := range []struct {
		op, args string
		code     kernel.Code
		says     string
	}{
		{"publish", `{}`, kernel.CodeArguments, "empty"},
		{"publish", `{"topic": "a", "extra": 1}`, kernel.CodeArguments, "unknown argument extra"},
		{"publish", `{"topic": 1}`, kernel.CodeArguments, "topic must be a text"},
		{"publish", `{"topic": "a", "labels": {"x": 1}}`, kernel.CodeArguments, "labels"},
		{"publish", `{"topic": "a", "labels": []}`, kernel.CodeArguments, "labels"},
		{"publish", `{"topic": "hexdag.pipeline.x.failed"}`, kernel.CodeDenied, "reserved"},
		{"publish", `{"topic": "dlq.x"}`, kernel.CodeDenied, "reserved"},
		{"publish", `{"topic": "a.*"}`, kernel.CodeArguments, "cannot be used"},
		{"subscribe", `{"topic": "a.>.b"}`, kernel.CodeArguments, "cannot be used"},
		{"subscribe", `{"topic": "a", "start": "soon"}`, kernel.CodeArguments, "start is"},
		{"subscribe", `{"topic": "a", "concurrency": 1.5}`, kernel.CodeArguments, "concurrency"},
		{"subscribe", `{"topic": "a", "concurrency": 100000}`, kernel.CodeArguments, "concurrency"},
		{"unsubscribe", `{"subscription": "x"}`, kernel.CodeNotFound, "no subscription"},
		{"replay", `{"topic": "a", "time": "noon"}`, kernel.CodeArguments, "time is"},
		{"replay", `{"topic": "a", "sequence": 0}`, kernel.CodeArguments, "sequence"},
		{"replay", `{"topic": "a", "limit": 1000}`, kernel.CodeArguments, "limit"},
		{"replay", `{"topic": "a", "sequence": 1, "time": "2026-11-20T12:00:00Z"}`, kernel.CodeArguments, "several places"},
	} {
		_, err := c.call(test.op, test.args)
		if kernel.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s %s: %v", test.op, test.args, err)
		}
	}
	none, _ := newCaller(t, eventbus.Options{}, nil)
	if _, err := none.call("subscribe", `{"topic": "a"}`); kernel.CodeOf(err) != kernel.CodeUnsupported {
		t.Error(err)
	}
}

// A run, and a tenant, publish so much.
func TestQuotas(t *testing.T) {
	now := time.Now()
	c, _ := newCaller(t, eventbus.Options{MaxPerRun: 5, MaxPerSecond: 1, Now: func() time.Time { return now }}, nil)
	publish := func() error {
		_, err := c.call("publish", `{"topic": "a"}`)
		return err
	}
	for range 2 {
		if err := publish(); err != nil {
			t.Fatal(err)
		}
	}
	var e *kernel.Error
	if err := publish(); !errors.As(err, &e) || e.Code != kernel.CodeRetry || e.RetryAfter != time.Second {
		t.Error(err)
	}
	now = now.Add(10 * time.Second)
	for range 2 {
		if err := publish(); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(10 * time.Second)
	if err := publish(); kernel.CodeOf(err) != kernel.CodeLimit || !strings.Contains(err.Error(), "max_per_run is 5") {
		t.Error(err)
	}
}

// A pattern that reaches further than a grant's does not match it.
func TestGrantedPatterns(t *testing.T) {
	for _, test := range []struct {
		grant, pattern string
		is             bool
	}{
		{"orders.*", "orders.*", true}, {"orders.*", "orders.paid", true}, {"orders.*", "orders.>", false}, {"orders.*", ">", false},
		{"*", ">", false}, {"orders.*.*", "orders.>", false}, {"orders.*", "orders.*.x", false}, {"orders.*", "*.paid", false},
		{"orders.**", "orders.>", true}, {"**", ">", true}, {"orders.paid", "orders.*", false}, {"orders.p*", "orders.*", false},
	} {
		if is := abi.Match(test.grant, eventbus.Guarded(test.pattern)); is != test.is {
			t.Errorf("grant %s, pattern %s: %t", test.grant, test.pattern, is)
		}
	}
}

func FuzzEnvelope(f *testing.F) {
	f.Add("id", "topic", "key", `{"n":1}`, 3)
	f.Fuzz(func(t *testing.T, id, topic, key, data string, hops int) {
		e := &eventbus.Event{ID: id, Topic: topic, Key: key, Hops: hops}
		if v, err := kernel.DecodeJSON([]byte(data)); err == nil {
			e.Data, _ = kernel.EncodeJSON(v)
		}
		text, err := e.MarshalJSON()
		if err != nil {
			return
		}
		var back eventbus.Event
		if err := back.UnmarshalJSON(text); err != nil {
			if id != "" && topic != "" {
				t.Fatal(err, string(text))
			}
			return
		}
		again, err := back.MarshalJSON()
		if err != nil || string(again) != string(text) {
			t.Fatal(err, string(text), string(again))
		}
	})
}

// Two patterns overlap where one topic matches both; what covers another matches all that it does.
func FuzzPatterns(f *testing.F) {
	f.Add("a.*.c", "a.>", "a.b.c")
	f.Fuzz(func(t *testing.T, p, q, topic string) {
		if eventbus.CheckPattern(p) != nil || eventbus.CheckPattern(q) != nil || eventbus.CheckTopic(topic) != nil {
			return
		}
		if driver.Match(p, topic) && driver.Match(q, topic) && !driver.Overlaps(p, q) {
			t.Error(p, q, topic)
		}
	})
}

// Two texts are two groups, and every one is a group that can be subscribed with.
func TestGroupOf(t *testing.T) {
	b := eventbus.New(membus.New(membus.Config{}), eventbus.Options{})
	defer b.Close()
	seen := map[string]string{}
	long := strings.Repeat("x", 80)
	for _, text := range []string{"a_b", "a.b", "a/b", "", "_", "é", long + "1", long + "2", long[:64]} {
		group := eventbus.GroupOf(text)
		if other, taken := seen[group]; taken {
			t.Errorf("%q and %q are one group", text, other)
		}
		seen[group] = text
		s, err := b.Subscribe(t.Context(), "acme", []string{"a"}, func(context.Context, *eventbus.Delivery) error { return nil }, eventbus.SubscribeOptions{Group: "trigger-" + group})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Unsubscribe(t.Context(), s.ID); err != nil {
			t.Error(err)
		}
	}
	if eventbus.GroupOf("a_b") != "a_b" {
		t.Error("a name that can be used is not used")
	}
}

// Two events whose long ids begin the same have a dead letter each, and are redriven both.
func TestLongIDs(t *testing.T) {
	b := eventbus.New(membus.New(membus.Config{}), eventbus.Options{})
	defer b.Close()
	var fails atomic.Bool
	fails.Store(true)
	handled := make(chan string, 10)
	_, err := b.Subscribe(t.Context(), "acme", []string{"a"}, func(_ context.Context, d *eventbus.Delivery) error {
		if fails.Load() {
			return eventbus.Term(errors.New("no"))
		}
		handled <- d.Event.ID
		return nil
	}, eventbus.SubscribeOptions{Group: strings.Repeat("g", 80)})
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []string{"1", "2"} {
		if _, err := b.Publish(t.Context(), &eventbus.Event{Tenant: "acme", Topic: "a", ID: strings.Repeat("i", 255) + end}); err != nil {
			t.Fatal(err)
		}
	}
	var letters []*eventbus.Event
	for range 500 {
		if letters, err = b.Read(t.Context(), "acme", []string{"dlq.>"}, eventbus.Start{}, 10); err != nil || len(letters) == 2 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil || len(letters) != 2 {
		t.Fatalf("%d letters of 2 events: %v", len(letters), err)
	}
	fails.Store(false)
	if n, err := b.Redrive(t.Context(), "acme", "a", 200*time.Millisecond); n != 2 || err != nil {
		t.Errorf("%d redriven: %v", n, err)
	}
	if first, second := <-handled, <-handled; first == second || len(first) > 256 {
		t.Errorf("%d bytes, %v", len(first), first == second)
	}
}
