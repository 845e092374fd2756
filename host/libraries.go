package host

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/centralagent"
	"github.com/hexdag/hexdag/host/lib/pipelinespawner"
	"github.com/hexdag/hexdag/host/lib/processregistry"
	"github.com/hexdag/hexdag/host/lib/scheduler"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/datastore"
	"github.com/hexdag/hexdag/host/ports/datastore/driver"
	"github.com/hexdag/hexdag/host/ports/datastore/memdocs"
	"github.com/hexdag/hexdag/host/ports/datastore/pgdocs"
	"github.com/hexdag/hexdag/host/ports/datastore/sqlitedocs"
	"github.com/hexdag/hexdag/host/ports/lock"
)

// libraries are those that keep what outlives a run. The zero value has none, as a host that does recorded runs again.
type libraries struct {
	log   *slog.Logger
	mu    sync.Mutex
	store *datastore.Store // nil until it is needed

	registry *processregistry.Registry
	spawner  *pipelinespawner.Spawner
	schedule *scheduler.Scheduler
	spawned  *spawnable
	agents   *centralagent.Library
	leaving  *leaving
}

// leaving are durable runs that stop where they are when the host is closed: another goes on with them.
type leaving struct {
	left   chan struct{} // closed when they are to
	mu     sync.Mutex
	ended  sync.Cond
	closed bool
	runs   int
}

func newLeaving() *leaving {
	l := &leaving{left: make(chan struct{})}
	l.ended.L = &l.mu
	return l
}

// began counts a run until done is called.
func (l *leaving) began() (done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.runs--
		l.ended.Broadcast()
	}
}

// leave has them stop, and waits until they have.
func (l *leaving) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		close(l.left)
	}
	for l.runs > 0 {
		l.ended.Wait()
	}
}

// openLibraries offers the libraries' operations.
func (h *Host) openLibraries() error {
	l := &h.libraries
	spec := h.config.Libraries
	l.log, l.leaving = h.log, newLeaving()
	l.registry = processregistry.New(processregistry.Options{
		Store: h.dataStore, Host: hostName(), Keep: spec.Keep, MaxRuns: int64(spec.MaxRuns),
		Failed: func(err error, runs int) {
			h.log.Error("what became of runs is not registered", "runs", runs, "error", err.Error())
		},
	})
	l.spawned = &spawnable{host: h, folder: spec.Pipelines, loaded: map[string]*loaded{}}
	l.spawner = pipelinespawner.New(l.spawned, l.registry, h.spawning())
	l.schedule = scheduler.New(scheduler.Options{
		Store: h.dataStore, Tenant: h.tenant(), Log: h.log, Run: h.runScheduled, Became: h.becameScheduled, Lead: h.leadSchedules, MaxTasks: int64(spec.Tasks), Concurrency: spec.Concurrency,
		RunID: func(task string, at time.Time) string {
			return pipelinespawner.ID(h.tenant(), "schedule\x00"+task+"\x00"+at.UTC().Format(time.RFC3339Nano))
		},
	})
	l.agents = h.newCentralAgents()
	tools, err := h.openDatabaseTools()
	return errors.Join(err, h.door.Register(agentOps(l.agents)...), h.door.Register(l.registry.Ops()...), h.door.Register(l.spawner.Ops()...), h.door.Register(l.schedule.Ops(l.spawned)...), h.door.Register(tools...))
}

// agentOps are the operations of central agents, held to what they tell of their answers.
func agentOps(l *centralagent.Library) []ports.Op {
	return ports.Held(ports.Answering(l.Ops(), centralagent.Outputs()))
}

// leadSchedules does something while this process is the one of the tenant's that serves schedules.
func (h *Host) leadSchedules(ctx context.Context, do func(context.Context) error) error {
	if h.locks == nil { // the embedding program brings the port
		return do(ctx)
	}
	return h.locks.Lead(ctx, h.tenant(), "hexdag.scheduler", lock.Ask{Owner: lock.Owner{Principal: h.principal(), Pipeline: "schedules of " + hostName()}}, func(ctx context.Context, _ *lock.Lease) error { return do(ctx) })
}

// runScheduled runs what is due, once: whoever registers the run is the one that runs it. It is registered when its pipeline is loaded, so
// that there is little time for a host to die between the two; of a durable run the journal tells, and it begins elsewhere.
func (h *Host) runScheduled(ctx context.Context, f *scheduler.Firing) (string, error) {
	t := f.Task
	as := &kernel.RunContext{Tenant: h.tenant(), Principal: t.Principal, Labels: t.RunLabels}
	origin := kernel.Origin{RefID: t.RefID, RefType: t.RefType, Labels: t.Labels}
	input, err := kernel.DecodeJSON(t.Input)
	if err != nil {
		return "failed", err
	}
	prepared, unprepared := h.libraries.spawned.Prepare(ctx, t.Pipeline)
	if unprepared == nil {
		defer prepared.Release()
	}
	p := &processregistry.Process{RunID: f.RunID, Pipeline: t.Pipeline, Status: processregistry.Running, Origin: origin, Principal: t.Principal, Started: time.Now()}
	begins, err := h.libraries.registry.Create(ctx, as.Tenant, p)
	if err == nil && !begins && h.opts.Durable {
		begins, err = h.libraries.spawned.Unbegun(ctx, as.Tenant, f.RunID)
	}
	switch {
	case err != nil:
		return "failed", err
	case !begins:
		return "", scheduler.ErrBegun
	}
	f.Began()
	o := &pipelinespawner.Outcome{Status: processregistry.Failed, Err: unprepared}
	if unprepared == nil {
		o = prepared.Run(ctx, &pipelinespawner.Request{RunID: f.RunID, Pipeline: t.Pipeline, Input: input, Labels: t.Labels, Parent: as, Caps: t.Caps, Origin: origin})
	}
	switch {
	case kernel.CodeOf(o.Err) == kernel.CodeRunExists:
		return "", scheduler.ErrBegun
	case o.Err != nil:
		p.Status, p.Error, p.Ended = o.Status, &kernel.Error{Code: kernel.CodeOf(o.Err), What: processregistry.Told(o.Err)}, time.Now()
		if known, err := h.libraries.registry.Get(ctx, as.Tenant, f.RunID); err == nil && known.Status == processregistry.Running { // it could not even begin
			h.libraries.registry.Put(as.Tenant, p)
		}
		if o.Labels.Confidentiality() != kernel.Public { // whoever lists the schedules need not see what it says
			return string(o.Status), errors.New(string(kernel.CodeOf(o.Err)))
		}
		return string(o.Status), errors.New(processregistry.Told(o.Err))
	}
	return string(o.Status), nil
}

// becameScheduled is what has become of a run of a schedule.
func (h *Host) becameScheduled(ctx context.Context, run string) (status, failure string, err error) {
	p, err := h.libraries.registry.Get(ctx, h.tenant(), run)
	switch {
	case err != nil:
		return "", "", err
	case p.Error == nil:
		return string(p.Status), "", nil
	case p.Labels.Confidentiality() != kernel.Public: // whoever lists the schedules need not see what it says
		return string(p.Status), string(p.Error.Code), nil
	}
	return string(p.Status), processregistry.Told(p.Error), nil
}

// Schedules returns the tenant's schedules.
func (h *Host) Schedules() *scheduler.Scheduler { return h.libraries.schedule }

// spawning bounds the runs that runs start.
func (h *Host) spawning() pipelinespawner.Options {
	spec := h.config.Libraries
	recorded := func(ctx context.Context, tenant, run string) (*processregistry.Process, error) {
		return h.recordedAs(ctx, tenant, run, false)
	}
	return pipelinespawner.Options{MaxDepth: spec.MaxDepth, MaxRuns: int64(spec.MaxSpawned), MaxRunning: spec.MaxRunning, Leave: h.libraries.leaving.leave, Recorded: recorded}
}

// dataStore opens what libraries keep things in, when that is first needed.
func (h *Host) dataStore(ctx context.Context) (*datastore.Store, error) {
	l := &h.libraries
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.store != nil {
		return l.store, nil
	}
	store, err := h.openDataStore(ctx)
	if err != nil {
		return nil, err
	}
	l.store = datastore.New(store)
	return l.store, nil
}

func (h *Host) openDataStore(ctx context.Context) (driver.Store, error) {
	spec := h.config.Libraries.Store
	config, err := (opening{host: h, ctx: ctx, closers: &h.closers, file: h.config.File}).secrets(spec.Config)
	if err != nil {
		return nil, place(err, spec.Where)
	}
	var store driver.Store
	switch spec.Adapter {
	case "", "sqlite":
		var c struct {
			Path string `json:"path"`
		}
		if err := take("the libraries' store", config, &c, "for the adapter sqlite it takes path"); err != nil {
			return nil, place(err, spec.Where)
		}
		path := filepath.Join(stateOf(h.config), "libraries.db")
		if c.Path != "" {
			path = h.besideConfig(c.Path)
		}
		store, err = sqlitedocs.Open(ctx, path)
	case "postgres":
		var c pgdocs.Config
		if err := take("the libraries' store", config, &c, "for the adapter postgres it takes url and table"); err != nil {
			return nil, place(err, spec.Where)
		}
		store, err = pgdocs.Open(ctx, c)
	case "memory":
		store = memdocs.New()
	default: // of a configuration that no file says
		err = &kernel.Error{Code: kernel.CodeConfig, What: "the libraries' store has no adapter " + kernel.Quote(spec.Adapter), Fix: "known are memory, postgres, sqlite"}
	}
	return store, place(err, spec.Where)
}

// draining is how long runs that others have started have when the host is closed.
const draining = 30 * time.Second

func (l *libraries) close(ctx context.Context) error {
	if l.registry == nil {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, draining)
	defer cancel()
	unended := l.spawner.Close(within)
	l.leaving.leave()
	l.agents.Close()
	err := errors.Join(unended, l.spawned.close(context.WithoutCancel(ctx)))
	if unkept := l.registry.Close(context.WithoutCancel(ctx)); unkept != nil { // no run fails for it
		l.log.Error("what became of runs is not registered", "error", unkept.Error())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.store != nil {
		err = errors.Join(err, l.store.Close())
	}
	l.registry, l.store = nil, nil
	return err
}

// Processes returns what is known of the tenant's runs.
func (h *Host) Processes() *processregistry.Registry { return h.libraries.registry }

func processOf(run *kernel.RunContext, status processregistry.Status) *processregistry.Process {
	return &processregistry.Process{
		RunID: run.RunID, Pipeline: run.PipelineName, Status: status, Parent: run.ParentRunID, Origin: run.Origin, Principal: run.Principal, Started: run.Started,
	}
}

// started registers a run.
func (l *libraries) started(run *kernel.RunContext) {
	if l.registry != nil {
		l.registry.Put(run.Tenant, processOf(run, processregistry.Running))
	}
}

// ended registers how a run ended, or that it waits.
func (l *libraries) ended(run *kernel.RunContext, r *Result) {
	if l.registry == nil {
		return
	}
	p := processOf(run, processregistry.Status(r.Status))
	p.Ended, p.Error = time.Now(), r.Error
	p.SetOutput(outputOf(r), joinedNodes(r).Join(run.InputLabels))
	l.registry.Put(run.Tenant, p)
	l.spawner.Ended(run.RunID, r.Status == engine.Cancelled)
	l.agents.Ended(run.RunID)
}

// Processes are what is known of the runs of a configuration's tenant, whether or not its host runs.
type Processes struct {
	*processregistry.Registry
	Tenant string
	store  driver.Store
}

// OpenProcesses opens them to look. The caller closes them.
func OpenProcesses(ctx context.Context, cfg *Config) (*Processes, error) {
	h := &Host{config: cfg, state: stateOf(cfg)}
	if err := h.openFolder(h.state); err != nil {
		return nil, err
	}
	store, err := h.openDataStore(ctx)
	if err != nil {
		return nil, err
	}
	documents := datastore.New(store)
	registry := processregistry.New(processregistry.Options{Store: func(context.Context) (*datastore.Store, error) { return documents, nil }})
	return &Processes{Registry: registry, Tenant: h.tenant(), store: store}, nil
}

// Close releases what OpenProcesses opened.
func (p *Processes) Close(ctx context.Context) error {
	return errors.Join(p.Registry.Close(ctx), p.store.Close())
}
