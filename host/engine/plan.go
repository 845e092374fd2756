package engine

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
)

// Plan is a pipeline with all that its nodes need of one engine looked up. It may
// run any number of times at once.
type Plan struct {
	*pipeline.Pipeline
	engine *Engine
	door   *ports.Door
	sites  map[*pipeline.Node]*site
}

// site is where a node runs: through which door, and inside which hooks.
type site struct {
	door    *ports.Door
	hooks   []*NodeHook
	relabel kernel.Relabel // what the operator lets the node take off its answer
	caching *caching       // nil: it works each time
}

// Doors are a pipeline's ways to its ports. The zero value is the engine's own.
type Doors struct {
	Pipeline *ports.Door
	Kinds    map[string]*ports.Door // by node kind
	Nodes    map[string]*ports.Door // by node; they win
}

// Plan checks that the engine has what a pipeline uses, and looks it up. hooks are
// the pipeline's own, inside the engine's.
func (e *Engine) Plan(p *pipeline.Pipeline, doors Doors, hooks []NodeHook) (*Plan, error) {
	if doors.Pipeline == nil {
		doors.Pipeline = e.door
	}
	plan := &Plan{Pipeline: p, engine: e, door: doors.Pipeline, sites: map[*pipeline.Node]*site{}}
	c := checker{engine: e, pipeline: p}
	p.Walk(func(n *pipeline.Node) {
		s := &site{door: doors.Pipeline, relabel: e.relabel(p.Name, n.Name)}
		if d := doors.Kinds[n.Kind]; d != nil {
			s.door = d
		}
		if d := doors.Nodes[n.Name]; d != nil {
			s.door = d
		}
		for _, list := range [][]NodeHook{e.hooks, hooks} {
			for i := range list {
				if list[i].matches(n) {
					s.hooks = append(s.hooks, &list[i])
				}
			}
		}
		if n.KeepsLabels() {
			s.relabel = kernel.Relabel{}
		}
		s.hooks = append(s.hooks, c.own(n)...)
		c.check(n, s.door)
		s.caching = c.caching(n)
		plan.sites[n] = s
	})
	for _, service := range p.Services {
		c.service(service)
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	return plan, nil
}

// Door returns the way to the ports of what names none of its own.
func (p *Plan) Door() *ports.Door { return p.door }

// checker collects what is wrong with a pipeline on this host.
type checker struct {
	engine   *Engine
	pipeline *pipeline.Pipeline
	list     []error
}

func (c *checker) add(where kernel.Where, code kernel.Code, what, fix string) {
	c.list = append(c.list, &kernel.Error{Code: code, What: what, Where: where, Fix: fix})
}

func (c *checker) err() error { return errors.Join(c.list...) }

func at(n *pipeline.Node) kernel.Where {
	where := n.Where
	where.Node = n.Name
	return where
}

// own returns the hooks that a node names itself.
func (c *checker) own(n *pipeline.Node) []*NodeHook {
	var hooks []*NodeHook
	for _, name := range n.Hooks {
		m, ok := c.engine.modules[name]
		if !ok {
			c.noModule(at(n), name)
			continue
		}
		hook, err := m.NodeHook()
		if err != nil {
			c.list = append(c.list, kernel.At(err, at(n)))
			continue
		}
		hooks = append(hooks, &NodeHook{Name: name, Hook: hook})
	}
	return hooks
}

// check refuses a node that uses a module or an operation that is not there.
func (c *checker) check(n *pipeline.Node, door *ports.Door) {
	n.Functions(func(f *pipeline.Function) { c.function(n, f) })
	needs := func(op, port string) {
		if !door.Has(op) {
			c.add(at(n), kernel.CodePipeline, "missing required port '"+port+"'", "configure it: ports: {"+port+": {adapter: ...}}")
		}
	}
	if n.Lock != nil {
		needs(opAcquire, "lock")
	}
	switch b := n.Body.(type) {
	case *pipeline.LLM, *pipeline.Agent:
		needs(opComplete, "llm")
	case *pipeline.APICall:
		needs(opRequest, "http")
	case *pipeline.Transition:
		needs(opTransition, "entity_state")
	case *pipeline.ServiceCall:
		c.serviceCall(n, b, door)
	case *pipeline.ToolCall:
		c.toolCall(n, b, door)
	}
	c.tools(n, pipeline.ToolsOf(n), door)
}

func (c *checker) function(n *pipeline.Node, f *pipeline.Function) {
	if _, ok := c.engine.functions[f.String()]; ok {
		return
	}
	m, ok := c.engine.modules[f.Module]
	if !ok {
		c.noModule(at(n), f.Module)
		return
	}
	if f.Tool == "" {
		if !m.Has(abi.NodeRun) {
			c.add(at(n), kernel.CodeModuleExport, "module "+m.ID()+" does not export node_run", "name one of its tools, fn: "+f.Module+".tool, or export it")
		}
		return
	}
	c.tool(at(n), f.Module, f.Tool)
}

func (c *checker) tool(where kernel.Where, module, tool string) {
	m := c.engine.modules[module]
	var names []string
	for _, t := range m.Tools() {
		names = append(names, t.Name)
	}
	if !m.Has(abi.ToolCall) || !slices.Contains(names, tool) {
		c.add(where, kernel.CodeModuleExport, "module "+m.ID()+" has no tool "+kernel.Quote(tool), "its tools are "+kernel.Quote(strings.Join(names, ", ")))
	}
}

func (c *checker) noModule(where kernel.Where, name string) {
	fix := "configure it under spec.modules of the configuration (--config)"
	if names := slices.Sorted(maps.Keys(c.engine.modules)); len(names) > 0 {
		fix += "; configured are " + strings.Join(names, ", ")
	}
	c.add(where, kernel.CodeModuleNotFound, "there is no module "+kernel.Quote(name), fix)
}

func (c *checker) service(s pipeline.ServiceSpec) {
	if s.Module != "" && c.engine.modules[s.Module] == nil {
		c.noModule(s.Where, s.Module)
	}
}

func (c *checker) serviceCall(n *pipeline.Node, b *pipeline.ServiceCall, door *ports.Door) {
	service, named := c.pipeline.Services[b.Service]
	switch {
	case named && service.Module != "":
		if c.engine.modules[service.Module] != nil {
			c.tool(at(n), service.Module, b.Method)
		}
		return
	case named:
		b = &pipeline.ServiceCall{Service: service.Builtin, Method: b.Method}
	}
	if op := b.Service + "." + b.Method; !door.Has(op) {
		c.add(at(n), kernel.CodePipeline, "there is no operation "+kernel.Quote(op), kernel.DidYouMean(op, door.Ops()))
	}
}
