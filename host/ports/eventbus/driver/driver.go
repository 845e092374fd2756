// Package driver is what a backend of the event bus implements. Who uses the port
// uses package eventbus.
package driver

import (
	"context"
	"errors"
	"time"
)

// The causes of errors.
var (
	ErrFull   = errors.New("a subscriber's queue is full") // a subscriber is too slow, and the publisher's time is up
	ErrClosed = errors.New("the bus is closed")
)

// Event is an event with its envelope, CloudEvents 1.0. Nobody changes one that was
// published. Data is JSON.
type Event struct {
	ID     string
	Source string
	Type   string
	Topic  string
	Time   time.Time
	Key    string // events of one key are delivered in their order; "" is none
	Tenant string
	RunID  string // of the run that published it
	Hops   int    // how many events led to this one
	Labels map[string]string
	// Trace is the span that published it, as W3C's traceparent and, behind a space, tracestate: the extension of CloudEvents for distributed tracing. "" where there is none.
	Trace string
	Data  []byte
	// Dead, of a dead letter, says what became of the event it was; else nil.
	Dead *Dead

	// Unique says that the id was made for this event, so that there is no other to look for.
	Unique   bool
	Sequence uint64 // set on delivery: rises with every event of the tenant's, or of its partition
}

// Dead is why an event was given up.
type Dead struct {
	Topic    string `json:"topic"`
	ID       string `json:"id"`
	Group    string `json:"group,omitempty"`
	Attempts int    `json:"attempts"`
	Cause    string `json:"cause"`
}

// Capabilities are what a backend can promise. A duty below that depends on one is
// void where the backend lacks it; the conformance suite holds it to the others.
type Capabilities struct {
	Durable        bool // what was published outlives the process, and so do the positions of groups
	Shared         bool // several processes publish to and subscribe from each other
	ReplaySequence bool // Start.Sequence
	ReplayTime     bool // Start.Time
	Dedup          bool // a second event of the same id on the same topic, within a window, is not kept
	CountsCrashes  bool // Delivery.Attempt goes on counting where a subscriber died
	ForgetsGroups  bool // Subscribe.Keep
	TotalOrder     bool // Event.Sequence is one order of all the tenant's events, not of a partition's
}

// Receipt is what a Publish comes to.
type Receipt struct {
	Sequence  uint64
	Duplicate bool // the id was published before, and this one was dropped
}

// Start is where a new subscription or group begins: at the first event that is kept
// from there on. The zero value is what is published from now on.
type Start struct {
	Beginning bool
	Sequence  uint64
	Time      time.Time
}

// Subscribe is what a subscription asks for.
type Subscribe struct {
	Tenant   string
	Patterns []string // "*" stands for one part of a topic, ">" at the end for one or more; at least one pattern
	// Group shares the events among all subscriptions of its name, each event going to
	// one of them, and keeps the position for those that come later. All of a group have the
	// same patterns; others are a CodeArguments error. "" sees all, and keeps nothing.
	Group string
	// Keep is how long the group is kept when nobody is in it; 0 is for as long as there is room.
	Keep        time.Duration
	Start       Start // of a group, when it is new
	Concurrency int   // deliveries under way at most; at least 1
	AckWait     time.Duration
	// Deliver handles an event. It is called from goroutines of the driver, one call for
	// an event at a time. Its context ends with the subscription.
	Deliver func(ctx context.Context, d *Delivery) Verdict
}

// Delivery is one attempt to deliver an event.
type Delivery struct {
	Event   *Event
	Attempt int // from 1
}

// Outcome is what becomes of a delivery.
type Outcome int

// The outcomes.
const (
	Ack  Outcome = iota // it is done
	Nak                 // deliver it again, after the delay
	Term                // never deliver it again
)

// Verdict is an outcome, and the delay of a Nak.
type Verdict struct {
	Outcome
	Delay time.Duration
}

// Topic is a topic that events were published on.
type Topic struct {
	Name   string    `json:"topic"`
	Events uint64    `json:"events"` // that are kept
	Last   time.Time `json:"last,omitzero"`
}

// Query picks events that are kept.
type Query struct {
	Tenant   string
	Patterns []string
	Start    Start // Beginning, if it is zero
	Limit    int
}

// Bus carries events.
//
// # Tenants
//
// A tenant is any text. What one publishes no other is delivered or can count.
//
// # Delivery
//
// At least once: an event that Publish returned without error is delivered to every
// group and subscription that matched it then, until one delivery is acknowledged or
// terminated. A delivery whose subscriber died, or took longer than AckWait without the driver
// having extended it, is made again; the driver extends it for as long as Deliver runs.
// What is delivered more than once has the same ID.
//
// # Order
//
// Events of one key on one topic, published one after the other, are delivered in
// that order to a group or a subscription: the next not before the one before is
// acknowledged or terminated. A Nak holds up what comes behind it for its delay. Events without a key have no
// order, unless Concurrency is 1 and there is no group. Nothing orders two keys.
//
// # Back-pressure
//
// A driver keeps a bounded number of events in memory for a subscription. Where it has
// no other place for them Publish waits, until its context ends: ErrFull.
//
// # Concurrency
//
// All methods may be called from several goroutines, from Deliver too.
//
// # Errors
//
// Those of the variables above, an ended context's, or a kernel.Error: CodeUnavailable for
// an engine that cannot be reached, CodeUnsupported for what the Capabilities lack.
type Bus interface {
	Capabilities() Capabilities

	// Publish keeps the event, and returns once it is kept as the backend's
	// durability has it. Topic, ID and Tenant are set.
	Publish(ctx context.Context, e *Event) (Receipt, error)

	// Subscribe begins to deliver, and returns once everything that is published
	// from then on is delivered.
	Subscribe(ctx context.Context, s *Subscribe) (Subscription, error)

	// Read returns events that are kept, oldest first: at most Limit.
	Read(ctx context.Context, q *Query) ([]*Event, error)

	// Topics returns the topics of a tenant that match one of the patterns, sorted.
	Topics(ctx context.Context, tenant string, patterns []string) ([]Topic, error)

	// Close ends all subscriptions as their Close does.
	Close() error
}

// Subscription is delivered events until it is closed.
type Subscription interface {
	// Close begins no further delivery and waits for those under way; where ctx ends
	// first, their context ends too. What was not acknowledged is for the group's others.
	Close(ctx context.Context) error
}
