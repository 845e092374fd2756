// Package abac is a backend of governance: rules with conditions on the attributes of
// a request. Its data, in YAML or JSON:
//
//	rules:
//	  - id: small-refunds
//	    effect: allow                      # or deny, or approve
//	    actions: [refund.issue]            # patterns, as abi.Match has them
//	    resources: ["order:*"]             # "type:id"; any, if it is not said
//	    condition: subject.tenant == "acme" and action.args.amount <= attributes.limits.refund
//	    message: within the limit
//	    obligations: [{type: notify, to: finance}]
//	    ttl_s: 60
//	attributes: {limits: {refund: 50}}
//
// A condition is an expression (package expr) over subject {type, id, tenant,
// on_behalf_of}, action {name, args}, resource {type, id}, context {run_id, pipeline,
// node, labels, usage} and attributes, which are the data's own. Denials win over
// approvals, and these over allowances; what no rule speaks of is undefined, and a
// condition that fails is an error, whatever the other rules say. Either is a denial.
//
// A missing attribute is None, which compares as unequal: an allowance that asks for it
// does not hold then, and neither does a denial. So write what is allowed, and deny
// only what is certain to be there.
package abac

import (
	"context"
	"fmt"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/expr"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
)

// Driver decides by rules.
type Driver struct {
	exact      map[string][]*rule // by action, where it is no pattern
	patterns   []*rule
	attributes kernel.Value
	revision   string
	reads      driver.Reads
}

// rule is one pattern of actions of a rule of the data.
type rule struct {
	*Rule
	action    string
	condition *expr.Program // nil holds
}

// Revision identifies the data.
func (d *Driver) Revision() string { return d.revision }

// Reads returns what the conditions look at.
func (d *Driver) Reads() driver.Reads { return d.reads }

// Authorize evaluates the conditions of every rule that speaks of the action and the
// resource.
func (d *Driver) Authorize(ctx context.Context, req *kernel.AccessRequest) (kernel.Decision, error) {
	if strings.Contains(req.Resource.Type, ":") { // one could pass for another
		return kernel.Decision{}, nil
	}
	q := question{scope: scope{req: req, attributes: d.attributes}, resource: req.Resource.Type + ":" + req.Resource.ID}
	for _, r := range d.exact[req.Action.Name] {
		if err := q.consider(ctx, r); err != nil {
			return kernel.Decision{}, err
		}
	}
	for _, r := range d.patterns {
		if !abi.Match(r.action, req.Action.Name) {
			continue
		}
		if err := q.consider(ctx, r); err != nil {
			return kernel.Decision{}, err
		}
	}
	return q.decision(), nil
}

// question is a request, and the rules that hold for it.
type question struct {
	scope
	resource string
	holding  []*rule
}

func (q *question) consider(ctx context.Context, r *rule) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !r.covers(q.resource) {
		return nil
	}
	if r.condition != nil {
		holds, err := r.condition.Predicate(&q.scope)
		if err != nil {
			return fmt.Errorf("the condition of rule %s: %w", kernel.Quote(r.ID), err)
		}
		if !holds {
			return nil
		}
	}
	for _, known := range q.holding {
		if known.Rule == r.Rule { // by another of its patterns
			return nil
		}
	}
	q.holding = append(q.holding, r)
	return nil
}

func (r *Rule) covers(resource string) bool {
	for _, pattern := range r.Resources {
		if abi.Match(pattern, resource) {
			return true
		}
	}
	return len(r.Resources) == 0
}

// decision is that of the strictest rules. What the milder ones oblige to holds too:
// who may do a thing in two ways is held to both.
func (q *question) decision() (d kernel.Decision) {
	for _, r := range q.holding {
		if d.Effect == "" || r.Effect.Stricter(d.Effect) {
			d.Effect = r.Effect
		}
	}
	ttl := -1
	for _, r := range q.holding {
		d.Obligations = append(d.Obligations, r.Obligations...)
		if ttl < 0 || r.TTLSeconds < ttl {
			ttl = r.TTLSeconds
		}
		if r.Effect == d.Effect {
			d.Reasons = append(d.Reasons, kernel.Reason{ID: r.ID, Msg: r.Message})
		}
	}
	d.TTLSeconds = max(ttl, 0)
	return d
}
