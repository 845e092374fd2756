package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

type approvalsInput struct {
	State string `query:"state" enum:"pending,approved,denied,used,expired" default:"pending"`
}

type approvalsOutput struct {
	Body struct {
		Approvals []host.Approval `json:"approvals" doc:"The latest first."`
	}
}

type answerInput struct {
	ID   string `path:"id" maxLength:"128"`
	Body struct {
		Approve bool   `json:"approve" doc:"true lets exactly this call be made, once; false refuses it."`
		Note    string `json:"note,omitempty" maxLength:"4096" doc:"Why, for whoever asked and for the record."`
	}
}

type approvalOutput struct{ Body host.Approval }

func (s *Server) routeApprovals() {
	huma.Register(s.api, huma.Operation{OperationID: "list-approvals", Method: http.MethodGet, Path: "/v1/approvals", Summary: "The calls that persons are asked about", Tags: []string{"approvals"}}, s.listApprovals)
	huma.Register(s.api, huma.Operation{OperationID: "answer-approval", Method: http.MethodPost, Path: "/v1/approvals/{id}/answer", Summary: "Approve or refuse a call", Tags: []string{"approvals"}}, s.answerApproval)
}

func (s *Server) listApprovals(ctx context.Context, in *approvalsInput) (*approvalsOutput, error) {
	t, who := s.of(ctx)
	if err := t.host.Allow(ctx, who.Principal, actionPending, tenantResource(t)); err != nil {
		return nil, answer(err)
	}
	list, err := t.host.Approvals().List(ctx, host.ApprovalState(in.State))
	if err != nil {
		return nil, answer(err)
	}
	out := &approvalsOutput{}
	out.Body.Approvals = append([]host.Approval{}, list...)
	return out, nil
}

// answerApproval answers as who calls: who may, and that nobody approves what they asked for themselves, is the approvals' to see to.
func (s *Server) answerApproval(ctx context.Context, in *answerInput) (*approvalOutput, error) {
	t, who := s.of(ctx)
	if err := t.host.Allow(ctx, who.Principal, actionAnswer, kernel.Resource{Type: "approval", ID: in.ID}); err != nil {
		return nil, answer(err)
	}
	a, err := t.host.Approvals().Answer(ctx, in.ID, who.Principal, in.Body.Approve, in.Body.Note)
	if err != nil {
		return nil, answer(err)
	}
	return &approvalOutput{*a}, nil
}
