package pipeline

import (
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// The parts of an agent as nodes of their own: what a model has written is read for calls, these are made, and what came of them is
// worded for the model. Between any two of them hooks have their say.

// ToolParser reads the calls of tools that a model has written.
type ToolParser struct {
	Text  *Template
	Style string // mixed, function_call or json
}

func (b *ToolParser) visit(f func(Reference)) { b.Text.visit(f) }

func readToolParser(r *reader, n *Node) Body {
	b := &ToolParser{Text: r.template(n.spec, "text"), Style: r.writtenStyle(n.spec.Get("tool_call_style"), "tool_call_style")}
	if b.Text == nil {
		r.Add(n.spec.At.Errorf(kernel.CodePipeline, `add text: "{{ node }}"`, "a tool_parser_node needs text"))
		b.Text = parseTemplate("", n.spec.At)
	}
	return b
}

// ToolExecutor makes the calls that it is given as tool_calls, of the tools that it names and of no others.
type ToolExecutor struct{ Tools []string }

func (b *ToolExecutor) visit(func(Reference)) {}

func readToolExecutor(r *reader, n *Node) Body {
	b := &ToolExecutor{Tools: n.spec.Texts("available_tools")}
	if n.spec.M.Members["available_tools"] == nil {
		r.Add(n.spec.At.Errorf(kernel.CodePipeline, `add available_tools: ["module:tool"], or [] for none`, "a tool_executor_node needs available_tools"))
	}
	return b
}

// ToolResults words the results that it is given as tool_results, as a model is told them.
type ToolResults struct{}

func (b *ToolResults) visit(func(Reference)) {}

func readToolResults(*reader, *Node) Body { return &ToolResults{} }

// ToolsOf are the tools that a node names for a model to choose of; nil where it names none.
func ToolsOf(n *Node) []string {
	switch b := n.Body.(type) {
	case *Agent:
		return b.Tools
	case *LLM:
		return b.Tools
	case *ToolExecutor:
		return b.Tools
	}
	return nil
}

// writtenStyle reads how a model writes calls in its text: v is a member of that name, nil where it is left out.
func (r *reader) writtenStyle(v *source.Value, member string) string {
	if v == nil {
		return "mixed"
	}
	style, _ := v.Text()
	known := []string{"mixed", "function_call", "json"}
	switch {
	case style == "native":
		r.Add(v.Errorf(kernel.CodePipeline, "write "+strings.Join(known, ", ")+"; or use an agent_node, which calls tools by the model's own interface", "%s is native, but these calls are written in the text", member))
	case !slices.Contains(known, style):
		r.Add(v.Errorf(kernel.CodePipeline, "write mixed, function_call or json", "there is no such %s", member))
	}
	return style
}

// IsSkipped reports whether a result is that of a node that was skipped.
func IsSkipped(v kernel.Value) bool {
	fields, _ := v.(map[string]any)
	return fields["_skipped"] == true
}
