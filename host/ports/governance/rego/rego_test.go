package rego_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/extension/policy/regoc"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/governance/governancetest"
	"github.com/hexdag/hexdag/host/ports/governance/rego"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func compile(t testing.TB, dir string, opts policy.Options) *policy.Policy {
	t.Helper()
	a, err := regoc.Build(t.Context(), regoc.Source{Dirs: []string{dir}}, regoc.Options{Entrypoints: []string{rego.Entrypoint}})
	if err != nil {
		t.Fatal(err)
	}
	opts.Data = a.Data
	p, err := policy.Load(t.Context(), a.Wasm, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func driverOn(t testing.TB, dir string, opts policy.Options) *rego.Driver {
	t.Helper()
	d, err := rego.New(compile(t, dir, opts), "")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestConformance(t *testing.T) {
	ask := func(op string) *kernel.AccessRequest {
		return &kernel.AccessRequest{Subject: kernel.Subject{Type: "user", ID: "support-bot"}, Action: kernel.Act{Name: op}, Resource: kernel.Resource{Type: "llm", ID: "mock"}}
	}
	d := driverOn(t, "../../../../examples/support-triage/policies", policy.Options{})
	governancetest.RunConformanceTests(t, func(*testing.T) governancetest.Harness {
		return governancetest.Harness{Driver: d, Allowed: ask("llm.complete"), Denied: ask("lock.acquire")}
	})
}

func write(t *testing.T, text string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.rego"), []byte("package hexdag.authz\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDecisions(t *testing.T) {
	for name, tc := range map[string]struct {
		text   string
		effect kernel.Effect
		reason string
		says   string
	}{
		"allow":             {`decision := {"effect": "allow", "reasons": {{"id": "b", "msg": "2"}, {"id": "a", "msg": "1"}}, "ttl_s": 5}`, kernel.Allow, "a", "1"},
		"approve":           {`decision := {"effect": "approve", "reasons": [{"id": "a", "msg": "1"}], "obligations": [{"type": "approval", "role": "lead"}]}`, kernel.Approve, "a", "1"},
		"undefined":         {`decision := {"effect": "allow"} if input.no_such_field`, kernel.Forbid, governance.ReasonUndefined, ""},
		"no effect":         {`decision := {"reasons": []}`, kernel.Forbid, governance.ReasonUndefined, ""},
		"null":              {`decision := null`, kernel.Forbid, governance.ReasonError, "no object"},
		"true":              {`decision := true`, kernel.Forbid, governance.ReasonError, "no object"},
		"unknown effect":    {`decision := {"effect": "allowed"}`, kernel.Forbid, governance.ReasonEffect, "allowed"},
		"another case":      {`decision := {"effect": "deny", "Effect": "allow"}`, kernel.Forbid, governance.ReasonError, "no member Effect"},
		"misspelt":          {`decision := {"effect": "allow", "obligation": [{"type": "mask"}]}`, kernel.Forbid, governance.ReasonError, "no member obligation"},
		"more in a reason":  {`decision := {"effect": "allow", "reasons": [{"id": "a", "msg": "1", "x": 1}]}`, kernel.Forbid, governance.ReasonError, "unknown field"},
		"bad obligation":    {`decision := {"effect": "allow", "obligations": [{"type": "sing"}]}`, kernel.Forbid, governance.ReasonObligation, "sing"},
		"part of a second":  {`decision := {"effect": "allow", "ttl_s": 1.5}`, kernel.Forbid, governance.ReasonError, "1.5"},
		"conflict":          {"decision := {\"effect\": \"allow\"} if input.action\ndecision := {\"effect\": \"deny\"} if input.action", kernel.Forbid, governance.ReasonError, "aborted"},
		"endless":           {`decision := {"effect": "allow"} if count([1 | some a in numbers.range(1, 9999); some b in numbers.range(1, 9999); a * b == -1]) == 0`, kernel.Forbid, governance.ReasonTimeout, "deadline"},
		"huge":              {`decision := {"effect": concat("", ["xxxxxxxxxx" | some _ in numbers.range(1, 9999)])}`, kernel.Forbid, governance.ReasonError, "too long"},
		"a builtin's error": {`decision := {"effect": "allow"} if time.parse_rfc3339_ns(input.action.name) > 0`, kernel.Forbid, governance.ReasonUndefined, ""},
	} {
		t.Run(name, func(t *testing.T) {
			opts := policy.Options{Timeout: time.Minute, Result: 10_000, Interpreter: true}
			if tc.reason == governance.ReasonTimeout {
				opts.Timeout = 100 * time.Millisecond
			}
			d := driverOn(t, write(t, tc.text), opts)
			got, err := governance.New(d, governance.Options{Timeout: 2 * time.Minute}).Authorize(t.Context(), &kernel.AccessRequest{Action: kernel.Act{Name: "x.y"}})
			if err != nil || got.Effect != tc.effect || got.Reasons[0].ID != tc.reason || !strings.Contains(got.Reasons[0].Msg, tc.says) {
				t.Errorf("got %v, %v; want %s by %s, %q", got, err, tc.effect, tc.reason, tc.says)
			}
		})
	}
}

func TestNew(t *testing.T) {
	p := compile(t, write(t, `decision := {"effect": "allow"}`), policy.Options{Interpreter: true})
	if _, err := rego.New(p, "hexdag/authz/other"); kernel.CodeOf(err) != kernel.CodePolicy || !strings.Contains(err.Error(), "it has hexdag/authz/decision") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkAuthorize(b *testing.B) {
	port := governance.New(driverOn(b, "../../../../examples/support-triage/policies", policy.Options{}), governance.Options{})
	req := &kernel.AccessRequest{Subject: kernel.Subject{Type: "user", ID: "support-bot"}, Action: kernel.Act{Name: "llm.complete"}, Resource: kernel.Resource{Type: "llm", ID: "mock"}}
	for b.Loop() {
		if d, err := port.Authorize(b.Context(), req); err != nil || d.Effect != kernel.Allow {
			b.Fatal(d, err)
		}
	}
}
