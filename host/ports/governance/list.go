package governance

import (
	"context"
	"fmt"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
)

// Query asks what a subject may do. Actions and Resources bound the answer where
// the backend cannot tell it as patterns.
type Query struct {
	Subject   kernel.Subject
	Context   kernel.Scope
	Actions   []string
	Resources []kernel.Resource
	// Each has every pair of Actions and Resources asked about, also where the
	// backend has patterns.
	Each bool
}

// maxPairs bounds how many questions one list is worth.
const maxPairs = 10_000

// ListPermissions returns what a subject may do: as patterns, where the backend has
// them and the query does not ask for each pair, else each pair of an action and a
// resource that Authorize allows, or allows once it is approved. An action without
// arguments is asked about; what a rule makes of arguments, a list cannot say.
//
// Errors: CodeArguments if there are too many pairs or none, CodeTimeout if the time
// is up, CodeFailed if the backend failed.
func (p *Port) ListPermissions(ctx context.Context, q *Query) (*kernel.Permissions, error) {
	b := p.enter()
	defer b.leave()
	if l, ok := b.Driver.(driver.Lister); ok && !q.Each {
		list, complete, err := l.ListPermissions(ctx, &q.Subject, &q.Context)
		if err != nil {
			return nil, &kernel.Error{Code: kernel.CodeFailed, What: "the permissions cannot be listed", Why: kernel.Quote(err.Error()), Err: err}
		}
		if complete {
			return &kernel.Permissions{List: quoted(list), Patterns: true}, nil
		}
	}
	pairs := len(q.Actions) * len(q.Resources)
	if pairs == 0 || pairs > maxPairs {
		return nil, &kernel.Error{Code: kernel.CodeArguments, What: "the permissions cannot be listed", Why: fmt.Sprintf("this policy tells them only pair by pair, and there are %d pairs of an action and a resource; 1 to %d can be listed", pairs, maxPairs),
			Fix: "name actions and resources"}
	}
	return p.enumerate(ctx, b, q)
}

// enumerate asks about each pair. An unclear answer is a denial, as everywhere.
func (p *Port) enumerate(ctx context.Context, b *backend, q *Query) (*kernel.Permissions, error) {
	found := &kernel.Permissions{List: []kernel.Permission{}}
	for _, action := range q.Actions {
		for _, resource := range q.Resources {
			if ctx.Err() != nil {
				return nil, kernel.ContextError(ctx)
			}
			req := &kernel.AccessRequest{Subject: q.Subject, Action: kernel.Act{Name: action}, Resource: resource, Context: q.Context}
			d := p.decideBy(ctx, b, req)
			if d.Effect == kernel.Forbid {
				continue
			}
			may := kernel.Permission{Action: action, Resource: resource.Type + ":" + resource.ID, Effect: d.Effect}
			for _, r := range d.Reasons {
				may.Rules = append(may.Rules, r.ID)
			}
			found.List = append(found.List, may)
		}
	}
	return found, nil
}

// Listed returns what a list says of an action on a resource: the strictest of what
// covers them, and Forbid where nothing does.
func Listed(p *kernel.Permissions, action string, resource kernel.Resource) kernel.Effect {
	effect := kernel.Effect("")
	name := resource.Type + ":" + resource.ID
	for _, may := range p.List {
		covers := may.Action == action && may.Resource == name
		if p.Patterns {
			covers = abi.Match(may.Action, action) && abi.Match(may.Resource, name)
		}
		switch {
		case !covers:
		case may.Effect == kernel.Forbid, may.Effect == kernel.Approve, effect == "":
			if effect = may.Effect; effect == kernel.Forbid {
				return effect
			}
		}
	}
	if effect == "" {
		return kernel.Forbid
	}
	return effect
}

func quoted(list []kernel.Permission) []kernel.Permission {
	safe := make([]kernel.Permission, len(list))
	for i, may := range list {
		safe[i] = kernel.Permission{Action: kernel.Quote(may.Action), Resource: kernel.Quote(may.Resource), Effect: may.Effect}
		for _, rule := range may.Rules {
			safe[i].Rules = append(safe[i].Rules, kernel.Quote(rule))
		}
	}
	return safe
}
