package host

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
)

// WaitingRun is a run that waits for events.
type WaitingRun struct {
	RunID    string        `json:"run_id"`
	Pipeline string        `json:"pipeline"`
	File     string        `json:"file"`
	Waits    []engine.Wait `json:"waits"`
}

// paused is a run that waits, with what it goes on with.
type paused struct {
	head *journal.Head
	*continuation
	hidden  []string // of what it has kept, what no journal is to have
	durable bool
	epoch   uint64 // of its journal, which keeps this; 0: a file does
}

func (s *paused) waiting() WaitingRun {
	return WaitingRun{RunID: s.head.Run, Pipeline: s.head.Pipeline, File: s.head.File, Waits: s.Waits}
}

// keep has what a run that waits goes on with be where its journal is, so that any host that shares that goes on with it; or, of one without, or whose journal may not have it,
// in a file.
func (p *Pipeline) keep(run *kernel.RunContext, input kernel.Value, result *Result, recorded *recording) error {
	if p.host.executor != nil {
		return nil // it is kept there
	}
	if result.Status != engine.Suspended {
		return p.host.forgetFile(run.RunID)
	}
	c := &continuation{Results: map[string]kernel.Value{}, Labels: result.Labels, Progress: result.Progress, Waits: result.Waits, Reads: run.Reads(), Since: time.Now().UTC(), Spent: run.Shown()}
	c.Kept, c.KeptLabels = run.Kept.Snapshot()
	for name, v := range result.NodeResults {
		if !slices.ContainsFunc(result.Waits, func(w engine.Wait) bool { return w.Node == name }) {
			c.Results[name] = v
		}
	}
	if recorded == nil || len(run.Kept.Hidden()) > 0 {
		return p.keepFile(run, input, c)
	}
	kept, err := recorded.keep(c)
	switch {
	case err != nil:
		return unkeepable(kernel.Where{Run: run.RunID}, err)
	case !kept:
		return p.keepFile(run, input, c)
	}
	return p.host.forgetFile(run.RunID)
}

func unkeepable(where kernel.Where, err error) error {
	return &kernel.Error{Code: kernel.CodeFailed, What: "the run waits, and what it would go on with cannot be kept", Where: where, Why: err.Error(), Fix: "make room in the host's state folder, and run it again", Err: err}
}

func unreadableRun(where kernel.Where, err error) error {
	return &kernel.Error{Code: kernel.CodeFailed, What: "what a run waits with cannot be read", Where: where, Why: err.Error(), Fix: "restore it from a copy, or remove it and run the pipeline again", Err: err}
}

// ErrNotWaiting is the cause of the error of a run that does not wait, or not for that: it has ended, or another was faster. Files that are missing have the same code.
var ErrNotWaiting = errors.New("it does not wait")

func noSuchRun(run, why string) error {
	return &kernel.Error{Code: kernel.CodeNotFound, What: "no run " + kernel.Quote(run) + " waits", Why: why, Fix: "list those that do: hexdag resume --list", Err: ErrNotWaiting}
}

// Waiting returns the runs that wait for events, the oldest first: this host's, and the durable ones of all that share its journal.
func (h *Host) Waiting() ([]WaitingRun, error) {
	ctx := context.Background()
	if h.executor != nil {
		return h.waitingElsewhere(ctx)
	}
	store, done, err := h.lookForWaits(ctx)
	runs, ferr := h.find(ctx, store, driver.Query{Status: driver.Suspended}, func(engine.Wait) bool { return true })
	return runs, errors.Join(err, ferr, done())
}

// find returns the runs of which one of the waits is picked: in files, and in the journals, as far as there are any, by the query.
func (h *Host) find(ctx context.Context, store driver.Store, q driver.Query, picks func(engine.Wait) bool) ([]WaitingRun, error) {
	var all []*paused
	var problems []error
	if store != nil {
		heads, err := store.Runs(ctx, h.tenant(), q)
		problems = append(problems, err)
		for _, head := range heads {
			if head.Waits == nil { // a file has what it goes on with
				continue
			}
			s, err := listed(head)
			problems = append(problems, err)
			if err == nil {
				all = append(all, s)
			}
		}
	}
	inFiles, err := h.waitingInFiles()
	problems = append(problems, err)
	for _, s := range inFiles {
		known := func(other *paused) bool { return other.head.Run == s.head.Run } // which its journal has overtaken
		if slices.ContainsFunc(s.Waits, picks) && !slices.ContainsFunc(all, known) {
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(a, b *paused) int {
		return cmp.Or(a.Since.Compare(b.Since), strings.Compare(a.head.Run, b.head.Run))
	})
	runs := make([]WaitingRun, len(all))
	for i, s := range all {
		runs[i] = s.waiting()
	}
	return runs, errors.Join(problems...)
}

// WaitsOf returns what a run waits for, wherever it was suspended. CodeNotFound where it does not wait.
func (h *Host) WaitsOf(ctx context.Context, run string) ([]engine.Wait, error) {
	if h.executor != nil {
		all, err := h.waitingElsewhere(ctx)
		for _, s := range all {
			if s.RunID == run {
				return s.Waits, err
			}
		}
		return nil, errors.Join(err, noSuchRun(run, ""))
	}
	s, err := h.paused(ctx, run)
	if err != nil {
		return nil, err
	}
	return s.Waits, nil
}

// paused returns what a run goes on with, wherever that is.
func (h *Host) paused(ctx context.Context, run string) (*paused, error) {
	file, err := h.pausedInFile(run)
	if err == nil && !file.durable || err != nil && !errors.Is(err, ErrNotWaiting) {
		return file, err
	}
	kept, jerr := h.pausedInJournal(ctx, run)
	switch {
	case kept != nil:
		return kept, nil
	case err != nil && jerr != nil:
		return nil, jerr
	}
	return file, err
}

// Resume goes on with a run for which an event came: data becomes the result of
// the nodes that wait for key, or, where key is "", of every node that waits. The options'
// labels integrity and confidentiality are those of the data; the run keeps its own. A durable run goes on at any host that shares its journal: where several
// have an event for it one does, and the others get CodeNotFound.
func (h *Host) Resume(ctx context.Context, run, key string, data any, opts RunOptions) (*Result, error) {
	v, err := kernel.ToValue(data)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "the event's data is no JSON value", Why: err.Error(), Fix: "pass JSON", Err: err}
	}
	if h.executor != nil {
		return h.deliver(ctx, run, key, v, opts)
	}
	return h.goOn(ctx, run, opts, func(w engine.Wait) (kernel.Value, bool, bool) { return v, key == "" || w.EventKey == key, false })
}

// Signal resumes every run that waits for an event, and returns how they went on.
func (h *Host) Signal(ctx context.Context, key string, data any, opts RunOptions) ([]*Result, error) {
	all, err := h.waitingFor(ctx, key)
	var results []*Result
	problems := []error{err}
	for _, s := range all {
		r, err := h.Resume(ctx, s.RunID, key, data, opts)
		problems = append(problems, err)
		if r != nil {
			results = append(results, r)
		}
	}
	return results, errors.Join(problems...)
}

func (h *Host) waitingFor(ctx context.Context, key string) ([]WaitingRun, error) {
	is := func(w engine.Wait) bool { return w.EventKey == key }
	if h.executor != nil {
		all, err := h.waitingElsewhere(ctx)
		return slices.DeleteFunc(all, func(s WaitingRun) bool { return !slices.ContainsFunc(s.Waits, is) }), err
	}
	store, err := h.journalOfWaits(ctx)
	if err == nil && store != nil {
		err = h.giveBackAll(ctx, store)
	}
	if key == "" { // by which no store looks
		runs, ferr := h.find(ctx, store, driver.Query{Status: driver.Suspended}, is)
		return slices.DeleteFunc(runs, func(s WaitingRun) bool { return !slices.ContainsFunc(s.Waits, is) }), errors.Join(err, ferr)
	}
	runs, ferr := h.find(ctx, store, driver.Query{Key: key}, is)
	return runs, errors.Join(err, ferr)
}

// Expire goes on with every run whose time to wait is over at now. Several hosts may do so: each run goes on at one.
func (h *Host) Expire(ctx context.Context, now time.Time, opts RunOptions) ([]*Result, error) {
	if h.executor != nil {
		return nil, nil // which goes on by itself
	}
	late := func(w engine.Wait) bool { return w.Timeout > 0 && !now.Before(w.Since.Add(w.Timeout)) }
	store, err := h.journalOfWaits(ctx)
	if inUse(err) { // who has it looks after it
		err = nil
	}
	all, ferr := h.find(ctx, store, driver.Query{Due: now}, late)
	var results []*Result
	problems := []error{err, ferr}
	for _, s := range all {
		r, err := h.goOn(ctx, s.RunID, opts, func(w engine.Wait) (kernel.Value, bool, bool) { return nil, false, late(w) })
		if !errors.Is(err, ErrNotWaiting) { // else another was faster
			problems = append(problems, err)
		}
		if r != nil {
			results = append(results, r)
		}
	}
	return results, errors.Join(problems...)
}

// WatchWaits calls Expire whenever a time to wait is over, until ctx ends. New
// waits are seen within interval. What goes wrong again and again is told once.
func (h *Host) WatchWaits(ctx context.Context, interval time.Duration, opts RunOptions, each func(*Result, error)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			results, err := h.Expire(ctx, now, opts)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if text != "" && text != told {
				each(nil, err)
			}
			told = text
			for _, r := range results {
				each(r, nil)
			}
		}
	}
}

// goOn resumes a run; decide says of each of its waits whether its event came,
// with what, or whether it came too late.
func (h *Host) goOn(ctx context.Context, run string, opts RunOptions, decide func(engine.Wait) (data kernel.Value, came, late bool)) (*Result, error) {
	s, err := h.paused(ctx, run)
	if err != nil {
		return nil, err
	}
	if s.epoch > 0 {
		return h.wake(ctx, s, opts, decide)
	}
	if s, err = h.claim(run); err != nil {
		return nil, err
	}
	labels, err := h.inputLabels(ctx, &opts)
	if err != nil {
		return nil, errors.Join(err, h.unclaim(run))
	}
	from, err := s.resumption(labels, decide)
	if err != nil {
		return nil, errors.Join(err, h.unclaim(run))
	}
	p, err := h.Load(ctx, s.head.File, LoadOptions{Environment: s.head.Environment})
	if err != nil {
		return nil, errors.Join(err, h.unclaim(run))
	}
	defer p.Close(ctx)
	rc, err := h.runOf(s, opts)
	if err != nil {
		return nil, errors.Join(err, h.unclaim(run))
	}
	result := p.run(ctx, rc, s.head.Input, from, opts)
	return result, h.release(run)
}

// runOf is the identity of a run that goes on, with what it had kept and spent.
func (h *Host) runOf(s *paused, opts RunOptions) (*kernel.RunContext, error) {
	rc := h.newRun(s.head.Pipeline, RunOptions{Principal: s.head.Principal, Labels: s.head.Labels, Fresh: s.head.Fresh, Durable: s.durable, Client: opts.Client})
	rc.InputLabels = s.head.InputLabels
	if err := rc.Kept.Set(s.Kept, s.KeptLabels); err != nil {
		return nil, err
	}
	rc.Kept.Hide(s.hidden...)
	rc.Charge(s.Spent)
	rc.Recall(s.Reads) // a node that is told again what it has read does not read it again
	rc.RunID, rc.ParentRunID, rc.Caps, rc.Origin, rc.Trace = s.head.Run, s.head.Parent, s.head.Caps, s.head.Origin, s.head.Trace
	return rc, nil
}

// resumption is what a run goes on with. labels are those of the data of its events.
func (s *paused) resumption(labels *kernel.Labels, decide func(engine.Wait) (kernel.Value, bool, bool)) (*engine.Resumption, error) {
	from := &engine.Resumption{Results: s.Results, Labels: s.Labels, Progress: s.Progress}
	if from.Results == nil {
		from.Results = map[string]kernel.Value{}
	}
	moved := false
	again := map[string]bool{} // nodes that go on
	for _, w := range s.Waits {
		switch data, came, late := decide(w); {
		case came && strings.HasPrefix(w.EventKey, kernel.ApprovalKey):
			again[w.Node], moved = true, true // governance says whether it may
		case came && strings.HasPrefix(w.EventKey, kernel.InputKey) && s.Progress[w.Node].Answer(w.EventKey, data, labels.Join(answers)):
			again[w.Node], moved = true, true
		case came && len(w.Path) > 0:
			if err := s.Progress[w.Node].Deliver(w.Path, data, labels); err != nil {
				return nil, unreadableRun(kernel.Where{Run: s.head.Run}, err)
			}
			again[w.Node], moved = true, true
		case came:
			from.Results[w.Node], moved = data, true
			if labels != nil {
				if from.Labels == nil {
					from.Labels = map[string]*kernel.Labels{}
				}
				from.Labels[w.Node] = labels.Join(from.Labels[w.Node])
			}
		case late:
			from.Expired, moved = append(from.Expired, w), true
		default:
			from.Waits = append(from.Waits, w)
		}
	}
	going := func(w engine.Wait) bool { return again[w.Node] } // what else it waits for it will say again
	from.Waits, from.Expired = slices.DeleteFunc(from.Waits, going), slices.DeleteFunc(from.Expired, going)
	if !moved {
		return nil, &kernel.Error{Err: ErrNotWaiting, Code: kernel.CodeNotFound, What: "run " + kernel.Quote(s.head.Run) + " does not wait for that event", Why: "it waits for " + keys(s.Waits), Fix: "name one of them"}
	}
	return from, nil
}

// answers are the labels of what clients answer, whatever else is said of it.
var answers, _ = kernel.NewLabels(kernel.Untrusted, "", "client:answer") // both are known

func keys(waits []engine.Wait) string {
	names := make([]string, len(waits))
	for i, w := range waits {
		names[i] = kernel.Quote(w.EventKey)
	}
	return strings.Join(names, ", ")
}
