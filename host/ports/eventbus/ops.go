package eventbus

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// Observers are the modules that can be told of events.
type Observers interface {
	// Observer returns what hands events to the module that makes a call, within the
	// call's run.
	Observer(ctx context.Context, call *kernel.PortCall) (Handler, error)
}

const (
	replayPage  = 100
	replayBytes = 1 << 20
	maxPerRun   = 64 // subscriptions
	keepGroups  = 24 * time.Hour
)

// Ops returns the port's methods for the door. All are about the events of the
// tenant of the run that calls.
//
//	eventbus.publish {topic, data?, key?, id?, type?, labels?} -> {id, sequence, duplicate}
//	eventbus.subscribe {topic, group?, start?, concurrency?} -> {subscription}
//	eventbus.unsubscribe {subscription} -> {unsubscribed: true}
//	eventbus.replay {topic, sequence?, time?, limit?} -> {events, next?}
//	eventbus.topics {topic} -> {topics: [{topic, events, last?}]}
//
// publish takes a topic, the others a pattern. subscribe has the calling module's
// observe export called with each event, until the run ends; start is "new" or
// "beginning". A group is forgotten when nobody was in it for a day, where the backend
// forgets groups. replay returns at most 100 events and 1 MiB; next, if it is there, is the
// sequence of the call that goes on. An event is a CloudEvent as JSON.
//
// A capability can restrict topic. A pattern is within a capability's if it is the same, or
// if ** stands where it has >: "orders.**" covers orders.>, and "orders.*" does not.
func (b *Bus) Ops(observers Observers) []ports.Op {
	topic := []string{"topic"}
	return []ports.Op{
		{Name: "eventbus.publish", Guards: topic, Func: b.opPublish},
		{Name: "eventbus.subscribe", Guards: topic, Derive: patternOf, Func: func(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
			return b.opSubscribe(ctx, call, observers)
		}},
		{Name: "eventbus.unsubscribe", Func: b.opUnsubscribe},
		{Name: "eventbus.replay", Guards: topic, Derive: patternOf, Func: b.opReplay},
		{Name: "eventbus.topics", Guards: topic, Derive: patternOf, Func: b.opTopics},
	}
}

// patternOf is a pattern as capabilities are matched with it: in those, * is any run of
// characters but separators, and would match ">", which stands for more.
func patternOf(args map[string]any) map[string]string {
	text, ok := args["topic"].(string)
	if !ok {
		return nil
	}
	return map[string]string{"topic": Guarded(text)}
}

// Guarded returns a pattern as a capability's is matched with it: see Bus.Ops.
func Guarded(pattern string) string { return strings.ReplaceAll(pattern, ">", ">:>") }

func (b *Bus) opPublish(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := begin(ctx, call, "topic", "data", "key", "id", "type", "labels")
	if err != nil {
		return nil, err
	}
	e := &Event{
		Topic: a.text("topic"), Key: a.text("key"), ID: a.text("id"), Type: a.text("type"),
		Source: "/pipelines/" + a.run.PipelineName, Tenant: a.run.Tenant, RunID: a.run.RunID, Labels: maps.Clone(a.run.Labels),
	}
	for name, label := range a.labels() {
		if e.Labels == nil {
			e.Labels = map[string]string{}
		}
		e.Labels[name] = label
	}
	e.Labels = call.Labels.Mark(e.Labels)
	if a.err != nil {
		return nil, a.err
	}
	if e.ID == "" { // a call that is done again after a crash publishes nothing new
		e.ID = kernel.IdempotencyKeyFrom(ctx)
	}
	if reserved(e.Topic) {
		return nil, &kernel.Error{Code: kernel.CodeDenied, What: "nobody but the host publishes on " + kernel.Quote(e.Topic), Why: "topics that begin with " + HostTopics + " and " + DeadTopics + " are reserved", Fix: "choose another topic"}
	}
	if data, given := call.Args["data"]; given {
		if e.Data, err = kernel.EncodeJSON(data); err != nil {
			return nil, badCall(call, "data is no JSON: %s", err.Error())
		}
	}
	if err := b.admit(a.run); err != nil {
		return nil, err
	}
	r, err := b.Publish(ctx, e)
	if err != nil {
		return nil, err
	}
	return reply(map[string]any{"id": e.ID, "sequence": kernel.Number(int64(r.Sequence)), "duplicate": r.Duplicate})
}

// admit holds a run, and its tenant, to how much they may publish.
func (b *Bus) admit(run *kernel.RunContext) error {
	if !run.CountCall("eventbus.quota", int64(b.opts.MaxPerRun)) {
		return &kernel.Error{Code: kernel.CodeLimit, What: "the run publishes too much", Why: fmt.Sprintf("max_per_run is %d", b.opts.MaxPerRun), Fix: "publish less, or raise max_per_run of the event bus"}
	}
	if b.opts.MaxPerSecond == 0 {
		return nil
	}
	b.mu.Lock()
	limit := b.rates[run.Tenant]
	if limit == nil {
		limit = rate.NewLimiter(rate.Limit(b.opts.MaxPerSecond), max(1, int(2*b.opts.MaxPerSecond)))
		b.rates[run.Tenant] = limit
	}
	b.mu.Unlock()
	if now := b.opts.Now(); !limit.AllowN(now, 1) {
		return &kernel.Error{Code: kernel.CodeRetry, What: "the tenant publishes too much at once", Why: fmt.Sprintf("max_per_second is %g", b.opts.MaxPerSecond), Fix: "try again, or raise max_per_second of the event bus", RetryAfter: time.Duration(float64(time.Second) / b.opts.MaxPerSecond)}
	}
	return nil
}

func (b *Bus) opSubscribe(ctx context.Context, call *kernel.PortCall, observers Observers) (*kernel.PortReply, error) {
	a, err := begin(ctx, call, "topic", "group", "start", "concurrency")
	if err != nil {
		return nil, err
	}
	opts := SubscribeOptions{Concurrency: a.number("concurrency", 1, 64, 1)}
	if group := a.text("group"); group != "" {
		opts.Group = "run-" + group // those of triggers and of the operator's subscriptions are out of reach
		opts.Keep = keepGroups
	}
	switch start := a.text("start"); start {
	case "", "new":
	case "beginning":
		opts.Start.Beginning = true
	default:
		a.fail("start is new or beginning, not %s", kernel.Quote(start))
	}
	if a.err != nil {
		return nil, a.err
	}
	if observers == nil {
		return nil, &kernel.Error{Code: kernel.CodeUnsupported, What: call.Op + ": nobody here can be told of events"}
	}
	handler, err := observers.Observer(ctx, call)
	if err != nil {
		return nil, err
	}
	if !a.run.CountCall("eventbus.subscriptions", maxPerRun) {
		return nil, &kernel.Error{Code: kernel.CodeLimit, What: "the run subscribes too often", Why: fmt.Sprintf("it may %d times", maxPerRun), Fix: "subscribe with a pattern"}
	}
	s, err := b.Subscribe(ctx, a.run.Tenant, []string{a.text("topic")}, handler, opts)
	if err != nil {
		return nil, err
	}
	s.run = a.run.RunID
	end := func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, ending)
		defer cancel()
		_ = b.Unsubscribe(ctx, s.ID) // that it has ended already is as good
	}
	if !a.run.AtEnd(end) {
		end(context.WithoutCancel(ctx))
		return nil, &kernel.Error{Code: kernel.CodeCanceled, What: call.Op + ": the run has ended"}
	}
	return reply(map[string]any{"subscription": s.ID})
}

// ending is how long a module may go on with an event when its run ends.
const ending = 5 * time.Second

func (b *Bus) opUnsubscribe(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := begin(ctx, call, "subscription")
	if err != nil {
		return nil, err
	}
	id := a.text("subscription")
	b.mu.Lock()
	s := b.subs[id]
	b.mu.Unlock()
	if s != nil && s.run != a.run.RunID { // another's is not there
		id = "of another run"
	}
	if err := b.Unsubscribe(ctx, id); err != nil {
		return nil, err
	}
	return reply(map[string]any{"unsubscribed": true})
}

func (b *Bus) opReplay(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := begin(ctx, call, "topic", "sequence", "time", "limit")
	if err != nil {
		return nil, err
	}
	start := Start{Sequence: uint64(a.number("sequence", 1, 1<<53, 0))}
	if text := a.text("time"); text != "" {
		if start.Time, err = time.Parse(time.RFC3339, text); err != nil {
			a.fail("time is written as 2026-11-20T12:00:00Z")
		}
	}
	limit := a.number("limit", 1, replayPage, replayPage)
	if a.err != nil {
		return nil, a.err
	}
	found, err := b.Read(ctx, a.run.Tenant, []string{a.text("topic")}, start, limit)
	if err != nil {
		return nil, err
	}
	events, size := []any{}, 0
	var labels *kernel.Labels
	value := map[string]any{}
	for i, e := range found {
		v, err := EventValue(e)
		if err != nil {
			return nil, err
		}
		if size += len(e.Data); size > replayBytes && i > 0 {
			found = found[:i]
			break
		}
		events = append(events, v)
		labels = labels.Join(kernel.LabelsOfEvent(e.Labels, e.Topic))
	}
	value["events"] = events
	if n := len(found); n > 0 && (n == limit || size > replayBytes) && b.caps.ReplaySequence {
		value["next"] = kernel.Number(int64(found[n-1].Sequence + 1))
	}
	return &kernel.PortReply{Value: value, Labels: labels}, nil
}

func (b *Bus) opTopics(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := begin(ctx, call, "topic")
	if err != nil {
		return nil, err
	}
	found, err := b.Topics(ctx, a.run.Tenant, []string{a.text("topic")})
	if err != nil {
		return nil, err
	}
	v, err := kernel.ToValue(found[:min(len(found), 1000)])
	if err != nil {
		return nil, err
	}
	return reply(map[string]any{"topics": v})
}

// EventValue returns an event as a CloudEvent.
func EventValue(e *Event) (map[string]any, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	v, err := kernel.DecodeJSON(text)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeFailed, What: "the data of event " + kernel.Quote(e.ID) + " is no JSON that modules can read", Why: kernel.Quote(err.Error()), Err: err}
	}
	fields, _ := v.(map[string]any)
	return fields, nil
}

func reply(value map[string]any) (*kernel.PortReply, error) {
	return &kernel.PortReply{Value: value}, nil
}

// arguments are a call's; what is wrong with them is kept in err.
type arguments struct {
	call *kernel.PortCall
	run  *kernel.RunContext
	err  error
}

// begin checks that a call has no arguments but those that are known.
func begin(ctx context.Context, call *kernel.PortCall, known ...string) (*arguments, error) {
	run := kernel.RunFrom(ctx)
	if run == nil {
		return nil, &kernel.Error{Code: kernel.CodeInternal, What: call.Op + " was called outside a run"}
	}
	for name := range call.Args {
		if !slices.Contains(known, name) {
			return nil, badCall(call, "unknown argument %s; it takes %s", kernel.Quote(name), strings.Join(known, ", "))
		}
	}
	if len(call.Body) > 0 {
		return nil, badCall(call, "it takes no body")
	}
	return &arguments{call: call, run: run}, nil
}

func (a *arguments) fail(format string, args ...any) {
	if a.err == nil {
		a.err = badCall(a.call, format, args...)
	}
}

func (a *arguments) text(name string) string {
	text, ok := a.call.Args[name].(string)
	if !ok && a.call.Args[name] != nil {
		a.fail("%s must be a text", name)
	}
	return text
}

func (a *arguments) number(name string, least, most, orElse int64) int {
	v := a.call.Args[name]
	if v == nil {
		return int(orElse)
	}
	text, _ := v.(json.Number)
	n, err := text.Int64()
	if err != nil || n < least || n > most {
		a.fail("%s must be a whole number, from %d to %d", name, least, most)
	}
	return int(n)
}

func (a *arguments) labels() map[string]string {
	given := a.call.Args["labels"]
	fields, ok := given.(map[string]any)
	if !ok && given != nil {
		a.fail("labels must be an object of texts")
	}
	labels := make(map[string]string, len(fields))
	for name, v := range fields {
		text, ok := v.(string)
		if !ok || len(name) > maxIDBytes || len(text) > maxIDBytes {
			a.fail("labels must be texts of at most %d bytes", maxIDBytes)
			break
		}
		if name == kernel.LabelIntegrity || name == kernel.LabelConfidentiality {
			a.fail("the label %s is the host's to give: it follows from what is published", name)
			break
		}
		labels[name] = text
	}
	return labels
}

func badCall(call *kernel.PortCall, format string, args ...any) error {
	return &kernel.Error{Code: kernel.CodeArguments, What: call.Op + ": " + fmt.Sprintf(format, args...)}
}
