package host

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/middleware"
	"github.com/hexdag/hexdag/host/toolpins"
)

// ToolPins are the definitions of tools that were seen first, or approved since.
type ToolPins = toolpins.Store

// OpenToolPins opens the pins of a configuration's host, whether or not it runs.
func OpenToolPins(cfg *Config) *ToolPins {
	return toolpins.New(filepath.Join(stateOf(cfg), "tools.json"))
}

// Config returns what the host was opened with.
func (h *Host) Config() *Config { return h.config }

// ToolPipeline returns the pipeline, of the name module.tool, that calls a tool of a module and outputs its result. It is kept as a
// file in the host's state, so that a run that waits goes on whichever process resumes it. The caller closes it.
func (h *Host) ToolPipeline(ctx context.Context, module, tool string) (*Pipeline, error) {
	name := module + "." + tool
	file := filepath.Join(h.state, "tools", url.PathEscape(name)+".yaml")
	text := fmt.Sprintf(`apiVersion: hexdag/v1
kind: Pipeline
metadata: {name: %s}
spec:
  nodes:
    - {kind: tool_call_node, metadata: {name: tool}, dependencies: [], spec: {tool: %s}}
  output: {result: tool}
`, strconv.Quote(name), strconv.Quote(module+":"+tool))
	if was, err := os.ReadFile(file); err != nil || string(was) != text {
		if err := replaceFile(file, []byte(text)); err != nil {
			return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the pipeline of tool " + kernel.Quote(name) + " cannot be kept", Where: kernel.Where{File: file}, Why: err.Error(), Fix: "make room in the host's state folder", Err: err}
		}
	}
	return h.Load(ctx, file, LoadOptions{})
}

// MayCall reports whether governance lets a principal do something at least once a person has approved it: what a tool that is offered
// is for. Nothing is recorded, as nothing is done.
func (h *Host) MayCall(ctx context.Context, principal, action string, resource kernel.Resource) (bool, error) {
	allowed, err := h.governing.port.ListPermissions(ctx, &governance.Query{
		Subject: kernel.Subject{Type: "user", ID: orElse(principal, h.principal()), Tenant: h.tenant()},
		Actions: []string{action}, Resources: []kernel.Resource{resource}, Each: true,
	})
	if err != nil {
		return false, err
	}
	return len(allowed.List) > 0, nil
}

// Hints are what can come of calling a tool, by what its module was granted, whatever it says of itself.
type Hints struct {
	ReadOnly    bool // it changes nothing
	Destructive bool // it may take away, or put something else in its place
	Idempotent  bool // doing it twice is doing it once
	OpenWorld   bool // it reaches what is not the host's own
}

// harmless is what a module can do that was granted nothing.
func harmless() Hints { return Hints{ReadOnly: true, Idempotent: true} }

// anything is what can come of something that nobody knows.
func anything() Hints { return Hints{Destructive: true, OpenWorld: true} }

func (h Hints) join(other Hints) Hints {
	return Hints{ReadOnly: h.ReadOnly && other.ReadOnly, Destructive: h.Destructive || other.Destructive, Idempotent: h.Idempotent && other.Idempotent, OpenWorld: h.OpenWorld || other.OpenWorld}
}

// ModuleHints returns what can come of calling a tool of a module.
func (h *Host) ModuleHints(module string) Hints {
	for _, spec := range h.config.Modules {
		if spec.Name == module {
			return hintsOfGrants(spec.Grants)
		}
	}
	return anything()
}

func hintsOfGrants(grants []abi.Capability) Hints {
	hints := harmless()
	for _, g := range grants {
		hints = hints.join(hintsOf(g.Op))
	}
	return hints
}

// hintsOf is what can come of an operation, with whatever arguments.
func hintsOf(op string) Hints {
	if op == abi.OpClock || op == abi.OpRandom {
		return harmless()
	}
	port, method, _ := strings.Cut(op, ".")
	own := []string{"artifacts", "memory", "pipeline_memory", "database", "file_storage", "vector_search", "lock", "metrics", "entity_state", "governance", "eventbus"}
	h := Hints{OpenWorld: !slices.Contains(own, port)}
	asks := !ports.MayChange(op) && method != "request" // which can be a POST
	h.ReadOnly, h.Idempotent = asks, asks || middleware.EffectOf(op, nil) != middleware.Once && method != "request"
	if port == "metrics" { // the run's own
		h.ReadOnly, h.Idempotent = true, true
	}
	adds := []string{"artifacts.store", "artifacts.create", "artifacts.write", "artifacts.close", "database.insert", "eventbus.publish", "eventbus.subscribe", "governance.audit"}
	h.Destructive = !h.ReadOnly && port != "lock" && !slices.Contains(adds, op)
	return h
}

// Hints returns what can come of running the pipeline: of what its nodes do, and of what their modules were granted.
func (p *Pipeline) Hints() Hints {
	plan := Explain(p.Pipeline, p.host.config)
	hints := harmless()
	for _, op := range plan.Operations {
		hints = hints.join(hintsOf(op.Name))
	}
	for _, m := range plan.Modules {
		hints = hints.join(p.host.ModuleHints(m.Name))
	}
	return hints
}

// pipelineEndings are how the files of a folder are called that may hold pipelines.
var pipelineEndings = []string{".yaml", ".yml"}

// LoadAll loads the pipelines of files and folders; of a folder, those files that hold one, sorted. The caller closes them.
func (h *Host) LoadAll(ctx context.Context, paths []string) (all []*Pipeline, err error) {
	defer func() {
		if err != nil {
			for _, p := range all {
				err = errors.Join(err, p.Close(ctx))
			}
			all = nil
		}
	}()
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return all, &kernel.Error{Code: kernel.CodeInput, What: "there are no pipelines at " + kernel.Quote(path), Why: err.Error(), Fix: "name a file or a folder", Err: err}
		}
		if !info.IsDir() {
			p, err := h.Load(ctx, path, LoadOptions{})
			if err != nil {
				return all, err
			}
			all = append(all, p)
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			return all, &kernel.Error{Code: kernel.CodeInput, What: "the folder " + kernel.Quote(path) + " cannot be read", Why: err.Error(), Fix: "name a folder that you may read", Err: err}
		}
		for _, e := range entries {
			file := filepath.Join(path, e.Name())
			if e.IsDir() || !slices.Contains(pipelineEndings, filepath.Ext(file)) {
				continue
			}
			if f, err := h.files.Read(file, h.reading(LoadOptions{})); err == nil && f.Pipeline == nil || err != nil && isConfig(file) {
				continue // a system, or a configuration
			}
			p, err := h.Load(ctx, file, LoadOptions{})
			if err != nil {
				return all, err
			}
			all = append(all, p)
		}
	}
	return all, nil
}

// isConfig reports whether a file is an operator's configuration, which lies beside pipelines.
func isConfig(file string) bool {
	_, err := pipeline.LoadConfig(file)
	return err == nil
}
