package ports

import (
	"context"
	"slices"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/obligation"
)

// judge asks governance.
func (p *passage) judge(ctx context.Context, guarded map[string]string) (kernel.Decision, []kernel.Reason, error) {
	req := p.question(ctx, guarded)
	decision, err := p.authorizer.Authorize(ctx, req)
	if err != nil {
		return decision, []kernel.Reason{{ID: "hexdag.governance.error", Msg: err.Error()}}, err
	}
	decision = p.stricter(ctx, req, decision)
	if p.duties, err = obligation.Parse(decision.Obligations); err != nil {
		return decision, []kernel.Reason{{ID: "hexdag.governance.obligation", Msg: kernel.Quote(err.Error())}}, p.unfulfillable(err)
	}
	switch {
	case decision.Effect == kernel.Approve, decision.Effect == kernel.Allow && p.duties.Approval != nil:
		if p.op.begun {
			return decision, append([]kernel.Reason{{ID: "hexdag.approval", Msg: "it was approved before it waited"}}, decision.Reasons...), nil
		}
		approved, err := p.approve(ctx, req, decision)
		return decision, append(approved, decision.Reasons...), err
	case decision.Effect != kernel.Allow:
		return decision, decision.Reasons, Denied(p.op.Name, decision)
	}
	return decision, decision.Reasons, nil
}

// stricter is what governance decided, or what the operation itself says of the call, if that is stricter.
func (p *passage) stricter(ctx context.Context, req *kernel.AccessRequest, d kernel.Decision) kernel.Decision {
	if p.op.Judge == nil || d.Effect != kernel.Allow && d.Effect != kernel.Approve {
		return d
	}
	own := p.op.Judge(ctx, req)
	if own == nil {
		return d
	}
	d.Reasons = append(slices.Clip(own.Reasons), d.Reasons...)
	if own.Effect.Stricter(d.Effect) {
		d.Effect = own.Effect
	}
	return d
}
