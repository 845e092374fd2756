package rbac

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
)

// Data is roles and who has them.
type Data struct {
	Roles    map[string]Role `json:"roles"`
	Bindings []Binding       `json:"bindings"`
}

// Role is what its holders may do, and may not.
type Role struct {
	Inherits []string `json:"inherits"`
	Allow    []Rule   `json:"allow"`
	Approve  []Rule   `json:"approve"` // a person has to approve first
	Deny     []Rule   `json:"deny"`
}

// Rule is patterns of actions and of resources, "type:id"; no resource is any.
type Rule struct {
	Action   string `json:"action"`
	Resource string `json:"resource"`
}

// Binding gives subjects roles, in the tenants that match; none is all.
type Binding struct {
	Subjects []string `json:"subjects"`
	Roles    []string `json:"roles"`
	Tenants  []string `json:"tenants"`
}

// maxPattern bounds the patterns of the data, in bytes.
const maxPattern = 256

// New returns a driver on data. What is wrong with it is CodeConfig.
func New(data Data) (*Driver, error) {
	closed := map[string][]*rule{}
	for _, name := range slices.Sorted(maps.Keys(data.Roles)) {
		if _, err := data.close(name, closed, nil); err != nil {
			return nil, invalid(err)
		}
	}
	d := &Driver{exact: map[string][]*grant{}}
	for i, b := range data.Bindings {
		if err := d.bind(b, closed); err != nil {
			return nil, invalid(fmt.Errorf("bindings[%d]: %w", i, err))
		}
	}
	var err error
	if d.revision, err = driver.RevisionOf("rbac", data); err != nil {
		return nil, invalid(err)
	}
	return d, nil
}

func invalid(err error) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: "the data of rbac cannot be used", Why: kernel.Quote(err.Error()),
		Fix: "write roles: {name: {inherits, allow: [{action, resource}], approve, deny}} and bindings: [{subjects: [type:id], roles, tenants}]", Err: err}
}

// close returns a role's own rules and those that it inherits. path is the roles that
// are being closed, so that one that is its own ancestor is found.
func (d *Data) close(name string, closed map[string][]*rule, path []string) ([]*rule, error) {
	if rules, done := closed[name]; done {
		return rules, nil
	}
	if slices.Contains(path, name) {
		return nil, fmt.Errorf("roles inherit from each other in a circle: %s", strings.Join(append(path, name), " -> "))
	}
	role, known := d.Roles[name]
	if !known {
		return nil, fmt.Errorf("there is no role %q; there are %s", name, strings.Join(slices.Sorted(maps.Keys(d.Roles)), ", "))
	}
	rules, err := role.rules(name)
	if err != nil {
		return nil, err
	}
	for _, parent := range role.Inherits {
		inherited, err := d.close(parent, closed, append(path, name))
		if err != nil {
			return nil, err
		}
		for _, r := range inherited { // by several ways, once
			if !slices.Contains(rules, r) {
				rules = append(rules, r)
			}
		}
	}
	closed[name] = rules
	return rules, nil
}

func (r *Role) rules(name string) ([]*rule, error) {
	var rules []*rule
	for _, group := range []struct {
		effect kernel.Effect
		rules  []Rule
	}{{kernel.Allow, r.Allow}, {kernel.Approve, r.Approve}, {kernel.Forbid, r.Deny}} {
		for i, line := range group.rules {
			if line.Action == "" || len(line.Action)+len(line.Resource) > maxPattern {
				return nil, fmt.Errorf("roles.%s.%s[%d]: a rule has an action, and patterns of %d bytes at most", name, group.effect, i, maxPattern)
			}
			rules = append(rules, &rule{effect: group.effect, action: line.Action, resource: line.Resource, role: name, id: fmt.Sprintf("rbac.%s.%s.%d", name, group.effect, i)})
		}
	}
	return rules, nil
}

func (d *Driver) bind(b Binding, closed map[string][]*rule) error {
	if len(b.Subjects) == 0 || len(b.Roles) == 0 {
		return fmt.Errorf("it has subjects and roles")
	}
	var rules []*rule
	for _, name := range b.Roles {
		of, known := closed[name]
		if !known {
			return fmt.Errorf("there is no role %q; there are %s", name, strings.Join(slices.Sorted(maps.Keys(closed)), ", "))
		}
		for _, r := range of {
			if !slices.Contains(rules, r) {
				rules = append(rules, r)
			}
		}
	}
	for _, pattern := range b.Tenants {
		if pattern == "" || len(pattern) > maxPattern {
			return fmt.Errorf("a tenant has 1 to %d bytes", maxPattern)
		}
	}
	shared := index(rules)
	for _, subject := range b.Subjects {
		kind, _, ok := strings.Cut(subject, ":")
		if !ok || kind == "" || len(subject) > maxPattern {
			return fmt.Errorf("the subject %q is no type:id, such as user:ada or module:*", subject)
		}
		g := shared
		g.subject, g.tenants = subject, b.Tenants
		if strings.Contains(subject, "*") {
			d.patterns = append(d.patterns, &g)
		} else {
			d.exact[subject] = append(d.exact[subject], &g)
		}
	}
	return nil
}

// index sorts rules by what a question can look up.
func index(rules []*rule) grant {
	g := grant{actions: map[string][]*rule{}}
	for _, r := range rules {
		if strings.Contains(r.action, "*") {
			g.others = append(g.others, r)
		} else {
			g.actions[r.action] = append(g.actions[r.action], r)
		}
	}
	return g
}
