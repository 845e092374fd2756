// Package approvals is what persons are asked to approve, and what they said: a run waits in one
// process, and an operator answers in another. Store is the portable type; package sqliteapprovals keeps the
// records in a file that processes of a machine share, pgapprovals in a database that machines do.
//
// An approval is for one call: it is bound to the hash of who calls, the action with
// its arguments and raw bytes, the resource, the labels and the policy's revision. It
// is used up by the first such call, and expires. Whoever changes an argument asks
// anew.
package approvals

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/governance/approvals/driver"
)

const (
	// askFor is how long an approval can be given.
	askFor = 7 * 24 * time.Hour
	// goodFor is how long it can be used once it is given, unless the policy says.
	goodFor = time.Hour
	// maxPending is how many approvals of a tenant can wait, so that a loop that
	// changes its arguments fills no disk.
	maxPending = 1000
	// maxShown is how large the arguments can be that an approver is shown, in bytes:
	// what nobody can read nobody can approve.
	maxShown = 64 << 10
	// keepFor is how long what is over is kept, so that it can be looked up.
	keepFor = 30 * 24 * time.Hour
)

// State is what has become of an approval.
type State string

// The states. The first two can still change.
const (
	Pending  State = driver.Pending
	Approved State = driver.Approved // and not used yet
	Denied   State = driver.Denied
	Used     State = driver.Used
	Expired  State = driver.Expired
)

// Approval is a call that a person is asked about.
type Approval struct {
	ID        string               `json:"id"`
	State     State                `json:"state"`
	Request   kernel.AccessRequest `json:"request"`
	Body      string               `json:"body,omitempty"` // the digest of the call's raw bytes
	Revision  string               `json:"revision,omitempty"`
	Reasons   []kernel.Reason      `json:"reasons"`
	By        []string             `json:"by,omitempty"` // who may answer; empty means anyone but who asks
	Count     int                  `json:"count"`        // how many have to approve
	Answers   []Answer             `json:"answers,omitempty"`
	Requested time.Time            `json:"requested"`
	Expires   time.Time            `json:"expires"` // it can be answered, or used, until then
	GoodFor   time.Duration        `json:"good_for_ns"`
}

// Answer is what a person said.
type Answer struct {
	By      string    `json:"by"`
	Approve bool      `json:"approve"`
	At      time.Time `json:"at"`
	Note    string    `json:"note,omitempty"`
}

// Store is a ports.Approver. Of what tenants share it shows one of them what is its own. It is safe for concurrent use.
type Store struct {
	records driver.Records
	tenant  string
	ahead   time.Duration // of the records' clock, in tests
	waiting int           // of a tenant, at most
}

var _ ports.Approver = (*Store)(nil)

// New returns a tenant's approvals in records, which it closes. The caller closes it.
func New(records driver.Records, tenant string) *Store {
	return &Store{records: records, tenant: tenant, waiting: maxPending}
}

// change does something within one transaction, which no other process comes between.
// What has expired is marked so first.
func (s *Store) change(ctx context.Context, do func(tx driver.Tx, now time.Time) error) error {
	return s.records.Change(ctx, func(tx driver.Tx) error {
		now := tx.Now().Add(s.ahead)
		if err := tx.Expire(ctx, now, now.Add(-keepFor)); err != nil {
			return err
		}
		return do(tx, now)
	})
}

// Close closes the records.
func (s *Store) Close() error { return s.records.Close() }

// hash is what an approval is bound to.
func hash(req *ports.ApprovalRequest) (string, error) {
	labels := map[string]any{}
	for name, label := range req.Access.Context.Labels {
		labels[name] = label
	}
	chain := make([]any, len(req.Access.Subject.Chain))
	for i, name := range req.Access.Subject.Chain {
		chain[i] = name
	}
	sources := make([]any, len(req.Access.Context.Sources))
	for i, source := range req.Access.Context.Sources {
		sources[i] = source
	}
	s, r := req.Access.Subject, req.Access.Resource
	args := req.Access.Action.Args
	if args == nil {
		args = map[string]any{}
	}
	text, err := kernel.EncodeJSON(map[string]any{
		"subject": []any{s.Type, s.ID, s.Tenant, chain}, "action": req.Access.Action.Name, "args": args, "body": req.Body,
		"resource": []any{r.Type, r.ID}, "labels": labels, "sources": sources, "revision": req.Revision, "pipeline": req.Access.Context.Pipeline, "node": req.Access.Context.Node,
	})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// Approve uses up an approval of this request, or asks for one.
//
// Errors: CodeApproval, with a kernel.ApprovalNeeded, while it is not given; CodeDenied if it was
// refused, for as long as it would have been good; CodeLimit if too many wait; CodeUnavailable if the records cannot be used.
func (s *Store) Approve(ctx context.Context, req *ports.ApprovalRequest) (*ports.Approved, error) {
	bound, err := hash(req)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeInternal, What: "the call cannot be put before an approver", Why: err.Error(), Err: err}
	}
	var approved *ports.Approved
	var not error // why it is not approved, which is kept as it is
	err = s.change(ctx, func(tx driver.Tx, now time.Time) error {
		approved, not = nil, nil
		a, err := opened(tx.Current(ctx, bound))
		switch {
		case err != nil:
			return err
		case a == nil:
			if a, err = s.request(ctx, tx, req, bound, now); err == nil {
				not = needed(a)
			}
			return err
		case a.State == Denied:
			not = refused(a)
			return nil
		case a.State != Approved:
			not = needed(a)
			return nil
		}
		approved = &ports.Approved{ID: a.ID}
		for _, answer := range a.Answers {
			approved.By, approved.At = append(approved.By, answer.By), answer.At
		}
		a.State = Used
		return update(ctx, tx, a)
	})
	if err = cmp.Or(err, not); err != nil {
		return nil, err
	}
	return approved, nil
}

func needed(a *Approval) error {
	return &kernel.Error{
		Code: kernel.CodeApproval, What: kernel.Quote(a.Request.Action.Name) + " needs an approval", Why: "approval " + a.ID + " is " + string(a.State) + "; " + because(a.Reasons),
		Fix: "have it approved: hexdag approvals approve " + a.ID, Err: &kernel.ApprovalNeeded{ID: a.ID, Expires: a.Expires},
	}
}

func refused(a *Approval) error {
	why := "approval " + a.ID
	for _, answer := range a.Answers {
		if !answer.Approve {
			why += " was refused by " + kernel.Quote(answer.By)
			if answer.Note != "" {
				why += ": " + kernel.Quote(answer.Note)
			}
		}
	}
	return &kernel.Error{Code: kernel.CodeDenied, What: kernel.Quote(a.Request.Action.Name) + " was not approved", Why: why, Fix: "ask whoever refused it, or change what is asked"}
}

func because(reasons []kernel.Reason) string {
	texts := make([]string, len(reasons))
	for i, r := range reasons {
		texts[i] = kernel.Quote(r.Msg) + " [" + kernel.Quote(r.ID) + "]"
	}
	return strings.Join(texts, "; ")
}

// request puts a call before whoever approves.
func (s *Store) request(ctx context.Context, tx driver.Tx, req *ports.ApprovalRequest, bound string, now time.Time) (*Approval, error) {
	a := &Approval{
		ID: strings.ToLower(rand.Text()[:12]), State: Pending, Request: req.Access, Body: req.Body, Revision: req.Revision, Reasons: req.Reasons,
		By: req.Rules.By, Count: max(req.Rules.Count, 1), Requested: now.UTC(), Expires: now.Add(askFor).UTC(), GoodFor: req.Rules.TTL,
	}
	if a.GoodFor <= 0 {
		a.GoodFor = goodFor
	}
	text, err := kernel.EncodeJSON(a.Request.Action.Args)
	if err != nil {
		return nil, err
	}
	if len(text) > maxShown {
		return nil, &kernel.Error{Code: kernel.CodeLimit, What: kernel.Quote(a.Request.Action.Name) + " cannot be put before an approver", Why: fmt.Sprintf("its arguments have %d bytes, the limit is %d", len(text), maxShown), Fix: "pass what is large as an artifact, by its name"}
	}
	waiting, err := tx.Waiting(ctx, req.Access.Subject.Tenant)
	if err != nil {
		return nil, err
	}
	if waiting >= s.waiting {
		return nil, &kernel.Error{Code: kernel.CodeLimit, What: "too many approvals wait", Why: fmt.Sprintf("the limit of a tenant is %d", s.waiting), Fix: "answer them: hexdag approvals list"}
	}
	r, err := record(a)
	if err != nil {
		return nil, err
	}
	r.Bound = bound
	return a, tx.Insert(ctx, r)
}

// record is an approval as it is kept, but for the call that it is bound to.
func record(a *Approval) (*driver.Record, error) {
	text, err := json.Marshal(a)
	return &driver.Record{ID: a.ID, Tenant: a.Request.Subject.Tenant, State: string(a.State), Requested: a.Requested, Expires: a.Expires, Document: text}, err
}

func update(ctx context.Context, tx driver.Tx, a *Approval) error {
	r, err := record(a)
	if err != nil {
		return err
	}
	return tx.Update(ctx, r)
}

// opened reads an approval from its record, of which there may be none.
func opened(r *driver.Record, err error) (*Approval, error) {
	if r == nil || err != nil {
		return nil, err
	}
	var a Approval
	if err := kernel.UnmarshalStrict(r.Document, &a); err != nil {
		return nil, &kernel.Error{Code: kernel.CodeUnavailable, What: "approval " + kernel.Quote(r.ID) + " cannot be read", Why: err.Error(), Fix: "remove it from the records", Err: err}
	}
	a.State = State(r.State)
	return &a, nil
}

// List returns the tenant's approvals in one of the states, the newest first; all, if none is named.
func (s *Store) List(ctx context.Context, states ...State) (list []Approval, err error) {
	err = s.change(ctx, func(tx driver.Tx, _ time.Time) error {
		all, err := tx.All(ctx)
		if err != nil {
			return err
		}
		list = nil
		for i := range all {
			if all[i].Tenant != s.tenant || len(states) > 0 && !slices.Contains(states, State(all[i].State)) {
				continue
			}
			a, err := opened(&all[i], nil)
			if err != nil {
				return err
			}
			list = append(list, *a)
		}
		return nil
	})
	return list, err
}

// Answer notes what a person says of an approval that waits, and returns what has
// become of it. One refusal is enough. Who asks cannot approve.
//
// Errors: CodeNotFound; CodeDenied if it is not by's to answer; CodeInput if it is over.
func (s *Store) Answer(ctx context.Context, id, by string, approve bool, note string) (*Approval, error) {
	var answered *Approval
	err := s.change(ctx, func(tx driver.Tx, now time.Time) error {
		r, err := tx.Get(ctx, id)
		if err != nil {
			return err
		}
		if r == nil || r.Tenant != s.tenant {
			return &kernel.Error{Code: kernel.CodeNotFound, What: "there is no approval " + kernel.Quote(id), Fix: "list them: hexdag approvals list"}
		}
		a, err := opened(r, nil)
		if err != nil {
			return err
		}
		if err := a.answer(Answer{By: by, Approve: approve, At: now.UTC(), Note: note}); err != nil {
			return err
		}
		answered = a
		return update(ctx, tx, a)
	})
	return answered, err
}

// May returns why it is not for somebody to answer. Errors: CodeDenied; CodeInput if it is over.
func (a *Approval) May(by string) error {
	deny := func(why, fix string) error {
		return &kernel.Error{Code: kernel.CodeDenied, What: kernel.Quote(by) + " cannot answer approval " + a.ID, Why: why, Fix: fix}
	}
	asks := a.Request.Subject.ID
	if len(a.Request.Subject.Chain) > 0 {
		asks = a.Request.Subject.Chain[0]
	}
	switch {
	case a.State != Pending:
		return &kernel.Error{Code: kernel.CodeInput, What: "approval " + a.ID + " is over", Why: "it is " + string(a.State), Fix: "see those that wait: hexdag approvals list"}
	case by == "":
		return deny("nobody is named", "say who answers: --as NAME")
	case by == asks:
		return deny("who asks for an approval does not give it", "have another person answer")
	case len(a.By) > 0 && !slices.Contains(a.By, by):
		return deny("the policy names "+kernel.Quote(strings.Join(a.By, ", ")), "have one of them answer")
	case slices.ContainsFunc(a.Answers, func(known Answer) bool { return known.By == by }):
		return deny(fmt.Sprintf("they have answered, and %d persons have to", a.Count), "have another person answer")
	}
	return nil
}

// answer holds an answer to who may give it.
func (a *Approval) answer(given Answer) error {
	if err := a.May(given.By); err != nil {
		return err
	}
	a.Answers = append(a.Answers, given)
	switch {
	case !given.Approve:
		a.State, a.Expires = Denied, given.At.Add(a.GoodFor)
	case len(a.Answers) >= a.Count:
		a.State, a.Expires = Approved, given.At.Add(a.GoodFor)
	}
	return nil
}
