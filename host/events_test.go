package host_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/eventbus"
)

// told collects what a listener says.
type told struct {
	mu   sync.Mutex
	list []*host.Triggered
}

func (l *told) take(t *host.Triggered) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, t)
}

// runs returns what the triggers of a name have started.
func (l *told) runs(trigger string) []*host.Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	var runs []*host.Result
	for _, t := range l.list {
		if t.Trigger == trigger && t.Result != nil {
			runs = append(runs, t.Result)
		}
	}
	return runs
}

// listen listens until nothing happens any more, while do is done.
func listen(t *testing.T, h *host.Host, do func()) *told {
	t.Helper()
	l := &told{}
	listener, err := h.Listen(t.Context(), host.ListenOptions{Told: l.take})
	if err != nil {
		t.Fatal(err)
	}
	do()
	listener.Wait(t.Context(), 300*time.Millisecond)
	if err := listener.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

func (s site) pipeline(t *testing.T, name, node string) {
	t.Helper()
	s.write(t, name+".yaml", "kind: Pipeline\nmetadata: {name: "+name+"}\nspec:\n  nodes:\n    - "+node+"\n")
}

func (s site) run(t *testing.T, h *host.Host, name string, input any) *host.Result {
	t.Helper()
	p, err := h.Load(t.Context(), s.path(name+".yaml"), host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	return p.Run(t.Context(), input, host.RunOptions{})
}

const echo = `{kind: expression_node, metadata: {name: out}, spec: {expressions: {got: $input}}}`

func got(t *testing.T, r *host.Result) string {
	t.Helper()
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	fields, _ := r.NodeResults["out"].(map[string]any)
	text, err := json.Marshal(fields["got"])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Pipeline A completes: pipeline B begins, with what A has made.
func TestCompletionTriggers(t *testing.T) {
	s := newSite(t, `  triggers:
    - {name: b, on: hexdag.pipeline.a.completed, pipeline: b.yaml, input: {total: data.output.out.total, from: run_id, literal: 3, text: "'x'"}}
`)
	s.pipeline(t, "a", `{kind: expression_node, metadata: {name: out}, spec: {expressions: {total: "$input.n * 2"}}}`)
	s.pipeline(t, "b", echo)
	h := s.open(t)
	var first *host.Result
	l := listen(t, h, func() { first = s.run(t, h, "a", map[string]any{"n": 21}) })
	runs := l.runs("b")
	if len(runs) != 1 {
		t.Fatalf("%d runs of b; %v", len(runs), l.list)
	}
	if want := `{"from":"` + first.RunID + `","literal":3,"text":"x","total":42}`; got(t, runs[0]) != want {
		t.Errorf("b was given %s, want %s", got(t, runs[0]), want)
	}
}

// What strangers said stays theirs where an event hands it on, and nobody but the host says so.
func TestEventsCarryLabels(t *testing.T) {
	s := newSite(t, `  triggers:
    - {name: b, on: [hexdag.pipeline.a.completed, orders.*], pipeline: b.yaml}
`)
	s.pipeline(t, "a", echo)
	s.pipeline(t, "b", echo)
	const publish = `{kind: service_call_node, metadata: {name: p}, spec: {service: eventbus, method: publish, input_mapping: {topic: "'orders.x'", data: $input, labels: LABELS}}}`
	s.pipeline(t, "c", strings.Replace(publish, "LABELS", `"{}"`, 1))
	s.pipeline(t, "d", strings.Replace(publish, "LABELS", `"{'integrity': 'trusted'}"`, 1))
	h := s.open(t)
	stranger := host.RunOptions{Labels: map[string]string{"integrity": "untrusted", "confidentiality": "secret"}}
	l := listen(t, h, func() {
		for _, name := range []string{"a", "c"} {
			p, err := h.Load(t.Context(), s.path(name+".yaml"), host.LoadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if r := p.Run(t.Context(), "x", stranger); r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		if r := s.run(t, h, "d", "x"); r.Err == nil || !strings.Contains(r.Err.Error(), "the label integrity is the host's to give") {
			t.Errorf("a label of its own choice: %v", r.Err)
		}
	})
	runs := l.runs("b")
	if len(runs) != 2 {
		t.Fatalf("%d runs of b", len(runs))
	}
	for _, r := range runs {
		if labels := r.Labels["out"]; labels.Integrity() != kernel.Untrusted || labels.Confidentiality() != kernel.Secret {
			t.Errorf("b has %s", labels)
		}
	}
}

// An order changes its state: the monitor is told of it.
func TestEntityChangeTriggers(t *testing.T) {
	s := newSite(t, `  triggers:
    - {name: monitor, on: hexdag.entity.order.*, when: "data.to_state != 'created'", pipeline: monitor.yaml}
`)
	s.write(t, "order.yaml", `kind: Pipeline
metadata: {name: order}
spec:
  state_machines: {order: {initial: created, transitions: {created: [paid], paid: [shipped]}}}
  nodes:
    - {kind: service_call_node, metadata: {name: pay}, spec: {service: entity_state, method: transition, input_mapping: {entity: "'order'", entity_id: "$input.id", to_state: "'paid'"}}}
`)
	s.pipeline(t, "monitor", echo)
	h := s.open(t)
	l := listen(t, h, func() {
		for _, id := range []string{"1", "2"} {
			if r := s.run(t, h, "order", map[string]any{"id": id}); r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	})
	var seen []string
	for _, r := range l.runs("monitor") {
		seen = append(seen, got(t, r))
	}
	slices.Sort(seen)
	want := []string{
		`{"entity_id":"1","entity_type":"order","from_state":"created","payload":null,"reason":"","to_state":"paid"}`,
		`{"entity_id":"2","entity_type":"order","from_state":"created","payload":null,"reason":"","to_state":"paid"}`,
	}
	if !slices.Equal(seen, want) {
		t.Errorf("the monitor was told %v", seen)
	}
}

// Whatever fails: the alert pipeline runs. That it fails itself raises no alarm.
func TestFailureTriggers(t *testing.T) {
	s := newSite(t, `  triggers:
    - {name: alert, on: "hexdag.pipeline.*.failed", when: "data.pipeline != 'alert'", pipeline: alert.yaml, input: {what: data.error.what, pipeline: data.pipeline}}
`)
	const broken = `{kind: expression_node, metadata: {name: out}, spec: {expressions: {x: "1 / $input.zero"}}}`
	s.pipeline(t, "one", broken)
	s.pipeline(t, "two", broken)
	s.pipeline(t, "good", echo)
	s.pipeline(t, "alert", `{kind: expression_node, metadata: {name: out}, spec: {expressions: {got: $input, bad: "1 / (0 if $input.pipeline == 'two' else 1)"}}}`)
	h := s.open(t)
	l := listen(t, h, func() {
		for _, name := range []string{"one", "good", "two"} {
			s.run(t, h, name, map[string]any{"zero": 0})
		}
	})
	runs := l.runs("alert")
	if len(runs) != 2 {
		t.Fatalf("%d alerts", len(runs))
	}
	if text := got(t, runs[0]); !strings.Contains(text, `"pipeline":"one"`) || strings.Contains(text, `"what":null`) {
		t.Error(text)
	}
	if runs[1].Err == nil {
		t.Error("the alert of two did not fail")
	}
}

// A pipeline that starts itself comes to an end.
func TestCircleEnds(t *testing.T) {
	s := newSite(t, `  ports: {eventbus: {adapter: memory, config: {max_hops: 5}}}
  triggers:
    - {name: again, on: hexdag.pipeline.loop.completed, pipeline: loop.yaml, input: {}}
`)
	s.pipeline(t, "loop", echo)
	h := s.open(t)
	l := listen(t, h, func() { s.run(t, h, "loop", nil) })
	if n := len(l.runs("again")); n != 5 {
		t.Errorf("%d runs", n)
	}
	last := l.list[len(l.list)-1]
	wantError(t, last.Err, kernel.CodeLimit, "circle", "max_hops is 5")
	letters, err := h.Bus().Read(t.Context(), h.Tenant(), []string{"dlq.>"}, eventbus.Start{}, 10)
	if err != nil || len(letters) != 1 || letters[0].Dead.Group != "trigger-again" {
		t.Error(letters, err)
	}
}

func publish(t *testing.T, h *host.Host, topic, key, data string) {
	t.Helper()
	if _, err := h.Bus().Publish(t.Context(), &eventbus.Event{Topic: topic, Key: key, Tenant: h.Tenant(), Data: []byte(data)}); err != nil {
		t.Fatal(err)
	}
}

func TestTriggerRules(t *testing.T) {
	s := newSite(t, `  triggers:
    - {name: once, on: orders.paid, pipeline: echo.yaml, dedup: {key: data.order, window: 1h}}
    - {name: few, on: orders.paid, pipeline: echo.yaml, max_per_minute: 2}
    - {name: again, on: orders.broken, pipeline: broken.yaml, retries: 1}
    - {name: plain, on: texts.*, pipeline: echo.yaml}
    - {name: wrong, on: texts.*, pipeline: echo.yaml, input: {x: "1 / 0"}}
`)
	s.pipeline(t, "echo", echo)
	s.pipeline(t, "broken", `{kind: expression_node, metadata: {name: out}, spec: {expressions: {x: "1 / 0"}}}`)
	h := s.open(t)
	l := listen(t, h, func() {
		for range 3 {
			publish(t, h, "orders.paid", "", `{"order": "1"}`)
		}
		publish(t, h, "orders.paid", "", `{"order": "2"}`)
		publish(t, h, "orders.broken", "", `{}`)
		publish(t, h, "texts.a", "", `"text"`)
		time.Sleep(1200 * time.Millisecond) // the back-off of what is tried again
	})
	for trigger, n := range map[string]int{"once": 2, "few": 2, "again": 2, "plain": 1, "wrong": 0} {
		if runs := l.runs(trigger); len(runs) != n {
			t.Errorf("%s started %d runs, want %d", trigger, len(runs), n)
		}
	}
	if text := got(t, l.runs("plain")[0]); !strings.Contains(text, `"subject":"texts.a"`) || !strings.Contains(text, `"data":"text"`) {
		t.Error("an event whose data is no object is passed on as ", text)
	}
	letters, err := h.Bus().Read(t.Context(), h.Tenant(), []string{"dlq.>"}, eventbus.Start{}, 10)
	var groups []string
	for _, e := range letters {
		groups = append(groups, e.Dead.Group)
	}
	slices.Sort(groups)
	if err != nil || !slices.Equal(groups, []string{"trigger-again", "trigger-wrong"}) {
		t.Error(groups, err)
	}
}

// What waits for its turn is not tried again for it, is no dead letter, and holds up nobody who closes.
func TestTriggersThatWait(t *testing.T) {
	s := newSite(t, "  triggers: [{name: few, on: orders.paid, pipeline: echo.yaml, max_per_minute: 2, concurrency: 8, dedup: {key: data.order, window: 1h}}]\n")
	s.pipeline(t, "echo", echo)
	h := s.open(t)
	l := listen(t, h, func() {
		for i := range 4 {
			publish(t, h, "orders.paid", "", fmt.Sprintf(`{"order": "%d"}`, i))
		}
	})
	begun := time.Now()
	if runs := l.runs("few"); len(runs) != 2 {
		t.Errorf("%d runs in a minute, max_per_minute is 2", len(runs))
	}
	next := listen(t, h, func() {}) // a new listener begins a minute of its own
	l.list = append(l.list, next.list...)
	if runs := l.runs("few"); len(runs) != 4 || len(l.list) != 4 {
		t.Errorf("%d runs of 4 events, %v", len(runs), l.list)
	}
	if letters := topicsOf(t, h, "dlq.>"); len(letters) != 0 {
		t.Error(letters)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("closing took %s", took)
	}
}

// Triggers in Go, and what they need.
func TestTriggerInGo(t *testing.T) {
	s := newSite(t, "  {}\n")
	s.pipeline(t, "echo", echo)
	h := s.open(t)
	p, err := h.Load(t.Context(), s.path("echo.yaml"), host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	l := &told{}
	trigger := &host.Trigger{
		Name: strings.Repeat("g", 64), On: []string{"go.>"}, Pipeline: p,
		When:  func(e *eventbus.Event) (bool, error) { return e.Key != "no", nil },
		Input: func(e *eventbus.Event) (any, error) { return map[string]any{"topic": e.Topic}, nil },
	}
	listener, err := h.Listen(t.Context(), host.ListenOptions{Triggers: []*host.Trigger{trigger}, Told: l.take})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, h, "go.a", "", "1")
	publish(t, h, "go.b", "no", "1")
	listener.Wait(t.Context(), 200*time.Millisecond)
	if err := listener.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if runs := l.runs(trigger.Name); len(runs) != 1 || got(t, runs[0]) != `{"topic":"go.a"}` {
		t.Error(runs)
	}
	_, err = h.Listen(t.Context(), host.ListenOptions{Triggers: []*host.Trigger{{Name: "x y"}}})
	wantError(t, err, kernel.CodeConfig, "x y")
}

func TestTriggerErrors(t *testing.T) {
	s := newSite(t, `  triggers:
    - {name: "a b", on: "x..y", pipeline: p.yaml, when: "order.id ==", start: soon}
    - {name: twice, on: x, pipeline: p.yaml, input: {id: order.id}}
    - {name: twice, pipeline: p.yaml, dedup: {key: id}}
  subscriptions: [{module: nobody, on: x}]
`)
	_, err := host.LoadConfig(s.path("hexdag.yaml"))
	wantError(t, err, kernel.CodeConfig, "the name a b", "x..y", "soon", "there is no order", "two triggers twice", "needs on", "dedup needs key and window", "there is no module nobody", "hexdag.yaml:5")

	s = newSite(t, "  triggers: [{name: a, on: x, pipeline: gone.yaml}]\n")
	h := s.open(t)
	_, err = h.Listen(t.Context(), host.ListenOptions{})
	if err == nil || !strings.Contains(err.Error(), "gone.yaml") {
		t.Error(err)
	}
	for spec, says := range map[string]string{
		"  ports: {eventbus: {adapter: memory, config: {queues: 3}}}\n":                                 "queues",
		"  ports: {eventbus: {adapter: memory, config: {max_hops: -3}}}\n":                              "limits",
		"  ports: {eventbus: {adapter: nats, config: {url: 'nats://a', folder: b}}}\n":                  "url is set",
		"  ports: {eventbus: {adapter: nats, config: {max_age: soon}}}\n":                               "no duration",
		"  ports: {eventbus: {adapters: [{adapter: memory}, {adapter: memory}], strategy: failover}}\n": "pool",
	} {
		_, err := newSite(t, spec).new(t)
		wantError(t, err, kernel.CodeConfig, says)
	}
	h = newSite(t, "  {}\n").open(t)
	s.write(t, "own.yaml", "kind: Pipeline\nmetadata: {name: own}\nspec:\n  ports: {eventbus: {adapter: memory}}\n  nodes: []\n")
	_, err = h.Load(t.Context(), s.path("own.yaml"), host.LoadOptions{})
	wantError(t, err, kernel.CodeConfig, "own event bus")
}

// watchers are modules that observe; WATCHER is the guest's path.
func watchers(t *testing.T, spec string) site {
	t.Helper()
	path, err := filepath.Abs("testdata/watcher/watcher.wasm")
	if err != nil {
		t.Fatal(err)
	}
	const grants = `grants: [{eventbus.subscribe: {topic: "orders.*"}}, {eventbus.publish: {topic: "seen.*"}}, {eventbus.replay: {topic: "orders.**"}}, eventbus.unsubscribe, {eventbus.topics: {topic: "orders.**"}}]`
	return newSite(t, strings.NewReplacer("WATCHER", path, "GRANTS", grants).Replace(spec))
}

func topicsOf(t *testing.T, h *host.Host, pattern string) []string {
	t.Helper()
	events, err := h.Bus().Read(t.Context(), h.Tenant(), []string{pattern}, eventbus.Start{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	list := []string{}
	for _, e := range events {
		list = append(list, fmt.Sprintf("%s %s %d", e.Topic, e.Data, e.Hops))
	}
	return list
}

// The operator has modules told of events.
func TestModuleObserves(t *testing.T) {
	s := watchers(t, `  modules:
    good: {path: WATCHER, config: {tag: good}, GRANTS}
    bad: {path: WATCHER, config: {verdict: 3}, GRANTS}
  subscriptions:
    - {module: good, on: orders.*}
    - {module: bad, on: orders.paid}
`)
	h := s.open(t)
	l := listen(t, h, func() {
		publish(t, h, "orders.paid", "1", `{"order":1}`)
		publish(t, h, "orders.sent", "1", `{"order":1}`)
		publish(t, h, "other.sent", "1", `{}`)
	})
	if diff := topicsOf(t, h, "seen.*"); len(diff) != 2 || diff[0] != `seen.good {"order":1} 1` {
		t.Error(diff)
	}
	if letters := topicsOf(t, h, "dlq.>"); len(letters) != 1 || !strings.HasPrefix(letters[0], "dlq.orders.paid") {
		t.Error(letters, l.list)
	}
	records := s.records(t)
	if !slices.ContainsFunc(records, func(r kernel.AuditRecord) bool { return r.Action == "module.subscribe" && r.Resource == "good" }) {
		t.Error("the subscription is not on record")
	}

	// What was not granted is not subscribed.
	for on, says := range map[string]string{"orders.>": "orders.", "alerts.x": "alerts.x"} {
		s := watchers(t, "  modules: {m: {path: WATCHER, GRANTS}}\n  subscriptions: [{module: m, on: \""+on+"\"}]\n")
		_, err := s.open(t).Listen(t.Context(), host.ListenOptions{})
		wantError(t, err, kernel.CodeDenied, says)
	}
	s = newSite(t, "  modules: {m: {path: PUPPET, grants: [metrics.count, database.query]}}\n  subscriptions: [{module: m, on: orders.x}]\n  ports: {database: {adapter: memory}}\n")
	_, err := s.open(t).Listen(t.Context(), host.ListenOptions{})
	wantError(t, err, kernel.CodeModuleExport, "observe")
}

// A module subscribes itself, for as long as its run lasts.
func TestModuleSubscribes(t *testing.T) {
	s := watchers(t, `  modules:
    sub: {path: WATCHER, config: {tag: run, op: eventbus.subscribe, args: {topic: "orders.*"}}, GRANTS}
    wide: {path: WATCHER, config: {op: eventbus.subscribe, args: {topic: "orders.>"}}, GRANTS}
    reserved: {path: WATCHER, config: {op: eventbus.publish, args: {topic: "hexdag.pipeline.x.failed"}}, grants: [eventbus.publish, eventbus.subscribe, eventbus.replay, eventbus.unsubscribe, eventbus.topics]}
    replay: {path: WATCHER, config: {op: eventbus.replay, args: {topic: "orders.*", limit: 1}}, GRANTS}
`)
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var h *host.Host
	seen := func(context.Context, *kernel.NodeCall) (kernel.Value, error) { // the run goes on until the module has seen it
		for range 500 {
			if events, err := h.Bus().Read(t.Context(), h.Tenant(), []string{"seen.*"}, eventbus.Start{}, 1); err != nil || len(events) > 0 {
				return nil, err
			}
			time.Sleep(10 * time.Millisecond)
		}
		return nil, nil
	}
	if h, err = host.New(t.Context(), cfg, host.Options{Functions: map[string]host.Function{"test.seen": seen}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close(t.Context()) })
	// The second node publishes what the first has subscribed to; the last reads it.
	s.write(t, "p.yaml", `kind: Pipeline
metadata: {name: p}
spec:
  nodes:
    - {kind: function_node, metadata: {name: a}, spec: {fn: sub}}
    - {kind: service_call_node, metadata: {name: b}, dependencies: [a], spec: {service: eventbus, method: publish, input_mapping: {topic: "'orders.paid'", data: "$input.n"}}}
    - {kind: function_node, metadata: {name: seen}, dependencies: [b], spec: {fn: test.seen}}
    - {kind: function_node, metadata: {name: c}, dependencies: [seen], spec: {fn: replay}}
`)
	r := s.run(t, h, "p", map[string]any{"n": 7})
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if seen := topicsOf(t, h, "seen.*"); !slices.Equal(seen, []string{"seen.run 7 1"}) {
		t.Error(seen)
	}
	if text, _ := json.Marshal(r.NodeResults["c"]); !strings.Contains(string(text), `"data":7`) || !strings.Contains(string(text), `"next":`) {
		t.Errorf("replayed %s", text)
	}
	publish(t, h, "orders.late", "", "8")
	time.Sleep(100 * time.Millisecond)
	if seen := topicsOf(t, h, "seen.*"); len(seen) != 1 || h.Bus().Subscriptions() != 0 {
		t.Error("the subscription outlives its run: ", seen)
	}
	for module, says := range map[string]string{"wide": "may not call eventbus.subscribe", "reserved": "nobody but the host"} {
		r := s.load(t, h, pull(module)).Run(t.Context(), nil, host.RunOptions{})
		if r.Err == nil || !strings.Contains(r.Err.Error(), says) {
			t.Errorf("%s: %v", module, r.Err)
		}
	}
}

// What a module does with the events that its run has subscribed to is at the run's expense.
func TestObserversStayWithinTheirRun(t *testing.T) {
	s := watchers(t, `  ports: {eventbus: {adapter: memory, config: {max_per_run: 3}}}
  modules:
    sub: {path: WATCHER, config: {tag: run, op: eventbus.subscribe, args: {topic: "orders.*"}}, GRANTS}
`)
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var h *host.Host
	orders := func(ctx context.Context, _ *kernel.NodeCall) (kernel.Value, error) { // not the run's own: it published none
		for i := range 5 {
			if _, err := h.Bus().Publish(ctx, &eventbus.Event{Topic: "orders.x", Tenant: h.Tenant(), Data: []byte(fmt.Sprint(i))}); err != nil {
				return nil, err
			}
		}
		// A part's calls are the run's: the subscription itself, and one for each event.
		for range 500 {
			if kernel.RunFrom(ctx).Used().PortCalls >= 6 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		return nil, nil
	}
	if h, err = host.New(t.Context(), cfg, host.Options{Functions: map[string]host.Function{"test.orders": orders}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close(t.Context()) })
	s.write(t, "p.yaml", `kind: Pipeline
metadata: {name: p}
spec:
  nodes:
    - {kind: function_node, metadata: {name: a}, spec: {fn: sub}}
    - {kind: function_node, metadata: {name: b}, dependencies: [a], spec: {fn: test.orders}}
`)
	r := s.run(t, h, "p", nil)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if seen := topicsOf(t, h, "seen.*"); len(seen) != 3 || r.Usage.PortCalls < 6 {
		t.Errorf("%d events of a run that may publish 3; %d calls are counted: %v", len(seen), r.Usage.PortCalls, seen)
	}
}

// locker has whoever publishes hold a lock.
type locker struct{ released chan struct{} }

func (l locker) BeforePort(ctx context.Context, _ *kernel.PortCall) (kernel.Verdict, error) {
	kernel.RunFrom(ctx).Leases.Add("good", &heldLock{released: l.released}, 8)
	return kernel.Verdict{}, nil
}

func (locker) AfterPort(context.Context, *kernel.PortCall, *kernel.PortReply, error) (kernel.Verdict, error) {
	return kernel.Verdict{}, nil
}

type heldLock struct {
	kernel.Lease
	released chan struct{}
}

func (l *heldLock) Fence() kernel.Fence { return kernel.Fence{} }
func (l *heldLock) Release(context.Context) error {
	close(l.released)
	return nil
}

// What a module has locked while it observed an event is free when it has.
func TestObserversGiveTheirLocksBack(t *testing.T) {
	s := watchers(t, `  modules: {good: {path: WATCHER, config: {tag: good}, GRANTS}}
  subscriptions: [{module: good, on: orders.*}]
`)
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	hook := locker{make(chan struct{})}
	h, err := host.New(t.Context(), cfg, host.Options{PortHooks: []host.PortHook{{Name: "locker", Match: func(op string) bool { return op == "eventbus.publish" }, Hook: hook}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close(t.Context()) })
	listen(t, h, func() { publish(t, h, "orders.paid", "", "1") })
	select {
	case <-hook.released:
	case <-time.After(5 * time.Second):
		t.Error("the lock is held for ever")
	}
}

// What happened while nobody listened is dealt with by who listens next.
func TestTriggersOutliveTheHost(t *testing.T) {
	s := newSite(t, `  ports: {eventbus: {adapter: nats, config: {sync_always: false}}}
  triggers: [{name: b, on: orders.*, pipeline: echo.yaml}]
`)
	s.pipeline(t, "echo", echo)
	h, err := s.new(t)
	if err != nil {
		t.Fatal(err)
	}
	listen(t, h, func() {}) // the trigger has a place from now on
	publish(t, h, "orders.a", "", `{"n": 1}`)
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	bus, tenant, closeBus, err := host.OpenBus(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bus.Publish(t.Context(), &eventbus.Event{Topic: "orders.b", Tenant: tenant, Data: []byte(`{"n": 2}`)}); err != nil {
		t.Fatal(err)
	}
	if err := closeBus(); err != nil {
		t.Fatal(err)
	}
	h = s.open(t)
	l := listen(t, h, func() { time.Sleep(300 * time.Millisecond) })
	var seen []string
	for _, r := range l.runs("b") {
		seen = append(seen, got(t, r))
	}
	slices.Sort(seen)
	if !slices.Equal(seen, []string{`{"n":1}`, `{"n":2}`}) {
		t.Error(seen)
	}
	_, _, _, err = host.OpenBus(context.Background(), &host.Config{File: "x/hexdag.yaml"})
	wantError(t, err, kernel.CodeConfig, "memory of each process", "adapter: nats")
}

func TestNodeEvents(t *testing.T) {
	s := newSite(t, "  ports: {eventbus: {adapter: memory, config: {node_events: true}}}\n")
	s.pipeline(t, "p", echo)
	h := s.open(t)
	s.run(t, h, "p", map[string]any{})
	var topics []string
	for _, line := range topicsOf(t, h, "hexdag.>") {
		topics = append(topics, strings.Fields(line)[0])
	}
	want := []string{"hexdag.pipeline.p.started", "hexdag.node.p.out.started", "hexdag.node.p.out.completed", "hexdag.pipeline.p.completed"}
	if !slices.Equal(topics, want) {
		t.Error(topics)
	}
}
