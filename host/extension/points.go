package extension

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/schema"
)

// runMessage is abi.Run as a Value and as text.
func runMessage(ctx context.Context) kernel.Message {
	run := kernel.RunFrom(ctx)
	if run == nil {
		run = &kernel.RunContext{}
	}
	usage := journal.LaneFrom(ctx).Usage(run.Used())
	return run.Message(usage, func(usage kernel.UsageSnapshot) kernel.Message {
		v := map[string]any{"run_id": run.RunID, "pipeline": run.PipelineName, "tenant": run.Tenant, "principal": run.Principal, "usage": usageValue(usage)}
		if run.ParentRunID != "" {
			v["parent_run_id"] = run.ParentRunID
		}
		if len(run.Labels) > 0 {
			labels := make(map[string]any, len(run.Labels))
			for name, label := range run.Labels {
				labels[name] = label
			}
			v["labels"] = labels
		}
		text, _ := kernel.EncodeJSON(v) // strings and numbers
		return kernel.Message{Value: v, Text: text}
	})
}

func usageValue(u kernel.UsageSnapshot) kernel.Value {
	return map[string]any{
		"llm_calls": kernel.Number(u.LLMCalls), "input_tokens": kernel.Number(u.InputTokens), "output_tokens": kernel.Number(u.OutputTokens),
		"tool_calls": kernel.Number(u.ToolCalls), "port_calls": kernel.Number(u.PortCalls),
	}
}

// problem is abi.Problem as a Value.
func problem(err error) kernel.Value {
	return map[string]any{"code": string(kernel.CodeOf(err)), "message": err.Error()}
}

// nodeMessage is a node's call as a before-hook and a node's body read it.
func nodeMessage(ctx context.Context, call *kernel.NodeCall) *kernel.Message {
	if call.Message == nil {
		run := runMessage(ctx)
		attempt := kernel.Number(int64(call.Attempt))
		node := map[string]any{"name": call.Name, "kind": call.Kind, "attempt": attempt}
		m := &kernel.Message{Value: map[string]any{"run": run.Value, "node": node, "input": call.Input}}
		m.Text = assemble(part{"input", call.Input, nil}, part{"node", node, nil}, part{"run", nil, run.Text})
		call.Message = m
	}
	return call.Message
}

// part is a member of a message: a value, or the text of one.
type part struct {
	name  string
	value kernel.Value
	text  []byte
}

// assemble writes a message whose members are sorted by name; nil where a value
// cannot be encoded, which the call of the module then says.
func assemble(parts ...part) []byte {
	text := make([]byte, 0, 512)
	for i, p := range parts {
		sep := byte('{')
		if i > 0 {
			sep = ','
		}
		text = append(append(append(text, sep, '"'), p.name...), '"', ':')
		if p.text != nil {
			text = append(text, p.text...)
			continue
		}
		var err error
		if text, err = kernel.AppendJSON(text, p.value); err != nil {
			return nil
		}
	}
	return append(text, '}')
}

func principal(ctx context.Context) kernel.Caller {
	if run := kernel.RunFrom(ctx); run != nil {
		return kernel.Caller{Principal: run.Principal}
	}
	return kernel.Caller{}
}

type nodeHook struct{ m *Module }

// NodeHook returns the module as a hook around nodes.
func (m *Module) NodeHook() (kernel.NodeHook, error) {
	if err := m.needOne(abi.NodeBefore, abi.NodeAfter); err != nil {
		return nil, err
	}
	return nodeHook{m}, nil
}

func (m *Module) needOne(points ...abi.Point) error {
	if slices.ContainsFunc(points, m.Has) {
		return nil
	}
	return &kernel.Error{Code: kernel.CodeModuleExport, Where: kernel.Where{File: m.spec.Path, Module: m.ID()},
		What: fmt.Sprintf("module %s exports none of %v", kernel.Quote(m.Name()), points), Why: m.latest().Serves(points...),
		Fix: "use it for one of those, or export the function"}
}

func (h nodeHook) BeforeNode(ctx context.Context, call *kernel.NodeCall) (verdict kernel.Verdict, err error) {
	v := h.m.hold(ctx)
	defer h.m.release(ctx, v)
	if !v.Has(abi.NodeBefore) {
		return kernel.Verdict{}, nil
	}
	defer func() { v.judged(ctx, &verdict, err) }()
	message := nodeMessage(ctx, call)
	out, err := v.callEncoded(ctx, abi.NodeBefore, call.Name, principal(ctx), message.Value, message.Text, nil)
	if err != nil {
		return kernel.Verdict{}, err
	}
	return v.verdict(abi.NodeBefore, out)
}

func (h nodeHook) AfterNode(ctx context.Context, call *kernel.NodeCall, output kernel.Value, failure error) (verdict kernel.Verdict, err error) {
	v := h.m.hold(ctx)
	defer h.m.release(ctx, v)
	if !v.Has(abi.NodeAfter) {
		return kernel.Verdict{}, nil
	}
	defer func() { v.judged(ctx, &verdict, err) }()
	message := behind(nodeMessage(ctx, call), "output", output)
	if failure != nil {
		message = behind(nodeMessage(ctx, call), "error", problem(failure))
	}
	out, err := v.call(ctx, abi.NodeAfter, call.Name, principal(ctx), message, nil)
	if err != nil {
		return kernel.Verdict{}, err
	}
	return v.verdict(abi.NodeAfter, out)
}

type portHook struct{ m *Module }

// PortHook returns the module as a hook around port calls.
func (m *Module) PortHook() (kernel.PortHook, error) {
	if err := m.needOne(abi.PortBefore, abi.PortAfter); err != nil {
		return nil, err
	}
	return portHook{m}, nil
}

// portMessage is a port's call as a before-hook reads it.
func portMessage(ctx context.Context, call *kernel.PortCall) *kernel.Message {
	if call.Message == nil {
		names := chain(call.Caller)
		run := runMessage(ctx)
		attempt := kernel.Number(int64(max(call.Attempt, 1)))
		m := &kernel.Message{Value: map[string]any{"run": run.Value, "node": call.Node, "op": call.Op, "chain": names, "args": call.Args, "attempt": attempt}}
		m.Text = assemble(part{"args", call.Args, nil}, part{"attempt", attempt, nil}, part{"chain", names, nil}, part{"node", call.Node, nil}, part{"op", call.Op, nil}, part{"run", nil, run.Text})
		call.Message = m
	}
	return call.Message
}

// chain is on whose behalf a call is made, outermost first.
func chain(caller kernel.Caller) []any {
	names := caller.Chain()
	values := make([]any, len(names))
	for i, name := range names {
		values[i] = name
	}
	return values
}

// behind returns a before-hook's message with what an after-hook sees beside it.
func behind(before *kernel.Message, name string, value kernel.Value) map[string]any {
	fields, _ := before.Value.(map[string]any)
	message := make(map[string]any, len(fields)+1)
	maps.Copy(message, fields)
	message[name] = value
	return message
}

func (h portHook) BeforePort(ctx context.Context, call *kernel.PortCall) (kernel.Verdict, error) {
	v := h.m.hold(ctx)
	defer h.m.release(ctx, v)
	if !v.Has(abi.PortBefore) {
		return kernel.Verdict{}, nil
	}
	message := portMessage(ctx, call)
	out, err := v.callEncoded(ctx, abi.PortBefore, call.Node, principal(ctx), message.Value, message.Text, call.Body)
	if err != nil {
		return kernel.Verdict{}, err
	}
	return v.inPlace(ctx, abi.PortBefore, out)
}

func (h portHook) AfterPort(ctx context.Context, call *kernel.PortCall, reply *kernel.PortReply, failure error) (kernel.Verdict, error) {
	v := h.m.hold(ctx)
	defer h.m.release(ctx, v)
	if !v.Has(abi.PortAfter) {
		return kernel.Verdict{}, nil
	}
	var message map[string]any
	var body []byte
	if failure != nil {
		message = behind(portMessage(ctx, call), "error", problem(failure))
	} else {
		message, body = behind(portMessage(ctx, call), "reply", reply.Value), reply.Body
	}
	out, err := v.call(ctx, abi.PortAfter, call.Node, principal(ctx), message, body)
	if err != nil {
		return kernel.Verdict{}, err
	}
	return v.inPlace(ctx, abi.PortAfter, out)
}

// inPlace is the verdict of a hook around a port's call; what it puts in the place of arguments
// or a reply is the module's word.
func (m *version) inPlace(ctx context.Context, point abi.Point, out *sandbox.Outcome) (kernel.Verdict, error) {
	verdict, err := m.verdict(point, out)
	if err == nil && (verdict.Action == kernel.Replace || verdict.Action == kernel.Skip) {
		kernel.FlowFrom(ctx).Join(m.said())
	}
	return verdict, err
}

// Invocation is a call of an extension point with a message, and the raw bytes beside
// it, as they are.
type Invocation struct {
	Point   abi.Point
	Message kernel.Value
	Body    []byte
	Config  kernel.Value // instead of the module's; nil means the module's
}

// Invoke calls an extension point for whoever holds the module.
func (m *Module) Invoke(ctx context.Context, i Invocation) (*sandbox.Outcome, error) {
	v := m.hold(ctx)
	defer m.release(ctx, v)
	call := sandbox.Call{Point: i.Point, Input: i.Message, Body: i.Body, Config: i.Config}
	if i.Config == nil {
		call.Config = m.spec.Config
	}
	return v.enter(ctx, "", principal(ctx), call)
}

// May returns nil if the module requests, and was granted, an operation with these
// arguments; else an error that says which of the two is missing.
func (m *Module) May(op string, args map[string]string) error {
	return m.latest().rights.Check(op, args)
}

// Observe tells the module of an event, on behalf of whoever subscribed it. It is the
// attempt'th time, from 1. The verdict is Continue, Deny (never again) or RetryAfter.
func (m *Module) Observe(ctx context.Context, caller kernel.Caller, event kernel.Value, attempt int) (kernel.Verdict, error) {
	v := m.hold(ctx)
	defer m.release(ctx, v)
	message := map[string]any{"run": runMessage(ctx).Value, "event": event, "attempt": kernel.Number(int64(attempt))}
	out, err := v.call(ctx, abi.Observe, "", caller, message, nil)
	if err != nil {
		return kernel.Verdict{}, err
	}
	return v.verdict(abi.Observe, out)
}

// CanObserve returns an error if the module does not export observe.
func (m *Module) CanObserve() error { return m.needOne(abi.Observe) }

// RunNode runs the module as the body of a node.
func (m *Module) RunNode(ctx context.Context, call *kernel.NodeCall) (answer kernel.Value, err error) {
	v := m.hold(ctx)
	defer m.release(ctx, v)
	defer func() { v.answered(ctx, "", err) }()
	message := nodeMessage(ctx, call)
	out, err := v.callEncoded(ctx, abi.NodeRun, call.Name, principal(ctx), message.Value, message.Text, nil)
	if err != nil {
		return nil, err
	}
	return v.result(abi.NodeRun, out)
}

// Tools returns the tools that the current version's manifest describes, by name.
func (m *Module) Tools() []abi.Tool { return m.latest().described() }

func (m *version) described() []abi.Tool {
	list := make([]abi.Tool, 0, len(m.tools))
	for _, t := range m.tools {
		list = append(list, t.Tool)
	}
	slices.SortFunc(list, func(a, b abi.Tool) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// CallTool calls one of the module's tools on behalf of a caller. Arguments and
// result are held to the tool's schemas.
func (m *Module) CallTool(ctx context.Context, name string, args kernel.Value, node string, caller kernel.Caller) (answer kernel.Value, err error) {
	v := m.hold(ctx)
	defer m.release(ctx, v)
	defer func() { v.answered(ctx, name, err) }()
	return v.callTool(ctx, name, args, node, caller)
}

func (m *version) callTool(ctx context.Context, name string, args kernel.Value, node string, caller kernel.Caller) (kernel.Value, error) {
	t, ok := m.tools[name]
	if !ok {
		return nil, m.noTool(name)
	}
	if err := hold(t.input, args, kernel.CodeArguments, "the arguments of tool "+kernel.Quote(name)); err != nil {
		return nil, kernel.At(err, kernel.Where{Module: m.ID(), Node: node})
	}
	if err := startTool(ctx, name); err != nil {
		return nil, kernel.At(err, kernel.Where{Module: m.ID(), Node: node})
	}
	out, err := m.call(ctx, abi.ToolCall, node, caller, map[string]any{"run": runMessage(ctx).Value, "tool": name, "args": args}, nil)
	if err != nil {
		return nil, err
	}
	v, err := m.result(abi.ToolCall, out)
	if err != nil {
		return nil, err
	}
	if err := hold(t.output, v, kernel.CodeABI, "the result of tool "+kernel.Quote(name)); err != nil {
		return nil, kernel.At(err, kernel.Where{Module: m.ID(), Node: node})
	}
	return v, nil
}

// startTool admits the call of a tool within what its run may do and spend.
func startTool(ctx context.Context, name string) error {
	run := kernel.RunFrom(ctx)
	if run == nil {
		return nil
	}
	if !run.Caps.Allows(kernel.CapTools) {
		return &kernel.Error{Code: kernel.CodeDenied, What: "the run may not call tool " + kernel.Quote(name), Why: "caps of the pipeline, or of the run that started it, deny " + string(kernel.CapTools), Fix: "remove it from spec.caps.deny, or add it to default_set"}
	}
	return run.StartTool(ctx)
}

func (m *version) noTool(name string) error {
	names := make([]string, 0, len(m.tools))
	for _, t := range m.described() {
		names = append(names, kernel.Quote(t.Name))
	}
	return &kernel.Error{Code: kernel.CodeModuleExport, Where: kernel.Where{File: m.owner.spec.Path, Module: m.ID()}, What: "module " + kernel.Quote(m.Name()) + " has no tool " + kernel.Quote(name),
		Why: "its manifest describes: " + strings.Join(names, ", ") + suggestion(name, names), Fix: "name one of these, or describe the tool in manifest.json"}
}

// suggestion is the name that was meant, where one is near.
func suggestion(name string, names []string) string {
	if near := kernel.Nearest(name, names); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

func hold(s *schema.Schema, v kernel.Value, code kernel.Code, what string) error {
	if s == nil {
		return nil
	}
	if err := s.Validate(v); err != nil {
		return &kernel.Error{Code: code, What: what + " do not fit its schema", Why: kernel.Quote(err.Error()), Fix: "see 'hexdag module inspect'", Err: err}
	}
	return nil
}

// Arguments picks a tool's arguments from what a node is given, by the names in
// the tool's schema: at the top level first, then one level down where exactly
// one value has the name. Without a schema it is all that the node is given.
func (m *Module) Arguments(ctx context.Context, name string, given kernel.Value) kernel.Value {
	v := m.hold(ctx)
	defer m.release(ctx, v)
	fields, ok := given.(map[string]any)
	names := v.tools[name].parameters
	if !ok || names == nil {
		return given
	}
	args := make(map[string]any, len(names))
	for _, param := range names {
		if v, there := fields[param]; there {
			args[param] = v
		} else if v, found := nested(fields, param); found {
			args[param] = v
		}
	}
	return args
}

// nested looks one level down; several sources are as good as none.
func nested(fields map[string]any, name string) (v kernel.Value, found bool) {
	for _, field := range fields {
		if inner, ok := field.(map[string]any); ok {
			if candidate, there := inner[name]; there {
				if found {
					return nil, false
				}
				v, found = candidate, true
			}
		}
	}
	return v, found
}
