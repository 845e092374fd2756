// Package agent is the loop of hexDAG's agent_node: a model is asked, calls tools
// in its answer, is told their results, and is asked again, until it ends with a
// result of the right shape.
//
// What a model and a tool say is data. A call reaches only what Tools lists; a
// tool's words are told to the model, never read for calls or rendered as a
// template; and whatever goes wrong with a call is told to the model, too. Only
// the end of the context, a model that fails and a limit end the loop early.
package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/types"
)

// The bounds of a loop.
const (
	DefaultSteps = 20
	MaxSteps     = 1000

	maxPrompt    = 1 << 20  // bytes of a rendered prompt
	maxHistory   = 2 << 20  // bytes of all steps, calls and results together, as the model is told them
	maxResponse  = 1 << 20  // bytes of one answer
	maxResult    = 64 << 10 // bytes of a result that the model is told
	maxArguments = 64 << 10 // bytes of one call
	maxCalls     = 16       // calls in one answer
	maxTools     = 256      // that a model is told of
)

// Spec is an agent_node. The zero values of all but Prompt are hexDAG's defaults.
type Spec struct {
	Prompt        string            // main_prompt or initial_prompt_template
	Continuations map[string]string // continuation_prompts, by phase
	Output        *types.Object     // output_schema; nil is {output: str}
	MaxSteps      int               // 0 is DefaultSteps
	Style         Style             // "" is Mixed
	MustEnd       bool              // not to have ended after MaxSteps is an error, of CodeLimit
}

// Validate returns every mistake of the spec, each a CodePipeline error.
func (s *Spec) Validate() error {
	var wrong []error
	fail := func(fix, what string, args ...any) {
		wrong = append(wrong, &kernel.Error{Code: kernel.CodePipeline, What: fmt.Sprintf(what, args...), Fix: fix})
	}
	if strings.TrimSpace(s.Prompt) == "" {
		fail("write what the agent is to do", "an agent needs a main_prompt")
	}
	if s.MaxSteps < 0 || s.MaxSteps > MaxSteps {
		fail(fmt.Sprintf("write a number from 1 to %d, or leave it out for %d", MaxSteps, DefaultSteps), "max_steps is %d", s.MaxSteps)
	}
	if _, known := guidelines[s.style().written()]; !known {
		fail(kernel.DidYouMean(string(s.Style), []string{string(Native), string(Mixed), string(FunctionCall), string(JSON)}), "there is no tool_call_style %s", kernel.Quote(string(s.Style)))
	}
	return errors.Join(wrong...)
}

func (s *Spec) style() Style {
	if s.Style == "" {
		return Mixed
	}
	return s.Style
}

func (s *Spec) maxSteps() int {
	if s.MaxSteps == 0 {
		return DefaultSteps
	}
	return s.MaxSteps
}

// Message is one turn of the conversation with the model. In the styles that write calls as text there is one, a user's.
type Message struct {
	Role    string // "user"; and "assistant" and "tool"
	Content string
	Calls   []Call // of an assistant: those of its Answer
	CallID  string // of a tool: the call that it answers
}

// Answer is what a model says.
type Answer struct {
	Text  string
	Calls []Call // that it wants made, if it was given tools: each has an ID
}

// Model answers a conversation. It is given tools where it is to call them by an interface of its own; one that has none returns
// CodeUnsupported, and is asked to write its calls. Any other error ends the loop.
type Model interface {
	Complete(ctx context.Context, messages []Message, tools []Tool) (Answer, error)
}

// Tools are what a model may call.
type Tools interface {
	// List returns them. It is asked once for a run of the loop; of two with one
	// name the first counts.
	List() []Tool
	// Call calls a tool of the list. Its error is told to the model, without the
	// place that it is about, unless the context has ended, or it is a Stop.
	Call(ctx context.Context, name string, args map[string]any) (kernel.Value, error)
}

// Stop is the error of a call that ends the loop: Run returns it.
type Stop struct{ Err error }

// Error says why.
func (s *Stop) Error() string { return s.Err.Error() }

// Unwrap returns the cause.
func (s *Stop) Unwrap() error { return s.Err }

// Tool describes a tool to a model.
type Tool struct {
	Name        string
	Description string
	Parameters  []Parameter
	// Schema is the JSON Schema of the arguments; nil is what Parameters say.
	Schema map[string]any
}

// Parameter is an argument that a tool takes. Type is a name of JSON Schema or of
// hexDAG; "" is any.
type Parameter struct {
	Name     string
	Type     string
	Required bool
}

// Renderer fills the fields into a prompt's {{name}}s.
type Renderer func(prompt string, fields map[string]kernel.Value) (string, error)

// Deps is what a loop works with. Tools may be nil: then there are none but the
// loop's own.
type Deps struct {
	Model  Model
	Tools  Tools
	Render Renderer
	// Accept, if set, says what is wrong with a result that the output schema takes: the model is told, and has not ended.
	Accept func(result kernel.Value) error
	// Refused, if set, is told of each call that was not made: one that nobody could read, of a tool that there is not, or without
	// what it needs. Its error ends the loop.
	Refused func(ctx context.Context, tool, why string) error
}

// Run asks the model until it calls tool_end with arguments that the output schema
// takes, and returns these as the schema has them. If it has not after max_steps,
// or speaks of tool_end without calling a tool, Run returns the state: an object of
// input_data, reasoning_steps, tool_results, tools_used, current_phase,
// phase_history, phase_contexts, step, response and loop_iteration.
//
// Errors are the model's and the renderer's own, CodeLimit for a prompt, an answer
// or a history that is too large and for a loop that must end and has not, CodePipeline for a spec that Validate refuses, and
// CodeTimeout or CodeCanceled for the end of the context.
func Run(ctx context.Context, spec *Spec, deps Deps, input kernel.Value) (kernel.Value, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	l, err := newLoop(spec, deps, input)
	if err != nil {
		return nil, err
	}
	for range spec.maxSteps() {
		if err := l.step(ctx); err != nil {
			return nil, err
		}
		if l.ended {
			break
		}
	}
	if l.result != nil {
		return l.result, nil
	}
	if spec.MustEnd {
		return nil, limit("the model has not ended after %d answers", l.state.step, spec.maxSteps(), "see what it did: hexdag journal show; give it more steps, or a task that it can do with its tools")
	}
	return l.state.value(), nil
}

// loop is one run of an agent.
type loop struct {
	spec   *Spec
	deps   Deps
	output *types.Object
	tools  map[string]*Tool // by name, without the loop's own
	listed []Tool           // all of them
	manual string           // the section of the prompt about tools
	talk   *talk            // nil where calls are written
	state  *state
	ended  bool
	result kernel.Value // with ended, if the model gave one
}

// defaultOutput is the schema of an agent without one.
var defaultOutput = map[string]any{"output": "str"}

func newLoop(spec *Spec, deps Deps, input kernel.Value) (*loop, error) {
	l := &loop{spec: spec, deps: deps, output: spec.Output, state: newState(input)}
	if l.output == nil {
		r, err := types.NewRegistry(nil)
		if err != nil {
			return nil, err
		}
		if l.output, err = r.Object(defaultOutput, nil); err != nil {
			return nil, err
		}
	}
	tools := l.lifecycle()
	own := len(tools)
	if deps.Tools != nil {
		tools = append(tools, deps.Tools.List()...)
	}
	if len(tools) > maxTools {
		return nil, limit("the agent has %d tools", len(tools), maxTools, "grant it fewer")
	}
	l.tools = make(map[string]*Tool, len(tools))
	listed := tools[:0]
	for i, t := range tools {
		reserved := i >= own && (t.Name == toolEnd || t.Name == changePhase)
		if reserved || l.tools[t.Name] != nil {
			continue
		}
		l.tools[t.Name] = &t
		listed = append(listed, t)
	}
	l.listed = listed
	l.manual = manual(listed, spec.style().written(), l.output)
	if len(l.manual) > maxPrompt {
		return nil, limit("the tools' descriptions have %d bytes", len(l.manual), maxPrompt, "grant it fewer tools")
	}
	if spec.style() == Native {
		l.talk = &talk{}
	}
	return l, nil
}

// step asks the model once and makes the calls of its answer.
func (l *loop) step(ctx context.Context) error {
	if over(ctx) {
		return kernel.ContextError(ctx)
	}
	answer, err := l.ask(ctx)
	size := len(answer.Text) + sizeOf(answer.Calls)
	switch {
	case ctx.Err() != nil:
		return kernel.ContextError(ctx)
	case err != nil:
		return err
	case size > maxResponse:
		return limit("the model answered %d bytes", size, maxResponse, "have it answer less, for example with max_tokens")
	}
	answer.Text = strings.ToValidUTF8(answer.Text, "\uFFFD")
	calls := l.callsOf(answer)
	l.state.begin(answer.Text)
	l.talk.said(answer)
	for _, call := range calls {
		if err := l.call(ctx, call); err != nil {
			return err
		}
		if l.ended {
			return nil
		}
		l.talk.result(call, l.state.told)
	}
	if len(calls) == 0 {
		l.ended = !l.spec.MustEnd && strings.Contains(strings.ToLower(answer.Text), toolEnd)
		l.talk.goOn()
	}
	return l.state.bounded(l.talk.told())
}

// over reports whether ctx has ended. The timer that ends it may be late, and what the agent has started, whose time is up at the same
// moment, have ended before it: the model is not asked what to do about that.
func over(ctx context.Context) bool {
	if until, timed := ctx.Deadline(); timed && !time.Now().Before(until) {
		<-ctx.Done()
	}
	return ctx.Err() != nil
}

// ask has the model answer what comes next.
func (l *loop) ask(ctx context.Context) (Answer, error) {
	if l.talk != nil {
		answer, err := l.talkOn(ctx)
		if kernel.CodeOf(err) != kernel.CodeUnsupported || l.talk.native {
			return answer, err
		}
		l.talk = nil // it is to write them
	}
	prompt, err := l.prompt()
	if err != nil {
		return Answer{}, err
	}
	return l.deps.Model.Complete(ctx, []Message{{Role: "user", Content: prompt}}, nil)
}

// call makes one call and records what came of it. Its error ends the loop.
func (l *loop) call(ctx context.Context, call Call) error {
	args, why := l.prepare(call)
	switch {
	case why != "":
		l.state.failed(call.Name, why)
		if l.deps.Refused != nil {
			return l.deps.Refused(ctx, call.Name, why)
		}
		return nil
	case call.Name == toolEnd:
		l.end(args)
		return nil
	case call.Name == changePhase:
		l.changePhase(args)
		return nil
	}
	result, err := l.deps.Tools.Call(withCallID(ctx, call.ID), call.Name, args)
	var stop *Stop
	switch {
	case ctx.Err() != nil:
		return kernel.ContextError(ctx)
	case errors.As(err, &stop):
		return err
	case err != nil:
		l.state.failed(call.Name, told(err))
	default:
		l.state.succeeded(call.Name, result)
	}
	return nil
}

// prepare returns the arguments of a call, or why it cannot be made.
func (l *loop) prepare(call Call) (args map[string]any, why string) { return prepare(l.tools, call) }

func prepare(tools map[string]*Tool, call Call) (args map[string]any, why string) {
	if call.Err != nil {
		return nil, call.Err.Error()
	}
	tool := tools[call.Name]
	if tool == nil {
		return nil, fmt.Sprintf("Tool '%s' not found. Available: %s", kernel.Quote(call.Name), list(slices.Sorted(maps.Keys(tools))))
	}
	args = typed(tool.Parameters, call)
	if names := missing(tool.Parameters, args); names != "" {
		return nil, "missing arguments: " + names
	}
	return args, ""
}

// missing lists the arguments that a call lacks.
func missing(parameters []Parameter, args map[string]any) string {
	var names []string
	for _, p := range parameters {
		if _, there := args[p.Name]; p.Required && !there {
			names = append(names, p.Name)
		}
	}
	return list(names)
}

func list(names []string) string { return kernel.Quote(strings.Join(names, ", ")) }

// told is what a model learns of an error: what and why, but not where on the
// host, and not how an operator fixes it.
func told(err error) string {
	var e *kernel.Error
	if !errors.As(err, &e) {
		return kernel.Quote(err.Error())
	}
	if e.Why == "" {
		return kernel.Quote(e.What)
	}
	return kernel.Quote(e.What) + ": " + kernel.Quote(e.Why)
}

func limit(what string, n, most int, fix string) error {
	return &kernel.Error{Code: kernel.CodeLimit, What: fmt.Sprintf(what, n), Why: fmt.Sprintf("the limit is %d", most), Fix: fix}
}
