package natsbus

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/natsstream"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
)

// patternsKey is where a consumer says what its group is subscribed to.
const patternsKey = "hexdag_patterns"

// inactive is how long JetStream keeps the consumer of a subscription without group
// that it does not hear of. Past that the consumer is made anew, behind what was handled.
const inactive = 5 * time.Minute

// subscription is consumers, each with a loop that takes one message at a time.
type subscription struct {
	bus    *Bus
	want   *driver.Subscribe
	stream stream
	exact  bool          // the consumers see matching topics alone
	slots  chan struct{} // as many as deliveries may be under way

	handling context.Context // of handlers
	give     context.CancelFunc
	fetching context.Context // of loops; it ends first
	stop     context.CancelFunc
	loops    sync.WaitGroup
}

// Subscribe makes the consumers that there are not yet, and begins to deliver.
func (b *Bus) Subscribe(ctx context.Context, want *driver.Subscribe) (driver.Subscription, error) {
	s := &subscription{bus: b, want: want, slots: make(chan struct{}, want.Concurrency)}
	var err error
	if s.stream, err = b.stream(ctx, want.Tenant); err != nil {
		return nil, err
	}
	s.exact = s.stream.filter(&jetstream.ConsumerConfig{}, want.Patterns, "*")
	var consumers []*consumer
	if want.Group == "" && want.Concurrency == 1 {
		consumers = []*consumer{{sub: s, partition: "*"}} // all in one order
	} else {
		for p := range partitions {
			consumers = append(consumers, &consumer{sub: s, partition: strconv.Itoa(p)})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	for _, c := range consumers {
		if err := insist(ctx, c.open); err != nil {
			return nil, b.failed(err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, driver.ErrClosed
	}
	b.subs[s] = struct{}{}
	s.handling, s.give = context.WithCancel(context.Background())
	s.fetching, s.stop = context.WithCancel(s.handling)
	for _, c := range consumers {
		s.loops.Go(c.run)
	}
	return s, nil
}

// failed is unavailable for what is not worded yet.
func (b *Bus) failed(err error) error {
	var known *kernel.Error
	if errors.As(err, &known) {
		return err
	}
	return b.unavailable(err)
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
	if s.want.Group == "" {
		return err
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = s.bus.server.Conn().FlushWithContext(flush) // acknowledgements; what is lost of them is delivered again
	return err
}

// grace is how long a handler has to heed the end of its context.
const grace = time.Second

// consumer is one of JetStream's, for a partition.
type consumer struct {
	sub       *subscription
	partition string
	jetstream.Consumer
	// last is the sequence that was handled last, or, of a consumer for what is new, was there when it
	// was made; known says that there is one.
	last  uint64
	known bool
	// first is the first sequence that is the subscription's. A server of a cluster that lags behind begins with what it has last.
	first uint64
}

// open finds the consumer, or makes it.
func (c *consumer) open(ctx context.Context) (err error) {
	s, want := c.sub, c.sub.want
	config := jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: want.AckWait, MaxAckPending: 1, MaxDeliver: -1,
		Metadata: map[string]string{patternsKey: strings.Join(want.Patterns, " ")},
	}
	s.stream.filter(&config, want.Patterns, c.partition)
	startAt(&config, want.Start)
	if c.known {
		config.DeliverPolicy, config.OptStartSeq, config.OptStartTime = jetstream.DeliverByStartSequencePolicy, c.last+1, nil
	}
	if want.Group == "" {
		config.InactiveThreshold, config.MemoryStorage = inactive, true
		if err := s.fromNow(ctx, &config); err != nil {
			return err
		}
		if c.Consumer, err = s.stream.CreateConsumer(ctx, config); err == nil && config.OptStartSeq > 0 {
			c.first, c.last, c.known = config.OptStartSeq, config.OptStartSeq-1, true
		}
		return err
	}
	config.Durable, config.InactiveThreshold = want.Group+"-"+c.partition, want.Keep
	c.Consumer, err = s.stream.Consumer(ctx, config.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		if err := s.fromNow(ctx, &config); err != nil {
			return err
		}
		c.Consumer, err = s.stream.CreateConsumer(ctx, config)
		if errors.Is(err, jetstream.ErrConsumerExists) { // another member was as quick
			c.Consumer, err = s.stream.Consumer(ctx, config.Durable)
		}
	}
	if err != nil {
		return err
	}
	c.first = c.CachedInfo().Config.OptStartSeq
	return c.checkGroup(ctx, config)
}

// fromNow has a consumer for what is new begin behind what the stream's leader has: that the consumer's own has it is not said.
func (s *subscription) fromNow(ctx context.Context, config *jetstream.ConsumerConfig) error {
	if config.DeliverPolicy != jetstream.DeliverNewPolicy {
		return nil
	}
	now, err := s.bus.server.JetStream().Stream(natsstream.EachRequest(ctx), s.stream.name)
	if err != nil {
		return err
	}
	config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, now.CachedInfo().State.LastSeq+1
	return nil
}

// checkGroup refuses other patterns than the group has, and takes on the time that an
// acknowledgement may take.
func (c *consumer) checkGroup(ctx context.Context, config jetstream.ConsumerConfig) error {
	is := c.CachedInfo().Config
	if is.Metadata[patternsKey] != config.Metadata[patternsKey] {
		return &kernel.Error{Code: kernel.CodeArguments, What: "the group " + kernel.Quote(c.sub.want.Group) + " has other patterns", Why: "it was subscribed to " + kernel.Quote(is.Metadata[patternsKey]), Fix: "use the same, or another group"}
	}
	if is.AckWait == config.AckWait {
		return nil
	}
	is.AckWait, is.Metadata = config.AckWait, maps.Clone(config.Metadata)
	updated, err := c.sub.stream.UpdateConsumer(ctx, is)
	if err == nil {
		c.Consumer = updated
	}
	return err
}

// run takes messages until the subscription is closed. A consumer that is gone is made
// anew, behind what was handled.
func (c *consumer) run() {
	ctx := c.sub.fetching
	for ctx.Err() == nil {
		c.take(ctx)
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			again, cancel := context.WithTimeout(ctx, attempt)
			err := c.open(again)
			cancel()
			if err == nil {
				break
			}
		}
	}
}

// take hands on messages until the consumer ends.
func (c *consumer) take(ctx context.Context) {
	messages, err := c.Messages(jetstream.PullExpiry(5*time.Second), jetstream.PullHeartbeat(time.Second))
	if err != nil {
		return
	}
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err == nil {
			c.handle(msg)
			continue
		}
		if errors.Is(err, jetstream.ErrNoHeartbeat) {
			if _, err := c.Info(ctx); !errors.Is(err, jetstream.ErrConsumerNotFound) {
				continue // the connection mends itself
			}
		}
		break
	}
	messages.Drain()
	for {
		msg, err := messages.Next()
		if err != nil {
			return
		}
		c.sub.giveBack(msg, 0)
	}
}

// handle has a message delivered, and tells JetStream what became of it.
func (c *consumer) handle(msg jetstream.Msg) {
	s := c.sub
	alive := keep(msg, s.want.AckWait/3)
	defer alive.end()
	e, attempts, err := event(msg)
	if err != nil {
		_ = msg.TermWithReason("no event: " + err.Error()) // nobody could handle it
		return
	}
	if e.Sequence < c.first {
		_ = msg.Ack()
		return
	}
	if !s.exact && !driver.MatchAny(s.want.Patterns, e.Topic) {
		c.settled(e, msg.Ack())
		return
	}
	select {
	case s.slots <- struct{}{}:
	case <-s.fetching.Done():
		s.giveBack(msg, 0)
		return
	}
	v := s.want.Deliver(s.handling, &driver.Delivery{Event: e, Attempt: int(attempts)})
	<-s.slots
	switch v.Outcome {
	case driver.Ack:
		c.settled(e, msg.Ack())
	case driver.Term:
		c.settled(e, msg.Term())
	default:
		s.giveBack(msg, v.Delay)
	}
}

// leaving is in what time all servers know that a member takes no more. What it gives back before may come
// to it once more, and is then nobody's until AckWait is over.
const leaving = 200 * time.Millisecond

// giveBack has a message delivered again, after a delay.
func (s *subscription) giveBack(msg jetstream.Msg, delay time.Duration) {
	if s.fetching.Err() != nil {
		delay = max(delay, leaving)
	}
	_ = msg.NakWithDelay(delay) // what is lost is delivered again, too
}

func (c *consumer) settled(e *driver.Event, err error) {
	if err == nil {
		c.last, c.known = e.Sequence, true
	}
}

// lease tells JetStream of a message, every so often, that it is being handled.
type lease struct {
	mu    sync.Mutex
	timer *time.Timer
	ended bool
}

func keep(msg jetstream.Msg, every time.Duration) *lease {
	l := &lease{}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = time.AfterFunc(every, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.ended {
			_ = msg.InProgress() // where it is lost, there is another before the time is up
			l.timer.Reset(every)
		}
	})
	return l
}

func (l *lease) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.timer.Stop()
}
