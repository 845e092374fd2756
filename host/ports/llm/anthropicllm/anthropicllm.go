// Package anthropicllm is Anthropic's models, through its messages and the official client.
package anthropicllm

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
	"github.com/anthropics/anthropic-sdk-go/packages/param"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/hexdag/hexdag/host/ports/llm/endpoint"
)

// defaultMaxTokens bounds an answer of which nobody says how long it may be: the
// endpoint has to be told, and all models of today take this.
const defaultMaxTokens = 8192

// maxCallID is how long an id of a call is that the endpoint takes, at most.
const maxCallID = 64

// model is safe for concurrent use: nothing in it changes.
type model struct {
	*endpoint.Endpoint
	messages  anthropic.MessageService
	maxTokens int
}

var (
	_ driver.Streamer = (*model)(nil)
	_ driver.Named    = (*model)(nil)
)

// New returns the models behind the endpoint that cfg names, or a CodeConfig
// error. It connects to nothing yet.
func New(cfg Config) (driver.LLM, error) {
	e, err := endpoint.New(cfg.Config, provider())
	if err != nil {
		return nil, err
	}
	if cfg.MaxTokens < 0 {
		return nil, provider().ConfigError("", "max_tokens is %d; it is at least 1", cfg.MaxTokens)
	}
	if cfg.EmbeddingModel != "" {
		return nil, provider().ConfigError("remove embedding_model, or pool it with an adapter that makes embeddings", "Anthropic has no embeddings")
	}
	options := []option.RequestOption{
		option.WithBaseURL(e.BaseURL), option.WithHTTPClient(e.Client), option.WithMaxRetries(e.MaxRetries),
		option.WithRequestTimeout(e.Timeout), // else it refuses long answers that are not streamed
	}
	if e.Key != "" {
		options = append(options, option.WithAPIKey(string(e.Key)))
	}
	// The service alone: anthropic.NewClient would read ANTHROPIC_* from the environment.
	m := &model{Endpoint: e, messages: anthropic.NewMessageService(options...), maxTokens: defaultMaxTokens}
	if cfg.MaxTokens > 0 {
		m.maxTokens = cfg.MaxTokens
	}
	return m, nil
}

// Complete asks the endpoint for one message.
func (m *model) Complete(ctx context.Context, req *driver.Request) (*driver.Response, error) {
	params, names, err := m.params(req)
	if err != nil {
		return nil, err
	}
	var resp *driver.Response
	err = m.Call(ctx, func(ctx context.Context) error {
		answer, err := m.messages.New(ctx, params)
		switch {
		case err != nil:
			return err
		case answer.Type != "message":
			return m.Malformed("it is no message")
		}
		resp = response(req, params.Model, answer, names)
		return nil
	})
	return resp, err
}

// Stream implements driver.Streamer.
func (m *model) Stream(ctx context.Context, req *driver.Request, tell func(string)) (*driver.Response, error) {
	params, names, err := m.params(req)
	if err != nil {
		return nil, err
	}
	var resp *driver.Response
	err = m.Call(ctx, func(ctx context.Context) error {
		stream := m.messages.NewStreaming(ctx, params)
		defer stream.Close()
		var a answer
		for stream.Next() {
			if err := a.add(stream.Current(), tell); err != nil {
				return m.Malformed(err.Error())
			}
		}
		switch {
		case stream.Err() != nil:
			return stream.Err()
		case !a.ended:
			return endpoint.Cut
		}
		resp = response(req, params.Model, a.message(), names)
		return nil
	})
	return resp, err
}

func (m *model) params(req *driver.Request) (anthropic.MessageNewParams, *endpoint.Names, error) {
	p := anthropic.MessageNewParams{MaxTokens: int64(m.maxTokens)}
	var err error
	if p.Model, err = m.ModelFor(req.Model, m.Model, "model"); err != nil {
		return p, nil, err
	}
	if req.MaxTokens > 0 {
		p.MaxTokens = int64(req.MaxTokens)
	}
	if t := req.Temperature; t != nil {
		if *t > 1 {
			return p, nil, &kernel.Error{Code: kernel.CodeArguments, What: fmt.Sprintf("temperature is %v", *t), Why: "Anthropic's models take 0 to 1"}
		}
		p.Temperature = param.NewOpt(*t)
	}
	names := endpoint.NamesOf(req)
	if p.System, p.Messages = conversation(req.Messages, names); len(p.Messages) == 0 {
		return p, nil, &kernel.Error{Code: kernel.CodeArguments, What: "the conversation has no message but the system's", Why: "Anthropic's models answer a user", Fix: "add a message of the role user"}
	}
	addTools(&p, req, names)
	if req.Schema != nil {
		if !m.Native {
			return p, nil, endpoint.Unsupported("structured_output is prompt")
		}
		held, err := held(req.Schema)
		if err != nil {
			return p, nil, endpoint.Unsupported(err.Error())
		}
		p.OutputConfig = anthropic.OutputConfigParam{Format: anthropic.JSONOutputFormatParam{Schema: held}}
	}
	return p, names, nil
}

func addTools(p *anthropic.MessageNewParams, req *driver.Request, names *endpoint.Names) {
	for _, t := range req.Tools {
		tool := anthropic.ToolParam{Name: names.Out(t.Name), InputSchema: inputSchema(endpoint.Parameters(t.Parameters))}
		if t.Description != "" {
			tool.Description = param.NewOpt(t.Description)
		}
		p.Tools = append(p.Tools, anthropic.ToolUnionParam{OfTool: &tool})
	}
	if len(req.Tools) == 0 {
		return
	}
	switch c := req.ToolChoice; {
	case c.Name != "":
		p.ToolChoice = anthropic.ToolChoiceParamOfTool(names.Out(c.Name))
	case c.Mode == driver.Required:
		p.ToolChoice.OfAny = &anthropic.ToolChoiceAnyParam{}
	case c.Mode == driver.None:
		none := anthropic.NewToolChoiceNoneParam()
		p.ToolChoice.OfNone = &none
	}
}

func inputSchema(parameters map[string]any) anthropic.ToolInputSchemaParam {
	s := anthropic.ToolInputSchemaParam{ExtraFields: map[string]any{}}
	for name, v := range parameters {
		switch name {
		case "type":
		case "properties":
			s.Properties = v
		default: // required, too: it is a list of any here
			s.ExtraFields[name] = v
		}
	}
	if s.Properties == nil {
		s.Properties = map[string]any{}
	}
	return s
}

// conversation returns the messages as the endpoint takes them: the system's beside the others, results of tools
// together in one of the user's, and none that is blank.
func conversation(messages []driver.Message, names *endpoint.Names) (system []anthropic.TextBlockParam, out []anthropic.MessageParam) {
	for _, msg := range messages {
		var blocks []anthropic.ContentBlockParamUnion
		role := anthropic.MessageParamRoleUser
		switch msg.Role {
		case driver.System:
			if !blank(msg.Content) {
				system = append(system, anthropic.TextBlockParam{Text: msg.Content})
			}
			continue
		case driver.Tool:
			result := anthropic.ToolResultBlockParam{ToolUseID: endpoint.CallID(msg.CallID, maxCallID)}
			if !blank(msg.Content) {
				result.Content = []anthropic.ToolResultBlockParamContentUnion{{OfText: &anthropic.TextBlockParam{Text: msg.Content}}}
			}
			blocks = append(blocks, anthropic.ContentBlockParamUnion{OfToolResult: &result})
		case driver.Assistant:
			role = anthropic.MessageParamRoleAssistant
			fallthrough
		default:
			if !blank(msg.Content) {
				blocks = append(blocks, anthropic.NewTextBlock(msg.Content))
			}
			for i, c := range msg.ToolCalls {
				if i == 0 { // what it thought comes before all else
					blocks = append(thoughts(c.Signature), blocks...)
				}
				blocks = append(blocks, anthropic.NewToolUseBlock(endpoint.CallID(c.ID, maxCallID), input(c.Arguments), names.Out(c.Name)))
			}
		}
		last := len(out) - 1
		switch {
		case len(blocks) == 0:
		case last >= 0 && out[last].Role == role:
			out[last].Content = append(out[last].Content, blocks...)
		default:
			out = append(out, anthropic.MessageParam{Role: role, Content: blocks})
		}
	}
	return system, out
}

// blank reports whether a text is one that the endpoint refuses.
func blank(text string) bool { return strings.TrimSpace(text) == "" }

// input returns the arguments of a call that was made. Those that were no JSON object are an empty one: the endpoint
// takes nothing else, and the call's result says what was wrong.
func input(text string) any {
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &object) != nil || object == nil {
		return map[string]any{}
	}
	return json.RawMessage(text)
}

func response(req *driver.Request, asked string, answer *anthropic.Message, names *endpoint.Names) *driver.Response {
	r := &driver.Response{Model: answer.Model, FinishReason: reason(answer.StopReason)}
	if r.Model == "" {
		r.Model = asked
	}
	var thought []thinking
	for _, b := range answer.Content {
		switch b.Type {
		case "thinking", "redacted_thinking":
			thought = append(thought, thinking{Type: b.Type, Thinking: b.Thinking, Signature: b.Signature, Data: b.Data})
		case "text":
			r.Content += b.Text
		case "tool_use":
			r.ToolCalls = append(r.ToolCalls, driver.ToolCall{ID: b.ID, Name: names.In(b.Name), Arguments: string(b.Input)})
		}
	}
	if len(r.ToolCalls) > 0 {
		r.ToolCalls[0].Signature = sealed(thought)
	}
	u := answer.Usage
	r.Usage = driver.Usage{InputTokens: u.InputTokens + u.CacheCreationInputTokens + u.CacheReadInputTokens, OutputTokens: u.OutputTokens}
	if r.Usage.InputTokens < 0 || r.Usage.OutputTokens < 0 || r.Usage.InputTokens+r.Usage.OutputTokens == 0 {
		r.Usage = driver.Estimate(req.Messages, r.Content)
	}
	r.Usage.TotalTokens = r.Usage.InputTokens + r.Usage.OutputTokens
	return r
}

func reason(stop anthropic.StopReason) string {
	switch stop {
	case anthropic.StopReasonEndTurn, anthropic.StopReasonStopSequence:
		return driver.Stop
	case anthropic.StopReasonMaxTokens, anthropic.StopReasonModelContextWindowExceeded:
		return driver.Length
	case anthropic.StopReasonToolUse:
		return driver.ToolUse
	}
	return string(stop) // refusal is the port's own word
}
