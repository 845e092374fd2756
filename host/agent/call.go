package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// Style is how a model writes calls.
type Style string

// The styles. Mixed takes both forms.
const (
	Native       Style = "native" // by the interface of the model; one that has none, or does not use it, writes them as in Mixed
	Mixed        Style = "mixed"
	FunctionCall Style = "function_call" // INVOKE_TOOL: name(key='v', n=3)
	JSON         Style = "json"          // INVOKE_TOOL: {"tool": "name", "params": {...}}
)

// written is the style in which calls are written, if they are.
func (s Style) written() Style {
	if s == Native {
		return Mixed
	}
	return s
}

// marker starts a call.
const marker = "INVOKE_TOOL:"

// Call is a call that an answer holds.
type Call struct {
	Name string
	Args map[string]any
	Err  error // why the call cannot be read; Name may be empty, then

	// ID, Raw and Signature are of a call that was not written: what its result is told by, its arguments as the model gave them,
	// and what the model's endpoint wants back with it.
	ID, Raw, Signature string

	function bool // written in the function form, where '42' may be a number
}

// ParseCalls returns the calls of an answer, in their order. Values keep their
// types: a quoted '42' is a text. They are JSON's or Python's literals; in the
// function form, any other text up to a comma is a text, too. Nothing is read after
// a call that is broken, so that what was meant as an argument is never taken for a
// call, and after 16 calls. Where a call is announced, but none is there, the one
// result says so.
func ParseCalls(answer string, style Style) []Call {
	var calls []Call
	announced := false
	for {
		start := strings.Index(answer, marker)
		if start < 0 {
			break
		}
		answer = answer[start+len(marker):]
		if len(calls) == maxCalls {
			return append(calls, Call{Err: fmt.Errorf("this and later calls were not made: one answer may hold %d", maxCalls)})
		}
		l := &literals{text: answer}
		call := l.call(style)
		answer = answer[l.at:]
		switch {
		case errors.Is(call.Err, errNoCall):
			announced = true
			continue
		case l.at > maxArguments:
			call.Err = fmt.Errorf("the call has %d bytes, the limit is %d", l.at, maxArguments)
		}
		if calls = append(calls, call); call.Err != nil {
			return calls
		}
	}
	if calls == nil && announced {
		calls = []Call{{Err: fmt.Errorf("%w; a call is written %s", errNoCall, form(style))}}
	}
	return calls
}

// errNoCall is what follows a marker in prose.
var errNoCall = errors.New("no call follows")

// maxName is how many bytes the name of a tool or of an argument has at most. It keeps what is no call from being read over and over:
// a marker could begin a name, too.
const maxName = 256

// word returns the name that text begins with, "" if none: a letter or _, then letters, digits, _ and what is in more.
func word(text, more string) string {
	for i := range min(len(text), maxName+1) {
		switch c := text[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
		case i > 0 && (c >= '0' && c <= '9' || strings.IndexByte(more, c) >= 0):
		default:
			return text[:i]
		}
	}
	if len(text) > maxName {
		return ""
	}
	return text
}

// toolName is what a tool can be called in the function form, argument what its
// arguments can.
func toolName(text string) string { return word(text, ".:-") }

func argument(text string) string { return word(text, "") }

func (l *literals) call(style Style) Call {
	l.space()
	if l.peek() == '{' {
		return l.jsonCall(style)
	}
	start := l.at
	call := Call{function: true, Name: toolName(l.rest())}
	l.at += len(call.Name)
	l.space()
	switch {
	case call.Name == "" || l.peek() != '(':
		l.at = start
		return Call{Err: errNoCall}
	case style == JSON:
		call.Err = fmt.Errorf("a call is written %s", form(JSON))
	default:
		call.Args, call.Err = l.arguments()
	}
	return call
}

// form is how a call is written.
func form(style Style) string {
	if style == JSON {
		return marker + ` {"tool": "name", "params": {"key": "value"}}`
	}
	return marker + " name(key='value')"
}

// jsonCall reads {"tool": name, "params": {...}}.
func (l *literals) jsonCall(style Style) Call {
	members, err := l.object(0)
	if err != nil {
		return Call{Err: err}
	}
	tool, isName := members["tool"].(string)
	params, hasParams := members["params"]
	args, isObject := params.(map[string]any)
	if params == nil {
		args, isObject = map[string]any{}, true
	}
	known := 1 // members that a call can have
	if hasParams {
		known++
	}
	call := Call{Name: tool, Args: args}
	switch {
	case style == FunctionCall:
		call.Err = fmt.Errorf("a call is written %s", form(style))
	case !isName || tool == "" || !isObject || len(members) != known:
		call.Err = fmt.Errorf("a call is written %s", form(JSON))
	}
	return call
}

// arguments reads (name=value, ...).
func (l *literals) arguments() (map[string]any, error) {
	l.at++
	args := map[string]any{}
	for {
		l.space()
		if l.peek() == ')' {
			l.at++
			return args, nil
		}
		name := argument(l.rest())
		l.at += len(name)
		l.space()
		if name == "" || l.peek() != '=' {
			return nil, l.errorf("arguments are written name=value")
		}
		l.at++
		if _, twice := args[name]; twice {
			return nil, l.errorf("argument %s occurs twice", kernel.Quote(name))
		}
		v, err := l.value()
		if err != nil {
			return nil, err
		}
		args[name] = v
		l.space()
		switch l.peek() {
		case ',':
			l.at++
		case ')':
		default:
			return nil, l.errorf("a comma or ) is due after argument %s", kernel.Quote(name))
		}
	}
}

// Format writes the call as a model may. A call that the function form has no way
// to write is written as JSON.
func (c Call) Format(style Style) string {
	names := slices.Sorted(maps.Keys(c.Args))
	plain := toolName(c.Name) == c.Name && c.Name != ""
	for _, name := range names {
		plain = plain && name != "" && argument(name) == name
	}
	if style == JSON || !plain {
		text, err := kernel.EncodeJSON(map[string]any{"tool": c.Name, "params": c.Args})
		if err != nil {
			return ""
		}
		return marker + " " + string(text)
	}
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = name + "=" + formatLiteral(c.Args[name])
	}
	return marker + " " + c.Name + "(" + strings.Join(parts, ", ") + ")"
}

func formatLiteral(v kernel.Value) string {
	if text, ok := v.(string); ok && !strings.ContainsAny(text, `'\`) && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
		return "'" + text + "'"
	}
	text, err := kernel.EncodeJSON(v)
	if err != nil {
		return "null"
	}
	return string(text)
}

// typed returns the arguments with what the function form leaves open settled by
// the parameters' types: a quoted '42' is a number where a number is due, and a
// bare 42 a text where a text is.
func typed(parameters []Parameter, call Call) map[string]any {
	if !call.function {
		return call.Args
	}
	args := maps.Clone(call.Args)
	for _, p := range parameters {
		if v, there := args[p.Name]; there {
			args[p.Name] = convert(p.Type, v)
		}
	}
	return args
}

func convert(typ string, v kernel.Value) kernel.Value {
	text, isText := v.(string)
	number, isNumber := v.(json.Number)
	switch {
	case isNumber && (typ == "str" || typ == "string"):
		return string(number)
	case !isText:
		return v
	}
	read := &literals{text: text}
	value, err := read.value()
	if read.space(); err != nil || read.at < len(read.text) {
		return v
	}
	var ok bool
	switch value.(type) {
	case json.Number:
		ok = typ == "int" || typ == "integer" || typ == "float" || typ == "number"
	case bool:
		ok = typ == "bool" || typ == "boolean"
	case []any:
		ok = typ == "list" || typ == "array"
	case map[string]any:
		ok = typ == "dict" || typ == "object"
	}
	if !ok {
		return v
	}
	return value
}
