package eventbus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
)

// Handler handles an event. nil acknowledges it. Any other error has it delivered
// again, after the subscription's back-off, and given up after MaxDeliveries: see
// NakAfter and Term. The context carries the event's hops, so that what is published
// with it is counted as led to by the event, and ends with the subscription.
type Handler func(ctx context.Context, d *Delivery) error

// SubscribeOptions says what a subscription is. The zero value is usable.
type SubscribeOptions struct {
	// Group shares the events among the subscriptions of its name, and keeps the position:
	// who subscribes later goes on there. Letters, digits, _ and -.
	Group string
	// Keep is how long a group is kept when nobody is in it, where the backend forgets groups; 0 is for as long
	// as there is room.
	Keep        time.Duration
	Start       Start // of a new group, or of a subscription without one
	Concurrency int   // handlers at once; 0 is 1
	// MaxDeliveries is how often an event is delivered before it goes to dlq.<topic>;
	// 0 is 5.
	MaxDeliveries int
	Backoff       []time.Duration // before the second delivery, the third and so on, the last for all further; nil is 1 s, 5 s, 30 s
	NoDeadLetters bool            // what is given up is gone
	AckWait       time.Duration   // how soon what a dead process was delivered is another's; 0 is 30 s
	// Failed, if set, is told of handlers that failed; it must return soon.
	Failed func(d *Delivery, err error, again time.Duration, dead bool)
}

// NakAfter returns an error that has the event delivered again after a delay of its own.
func NakAfter(delay time.Duration, cause error) error { return &nak{delay, cause} }

// Term returns an error that gives the event up at once, with a dead letter.
func Term(cause error) error { return &term{cause} }

// GiveBack returns an error that leaves the event to whoever is delivered it next, in a second, and is
// no failure: for a handler that has to end before it began, because its subscription is about to.
func GiveBack(cause error) error { return &givenBack{cause} }

type givenBack struct{ cause error }

func (g *givenBack) Error() string { return "not begun: " + fmt.Sprint(g.cause) }
func (g *givenBack) Unwrap() error { return g.cause }

type nak struct {
	delay time.Duration
	cause error
}

func (n *nak) Error() string { return fmt.Sprintf("deliver again after %s: %v", n.delay, n.cause) }
func (n *nak) Unwrap() error { return n.cause }

type term struct{ cause error }

func (t *term) Error() string { return "given up: " + fmt.Sprint(t.cause) }
func (t *term) Unwrap() error { return t.cause }

// Subscription is delivered events until it is unsubscribed, or the bus closed.
type Subscription struct {
	ID       string
	Patterns []string

	bus     *Bus
	opts    SubscribeOptions
	handler Handler
	sub     driver.Subscription
	run     string // that it ends with, if a module subscribed
	seen    *seen  // where the backend does not drop duplicates
	first   atomic.Pointer[firstHop]
}

// Subscribe has handler called with every event of a tenant whose topic matches
// one of the patterns. It returns once everything that is published from then on
// will be delivered.
func (b *Bus) Subscribe(ctx context.Context, tenant string, patterns []string, handler Handler, opts SubscribeOptions) (*Subscription, error) {
	if err := b.checkSubscribe(patterns, &opts); err != nil {
		return nil, err
	}
	s := &Subscription{ID: b.newID(), Patterns: slices.Clone(patterns), bus: b, opts: opts, handler: handler}
	if !b.caps.Dedup {
		s.seen = newSeen()
	}
	sub, err := b.bus.Subscribe(ctx, &driver.Subscribe{
		Tenant: tenant, Patterns: s.Patterns, Group: opts.Group, Keep: opts.Keep, Start: opts.Start, Concurrency: opts.Concurrency, AckWait: opts.AckWait, Deliver: s.deliver,
	})
	if err != nil {
		return nil, b.failed(ctx, err)
	}
	s.sub = sub
	b.mu.Lock()
	b.subs[s.ID] = s
	b.mu.Unlock()
	return s, nil
}

// Unsubscribe ends a subscription: no handler is called any more, and those that
// run are waited for, until ctx ends; their context then ends, too. A handler that
// ends its own subscription is not waited for.
func (b *Bus) Unsubscribe(ctx context.Context, id string) error {
	b.mu.Lock()
	s := b.subs[id]
	delete(b.subs, id)
	b.mu.Unlock()
	if s == nil {
		return &kernel.Error{Code: kernel.CodeNotFound, What: "there is no subscription " + kernel.Quote(id), Fix: "use the id that subscribe returned; one that has ended is gone"}
	}
	if h, _ := ctx.Value(handlingKey{}).(*handling); h != nil && h.by == s {
		b.ending.Go(func() { _ = s.sub.Close(context.WithoutCancel(ctx)) }) // there is nobody to tell
		return nil
	}
	return s.sub.Close(ctx)
}

// handling is what the context of a handler carries: how many events led to what it
// does, and its subscription.
type handling struct {
	hops int
	by   *Subscription
}

type handlingKey struct{}

// WithHops returns a context in which published events were led to by that many.
func WithHops(ctx context.Context, hops int) context.Context {
	return context.WithValue(ctx, handlingKey{}, &handling{hops: hops})
}

// HopsFrom returns how many events led to what is done in ctx.
func HopsFrom(ctx context.Context) int {
	if h, _ := ctx.Value(handlingKey{}).(*handling); h != nil {
		return h.hops
	}
	return 0
}

// within returns the context for the handler of an event. That of most events, to which no
// other led, is made once.
func (s *Subscription) within(ctx context.Context, hops int) context.Context {
	if hops != 1 {
		return context.WithValue(ctx, handlingKey{}, &handling{hops, s})
	}
	if first := s.first.Load(); first != nil && first.parent == ctx {
		return first.ctx
	}
	first := &firstHop{parent: ctx, ctx: context.WithValue(ctx, handlingKey{}, &handling{1, s})}
	s.first.Store(first)
	return first.ctx
}

type firstHop struct{ parent, ctx context.Context }

// Subscriptions returns how many there are.
func (b *Bus) Subscriptions() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.subs)
}

var defaultBackoff = []time.Duration{time.Second, 5 * time.Second, 30 * time.Second}

const (
	maxConcurrency = 4096
	maxGroupBytes  = 64 + 16 // a name, and what says whose it is
)

func (b *Bus) checkSubscribe(patterns []string, o *SubscribeOptions) error {
	if err := checkPatterns(patterns); err != nil {
		return err
	}
	if o.Concurrency < 0 || o.Concurrency > maxConcurrency || o.MaxDeliveries < 0 || o.AckWait < 0 || o.Keep < 0 {
		return badSubscription("a number is out of range", fmt.Sprintf("concurrency is at most %d, and nothing is negative", maxConcurrency))
	}
	if len(o.Group) > maxGroupBytes || slices.ContainsFunc([]byte(o.Group), func(c byte) bool { return !isPart(c) }) {
		return badSubscription("the group "+kernel.Quote(o.Group)+" cannot be used", fmt.Sprintf("it is at most %d letters, digits, _ and -", maxGroupBytes))
	}
	if err := b.checkStart(o.Start); err != nil {
		return err
	}
	if o.Concurrency == 0 {
		o.Concurrency = 1
	}
	if o.MaxDeliveries == 0 {
		o.MaxDeliveries = 5
	}
	if o.AckWait == 0 {
		o.AckWait = 30 * time.Second
	}
	if len(o.Backoff) == 0 {
		o.Backoff = defaultBackoff
	}
	return nil
}

func (b *Bus) checkStart(s Start) error {
	set := 0
	for _, is := range []bool{s.Beginning, s.Sequence > 0, !s.Time.IsZero()} {
		if is {
			set++
		}
	}
	switch {
	case set > 1:
		return badSubscription("it begins at several places", "beginning, sequence and time exclude each other")
	case s.Sequence > 0 && !b.caps.ReplaySequence, !s.Time.IsZero() && !b.caps.ReplayTime:
		return &kernel.Error{Code: kernel.CodeUnsupported, What: "the event bus cannot begin there", Why: "its backend has no such position", Fix: "begin at the beginning"}
	}
	return nil
}

func badSubscription(what, why string) error {
	return &kernel.Error{Code: kernel.CodeArguments, What: "subscribe: " + what, Why: why}
}

// deliver has the handler decide, and counts.
func (s *Subscription) deliver(ctx context.Context, d *Delivery) driver.Verdict {
	if s.seen != nil && s.seen.has(driver.Identity(d.Event)) {
		return driver.Verdict{Outcome: driver.Ack}
	}
	var err error
	if d.Attempt > s.opts.MaxDeliveries { // subscribers died of it
		err = Term(errors.New("it was not acknowledged in as many deliveries as it may have"))
	} else if err = s.handle(ctx, d); err == nil {
		if s.seen != nil {
			s.seen.add(driver.Identity(d.Event))
		}
		return driver.Verdict{Outcome: driver.Ack}
	}
	if ctx.Err() != nil { // the subscription ended under the handler
		return driver.Verdict{Outcome: driver.Nak}
	}
	var back *givenBack
	if errors.As(err, &back) {
		return driver.Verdict{Outcome: driver.Nak, Delay: time.Second}
	}
	return s.failure(ctx, d, err)
}

// handle keeps a handler's panic from the bus.
func (s *Subscription) handle(ctx context.Context, d *Delivery) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &kernel.Error{Code: kernel.CodeInternal, What: "a handler of events panicked", Why: kernel.Quote(fmt.Sprint(p)), Fix: "report it to whoever wrote the handler"}
		}
	}()
	return s.handler(s.within(ctx, d.Event.Hops+1), d)
}

// failure decides what becomes of an event whose handler failed.
func (s *Subscription) failure(ctx context.Context, d *Delivery, err error) driver.Verdict {
	var again *nak
	var gone *term
	dead := errors.As(err, &gone) || d.Attempt >= s.opts.MaxDeliveries
	delay := s.opts.Backoff[min(d.Attempt, len(s.opts.Backoff))-1]
	if errors.As(err, &again) {
		delay = again.delay
	}
	if dead && !s.opts.NoDeadLetters {
		if derr := s.bury(ctx, d, err); derr != nil { // it is not lost: the event stays until there is a letter
			err, dead = errors.Join(err, derr), false
		}
	}
	if s.opts.Failed != nil {
		s.opts.Failed(d, err, delay, dead)
	}
	if dead {
		return driver.Verdict{Outcome: driver.Term}
	}
	return driver.Verdict{Outcome: driver.Nak, Delay: delay}
}

// bury publishes the dead letter of an event. Its id follows from the event's, so that a
// second attempt makes no second letter.
func (s *Subscription) bury(ctx context.Context, d *Delivery, cause error) error {
	e := d.Event
	if e.Dead != nil { // a dead letter that cannot be handled stays one
		return nil
	}
	letter := *e
	letter.ID = shorter(e.ID, maxIDBytes-maxGroupBytes-8) + ".dead." + s.opts.Group
	letter.Topic = DeadTopics + e.Topic
	letter.Time, letter.Sequence = s.bus.opts.Now().UTC(), 0
	letter.Dead = &driver.Dead{Topic: e.Topic, ID: e.ID, Group: s.opts.Group, Attempts: d.Attempt, Cause: clip(cause.Error(), 4096)}
	ctx, cancel := context.WithTimeout(ctx, s.bus.timeout)
	defer cancel()
	_, err := s.bus.bus.Publish(ctx, &letter) // its envelope was checked when the event was published
	return s.bus.failed(ctx, err)
}

func clip(text string, n int) string { return text[:min(len(text), n)] }

// shorter returns an id, or one of n bytes that no other id becomes.
func shorter(id string, n int) string {
	if len(id) <= n {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	digest := "~" + hex.EncodeToString(sum[:16])
	return id[:n-len(digest)] + digest
}

// Redrive publishes again, on their topics, the events whose dead letters match a
// pattern of the topics that they were of, and returns how many. Each is published once:
// a second call goes on where the first ended. It returns when there was none for idle.
func (b *Bus) Redrive(ctx context.Context, tenant, pattern string, idle time.Duration) (int, error) {
	if err := CheckPattern(DeadTopics + pattern); err != nil {
		return 0, err
	}
	var mu sync.Mutex
	count, moved := 0, make(chan struct{}, 1)
	handler := func(ctx context.Context, d *Delivery) error {
		letter := d.Event
		if letter.Dead == nil {
			return nil
		}
		e := *letter
		e.ID, e.Topic, e.Dead = shorter(letter.ID, maxIDBytes-24)+".again."+strconv.FormatInt(letter.Time.UnixNano(), 36), letter.Dead.Topic, nil
		e.Time, e.Sequence, e.Hops = time.Time{}, 0, 0
		if _, err := b.Publish(WithHops(ctx, 0), &e); err != nil {
			return err
		}
		mu.Lock()
		count++
		mu.Unlock()
		select {
		case moved <- struct{}{}:
		default:
		}
		return nil
	}
	s, err := b.Subscribe(ctx, tenant, []string{DeadTopics + pattern}, handler, SubscribeOptions{Group: "redrive-" + hashOf(pattern), Start: Start{Beginning: true}, NoDeadLetters: true, MaxDeliveries: 1 << 30})
	if err != nil {
		return 0, err
	}
	for waiting := true; waiting; {
		select {
		case <-moved:
		case <-time.After(idle):
			waiting = false
		case <-ctx.Done():
			waiting, err = false, kernel.ContextError(ctx)
		}
	}
	err = errors.Join(err, b.Unsubscribe(context.WithoutCancel(ctx), s.ID))
	mu.Lock()
	defer mu.Unlock()
	return count, err
}

func hashOf(text string) string {
	return strconv.Itoa(driver.Partition(&Event{Key: text}, 1<<31-1))
}

// seen are the ids of the last events that a subscription has handled, where the
// backend delivers what a publisher repeated.
type seen struct {
	mu   sync.Mutex
	ids  map[string]struct{}
	ring []string
	next int
}

// seenIDs is how many ids a subscription remembers.
const seenIDs = 16 << 10

func newSeen() *seen { return &seen{ids: map[string]struct{}{}, ring: make([]string, seenIDs)} }

func (s *seen) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, has := s.ids[id]
	return has
}

func (s *seen) add(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ids, s.ring[s.next])
	s.ring[s.next] = id
	s.ids[id] = struct{}{}
	s.next = (s.next + 1) % len(s.ring)
}
