package host

import (
	"context"
	"errors"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// What governance is asked before a run. The resource is the pipeline, by its name.
const (
	actionRun    = "pipeline.run"
	actionResume = "pipeline.resume"
)

// admit asks governance whether the run may begin, or go on, and puts the answer on
// record. Without an answer, or without the record, it may not.
func (h *Host) admit(ctx context.Context, run *kernel.RunContext, action string) error {
	ctx = kernel.WithFlow(kernel.WithRun(ctx, run), kernel.NewFlow(run.InputLabels))
	record := kernel.AuditRecord{Kind: "run", RunID: run.RunID, Tenant: run.Tenant, Principal: run.Principal, Action: action, Resource: run.PipelineName, Effect: kernel.Allow, Labels: run.InputLabels}
	decision, err := h.governance.Authorize(ctx, &kernel.AccessRequest{
		Subject:  ports.SubjectOf(ctx, kernel.Caller{Principal: run.Principal}),
		Action:   kernel.Act{Name: action},
		Resource: kernel.Resource{Type: "pipeline", ID: run.PipelineName},
		Context:  ports.ScopeOf(ctx, ""),
	})
	record.Reasons = decision.Reasons
	if err != nil {
		record.Reasons = []kernel.Reason{{ID: "hexdag.governance.error", Msg: err.Error()}}
	} else {
		err = refusal(action, decision)
	}
	if err != nil {
		record.Effect, record.Result = kernel.Forbid, string(kernel.CodeOf(err))
	}
	if rerr := h.audit.Audit(ctx, &record); rerr != nil {
		return errors.Join(rerr, err)
	}
	if err != nil && ctx.Err() != nil {
		return errors.Join(kernel.ContextError(ctx), err) // nobody denied it
	}
	return err
}

// refusal is why a run may not begin, or nil. It cannot wait for an approval, and
// keeps no obligation: those are of single calls.
func refusal(action string, d kernel.Decision) error {
	switch {
	case d.Effect == kernel.Approve:
		return &kernel.Error{Code: kernel.CodeDenied, What: action + " needs an approval, and a run cannot wait for one before it begins", Why: ports.Reasons(d),
			Fix: "allow " + action + " in the policy, and have the calls that matter approved"}
	case d.Effect != kernel.Allow:
		return ports.Denied(action, d)
	case len(d.Obligations) > 0:
		return &kernel.Error{Code: kernel.CodeDenied, What: action + " was refused: governance obliges to what the host cannot do", Why: "obligations are kept of calls, not of whole runs",
			Fix: "put the obligations on the calls of the run"}
	}
	return nil
}

// Admit asks governance whether a principal may do something that is no run's, and puts the answer on record.
func (h *Host) Admit(ctx context.Context, principal, action string, resource kernel.Resource) error {
	principal = orElse(principal, h.principal())
	decision, err := h.governance.Authorize(ctx, &kernel.AccessRequest{
		Subject: kernel.Subject{Type: "user", ID: principal, Tenant: h.tenant()}, Action: kernel.Act{Name: action}, Resource: resource,
	})
	record := kernel.AuditRecord{Kind: "call", Tenant: h.tenant(), Principal: principal, Action: action, Resource: resource.ID, Effect: kernel.Allow, Reasons: decision.Reasons}
	switch {
	case err != nil:
	case decision.Effect == kernel.Approve || len(decision.Obligations) > 0:
		err = &kernel.Error{Code: kernel.CodeDenied, What: action + " was refused: governance asks for what the host cannot do", Why: ports.Reasons(decision), Fix: "allow it in the policy, without approval and obligations"}
	case decision.Effect != kernel.Allow:
		err = ports.Denied(action, decision)
	}
	if err != nil {
		record.Effect, record.Result = kernel.Forbid, string(kernel.CodeOf(err))
	}
	return errors.Join(h.audit.Audit(ctx, &record), err)
}
