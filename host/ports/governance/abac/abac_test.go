package abac_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/governance/abac"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
	"github.com/hexdag/hexdag/host/ports/governance/governancetest"
)

const data = `{
	"rules": [
		{"id": "small", "effect": "allow", "actions": ["refund.issue"], "resources": ["order:*"], "condition": "subject.tenant == 'acme' and action.args.amount <= attributes.limits.refund", "message": "within the limit", "ttl_s": 60},
		{"id": "large", "effect": "approve", "actions": ["refund.issue"], "condition": "action.args.amount > attributes.limits.refund", "message": "more than the limit", "obligations": [{"type": "approval", "by": ["lead"]}]},
		{"id": "frozen", "effect": "deny", "actions": ["refund.*", "refund.issue"], "condition": "resource.id in attributes.frozen", "message": "frozen"},
		{"id": "division", "effect": "allow", "actions": ["maths.divide"], "condition": "1 / action.args.by > 0"},
		{"id": "always", "effect": "allow", "actions": ["maths.divide"]},
		{"id": "spenders", "effect": "deny", "actions": ["llm.*"], "condition": "context.usage.input_tokens > 1000"},
		{"id": "models", "effect": "allow", "actions": ["llm.complete"], "condition": "context.labels.env == 'prod' and 'ada' in subject.on_behalf_of"}
	],
	"attributes": {"limits": {"refund": 50}, "frozen": ["A-9"]}
}`

func parse(t testing.TB, text string) (d abac.Data) {
	t.Helper()
	v, err := kernel.DecodeJSON([]byte(text))
	if err == nil {
		err = kernel.FromValue(v, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func drive(t testing.TB, text string) *abac.Driver {
	t.Helper()
	d, err := abac.New(parse(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func refund(amount any, order string) *kernel.AccessRequest {
	return &kernel.AccessRequest{
		Subject: kernel.Subject{Type: "user", ID: "bot", Tenant: "acme"}, Resource: kernel.Resource{Type: "order", ID: order},
		Action: kernel.Act{Name: "refund.issue", Args: map[string]any{"amount": amount}},
	}
}

func TestConformance(t *testing.T) {
	d := drive(t, data)
	governancetest.RunConformanceTests(t, func(*testing.T) governancetest.Harness {
		return governancetest.Harness{Driver: d, Allowed: refund(kernel.Number(20), "A-1"), Denied: refund(kernel.Number(20), "A-9")}
	})
}

func TestDecisions(t *testing.T) {
	port := governance.New(drive(t, data), governance.Options{})
	divide := func(by any) *kernel.AccessRequest {
		return &kernel.AccessRequest{Action: kernel.Act{Name: "maths.divide", Args: map[string]any{"by": by}}}
	}
	model := func(tokens int64) *kernel.AccessRequest {
		return &kernel.AccessRequest{Subject: kernel.Subject{Type: "module", Chain: []string{"ada"}}, Action: kernel.Act{Name: "llm.complete"}, Context: kernel.Scope{Labels: map[string]string{"env": "prod"}, Usage: kernel.UsageSnapshot{InputTokens: tokens}}}
	}
	for name, tc := range map[string]struct {
		req    *kernel.AccessRequest
		effect kernel.Effect
		reason string
	}{
		"small":                   {refund(kernel.Number(20), "A-1"), kernel.Allow, "small"},
		"a limit":                 {refund(kernel.Number(50), "A-1"), kernel.Allow, "small"},
		"large":                   {refund(kernel.Number(51), "A-1"), kernel.Approve, "large"},
		"frozen":                  {refund(kernel.Number(20), "A-9"), kernel.Forbid, "frozen"},
		"large and frozen":        {refund(kernel.Number(60), "A-9"), kernel.Forbid, "frozen"},
		"no number":               {refund("20", "A-1"), kernel.Forbid, governance.ReasonUndefined},
		"nothing":                 {refund(nil, "A-1"), kernel.Forbid, governance.ReasonUndefined},
		"division":                {divide(kernel.Number(2)), kernel.Allow, "division"},
		"an error beside a yes":   {divide(kernel.Number(0)), kernel.Forbid, governance.ReasonError},
		"another type beside it":  {divide("x"), kernel.Forbid, governance.ReasonError},
		"on behalf of ada":        {model(5), kernel.Allow, "models"},
		"past a budget":           {model(1001), kernel.Forbid, "spenders"},
		"an action without rules": {&kernel.AccessRequest{Action: kernel.Act{Name: "x.y"}}, kernel.Forbid, governance.ReasonUndefined},
	} {
		d, err := port.Authorize(t.Context(), tc.req)
		found := false
		for _, r := range d.Reasons {
			found = found || r.ID == tc.reason
		}
		if err != nil || d.Effect != tc.effect || !found {
			t.Errorf("%s: %+v, want %s by %s", name, d, tc.effect, tc.reason)
		}
	}
	d, _ := port.Authorize(t.Context(), refund(kernel.Number(51), "A-1"))
	if diff := cmp.Diff([]map[string]any{{"type": "approval", "by": []any{"lead"}}}, d.Obligations); diff != "" || d.TTLSeconds != 0 {
		t.Errorf("ttl %d %s", d.TTLSeconds, diff)
	}
	if d, _ = port.Authorize(t.Context(), refund(kernel.Number(5), "A-1")); d.TTLSeconds != 60 || d.Reasons[0].Msg != "within the limit" {
		t.Errorf("%+v", d)
	}
}

// The dearest condition that expressions allow ends, and is an error.
func TestDearCondition(t *testing.T) {
	d := drive(t, `{"rules": [{"id": "a", "effect": "allow", "actions": ["a.b"], "condition": "len([1 for x in range(9999) for y in range(9999)]) > 0"}, {"id": "b", "effect": "allow", "actions": ["a.b"]}]}`)
	got, _ := governance.New(d, governance.Options{}).Authorize(t.Context(), &kernel.AccessRequest{Action: kernel.Act{Name: "a.b"}})
	if got.Effect != kernel.Forbid || got.Reasons[0].ID != governance.ReasonError {
		t.Errorf("%+v", got)
	}
}

func TestReads(t *testing.T) {
	usage, run, both := driver.Reads{Usage: true}, driver.Reads{Run: true}, driver.Reads{Usage: true, Run: true}
	for condition, want := range map[string]driver.Reads{
		"context.usage.llm_calls < 5": usage, "context['usage']['llm_calls'] < 5": both, "len(context) > 0": both, "context.run_id != '' and context.usage.llm_calls < 5": both,
		"context.run_id != ''": run, "context['run' + '_id'] != ''": both, "subject.id == 'usage'": {}, "context.node == 'run_id'": {}, "": {},
	} {
		d, err := abac.New(abac.Data{Rules: []abac.Rule{{ID: "a", Effect: kernel.Allow, Actions: []string{"**"}, Condition: condition}}})
		if err != nil || d.Reads() != want {
			t.Errorf("%q: %+v, %v, want %+v", condition, d.Reads(), err, want)
		}
	}
}

func TestRefused(t *testing.T) {
	for rule, says := range map[string]string{
		`{"effect": "allow", "actions": ["a.b"]}`:                                                             "no id",
		`{"id": "a", "effect": "Allow", "actions": ["a.b"]}`:                                                  "there are allow, deny and approve",
		`{"id": "a", "actions": ["a.b"]}`:                                                                     "its effect is",
		`{"id": "a", "effect": "allow"}`:                                                                      "no actions",
		`{"id": "a", "effect": "allow", "actions": [""]}`:                                                     "a pattern has",
		`{"id": "a", "effect": "allow", "actions": ["a.b"], "condition": "subject.id ="}`:                     "condition",
		`{"id": "a", "effect": "allow", "actions": ["a.b"], "condition": "subjet.id == 'x'"}`:                 "there is no subjet",
		`{"id": "a", "effect": "allow", "actions": ["a.b"], "condition": "__import__('os')"}`:                 "condition",
		`{"id": "a", "effect": "allow", "actions": ["a.b"], "obligations": [{"type": "sing"}]}`:               "does not know the type sing",
		`{"id": "a", "effect": "allow", "actions": ["a.b"], "ttl_s": -1}`:                                     "ttl_s is -1",
		`{"id": "a", "effect": "allow", "actions": ["a.b"]}, {"id": "a", "effect": "deny", "actions": ["c"]}`: "another rule",
	} {
		_, err := abac.New(parse(t, `{"rules": [`+rule+`]}`))
		if kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", rule, err, says)
		}
	}
}

// TestListedIsAuthorized: what is listed is authorized, and the other way round, and
// both are what the rules say when they are read one after the other.
func TestListedIsAuthorized(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	of := func(words ...string) string { return words[r.IntN(len(words))] }
	seen := map[kernel.Effect]int{}
	for triples := 0; triples < 12_000; {
		var d abac.Data
		for i := range 1 + r.IntN(8) {
			d.Rules = append(d.Rules, abac.Rule{
				ID: fmt.Sprint(i), Effect: kernel.Effect(of("allow", "allow", "deny", "approve")), Actions: []string{of("db.get", "db.set", "db.*", "**"), of("fs.get", "*.get")},
				Resources: []string{of("db:a", "db:*", "fs:**", "**")}, Condition: of("", "subject.id == 'ada'", "subject.tenant in attributes.tenants", "resource.id != 'a' or action.name == 'db.set'", "context.labels.env == 'prod'", "1 / len(resource.id) > 0"),
			})
		}
		d.Attributes = map[string]any{"tenants": []any{"t1"}}
		made, err := abac.New(d)
		if err != nil {
			t.Fatal(err)
		}
		port := governance.New(made, governance.Options{})
		for range 10 {
			q := &governance.Query{
				Subject: kernel.Subject{Type: "user", ID: of("ada", "bob"), Tenant: of("t1", "t2")}, Context: kernel.Scope{Labels: map[string]string{"env": of("prod", "test")}},
				Actions: []string{"db.get", "db.set", "fs.get"}, Resources: []kernel.Resource{{Type: "db", ID: "a"}, {Type: "db", ID: "b"}, {Type: "fs", ID: ""}},
			}
			list, err := port.ListPermissions(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, action := range q.Actions {
				for _, resource := range q.Resources {
					triples++
					got, _ := port.Authorize(t.Context(), &kernel.AccessRequest{Subject: q.Subject, Action: kernel.Act{Name: action}, Resource: resource, Context: q.Context})
					seen[got.Effect]++
					if listed := governance.Listed(list, action, resource); listed != got.Effect {
						t.Fatalf("%v %s %v: authorized as %+v, listed as %s", q.Subject, action, resource, got, listed)
					}
					if want := oracle(d.Rules, q, action, resource); got.Effect != want {
						t.Fatalf("%v %s %v: authorized as %+v, want %s", q.Subject, action, resource, got, want)
					}
				}
			}
		}
	}
	if seen[kernel.Allow] < 1000 || seen[kernel.Approve] < 500 || seen[kernel.Forbid] < 1000 {
		t.Errorf("too little of something: %v", seen)
	}
}

// oracle reads the rules of the test above in Go, one after the other.
func oracle(rules []abac.Rule, q *governance.Query, action string, resource kernel.Resource) kernel.Effect {
	speaks := func(rule abac.Rule) bool {
		acts, on := false, false
		for _, a := range rule.Actions {
			acts = acts || a == action || a == "**" || a == "db.*" && strings.HasPrefix(action, "db.") || a == "*.get" && strings.HasSuffix(action, ".get")
		}
		for _, p := range rule.Resources {
			on = on || p == "**" || p == resource.Type+":"+resource.ID || p == "db:*" && resource.Type == "db" || p == "fs:**" && resource.Type == "fs"
		}
		return acts && on
	}
	effect := kernel.Effect("")
	for _, rule := range rules {
		if !speaks(rule) {
			continue
		}
		holds := true
		switch rule.Condition {
		case "subject.id == 'ada'":
			holds = q.Subject.ID == "ada"
		case "subject.tenant in attributes.tenants":
			holds = q.Subject.Tenant == "t1"
		case "resource.id != 'a' or action.name == 'db.set'":
			holds = resource.ID != "a" || action == "db.set"
		case "context.labels.env == 'prod'":
			holds = q.Context.Labels["env"] == "prod"
		case "1 / len(resource.id) > 0":
			if resource.ID == "" {
				return kernel.Forbid // whatever the others say
			}
		}
		if holds && (effect == "" || rule.Effect == kernel.Forbid || rule.Effect == kernel.Approve && effect == kernel.Allow) {
			effect = rule.Effect
		}
	}
	if effect == "" {
		return kernel.Forbid
	}
	return effect
}

// BenchmarkAuthorize asks a policy of 1,000 rules, of which 20 speak of the action.
func BenchmarkAuthorize(b *testing.B) {
	var d abac.Data
	for i := range 1000 {
		d.Rules = append(d.Rules, abac.Rule{
			ID: fmt.Sprint("r", i), Effect: kernel.Allow, Actions: []string{fmt.Sprintf("service%d.call", i%50)}, Resources: []string{fmt.Sprintf("service:item%d", i)},
			Condition: "subject.tenant == 'acme' and context.labels.env == 'prod'",
		})
	}
	made, err := abac.New(d)
	if err != nil {
		b.Fatal(err)
	}
	req := &kernel.AccessRequest{
		Subject: kernel.Subject{Type: "user", ID: "ada", Tenant: "acme"}, Action: kernel.Act{Name: "service49.call"}, Resource: kernel.Resource{Type: "service", ID: "item949"},
		Context: kernel.Scope{Labels: map[string]string{"env": "prod"}},
	}
	b.ReportAllocs()
	for b.Loop() {
		if got, err := made.Authorize(b.Context(), req); got.Effect != kernel.Allow {
			b.Fatal(got, err)
		}
	}
}
