package httpapi_test

import (
	"context"
	"net/http"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// A run is within the span of the request that has started it, where that says which.
func TestTraceOfRequest(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	s := open(t, options{tracer: provider})
	const trace = "0af7651916cd43dd8448eb211c80319c"
	for _, parent := range []string{"00-" + trace + "-b7ad6b7169203331-01", "no traceparent"} {
		exporter.Reset()
		if a := s.ask(t, adaToken, http.MethodPost, "/v1/pipelines/echo/runs?wait=30", `{"input": {"text": "x"}}`, "traceparent", parent, "tracestate", "vendor=1"); a.status != http.StatusOK {
			t.Fatal(a.status, a.text)
		}
		runs := 0
		for _, span := range exporter.GetSpans() {
			if within := span.SpanContext.TraceID().String() == trace; within != (parent != "no traceparent") {
				t.Errorf("%q: %s is of the trace %s", parent, span.Name, span.SpanContext.TraceID())
			}
			if state := span.SpanContext.TraceState().String(); (state == "vendor=1") != (parent != "no traceparent") {
				t.Errorf("%q: %s has the state %q", parent, span.Name, state)
			}
			runs++
		}
		if runs == 0 {
			t.Errorf("%q: no span", parent)
		}
	}
}
