package governance_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/governance/allowall"
)

func op(t *testing.T, port *governance.Port, name string) ports.Op {
	t.Helper()
	for _, op := range port.Ops() {
		if op.Name == name {
			return op
		}
	}
	t.Fatalf("there is no operation %s", name)
	return ports.Op{}
}

func callOf(name string, args map[string]any) *kernel.PortCall {
	return &kernel.PortCall{Op: name, Node: "n", Args: args, Caller: kernel.Caller{Principal: "ada", Modules: []kernel.ModuleRights{{Name: "orders"}}}}
}

func TestAuditOp(t *testing.T) {
	audit := &log{}
	port := governance.New(allowall.Driver{}, governance.Options{Auditor: audit})
	note := op(t, port, "governance.audit")
	ctx := kernel.WithRun(t.Context(), &kernel.RunContext{RunID: "r1", Tenant: "acme"})
	args := map[string]any{"action": "refund.paid", "resource": map[string]any{"type": "order", "id": "A-1"}, "result": "ok", "detail": "20 EUR\x1b[2J"}
	if _, err := note.Func(ctx, callOf(note.Name, args)); err != nil {
		t.Fatal(err)
	}
	want := &kernel.AuditRecord{
		Kind: "note", RunID: "r1", Tenant: "acme", Principal: "ada", Chain: []string{"ada", "module:orders"}, Node: "n",
		Action: "refund.paid", Resource: "order:A-1", Result: "ok", Detail: `20 EUR\x1b[2J`,
	}
	if diff := cmp.Diff(want, audit.records[0]); diff != "" {
		t.Error(diff)
	}
	for _, args := range []map[string]any{{}, {"action": ""}, {"action": "a", "kind": "decision"}, {"action": "a", "principal": "root"}, {"action": "a", "detail": strings.Repeat("x", 5000)}} {
		if _, err := note.Func(ctx, callOf(note.Name, args)); kernel.CodeOf(err) != kernel.CodeArguments {
			t.Errorf("%.40v: %v", args, err)
		}
	}
	audit.err = errors.New("disk full")
	if _, err := note.Func(ctx, callOf(note.Name, args)); err == nil {
		t.Error("a note that was not recorded went well")
	}
}

func TestListOp(t *testing.T) {
	rules := rule(func(_ context.Context, req *kernel.AccessRequest) (kernel.Decision, error) {
		if req.Subject.ID != "orders" || req.Subject.Chain[0] != "ada" {
			return kernel.Decision{}, errors.New("another subject")
		}
		switch req.Action.Name + " " + req.Resource.ID {
		case "database.query orders":
			return kernel.Decision{Effect: kernel.Allow, Reasons: []kernel.Reason{{ID: "q", Msg: "m"}}}, nil
		case "database.insert orders":
			return kernel.Decision{Effect: kernel.Approve, Reasons: []kernel.Reason{{ID: "i", Msg: "m"}}}, nil
		case "database.query broken":
			return kernel.Decision{Effect: kernel.Allow}, errors.New("broken")
		}
		return kernel.Decision{}, nil
	})
	port := governance.New(rules, governance.Options{})
	list := op(t, port, "governance.list_permissions")
	reply, err := list.Func(t.Context(), callOf(list.Name, map[string]any{
		"actions":   []any{"database.query", "database.insert"},
		"resources": []any{map[string]any{"type": "database", "id": "orders"}, map[string]any{"type": "database", "id": "items"}, map[string]any{"type": "database", "id": "broken"}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"patterns": false, "permissions": []any{
		map[string]any{"action": "database.query", "resource": "database:orders", "effect": "allow", "rules": []any{"q"}},
		map[string]any{"action": "database.insert", "resource": "database:orders", "effect": "approve", "rules": []any{"i"}},
	}}
	if diff := cmp.Diff(want, reply.Value); diff != "" {
		t.Error(diff)
	}
	many := make([]any, 101)
	for i := range many {
		many[i] = "a.b"
	}
	resources := make([]any, 100)
	for i := range resources {
		resources[i] = map[string]any{"type": "t", "id": "i"}
	}
	for _, args := range []map[string]any{{}, {"actions": []any{"a.b"}}, {"subject": "root"}, {"actions": many, "resources": resources}} {
		if _, err := list.Func(t.Context(), callOf(list.Name, args)); kernel.CodeOf(err) != kernel.CodeArguments {
			t.Errorf("%.60v: %v", args, err)
		}
	}
}

// refusing is a driver that looks at records.
type refusing struct {
	allowall.Driver
	see func(*kernel.AuditRecord) error
}

func (r refusing) Audit(_ context.Context, record *kernel.AuditRecord) error { return r.see(record) }

// A driver that looks at records can refuse one, and then nothing happens.
func TestDriverSeesRecords(t *testing.T) {
	audit := &log{}
	port := governance.New(refusing{see: func(r *kernel.AuditRecord) error {
		switch r.Action {
		case "bad.action":
			return errors.New("not this\x1b")
		case "worse.action":
			panic("boom")
		}
		return nil
	}}, governance.Options{Auditor: audit})
	for action, want := range map[string]kernel.Effect{"good.action": kernel.Allow, "bad.action": kernel.Forbid, "worse.action": kernel.Forbid} {
		d, err := port.Authorize(t.Context(), &kernel.AccessRequest{Action: kernel.Act{Name: action}})
		if err != nil || d.Effect != want {
			t.Errorf("%s: %v, %v", action, d, err)
		}
		if want == kernel.Forbid && d.Reasons[0].ID != governance.ReasonAudit {
			t.Errorf("%s: %v", action, d)
		}
	}
	if len(audit.records) != 1 {
		t.Errorf("recorded %+v", audit.records)
	}
}

// Of what a decision masks, its own record tells nothing either.
func TestMaskedDecisionRecord(t *testing.T) {
	for _, o := range []map[string]any{{"type": "mask", "record": []any{"/resource", "/args/email"}}, {"type": "mask", "record": []any{"/nonsense"}}} {
		audit := &log{}
		port := governance.New(always(kernel.Decision{Effect: kernel.Allow, Obligations: []map[string]any{o}}), governance.Options{Auditor: audit})
		for _, email := range []string{"bob@x", "eve@x"} {
			if _, err := port.Authorize(t.Context(), &kernel.AccessRequest{Action: kernel.Act{Name: "a.b", Args: map[string]any{"email": email, "n": "1"}}, Resource: kernel.Resource{Type: "mail", ID: email}}); err != nil {
				t.Fatal(err)
			}
		}
		a, b := audit.records[0], audit.records[1]
		if a.Resource != "[masked]" || a.Digest != b.Digest || len(a.Masked) < 2 {
			t.Errorf("%v: recorded %+v and %+v", o, a, b)
		}
	}
}
