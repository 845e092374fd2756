package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hexdag/hexdag/host/kernel"
)

// Reloaded is what was new for a tenant when the configuration was read again.
type Reloaded struct {
	Modules   []string `json:"modules" doc:"Those whose file has changed."`
	Policies  bool     `json:"policies" doc:"Whether a policy has."`
	Pipelines []string `json:"pipelines" doc:"Those that are new, gone, or of another version."`
}

type reloadedOutput struct{ Body Reloaded }

func (s *Server) routeReload() {
	huma.Register(s.api, huma.Operation{OperationID: "reload", Method: http.MethodPost, Path: "/v1/reload", Summary: "Read the configuration again, while runs go on", Tags: []string{"server"},
		Description: "Tokens, pipelines, modules and policies, of all tenants, as SIGHUP has it. What cannot be used is refused, and what there was goes on. Runs that are under way keep the pipelines and modules that they began with; what they ask governance from then on, the new policies decide. Governance is asked about server.reload."}, s.reload)
}

func (s *Server) reload(ctx context.Context, _ *struct{}) (*reloadedOutput, error) {
	t, who := s.of(ctx)
	if err := t.host.Allow(ctx, who.Principal, "server.reload", kernel.Resource{Type: "server", ID: "configuration"}); err != nil {
		return nil, answer(err)
	}
	if s.opts.Reload == nil {
		return nil, answer(&kernel.Error{Code: kernel.CodeUnsupported, What: "this server reads no configuration", Why: "the program that it is part of gave it none", Fix: "use hexdag serve, or reload modules and policies one by one"})
	}
	of, err := s.opts.Reload(ctx, *who)
	if err != nil {
		return nil, unusable(err)
	}
	return &reloadedOutput{*of}, nil
}

// unusable is the answer where what was read again cannot be used: a fault of what is in the files, not of the server.
func unusable(err error) error {
	p := problemOf(0, err)
	if p.Status == http.StatusInternalServerError && p.Code != kernel.CodeInternal {
		p.Status = http.StatusUnprocessableEntity
	}
	return p
}
