package host

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// Recorder keeps the events of a run, every one of them. The zero value is usable.
type Recorder struct {
	mu     sync.Mutex
	events []*Event
	tell   func(*Event)
}

// Tell returns a recorder that keeps nothing and tells f of every event, from
// several goroutines. The run waits for f, so f must be quick.
func Tell(f func(*Event)) *Recorder { return &Recorder{tell: f} }

// Observe keeps an event.
func (r *Recorder) Observe(e *Event) {
	if r.tell != nil {
		r.tell(e)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// Events returns what was kept so far.
func (r *Recorder) Events() []*Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*Event(nil), r.events...)
}

// maxQueued is how many events wait for a slow observer; further ones are dropped.
const maxQueued = 4096

// observe returns what a run tells its events, or nil, and what ends it: after
// stop nobody is told of anything.
func observe(opts RunOptions) (observer kernel.Observer, stop func()) {
	var queue *queue
	if opts.Observer != nil {
		queue = startQueue(opts.Observer)
	}
	stop = func() {
		if queue != nil {
			queue.stop()
		}
	}
	switch {
	case queue == nil && opts.Recorder == nil:
		return nil, stop
	case queue == nil:
		return opts.Recorder.Observe, stop
	case opts.Recorder == nil:
		return queue.put, stop
	}
	return func(e *Event) {
		opts.Recorder.Observe(e)
		queue.put(e)
	}, stop
}

// queue hands events to an observer, in a goroutine that stop ends.
type queue struct {
	events    chan *Event
	done      chan struct{}
	dropped   atomic.Int64
	abandoned atomic.Bool
}

func startQueue(observer func(*Event)) *queue {
	q := &queue{events: make(chan *Event, maxQueued), done: make(chan struct{})}
	go func() {
		defer close(q.done)
		for e := range q.events {
			if q.abandoned.Load() {
				return
			}
			tell(observer, e)
		}
	}()
	return q
}

// tell keeps an observer's panic from the run.
func tell(observer func(*Event), e *Event) {
	defer func() { _ = recover() }()
	observer(e)
}

// patience is how long the end of a run waits for a slow observer.
const patience = 5 * time.Second

// put queues an event, or drops it where the observer is far behind. The terminal
// event tells how many were dropped, and waits for its place.
func (q *queue) put(e *Event) {
	if e.Type != kernel.PipelineCompleted {
		select {
		case q.events <- e:
		default:
			q.dropped.Add(1)
		}
		return
	}
	last := *e // others have the event too: the journal writes it at a time of its own
	last.Dropped = q.dropped.Load()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case q.events <- &last:
	case <-timer.C:
	}
}

// stop waits until the observer has seen what is queued, but not for ever for one
// that hangs: its goroutine then ends when it returns.
func (q *queue) stop() {
	close(q.events)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-q.done:
	case <-timer.C:
		q.abandoned.Store(true)
	}
}
