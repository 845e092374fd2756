package otlp_test

import (
	"bytes"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testserver/otlpserver"
	"github.com/hexdag/hexdag/host/tracing/otlp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
	s := otlpserver.New(t)
	sample := 1.0
	for _, endpoint := range []string{s.URL, s.URL + "/", s.URL + "/v1/traces"} {
		record(t, otlp.Config{Endpoint: endpoint, Headers: map[string]string{"X-Token": "hunter2"}, Sample: &sample, Service: "desk", Version: "1.2", Attributes: map[string]string{"deployment.environment.name": "test"}}, "a", "b")
	}
	if names := s.Names(); !slices.Equal(names, []string{"a", "a", "a", "b", "b", "b"}) || !slices.Equal(s.Paths(), []string{"/v1/traces"}) || !slices.Equal(s.Header("x-token"), []string{"hunter2"}) {
		t.Errorf("%q at %q with %q", names, s.Paths(), s.Header("x-token"))
	}
	if about := s.Resource(); about["service.name"] != "desk" || about["service.version"] != "1.2" || about["deployment.environment.name"] != "test" || about["telemetry.sdk.language"] != "go" {
		t.Errorf("%v", about)
	}
}

func TestSendOverGRPC(t *testing.T) {
	s := otlpserver.NewGRPC(t)
	record(t, otlp.Config{Endpoint: s.URL, Protocol: "grpc", Headers: map[string]string{"x-token": "hunter2"}}, "a")
	if names := s.Names(); !slices.Equal(names, []string{"a"}) || !slices.Equal(s.Header("x-token"), []string{"hunter2"}) {
		t.Errorf("%q with %q", names, s.Header("x-token"))
	}
}

// The environment says what the configuration does not.
func TestEnvironment(t *testing.T) {
	s := otlpserver.New(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", s.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "X-Token=hunter2")
	t.Setenv("OTEL_SERVICE_NAME", "mine")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "team=desk")
	if !otlp.Wanted() {
		t.Error("the environment asks for spans, and is not heard")
	}
	record(t, otlp.Config{}, "a")
	if names, about := s.Names(), s.Resource(); !slices.Equal(names, []string{"a"}) || !slices.Equal(s.Header("x-token"), []string{"hunter2"}) || about["service.name"] != "mine" || about["team"] != "desk" {
		t.Errorf("%q with %q of %v", names, s.Header("x-token"), about)
	}
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	record(t, otlp.Config{}, "b")
	if names := s.Names(); !slices.Equal(names, []string{"a"}) {
		t.Errorf("%q are sent, and OTEL_TRACES_SAMPLER has none sent", names)
	}
	t.Setenv("OTEL_SDK_DISABLED", "true")
	if otlp.Wanted() {
		t.Error("OTEL_SDK_DISABLED is not heard")
	}
}

// A share of the traces is kept, and of those that began elsewhere what they say.
func TestSample(t *testing.T) {
	s := otlpserver.New(t)
	none := 0.0
	p, err := otlp.Open(t.Context(), otlp.Config{Endpoint: s.URL, Sample: &none})
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
	if names := s.Names(); !slices.Equal(names, []string{"child 01"}) {
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
