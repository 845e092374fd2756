package host

import (
	"context"
	"errors"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// Allow asks governance whether a principal may do something that is no call of a run, such as to look at one, and puts the answer on record.
// The error, of CodeDenied for what may not be done, says why.
func (h *Host) Allow(ctx context.Context, principal, action string, resource kernel.Resource) error {
	principal = orElse(principal, h.principal())
	record := kernel.AuditRecord{Kind: "access", Tenant: h.tenant(), Principal: principal, Action: action, Resource: resource.Type + ":" + resource.ID, Effect: kernel.Allow}
	decision, err := h.governance.Authorize(ctx, &kernel.AccessRequest{
		Subject: kernel.Subject{Type: "user", ID: principal, Tenant: h.tenant()}, Action: kernel.Act{Name: action}, Resource: resource,
	})
	record.Reasons = decision.Reasons
	if err != nil {
		record.Reasons = []kernel.Reason{{ID: "hexdag.governance.error", Msg: err.Error()}}
	} else if decision.Effect != kernel.Allow || len(decision.Obligations) > 0 {
		err = ports.Denied(action, decision)
	}
	if err != nil {
		record.Effect, record.Result = kernel.Forbid, string(kernel.CodeOf(err))
	}
	return errors.Join(err, h.audit.Audit(ctx, &record))
}
