package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
)

// maxPause is how many bytes of JSON a journal keeps of what a run goes on with: an entry has a bound, and the run's input is in it, too.
const maxPause = 32 << 20

// keep has what a run that waits goes on with be at the end of its journal. It reports false where that is too much.
func (r *recording) keep(c *continuation) (bool, error) {
	text, err := json.Marshal(c)
	if err != nil || len(text) > maxPause {
		return false, err
	}
	r.waits, err = waitsOf(r.head, c)
	r.pause = text
	return err == nil, err
}

// pausedHead is what the end of a part says of the run's beginning, for who goes on: all but what that part had begun with itself.
func pausedHead(head *journal.Head) *journal.Head {
	of := *head
	of.Resumption = nil
	return &of
}

// listing is what the store of journals tells of a run that waits, without its journal.
type listing struct {
	File  string        `json:"file"`
	Since time.Time     `json:"since"`
	Waits []engine.Wait `json:"waits"`
}

// waitsOf is what the store finds a run by, and tells of it.
func waitsOf(head *journal.Head, c *continuation) (*driver.Waits, error) {
	data, err := json.Marshal(listing{File: head.File, Since: c.Since, Waits: c.Waits})
	if err != nil {
		return nil, err
	}
	w := &driver.Waits{Data: data}
	for _, wait := range c.Waits {
		w.Keys = append(w.Keys, wait.EventKey)
		if wait.Timeout <= 0 {
			continue
		}
		if until := wait.Since.Add(wait.Timeout); w.Until.IsZero() || until.Before(w.Until) {
			w.Until = until
		}
	}
	slices.Sort(w.Keys)
	w.Keys = slices.Compact(w.Keys)
	return w, nil
}

// listed is what a store tells of a run that waits. It is not enough to go on.
func listed(head *driver.Run) (*paused, error) {
	var l listing
	dec := json.NewDecoder(bytes.NewReader(head.Waits.Data))
	dec.UseNumber()
	if err := dec.Decode(&l); err != nil { // what a later version tells beside is no matter
		return nil, unreadableRun(kernel.Where{Run: head.ID}, err)
	}
	return &paused{head: &journal.Head{Run: head.ID, Pipeline: head.Pipeline, File: l.File}, continuation: &continuation{Waits: l.Waits, Since: l.Since}, durable: true, epoch: head.Epoch}, nil
}

// waitsIn is what the run waits for of which an entry is the end; nil where its journal does not have it go on.
func waitsIn(e *journal.Entry) (*driver.Waits, error) {
	if e.Head == nil || len(e.Pause) == 0 {
		return nil, nil
	}
	var c continuation
	if err := kernel.UnmarshalStrict(e.Pause, &c); err != nil {
		return nil, unreadableRun(kernel.Where{Run: e.Head.Run}, err)
	}
	return waitsOf(e.Head, &c)
}

// journalOfWaits opens the journals, unless they are, to go on with runs of which they have what these wait with; nil where there are none.
func (h *Host) journalOfWaits(ctx context.Context) (driver.Store, error) {
	h.journals.mu.Lock()
	store := h.journals.store
	h.journals.mu.Unlock()
	if store != nil {
		return store, nil
	}
	if h.opts.Journal == nil && !h.journalIsThere() {
		return nil, nil
	}
	j, err := h.openJournals(ctx)
	if err != nil {
		return nil, err
	}
	return j.store, nil
}

// inUse reports whether journals cannot be opened since another process has their file.
func inUse(err error) bool { return errors.Is(err, driver.ErrInUse) }

// lookForWaits is journalOfWaits to look alone, which goes beside another process. done gives it back.
func (h *Host) lookForWaits(ctx context.Context) (store driver.Store, done func() error, err error) {
	done = func() error { return nil }
	store, err = h.journalOfWaits(ctx)
	if !inUse(err) {
		return store, done, err
	}
	if store, err = h.journalStore(ctx, false); err != nil {
		return nil, done, err
	}
	return store, store.Close, nil
}

// pausedInJournal returns what a run goes on with of which the journal has that; nil where it has not.
func (h *Host) pausedInJournal(ctx context.Context, run string) (*paused, error) {
	store, err := h.journalOfWaits(ctx)
	if store == nil || err != nil {
		return nil, err
	}
	head, err := store.Get(ctx, h.tenant(), run)
	if err == nil && head.Free {
		if err = h.giveBack(ctx, store, head); err == nil {
			head, err = store.Get(ctx, h.tenant(), run)
		}
	}
	switch {
	case errors.Is(err, driver.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case head.Free:
		return nil, noSuchRun(run, "its host has died: hexdag resume --crashed "+run)
	case head.Status == driver.Running:
		return nil, noSuchRun(run, "it goes on at host "+kernel.Quote(head.Owner))
	case head.Waits == nil:
		return nil, nil
	}
	e, err := journal.Last(ctx, store, head)
	if errors.Is(err, driver.ErrFenced) {
		return nil, noSuchRun(run, "it goes on elsewhere")
	}
	if err != nil {
		return nil, err
	}
	if e.Kind != journal.End || e.Head == nil || len(e.Pause) == 0 {
		return nil, &kernel.Error{Code: kernel.CodeJournal, What: "the journal does not have what the run goes on with", Where: kernel.Where{Run: run}, Why: "its last entry is " + kernel.Quote(e.Brief()), Fix: "see who writes to the store of the journals"}
	}
	if err := isOf(e.Head, head); err != nil {
		return nil, err
	}
	s := &paused{head: e.Head, continuation: &continuation{}, durable: true, epoch: head.Epoch}
	if err := kernel.UnmarshalStrict(e.Pause, s.continuation); err != nil {
		return nil, unreadableRun(kernel.Where{Run: run}, err)
	}
	return s, nil
}

// giveBack has a run wait again whose host has died between taking it and going on.
func (h *Host) giveBack(ctx context.Context, store driver.Store, head *driver.Run) error {
	e, err := journal.Last(ctx, store, head)
	code := kernel.CodeOf(err)
	if errors.Is(err, driver.ErrFenced) || code == kernel.CodeNotFound || code == kernel.CodeJournal { // whoever recovers it tells what is wrong with it
		return nil
	}
	if err != nil || e.Kind != journal.End || e.Status != string(driver.Suspended) { // it has gone on
		return err
	}
	_, err = h.recoverRun(ctx, &h.journals, head.ID, RunOptions{})
	if kernel.CodeOf(err) == kernel.CodeFenced { // another was faster
		return nil
	}
	return err
}

// giveBackAll is giveBack of all runs whose hosts have died.
func (h *Host) giveBackAll(ctx context.Context, store driver.Store) error {
	free, err := store.Runs(ctx, h.tenant(), driver.Query{Free: true})
	problems := []error{err}
	for _, r := range free {
		if !ofNode(r.ID) {
			problems = append(problems, h.giveBack(ctx, store, r))
		}
	}
	return errors.Join(problems...)
}

// wake resumes a run of which the journal has what it goes on with. Until it has begun to, it waits as before.
func (h *Host) wake(ctx context.Context, s *paused, opts RunOptions, decide func(engine.Wait) (kernel.Value, bool, bool)) (*Result, error) {
	run := s.head.Run
	labels, err := h.inputLabels(ctx, &opts)
	if err != nil {
		return nil, err
	}
	from, err := s.resumption(labels, decide)
	if err != nil {
		return nil, kernel.At(err, kernel.Where{Run: run})
	}
	p, err := h.loadSource(ctx, h.journals.store, s.head)
	if err != nil {
		return nil, kernel.At(err, kernel.Where{Run: run})
	}
	defer p.Close(ctx)
	rc, err := h.runOf(s, opts)
	if err != nil {
		return nil, err
	}
	began, tell := false, opts.Begun
	opts.Begun = func() {
		if began = true; tell != nil {
			tell()
		}
	}
	opts.waking = s.epoch
	result := p.run(ctx, rc, s.head.Input, from, opts)
	switch {
	case began:
		return result, nil
	case kernel.CodeOf(result.Err) == kernel.CodeFenced:
		return nil, noSuchRun(run, "it goes on already")
	case result.Status == engine.Denied:
		return result, h.endDenied(ctx, s)
	}
	return nil, result.Err
}

// endDenied ends a run that governance does not let go on.
func (h *Host) endDenied(ctx context.Context, s *paused) error {
	j := &h.journals
	head, err := j.store.Wake(ctx, s.head.Tenant, s.head.Run, s.epoch)
	if errors.Is(err, driver.ErrFenced) || errors.Is(err, driver.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return j.writer.Run(head, head.Entries+1).Close(context.WithoutCancel(ctx), driver.Status(engine.Denied))
}

// wake makes a run this host's that waits as it did in an epoch.
func (j *journals) wake(ctx context.Context, run *kernel.RunContext, epoch uint64) (*journal.RunWriter, error) {
	head, err := j.store.Wake(ctx, run.Tenant, run.RunID, epoch)
	switch {
	case errors.Is(err, driver.ErrFenced), errors.Is(err, driver.ErrNotFound):
		return nil, &kernel.Error{Code: kernel.CodeFenced, What: "the run goes on already", Where: kernel.Where{Run: run.RunID}, Why: "another host was faster", Fix: "see where it stands: hexdag journal show " + run.RunID, Err: err}
	case err != nil:
		return nil, err
	}
	return j.writer.Run(head, head.Entries+1), nil
}
