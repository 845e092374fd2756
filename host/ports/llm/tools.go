package llm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
)

// The bounds of tools and their calls.
const (
	maxTools     = 256
	maxCalls     = 128     // in one answer
	maxArguments = 1 << 20 // bytes of one call's
	maxToolName  = 256
	maxCallID    = 256
)

// checkTools refuses tools that no model takes, and answers of tools to what no model has called.
func checkTools(req *Request) error {
	if len(req.Tools) > maxTools {
		return argument("tools has %d items; the most is %d", len(req.Tools), maxTools)
	}
	names := map[string]bool{}
	for i, t := range req.Tools {
		switch {
		case strings.TrimSpace(t.Name) == "" || len(t.Name) > maxToolName:
			return argument("tools[%d].name must have from 1 to %d bytes", i, maxToolName)
		case names[t.Name]:
			return argument("two tools are named %s", kernel.Quote(t.Name))
		}
		names[t.Name] = true
	}
	switch c := req.ToolChoice; {
	case c.Name != "" && !names[c.Name]:
		return argument("tool_choice names %s, which is none of the tools", kernel.Quote(c.Name))
	case c.Name == "" && !slices.Contains([]driver.ToolMode{"", driver.Auto, driver.None, driver.Required}, c.Mode):
		return argument("tool_choice is %q; it is auto, none, required or {name: of a tool}", kernel.Quote(string(c.Mode)))
	case c.Mode == driver.Required && len(req.Tools) == 0:
		return argument("tool_choice is required, and there are no tools")
	}
	called := map[string]bool{}
	for i, m := range req.Messages {
		if len(m.ToolCalls) > 0 && m.Role != driver.Assistant {
			return argument("messages[%d] has tool_calls, and is not the assistant's", i)
		}
		if len(m.ToolCalls) > maxCalls {
			return argument("messages[%d] has %d tool_calls; the most is %d", i, len(m.ToolCalls), maxCalls)
		}
		for _, c := range m.ToolCalls {
			if c.ID == "" || c.Name == "" {
				return argument("messages[%d] has a tool_call without an id or a name", i)
			}
			called[c.ID] = true
		}
		switch {
		case m.Role == driver.Tool && !called[m.CallID]:
			return argument("messages[%d] answers the call %q, which no message before it makes", i, kernel.Quote(m.CallID))
		case m.Role != driver.Tool && m.CallID != "":
			return argument("messages[%d] has a tool_call_id, and is not a tool's", i)
		}
	}
	return nil
}

// checkCalls reads the arguments of the calls in an answer, and says of those that cannot
// be made why: the model is the one to be told.
func (p *Port) checkCalls(req *Request, resp *Response) error {
	if n := len(resp.ToolCalls); n > maxCalls {
		return &kernel.Error{Code: kernel.CodeFailed, What: fmt.Sprintf("the model called %d tools at once", n), Why: fmt.Sprintf("the most is %d", maxCalls)}
	}
	nameCalls(req, resp)
	for i := range resp.ToolCalls {
		c := &resp.ToolCalls[i]
		at := slices.IndexFunc(req.Tools, func(t driver.ToolSpec) bool { return t.Name == c.Name })
		if at < 0 {
			c.Invalid = fmt.Sprintf("there is no tool %s; there are %s", kernel.Quote(c.Name), toolNames(req.Tools))
			continue
		}
		args, err := readArguments(c.Arguments)
		if err != nil {
			c.Invalid = fmt.Sprintf("the arguments of %s are no JSON object: %s", kernel.Quote(c.Name), kernel.Quote(err.Error()))
			continue
		}
		c.Args = args
		if req.Tools[at].Parameters == nil {
			continue
		}
		parameters, err := p.schemas.compile(req.Tools[at].Parameters)
		if err != nil { // a module's, or another server's, of which the others are of use
			c.Args, c.Invalid = nil, fmt.Sprintf("%s cannot be called: its parameters are no JSON Schema: %s", kernel.Quote(c.Name), kernel.Quote(err.Error()))
			continue
		}
		if err := parameters.Validate(args); err != nil {
			c.Invalid = fmt.Sprintf("the arguments of %s break its parameters: %s", kernel.Quote(c.Name), kernel.Quote(err.Error()))
		}
	}
	return nil
}

// nameCalls gives calls ids of their own in the conversation, where the model's are none: by these its results are told apart.
func nameCalls(req *Request, resp *Response) {
	taken := map[string]bool{}
	for _, m := range req.Messages {
		for _, c := range m.ToolCalls {
			taken[c.ID] = true
		}
	}
	for i := range resp.ToolCalls {
		c := &resp.ToolCalls[i]
		if len(c.ID) > maxCallID {
			c.ID = ""
		}
		for n := i; c.ID == "" || taken[c.ID]; n++ {
			c.ID = fmt.Sprintf("call_%d_%d", len(req.Messages), n)
		}
		taken[c.ID] = true
	}
}

func readArguments(text string) (map[string]any, error) {
	if len(text) > maxArguments {
		return nil, fmt.Errorf("%d bytes are more than the %d that are read", len(text), maxArguments)
	}
	if strings.TrimSpace(text) == "" {
		return map[string]any{}, nil
	}
	value, err := kernel.DecodeJSON([]byte(text))
	if err != nil {
		return nil, err
	}
	if value == nil { // as some write that there are none
		return map[string]any{}, nil
	}
	args, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("they are another value")
	}
	return args, nil
}

func toolNames(tools []driver.ToolSpec) string {
	if len(tools) == 0 {
		return "none"
	}
	names := make([]string, len(tools))
	for i, t := range tools {
		names[i] = t.Name
	}
	slices.Sort(names)
	return kernel.Quote(strings.Join(names, ", "))
}

// parseTools reads tools: {name, description?, parameters?} each, or OpenAI's {type: function, function: {...}} around it.
func parseTools(value any) ([]driver.ToolSpec, error) {
	list, ok := value.([]any)
	if !ok {
		return nil, argument("tools must be a list of {name, description, parameters}")
	}
	if len(list) > maxTools {
		return nil, argument("tools has %d items; the most is %d", len(list), maxTools)
	}
	tools := make([]driver.ToolSpec, len(list))
	for i, item := range list {
		t := unwrapped(item)
		if t == nil {
			return nil, argument("tools[%d] must be an object {name, description, parameters}", i)
		}
		for name, v := range t {
			ok := true
			switch name {
			case "name":
				tools[i].Name, ok = v.(string)
			case "description":
				tools[i].Description, ok = v.(string)
			case "parameters":
				tools[i].Parameters, ok = v.(map[string]any)
			case "strict": // OpenAI's
			default:
				return nil, argument("tools[%d] has an unknown member %q; it takes name, description, parameters", i, kernel.Quote(name))
			}
			if !ok {
				return nil, argument("tools[%d].%s is of another type", i, name)
			}
		}
	}
	return tools, nil
}

// unwrapped returns what OpenAI has inside {type: function, function: ...}.
func unwrapped(item any) map[string]any {
	t, _ := item.(map[string]any)
	if inner, ok := t["function"].(map[string]any); ok && t["type"] == "function" {
		return inner
	}
	return t
}

func parseToolChoice(value any) (driver.ToolChoice, error) {
	if mode, ok := value.(string); ok {
		return driver.ToolChoice{Mode: driver.ToolMode(mode)}, nil
	}
	name, ok := unwrapped(value)["name"].(string)
	if !ok || name == "" {
		return driver.ToolChoice{}, argument("tool_choice must be auto, none, required or {name: of a tool}")
	}
	return driver.ToolChoice{Name: name}, nil
}

// parseToolCalls reads calls as replyValue writes them: {id, name, arguments, signature?}.
func parseToolCalls(i int, value any) ([]driver.ToolCall, error) {
	list, ok := value.([]any)
	if !ok {
		return nil, argument("messages[%d].tool_calls must be a list of {id, name, arguments}", i)
	}
	calls := make([]driver.ToolCall, len(list))
	for j, item := range list {
		c, _ := item.(map[string]any)
		if f, ok := c["function"].(map[string]any); ok { // as OpenAI has it
			c = map[string]any{"id": c["id"], "name": f["name"], "arguments": f["arguments"]}
		}
		id, isID := c["id"].(string)
		name, isName := c["name"].(string)
		if !isID || !isName {
			return nil, argument("messages[%d].tool_calls[%d] must have an id and a name, both strings", i, j)
		}
		calls[j] = driver.ToolCall{ID: id, Name: name}
		calls[j].Signature, _ = c["signature"].(string)
		switch args := c["arguments"].(type) {
		case nil:
			calls[j].Arguments = "{}"
		case string:
			calls[j].Arguments = args
		case map[string]any:
			text, err := kernel.EncodeJSON(args)
			if err != nil {
				return nil, argument("messages[%d].tool_calls[%d].arguments: %v", i, j, err)
			}
			calls[j].Arguments = string(text)
		default:
			return nil, argument("messages[%d].tool_calls[%d].arguments must be an object, or its JSON text", i, j)
		}
	}
	return calls, nil
}

func callValues(calls []driver.ToolCall) []any {
	values := make([]any, len(calls))
	for i, c := range calls {
		v := map[string]any{"id": c.ID, "name": c.Name}
		if c.Args != nil {
			v["arguments"] = c.Args
		} else {
			v["arguments"] = c.Arguments
		}
		if c.Signature != "" {
			v["signature"] = c.Signature
		}
		if c.Invalid != "" {
			v["error"] = c.Invalid
		}
		values[i] = v
	}
	return values
}
