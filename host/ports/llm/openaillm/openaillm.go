// Package openaillm is the language models behind an OpenAI-compatible endpoint
// (OpenAI, Ollama, vLLM, ...), through its chat completions and the official
// client.
package openaillm

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/shared"
)

// officialURL is OpenAI's own endpoint, the default.
const officialURL = "https://api.openai.com/v1/"

// model is safe for concurrent use: nothing in it changes.
type model struct {
	chat      openai.ChatCompletionService
	transport *http.Transport
	name      string
	official  bool
	timeout   time.Duration
	secret    string
	keyPlace  string // where the operator put the key, for errors
}

// New returns the models behind the endpoint that cfg names, or a CodeConfig
// error. It connects to nothing yet.
func New(cfg Config) (driver.LLM, error) {
	s, err := cfg.settle()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	client := &http.Client{
		Transport: &cappedTransport{next: transport, limit: maxResponseBytes},
		// A redirect would carry the conversation to where nobody configured it to go.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	options := []option.RequestOption{
		option.WithBaseURL(s.baseURL),
		option.WithHTTPClient(client),
		option.WithMaxRetries(cfg.MaxRetries),
	}
	if s.secret != "" {
		options = append(options, option.WithAPIKey(s.secret))
	}
	if cfg.Organization != "" {
		options = append(options, option.WithOrganization(cfg.Organization))
	}
	return &model{
		// The service alone: openai.NewClient would read OPENAI_* from the environment.
		chat:      openai.NewChatCompletionService(options...),
		transport: transport,
		name:      cfg.Model,
		official:  s.baseURL == officialURL,
		timeout:   s.timeout,
		secret:    s.secret,
		keyPlace:  s.keyPlace,
	}, nil
}

// Complete asks the endpoint for one chat completion.
func (m *model) Complete(ctx context.Context, req *driver.Request) (*driver.Response, error) {
	params, err := m.params(req)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	var raw *http.Response
	answer, err := m.chat.New(limited, params, option.WithResponseInto(&raw))
	switch {
	case err == nil && len(answer.Choices) == 0:
		return nil, m.malformed("it has no choices")
	case err == nil:
		return response(req, params.Model, answer), nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limited.Err() != nil:
		return nil, m.timedOut()
	}
	return nil, m.callError(raw, err)
}

// Close drops the idle connections.
func (m *model) Close() error {
	m.transport.CloseIdleConnections()
	return nil
}

func (m *model) params(req *driver.Request) (openai.ChatCompletionNewParams, error) {
	p := openai.ChatCompletionNewParams{Model: m.name, Messages: make([]openai.ChatCompletionMessageParamUnion, len(req.Messages))}
	if req.Model != "" {
		p.Model = req.Model
	}
	if p.Model == "" {
		return p, noModel()
	}
	for i, msg := range req.Messages {
		switch msg.Role {
		case driver.System:
			p.Messages[i] = openai.SystemMessage(msg.Content)
		case driver.Assistant:
			p.Messages[i] = openai.AssistantMessage(msg.Content)
		default:
			p.Messages[i] = openai.UserMessage(msg.Content)
		}
	}
	switch n := int64(req.MaxTokens); {
	case n == 0:
	case m.official: // whose newer models refuse the older name
		p.MaxCompletionTokens = param.NewOpt(n)
	default: // of whom many ignore the newer name
		p.MaxTokens = param.NewOpt(n)
	}
	if req.Temperature != nil {
		p.Temperature = param.NewOpt(*req.Temperature)
	}
	if req.Schema != nil {
		format, err := responseFormat(req.Schema)
		if err != nil {
			return p, err
		}
		p.ResponseFormat = format
	}
	return p, nil
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

func response(req *driver.Request, asked string, answer *openai.ChatCompletion) *driver.Response {
	choice := answer.Choices[0]
	r := &driver.Response{
		Content:      choice.Message.Content,
		FinishReason: choice.FinishReason,
		Model:        answer.Model,
		Usage: driver.Usage{
			InputTokens:  answer.Usage.PromptTokens,
			OutputTokens: answer.Usage.CompletionTokens,
			TotalTokens:  answer.Usage.TotalTokens,
		},
	}
	if choice.Message.Refusal != "" {
		r.Content, r.FinishReason = choice.Message.Refusal, "refusal"
	}
	if u := r.Usage; u.InputTokens < 0 || u.OutputTokens < 0 || u.InputTokens+u.OutputTokens == 0 {
		r.Usage = driver.Estimate(req.Messages, r.Content)
	}
	r.Usage.TotalTokens = r.Usage.InputTokens + r.Usage.OutputTokens
	if r.Model == "" {
		r.Model = asked
	}
	return r
}
