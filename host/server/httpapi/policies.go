package httpapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

type policiesOutput struct {
	Body struct {
		Policies []host.Policy `json:"policies" doc:"Those that decide, by their names in the configuration; the one without a name is the whole."`
	}
}

// Question is what governance is asked.
type Question struct {
	Action    string         `json:"action" minLength:"1" maxLength:"256"`
	Type      string         `json:"resource_type,omitempty" maxLength:"64"`
	ID        string         `json:"resource_id,omitempty" maxLength:"512"`
	Args      map[string]any `json:"args,omitempty"`
	Principal string         `json:"principal,omitempty" maxLength:"256" doc:"Who would do it; who asks, if it is left out."`
}

type explainInput struct{ Body Question }

type decisionOutput struct {
	Body struct {
		Effect      string           `json:"effect" enum:"allow,deny,approve"`
		Reasons     []kernel.Reason  `json:"reasons" doc:"The rules that took part."`
		Obligations []map[string]any `json:"obligations,omitempty"`
		Revision    string           `json:"revision,omitempty" doc:"Of the rules and data that decided."`
	}
}

type permissionsInput struct {
	Actions   []string `query:"actions" maxItems:"100" doc:"Where the policy can tell what may be done pair by pair alone."`
	Resources []string `query:"resources" maxItems:"100" doc:"As type:id."`
}

type permissionsOutput struct{ Body kernel.Permissions }

func (s *Server) routePolicies() {
	huma.Register(s.api, huma.Operation{OperationID: "list-policies", Method: http.MethodGet, Path: "/v1/policies", Summary: "The policies that decide", Tags: []string{"policies"}}, s.listPolicies)
	huma.Register(s.api, huma.Operation{OperationID: "explain-policy", Method: http.MethodPost, Path: "/v1/policies/explain", Summary: "What governance would answer, and by which rules", Description: "Nothing is done. The decision is on record as any other.", Tags: []string{"policies"}}, s.explainPolicy)
	huma.Register(s.api, huma.Operation{OperationID: "list-permissions", Method: http.MethodGet, Path: "/v1/permissions", Summary: "What you may do", Tags: []string{"policies"}}, s.listPermissions)
	huma.Register(s.api, huma.Operation{OperationID: "reload-policies", Method: http.MethodPost, Path: "/v1/policies/reload", Summary: "Read the policies again, while runs go on", Tags: []string{"policies"}}, s.reloadPolicies)
}

func tenantResource(t *tenant) kernel.Resource { return kernel.Resource{Type: "tenant", ID: t.name} }

func (s *Server) listPolicies(ctx context.Context, _ *struct{}) (*policiesOutput, error) {
	t, who := s.of(ctx)
	if err := t.host.Allow(ctx, who.Principal, "policy.list", tenantResource(t)); err != nil {
		return nil, answer(err)
	}
	out := &policiesOutput{}
	out.Body.Policies = t.host.Policies()
	return out, nil
}

// explainPolicy answers for who asks; for another where governance lets them ask that.
func (s *Server) explainPolicy(ctx context.Context, in *explainInput) (*decisionOutput, error) {
	t, who := s.of(ctx)
	principal := in.Body.Principal
	if principal == "" {
		principal = who.Principal
	}
	if err := t.host.Allow(ctx, who.Principal, "policy.explain", kernel.Resource{Type: "user", ID: principal}); err != nil {
		return nil, answer(err)
	}
	args, _ := kernel.ToValue(in.Body.Args)
	fields, _ := args.(map[string]any)
	d, err := t.host.Decide(ctx, principal, in.Body.Action, kernel.Resource{Type: in.Body.Type, ID: in.Body.ID}, fields)
	if err != nil {
		return nil, answer(err)
	}
	out := &decisionOutput{}
	out.Body.Effect, out.Body.Reasons, out.Body.Obligations, out.Body.Revision = string(d.Effect), append([]kernel.Reason{}, d.Reasons...), d.Obligations, d.Revision
	return out, nil
}

func parseResource(text string) kernel.Resource {
	kind, id, _ := strings.Cut(text, ":")
	return kernel.Resource{Type: kind, ID: id}
}

func (s *Server) listPermissions(ctx context.Context, in *permissionsInput) (*permissionsOutput, error) {
	t, who := s.of(ctx)
	resources := make([]kernel.Resource, len(in.Resources))
	for i, text := range in.Resources {
		resources[i] = parseResource(text)
	}
	p, err := t.host.Permissions(ctx, who.Principal, in.Actions, resources)
	if err != nil {
		return nil, answer(err)
	}
	p.List = append([]kernel.Permission{}, p.List...)
	return &permissionsOutput{*p}, nil
}

func (s *Server) reloadPolicies(ctx context.Context, _ *struct{}) (*reloadOutput, error) {
	t, who := s.of(ctx)
	if err := t.host.Allow(ctx, who.Principal, "policy.reload", tenantResource(t)); err != nil {
		return nil, answer(err)
	}
	changed, err := t.host.ReloadGovernance(ctx)
	if err != nil {
		return nil, unusable(err)
	}
	out := &reloadOutput{}
	out.Body.Changed = changed
	return out, nil
}
