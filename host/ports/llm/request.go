package llm

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
)

// The most that one request may hold.
const (
	maxMessages    = 4096
	maxPromptBytes = 8 << 20
)

// maxTokens is the most that an answer can be bounded to.
const maxTokens = 1<<31 - 1

// maxTemperature is the highest that any known model takes.
const maxTemperature = 2

func argument(format string, args ...any) error {
	return &kernel.Error{Code: kernel.CodeArguments, What: "llm.complete: " + fmt.Sprintf(format, args...)}
}

// checkRequest refuses a request that no model takes.
func checkRequest(req *Request) error {
	if len(req.Messages) == 0 {
		return argument("messages is empty; give at least one {role, content}")
	}
	size := 0
	for i, m := range req.Messages {
		switch m.Role {
		case driver.System, driver.User, driver.Assistant, driver.Tool:
		default:
			return argument("messages[%d].role is %q; it is one of system, user, assistant, tool", i, kernel.Quote(string(m.Role)))
		}
		size += len(m.Content)
		for _, c := range m.ToolCalls {
			size += len(c.ID) + len(c.Name) + len(c.Arguments) + len(c.Signature)
		}
	}
	if len(req.Messages) > maxMessages || size > maxPromptBytes {
		return &kernel.Error{
			Code: kernel.CodeLimit,
			What: fmt.Sprintf("llm.complete: %d messages of %d bytes are too much", len(req.Messages), size),
			Why:  fmt.Sprintf("the limits are %d messages and %d bytes", maxMessages, maxPromptBytes),
		}
	}
	if req.MaxTokens < 0 {
		return argument("max_tokens is %d; it is at least 1", req.MaxTokens)
	}
	if t := req.Temperature; t != nil && !(*t >= 0 && *t <= maxTemperature) {
		return argument("temperature is %v; it is from 0 to %d", *t, maxTemperature)
	}
	return checkTools(req)
}

// parseRequest reads the arguments of llm.complete.
func parseRequest(args map[string]any) (*Request, error) {
	req := &Request{}
	for name, value := range args {
		var err error
		switch name {
		case "messages":
			req.Messages, err = parseMessages(value)
		case "model":
			req.Model, err = parseModel(value)
		case "max_tokens":
			req.MaxTokens, err = parseMaxTokens(value)
		case "temperature":
			req.Temperature, err = parseTemperature(value)
		case "schema":
			req.Schema, err = parseSchema(value)
		case "tools":
			req.Tools, err = parseTools(value)
		case "tool_choice":
			req.ToolChoice, err = parseToolChoice(value)
		default:
			err = argument("unknown argument %q; it takes messages, model, max_tokens, temperature, schema, tools, tool_choice", kernel.Quote(name))
		}
		if err != nil {
			return nil, err
		}
	}
	return req, nil
}

func parseMessages(value any) ([]Message, error) {
	list, ok := value.([]any)
	if !ok {
		return nil, argument("messages must be a list of {role, content}")
	}
	if len(list) > maxMessages {
		return nil, argument("messages has %d items; the most is %d", len(list), maxMessages)
	}
	messages := make([]Message, len(list))
	for i, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			return nil, argument("messages[%d] must be an object {role, content}", i)
		}
		message, err := parseMessage(i, m)
		if err != nil {
			return nil, err
		}
		messages[i] = message
	}
	return messages, nil
}

func parseMessage(i int, m map[string]any) (Message, error) {
	role, isRole := m["role"].(string)
	content, isContent := m["content"].(string)
	if m["content"] == nil && m["tool_calls"] != nil { // as OpenAI has it
		isContent = true
	}
	if !isRole || !isContent {
		return Message{}, argument("messages[%d] must have a role and a content, both strings", i)
	}
	message := Message{Role: parseRole(role), Content: content}
	for name, v := range m {
		switch name {
		case "role", "content":
		case "tool_calls":
			var err error
			if message.ToolCalls, err = parseToolCalls(i, v); err != nil {
				return message, err
			}
		case "tool_call_id":
			var ok bool
			if message.CallID, ok = v.(string); !ok {
				return message, argument("messages[%d].tool_call_id must be a string", i)
			}
		default:
			return message, argument("messages[%d] has an unknown member %q; it takes role, content, tool_calls and tool_call_id", i, kernel.Quote(name))
		}
	}
	return message, nil
}

// parseRole knows hexDAG's other names for two of the roles.
func parseRole(name string) driver.Role {
	switch name {
	case "human":
		return driver.User
	case "ai":
		return driver.Assistant
	}
	return driver.Role(name)
}

func parseModel(value any) (string, error) {
	name, ok := value.(string)
	if !ok || strings.TrimSpace(name) == "" {
		return "", argument("model must be a name; leave it out for the backend's own choice")
	}
	return name, nil
}

func parseMaxTokens(value any) (int, error) {
	text, _ := value.(json.Number)
	n, err := strconv.ParseInt(string(text), 10, 32)
	if err != nil || n < 1 {
		return 0, argument("max_tokens must be an integer from 1")
	}
	return int(n), nil
}

func parseTemperature(value any) (*float64, error) {
	text, _ := value.(json.Number)
	t, err := text.Float64()
	if err != nil {
		return nil, argument("temperature must be a number from 0 to %d", maxTemperature)
	}
	return &t, nil
}

func parseSchema(value any) (map[string]any, error) {
	schema, ok := value.(map[string]any)
	if !ok {
		return nil, argument("schema must be a JSON Schema, an object")
	}
	return schema, nil
}
