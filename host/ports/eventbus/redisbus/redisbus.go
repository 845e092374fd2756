// Package redisbus carries events on Redis Streams. What Redis loses in a crash, as its
// appendfsync has it, the bus loses.
//
// A tenant has a stream for each partition of its keys, and one clock for all that never goes
// back, so that an entry's id is its place in the order of all. A group has, for each partition, a
// cursor, and a member that owns the partition for as long as it says so: the cursor
// moves for the owner alone. All keys of a tenant have one hash tag.
package redisbus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
)

// partitions is into how many a tenant's keys are divided. It is fixed: a key has to
// stay where it is.
const partitions = 8

// Config says how events are kept. A zero stands for the default. The JSON form is what
// an operator configures.
type Config struct {
	URL    string        `json:"url"`    // redis://user:password@host:6379/0, rediss:// with TLS
	Prefix string        `json:"prefix"` // of keys; "hexdag"
	Retain int64         `json:"retain"` // events of a tenant that are kept, about; 1,000,000
	Dedup  time.Duration `json:"-"`      // how long an id is remembered; 2 minutes
}

// Bus is a driver.Bus.
type Bus struct {
	client *redis.Client
	config Config

	mu     sync.Mutex
	closed bool
	subs   map[*subscription]struct{}
}

// Open connects. The error has CodeConfig, or CodeUnavailable where there is no Redis.
func Open(ctx context.Context, c Config) (*Bus, error) {
	opts, err := redis.ParseURL(c.URL)
	if err != nil || c.Retain < 0 || c.Dedup < 0 {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of the event bus on Redis cannot be used", Why: why(err), Fix: "set url to redis://host:6379; nothing is negative", Err: err}
	}
	opts.MaxRetries = -1                        // what may be tried again is tried here
	opts.PoolSize, opts.MaxIdleConns = 4096, 64 // every lane waits on a connection of its own
	if c.Prefix == "" {
		c.Prefix = "hexdag"
	}
	if c.Retain == 0 {
		c.Retain = 1_000_000
	}
	if c.Dedup == 0 {
		c.Dedup = 2 * time.Minute
	}
	b := &Bus{client: redis.NewClient(opts), config: c, subs: map[*subscription]struct{}{}}
	if err := b.client.Ping(ctx).Err(); err != nil {
		return nil, errors.Join(unavailable(err), b.client.Close())
	}
	return b, nil
}

// why leaves out what redis.ParseURL says of the URL: it may hold a password.
func why(err error) string {
	if err != nil {
		return "url is none of Redis"
	}
	return "a number is negative"
}

// Capabilities returns what Redis Streams can promise.
func (b *Bus) Capabilities() driver.Capabilities {
	return driver.Capabilities{Durable: true, Shared: true, ReplaySequence: true, ReplayTime: true, Dedup: true, CountsCrashes: true, ForgetsGroups: true, TotalOrder: true}
}

func unavailable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return &kernel.Error{Code: kernel.CodeUnavailable, What: "the event bus on Redis does not answer as it should", Why: kernel.Quote(err.Error()), Fix: "see whether Redis runs, and has memory left", Err: err}
}

// keys are a tenant's.
type keys string

func (b *Bus) keys(tenant string) keys {
	return keys(b.config.Prefix + ":ev:{" + driver.NameOf(tenant) + "}:")
}

func (k keys) stream(partition int) string { return string(k) + "s:" + strconv.Itoa(partition) }
func (k keys) last() string                { return string(k) + "n" }
func (k keys) topics() string              { return string(k) + "topics" }
func (k keys) id(id string) string         { return string(k) + "id:" + id }
func (k keys) group(g string) string       { return string(k) + "g:" + g }
func (k keys) members(g string) string     { return string(k) + "m:" + g }
func (k keys) owner(g string, p int) string {
	return string(k) + "o:" + g + ":" + strconv.Itoa(p)
}

// publish: a known id is a duplicate; else the event gets the next number, which is its entry's id.
// That is the time in microseconds, so that it rises also where Redis has lost what it was; and
// it rises by one where the clock has not gone on, or has gone back.
var publish = redis.NewScript(`
local known = redis.call('GET', KEYS[3])
if known then return {known, 1} end
local time = redis.call('TIME')
local n = math.max((tonumber(redis.call('GET', KEYS[1])) or 0) + 1, time[1] * 1000000 + time[2])
n = string.format('%.0f', n)
redis.call('SET', KEYS[1], n)
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], n .. '-0', 'e', ARGV[1])
redis.call('SET', KEYS[3], n, 'PX', ARGV[3])
redis.call('HINCRBY', KEYS[4], ARGV[4], 1)
return {n, 0}`)

// Publish publishes until it is acknowledged; the id keeps a second attempt from being a
// second event.
func (b *Bus) Publish(ctx context.Context, e *driver.Event) (driver.Receipt, error) {
	if b.isClosed() {
		return driver.Receipt{}, driver.ErrClosed
	}
	text, err := json.Marshal(e)
	if err != nil {
		return driver.Receipt{}, err
	}
	k := b.keys(e.Tenant)
	names := []string{k.last(), k.stream(driver.Partition(e, partitions)), k.id(driver.Identity(e)), k.topics()}
	for {
		r, err := publish.Run(ctx, b.client, names, text, max(b.config.Retain/partitions, 1), b.config.Dedup.Milliseconds(), e.Topic).Slice()
		if err == nil {
			return receipt(r)
		}
		var refused redis.Error
		if errors.As(err, &refused) && !strings.HasPrefix(refused.Error(), "LOADING") || ctx.Err() != nil {
			return driver.Receipt{}, unavailable(err)
		}
		select {
		case <-ctx.Done():
			return driver.Receipt{}, unavailable(err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func receipt(r []any) (driver.Receipt, error) {
	if len(r) == 2 {
		text, _ := r[0].(string)
		duplicate, _ := r[1].(int64)
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return driver.Receipt{Sequence: n, Duplicate: duplicate == 1}, nil
		}
	}
	return driver.Receipt{}, fmt.Errorf("redis answered %v", r)
}

func (b *Bus) isClosed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

// entry is an event in a stream, by its number.
type entry struct {
	n     uint64
	event *driver.Event // nil where it is none
}

func parse(m redis.XMessage) entry {
	id, _, _ := strings.Cut(m.ID, "-")
	n, _ := strconv.ParseUint(id, 10, 64)
	text, _ := m.Values["e"].(string)
	e := &driver.Event{}
	if json.Unmarshal([]byte(text), e) != nil {
		return entry{n: n}
	}
	e.Sequence = n
	return entry{n, e}
}

func entryID(n uint64) string { return strconv.FormatUint(n, 10) + "-0" }

// Read returns events that are kept.
func (b *Bus) Read(ctx context.Context, q *driver.Query) ([]*driver.Event, error) {
	k := b.keys(q.Tenant)
	var events []*driver.Event
	for p := range partitions {
		from := entryID(q.Start.Sequence)
		for found := 0; found < q.Limit; {
			page, err := b.client.XRangeN(ctx, k.stream(p), from, "+", 500).Result()
			if err != nil {
				return nil, unavailable(err)
			}
			for _, m := range page {
				e := parse(m).event
				if e != nil && !e.Time.Before(q.Start.Time) && driver.MatchAny(q.Patterns, e.Topic) && found < q.Limit {
					events = append(events, e)
					found++
				}
			}
			if len(page) < 500 {
				break
			}
			from = "(" + page[len(page)-1].ID
		}
	}
	slices.SortFunc(events, func(a, b *driver.Event) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return events[:min(len(events), q.Limit)], nil
}

// Topics returns the topics that were published on, with how many events ever were.
func (b *Bus) Topics(ctx context.Context, tenant string, patterns []string) ([]driver.Topic, error) {
	counts, err := b.client.HGetAll(ctx, b.keys(tenant).topics()).Result()
	if err != nil {
		return nil, unavailable(err)
	}
	topics := []driver.Topic{}
	for name, count := range counts {
		if driver.MatchAny(patterns, name) {
			n, _ := strconv.ParseUint(count, 10, 64)
			topics = append(topics, driver.Topic{Name: name, Events: n})
		}
	}
	slices.SortFunc(topics, func(a, b driver.Topic) int { return strings.Compare(a.Name, b.Name) })
	return topics, nil
}

// start returns the number behind which a subscription begins.
func (b *Bus) start(ctx context.Context, k keys, s driver.Start) (uint64, error) {
	switch {
	case s.Beginning:
		return 0, nil
	case s.Sequence > 0:
		return s.Sequence - 1, nil
	case !s.Time.IsZero():
		first := uint64(0)
		for p := range partitions { // the least of the first of each that is not before
			n, err := b.firstSince(ctx, k.stream(p), s.Time)
			if err != nil {
				return 0, err
			}
			if n > 0 && (first == 0 || n < first) {
				first = n
			}
		}
		if first > 0 {
			return first - 1, nil
		}
	}
	n, err := b.client.Get(ctx, k.last()).Uint64()
	if err != nil && !errors.Is(err, redis.Nil) {
		return 0, unavailable(err)
	}
	return n, nil
}

func (b *Bus) firstSince(ctx context.Context, stream string, at time.Time) (uint64, error) {
	from := "-"
	for {
		page, err := b.client.XRangeN(ctx, stream, from, "+", 500).Result()
		if err != nil {
			return 0, unavailable(err)
		}
		for _, m := range page {
			if e := parse(m); e.event != nil && !e.event.Time.Before(at) {
				return e.n, nil
			}
		}
		if len(page) < 500 {
			return 0, nil
		}
		from = "(" + page[len(page)-1].ID
	}
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
	problems := make([]error, len(subs), len(subs)+1)
	var wait sync.WaitGroup
	for i, s := range subs {
		wait.Go(func() { problems[i] = s.Close(ctx) })
	}
	wait.Wait()
	return errors.Join(append(problems, b.client.Close())...)
}

// closing is how long handlers have when the bus closes.
const closing = 10 * time.Second
