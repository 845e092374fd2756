package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hexdag/hexdag/host/kernel"
)

// Pipeline is what can be run.
type Pipeline struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Version     string          `json:"version" doc:"The digest of all that was read for it."`
	Nodes       int             `json:"nodes"`
	Input       json.RawMessage `json:"input_schema,omitempty" doc:"The JSON Schema of its input; none where it says nothing of it."`
}

// Module is one that the tenant's operator admits.
type Module struct {
	Name   string   `json:"name"`
	Digest string   `json:"digest"`
	Points []string `json:"points" doc:"What it can be."`
}

type pipelinesOutput struct {
	Body struct {
		Pipelines []Pipeline `json:"pipelines"`
	}
}

type modulesOutput struct {
	Body struct {
		Modules []Module `json:"modules"`
	}
}

type reloadInput struct {
	Name string `path:"name" maxLength:"256"`
}

type reloadOutput struct {
	Body struct {
		Changed bool `json:"changed" doc:"Whether there was something new. Runs that are under way keep the modules that they began with; new policies decide what they ask from then on."`
	}
}

func (s *Server) routeWhatThereIs() {
	huma.Register(s.api, huma.Operation{OperationID: "list-pipelines", Method: http.MethodGet, Path: "/v1/pipelines", Summary: "What can be run", Tags: []string{"pipelines"}}, s.listPipelines)
	huma.Register(s.api, huma.Operation{OperationID: "list-modules", Method: http.MethodGet, Path: "/v1/modules", Summary: "The modules", Tags: []string{"modules"}}, s.listModules)
	huma.Register(s.api, huma.Operation{OperationID: "reload-module", Method: http.MethodPost, Path: "/v1/modules/{name}/reload", Summary: "Read a module's file again, while runs go on", Tags: []string{"modules"}}, s.reloadModule)
}

func (s *Server) listPipelines(ctx context.Context, _ *struct{}) (*pipelinesOutput, error) {
	t, who := s.of(ctx)
	if err := t.host.Allow(ctx, who.Principal, "pipeline.list", tenantResource(t)); err != nil {
		return nil, answer(err)
	}
	out := &pipelinesOutput{}
	out.Body.Pipelines = []Pipeline{}
	for _, name := range t.names() {
		p, err := t.take(name)
		if err != nil { // it was replaced meanwhile
			continue
		}
		t.giveBack(p)
		one := Pipeline{Name: p.Name, Description: p.Description, Version: p.Version, Nodes: len(p.Nodes)}
		if p.Input != nil {
			text, err := json.Marshal(p.Input.JSONSchema())
			if err != nil {
				return nil, answer(err)
			}
			one.Input = text
		}
		out.Body.Pipelines = append(out.Body.Pipelines, one)
	}
	slices.SortFunc(out.Body.Pipelines, func(a, b Pipeline) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// names are those of the pipelines.
func (t *tenant) names() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.pipelines))
}

func (s *Server) listModules(ctx context.Context, _ *struct{}) (*modulesOutput, error) {
	t, who := s.of(ctx)
	if err := t.host.Allow(ctx, who.Principal, "module.list", tenantResource(t)); err != nil {
		return nil, answer(err)
	}
	out := &modulesOutput{}
	out.Body.Modules = []Module{}
	for _, m := range t.host.Modules() {
		one := Module{Name: m.Name(), Digest: m.Digest(), Points: []string{}}
		for _, point := range m.Points() {
			one.Points = append(one.Points, string(point))
		}
		out.Body.Modules = append(out.Body.Modules, one)
	}
	slices.SortFunc(out.Body.Modules, func(a, b Module) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func (s *Server) reloadModule(ctx context.Context, in *reloadInput) (*reloadOutput, error) {
	t, who := s.of(ctx)
	if err := t.host.Allow(ctx, who.Principal, "module.reload", kernel.Resource{Type: "module", ID: in.Name}); err != nil {
		return nil, answer(err)
	}
	changed, err := t.host.ReloadModule(ctx, in.Name)
	if err != nil {
		return nil, unusable(err)
	}
	out := &reloadOutput{}
	out.Body.Changed = changed
	return out, nil
}
