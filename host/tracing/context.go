package tracing

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
)

// The headers are W3C's, which CloudEvents and the environment have taken over.
const (
	header      = "traceparent"
	stateHeader = "tracestate"
)

// maxState is how many bytes of a tracestate are carried along; W3C asks for that many. One that is longer is left behind.
const maxState = 512

// Join returns what tells of a span to whoever goes on with it: W3C's traceparent, and, behind a space, its tracestate, where there is one.
func Join(parent, state string) string {
	if parent == "" || state == "" || len(state) > maxState {
		return parent
	}
	return parent + " " + state
}

// Split returns the traceparent and the tracestate that Join has joined.
func Split(joined string) (parent, state string) {
	parent, state, _ = strings.Cut(joined, " ")
	return parent, state
}

// Parent returns the span that ctx is in, as Join does; "" where there is none.
func Parent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return Join(carrier[header], carrier[stateHeader])
}

// Within returns the context of what is done within a span, as Parent has it, wherever that is. Where ctx is in a span already, or the text
// is no traceparent, it is ctx.
func Within(ctx context.Context, parent string) context.Context {
	if trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	return After(ctx, parent)
}

// After returns the context of what a span of elsewhere has led to. Where the text is no traceparent, it is ctx.
func After(ctx context.Context, parent string) context.Context {
	s := spanOf(parent)
	if !s.IsValid() {
		return ctx
	}
	return trace.ContextWithRemoteSpanContext(ctx, s)
}

func spanOf(parent string) trace.SpanContext {
	if parent == "" {
		return trace.SpanContext{}
	}
	parent, state := Split(parent)
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{header: parent, stateHeader: state}) // a state that is none is left out
	return trace.SpanContextFromContext(ctx)
}

// Propagate tells the server of a request which trace it is in, where the operator wants that host to know.
func (t *Tracer) Propagate(ctx context.Context, host string, h http.Header) {
	if t == nil || !slices.ContainsFunc(t.opts.Propagate, func(pattern string) bool { return abi.Match(pattern, host) }) {
		return
	}
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(h))
}

type quietKey struct{}

// Quietly returns the context of something of which spans tell that it is, and not what.
func (t *Tracer) Quietly(ctx context.Context) context.Context {
	if t == nil {
		return ctx
	}
	return context.WithValue(ctx, quietKey{}, true)
}

// quiet reports whether what is done in ctx is secret.
func quiet(ctx context.Context) bool {
	return ctx.Value(quietKey{}) != nil || kernel.FlowFrom(ctx).Labels().Confidentiality() == kernel.Secret
}
