package scheduler

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/datastore"
	"github.com/hexdag/hexdag/host/ports/datastore/driver"
)

// Serve starts what is due until ctx ends; then it gives back what has not begun, waits for the runs that have, for at most drain, and
// cancels them.
func (s *Scheduler) Serve(ctx context.Context, drain time.Duration) {
	runs, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	v := &serving{Scheduler: s, ctx: runs, slots: make(chan struct{}, s.opts.Concurrency), claims: map[string]*claimed{}, unwritten: make(chan struct{}, 1)}
	var keeping sync.WaitGroup
	keep, stop := context.WithCancel(context.WithoutCancel(ctx))
	keeping.Go(func() { v.keep(keep) })
	keeping.Go(func() { v.write(keep) })
	for ctx.Err() == nil {
		if err := s.opts.Lead(ctx, v.lead); err != nil && ctx.Err() == nil {
			s.opts.Log.Error("schedules are not served for the moment", "error", err.Error())
			pause(ctx, time.Second)
		}
	}
	v.close(drain, cancel)
	stop()
	keeping.Wait()
	v.finish()
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// pruneEvery is how often tasks that have ended long ago are removed.
const pruneEvery = time.Hour

// lead looks for what is due, while this process leads.
func (v *serving) lead(ctx context.Context) error {
	tick := time.NewTicker(v.opts.Poll)
	defer tick.Stop()
	var pruned time.Time
	for {
		if err := v.take(ctx); err != nil && ctx.Err() == nil {
			v.opts.Log.Error("what is due cannot be read", "error", err.Error())
		}
		if now := time.Now(); now.Sub(pruned) > pruneEvery {
			pruned = now
			if err := v.prune(ctx); err != nil && ctx.Err() == nil {
				v.opts.Log.Error("old schedules cannot be removed", "error", err.Error())
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-v.wake:
		}
	}
}

// taken is how many tasks are claimed at once.
const taken = 256

// take claims what comes before the next look, and the one after it.
func (v *serving) take(ctx context.Context) error {
	store, err := v.opts.Store(ctx)
	if err != nil {
		return err
	}
	q := driver.All(taken)
	q.Terms, q.Max = []string{termLive}, time.Now().Add(2*v.opts.Poll).UnixNano()
	for {
		page, err := store.Query(ctx, v.opts.Tenant, collection, q)
		if err != nil || len(page) == 0 {
			return err
		}
		if err := v.claim(ctx, store, page); err != nil {
			return err
		}
		if len(page) < taken {
			return nil
		}
		last := page[len(page)-1]
		q.After = &driver.Place{Order: last.Order, Key: last.Key}
	}
}

// claim claims tasks, and sets the timers of those that it got.
func (v *serving) claim(ctx context.Context, store *datastore.Store, page []driver.Document) error {
	now := time.Now()
	var writes []driver.Write
	var tasks []*Task
	for i := range page {
		t, err := parse(&page[i])
		if err != nil { // the others are due all the same
			v.opts.Log.Error("a schedule is left out", "error", err.Error())
			continue
		}
		next := t.due(now, &v.opts, v.self)
		if next == nil {
			continue
		}
		d, err := next.document()
		if err != nil {
			return err
		}
		tasks, writes = append(tasks, next), append(writes, driver.Write{Document: d, If: page[i].Revision})
	}
	done, err := store.Save(ctx, v.opts.Tenant, collection, writes...)
	if err != nil {
		return err
	}
	for i, t := range tasks {
		if done[i] && t.Claim != nil {
			v.set(&claimed{id: t.ID, run: t.Claim.Run, task: t, revision: writes[i].If + 1})
		}
	}
	return nil
}

// set has a claim's run begin when its time comes.
func (v *serving) set(c *claimed) {
	v.mu.Lock()
	defer v.mu.Unlock()
	run := c.run
	if v.closed {
		return // it ends by itself
	}
	if old := v.claims[run]; old != nil { // it was lost for a while, and is under way
		old.task, old.revision = c.task, c.revision
		return
	}
	v.claims[run] = c
	v.runs.Add(1)
	c.timer = time.AfterFunc(time.Until(c.task.Claim.At), func() { v.fire(run, c) })
}

// fire runs what is due.
func (v *serving) fire(run string, c *claimed) {
	defer v.runs.Done()
	select {
	case v.slots <- struct{}{}:
		defer func() { <-v.slots }()
	case <-v.ctx.Done():
		return
	}
	mine := v.holds(c)
	v.mu.Lock()
	if v.claims[run] != c || v.closed || !mine {
		if v.claims[run] == c && !mine {
			delete(v.claims, run)
		}
		v.mu.Unlock()
		return // cancelled, or another's
	}
	c.begun = true
	f := &Firing{Task: c.task, RunID: run, At: c.task.Claim.At, Began: func() { v.began(run, c) }}
	v.mu.Unlock()
	status, err := kernel.Guarded(func() (string, error) { return v.opts.Run(v.ctx, f) })
	if errors.Is(err, ErrBegun) {
		status, err = "begun elsewhere", nil
	}
	if status == "" {
		status = "failed"
	}
	v.settle(run, c, status, err)
}

// holds reports whether a claim is still this process's: its task may have been cancelled, or another may have taken it. Where nobody
// can tell, it is: the run's registration decides.
func (v *serving) holds(c *claimed) bool {
	ctx, cancel := context.WithTimeout(v.ctx, time.Second)
	defer cancel()
	_, t, err := v.load(ctx, c.id)
	if err != nil {
		return kernel.CodeOf(err) != kernel.CodeNotFound
	}
	return t.Claim != nil && t.Claim.By == v.self && t.Claim.Run == c.run
}

// began has the next time of a task come that its runs may overlap: the claim is no longer needed.
func (v *serving) began(run string, c *claimed) {
	v.mu.Lock()
	allow := c.task.Overlap == Allow
	v.mu.Unlock()
	if !allow {
		return
	}
	v.change(run, c, func(t *Task) *Task {
		next := *t
		next.Claim, next.Last, next.LastRun, next.LastStatus, next.Error = nil, t.Claim.At, run, "running", ""
		next.Runs++
		return next.goOn(t, t.Claim.At, time.Now(), t.Claim.Late)
	})
}

// settle keeps what came of a run, and when its task comes next.
func (v *serving) settle(run string, c *claimed, status string, failure error) {
	v.change(run, c, func(t *Task) *Task { return t.ended(time.Now(), status, failure) })
}

// change changes a claimed task, which is this process's no longer.
func (v *serving) change(run string, c *claimed, change func(*Task) *Task) {
	v.mu.Lock()
	if v.claims[run] != c {
		v.mu.Unlock()
		return
	}
	delete(v.claims, run)
	task, revision := c.task, c.revision
	v.mu.Unlock()
	d, err := change(task).document()
	if err != nil {
		v.opts.Log.Error("what came of a schedule is not kept", "task", task.ID, "error", err.Error())
		return
	}
	v.mu.Lock()
	v.settled = append(v.settled, driver.Write{Document: d, If: revision})
	v.mu.Unlock()
	select {
	case v.unwritten <- struct{}{}:
	default:
	}
}

// linger is how long what came of runs is gathered before it is kept.
const linger = 20 * time.Millisecond

// write keeps what came of runs, many at once, until ctx ends.
func (v *serving) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.unwritten:
			pause(ctx, linger) // for others
		}
		for wait := 10 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, time.Second) {
			more, err := v.flush(ctx)
			if err == nil && !more {
				break
			}
			if err != nil {
				v.opts.Log.Error("what came of schedules is not kept", "error", err.Error())
				pause(ctx, wait)
			}
		}
		v.look() // one may be due already
	}
}

// flush writes what came of some runs, and reports whether there is more. What is another by now was cancelled, or its claim was lost.
func (v *serving) flush(ctx context.Context) (more bool, err error) {
	v.mu.Lock()
	batch := v.settled[:min(taken, len(v.settled))]
	v.mu.Unlock()
	if len(batch) == 0 {
		return false, nil
	}
	store, err := v.opts.Store(ctx)
	if err != nil {
		return true, err
	}
	unlike := distinct(batch)
	if _, err := store.Save(ctx, v.opts.Tenant, collection, batch[:unlike]...); err != nil {
		return true, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.settled = v.settled[unlike:]
	return len(v.settled) > 0, nil
}

// distinct returns how many writes there are before the first of a key that was before.
func distinct(writes []driver.Write) int {
	keys := make(map[string]bool, len(writes))
	for i, w := range writes {
		if keys[w.Key] {
			return i
		}
		keys[w.Key] = true
	}
	return len(writes)
}

// keep renews the claims of this process.
func (v *serving) keep(ctx context.Context) {
	tick := time.NewTicker(v.opts.TTL / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := v.renew(ctx); err != nil && ctx.Err() == nil {
			v.opts.Log.Error("claims of schedules are not renewed", "error", err.Error())
		}
	}
}

func (v *serving) renew(ctx context.Context) error {
	store, err := v.opts.Store(ctx)
	if err != nil {
		return err
	}
	// A claim is locked against its end while it is renewed, by its revision.
	v.mu.Lock()
	all := make([]*claimed, 0, len(v.claims))
	for _, c := range v.claims {
		all = append(all, c)
	}
	v.mu.Unlock()
	for len(all) > 0 {
		batch := all[:min(taken, len(all))]
		all = all[len(batch):]
		if err := v.renewAll(ctx, store, batch); err != nil {
			return err
		}
	}
	return nil
}

func (v *serving) renewAll(ctx context.Context, store *datastore.Store, batch []*claimed) error {
	v.mu.Lock()
	defer v.mu.Unlock() // so that nothing is settled with a revision that is just becoming old
	var writes []driver.Write
	var tasks []*Task
	var renewed []*claimed
	now := time.Now()
	for _, c := range batch {
		if v.claims[c.run] != c || c.task.Claim.Until.Sub(now) > 2*v.opts.TTL/3+v.opts.TTL/10 {
			continue
		}
		next, claim := *c.task, *c.task.Claim
		claim.Until = later(claim.At, now).Add(v.opts.TTL)
		next.Claim = &claim
		d, err := next.document()
		if err != nil {
			return err
		}
		writes, tasks, renewed = append(writes, driver.Write{Document: d, If: c.revision}), append(tasks, &next), append(renewed, c)
	}
	done, err := store.Save(ctx, v.opts.Tenant, collection, writes...)
	if err != nil {
		return err
	}
	for i, c := range renewed {
		switch {
		case done[i]:
			c.task, c.revision = tasks[i], c.revision+1
		case c.begun: // it goes on; what becomes of the task is said by who changed it
			delete(v.claims, c.run)
		default: // it was cancelled
			v.drop(c)
		}
	}
	return nil
}

// drop forgets a claim whose time has not come; the caller has locked.
func (v *serving) drop(c *claimed) {
	delete(v.claims, c.run)
	if c.timer.Stop() {
		v.runs.Done()
	}
}

// close gives back what has not begun, and ends what has.
func (v *serving) close(drain time.Duration, cancel context.CancelFunc) {
	v.mu.Lock()
	v.closed = true
	var back []*claimed
	for _, c := range v.claims {
		if !c.begun {
			v.drop(c)
			back = append(back, c)
		}
	}
	v.mu.Unlock()
	if err := v.giveBack(back); err != nil {
		v.opts.Log.Error("schedules wait until their claims end", "error", err.Error())
	}
	ended := make(chan struct{})
	go func() {
		v.runs.Wait()
		close(ended)
	}()
	timer := time.NewTimer(drain)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
	cancel()
	<-ended
}

// finish writes what is left to be written.
func (v *serving) finish() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.ctx), 10*time.Second)
	defer cancel()
	for {
		more, err := v.flush(ctx)
		if err != nil {
			v.opts.Log.Error("what came of schedules is not kept", "error", err.Error())
		}
		if err != nil || !more {
			return
		}
	}
}

func (v *serving) giveBack(back []*claimed) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.ctx), 5*time.Second)
	defer cancel()
	store, err := v.opts.Store(ctx)
	if err != nil {
		return err
	}
	for len(back) > 0 {
		batch := back[:min(taken, len(back))]
		back = back[len(batch):]
		var writes []driver.Write
		for _, c := range batch {
			next, claim := *c.task, *c.task.Claim
			claim.Until = time.Now() // whoever looks takes it
			next.Claim = &claim
			d, err := next.document()
			if err != nil {
				return err
			}
			writes = append(writes, driver.Write{Document: d, If: c.revision})
		}
		if _, err := store.Save(ctx, v.opts.Tenant, collection, writes...); err != nil {
			return err
		}
	}
	return nil
}

// prune removes tasks that have ended long ago.
func (v *serving) prune(ctx context.Context) error {
	store, err := v.opts.Store(ctx)
	if err != nil {
		return err
	}
	for {
		q := driver.All(taken)
		q.Terms, q.Max = []string{termEnded}, time.Now().Add(-v.opts.Keep).UnixNano()
		old, err := store.Query(ctx, v.opts.Tenant, collection, q)
		if err != nil || len(old) == 0 {
			return err
		}
		writes := make([]driver.Write, len(old))
		for i, d := range old {
			writes[i] = driver.Write{Document: driver.Document{Key: d.Key}, If: d.Revision, Delete: true}
		}
		if _, err := store.Save(ctx, v.opts.Tenant, collection, writes...); err != nil {
			return err
		}
	}
}
