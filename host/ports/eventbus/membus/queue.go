package membus

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
)

// manyLanes is in how many lanes a queue sorts its events by their keys, where
// several are delivered at once.
const manyLanes = 64

// queue holds what is to be delivered to a subscription, or to the members of a
// group. Its workers are goroutines only while there is something to deliver.
type queue struct {
	tenant   *tenant
	group    string
	patterns []string

	mu      sync.Mutex
	lanes   []lane
	ready   []int // lanes that have an event and no worker, in their turn
	count   int   // of events in all lanes
	bytes   int64 // "
	limit   int
	members []*member
	turn    int           // of the members
	space   chan struct{} // closed when there is space; nil where nobody waits
	away    bool          // a group that nobody is in
	closed  bool
	keep    time.Duration // how long it is kept when nobody is in it; 0 is without end
	left    time.Time     // since when nobody is; under the tenant's lock
	resume  uint64        // the sequence at which a group that nobody is in goes on; under the tenant's lock
}

// lane is a queue of events one of which is delivered at a time.
type lane struct {
	events   []*driver.Event
	head     int
	attempts int  // of the first
	busy     bool // being delivered, ready, or waiting
	timer    *time.Timer
}

func (l *lane) empty() bool { return l.head == len(l.events) }

func (l *lane) push(e *driver.Event) {
	if l.head > 0 && len(l.events) == cap(l.events) { // make room at the front before the back grows
		n := copy(l.events, l.events[l.head:])
		clear(l.events[n:])
		l.events, l.head = l.events[:n], 0
	}
	l.events = append(l.events, e)
}

func (l *lane) pop() {
	l.events[l.head] = nil
	l.head++
	l.attempts = 0
	if l.empty() {
		l.events, l.head = l.events[:0], 0
		if cap(l.events) > 64 { // a burst's room is given back
			l.events = nil
		}
	}
}

func (q *queue) laneOf(e *driver.Event) int {
	if len(q.lanes) == 1 {
		return 0
	}
	return driver.Partition(e, len(q.lanes))
}

// push puts an event in, and reports whether its lane has become ready.
func (q *queue) push(e *driver.Event) bool {
	i := q.laneOf(e)
	l := &q.lanes[i]
	l.push(e)
	q.count++
	q.bytes += size(e)
	if l.busy {
		return false
	}
	l.busy = true
	q.ready = append(q.ready, i)
	return true
}

// pop takes the first event of a lane out.
func (q *queue) pop(l *lane) {
	q.bytes -= size(l.events[l.head])
	q.count--
	l.pop()
}

// put puts an event in, and reports false where there is no space.
func (q *queue) put(e *driver.Event) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.putLocked(e)
}

func (q *queue) putLocked(e *driver.Event) bool {
	if q.closed {
		return true // nobody wants it any more
	}
	if q.count >= q.limit && !q.away { // whoever publishes as the last member leaves waits for nobody
		return false
	}
	if q.push(e) {
		q.dispatch(1)
	}
	return true
}

// putOrWait puts an event in, or returns what is closed when it is worth another try.
func (q *queue) putOrWait(e *driver.Event) <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.putLocked(e) {
		return nil
	}
	if q.space == nil {
		q.space = make(chan struct{})
	}
	return q.space
}

// dispatch starts at most n workers, among the members in turn. The queue is locked.
func (q *queue) dispatch(n int) {
	for busy := 0; n > 0 && busy < len(q.members); {
		q.turn = (q.turn + 1) % len(q.members)
		m := q.members[q.turn]
		if m.closed || m.active == m.want.Concurrency {
			busy++
			continue
		}
		busy = 0
		n--
		m.active++
		go m.work()
	}
}

// next returns a lane that is ready for a member.
func (q *queue) next(m *member) (int, bool) {
	if m.closed || len(q.ready) == 0 {
		return 0, false
	}
	i := q.ready[0]
	q.ready = q.ready[:copy(q.ready, q.ready[1:])]
	return i, true
}

// hand returns the first events of a lane, which then is busy, for their delivery. It is several at once, so that
// handlers that are fast do not wait for the queue each time.
func (q *queue) hand(i int) []driver.Delivery {
	l := &q.lanes[i]
	l.attempts++
	n := min(len(l.events)-l.head, max(1, q.limit/handed), maxHanded)
	deliveries := make([]driver.Delivery, n)
	for k, e := range l.events[l.head : l.head+n] {
		deliveries[k] = driver.Delivery{Event: e, Attempt: 1}
	}
	deliveries[0].Attempt = l.attempts
	return deliveries
}

// What a worker takes from a lane at once: a part of the queue's limit, since it takes up room until all of it is handled.
const (
	handed    = 32
	maxHanded = 32
)

// settle removes the first events of a lane, which are done, and has the next come again, where its handler has
// refused it.
func (q *queue) settle(i, done int, refused bool, after time.Duration) {
	l := &q.lanes[i]
	for range done {
		q.pop(l)
	}
	if q.space != nil && q.count <= q.limit/2 { // not for each: publishers come back in turns
		close(q.space)
		q.space = nil
	}
	if l.empty() {
		l.busy = false
		return
	}
	if refused {
		l.attempts = max(l.attempts, 1)
		if after > 0 && !q.closed && !q.away {
			l.timer = time.AfterFunc(after, func() { q.again(i) })
			return
		}
	}
	q.ready = append(q.ready, i)
}

// again makes a lane ready whose first event has waited.
func (q *queue) again(i int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lanes[i].timer = nil
	q.ready = append(q.ready, i)
	q.dispatch(1)
}

func (q *queue) join(m *member) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.members = append(q.members, m)
	q.dispatch(len(q.ready))
}

// leave removes a member that is idle, and with the last of them the queue.
func (q *queue) leave(m *member) {
	t := q.tenant
	t.mu.Lock()
	defer t.mu.Unlock()
	if !q.without(m) {
		return
	}
	t.topics.remove(q.patterns, q)
	if q.group != "" {
		q.resume, q.left = t.log.next(), time.Now()
		delete(t.groups, q.group)
		t.park(q)
	}
}

// without removes a member, and reports whether it was the last. What is not handled then stays in a
// group's queue, ready.
func (q *queue) without(m *member) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.members = slices.DeleteFunc(q.members, func(other *member) bool { return other == m })
	if len(q.members) > 0 {
		q.dispatch(len(q.ready)) // what the one who left would have done
		return false
	}
	q.away, q.closed = q.group != "", q.group == ""
	if q.space != nil {
		close(q.space)
		q.space = nil
	}
	for i := range q.lanes {
		l := &q.lanes[i]
		if l.timer != nil && l.timer.Stop() {
			l.timer = nil
			q.ready = append(q.ready, i)
		}
	}
	return true
}

// head returns the first event of a lane that is ready.
func (q *queue) head(turn int) *driver.Event {
	l := &q.lanes[q.ready[turn]]
	return l.events[l.head]
}

// member is a subscription.
type member struct {
	bus    *Bus
	queue  *queue
	want   *driver.Subscribe
	ctx    context.Context
	cancel context.CancelFunc
	active int           // workers; under the queue's lock
	closed bool          // "
	ending atomic.Bool   // closed, for who does not hold the lock
	idle   chan struct{} // closed with the last worker, once the member is closed
}

// work delivers what is ready until nothing is.
func (m *member) work() {
	q := m.queue
	q.mu.Lock()
	for {
		i, ok := q.next(m)
		if !ok {
			break
		}
		deliveries := q.hand(i)
		q.mu.Unlock()
		done, refused, after := m.deliver(deliveries)
		q.mu.Lock()
		q.settle(i, done, refused, after)
	}
	m.active--
	if m.closed {
		q.dispatch(len(q.ready)) // it is for the others
		if m.active == 0 {
			close(m.idle)
		}
	}
	q.mu.Unlock()
}

// deliver has events handled, one after the other, until one is refused or the member is closed. It returns how
// many are done, and when the one that was refused comes again.
func (m *member) deliver(deliveries []driver.Delivery) (done int, refused bool, after time.Duration) {
	for i := range deliveries {
		if i > 0 && m.ending.Load() {
			return i, false, 0
		}
		if v := m.want.Deliver(m.ctx, &deliveries[i]); v.Outcome == driver.Nak {
			return i, true, v.Delay
		}
	}
	return len(deliveries), false, 0
}

// Close ends the subscription.
func (m *member) Close(ctx context.Context) error {
	m.bus.mu.Lock()
	_, open := m.bus.subs[m]
	delete(m.bus.subs, m)
	m.bus.mu.Unlock()
	if !open {
		return nil
	}
	q := m.queue
	q.mu.Lock()
	m.closed = true
	m.ending.Store(true)
	if m.active == 0 {
		close(m.idle)
	}
	q.mu.Unlock()
	var err error
	select {
	case <-m.idle:
	case <-ctx.Done():
		m.cancel()
		select {
		case <-m.idle:
		case <-time.After(grace):
			err = ctx.Err()
		}
	}
	m.cancel()
	q.leave(m)
	return err
}

// grace is how long a handler has to heed the end of its context.
const grace = time.Second
