package redisbus

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
)

// subscription reads streams, and has a lane for each of its partitions.
type subscription struct {
	bus   *Bus
	keys  keys
	want  *driver.Subscribe
	from  uint64        // the number behind which it begins, and a new group
	me    string        // as a member of the group
	slots chan struct{} // as many as deliveries may be under way

	handling context.Context // of handlers
	give     context.CancelFunc
	reading  context.Context // of loops; it ends first
	stop     context.CancelFunc
	loops    sync.WaitGroup

	mu    sync.Mutex
	lanes map[int]*lane // by partition; of a group, those that it owns
}

// Subscribe begins to deliver.
func (b *Bus) Subscribe(ctx context.Context, want *driver.Subscribe) (driver.Subscription, error) {
	if b.isClosed() {
		return nil, driver.ErrClosed
	}
	s := &subscription{bus: b, keys: b.keys(want.Tenant), want: want, me: rand.Text(), slots: make(chan struct{}, want.Concurrency), lanes: map[int]*lane{}}
	var err error
	if s.from, err = b.start(ctx, s.keys, want.Start); err == nil && want.Group != "" {
		err = s.found(ctx)
	}
	if err != nil {
		return nil, err
	}
	s.handling, s.give = context.WithCancel(context.Background())
	s.reading, s.stop = context.WithCancel(s.handling)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		s.give()
		return nil, driver.ErrClosed
	}
	b.subs[s] = struct{}{}
	if want.Group != "" {
		s.loops.Go(s.own)
		return s, nil
	}
	if want.Concurrency == 1 {
		s.loops.Go(func() { s.runOne(s.from) })
		return s, nil
	}
	for p := range partitions {
		s.add(p, s.from)
	}
	return s, nil
}

// found: the first makes the group, with its cursors; others have to have the same patterns.
var found = redis.NewScript(`
local patterns = redis.call('HGET', KEYS[1], 'patterns')
if patterns then return patterns end
redis.call('HSET', KEYS[1], 'patterns', ARGV[1])
for p = 0, ARGV[3] - 1 do redis.call('HSETNX', KEYS[1], 'c' .. p, ARGV[2]) end
return ARGV[1]`)

func (s *subscription) found(ctx context.Context) error {
	patterns := strings.Join(s.want.Patterns, " ")
	is, err := found.Run(ctx, s.bus.client, []string{s.keys.group(s.want.Group)}, patterns, s.from, partitions).Text()
	if err != nil {
		return unavailable(err)
	}
	if is != patterns {
		return &kernel.Error{Code: kernel.CodeArguments, What: "the group " + kernel.Quote(s.want.Group) + " has other patterns", Why: "it was subscribed to " + kernel.Quote(is), Fix: "use the same, or another group"}
	}
	return nil
}

// Close ends the subscription.
func (s *subscription) Close(ctx context.Context) error {
	s.bus.mu.Lock()
	_, open := s.bus.subs[s]
	delete(s.bus.subs, s)
	s.bus.mu.Unlock()
	if !open {
		return nil
	}
	s.stop()
	ended := make(chan struct{})
	go func() {
		s.loops.Wait()
		close(ended)
	}()
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		s.give()
		select {
		case <-ended:
		case <-time.After(grace):
			err = ctx.Err()
		}
	}
	s.give()
	return err
}

// grace is how long a handler has to heed the end of its context.
const grace = time.Second

// page is how many entries are read of a stream at once.
const page = 64

// read returns the entries behind the cursors, by partition; it waits for some.
func (s *subscription) read(ctx context.Context, from map[int]uint64) (map[int][]entry, error) {
	var names, ids []string
	at := map[string]int{}
	for p, n := range from {
		name := s.keys.stream(p)
		at[name] = p
		names, ids = append(names, name), append(ids, entryID(n))
	}
	streams, err := s.bus.client.XRead(ctx, &redis.XReadArgs{Streams: append(names, ids...), Count: page, Block: 500 * time.Millisecond}).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	entries := map[int][]entry{}
	for _, stream := range streams {
		for _, m := range stream.Messages {
			entries[at[stream.Stream]] = append(entries[at[stream.Stream]], parse(m))
		}
	}
	return entries, nil
}

// pause waits before what failed is tried again.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// runOne delivers all partitions' events in the one order of all.
func (s *subscription) runOne(from uint64) {
	cursors := map[int]uint64{}
	for p := range partitions {
		cursors[p] = from
	}
	ctx := s.reading
	for ctx.Err() == nil {
		read, err := s.read(ctx, cursors)
		if err != nil {
			pause(ctx, 50*time.Millisecond)
			continue
		}
		var all []entry
		upTo := uint64(math.MaxUint64) // behind it, there may be entries that were not read
		for _, entries := range read {
			all = append(all, entries...)
			if len(entries) == page {
				upTo = min(upTo, entries[page-1].n)
			}
		}
		slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.n, b.n) })
		for _, e := range all {
			if e.n > upTo || !s.deliver(e, &counted{}) {
				break
			}
			for p := range cursors {
				cursors[p] = max(cursors[p], e.n)
			}
		}
	}
}

// counter counts the attempts at an entry.
type counter interface {
	// count returns which attempt it is, and whether the entry is still the subscription's.
	count(ctx context.Context, n uint64) (int, bool)
}

// counted counts in this process.
type counted struct{ n int }

func (c *counted) count(context.Context, uint64) (int, bool) {
	c.n++
	return c.n, true
}

// deliver delivers an entry until it is settled. It reports false where that did not come
// about: the subscription ends, or the entry is another's.
func (s *subscription) deliver(e entry, attempts counter) bool {
	ctx := s.reading
	if e.event == nil || !driver.MatchAny(s.want.Patterns, e.event.Topic) {
		return ctx.Err() == nil
	}
	for {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return false
		}
		n, mine := attempts.count(ctx, e.n)
		v := driver.Verdict{Outcome: driver.Nak}
		if mine {
			v = s.want.Deliver(s.handling, &driver.Delivery{Event: e.event, Attempt: n})
		}
		<-s.slots
		if !mine {
			return false
		}
		if v.Outcome != driver.Nak {
			return true
		}
		pause(ctx, v.Delay)
	}
}

// lane delivers the events of a partition, one after the other.
type lane struct {
	s         *subscription
	partition int
	ctx       context.Context
	stop      context.CancelFunc
	done      chan struct{}
}

// add begins a lane behind a number. The caller is the only one that adds.
func (s *subscription) add(p int, from uint64) {
	l := &lane{s: s, partition: p, done: make(chan struct{})}
	l.ctx, l.stop = context.WithCancel(s.reading)
	s.mu.Lock()
	s.lanes[p] = l
	s.mu.Unlock()
	s.loops.Go(func() {
		defer close(l.done)
		l.run(from)
	})
}

func (l *lane) run(cursor uint64) {
	for l.ctx.Err() == nil {
		read, err := l.s.read(l.ctx, map[int]uint64{l.partition: cursor})
		if err != nil {
			pause(l.ctx, 50*time.Millisecond)
			continue
		}
		for _, e := range read[l.partition] {
			var attempts counter = l
			if l.s.want.Group == "" {
				attempts = &counted{}
			}
			if l.ctx.Err() != nil || !l.s.deliver(e, attempts) {
				return
			}
			cursor = e.n
			if l.s.want.Group != "" && !l.settle(e) {
				return
			}
		}
	}
}
