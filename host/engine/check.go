package engine

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// checker collects what is wrong with a pipeline on this host.
type checker struct{ list []error }

func (c *checker) add(n *pipeline.Node, code kernel.Code, what, fix string) {
	where := n.Where
	where.Node = n.Name
	c.list = append(c.list, &kernel.Error{Code: code, What: what, Where: where, Fix: fix})
}

func (c *checker) err() error { return errors.Join(c.list...) }

func join(names []string) string { return strings.Join(names, ", ") }

func (c *checker) function(e *Engine, n *pipeline.Node, f *pipeline.Function) {
	m, ok := e.modules[f.Module]
	if !ok {
		fix := "configure it under spec.modules of the configuration (--config)"
		if names := slices.Sorted(maps.Keys(e.modules)); len(names) > 0 {
			fix += "; configured are " + join(names)
		}
		c.add(n, kernel.CodeModuleNotFound, "there is no module "+kernel.Quote(f.Module), fix)
		return
	}
	if f.Tool == "" {
		if !m.Has(abi.NodeRun) {
			c.add(n, kernel.CodeModuleExport, "module "+m.ID()+" does not export node_run", "name one of its tools, fn: "+f.Module+".tool, or export it")
		}
		return
	}
	var names []string
	for _, t := range m.Tools() {
		names = append(names, kernel.Quote(t.Name))
	}
	if !m.Has(abi.ToolCall) || !slices.Contains(names, f.Tool) {
		c.add(n, kernel.CodeModuleExport, "module "+m.ID()+" has no tool "+kernel.Quote(f.Tool), "its tools are "+join(names))
	}
}
