package explain

import (
	"slices"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/pipeline"
)

// builtIn are the ports that a host has without a configuration, and what serves them.
func builtIn() map[string]string {
	return map[string]string{
		"artifacts": "file", "memory": "memory", "lock": "memory", "file_storage": "local", "vector_search": "memory", "governance": "allow_all", "metrics": "metrics", "client": "client", "entity_state": "entity_state", "pipeline_memory": "pipeline_memory",
	}
}

// call says what serves an operation of a node, and what is around it.
func (e *explainer) call(n *pipeline.Node, op string) Call {
	if !slices.Contains(e.operations[op], n.Name) && n.Name != "" {
		e.operations[op] = append(e.operations[op], n.Name)
	}
	c := Call{Operation: op, Hooks: e.portHooks(op)}
	port, _, _ := strings.Cut(op, ".")
	if port = pipeline.PortName(port); port == "entity_state" && len(e.p.Machines) > 0 {
		c.Adapter, c.From = port, "pipeline"
		return c
	}
	layers := []struct {
		from  string
		ports map[string]pipeline.PortSpec
	}{{"node_ports", e.p.NodePorts[n.Name]}, {"type_ports", e.p.TypePorts[n.Kind]}, {"pipeline", e.p.Ports}, {"config", nil}}
	if e.c != nil {
		layers[3].ports = e.c.Ports
	}
	for _, layer := range layers {
		for name, spec := range layer.ports {
			if pipeline.PortName(name) == port {
				c.Adapter, c.From, c.Labels = describe(spec), layer.from, spec.AnswerLabels(port).Port
				e.serving(spec)
				return c
			}
		}
	}
	if adapter := builtIn()[port]; adapter != "" {
		c.Adapter, c.From = adapter, "built in"
	}
	return c
}

// describe names an adapter, or a pool of them, and the middleware around it.
func describe(spec pipeline.PortSpec) string {
	text := adapterText(spec)
	if len(spec.Pool) > 0 {
		names := make([]string, len(spec.Pool))
		for i, member := range spec.Pool {
			names[i] = adapterText(member)
		}
		text = spec.Strategy + " of " + strings.Join(names, ", ")
	}
	for _, m := range spec.Middleware {
		text += " in " + m.Name
	}
	return text
}

// moduleOf returns the module that an adapter is, "" if it is none.
func moduleOf(spec pipeline.PortSpec) string {
	name, _ := spec.Config["module"].(string)
	if spec.Adapter != "module" {
		return ""
	}
	return name
}

func adapterText(spec pipeline.PortSpec) string {
	name := moduleOf(spec)
	if name == "" {
		return spec.Adapter
	}
	text := "module " + name
	if over, ok := spec.Config["over"].(map[string]any); ok {
		inner := pipeline.PortSpec{}
		inner.Adapter, _ = over["adapter"].(string)
		inner.Config, _ = over["config"].(map[string]any)
		text += " over " + adapterText(inner)
	}
	return text
}

// serving notes the modules that are a port.
func (e *explainer) serving(spec pipeline.PortSpec) {
	for _, s := range append([]pipeline.PortSpec{spec}, spec.Pool...) {
		if name := moduleOf(s); name != "" {
			e.modules[name] = true
		}
	}
}

// nodeHooks returns what is around a node: the configuration's hooks, the
// pipeline's, and those that it names itself.
func (e *explainer) nodeHooks(n *pipeline.Node) []Hook {
	hooks := e.hooks(func(h *pipeline.HookSpec) bool {
		every := len(h.Nodes)+len(h.Kinds) == 0
		return !h.OnPorts() && (every || slices.Contains(h.Nodes, n.Name) || slices.Contains(h.Kinds, n.Kind))
	})
	for _, module := range n.Hooks {
		e.modules[module] = true
		hooks = append(hooks, Hook{Module: module, From: "node", Failure: "closed"})
	}
	return hooks
}

// portHooks returns what is around the calls of an operation.
func (e *explainer) portHooks(op string) []Hook {
	port, _, _ := strings.Cut(op, ".")
	return e.hooks(func(h *pipeline.HookSpec) bool {
		return slices.ContainsFunc(h.Ops, func(pattern string) bool { return abi.Match(pattern, op) }) ||
			slices.ContainsFunc(h.Ports, func(name string) bool { return pipeline.PortName(name) == port })
	})
}

func (e *explainer) hooks(applies func(*pipeline.HookSpec) bool) []Hook {
	hooks := []Hook{}
	add := func(from string, specs []pipeline.HookSpec) {
		for i := range specs {
			if !applies(&specs[i]) {
				continue
			}
			failure := "closed"
			if specs[i].Open {
				failure = "open"
			}
			e.modules[specs[i].Module] = true
			hooks = append(hooks, Hook{Module: specs[i].Module, From: from, Failure: failure})
		}
	}
	if e.c != nil {
		add("config", e.c.Hooks)
	}
	add("pipeline", e.p.Hooks)
	return hooks
}

// Does says in a few words what a node does, beyond its kind: the module's export,
// the operation, the composite's mode. It is text from the file, not escaped.
func Does(n *pipeline.Node) string {
	switch b := n.Body.(type) {
	case *pipeline.Function:
		return b.String()
	case *pipeline.ServiceCall:
		return b.Service + "." + b.Method
	case *pipeline.ToolCall:
		return b.Tool
	case *pipeline.ToolExecutor:
		return strings.Join(b.Tools, ", ")
	case *pipeline.APICall:
		if b.URL != nil {
			return b.Method + " " + b.URL.Source()
		}
	case *pipeline.Composite:
		return b.Mode
	case *pipeline.Wait:
		return b.EventKey.Source()
	case *pipeline.Compute:
		if b.Merge != nil {
			return "merge as " + b.Merge.Strategy
		}
	}
	return ""
}
