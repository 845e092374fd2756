package tracing

import (
	"context"
	"net"
	"net/url"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/hexdag/hexdag/host/kernel"
)

// ModelCall is a request that is sent to a model.
type ModelCall struct {
	Embeds      bool // it asks for vectors, not for an answer
	Provider    string
	URL         string // of the endpoint; "" where there is none
	Model       string // "" is the backend's own choice
	MaxTokens   int    // 0 is no bound
	Temperature *float64
	JSON        bool // the answer is to match a schema
	Streams     bool
	// Messages returns what is said, by the conventions; it is called where that is to be told.
	Messages func() []any
}

// Model begins the span of a request that is sent to a model.
func (t *Tracer) Model(ctx context.Context, c *ModelCall) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	operation := semconv.GenAIOperationNameChat
	if c.Embeds {
		operation = semconv.GenAIOperationNameEmbeddings
	}
	title := operation.Value.AsString()
	if c.Model != "" {
		title += " " + text(c.Model)
	}
	ctx, s := t.start(ctx, title, trace.SpanKindClient)
	if s.span == nil {
		return ctx, s
	}
	a := attributes{operation}
	a.text(semconv.GenAIProviderNameKey, c.Provider)
	a.text(semconv.GenAIRequestModelKey, c.Model)
	a.number(semconv.GenAIRequestMaxTokensKey, int64(c.MaxTokens))
	if c.Temperature != nil {
		a = append(a, semconv.GenAIRequestTemperatureKey.Float64(*c.Temperature))
	}
	if c.JSON {
		a = append(a, semconv.GenAIOutputTypeJSON)
	}
	if c.Streams {
		a = append(a, semconv.GenAIRequestStreamKey.Bool(true))
	}
	a.server(c.URL)
	if s.content && c.Messages != nil {
		a.content(semconv.GenAIInputMessagesKey, c.Messages())
	}
	s.span.SetAttributes(a...)
	return ctx, s
}

// server says where a URL leads, and not what else it says.
func (a *attributes) server(address string) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return
	}
	a.text(semconv.ServerAddressKey, u.Hostname())
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		port, _ = net.LookupPort("tcp", u.Scheme) // 0 is none
	}
	a.number(semconv.ServerPortKey, int64(port))
}

// content is what was said, as JSON.
func (a *attributes) content(key attribute.Key, v kernel.Value) {
	if said, err := kernel.EncodeJSON(v); err == nil {
		*a = append(*a, key.String(cut(string(said), maxContent)))
	}
}

// ModelAnswer is what came of a request.
type ModelAnswer struct {
	Model         string // that answered
	FinishReason  string
	Input, Output int64         // tokens
	First         time.Duration // from the request to the first piece of a stream; 0 is not known
	// Messages returns what was answered, by the conventions; it is called where that is to be told.
	Messages func() []any
}

// EndModel ends the span of a request.
func (s Span) EndModel(answer *ModelAnswer, err error) {
	if s.span == nil {
		return
	}
	var a attributes
	a.text(semconv.GenAIResponseModelKey, answer.Model)
	if answer.FinishReason != "" {
		a = append(a, semconv.GenAIResponseFinishReasonsKey.StringSlice([]string{text(answer.FinishReason)}))
	}
	a.number(semconv.GenAIUsageInputTokensKey, answer.Input)
	a.number(semconv.GenAIUsageOutputTokensKey, answer.Output)
	if answer.First > 0 {
		a = append(a, semconv.GenAIResponseTimeToFirstChunkKey.Float64(answer.First.Seconds()))
	}
	if s.content && answer.Messages != nil && err == nil {
		a.content(semconv.GenAIOutputMessagesKey, answer.Messages())
	}
	s.span.SetAttributes(a...)
	s.end(err)
}

// Tool begins the span of a tool's call, which a model has chosen, or a node is for; id is what the model calls it by, "" where it has not.
func (t *Tracer) Tool(ctx context.Context, name, id string, args map[string]any) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	shown := text(name)
	ctx, s := t.start(ctx, "execute_tool "+shown, trace.SpanKindInternal)
	if s.span == nil {
		return ctx, s
	}
	a := attributes{semconv.GenAIOperationNameExecuteTool, semconv.GenAIToolNameKey.String(shown)}
	a.text(semconv.GenAIToolCallIDKey, id)
	if s.content {
		a.content(semconv.GenAIToolCallArgumentsKey, args)
	}
	s.span.SetAttributes(a...)
	return ctx, s
}

// EndTool ends the span of a tool's call; labels are those of the result.
func (s Span) EndTool(result kernel.Value, labels *kernel.Labels, err error) {
	if s.span == nil {
		return
	}
	var a attributes
	if s.content && err == nil && labels.Confidentiality() != kernel.Secret {
		a.content(semconv.GenAIToolCallResultKey, result)
	}
	s.span.SetAttributes(a...)
	s.end(err)
}
