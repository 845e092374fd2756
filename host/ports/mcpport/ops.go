package mcpport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// Ops returns the port's methods for the door.
//
//	mcp.list_tools {server} -> {tools: [{name, description?, input_schema, output_schema?}]}
//	mcp.call_tool {tool: "server.tool", arguments?} -> what the tool answers
//
// What a tool answers is its structured content or, without that, its text where it is nothing but text, and else {content: [...]}, as
// MCP has it. A tool that says that it failed is an error of CodeFailed, and so is structured content that does not fit the output
// schema that the tool tells, or is not there though it tells one.
//
// A capability can restrict server and tool.
func (p *Port) Ops() []ports.Op {
	return []ports.Op{
		{Name: "mcp.list_tools", Guards: []string{"server"}, Func: p.opList},
		{Name: "mcp.call_tool", Guards: []string{"tool"}, Func: p.opCall},
	}
}

func (p *Port) server(name string) (*server, error) {
	if s := p.servers[name]; s != nil {
		return s, nil
	}
	return nil, &kernel.Error{Code: kernel.CodeNotFound, What: "there is no MCP server " + kernel.Quote(name), Fix: kernel.DidYouMean(name, p.Names())}
}

func (p *Port) opList(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	name, _ := call.Args["server"].(string)
	s, err := p.server(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, errors.New("timeout of "+s.where()+" is "+s.timeout.String()))
	defer cancel()
	session, err := s.use(ctx)
	if err != nil {
		return nil, err
	}
	tools, err := s.toolsOf(ctx, session)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, name := range slices.Sorted(maps.Keys(tools)) {
		t := tools[name]
		if !t.admitted {
			continue
		}
		one := map[string]any{"name": name, "description": strings.ToValidUTF8(t.definition.Description, "\uFFFD"), "input_schema": map[string]any{}}
		for field, text := range map[string]json.RawMessage{"input_schema": t.definition.InputSchema, "output_schema": t.definition.OutputSchema} {
			if v, err := kernel.DecodeJSON(text); err == nil {
				one[field] = v
			}
		}
		list = append(list, one)
	}
	return &kernel.PortReply{Value: map[string]any{"tools": list}}, nil
}

func (p *Port) opCall(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	name, _ := call.Args["tool"].(string)
	of, toolName, _ := strings.Cut(name, ".")
	s, err := p.server(of)
	if err != nil {
		return nil, err
	}
	args, isObject := call.Args["arguments"].(map[string]any)
	if call.Args["arguments"] != nil && !isObject {
		return nil, &kernel.Error{Code: kernel.CodeArguments, What: "tool " + kernel.Quote(name) + ": arguments is no object", Fix: "pass {name: value}"}
	}
	if args == nil {
		args = map[string]any{}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, errors.New("timeout of "+s.where()+" is "+s.timeout.String()))
	defer cancel()
	v, err := s.call(ctx, toolName, args)
	if err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: v}, nil
}

// call calls a tool, once.
func (s *server) call(ctx context.Context, name string, args map[string]any) (kernel.Value, error) {
	session, err := s.use(ctx)
	if err != nil {
		return nil, err
	}
	tools, err := s.toolsOf(ctx, session)
	if err != nil {
		return nil, err
	}
	full := kernel.Quote(s.name + "." + name)
	t := tools[name]
	switch {
	case t == nil && !s.allows(name):
		return nil, &kernel.Error{Code: kernel.CodeDenied, What: "tool " + full + " may not be called", Why: "tools of " + s.where() + " does not list it", Fix: "if you agree, add it there"}
	case t == nil:
		return nil, &kernel.Error{Code: kernel.CodeNotFound, What: "there is no tool " + full, Fix: kernel.DidYouMean(name, slices.Sorted(maps.Keys(tools)))}
	case !t.admitted:
		return nil, &kernel.Error{Code: kernel.CodeDenied, What: "tool " + full + " may not be called", Why: "what it tells of itself has changed since it was first seen, or approved", Fix: "look at it: hexdag mcp tools; if you agree: hexdag mcp approve " + s.id(name)}
	case t.input != nil:
		if err := t.input.Validate(args); err != nil {
			return nil, &kernel.Error{Code: kernel.CodeArguments, What: "the arguments of tool " + full + " do not fit its schema", Why: kernel.Quote(err.Error()), Fix: "see mcp.list_tools"}
		}
	}
	ctx, cut := noteCut(ctx)
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: args})
	if err != nil {
		return nil, s.said(ctx, session, cut.Load(), err)
	}
	return s.value(full, t, result)
}

// unsent is what the library says, as if the server had, where the transport fails.
const unsent = "rejected by transport"

// said gives an error of a call its code; cut says that its answer was. What the server says is quoted.
func (s *server) said(ctx context.Context, session *mcp.ClientSession, cut bool, err error) error {
	var wire *jsonrpc.Error
	text := err.Error()
	tooMuch := &kernel.Error{Code: kernel.CodeLimit, What: s.where() + " said too much", Why: fmt.Sprintf("max_result_bytes is %d", s.most), Fix: "ask it for less, or raise the limit", Err: err}
	switch {
	case cut, errors.Is(err, errTooLarge):
		return tooMuch
	case errors.As(err, &wire) && wire.Message != unsent:
		return &kernel.Error{Code: kernel.CodeFailed, What: s.where() + " refused the call", Why: kernel.Quote(wire.Message), Err: err}
	case strings.Contains(text, "exceeded the configured maximum"): // of a command's output: what comes after it cannot be read
		s.drop(session)
		tooMuch.Why += ", and a message of it, to this call or to another one, is longer: all that were under way have ended"
		return tooMuch
	case ctx.Err() != nil:
		return kernel.ContextError(ctx)
	}
	return &kernel.Error{Code: kernel.CodeUnavailable, What: s.where() + " has broken off", Why: kernel.Quote(text), Fix: "nobody knows whether it did what it was called for; see the server, and call again if that does no harm", Err: err}
}

// value is what a tool answers.
func (s *server) value(full string, t *tool, result *mcp.CallToolResult) (kernel.Value, error) {
	text, err := json.Marshal(result)
	if err == nil && int64(len(text)) > s.most {
		return nil, &kernel.Error{Code: kernel.CodeLimit, What: "the result of tool " + full + " is too large", Why: fmt.Sprintf("it has %d bytes, max_result_bytes is %d", len(text), s.most), Fix: "ask it for less, or raise the limit"}
	}
	var fields map[string]any
	if err == nil {
		var v kernel.Value
		v, err = kernel.DecodeJSON(text)
		fields, _ = v.(map[string]any)
	}
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeFailed, What: "the result of tool " + full + " cannot be read", Why: kernel.Quote(err.Error()), Err: err}
	}
	structured := fields["structuredContent"]
	said, onlyText := textOf(result.Content)
	switch {
	case result.IsError:
		return nil, &kernel.Error{Code: kernel.CodeFailed, What: "tool " + full + " failed", Why: kernel.Quote(said)}
	case len(t.definition.OutputSchema) > 0:
		if err := t.misfit(full, structured); err != nil {
			return nil, err
		}
	}
	switch {
	case structured != nil:
		return structured, nil
	case onlyText:
		return said, nil
	}
	return map[string]any{"content": fields["content"]}, nil
}

// misfit returns an error where a result is not what its tool tells of it.
func (t *tool) misfit(full string, v kernel.Value) error {
	var err error
	switch {
	case t.output != nil:
		err = t.output.Validate(v)
	case v == nil:
		err = errUnstructured
	}
	if err == nil {
		return nil
	}
	if v == nil {
		err = errUnstructured
	}
	return &kernel.Error{Code: kernel.CodeFailed, What: "the result of tool " + full + " does not fit its output schema", Why: kernel.Quote(err.Error()), Fix: "the tool may have done what it was called for; see its server", Err: err}
}

var errUnstructured = errors.New("it has no structuredContent")

// textOf returns the text of blocks, and whether they are nothing else.
func textOf(blocks []mcp.Content) (text string, only bool) {
	var all []string
	only = true
	for _, b := range blocks {
		if t, ok := b.(*mcp.TextContent); ok {
			all = append(all, strings.ToValidUTF8(t.Text, "\uFFFD"))
			continue
		}
		only = false
	}
	return strings.Join(all, "\n"), only
}
