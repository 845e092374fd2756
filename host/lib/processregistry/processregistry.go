// Package processregistry knows the runs of a tenant: what runs, what ran, how it ended and what came of it, by run, by parent
// and by what the run is about. The engine feeds it, with the run's own id, for every run; it is kept in the data store, and
// so is there when the host is started again.
//
// # What is written when
//
// Runs do not wait for the store: a goroutine writes what became of them, many at once, and reads see what is still to be
// written. A host that is killed may take the last moments with it. What must not be lost is created: Create returns when it is kept.
//
// # Lost runs
//
// A host with runs under way says so every few seconds. A run that is "running" on a host that has not said so for a while is shown as
// lost: it does not go on, unless it is durable and somebody recovers it, which makes it running again.
package processregistry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/datastore"
	"github.com/hexdag/hexdag/host/ports/datastore/driver"
)

// Status says how a run stands.
type Status string

// The statuses. A suspended run waits for events; a lost one is one that was running when its host died.
const (
	Running   Status = "running"
	Completed Status = "completed"
	Suspended Status = "suspended"
	Failed    Status = "failed"
	Denied    Status = "denied"
	Cancelled Status = "cancelled"
	Lost      Status = "lost"
)

// Statuses returns all of them.
func Statuses() []Status {
	return []Status{Running, Completed, Suspended, Failed, Denied, Cancelled, Lost}
}

// Over reports whether a run of that status has ended for good.
func (s Status) Over() bool {
	return s == Completed || s == Failed || s == Denied || s == Cancelled
}

// Process is a run as the registry knows it.
type Process struct {
	RunID     string        `json:"run_id"`
	Pipeline  string        `json:"pipeline_name"`
	Status    Status        `json:"status"`
	Parent    string        `json:"parent_run_id,omitempty"`
	Origin    kernel.Origin `json:"origin,omitzero"`
	Principal string        `json:"principal,omitempty"`
	Started   time.Time     `json:"started_at"`
	Ended     time.Time     `json:"completed_at,omitzero"` // or when it was suspended
	// Output is what came of it. One that is secret, or larger than MaxOutput, is left out, which Omitted says.
	Output  json.RawMessage `json:"output,omitempty"`
	Omitted bool            `json:"output_omitted,omitempty"`
	Labels  *kernel.Labels  `json:"labels,omitempty"` // of the output and the error
	Error   *kernel.Error   `json:"error,omitempty"`
	Host    string          `json:"host"` // on which it runs, or ran last
}

// Here reports whether a run runs in this process, or ran here last.
func (r *Registry) Here(p *Process) bool { return p.Host == r.self }

// MaxOutput is how many bytes of a run's output are kept.
const MaxOutput = 256 << 10

// SetOutput sets the output, or says that it is left out.
func (p *Process) SetOutput(v kernel.Value, labels *kernel.Labels) {
	p.Labels = labels
	text, err := kernel.EncodeJSON(v)
	if err != nil || len(text) > MaxOutput || labels.Confidentiality() == kernel.Secret {
		p.Output, p.Omitted = nil, true
		return
	}
	p.Output = text
}

// collection is where processes are kept.
const collection = "processes"

func (p *Process) document() (driver.Document, error) {
	text, err := json.Marshal(p)
	d := driver.Document{Key: p.RunID, Value: text, Order: p.Started.UnixNano(), Terms: []string{termStatus(p.Status), "pipeline " + bounded(p.Pipeline)}}
	if p.Parent != "" {
		d.Terms = append(d.Terms, "parent "+bounded(p.Parent))
	}
	if id, kind := p.Origin.RefID, p.Origin.RefType; id != "" {
		d.Terms = append(d.Terms, "ref "+bounded(id), termRef(id, kind))
	}
	if p.Status.Over() {
		d.Terms = append(d.Terms, over)
	}
	return d, err
}

// over is the term of what has ended for good.
const over = "over"

func termStatus(s Status) string { return "status " + string(s) }

func termRef(id, kind string) string { return "ref " + bounded(id) + "\x00" + bounded(kind) }

// bounded keeps a term within what a term may have; what is cut is compared again when it is found.
func bounded(text string) string { return strings.ToValidUTF8(text[:min(len(text), 200)], "") }

func parse(d *driver.Document) (*Process, error) {
	p := &Process{}
	if err := json.Unmarshal(d.Value, p); err != nil {
		return nil, &kernel.Error{Code: kernel.CodeFailed, What: "what is kept of the run " + kernel.Quote(d.Key) + " cannot be read", Why: kernel.Quote(err.Error()), Fix: "restore the data store from a copy", Err: err}
	}
	return p, nil
}

// Filter says which processes to list.
type Filter struct {
	Status   Status // "" is any
	Pipeline string
	Parent   string // the run that started them
	RefID    string
	RefType  string // with RefID; "" is any
	Limit    int    // 50 if 0, at most MaxList
}

// MaxList is how many processes one list has at most.
const MaxList = 500

func (f *Filter) terms() []string {
	var terms []string
	add := func(is bool, term string) {
		if is {
			terms = append(terms, term)
		}
	}
	add(f.RefID != "" && f.RefType != "", termRef(f.RefID, f.RefType))
	add(f.RefID != "" && f.RefType == "", "ref "+bounded(f.RefID))
	add(f.Parent != "", "parent "+bounded(f.Parent))
	status := f.Status
	if status == Lost { // which is no status that is kept
		status = Running
	}
	add(f.Status != "", termStatus(status))
	add(f.Pipeline != "", "pipeline "+bounded(f.Pipeline))
	return terms
}

func (f *Filter) fits(p *Process) bool {
	for _, pair := range [][2]string{{string(f.Status), string(p.Status)}, {f.Pipeline, p.Pipeline}, {f.Parent, p.Parent}, {f.RefID, p.Origin.RefID}, {f.RefType, p.Origin.RefType}} {
		if pair[0] != "" && pair[0] != pair[1] {
			return false
		}
	}
	return true
}

// Get returns a tenant's run. The error is ErrUnknown, of CodeNotFound, where there is none.
func (r *Registry) Get(ctx context.Context, tenant, run string) (*Process, error) {
	if p := r.unwritten(tenant, run); p != nil {
		return p, nil
	}
	store, err := r.opts.Store(ctx)
	if err != nil {
		return nil, err
	}
	if run == "" || len(run) > datastore.MaxKey {
		return nil, unknown(run)
	}
	d, err := store.Load(ctx, tenant, collection, run)
	switch {
	case kernel.CodeOf(err) == kernel.CodeArguments: // no text that could be a run's id
		return nil, unknown(run)
	case err != nil:
		return nil, err
	case d == nil:
		return nil, unknown(run)
	}
	p, err := parse(d)
	if err != nil {
		return nil, err
	}
	return p, r.judge(ctx, store, tenant, p)
}

// ErrUnknown is the cause of the error of a run that the registry does not know.
var ErrUnknown = errors.New("unknown run")

func unknown(run string) error {
	return &kernel.Error{Code: kernel.CodeNotFound, What: "Unknown run ID " + kernel.Quote(run), Why: "the tenant has no such run, or it was removed for its age", Fix: "list the runs that there are", Err: ErrUnknown}
}

// List returns a tenant's runs, the latest first.
func (r *Registry) List(ctx context.Context, tenant string, f Filter) ([]*Process, error) {
	if f.Limit == 0 {
		f.Limit = 50
	}
	if f.Limit < 0 || f.Limit > MaxList {
		return nil, &kernel.Error{Code: kernel.CodeArguments, What: fmt.Sprintf("limit is %d", f.Limit), Why: fmt.Sprintf("it is from 1 to %d", MaxList)}
	}
	if err := r.Flush(ctx); err != nil {
		return nil, err
	}
	store, err := r.opts.Store(ctx)
	if err != nil {
		return nil, err
	}
	q := driver.All(min(f.Limit+1, datastore.MaxLimit))
	q.Descending, q.Terms = true, f.terms()
	found := []*Process{}
	for {
		page, err := store.Query(ctx, tenant, collection, q)
		if err != nil {
			return nil, err
		}
		for i := range page {
			p, err := parse(&page[i])
			if err != nil {
				return nil, err
			}
			if err := r.judge(ctx, store, tenant, p); err != nil {
				return nil, err
			}
			if f.fits(p) {
				found = append(found, p)
			}
			if len(found) == f.Limit {
				return found, nil
			}
		}
		if len(page) < q.Limit {
			return found, nil
		}
		last := page[len(page)-1]
		q.After = &driver.Place{Order: last.Order, Key: last.Key}
	}
}

// Wait returns a run when it has ended, is suspended or is lost, wherever it runs.
func (r *Registry) Wait(ctx context.Context, tenant, run string) (*Process, error) {
	tick := time.NewTicker(r.opts.Poll)
	defer tick.Stop()
	for {
		p, err := r.Get(ctx, tenant, run)
		if err != nil || p.Status != Running {
			return p, err
		}
		select {
		case <-ctx.Done():
			return nil, kernel.ContextError(ctx)
		case <-tick.C:
		}
	}
}

// Told is what a run learns of another's error: what and why, and not where on the host it was, nor how an operator fixes it.
func Told(err error) string {
	var e *kernel.Error
	switch {
	case !errors.As(err, &e):
		return kernel.Quote(err.Error())
	case e.Why == "":
		return kernel.Quote(e.What)
	}
	return kernel.Quote(e.What) + ": " + kernel.Quote(e.Why)
}
