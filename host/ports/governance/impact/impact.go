// Package impact replays decisions that an audit log has against another policy, and tells
// what would be decided otherwise. What a record does not tell of the request is not made
// up: unless the policy decides the same whatever it was, the decision is counted as one that
// cannot be replayed, and why.
package impact

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance"
)

// Candidate is the policy that records are replayed against.
type Candidate interface {
	// Decide decides a request as of a time, without what unknown names of it, as
	// "input.action.args". It returns false where the answer could depend on that.
	Decide(ctx context.Context, req *kernel.AccessRequest, at time.Time, unknown []string) (d kernel.Decision, known bool, err error)
}

// Report is what would be otherwise.
type Report struct {
	Records   int64 `json:"records"`   // of the log
	Decisions int64 `json:"decisions"` // of which so many are decisions
	Replayed  int64 `json:"replayed"`  // of which the candidate decided so many
	Same      int64 `json:"same"`      // to the same effect
	// Changes are by the effects and the rules, first what is looser, then what happens most.
	Changes []Change `json:"changes"`
	// Unreplayed are the decisions that are not among Replayed, by the reason.
	Unreplayed []Unreplayed `json:"unreplayed"`
}

// Change is decisions that would be otherwise, by the same rules.
type Change struct {
	From     kernel.Effect `json:"from"`
	To       kernel.Effect `json:"to"`
	OldRules []string      `json:"old_rules"`
	NewRules []string      `json:"new_rules"`
	Count    int64         `json:"count"`
	Examples []Example     `json:"examples"` // the first ones
}

// Looser reports whether what was denied is not any more, or needs no approval.
func (c *Change) Looser() bool { return c.From.Stricter(c.To) }

// Unreplayed is decisions that the candidate could not be asked about.
type Unreplayed struct {
	Why      string    `json:"why"`
	Count    int64     `json:"count"`
	Examples []Example `json:"examples"`
}

// Example is a decision, as its record has it.
type Example struct {
	Record    int64  `json:"record"` // from 1
	Time      string `json:"time"`
	RunID     string `json:"run_id,omitempty"`
	Tenant    string `json:"tenant,omitempty"`
	Principal string `json:"principal,omitempty"`
	Action    string `json:"action"`
	Resource  string `json:"resource,omitempty"`
}

// maxExamples is how many decisions stand for all of their sort.
const maxExamples = 3

// Replay collects a report.
type Replay struct {
	candidate Candidate
	report    Report
	changes   map[string]*Change
	missing   map[string]*Unreplayed
}

// New returns a replay that has seen no record.
func New(candidate Candidate) *Replay {
	return &Replay{candidate: candidate, changes: map[string]*Change{}, missing: map[string]*Unreplayed{}}
}

// Add replays a record, the n-th of its log, if it is a decision. Its error is the context's.
func (r *Replay) Add(ctx context.Context, n int64, record *kernel.AuditRecord) error {
	r.report.Records++
	if record.Kind != "decision" {
		return nil
	}
	r.report.Decisions++
	req, unknown, why := request(record)
	if why != "" {
		r.unreplayed(why, n, record)
		return nil
	}
	at, err := time.Parse(time.RFC3339Nano, record.Time)
	if err != nil {
		r.unreplayed("the record has no time", n, record)
		return nil //nolint:nilerr // the report says it
	}
	raw, known, err := r.candidate.Decide(ctx, req, at, unknown)
	if ctx.Err() != nil {
		return kernel.ContextError(ctx)
	}
	if err == nil && !known {
		r.unreplayed("the candidate's answer depends on "+strings.Join(unknown, ", ")+", which the record does not tell", n, record)
		return nil
	}
	d, _ := governance.New(decided{raw, err}, governance.Options{}).Authorize(ctx, req) // what went wrong is a denial, as it would be
	r.replayed(n, record, d)
	return nil
}

// decided is a backend with one answer.
type decided struct {
	decision kernel.Decision
	err      error
}

func (d decided) Authorize(context.Context, *kernel.AccessRequest) (kernel.Decision, error) {
	return d.decision, d.err
}

func (r *Replay) replayed(n int64, record *kernel.AuditRecord, d kernel.Decision) {
	r.report.Replayed++
	if d.Effect == record.Effect {
		r.report.Same++
		return
	}
	c := &Change{From: record.Effect, To: d.Effect, OldRules: rules(record.Reasons), NewRules: rules(d.Reasons)}
	key := strings.Join([]string{string(c.From), string(c.To), strings.Join(c.OldRules, " "), strings.Join(c.NewRules, " ")}, "\n")
	if known, ok := r.changes[key]; ok {
		c = known
	} else {
		r.changes[key] = c
	}
	c.Count++
	c.Examples = example(c.Examples, n, record)
}

func (r *Replay) unreplayed(why string, n int64, record *kernel.AuditRecord) {
	u, ok := r.missing[why]
	if !ok {
		u = &Unreplayed{Why: why}
		r.missing[why] = u
	}
	u.Count++
	u.Examples = example(u.Examples, n, record)
}

func example(list []Example, n int64, r *kernel.AuditRecord) []Example {
	if len(list) == maxExamples {
		return list
	}
	return append(list, Example{Record: n, Time: r.Time, RunID: r.RunID, Tenant: r.Tenant, Principal: r.Principal, Action: r.Action, Resource: r.Resource})
}

// rules returns the ids of reasons, each once.
func rules(reasons []kernel.Reason) []string {
	ids := make([]string, len(reasons))
	for i, reason := range reasons {
		ids[i] = kernel.Quote(reason.ID)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Report returns what was found so far.
func (r *Replay) Report() *Report {
	report := r.report
	report.Changes, report.Unreplayed = []Change{}, []Unreplayed{}
	for _, c := range r.changes {
		report.Changes = append(report.Changes, *c)
	}
	slices.SortFunc(report.Changes, func(a, b Change) int {
		return cmp.Or(order(a.Looser(), b.Looser()), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Examples[0].Record, b.Examples[0].Record))
	})
	for _, u := range r.missing {
		report.Unreplayed = append(report.Unreplayed, *u)
	}
	slices.SortFunc(report.Unreplayed, func(a, b Unreplayed) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Why, b.Why)) })
	return &report
}

// order puts what is true first.
func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
