package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// The operations that nodes call.
const (
	opComplete   = "llm.complete"
	opRequest    = "http.request"
	opTransition = "entity_state.transition"
)

// compute evaluates an expression_node.
func (w *worker) compute(ctx context.Context, b *pipeline.Compute, call *kernel.NodeCall) (kernel.Value, error) {
	if b.Merge != nil {
		merged, err := w.merge(ctx, b.Merge, call)
		if err != nil || len(b.Vars) == 0 {
			return map[string]any{"result": merged}, err
		}
		fields, _ := call.Input.(map[string]any)
		with := make(map[string]any, len(fields)+1)
		for name, v := range fields {
			with[name] = v
		}
		with["result"] = merged
		changed := *call
		changed.Input = with
		call = &changed
	}
	out := make(map[string]any, len(b.Vars))
	scope := variables{Scope: w.scope(call.Input), values: out}
	for _, v := range b.Vars {
		value, err := scope.evaluate(v)
		if err != nil {
			return nil, expressionError(v.Name, err)
		}
		out[v.Name] = value
	}
	if len(b.Output) == 0 {
		return out, nil
	}
	chosen := make(map[string]any, len(b.Output))
	for _, name := range b.Output {
		chosen[name] = out[name]
	}
	return chosen, nil
}

func expressionError(name string, err error) error {
	var e *kernel.Error
	if !errors.As(kernel.At(err, kernel.Where{}), &e) {
		return err
	}
	e.What = "Expression '" + name + "' failed: " + e.What
	if e.Code.Class() != kernel.ClassFailed && e.Code != kernel.CodeInput {
		e.Code = kernel.CodeFailed
	}
	return e
}

// variables is a scope in which what was computed so far comes first.
type variables struct {
	*pipeline.Scope
	values map[string]any
}

// Lookup implements expr.Scope.
func (s variables) Lookup(name string) (kernel.Value, bool) {
	if v, ok := s.values[name]; ok {
		return v, true
	}
	return s.Scope.Lookup(name)
}

func (s variables) evaluate(v pipeline.Variable) (kernel.Value, error) {
	if v.Template == nil {
		return v.Program.Eval(s)
	}
	with := *s.Scope
	fields, _ := s.Given.(map[string]any)
	given := make(map[string]any, len(fields)+len(s.values))
	for name, field := range fields {
		given[name] = field
	}
	for name, value := range s.values {
		given[name] = value
	}
	with.Given = given
	return v.Template.Render(&with)
}

// merge makes one value of the results of the nodes that it names.
func (w *worker) merge(ctx context.Context, m *pipeline.Merge, call *kernel.NodeCall) (kernel.Value, error) {
	byName := make(map[string]any, len(m.Order))
	list := make([]any, 0, len(m.Order))
	for _, name := range m.Order {
		v, done := w.resultOf(call.Input, name, len(m.Order) == 1)
		if !done || pipeline.IsSkipped(v) {
			continue
		}
		v = m.Extracted(v)
		byName[name] = v
		list = append(list, v)
	}
	switch m.Strategy {
	case "dict":
		return byName, nil
	case "first", "last":
		return pick(list, m.Strategy), nil
	case "reduce":
		return w.reduce(ctx, m.Reducer, list, call)
	}
	return list, nil
}

// resultOf returns a node's result as the merging node was given it, so that hooks
// have had their say.
func (w *worker) resultOf(given kernel.Value, name string, alone bool) (kernel.Value, bool) {
	if alone {
		return given, true
	}
	fields, _ := given.(map[string]any)
	v, ok := fields[name]
	return v, ok
}

// pick returns the first or the last item that is not null.
func pick(list []any, which string) kernel.Value {
	var last kernel.Value
	for _, v := range list {
		if v == nil {
			continue
		}
		if which == "first" {
			return v
		}
		last = v
	}
	return last
}

func (w *worker) reduce(ctx context.Context, f *pipeline.Function, list []any, call *kernel.NodeCall) (kernel.Value, error) {
	changed := *call
	changed.Input, changed.Message = map[string]any{"items": list}, nil
	return w.inside(ctx, func(ctx context.Context) (kernel.Value, error) { return w.function(ctx, f, &changed) })
}

// inside runs what is a part of the node: the node learns what it learns, and what
// may be taken off its answer is not taken off the node's.
func (w *worker) inside(ctx context.Context, part func(ctx context.Context) (kernel.Value, error)) (kernel.Value, error) {
	flow := kernel.NewFlow(w.flow.Labels())
	defer func() { w.flow.Join(flow.Labels()) }()
	return part(kernel.WithFlow(ctx, flow))
}

// function runs a module's node_run or tool, or a function of the program's.
func (w *worker) function(ctx context.Context, f *pipeline.Function, call *kernel.NodeCall) (kernel.Value, error) {
	if _, own := w.g.r.engine.functions[f.String()]; own {
		return w.g.r.engine.Call(ctx, f, call)
	}
	var before []kernel.Step
	if w.from != nil {
		before = w.from.Steps
	}
	return stoppable(ctx, before, func() (kernel.Value, error) { return w.g.r.engine.Call(ctx, f, call) })
}

// Call runs a function on behalf of the run that ctx carries.
func (e *Engine) Call(ctx context.Context, f *pipeline.Function, call *kernel.NodeCall) (kernel.Value, error) {
	if own, ok := e.functions[f.String()]; ok {
		return own(ctx, call)
	}
	m := e.modules[f.Module]
	switch {
	case m == nil:
		return nil, &kernel.Error{Code: kernel.CodeModuleNotFound, What: "there is no module " + kernel.Quote(f.Module), Fix: "configure it under spec.modules of the configuration (--config)"}
	case f.Tool == "":
		return m.RunNode(ctx, call)
	}
	return m.CallTool(ctx, f.Tool, m.Arguments(ctx, f.Tool, call.Input), call.Name, kernel.Caller{Principal: kernel.RunFrom(ctx).Principal})
}

// complete asks the model. With a schema the answer is its object, else its text.
func (w *worker) complete(ctx context.Context, b *pipeline.LLM, call *kernel.NodeCall) (kernel.Value, error) {
	messages, err := w.messages(ctx, b, call)
	if err != nil {
		return nil, err
	}
	args := map[string]any{"messages": messages}
	if b.Model != "" {
		args["model"] = b.Model
	}
	if b.MaxTokens > 0 {
		args["max_tokens"] = kernel.Number(int64(b.MaxTokens))
	}
	if w.n.Output != nil {
		args["schema"] = w.n.Output.JSONSchema()
	}
	var told atomic.Bool
	ask := &kernel.PortCall{Op: opComplete, Args: args, Node: w.n.Name, Caller: w.caller()}
	if b.Stream && w.n.Output == nil {
		ask.Tell = func(piece string) {
			told.Store(true)
			w.streamed(ctx, piece)
		}
		ask.Again = func() {
			told.Store(false)
			w.tellings.Add(1)
		}
		w.tellings.Add(1)
	}
	reply, err := w.door.Call(ctx, ask)
	if err != nil {
		return nil, err
	}
	answer, _ := reply.Value.(map[string]any)
	if w.n.Output != nil {
		return keeping(b, messages, answer, answer["parsed"]), nil
	}
	if content, ok := answer["content"].(string); ok && b.Stream && !told.Load() { // it was known, or hooks had their say
		w.streamed(ctx, content)
	}
	return keeping(b, messages, answer, answer["content"]), nil
}

// keeping is what the node answers: the content alone, or with what it has added to the conversation.
func keeping(b *pipeline.LLM, messages []any, answer map[string]any, content kernel.Value) kernel.Value {
	if !b.Keeps {
		return content
	}
	turns := []any{messages[len(messages)-1], map[string]any{"role": "assistant", "content": answer["content"]}}
	return map[string]any{"content": content, "messages": turns}
}

// streamed tells a piece of an answer. One of a larger attempt takes the place of all pieces before it.
func (w *worker) streamed(ctx context.Context, piece string) {
	kernel.Emit(ctx, &kernel.Event{Type: kernel.LLMTokenStreamed, Node: w.n.Name, Attempt: int(w.tellings.Load()), Result: piece})
}

func (w *worker) messages(ctx context.Context, b *pipeline.LLM, call *kernel.NodeCall) ([]any, error) {
	scope := w.scope(call.Input)
	var messages []any
	add := func(role string, text *pipeline.Template) error {
		if text == nil {
			return nil
		}
		content, err := text.Render(scope)
		messages = append(messages, map[string]any{"role": role, "content": content})
		return err
	}
	if err := add("system", b.System); err != nil {
		return nil, err
	}
	for i := range b.Conversation {
		turns, err := b.Conversation[i].Values(scope)
		if err != nil {
			return nil, err
		}
		messages = append(messages, turns...)
	}
	human, err := b.Human.Render(scope)
	if err != nil {
		return nil, err
	}
	manual, err := w.manual(ctx, b)
	return append(messages, map[string]any{"role": "user", "content": human + manual}), err
}

// service calls a port's method, or a tool of the module that a service is. The
// mapped names are its arguments, or the fields that the node is given where
// nothing is mapped.
func (w *worker) service(ctx context.Context, b *pipeline.ServiceCall, call *kernel.NodeCall) (kernel.Value, error) {
	op := b.Service + "." + b.Method
	if service, named := w.g.r.Services[b.Service]; named {
		if service.Module != "" {
			return w.function(ctx, &pipeline.Function{Module: service.Module, Tool: b.Method}, call)
		}
		op = service.Builtin + "." + b.Method
	}
	reply, err := w.call(ctx, op, w.arguments(call))
	if err != nil {
		return nil, err
	}
	return reply.Value, nil
}

// arguments are what is mapped, or the fields that the node is given where nothing is.
func (w *worker) arguments(call *kernel.NodeCall) map[string]any {
	args, _ := call.Input.(map[string]any)
	names := w.n.MappedNames()
	if names == nil {
		return args
	}
	mapped := make(map[string]any, len(names))
	for _, name := range names {
		if v, there := args[name]; there {
			mapped[name] = v
		}
	}
	return mapped
}

// request makes an api_call_node's request; its answer is the body.
func (w *worker) request(ctx context.Context, b *pipeline.APICall, call *kernel.NodeCall) (kernel.Value, error) {
	scope := w.scope(call.Input)
	url, err := b.URL.Render(scope)
	if err != nil {
		return nil, err
	}
	args := map[string]any{"method": b.Method, "url": url}
	for _, part := range []struct {
		name  string
		value *pipeline.Filled
	}{{"headers", b.Headers}, {"params", b.Params}, {"json", b.JSON}} {
		v, err := part.value.Render(scope)
		if err != nil {
			return nil, err
		}
		if v != nil {
			args[part.name] = v
		}
	}
	reply, err := w.call(ctx, opRequest, args)
	if err != nil {
		return nil, err
	}
	answer, _ := reply.Value.(map[string]any)
	return answer["body"], nil
}

// transition moves an entity to another state.
func (w *worker) transition(ctx context.Context, b *pipeline.Transition, call *kernel.NodeCall) (kernel.Value, error) {
	scope := w.scope(call.Input)
	args := map[string]any{}
	for name, o := range map[string]*pipeline.Operand{"entity": b.Entity, "entity_id": b.ID, "to_state": b.ToState, "reason": b.Reason} {
		v, err := o.Value(scope)
		if err != nil {
			return nil, err
		}
		switch v := v.(type) {
		case nil:
		case string:
			args[name] = v
		default:
			args[name] = strings.TrimSpace(fmt.Sprint(v)) // an id is often a number
		}
	}
	payload, err := b.PayloadValue(scope, nil)
	if err != nil {
		return nil, err
	}
	if payload != nil {
		args["payload"] = payload
	}
	reply, err := w.call(ctx, opTransition, args)
	if err != nil {
		return nil, err
	}
	return reply.Value, nil
}
