// Package otlpserver is a collector for tests: it takes spans by OTLP, over HTTP and gRPC, and keeps them.
package otlpserver

import (
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spanpb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// Server is a collector. It may be used by several goroutines.
type Server struct {
	collector.UnimplementedTraceServiceServer
	URL string

	mu      sync.Mutex
	batches []*spanpb.ResourceSpans
	paths   []string
	headers []map[string]string
}

// New starts a collector that takes OTLP over HTTP, until the test ends.
func New(t testing.TB) *Server {
	s := &Server{}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// NewGRPC starts one that takes it over gRPC.
func NewGRPC(t testing.TB) *Server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, server := &Server{URL: "http://" + listener.Addr().String()}, grpc.NewServer()
	collector.RegisterTraceServiceServer(server, s)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})
	return s
}

func (s *Server) take(req *collector.ExportTraceServiceRequest, path string, headers map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches = append(s.batches, req.ResourceSpans...)
	s.paths, s.headers = append(s.paths, path), append(s.headers, headers)
}

// ServeHTTP takes spans.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body io.Reader = r.Body
	var err error
	if r.Header.Get("Content-Encoding") == "gzip" {
		body, err = gzip.NewReader(r.Body)
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(body)
	}
	var req collector.ExportTraceServiceRequest
	if err != nil || proto.Unmarshal(text, &req) != nil || r.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, "this is no OTLP", http.StatusBadRequest)
		return
	}
	headers := map[string]string{}
	for name, values := range r.Header {
		headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	s.take(&req, r.URL.Path, headers)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// Export takes spans.
func (s *Server) Export(ctx context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	headers := map[string]string{}
	for name, values := range md {
		headers[name] = strings.Join(values, ",")
	}
	s.take(req, "", headers)
	return &collector.ExportTraceServiceResponse{}, nil
}

// Spans returns those that came.
func (s *Server) Spans() []*spanpb.Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	var spans []*spanpb.Span
	for _, batch := range s.batches {
		for _, scope := range batch.ScopeSpans {
			spans = append(spans, scope.Spans...)
		}
	}
	return spans
}

// Names are those of the spans that came, sorted.
func (s *Server) Names() []string {
	names := []string{}
	for _, span := range s.Spans() {
		names = append(names, span.Name)
	}
	slices.Sort(names)
	return names
}

// Resource is what the senders say of themselves; of two the later.
func (s *Server) Resource() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	about := map[string]string{}
	for _, batch := range s.batches {
		for _, a := range batch.Resource.Attributes {
			about[a.Key] = a.Value.GetStringValue()
		}
	}
	return about
}

// Paths are those that were sent to, each once.
func (s *Server) Paths() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return once(s.paths)
}

// Header returns the values of a header, by its name in lower case, that came, each once.
func (s *Server) Header(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var values []string
	for _, h := range s.headers {
		values = append(values, h[name])
	}
	return once(values)
}

func once(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}
