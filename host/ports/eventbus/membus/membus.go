// Package membus carries events inside a process. It keeps the latest ones for those
// who come late, and nothing of it outlives the process.
package membus

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
)

// Config bounds what the bus keeps in memory. A zero stands for the default. The
// JSON form is what an operator configures.
type Config struct {
	Queue       int           `json:"queue"`        // events that wait for one subscription or group; 1,024
	Retain      int           `json:"retain"`       // events that are kept for those who come late, of one tenant; 10,000
	RetainBytes int64         `json:"retain_bytes"` // ... and their bytes, and those of groups that nobody is in; 16 MiB each
	Dedup       time.Duration `json:"-"`            // how long an id is remembered; 2 minutes
	DedupIDs    int           `json:"dedup_ids"`    // and how many, of one tenant; 100,000
	Patience    time.Duration `json:"-"`            // how long a publisher waits for a full queue; 30 s
}

func (c Config) orDefault() Config {
	for _, limit := range []struct {
		value  *int
		orElse int
	}{{&c.Queue, 1024}, {&c.Retain, 10_000}, {&c.DedupIDs, 100_000}} {
		if *limit.value <= 0 {
			*limit.value = limit.orElse
		}
	}
	if c.RetainBytes <= 0 {
		c.RetainBytes = 16 << 20
	}
	if c.Dedup <= 0 {
		c.Dedup = 2 * time.Minute
	}
	if c.Patience <= 0 {
		c.Patience = 30 * time.Second
	}
	return c
}

// Bus is a driver.Bus.
type Bus struct {
	config  Config
	tenants sync.Map // string to *tenant
	ctx     context.Context
	cancel  context.CancelFunc

	mu     sync.Mutex
	closed bool
	subs   map[*member]struct{}
}

// New returns a bus without events.
func New(c Config) *Bus {
	b := &Bus{config: c.orDefault(), subs: map[*member]struct{}{}}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

// Capabilities returns what a bus in a process can promise.
func (b *Bus) Capabilities() driver.Capabilities {
	return driver.Capabilities{ReplaySequence: true, ReplayTime: true, Dedup: true, ForgetsGroups: true, TotalOrder: true}
}

// tenant is what one tenant publishes and subscribes to.
type tenant struct {
	mu     sync.Mutex
	topics trie
	log    log
	ids    ids
	groups map[string]*queue
	parked []*queue // groups that nobody is in, in the order in which they were left
}

func (b *Bus) tenant(name string) *tenant {
	if t, ok := b.tenants.Load(name); ok {
		return t.(*tenant)
	}
	t, _ := b.tenants.LoadOrStore(name, &tenant{
		log: log{max: b.config.Retain, maxBytes: b.config.RetainBytes}, ids: ids{window: b.config.Dedup, max: b.config.DedupIDs},
		groups: map[string]*queue{},
	})
	return t.(*tenant)
}

// Publish puts the event into the queues of those who want it.
func (b *Bus) Publish(ctx context.Context, e *driver.Event) (driver.Receipt, error) {
	if b.ctx.Err() != nil {
		return driver.Receipt{}, driver.ErrClosed
	}
	t := b.tenant(e.Tenant)
	t.mu.Lock()
	identity := ""
	if !e.Unique {
		identity = driver.Identity(e)
		if sequence, known := t.ids.find(identity); known {
			t.mu.Unlock()
			return driver.Receipt{Sequence: sequence, Duplicate: true}, nil
		}
	}
	t.log.add(e)
	if !e.Unique {
		t.ids.add(identity, e.Sequence)
	}
	sequence, queues := e.Sequence, t.topics.match(e.Topic)
	t.mu.Unlock()
	var full []*queue
	for _, q := range queues {
		if !q.put(e) {
			full = append(full, q)
		}
	}
	var problems []error
	for _, q := range full { // when all the others have it
		problems = append(problems, b.wait(ctx, q, e))
	}
	if err := errors.Join(problems...); err != nil {
		t.forget(identity) // what is published again is no duplicate
		return driver.Receipt{}, err
	}
	return driver.Receipt{Sequence: sequence}, nil
}

func (t *tenant) forget(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.ids.known, id)
}

// wait puts an event into a queue that is full, when it is so no more.
func (b *Bus) wait(ctx context.Context, q *queue, e *driver.Event) error {
	patience := time.NewTimer(b.config.Patience)
	defer patience.Stop()
	for {
		space := q.putOrWait(e)
		if space == nil {
			return nil
		}
		select {
		case <-space:
		case <-patience.C:
			return driver.ErrFull
		case <-b.ctx.Done():
			return driver.ErrClosed
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return driver.ErrFull
			}
			return ctx.Err()
		}
	}
}

// Subscribe begins to deliver.
func (b *Bus) Subscribe(ctx context.Context, s *driver.Subscribe) (driver.Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, driver.ErrClosed
	}
	t := b.tenant(s.Tenant)
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.groups[s.Group]
	if s.Group == "" || q == nil {
		q = b.open(t, s)
	} else if !slices.Equal(q.patterns, s.Patterns) {
		return nil, otherPatterns(s.Group, q.patterns)
	}
	m := &member{bus: b, queue: q, want: s, idle: make(chan struct{})}
	m.ctx, m.cancel = context.WithCancel(b.ctx)
	b.subs[m] = struct{}{}
	q.join(m)
	return m, nil
}

func otherPatterns(group string, patterns []string) error {
	return &kernel.Error{Code: kernel.CodeArguments, What: "the group " + kernel.Quote(group) + " has other patterns", Why: "it was subscribed to " + kernel.Quote(strings.Join(patterns, " ")), Fix: "use the same, or another group"}
}

// open makes the queue of a subscription or a group, or finds it where it was left, and puts in what is
// kept for it. The tenant is locked.
func (b *Bus) open(t *tenant, s *driver.Subscribe) *queue {
	q, from := t.unpark(s.Group, s.Patterns), s.Start
	if q != nil {
		from = driver.Start{Sequence: q.resume}
	} else {
		q = newQueue(t, s, b.config.Queue)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.away, q.keep = false, s.Keep
	if from != (driver.Start{}) {
		for e := range t.log.from(from) {
			if driver.MatchAny(s.Patterns, e.Topic) {
				q.push(e) // whatever the limit is
			}
		}
	}
	t.topics.add(s.Patterns, q)
	if s.Group != "" {
		t.groups[s.Group] = q
	}
	return q
}

func newQueue(t *tenant, s *driver.Subscribe, limit int) *queue {
	lanes := 1 // one that alone is delivered one event at a time has them in the order of all
	if s.Concurrency > 1 || s.Group != "" {
		lanes = manyLanes
	}
	return &queue{tenant: t, group: s.Group, patterns: s.Patterns, lanes: make([]lane, lanes), limit: limit}
}

// Read returns events that are kept.
func (b *Bus) Read(_ context.Context, query *driver.Query) ([]*driver.Event, error) {
	t := b.tenant(query.Tenant)
	t.mu.Lock()
	defer t.mu.Unlock()
	var events []*driver.Event
	for e := range t.log.from(query.Start) {
		if len(events) == query.Limit {
			break
		}
		if driver.MatchAny(query.Patterns, e.Topic) {
			events = append(events, e)
		}
	}
	return events, nil
}

// Topics returns the topics of what is kept.
func (b *Bus) Topics(_ context.Context, name string, patterns []string) ([]driver.Topic, error) {
	t := b.tenant(name)
	t.mu.Lock()
	defer t.mu.Unlock()
	found := map[string]*driver.Topic{}
	for e := range t.log.from(driver.Start{Beginning: true}) {
		topic := found[e.Topic]
		if topic == nil {
			if !driver.MatchAny(patterns, e.Topic) {
				continue
			}
			topic = &driver.Topic{Name: e.Topic}
			found[e.Topic] = topic
		}
		topic.Events++
		topic.Last = e.Time
	}
	topics := make([]driver.Topic, 0, len(found))
	for _, topic := range found {
		topics = append(topics, *topic)
	}
	slices.SortFunc(topics, func(a, b driver.Topic) int { return strings.Compare(a.Name, b.Name) })
	return topics, nil
}

// Close ends all subscriptions.
func (b *Bus) Close() error {
	b.mu.Lock()
	b.closed = true
	var members []*member
	for m := range b.subs {
		members = append(members, m)
	}
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	var problems []error
	for _, m := range members {
		problems = append(problems, m.Close(ctx))
	}
	b.cancel()
	return errors.Join(problems...)
}

// closing is how long handlers have when the bus closes.
const closing = 10 * time.Second
