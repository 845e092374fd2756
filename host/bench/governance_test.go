package bench

import (
	"fmt"
	"testing"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
	"github.com/cedar-policy/cedar-go"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/governance/abac"
	"github.com/hexdag/hexdag/host/ports/governance/rbac"
)

// Roles: 1,000 users, each bound to one of 50 roles that inherit along a binary tree;
// each role allows one table, and the artifacts. A user of the last role asks for its table.
const (
	users = 1000
	roles = 50
)

func BenchmarkRoles(b *testing.B) {
	b.Run("hexdag", func(b *testing.B) { hexdagRoles(b, "") })
	b.Run("hexdag-port", func(b *testing.B) { hexdagRoles(b, "port") })
	b.Run("casbin", casbinRoles)
	b.Run("cedar", cedarRoles)
}

// hexdagRoles asks the driver, or the port on it, which keeps its answers.
func hexdagRoles(b *testing.B, through string) {
	data := rbac.Data{Roles: map[string]rbac.Role{}}
	for i := range roles {
		role := rbac.Role{Allow: []rbac.Rule{{Action: "database.query", Resource: fmt.Sprintf("database:table%d", i)}, {Action: "artifacts.*"}}}
		if i > 0 {
			role.Inherits = []string{fmt.Sprint("role", (i-1)/2)}
		}
		data.Roles[fmt.Sprint("role", i)] = role
	}
	for i := range users {
		data.Bindings = append(data.Bindings, rbac.Binding{Subjects: []string{fmt.Sprint("user:u", i)}, Roles: []string{fmt.Sprint("role", i%roles)}})
	}
	driver, err := rbac.New(data)
	if err != nil {
		b.Fatal(err)
	}
	ask := driver.Authorize
	if through == "port" {
		ask = governance.New(driver, governance.Options{}).Authorize
	}
	compare(b, func(user, table string) (bool, error) {
		d, err := ask(b.Context(), &kernel.AccessRequest{Subject: kernel.Subject{Type: "user", ID: user}, Action: kernel.Act{Name: "database.query"}, Resource: kernel.Resource{Type: "database", ID: table}})
		return d.Effect == kernel.Allow, err
	})
}

// compare checks a yes and a no, and measures the yes.
func compare(b *testing.B, ask func(user, table string) (bool, error)) {
	if no, err := ask("u749", "table48"); no || err != nil {
		b.Fatal(no, err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if yes, err := ask("u749", "table49"); !yes || err != nil {
			b.Fatal(yes, err)
		}
	}
}

func casbinRoles(b *testing.B) {
	m, err := model.NewModelFromString(`
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub) && keyMatch(r.obj, p.obj) && keyMatch(r.act, p.act)
`)
	if err != nil {
		b.Fatal(err)
	}
	e, err := casbin.NewEnforcer(m)
	if err != nil {
		b.Fatal(err)
	}
	var policies, groups [][]string
	for i := range roles {
		role := fmt.Sprint("role", i)
		policies = append(policies, []string{role, fmt.Sprintf("database:table%d", i), "database.query"}, []string{role, "*", "artifacts.*"})
		if i > 0 {
			groups = append(groups, []string{role, fmt.Sprint("role", (i-1)/2)})
		}
	}
	for i := range users {
		groups = append(groups, []string{fmt.Sprint("u", i), fmt.Sprint("role", i%roles)})
	}
	if _, err := e.AddPolicies(policies); err != nil {
		b.Fatal(err)
	}
	if _, err := e.AddGroupingPolicies(groups); err != nil {
		b.Fatal(err)
	}
	compare(b, func(user, table string) (bool, error) { return e.Enforce(user, "database:"+table, "database.query") })
}

func cedarRoles(b *testing.B) {
	text := ""
	entities := cedar.EntityMap{}
	uid := func(kind, id string) cedar.EntityUID {
		return cedar.NewEntityUID(cedar.EntityType(kind), cedar.String(id))
	}
	for i := range roles {
		text += fmt.Sprintf("permit (principal in Role::\"role%d\", action == Action::\"database.query\", resource == Table::\"table%d\");\npermit (principal in Role::\"role%d\", action in Action::\"artifacts\", resource);\n", i, i, i)
		e := cedar.Entity{UID: uid("Role", fmt.Sprint("role", i))}
		if i > 0 {
			e.Parents = cedar.NewEntityUIDSet(uid("Role", fmt.Sprint("role", (i-1)/2)))
		}
		entities[e.UID] = e
	}
	for i := range users {
		e := cedar.Entity{UID: uid("User", fmt.Sprint("u", i)), Parents: cedar.NewEntityUIDSet(uid("Role", fmt.Sprint("role", i%roles)))}
		entities[e.UID] = e
	}
	policies, err := cedar.NewPolicySetFromBytes("roles.cedar", []byte(text))
	if err != nil {
		b.Fatal(err)
	}
	compare(b, func(user, table string) (bool, error) {
		decision, diagnostic := cedar.Authorize(policies, entities, cedar.Request{Principal: uid("User", user), Action: uid("Action", "database.query"), Resource: uid("Table", table)})
		if len(diagnostic.Errors) > 0 {
			return false, fmt.Errorf("%v", diagnostic.Errors)
		}
		return bool(decision), nil
	})
}

// Attributes: 1,000 rules, 20 for each of 50 actions, each for one resource and with a
// condition on the subject and the context.
func BenchmarkAttributes(b *testing.B) {
	b.Run("hexdag", hexdagAttributes)
	b.Run("cedar", cedarAttributes)
}

func hexdagAttributes(b *testing.B) {
	var data abac.Data
	for i := range users {
		data.Rules = append(data.Rules, abac.Rule{
			ID: fmt.Sprint("r", i), Effect: kernel.Allow, Actions: []string{fmt.Sprintf("service%d.call", i%roles)}, Resources: []string{fmt.Sprintf("service:item%d", i)},
			Condition: "subject.tenant == 'acme' and context.labels.env == 'prod'",
		})
	}
	driver, err := abac.New(data)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		d, err := driver.Authorize(b.Context(), &kernel.AccessRequest{
			Subject: kernel.Subject{Type: "user", ID: "ada", Tenant: "acme"}, Action: kernel.Act{Name: "service49.call"}, Resource: kernel.Resource{Type: "service", ID: "item949"},
			Context: kernel.Scope{Labels: map[string]string{"env": "prod"}},
		})
		if err != nil || d.Effect != kernel.Allow {
			b.Fatal(d, err)
		}
	}
}

func cedarAttributes(b *testing.B) {
	text := ""
	for i := range users {
		text += fmt.Sprintf("permit (principal, action == Action::\"service%d.call\", resource == Service::\"item%d\") when { principal.tenant == \"acme\" && context.env == \"prod\" };\n", i%roles, i)
	}
	policies, err := cedar.NewPolicySetFromBytes("attributes.cedar", []byte(text))
	if err != nil {
		b.Fatal(err)
	}
	ada := cedar.NewEntityUID("User", "ada")
	entities := cedar.EntityMap{ada: {UID: ada, Attributes: cedar.NewRecord(cedar.RecordMap{"tenant": cedar.String("acme")})}}
	b.ReportAllocs()
	for b.Loop() {
		decision, diagnostic := cedar.Authorize(policies, entities, cedar.Request{
			Principal: ada, Action: cedar.NewEntityUID("Action", "service49.call"), Resource: cedar.NewEntityUID("Service", "item949"),
			Context: cedar.NewRecord(cedar.RecordMap{"env": cedar.String("prod")}),
		})
		if len(diagnostic.Errors) > 0 || !bool(decision) {
			b.Fatal(decision, diagnostic)
		}
	}
}
