package journal

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
)

// WriterOptions set a Writer's bounds. Zero members are the defaults.
type WriterOptions struct {
	FlushEvery time.Duration // how long an entry waits that nobody waits for; 50 ms
	MaxEntries int           // of a run that wait; 4096
	MaxBytes   int64         // of these, as far as their bodies and texts say; 16 MiB
	// Patience is for how long a store that fails is asked again, before what it did not take is lost; 15 s.
	Patience time.Duration
}

const (
	chunkLines = 1 << 20  // a chunk ends when its lines are as long
	batchBytes = 16 << 20 // what is given to the store at once ends with the chunk that makes it as long
)

// Writer writes the entries of any number of runs to a store, those of all together. Its methods, and those of
// its runs, are safe for concurrent use.
type Writer struct {
	store   driver.Store
	options WriterOptions
	ctx     context.Context // of the store's calls
	cancel  context.CancelFunc

	mu     sync.Mutex
	queue  []*RunWriter // those that have something to write
	closed bool
	ended  bool // nothing is written any more

	armed   chan struct{} // something is in the queue
	hurried chan struct{} // and somebody waits for it
	closing chan struct{}
	stopped chan struct{}
	batch   batch // of whoever flushes
	entries rooms[Entry]
	returns rooms[returned]
}

// rooms are slices for what runs have pending, used again and again.
type rooms[T any] struct{ pool sync.Pool }

// maxRoom is how many members a slice has at most that is used again.
const maxRoom = 512

func (r *rooms[T]) get() []T {
	if room, ok := r.pool.Get().(*[]T); ok {
		return *room
	}
	return make([]T, 0, 8)
}

// put keeps a slice that get has returned for another run.
func (r *rooms[T]) put(room []T) {
	if n := cap(room); n == 0 || n > maxRoom {
		return
	}
	clear(room)
	room = room[:0]
	r.pool.Put(&room)
}

// NewWriter returns a writer to store, to be closed before that.
func NewWriter(store driver.Store, o WriterOptions) *Writer {
	o.FlushEvery = cmp.Or(o.FlushEvery, 50*time.Millisecond)
	o.MaxEntries = cmp.Or(o.MaxEntries, 4096)
	o.MaxBytes = cmp.Or(o.MaxBytes, 16<<20)
	o.Patience = cmp.Or(o.Patience, 15*time.Second)
	w := &Writer{
		store: store, options: o,
		armed: make(chan struct{}, 1), hurried: make(chan struct{}, 1), closing: make(chan struct{}), stopped: make(chan struct{}),
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	go w.work()
	return w
}

// Close writes what is pending, and ends the writer; entries that come later are dropped, as are those that are
// not written when ctx ends.
func (w *Writer) Close(ctx context.Context) error {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.closing)
	}
	w.mu.Unlock()
	select {
	case <-w.stopped:
	case <-ctx.Done():
		w.cancel()
		<-w.stopped
		return kernel.ContextError(ctx)
	}
	w.cancel()
	return nil
}

// Run returns the writer of a run that the store has given to this host: head is what Create or Claim has left, next the
// number of the first entry that it will write.
func (w *Writer) Run(head *driver.Run, next uint64) *RunWriter {
	r := &RunWriter{w: w, tenant: head.Tenant, id: head.ID, epoch: head.Epoch, next: next, durable: next - 1, lost: make(chan struct{})}
	r.room.L = &r.mu
	return r
}

// enqueue is called once for all that a run has pending.
func (w *Writer) enqueue(r *RunWriter) {
	w.mu.Lock()
	ended, first := w.ended, len(w.queue) == 0
	if !ended {
		w.queue = append(w.queue, r)
	}
	w.mu.Unlock()
	switch {
	case ended:
		r.fail(closedError(r.id))
	case first:
		signal(w.armed)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // there is one already
	}
}

// work flushes until the writer is closed.
func (w *Writer) work() {
	defer close(w.stopped)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	due := timer.C
	for {
		select {
		case <-w.armed:
			timer.Reset(w.options.FlushEvery)
			continue
		case <-w.hurried:
		case <-due:
		case <-w.closing:
			w.end()
			return
		}
		timer.Stop()
		w.gather()
		w.flush()
	}
}

// gather lets those come that are about to: runs that wait are woken together by a flush, and the first of them to have something
// more would have it written alone.
func (w *Writer) gather() {
	const rounds = 16
	for range rounds {
		before := w.queued()
		if runtime.Gosched(); w.queued() == before {
			return
		}
	}
}

// queued returns how many runs have something to write.
func (w *Writer) queued() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue)
}

// end flushes what is left, and fails what cannot be.
func (w *Writer) end() {
	for w.ctx.Err() == nil {
		w.mu.Lock()
		w.ended = len(w.queue) == 0
		ended := w.ended
		w.mu.Unlock()
		if ended {
			return
		}
		w.flush()
	}
	w.mu.Lock()
	left := w.queue
	w.queue, w.ended = nil, true
	w.mu.Unlock()
	for _, r := range left {
		r.fail(closedError(r.id))
	}
}

// flush writes what the runs in the queue have pending.
func (w *Writer) flush() {
	w.mu.Lock()
	runs := w.queue
	w.queue = nil
	w.mu.Unlock()
	for _, r := range runs {
		w.batch.add(w, r)
	}
	w.batch.write(w)
	if cap(w.batch.lines) > 4*chunkLines {
		w.batch.lines = nil
	}
}

// batch is what is given to the store at once.
type batch struct {
	chunks  []driver.Chunk
	runs    []*RunWriter // of the chunks
	bytes   int
	lines   []byte // of the chunk that is being made
	scratch Entry  // of whatever waited in another form
}

// add encodes what a run has pending.
func (b *batch) add(w *Writer, r *RunWriter) {
	entries, ran, status, waits := r.take()
	b.lines = b.lines[:0]
	first, count := uint64(0), 0
	for i, j := 0, 0; i+j < len(entries)+len(ran); {
		e := &b.scratch
		if j == len(ran) || i < len(entries) && entries[i].Seq < ran[j].seq {
			e = &entries[i]
			i++
		} else {
			b.scratch = ran[j].entry()
			j++
		}
		if count == 0 {
			first = e.Seq
		}
		e.Seal()
		var err error
		if b.lines, err = appendLine(b.lines, e); err != nil {
			r.fail(err)
			break
		}
		if count++; len(b.lines) >= chunkLines && i+j < len(entries)+len(ran) {
			b.chunk(w, r, driver.Chunk{First: first, Count: uint64(count), Data: frame(first, count, b.lines)})
			b.lines, count = b.lines[:0], 0
		}
	}
	if r.Err() == nil {
		last := driver.Chunk{First: r.following(), Status: status, Waits: waits}
		if count > 0 {
			last.First, last.Count, last.Data = first, uint64(count), frame(first, count, b.lines)
		}
		if count > 0 || status != "" {
			b.chunk(w, r, last)
		}
	}
	w.entries.put(entries)
	w.returns.put(ran)
}

func (b *batch) chunk(w *Writer, r *RunWriter, c driver.Chunk) {
	c.Tenant, c.Run, c.Epoch = r.tenant, r.id, r.epoch
	b.chunks, b.runs = append(b.chunks, c), append(b.runs, r)
	if b.bytes += len(c.Data); b.bytes >= batchBytes {
		b.write(w)
	}
}

// write gives the batch to the store and tells the runs.
func (b *batch) write(w *Writer) {
	if len(b.chunks) == 0 {
		return
	}
	errs, err := w.append(b.chunks)
	for i, r := range b.runs {
		of := err
		if of == nil && i < len(errs) {
			of = errs[i]
		}
		if of != nil {
			r.fail(writeError(of, r.id))
			continue
		}
		c := &b.chunks[i]
		r.wrote(c.First+c.Count-1, c.Status != "")
	}
	clear(b.chunks)
	clear(b.runs)
	b.chunks, b.runs, b.bytes = b.chunks[:0], b.runs[:0], 0
}

// append asks the store again while it fails, which is safe: a chunk that is there already stays as it is.
func (w *Writer) append(chunks []driver.Chunk) ([]error, error) {
	ctx, cancel := context.WithTimeout(w.ctx, w.options.Patience)
	defer cancel()
	const longest = time.Second
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, longest) {
		errs, err := w.store.Append(ctx, chunks)
		if err == nil || ctx.Err() != nil {
			return errs, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, err
		}
	}
}

func closedError(run string) error {
	return &kernel.Error{Code: kernel.CodeUnavailable, What: "the run's journal was closed", Where: kernel.Where{Run: run}, Why: "the host is being shut down", Fix: "resume the run", Err: context.Canceled}
}

// writeError says why a run cannot go on.
func writeError(err error, run string) error {
	if errors.Is(err, driver.ErrFenced) {
		return &kernel.Error{
			Code: kernel.CodeFenced, What: "the run was taken over by another host", Where: kernel.Where{Run: run},
			Why: "its claim had run out, or was taken by force", Fix: "it goes on there: 'hexdag journal show' tells how", Err: err,
		}
	}
	why := err.Error()
	var known *kernel.Error
	fix := "make room, or see that the journal's database runs; then the run can be resumed"
	if errors.As(err, &known) && known.Fix != "" {
		fix = known.Fix + "; then the run can be resumed"
	}
	return &kernel.Error{
		Code: kernel.CodeUnavailable, What: "the run's journal cannot be written", Where: kernel.Where{Run: run},
		Why: kernel.Quote(why), Fix: fix, Err: err,
	}
}
