// Package natsbus carries events on NATS JetStream: on a server inside the process
// with a folder of its own, or on a cluster; the code is the same.
//
// Every tenant has a stream. A subject is <prefix>.<tenant>.<partition>.<topic>, the
// partition that of the event's key, so that a group takes the events of a key one at
// a time: it is one consumer a partition, each with one delivery under way.
package natsbus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/natsserver"
	"github.com/hexdag/hexdag/host/natsstream"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
)

// partitions is into how many a tenant's keys are divided. It is fixed: a key has to
// stay where it is.
const partitions = 8

// Config says how events are kept. A zero stands for the default. The JSON form is what
// an operator configures.
type Config struct {
	Streams
	MaxAge time.Duration `json:"-"` // how long they are kept; 7 days
	Dedup  time.Duration `json:"-"` // how long an id is remembered; 2 minutes
}

// Streams is the part of Config that an operator writes as it is.
type Streams struct {
	Prefix      string `json:"prefix"`       // of subjects and streams; "hexdag"
	Replicas    int    `json:"replicas"`     // of a cluster's streams; 1
	RetainBytes int64  `json:"retain_bytes"` // that a tenant's events take; the oldest make room; 1 GiB
}

// Check returns a CodeConfig error for a configuration that cannot be.
func (c Config) Check() error {
	bad := c.Replicas < 0 || c.Replicas > 5 || c.RetainBytes < 0 || c.MaxAge < 0 || c.Dedup < 0 || strings.ContainsFunc(c.Prefix, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' })
	if bad {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of the event bus on NATS cannot be used", Why: "prefix has lower-case letters, digits and -, replicas is 1 to 5, and nothing is negative", Fix: "leave them out for the defaults"}
	}
	return nil
}

func (c Config) orDefault() Config {
	if c.Prefix == "" {
		c.Prefix = "hexdag"
	}
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	if c.RetainBytes == 0 {
		c.RetainBytes = 1 << 30
	}
	if c.MaxAge == 0 {
		c.MaxAge = 7 * 24 * time.Hour
	}
	if c.Dedup == 0 {
		c.Dedup = min(2*time.Minute, c.MaxAge)
	}
	return c
}

// Bus is a driver.Bus.
type Bus struct {
	server *natsserver.Server
	config Config

	making  sync.Mutex
	mu      sync.Mutex
	closed  bool
	streams map[string]stream // of tenants
	subs    map[*subscription]struct{}
}

// stream is where a tenant's events are.
type stream struct {
	jetstream.Stream
	name   string
	prefix string // of its subjects, "." included
}

// New returns the bus on a server, which the caller closes after it.
func New(server *natsserver.Server, c Config) (*Bus, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	return &Bus{server: server, config: c.orDefault(), streams: map[string]stream{}, subs: map[*subscription]struct{}{}}, nil
}

// Capabilities returns what JetStream can promise.
func (b *Bus) Capabilities() driver.Capabilities {
	return driver.Capabilities{Durable: true, Shared: true, ReplaySequence: true, ReplayTime: true, Dedup: true, CountsCrashes: true, ForgetsGroups: true, TotalOrder: true}
}

// stream returns a tenant's stream, and makes it if need be.
func (b *Bus) stream(ctx context.Context, tenant string) (stream, error) {
	if known, ok, err := b.known(tenant); ok || err != nil {
		return known, err
	}
	b.making.Lock() // a cluster that is asked for the same several times at once may leave one without an answer
	defer b.making.Unlock()
	if known, ok, err := b.known(tenant); ok || err != nil {
		return known, err
	}
	name := b.config.Prefix + "_ev_" + driver.NameOf(tenant)
	made := stream{name: name, prefix: b.config.Prefix + ".ev." + driver.NameOf(tenant) + "."}
	want := jetstream.StreamConfig{
		Name: name, Description: "events of tenant " + kernel.Quote(tenant), Subjects: []string{made.prefix + ">"}, Storage: jetstream.FileStorage, Replicas: b.config.Replicas,
		MaxBytes: b.config.RetainBytes, MaxAge: b.config.MaxAge, Duplicates: b.config.Dedup, Discard: jetstream.DiscardOld, AllowDirect: true,
	}
	err := insist(ctx, func(ctx context.Context) (err error) {
		made.Stream, err = b.server.JetStream().Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) || err == nil && !agree(made.CachedInfo().Config, want) {
			made.Stream, err = b.server.JetStream().CreateOrUpdateStream(ctx, want)
		}
		return err
	})
	if err != nil {
		return stream{}, b.unavailable(err)
	}
	b.mu.Lock()
	b.streams[tenant] = made
	b.mu.Unlock()
	return made, nil
}

// agree is whether a stream is as wanted. One that is stays untouched: an update writes its files, and
// nats-server 2.15 updates without regard for a consumer that is being made.
func agree(is, want jetstream.StreamConfig) bool {
	return slices.Equal(is.Subjects, want.Subjects) && is.Replicas == want.Replicas && max(is.MaxBytes, 0) == max(want.MaxBytes, 0) &&
		is.MaxAge == want.MaxAge && is.Duplicates == want.Duplicates && is.Discard == want.Discard && is.AllowDirect == want.AllowDirect
}

func (b *Bus) known(tenant string) (stream, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return stream{}, false, driver.ErrClosed
	}
	s, ok := b.streams[tenant]
	return s, ok, nil
}

// unavailable gives an error of NATS a code.
func (b *Bus) unavailable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	why := kernel.Quote(err.Error())
	if p := b.server.Problem(); p != "" {
		why += "; the server in this process says: " + kernel.Quote(p)
	}
	return &kernel.Error{Code: kernel.CodeUnavailable, What: "the event bus on NATS does not answer as it should", Why: why, Fix: "see whether NATS runs, has a majority of its nodes, and room on its disk; one that ran out of room has to be started again", Err: err}
}

// insist does what fails until it does not, each attempt within its time.
func insist(ctx context.Context, do func(context.Context) error) error {
	return natsstream.Insist(ctx, func() error {
		try, cancel := context.WithTimeout(ctx, attempt)
		defer cancel()
		return do(try)
	})
}

// attempt is how long one attempt to publish may take before another is made: a cluster
// that has just lost its leader does not answer.
const attempt = 2 * time.Second

// asking is how long all attempts at what is no publishing may take.
const asking = 30 * time.Second

// Publish publishes until it is acknowledged; the id keeps a second attempt from being a
// second event.
func (b *Bus) Publish(ctx context.Context, e *driver.Event) (driver.Receipt, error) {
	s, err := b.stream(ctx, e.Tenant)
	if err != nil {
		return driver.Receipt{}, err
	}
	text, err := json.Marshal(e)
	if err != nil {
		return driver.Receipt{}, err
	}
	if len(text) > b.server.MaxPayload() {
		return driver.Receipt{}, &kernel.Error{Code: kernel.CodeLimit, What: "the event is too large for NATS", Why: fmt.Sprintf("it has %d bytes, max_payload of the server is %d", len(text), b.server.MaxPayload()), Fix: "keep the data as an artifact, and publish its id"}
	}
	msg := &nats.Msg{Subject: s.prefix + strconv.Itoa(driver.Partition(e, partitions)) + "." + e.Topic, Data: text, Header: nats.Header{}}
	msg.Header[jetstream.MsgIDHeader] = []string{driver.Identity(e)}
	var ack *jetstream.PubAck
	if err := insist(ctx, func(ctx context.Context) (err error) {
		ack, err = b.server.JetStream().PublishMsg(ctx, msg)
		return err
	}); err != nil {
		return driver.Receipt{}, b.unavailable(err)
	}
	return driver.Receipt{Sequence: ack.Sequence, Duplicate: ack.Duplicate}, nil
}

// event reads a message.
func event(msg jetstream.Msg) (*driver.Event, uint64, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, 0, err
	}
	e := &driver.Event{}
	if err := json.Unmarshal(msg.Data(), e); err != nil {
		return nil, 0, err
	}
	e.Sequence = meta.Sequence.Stream
	return e, meta.NumDelivered, nil
}

// Read returns events that are kept, through a consumer that is gone thereafter. Of a
// cluster it may be a node that lacks the latest.
func (b *Bus) Read(ctx context.Context, q *driver.Query) ([]*driver.Event, error) {
	s, err := b.stream(ctx, q.Tenant)
	if err != nil {
		return nil, err
	}
	config := jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, InactiveThreshold: 10 * time.Second}
	exact := s.filter(&config, q.Patterns, "*")
	startAt(&config, q.Start)
	var c jetstream.Consumer
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	if err := insist(ctx, func(ctx context.Context) (err error) {
		c, err = s.CreateConsumer(ctx, config)
		return err
	}); err != nil {
		return nil, b.unavailable(err)
	}
	defer s.DeleteConsumer(context.WithoutCancel(ctx), c.CachedInfo().Name) //nolint:errcheck // it is gone by itself, soon
	var events []*driver.Event
	for len(events) < q.Limit {
		batch, err := c.FetchNoWait(min(q.Limit-len(events), 500))
		if err != nil {
			return nil, b.unavailable(err)
		}
		n := 0
		for msg := range batch.Messages() {
			n++
			if e, _, err := event(msg); err == nil && (exact || driver.MatchAny(q.Patterns, e.Topic)) {
				events = append(events, e)
			}
		}
		if err := batch.Error(); err != nil {
			return nil, b.unavailable(err)
		}
		if n == 0 {
			break
		}
	}
	return events, nil
}

func startAt(c *jetstream.ConsumerConfig, s driver.Start) {
	switch {
	case s.Beginning:
		c.DeliverPolicy = jetstream.DeliverAllPolicy
	case s.Sequence > 0:
		c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, s.Sequence
	case !s.Time.IsZero():
		c.DeliverPolicy, c.OptStartTime = jetstream.DeliverByStartTimePolicy, &s.Time
	default:
		c.DeliverPolicy = jetstream.DeliverNewPolicy
	}
}

// Topics returns the topics of what is kept.
func (b *Bus) Topics(ctx context.Context, tenant string, patterns []string) ([]driver.Topic, error) {
	s, err := b.stream(ctx, tenant)
	if err != nil {
		return nil, err
	}
	found := map[string]*driver.Topic{}
	info, err := s.Info(natsstream.EachRequest(ctx), jetstream.WithSubjectFilter(s.prefix+">"))
	if err != nil {
		return nil, b.unavailable(err)
	}
	for subject, n := range info.State.Subjects {
		_, name, _ := strings.Cut(strings.TrimPrefix(subject, s.prefix), ".")
		if !driver.MatchAny(patterns, name) {
			continue
		}
		if found[name] == nil {
			found[name] = &driver.Topic{Name: name}
		}
		found[name].Events += n
	}
	topics := make([]driver.Topic, 0, len(found))
	for _, t := range found {
		topics = append(topics, *t)
	}
	slices.SortFunc(topics, func(a, b driver.Topic) int { return strings.Compare(a.Name, b.Name) })
	return topics, nil
}

// Close ends all subscriptions.
func (b *Bus) Close() error {
	b.mu.Lock()
	b.closed = true
	var subs []*subscription
	for s := range b.subs {
		subs = append(subs, s)
	}
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	var wait sync.WaitGroup
	problems := make([]error, len(subs))
	for i, s := range subs {
		wait.Go(func() { problems[i] = s.Close(ctx) })
	}
	wait.Wait()
	return errors.Join(problems...)
}

// closing is how long handlers have when the bus closes.
const closing = 10 * time.Second
