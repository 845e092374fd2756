// Package tracing makes OpenTelemetry's spans of what runs do: of a run, its nodes, the calls of ports that these make, and
// the calls of modules inside of either; of models, tools and agents by the semantic conventions for generative AI.
//
// What a span says is bounded, and what a guest, a model or a file made of it is quoted. What was said to a model and what it answered
// is in none, unless the operator asks for it.
package tracing

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/hexdag/hexdag/host/kernel"
)

// scope is the name that the spans are made under.
const scope = "github.com/hexdag/hexdag"

// Tracer makes spans. The nil Tracer makes none, for the price of a comparison. It is safe for concurrent use.
type Tracer struct {
	tracer trace.Tracer
	opts   Options
}

// Options are what an operator decides.
type Options struct {
	// Content has spans of models and tools hold what was said, but what is secret.
	Content bool
	// Propagate are patterns of the hosts that are told of the trace, in the header traceparent of requests of the http port.
	Propagate []string
}

// New returns a tracer of a provider's spans; without a provider, nil.
func New(p trace.TracerProvider, opts Options) *Tracer {
	if p == nil {
		return nil
	}
	return &Tracer{tracer: p.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL)), opts: opts}
}

// Span is one that is under way, to be ended once. The zero Span is none: all that it is told is dropped.
type Span struct {
	span    trace.Span // nil where nobody records it
	content bool       // it may hold what was said
}

// Recording reports whether anybody will see what the span is told.
func (s Span) Recording() bool { return s.span != nil }

func (t *Tracer) start(ctx context.Context, name string, kind trace.SpanKind, opts ...trace.SpanStartOption) (context.Context, Span) {
	ctx, span := t.tracer.Start(ctx, name, append(opts, trace.WithSpanKind(kind))...)
	if !span.IsRecording() {
		return ctx, Span{}
	}
	return ctx, Span{span: span, content: t.opts.Content && !quiet(ctx)}
}

// Current returns the span that ctx is in, which somebody else ends.
func (t *Tracer) Current(ctx context.Context) Span {
	if t == nil {
		return Span{}
	}
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return Span{}
	}
	return Span{span: span}
}

// end ends the span with what it came to. What waits for an approval has not failed.
func (s Span) end(err error) {
	code := kernel.CodeOf(err)
	if err != nil {
		s.span.SetAttributes(semconv.ErrorTypeKey.String(string(code)))
	}
	if err != nil && code != kernel.CodeApproval {
		s.span.SetStatus(codes.Error, text(what(err)))
	}
	s.span.End()
}

// what is what an error says of itself, without the reason: that can be anybody's words.
func what(err error) string {
	var known *kernel.Error
	if errors.As(err, &known) {
		return known.What
	}
	return "failed"
}

// The most bytes of an attribute, and of one that holds what was said.
const (
	maxText    = 256
	maxContent = 16 << 10
)

// text is a text that is safe to show, and not long.
func text(s string) string {
	if len(s) <= maxText && !strings.ContainsFunc(s, isOdd) { // as names are
		return s
	}
	return cut(kernel.Quote(cut(s, maxText)), maxText)
}

func isOdd(r rune) bool { return r < ' ' || r > '~' }

// cut returns the beginning of a text.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	end := most - len("…")
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// maxTexts is how many texts an attribute holds.
const maxTexts = 16

func texts(list []string) []string {
	shown := make([]string, 0, min(len(list), maxTexts))
	for _, s := range list[:min(len(list), maxTexts)] {
		shown = append(shown, text(s))
	}
	return shown
}

// attributes are those of a span, as they are collected: what is empty is left out.
type attributes []attribute.KeyValue

func (a *attributes) text(key attribute.Key, s string) {
	if s != "" {
		*a = append(*a, key.String(text(s)))
	}
}

func (a *attributes) number(key attribute.Key, n int64) {
	if n != 0 {
		*a = append(*a, key.Int64(n))
	}
}
