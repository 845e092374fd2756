package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// counters are what /metrics tells of requests.
type counters struct {
	byClass  [6]atomic.Int64 // of the first digit of the status
	duration atomic.Int64    // nanoseconds of all that have ended
	active   atomic.Int64
}

// routeHealth adds what a supervisor asks: whether the process lives, and whether it takes work.
func (s *Server) routeHealth(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if s.draining.Load() {
			say(w, http.StatusServiceUnavailable, "draining")
			return
		}
		say(w, http.StatusOK, "ready")
	})
	mux.HandleFunc("GET /metrics", s.metrics)
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text)
}

// metrics tells, in Prometheus' text format, of the server and of the tenant of who asks: of no other.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	t, who := s.of(r.Context())
	if err := t.host.Allow(r.Context(), who.Principal, "server.metrics", tenantResource(t)); err != nil {
		writeProblem(w, 0, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	t.mu.Lock()
	busy := t.busy
	t.mu.Unlock()
	fmt.Fprintf(w, "# HELP hexdag_runs_active Runs of the tenant that are under way.\n# TYPE hexdag_runs_active gauge\nhexdag_runs_active{tenant=%q} %d\n", t.name, busy)
	fmt.Fprintf(w, "# HELP hexdag_http_requests_total Requests that were answered, by the class of the status.\n# TYPE hexdag_http_requests_total counter\n")
	for class := 1; class < len(s.requests.byClass); class++ {
		fmt.Fprintf(w, "hexdag_http_requests_total{class=\"%dxx\"} %d\n", class, s.requests.byClass[class].Load())
	}
	fmt.Fprintf(w, "# HELP hexdag_http_seconds_total Time that requests took.\n# TYPE hexdag_http_seconds_total counter\nhexdag_http_seconds_total %g\n", time.Duration(s.requests.duration.Load()).Seconds())
	fmt.Fprintf(w, "# HELP hexdag_http_requests_active Requests under way.\n# TYPE hexdag_http_requests_active gauge\nhexdag_http_requests_active %d\n", s.requests.active.Load())
	fmt.Fprintf(w, "# HELP hexdag_streams_active Clients that follow events.\n# TYPE hexdag_streams_active gauge\nhexdag_streams_active %d\n", s.streams.Load())
}

// counted counts requests.
func (s *Server) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		s.requests.active.Add(1)
		seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			s.requests.active.Add(-1)
			s.requests.duration.Add(int64(time.Since(began)))
			if class := seen.status / 100; class > 0 && class < len(s.requests.byClass) {
				s.requests.byClass[class].Add(1)
			}
		}()
		next.ServeHTTP(seen, r)
	})
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
	wrote  bool
}

func (w *statusWriter) WriteHeader(status int) {
	if !w.wrote {
		w.status, w.wrote = status, true
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	w.wrote = true
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach what is inside.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func rawWriter(ctx huma.Context) http.ResponseWriter {
	_, w := humago.Unwrap(ctx)
	return w
}

func isUnsupported(err error) bool { return errors.Is(err, http.ErrNotSupported) }

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }
