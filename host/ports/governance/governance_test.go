package governance_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rule is a driver made of a function.
type rule func(ctx context.Context, req *kernel.AccessRequest) (kernel.Decision, error)

func (f rule) Authorize(ctx context.Context, req *kernel.AccessRequest) (kernel.Decision, error) {
	return f(ctx, req)
}

func always(d kernel.Decision) rule {
	return func(context.Context, *kernel.AccessRequest) (kernel.Decision, error) { return d, nil }
}

// log is an auditor that keeps, or fails.
type log struct {
	records []*kernel.AuditRecord
	err     error
}

func (l *log) Audit(_ context.Context, r *kernel.AuditRecord) error {
	if l.err == nil {
		l.records = append(l.records, r)
	}
	return l.err
}

func TestFailsClosed(t *testing.T) {
	allow := kernel.Decision{Effect: kernel.Allow}
	for name, tc := range map[string]struct {
		driver rule
		reason string
		says   string
	}{
		"undefined": {always(kernel.Decision{Reasons: []kernel.Reason{{ID: "x"}}}), governance.ReasonUndefined, "no rule"},
		"error": {func(context.Context, *kernel.AccessRequest) (kernel.Decision, error) {
			return allow, errors.New("bro\x1bken")
		}, governance.ReasonError, `bro\x1bken`},
		"panic":          {func(context.Context, *kernel.AccessRequest) (kernel.Decision, error) { panic("boom") }, governance.ReasonError, "boom"},
		"unknown effect": {always(kernel.Decision{Effect: "Allow"}), governance.ReasonEffect, "Allow"},
		"unknown obligation": {always(kernel.Decision{Effect: kernel.Allow, Obligations: []map[string]any{{"type": "mask"}, {"type": "sing"}}}),
			governance.ReasonObligation, "sing"},
		"obligation without type": {always(kernel.Decision{Effect: kernel.Allow, Obligations: []map[string]any{{}}}), governance.ReasonObligation, ""},
		"deadline": {func(ctx context.Context, _ *kernel.AccessRequest) (kernel.Decision, error) {
			<-ctx.Done()
			return kernel.Decision{}, ctx.Err()
		}, governance.ReasonTimeout, "deadline exceeded"},
		"allowed too late": {func(ctx context.Context, _ *kernel.AccessRequest) (kernel.Decision, error) {
			<-ctx.Done()
			return allow, nil
		}, governance.ReasonTimeout, "deadline exceeded"},
		"a deadline of its own": {func(context.Context, *kernel.AccessRequest) (kernel.Decision, error) {
			return allow, &kernel.Error{Code: kernel.CodeTimeout, What: "slow"}
		}, governance.ReasonTimeout, "slow"},
	} {
		t.Run(name, func(t *testing.T) {
			audit := &log{}
			port := governance.New(tc.driver, governance.Options{Timeout: 300 * time.Millisecond, Auditor: audit})
			d, err := port.Authorize(t.Context(), &kernel.AccessRequest{})
			if err != nil || d.Effect != kernel.Forbid || len(d.Reasons) != 1 || d.Reasons[0].ID != tc.reason || !strings.Contains(d.Reasons[0].Msg, tc.says) {
				t.Errorf("got %v, %v; want it denied by %s, %q", d, err, tc.reason, tc.says)
			}
			if len(audit.records) != 1 || audit.records[0].Effect != kernel.Forbid {
				t.Errorf("recorded %v", audit.records)
			}
		})
	}
}

func TestNormalised(t *testing.T) {
	given := kernel.Decision{
		Effect: kernel.Approve, TTLSeconds: -5, Obligations: []map[string]any{{"type": "notify", "who": "ops"}},
		Reasons: []kernel.Reason{{ID: "b", Msg: "2"}, {ID: "a", Msg: "line\nbreak"}, {ID: "b", Msg: "1"}, {ID: "b", Msg: "2"}},
	}
	want := kernel.Decision{
		Effect: kernel.Approve, Obligations: []map[string]any{{"type": "notify", "who": "ops"}},
		Reasons: []kernel.Reason{{ID: "a", Msg: `line\nbreak`}, {ID: "b", Msg: "1"}, {ID: "b", Msg: "2"}},
	}
	got, err := governance.New(always(given), governance.Options{}).Authorize(t.Context(), &kernel.AccessRequest{})
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, -want +got\n%s", err, diff)
	}
	if given.Reasons[0].ID != "b" {
		t.Error("the driver's own reasons were sorted")
	}
	many := kernel.Decision{Effect: kernel.Allow}
	for i := range 1000 {
		many.Reasons = append(many.Reasons, kernel.Reason{ID: fmt.Sprint(i), Msg: strings.Repeat("x", 1<<16)})
	}
	got, _ = governance.New(always(many), governance.Options{}).Authorize(t.Context(), &kernel.AccessRequest{})
	if text, _ := json.Marshal(got); len(text) > 64<<10 {
		t.Errorf("the decision has %d bytes", len(text))
	}
	got, _ = governance.New(always(kernel.Decision{Effect: kernel.Allow}), governance.Options{}).Authorize(t.Context(), &kernel.AccessRequest{})
	if got.Reasons == nil {
		t.Error("reasons are nil")
	}
}

func TestRecord(t *testing.T) {
	audit := &log{}
	port := governance.New(always(kernel.Decision{Effect: kernel.Allow, Reasons: []kernel.Reason{{ID: "r", Msg: "m"}}}), governance.Options{Auditor: audit})
	req := &kernel.AccessRequest{
		Subject:  kernel.Subject{Type: "module", ID: "orders", Tenant: "acme", Chain: []string{"ada"}},
		Action:   kernel.Act{Name: "database.query", Args: map[string]any{"secret": "hunter2"}},
		Resource: kernel.Resource{Type: "database", ID: "orders"},
		Context:  kernel.Scope{RunID: "r1", Node: "lookup", Pipeline: "p", Labels: map[string]string{"purpose": "x"}},
	}
	if _, err := port.Authorize(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	r := audit.records[0]
	if _, err := time.Parse(time.RFC3339Nano, r.Time); err != nil {
		t.Error(err)
	}
	want := &kernel.AuditRecord{
		Time: r.Time, Kind: "decision", RunID: "r1", Tenant: "acme", Principal: "ada", Chain: []string{"ada", "module:orders"}, Node: "lookup",
		Action: "database.query", Resource: "database:orders", Effect: kernel.Allow, Reasons: []kernel.Reason{{ID: "r", Msg: "m"}}, Result: "ok",
		SubjectType: "module", Context: &kernel.Scope{Pipeline: "p", Labels: map[string]string{"purpose": "x"}},
	}
	if !strings.HasPrefix(r.Digest, "sha256:") || len(r.Digest) != 71 {
		t.Errorf("digest %s", r.Digest)
	}
	want.Digest = r.Digest
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}
	if text, _ := json.Marshal(r); strings.Contains(string(text), "hunter2") {
		t.Error("the arguments are in the record")
	}

	port = governance.New(always(kernel.Decision{Effect: kernel.Allow, Obligations: []map[string]any{{"type": "mask", "record": []any{"/args/secret"}}}}), governance.Options{Auditor: audit, Arguments: true})
	req.Action.Args["table"] = "orders"
	for i, args := range []map[string]any{req.Action.Args, {"table": strings.Repeat("x", 65<<10)}, nil} {
		req.Action.Args = args
		if _, err := port.Authorize(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		want := []*map[string]any{{"table": "orders"}, nil, {}}[i]
		if diff := cmp.Diff(want, audit.records[i+1].Args); diff != "" {
			t.Errorf("arguments %d: %s", i, diff)
		}
	}
}

func TestAudit(t *testing.T) {
	allow := always(kernel.Decision{Effect: kernel.Allow})
	full := governance.New(allow, governance.Options{Auditor: &log{err: errors.New("disk full")}})
	d, err := full.Authorize(t.Context(), &kernel.AccessRequest{})
	if err != nil || d.Effect != kernel.Forbid || d.Reasons[0].ID != governance.ReasonAudit || !strings.Contains(d.Reasons[0].Msg, "disk full") {
		t.Errorf("got %v, %v", d, err)
	}
	if err := full.Audit(t.Context(), &kernel.AuditRecord{}); err == nil || err.Error() != "disk full" {
		t.Errorf("got %v", err)
	}
	if err := governance.New(allow, governance.Options{}).Audit(t.Context(), &kernel.AuditRecord{}); kernel.CodeOf(err) != kernel.CodeAudit {
		t.Errorf("without an auditor: %v", err)
	}
}

func TestAuthorizeOp(t *testing.T) {
	var asked *kernel.AccessRequest
	port := governance.New(rule(func(_ context.Context, req *kernel.AccessRequest) (kernel.Decision, error) {
		asked = req
		return kernel.Decision{Effect: kernel.Approve, Reasons: []kernel.Reason{{ID: "r", Msg: "m"}}, TTLSeconds: 60}, nil
	}), governance.Options{})
	op := port.Ops()[0]
	if !op.Decides || op.Name != "governance.authorize" || op.Guards[0] != "action" {
		t.Errorf("got %+v", op)
	}
	ctx := kernel.WithRun(t.Context(), &kernel.RunContext{RunID: "r1", Tenant: "acme", PipelineName: "p", Principal: "ada"})
	call := &kernel.PortCall{
		Op: op.Name, Node: "decide",
		Args: map[string]any{
			"action": "refund.issue", "resource": map[string]any{"type": "order", "id": "A-1"}, "args": map[string]any{"amount": json.Number("20.50")},
		},
		Caller: kernel.Caller{Principal: "ada", Modules: []kernel.ModuleRights{{Name: "orders"}}},
	}
	reply, err := op.Func(ctx, call)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"effect": "approve", "reasons": []any{map[string]any{"id": "r", "msg": "m"}}, "ttl_s": json.Number("60")}
	if diff := cmp.Diff(want, reply.Value); diff != "" {
		t.Error(diff)
	}
	wantAsked := &kernel.AccessRequest{
		Subject:  kernel.Subject{Type: "module", ID: "orders", Tenant: "acme", Chain: []string{"ada"}},
		Action:   kernel.Act{Name: "refund.issue", Args: map[string]any{"amount": json.Number("20.50")}},
		Resource: kernel.Resource{Type: "order", ID: "A-1"},
		Context:  kernel.Scope{RunID: "r1", Pipeline: "p", Node: "decide", Labels: map[string]string{"integrity": "trusted", "confidentiality": "public"}},
	}
	if diff := cmp.Diff(wantAsked, asked); diff != "" {
		t.Error(diff)
	}
	for _, args := range []map[string]any{
		{}, {"action": ""}, {"action": json.Number("3")}, {"action": "a", "resource": "order"}, {"action": "a", "args": []any{}},
		{"action": "a", "subject": map[string]any{"id": "root"}}, {"action": "a", "resource": map[string]any{"type": "t", "owner": "me"}},
	} {
		call.Args = args
		if _, err := op.Func(ctx, call); kernel.CodeOf(err) != kernel.CodeArguments {
			t.Errorf("%v: %v", args, err)
		}
	}
}
