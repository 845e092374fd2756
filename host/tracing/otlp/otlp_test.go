package otlp_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spanpb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/tracing/otlp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink is a collector.
type sink struct {
	collector.UnimplementedTraceServiceServer
	mu      sync.Mutex
	batches []*spanpb.ResourceSpans
	paths   []string
	tokens  []string
}

func (s *sink) take(req *collector.ExportTraceServiceRequest, path, token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches = append(s.batches, req.ResourceSpans...)
	s.paths, s.tokens = append(s.paths, path), append(s.tokens, token)
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		body, _ = gzip.NewReader(r.Body)
	}
	text, err := io.ReadAll(body)
	var req collector.ExportTraceServiceRequest
	if err != nil || proto.Unmarshal(text, &req) != nil || r.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, "this is no OTLP", http.StatusBadRequest)
		return
	}
	s.take(&req, r.URL.Path, r.Header.Get("X-Token"))
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (s *sink) Export(ctx context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	s.take(req, "grpc", strings.Join(md.Get("x-token"), ","))
	return &collector.ExportTraceServiceResponse{}, nil
}

// names are the spans that came, and of whom they say they are.
func (s *sink) names() (names []string, about map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	about = map[string]string{}
	for _, batch := range s.batches {
		for _, a := range batch.Resource.Attributes {
			about[a.Key] = a.Value.GetStringValue()
		}
		for _, scope := range batch.ScopeSpans {
			for _, span := range scope.Spans {
				names = append(names, span.Name)
			}
		}
	}
	slices.Sort(names)
	return names, about
}

// record makes spans and ends the provider.
func record(t *testing.T, cfg otlp.Config, names ...string) {
	t.Helper()
	p, err := otlp.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		_, span := p.Tracer("test").Start(t.Context(), name)
		span.End()
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSend(t *testing.T) {
	s := &sink{}
	server := httptest.NewServer(s)
	defer server.Close()
	sample := 1.0
	for _, endpoint := range []string{server.URL, server.URL + "/", server.URL + "/v1/traces"} {
		record(t, otlp.Config{Endpoint: endpoint, Headers: map[string]string{"X-Token": "hunter2"}, Sample: &sample, Service: "desk", Version: "1.2", Attributes: map[string]string{"deployment.environment.name": "test"}}, "a", "b")
	}
	names, about := s.names()
	if !slices.Equal(names, []string{"a", "a", "a", "b", "b", "b"}) || !slices.Equal(slices.Compact(slices.Clone(s.paths)), []string{"/v1/traces"}) || !slices.Equal(slices.Compact(s.tokens), []string{"hunter2"}) {
		t.Errorf("%q at %q with %q", names, s.paths, s.tokens)
	}
	if about["service.name"] != "desk" || about["service.version"] != "1.2" || about["deployment.environment.name"] != "test" || about["telemetry.sdk.language"] != "go" {
		t.Errorf("%v", about)
	}
}

func TestSendOverGRPC(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, server := &sink{}, grpc.NewServer()
	collector.RegisterTraceServiceServer(server, s)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	defer serving.Wait()
	defer server.Stop()
	record(t, otlp.Config{Endpoint: "http://" + listener.Addr().String(), Protocol: "grpc", Headers: map[string]string{"x-token": "hunter2"}}, "a")
	if names, _ := s.names(); !slices.Equal(names, []string{"a"}) || !slices.Equal(s.tokens, []string{"hunter2"}) {
		t.Errorf("%q with %q", names, s.tokens)
	}
}

// The environment says what the configuration does not.
func TestEnvironment(t *testing.T) {
	s := &sink{}
	server := httptest.NewServer(s)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "X-Token=hunter2")
	t.Setenv("OTEL_SERVICE_NAME", "mine")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "team=desk")
	if !otlp.Wanted() {
		t.Error("the environment asks for spans, and is not heard")
	}
	record(t, otlp.Config{}, "a")
	if names, about := s.names(); !slices.Equal(names, []string{"a"}) || !slices.Equal(s.tokens, []string{"hunter2"}) || about["service.name"] != "mine" || about["team"] != "desk" {
		t.Errorf("%q with %q of %v", names, s.tokens, about)
	}
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	record(t, otlp.Config{}, "b")
	if names, _ := s.names(); !slices.Equal(names, []string{"a"}) {
		t.Errorf("%q are sent, and OTEL_TRACES_SAMPLER has none sent", names)
	}
	t.Setenv("OTEL_SDK_DISABLED", "true")
	if otlp.Wanted() {
		t.Error("OTEL_SDK_DISABLED is not heard")
	}
}

// A share of the traces is kept, and of those that began elsewhere what they say.
func TestSample(t *testing.T) {
	s := &sink{}
	server := httptest.NewServer(s)
	defer server.Close()
	none := 0.0
	p, err := otlp.Open(t.Context(), otlp.Config{Endpoint: server.URL, Sample: &none})
	if err != nil {
		t.Fatal(err)
	}
	_, span := p.Tracer("test").Start(t.Context(), "root")
	span.End()
	for _, flags := range []trace.TraceFlags{0, trace.FlagsSampled} {
		parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: flags, Remote: true})
		_, span = p.Tracer("test").Start(trace.ContextWithRemoteSpanContext(t.Context(), parent), "child "+flags.String())
		span.End()
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if names, _ := s.names(); !slices.Equal(names, []string{"child 01"}) {
		t.Errorf("%q", names)
	}
}

// A collector that is not there, that refuses, or that never answers holds nobody up, fails nobody, and is in the log once.
func TestNoCollector(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := gone.Addr().String()
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "\x1b[31mno", http.StatusForbidden)
	}))
	defer refuses.Close()
	leads := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			t.Error("the headers are carried to where nobody configured them to go")
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer leads.Close()
	release := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	}))
	defer hangs.Close()
	defer close(release)
	for name, endpoint := range map[string]string{"gone": "http://" + address, "refuses": refuses.URL, "redirects": leads.URL, "hangs": hangs.URL} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			record(t, otlp.Config{Endpoint: endpoint, Headers: map[string]string{"X-Token": "hunter2"}, Log: slog.New(slog.NewTextHandler(&log, nil))}, slices.Repeat([]string{"a"}, 3000)...)
			if said := log.String(); strings.Count(said, "spans cannot be sent") != 1 || strings.Contains(said, "hunter2") || strings.Contains(said, "\x1b") {
				t.Errorf("the log says %q", said)
			}
		})
	}
}

func TestRefuse(t *testing.T) {
	much := 2.0
	for name, cfg := range map[string]otlp.Config{
		"no URL":      {Endpoint: "collector:4318"},
		"a password":  {Endpoint: "http://me:hunter2@collector:4318"},
		"a protocol":  {Protocol: "zipkin"},
		"more of all": {Sample: &much},
	} {
		_, err := otlp.Open(t.Context(), cfg)
		if kernel.CodeOf(err) != kernel.CodeConfig || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Setenv("OTEL_TRACES_EXPORTER", "console")
	if _, err := otlp.Open(t.Context(), otlp.Config{}); kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), "OTEL_TRACES_EXPORTER is console") {
		t.Error(err)
	}
}
