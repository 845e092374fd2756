package processregistry

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/datastore"
	"github.com/hexdag/hexdag/host/ports/datastore/driver"
)

// Options configures a registry. Store has to be set.
type Options struct {
	// Store returns where processes are kept; it is asked when it is first needed. Whoever opens it closes it, after the registry.
	Store   func(ctx context.Context) (*datastore.Store, error)
	Host    string        // what this process is called
	Keep    time.Duration // how long runs that have ended are kept; 30 days if 0
	MaxRuns int64         // that have ended, of one tenant; 100,000 if 0
	TTL     time.Duration // after how long a host that says nothing is dead; 20 s if 0
	Linger  time.Duration // how long what became of runs is gathered before it is written; 20 ms if 0
	Poll    time.Duration // how often Wait looks; 100 ms if 0
	// Failed, if set, is told that what became of runs could not be kept, and how many runs that concerns.
	Failed func(err error, runs int)
	Now    func() time.Time // time.Now, if nil
}

// maxUnwritten is how many runs wait to be written before those after them wait, too.
const maxUnwritten = 8192

// tooLong is how long a run waits for the store before it is left out.
const tooLong = time.Second

// pruneEvery is how often what is too old is removed.
const pruneEvery = time.Hour

type key struct{ tenant, run string }

// Registry knows the runs of tenants. It may be used by several goroutines. Errors are *kernel.Error: those of [datastore.Store], and those
// that its methods name.
type Registry struct {
	opts Options
	self string // this host, under a name of this registry's own

	mu      sync.Mutex
	pending map[key]*Process
	tenants map[string]time.Time // whose runs are here, and until when that was said; zero where none has been under way
	wake    chan struct{}
	room    chan struct{} // closed when there is room again
	running bool
	closed  bool
	stop    context.CancelFunc
	done    chan struct{}

	writing sync.Mutex // one writes at a time
	alive   hosts
}

// New returns a registry. The caller closes it.
func New(opts Options) *Registry {
	opts.Keep, opts.MaxRuns = cmp.Or(opts.Keep, 30*24*time.Hour), cmp.Or(opts.MaxRuns, 100_000)
	opts.TTL, opts.Linger, opts.Poll = cmp.Or(opts.TTL, 20*time.Second), cmp.Or(opts.Linger, 20*time.Millisecond), cmp.Or(opts.Poll, 100*time.Millisecond)
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Failed == nil {
		opts.Failed = func(error, int) {}
	}
	return &Registry{
		opts: opts, self: cmp.Or(opts.Host, "host") + "-" + rand.Text()[:10], pending: map[key]*Process{}, tenants: map[string]time.Time{},
		wake: make(chan struct{}, 1), room: make(chan struct{}), done: make(chan struct{}),
	}
}

// Put notes how a run stands, to be written soon, in place of what was known of it.
func (r *Registry) Put(tenant string, p *Process) {
	own := *p
	own.Host = r.self
	deadline := time.Now().Add(tooLong)
	r.mu.Lock()
	defer r.mu.Unlock()
	at := key{tenant, p.RunID}
	for r.pending[at] == nil && len(r.pending) >= maxUnwritten && !r.closed {
		room := r.room
		r.mu.Unlock()
		timer := time.NewTimer(time.Until(deadline))
		select {
		case <-room:
		case <-timer.C:
		}
		timer.Stop()
		r.mu.Lock()
		if time.Now().After(deadline) && len(r.pending) >= maxUnwritten {
			r.opts.Failed(&kernel.Error{Code: kernel.CodeUnavailable, What: "the run " + kernel.Quote(p.RunID) + " is not registered", Why: "the data store takes too long"}, 1)
			return
		}
	}
	if r.closed {
		return
	}
	r.pending[at] = &own
	if _, known := r.tenants[tenant]; !known {
		r.tenants[tenant] = time.Time{}
	}
	r.start()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Create keeps a run that is to begin, and reports whether it was not there: of several that create it, one does.
func (r *Registry) Create(ctx context.Context, tenant string, p *Process) (bool, error) {
	store, err := r.opts.Store(ctx)
	if err != nil {
		return false, err
	}
	own := *p
	own.Host = r.self
	if err := r.say(ctx, store, tenant); err != nil { // before it could seem lost
		return false, err
	}
	d, err := own.document()
	if err != nil {
		return false, err
	}
	r.mu.Lock()
	if !r.closed {
		r.start() // which goes on saying so
	}
	r.mu.Unlock()
	return store.Put(ctx, tenant, collection, d, driver.Absent)
}

// start begins to write; the caller has locked.
func (r *Registry) start() {
	if r.running {
		return
	}
	r.running = true
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	go r.work(ctx)
}

func (r *Registry) unwritten(tenant, run string) *Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.pending[key{tenant, run}]; p != nil {
		known := *p
		return &known
	}
	return nil
}

// work writes what is to be written, says that this host is there, and removes what is too old.
func (r *Registry) work(ctx context.Context) {
	defer close(r.done)
	say, prune := time.NewTicker(r.opts.TTL/4), time.NewTicker(pruneEvery)
	defer say.Stop()
	defer prune.Stop()
	pruned := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
			select {
			case <-ctx.Done():
				return
			case <-time.After(r.opts.Linger):
			}
			if r.note(r.round(ctx)) && !pruned {
				pruned = true
				r.note(r.prune(ctx))
			}
		case <-say.C:
			r.note(r.sayAll(ctx))
			r.note(r.Flush(ctx)) // what failed before
		case <-prune.C:
			r.note(r.prune(ctx))
		}
	}
}

func (r *Registry) note(err error) bool {
	if err != nil && !errors.Is(err, context.Canceled) && kernel.CodeOf(err) != kernel.CodeCanceled {
		r.mu.Lock()
		n := len(r.pending)
		r.mu.Unlock()
		r.opts.Failed(err, n)
	}
	return err == nil
}

// round writes what is to be written now. What comes meanwhile is gathered, too: a write after another would keep the disk, and a
// processor, busy with a run each.
func (r *Registry) round(ctx context.Context) error {
	r.mu.Lock()
	left := len(r.pending)
	r.mu.Unlock()
	r.writing.Lock()
	defer r.writing.Unlock()
	for left > 0 {
		tenant, batch := r.take()
		if len(batch) == 0 {
			return nil
		}
		if err := r.write(ctx, tenant, batch); err != nil {
			return err
		}
		r.written(tenant, batch)
		left -= len(batch)
	}
	return nil
}

// Flush writes what is to be written.
func (r *Registry) Flush(ctx context.Context) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	for {
		tenant, batch := r.take()
		if len(batch) == 0 {
			return nil
		}
		if err := r.write(ctx, tenant, batch); err != nil {
			return err
		}
		r.written(tenant, batch)
	}
}

// flushed is how many runs are written at once.
const flushed = 256

// take returns runs of one tenant that are to be written.
func (r *Registry) take() (tenant string, batch []*Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for at, p := range r.pending {
		if len(batch) == 0 {
			tenant = at.tenant
		}
		if at.tenant == tenant {
			batch = append(batch, p)
		}
		if len(batch) == flushed {
			break
		}
	}
	return tenant, batch
}

func (r *Registry) write(ctx context.Context, tenant string, batch []*Process) error {
	store, err := r.opts.Store(ctx)
	if err != nil {
		return err
	}
	writes := make([]driver.Write, 0, len(batch))
	said := false
	for _, p := range batch {
		d, err := p.document()
		if err != nil {
			return err
		}
		if p.Status == Running && !said {
			said = true
			if err := r.say(ctx, store, tenant); err != nil {
				return err
			}
		}
		writes = append(writes, driver.Write{Document: d, If: driver.Any})
	}
	_, err = store.Save(ctx, tenant, collection, writes...)
	return err
}

func (r *Registry) written(tenant string, batch []*Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range batch {
		if at := (key{tenant, p.RunID}); r.pending[at] == p { // else it has changed meanwhile
			delete(r.pending, at)
		}
	}
	if len(r.pending) < maxUnwritten {
		close(r.room)
		r.room = make(chan struct{})
	}
}

// Close writes what is to be written, within ctx, and takes leave: runs that are under way are lost.
func (r *Registry) Close(ctx context.Context) error {
	r.mu.Lock()
	closed, running := r.closed, r.running
	r.closed = true
	r.mu.Unlock()
	if closed || !running {
		return nil
	}
	r.stop()
	<-r.done
	return errors.Join(r.Flush(ctx), r.leave(ctx))
}

// prune removes what has ended and is too old, or one too many.
func (r *Registry) prune(ctx context.Context) error {
	return r.each(ctx, func(store *datastore.Store, tenant string) error { return r.pruneTenant(ctx, store, tenant) })
}

// pruned is how many runs are removed at once.
const pruned = 500

func (r *Registry) pruneTenant(ctx context.Context, store *datastore.Store, tenant string) error {
	n, err := store.Count(ctx, tenant, collection, over)
	if err != nil {
		return err
	}
	q := driver.All(pruned)
	q.Terms = []string{over}
	old := r.opts.Now().Add(-r.opts.Keep).UnixNano()
	for {
		page, err := store.Query(ctx, tenant, collection, q)
		if err != nil {
			return err
		}
		var writes []driver.Write
		for _, d := range page {
			if d.Order < old || n > r.opts.MaxRuns {
				n--
				writes = append(writes, driver.Write{Document: driver.Document{Key: d.Key}, If: d.Revision, Delete: true})
			}
		}
		if len(writes) == 0 {
			return r.pruneLost(ctx, store, tenant, old)
		}
		if _, err := store.Save(ctx, tenant, collection, writes...); err != nil {
			return err
		}
	}
}

// pruneLost removes runs that were lost so long ago.
func (r *Registry) pruneLost(ctx context.Context, store *datastore.Store, tenant string, old int64) error {
	q := driver.All(pruned)
	q.Terms, q.Max = []string{termStatus(Running)}, old
	page, err := store.Query(ctx, tenant, collection, q)
	if err != nil {
		return err
	}
	var writes []driver.Write
	for i := range page {
		p, err := parse(&page[i])
		if err != nil {
			return err
		}
		if err := r.judge(ctx, store, tenant, p); err != nil {
			return err
		}
		if p.Status == Lost {
			writes = append(writes, driver.Write{Document: driver.Document{Key: p.RunID}, If: page[i].Revision, Delete: true})
		}
	}
	_, err = store.Save(ctx, tenant, collection, writes...)
	return err
}
