// Package rbac is a backend of governance: roles allow, and subjects have roles. Its
// data, in YAML or JSON:
//
//	roles:
//	  reader: {allow: [{action: "artifacts.*"}, {action: "llm.*", resource: "llm:mock"}]}
//	  clerk: {inherits: [reader], allow: [...], approve: [...], deny: [...]}
//	bindings:
//	  - {subjects: ["user:ada", "module:*"], roles: [clerk], tenants: [acme]}
//
// Actions, resources ("type:id"), subjects ("type:id") and tenants are patterns, as
// abi.Match has them; a resource that is not said is any, and tenants that are not
// said are all. Denials win over approvals, and these over allowances, whichever role they are of. What no
// role speaks of is undefined, which is a denial.
//
// A module acts on behalf of those before it in its chain: all of them have to be
// allowed.
package rbac

import (
	"context"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
)

// Driver decides by roles. Everything that follows from the data is worked out when
// it is made: a question looks up its subject and its action.
type Driver struct {
	exact    map[string][]*grant // by subject, where it is no pattern
	patterns []*grant
	revision string
}

// grant is a binding's roles with all that they inherit, for one of its subjects.
type grant struct {
	subject string
	tenants []string
	actions map[string][]*rule // by action, where it is no pattern
	others  []*rule
}

// rule is one line of a role.
type rule struct {
	effect   kernel.Effect
	action   string
	resource string // "" is any
	role     string // that has it
	id       string
}

// Revision identifies the data.
func (d *Driver) Revision() string { return d.revision }

// Reads reports that no rule looks at the run.
func (d *Driver) Reads() driver.Reads { return driver.Reads{} }

// Authorize asks for the subject and each that it acts on behalf of. The strictest
// answer is the answer.
func (d *Driver) Authorize(_ context.Context, req *kernel.AccessRequest) (kernel.Decision, error) {
	if strings.Contains(req.Subject.Type, ":") || strings.Contains(req.Resource.Type, ":") { // one could pass for another
		return kernel.Decision{}, nil
	}
	resource := req.Resource.Type + ":" + req.Resource.ID
	answer := d.of(req.Subject.Type+":"+req.Subject.ID, req, resource)
	for i, name := range req.Subject.Chain {
		if answer.Effect != kernel.Allow && answer.Effect != kernel.Approve {
			return answer, nil
		}
		next := d.of(chained(i, name), req, resource)
		switch {
		case next.Effect == kernel.Allow && answer.Effect == kernel.Approve:
			next.Effect = kernel.Approve
			fallthrough
		case next.Effect == kernel.Allow, next.Effect == kernel.Approve:
			next.Reasons = append(slices.Clip(answer.Reasons), next.Reasons...)
		}
		answer = next
	}
	return answer, nil
}

// chained returns a member of a chain as subjects are written: the first is the
// run's principal, a user, whatever it is called.
func chained(i int, name string) string {
	if i == 0 {
		return "user:" + name
	}
	return name
}

// of returns the answer for one subject.
func (d *Driver) of(subject string, req *kernel.AccessRequest, resource string) kernel.Decision {
	var strictest *rule
	look := func(g *grant) {
		if !g.in(req.Subject.Tenant) {
			return
		}
		for _, list := range [...][]*rule{g.actions[req.Action.Name], g.others} {
			for _, r := range list {
				if r.covers(req.Action.Name, resource) && (strictest == nil || r.effect.Stricter(strictest.effect)) {
					strictest = r
				}
			}
		}
	}
	for _, g := range d.exact[subject] {
		look(g)
	}
	for _, g := range d.patterns {
		if abi.Match(g.subject, subject) {
			look(g)
		}
	}
	if strictest == nil {
		return kernel.Decision{Effect: kernel.Forbid, Reasons: []kernel.Reason{{ID: "rbac.no_role", Msg: "no role of " + subject + " allows " + req.Action.Name + " on " + resource}}, TTLSeconds: ttl}
	}
	return kernel.Decision{Effect: strictest.effect, Reasons: []kernel.Reason{{ID: strictest.id, Msg: "role " + strictest.role + " of " + subject}}, TTLSeconds: ttl}
}

// ttl is how long decisions are good for, in seconds: the data does not change, and
// other data has another revision.
const ttl = 3600

func (g *grant) in(tenant string) bool {
	return len(g.tenants) == 0 || slices.ContainsFunc(g.tenants, func(pattern string) bool { return abi.Match(pattern, tenant) })
}

func (r *rule) covers(action, resource string) bool {
	return (r.action == action || abi.Match(r.action, action)) && (r.resource == "" || abi.Match(r.resource, resource))
}

// ListPermissions returns the rules that a subject has. For one that acts on behalf of
// others there is no list of patterns.
func (d *Driver) ListPermissions(_ context.Context, subject *kernel.Subject, _ *kernel.Scope) (list []kernel.Permission, complete bool, err error) {
	if len(subject.Chain) > 0 || strings.Contains(subject.Type, ":") {
		return nil, false, nil
	}
	name := subject.Type + ":" + subject.ID
	add := func(r *rule) {
		may := kernel.Permission{Action: r.action, Resource: r.resource, Effect: r.effect, Rules: []string{r.id}}
		if may.Resource == "" {
			may.Resource = "**"
		}
		list = append(list, may)
	}
	seen := map[*rule]bool{}
	for _, g := range slices.Concat(d.exact[name], d.patterns) {
		if !g.in(subject.Tenant) || !abi.Match(g.subject, name) {
			continue
		}
		for _, r := range g.rules() {
			if !seen[r] {
				seen[r] = true
				add(r)
			}
		}
	}
	return list, true, nil
}

// rules returns a grant's rules in the order of the data.
func (g *grant) rules() []*rule {
	var all []*rule
	for _, list := range g.actions {
		all = append(all, list...)
	}
	all = append(all, g.others...)
	slices.SortFunc(all, func(a, b *rule) int { return strings.Compare(a.id, b.id) })
	return all
}
