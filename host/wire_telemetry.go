package host

import (
	"context"
	"os"

	"go.opentelemetry.io/otel/trace"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/tracing"
	"github.com/hexdag/hexdag/host/tracing/otlp"
)

// TracerProvider makes OpenTelemetry's spans.
type TracerProvider = trace.TracerProvider

// TelemetryOfEnvironment has a configuration that says nothing of telemetry send spans where the environment asks for it: OTEL_TRACES_EXPORTER,
// OTEL_EXPORTER_OTLP_ENDPOINT and the like.
func TelemetryOfEnvironment(cfg *Config) {
	if cfg.Telemetry == nil && otlp.Wanted() {
		cfg.Telemetry = &pipeline.TelemetrySpec{}
	}
}

// WithinTrace returns the context of what is done within the span of a traceparent, with its tracestate, as W3C writes them: those of a request, or
// of the environment.
func WithinTrace(ctx context.Context, traceparent, tracestate string) context.Context {
	return tracing.Within(ctx, tracing.Join(traceparent, tracestate))
}

// openTelemetry opens what makes spans. Nothing of a run that is done again is new.
func (h *Host) openTelemetry(ctx context.Context) error {
	spec := h.config.Telemetry
	if spec == nil {
		spec = &pipeline.TelemetrySpec{}
	}
	opts := tracing.Options{Content: spec.Content, Propagate: spec.Propagate}
	switch {
	case h.opts.recorded:
		return nil
	case h.opts.TracerProvider != nil:
		h.tracer = tracing.New(h.opts.TracerProvider, opts)
		return nil
	case h.config.Telemetry == nil || otlp.Disabled():
		return nil
	}
	cfg := otlp.Config{Endpoint: spec.Endpoint, Protocol: spec.Protocol, Headers: map[string]string{}, Sample: spec.Sample, Service: spec.Service, Version: h.opts.Version, Attributes: spec.Attributes, Log: h.log}
	for name, value := range spec.Headers {
		resolved, missing := resolveSecrets(value, os.LookupEnv)
		if missing != "" {
			return &kernel.Error{Code: kernel.CodeConfig, What: "the environment variable " + missing + " is not set", Where: spec.Where, Fix: "set it: spec.telemetry names it"}
		}
		cfg.Headers[name], _ = resolved.(string)
	}
	provider, err := otlp.Open(ctx, cfg)
	if err != nil {
		return kernel.At(err, spec.Where)
	}
	h.closers.add(provider.Close)
	h.tracer = tracing.New(provider, opts)
	return nil
}
