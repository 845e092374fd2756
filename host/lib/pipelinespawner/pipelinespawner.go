// Package pipelinespawner lets runs start runs of other pipelines, wait for them and cancel them.
//
// # Rights
//
// A run that is started, a child, has its parent's principal, tenant and labels, and at most its capabilities. Pipelines are
// named within the folder that the operator configured, and nothing else is found.
//
// # Bounds
//
// A child may start children, to MaxDepth; a run and all that comes of it start at most MaxRuns; and MaxRunning children are under
// way at once in this process. What is past a bound is an error, and never waits: runs that start each other end.
//
// # Whose the children are
//
// A child that nobody waits for goes on when its parent has completed. It ends where its parent is cancelled, and with the host: Close
// waits for those that are under way and then cancels them, but for those that Leave leaves to others. A child whose host dies is lost, unless it is durable.
package pipelinespawner

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/processregistry"
)

// Request is a run that is to begin.
type Request struct {
	RunID    string
	Pipeline string
	Input    kernel.Value
	Labels   *kernel.Labels // of the input
	Parent   *kernel.RunContext
	Caps     kernel.CapSet // with those of the parent, what it may do
	Origin   kernel.Origin
	Within   bool // it ends before its parent does, which waits for it
	Until    Until
	// Began, if set, is called once whoever goes on with the run's parent finds that the run has begun.
	Began func()
}

// Until is when a run is stopped, whatever its parent does. The zero value is never.
type Until struct {
	Time time.Time
	Why  error
}

// Outcome is what came of a run.
type Outcome struct {
	Status processregistry.Status
	Output kernel.Value
	Labels *kernel.Labels
	Err    error // why it did not complete
}

// Runner runs pipelines.
type Runner interface {
	// Prepare returns a pipeline to run, or the error of one that there is not, or that cannot be run.
	Prepare(ctx context.Context, pipeline string) (Prepared, error)
	// NewID returns a new run's id.
	NewID() string
	// Unbegun reports whether a durable run that was registered has not begun: its host may have died between the two. It may begin
	// here, then; of several that begin it one does, and to the others it is an error with CodeRunExists.
	Unbegun(ctx context.Context, tenant, run string) (bool, error)
}

// Prepared is a pipeline as it is now. It may be used by several goroutines.
type Prepared interface {
	// Run runs it to its end, or until it waits for an event. It tells the registry.
	Run(ctx context.Context, r *Request) *Outcome
	// Release gives it back; it is called once, after all runs.
	Release()
}

// held is a prepared pipeline that is given back when the last of several is done with it.
type held struct {
	Prepared
	left atomic.Int64
}

func (h *held) done() {
	if h.left.Add(-1) == 0 {
		h.Release()
	}
}

// Options bounds what is started. Zero fields mean the defaults.
type Options struct {
	MaxDepth   int   // of runs that started each other; 8
	MaxRuns    int64 // that a run and those that come of it start; 1000
	MaxRunning int   // at once in this process; 64
	MaxMany    int   // of one spawn_many; 100
	// Leave, if set, has the runs that others can go on with stop where they are, and waits until they have. Close calls it when the time is
	// up, before it cancels the rest.
	Leave func()
	// Recorded, if set, returns how a run stands by its journal: lost where it could go on and nobody goes on with it, nil where it has no journal.
	Recorded func(ctx context.Context, tenant, run string) (*processregistry.Process, error)
}

func (o Options) orDefault() Options {
	o.MaxDepth, o.MaxRuns = cmp.Or(o.MaxDepth, 8), cmp.Or(o.MaxRuns, 1000)
	o.MaxRunning, o.MaxMany = cmp.Or(o.MaxRunning, 64), cmp.Or(o.MaxMany, 100)
	return o
}

// Budget returns how many runs one that nobody started may start, in all.
func (o Options) Budget() *kernel.Budget { return kernel.NewBudget(o.orDefault().MaxRuns, nil) }

// Spawner starts runs. It may be used by several goroutines. Errors are *kernel.Error: CodeArguments, CodeNotFound for a pipeline or a run
// that there is not, CodeLimit for a bound, CodeUnavailable once it is closed.
type Spawner struct {
	runner   Runner
	registry *processregistry.Registry
	opts     Options

	mu       sync.Mutex
	children map[string]*child
	running  int
	closed   bool
	all      sync.WaitGroup
	ctx      context.Context // of the children that nobody waits for
	cancel   context.CancelFunc
}

// child is a run that was started here: one that is under way, or whose parent is.
type child struct {
	parent  string
	cancel  context.CancelFunc
	done    chan struct{}
	outcome *Outcome // once done is closed
}

func (c *child) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// New returns a spawner. The caller closes it, before the registry.
func New(runner Runner, registry *processregistry.Registry, opts Options) *Spawner {
	s := &Spawner{runner: runner, registry: registry, opts: opts.orDefault(), children: map[string]*child{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Spawn is what to start.
type Spawn struct {
	Pipeline string
	Input    kernel.Value
	Labels   *kernel.Labels
	RefID    string
	RefType  string
	Caps     kernel.CapSet // narrows what the child may do
	Key      string        // with the same key, the same run is meant: it begins once
	Until    Until
}

// Start starts a run of a pipeline, and returns its id. wait is how long it goes on: with ctx, or by itself.
func (s *Spawner) Start(ctx context.Context, parent *kernel.RunContext, spawn *Spawn, wait bool) (string, error) {
	ids, err := s.start(ctx, parent, []*Spawn{spawn}, wait)
	if err != nil {
		return "", err
	}
	return ids[0], nil
}

// start starts all of several runs, or none where a bound is reached.
func (s *Spawner) start(ctx context.Context, parent *kernel.RunContext, spawns []*Spawn, wait bool) ([]string, error) {
	lineage := append(slices.Clip(parent.Origin.Lineage), parent.PipelineName)
	if err := s.Deep(lineage); err != nil {
		return nil, err
	}
	prepared, err := s.runner.Prepare(ctx, spawns[0].Pipeline) // they are all of one
	if err != nil {
		return nil, err
	}
	n := int64(len(spawns))
	p := &held{Prepared: prepared}
	p.left.Store(1)
	defer p.done()
	if got := parent.Runs.Take(n); got < n {
		parent.Runs.Return(got)
		return nil, &kernel.Error{Code: kernel.CodeLimit, What: "too many runs are started", Why: fmt.Sprintf("a run and all that comes of it start at most %d (max_runs)", s.opts.MaxRuns), Fix: "start fewer, or have the operator raise libraries.pipeline_spawner.max_runs"}
	}
	ids, begins := make([]string, len(spawns)), make([]<-chan struct{}, len(spawns))
	for i, spawn := range spawns {
		r := &Request{RunID: s.id(parent.Tenant, spawn.Key), Pipeline: spawn.Pipeline, Input: spawn.Input, Labels: spawn.Labels, Parent: parent, Caps: spawn.Caps, Within: wait, Until: spawn.Until,
			Origin: kernel.Origin{Lineage: lineage, RefID: spawn.RefID, RefType: spawn.RefType, Labels: spawn.Labels}}
		if ids[i], begins[i], err = s.begin(ctx, r, p, spawn.Key != ""); err != nil {
			for _, id := range ids[:i] { // all or none
				s.stop(id)
			}
			return nil, err
		}
	}
	for _, begun := range begins {
		select {
		case <-begun:
		case <-ctx.Done():
			return nil, kernel.ContextError(ctx)
		}
	}
	return ids, nil
}

// Deep returns the error of a run that so many pipelines have led to, if those are too many.
func (s *Spawner) Deep(lineage []string) error {
	if len(lineage) <= s.opts.MaxDepth {
		return nil
	}
	return &kernel.Error{Code: kernel.CodeLimit, What: "runs start each other too deeply", Why: fmt.Sprintf("%s led to this one, and max_depth is %d", strings.Join(quoted(lineage), " > "), s.opts.MaxDepth), Fix: "end the circle, or have the operator raise libraries.pipeline_spawner.max_depth"}
}

// now is that of a run which has begun, or of which nobody asks when it does.
var now = func() <-chan struct{} {
	closed := make(chan struct{})
	close(closed)
	return closed
}()

func quoted(names []string) []string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = kernel.Quote(name)
	}
	return list
}

// id is a new run's, or that of a key.
func (s *Spawner) id(tenant, key string) string {
	if key == "" {
		return s.runner.NewID()
	}
	return ID(tenant, key)
}

// ID returns the run's id that stands for a key: a UUID of version 8.
func ID(tenant, key string) string {
	sum := sha256.Sum256([]byte("run\x00" + tenant + "\x00" + key))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	text := hex.EncodeToString(sum[:16])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// Keyed reports whether an id is one that stands for a key: whoever starts the run again means the one that there is.
func Keyed(id string) bool { return len(id) == 36 && id[14] == '8' }

// begin has a run begin, in a goroutine of its own. Of a durable one that is to begin once it tells when it has: a parent that knew of it
// before, and goes on elsewhere, would not start it again.
func (s *Spawner) begin(ctx context.Context, r *Request, p *held, once bool) (id string, begun <-chan struct{}, err error) {
	var runCtx context.Context
	c := &child{parent: r.Parent.RunID, done: make(chan struct{})}
	if r.Within {
		runCtx, c.cancel = context.WithCancel(bare{ctx})
	} else {
		runCtx, c.cancel = context.WithCancel(s.ctx)
	}
	if u := r.Until; !u.Time.IsZero() {
		timed, cancel := context.WithDeadlineCause(runCtx, u.Time, u.Why)
		outer := c.cancel
		runCtx, c.cancel = timed, func() { cancel(); outer() }
	}
	if err := s.admit(r.RunID, c); err != nil {
		c.cancel()
		if errors.Is(err, errKnown) {
			return r.RunID, now, nil
		}
		return "", nil, err
	}
	known := &processregistry.Process{
		RunID: r.RunID, Pipeline: r.Pipeline, Status: processregistry.Running, Parent: r.Parent.RunID, Origin: r.Origin, Principal: r.Parent.Principal, Started: time.Now(),
	}
	if !once { // whoever is told the id may ask for it at once
		s.registry.Put(r.Parent.Tenant, known)
	} else {
		created, err := s.registry.Create(ctx, r.Parent.Tenant, known)
		begins := created
		if err == nil && !created && r.Parent.Durable {
			begins, err = s.runner.Unbegun(ctx, r.Parent.Tenant, r.RunID)
		}
		if err != nil || !begins { // it has begun already, here or elsewhere
			s.dismiss(r.RunID, c)
			return r.RunID, now, err
		}
	}
	begun = now
	if once && r.Parent.Durable {
		began := make(chan struct{})
		begun, r.Began = began, sync.OnceFunc(func() { close(began) })
	}
	p.left.Add(1)
	go s.work(runCtx, r, p, c)
	return r.RunID, begun, nil
}

var errKnown = errors.New("the run is under way here")

// admit counts a run, unless there are too many.
func (s *Spawner) admit(run string, c *child) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return &kernel.Error{Code: kernel.CodeUnavailable, What: "no run is started", Why: "the host is closing"}
	case s.children[run] != nil:
		return errKnown
	case s.running >= s.opts.MaxRunning:
		return &kernel.Error{Code: kernel.CodeLimit, What: "too many runs are under way", Why: fmt.Sprintf("%d that others have started are, and max_running is %d", s.running, s.opts.MaxRunning), Fix: "wait for some of them first, or have the operator raise libraries.pipeline_spawner.max_running"}
	}
	s.running++
	s.all.Add(1)
	s.children[run] = c
	return nil
}

// dismiss takes back what admit did.
func (s *Spawner) dismiss(run string, c *child) {
	c.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	delete(s.children, run)
	s.all.Done()
}

func (s *Spawner) work(ctx context.Context, r *Request, p *held, c *child) {
	defer s.all.Done()
	defer p.done()
	defer c.cancel()
	outcome, err := kernel.Guarded(func() (*Outcome, error) { return p.Run(ctx, r), nil })
	if err != nil {
		outcome = &Outcome{Status: processregistry.Failed, Err: err}
	}
	if r.Began != nil {
		r.Began() // or it never will
	}
	s.unbegun(ctx, r, outcome)
	if kernel.CodeOf(outcome.Err) == kernel.CodeRunExists {
		if begun, err := s.elsewhere(ctx, r.Parent.Tenant, r.RunID); err == nil {
			outcome = begun
		}
	}
	c.outcome = outcome
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	if c.parent == "" {
		delete(s.children, r.RunID)
	}
	close(c.done)
}

// unbegun has the registry know of a run that could not even begin: it has told it nothing itself.
func (s *Spawner) unbegun(ctx context.Context, r *Request, o *Outcome) {
	if o.Err == nil || kernel.CodeOf(o.Err) == kernel.CodeRunExists {
		return
	}
	p, err := s.registry.Get(context.WithoutCancel(ctx), r.Parent.Tenant, r.RunID)
	if err != nil || p.Status != processregistry.Running {
		return
	}
	ended := *p
	ended.Status, ended.Ended, ended.Labels, ended.Error = o.Status, time.Now(), o.Labels, &kernel.Error{Code: kernel.CodeOf(o.Err), What: processregistry.Told(o.Err)}
	s.registry.Put(r.Parent.Tenant, &ended)
}

// bare is a context that ends with another, and has none of its values: those are of the run that starts this one.
type bare struct{ context.Context }

// Value implements context.Context.
func (bare) Value(any) any { return nil }

// recheck is how often a run is looked for that has left the host which the registry knows it on.
const recheck = 250 * time.Millisecond

// Cancel stops a run that was started here and is under way, waits until it has, and reports whether there was one.
func (s *Spawner) Cancel(ctx context.Context, run string) (bool, error) {
	c := s.stop(run)
	if c == nil {
		return false, nil
	}
	select {
	case <-c.done:
		return c.outcome.Status == processregistry.Cancelled, nil
	case <-ctx.Done():
		return true, kernel.ContextError(ctx)
	}
}

// stop cancels a run; nil where it is not under way here.
func (s *Spawner) stop(run string) *child {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.children[run]
	if c == nil || c.over() {
		return nil
	}
	c.cancel()
	return c
}

// Ended tells that a run has ended: what is known of the children that ended is forgotten, and those of a run that was cancelled are, too.
func (s *Spawner) Ended(run string, cancelled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, c := range s.children {
		switch {
		case c.parent != run:
		case c.over():
			delete(s.children, id)
		default:
			c.parent = "" // it is forgotten when it ends
			if cancelled {
				c.cancel()
			}
		}
	}
}

// Close starts nothing more, waits for what is under way within ctx, and then cancels it.
func (s *Spawner) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		s.all.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		if s.opts.Leave != nil {
			s.opts.Leave()
		}
	}
	s.cancel()
	<-ended
	return nil
}
