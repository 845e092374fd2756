package httpapi

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

// tenant is what one tenant has.
type tenant struct {
	server *Server
	name   string
	host   *host.Host

	reading sync.Mutex // the audit log as a whole

	mu   sync.Mutex
	live map[string]*run // by their ids: those under way, and the last that have ended
	over []string        // of live, those that have ended, the oldest first
	busy int
	idle chan struct{} // closed when nothing is under way; nil while nobody waits for that

	pipelines map[string]*served
}

// served is a pipeline that can be run. It is closed once another has taken its place and no run of it is under way.
type served struct {
	*host.Pipeline
	uses    int
	retired bool
}

// serve has other pipelines take the place of those that there were: runs that are under way keep theirs.
func (t *tenant) serve(pipelines []*host.Pipeline) {
	t.mu.Lock()
	old := t.pipelines
	t.pipelines = map[string]*served{}
	for _, p := range pipelines {
		t.pipelines[p.Name] = &served{Pipeline: p}
	}
	var unused []*served
	for _, p := range old {
		if p.retired = true; p.uses == 0 {
			unused = append(unused, p)
		}
	}
	t.mu.Unlock()
	for _, p := range unused {
		t.retire(p)
	}
}

func (t *tenant) retire(p *served) {
	if err := p.Close(context.WithoutCancel(t.server.base)); err != nil {
		t.server.log.Warn("a pipeline that was replaced cannot be closed", "tenant", t.name, "pipeline", p.Name, "error", err.Error())
	}
}

// take returns a pipeline, which stays open until it is given back.
func (t *tenant) take(name string) (*served, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pipelines[name]
	if p == nil {
		return nil, &kernel.Error{Code: kernel.CodeNotFound, What: "there is no pipeline " + kernel.Quote(name), Fix: kernel.DidYouMean(name, slices.Collect(maps.Keys(t.pipelines)))}
	}
	p.uses++
	return p, nil
}

// keep has a pipeline that was taken be taken once more.
func (t *tenant) keep(p *served) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.uses++
}

func (t *tenant) giveBack(p *served) {
	t.mu.Lock()
	p.uses--
	last := p.retired && p.uses == 0
	t.mu.Unlock()
	if last {
		t.retire(p)
	}
}

// keptRuns is of how many runs that have ended a tenant's server still has the events.
const keptRuns = 256

func newTenant(s *Server, name string, t *Tenant) *tenant {
	of := &tenant{server: s, name: name, host: t.Host, live: map[string]*run{}}
	of.serve(t.Pipelines)
	return of
}

// of returns the tenant of who calls.
func (s *Server) of(ctx context.Context) (*tenant, *Identity) {
	who := identityFrom(ctx)
	return s.tenants[who.Tenant], who
}

// run is one that this server has started.
type run struct {
	id       string
	pipeline string
	feed     *feed
	cancel   context.CancelFunc
	done     chan struct{}
	result   *host.Result // once it is done
}

// begin takes a place for a run. of is the run that was begun with this id before, if one was.
func (t *tenant) begin(id, pipeline string, cancel context.CancelFunc) (r, was *run, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known := t.live[id]; known != nil {
		return nil, known, nil
	}
	switch {
	case t.server.draining.Load():
		return nil, nil, &kernel.Error{Code: kernel.CodeUnavailable, What: "the server ends", Why: "it lets no run begin any more", Fix: "ask again; another server answers, or this one when it is back", RetryAfter: time.Second}
	case t.busy >= t.server.opts.MaxRunning:
		return nil, nil, &kernel.Error{Code: kernel.CodeLimit, What: "too many runs are under way", Why: "the limit is " + strconv.Itoa(t.server.opts.MaxRunning), Fix: "ask again when some have ended", RetryAfter: time.Second}
	}
	r = &run{id: id, pipeline: pipeline, feed: newFeed(), cancel: cancel, done: make(chan struct{})}
	t.live[id] = r
	t.busy++
	return r, nil, nil
}

// end notes how a run ended.
func (t *tenant) end(r *run, result *host.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.result = result
	close(r.done)
	r.feed.end()
	if t.busy--; t.busy == 0 && t.idle != nil {
		close(t.idle)
		t.idle = nil
	}
	t.over = append(t.over, r.id)
	if len(t.over) > keptRuns {
		delete(t.live, t.over[0])
		t.over = t.over[1:]
	}
}

func (t *tenant) find(id string) *run {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.live[id]
}

// drain waits until no run is under way, or ctx ends: then durable runs are left to whoever goes on with them, and others are cancelled.
func (t *tenant) drain(ctx context.Context) {
	done := t.quiet()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	if t.server.opts.Durable {
		leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
		defer cancel()
		t.host.Leave(leaving)
		select {
		case <-done:
			return
		case <-leaving.Done(): // those that have no journal here: an executor keeps them
		}
	}
	t.cancelAll()
	<-done
}

// leaveTimeout is how long a run that is left has to have what it has done written.
const leaveTimeout = 5 * time.Second

// quiet is closed when no run is under way.
func (t *tenant) quiet() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.idle != nil {
		return t.idle
	}
	idle := make(chan struct{})
	if t.busy == 0 {
		close(idle)
		return idle
	}
	t.idle = idle
	return idle
}

func (t *tenant) cancelAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.live {
		r.cancel()
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
