package host

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/pipelinespawner"
)

// Recovered is a durable run that goes on after its host has died.
type Recovered struct {
	RunID    string
	Pipeline string
	InFlight []journal.InFlight // calls of which nobody knew whether they were done
	Result   *Result            // nil with Err
	Err      error              // why it cannot go on
}

// Recover goes on with every durable run of the tenant whose host has died, and tells of each when it has ended, or waits. The
// error is about the journals themselves.
func (h *Host) Recover(ctx context.Context, opts RunOptions, each func(*Recovered)) error {
	j, err := h.openJournals(ctx)
	if err != nil {
		return err
	}
	free, err := j.store.Runs(ctx, h.tenant(), driver.Query{Free: true})
	if err != nil {
		return err
	}
	slices.Reverse(free) // the oldest first
	orphans, err := h.orphans(ctx, j, free)
	if err != nil {
		return err
	}
	for _, r := range orphans { // all of them, before a run that is to begin one anew has ended
		if err := h.endOrphan(ctx, j, r); err != nil {
			each(&Recovered{RunID: r.ID, Pipeline: r.Pipeline, Err: err})
		}
	}
	var told sync.Mutex
	goOn := func(r *driver.Run) {
		one, err := h.recoverRun(ctx, j, r.ID, opts)
		var over *driver.Over
		if kernel.CodeOf(err) == kernel.CodeFenced || errors.As(err, &over) { // another host was faster, or a run that waits for this one
			return
		}
		if err != nil {
			one = &Recovered{RunID: r.ID, Pipeline: r.Pipeline, Err: err}
		}
		told.Lock()
		defer told.Unlock()
		each(one)
	}
	free = slices.DeleteFunc(free, func(r *driver.Run) bool { return ofNode(r.ID) || slices.Contains(orphans, r) }) // of a node: its executor has another worker go on with it
	if err := h.recoverChildren(ctx, free, goOn); err != nil {
		return err
	}
	for _, r := range free {
		if isChild(r) {
			continue
		}
		if ctx.Err() != nil {
			return kernel.ContextError(ctx)
		}
		goOn(r)
	}
	return nil
}

// recovering is how many runs go on at once that others have started.
const recovering = 16

// isChild reports whether a run was started by another, which means it again by its id.
func isChild(r *driver.Run) bool { return r.Parent != "" && pipelinespawner.Keyed(r.ID) }

// recoverChildren goes on with the runs that others have started, before those, which may wait for them: the youngest first, as they
// may have started each other.
func (h *Host) recoverChildren(ctx context.Context, free []*driver.Run, goOn func(*driver.Run)) error {
	slots := make(chan struct{}, recovering)
	var all sync.WaitGroup
	for _, r := range slices.Backward(free) {
		if !isChild(r) || ctx.Err() != nil {
			continue
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			goOn(r)
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return kernel.ContextError(ctx)
	}
	if registry := h.libraries.registry; registry != nil { // or they would seem lost to who waits for them
		if err := registry.Flush(ctx); err != nil {
			h.log.Warn("what became of runs is not registered", "error", err.Error())
		}
	}
	return nil
}

// orphans returns the runs whose hosts have died with that of the run that started them, which begins them anew. free are in the
// order in which they began.
func (h *Host) orphans(ctx context.Context, j *journals, free []*driver.Run) ([]*driver.Run, error) {
	var orphans []*driver.Run
	for _, r := range free {
		if r.Parent == "" || ofNode(r.ID) || pipelinespawner.Keyed(r.ID) { // which goes on by itself
			continue
		}
		if slices.ContainsFunc(orphans, func(o *driver.Run) bool { return o.ID == r.Parent }) { // nobody goes on with that one, either
			orphans = append(orphans, r)
			continue
		}
		parent, err := j.store.Get(ctx, r.Tenant, r.Parent)
		switch {
		case errors.Is(err, driver.ErrNotFound):
		case err != nil:
			return nil, err
		case parent.Status == driver.Running:
			orphans = append(orphans, r)
		}
	}
	return orphans, nil
}

// endOrphan ends a run that is begun anew.
func (h *Host) endOrphan(ctx context.Context, j *journals, r *driver.Run) error {
	free, ok := j.take(r.ID)
	if !ok {
		return goesOn(r.ID)
	}
	defer free()
	head, err := j.store.Claim(ctx, r.Tenant, r.ID, false)
	if err != nil {
		return claimError(r.ID, err)
	}
	return j.writer.Run(head, head.Entries+1).Close(ctx, driver.Status(engine.Cancelled))
}

// RecoverRun goes on with a durable run whose host has died. What it had done it does not do again. CodeFenced where a host works on
// it, CodeNotFound where it has ended or there is no journal of it, CodeDiverged where it could not go on as it began.
func (h *Host) RecoverRun(ctx context.Context, run string, opts RunOptions) (*Recovered, error) {
	j, err := h.openJournals(ctx)
	if err != nil {
		return nil, err
	}
	if ofNode(run) {
		return nil, &kernel.Error{Code: kernel.CodeUnsupported, What: "one node cannot go on by itself", Where: kernel.Where{Run: run}, Why: "the journal is of a node that a worker did for a run on an executor", Fix: "leave it to the executor, which has another worker go on with it"}
	}
	if err := h.endOrphansOf(ctx, j, run); err != nil {
		return nil, err
	}
	if err := h.recoverChildrenOf(ctx, j, run, opts); err != nil {
		return nil, err
	}
	return h.recoverRun(ctx, j, run, opts)
}

// recoverChildrenOf goes on with the runs that a run has started, and those that they have, before it: it may wait for them.
func (h *Host) recoverChildrenOf(ctx context.Context, j *journals, run string, opts RunOptions) error {
	free, err := j.store.Runs(ctx, h.tenant(), driver.Query{Free: true})
	if err != nil {
		return err
	}
	slices.Reverse(free)
	var children []*driver.Run
	for _, r := range free {
		of := r
		for isChild(of) && of.Parent != run && err == nil { // one between them may have ended
			of, err = j.store.Get(ctx, r.Tenant, of.Parent)
		}
		switch {
		case errors.Is(err, driver.ErrNotFound): // it was none of this run's
			err = nil
		case err != nil:
			return err
		case isChild(of):
			children = append(children, r)
		}
	}
	return h.recoverChildren(ctx, children, func(r *driver.Run) {
		var over *driver.Over
		if _, err := h.recoverRun(ctx, j, r.ID, opts); err != nil && kernel.CodeOf(err) != kernel.CodeFenced && !errors.As(err, &over) {
			h.log.Warn("a run that another has started cannot go on", "run", r.ID, "parent", r.Parent, "error", err.Error())
		}
	})
}

// endOrphansOf ends the runs that a run had started, before it begins them anew, and refuses to go on with one that is begun anew itself.
func (h *Host) endOrphansOf(ctx context.Context, j *journals, run string) error {
	free, err := j.store.Runs(ctx, h.tenant(), driver.Query{Free: true})
	if err != nil {
		return err
	}
	slices.Reverse(free)
	orphans, err := h.orphans(ctx, j, free)
	if err != nil {
		return err
	}
	within := map[string]bool{run: true}
	for _, r := range orphans {
		if r.ID == run {
			return &kernel.Error{Code: kernel.CodeFenced, What: "the run does not go on by itself", Where: kernel.Where{Run: run}, Why: "run " + kernel.Quote(r.Parent) + " had started it, and begins it anew", Fix: "go on with that one: hexdag resume --crashed " + kernel.Quote(r.Parent)}
		}
		if !within[r.Parent] {
			continue
		}
		within[r.ID] = true
		if err := h.endOrphan(ctx, j, r); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) recoverRun(ctx context.Context, j *journals, run string, opts RunOptions) (*Recovered, error) {
	free, ok := j.take(run)
	if !ok {
		return nil, goesOn(run)
	}
	defer free()
	head, err := j.store.Claim(ctx, h.tenant(), run, false)
	if err != nil {
		return nil, claimError(run, err)
	}
	r, err := h.recovery(ctx, j, head)
	if err == nil && r.ended == "" {
		err = h.check(ctx, r)
	}
	if errors.Is(err, errNeverBegan) {
		return nil, errors.Join(err, r.w.Close(context.WithoutCancel(ctx), driver.Status(engine.Cancelled)))
	}
	if err != nil { // it stays as it is
		w := j.writer.Run(head, head.Entries+1)
		return nil, errors.Join(kernel.At(err, kernel.Where{Run: run}), w.Close(context.WithoutCancel(ctx), driver.Running))
	}
	if r.ended != "" { // and its host died before it could say so
		result := h.tellEnded(ctx, r)
		return &Recovered{RunID: run, Pipeline: head.Pipeline, Result: result}, r.close(ctx)
	}
	return h.goOnFrom(ctx, r, opts)
}

// recovery is a run that is to go on.
type recovery struct {
	head     *journal.Head
	w        *journal.RunWriter
	entries  []*journal.Entry // since the head
	began    *journal.Entry
	ended    driver.Status // what it had come to; "" where it goes on
	inFlight []journal.InFlight
	from     *continuation
	pipeline *Pipeline
}

// recovery reads what a run has done, and cuts what is torn.
func (h *Host) recovery(ctx context.Context, j *journals, head *driver.Run) (*recovery, error) {
	read, err := journal.Read(ctx, j.store, head.Tenant, head.ID)
	if err != nil {
		return nil, err
	}
	entries, err := read.All(ctx)
	if err != nil {
		return nil, err
	}
	if read.Torn != nil {
		h.log.Warn("a journal is torn", "run", head.ID, "torn", read.Torn.String())
		if err := j.store.Truncate(ctx, head.Tenant, head.ID, head.Epoch, read.Torn.At); err != nil {
			return nil, err
		}
	}
	r := &recovery{w: j.writer.Run(head, uint64(len(entries))+1)}
	for i, e := range entries {
		if e.Kind == journal.Begin {
			r.began, r.head, r.entries = e, e.Head, entries[i+1:]
		}
	}
	if r.head == nil { // and it had done nothing
		return r, neverBegan(head.ID)
	}
	if last := len(r.entries) - 1; last >= 0 && r.entries[last].Kind == journal.End {
		r.ended = driver.Status(r.entries[last].Status)
		return r, nil
	}
	if err := isOf(r.head, head); err != nil {
		return nil, err
	}
	r.inFlight = journal.UnderWay(r.entries)
	r.from, err = continuationOf(r.head)
	return r, err
}

// close ends the writing of a run that has ended, or waits.
func (r *recovery) close(ctx context.Context) error {
	if r.ended != driver.Suspended {
		return r.w.Close(ctx, r.ended)
	}
	waits, err := waitsIn(r.entries[len(r.entries)-1])
	if err != nil {
		return errors.Join(err, r.w.Close(ctx, driver.Running))
	}
	return r.w.Suspend(ctx, waits)
}

// tellEnded tells how a run ended whose host died before it could, or before the journal had that it did: who was told knows the event's name.
func (h *Host) tellEnded(ctx context.Context, r *recovery) *Result {
	rc := h.newRun(r.head.Pipeline, RunOptions{Principal: r.head.Principal, Labels: r.head.Labels})
	rc.RunID, rc.ParentRunID, rc.InputLabels, rc.Started = r.head.Run, r.head.Parent, r.head.InputLabels, r.began.Time
	result := resultOf(rc.RunID, r.entries)
	if result.Status != engine.Suspended { // that is told once the journal is closed, and may come again
		h.runEnded(ctx, rc, result)
	}
	return result
}

// isOf refuses what a journal says that it is of another run than the store has it as.
func isOf(head *journal.Head, run *driver.Run) error {
	if head.Run == run.ID && head.Tenant == run.Tenant {
		return nil
	}
	return &kernel.Error{Code: kernel.CodeJournal, What: "the journal is of another run", Where: kernel.Where{Run: run.ID}, Why: "it begins as that of run " + kernel.Quote(head.Run) + " of tenant " + kernel.Quote(head.Tenant), Fix: "see who writes to the store of the journals"}
}

// errNeverBegan is the cause of neverBegan: that somebody stops the recovery has the same code.
var errNeverBegan = errors.New("it had done nothing")

func neverBegan(run string) error {
	return &kernel.Error{Err: errNeverBegan, Code: kernel.CodeCanceled, What: "the run had not begun", Where: kernel.Where{Run: run}, Why: "its host died before what it was to begin with was on the disk; it had done nothing", Fix: "run the pipeline anew"}
}

// check loads the run's pipeline, and refuses what is not as it began.
func (h *Host) check(ctx context.Context, r *recovery) error {
	var changed []string
	for _, m := range h.modules {
		if was := r.head.Modules[m.Name()]; was != m.Digest() {
			changed = append(changed, "module "+kernel.Quote(m.Name())+" was "+orElse(was, "not there")+" and is "+m.Digest())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.head.Modules)) {
		if h.byName[name] == nil {
			changed = append(changed, "module "+kernel.Quote(name)+" was "+r.head.Modules[name]+" and is not configured")
		}
	}
	if len(changed) > 0 {
		return &kernel.Error{Code: kernel.CodeDiverged, What: "the run cannot go on with other modules than it began with", Why: strings.Join(changed, "; "), Fix: "restore them, and recover it; or run the pipeline anew"}
	}
	p, err := h.loadSource(ctx, h.journals.store, r.head)
	r.pipeline = p
	return err
}

// goOnFrom runs the rest of a run.
func (h *Host) goOnFrom(ctx context.Context, r *recovery, opts RunOptions) (*Recovered, error) {
	defer r.pipeline.Close(ctx)
	rc := h.newRun(r.head.Pipeline, RunOptions{Principal: r.head.Principal, Labels: r.head.Labels, Fresh: r.head.Fresh, Durable: true})
	rc.RunID, rc.ParentRunID, rc.Caps, rc.Origin, rc.InputLabels, rc.Started = r.head.Run, r.head.Parent, r.head.Caps, r.head.Origin, r.head.InputLabels, r.began.Time
	rc.Trace = r.head.Trace
	if err := errors.Join(held(r.entries), h.recallState(ctx, rc, r)); err != nil { // it stays as it is
		return nil, errors.Join(kernel.At(err, kernel.Where{Run: rc.RunID}), r.w.Close(context.WithoutCancel(ctx), driver.Running))
	}
	r.w.Append(journal.Entry{Kind: journal.Recover, Host: hostName(), InFlight: r.inFlight})
	if err := r.w.Sync(ctx); err != nil { // before anything is done again: whoever reads the journal knows that it may have been
		return nil, errors.Join(kernel.At(err, kernel.Where{Run: rc.RunID}), r.w.Close(context.WithoutCancel(ctx), driver.Running))
	}
	rc.Journal = journal.Resume(rc, r.w, r.entries).Named(partName(rc.RunID, r.began.Seq))
	opts.took = r.took()
	opts.recovered = &recording{id: rc.RunID, w: r.w, tells: h.remembered(), left: opts.left, head: r.head}
	from := r.from.resumption()
	if from == nil { // it goes on, wherever that is
		from = &engine.Resumption{}
	}
	result := r.pipeline.run(ctx, rc, r.head.Input, from, opts)
	return &Recovered{RunID: rc.RunID, Pipeline: r.head.Pipeline, InFlight: r.inFlight, Result: result}, nil
}

// took is for how long the run's hosts have worked on it, as far as that is known.
func (r *recovery) took() time.Duration {
	var took time.Duration
	from, last := r.began.Time, r.began.Time
	for _, e := range r.entries {
		if e.Kind == journal.Recover { // nobody worked on it before
			took += last.Sub(from)
			from = e.Time
		}
		last = e.Time
	}
	return took + last.Sub(from)
}
