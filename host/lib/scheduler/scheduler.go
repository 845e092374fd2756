// Package scheduler starts runs later: after a delay, at an interval, or by a cron expression. Schedules are in the data store, so they
// outlive the process, and any process of the tenant that serves schedules starts their runs.
//
// # Once
//
// Of all processes one leads, by a lock, and looks for what is due. What makes a run begin once is not the lock, which a paused leader may
// hold no longer, but the store: a time of a task is claimed by a change that expects the task as it was, the run's id follows from the task
// and the time, and whoever starts it registers that id first, which only one can. Where a process dies with a claim, the claim ends, and another
// starts what was not registered. So a time comes once; a run that its process did not survive is lost, or recovered, as any run.
//
// # In time
//
// Times are claimed a little before they come, many at once, so that nothing is written when they do. A time that went by with nobody there is one
// to catch up with, by the task's rule; so is one that came while the run before went on (overlap).
package scheduler

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/datastore"
	"github.com/hexdag/hexdag/host/ports/datastore/driver"
)

// Firing is a run that is due.
type Firing struct {
	Task  *Task
	RunID string
	At    time.Time // when it was to begin
	// Began is called once the run is registered: from then on it begins nowhere else.
	Began func()
}

// ErrBegun is what Run returns for a run that has been begun before, here or elsewhere.
var ErrBegun = errors.New("the run has begun before")

// Options configures a scheduler. Store, Run, RunID and Lead have to be set.
type Options struct {
	Store  func(ctx context.Context) (*datastore.Store, error)
	Tenant string
	// Run registers a run and runs it to its end; status is how it ended, and err why it did not complete.
	Run func(ctx context.Context, f *Firing) (status string, err error)
	// RunID returns the id of a task's run at a time: the same for the same.
	RunID func(task string, at time.Time) string
	// Lead does something for as long as this process leads, and returns when that ends, or ctx.
	Lead func(ctx context.Context, do func(ctx context.Context) error) error
	// Became returns what has become of a run that has begun: how it stands, and why it did not complete; CodeNotFound where nobody knows it any
	// more. Without it, a task says of its last run what was known when that was last seen.
	Became func(ctx context.Context, run string) (status, failure string, err error)
	Log    *slog.Logger // nil drops it

	MaxTasks    int64         // that go on; 10,000 if 0
	Concurrency int           // runs at once; 64 if 0
	Poll        time.Duration // how often to look; 500 ms if 0
	TTL         time.Duration // of claims; 30 s if 0
	Grace       time.Duration // how late a time may be before it is one to catch up with; 1 minute if 0
	MaxCatchUp  int           // times that are caught up with; 100 if 0
	Keep        time.Duration // how long tasks that have ended are kept; 7 days if 0
}

// Scheduler keeps schedules, and serves them while Serve goes on. It may be used by several goroutines. Errors are *kernel.Error: CodeArguments,
// CodeLimit for too many tasks, and those of [datastore.Store].
type Scheduler struct {
	opts Options
	self string
	wake chan struct{}
}

// New returns a scheduler.
func New(o Options) *Scheduler {
	o.MaxTasks, o.Concurrency, o.MaxCatchUp = cmp.Or(o.MaxTasks, 10_000), cmp.Or(o.Concurrency, 64), cmp.Or(o.MaxCatchUp, 100)
	o.Poll, o.TTL, o.Grace, o.Keep = cmp.Or(o.Poll, 500*time.Millisecond), cmp.Or(o.TTL, 30*time.Second), cmp.Or(o.Grace, time.Minute), cmp.Or(o.Keep, 7*24*time.Hour)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Scheduler{opts: o, self: rand.Text(), wake: make(chan struct{}, 1)}
}

// minEvery is the shortest interval.
const minEvery = time.Second

// maxAhead is how far ahead a task may be.
const maxAhead = 10 * 365 * 24 * time.Hour

// Add keeps a task whose ID, pipeline and times are set. One with an ID that is there is that one, as it is.
func (s *Scheduler) Add(ctx context.Context, t *Task) (*Task, error) {
	own := *t
	own.Created, own.Status = time.Now(), Pending
	own.CatchUp, own.Overlap = cmp.Or(own.CatchUp, Once), cmp.Or(own.Overlap, SkipRunning)
	if err := own.begin(); err != nil {
		return nil, err
	}
	store, err := s.opts.Store(ctx)
	if err != nil {
		return nil, err
	}
	if n, err := store.Count(ctx, s.opts.Tenant, collection, termLive); err != nil {
		return nil, err
	} else if n >= s.opts.MaxTasks {
		return nil, &kernel.Error{Code: kernel.CodeLimit, What: "there are too many schedules", Why: fmt.Sprintf("%d go on, and max_tasks is %d", n, s.opts.MaxTasks), Fix: "cancel some, or have the operator raise libraries.scheduler.max_tasks"}
	}
	d, err := own.document()
	if err != nil {
		return nil, err
	}
	added, err := store.Put(ctx, s.opts.Tenant, collection, d, driver.Absent)
	if err != nil {
		return nil, err
	}
	if !added {
		_, known, err := s.load(ctx, own.ID)
		return known, err
	}
	s.look()
	return &own, nil
}

// begin checks when a task comes, and sets when it does first.
func (t *Task) begin() error {
	bad := func(what, why string) error {
		return &kernel.Error{Code: kernel.CodeArguments, What: what, Why: why}
	}
	switch {
	case t.Cron != "":
		c, err := parseCron(t.Cron, t.Zone)
		if err != nil {
			return err
		}
		t.Next, t.Zone = c.next(t.Created), c.zone.String()
	case t.Every != 0:
		if t.Every < minEvery || t.Every > maxAhead {
			return bad("the interval is "+t.Every.String(), fmt.Sprintf("it is from %s to ten years", minEvery))
		}
		t.Next = t.Created.Add(t.Every)
	case t.Next.IsZero():
		t.Next = t.Created
	}
	if ahead := t.Next.Sub(t.Created); ahead > maxAhead {
		return bad("the time "+t.Next.Format(time.RFC3339)+" is too far ahead", "schedules reach ten years")
	}
	return nil
}

// look has the scheduler look for what is due now.
func (s *Scheduler) look() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Scheduler) load(ctx context.Context, id string) (*driver.Document, *Task, error) {
	unknown := &kernel.Error{Code: kernel.CodeNotFound, What: "there is no task " + kernel.Quote(id), Fix: "list those that there are"}
	if id == "" || len(id) > datastore.MaxKey {
		return nil, nil, unknown
	}
	store, err := s.opts.Store(ctx)
	if err != nil {
		return nil, nil, err
	}
	d, err := store.Load(ctx, s.opts.Tenant, collection, id)
	switch {
	case kernel.CodeOf(err) == kernel.CodeArguments || err == nil && d == nil:
		return nil, nil, unknown
	case err != nil:
		return nil, nil, err
	}
	t, err := parse(d)
	return d, t, err
}

// Get returns a task, or CodeNotFound.
func (s *Scheduler) Get(ctx context.Context, id string) (*Task, error) {
	_, t, err := s.load(ctx, id)
	if err != nil {
		return nil, err
	}
	return t, s.current(ctx, t)
}

// current has a task say what has become of its last run since that was last seen. Whoever has claimed the next time of a task changes the
// task, and nobody else may: so what became of a run that its task did not wait for is not written there.
func (s *Scheduler) current(ctx context.Context, t *Task) error {
	if s.opts.Became == nil || t.LastRun == "" || slices.Contains([]string{"completed", "failed", "denied", "cancelled"}, t.LastStatus) {
		return nil
	}
	status, failure, err := s.opts.Became(ctx, t.LastRun)
	if kernel.CodeOf(err) == kernel.CodeNotFound {
		status, failure, err = "unknown", "", nil
	}
	if err != nil {
		return err
	}
	t.LastStatus, t.Error = status, failure
	return nil
}

// Cancel has a task come no more, and reports whether it would have. A run of it that is under way goes on.
func (s *Scheduler) Cancel(ctx context.Context, id string) (bool, error) {
	for {
		d, t, err := s.load(ctx, id)
		if err != nil || !t.Status.Live() {
			return false, err
		}
		cancelled := *t
		cancelled.Status, cancelled.Claim, cancelled.Next = Cancelled, nil, time.Time{}
		if done, err := s.swap(ctx, &cancelled, d.Revision); err != nil || done {
			return done, err
		}
		if err := ctx.Err(); err != nil { // others change it all the time
			return false, kernel.ContextError(ctx)
		}
	}
}

// swap keeps a task in place of its revision.
func (s *Scheduler) swap(ctx context.Context, t *Task, revision int64) (bool, error) {
	store, err := s.opts.Store(ctx)
	if err != nil {
		return false, err
	}
	d, err := t.document()
	if err != nil {
		return false, err
	}
	return store.Put(ctx, s.opts.Tenant, collection, d, revision)
}

// List returns tasks that go on, those that come first first, and, with ended, those that have ended, too, the latest first of them.
func (s *Scheduler) List(ctx context.Context, ref string, ended bool, limit int) ([]*Task, error) {
	store, err := s.opts.Store(ctx)
	if err != nil {
		return nil, err
	}
	tasks := []*Task{}
	for _, term := range []string{termLive, termEnded} {
		if term == termEnded && !ended || len(tasks) >= limit {
			break
		}
		q := driver.All(limit - len(tasks))
		q.Terms, q.Descending = []string{term}, term == termEnded
		if ref != "" {
			q.Terms = append(q.Terms, termRef(ref))
		}
		found, err := store.Query(ctx, s.opts.Tenant, collection, q)
		if err != nil {
			return nil, err
		}
		for i := range found {
			t, err := parse(&found[i])
			if err != nil {
				return nil, err
			}
			if err := s.current(ctx, t); err != nil {
				return nil, err
			}
			tasks = append(tasks, t)
		}
	}
	return tasks, nil
}

// claimed is a task that this process is to run, as it is kept.
type claimed struct {
	id, run  string // of the task, and of the run: they stay
	task     *Task  // locked, as what follows
	revision int64
	timer    *time.Timer
	begun    bool
}

// serving is what Serve goes on with.
type serving struct {
	*Scheduler
	ctx   context.Context // of the runs
	slots chan struct{}
	runs  sync.WaitGroup

	unwritten chan struct{}

	mu      sync.Mutex
	claims  map[string]*claimed // by the run's id
	settled []driver.Write      // what came of runs, to be kept
	closed  bool
}
