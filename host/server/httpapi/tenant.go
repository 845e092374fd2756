package httpapi

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

// tenant is what one tenant has.
type tenant struct {
	server    *Server
	name      string
	host      *host.Host
	pipelines map[string]*host.Pipeline

	reading sync.Mutex // the audit log as a whole

	mu   sync.Mutex
	live map[string]*run // by their ids: those under way, and the last that have ended
	over []string        // of live, those that have ended, the oldest first
	busy int
	idle chan struct{} // closed when nothing is under way; nil while nobody waits for that
}

// keptRuns is of how many runs that have ended a tenant's server still has the events.
const keptRuns = 256

func newTenant(s *Server, name string, t *Tenant) *tenant {
	of := &tenant{server: s, name: name, host: t.Host, pipelines: map[string]*host.Pipeline{}, live: map[string]*run{}}
	for _, p := range t.Pipelines {
		of.pipelines[p.Name] = p
	}
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
	} else {
		t.cancelAll()
	}
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
