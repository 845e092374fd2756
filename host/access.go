package host

import (
	"context"
	"maps"
	"slices"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/governance/auditlog"
)

// Artifacts is the store of the host's artifacts, which may hold those of other tenants; nil where the embedding program brings the port.
func (h *Host) Artifacts() *artifacts.Store { return h.artifacts }

// AuditPlace is a place in an audit log.
type AuditPlace = auditlog.Place

// ParseAuditPlace reads what AuditPlace's String has written; "" is the start.
func ParseAuditPlace(text string) (AuditPlace, error) { return auditlog.ParsePlace(text) }

// AuditPage shows records of the host's audit log as they stand, from a place on, until visit returns false or some MiB were looked through.
// It returns where the next page begins, and whether there may be more.
func (h *Host) AuditPage(from AuditPlace, visit func(n int64, r *AuditRecord) bool) (next AuditPlace, more bool, err error) {
	return auditlog.Page(h.AuditDir(), from, visit)
}

// AuditCheckpoint returns the signed checkpoint of the host's audit log, and the public key that it is signed with.
func (h *Host) AuditCheckpoint() (signed, key string, err error) {
	return auditlog.Checkpoint(h.AuditDir(), h.audit.VerifierKey())
}

// VerifyAudit recomputes the host's audit log as far as its checkpoint covers it, and compares it with the host's key.
func (h *Host) VerifyAudit(ctx context.Context, known []byte) (*AuditReport, error) {
	return auditlog.Verify(ctx, h.AuditDir(), AuditOptions{VerifierKey: h.audit.VerifierKey(), Known: known, Live: true})
}

// ProveAudit proves that a record is in the host's audit log, or, with 0, that this has only grown since known.
func (h *Host) ProveAudit(ctx context.Context, record int64, known []byte) (*AuditProof, error) {
	return auditlog.Prove(ctx, h.AuditDir(), record, AuditOptions{VerifierKey: h.audit.VerifierKey(), Known: known, Live: true})
}

// ConfigurationRead puts on record that the configuration was read again, or, with why, that it was not. The principal is who asked for it; "" is
// the configuration's.
func (h *Host) ConfigurationRead(ctx context.Context, principal string, why error) error {
	record := kernel.AuditRecord{Kind: "config", Principal: orElse(principal, h.principal()), Tenant: h.tenant(), Action: "config.reload", Effect: kernel.Allow, Result: "ok"}
	if why != nil {
		record.Effect, record.Result, record.Detail = kernel.Forbid, string(kernel.CodeOf(why)), kernel.Quote(why.Error())
	}
	return h.audit.Audit(ctx, &record)
}

// Refused puts on record that a request was refused before governance was asked, and why.
func (h *Host) Refused(ctx context.Context, principal, action string, why error) error {
	return h.audit.Audit(ctx, &kernel.AuditRecord{Kind: "access", Principal: principal, Tenant: h.tenant(), Action: action, Effect: kernel.Forbid, Result: string(kernel.CodeOf(why)), Detail: kernel.Quote(why.Error())})
}

// Policy is one of those that decide together.
type Policy struct {
	Name     string `json:"name"`               // within the configuration of governance; "" is the whole
	Revision string `json:"revision,omitempty"` // of its rules and data; "" where it cannot tell
	Rego     bool   `json:"rego,omitempty"`
}

// Policies returns those of the host's governance, by their names.
func (h *Host) Policies() []Policy {
	g := h.governing
	g.changing.Lock()
	defer g.changing.Unlock()
	list := []Policy{}
	if g.tree == nil {
		return list
	}
	for _, name := range slices.Sorted(maps.Keys(g.tree.nodes)) {
		n := g.tree.nodes[name]
		list = append(list, Policy{Name: name, Revision: n.revision(), Rego: n.policy != nil})
	}
	return list
}

// Decide asks governance what a principal would be answered, on record as any decision is; nothing comes of it.
func (h *Host) Decide(ctx context.Context, principal, action string, resource kernel.Resource, args map[string]any) (kernel.Decision, error) {
	return h.governance.Authorize(ctx, &kernel.AccessRequest{
		Subject: kernel.Subject{Type: "user", ID: orElse(principal, h.principal()), Tenant: h.tenant()}, Action: kernel.Act{Name: action, Args: args}, Resource: resource,
	})
}

// Permissions returns what a principal may do.
func (h *Host) Permissions(ctx context.Context, principal string, actions []string, resources []kernel.Resource) (*kernel.Permissions, error) {
	return h.governing.port.ListPermissions(ctx, &governance.Query{
		Subject: kernel.Subject{Type: "user", ID: orElse(principal, h.principal()), Tenant: h.tenant()}, Actions: actions, Resources: resources,
	})
}
