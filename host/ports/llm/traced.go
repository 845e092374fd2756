package llm

import (
	"context"
	"encoding/json"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/hexdag/hexdag/host/tracing"
)

// traced sends a request to a model, in a span of its own. model is what answers where the request names none.
func (p *Port) traced(ctx context.Context, model string, req *Request, tell func(piece string)) (*Response, error) {
	if p.tracer == nil {
		return p.send(ctx, req, tell)
	}
	ctx, span := p.tracer.Model(ctx, &tracing.ModelCall{
		Provider: p.provider, URL: p.url, Model: model, MaxTokens: req.MaxTokens, Temperature: req.Temperature, JSON: req.Schema != nil, Streams: tell != nil,
		Messages: func() []any { return said(req.Messages) },
	})
	var answer tracing.ModelAnswer
	if tell != nil && span.Recording() {
		sent, hear := time.Now(), tell
		tell = func(piece string) {
			if answer.First == 0 {
				answer.First = time.Since(sent)
			}
			hear(piece)
		}
	}
	resp, err := p.send(ctx, req, tell)
	if resp != nil {
		answer.Model, answer.FinishReason, answer.Input, answer.Output = resp.Model, resp.FinishReason, resp.Usage.InputTokens, resp.Usage.OutputTokens
		answer.Messages = func() []any { return answered(resp) }
	}
	span.EndModel(&answer, ended(ctx, err))
	return resp, err
}

// ended is the error of a request with its code.
func ended(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	return portError(ctx, err)
}

// embedded ends the span of a request for vectors.
func embedded(ctx context.Context, span tracing.Span, e *Embeddings, err error) {
	var answer tracing.ModelAnswer
	if err == nil {
		answer.Model, answer.Input = e.Model, e.Usage.InputTokens
	}
	span.EndModel(&answer, ended(ctx, err))
}

// said are messages as the conventions have them: {role, parts}.
func said(messages []Message) []any {
	list := make([]any, len(messages))
	for i, m := range messages {
		var parts []any
		switch {
		case m.Role == driver.Tool:
			parts = append(parts, map[string]any{"type": "tool_call_response", "id": m.CallID, "response": m.Content})
		case m.Content != "":
			parts = append(parts, map[string]any{"type": "text", "content": m.Content})
		}
		list[i] = map[string]any{"role": string(m.Role), "parts": append(parts, calling(m.ToolCalls)...)}
	}
	return list
}

func answered(resp *Response) []any {
	var parts []any
	if resp.Content != "" {
		parts = append(parts, map[string]any{"type": "text", "content": resp.Content})
	}
	return []any{map[string]any{"role": string(driver.Assistant), "parts": append(parts, calling(resp.ToolCalls)...), "finish_reason": resp.FinishReason}}
}

func calling(calls []driver.ToolCall) []any {
	parts := make([]any, len(calls))
	for i, c := range calls {
		var args kernel.Value = c.Arguments
		if json.Valid([]byte(c.Arguments)) {
			args = json.RawMessage(c.Arguments)
		}
		parts[i] = map[string]any{"type": "tool_call", "id": c.ID, "name": c.Name, "arguments": args}
	}
	return parts
}
