package kafkabus

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
)

// What a lane holds before its partition is no longer fetched, and when it is again.
const (
	laneFull = 512
	laneLow  = 64
)

// commitEvery is how often a group's position is kept: what was handled since is handled
// again where the process dies.
const commitEvery = 100 * time.Millisecond

// rebalance is how long a group that changes waits for the handlers of partitions that go to
// another member. One that takes longer may see its event handled there at the same time.
const rebalance = 10 * time.Minute

// subscription is a Kafka client, with a lane for each of its partitions.
type subscription struct {
	bus    *Bus
	want   *driver.Subscribe
	topic  string
	client *kgo.Client
	slots  chan struct{} // as many as deliveries may be under way

	handling context.Context // of handlers
	give     context.CancelFunc
	reading  context.Context // of loops; it ends first
	stop     context.CancelFunc
	loops    sync.WaitGroup
	given    chan struct{} // closed when Close waits for handlers no more

	committing sync.Mutex // around commits: an older one does not come behind a newer

	mu    sync.Mutex
	lanes map[int32]*lane
	dirty map[int32]int64 // offsets that are to be committed, of partitions that are the member's
}

// lane delivers the records of a partition, one after the other.
type lane struct {
	partition int32
	ctx       context.Context
	stop      context.CancelFunc
	done      chan struct{}
	more      chan struct{} // there are records
	records   []*kgo.Record // under the subscription's lock
	paused    bool          // "
}

// Subscribe begins to deliver.
func (b *Bus) Subscribe(ctx context.Context, want *driver.Subscribe) (driver.Subscription, error) {
	topic, err := b.topic(ctx, want.Tenant)
	if err != nil {
		return nil, err
	}
	s := &subscription{bus: b, want: want, topic: topic, slots: make(chan struct{}, want.Concurrency), lanes: map[int32]*lane{}, dirty: map[int32]int64{}, given: make(chan struct{})}
	opts := []kgo.Opt{kgo.SeedBrokers(b.config.Brokers...), kgo.ClientID("hexdag"), kgo.FetchMaxWait(500 * time.Millisecond)}
	starts, err := b.starts(ctx, topic, want.Start)
	if err != nil {
		return nil, err
	}
	if want.Group == "" {
		at := map[int32]kgo.Offset{}
		for p, n := range starts {
			at[p] = kgo.NewOffset().At(n)
		}
		opts = append(opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: at}))
	} else {
		if err := s.found(ctx, starts); err != nil {
			return nil, err
		}
		opts = append(opts, kgo.ConsumerGroup(s.group()), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), kgo.SessionTimeout(max(want.AckWait, 6*time.Second)), kgo.HeartbeatInterval(500*time.Millisecond),
			kgo.BlockRebalanceOnPoll(), kgo.RebalanceTimeout(rebalance), kgo.OnPartitionsRevoked(s.revoked), kgo.OnPartitionsLost(s.lost))
	}
	s.handling, s.give = context.WithCancel(context.Background())
	s.reading, s.stop = context.WithCancel(s.handling)
	if s.client, err = kgo.NewClient(opts...); err != nil {
		s.give()
		return nil, unavailable(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		s.give()
		s.client.Close()
		return nil, driver.ErrClosed
	}
	b.subs[s] = struct{}{}
	s.loops.Go(s.poll)
	if want.Group != "" {
		s.loops.Go(s.commitOften)
	}
	return s, nil
}

// group is Kafka's name of the group.
func (s *subscription) group() string { return s.topic + "." + s.want.Group }

// found: a new group gets its position, and with it, as metadata, its patterns. Others have to
// have the same.
func (s *subscription) found(ctx context.Context, starts map[int32]int64) error {
	patterns := strings.Join(s.want.Patterns, " ")
	var committed kadm.OffsetResponses
	err := insist(ctx, func() (err error) {
		committed, err = s.bus.admin.FetchOffsetsForTopics(ctx, s.group(), s.topic)
		if errors.Is(err, kerr.GroupIDNotFound) { // some say so, and some that it has no position
			err = nil
		}
		return err
	})
	if err != nil {
		return err
	}
	if o, ok := committed.Lookup(s.topic, 0); ok && o.Err == nil && o.At >= 0 {
		if o.Metadata != patterns {
			return &kernel.Error{Code: kernel.CodeArguments, What: "the group " + kernel.Quote(s.want.Group) + " has other patterns", Why: "it was subscribed to " + kernel.Quote(o.Metadata), Fix: "use the same, or another group"}
		}
		return nil
	}
	offsets := kadm.Offsets{}
	for p, n := range starts {
		offsets.Add(kadm.Offset{Topic: s.topic, Partition: p, At: n, LeaderEpoch: -1, Metadata: patterns})
	}
	return insist(ctx, func() error { return s.bus.admin.CommitAllOffsets(ctx, s.group(), offsets) })
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
	close(s.given)
	s.commit()
	s.client.CloseAllowingRebalance()
	return err
}

// grace is how long a handler has to heed the end of its context.
const grace = time.Second

// poll hands records to lanes. No partition is taken away between the two.
func (s *subscription) poll() {
	for s.reading.Err() == nil {
		fetches := s.client.PollRecords(s.reading, laneFull)
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			if len(f.Records) > 0 {
				s.push(f.Partition, f.Records)
			}
		})
		s.client.AllowRebalance()
		if err := fetches.Err0(); err != nil && s.reading.Err() == nil {
			select { // the client mends itself
			case <-s.reading.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
}

func (s *subscription) push(p int32, records []*kgo.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lanes[p]
	if l == nil {
		l = &lane{partition: p, done: make(chan struct{}), more: make(chan struct{}, 1)}
		l.ctx, l.stop = context.WithCancel(s.reading)
		s.lanes[p] = l
		s.loops.Go(func() {
			defer close(l.done)
			s.run(l)
		})
	}
	l.records = append(l.records, records...)
	if len(l.records) >= laneFull && !l.paused {
		l.paused = true
		s.client.PauseFetchPartitions(map[string][]int32{s.topic: {p}})
	}
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// next returns the lane's next record, or nil when the lane ends.
func (s *subscription) next(l *lane) *kgo.Record {
	for l.ctx.Err() == nil {
		s.mu.Lock()
		if l.paused && len(l.records) <= laneLow {
			l.paused = false
			s.client.ResumeFetchPartitions(map[string][]int32{s.topic: {l.partition}})
		}
		if len(l.records) > 0 {
			r := l.records[0]
			l.records[0] = nil
			l.records = l.records[1:]
			s.mu.Unlock()
			return r
		}
		s.mu.Unlock()
		select {
		case <-l.more:
		case <-l.ctx.Done():
		}
	}
	return nil
}

func (s *subscription) run(l *lane) {
	for {
		r := s.next(l)
		if r == nil || !s.deliver(l.ctx, r) {
			return
		}
		if s.want.Group != "" {
			s.mu.Lock()
			s.dirty[l.partition] = r.Offset + 1
			s.mu.Unlock()
		}
	}
}

// deliver delivers a record until it is settled, and reports whether it was.
func (s *subscription) deliver(ctx context.Context, r *kgo.Record) bool {
	e := parse(r)
	if e == nil || !driver.MatchAny(s.want.Patterns, e.Topic) {
		return true
	}
	for attempt := 1; ; attempt++ {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return false
		}
		v := s.want.Deliver(s.handling, &driver.Delivery{Event: e, Attempt: attempt})
		<-s.slots
		if v.Outcome != driver.Nak {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(v.Delay):
		}
	}
}

// revoked gives partitions to another member, which begins behind what was handled here.
func (s *subscription) revoked(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	s.end(partitions[s.topic])
	for range 3 {
		if s.commit() {
			break
		}
		time.Sleep(commitEvery)
	}
	s.forget(partitions[s.topic])
}

// lost is told of partitions that may be another member's already.
func (s *subscription) lost(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	s.forget(partitions[s.topic])
	s.end(partitions[s.topic])
	s.forget(partitions[s.topic])
}

// end ends the lanes of partitions, and waits for their handlers.
func (s *subscription) end(partitions []int32) {
	var ending []*lane
	s.mu.Lock()
	for _, p := range partitions {
		if l := s.lanes[p]; l != nil {
			delete(s.lanes, p)
			ending = append(ending, l)
			if l.paused {
				s.client.ResumeFetchPartitions(map[string][]int32{s.topic: {p}})
			}
		}
	}
	s.mu.Unlock()
	for _, l := range ending {
		l.stop()
		select {
		case <-l.done:
		case <-s.given: // a handler that heeds nothing
		}
	}
}

// forget drops what was not committed: a commit that comes late would set another member back.
func (s *subscription) forget(partitions []int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range partitions {
		delete(s.dirty, p)
	}
}

func (s *subscription) commitOften() {
	for s.reading.Err() == nil {
		select {
		case <-s.reading.Done():
		case <-time.After(commitEvery):
			s.commit()
		}
	}
}

// commit keeps the group's position, and reports whether all of it is kept. What fails is kept
// with the next commit, or handled again.
func (s *subscription) commit() bool {
	if s.want.Group == "" {
		return true
	}
	s.committing.Lock()
	defer s.committing.Unlock()
	s.mu.Lock()
	dirty := maps.Clone(s.dirty)
	s.mu.Unlock()
	if len(dirty) == 0 {
		return true
	}
	kept := s.commitOffsets(dirty)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range kept {
		if s.dirty[p] == dirty[p] {
			delete(s.dirty, p)
		}
	}
	return len(kept) == len(dirty)
}

// commitOffsets returns the partitions whose offsets Kafka has kept: it answers for each.
func (s *subscription) commitOffsets(dirty map[int32]int64) (kept []int32) {
	offsets := map[int32]kgo.EpochOffset{}
	for p, n := range dirty {
		offsets[p] = kgo.EpochOffset{Epoch: -1, Offset: n}
	}
	patterns := strings.Join(s.want.Patterns, " ")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.reading), 5*time.Second)
	defer cancel()
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		for i := range req.Topics {
			for j := range req.Topics[i].Partitions {
				req.Topics[i].Partitions[j].Metadata = &patterns
			}
		}
		return nil
	})
	s.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{s.topic: offsets}, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			return
		}
		for _, topic := range answer.Topics {
			for _, p := range topic.Partitions {
				if p.ErrorCode == 0 {
					kept = append(kept, p.Partition)
				}
			}
		}
	})
	return kept
}
