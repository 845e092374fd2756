package tracing_test

import (
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/hexdag/hexdag/host/tracing"
)

// TestState: what is told of a span comes to others as it was; a state that is none, or too large, is left behind, and the span is not.
func TestState(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	long := "a=" + strings.Repeat("x", 250) + ",b=" + strings.Repeat("x", 250)
	for given, want := range map[string]string{
		"": "", "vendor=1": "vendor=1", "a=1,b=2": "a=1,b=2", "no state": "", "a=1,a=2": "", "A=\x00": "", long: long, long + ",c=" + strings.Repeat("x", 50): "", strings.Repeat("x=1,", 40): "",
	} {
		ctx := tracing.Within(t.Context(), tracing.Join(parent, given))
		span := trace.SpanContextFromContext(ctx)
		if span.TraceID().String() != "0af7651916cd43dd8448eb211c80319c" || span.TraceState().String() != want {
			t.Errorf("%.40q: %v %q", given, span.TraceID(), span.TraceState().String())
		}
		again := trace.SpanContextFromContext(tracing.After(t.Context(), tracing.Parent(ctx)))
		if !again.Equal(span) {
			t.Errorf("%.40q: %v, and then %v", given, span, again)
		}
	}
	if joined := tracing.Join("", "a=1"); joined != "" || tracing.Parent(t.Context()) != "" {
		t.Error(joined)
	}
}
