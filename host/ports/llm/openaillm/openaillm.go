// Package openaillm is the language models behind an OpenAI-compatible endpoint
// (OpenAI, Ollama, vLLM, ...), through its chat completions and embeddings and the
// official client.
package openaillm

import (
	"context"
	"encoding/json"

	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/hexdag/hexdag/host/ports/llm/endpoint"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/shared"
)

// model is safe for concurrent use: nothing in it changes.
type model struct {
	*endpoint.Endpoint
	chat       openai.ChatCompletionService
	embeddings openai.EmbeddingService
}

var (
	_ driver.Streamer = (*model)(nil)
	_ driver.Embedder = (*model)(nil)
	_ driver.Named    = (*model)(nil)
)

// New returns the models behind the endpoint that cfg names, or a CodeConfig
// error. It connects to nothing yet.
func New(cfg Config) (driver.LLM, error) {
	e, err := endpoint.New(cfg.Config, provider())
	if err != nil {
		return nil, err
	}
	options := []option.RequestOption{option.WithBaseURL(e.BaseURL), option.WithHTTPClient(e.Client), option.WithMaxRetries(e.MaxRetries)}
	if e.Key != "" {
		options = append(options, option.WithAPIKey(string(e.Key)))
	}
	if cfg.Organization != "" {
		options = append(options, option.WithOrganization(cfg.Organization))
	}
	// The services alone: openai.NewClient would read OPENAI_* from the environment.
	return &model{Endpoint: e, chat: openai.NewChatCompletionService(options...), embeddings: openai.NewEmbeddingService(options...)}, nil
}

// Complete asks the endpoint for one chat completion.
func (m *model) Complete(ctx context.Context, req *driver.Request) (*driver.Response, error) {
	params, names, err := m.params(req)
	if err != nil {
		return nil, err
	}
	var resp *driver.Response
	err = m.Call(ctx, func(ctx context.Context) error {
		answer, err := m.chat.New(ctx, params)
		switch {
		case err != nil:
			return err
		case len(answer.Choices) == 0:
			return m.Malformed("it has no choices")
		}
		choice := answer.Choices[0]
		a := driver.Response{Content: choice.Message.Content, FinishReason: choice.FinishReason, Model: answer.Model}
		for _, c := range choice.Message.ToolCalls {
			a.ToolCalls = append(a.ToolCalls, driver.ToolCall{ID: c.ID, Name: names.In(c.Function.Name), Arguments: c.Function.Arguments})
		}
		resp = settled(req, params.Model, &a, choice.Message.Refusal, answer.Usage)
		return nil
	})
	return resp, err
}

// settled fills in what endpoints leave out.
func settled(req *driver.Request, asked string, r *driver.Response, refusal string, usage openai.CompletionUsage) *driver.Response {
	if refusal != "" {
		r.Content, r.FinishReason = refusal, driver.Refusal
	}
	r.Usage = driver.Usage{InputTokens: usage.PromptTokens, OutputTokens: usage.CompletionTokens}
	if u := r.Usage; u.InputTokens < 0 || u.OutputTokens < 0 || u.InputTokens+u.OutputTokens == 0 {
		r.Usage = driver.Estimate(req.Messages, r.Content)
	}
	r.Usage.TotalTokens = r.Usage.InputTokens + r.Usage.OutputTokens
	if r.Model == "" {
		r.Model = asked
	}
	return r
}

func (m *model) params(req *driver.Request) (openai.ChatCompletionNewParams, *endpoint.Names, error) {
	p := openai.ChatCompletionNewParams{}
	var err error
	if p.Model, err = m.ModelFor(req.Model, m.Model, "model"); err != nil {
		return p, nil, err
	}
	names := endpoint.NamesOf(req)
	for _, msg := range req.Messages {
		p.Messages = append(p.Messages, message(msg, names, m.callID))
	}
	for _, t := range req.Tools {
		f := shared.FunctionDefinitionParam{Name: names.Out(t.Name), Parameters: endpoint.Parameters(t.Parameters)}
		if t.Description != "" {
			f.Description = param.NewOpt(t.Description)
		}
		p.Tools = append(p.Tools, openai.ChatCompletionFunctionTool(f))
	}
	switch c := req.ToolChoice; {
	case c.Name != "":
		p.ToolChoice = openai.ToolChoiceOptionFunctionToolChoice(openai.ChatCompletionNamedToolChoiceFunctionParam{Name: names.Out(c.Name)})
	case c.Mode != "" && len(req.Tools) > 0:
		p.ToolChoice.OfAuto = param.NewOpt(string(c.Mode))
	}
	switch n := int64(req.MaxTokens); {
	case n == 0:
	case m.Official(): // whose newer models refuse the older name
		p.MaxCompletionTokens = param.NewOpt(n)
	default: // of whom many ignore the newer name
		p.MaxTokens = param.NewOpt(n)
	}
	if req.Temperature != nil {
		p.Temperature = param.NewOpt(*req.Temperature)
	}
	if req.Schema != nil {
		if !m.Native {
			return p, nil, endpoint.Unsupported("structured_output is prompt")
		}
		if p.ResponseFormat, err = responseFormat(req.Schema); err != nil {
			return p, nil, err
		}
	}
	return p, names, nil
}

// maxCallID is how long an id of a call is that OpenAI takes, at most; others take what they have given.
const maxCallID = 40

func (m *model) callID(id string) string {
	if !m.Official() {
		return id
	}
	return endpoint.CallID(id, maxCallID)
}

func message(msg driver.Message, names *endpoint.Names, callID func(string) string) openai.ChatCompletionMessageParamUnion {
	switch msg.Role {
	case driver.System:
		return openai.SystemMessage(msg.Content)
	case driver.Tool:
		return openai.ToolMessage(msg.Content, callID(msg.CallID))
	case driver.Assistant:
		if len(msg.ToolCalls) == 0 {
			return openai.AssistantMessage(msg.Content)
		}
		a := openai.ChatCompletionAssistantMessageParam{}
		if msg.Content != "" {
			a.Content.OfString = param.NewOpt(msg.Content)
		}
		for _, c := range msg.ToolCalls {
			a.ToolCalls = append(a.ToolCalls, openai.ChatCompletionMessageToolCallUnionParam{OfFunction: &openai.ChatCompletionMessageFunctionToolCallParam{
				ID: callID(c.ID), Function: openai.ChatCompletionMessageFunctionToolCallFunctionParam{Name: names.Out(c.Name), Arguments: c.Arguments},
			}})
		}
		return openai.ChatCompletionMessageParamUnion{OfAssistant: &a}
	}
	return openai.UserMessage(msg.Content)
}

// responseFormat holds the model to a schema. It is not "strict", which takes
// only a part of JSON Schema; package llm checks the answer anyway.
func responseFormat(schema map[string]any) (openai.ChatCompletionNewParamsResponseFormatUnion, error) {
	text, err := json.Marshal(schema)
	format := shared.ResponseFormatJSONSchemaParam{
		JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: "answer", Schema: json.RawMessage(text)},
	}
	return openai.ChatCompletionNewParamsResponseFormatUnion{OfJSONSchema: &format}, err
}
