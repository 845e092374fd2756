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
)

// Reload reads the configuration again, and what it names: who may call, pipelines, modules and policies. Runs that are under way keep what
// they began with. What cannot be used is refused, and what there was goes on; what only a new process takes up is refused as a whole, and the
// error names it. Both are on record in each tenant's audit log.
func (s *Server) Reload(ctx context.Context) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	err := s.reload(ctx)
	for _, h := range s.hosts {
		err = errors.Join(err, h.ConfigurationRead(ctx, err))
	}
	return err
}

func (s *Server) reload(ctx context.Context) error {
	cfg, err := host.LoadConfig(s.cfg.File)
	if err != nil {
		return err
	}
	if s.cfg.Telemetry != nil {
		host.TelemetryOfEnvironment(cfg) // as it may have been then
	}
	if fixed := s.cfg.Differs(cfg); len(fixed) > 0 {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the configuration cannot change so while the server runs", Where: kernel.Where{File: cfg.File}, Why: "it differs in " + strings.Join(fixed, ", "),
			Fix: "start the server anew: SIGTERM loses no run; or change but its tokens, oidc, pipelines, and what is in the files of modules and policies"}
	}
	opts, err := s.access(ctx, cfg)
	if err != nil {
		return err
	}
	if len(opts.Authenticators) == 0 != s.local {
		return &kernel.Error{Code: kernel.CodeConfig, What: "whether it is known who calls cannot change while the server runs", Where: cfg.Server.Where, Fix: "start the server anew"}
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(s.hosts)) { // modules first: a pipeline may need what a new one serves
		for _, m := range s.hosts[name].Modules() {
			_, err := s.hosts[name].ReloadModule(ctx, m.Name())
			problems = append(problems, err)
		}
		_, err := s.hosts[name].ReloadGovernance(ctx)
		problems = append(problems, err)
	}
	if err := errors.Join(problems...); err != nil { // those that could be used are
		return err
	}
	loaded := map[string][]*host.Pipeline{}
	for name, h := range s.hosts {
		if loaded[name], err = h.LoadAll(ctx, cfg.Server.Pipelines); err != nil {
			return errors.Join(err, closeAll(ctx, loaded))
		}
	}
	s.api.Admit(opts.Authenticators)
	for name, pipelines := range loaded {
		s.api.Replace(name, pipelines)
	}
	s.loaded, s.cfg = loaded, cfg
	return nil
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
