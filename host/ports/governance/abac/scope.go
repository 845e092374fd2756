package abac

import "github.com/hexdag/hexdag/host/kernel"

// scope is a request as conditions read it. What no condition reads is not made.
type scope struct {
	req        *kernel.AccessRequest
	attributes kernel.Value
	made       [4]map[string]any // by the order of names
}

var names = [...]string{"subject", "action", "resource", "context", "attributes"}

// Names returns the names that conditions know.
func (s *scope) Names() []string { return names[:] }

// Lookup returns the value of a name.
func (s *scope) Lookup(name string) (kernel.Value, bool) {
	switch name {
	case "subject":
		return s.keep(0, s.subject), true
	case "action":
		return s.keep(1, s.action), true
	case "resource":
		return s.keep(2, s.resource), true
	case "context":
		return s.keep(3, s.context), true
	case "attributes":
		return s.attributes, true
	}
	return nil, false
}

func (s *scope) keep(i int, value func() map[string]any) kernel.Value {
	if s.made[i] == nil {
		s.made[i] = value()
	}
	return s.made[i]
}

func (s *scope) subject() map[string]any {
	chain := make([]any, len(s.req.Subject.Chain))
	for i, name := range s.req.Subject.Chain {
		chain[i] = name
	}
	return map[string]any{"type": s.req.Subject.Type, "id": s.req.Subject.ID, "tenant": s.req.Subject.Tenant, "on_behalf_of": chain}
}

func (s *scope) action() map[string]any {
	args := s.req.Action.Args
	if args == nil {
		args = map[string]any{}
	}
	return map[string]any{"name": s.req.Action.Name, "args": args}
}

func (s *scope) resource() map[string]any {
	return map[string]any{"type": s.req.Resource.Type, "id": s.req.Resource.ID}
}

func (s *scope) context() map[string]any {
	c := &s.req.Context
	labels := make(map[string]any, len(c.Labels))
	for name, label := range c.Labels {
		labels[name] = label
	}
	sources := make([]any, len(c.Sources))
	for i, source := range c.Sources {
		sources[i] = source
	}
	u := &c.Usage
	return map[string]any{
		"run_id": c.RunID, "pipeline": c.Pipeline, "node": c.Node, "labels": labels, "sources": sources,
		"usage": map[string]any{
			"llm_calls": kernel.Number(u.LLMCalls), "input_tokens": kernel.Number(u.InputTokens), "output_tokens": kernel.Number(u.OutputTokens),
			"tool_calls": kernel.Number(u.ToolCalls), "port_calls": kernel.Number(u.PortCalls),
		},
	}
}
