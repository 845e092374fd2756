package journal

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// Sink takes entries. What Sync, or SyncTo, has returned nil for survives a crash.
type Sink interface {
	Append(e Entry) (seq uint64)
	// AppendRan appends what r is as an entry. Most entries of a run with hooks are such.
	AppendRan(r Return) (seq uint64)
	Sync(ctx context.Context) error
	// SyncTo is Sync for the entries up to a number.
	SyncTo(ctx context.Context, seq uint64) error
}

// Mode is what a tape is for.
type Mode int

// The modes.
const (
	// Recording takes down what a run does.
	Recording Mode = iota
	// Resuming goes on with a run whose host has died: what is known is not done again, and what follows is taken down.
	Resuming
	// Replaying does a run again without the world, entry by entry in the order of the recording.
	Replaying
	// Rehearsing does it with something else in its place, a module or rules: what each lane asks for is looked up in
	// what it asked for then.
	Rehearsing
)

// Tape is what a run's effects are taken down on, and known from. It is a kernel.Journal.
type Tape struct {
	run  *kernel.RunContext
	name string // that idempotency keys begin with
	mode Mode
	sink Sink
	opts Options

	chances atomic.Uint64 // the last entry of what may be something else when it is done again

	mu    sync.Mutex
	lanes map[string]*Lane

	// Of Replaying: all entries in their order, and which is next.
	all         []*Entry
	next        int
	turn        *sync.Cond
	working     int  // lanes in which a module computes
	apart       bool // it is no longer like the recording, and nobody waits for a turn
	differences []Difference
}

// Options say how a run is done again.
type Options struct {
	// Judge, of Rehearsing, has governance decide anew.
	Judge bool
	// Silent, of Replaying, does not compare events; Stopped not how it ended, which was decided outside.
	Silent, Stopped bool
	// Keep, of Rehearsing, says of which nodes at the top the results are taken from the recording.
	Keep func(node string) bool
}

// Difference is where a run that is done again is not as it was.
type Difference struct {
	Lane string
	Seq  uint64 // of the entry that was expected; 0: none was
	What string // in words
	Was  string
	Is   string
	// Unrecorded says that a call was asked for which the recording does not hold. It was not made.
	Unrecorded bool
	Decision   bool // of governance
}

// Record returns the tape of a run that begins.
func Record(run *kernel.RunContext, sink Sink) *Tape {
	return &Tape{run: run, name: run.RunID, mode: Recording, sink: sink, lanes: map[string]*Lane{}}
}

// Named has idempotency keys begin with a name other than the run's: what a run does after it was suspended is counted anew, and is
// no repetition of what it did before.
func (t *Tape) Named(name string) *Tape {
	t.name = name
	return t
}

// Resume returns the tape of a run that goes on after known, the entries of its journal since it began, or went on after it was suspended.
func Resume(run *kernel.RunContext, sink Sink, known []*Entry) *Tape {
	t := Record(run, sink)
	t.mode = Resuming
	t.deal(known)
	return t
}

// Again returns the tape of a run that is done again, as known has it. sink takes down what it does now.
func Again(run *kernel.RunContext, mode Mode, sink Sink, known []*Entry, opts Options) *Tape {
	t := Record(run, sink)
	t.mode, t.opts = mode, opts
	t.turn = sync.NewCond(&t.mu)
	t.deal(known)
	return t
}

// deal gives each lane what is known of it.
func (t *Tape) deal(known []*Entry) {
	for _, e := range known {
		switch e.Kind {
		case Begin, Recover, End:
			continue
		}
		l := t.lane(e.Lane)
		l.known = append(l.known, e)
		l.index = append(l.index, len(t.all))
		t.all = append(t.all, e)
	}
}

// Lane returns the lane of that path.
func (t *Tape) Lane(path string) *Lane {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lane(path)
}

func (t *Tape) lane(path string) *Lane {
	l := t.lanes[path]
	if l == nil {
		l = &Lane{tape: t, path: path}
		t.lanes[path] = l
	}
	return l
}

// knowsBelow reports whether anything was known of the lanes below a path. Those of a run that goes on are all there from its beginning.
func (t *Tape) knowsBelow(path string) bool {
	for _, e := range t.all {
		if e.Kind != Told && strings.HasPrefix(e.Lane, path) {
			return true
		}
	}
	return false
}

// Again reports whether the run is done again without the world, so that nothing is waited for.
func (t *Tape) Again() bool { return t != nil && (t.mode == Replaying || t.mode == Rehearsing) }

// Told implements kernel.Journal.
func (t *Tape) Told(ctx context.Context, e *kernel.Event) bool {
	l := LaneFrom(ctx)
	if l == nil || l.tape != t {
		l = t.Lane("")
	}
	return l.told(e)
}

// Charged implements kernel.Journal.
func (t *Tape) Charged(ctx context.Context, c kernel.Charge) {
	if l := LaneFrom(ctx); l != nil && l.tape == t {
		t.mu.Lock()
		defer t.mu.Unlock()
		l.charges = append(l.charges, c)
	}
}

// charged returns what was charged since it was asked last.
func (l *Lane) charged() []kernel.Charge {
	l.tape.mu.Lock()
	defer l.tape.mu.Unlock()
	charges := l.charges
	l.charges = nil
	return charges
}

// chance notes that what an entry has may be something else when it is done again.
func (t *Tape) chance(seq uint64) {
	for was := t.chances.Load(); seq > was && !t.chances.CompareAndSwap(was, seq); {
		was = t.chances.Load()
	}
}

// differ notes a difference. From then on the run is on its own.
func (t *Tape) differ(d Difference) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.differences = append(t.differences, d)
	t.part()
}

// part has nobody wait for a turn any longer.
func (t *Tape) part() {
	if t.apart = true; t.turn != nil {
		t.turn.Broadcast()
	}
}

// Differences returns where the run was not as before, and what was left over of the recording.
func (t *Tape) Differences() []Difference {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := slices.Clone(t.differences)
	if t.mode == Replaying && !t.apart && t.next < len(t.all) {
		e := t.all[t.next]
		found = append(found, Difference{Lane: e.Lane, Seq: e.Seq, What: "the run ended before it came to what the recording has next", Was: e.Brief()})
	}
	return found
}

// Kept reports whether a node's result is taken from the recording.
func (t *Tape) Kept(node string) bool { return t.opts.Keep != nil && t.opts.Keep(node) }

// stalled is how long a run that is done again waits for its next entry while nobody does anything.
const stalled = 10 * time.Second

// await waits until the recording's next entry is the lane's own next.
func (l *Lane) await() {
	t := l.tape
	if t.mode != Replaying {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.apart || l.next >= len(l.known) || t.next == l.index[l.next] {
		return
	}
	if len(l.entering) > 0 {
		t.working--
		defer func() { t.working++ }()
	}
	at := t.next
	timer := time.AfterFunc(stalled, func() { t.stuck(at) })
	defer func() { timer.Stop() }()
	for !t.apart && l.next < len(l.known) && t.next != l.index[l.next] {
		t.turn.Wait()
		if t.next != at {
			at = t.next
			timer.Stop()
			now := at
			timer = time.AfterFunc(stalled, func() { t.stuck(now) })
		}
	}
}

// compares reports whether an event has to be as it was.
func (t *Tape) compares(e *kernel.Event) bool {
	return !t.opts.Silent && (!t.opts.Stopped || e.Type != kernel.PipelineCompleted)
}

// works notes that a lane has begun to compute, or no longer does.
func (t *Tape) works(more int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.working += more
}

func (t *Tape) parted() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.apart
}

// stuck gives up on an order that does not come about, unless somebody works.
func (t *Tape) stuck(at int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.apart || t.next != at || at >= len(t.all) {
		return
	}
	if t.working > 0 { // it may yet come about
		time.AfterFunc(stalled, func() { t.stuck(at) })
		return
	}
	e := t.all[at]
	t.differences = append(t.differences, Difference{Lane: e.Lane, Seq: e.Seq, What: "nothing did what the recording has next", Was: e.Brief()})
	t.part()
}

// consume goes past the lane's next known entry.
func (l *Lane) consume() *Entry {
	t := l.tape
	t.mu.Lock()
	defer t.mu.Unlock()
	e := l.known[l.next]
	if t.mode == Replaying && !t.apart && t.next == l.index[l.next] {
		t.next++
		t.turn.Broadcast()
	}
	l.next++
	return e
}
