package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/executor"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports/artifacts"
)

// sharedRun is the run that modules and pipelines are artifacts of which an executor's workers fetch.
const sharedRun = "hexdag.executor"

// publishedTime is how long an artifact of a module or of a pipeline's file is taken to be there.
const publishedTime = time.Minute

// published are the artifacts that this process has stored for workers, by digest.
type published struct {
	mu   sync.Mutex
	byID map[string]publication
}

type publication struct {
	artifact string
	at       time.Time
}

// work runs or resumes a plan where the configuration says: here, or on an executor's workers.
func (p *Pipeline) work(ctx context.Context, run *kernel.RunContext, input kernel.Value, from *engine.Resumption) *Result {
	if p.host.executor == nil {
		return p.plan.Run(ctx, run, input, from)
	}
	return p.host.runElsewhere(ctx, p, run, input)
}

// runElsewhere has an executor run a pipeline.
func (h *Host) runElsewhere(ctx context.Context, p *Pipeline, run *kernel.RunContext, input kernel.Value) *Result {
	started := time.Now()
	emit := func(e kernel.Event) { kernel.Emit(kernel.WithRun(ctx, run), &e) }
	emit(kernel.Event{Type: kernel.PipelineStarted, Nodes: len(p.Nodes), Waves: len(p.Waves)})
	waiting, cancel := h.untilLeft(ctx, run.RunID)
	defer cancel()
	result, err := h.start(waiting, p, run, input)
	if err != nil {
		result = refused(ctx, run, err)
	}
	if errors.Is(err, executor.ErrLeft) { // it has not ended
		return result
	}
	emit(kernel.Event{Type: kernel.PipelineCompleted, Status: string(result.Status), Nodes: len(result.NodeResults), DurationMS: float64(time.Since(started).Microseconds()) / 1000, Error: result.Error})
	return result
}

func (h *Host) start(ctx context.Context, p *Pipeline, run *kernel.RunContext, input kernel.Value) (*Result, error) {
	if err := p.plan.CheckInput(run, input); err != nil {
		return nil, err
	}
	head, err := h.head(ctx, p, run, input)
	if err != nil {
		return nil, err
	}
	ref, err := h.values.Put(ctx, head, "head", head, run.InputLabels, executor.InlineHead)
	if err != nil {
		return nil, err
	}
	start := &executor.Start{RunID: run.RunID, Tenant: run.Tenant, Pipeline: p.Name, Version: p.Version, Head: ref, Graph: graphOf(p.Pipeline, h.config.RunLimits.Deadline)}
	t := h.teller(ctx, run, p.Pipeline)
	var watcher executor.Watcher
	if run.Observer != nil {
		watcher = t
	}
	ended, err := h.executor.Run(ctx, start, watcher)
	if err != nil {
		return nil, err
	}
	return h.ended(t, p.Pipeline, ended)
}

// head is what all work on a run is done with.
func (h *Host) head(ctx context.Context, p *Pipeline, run *kernel.RunContext, input kernel.Value) (*executor.Head, error) {
	text, err := kernel.EncodeJSON(input)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "the input is no JSON value", Why: err.Error(), Fix: "pass JSON", Err: err}
	}
	head := &executor.Head{
		RunID: run.RunID, ParentRunID: run.ParentRunID, Pipeline: p.Name, Process: p.process, Version: p.Version, Environment: p.env, Tenant: run.Tenant, Principal: run.Principal,
		Labels: run.Labels, InputLabels: run.InputLabels, Caps: run.Caps, Origin: run.Origin, Started: run.Started.UTC(), Trace: run.Trace, Fresh: run.Fresh, Durable: run.Durable, Observed: run.Observer != nil, Input: text,
	}
	if len(p.Sources) == 0 {
		return nil, &kernel.Error{Code: kernel.CodePipeline, What: "the pipeline was not read from files", Where: kernel.Where{File: p.File}, Why: "workers read it anew, from the files that it was read from", Fix: "load it from a file"}
	}
	root := commonFolder(p.Sources)
	for _, path := range slices.Sorted(maps.Keys(p.Sources)) {
		s := p.Sources[path]
		name, err := filepath.Rel(root, path)
		if err != nil {
			return nil, &kernel.Error{Code: kernel.CodePipeline, What: "a file of the pipeline cannot be given to workers", Where: kernel.Where{File: path}, Why: err.Error(), Fix: "keep the files of a pipeline below one folder", Err: err}
		}
		name = filepath.ToSlash(name)
		if path == orElse(p.system, p.File) {
			head.File = name
		}
		b, err := h.publish(ctx, name, s.Digest, func() ([]byte, error) { return s.Text, nil })
		if err != nil {
			return nil, err
		}
		head.Sources = append(head.Sources, b)
	}
	for _, name := range h.pinned(p.Pipeline) {
		m := h.byName[name]
		b, err := h.publish(ctx, name, m.DigestOf(run), func() ([]byte, error) { return moduleBytes(m, m.DigestOf(run)) })
		m.EndRun(ctx, run.RunID) // of which nothing works here
		if err != nil {
			return nil, err
		}
		head.Modules = append(head.Modules, b)
	}
	return head, nil
}

// moduleBytes reads a module's file, which has to be what is loaded.
func moduleBytes(m *extension.Module, digest string) ([]byte, error) {
	wasm, err := extension.ReadFile(m.Path(), 0)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(wasm)
	if is := "sha256:" + hex.EncodeToString(sum[:]); is != digest {
		return nil, &kernel.Error{Code: kernel.CodeModuleInvalid, What: "the module cannot be given to workers", Where: kernel.Where{File: m.Path(), Module: m.ID()}, Why: "its file has changed since it was loaded: it is " + is + " now",
			Fix: "reload it, or restore the file"}
	}
	return wasm, nil
}

// pinned are the modules that a run of a pipeline keeps to, wherever it works.
func (h *Host) pinned(p *pipeline.Pipeline) []string {
	names := map[string]bool{}
	for _, name := range p.Modules() {
		names[name] = h.byName[name] != nil
	}
	for _, hooks := range [][]pipeline.HookSpec{p.Hooks, h.config.Hooks} {
		for _, hook := range hooks {
			names[hook.Module] = h.byName[hook.Module] != nil
		}
	}
	maps.DeleteFunc(names, func(_ string, there bool) bool { return !there })
	return slices.Sorted(maps.Keys(names))
}

// commonFolder is the folder that all of the files are below.
func commonFolder(sources map[string]pipeline.Source) string {
	files := slices.Sorted(maps.Keys(sources))
	if len(files) == 0 {
		return ""
	}
	root := filepath.Dir(files[0])
	for _, f := range files[1:] {
		for !strings.HasPrefix(f, root+string(filepath.Separator)) && filepath.Dir(root) != root && root != "." {
			root = filepath.Dir(root)
		}
	}
	return root
}

// publish stores what workers fetch by its digest.
func (h *Host) publish(ctx context.Context, name, digest string, read func() ([]byte, error)) (executor.Bytes, error) {
	p := &h.elsewhere.published
	p.mu.Lock()
	known, ok := p.byID[name+"@"+digest]
	p.mu.Unlock()
	if ok && time.Since(known.at) < publishedTime {
		return executor.Bytes{Name: name, Digest: digest, Artifact: known.artifact}, nil
	}
	text, err := read()
	if err != nil {
		return executor.Bytes{}, err
	}
	a, err := h.artifacts.Store(ctx, sharedRun, strings.ReplaceAll(digest, ":", "-"), bytes.NewReader(text), artifacts.StoreOptions{Origin: artifacts.Origin{Tenant: h.tenant()}})
	if err != nil {
		return executor.Bytes{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byID == nil {
		p.byID = map[string]publication{}
	}
	p.byID[name+"@"+digest] = publication{a.ID, time.Now()}
	return executor.Bytes{Name: name, Digest: digest, Artifact: a.ID}, nil
}

// graphOf is a pipeline as it is scheduled.
func graphOf(p *pipeline.Pipeline, deadline time.Duration) executor.Graph {
	g := executor.Graph{Concurrency: p.Concurrency, Timeout: p.Timeout, Lock: p.Lock != nil}
	if p.Timeout > 0 {
		g.TimeoutWhy = "timeout of pipeline " + p.Name + " is " + p.Timeout.String()
	}
	if deadline > 0 && (g.Timeout == 0 || deadline < g.Timeout) {
		g.Timeout, g.TimeoutWhy = deadline, "run_limits.deadline is "+deadline.String()
	}
	for _, n := range p.Nodes {
		reads, _ := n.Reads()
		reads = append(slices.Clone(reads), n.Dependencies()...)
		slices.Sort(reads)
		node := executor.Node{Name: n.Name, After: n.Dependencies(), Reads: slices.Compact(reads), Most: g.Timeout}
		timeout := n.Timeout
		if timeout == 0 {
			timeout = p.NodeTimeout
		}
		if timeout > 0 && n.Retry.Attempts <= 1 && n.Lock == nil && (node.Most == 0 || timeout < node.Most) {
			node.Most = timeout
		}
		g.Nodes = append(g.Nodes, node)
	}
	return g
}

// ended makes the result of a run of what an executor says of it, and tells the run's observer what it was not told of.
func (h *Host) ended(t *teller, p *pipeline.Pipeline, e *executor.Ended) (*Result, error) {
	r := &Result{
		Status: e.Status, RunID: t.run.RunID, NodeResults: map[string]kernel.Value{}, Output: map[string]kernel.Value{}, Waits: e.Waits, Usage: e.Spent.Usage, Counters: e.Spent.Counters,
	}
	if e.Error != nil {
		r.Error = known(p, e.Error)
		r.Err = r.Error
	}
	if !e.Output.Empty() {
		if err := h.values.Get(t.ctx, e.Output, &r.Output); err != nil {
			return nil, err
		}
	}
	var events []*kernel.Event
	done := map[string]bool{}
	for _, n := range e.Nodes {
		if n.Outcome.Empty() {
			continue
		}
		var o executor.Outcome
		if err := h.values.Get(t.ctx, n.Outcome, &o); err != nil {
			return nil, err
		}
		if !t.told[n.Node] {
			events = append(events, o.Events...)
		}
		if done[n.Node] = n.State == engine.NodeFinished || n.State == engine.NodeSkipped; n.State != engine.NodeFailed {
			add(r, n.Node, &o)
			continue
		}
		label(r, n.Node, o.Labels) // of what the error says
	}
	if t.run.Observer != nil {
		t.tell(events, done)
	}
	for _, w := range r.Waits {
		t.emit(&kernel.Event{Type: kernel.PipelineSuspended, Node: w.Node, EventKey: w.EventKey})
	}
	return r, nil
}

// add adds what came of a node to a result.
func add(r *Result, node string, o *executor.Outcome) {
	r.NodeResults[node] = o.Value
	label(r, node, o.Labels)
	if o.Cached != nil {
		if r.Cached == nil {
			r.Cached = map[string]*kernel.Cached{}
		}
		r.Cached[node] = o.Cached
	}
}

func label(r *Result, node string, labels *kernel.Labels) {
	if labels == nil {
		return
	}
	if r.Labels == nil {
		r.Labels = map[string]*kernel.Labels{}
	}
	r.Labels[node] = labels
}

// known returns an error that names a file of a pipeline as it is known here.
func known(p *pipeline.Pipeline, err *kernel.Error) *kernel.Error {
	if p == nil || err.Where.File == "" || filepath.IsAbs(err.Where.File) {
		return err
	}
	shown := *err
	shown.Where.File = filepath.Join(commonFolder(p.Sources), filepath.FromSlash(err.Where.File))
	return &shown
}

// teller tells a run's observer what happened elsewhere. It implements executor.Watcher.
type teller struct {
	ctx  context.Context
	host *Host
	run  *kernel.RunContext
	told map[string]bool // the nodes that it has told of
	left map[int]int     // nodes of each wave that are not done; nil where that is not known
}

func (h *Host) teller(ctx context.Context, run *kernel.RunContext, p *pipeline.Pipeline) *teller {
	t := &teller{ctx: context.WithoutCancel(ctx), host: h, run: run, told: map[string]bool{}, left: map[int]int{}}
	if p != nil {
		for i, n := range p.Waves {
			t.left[i+1] = n
		}
	}
	return t
}

// Waits implements executor.Watcher.
func (t *teller) Waits(why error) { t.emit(&kernel.Event{Type: kernel.RunWaits, Reason: why.Error()}) }

func (t *teller) emit(e *kernel.Event) { kernel.Emit(kernel.WithRun(t.ctx, t.run), e) }

// Ended implements executor.Watcher. What cannot be read is told of at the end, or is the run's failure then.
func (t *teller) Ended(nodes []executor.Result) {
	if t.run.Observer == nil {
		return
	}
	var events []*kernel.Event
	done := map[string]bool{}
	for _, n := range nodes {
		var o executor.Outcome
		if t.told[n.Node] || n.Outcome.Empty() || t.host.values.Get(t.ctx, n.Outcome, &o) != nil {
			continue
		}
		if done[n.Node] = n.State == engine.NodeFinished || n.State == engine.NodeSkipped; n.State != engine.NodeWaiting {
			t.told[n.Node] = true
			events = append(events, o.Events...)
		}
	}
	t.tell(events, done)
}

// tell tells of events in their order, and which waves are complete.
func (t *teller) tell(events []*kernel.Event, done map[string]bool) {
	slices.SortStableFunc(events, func(a, b *kernel.Event) int { return a.Time.Compare(b.Time) })
	for _, e := range events {
		t.run.Observer(e)
		over := e.Type == kernel.NodeCompleted || e.Type == kernel.NodeSkipped || e.Type == kernel.NodeFailed || e.Type == kernel.NodeCancelled
		if !over || !done[e.Node] || e.Body != "" {
			continue
		}
		if t.left[e.Wave]--; t.left[e.Wave] == 0 {
			t.emit(&kernel.Event{Type: kernel.WaveCompleted, Wave: e.Wave})
		}
	}
}

// deliver is Resume on an executor.
func (h *Host) deliver(ctx context.Context, id, key string, data kernel.Value, opts RunOptions) (*Result, error) {
	labels, err := h.inputLabels(ctx, &opts)
	if err != nil {
		return nil, err
	}
	before, err := h.executor.State(ctx, id)
	if err != nil {
		return nil, err
	}
	ref, err := h.values.Put(ctx, &executor.Head{RunID: id, Tenant: h.tenant()}, "event", data, labels, executor.InlineValue)
	if err != nil {
		return nil, err
	}
	waiting, cancel := h.untilLeft(ctx, id)
	defer cancel()
	return h.goesOn(ctx, id, before, labels, opts, func() (*executor.Ended, error) {
		return h.executor.Deliver(waiting, id, &executor.Event{Key: key, Data: ref, Labels: labels, Labelled: true})
	})
}

// Await returns when a run that waits on an executor has gone on by itself, because its time to wait was over or another process
// had an event for it: when it has ended, or waits again. When ctx ends the run goes on waiting.
func (h *Host) Await(ctx context.Context, id string, opts RunOptions) (*Result, error) {
	if h.executor == nil {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "runs that wait here do not go on by themselves", Where: kernel.Where{File: h.config.File}, Fix: "have Expire look for those whose time is over"}
	}
	before, err := h.executor.State(ctx, id)
	if err != nil {
		return nil, err
	}
	return h.goesOn(ctx, id, before, nil, opts, func() (*executor.Ended, error) { return h.executor.Await(ctx, id, before.Round) })
}

// Distributed reports whether runs work on an executor's workers.
func (h *Host) Distributed() bool { return h.executor != nil }

// goesOn is the result of a run that went on from before.
func (h *Host) goesOn(ctx context.Context, id string, before *executor.Ended, labels *kernel.Labels, opts RunOptions, wait func() (*executor.Ended, error)) (*Result, error) {
	run := h.newRun("", opts)
	run.RunID, run.InputLabels = id, labels
	observer, stop := observe(opts)
	defer stop()
	run.Observer = observer
	kernel.Emit(kernel.WithRun(ctx, run), &kernel.Event{Type: kernel.PipelineResumed})
	t := h.teller(ctx, run, nil)
	for _, n := range before.Nodes {
		t.told[n.Node] = !slices.ContainsFunc(before.Waits, func(w engine.Wait) bool { // what goes on has more to tell
			return w.Node == n.Node && (len(w.Path) > 0 || kernel.NeededInside(w.EventKey))
		})
	}
	ended, err := wait()
	if err != nil {
		return nil, err
	}
	result, err := h.ended(t, nil, ended)
	if err != nil {
		return nil, err
	}
	kernel.Emit(kernel.WithRun(ctx, run), &kernel.Event{Type: kernel.PipelineCompleted, Status: string(result.Status), Nodes: len(result.NodeResults), Error: result.Error})
	record := kernel.AuditRecord{Kind: "run", RunID: id, Tenant: run.Tenant, Principal: run.Principal, Action: "pipeline.end", Result: string(result.Status)}
	return result, h.audit.Audit(context.WithoutCancel(ctx), &record)
}

// waitingElsewhere returns the runs of an executor that wait.
func (h *Host) waitingElsewhere(ctx context.Context) ([]WaitingRun, error) {
	all, err := h.executor.Waiting(ctx)
	runs := make([]WaitingRun, len(all))
	for i, w := range all {
		runs[i] = WaitingRun{RunID: w.RunID, Pipeline: w.Pipeline, Waits: w.Waits}
	}
	slices.SortFunc(runs, func(a, b WaitingRun) int { return strings.Compare(a.RunID, b.RunID) }) // the oldest first
	return runs, err
}
