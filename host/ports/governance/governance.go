// Package governance is the port that decides what may be done. Whatever goes
// wrong with a decision, the answer is no: an error, a deadline, a panic, no
// answer, an answer that is not understood, or one that cannot be recorded.
package governance

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
	"github.com/hexdag/hexdag/host/ports/obligation"
)

// The reasons of denials that no rule gave.
const (
	ReasonUndefined  = "hexdag.governance.undefined"  // no rule had an answer
	ReasonError      = "hexdag.governance.error"      // the backend failed
	ReasonTimeout    = "hexdag.governance.timeout"    // the backend took too long, or the caller gave up
	ReasonEffect     = "hexdag.governance.effect"     // an effect that the host does not know
	ReasonObligation = "hexdag.governance.obligation" // an obligation that the host does not know
	ReasonAudit      = "hexdag.governance.audit"      // the decision cannot be recorded
)

// Options change a Port. The zero value of a field means its default.
type Options struct {
	// Auditor records every decision. Without one, none is recorded.
	Auditor kernel.Auditor
	// Arguments has the record of a decision keep what was asked with, but for what is masked, and
	// not its digest alone: then each decision can be replayed. See package impact.
	Arguments bool
	// Timeout bounds one decision; 2 s by default.
	Timeout time.Duration
}

// Port is the portable API on a driver. It is a kernel.Authorizer and a
// kernel.Auditor, and safe for concurrent use.
type Port struct {
	backend atomic.Pointer[backend]
	opts    Options
	made    time.Time
	cache   cache
}

var (
	_ kernel.Authorizer = (*Port)(nil)
	_ kernel.Auditor    = (*Port)(nil)
)

// New returns a port on d.
func New(d driver.Driver, opts Options) *Port {
	if opts.Timeout <= 0 {
		opts.Timeout = 2 * time.Second
	}
	p := &Port{opts: opts, made: time.Now()}
	p.backend.Store(newBackend(d))
	return p
}

// Authorize decides, and records the decision. Its error is always nil: what went
// wrong is among the reasons of the denial.
func (p *Port) Authorize(ctx context.Context, req *kernel.AccessRequest) (kernel.Decision, error) {
	d := p.decide(ctx, req)
	if p.opts.Auditor == nil {
		return d, nil
	}
	if err := p.Audit(ctx, p.record(ctx, req, d)); err != nil {
		return deny(ReasonAudit, "the decision cannot be recorded: "+err.Error()), nil //nolint:nilerr // the denial says it
	}
	return d, nil
}

// decide returns a decision that is kept, or has the driver decide. What the
// driver did not decide itself is not kept.
func (p *Port) decide(ctx context.Context, req *kernel.AccessRequest) kernel.Decision {
	b := p.enter()
	defer b.leave()
	return p.decideBy(ctx, b, req)
}

func (p *Port) decideBy(ctx context.Context, b *backend, req *kernel.AccessRequest) kernel.Decision {
	revision := b.revisionNow()
	if revision == "" {
		return normalise(p.ask(ctx, b, req))
	}
	if !b.keeps.Load() { // most policies keep none: who then looks for one makes keys in vain
		now, d := time.Since(p.made), p.decided(ctx, b, req, revision)
		if d.TTLSeconds > 0 {
			b.keeps.Store(true)
			if key, keepable := p.cache.key(req, revision, b.reads); keepable {
				p.keep(key, d, now)
			}
		}
		return d
	}
	key, keepable := p.cache.key(req, revision, b.reads)
	if !keepable {
		return p.decided(ctx, b, req, revision)
	}
	now := time.Since(p.made)
	if d, ok := p.cache.get(*key, now); ok && ctx.Err() == nil {
		p.cache.keys.Put(key)
		return d
	}
	d := p.decided(ctx, b, req, revision)
	p.keep(key, d, now)
	return d
}

// keep has a decision serve again for its time to live, and gives the key back.
func (p *Port) keep(key *[]byte, d kernel.Decision, asked time.Duration) {
	if d.TTLSeconds > 0 && d.Revision != "" {
		p.cache.keep(*key, kept{d, asked + time.Duration(d.TTLSeconds)*time.Second})
	}
	p.cache.keys.Put(key)
}

// decided has the driver decide. A driver can have its rules replaced meanwhile, as a
// module that decides can: then which of them did so is not known.
func (p *Port) decided(ctx context.Context, b *backend, req *kernel.AccessRequest, revision string) kernel.Decision {
	d := normalise(p.ask(ctx, b, req))
	if d.Revision = revision; b.revisionNow() != revision {
		d.Revision = ""
	}
	return d
}

// ask has the driver decide, and denies if it does not.
func (p *Port) ask(ctx context.Context, b *backend, req *kernel.AccessRequest) (d kernel.Decision) {
	defer func() {
		if r := recover(); r != nil {
			d = deny(ReasonError, fmt.Sprint("the policy panicked: ", r))
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, p.opts.Timeout)
	defer cancel()
	d, err := b.Authorize(ctx, req)
	switch {
	case ctx.Err() != nil: // an answer that comes too late is none
		return deny(ReasonTimeout, "there was no decision in time: "+ctx.Err().Error())
	case kernel.CodeOf(err) == kernel.CodeTimeout, errors.Is(err, context.DeadlineExceeded):
		return deny(ReasonTimeout, "there was no decision in time: "+err.Error())
	case err != nil:
		return deny(ReasonError, "the policy could not be evaluated: "+err.Error())
	}
	return d
}

// Audit records what is not a decision. Without an auditor it fails, as an action
// whose record cannot be written must not happen.
func (p *Port) Audit(ctx context.Context, record *kernel.AuditRecord) error {
	if p.opts.Auditor == nil {
		return &kernel.Error{Code: kernel.CodeAudit, What: "there is no audit log", Fix: "configure one"}
	}
	b := p.enter()
	defer b.leave()
	if a, ok := b.Driver.(driver.Auditor); ok {
		if err := p.show(ctx, a, record); err != nil {
			return &kernel.Error{Code: kernel.CodeAudit, What: "the policy refused a record", Why: kernel.Quote(err.Error()), Fix: "see to it that the policy takes it", Err: err}
		}
	}
	return p.opts.Auditor.Audit(ctx, record)
}

// show has a driver see a record before it is written.
func (p *Port) show(ctx context.Context, a driver.Auditor, record *kernel.AuditRecord) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it panicked: %v", r)
		}
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.opts.Timeout) // also what was cancelled is recorded
	defer cancel()
	return a.Audit(ctx, record)
}

func (p *Port) record(ctx context.Context, req *kernel.AccessRequest, d kernel.Decision) *kernel.AuditRecord {
	r := &kernel.AuditRecord{
		Time: time.Now().UTC().Format(time.RFC3339Nano), Kind: "decision",
		RunID: req.Context.RunID, Tenant: req.Subject.Tenant, Principal: req.Subject.ID, Node: req.Context.Node,
		Action: req.Action.Name, Resource: req.Resource.Type + ":" + req.Resource.ID,
		Effect: d.Effect, Reasons: d.Reasons, Result: "ok", Revision: d.Revision,
	}
	labels := req.Context.Labels
	r.Labels, _ = kernel.NewLabels(kernel.Integrity(labels[kernel.LabelIntegrity]), kernel.Confidentiality(labels[kernel.LabelConfidentiality]), req.Context.Sources...) // those of the host are known
	if len(req.Subject.Chain) > 0 {
		r.Principal = req.Subject.Chain[0]
		r.Chain = append(append(r.Chain, req.Subject.Chain...), req.Subject.Type+":"+req.Subject.ID)
	}
	if run := kernel.RunFrom(ctx); run != nil {
		r.RunID, r.Tenant = run.RunID, run.Tenant
	}
	asked := req.Context
	asked.RunID, asked.Node = "", ""
	r.SubjectType, r.Context = req.Subject.Type, &asked
	duties, _ := obligation.Parse(d.Obligations) // together with an error they mask all that they can
	args := duties.Args(req.Action.Args)
	if r.Digest = req.Action.Text.For(args).Digest(); p.opts.Arguments || len(req.Action.Args) == 0 { // that there were none tells nothing
		r.Args = keep(args)
	}
	duties.MaskRecord(r, req.Action.Args)
	return r
}

// maxArguments bounds, in bytes of JSON, the arguments that a record keeps.
const maxArguments = 64 << 10

// keep returns a copy of arguments, nil if they are too large, or are not JSON's.
func keep(args map[string]any) *map[string]any {
	text, err := kernel.EncodeJSON(args)
	if err != nil || len(text) > maxArguments {
		return nil
	}
	v, err := kernel.DecodeJSON(text)
	if err != nil {
		return nil
	}
	kept, ok := v.(map[string]any)
	if !ok { // null
		kept = map[string]any{}
	}
	return &kept
}
