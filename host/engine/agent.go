package engine

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/agent"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
)

// agent runs an agent_node's loop.
func (w *worker) agent(ctx context.Context, b *pipeline.Agent, call *kernel.NodeCall) (kernel.Value, error) {
	spec := &agent.Spec{Prompt: b.Prompt.Source(), Continuations: map[string]string{}, Output: w.n.Output, MaxSteps: b.MaxSteps, Style: agent.Style(b.Style)}
	for phase, prompt := range b.Continuations {
		spec.Continuations[phase] = prompt.Source()
	}
	scope := w.scope(call.Input)
	render := func(prompt string, fields map[string]kernel.Value) (string, error) {
		with := *scope
		with.Given = fields
		return pipeline.ParseTemplate(prompt).Render(&with)
	}
	t := w.turns()
	tools, err := w.toolsOf(ctx, toolNames(b, w.g.r.Services))
	if err != nil {
		return nil, err
	}
	if len(b.Entities) > 0 {
		tools = append(tools, w.entityTools(b.Entities)...)
	}
	deps := agent.Deps{Model: model{w, b, t, &conversation{}}, Tools: toolbox{w, tools, t}, Render: render}
	if b.Central != nil {
		ctx = w.central(ctx, b, spec, &deps, t)
	}
	result, err := agent.Run(ctx, spec, deps, call.Input)
	if b.Central != nil && err == nil {
		err = w.report(ctx, result)
	}
	return result, w.betweenTurns(err, call, t)
}

// betweenTurns has an agent wait for an approval that its model or a tool needs: it
// goes on with that, and is told all that came before again.
func (w *worker) betweenTurns(err error, call *kernel.NodeCall, t *turns) error {
	if err == nil || t.lost() {
		return err
	}
	var body *stopped
	if !errors.As(err, &body) {
		err = &stopped{error: err}
	}
	err = w.suspended(err, call)
	var s *suspension
	if errors.As(err, &s) {
		s.progress.Turns, s.progress.Begun = t.done, body != nil
	}
	return err
}

// turns are what an agent has been told, in order: before it waited, and in all.
type turns struct {
	before []Turn
	waited begun
	done   []Turn
	size   int
}

// turns are those that the node goes on from.
func (w *worker) turns() *turns {
	t := &turns{}
	if w.from != nil {
		t.before, t.waited = w.from.Turns, begun{w.from.Steps, w.from.Begun}
	}
	return t
}

// begun is what a tool has done that waited, if one did.
type begun struct {
	steps []kernel.Step
	yes   bool
}

// maxTurnBytes is how much of what an agent was told is kept for it to go on from.
const maxTurnBytes = 8 << 20

func (t *turns) lost() bool { return t.size > maxTurnBytes }

// again returns what the agent was told at this point before it waited.
func (t *turns) again() (Turn, bool) {
	if len(t.done) >= len(t.before) {
		return Turn{}, false
	}
	turn := t.before[len(t.done)]
	t.add(turn)
	return turn, true
}

func (t *turns) add(turn Turn) {
	if turn.Answer != nil {
		t.size += len(*turn.Answer)
	}
	if t.size += kernel.SizeOf(turn.Value) + kernel.SizeOf(turn.Calls); t.lost() {
		t.done = nil
		return
	}
	t.done = append(t.done, turn)
}

// model is the run's model as an agent asks it.
type model struct {
	w *worker
	b *pipeline.Agent
	t *turns

	said *conversation
}

// Complete implements agent.Model.
func (m model) Complete(ctx context.Context, messages []agent.Message, tools []agent.Tool) (agent.Answer, error) {
	if turn, told := m.t.again(); told && turn.Answer != nil {
		return answerOf(*turn.Answer, turn.Calls), nil
	} else if told {
		return agent.Answer{}, diverged()
	}
	args, written := m.said.args(m.b.Model, messages, tools)
	reply, err := m.w.callWritten(ctx, opComplete, args, written)
	if err != nil {
		return agent.Answer{}, err
	}
	answer, _ := reply.Value.(map[string]any)
	text, _ := answer["content"].(string)
	calls, _ := answer["tool_calls"].([]any)
	m.t.add(Turn{Answer: &text, Calls: calls})
	return answerOf(text, calls), nil
}

// messageValue is a message as llm.complete takes it.
func messageValue(m agent.Message) map[string]any {
	v := map[string]any{"role": m.Role, "content": m.Content}
	if m.CallID != "" {
		v["tool_call_id"] = m.CallID
	}
	if len(m.Calls) > 0 {
		calls := make([]any, len(m.Calls))
		for i, c := range m.Calls {
			call := map[string]any{"id": c.ID, "name": c.Name, "arguments": c.Raw}
			if c.Signature != "" {
				call["signature"] = c.Signature
			}
			calls[i] = call
		}
		v["tool_calls"] = calls
	}
	return v
}

// toolValue is a tool as llm.complete takes it.
func toolValue(t agent.Tool) map[string]any {
	return map[string]any{"name": t.Name, "description": t.Description, "parameters": t.Arguments()}
}

// answerOf reads the calls that llm.complete answers: {id, name, arguments, signature?, error?}.
func answerOf(text string, calls []any) agent.Answer {
	answer := agent.Answer{Text: text}
	for _, v := range calls {
		fields, _ := v.(map[string]any)
		c := agent.Call{}
		c.ID, _ = fields["id"].(string)
		c.Name, _ = fields["name"].(string)
		c.Signature, _ = fields["signature"].(string)
		if raw, isText := fields["arguments"].(string); isText {
			c.Raw = raw
		} else if text, err := kernel.EncodeJSON(fields["arguments"]); err == nil {
			c.Raw = string(text)
		}
		c.Args, _ = fields["arguments"].(map[string]any)
		if why, refused := fields["error"].(string); refused {
			c.Err = errors.New(why)
		}
		answer.Calls = append(answer.Calls, c)
	}
	return answer
}

func diverged() error {
	return &kernel.Error{Code: kernel.CodeFailed, What: "the agent cannot go on from where it waited for an approval", Why: "it does something else than it did before, when it was told the same", Fix: "run the pipeline again; the pipeline has changed meanwhile"}
}

// offered is a tool under the name that the agent knows it by: service:tool.
type offered struct {
	agent.Tool
	call func(ctx context.Context, args map[string]any, before begun) (kernel.Value, error)
}

// toolbox is what an agent may call, and nothing else.
type toolbox struct {
	w     *worker
	tools []offered
	t     *turns
}

// List implements agent.Tools.
func (t toolbox) List() []agent.Tool {
	list := make([]agent.Tool, len(t.tools))
	for i, tool := range t.tools {
		list[i] = tool.Tool
	}
	return list
}

// Call implements agent.Tools.
func (t toolbox) Call(ctx context.Context, name string, args map[string]any) (kernel.Value, error) {
	if turn, told := t.t.again(); told {
		switch {
		case turn.Tool != name:
			return nil, &agent.Stop{Err: diverged()}
		case turn.Failed != nil:
			return nil, turn.Failed
		}
		return turn.Value, nil
	}
	ctx, span := t.w.g.r.engine.tracer.Tool(ctx, name, agent.CallIDFrom(ctx), args)
	v, err := t.call(ctx, name, args)
	span.EndTool(v, t.w.flow.Labels(), err)
	if kernel.CodeOf(err) == kernel.CodeApproval || kernel.NeededBy(err) != nil {
		return nil, &agent.Stop{Err: err}
	}
	turn := Turn{Tool: name, Value: v}
	if err != nil {
		turn.Value, turn.Failed = nil, failureOf(err)
	}
	t.t.add(turn)
	return v, err
}

func (t toolbox) call(ctx context.Context, name string, args map[string]any) (kernel.Value, error) {
	i := slices.IndexFunc(t.tools, func(o offered) bool { return o.Name == name })
	if i < 0 {
		return nil, &kernel.Error{Code: kernel.CodeNotFound, What: "there is no tool " + kernel.Quote(name)}
	}
	before := t.t.waited
	t.t.waited = begun{} // only that one has begun
	return t.tools[i].call(ctx, args, before)
}

// toolsOf returns the tools of these names.
func (w *worker) toolsOf(ctx context.Context, names []string) ([]offered, error) {
	var tools []offered
	r := w.g.r
	for _, name := range names {
		owner, tool := r.engine.owner(name, r.Services)
		module := owner
		if s, ok := r.Services[owner]; ok {
			module = s.Module
		}
		switch m := r.engine.modules[module]; {
		case m != nil:
			tools = append(tools, w.moduleTools(m, owner, tool)...)
			continue
		case w.serves(owner) && !w.isLibrary(owner):
			more, err := w.serverTools(ctx, owner, tool)
			if err != nil {
				return nil, err
			}
			tools = append(tools, more...)
			continue
		}
		tools = append(tools, w.libraryTools(libraryOf(r.Services, owner), owner, tool)...)
	}
	return tools, nil
}

// toolNames are those that an agent names, or all of its pipeline's services.
func toolNames(b *pipeline.Agent, services map[string]pipeline.ServiceSpec) []string {
	if b.Central != nil {
		return slices.Concat(centralTools, b.Tools)
	}
	if b.Tools != nil { // none is none
		return b.Tools
	}
	var names []string
	for _, name := range sortedServices(services) {
		names = append(names, name+":*")
	}
	return names
}

func sortedServices(services map[string]pipeline.ServiceSpec) []string {
	var names []string
	for name := range services {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (w *worker) moduleTools(m *extension.Module, owner, wanted string) []offered {
	var tools []offered
	for _, t := range m.Tools() {
		if wanted != "*" && wanted != t.Name {
			continue
		}
		name := t.Name
		tools = append(tools, offered{
			Tool: agent.Tool{Name: owner + ":" + name, Description: t.Description, Parameters: parametersOf(t), Schema: schemaOf(t)},
			call: func(ctx context.Context, args map[string]any, before begun) (kernel.Value, error) {
				return w.moduleTool(ctx, m, name, args, before)
			},
		})
	}
	return tools
}

// moduleTool calls a tool that the model has chosen: governance is asked about it, with
// all that the conversation has learned, and the conversation learns what the tool
// answers.
func (w *worker) moduleTool(ctx context.Context, m *extension.Module, name string, args map[string]any, before begun) (kernel.Value, error) {
	call := &kernel.PortCall{Op: m.Name() + "." + name, Args: args, Node: w.n.Name, Caller: w.caller()}
	reply, err := w.door.CallTool(ctx, call, before.yes, func(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
		flow := kernel.NewFlow(w.flow.Labels())
		ctx = kernel.WithFlow(ctx, flow)
		v, err := stoppable(ctx, before.steps, func() (kernel.Value, error) { return m.CallTool(ctx, name, call.Args, w.n.Name, w.caller()) })
		w.flow.Join(flow.Labels())
		return &kernel.PortReply{Value: v, Labels: flow.Labels()}, err
	})
	if err != nil {
		return nil, err
	}
	return reply.Value, nil
}

// parametersOf reads a tool's parameters from its schema.
func parametersOf(t abi.Tool) []agent.Parameter {
	schema := schemaOf(t)
	properties, _ := schema["properties"].(map[string]any)
	required, _ := schema["required"].([]any)
	var parameters []agent.Parameter
	for name, p := range properties {
		described, _ := p.(map[string]any)
		typ, _ := described["type"].(string)
		parameters = append(parameters, agent.Parameter{Name: name, Type: typ, Required: slices.Contains(required, any(name))})
	}
	slices.SortFunc(parameters, func(a, b agent.Parameter) int { return strings.Compare(a.Name, b.Name) })
	return parameters
}

// schemaOf reads the schema of a tool's arguments; nil where it has none.
func schemaOf(t abi.Tool) map[string]any {
	v, err := kernel.DecodeJSON(t.InputSchema)
	if err != nil {
		return nil
	}
	schema, _ := v.(map[string]any)
	return schema
}

// tools refuses a node that names tools which are not there.
func (c *checker) tools(n *pipeline.Node, names []string, door *ports.Door) {
	for _, name := range names {
		owner, tool := c.engine.owner(name, c.pipeline.Services)
		module := owner
		if s, ok := c.pipeline.Services[owner]; ok {
			module = s.Module
		}
		library := door.Tools(libraryOf(c.pipeline.Services, owner))
		switch {
		case c.engine.modules[module] == nil && c.engine.isServer(owner, door):
		case c.engine.modules[module] == nil && len(library) > 0:
			c.libraryTool(n, library, owner, tool)
		case c.engine.modules[module] == nil:
			c.noModule(at(n), owner)
		case tool != "*":
			c.tool(at(n), module, tool)
		}
	}
}
