package impact

import (
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance"
)

// request returns what was asked, as far as the record of a decision tells it, and what it
// does not, as refs into a policy's input; or why it cannot be asked again.
func request(r *kernel.AuditRecord) (req *kernel.AccessRequest, unknown []string, why string) {
	for _, reason := range r.Reasons {
		if slices.Contains(hostReasons(), reason.ID) {
			return nil, nil, "no rule decided it: " + reason.ID
		}
	}
	if r.Effect == "" {
		return nil, nil, "the record has no effect"
	}
	req = &kernel.AccessRequest{Action: kernel.Act{Name: r.Action}}
	unknown = subject(r, req)
	switch kind, id, ok := strings.Cut(r.Resource, ":"); {
	case masked(r, "/resource") || !ok:
		unknown = append(unknown, "input.resource")
	default:
		req.Resource = kernel.Resource{Type: kind, ID: id}
	}
	switch {
	case r.Args != nil && !slices.ContainsFunc(r.Masked, func(p string) bool { return p == "/args" || strings.HasPrefix(p, "/args/") }):
		req.Action.Args = *r.Args
	default:
		unknown = append(unknown, "input.action.args")
	}
	if r.Context == nil {
		return req, append(unknown, "input.context"), ""
	}
	req.Context = *r.Context
	req.Context.RunID = r.RunID
	if req.Context.Node = r.Node; masked(r, "/node") {
		unknown = append(unknown, "input.context.node")
	}
	return req, unknown, ""
}

// subject fills in who asked.
func subject(r *kernel.AuditRecord, req *kernel.AccessRequest) (unknown []string) {
	req.Subject.Tenant = r.Tenant
	if masked(r, "/principal") || masked(r, "/chain") {
		return []string{"input.subject.id", "input.subject.type", "input.subject.on_behalf_of"}
	}
	if len(r.Chain) == 0 {
		req.Subject.ID, req.Subject.Type = r.Principal, r.SubjectType
		if r.SubjectType == "" {
			unknown = append(unknown, "input.subject.type")
		}
		return unknown
	}
	last := len(r.Chain) - 1
	req.Subject.Chain = r.Chain[:last]
	req.Subject.Type, req.Subject.ID, _ = strings.Cut(r.Chain[last], ":")
	return nil
}

func masked(r *kernel.AuditRecord, pointer string) bool { return slices.Contains(r.Masked, pointer) }

// hostReasons are of decisions that no rule made, and which tell nothing of the rules.
func hostReasons() []string {
	return []string{governance.ReasonError, governance.ReasonTimeout, governance.ReasonEffect, governance.ReasonObligation, governance.ReasonAudit}
}
