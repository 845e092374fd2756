package engine

import (
	"github.com/hexdag/hexdag/host/agent"
	"github.com/hexdag/hexdag/host/kernel"
)

// conversation is what an agent asks its model with. What was said before a step is neither made nor written down again for it: of a
// conversation of n steps that would be n times as much as is said in all.
type conversation struct {
	said   []agent.Message
	turns  list
	listed []agent.Tool
	tools  list
}

// args returns the arguments of llm.complete, and their text.
func (c *conversation) args(model string, messages []agent.Message, tools []agent.Tool) (map[string]any, *kernel.Text) {
	if !goesOn(c.said, messages) {
		c.turns, c.said = list{}, nil
	}
	for i := len(c.said); i < len(messages); i++ {
		c.turns.add(messageValue(messages[i]))
	}
	c.said = messages
	if !sameSlice(c.listed, tools) {
		c.tools = list{}
		for _, t := range tools {
			c.tools.add(toolValue(t))
		}
		c.listed = tools
	}
	args := map[string]any{"messages": c.turns.clipped()}
	text := make([]byte, 0, len(c.turns.text)+len(model)+len(c.tools.text)+256)
	text = c.turns.append(append(text, `{"messages":`...))
	if model != "" {
		args["model"] = model
		text = kernel.AppendString(append(text, `,"model":`...), model)
	}
	if tools != nil {
		args["tools"] = c.tools.clipped()
		text = c.tools.append(append(text, `,"tools":`...))
	}
	if c.turns.err != nil || c.tools.err != nil {
		return args, nil // whoever needs the text says what is wrong with it
	}
	return args, kernel.Written(args, append(text, '}'))
}

// goesOn reports whether messages are those that were said and perhaps more. Their texts are mostly the very same memory, which is seen at once.
func goesOn(said, messages []agent.Message) bool {
	if len(said) > len(messages) {
		return false
	}
	for i := range said {
		a, b := &said[i], &messages[i]
		if a.Role != b.Role || a.Content != b.Content || a.CallID != b.CallID || !sameSlice(a.Calls, b.Calls) {
			return false
		}
	}
	return true
}

func sameSlice[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// list is an array that grows, and its text.
type list struct {
	values []any
	text   []byte // of the values, with commas between them
	err    error
}

func (l *list) add(v kernel.Value) {
	if len(l.values) > 0 {
		l.text = append(l.text, ',')
	}
	l.values = append(l.values, v)
	var err error
	if l.text, err = kernel.AppendJSON(l.text, v); err != nil {
		l.err = err
	}
}

// clipped are the values so far: those that come are no business of whoever has them.
func (l *list) clipped() []any { return l.values[:len(l.values):len(l.values)] }

// append appends the array's text.
func (l *list) append(dst []byte) []byte {
	return append(append(append(dst, '['), l.text...), ']')
}
