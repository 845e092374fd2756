package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/pipelinespawner"
	"github.com/hexdag/hexdag/host/lib/processregistry"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/tracing"
)

// spawnable are the pipelines that runs and schedules may start: those in a folder. They stay loaded, and are loaded anew where they have
// changed.
type spawnable struct {
	host   *Host
	folder string

	mu     sync.Mutex
	loaded map[string]*loaded // by file
}

// loaded is a pipeline with the runs of it that are under way.
type loaded struct {
	*Pipeline
	from *pipeline.Pipeline
	uses int
	old  bool // there is a newer one
}

var extensions = []string{"", ".yaml", ".yml"}

// file finds a pipeline by its name, which is a path within the folder, with or without its ending.
func (s *spawnable) file(name string) (string, error) {
	refuse := func(code kernel.Code, why, fix string) (string, error) {
		return "", &kernel.Error{Code: code, What: "there is no pipeline " + kernel.Quote(name) + " to start", Why: why, Fix: fix}
	}
	if s.folder == "" {
		return refuse(kernel.CodeUnavailable, "the operator has named no folder of pipelines", "have the operator set spec.libraries.pipelines in the configuration")
	}
	if len(name) > 256 || !filepath.IsLocal(name) || strings.Contains(name, `\`) {
		return refuse(kernel.CodeArguments, "it is no path within the folder of pipelines", "name one of "+s.names())
	}
	root, err := os.OpenRoot(s.folder)
	if err != nil {
		return refuse(kernel.CodeUnavailable, "the folder of pipelines cannot be opened", "have the operator correct spec.libraries.pipelines")
	}
	defer root.Close()
	for _, ending := range extensions {
		info, err := root.Stat(name + ending)
		switch {
		case err == nil && info.Mode().IsRegular():
			return filepath.Join(s.folder, name+ending), nil
		case err != nil && !errors.Is(err, fs.ErrNotExist): // a link that leads out, for one
			return refuse(kernel.CodeArguments, "it is no file within the folder of pipelines", "name one of "+s.names())
		}
	}
	return refuse(kernel.CodeNotFound, "the folder of pipelines has no such file", "name one of "+s.names())
}

// names are those of the pipelines, for a message.
func (s *spawnable) names() string {
	const most = 20
	entries, _ := os.ReadDir(s.folder)
	var names []string
	for _, e := range entries {
		if name := e.Name(); !e.IsDir() && slices.Contains(extensions[1:], filepath.Ext(name)) {
			names = append(names, kernel.Quote(strings.TrimSuffix(name, filepath.Ext(name))))
		}
	}
	switch {
	case len(names) == 0:
		return "those in the folder: there are none"
	case len(names) > most:
		names = append(names[:most], "and others")
	}
	return strings.Join(names, ", ")
}

// use returns a loaded pipeline, which the caller gives back with done.
func (s *spawnable) use(ctx context.Context, name string) (p *Pipeline, done func(), err error) {
	file, err := s.file(name)
	if err != nil {
		return nil, nil, err
	}
	f, err := s.host.files.Read(file, s.host.reading(LoadOptions{}))
	if err != nil {
		return nil, nil, err
	}
	if f.Pipeline == nil {
		return nil, nil, &kernel.Error{Code: kernel.CodePipeline, What: "the file holds a system, not a pipeline", Where: kernel.Where{File: file}, Fix: "start one of its pipelines"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.loaded[file]
	if known == nil || known.from != f.Pipeline {
		fresh, err := s.host.prepare(ctx, f.Pipeline, "")
		if err != nil {
			return nil, nil, err
		}
		if known != nil {
			known.old = true
			s.settle(known)
		}
		known = &loaded{Pipeline: fresh, from: f.Pipeline}
		s.loaded[file] = known
	}
	known.uses++
	return known.Pipeline, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		known.uses--
		s.settle(known)
	}, nil
}

// settle closes one that is old and of which no run is under way; the caller has locked.
func (s *spawnable) settle(l *loaded) {
	if !l.old || l.uses > 0 {
		return
	}
	if err := l.Close(context.Background()); err != nil {
		s.host.log.Warn("a pipeline that has changed cannot be closed", "file", l.File, "error", err.Error())
	}
}

func (s *spawnable) close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var problems []error
	for _, l := range s.loaded {
		problems = append(problems, l.Close(ctx))
	}
	s.loaded = map[string]*loaded{}
	return errors.Join(problems...)
}

// NewID implements pipelinespawner.Runner.
func (s *spawnable) NewID() string { return newRunID() }

// Unbegun implements pipelinespawner.Runner: a durable run that has begun has a journal.
func (s *spawnable) Unbegun(ctx context.Context, tenant, run string) (bool, error) {
	p, err := s.host.libraries.registry.Get(ctx, tenant, run)
	if err != nil {
		return false, err
	}
	if p.Status != processregistry.Running && p.Status != processregistry.Lost {
		return false, nil // its journal may be gone for its age
	}
	j, err := s.host.openJournals(ctx)
	if err != nil {
		return false, err
	}
	head, err := j.store.Get(ctx, tenant, run)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		return true, nil
	case err != nil || head.Entries > 0:
		return false, err
	case head.Status == driver.Running: // its host has died as it made the journal, or is making it
		if _, err := j.store.Claim(ctx, tenant, run, false); err != nil {
			var taken *driver.Taken
			if errors.As(err, &taken) {
				err = nil
			}
			return false, err
		}
	}
	return true, j.store.Delete(ctx, tenant, run)
}

// Check returns the error of a pipeline that cannot be started.
func (s *spawnable) Check(ctx context.Context, name string) error {
	_, done, err := s.use(ctx, name)
	if err == nil {
		done()
	}
	return err
}

// Prepare implements pipelinespawner.Runner.
func (s *spawnable) Prepare(ctx context.Context, name string) (pipelinespawner.Prepared, error) {
	p, done, err := s.use(ctx, name)
	if err != nil {
		return nil, err
	}
	return &prepared{p, done}, nil
}

// prepared is a pipeline that runs start, as it was when they asked for it.
type prepared struct {
	pipeline *Pipeline
	done     func()
}

// Release implements pipelinespawner.Prepared.
func (p *prepared) Release() { p.done() }

// Run implements pipelinespawner.Prepared.
func (p *prepared) Run(ctx context.Context, r *pipelinespawner.Request) *pipelinespawner.Outcome {
	opts := RunOptions{Principal: r.Parent.Principal, Labels: r.Parent.Labels, InputLabels: r.Labels, Parent: r.Parent, Begun: r.Began, spawned: r}
	if r.Parent.RunID == "" { // a schedule's
		opts.Parent = nil
	}
	if r.Within {
		opts.Recorder = Tell(parentObserver(r.Parent))
	}
	if h := p.pipeline.host; !r.Within && (r.Parent.Durable || h.opts.Durable) {
		opts.left = h.libraries.leaving.left
		defer h.libraries.leaving.began()()
	}
	input := r.Input
	if input == nil {
		input = map[string]any{}
	}
	result := p.pipeline.Run(tracing.Within(ctx, r.Parent.Trace), input, opts) // it may outlive what has started it
	return &pipelinespawner.Outcome{Status: processregistry.Status(result.Status), Output: valueOf(outputOf(result)), Labels: joinedNodes(result).Join(r.Labels), Err: result.Err}
}

func valueOf(fields map[string]kernel.Value) kernel.Value {
	if fields == nil {
		return map[string]any{}
	}
	return fields
}
