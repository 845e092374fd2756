package pipeline

import (
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// Function runs a module: its tool of that name, or its node_run where Tool is "".
type Function struct {
	Module, Tool string
	At           *source.Value
}

func (b *Function) visit(func(Reference)) {}

// String returns the function as a file names it.
func (b *Function) String() string {
	if b.Tool == "" {
		return b.Module
	}
	return b.Module + "." + b.Tool
}

func readFunctionNode(r *reader, n *Node) Body {
	s := n.spec
	s.Flag("unpack_input") // a tool's schema says what it takes, so it always is
	if v := s.Get("output_schema"); v != nil {
		n.Output = r.object(v, "output_schema")
	}
	if s.Required("fn") == "" {
		return &Function{}
	}
	return r.function(s.Get("fn"), "fn")
}

// function reads "module" or "module.tool". what is the member that names it.
func (r *reader) function(v *source.Value, what string) *Function {
	if v == nil {
		return nil
	}
	text, ok := v.Text()
	module, tool, _ := strings.Cut(text, ".")
	if !ok || module == "" || strings.ContainsAny(text, "/: ") || strings.Contains(tool, ".") {
		r.Add(v.Errorf(kernel.CodePipeline, "write "+what+": module for a module that exports node_run, or "+what+": module.tool for one of its tools, and configure the module; see README, Modules",
			"%s: %s is no module's export; import paths run no code here", what, kernel.Quote(text)))
	}
	return &Function{Module: module, Tool: tool, At: v}
}
