package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/server/httpapi"
)

// Reload reads the configuration again, and what it names: who may call, pipelines, modules and policies. Runs that are under way keep
// the pipelines and modules that they began with; what they ask governance from then on, the new policies decide. What cannot be used is refused, and what there was goes on; what only a new process takes up is refused as a whole, and the
// error names it. Both are on record in each tenant's audit log.
func (s *Server) Reload(ctx context.Context) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	_, err := s.reloaded(ctx, httpapi.Identity{})
	return err
}

// reloadFor is Reload for a tenant's member, who is told what is new for that tenant. While one goes on that a client has asked for
// it is refused: a flood of requests makes no queue.
func (s *Server) reloadFor(ctx context.Context, who httpapi.Identity) (*httpapi.Reloaded, error) {
	if !s.asked.CompareAndSwap(false, true) {
		return nil, &kernel.Error{Code: kernel.CodeLimit, What: "the configuration is being read again already", Fix: "ask again: what has changed since it began is not taken up for certain", RetryAfter: time.Second}
	}
	defer s.asked.Store(false)
	s.reloading.Lock()
	defer s.reloading.Unlock()
	if s.ctx.Err() != nil {
		return nil, &kernel.Error{Code: kernel.CodeUnavailable, What: "the server ends", Fix: "the next one reads what there is then", RetryAfter: time.Second}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // a client that goes away leaves no half of it
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	of, err := s.reloaded(ctx, who)
	if err != nil {
		return nil, err
	}
	return of[who.Tenant], nil
}

// reloaded reloads, and puts on record that who asked for it did, in that tenant's log alone. It is called with the lock.
func (s *Server) reloaded(ctx context.Context, who httpapi.Identity) (map[string]*httpapi.Reloaded, error) {
	of, err := s.reload(ctx)
	var unrecorded []error
	for name, h := range s.hosts {
		by := ""
		if name == who.Tenant {
			by = who.Principal
		}
		unrecorded = append(unrecorded, h.ConfigurationRead(ctx, by, err))
	}
	return of, errors.Join(err, errors.Join(unrecorded...))
}

// reload returns what is new, by tenant.
func (s *Server) reload(ctx context.Context) (map[string]*httpapi.Reloaded, error) {
	cfg, err := host.LoadConfig(s.cfg.File)
	if err != nil {
		return nil, err
	}
	if s.cfg.Telemetry != nil {
		host.TelemetryOfEnvironment(cfg) // as it may have been then
	}
	if fixed := s.cfg.Differs(cfg); len(fixed) > 0 {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the configuration cannot change so while the server runs", Where: kernel.Where{File: cfg.File}, Why: "it differs in " + strings.Join(fixed, ", "),
			Fix: "start the server anew: SIGTERM loses no run; or change but its tokens, oidc, pipelines, and what is in the files of modules and policies"}
	}
	opts, err := s.access(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if len(opts.Authenticators) == 0 != s.local {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "whether it is known who calls cannot change while the server runs", Where: cfg.Server.Where, Fix: "start the server anew"}
	}
	of := map[string]*httpapi.Reloaded{}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(s.hosts)) { // modules first: a pipeline may need what a new one serves
		news, err := reloadHost(ctx, s.hosts[name])
		of[name] = news
		problems = append(problems, err)
	}
	if err := errors.Join(problems...); err != nil { // those that could be used are
		return nil, err
	}
	loaded := map[string][]*host.Pipeline{}
	for name, h := range s.hosts {
		if loaded[name], err = h.LoadAll(ctx, cfg.Server.Pipelines); err != nil {
			return nil, errors.Join(err, closeAll(ctx, loaded))
		}
		of[name].Pipelines = changed(s.loaded[name], loaded[name])
	}
	s.api.Admit(opts.Authenticators)
	for name, pipelines := range loaded {
		s.api.Replace(name, pipelines)
	}
	s.loaded, s.cfg = loaded, cfg
	return of, nil
}

// reloadHost has a host read its modules' files and its policies again.
func reloadHost(ctx context.Context, h *host.Host) (*httpapi.Reloaded, error) {
	of := &httpapi.Reloaded{Modules: []string{}}
	var problems []error
	for _, m := range h.Modules() {
		changed, err := h.ReloadModule(ctx, m.Name())
		problems = append(problems, err)
		if changed {
			of.Modules = append(of.Modules, m.Name())
		}
	}
	slices.Sort(of.Modules)
	changed, err := h.ReloadGovernance(ctx)
	of.Policies = changed
	return of, errors.Join(append(problems, err)...)
}

// changed returns the names of pipelines that are new, gone, or of another version.
func changed(was, are []*host.Pipeline) []string {
	versions := map[string]string{}
	for _, p := range was {
		versions[p.Name] = p.Version
	}
	names := []string{}
	for _, p := range are {
		if versions[p.Name] != p.Version {
			names = append(names, p.Name)
		}
		delete(versions, p.Name)
	}
	names = slices.AppendSeq(names, maps.Keys(versions))
	slices.Sort(names)
	return names
}

func closeAll(ctx context.Context, loaded map[string][]*host.Pipeline) error {
	var problems []error
	for _, pipelines := range loaded {
		for _, p := range pipelines {
			problems = append(problems, p.Close(ctx))
		}
	}
	return errors.Join(problems...)
}

// watch reloads when one of the files has changed and none does any more, and when it is told to.
func (s *Server) watch() {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	loaded := s.opened
	last := loaded
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.again:
			loaded = s.stamp()
		case <-ticker.C:
			now := s.stamp()
			settled := now == last
			if last = now; !settled || now == loaded { // while it is being written it is looked at again
				continue
			}
			loaded = now
		}
		if err := s.Reload(s.ctx); err != nil {
			s.log.Error("the configuration was not read again", "error", err.Error())
		} else {
			s.log.Info("the configuration was read again")
		}
	}
}

// stamp tells the files of the configuration, and what it loaded, apart by their names, sizes and times. Those of policies are their hosts' to watch.
func (s *Server) stamp() string {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	return s.stampOf(s.loaded)
}

func (s *Server) stampOf(loaded map[string][]*host.Pipeline) string {
	files := []string{s.cfg.File, s.cfg.Server.Tokens}
	for _, m := range s.cfg.Modules {
		files = append(files, m.Path)
	}
	for _, path := range s.cfg.Server.Pipelines {
		files = append(files, path)
		if entries, err := os.ReadDir(path); err == nil {
			for _, e := range entries {
				files = append(files, filepath.Join(path, e.Name()))
			}
		}
	}
	for _, pipelines := range loaded {
		for _, p := range pipelines {
			files = slices.AppendSeq(files, maps.Keys(p.Sources))
		}
	}
	slices.Sort(files)
	var b strings.Builder
	for _, file := range slices.Compact(files) {
		if file == "" {
			continue
		}
		info, err := os.Stat(file)
		if err != nil {
			fmt.Fprintf(&b, "%q %v\n", file, err)
			continue
		}
		fmt.Fprintf(&b, "%q %d %d\n", file, info.Size(), info.ModTime().UnixNano())
	}
	return b.String()
}
