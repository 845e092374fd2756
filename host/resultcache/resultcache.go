// Package resultcache keeps what nodes answered in the artifact store, for runs that ask the
// same again.
//
// An answer is an artifact of a run that there is not, whose name is a digest of all that the
// answer depends on: what the node was given and is configured with, the modules that take part,
// the operator's configuration, the rules of governance, what the run may do, and whose it is.
// The store checks it on every read, keeps its labels, counts it for the tenant's quota, and
// collects it like any other.
package resultcache

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports/lock"
)

// ActionHit is what governance is asked where a run would take an answer that another
// principal's run has worked for. The resource is node:PIPELINE/NODE.
const ActionHit = "cache.hit"

// The limits of one answer.
const (
	maxAnswer = 16 << 20         // bytes of JSON that are kept
	maxWait   = time.Minute      // for somebody who works for the same
	lockTTL   = 15 * time.Second // that is renewed
	endTime   = 5 * time.Second  // for what is done though the run is over
)

// What is at hand without a look into the store. An answer that is deleted there may be taken
// for recentTime more.
const (
	maxRecent      = 1024
	maxRecentBytes = 32 << 10 // of one answer's JSON
	recentTime     = time.Minute
)

// recent is an answer that was read, or kept, a moment ago.
type recent struct {
	answer *engine.Answer
	cached *kernel.Cached
	since  time.Time
}

// Options are what answers are kept with.
type Options struct {
	Store         Store
	Locks         *lock.Locks // nil: whoever asks works
	Authorizer    kernel.Authorizer
	Auditor       kernel.Auditor
	Configuration string        // digest of the operator's; "" where it has none
	Revision      func() string // of the rules of governance; "" where they have none
	Version       string        // of the embedding program's Go code; "" where it has none
	Code          bool          // Go code of the embedding program takes part in all answers
}

// Cache is engine.Results. It is safe for concurrent use.
type Cache struct {
	opts    Options
	process string // stands for what has no digest
	recent  *lru.Cache[string, *recent]
}

// New returns the cache.
func New(opts Options) *Cache {
	known, err := lru.New[string, *recent](maxRecent)
	if err != nil {
		panic(err) // of a size that is not positive
	}
	return &Cache{opts: opts, process: rand.Text(), recent: known}
}

var _ engine.Results = (*Cache)(nil)

// Answer implements engine.Results.
func (c *Cache) Answer(ctx context.Context, q *engine.Question, work func(context.Context) (*engine.Answer, error)) (*engine.Answer, *kernel.Cached, error) {
	run := kernel.RunFrom(ctx)
	revision := c.opts.Revision()
	if revision == "" {
		warn(ctx, q, "its answer is neither taken from another run nor kept: governance cannot tell which rules it decides by")
		a, err := work(ctx)
		return a, nil, err
	}
	e, err := c.entry(run, q, revision)
	if err != nil {
		return nil, nil, err
	}
	if a, cached, err := c.hit(ctx, e); a != nil || err != nil {
		return a, cached, err
	}
	end, err := c.alone(ctx, e)
	if err != nil {
		return nil, nil, err
	}
	defer end()
	if a, cached, err := c.hit(ctx, e); a != nil || err != nil { // whoever worked meanwhile
		return a, cached, err
	}
	a, err := work(ctx)
	if err != nil {
		return nil, nil, err
	}
	if !a.Passing && !e.denied && c.opts.Revision() == revision { // else it is partly of other rules
		c.keep(ctx, e, a)
	}
	return a, nil, nil
}

// entry is where an answer is.
type entry struct {
	*engine.Question
	run    *kernel.RunContext
	key    string // hexadecimal
	denied bool   // governance does not let the run take it
}

// entry says where the answer to a question is.
func (c *Cache) entry(run *kernel.RunContext, q *engine.Question, revision string) (*entry, error) {
	basis := map[string]any{
		"format": "1", "basis": hex.EncodeToString(q.Basis[:]), "configuration": c.opts.Configuration, "revision": revision,
		"caps": run.Caps, "tenant": run.Tenant, "version": c.opts.Version, "scope": string(q.Scope),
	}
	switch q.Scope {
	case pipeline.CacheForRun:
		basis["run"] = run.RunID
	case pipeline.CacheForTenant:
	default:
		basis["principal"] = run.Principal
	}
	if c.opts.Configuration == "" || c.opts.Version == "" && (q.Local || c.opts.Code) {
		basis["process"] = c.process
	}
	text, err := kernel.AppendJSON(nil, basis)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	return &entry{Question: q, run: run, key: hex.EncodeToString(sum[:])}, nil
}

// hit returns the answer that is kept and may be taken; nil without one.
func (c *Cache) hit(ctx context.Context, e *entry) (*engine.Answer, *kernel.Cached, error) {
	if e.denied {
		return nil, nil, nil
	}
	a, cached, err := c.recall(ctx, e)
	switch {
	case ctx.Err() != nil:
		return nil, nil, kernel.ContextError(ctx)
	case err != nil:
		warn(ctx, e.Question, "what was answered before cannot be read: "+kernel.Quote(err.Error()))
		return nil, nil, nil
	case a == nil:
		return nil, nil, nil
	}
	record := kernel.AuditRecord{
		Kind: "cache", RunID: e.run.RunID, Tenant: e.run.Tenant, Principal: e.run.Principal, Node: e.Node, Action: ActionHit, Resource: e.run.PipelineName + "/" + e.Node,
		Effect: kernel.Allow, Result: "ok", Digest: cached.Artifact, Labels: a.Labels, Detail: "the answer of run " + kernel.Quote(cached.RunID),
	}
	if e.Scope == pipeline.CacheForTenant {
		decision, err := c.allowed(ctx, e, a.Labels)
		if record.Reasons, record.Revision = decision.Reasons, decision.Revision; err != nil {
			e.denied, record.Effect, record.Result = true, kernel.Forbid, string(kernel.CodeOf(err))
		}
	}
	if err := c.opts.Auditor.Audit(ctx, &record); err != nil {
		return nil, nil, &kernel.Error{Code: kernel.CodeAudit, What: "what node " + kernel.Quote(e.Node) + " answered before was not taken", Why: "that cannot be recorded: " + err.Error(), Fix: "make room for the audit log, or mend its folder", Err: err}
	}
	if e.denied {
		return nil, nil, nil // it works itself, by its own rights
	}
	return a, cached, nil
}

// allowed asks governance whether the run may have what others worked for.
func (c *Cache) allowed(ctx context.Context, e *entry, labels *kernel.Labels) (kernel.Decision, error) {
	ctx = kernel.WithFlow(ctx, kernel.NewFlow(kernel.FlowFrom(ctx).Labels().Join(labels)))
	d, err := c.opts.Authorizer.Authorize(ctx, request(ctx, e))
	switch {
	case err != nil:
		return d, err
	case d.Effect != kernel.Allow:
		return d, &kernel.Error{Code: kernel.CodeDenied, What: "governance did not allow " + ActionHit}
	case len(d.Obligations) > 0:
		return d, &kernel.Error{Code: kernel.CodeDenied, What: "governance allows " + ActionHit + " under obligations, which nobody keeps"}
	}
	return d, nil
}

// alone waits until nobody else works for the answer. What it returns is called in the end.
func (c *Cache) alone(ctx context.Context, e *entry) (end func(), err error) {
	end = func() {}
	if c.opts.Locks == nil {
		return end, nil
	}
	lease, err := c.opts.Locks.Acquire(ctx, e.run.Tenant, "hexdag.cache."+e.key, lock.Ask{
		Owner: lock.Owner{Principal: e.run.Principal, Run: e.run.RunID, Pipeline: e.run.PipelineName, Node: e.Node}, TTL: lockTTL, Wait: maxWait,
	})
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, kernel.ContextError(ctx)
	case kernel.CodeOf(err) == kernel.CodeLockHeld:
		warn(ctx, e.Question, fmt.Sprintf("somebody else has worked for the same for %s; it does, too", maxWait))
		return end, nil
	default:
		warn(ctx, e.Question, "it works without regard to whoever does the same: "+kernel.Quote(err.Error()))
		return end, nil
	}
	lease.Keep()
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
		defer cancel()
		_ = lease.Release(ctx) // a lease that is lost costs work, nothing else
	}, nil
}

func warn(ctx context.Context, q *engine.Question, why string) {
	kernel.Emit(ctx, &kernel.Event{Type: kernel.NodeWarned, Node: q.Node, Kind: q.Kind, Body: q.Body, Reason: why})
}
