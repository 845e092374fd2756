// Package watermilltest holds backends of the event bus to the suite that watermill holds its own
// to: a suite that nobody here wrote.
package watermilltest

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/ports/eventbus"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
)

// long is whether the suite runs with as many messages as watermill would; make bus-long sets it.
var long = os.Getenv("HEXDAG_TEST_LONG") != ""

// Leaks are goroutines that the suite itself may leave behind: its multiplier of subscribers goes on to
// send messages that nobody takes any more.
func Leaks() []goleak.Option {
	const subscribe = "github.com/ThreeDotsLabs/watermill/internal/subscriber.(*multiplier).Subscribe"
	return []goleak.Option{goleak.IgnoreAnyFunction(subscribe + ".func2"), goleak.IgnoreAnyFunction(subscribe + ".func3")}
}

// Run runs the suite over buses that are one bus.
func Run(t *testing.T, open func(*testing.T) driver.Bus) {
	if testing.Short() {
		t.Skip("NOT CHECKED in -short: watermill's suite")
	}
	tenant := watermill.NewShortUUID()
	features := tests.Features{ConsumerGroups: true, GuaranteedOrder: true, Persistent: true, ForceShort: !long}
	shared := func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		p := &pubsub{bus: eventbus.New(open(t), eventbus.Options{}), tenant: tenant, group: group, ended: make(chan struct{})}
		t.Cleanup(func() {
			_ = p.Close() // some tests do not
			if err := p.bus.Close(); err != nil {
				t.Error(err)
			}
		})
		return publisher{p}, p
	}
	tests.TestPubSub(t, features, func(t *testing.T) (message.Publisher, message.Subscriber) { return shared(t, "all") }, shared)

	// It is about subscriptions without group.
	t.Run("TestNewSubscriberReceivesOldMessages", func(t *testing.T) {
		features.NewSubscriberReceivesOldMessages = true
		tests.TestNewSubscriberReceivesOldMessages(t, tests.TestContext{TestID: tests.NewTestID(), Features: features}, func(t *testing.T) (message.Publisher, message.Subscriber) { return shared(t, "") })
	})
}

// pubsub is a bus as watermill's publisher and subscriber.
type pubsub struct {
	bus           *eventbus.Bus
	tenant, group string

	mu     sync.Mutex
	closed bool // for publishing
	once   sync.Once
	ended  chan struct{}
	subs   sync.WaitGroup
}

// payload is a message as an event's data.
type payload struct {
	Payload  []byte            `json:"payload"`
	Metadata map[string]string `json:"metadata"`
}

type publisher struct{ *pubsub }

func (p publisher) Publish(topic string, messages ...*message.Message) error {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return errors.New("the publisher is closed")
	}
	for _, m := range messages {
		data, err := json.Marshal(payload{m.Payload, m.Metadata})
		if err != nil {
			return err
		}
		e := &eventbus.Event{ID: m.UUID, Topic: topic, Key: topic, Tenant: p.tenant, Data: data} // the order is that of a topic
		if _, err := p.bus.Publish(context.Background(), e); err != nil {
			return err
		}
	}
	return nil
}

func (p publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}

// Subscribe joins a group that begins with what is kept; watermill's begin so.
func (p *pubsub) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	group := ""
	if p.group != "" {
		group = p.group[:min(len(p.group), 20)] + "-" + topic[max(0, len(topic)-40):]
	}
	return p.subscribe(ctx, topic, group)
}

func (p *pubsub) SubscribeInitialize(topic string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err := p.Subscribe(ctx, topic)
	return err
}

func (p *pubsub) subscribe(ctx context.Context, topic, group string) (<-chan *message.Message, error) {
	select {
	case <-p.ended:
		return nil, errors.New("the subscriber is closed")
	default:
	}
	out := make(chan *message.Message)
	ctx, cancel := context.WithCancel(ctx)
	s, err := p.bus.Subscribe(context.WithoutCancel(ctx), p.tenant, []string{topic}, func(handling context.Context, d *eventbus.Delivery) error {
		return hand(ctx, out, d)
	}, eventbus.SubscribeOptions{Group: group, Start: eventbus.Start{Beginning: true}, MaxDeliveries: 1 << 30, AckWait: 5 * time.Second})
	if err != nil {
		cancel()
		return nil, err
	}
	p.subs.Go(func() {
		select {
		case <-ctx.Done():
		case <-p.ended:
		}
		cancel()
		_ = p.bus.Unsubscribe(context.Background(), s.ID) // it may have ended with the bus
		close(out)
	})
	return out, nil
}

// hand hands on an event, and waits for what becomes of it.
func hand(ctx context.Context, out chan<- *message.Message, d *eventbus.Delivery) error {
	var v payload
	if err := json.Unmarshal(d.Event.Data, &v); err != nil {
		return err
	}
	m := message.NewMessage(d.Event.ID, v.Payload)
	m.Metadata = v.Metadata
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	m.SetContext(own)
	gone := eventbus.NakAfter(0, errors.New("the subscription ends"))
	select {
	case out <- m:
	case <-ctx.Done():
		return gone
	}
	select {
	case <-m.Acked():
		return nil
	case <-m.Nacked():
		return eventbus.NakAfter(0, errors.New("nacked"))
	case <-ctx.Done():
		return gone
	}
}

func (p *pubsub) Close() error {
	p.once.Do(func() { close(p.ended) })
	p.subs.Wait()
	return nil
}
