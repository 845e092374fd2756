package centralagent

import (
	"context"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/processregistry"
)

// ending is how a run stands that is waited for.
type ending struct {
	run, pipeline string
	status        processregistry.Status
	output        kernel.Value
	labels        *kernel.Labels
	err           string
}

// soon is when a run is looked at again of whose end somebody has told, and of which the registry does not know yet.
const soon = 50 * time.Millisecond

// wait returns what came of runs once all have ended, wait for something themselves or are lost, or, when over is, how they stand.
func (l *Library) wait(ctx context.Context, tenant string, ids []string, over <-chan time.Time) ([]*ending, error) {
	heard := l.events.hear(ctx, tenant, ids...)
	defer heard.stop()
	endings := make([]*ending, len(ids))
	for told := false; ; {
		left := 0
		for i, id := range ids {
			if endings[i] != nil && settled(endings[i].status) {
				continue
			}
			e, err := l.look(ctx, tenant, id)
			if err != nil {
				return nil, err
			}
			if endings[i] = e; !settled(e.status) {
				left++
			}
		}
		if left == 0 {
			return endings, nil
		}
		again := l.opts.Recheck
		if told || !heard.works {
			again = min(again, soon)
		}
		timer := time.NewTimer(again)
		select {
		case <-heard.ring:
			told = true
		case <-timer.C:
			told = false
		case <-over:
			timer.Stop()
			return endings, nil
		case <-ctx.Done():
			timer.Stop()
			return nil, kernel.ContextError(ctx)
		}
		timer.Stop()
	}
}

func settled(s processregistry.Status) bool { return s != processregistry.Running }

// look returns how a run stands. One whose host has died goes on here, if it is known what it did.
func (l *Library) look(ctx context.Context, tenant, id string) (*ending, error) {
	p, err := l.opts.Registry.Get(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	e := &ending{run: id, pipeline: p.Pipeline, status: p.Status}
	switch {
	case p.Status == processregistry.Running:
		if !l.opts.Registry.Here(p) { // its host may have died just now: the journal knows before the registry does
			l.revived.goesOn(id)
		}
		return e, nil
	case p.Status == processregistry.Lost && l.revived.goesOn(id):
		e.status = processregistry.Running
		return e, nil
	}
	o, err := l.opts.Spawner.Await(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	if o.Status == processregistry.Running { // it goes on again
		return e, nil
	}
	e.status, e.output, e.labels = o.Status, o.Output, o.Labels
	if o.Err != nil {
		e.err = processregistry.Told(o.Err)
	}
	return e, nil
}

// events are what one subscription tells all that wait.
type events struct {
	listen func(ctx context.Context, tenant string, told func(run string)) (func(), error)

	mu      sync.Mutex
	tenants map[string]func() // that are listened to, and what ends that
	hearers map[*hearer]bool
	closed  bool
}

// hearer is told of the ends of some runs.
type hearer struct {
	tenant string
	runs   map[string]bool
	works  bool          // somebody tells
	ring   chan struct{} // something was told
	stop   func()
}

// hear returns one who is told of what becomes of runs from now on; "" stands for goals that are submitted.
func (v *events) hear(ctx context.Context, tenant string, runs ...string) *hearer {
	h := &hearer{tenant: tenant, ring: make(chan struct{}, 1), runs: make(map[string]bool, len(runs))}
	for _, run := range runs {
		h.runs[run] = true
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.hearers == nil {
		v.hearers, v.tenants = map[*hearer]bool{}, map[string]func(){}
	}
	v.hearers[h] = true
	h.stop = func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.hearers, h)
	}
	_, h.works = v.tenants[tenant]
	if h.works || v.closed || v.listen == nil {
		return h
	}
	stop, err := v.listen(context.WithoutCancel(ctx), tenant, func(run string) { v.tell(tenant, run) })
	if err != nil { // whoever waits looks more often, and the next tries again
		return h
	}
	v.tenants[tenant], h.works = stop, true
	return h
}

func (v *events) tell(tenant, run string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for h := range v.hearers {
		if h.tenant == tenant && h.runs[run] {
			select {
			case h.ring <- struct{}{}:
			default:
			}
		}
	}
}

func (v *events) close() {
	v.mu.Lock()
	stops := v.tenants
	v.closed, v.tenants = true, nil
	v.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
}

// revivals are runs of hosts that have died, which go on here.
type revivals struct {
	revive func(ctx context.Context, run string) error
	ctx    context.Context
	stop   context.CancelFunc

	mu     sync.Mutex
	under  map[string]bool // way
	dead   map[string]bool // nothing is known to go on with
	closed bool
	all    sync.WaitGroup
}

// goesOn has a run go on that is lost, and reports whether it does, or may do so later.
func (v *revivals) goesOn(run string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.revive == nil || v.closed || v.dead[run]:
		return false
	case v.under[run]:
		return true
	}
	if v.under == nil {
		v.under, v.dead = map[string]bool{}, map[string]bool{}
	}
	v.under[run] = true
	v.all.Go(func() {
		err := v.revive(v.ctx, run)
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.under, run)
		if code := kernel.CodeOf(err); err != nil && code != kernel.CodeFenced && code != kernel.CodeCanceled {
			v.dead[run] = true
		}
	})
	return true
}

func (v *revivals) close() {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.stop()
	v.all.Wait()
}
