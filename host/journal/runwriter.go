package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
	"unsafe"

	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
)

// RunWriter writes one run's journal. What is not recorded is not done: when it is Lost, the run has to end.
type RunWriter struct {
	w          *Writer
	tenant, id string
	epoch      uint64

	mu      sync.Mutex
	room    sync.Cond // pending has become shorter, or the run is lost
	pending []Entry
	ran     []returned // pending, too
	bytes   int64      // of what is pending
	queued  bool       // pending will be written
	next    uint64     // the number of the next entry
	durable uint64     // the number of the last that is
	closing driver.Status
	waits   *driver.Waits // that go with closing
	closed  bool          // and durable so
	waiters []waiter
	err     error
	lost    chan struct{}
}

// waiter waits for an entry, or for the end.
type waiter struct {
	seq   uint64
	end   bool
	ready chan struct{}
}

// Append adds an entry, gives it its number and, if it has none, its time; what it refers to does not change any more.
// It waits only where too much is pending. After the run is lost, or closed, it drops the entry.
func (r *RunWriter) Append(e Entry) (seq uint64) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	size := weigh(&e)
	r.mu.Lock()
	if e.Seq = r.number(size); e.Seq == 0 {
		r.mu.Unlock()
		return 0
	}
	if r.pending == nil {
		r.pending = r.w.entries.get()
	}
	r.pending = append(r.pending, e)
	r.appended()
	return e.Seq
}

// returned is a module's call that waits to be written: in a form of its own, since it is a quarter as large as an entry, and they are many.
type returned struct {
	Return
	seq  uint64
	time int64 // in nanoseconds since 1970
}

// entry is what is written.
func (r *returned) entry() Entry {
	e := r.Return.entry()
	e.Seq, e.Time = r.seq, time.Unix(0, r.time)
	return e
}

// AppendRan is Append for the entry of a module's call.
func (r *RunWriter) AppendRan(is Return) (seq uint64) {
	now := time.Now().UnixNano()
	r.mu.Lock()
	if seq = r.number(int64(unsafe.Sizeof(returned{}))); seq == 0 {
		r.mu.Unlock()
		return 0
	}
	if r.ran == nil {
		r.ran = r.w.returns.get()
	}
	r.ran = append(r.ran, returned{is, seq, now})
	r.appended()
	return seq
}

// number returns that of the next entry, once there is room for its size; 0 where it is dropped. The run is locked.
func (r *RunWriter) number(size int64) uint64 {
	for r.waiting() > 0 && r.err == nil && (r.waiting() >= r.w.options.MaxEntries || r.bytes+size > r.w.options.MaxBytes) {
		signal(r.w.hurried)
		r.room.Wait()
	}
	if r.err != nil || r.closing != "" {
		return 0
	}
	r.bytes += size
	r.next++
	return r.next - 1
}

// waiting returns how many entries are pending.
func (r *RunWriter) waiting() int { return len(r.pending) + len(r.ran) }

// appended unlocks the run, and has what is pending be written some time.
func (r *RunWriter) appended() {
	enqueue := !r.queued
	r.queued = true
	much := r.waiting() == r.w.options.MaxEntries/2 || r.bytes > r.w.options.MaxBytes/2
	r.mu.Unlock()
	if enqueue {
		r.w.enqueue(r)
	}
	if much {
		signal(r.w.hurried)
	}
}

// weigh returns about how many bytes an entry keeps in memory that the run may not keep anyway.
func weigh(e *Entry) int64 {
	n := 512 + len(e.Body) + len(e.Asked)
	if text, ok := e.Value.(string); ok {
		n += len(text)
	}
	return int64(n)
}

// Sync waits until all that was appended before is durable.
func (r *RunWriter) Sync(ctx context.Context) error { return r.SyncTo(ctx, math.MaxUint64) }

// SyncTo waits until the entries up to seq are durable, as far as they were appended before.
func (r *RunWriter) SyncTo(ctx context.Context, seq uint64) error {
	r.mu.Lock()
	seq = min(seq, r.next-1)
	if r.err != nil || r.durable >= seq {
		defer r.mu.Unlock()
		return r.err
	}
	return r.wait(ctx, waiter{seq: seq})
}

// wait is called with the lock, and gives it back.
func (r *RunWriter) wait(ctx context.Context, on waiter) error {
	on.ready = make(chan struct{})
	r.waiters = append(r.waiters, on)
	r.wake()           // it may be so already
	queued := r.queued // what is not is being written
	r.mu.Unlock()
	if queued {
		signal(r.w.hurried)
	}
	select {
	case <-on.ready:
		return r.Err()
	case <-ctx.Done():
		return kernel.ContextError(ctx)
	}
}

// Close writes what is pending, and with it where the run stands ("" is Running: it stays this host's), and waits until that is durable. If
// ctx ends before, it is written all the same, and Close may be called again.
func (r *RunWriter) Close(ctx context.Context, status driver.Status) error {
	status = cmp.Or(status, driver.Running)
	r.mu.Lock()
	if r.err != nil || r.closed {
		defer r.mu.Unlock()
		return r.err
	}
	enqueue := false
	if r.closing == "" {
		r.closing = status
		enqueue = !r.queued
		r.queued = true
	}
	on := waiter{seq: r.next - 1, end: true}
	if enqueue {
		r.mu.Unlock()
		r.w.enqueue(r)
		r.mu.Lock()
	}
	return r.wait(ctx, on)
}

// Suspend is Close of a run that waits: w is what for, nil where whoever has it go on does not find it by its journal.
func (r *RunWriter) Suspend(ctx context.Context, w *driver.Waits) error {
	r.mu.Lock()
	if r.closing == "" {
		r.waits = w
	}
	r.mu.Unlock()
	return r.Close(ctx, driver.Suspended)
}

// Lost is closed when the run can no longer be recorded; Err says why.
func (r *RunWriter) Lost() <-chan struct{} { return r.lost }

// Err returns why the run can no longer be recorded, nil while it can: CodeFenced where another host has it, and CodeUnavailable.
func (r *RunWriter) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// take returns what is pending, and the status and the waits that go with it.
func (r *RunWriter) take() (entries []Entry, ran []returned, status driver.Status, waits *driver.Waits) {
	r.mu.Lock()
	defer r.mu.Unlock()
	entries, ran = r.pending, r.ran
	r.pending, r.ran, r.bytes, r.queued = nil, nil, 0, false
	r.room.Broadcast()
	if r.err != nil {
		return nil, nil, "", nil
	}
	return entries, ran, r.closing, r.waits
}

// following returns the number of the entry after all that were appended.
func (r *RunWriter) following() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next
}

// wrote tells that the entries up to seq are durable.
func (r *RunWriter) wrote(seq uint64, closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.durable, r.closed = max(r.durable, seq), r.closed || closed
	r.wake()
}

// wake tells those who wait for what is so now.
func (r *RunWriter) wake() {
	left := r.waiters[:0]
	for _, on := range r.waiters {
		if r.err != nil || r.durable >= on.seq && (!on.end || r.closed) {
			close(on.ready)
		} else {
			left = append(left, on)
		}
	}
	clear(r.waiters[len(left):])
	r.waiters = left
}

// Abandon loses the run, for a reason: what was not written yet is not, and whoever claims the run next goes on with what was.
func (r *RunWriter) Abandon(err error) { r.fail(err) }

// fail loses the run. The first error stays.
func (r *RunWriter) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil || r.closed {
		return
	}
	r.err = err
	close(r.lost)
	r.pending, r.ran, r.bytes = nil, nil, 0
	r.room.Broadcast()
	r.wake()
}

// maxEntry is what one entry may have in bytes of JSON.
const maxEntry = maxPayload / 2

// appendLine appends an entry and a line break.
func appendLine(dst []byte, e *Entry) ([]byte, error) {
	before := len(dst)
	dst, err := appendEntry(dst, e)
	if err != nil {
		return dst, &kernel.Error{Code: kernel.CodeInternal, What: "what the run did cannot be recorded", Where: kernel.Where{Node: e.Lane}, Why: kernel.Quote(fmt.Sprintf("%s: %v", e.Kind, err)), Err: err}
	}
	if len(dst)-before > maxEntry {
		return dst, &kernel.Error{
			Code: kernel.CodeLimit, What: "what the run did cannot be recorded", Where: kernel.Where{Node: e.Lane},
			Why: fmt.Sprintf("an entry of %d bytes, and at most %d are kept", len(dst)-before, maxEntry),
			Fix: "keep large values in an artifact", Err: errors.New("too large"),
		}
	}
	return append(dst, '\n'), nil
}
