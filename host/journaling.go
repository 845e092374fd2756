package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/executor"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
)

// journals are what the host keeps journals with, from the first durable run on.
type journals struct {
	mu     sync.Mutex
	store  driver.Store
	writer *journal.Writer
	blobs  map[string]time.Time // when those were put that are there, by digest
	works  map[string]bool      // the runs that this host works on: their journals are claimed, which says so to others alone
	taken  map[*recording]bool  // those that are being taken down
	left   bool                 // none is any more
	stop   func()               // ends what prunes them
}

// pruneEvery is how often a host removes the journals that are too old.
const pruneEvery = time.Hour

// openJournals opens what durable runs are kept with, unless it is open.
func (h *Host) openJournals(ctx context.Context) (*journals, error) {
	j := &h.journals
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.store != nil {
		return j, nil
	}
	store := h.opts.Journal
	if store == nil {
		var err error
		if store, err = h.openJournal(ctx); err != nil {
			return nil, err
		}
	}
	j.store, j.blobs, j.works, j.taken = store, map[string]time.Time{}, map[string]bool{}, map[*recording]bool{}
	j.writer = journal.NewWriter(store, journal.WriterOptions{})
	pruning, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var pruner sync.WaitGroup
	pruner.Go(func() {
		journal.Maintain(pruning, store, h.tenant(), journalPolicy(h.config), pruneEvery, func(p *journal.Pruned, err error) {
			if err != nil {
				h.log.Warn("old journals cannot be removed", "error", err)
				return
			}
			h.log.Info("old journals were removed", "runs", len(p.Runs), "files", p.Blobs)
		})
	})
	j.stop = func() { cancel(); pruner.Wait() }
	return j, nil
}

func (j *journals) close(ctx context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.store == nil {
		return nil
	}
	j.stop()
	return errors.Join(j.writer.Close(ctx), j.store.Close())
}

// take has a run be worked on, until free is called; it reports false where it is already.
func (j *journals) take(run string) (free func(), ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.works[run] {
		return nil, false
	}
	j.works[run] = true
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.works, run)
	}, true
}

// goesOn is the error of a run that this host works on already.
func goesOn(run string) error {
	return &kernel.Error{Code: kernel.CodeFenced, What: "the run goes on already", Where: kernel.Where{Run: run}, Why: "this host works on it", Fix: "wait until it has ended, or waits"}
}

// Leave stops the durable runs that are under way, and lets none begin any more: whoever opens their journals next goes on with them, as
// after a crash, but that all they had done is on the disk. Until ctx ends, it waits for that. Runs of an executor go on with its workers.
func (h *Host) Leave(ctx context.Context) {
	h.leave()
	j := &h.journals
	j.mu.Lock()
	defer j.mu.Unlock()
	j.left = true
	for r := range j.taken {
		_ = r.w.Sync(ctx) // what is not there is done again
		r.w.Abandon(hostEnds(r.id))
	}
}

func hostEnds(run string) error {
	return &kernel.Error{Code: kernel.CodeUnavailable, What: "the run does not go on here", Where: kernel.Where{Run: run}, Why: "the host ends", Fix: "it goes on when the host is back, or on another that shares the journal", Err: executor.ErrLeft}
}

// untilLeft returns a context that ends with ctx, and once the run is left to an executor's workers.
func (h *Host) untilLeft(ctx context.Context, run string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(h.left, func() {
		cancel(&kernel.Error{Code: kernel.CodeUnavailable, What: "the run goes on, and nobody waits for it here", Where: kernel.Where{Run: run}, Why: "the host ends", Fix: "the executor's workers go on with it", Err: executor.ErrLeft})
	})
	return ctx, func() { stop(); cancel(nil) }
}

// watch has a run be left with the others.
func (j *journals) watch(r *recording) (unwatch func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.left {
		r.w.Abandon(hostEnds(r.id))
	}
	j.taken[r] = true
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.taken, r)
	}
}

// keepBlob keeps bytes by their digest.
func (j *journals) keepBlob(ctx context.Context, tenant, digest string, read func() ([]byte, error)) error {
	j.mu.Lock()
	put, known := j.blobs[digest]
	j.mu.Unlock()
	if known && time.Since(put) < journal.BlobsKept/2 {
		return nil
	}
	data, err := read()
	if err != nil || sha256Of(data) != digest {
		return nil // it is not what runs any more; a replay says that it is missing
	}
	if err := j.store.PutBlob(ctx, tenant, digest, data); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.blobs[digest] = time.Now()
	return nil
}

func sha256Of(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// recording is the journal of a run that is under way; nil where none is kept.
type recording struct {
	id    string
	w     *journal.RunWriter
	free  func() // lets others of this process work on the run; nil where whoever recovers it does
	tells bool   // others of the end, which they will know after this process, too
	stop  func()
	left  <-chan struct{} // once it is closed the run stops where it is

	head  *journal.Head   // of the run
	pause json.RawMessage // what it goes on with once what it waits for comes
	waits *driver.Waits   // which that is
}

// start has a run stop where its journal can no longer be written.
func (r *recording) start(ctx context.Context, j *journals) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	unwatch := j.watch(r)
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-r.w.Lost():
			cancel(r.w.Err())
		case <-r.left:
			_ = r.w.Sync(context.WithoutCancel(ctx)) // what is not there is done again
			r.w.Abandon(hostEnds(r.id))
			cancel(r.w.Err())
		case <-done:
		}
	})
	r.stop = func() {
		unwatch()
		close(done)
		watching.Wait()
		cancel(nil)
	}
	return ctx
}

// over writes how the run ended, of which others are told next. What is not durable has not ended.
func (r *recording) over(ctx context.Context, result *Result) error {
	if r == nil {
		return nil
	}
	defer r.stop()
	end := journal.Entry{Kind: journal.End, Status: string(result.Status), Value: objectOf(result.Output), Failed: result.Error, Usage: &result.Usage}
	if result.Status == engine.Suspended {
		if r.pause != nil {
			end.Head, end.Pause = pausedHead(r.head), r.pause
		}
		r.w.Append(end)
		defer r.release() // whoever goes on may do so here
		return r.w.Suspend(context.WithoutCancel(ctx), r.waits)
	}
	r.w.Append(end)
	if r.tells { // until they were told, the run is this host's, and its successor's
		return r.w.Sync(context.WithoutCancel(ctx))
	}
	return r.w.Close(context.WithoutCancel(ctx), driver.Status(result.Status))
}

// close ends the writing of a run that is over.
func (r *recording) close(ctx context.Context, result *Result) error {
	if r == nil {
		return nil
	}
	return r.w.Close(context.WithoutCancel(ctx), driver.Status(result.Status))
}

// release lets others work on the run.
func (r *recording) release() {
	if r != nil && r.free != nil {
		r.free()
		r.free = nil
	}
}

// leave ends the writing of a run that does not go on now: it stays as it is.
func (r *recording) leave(ctx context.Context) error {
	if r == nil {
		return nil
	}
	return r.w.Close(context.WithoutCancel(ctx), driver.Running)
}

func objectOf(fields map[string]kernel.Value) kernel.Value {
	if len(fields) == 0 {
		return nil
	}
	return fields
}

// record begins to take a run down, unless that goes on already. The context ends where it no longer can.
func (p *Pipeline) record(ctx context.Context, run *kernel.RunContext, input kernel.Value, from *engine.Resumption, opts RunOptions) (context.Context, *recording, error) {
	if opts.recovered != nil {
		return opts.recovered.start(ctx, &p.host.journals), opts.recovered, nil
	}
	if !run.Durable || p.host.executor != nil { // which keeps the run itself
		return ctx, nil, nil
	}
	h := p.host
	j, err := h.openJournals(ctx)
	if err != nil {
		return ctx, nil, err
	}
	head, err := p.head(ctx, j, run, input, from)
	if err != nil {
		return ctx, nil, err
	}
	free, ok := j.take(run.RunID)
	if !ok && from == nil {
		return ctx, nil, existsError(run.RunID, nil)
	}
	if !ok {
		return ctx, nil, goesOn(run.RunID)
	}
	var w *journal.RunWriter
	if opts.waking > 0 {
		w, err = j.wake(ctx, run, opts.waking)
	} else {
		w, err = j.begin(ctx, run, from != nil)
	}
	if err != nil {
		free()
		return ctx, nil, err
	}
	began := w.Append(journal.Entry{Kind: journal.Begin, Time: run.Started, Head: head})
	if err := w.Sync(ctx); err != nil { // a run that nobody could go on with has not begun
		defer free()
		return ctx, nil, errors.Join(err, w.Close(context.WithoutCancel(ctx), driver.Status(engine.Cancelled)))
	}
	r := &recording{id: run.RunID, w: w, free: free, tells: h.remembered(), left: opts.left, head: head}
	run.Journal = journal.Record(run, w).Named(partName(run.RunID, began))
	return r.start(ctx, j), r, nil
}

// partName names what a run does from entry began on.
func partName(run string, began uint64) string {
	if began <= 1 {
		return run
	}
	return fmt.Sprintf("%s@%d", run, began)
}

// begin makes the journal of a run, or goes on with that of one that was suspended.
func (j *journals) begin(ctx context.Context, run *kernel.RunContext, again bool) (*journal.RunWriter, error) {
	of := &driver.Run{ID: run.RunID, Parent: run.ParentRunID, Tenant: run.Tenant, Pipeline: run.PipelineName, Version: run.PipelineVersion, Begun: run.Started}
	if again {
		if head, err := j.store.Get(ctx, run.Tenant, run.RunID); err == nil && head.Status == driver.Running {
			return nil, &kernel.Error{Code: kernel.CodeFenced, What: "the run goes on already", Where: kernel.Where{Run: run.RunID}, Why: "host " + kernel.Quote(head.Owner) + " works on it, or has died", Fix: "wait until it waits again; if its host has died: hexdag resume --crashed " + run.RunID}
		}
		claimed, err := j.store.Claim(ctx, run.Tenant, run.RunID, false)
		if err == nil {
			return j.writer.Run(claimed, claimed.Entries+1), nil
		}
		if !errors.Is(err, driver.ErrNotFound) { // else it was suspended without a journal
			return nil, claimError(run.RunID, err)
		}
	}
	err := j.store.Create(ctx, of)
	if errors.Is(err, driver.ErrExists) {
		return j.beginAnew(ctx, of, err)
	}
	if err != nil {
		return nil, err
	}
	of.Epoch = 1
	return j.writer.Run(of, 1), nil
}

// beginAnew begins a run of which there is a journal without an entry: who had made that died before the run began.
func (j *journals) beginAnew(ctx context.Context, of *driver.Run, exists error) (*journal.RunWriter, error) {
	head, err := j.store.Get(ctx, of.Tenant, of.ID)
	switch {
	case err != nil && !errors.Is(err, driver.ErrNotFound):
		return nil, err
	case err != nil || !neverDid(head):
		return nil, existsError(of.ID, exists)
	}
	err = j.store.Delete(ctx, of.Tenant, of.ID)
	var taken *driver.Taken
	if errors.As(err, &taken) { // and it goes on
		return nil, existsError(of.ID, exists)
	}
	if err != nil && !errors.Is(err, driver.ErrNotFound) {
		return nil, err
	}
	if err := j.store.Create(ctx, of); err != nil {
		if errors.Is(err, driver.ErrExists) { // another was faster
			return nil, existsError(of.ID, err)
		}
		return nil, err
	}
	of.Epoch = 1
	return j.writer.Run(of, 1), nil
}

// neverDid reports whether a journal is of a run that did not begin, and nobody works on.
func neverDid(head *driver.Run) bool {
	return head.Entries == 0 && (head.Free || head.Status == driver.Status(engine.Cancelled))
}

func existsError(run string, err error) error {
	return &kernel.Error{Code: kernel.CodeRunExists, What: "the run was begun before", Where: kernel.Where{Run: run}, Why: "there is a journal of a run with its id", Fix: "see what became of it: hexdag journal show " + run + "; or leave the id out", Err: err}
}

// claimError is why a run cannot be taken over.
func claimError(run string, err error) error {
	where := kernel.Where{Run: run}
	var taken *driver.Taken
	var over *driver.Over
	switch {
	case errors.As(err, &taken):
		return &kernel.Error{Code: kernel.CodeFenced, What: "the run is under way elsewhere", Where: where, Why: "host " + kernel.Quote(taken.Owner) + " works on it", Fix: "wait until it has ended, or until that host's claim has: it is renewed while the host lives", Err: err}
	case errors.As(err, &over):
		return &kernel.Error{Code: kernel.CodeNotFound, What: "the run has ended already", Where: where, Why: "it is " + string(over.Status), Fix: "run the pipeline anew; 'hexdag journal show' tells what it did", Err: err}
	case errors.Is(err, driver.ErrNotFound):
		return &kernel.Error{Code: kernel.CodeNotFound, What: "there is no journal of the run " + kernel.Quote(run), Where: where, Why: "no such run was recorded, or it was removed for its age", Fix: "'hexdag journal list' shows those that there are", Err: err}
	}
	return err
}

// head is what the journal of a run begins with. What it names by digest is kept.
func (p *Pipeline) head(ctx context.Context, j *journals, run *kernel.RunContext, input kernel.Value, from *engine.Resumption) (*journal.Head, error) {
	h := p.host
	head := &journal.Head{
		Format: journal.Version, Run: run.RunID, Parent: run.ParentRunID, Tenant: run.Tenant, Principal: run.Principal, Pipeline: run.PipelineName, Version: p.Version, File: p.File, Environment: p.env,
		Source: map[string]string{}, Modules: map[string]string{}, Policy: h.governing.port.Revision(), Config: h.config.Digest, Host: hostName(),
		Labels: run.Labels, InputLabels: run.InputLabels, Caps: run.Caps, Origin: run.Origin, Fresh: run.Fresh, Trace: run.Trace, Input: input,
	}
	for file, source := range p.Sources {
		head.Source[file] = source.Digest
		if err := j.keepBlob(ctx, run.Tenant, source.Digest, func() ([]byte, error) { return source.Text, nil }); err != nil {
			return nil, err
		}
	}
	for _, m := range h.modules {
		head.Modules[m.Name()] = m.DigestOf(run)
		if err := j.keepBlob(ctx, run.Tenant, m.Digest(), func() ([]byte, error) { return extension.ReadFile(m.Path(), 0) }); err != nil {
			return nil, err
		}
	}
	if from != nil {
		text, err := json.Marshal(resumed(run, from))
		if err != nil {
			return nil, err
		}
		head.Resumption = text
	}
	return head, nil
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	return fmt.Sprintf("%s/%d", name, os.Getpid())
}

// continuation is what a run that was suspended goes on with, as its journal keeps it.
type continuation struct {
	Results    map[string]kernel.Value     `json:"results"`
	Labels     map[string]*kernel.Labels   `json:"labels,omitempty"`
	Progress   map[string]*engine.Progress `json:"progress,omitempty"`
	Waits      []engine.Wait               `json:"waits,omitempty"`
	Expired    []engine.Wait               `json:"expired,omitempty"`
	Kept       map[string]kernel.Value     `json:"kept,omitempty"`
	KeptLabels map[string]*kernel.Labels   `json:"kept_labels,omitempty"`
	Masked     bool                        `json:"masked,omitempty"` // something that was kept is left out: governance masks it
	Reads      map[string][]string         `json:"reads,omitempty"`
	Since      time.Time                   `json:"since,omitzero"` // when it was suspended, of one that waits
	Spent      kernel.Spent                `json:"spent,omitzero"` // so far: limits are those of the run, however often it waits
}

func resumed(run *kernel.RunContext, from *engine.Resumption) *continuation {
	c := &continuation{Results: from.Results, Labels: from.Labels, Progress: from.Progress, Waits: from.Waits, Expired: from.Expired, Reads: run.Reads(), Spent: run.Shown()}
	c.Kept, c.KeptLabels = run.Kept.Snapshot()
	for _, key := range run.Kept.Hidden() {
		delete(c.Kept, key)
		delete(c.KeptLabels, key)
		c.Masked = true
	}
	return c
}

// resumption returns what a run begins with: nil from its start.
func (c *continuation) resumption() *engine.Resumption {
	if c == nil {
		return nil
	}
	return &engine.Resumption{Results: c.Results, Labels: c.Labels, Progress: c.Progress, Waits: c.Waits, Expired: c.Expired}
}

func continuationOf(head *journal.Head) (*continuation, error) {
	if len(head.Resumption) == 0 {
		return nil, nil
	}
	var c continuation
	return &c, kernel.UnmarshalStrict(head.Resumption, &c)
}

// recordedFunctions, and those below, have what Go code answers taken down in the runs that are recorded.
func recordedFunctions(functions map[string]Function) map[string]Function {
	recorded := make(map[string]Function, len(functions))
	for name, f := range functions {
		recorded[name] = journal.Function(name, f)
	}
	return recorded
}

func recordedNodeHooks(hooks []NodeHook) []NodeHook {
	recorded := slices.Clone(hooks)
	for i := range recorded {
		recorded[i].Hook = journal.NodeHook(recorded[i].Name, recorded[i].Hook)
	}
	return recorded
}

func recordedPortHooks(hooks []PortHook) []PortHook {
	recorded := slices.Clone(hooks)
	for i := range recorded {
		recorded[i].Hook = journal.PortHook(recorded[i].Name, recorded[i].Hook)
	}
	return recorded
}
