package compose_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/governance/allowall"
	"github.com/hexdag/hexdag/host/ports/governance/compose"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
	"github.com/hexdag/hexdag/host/ports/governance/governancetest"
	"github.com/hexdag/hexdag/host/ports/governance/rbac"
)

// fixed is a driver with one answer.
type fixed struct {
	kernel.Decision
	err error
}

func (f fixed) Authorize(context.Context, *kernel.AccessRequest) (kernel.Decision, error) {
	return f.Decision, f.err
}

func saying(effect kernel.Effect) fixed {
	return fixed{Decision: kernel.Decision{Effect: effect, Reasons: []kernel.Reason{{ID: "r." + string(effect), Msg: "m"}}}}
}

func all(t *testing.T, members ...compose.Member) *compose.Driver {
	t.Helper()
	d, err := compose.New(members...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestConformance(t *testing.T) {
	roles, err := rbac.New(rbac.Data{Roles: map[string]rbac.Role{"r": {Allow: []rbac.Rule{{Action: "a.*"}}}}, Bindings: []rbac.Binding{{Subjects: []string{"user:ada"}, Roles: []string{"r"}}}})
	if err != nil {
		t.Fatal(err)
	}
	d := all(t, compose.Member{Name: "platform", Driver: roles}, compose.Member{Name: "acme", Driver: allowall.Driver{}, Tenants: []string{"acme"}})
	ask := func(who string) *kernel.AccessRequest {
		return &kernel.AccessRequest{Subject: kernel.Subject{Type: "user", ID: who, Tenant: "acme"}, Action: kernel.Act{Name: "a.b"}, Resource: kernel.Resource{Type: "a", ID: "x"}}
	}
	governancetest.RunConformanceTests(t, func(*testing.T) governancetest.Harness {
		return governancetest.Harness{Driver: d, Allowed: ask("ada"), Denied: ask("bob")}
	})
	if d.Reads() != (driver.Reads{}) || d.Revision() == "" {
		t.Error("its members read nothing of a run and have revisions")
	}
}

// TestNarrows: whatever a second member says, no more is allowed than the first allows.
func TestNarrows(t *testing.T) {
	down := fixed{Decision: kernel.Decision{Effect: kernel.Allow}, err: errors.New("down")}
	drivers := map[string]fixed{"allow": saying(kernel.Allow), "approve": saying(kernel.Approve), "deny": saying(kernel.Forbid), "undefined": {}, "unknown": saying("ALLOW"), "down": down}
	rank := map[kernel.Effect]int{kernel.Allow: 0, kernel.Approve: 1, kernel.Forbid: 2}
	effect := func(d *compose.Driver) kernel.Effect {
		answer, _ := governance.New(d, governance.Options{}).Authorize(t.Context(), &kernel.AccessRequest{Subject: kernel.Subject{Tenant: "acme"}})
		if len(answer.Reasons) == 0 {
			t.Errorf("no reasons: %+v", answer)
		}
		return answer.Effect
	}
	for platform, p := range drivers {
		alone := effect(all(t, compose.Member{Name: "platform", Driver: p}))
		for tenant, d := range drivers {
			own := effect(all(t, compose.Member{Name: "tenant", Driver: d}))
			together := effect(all(t, compose.Member{Name: "platform", Driver: p}, compose.Member{Name: "tenant", Driver: d, Tenants: []string{"acme"}}))
			if want := max(rank[alone], rank[own]); rank[together] != want {
				t.Errorf("%s and %s: %s", platform, tenant, together)
			}
			other := effect(all(t, compose.Member{Name: "platform", Driver: p}, compose.Member{Name: "tenant", Driver: d, Tenants: []string{"umbrella", "acme.*"}}))
			if other != alone {
				t.Errorf("%s, and %s for another tenant: %s", platform, tenant, other)
			}
		}
	}
}

func TestTogether(t *testing.T) {
	mask, note := map[string]any{"type": "mask", "body": true}, map[string]any{"type": "notify", "to": "ops"}
	a := fixed{Decision: kernel.Decision{Effect: kernel.Approve, TTLSeconds: 60, Reasons: []kernel.Reason{{ID: "a", Msg: "1"}}, Obligations: []map[string]any{mask}}}
	b := fixed{Decision: kernel.Decision{Effect: kernel.Allow, TTLSeconds: 30, Reasons: []kernel.Reason{{ID: "b", Msg: "2"}}, Obligations: []map[string]any{{"type": "mask", "body": true}, note}}}
	for _, members := range [][]compose.Member{{{Name: "a", Driver: a}, {Name: "b", Driver: b}}, {{Name: "b", Driver: b}, {Name: "a", Driver: a}}} {
		got, _ := governance.New(all(t, members...), governance.Options{}).Authorize(t.Context(), &kernel.AccessRequest{})
		if got.Effect != kernel.Approve || got.TTLSeconds != 30 || len(got.Obligations) != 2 || got.Revision != "" {
			t.Errorf("%+v", got)
		}
		if diff := cmp.Diff([]kernel.Reason{{ID: "a", Msg: "1"}, {ID: "b", Msg: "2"}}, got.Reasons); diff != "" {
			t.Error(diff)
		}
	}
}

func TestNoPlatform(t *testing.T) {
	_, err := compose.New(compose.Member{Name: "a", Driver: allowall.Driver{}, Tenants: []string{"acme"}})
	if kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), "no policy is for every tenant") {
		t.Error(err)
	}
	if _, err := compose.New(); err == nil {
		t.Error("nothing decides")
	}
}

// sees is a member that looks at records.
type sees struct {
	allowall.Driver
	err error
}

func (s sees) Audit(context.Context, *kernel.AuditRecord) error { return s.err }

func TestEveryAuditorIsAsked(t *testing.T) {
	d := all(t, compose.Member{Name: "a", Driver: sees{}}, compose.Member{Name: "b", Driver: sees{err: errors.New("not this")}})
	if err := d.Audit(t.Context(), &kernel.AuditRecord{}); err == nil || err.Error() != "not this" {
		t.Error(err)
	}
}
