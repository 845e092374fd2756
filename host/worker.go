package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/executor"
	"github.com/hexdag/hexdag/host/flock"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/tracing"
)

// Work has this host do the work on nodes of runs that others start, on the configuration's executor, until ctx ends.
// What is under way then ends, or is handed back within the executor's drain.
func (h *Host) Work(ctx context.Context) error {
	if h.executor == nil {
		return &kernel.Error{Code: kernel.CodeConfig, What: "there is nothing to work for", Where: kernel.Where{File: h.config.File}, Why: "runs work in the process that starts them", Fix: "add executor: {adapter: temporal, config: {address: ..., task_queue: ...}} to spec"}
	}
	defer h.elsewhere.tasks.Wait() // those that the executor has given up are being stopped
	return h.executor.Work(ctx, &h.elsewhere)
}

// elsewhere is what a host has of runs whose nodes work in several processes. It implements executor.Nodes.
type elsewhere struct {
	host      *Host
	published published
	tasks     sync.WaitGroup // under way

	loading   sync.Mutex
	pipelines map[pipelineKey]*working
	clock     int64

	mu   sync.Mutex
	runs map[string]int // how many tasks of a run are under way here
}

var _ executor.Nodes = (*elsewhere)(nil)

// pipelineKey is a version of a pipeline: several may be at work at once.
type pipelineKey struct{ version, file, process, environment string }

// working is a pipeline that tasks use.
type working struct {
	*Pipeline
	users int
	used  int64
	close func(context.Context) error
}

// maxIdle is how many pipelines are kept that no task uses.
const maxIdle = 32

// maxEvents is how many events of one task are kept for whoever started its run.
const maxEvents = 1024

// close closes the pipelines. No task may be under way.
func (e *elsewhere) close(ctx context.Context) error {
	var problems []error
	for _, p := range e.pipelines {
		problems = append(problems, p.close(ctx))
	}
	e.pipelines = nil
	return errors.Join(problems...)
}

// take returns the pipeline of a run, as it was when the run began; done gives it back.
func (e *elsewhere) take(ctx context.Context, head *executor.Head) (p *working, done func(), err error) {
	key := pipelineKey{head.Version, head.File, head.Process, head.Environment}
	e.loading.Lock()
	defer e.loading.Unlock()
	p = e.pipelines[key]
	if p == nil {
		if p, err = e.load(ctx, head); err != nil {
			var known *kernel.Error
			if errors.As(err, &known) {
				err = e.without(known)
			}
			return nil, nil, err
		}
		if e.pipelines == nil {
			e.pipelines = map[pipelineKey]*working{}
		}
		e.pipelines[key] = p
		e.drop(ctx)
	}
	e.clock++
	p.users, p.used = p.users+1, e.clock
	return p, func() {
		e.loading.Lock()
		defer e.loading.Unlock()
		p.users--
	}, nil
}

// drop closes the pipeline that no task has used for longest, where there are too many.
func (e *elsewhere) drop(ctx context.Context) {
	var oldest pipelineKey
	idle := 0
	for key, p := range e.pipelines {
		if p.users > 0 {
			continue
		}
		if idle++; e.pipelines[oldest] == nil || p.used < e.pipelines[oldest].used {
			oldest = key
		}
	}
	if idle > maxIdle {
		p := e.pipelines[oldest]
		delete(e.pipelines, oldest)
		if err := p.close(ctx); err != nil {
			e.host.log.Error("an old version of a pipeline is not closed", "pipeline", p.Name, "error", err.Error())
		}
	}
}

// load reads a version of a pipeline from its artifacts.
func (e *elsewhere) load(ctx context.Context, head *executor.Head) (*working, error) {
	h := e.host
	dir := filepath.Join(e.folder(), hexOf(head.Version))
	for _, s := range head.Sources {
		if !filepath.IsLocal(filepath.FromSlash(s.Name)) {
			return nil, &kernel.Error{Code: kernel.CodePipeline, What: "a file of the pipeline is outside of its folder", Where: kernel.Where{File: s.Name, Run: head.RunID}, Fix: "see who writes to the executor's namespace"}
		}
		text, err := e.fetch(ctx, s, "file "+kernel.Quote(s.Name)+" of pipeline "+kernel.Quote(head.Pipeline), head)
		if err != nil {
			return nil, err
		}
		file := filepath.Join(dir, filepath.FromSlash(s.Name))
		if have, err := os.ReadFile(file); err == nil && sha256Of(have) == s.Digest {
			continue
		}
		if err := replaceFile(file, text); err != nil {
			return nil, &kernel.Error{Code: kernel.CodeFailed, What: "a file of the pipeline cannot be written", Where: kernel.Where{File: file, Run: head.RunID}, Why: err.Error(), Fix: "make room in the host's state folder", Err: err}
		}
	}
	file := filepath.Join(dir, filepath.FromSlash(head.File))
	opts := LoadOptions{Environment: head.Environment}
	if head.Process == "" {
		p, err := h.Load(ctx, file, opts)
		if err != nil {
			return nil, err
		}
		return e.checked(ctx, head, p, p.Close)
	}
	s, err := h.LoadSystem(ctx, file, opts)
	if err != nil {
		return nil, err
	}
	p := s.processes[head.Process]
	if p == nil {
		return nil, errors.Join(&kernel.Error{Code: kernel.CodePipeline, What: "the system has no process " + kernel.Quote(head.Process), Where: kernel.Where{File: file, Run: head.RunID}, Fix: "report it"}, s.Close(ctx))
	}
	return e.checked(ctx, head, p, s.Close)
}

// folder is where versions of pipelines are.
func (e *elsewhere) folder() string { return filepath.Join(e.host.state, "pipelines") }

// without returns an error that names a file of a pipeline as whoever started the run knows it.
func (e *elsewhere) without(err *kernel.Error) *kernel.Error {
	if err == nil {
		return nil
	}
	rest, ok := strings.CutPrefix(err.Where.File, e.folder()+string(filepath.Separator))
	if !ok {
		return err
	}
	shown := *err
	_, shown.Where.File, _ = strings.Cut(filepath.ToSlash(rest), "/")
	return &shown
}

// checked refuses a pipeline that is not the run's.
func (e *elsewhere) checked(ctx context.Context, head *executor.Head, p *Pipeline, closing func(context.Context) error) (*working, error) {
	if p.Version != head.Version {
		return nil, errors.Join(&kernel.Error{Code: kernel.CodePipeline, What: "the pipeline is not the one that the run began with", Where: kernel.Where{File: p.File, Run: head.RunID}, Why: "its version is " + p.Version + ", the run's is " + kernel.Quote(head.Version),
			Fix: "have all processes of the executor be of one version of hexdag"}, closing(ctx))
	}
	return &working{Pipeline: p, close: closing}, nil
}

// hexOf is the name of a folder for a digest.
func hexOf(digest string) string {
	sum := sha256.Sum256([]byte(digest))
	return hex.EncodeToString(sum[:16])
}

// fetch reads what a run needs by its digest.
func (e *elsewhere) fetch(ctx context.Context, b executor.Bytes, what string, head *executor.Head) ([]byte, error) {
	text, _, err := e.host.artifacts.RetrieveBytes(ctx, b.Artifact, math.MaxInt32)
	if kernel.CodeOf(err) == kernel.CodeNotFound {
		return nil, &kernel.Error{Code: kernel.CodeNotFound, What: what + " is not there to be fetched", Where: kernel.Where{Module: kernel.Quote(b.Name) + "@" + b.Digest, Run: head.RunID},
			Why: "the artifact store has no " + kernel.Quote(b.Artifact), Fix: "configure the port artifacts of this worker as that of whoever starts runs, and do not collect artifacts of run " + sharedRun + " while runs last", Err: err}
	}
	if err != nil {
		return nil, err
	}
	if is := sha256Of(text); is != b.Digest {
		return nil, &kernel.Error{Code: kernel.CodeModuleInvalid, What: what + " is not what the run began with", Where: kernel.Where{Module: kernel.Quote(b.Name) + "@" + b.Digest, Run: head.RunID}, Why: "its digest is " + is, Fix: "see who writes to the artifact store"}
	}
	return text, nil
}

// begin has a run keep to the modules that it began with.
func (e *elsewhere) begin(ctx context.Context, head *executor.Head, run *kernel.RunContext) (end func(), err error) {
	h := e.host
	e.mu.Lock()
	if e.runs == nil {
		e.runs = map[string]int{}
	}
	e.runs[run.RunID]++
	e.mu.Unlock()
	end = func() {
		e.mu.Lock()
		last := e.runs[run.RunID] == 1
		if e.runs[run.RunID]--; last {
			delete(e.runs, run.RunID)
			for _, m := range h.modules {
				m.EndRun(context.WithoutCancel(ctx), run.RunID)
			}
		}
		e.mu.Unlock()
	}
	for _, b := range head.Modules {
		m := h.byName[b.Name]
		if m == nil {
			end()
			return nil, &kernel.Error{Code: kernel.CodeModuleNotFound, What: "this worker has no module " + kernel.Quote(b.Name), Where: kernel.Where{File: h.config.File, Module: kernel.Quote(b.Name) + "@" + b.Digest, Run: run.RunID},
				Why: "the run began with it, and a worker runs only what its own configuration grants", Fix: "add it under spec.modules of the worker's configuration, with the grants that it is to have here"}
		}
		err := m.Pin(ctx, run, b.Digest, func(ctx context.Context) ([]byte, error) {
			return e.fetch(ctx, b, "module "+kernel.Quote(b.Name), head)
		})
		if err != nil {
			end()
			return nil, kernel.At(err, kernel.Where{Run: run.RunID})
		}
	}
	for _, m := range h.modules {
		m.BeginRun(run)
	}
	return end, nil
}

// run is the identity of a run of elsewhere.
func (e *elsewhere) run(head *executor.Head) *kernel.RunContext {
	h := e.host
	run := h.newRun(head.Pipeline, RunOptions{Principal: head.Principal, Labels: head.Labels, Fresh: head.Fresh, Durable: head.Durable})
	run.RunID, run.ParentRunID, run.PipelineVersion, run.Tenant, run.Started = head.RunID, head.ParentRunID, head.Version, head.Tenant, head.Started
	run.InputLabels, run.Caps, run.Origin, run.Trace = head.InputLabels, head.Caps, head.Origin, head.Trace
	own := func(b *kernel.Budget) *kernel.Budget { return kernel.NewBudget(math.MaxInt64, b) } // whose sums are the run's, not the tenant's
	run.Budgets = kernel.Budgets{Fuel: own(run.Fuel), HostCalls: own(run.HostCalls), LogLines: own(run.LogLines), BytesIn: own(run.BytesIn), BytesOut: own(run.BytesOut), Runs: run.Runs}
	return run
}

// site is what a task works with.
type site struct {
	head  *executor.Head
	p     *working
	run   *kernel.RunContext
	input kernel.Value
	close func()
}

func (e *elsewhere) open(ctx context.Context, ref executor.Ref) (*site, error) {
	var head executor.Head
	if err := e.host.values.Get(ctx, ref, &head); err != nil {
		return nil, err
	}
	if head.Tenant != e.host.tenant() {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the run is of another tenant than this worker", Where: kernel.Where{File: e.host.config.File, Run: head.RunID}, Why: "it is of " + kernel.Quote(head.Tenant) + ", the worker of " + kernel.Quote(e.host.tenant()), Fix: "give each tenant a task_queue of its own"}
	}
	input, err := kernel.DecodeJSON(head.Input)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "the run's input cannot be read", Where: kernel.Where{Run: head.RunID}, Why: err.Error(), Fix: "see who writes to the executor's namespace", Err: err}
	}
	run := e.run(&head)
	end, err := e.begin(ctx, &head, run)
	if err != nil {
		return nil, err
	}
	p, done, err := e.take(ctx, &head)
	if err != nil {
		end()
		return nil, err
	}
	e.tasks.Add(1)
	return &site{head: &head, p: p, run: run, input: input, close: func() { done(); end(); e.tasks.Done() }}, nil
}

// storeTime is how long what came of a node may take to be stored, though its run is over.
const storeTime = time.Minute

// Settle implements executor.Nodes.
func (e *elsewhere) Settle(ctx context.Context, s *executor.Settling) (*executor.Done, error) {
	o, err := e.open(ctx, s.Head)
	if err != nil {
		return nil, err
	}
	defer o.close()
	var before executor.Outcome
	if err := e.host.values.Get(ctx, s.Before, &before); err != nil {
		return nil, err
	}
	var outcome *engine.NodeOutcome
	if s.Event == nil {
		outcome = o.p.plan.Expire(o.run, s.Wait, before.Labels)
		outcome.Error = e.without(outcome.Error)
	} else {
		outcome = &engine.NodeOutcome{State: engine.NodeFinished, Labels: labelsOf(s.Event).Join(before.Labels)}
		if err := e.host.values.Get(ctx, s.Event.Data, &outcome.Value); err != nil {
			return nil, err
		}
	}
	done := &executor.Done{State: outcome.State, Waits: outcome.Waits}
	done.Outcome, err = e.host.values.Put(ctx, o.head, "node-"+hexOf(s.Wait.Node)+"-settled", &executor.Outcome{NodeOutcome: *outcome, Events: before.Events}, outcome.Labels, s.Bound)
	return done, err
}

// Conclude implements executor.Nodes.
func (e *elsewhere) Conclude(ctx context.Context, c *executor.Conclusion) (*executor.Ended, error) {
	o, err := e.open(ctx, c.Head)
	if err != nil {
		return nil, err
	}
	defer o.close()
	h := e.host
	o.run.Charge(c.Spent)
	ending := &engine.Ending{Results: map[string]kernel.Value{}, Failures: map[string]*kernel.Error{}, Done: c.Done, Waits: c.Waits, Stopped: c.Stopped, TimedOut: c.TimedOut, Why: c.Why}
	output := o.p.OutputNodes()
	size := 0
	for _, r := range c.Results {
		size += r.Outcome.Size
	}
	labels := map[string]*kernel.Labels{}
	for _, r := range c.Results {
		if r.Outcome.Empty() || r.State != engine.NodeFailed && !slices.Contains(output, r.Node) && (len(output) > 0 || size > maxOutput) {
			continue
		}
		var out executor.Outcome
		if err := h.values.Get(ctx, r.Outcome, &out); err != nil {
			return nil, err
		}
		if out.Labels != nil {
			labels[r.Node] = out.Labels
		}
		if r.State == engine.NodeFailed {
			ending.Failures[r.Node] = out.Error
			continue
		}
		ending.Results[r.Node] = out.Value
	}
	result := o.p.plan.Conclude(o.run, o.input, ending)
	if result.Error = e.without(result.Error); result.Error != nil {
		result.Err = result.Error
	}
	if c.Failed != nil {
		result.Err, result.Error, result.Waits = c.Failed, c.Failed, nil
		result.Status = engine.StatusOf(ctx, c.Failed)
	}
	result.Labels = labels
	ended := &executor.Ended{Status: result.Status, Error: result.Error, Waits: result.Waits}
	if ended.Output, err = h.values.Put(ctx, o.head, "output", result.Output, joinedNodes(result), c.Bound); err != nil {
		return nil, err
	}
	record := kernel.AuditRecord{Kind: "run", RunID: o.run.RunID, Tenant: o.run.Tenant, Principal: o.run.Principal, Action: "pipeline.end", Resource: o.run.PipelineName, Result: string(result.Status)}
	if err := h.audit.Audit(ctx, &record); err != nil {
		return nil, err
	}
	h.runEnded(tracing.Within(ctx, o.head.Trace), o.run, result)
	return ended, nil
}

// maxWorkers is how many workers on one machine share a configuration's state.
const maxWorkers = 1024

// WorkerState returns a folder below a configuration's state for what is one worker's alone, which no other worker uses
// until release is called or the process ends.
func WorkerState(ctx context.Context, cfg *Config) (dir string, release func() error, err error) {
	for i := 1; i <= maxWorkers && ctx.Err() == nil; i++ {
		dir = filepath.Join(stateOf(cfg), "workers", strconv.Itoa(i))
		f, err := lockFolder(ctx, dir)
		if err != nil {
			return "", nil, &kernel.Error{Code: kernel.CodeConfig, What: "a folder of the worker cannot be made", Where: kernel.Where{File: dir}, Why: err.Error(), Fix: "set spec.state to a folder that you may write to, or give --state", Err: err}
		}
		if f != nil {
			return dir, f.Close, nil
		}
	}
	return "", nil, &kernel.Error{Code: kernel.CodeLimit, What: "there is no folder left for a worker", Where: kernel.Where{File: cfg.File}, Why: strconv.Itoa(maxWorkers) + " workers use this configuration's state", Fix: "give --state"}
}

// lockFolder returns an open file that keeps others from a folder; nil where another has it.
func lockFolder(ctx context.Context, dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "worker.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	soon, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	switch err := flock.Lock(soon, f, true); {
	case err == nil:
		return f, nil
	case soon.Err() != nil:
		return nil, f.Close()
	default:
		return nil, errors.Join(err, f.Close())
	}
}
