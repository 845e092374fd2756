package tracing_test

import (
	"context"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/tracing"
)

// drops takes spans as what sends them does, and sends none.
type drops struct{}

func (drops) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (drops) Shutdown(context.Context) error                             { return nil }

// BenchmarkNode is what the span of a node costs: without a tracer, of a trace that is not kept, and of one that is.
func BenchmarkNode(b *testing.B) {
	for name, sampler := range map[string]sdktrace.Sampler{"none": nil, "not-sampled": sdktrace.NeverSample(), "sampled": sdktrace.AlwaysSample()} {
		b.Run(name, func(b *testing.B) {
			var p trace.TracerProvider
			if sampler != nil {
				sdk := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler), sdktrace.WithBatcher(drops{}))
				defer sdk.Shutdown(context.WithoutCancel(b.Context()))
				p = sdk
			}
			t := tracing.New(p, tracing.Options{})
			ctx, run := t.Run(b.Context(), &kernel.RunContext{RunID: "r", PipelineName: "p"})
			defer run.EndRun("completed", kernel.UsageSnapshot{}, nil)
			b.ReportAllocs()
			for b.Loop() {
				_, span := t.Node(ctx, "node", "function_node", "")
				span.EndNode(1, nil, false, nil)
			}
		})
	}
}
