// Package eventbus is the port to events: what runs tell each other, and the
// programs around them. Backends are the packages below this one; they implement
// package driver. membus is in this process, natsbus is JetStream, in a folder of this
// machine or on a cluster, redisbus and kafkabus are what their names say.
//
// A topic is 1 to 16 parts with dots between, each of letters, digits, _ and -. In a
// pattern * stands for one part, and > at the end for one or more. Topics that begin
// with "hexdag." are the host's, with "dlq." the bus's own.
//
// Delivery is at least once: a handler may see an event again, with the same ID.
package eventbus

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
	"github.com/hexdag/hexdag/host/tracing"
)

// Event is an event with its envelope.
type Event = driver.Event

// Delivery is one attempt to deliver an event.
type Delivery = driver.Delivery

// Receipt is what publishing comes to.
type Receipt = driver.Receipt

// Start is where a subscription begins.
type Start = driver.Start

// Topic is a topic that events are kept of.
type Topic = driver.Topic

// Capabilities are what a backend can promise.
type Capabilities = driver.Capabilities

// Options limits what is published. A zero stands for the default. The JSON form
// is what an operator configures.
type Options struct {
	MaxDataBytes int `json:"max_data_bytes"` // of an event's data as JSON; 256 KiB, at most 4 MiB
	MaxHops      int `json:"max_hops"`       // how many events may lead to another; 16
	MaxPerRun    int `json:"max_per_run"`    // events of one run; 10,000
	// MaxPerSecond is how many events a tenant's runs may publish in a second, with twice
	// as many at once; 0 is no limit.
	MaxPerSecond float64 `json:"max_per_second"`
	// PublishTimeout is how many seconds a publisher waits for slow subscribers, or
	// for the engine; 30.
	PublishTimeout float64 `json:"publish_timeout"`

	Now func() time.Time `json:"-"` // time.Now, if nil
}

const (
	mostDataBytes = 4 << 20
	maxIDBytes    = 256
	maxLabels     = 32
)

// Check returns a CodeConfig error for limits that cannot be.
func (o Options) Check() error {
	if o.MaxDataBytes < 0 || o.MaxDataBytes > mostDataBytes || o.MaxHops < 0 || o.MaxPerRun < 0 || !(o.MaxPerSecond >= 0) || !(o.PublishTimeout >= 0) || o.PublishTimeout > 1e6 {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the event bus's limits cannot be used", Why: "they are positive, and max_data_bytes is at most " + strconv.Itoa(mostDataBytes), Fix: "leave them out for the defaults"}
	}
	return nil
}

func (o Options) orDefault() Options {
	for _, limit := range []struct {
		value  *int
		orElse int
	}{{&o.MaxDataBytes, 256 << 10}, {&o.MaxHops, 16}, {&o.MaxPerRun, 10_000}} {
		if *limit.value == 0 {
			*limit.value = limit.orElse
		}
	}
	if o.PublishTimeout == 0 {
		o.PublishTimeout = 30
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Bus publishes and delivers events. It may be used by several goroutines. Errors
// are *kernel.Error: CodeArguments for an event or a subscription that cannot be,
// CodeLimit for what is too large, too often or goes round in a circle, CodeRetry where a slow
// subscriber holds it up, and those of [driver.Bus].
type Bus struct {
	bus     driver.Bus
	caps    Capabilities
	opts    Options
	timeout time.Duration

	prefix string // of the ids that the bus makes
	count  atomic.Uint64
	ending sync.WaitGroup // subscriptions that end behind their handlers

	mu    sync.Mutex
	subs  map[string]*Subscription
	rates map[string]*rate.Limiter // by tenant
}

// New returns the event bus over a backend. Closing it closes the backend.
func New(bus driver.Bus, opts Options) *Bus {
	opts = opts.orDefault()
	var id [9]byte
	_, _ = rand.Read(id[:]) // it never fails
	return &Bus{
		bus: bus, caps: bus.Capabilities(), opts: opts, timeout: time.Duration(opts.PublishTimeout * float64(time.Second)),
		prefix: hex.EncodeToString(id[:]) + "-", subs: map[string]*Subscription{}, rates: map[string]*rate.Limiter{},
	}
}

// Capabilities returns what the backend can promise.
func (b *Bus) Capabilities() Capabilities { return b.caps }

// MaxHops is how many events may lead to another.
func (b *Bus) MaxHops() int { return b.opts.MaxHops }

// Close ends all subscriptions, waiting for deliveries under way, and releases the
// backend.
func (b *Bus) Close() error {
	err := b.bus.Close()
	b.ending.Wait()
	return err
}

// Publish publishes an event and returns once it is kept, as durably as the backend
// does. Topic has to be set. ID, if it is not, is made; an ID that was published on
// the topic within the backend's window makes the event a duplicate, which is dropped. Source, Type
// and Time have defaults. The event is the bus's from then on.
func (b *Bus) Publish(ctx context.Context, e *Event) (Receipt, error) {
	e.Hops = max(e.Hops, HopsFrom(ctx))
	if e.Trace == "" {
		e.Trace = tracing.Parent(ctx)
	}
	if err := b.complete(e); err != nil {
		return Receipt{}, err
	}
	if _, has := ctx.Deadline(); !has && b.caps.Durable {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, b.timeout)
		defer cancel()
	}
	r, err := b.bus.Publish(ctx, e)
	return r, b.failed(ctx, err)
}

// complete checks an event and fills in what it lacks.
func (b *Bus) complete(e *Event) error {
	if err := CheckTopic(e.Topic); err != nil {
		return err
	}
	if len(e.Topic) > MaxTopicBytes-len(DeadTopics) || strings.Count(e.Topic, ".") >= MaxTopicParts-1 { // else there is room for where it goes if nobody can handle it
		if err := CheckTopic(DeadTopics + e.Topic); err != nil && !strings.HasPrefix(e.Topic, DeadTopics) {
			return err
		}
	}
	if len(e.ID)+len(e.Key)+len(e.Source)+len(e.Type) > 4*maxIDBytes || len(e.Labels) > maxLabels {
		return &kernel.Error{Code: kernel.CodeLimit, What: "the event's envelope is too large", Why: "id, key, source and type have 1,024 bytes together, and there are at most 32 labels", Fix: "move it to the data"}
	}
	if len(e.Data) > b.opts.MaxDataBytes {
		return &kernel.Error{Code: kernel.CodeLimit, What: "the event is too large", Why: "its data has " + strconv.Itoa(len(e.Data)) + " bytes, max_data_bytes is " + strconv.Itoa(b.opts.MaxDataBytes), Fix: "keep it as an artifact, and publish its id"}
	}
	if e.Hops > b.opts.MaxHops {
		return &kernel.Error{Code: kernel.CodeLimit, What: "events go round in a circle", Why: "this one was led to by " + strconv.Itoa(e.Hops) + " others, max_hops is " + strconv.Itoa(b.opts.MaxHops), Fix: "see which trigger or handler publishes what starts it again, or raise max_hops"}
	}
	if e.ID == "" {
		e.ID, e.Unique = b.newID(), true
	}
	if e.Source == "" {
		e.Source = "/hexdag"
	}
	if e.Type == "" {
		e.Type = e.Topic
	}
	if e.Time.IsZero() {
		e.Time = b.opts.Now().UTC()
	}
	return nil
}

// newID is unique among all buses, and made without asking for randomness again.
func (b *Bus) newID() string {
	var text [40]byte
	id := append(text[:0], b.prefix...)
	return string(strconv.AppendUint(id, b.count.Add(1), 36))
}

// Read returns events that are kept, oldest first.
func (b *Bus) Read(ctx context.Context, tenant string, patterns []string, start Start, limit int) ([]*Event, error) {
	if err := checkPatterns(patterns); err != nil {
		return nil, err
	}
	if start == (Start{}) {
		start.Beginning = true
	}
	if err := b.checkStart(start); err != nil {
		return nil, err
	}
	events, err := b.bus.Read(ctx, &driver.Query{Tenant: tenant, Patterns: patterns, Start: start, Limit: limit})
	return events, b.failed(ctx, err)
}

// Topics returns the topics that events are kept of and that match one of the
// patterns, sorted.
func (b *Bus) Topics(ctx context.Context, tenant string, patterns []string) ([]Topic, error) {
	if err := checkPatterns(patterns); err != nil {
		return nil, err
	}
	topics, err := b.bus.Topics(ctx, tenant, patterns)
	return topics, b.failed(ctx, err)
}

// failed gives a backend's error a code. The context's end wins over what the
// backend made of it, but for a subscriber that is too slow.
func (b *Bus) failed(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var known *kernel.Error
	switch {
	case errors.Is(err, driver.ErrFull):
		return &kernel.Error{Code: kernel.CodeRetry, What: "a slow subscriber holds up the publisher", Why: "its queue is full, and was for as long as the publisher could wait", Fix: "make its handler faster, give it concurrency, or a larger queue", RetryAfter: time.Second, Err: err}
	case errors.Is(err, driver.ErrClosed):
		return &kernel.Error{Code: kernel.CodeUnavailable, What: "the event bus is closed", Err: err}
	case errors.As(err, &known):
		return err
	case ctx.Err() != nil:
		return kernel.ContextError(ctx)
	}
	return &kernel.Error{Code: kernel.CodeFailed, What: "the event bus failed", Why: kernel.Quote(err.Error()), Err: err}
}
