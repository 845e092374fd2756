package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/agent"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
)

// The operations of the mcp port.
const (
	opListTools = "mcp.list_tools"
	opCallTool  = "mcp.call_tool"
)

// owner splits "owner:tool", "owner.tool", "owner:*" or "owner". Both parts may have dots: the owner is the shortest
// that there is, and the part before the first sign where there is none.
func (e *Engine) owner(name string, services map[string]pipeline.ServiceSpec) (owner, tool string) {
	first := -1
	for i, c := range name {
		if c != ':' && c != '.' {
			continue
		}
		if first < 0 {
			first = i
		}
		_, service := services[name[:i]]
		if service || e.modules[name[:i]] != nil || slices.Contains(e.servers, name[:i]) {
			return name[:i], name[i+1:]
		}
	}
	if first < 0 {
		return name, "*"
	}
	return name[:first], name[first+1:]
}

// isServer reports whether a name is that of a server of the mcp port. Where a run is done again nobody knows the servers
// that there were, and the recording says.
func (e *Engine) isServer(name string, door *ports.Door) bool {
	return slices.Contains(e.servers, name) || len(e.servers) == 0 && door.Has(opListTools)
}

func (w *worker) serves(owner string) bool { return w.g.r.engine.isServer(owner, w.door) }

// tool calls the tool of a tool_call_node.
func (w *worker) tool(ctx context.Context, b *pipeline.ToolCall, call *kernel.NodeCall) (kernel.Value, error) {
	r := w.g.r
	owner, tool := r.engine.owner(b.Tool, r.Services)
	module := owner
	if s, ok := r.Services[owner]; ok {
		module = s.Module
	}
	args := w.arguments(call)
	if args == nil {
		args = map[string]any{}
	}
	ctx, span := r.engine.tracer.Tool(ctx, owner+":"+tool, "", args)
	v, err := w.chosenTool(ctx, r.engine.modules[module], owner, tool, args)
	span.EndTool(v, w.flow.Labels(), err)
	return v, err
}

// chosenTool calls a tool of a module, or, where that is nil, of a server.
func (w *worker) chosenTool(ctx context.Context, m *extension.Module, owner, tool string, args map[string]any) (kernel.Value, error) {
	if m == nil {
		return w.serverTool(ctx, owner+"."+tool, args)
	}
	var before begun
	if w.from != nil {
		before = begun{w.from.Steps, w.from.Begun}
	}
	return w.moduleTool(ctx, m, tool, args, before)
}

// serverTool calls a tool of a server of the mcp port. It counts as a tool's call, and is one of a port.
func (w *worker) serverTool(ctx context.Context, name string, args map[string]any) (kernel.Value, error) {
	if err := w.g.r.context.StartTool(ctx); err != nil {
		return nil, err
	}
	reply, err := w.call(ctx, opCallTool, map[string]any{"tool": name, "arguments": args})
	if err != nil {
		return nil, err
	}
	return reply.Value, nil
}

// serverTools asks a server of the mcp port which tools it has.
func (w *worker) serverTools(ctx context.Context, server, wanted string) ([]offered, error) {
	reply, err := w.call(ctx, opListTools, map[string]any{"server": server})
	if err != nil {
		return nil, err
	}
	fields, _ := reply.Value.(map[string]any)
	list, _ := fields["tools"].([]any)
	var tools []offered
	for _, one := range list {
		described, _ := one.(map[string]any)
		name, _ := described["name"].(string)
		if name == "" || wanted != "*" && wanted != name {
			continue
		}
		about, _ := described["description"].(string)
		schema, _ := kernel.EncodeJSON(described["input_schema"]) // it was decoded from JSON
		input, _ := described["input_schema"].(map[string]any)
		tools = append(tools, offered{
			Tool: agent.Tool{Name: server + ":" + name, Description: about, Parameters: parametersOf(abi.Tool{InputSchema: schema}), Schema: input},
			call: func(ctx context.Context, args map[string]any, _ begun) (kernel.Value, error) {
				return w.serverTool(ctx, server+"."+name, args)
			},
		})
	}
	return tools, nil
}

// toolCall refuses a node that calls a tool which is not there.
func (c *checker) toolCall(n *pipeline.Node, b *pipeline.ToolCall, door *ports.Door) {
	if b.Tool == "" {
		return // said already
	}
	owner, tool := c.engine.owner(b.Tool, c.pipeline.Services)
	module := owner
	if s, ok := c.pipeline.Services[owner]; ok {
		module = s.Module
	}
	switch {
	case tool == "*" || !strings.ContainsAny(b.Tool, ":."):
		c.add(at(n), kernel.CodePipeline, "tool: "+kernel.Quote(b.Tool)+" names no tool", "write tool: module.tool, or server.tool")
	case c.engine.modules[module] != nil:
		c.tool(at(n), module, tool)
	case !c.engine.isServer(owner, door):
		c.noModule(at(n), owner)
	}
}
