// Package centralagent lets a model reach a goal by starting runs of pipelines: what is behind the node kind central_agent_node, and
// goals that wait for a host to work on them.
//
// # What a goal is
//
// A goal is a run of a pipeline with a central_agent_node. Its journal, budgets, labels, approvals and audit are those of any run; this
// package adds what such a node may do, and a list of goals of which one host at a time, the leader, takes care.
//
// # What a central agent may do
//
// It starts the pipelines that the operator names, of these the ones that its node names, so many in all, and one that has failed so many
// times again. Whatever it has read by then decides, too: a start to which untrusted values have led needs an approval, unless the
// operator says that the pipeline is harmless whoever starts it, or denies it. What pipelines answer is untrusted, unless the
// operator says otherwise. So nothing that a model reads, and does, widens what it may.
package centralagent

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/agent"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/pipelinespawner"
	"github.com/hexdag/hexdag/host/lib/processregistry"
	"github.com/hexdag/hexdag/host/ports/datastore"
)

// Rule lets central agents start the pipelines of a pattern, as abi.Match has it.
type Rule struct {
	Pattern   string
	Untrusted kernel.Effect // what becomes of a start that untrusted values have led to
	Trusted   bool          // what the pipelines answer is not made untrusted
}

// Described is a pipeline as a central agent sees it.
type Described struct {
	Description string
	Input       map[string]any           // the JSON Schema of its input; nil takes any object
	Check       func(kernel.Value) error // says what is wrong with an input
}

// Catalog knows the pipelines that there are.
type Catalog interface {
	// List returns their names.
	List() []string
	// Describe returns one, or the error of one that there is not, or that cannot be run.
	Describe(ctx context.Context, pipeline string) (*Described, error)
}

// Options are what a library is made of. Zero limits mean the defaults.
type Options struct {
	Rules      []Rule // of those that match the first counts; what none matches is not started
	MaxStarts  int    // of one goal; 50
	MaxRetries *int   // of a pipeline that has failed, for one goal; 2
	MaxGoals   int    // of a tenant that are not over; 1000

	Pipelines Catalog
	Spawner   *pipelinespawner.Spawner
	Registry  *processregistry.Registry
	Auditor   kernel.Auditor
	Store     func(context.Context) (*datastore.Store, error)
	// Events has told be called with the id of every run of the tenant that ends or begins to wait, and with "" for every goal that is
	// submitted, until stop is called.
	Events func(ctx context.Context, tenant string, told func(run string)) (stop func(), err error)
	// Announce tells that a goal was submitted. Nobody is told without it.
	Announce func(ctx context.Context, tenant string, g *Goal)
	// Revive goes on with a run whose host has died, to its end. The error is of CodeFenced where it goes on elsewhere, and of CodeNotFound where
	// nothing is known to go on with.
	Revive func(ctx context.Context, run string) error
	// Recheck is how often runs that are waited for are looked at, should nobody tell of their end; 5 s.
	Recheck time.Duration
	NewID   func() string
}

// Library is central agents' side of the host. It may be used by several goroutines. Errors are *kernel.Error.
type Library struct {
	opts    Options
	events  events
	revived revivals

	mu      sync.Mutex
	tallies map[string]*tally // by the run of the goal
}

// New returns the library. The caller closes it, before the spawner.
func New(opts Options) *Library {
	opts.MaxStarts, opts.Recheck = min(cmp.Or(opts.MaxStarts, 50), processregistry.MaxList), cmp.Or(opts.Recheck, 5*time.Second)
	if opts.MaxRetries == nil {
		most := 2
		opts.MaxRetries = &most
	}
	l := &Library{opts: opts, tallies: map[string]*tally{}}
	l.events.listen = opts.Events
	l.revived.revive = opts.Revive
	l.revived.ctx, l.revived.stop = context.WithCancel(context.Background())
	return l
}

// Close ends what goes on with runs of hosts that have died.
func (l *Library) Close() {
	l.revived.close()
	l.events.close()
}

// Ended tells that a run has ended.
func (l *Library) Ended(run string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.tallies, run)
}

// plain is a pipeline's name without the ending of its file.
func plain(name string) string {
	for _, ending := range []string{".yaml", ".yml"} {
		if cut, ok := strings.CutSuffix(name, ending); ok {
			return cut
		}
	}
	return name
}

// rule returns what the operator says of a pipeline; nil if nothing.
func (l *Library) rule(pipeline string) *Rule {
	for i := range l.opts.Rules {
		if abi.Match(l.opts.Rules[i].Pattern, pipeline) {
			return &l.opts.Rules[i]
		}
	}
	return nil
}

// forbidden is why a pipeline may not be started at all; "" where it may.
func (l *Library) forbidden(ctx context.Context, pipeline string) string {
	b := agent.BoundsFrom(ctx)
	switch {
	case l.rule(pipeline) == nil:
		return "the operator does not let central agents start it (libraries.central_agent.pipelines)"
	case b != nil && b.Pipelines != nil && !slices.ContainsFunc(b.Pipelines, func(name string) bool { return plain(name) == pipeline }):
		return "it is not among the pipelines that this agent may start"
	}
	return ""
}

// judgeStart decides about a start, beside governance.
func (l *Library) judgeStart(ctx context.Context, req *kernel.AccessRequest) *kernel.Decision {
	name := plain(req.Resource.ID)
	if why := l.forbidden(ctx, name); why != "" {
		return &kernel.Decision{Effect: kernel.Forbid, Reasons: []kernel.Reason{{ID: "central_agent.pipelines", Msg: kernel.Quote(name) + ": " + why}}}
	}
	r := l.rule(name)
	if req.Context.Labels[kernel.LabelIntegrity] != string(kernel.Untrusted) || r.Untrusted == kernel.Allow {
		return nil
	}
	why := fmt.Sprintf("what has led to starting %s is untrusted (%s)", kernel.Quote(name), strings.Join(req.Context.Sources, ", "))
	effect := kernel.Forbid
	if r.Untrusted == kernel.Approve {
		effect = kernel.Approve
	}
	return &kernel.Decision{Effect: effect, Reasons: []kernel.Reason{{ID: "central_agent.untrusted", Msg: why}}}
}

// judgeAsk has a person decide.
func judgeAsk(_ context.Context, req *kernel.AccessRequest) *kernel.Decision {
	question, _ := req.Action.Args["question"].(string)
	return &kernel.Decision{Effect: kernel.Approve, Reasons: []kernel.Reason{{ID: "central_agent.ask", Msg: "the agent asks: " + clip(question, 500)}}}
}

func clip(text string, most int) string { return strings.ToValidUTF8(text[:min(len(text), most)], "") }

// record puts a decision of a central agent on record.
func (l *Library) record(ctx context.Context, call *kernel.PortCall, resource, detail string) error {
	r := &kernel.AuditRecord{Kind: "note", Principal: call.Caller.Principal, Chain: call.Caller.Chain(), Node: call.Node, Action: call.Op, Resource: resource, Result: "ok", Detail: detail, Labels: call.Labels}
	if run := kernel.RunFrom(ctx); run != nil {
		r.RunID, r.Tenant = run.RunID, run.Tenant
	}
	if l.opts.Auditor == nil {
		return nil
	}
	if err := l.opts.Auditor.Audit(ctx, r); err != nil {
		return &kernel.Error{Code: kernel.CodeAudit, What: call.Op + " was refused", Why: "it cannot be recorded: " + err.Error(), Fix: "make room for the audit log, or mend its folder", Err: err}
	}
	return nil
}
