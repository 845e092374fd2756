package rbac_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/governance/governancetest"
	"github.com/hexdag/hexdag/host/ports/governance/rbac"
)

const data = `{
	"roles": {
		"reader": {"allow": [{"action": "artifacts.retrieve"}, {"action": "database.query", "resource": "database:**"}]},
		"clerk": {"inherits": ["reader"], "allow": [{"action": "database.*", "resource": "database:orders"}], "deny": [{"action": "database.*", "resource": "database:secrets"}]},
		"lead": {"inherits": ["clerk", "reader"], "approve": [{"action": "database.insert", "resource": "database:orders"}]},
		"tool": {"allow": [{"action": "**"}]}
	},
	"bindings": [
		{"subjects": ["user:ada"], "roles": ["clerk"], "tenants": ["acme", "acme.*"]},
		{"subjects": ["user:bob"], "roles": ["lead"]},
		{"subjects": ["module:*"], "roles": ["tool"]},
		{"subjects": ["user:eve"], "roles": ["reader"]},
		{"subjects": ["user:eve"], "roles": ["tool"], "tenants": ["lab"]}
	]
}`

func parse(t testing.TB, text string) (d rbac.Data) {
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

func driver(t testing.TB, d rbac.Data) *rbac.Driver {
	t.Helper()
	made, err := rbac.New(d)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// ask makes a request of "type:id@tenant, on behalf of", "action" and "type:id".
func ask(subject, action, resource string) *kernel.AccessRequest {
	req := &kernel.AccessRequest{Action: kernel.Act{Name: action}}
	who, chain, _ := strings.Cut(subject, ", ")
	name, tenant, _ := strings.Cut(who, "@")
	req.Subject.Type, req.Subject.ID, _ = strings.Cut(name, ":")
	req.Subject.Tenant = tenant
	if chain != "" {
		req.Subject.Chain = strings.Split(chain, ", ")
	}
	req.Resource.Type, req.Resource.ID, _ = strings.Cut(resource, ":")
	return req
}

func TestConformance(t *testing.T) {
	d := driver(t, parse(t, data))
	governancetest.RunConformanceTests(t, func(*testing.T) governancetest.Harness {
		return governancetest.Harness{Driver: d, Allowed: ask("user:ada@acme", "database.query", "database:orders"), Denied: ask("user:ada@acme", "database.query", "database:secrets")}
	})
}

func TestDecisions(t *testing.T) {
	port := governance.New(driver(t, parse(t, data)), governance.Options{})
	for _, tc := range []struct {
		subject, action, resource string
		effect                    kernel.Effect
		reason                    string
	}{
		{"user:ada@acme", "database.query", "database:orders", kernel.Allow, "rbac.reader.allow.1"},
		{"user:ada@acme.eu", "database.insert", "database:orders", kernel.Allow, "rbac.clerk.allow.0"},
		{"user:ada@umbrella", "database.query", "database:orders", kernel.Forbid, "rbac.no_role"},
		{"user:ada@", "database.query", "database:orders", kernel.Forbid, "rbac.no_role"},
		{"user:ada@acme", "database.query", "database:secrets", kernel.Forbid, "rbac.clerk.deny.0"},
		{"user:ada@acme", "database.insert", "database:items", kernel.Forbid, "rbac.no_role"},
		{"user:bob@any", "database.insert", "database:orders", kernel.Approve, "rbac.lead.approve.0"},
		{"user:bob@any", "database.query", "database:secrets", kernel.Forbid, "rbac.clerk.deny.0"},
		{"user:eve@lab", "llm.complete", "llm:gpt", kernel.Allow, "rbac.tool.allow.0"},
		{"user:eve@acme", "llm.complete", "llm:gpt", kernel.Forbid, "rbac.no_role"},
		{"user:kim@acme", "artifacts.retrieve", "artifacts:x", kernel.Forbid, "rbac.no_role"},
		{"module:ada@acme", "database.query", "database:secrets", kernel.Allow, "rbac.tool.allow.0"},
		// A module has its own rights and those of everyone it acts for.
		{"module:m@acme, ada", "database.query", "database:orders", kernel.Allow, "rbac.reader.allow.1"},
		{"module:m@acme, ada", "llm.complete", "llm:gpt", kernel.Forbid, "rbac.no_role"},
		{"module:m@acme, ada, module:n", "database.query", "database:secrets", kernel.Forbid, "rbac.clerk.deny.0"},
		{"module:m@acme, bob", "database.insert", "database:orders", kernel.Approve, "rbac.lead.approve.0"},
		{"module:m@acme, bob, module:n", "database.insert", "database:orders", kernel.Approve, "rbac.lead.approve.0"},
		{"module:m@acme, module:n", "llm.complete", "llm:gpt", kernel.Forbid, "rbac.no_role"}, // a user who calls himself a module
		{"user:ada@acme", "database.query", "", kernel.Forbid, "rbac.no_role"},
	} {
		d, err := port.Authorize(t.Context(), ask(tc.subject, tc.action, tc.resource))
		found := false
		for _, r := range d.Reasons {
			found = found || r.ID == tc.reason
		}
		if err != nil || d.Effect != tc.effect || !found {
			t.Errorf("%s %s %s: %+v, want %s by %s", tc.subject, tc.action, tc.resource, d, tc.effect, tc.reason)
		}
	}
	// What is ambiguous as type:id is nobody's.
	req := ask("module:m@acme", "llm.complete", "")
	req.Resource = kernel.Resource{Type: "llm:gpt", ID: "x"}
	if d, _ := port.Authorize(t.Context(), req); d.Effect != kernel.Forbid {
		t.Errorf("a type with a colon: %v", d)
	}
}

func TestRefused(t *testing.T) {
	for text, says := range map[string]string{
		`{"roles": {"a": {"inherits": ["b"]}, "b": {"inherits": ["c"]}, "c": {"inherits": ["a"]}}}`:     "in a circle: a -> b -> c -> a",
		`{"roles": {"a": {"inherits": ["a"]}}}`:                                                         "in a circle: a -> a",
		`{"roles": {"a": {"inherits": ["nobody"]}}}`:                                                    "no role",
		`{"roles": {"a": {"allow": [{"resource": "x"}]}}}`:                                              "roles.a.allow[0]",
		`{"roles": {"a": {}}, "bindings": [{"subjects": ["user:x"], "roles": ["b"]}]}`:                  "bindings[0]: there is no role",
		`{"roles": {"a": {}}, "bindings": [{"subjects": ["x"], "roles": ["a"]}]}`:                       "no type:id",
		`{"roles": {"a": {}}, "bindings": [{"subjects": [], "roles": ["a"]}]}`:                          "has subjects and roles",
		`{"roles": {"a": {}}, "bindings": [{"subjects": ["user:x"], "roles": ["a"], "tenants": [""]}]}`: "a tenant has",
	} {
		_, err := rbac.New(parse(t, text))
		if kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", text, err, says)
		}
	}
}

func TestRevision(t *testing.T) {
	a, b := parse(t, data), parse(t, data)
	if driver(t, a).Revision() != driver(t, b).Revision() {
		t.Error("the same data has two revisions")
	}
	b.Bindings[0].Tenants = nil
	if driver(t, a).Revision() == driver(t, b).Revision() {
		t.Error("other data has the same revision")
	}
}

// random makes roles, bindings and questions out of few words, so that they meet.
type random struct{ *rand.Rand }

func (r random) of(words ...string) string { return words[r.IntN(len(words))] }

func (r random) rules() (list []rbac.Rule) {
	for range r.IntN(4) {
		rule := rbac.Rule{Action: r.of("db.get", "db.set", "db.*", "fs.get", "*.get", "**", "d*")}
		if r.IntN(3) > 0 {
			rule.Resource = r.of("db:a", "db:b", "db:*", "fs:a.b", "fs:*", "fs:**", "*:a", "**")
		}
		list = append(list, rule)
	}
	return list
}

func (r random) data() rbac.Data {
	d := rbac.Data{Roles: map[string]rbac.Role{}}
	var names []string
	for i := range 2 + r.IntN(5) {
		role := rbac.Role{Allow: r.rules()}
		if r.IntN(3) == 0 {
			role.Deny = r.rules()
		}
		if r.IntN(3) == 0 {
			role.Approve = r.rules()
		}
		for range r.IntN(3) {
			if len(names) > 0 {
				role.Inherits = append(role.Inherits, r.of(names...))
			}
		}
		name := fmt.Sprint("r", i)
		names, d.Roles[name] = append(names, name), role
	}
	for range 1 + r.IntN(6) {
		b := rbac.Binding{Subjects: []string{r.of("user:ada", "user:bob", "user:*", "module:m", "*:ada")}, Roles: []string{r.of(names...), r.of(names...)}}
		if r.IntN(2) == 0 {
			b.Tenants = []string{r.of("t1", "t2", "t*")}
		}
		d.Bindings = append(d.Bindings, b)
	}
	return d
}

// TestListedIsAuthorized: what is listed is authorized, and the other way round, by
// patterns as well as pair by pair.
func TestListedIsAuthorized(t *testing.T) {
	r := random{rand.New(rand.NewPCG(1, 2))}
	seen := map[kernel.Effect]int{}
	triples := 0
	for triples < 20_000 {
		port := governance.New(driver(t, r.data()), governance.Options{})
		for range 10 {
			subject := kernel.Subject{Type: r.of("user", "module"), ID: r.of("ada", "bob", "m"), Tenant: r.of("t1", "t2", "u")}
			if subject.Type == "module" && r.IntN(2) == 0 {
				subject.Chain = []string{r.of("ada", "bob")}
			}
			q := &governance.Query{Subject: subject, Actions: []string{"db.get", "db.set", "fs.get", "fs.get.all", "x"}}
			q.Resources = []kernel.Resource{{Type: "db", ID: "a"}, {Type: "db", ID: "b"}, {Type: "fs", ID: "a.b"}, {Type: "fs", ID: ""}}
			patterns, err := port.ListPermissions(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if patterns.Patterns == (len(subject.Chain) > 0) {
				t.Fatalf("%v is listed by patterns: %v", subject, patterns.Patterns)
			}
			q.Each = true
			pairs, err := port.ListPermissions(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, action := range q.Actions {
				for _, resource := range q.Resources {
					triples++
					d, _ := port.Authorize(t.Context(), &kernel.AccessRequest{Subject: subject, Action: kernel.Act{Name: action}, Resource: resource})
					seen[d.Effect]++
					if got := governance.Listed(patterns, action, resource); got != d.Effect {
						t.Fatalf("%v %s %v: authorized as %v, listed as %s in %+v", subject, action, resource, d, got, patterns)
					}
					if got := governance.Listed(pairs, action, resource); got != d.Effect {
						t.Fatalf("%v %s %v: authorized as %v, listed pair by pair as %s", subject, action, resource, d, got)
					}
				}
			}
		}
	}
	if seen[kernel.Allow] < 1000 || seen[kernel.Approve] < 500 || seen[kernel.Forbid] < 1000 {
		t.Errorf("too little of something: %v", seen)
	}
}

func TestListKeepsRules(t *testing.T) {
	list, err := governance.New(driver(t, parse(t, data)), governance.Options{}).ListPermissions(t.Context(), &governance.Query{Subject: kernel.Subject{Type: "user", ID: "bob", Tenant: "t"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []kernel.Permission{
		{Action: "database.*", Resource: "database:orders", Effect: kernel.Allow, Rules: []string{"rbac.clerk.allow.0"}},
		{Action: "database.*", Resource: "database:secrets", Effect: kernel.Forbid, Rules: []string{"rbac.clerk.deny.0"}},
		{Action: "database.insert", Resource: "database:orders", Effect: kernel.Approve, Rules: []string{"rbac.lead.approve.0"}},
		{Action: "artifacts.retrieve", Resource: "**", Effect: kernel.Allow, Rules: []string{"rbac.reader.allow.0"}},
		{Action: "database.query", Resource: "database:**", Effect: kernel.Allow, Rules: []string{"rbac.reader.allow.1"}},
	}
	if diff := cmp.Diff(want, list.List); diff != "" {
		t.Error(diff)
	}
}

// BenchmarkAuthorize asks a policy of 1,000 bindings and 50 roles.
func BenchmarkAuthorize(b *testing.B) {
	d := rbac.Data{Roles: map[string]rbac.Role{}}
	for i := range 50 {
		role := rbac.Role{Allow: []rbac.Rule{{Action: "database.query", Resource: fmt.Sprintf("database:table%d", i)}, {Action: "artifacts.*"}}}
		if i > 0 {
			role.Inherits = []string{fmt.Sprint("role", (i-1)/2)}
		}
		d.Roles[fmt.Sprint("role", i)] = role
	}
	for i := range 1000 {
		d.Bindings = append(d.Bindings, rbac.Binding{Subjects: []string{fmt.Sprint("user:u", i)}, Roles: []string{fmt.Sprint("role", i%50)}, Tenants: []string{"acme"}})
	}
	made := driver(b, d)
	req := ask("user:u749@acme", "database.query", "database:table49")
	b.ReportAllocs()
	for b.Loop() {
		if got, _ := made.Authorize(b.Context(), req); got.Effect != kernel.Allow {
			b.Fatal(got)
		}
	}
}
