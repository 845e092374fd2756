// Package shadow lets a candidate decide beside the backend of governance that is in
// use, and records where the two differ. The candidate's answers have no effect: not on
// decisions, and not on how long they take.
package shadow

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
)

// Driver is the live backend with a candidate beside it. It has a goroutine, which
// Close ends.
type Driver struct {
	live      driver.Driver
	candidate *governance.Port
	auditor   kernel.Auditor
	queue     chan question
	cancel    context.CancelFunc // of what is put to the candidate
	stopped   chan struct{}

	mu     sync.RWMutex // held to send; Close closes the queue under it
	closed bool

	asked, differ, dropped, unrecorded atomic.Int64
}

// question is a request, and what the live backend answered.
type question struct {
	req    kernel.AccessRequest
	answer kernel.Decision
}

// maxWaiting is how many questions can wait for the candidate. Further ones are not
// put to it, and counted.
const maxWaiting = 1024

// grace is how long Close goes on with the questions that wait: a run that ends at once is
// worth comparing, and a candidate that is slow is not worth waiting for.
const grace = time.Second

// New returns a driver that decides as live does. Differences go to auditor.
func New(live, candidate driver.Driver, auditor kernel.Auditor) *Driver {
	ctx, cancel := context.WithCancel(context.Background())
	d := &Driver{live: live, candidate: governance.New(candidate, governance.Options{}), auditor: auditor, queue: make(chan question, maxWaiting), cancel: cancel, stopped: make(chan struct{})}
	go d.run(ctx)
	return d
}

// Authorize decides as the live backend does.
func (d *Driver) Authorize(ctx context.Context, req *kernel.AccessRequest) (kernel.Decision, error) {
	answer, err := d.live.Authorize(ctx, req)
	if ctx.Err() == nil {
		shown := answer
		if err != nil {
			shown = kernel.Decision{Effect: kernel.Forbid, Reasons: []kernel.Reason{{ID: governance.ReasonError, Msg: err.Error()}}}
		}
		d.ask(question{*req, shown})
	}
	return answer, err
}

func (d *Driver) ask(q question) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return
	}
	select {
	case d.queue <- q:
	default:
		d.dropped.Add(1)
	}
}

func (d *Driver) run(ctx context.Context) {
	defer close(d.stopped)
	for q := range d.queue {
		d.compare(ctx, q)
	}
}

// compare puts a question to the candidate, whose port denies whatever goes wrong.
func (d *Driver) compare(ctx context.Context, q question) {
	var other kernel.Decision
	if ctx.Err() == nil {
		other, _ = d.candidate.Authorize(ctx, &q.req) // never an error
	}
	if ctx.Err() != nil {
		d.dropped.Add(1) // what it says when it is interrupted is no answer
		return
	}
	d.asked.Add(1)
	live := q.answer.Effect
	if live != kernel.Allow && live != kernel.Approve {
		live = kernel.Forbid // as the port has it
	}
	if live == other.Effect {
		return
	}
	d.differ.Add(1)
	r := &kernel.AuditRecord{
		Time: time.Now().UTC().Format(time.RFC3339Nano), Kind: "shadow", RunID: q.req.Context.RunID, Tenant: q.req.Subject.Tenant, Principal: q.req.Subject.ID, Chain: q.req.Subject.Chain, Node: q.req.Context.Node,
		Action: q.req.Action.Name, Resource: q.req.Resource.Type + ":" + q.req.Resource.ID, Effect: live, Reasons: other.Reasons, Revision: other.Revision,
		Detail: fmt.Sprintf("the candidate's effect is %s, for the reasons here", other.Effect),
	}
	if len(q.answer.Obligations)+len(other.Obligations) > 0 {
		r.Resource, r.Principal, r.Chain = "", "", nil // either may oblige to masking them
	}
	if d.auditor.Audit(context.WithoutCancel(ctx), r) != nil {
		d.unrecorded.Add(1)
	}
}

// Counts is how often the candidate was asked, how often it differed, how many
// questions were not put to it, and how many differences could not be recorded.
type Counts struct{ Asked, Differ, Dropped, Unrecorded int64 }

// Counts returns the counters as they are now.
func (d *Driver) Counts() Counts {
	return Counts{d.asked.Load(), d.differ.Load(), d.dropped.Load(), d.unrecorded.Load()}
}

// Close puts the questions that wait to the candidate for at most a second, drops those that
// are left, records the counts and ends.
func (d *Driver) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	close(d.queue)
	d.mu.Unlock()
	giveUp := time.AfterFunc(grace, d.cancel)
	<-d.stopped
	giveUp.Stop()
	d.cancel()
	c := d.Counts()
	return d.auditor.Audit(context.Background(), &kernel.AuditRecord{
		Kind: "shadow", Action: "governance.shadow", Result: "ok",
		Detail: fmt.Sprintf("the candidate was asked %d times and differed %d times; %d questions were not put to it, %d differences not recorded", c.Asked, c.Differ, c.Dropped, c.Unrecorded),
	})
}

// Revision is the live backend's.
func (d *Driver) Revision() string {
	if r, ok := d.live.(driver.Revisioner); ok {
		return r.Revision()
	}
	return ""
}

// Reads is the live backend's.
func (d *Driver) Reads() driver.Reads { return driver.ReadsOf(d.live) }

// ListPermissions is the live backend's.
func (d *Driver) ListPermissions(ctx context.Context, subject *kernel.Subject, scope *kernel.Scope) ([]kernel.Permission, bool, error) {
	if l, ok := d.live.(driver.Lister); ok {
		return l.ListPermissions(ctx, subject, scope)
	}
	return nil, false, nil
}

// Audit is the live backend's.
func (d *Driver) Audit(ctx context.Context, record *kernel.AuditRecord) error {
	if a, ok := d.live.(driver.Auditor); ok {
		return a.Audit(ctx, record)
	}
	return nil
}
