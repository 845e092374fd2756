// Package guest is a backend of the llm port: whoever does its one operation, which a
// module is by exporting port_call:
//
//	llm.complete {messages: [{role, content, tool_calls?, tool_call_id?}], model?, max_tokens?, temperature?, schema?, tools?, tool_choice?}
//	  -> {content, finish_reason?, model?, usage?: {input_tokens, output_tokens}, tool_calls?: [{id?, name, arguments}]}
//
// The host has seen to it that the request is one, and holds the answer to the schema.
// finish_reason is stop where it is left out, and usage is estimated. An answer may also
// be what llm.complete answers, as it is: a module that asks another model passes it on.
package guest

import (
	"cmp"
	"context"
	"encoding/json"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
)

// Operations are what the backend has to do.
func Operations() []string { return []string{"llm.complete"} }

// maxTokens is the most that an answer can claim to have taken.
const maxTokens = 1 << 40

// Model is a model behind calls of another.
type Model struct {
	name string
	do   kernel.PortFunc
}

var _ driver.LLM = (*Model)(nil)

// New returns the model whose operation do does. name is what answers are said to come
// from where neither the answer nor the request names a model.
func New(name string, do kernel.PortFunc) *Model { return &Model{name: name, do: do} }

func arguments(req *driver.Request) map[string]any {
	messages := make([]any, len(req.Messages))
	for i, m := range req.Messages {
		message := map[string]any{"role": string(m.Role), "content": m.Content}
		if len(m.ToolCalls) > 0 {
			calls := make([]any, len(m.ToolCalls))
			for j, c := range m.ToolCalls {
				calls[j] = callOf(c)
			}
			message["tool_calls"] = calls
		}
		if m.CallID != "" {
			message["tool_call_id"] = m.CallID
		}
		messages[i] = message
	}
	args := map[string]any{"messages": messages}
	if req.Model != "" {
		args["model"] = req.Model
	}
	if req.MaxTokens > 0 {
		args["max_tokens"] = kernel.Number(int64(req.MaxTokens))
	}
	if req.Temperature != nil {
		args["temperature"] = *req.Temperature
	}
	if req.Schema != nil {
		args["schema"] = req.Schema
	}
	if len(req.Tools) > 0 {
		tools := make([]any, len(req.Tools))
		for i, t := range req.Tools {
			tool := map[string]any{"name": t.Name, "description": t.Description}
			if t.Parameters != nil {
				tool["parameters"] = t.Parameters
			}
			tools[i] = tool
		}
		args["tools"] = tools
	}
	switch c := req.ToolChoice; {
	case c.Name != "":
		args["tool_choice"] = map[string]any{"name": c.Name}
	case c.Mode != "":
		args["tool_choice"] = string(c.Mode)
	}
	return args
}

// callOf is a call as llm.complete answers it: with its arguments as an object, where they are one.
func callOf(c driver.ToolCall) map[string]any {
	call := map[string]any{"id": c.ID, "name": c.Name, "arguments": c.Arguments}
	if args, err := kernel.DecodeJSON([]byte(c.Arguments)); err == nil {
		if _, ok := args.(map[string]any); ok {
			call["arguments"] = args
		}
	}
	if c.Signature != "" {
		call["signature"] = c.Signature
	}
	return call
}

// Complete implements [driver.LLM].
func (m *Model) Complete(ctx context.Context, req *driver.Request) (*driver.Response, error) {
	reply, err := m.do(ctx, &kernel.PortCall{Op: "llm.complete", Args: arguments(req)})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Content      *string `json:"content"`
		FinishReason string  `json:"finish_reason"`
		Model        string  `json:"model"`
		Usage        *struct {
			Input     int64           `json:"input_tokens"`
			Output    int64           `json:"output_tokens"`
			Total     json.RawMessage `json:"total_tokens"` // the host adds up by itself
			Estimated bool            `json:"estimated"`
		} `json:"usage"`
		Parsed    json.RawMessage `json:"parsed"` // and parses
		ToolCalls []toolCall      `json:"tool_calls"`
	}
	if err := kernel.FromValue(reply.Value, &answer); err != nil {
		return nil, broken(err.Error())
	}
	if answer.Content == nil && len(answer.ToolCalls) > 0 {
		answer.Content = new(string)
	}
	if answer.Content == nil {
		return nil, broken("it has no content")
	}
	resp := &driver.Response{Content: *answer.Content, FinishReason: cmp.Or(answer.FinishReason, driver.Stop), Model: cmp.Or(answer.Model, req.Model, m.name)}
	for _, c := range answer.ToolCalls {
		resp.ToolCalls = append(resp.ToolCalls, c.call())
	}
	if u := answer.Usage; u == nil {
		resp.Usage = driver.Estimate(req.Messages, resp.Content)
	} else if u.Input < 0 || u.Output < 0 || u.Input > maxTokens || u.Output > maxTokens {
		return nil, broken("its usage cannot be")
	} else {
		resp.Usage = driver.Usage{InputTokens: u.Input, OutputTokens: u.Output, TotalTokens: u.Input + u.Output, Estimated: u.Estimated}
	}
	return resp, nil
}

// toolCall is a call in an answer. Error is what the host made of it before.
type toolCall struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
	Signature string          `json:"signature"`
	Error     string          `json:"error"`
}

func (c *toolCall) call() driver.ToolCall {
	text := string(c.Arguments)
	if unquoted := ""; json.Unmarshal(c.Arguments, &unquoted) == nil { // a text, or null
		text = unquoted
	}
	return driver.ToolCall{ID: c.ID, Name: c.Name, Arguments: text, Signature: c.Signature}
}

func broken(why string) error {
	return &kernel.Error{Code: kernel.CodeABI, What: "the module's answer to llm.complete cannot be used", Why: kernel.Quote(why), Fix: "answer as README, Guest-made ports, says"}
}

// Close does nothing: whose operation it is stays open.
func (*Model) Close() error { return nil }
