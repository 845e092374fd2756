// Package httpapi offers hosts over HTTP to the members of their tenants: runs, their events, approvals, and what there is to run.
//
// A tenant has a host of its own, and so modules, budgets, topics, locks, artifacts, memory and an audit log of its own. Who calls is
// known by a bearer token; what they may do, governance says. What went wrong is a [Problem], with the codes that the command has, too.
package httpapi

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"golang.org/x/time/rate"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

// The bounds of a server, where Options say nothing else.
const (
	maxBody           = 1 << 20   // bytes of a request
	maxUpload         = 256 << 20 // bytes of an artifact
	maxHeader         = 64 << 10
	maxRunning        = 256 // runs of a tenant at once
	perSecond         = 200 // requests of a principal
	maxStreams        = 10_000
	readHeaderTimeout = 10 * time.Second
	bodyTimeout       = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	answerTimeout     = 5 * time.Second // of what is under way when all runs have ended, or are left
	maxWait           = 60 * time.Second
)

// Tenant is a host, and the pipelines that its members may run.
type Tenant struct {
	Host      *host.Host
	Pipelines []*host.Pipeline
}

// Options say who may call, and how much. Zero members are the defaults.
type Options struct {
	Version        string
	Authenticators []Authenticator // asked in turn
	// Local, if set, is everybody who calls: the server is this machine's alone.
	Local      *Identity
	Durable    bool // a journal is kept of every run
	MaxBody    int64
	MaxUpload  int64
	MaxRunning int
	PerSecond  int
	MaxStreams int64
	Log        *slog.Logger
	// Reload has the program read its configuration again, for who asks; nil where it cannot.
	Reload func(context.Context, Identity) (*Reloaded, error)
}

// Server offers tenants' hosts. It is safe for concurrent use.
type Server struct {
	opts    Options
	log     *slog.Logger
	tenants map[string]*tenant
	handler http.Handler
	api     huma.API
	paces   paces
	unknown *rate.Limiter // records of requests of nobody who is known
	access  atomic.Pointer[[]Authenticator]

	base     context.Context // of runs; ends with Close
	stop     context.CancelFunc
	draining atomic.Bool
	drained  chan struct{} // closed when it drains
	once     sync.Once
	streams  atomic.Int64
	requests counters
}

// New returns a server of tenants, by their names. The caller closes their hosts after it.
func New(tenants map[string]*Tenant, opts Options) *Server {
	opts.MaxBody, opts.MaxUpload, opts.MaxRunning = cmp.Or(opts.MaxBody, maxBody), cmp.Or(opts.MaxUpload, maxUpload), cmp.Or(opts.MaxRunning, maxRunning)
	opts.PerSecond, opts.MaxStreams = cmp.Or(opts.PerSecond, perSecond), cmp.Or(opts.MaxStreams, maxStreams)
	s := &Server{opts: opts, log: opts.Log, tenants: map[string]*tenant{}, drained: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.access.Store(&opts.Authenticators)
	s.unknown = rate.NewLimiter(1, 10)
	s.paces.each = float64(opts.PerSecond)
	s.base, s.stop = context.WithCancel(context.Background())
	for name, t := range tenants {
		s.tenants[name] = newTenant(s, name, t)
	}
	s.route()
	return s
}

// Admit has others say from now on who calls. It is of no account where everybody is Options.Local.
func (s *Server) Admit(authenticators []Authenticator) { s.access.Store(&authenticators) }

// Replace has other pipelines of a tenant's host be offered from now on. Runs that are under way keep theirs; those that were offered are
// closed when they have ended.
func (s *Server) Replace(tenant string, pipelines []*host.Pipeline) {
	s.tenants[tenant].serve(pipelines)
}

// Handler answers requests.
func (s *Server) Handler() http.Handler { return s.handler }

// OpenAPI returns the description of the API, as JSON.
func (s *Server) OpenAPI() ([]byte, error) { return s.api.OpenAPI().MarshalJSON() }

// problems has the library tell what is wrong as problems of ours: it has one form for all that a program serves, and takes its schema from NewError.
var problems = sync.OnceFunc(func() {
	huma.NewErrorWithContext = newError
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		return newError(nil, status, message, errs...)
	}
})

func (s *Server) route() {
	mux := http.NewServeMux()
	problems()
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0", Info: &huma.Info{Title: "hexdag", Version: cmp.Or(s.opts.Version, "0.0.0"), Description: "Runs of governed pipelines. Errors are problems (RFC 9457) whose code is stable."},
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{"bearer": {Type: "http", Scheme: "bearer"}},
			},
			Security: []map[string][]string{{"bearer": {}}},
		},
		OpenAPIPath: "/openapi", Formats: huma.DefaultFormats, DefaultFormat: "application/json", RejectUnknownQueryParameters: true,
	}
	s.api = humago.New(mux, config)
	s.routeRuns()
	s.routeApprovals()
	s.routeWhatThereIs()
	s.routePolicies()
	s.routeReload()
	s.routeArtifacts()
	s.routeAudit()
	s.routeHealth(mux)
	open := map[string]bool{"/healthz": true, "/readyz": true, "/openapi.json": true, "/openapi.yaml": true}
	var h http.Handler = mux
	h = s.paced(h, open)
	h = s.bounded(h)
	h = s.authenticated(h, open)
	if s.opts.Local != nil {
		h = local(h)
	}
	h = guarded(h, func(ctx context.Context, v any) {
		s.log.ErrorContext(ctx, "a request made the server panic", "panic", v)
	})
	s.handler = s.counted(h)
}

// bounded refuses bodies that are too large before anything reads them.
func (s *Server) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		most, why := s.opts.MaxBody, tooLarge
		if r.URL.Path == "/v1/artifacts" {
			most, why = s.opts.MaxUpload, uploadTooLarge
		}
		if r.ContentLength > most {
			w.Header().Set("Connection", "close")
			s.refuse(w, r, http.StatusRequestEntityTooLarge, why(most))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, most+1) // what the library reads it refuses by itself
		next.ServeHTTP(w, r)
	})
}

// Serve answers on a listener until ctx ends; then it drains, for as long as grace says. The listener is closed.
func (s *Server) Serve(ctx context.Context, l net.Listener, grace time.Duration) error {
	server := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader, BaseContext: func(net.Listener) context.Context { return s.base },
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	s.Drain(ending)
	answering, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	late := server.Shutdown(answering) // who waited for a run is told how it stands
	s.stop()
	if late != nil {
		_ = server.Close()
	}
	if err == nil {
		err = <-failed
	}
	s.wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return &kernel.Error{Code: kernel.CodeFailed, What: "the server cannot serve", Why: err.Error(), Fix: "see the reason", Err: err}
}

// Drain lets no run begin any more, and waits until those that are under way have ended, or ctx has. Streams end.
func (s *Server) Drain(ctx context.Context) {
	s.draining.Store(true)
	s.once.Do(func() { close(s.drained) })
	var drains sync.WaitGroup
	for _, t := range s.tenants {
		drains.Go(func() { t.drain(ctx) })
	}
	drains.Wait()
}

// Close ends what is under way.
func (s *Server) Close() {
	s.draining.Store(true)
	s.once.Do(func() { close(s.drained) })
	s.stop()
	s.wait()
}

func (s *Server) wait() {
	for _, t := range s.tenants {
		<-t.quiet()
	}
}

func tooLarge(most int64) error {
	return &kernel.Error{Code: kernel.CodeLimit, What: "the request is too large", Why: "the limit is " + itoa(most) + " bytes", Fix: "store what is large as an artifact, and pass its name"}
}
