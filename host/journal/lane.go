package journal

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// Lane is what does one thing at a time in a run: a node, a body of a composite, or the run itself. Its methods are for one goroutine
// at a time; those of nil do what is asked for, and take nothing down.
type Lane struct {
	tape *Tape
	path string

	known []*Entry // what it has done, in order; next is the first that it has not come to again
	next  int
	used  map[int]bool // of Rehearsing: by their index, those that were found
	index []int        // of Replaying: where known entries are in the whole

	calls    int          // so far; they number the idempotency keys
	entering []entering   // the calls of modules that are under way, the innermost last
	muted    atomic.Int32 // inside of what is taken down as a whole
	usage    *kernel.UsageSnapshot
	charges  []kernel.Charge
}

// LaneKey is the key under which a context carries a lane.
type LaneKey struct{}

// WithLane returns a context in which what is done is the lane's.
func WithLane(ctx context.Context, l *Lane) context.Context {
	if l == nil && LaneFrom(ctx) == nil {
		return ctx
	}
	return context.WithValue(ctx, LaneKey{}, l)
}

// LaneFrom returns the lane that ctx carries, or nil.
func LaneFrom(ctx context.Context) *Lane {
	l, _ := ctx.Value(LaneKey{}).(*Lane)
	return l
}

// Inner returns the lane of a part.
func (l *Lane) Inner(name string) *Lane {
	if l == nil {
		return nil
	}
	if l.path == "" {
		return l.tape.Lane(name)
	}
	return l.tape.Lane(l.path + "/" + name)
}

// Again reports whether the run is done again without the world: nothing takes time, and nothing is bounded.
func (l *Lane) Again() bool { return l != nil && l.tape.Again() }

// silent reports whether nothing is taken down.
func (l *Lane) silent() bool { return l == nil || l.muted.Load() > 0 }

// Knows reports whether the lane has not come yet to all that is known of it but events.
func (l *Lane) Knows() bool {
	if l.silent() {
		return false
	}
	for _, e := range l.known[l.next:] {
		if e.Kind != Told {
			return true
		}
	}
	return false
}

// KnowsInside is Knows of the lane, or of a part of it.
func (l *Lane) KnowsInside() bool {
	if l.silent() || l.tape.mode == Recording {
		return false
	}
	return l.Knows() || l.tape.knowsBelow(l.path+"/")
}

// expect returns the next known entry, if it is of a kind and fits; nil where the lane goes on by itself. An
// error is why it cannot.
func (l *Lane) expect(kind Kind, what string, fits func(*Entry) (is string, ok bool)) (*Entry, error) {
	switch l.tape.mode {
	case Recording:
		return nil, nil
	case Rehearsing:
		return l.search(kind, fits), nil
	case Resuming:
		l.skipEvents()
	}
	if l.tape.parted() { // what follows from the first difference is none of its own
		if kind == Told {
			return nil, nil
		}
		l.skipEvents()
	}
	if l.next >= len(l.known) {
		if l.tape.mode == Replaying {
			return nil, l.differs(nil, what)
		}
		return nil, nil
	}
	e := l.known[l.next]
	if kind != Done && l.tape.mode == Replaying && isStopped(e) {
		return nil, e.Failed // its time was up here
	}
	if e.Kind != kind {
		return nil, l.differs(e, what)
	}
	if is, ok := fits(e); !ok {
		return nil, l.differs(e, is)
	}
	l.await()
	return l.consume(), nil
}

// isStopped reports whether an entry is the end of a node that was stopped.
func isStopped(e *Entry) bool { return e.Kind == Done && e.Failed != nil && ended(e.Failed) }

// ended reports whether an error is that of being stopped.
func ended(e *kernel.Error) bool {
	return e.Code == kernel.CodeTimeout || e.Code == kernel.CodeCanceled
}

// search returns the first known entry that fits and was not found before, and goes on behind it.
func (l *Lane) search(kind Kind, fits func(*Entry) (string, bool)) *Entry {
	for i, e := range l.known {
		if e.Kind != kind || l.used[i] {
			continue
		}
		if _, ok := fits(e); ok {
			if l.used == nil {
				l.used = map[int]bool{}
			}
			l.used[i] = true
			l.next = i + 1
			return e
		}
	}
	return nil
}

func (l *Lane) skipEvents() {
	for l.next < len(l.known) && l.known[l.next].Kind == Told {
		l.next++
	}
}

// differs notes that the lane does something else than is known, and returns the error that stops it.
func (l *Lane) differs(was *Entry, is string) error {
	d := Difference{Lane: l.path, What: "something else is done than was recorded", Is: is}
	if was != nil {
		d.Seq, d.Was = was.Seq, was.Brief()
	} else {
		d.Was = "nothing more"
	}
	if l.tape.Again() {
		l.tape.differ(d)
		return &kernel.Error{Code: kernel.CodeDiverged, What: "the run is not as it was recorded", Why: fmt.Sprintf("at %s: it was %s, and is %s", place(l.path), d.Was, is), Fix: "see what has changed: hexdag replay tells all differences"}
	}
	return &kernel.Error{Code: kernel.CodeDiverged, What: "the run cannot go on from its journal", Why: fmt.Sprintf("at %s: it had done %s, and now does %s", place(l.path), d.Was, is),
		Fix: "restore the modules, the pipeline and the configuration that it began with, or run the pipeline anew"}
}

func place(path string) string {
	if path == "" {
		return "the run itself"
	}
	return "node " + kernel.Quote(path)
}

// told takes an event down, and answers whether observers are to be told.
func (l *Lane) told(e *kernel.Event) bool {
	switch {
	case e.Type == kernel.LLMTokenStreamed: // in pieces of any size; the reply has the whole
		return l.tape.mode != Resuming || l.muted.Load() > 0 || !l.Knows()
	case l.tape.mode == Resuming && l.muted.Load() == 0 && l.Knows():
		return false // they were told of it then
	case l.tape.mode == Replaying && l.muted.Load() == 0 && l.tape.compares(e):
		is := briefEvent(e)
		_, _ = l.expect(Told, is, func(was *Entry) (string, bool) { return is, briefEvent(was.Event) == is })
	}
	l.write(Entry{Kind: Told, Event: shown(e)})
	return true
}

// shown is an event without what another entry has.
func shown(e *kernel.Event) *kernel.Event {
	if e.Result == nil || e.Type != kernel.NodeCompleted {
		return e
	}
	without := *e
	without.Result = nil
	return &without
}

// write takes an entry down, behind the beginning of the modules' calls that it is in.
func (l *Lane) write(e Entry) (seq uint64) {
	for i := range l.entering {
		if begun := &l.entering[i]; !begun.written {
			l.append(Entry{Kind: Enter, Module: begun.guest.Module, Digest: begun.guest.Digest, Point: begun.guest.Point, Usage: begun.usage})
			begun.written = true
		}
	}
	return l.append(e)
}

func (l *Lane) append(e Entry) (seq uint64) {
	e.Lane = l.path
	seq = l.tape.sink.Append(e)
	if e.Kind == Draw || e.Kind == Local || e.Kind == Answer {
		l.tape.chance(seq)
	}
	return seq
}

// key is the idempotency key of the next call.
func (l *Lane) key() string {
	l.calls++
	return l.tape.name + "/" + l.path + "#" + strconv.Itoa(l.calls)
}

// Usage returns what a module is told that the run has used: what it has, or what it had then.
func (l *Lane) Usage(now kernel.UsageSnapshot) kernel.UsageSnapshot {
	if l.silent() {
		return now
	}
	if l.tape.mode != Recording {
		for _, e := range l.known[l.next:] {
			if e.Kind == Ran || e.Kind == Enter && e.Op == "" {
				if e.Usage != nil {
					now = *e.Usage
				}
				break
			}
		}
	}
	if l.usage == nil || *l.usage != now {
		told := now
		l.usage = &told
	}
	return now
}

// Sleep waits, unless the run is done again, or had waited already.
func (l *Lane) Sleep(ctx context.Context, d time.Duration) error {
	if l.Again() {
		if l.next < len(l.known) && isStopped(l.known[l.next]) {
			return l.known[l.next].Failed
		}
		return nil
	}
	if !l.silent() && l.Knows() {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return kernel.ContextError(ctx)
	}
}

// Draw returns what read answers: a reading of the clock, or random bytes.
func (l *Lane) Draw(op string, read func() ([]byte, error)) ([]byte, error) {
	if l.silent() {
		return read()
	}
	e, err := l.expect(Draw, "a reading of "+op, func(was *Entry) (string, bool) { return op, was.Op == op })
	if err != nil {
		return nil, err
	}
	var body []byte
	if e != nil {
		body = e.Body
	} else if body, err = read(); err != nil {
		return nil, err
	}
	if e == nil || l.Again() {
		l.write(Entry{Kind: Draw, Op: op, Body: append([]byte(nil), body...)})
	}
	return body, nil
}

// Clock returns a clock for what is computed in the lane; nil for the machine's.
func (l *Lane) Clock() func() time.Time {
	if l == nil {
		return nil
	}
	return func() time.Time {
		text, err := l.Draw("now", func() ([]byte, error) { return l.now().MarshalBinary() })
		var t time.Time
		if err != nil || t.UnmarshalBinary(text) != nil {
			return l.tape.run.Started // the lane is stopped at its next effect
		}
		return t
	}
}

func (l *Lane) now() time.Time {
	if c := l.tape.run.Clock; c != nil {
		return c()
	}
	return time.Now()
}

// failure is an error as entries have it.
func failure(err error) *kernel.Error {
	if err == nil {
		return nil
	}
	var e *kernel.Error
	if errors.As(err, &e) {
		return e
	}
	return &kernel.Error{Code: kernel.CodeOf(err), What: err.Error()}
}
