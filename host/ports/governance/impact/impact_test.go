package impact_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/governance/impact"
)

// by is a candidate made of a function.
type by func(req *kernel.AccessRequest, at time.Time, unknown []string) (kernel.Decision, bool, error)

func (f by) Decide(_ context.Context, req *kernel.AccessRequest, at time.Time, unknown []string) (kernel.Decision, bool, error) {
	return f(req, at, unknown)
}

func decision(effect kernel.Effect, rule string) kernel.Decision {
	return kernel.Decision{Effect: effect, Reasons: []kernel.Reason{{ID: rule, Msg: "m"}}}
}

// recorder keeps what a port records.
type recorder []*kernel.AuditRecord

func (r *recorder) Audit(_ context.Context, record *kernel.AuditRecord) error {
	*r = append(*r, record)
	return nil
}

// decided is a backend with one answer.
type decided struct{ d kernel.Decision }

func (d decided) Authorize(context.Context, *kernel.AccessRequest) (kernel.Decision, error) {
	return d.d, nil
}

// recorded returns the record of a decision, as the port makes it.
func recorded(t *testing.T, d kernel.Decision, req *kernel.AccessRequest, arguments bool) *kernel.AuditRecord {
	t.Helper()
	var records recorder
	port := governance.New(decided{d}, governance.Options{Auditor: &records, Arguments: arguments})
	if _, err := port.Authorize(t.Context(), req); err != nil || len(records) != 1 {
		t.Fatal(err, len(records))
	}
	return records[0]
}

func request() *kernel.AccessRequest {
	return &kernel.AccessRequest{
		Subject:  kernel.Subject{Type: "module", ID: "orders", Tenant: "acme", Chain: []string{"ada", "module:outer"}},
		Action:   kernel.Act{Name: "database.query", Args: map[string]any{"table": "orders", "limit": kernel.Number(3)}},
		Resource: kernel.Resource{Type: "database", ID: "orders:2026"},
		Context:  kernel.Scope{RunID: "r1", Pipeline: "p", Node: "n", Labels: map[string]string{"purpose": "x"}, Usage: kernel.UsageSnapshot{LLMCalls: 4}},
	}
}

// TestRequest: what is asked again is what was asked, as far as the record tells it.
func TestRequest(t *testing.T) {
	mask := func(pointers ...any) kernel.Decision {
		d := decision(kernel.Allow, "r")
		d.Obligations = []map[string]any{{"type": "mask", "record": pointers}}
		return d
	}
	user := request()
	user.Subject = kernel.Subject{Type: "user", ID: "ada", Tenant: "acme"}
	bare := request()
	bare.Action.Args = nil
	for name, tc := range map[string]struct {
		req       *kernel.AccessRequest
		d         kernel.Decision
		arguments bool
		unknown   []string
	}{
		"all of it":     {request(), decision(kernel.Allow, "r"), true, nil},
		"a user's":      {user, decision(kernel.Allow, "r"), true, nil},
		"no arguments":  {request(), decision(kernel.Allow, "r"), false, []string{"input.action.args"}},
		"there is none": {bare, decision(kernel.Allow, "r"), false, nil},
		"masked":        {request(), mask("/args/limit", "/resource", "/node"), true, []string{"input.resource", "input.action.args", "input.context.node"}},
		"who":           {request(), mask("/principal"), true, []string{"input.subject.id", "input.subject.type", "input.subject.on_behalf_of"}},
		"reasons":       {request(), mask("/reasons", "/detail", "/digest"), true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			record := recorded(t, tc.d, tc.req, tc.arguments)
			asked := false
			replay := impact.New(by(func(req *kernel.AccessRequest, at time.Time, unknown []string) (kernel.Decision, bool, error) {
				asked = true
				if !slices.Equal(unknown, tc.unknown) || at.Format(time.RFC3339Nano) != record.Time {
					t.Errorf("unknown %q at %v", unknown, at)
				}
				if len(tc.unknown) == 0 {
					got, _ := kernel.ToValue(req)
					want, _ := kernel.ToValue(tc.req)
					if diff := cmp.Diff(want, got); diff != "" {
						t.Error(diff)
					}
				}
				return decision(kernel.Allow, "r"), true, nil
			}))
			if err := replay.Add(t.Context(), 1, record); err != nil || !asked {
				t.Errorf("asked %v, %v", asked, err)
			}
		})
	}
	old := recorded(t, decision(kernel.Allow, "r"), user, false) // as records were before
	old.Context, old.SubjectType = nil, ""
	replay := impact.New(by(func(_ *kernel.AccessRequest, _ time.Time, unknown []string) (kernel.Decision, bool, error) {
		if want := []string{"input.subject.type", "input.action.args", "input.context"}; !slices.Equal(unknown, want) {
			t.Errorf("unknown %q, want %q", unknown, want)
		}
		return kernel.Decision{}, false, nil
	}))
	if err := replay.Add(t.Context(), 1, old); err != nil || len(replay.Report().Unreplayed) != 1 {
		t.Errorf("%v, %+v", err, replay.Report())
	}
}

func TestReport(t *testing.T) {
	candidate := by(func(req *kernel.AccessRequest, _ time.Time, _ []string) (kernel.Decision, bool, error) {
		switch req.Resource.ID {
		case "opened":
			return decision(kernel.Allow, "new.open"), true, nil
		case "closed":
			return decision(kernel.Forbid, "new.close"), true, nil
		case "fails":
			return kernel.Decision{}, true, errors.New("it broke")
		case "undefined":
			return kernel.Decision{}, true, nil
		case "odd":
			return decision("maybe", "x"), true, nil
		case "unknown":
			return kernel.Decision{}, false, nil
		}
		return decision(kernel.Allow, "same"), true, nil
	})
	replay := impact.New(candidate)
	n := int64(0)
	add := func(effect kernel.Effect, rule string, ids ...string) {
		t.Helper()
		for _, id := range ids {
			req := request()
			req.Resource.ID = id
			n++
			if err := replay.Add(t.Context(), n, recorded(t, decision(effect, rule), req, true)); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(kernel.Allow, "old.allow", "same", "same", "closed", "closed", "closed", "closed", "fails", "undefined", "odd", "unknown")
	add(kernel.Forbid, "old.deny", "opened")
	add(kernel.Approve, "old.approve", "opened", "closed")
	add(kernel.Forbid, governance.ReasonTimeout, "opened")
	if err := replay.Add(t.Context(), n+1, &kernel.AuditRecord{Kind: "call", Effect: kernel.Allow}); err != nil {
		t.Fatal(err)
	}
	r := replay.Report()
	if r.Records != n+1 || r.Decisions != n || r.Replayed != 12 || r.Same != 2 {
		t.Errorf("%+v", r)
	}
	var got []string
	for _, c := range r.Changes {
		got = append(got, strings.Join([]string{string(c.From), string(c.To), strings.Join(c.OldRules, ","), strings.Join(c.NewRules, ",")}, " "))
	}
	want := []string{
		"deny allow old.deny new.open", "approve allow old.approve new.open", "allow deny old.allow new.close",
		"allow deny old.allow " + governance.ReasonError, "allow deny old.allow " + governance.ReasonUndefined, "allow deny old.allow " + governance.ReasonEffect, "approve deny old.approve new.close",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if c := r.Changes[2]; c.Count != 4 || len(c.Examples) != 3 || c.Examples[0].Record != 3 || c.Looser() || !r.Changes[1].Looser() {
		t.Errorf("%+v", r.Changes[:3])
	}
	if len(r.Unreplayed) != 2 || !strings.Contains(r.Unreplayed[1].Why, governance.ReasonTimeout) && !strings.Contains(r.Unreplayed[0].Why, governance.ReasonTimeout) {
		t.Errorf("%+v", r.Unreplayed)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := replay.Add(ctx, 1, recorded(t, decision(kernel.Allow, "r"), request(), true)); kernel.CodeOf(err) != kernel.CodeCanceled {
		t.Errorf("a caller that has gone got %v", err)
	}
}
