package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/eventbus"
)

// ListenOptions says what to do beside the configuration's triggers and
// subscriptions. The zero value is usable.
type ListenOptions struct {
	Triggers []*Trigger
	// Told is told of every event that a trigger or a module has dealt with, from several goroutines.
	Told func(*Triggered)
	// Unscheduled leaves schedules to others.
	Unscheduled bool
	// Observer is told of the events of the runs; see RunOptions.
	Observer func(*Event)
}

// Listener starts runs as events ask for them, and tells modules of events, until it is
// closed.
type Listener struct {
	host  *Host
	opts  ListenOptions
	subs  []*eventbus.Subscription
	loads []*Pipeline
	open  context.Context // ends when the listener closes
	close context.CancelFunc

	schedules sync.WaitGroup
	working   atomic.Int64
	mu        sync.Mutex
	last      time.Time // when something last happened
}

// Listen begins with the triggers, subscriptions and schedules of the configuration, and further
// triggers. The caller closes the listener before the host.
func (h *Host) Listen(ctx context.Context, opts ListenOptions) (_ *Listener, err error) {
	l := &Listener{host: h, opts: opts, last: time.Now()}
	l.open, l.close = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close(context.WithoutCancel(ctx)))
		}
	}()
	triggers := opts.Triggers
	var problems []error
	for _, spec := range h.config.Triggers {
		t, err := h.compile(ctx, spec)
		problems = append(problems, err)
		if err == nil {
			l.loads = append(l.loads, t.Pipeline)
			triggers = append(triggers, t)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	for _, t := range triggers {
		if err := l.add(ctx, t); err != nil {
			return nil, err
		}
	}
	for _, spec := range h.config.Subscriptions {
		if err := h.subscribeModule(ctx, spec, l); err != nil {
			return nil, err
		}
	}
	if h.config.Libraries.Pipelines != "" && !opts.Unscheduled {
		l.schedules.Go(func() { h.libraries.schedule.Serve(l.open, stopping) })
	}
	return l, nil
}

// Listens reports whether the configuration has anything to listen for.
func (h *Host) Listens() bool { return len(h.config.Triggers)+len(h.config.Subscriptions) > 0 }

// crashes is how often an event is delivered whose runs the process did not survive,
// before it is a dead letter.
const crashes = 5

func (l *Listener) add(ctx context.Context, t *Trigger) error {
	if t.Name == "" || eventbus.Part(t.Name) != t.Name || len(t.On) == 0 || t.Pipeline == nil || t.Dedup != nil && t.Window <= 0 {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the trigger " + kernel.Quote(t.Name) + " cannot be used", Why: "it needs a name of letters, digits, _ and -, what it is on, a pipeline and, with Dedup, a window", Fix: "set them"}
	}
	own := *t
	if t.PerMinute > 0 {
		own.pace = &pace{most: t.PerMinute}
	}
	return l.subscribe(ctx, t.On, func(ctx context.Context, d *eventbus.Delivery) error { return own.fire(ctx, l, d) }, eventbus.SubscribeOptions{
		Group: "trigger-" + t.Name, Start: t.Start, Concurrency: t.Concurrency, MaxDeliveries: t.Retries + crashes,
	})
}

func (l *Listener) subscribe(ctx context.Context, on []string, handler eventbus.Handler, opts eventbus.SubscribeOptions) error {
	s, err := l.host.bus.Subscribe(ctx, l.host.tenant(), on, handler, opts)
	if err == nil {
		l.subs = append(l.subs, s)
	}
	return err
}

// began notes that something is under way, until done is called.
func (l *Listener) began() (done func()) {
	l.working.Add(1)
	return func() {
		l.happened()
		l.working.Add(-1)
	}
}

func (l *Listener) happened() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = time.Now()
}

func (l *Listener) tell(t *Triggered) {
	l.happened()
	if l.opts.Told != nil {
		l.opts.Told(t)
	}
}

// Wait returns when nothing is under way and nothing has happened for idle, or, if idle is 0,
// when ctx ends.
func (l *Listener) Wait(ctx context.Context, idle time.Duration) {
	if idle <= 0 {
		<-ctx.Done()
		return
	}
	for {
		l.mu.Lock()
		left := idle - time.Since(l.last)
		l.mu.Unlock()
		if left <= 0 && l.working.Load() == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(left, 10*time.Millisecond)):
		}
	}
}

// stopping is how long runs that are under way have when the listener closes.
const stopping = 30 * time.Second

// Close begins nothing more and waits for the runs under way, for at most half a minute,
// then stops them. On a bus that is durable, what they were started by is delivered again.
func (l *Listener) Close(ctx context.Context) error {
	l.close()
	ctx, cancel := context.WithTimeout(ctx, stopping)
	defer cancel()
	problems := make([]error, len(l.subs))
	var wait sync.WaitGroup
	for i, s := range l.subs {
		wait.Go(func() { problems[i] = l.host.bus.Unsubscribe(ctx, s.ID) })
	}
	wait.Wait()
	l.schedules.Wait()
	l.subs = nil
	for _, p := range l.loads {
		problems = append(problems, p.Close(context.WithoutCancel(ctx)))
	}
	l.loads = nil
	return errors.Join(problems...)
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
