// Package kafkabus carries events on Kafka. A tenant has a Kafka topic, whose partitions are
// those of the events' keys; what topic an event is on is in the event, and is looked at by who
// subscribes. Kafka drops no duplicates and counts no deliveries: see Capabilities.
package kafkabus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
)

// partitions is into how many a tenant's keys are divided. It is fixed: a key has to
// stay where it is.
const partitions = 8

// Config says how events are kept. A zero stands for the default. The JSON form is what
// an operator configures.
type Config struct {
	Brokers  []string      `json:"brokers"` // host:port
	Prefix   string        `json:"prefix"`  // of Kafka's topics and groups; "hexdag"
	Replicas int16         `json:"replicas"`
	MaxAge   time.Duration `json:"-"` // how long events are kept; 7 days
}

// Bus is a driver.Bus.
type Bus struct {
	config Config
	client *kgo.Client
	admin  *kadm.Client

	mu     sync.Mutex
	closed bool
	topics map[string]string // of tenants, that are there
	subs   map[*subscription]struct{}
}

// Open connects. The error has CodeConfig, or CodeUnavailable where there is no Kafka.
func Open(ctx context.Context, c Config) (*Bus, error) {
	if len(c.Brokers) == 0 || c.Replicas < 0 || c.MaxAge < 0 || strings.ContainsFunc(c.Prefix, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }) {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of the event bus on Kafka cannot be used", Why: "brokers lists host:port, prefix has lower-case letters, digits and -, and nothing is negative", Fix: "set brokers: [host:9092]"}
	}
	if c.Prefix == "" {
		c.Prefix = "hexdag"
	}
	if c.Replicas == 0 {
		c.Replicas = -1 // the cluster's default
	}
	if c.MaxAge == 0 {
		c.MaxAge = 7 * 24 * time.Hour
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers...), kgo.ClientID("hexdag"), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0))
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of the event bus on Kafka cannot be used", Why: kernel.Quote(err.Error()), Err: err}
	}
	b := &Bus{config: c, client: client, admin: kadm.NewClient(client), topics: map[string]string{}, subs: map[*subscription]struct{}{}}
	reach, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := client.Ping(reach); err != nil {
		client.Close()
		return nil, unavailable(err)
	}
	return b, nil
}

// Capabilities returns what Kafka can promise.
func (b *Bus) Capabilities() driver.Capabilities {
	return driver.Capabilities{Durable: true, Shared: true, ReplayTime: true}
}

func unavailable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	if errors.Is(err, kerr.MessageTooLarge) {
		return &kernel.Error{Code: kernel.CodeLimit, What: "the event is too large for Kafka", Why: kernel.Quote(err.Error()), Fix: "keep the data as an artifact, and publish its id", Err: err}
	}
	return &kernel.Error{Code: kernel.CodeUnavailable, What: "the event bus on Kafka does not answer as it should", Why: kernel.Quote(err.Error()), Fix: "see whether Kafka runs, and has a leader for every partition", Err: err}
}

// topic returns a tenant's Kafka topic, and makes it if need be.
func (b *Bus) topic(ctx context.Context, tenant string) (string, error) {
	b.mu.Lock()
	known, ok := b.topics[tenant]
	closed := b.closed
	b.mu.Unlock()
	if closed {
		return "", driver.ErrClosed
	}
	if ok {
		return known, nil
	}
	name := b.config.Prefix + ".ev." + driver.NameOf(tenant)
	age := strconv.FormatInt(b.config.MaxAge.Milliseconds(), 10)
	_, err := b.admin.CreateTopic(ctx, partitions, b.config.Replicas, map[string]*string{"retention.ms": &age}, name)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return "", unavailable(err)
	}
	if _, err := b.ends(ctx, name); err != nil { // until it has its leaders
		return "", err
	}
	b.mu.Lock()
	b.topics[tenant] = name
	b.mu.Unlock()
	return name, nil
}

// ends returns the offsets behind the last records.
func (b *Bus) ends(ctx context.Context, topic string) (map[int32]int64, error) {
	return b.offsets(ctx, topic, func() (kadm.ListedOffsets, error) { return b.admin.ListEndOffsets(ctx, topic) })
}

// offsets asks until there is an answer for every partition.
func (b *Bus) offsets(ctx context.Context, topic string, list func() (kadm.ListedOffsets, error)) (map[int32]int64, error) {
	found := map[int32]int64{}
	err := insist(ctx, func() error {
		listed, err := list()
		if err == nil {
			err = listed.Error()
		}
		for p, o := range listed[topic] {
			found[p] = o.Offset
		}
		if err == nil && len(found) < partitions {
			err = kerr.LeaderNotAvailable
		}
		return err
	})
	return found, err
}

// insist does what fails until it does not, for as long as Kafka says that it may be worth
// another try.
func insist(ctx context.Context, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		err := do()
		switch {
		case err == nil:
			return nil
		case !kerr.IsRetriable(err):
			return unavailable(err)
		}
		select {
		case <-ctx.Done():
			return unavailable(err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// starts returns the offsets at which a subscription begins.
func (b *Bus) starts(ctx context.Context, topic string, s driver.Start) (map[int32]int64, error) {
	switch {
	case s.Beginning:
		return b.offsets(ctx, topic, func() (kadm.ListedOffsets, error) { return b.admin.ListStartOffsets(ctx, topic) })
	case !s.Time.IsZero():
		return b.offsets(ctx, topic, func() (kadm.ListedOffsets, error) {
			return b.admin.ListOffsetsAfterMilli(ctx, s.Time.UnixMilli(), topic)
		})
	}
	return b.ends(ctx, topic)
}

// Publish publishes the event, and returns when all replicas that are in sync have it.
func (b *Bus) Publish(ctx context.Context, e *driver.Event) (driver.Receipt, error) {
	topic, err := b.topic(ctx, e.Tenant)
	if err != nil {
		return driver.Receipt{}, err
	}
	text, err := json.Marshal(e)
	if err != nil {
		return driver.Receipt{}, err
	}
	r, err := b.client.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: int32(driver.Partition(e, partitions)), Key: []byte(e.Key), Value: text}).First()
	if err != nil {
		return driver.Receipt{}, unavailable(err)
	}
	return driver.Receipt{Sequence: sequence(r)}, nil
}

// sequence of a record is not 0.
func sequence(r *kgo.Record) uint64 { return uint64(r.Offset) + 1 }

// parse returns nil for what is no event.
func parse(r *kgo.Record) *driver.Event {
	e := &driver.Event{}
	if json.Unmarshal(r.Value, e) != nil {
		return nil
	}
	e.Sequence = sequence(r)
	return e
}

// scan hands on the events that are kept, partition by partition in their order, until it has
// seen what was there when it began. see reports false where it wants no more of a partition.
func (b *Bus) scan(ctx context.Context, tenant string, start driver.Start, see func(partition int32, e *driver.Event) bool) error {
	topic, err := b.topic(ctx, tenant)
	if err != nil {
		return err
	}
	from, err := b.starts(ctx, topic, start)
	if err != nil {
		return err
	}
	ends, err := b.ends(ctx, topic)
	if err != nil {
		return err
	}
	at := map[int32]kgo.Offset{}
	for p, n := range from {
		if n < ends[p] {
			at[p] = kgo.NewOffset().At(n)
		}
	}
	if len(at) == 0 {
		return nil
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.config.Brokers...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: at}), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return unavailable(err)
	}
	defer client.Close()
	for len(at) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return unavailable(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if _, wanted := at[r.Partition]; !wanted {
				return
			}
			e := parse(r)
			if e != nil && r.Offset < ends[r.Partition] && !see(r.Partition, e) || r.Offset+1 >= ends[r.Partition] {
				delete(at, r.Partition)
			}
		})
	}
	return nil
}

// Read returns events that are kept, by their time.
func (b *Bus) Read(ctx context.Context, q *driver.Query) ([]*driver.Event, error) {
	var events []*driver.Event
	found := map[int32]int{}
	err := b.scan(ctx, q.Tenant, q.Start, func(p int32, e *driver.Event) bool {
		if driver.MatchAny(q.Patterns, e.Topic) && found[p] < q.Limit {
			found[p]++
			events = append(events, e)
		}
		return found[p] < q.Limit
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(events, func(a, b *driver.Event) int { return a.Time.Compare(b.Time) })
	return events[:min(len(events), q.Limit)], nil
}

// Topics returns the topics of what is kept, all of which it has to read.
func (b *Bus) Topics(ctx context.Context, tenant string, patterns []string) ([]driver.Topic, error) {
	found := map[string]*driver.Topic{}
	err := b.scan(ctx, tenant, driver.Start{Beginning: true}, func(_ int32, e *driver.Event) bool {
		if !driver.MatchAny(patterns, e.Topic) {
			return true
		}
		if found[e.Topic] == nil {
			found[e.Topic] = &driver.Topic{Name: e.Topic}
		}
		t := found[e.Topic]
		t.Events++
		if e.Time.After(t.Last) {
			t.Last = e.Time
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	topics := make([]driver.Topic, 0, len(found))
	for _, t := range found {
		topics = append(topics, *t)
	}
	slices.SortFunc(topics, func(a, b driver.Topic) int { return cmp.Compare(a.Name, b.Name) })
	return topics, nil
}

// Close ends all subscriptions.
func (b *Bus) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	var subs []*subscription
	for s := range b.subs {
		subs = append(subs, s)
	}
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	problems := make([]error, len(subs))
	var wait sync.WaitGroup
	for i, s := range subs {
		wait.Go(func() { problems[i] = s.Close(ctx) })
	}
	wait.Wait()
	b.client.Close()
	return errors.Join(problems...)
}

// closing is how long handlers have when the bus closes.
const closing = 10 * time.Second
