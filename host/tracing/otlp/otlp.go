// Package otlp sends spans to a collector, by OTLP. What the configuration leaves out, the standard environment variables say: OTEL_*.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"

	"github.com/hexdag/hexdag/host/kernel"
)

// Config says where spans go. The zero value is what the environment says.
type Config struct {
	Endpoint   string // URL of the collector; its path is before v1/traces
	Protocol   string // http/protobuf, http/json or grpc
	Headers    map[string]string
	Sample     *float64 // of the traces that begin here, from 0 to 1
	Service    string   // hexdag, if nobody says otherwise
	Version    string   // of the service
	Attributes map[string]string
	// Log is told, once, that spans cannot be sent, and that they can be again.
	Log *slog.Logger
}

// Provider is a provider of spans that are sent.
type Provider struct {
	*sdktrace.TracerProvider
	sender *sender
}

// Wanted reports whether the environment asks for spans to be sent.
func Wanted() bool {
	if Disabled() {
		return false
	}
	exporter := os.Getenv("OTEL_TRACES_EXPORTER")
	return exporter != "" || os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// Disabled reports whether the environment forbids it.
func Disabled() bool {
	return strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || strings.EqualFold(os.Getenv("OTEL_TRACES_EXPORTER"), "none")
}

// Open returns a provider. It connects to nothing yet. Errors are CodeConfig.
func Open(ctx context.Context, cfg Config) (*Provider, error) {
	if exporter := os.Getenv("OTEL_TRACES_EXPORTER"); exporter != "" && !strings.EqualFold(exporter, "otlp") {
		return nil, problem("OTEL_TRACES_EXPORTER is "+kernel.Quote(exporter), "set it to otlp, or none", nil)
	}
	if cfg.Sample != nil && !(*cfg.Sample >= 0 && *cfg.Sample <= 1) {
		return nil, problem(fmt.Sprintf("sample is %g", *cfg.Sample), "write a share from 0 to 1", nil)
	}
	about, err := about(ctx, cfg)
	if err != nil {
		return nil, problem(kernel.Quote(err.Error()), "correct OTEL_RESOURCE_ATTRIBUTES", err)
	}
	s, err := newSender(ctx, cfg)
	if err != nil {
		return nil, err
	}
	opts := []sdktrace.TracerProviderOption{sdktrace.WithBatcher(s), sdktrace.WithResource(about)}
	if cfg.Sample != nil {
		opts = append(opts, sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(*cfg.Sample))))
	}
	return &Provider{TracerProvider: sdktrace.NewTracerProvider(opts...), sender: s}, nil
}

func problem(why, fix string, err error) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: "telemetry cannot be sent", Why: why, Fix: fix, Err: err}
}

// about says whose spans they are.
func about(ctx context.Context, cfg Config) (*resource.Resource, error) {
	said := []attribute.KeyValue{semconv.ServiceName("hexdag")}
	if cfg.Version != "" {
		said = append(said, semconv.ServiceVersion(cfg.Version))
	}
	var more []attribute.KeyValue
	if cfg.Service != "" {
		more = append(more, semconv.ServiceName(cfg.Service))
	}
	for name, value := range cfg.Attributes {
		more = append(more, attribute.String(name, value))
	}
	// The later win: the configuration over the environment, and that over the default.
	return resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(said...), resource.WithFromEnv(), resource.WithAttributes(more...))
}

// sender is an exporter that fails nobody: what cannot be sent is dropped, and the log says so.
type sender struct {
	sdktrace.SpanExporter
	log     *slog.Logger
	client  *http.Client // nil where the exporter has its own
	closing context.Context
	close   context.CancelFunc
	broken  bool // by the one goroutine that sends
}

func newSender(ctx context.Context, cfg Config) (*sender, error) {
	s := &sender{log: cfg.Log}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.closing, s.close = context.WithCancel(context.WithoutCancel(ctx))
	var err error
	switch protocol(cfg) {
	case "http/protobuf", "http/json":
		s.SpanExporter, err = s.overHTTP(ctx, cfg)
	case "grpc":
		s.SpanExporter, err = overGRPC(ctx, cfg)
	default:
		err = problem("there is no protocol "+kernel.Quote(protocol(cfg)), "write http/protobuf, http/json or grpc", nil)
	}
	if err != nil {
		s.close()
		var known *kernel.Error
		if !errors.As(err, &known) {
			err = problem(kernel.Quote(err.Error()), "correct spec.telemetry, or the environment variables OTEL_EXPORTER_OTLP_*", err)
		}
		return nil, err
	}
	return s, nil
}

func protocol(cfg Config) string {
	for _, said := range []string{cfg.Protocol, os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL")} {
		if said != "" {
			return said
		}
	}
	return "http/protobuf"
}

// path is where collectors take spans.
const path = "/v1/traces"

// endpoint checks the collector's URL. It may hold a password, and is not shown.
func endpoint(cfg Config) (*url.URL, error) {
	u, err := url.Parse(cfg.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, problem("endpoint is not usable", "give scheme, host and port, as http://127.0.0.1:4318, and what proves who you are as headers", nil)
	}
	return u, nil
}

// How long the exporter goes on with a batch that a busy collector did not take.
const (
	firstRetry = time.Second
	lastRetry  = 20 * time.Second
)

func (s *sender) overHTTP(ctx context.Context, cfg Config) (sdktrace.SpanExporter, error) {
	opts := []otlptracehttp.Option{otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: firstRetry, MaxInterval: 5 * firstRetry, MaxElapsedTime: lastRetry})}
	if cfg.Endpoint != "" {
		u, err := endpoint(cfg)
		if err != nil {
			return nil, err
		}
		if !strings.HasSuffix(u.Path, path) {
			u.Path = strings.TrimSuffix(u.Path, "/") + path
		}
		opts = append(opts, otlptracehttp.WithEndpointURL(u.String()))
	}
	if len(cfg.Headers) > 0 {
		opts = append(opts, otlptracehttp.WithHeaders(cfg.Headers))
	}
	if protocol(cfg) == "http/json" {
		opts = append(opts, otlptracehttp.WithEncoding(otlptracehttp.EncodingJSON))
	}
	if !certified() { // else the exporter reads the certificates
		transport := http.DefaultTransport.(*http.Transport).Clone()
		s.client = &http.Client{
			Transport: transport, Timeout: timeout(),
			// A redirect would carry the headers to where nobody configured them to go.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		opts = append(opts, otlptracehttp.WithHTTPClient(s.client))
	}
	return otlptracehttp.New(ctx, opts...)
}

func overGRPC(ctx context.Context, cfg Config) (sdktrace.SpanExporter, error) {
	opts := []otlptracegrpc.Option{otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: true, InitialInterval: firstRetry, MaxInterval: 5 * firstRetry, MaxElapsedTime: lastRetry})}
	if cfg.Endpoint != "" {
		u, err := endpoint(cfg)
		if err != nil {
			return nil, err
		}
		opts = append(opts, otlptracegrpc.WithEndpointURL(u.Scheme+"://"+u.Host))
	}
	if len(cfg.Headers) > 0 {
		opts = append(opts, otlptracegrpc.WithHeaders(cfg.Headers))
	}
	return otlptracegrpc.New(ctx, opts...)
}

// certified reports whether the environment names certificates.
func certified() bool {
	for _, of := range []string{"", "TRACES_"} {
		for _, file := range []string{"CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"} {
			if os.Getenv("OTEL_EXPORTER_OTLP_"+of+file) != "" {
				return true
			}
		}
	}
	return false
}

// timeout is that of one request: 10 seconds, as the specification has it.
func timeout() time.Duration {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"} {
		if ms, err := strconv.Atoi(os.Getenv(name)); err == nil && ms > 0 {
			return time.Duration(ms) * time.Millisecond
		}
	}
	return 10 * time.Second
}

// ExportSpans implements the exporter. It never fails.
func (s *sender) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	err := s.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err != nil && !s.broken:
		s.log.Warn("spans cannot be sent; they are dropped until they can be", "spans", len(spans), "error", kernel.Quote(err.Error()))
	case err == nil && s.broken:
		s.log.Info("spans are sent again")
	}
	s.broken = err != nil
	return nil
}

// closeTime is how long what is not sent yet may take, and patience how long what is then given up.
const (
	closeTime = 3 * time.Second
	patience  = 5 * time.Second
)

// Close sends what is left, within three seconds, and ends what sends.
func (p *Provider) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	flushed := p.ForceFlush(ctx)
	p.sender.close() // what still sends gives up, and says so in the log
	ending, ended := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer ended()
	err := p.Shutdown(ending)
	if p.sender.client != nil {
		p.sender.client.CloseIdleConnections()
	}
	if flushed != nil || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}
