package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// talk is the conversation with a model that calls tools by an interface of its own. Its methods but talkOn's do nothing where there is none.
type talk struct {
	messages []Message
	size     int  // bytes of its prompts and calls, beside what the state counts
	phases   int  // that it was told of
	native   bool // the model has called a tool by its interface
}

// talkOn has the model go on with the conversation, which begins with the prompt, as does each phase.
func (l *loop) talkOn(ctx context.Context) (Answer, error) {
	t := l.talk
	if t.phases < len(l.state.phases) {
		text, err := l.phasePrompt()
		if err != nil {
			return Answer{}, err
		}
		if t.phases == 0 {
			text += "\n\n" + l.instructions()
		}
		t.phases = len(l.state.phases)
		t.messages = append(t.messages, Message{Role: "user", Content: text})
		t.size += len(text)
	}
	return l.deps.Model.Complete(ctx, slices.Clip(t.messages), l.listed)
}

// instructions say how the conversation ends.
func (l *loop) instructions() string {
	text := "Call the tools that you need, and " + toolEnd + " with the final answer."
	if l.tools[changePhase] != nil {
		text += " " + changePhase + " goes on with another phase."
	}
	return text
}

// callsOf returns the calls of an answer. What a model that uses its interface writes is not read for calls: it may be quoting.
func (l *loop) callsOf(a Answer) []Call {
	if len(a.Calls) == 0 {
		if l.talk != nil && l.talk.native {
			return nil
		}
		return ParseCalls(a.Text, l.spec.style().written())
	}
	if l.talk != nil {
		l.talk.native = true
	}
	calls := slices.Clone(a.Calls)
	for i := range calls {
		switch c := &calls[i]; {
		case c.Err != nil:
		case i >= maxCalls:
			c.Err = fmt.Errorf("it was not made: one answer may hold %d calls", maxCalls)
		case len(c.Raw) > maxArguments:
			c.Err = fmt.Errorf("the call has %d bytes, the limit is %d", len(c.Raw), maxArguments)
		}
	}
	return calls
}

// said adds what the model said.
func (t *talk) said(a Answer) {
	if t != nil {
		t.messages = append(t.messages, Message{Role: "assistant", Content: a.Text, Calls: a.Calls})
		t.size += sizeOf(a.Calls)
	}
}

// told is how many bytes the model is told beside what the state counts.
func (t *talk) told() int {
	if t == nil {
		return 0
	}
	return t.size
}

func sizeOf(calls []Call) (n int) {
	for _, c := range calls {
		n += len(c.ID) + len(c.Name) + len(c.Raw) + len(c.Signature)
	}
	return n
}

// result adds what came of a call.
func (t *talk) result(c Call, text string) {
	switch {
	case t == nil:
	case c.ID == "": // it was written
		t.messages = append(t.messages, Message{Role: "user", Content: "Result: " + kernel.Quote(c.Name) + ": " + indented(text)})
	default:
		t.messages = append(t.messages, Message{Role: "tool", CallID: c.ID, Content: text})
	}
}

// goOn reminds the model that it has called no tool.
func (t *talk) goOn() {
	if t == nil {
		return
	}
	text := "You called no tool. Call one, or " + toolEnd + " with the final answer."
	if !t.native {
		text += " If you cannot call tools, write: " + form(FunctionCall)
	}
	t.messages = append(t.messages, Message{Role: "user", Content: text})
}

// Arguments returns the JSON Schema of a tool's arguments.
func (t *Tool) Arguments() map[string]any {
	if t.Schema != nil {
		return t.Schema
	}
	properties, required := map[string]any{}, []any{}
	for _, p := range t.Parameters {
		property := map[string]any{}
		if typ := jsonTypes[strings.TrimSuffix(p.Type, "?")]; typ != "" {
			property["type"] = typ
		}
		properties[p.Name] = property
		if p.Required {
			required = append(required, p.Name)
		}
	}
	return map[string]any{"type": "object", "properties": properties, "required": required}
}

// jsonTypes are JSON Schema's names of types; hexDAG's others are checked by who takes the argument.
var jsonTypes = map[string]string{
	"str": "string", "string": "string", "int": "integer", "integer": "integer", "float": "number", "number": "number",
	"bool": "boolean", "boolean": "boolean", "list": "array", "array": "array", "dict": "object", "object": "object",
}
