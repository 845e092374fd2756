// Package server serves a configuration: a host for each of its tenants, over HTTP, until it is told to end.
package server

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/server/httpapi"
)

// DefaultAddress is where a server listens if nothing else is said: at this machine alone.
const DefaultAddress = "127.0.0.1:8480"

const (
	defaultGrace = 30 * time.Second
	recoverEvery = 15 * time.Second // runs of which another host has died
	lookEvery    = 2 * time.Second  // for policies that have changed
	expireEvery  = time.Second      // runs that have waited long enough
	leaveTimeout = 5 * time.Second  // that the last of what runs did is written within
)

// Options are what the program adds to the configuration.
type Options struct {
	Host    host.Options // of each tenant's host
	Version string
	Log     *slog.Logger
	Again   <-chan os.Signal // each has the configuration be read again, as a change of its files does
}

// Server is a configuration that is served.
type Server struct {
	spec   host.ServerSpec
	log    *slog.Logger
	again  <-chan os.Signal
	local  bool // nothing says who calls
	api    *httpapi.Server
	hosts  map[string]*host.Host
	closed sync.Once

	opened    string      // the stamp of what it was opened with; "" where nobody knows
	asked     atomic.Bool // by a client, for a reload that goes on
	reloading sync.Mutex
	cfg       *host.Config                // as it was read last
	loaded    map[string][]*host.Pipeline // by tenant

	ctx    context.Context // of what goes on beside requests
	cancel context.CancelFunc
	beside sync.WaitGroup
	lists  []*host.Listener
}

// Open opens the hosts of a configuration's tenants. The caller closes the server.
func Open(ctx context.Context, cfg *host.Config, o Options) (s *Server, err error) {
	s = &Server{spec: cfg.Server, log: o.Log, again: o.Again, hosts: map[string]*host.Host{}, cfg: cfg, loaded: map[string][]*host.Pipeline{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close(context.WithoutCancel(ctx)))
			s = nil
		}
	}()
	before := s.stampOf(nil)
	opts, err := s.access(ctx, cfg)
	if err != nil {
		return s, err
	}
	tenants := map[string]*httpapi.Tenant{}
	names := tenantsOf(cfg)
	if len(opts.Authenticators) == 0 {
		if len(names) > 1 {
			return s, &kernel.Error{Code: kernel.CodeConfig, What: "nothing says whose tenant who calls is of", Where: cfg.Server.Where, Why: "there are several tenants, and neither tokens nor an issuer", Fix: "set server.tokens or server.oidc"}
		}
		s.local = true
		opts.Local = &httpapi.Identity{Tenant: names[0], Principal: cfg.Principal}
	}
	for _, name := range names {
		if !tenantName.MatchString(name) {
			return s, &kernel.Error{Code: kernel.CodeConfig, What: "a tenant cannot be called " + kernel.Quote(name), Where: cfg.Server.Where, Why: "folders and topics are called like it", Fix: "use lower-case letters, digits, - and _, at most 63, of which a letter or a digit is the first"}
		}
		t, err := s.open(ctx, cfg, name, o.Host)
		if err != nil {
			return s, err
		}
		tenants[name] = t
	}
	opts.Version, opts.Durable, opts.Log, opts.Reload = o.Version, true, s.log, s.reloadFor
	s.api = httpapi.New(tenants, opts)
	if s.stampOf(nil) == before { // else something has changed while it was read
		s.opened = s.stamp()
	}
	return s, nil
}

// tenantName is what a folder can be called on any machine.
var tenantName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

func tenantsOf(cfg *host.Config) []string {
	if len(cfg.Server.Tenants) > 0 {
		return cfg.Server.Tenants
	}
	return []string{cmp.Or(cfg.Tenant, "default")}
}

// open opens a tenant's host, with a state folder of its own, and what it goes on with by itself.
func (s *Server) open(ctx context.Context, cfg *host.Config, name string, opts host.Options) (*httpapi.Tenant, error) {
	of := *cfg
	if of.Tenant = name; len(cfg.Server.Tenants) > 0 {
		of.State = filepath.Join(host.StateOf(cfg), "tenants", name)
	}
	opts.Durable = true
	h, err := host.New(ctx, &of, opts)
	if err != nil {
		return nil, kernel.At(err, kernel.Where{File: cfg.File})
	}
	s.hosts[name] = h
	pipelines, err := h.LoadAll(ctx, cfg.Server.Pipelines)
	s.loaded[name] = pipelines
	return &httpapi.Tenant{Host: h, Pipelines: pipelines}, err
}

// access says who may call.
func (s *Server) access(ctx context.Context, cfg *host.Config) (httpapi.Options, error) {
	spec := cfg.Server
	opts := httpapi.Options{MaxBody: int64(spec.MaxBody), MaxUpload: int64(spec.MaxUpload), MaxRunning: spec.MaxRunning, PerSecond: spec.PerSecond, MaxStreams: int64(spec.MaxStreams)}
	if spec.Tokens != "" {
		tokens, err := httpapi.LoadTokens(spec.Tokens)
		if err != nil {
			return opts, err
		}
		opts.Authenticators = append(opts.Authenticators, tokens)
	}
	if o := spec.OIDC; o != nil {
		provider, err := httpapi.NewOIDC(ctx, httpapi.OIDCOptions{Issuer: o.Issuer, Audience: o.Audience, Tenant: o.Tenant, Principal: o.Principal})
		if err != nil {
			return opts, kernel.At(err, spec.Where)
		}
		opts.Authenticators = append(opts.Authenticators, provider)
	}
	return opts, nil
}

// Serve answers on a listener until ctx ends; then it drains. Without tokens and without an issuer, whoever reaches it is the configuration's
// principal: the listener has to be this machine's alone.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if err := s.guard(l); err != nil {
		return errors.Join(err, l.Close())
	}
	if err := s.begin(); err != nil {
		return errors.Join(err, l.Close())
	}
	err := s.api.Serve(ctx, l, cmp.Or(s.spec.Grace, defaultGrace))
	ending := context.WithoutCancel(ctx)
	s.leave(ending)
	return errors.Join(err, s.end(ending))
}

// begin has each host go on with what its last process has left, and with what events ask for.
func (s *Server) begin() error {
	s.beside.Go(s.watch)
	for name, h := range s.hosts {
		if h.Listens() {
			l, err := h.Listen(s.ctx, host.ListenOptions{})
			if err != nil {
				return err
			}
			s.lists = append(s.lists, l)
		}
		s.beside.Go(func() { s.recover(name, h) })
		s.beside.Go(func() {
			h.WatchGovernance(s.ctx, lookEvery, func(changed bool, err error) { s.told(name, "the policies", changed, err) })
		})
		s.beside.Go(func() {
			h.WatchWaits(s.ctx, expireEvery, host.RunOptions{}, func(r *host.Result, err error) {
				if err != nil {
					s.log.Error("a run that has waited long enough does not go on", "tenant", name, "error", err.Error())
				}
			})
		})
	}
	return nil
}

func (s *Server) told(tenant, what string, changed bool, err error) {
	switch {
	case err != nil:
		s.log.Error(what+" cannot be read again", "tenant", tenant, "error", err.Error())
	case changed:
		s.log.Info(what+" were read again", "tenant", tenant)
	}
}

// recover goes on with runs whose host has died, now and then.
func (s *Server) recover(name string, h *host.Host) {
	for {
		err := h.Recover(s.ctx, host.RunOptions{}, func(r *host.Recovered) {
			if r.Err != nil {
				s.log.Warn("a run cannot go on", "tenant", name, "run", r.RunID, "error", r.Err.Error())
				return
			}
			level := slog.LevelInfo
			if r.Result.Status == engine.Failed {
				level = slog.LevelWarn
			}
			s.log.Log(s.ctx, level, "a run whose host had died went on", "tenant", name, "run", r.RunID, "status", string(r.Result.Status))
		})
		if err != nil && s.ctx.Err() == nil {
			s.log.Error("runs that have lost their host are not known", "tenant", name, "error", err.Error())
		}
		select {
		case <-time.After(recoverEvery):
		case <-s.ctx.Done():
			return
		}
	}
}

// guard refuses a listener that others than this machine reach, where nothing says who they are.
func (s *Server) guard(l net.Listener) error {
	if s.spec.Tokens != "" || s.spec.OIDC != nil {
		return nil
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		return nil
	}
	return &kernel.Error{Code: kernel.CodeConfig, What: "the server cannot listen at " + kernel.Quote(l.Addr().String()), Where: s.spec.Where, Why: "other machines could call it, and nothing says who they are", Fix: "set server.tokens or server.oidc, or listen at 127.0.0.1"}
}

// leave has what runs that were recovered, or that events asked for, still do be for whoever goes on with them.
func (s *Server) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	for _, h := range s.hosts {
		h.Leave(ctx)
	}
}

// end stops what goes on beside requests.
func (s *Server) end(ctx context.Context) error {
	s.cancel()
	var problems []error
	for _, l := range s.lists {
		problems = append(problems, l.Close(ctx))
	}
	s.lists = nil
	s.beside.Wait()
	return errors.Join(problems...)
}

// Close closes the hosts.
func (s *Server) Close(ctx context.Context) (err error) {
	s.closed.Do(func() {
		err = s.end(ctx)
		if s.api != nil {
			s.api.Close()
		}
		s.reloading.Lock() // one that a client has asked for
		defer s.reloading.Unlock()
		err = errors.Join(err, closeAll(ctx, s.loaded))
		for _, h := range s.hosts {
			err = errors.Join(err, h.Close(ctx))
		}
	})
	return err
}
