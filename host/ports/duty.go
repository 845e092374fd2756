package ports

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/obligation"
)

// Approver keeps what persons have approved.
type Approver interface {
	// Approve uses up the approval of exactly this request and returns who gave it.
	// Where there is none, the error has CodeApproval, and an ApprovalNeeded as its
	// cause; where it was refused, CodeDenied.
	Approve(ctx context.Context, req *ApprovalRequest) (*Approved, error)
}

// ApprovalRequest is a call that needs an approval, and what binds the approval to it.
type ApprovalRequest struct {
	Access   kernel.AccessRequest
	Body     string // the digest of the call's raw bytes; "" where it has none
	Revision string // of the policy
	Reasons  []kernel.Reason
	Rules    obligation.Approval
}

// Approved is an approval that was used up.
type Approved struct {
	ID string
	By []string
	At time.Time
}

// approve has the call go on if exactly this call was approved.
func (p *passage) approve(ctx context.Context, req *kernel.AccessRequest, d kernel.Decision) ([]kernel.Reason, error) {
	if p.approver == nil {
		d.Effect = kernel.Approve
		return nil, Denied(p.op.Name, d)
	}
	asked := &ApprovalRequest{Access: *req, Revision: d.Revision, Reasons: d.Reasons, Rules: obligation.Approval{Count: 1}}
	if p.duties.Approval != nil {
		asked.Rules = *p.duties.Approval
	}
	if len(p.call.Body) > 0 {
		sum := sha256.Sum256(p.call.Body)
		asked.Body = "sha256:" + hex.EncodeToString(sum[:])
	}
	approved, err := p.approver.Approve(ctx, asked)
	if err != nil {
		return []kernel.Reason{{ID: "hexdag.approval", Msg: err.Error()}}, err
	}
	msg := fmt.Sprintf("approval %s, by %s at %s", approved.ID, kernel.Quote(fmt.Sprint(approved.By)), approved.At.UTC().Format(time.RFC3339))
	return []kernel.Reason{{ID: "hexdag.approval", Msg: msg}}, nil
}

// unfulfillable is the error of a call that governance allowed under a condition
// that the host cannot keep.
func (p *passage) unfulfillable(err error) error {
	return &kernel.Error{Code: kernel.CodeDenied, What: p.op.Name + " was refused: governance obliges to what the host cannot do", Why: kernel.Quote(err.Error()), Fix: "correct the obligations of the policy", Err: err}
}

// notify sends what is to be sent before the call: as an event of the run, and as
// a record of its own, which nobody can miss.
func (p *passage) notify(ctx context.Context) error {
	if p.duties == nil || p.known {
		return nil
	}
	for _, n := range p.duties.Notices {
		to, message := kernel.Quote(n.To), kernel.Quote(n.Message)
		r := &kernel.AuditRecord{Kind: "note", Action: p.op.Name, Principal: p.call.Caller.Principal, Node: p.call.Node, Result: "ok", Detail: "notify " + to + ": " + message}
		if run := kernel.RunFrom(ctx); run != nil {
			r.RunID, r.Tenant = run.RunID, run.Tenant
		}
		p.duties.MaskRecord(r, p.call.Args)
		if err := p.auditor.Audit(ctx, r); err != nil {
			return &kernel.Error{Code: kernel.CodeAudit, What: p.op.Name + " was refused", Why: "the notice that governance asks for cannot be recorded: " + err.Error(), Fix: "make room for the audit log, or mend its folder", Err: err}
		}
		kernel.Emit(ctx, &kernel.Event{Type: kernel.GovernanceNotified, Node: p.call.Node, Op: p.op.Name, Action: to, Reason: message})
	}
	return nil
}

// countCall holds a run to how often it may do an operation.
func (p *passage) countCall(ctx context.Context) error {
	if p.duties == nil || p.duties.Calls == 0 {
		return nil
	}
	run := kernel.RunFrom(ctx)
	if run == nil {
		return p.unfulfillable(fmt.Errorf("the number of calls is limited, and the call is no run's"))
	}
	if !run.CountCall(p.op.Name, p.duties.Calls) {
		return p.limited(fmt.Sprintf("governance allows a run %d calls", p.duties.Calls))
	}
	return nil
}

func (p *passage) limited(why string) error {
	return &kernel.Error{Code: kernel.CodeLimit, What: p.op.Name + " is past its limit", Why: why, Fix: "ask for less, or change the limit in the policy"}
}

func (p *passage) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.duties == nil || p.duties.Timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, p.duties.Timeout, p.limited("governance allows it "+p.duties.Timeout.String()))
}

// checkSize withholds a reply that is larger than governance allows.
func (p *passage) checkSize(reply *kernel.PortReply) error {
	if p.duties == nil || p.duties.ReplyBytes == 0 {
		return nil
	}
	text, err := kernel.EncodeJSON(reply.Value)
	if err != nil {
		return err
	}
	if size := int64(len(text) + len(reply.Body)); size > p.duties.ReplyBytes {
		return p.limited(fmt.Sprintf("the reply has %d bytes, governance allows %d", size, p.duties.ReplyBytes))
	}
	return nil
}

// masked returns a reply without what governance has removed from it.
func (p *passage) masked(reply *kernel.PortReply) *kernel.PortReply {
	if p.duties == nil || reply == nil || len(p.duties.Reply) == 0 && !p.duties.Body {
		return reply
	}
	changed := *reply
	changed.Value = obligation.Mask(reply.Value, p.duties.Reply)
	if p.duties.Body {
		changed.Body = nil
	}
	return &changed
}
