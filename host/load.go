package host

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/pipeline/source"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/middleware"
	"github.com/hexdag/hexdag/host/ports/pool"
)

// Pipeline is a loaded pipeline. It may run any number of times at once. The
// caller closes it where it brings ports of its own and the host outlives it.
type Pipeline struct {
	*pipeline.Pipeline
	host    *Host
	plan    *engine.Plan
	process string // of a system, that it is
	system  string // the file of that
	env     string // the environment that it was loaded for
	closers *closers
}

// LoadOptions says how to read a file. The zero value is usable.
type LoadOptions struct {
	// Environment picks the pipeline of that metadata.namespace; "" takes the first.
	Environment string
}

// Validate reads and checks a pipeline file without a host: its form and its
// graph, not whether its modules and ports exist. It may read every variable of
// this process's environment.
func Validate(file string, opts LoadOptions) (*pipeline.File, error) {
	return pipeline.Read(file, pipeline.Options{Environment: opts.Environment, Env: os.LookupEnv})
}

// Load reads and checks a pipeline file against the host's modules and ports.
func (h *Host) Load(ctx context.Context, file string, opts LoadOptions) (*Pipeline, error) {
	f, err := h.files.Read(file, h.reading(opts))
	if err != nil {
		return nil, err
	}
	if f.Pipeline == nil {
		return nil, &kernel.Error{Code: kernel.CodePipeline, What: "the file holds a system, not a pipeline", Where: kernel.Where{File: file}, Fix: "load it with LoadSystem"}
	}
	return h.prepare(ctx, f.Pipeline, opts.Environment)
}

// reading lets a file read what the operator allows of the environment.
func (h *Host) reading(opts LoadOptions) pipeline.Options {
	return pipeline.Options{Environment: opts.Environment, Env: h.env}
}

// env answers for an environment variable that a pipeline may read.
func (h *Host) env(name string) (string, bool) {
	if !slices.ContainsFunc(h.config.Env, func(pattern string) bool { return abi.Match(pattern, name) }) {
		return "", false
	}
	return os.LookupEnv(name)
}

// prepare opens what a pipeline brings and looks up all that its nodes need.
func (h *Host) prepare(ctx context.Context, p *pipeline.Pipeline, env string) (_ *Pipeline, err error) {
	loaded := &Pipeline{Pipeline: p, host: h, env: env, closers: &closers{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, loaded.closers.close(ctx))
		}
	}()
	o := opening{host: h, ctx: ctx, closers: loaded.closers, file: p.File}
	doors := engine.Doors{Pipeline: h.door}
	if !h.opts.recorded { // else whatever it brings is not there
		doors, err = o.doors(p)
	}
	if err != nil {
		return nil, err
	}
	nodeHooks, portHooks, err := h.hooks(p.Hooks)
	if err != nil {
		return nil, err
	}
	if len(portHooks) > 0 {
		doors.Pipeline = doors.Pipeline.WithHooks(portHooks...)
		for kind, d := range doors.Kinds {
			doors.Kinds[kind] = d.WithHooks(portHooks...)
		}
		for name, d := range doors.Nodes {
			doors.Nodes[name] = d.WithHooks(portHooks...)
		}
	}
	if loaded.plan, err = h.engine.Plan(p, doors, nodeHooks); err != nil {
		return nil, err
	}
	return loaded, nil
}

// Close closes the ports that the pipeline brought. No run of it may be under way.
func (p *Pipeline) Close(ctx context.Context) error { return p.closers.close(ctx) }

// opening opens ports for the host, or for one pipeline.
type opening struct {
	host    *Host
	ctx     context.Context
	closers *closers
	file    string // where they are named
	// own says that they are a pipeline's: secrets in their configurations come
	// from what the operator lets it read.
	own bool
	// within says that it is an adapter inside of another, which is the port.
	within bool
	where  kernel.Where // of the adapter that is opened
}

// doors opens the ports of a pipeline, of its node kinds and of its nodes. A
// node's win over its kind's, and these over the pipeline's.
func (o opening) doors(p *pipeline.Pipeline) (engine.Doors, error) {
	o.own = true
	var problems []error
	derive := func(from *ports.Door, specs map[string]pipeline.PortSpec) *ports.Door {
		ops, err := o.ports(specs)
		problems = append(problems, err)
		return from.With(ops...)
	}
	doors := engine.Doors{Pipeline: o.host.door, Kinds: map[string]*ports.Door{}, Nodes: map[string]*ports.Door{}}
	if len(p.Ports) > 0 {
		doors.Pipeline = derive(doors.Pipeline, p.Ports)
	}
	states, err := o.states(p.Machines)
	problems = append(problems, err)
	if len(states) > 0 {
		doors.Pipeline = doors.Pipeline.With(states...)
	}
	for _, kind := range slices.Sorted(maps.Keys(p.TypePorts)) {
		doors.Kinds[kind] = derive(doors.Pipeline, p.TypePorts[kind])
	}
	for _, name := range slices.Sorted(maps.Keys(p.NodePorts)) {
		from := doors.Pipeline
		if d := doors.Kinds[p.Node(name).Kind]; d != nil {
			from = d
		}
		doors.Nodes[name] = derive(from, p.NodePorts[name])
	}
	return doors, errors.Join(problems...)
}

// ports opens ports and returns their operations.
func (o opening) ports(specs map[string]pipeline.PortSpec) ([]ports.Op, error) {
	var ops []ports.Op
	problems := []error{checkEgress(specs, !o.own), checkLock(specs, !o.own), checkBus(specs, !o.own)}
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		offered, err := o.port(pipeline.PortName(name), specs[name])
		problems = append(problems, place(err, specs[name].Where))
		ops = append(ops, offered...)
	}
	return ops, errors.Join(problems...)
}

// port opens one port: an adapter or a pool of them, inside its middleware.
func (o opening) port(name string, spec pipeline.PortSpec) ([]ports.Op, error) {
	var stack []middleware.Middleware
	var problems []error
	for _, m := range spec.Middleware {
		layer, err := middleware.New(m.Name, m.Params)
		problems = append(problems, place(err, m.Where))
		stack = append(stack, layer)
	}
	ops, err := o.adapterOrPool(name, spec)
	problems = append(problems, err)
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return labelled(middleware.Wrap(ops, stack), name, &spec), nil
}

func (o opening) adapterOrPool(name string, spec pipeline.PortSpec) ([]ports.Op, error) {
	if len(spec.Pool) == 0 {
		return o.adapter(name, spec)
	}
	members := make([][]ports.Op, len(spec.Pool))
	var problems []error
	for i, member := range spec.Pool {
		ops, err := o.adapter(name, member)
		problems = append(problems, place(err, member.Where))
		members[i] = ops
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return pool.New(spec.Strategy, members...)
}

func (o opening) adapter(name string, spec pipeline.PortSpec) ([]ports.Op, error) {
	open, err := adapterOf(name, spec)
	if err != nil {
		return nil, err
	}
	o.where = spec.Where
	config, err := o.secrets(spec.Config)
	if err != nil {
		return nil, err
	}
	return open(o, config, filepath.Dir(o.file))
}

// secrets puts environment variables in place of ${NAME_API_KEY} and the like in
// an adapter's configuration.
func (o opening) secrets(config map[string]any) (map[string]any, error) {
	env := os.LookupEnv
	if o.own {
		env = o.host.env
	}
	resolved, missing := resolveSecrets(config, env)
	if missing != "" {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the environment variable " + missing + " is not set, or not for this file to read", Fix: "set it, and, where there is a configuration, list it there under env"}
	}
	fields, _ := resolved.(map[string]any)
	if fields == nil {
		fields = map[string]any{}
	}
	return fields, nil
}

func resolveSecrets(v any, env source.Env) (resolved any, missing string) {
	note := func(name string) {
		if missing == "" {
			missing = name
		}
	}
	switch v := v.(type) {
	case string:
		return source.Secrets(v, env)
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			var m string
			list[i], m = resolveSecrets(item, env)
			note(m)
		}
		return list, missing
	case map[string]any:
		fields := make(map[string]any, len(v))
		for name, item := range v {
			var m string
			fields[name], m = resolveSecrets(item, env)
			note(m)
		}
		return fields, missing
	}
	return v, ""
}

// hooks makes the hooks that a configuration or a pipeline names.
func (h *Host) hooks(specs []pipeline.HookSpec) (nodes []engine.NodeHook, atPorts []ports.Registration, err error) {
	var problems []error
	for _, spec := range specs {
		m, ok := h.byName[spec.Module]
		if !ok {
			problems = append(problems, &kernel.Error{Code: kernel.CodeModuleNotFound, What: "there is no module " + kernel.Quote(spec.Module), Where: spec.Where, Fix: kernel.DidYouMean(spec.Module, slices.Collect(maps.Keys(h.byName)))})
			continue
		}
		if !spec.OnPorts() {
			hook, err := m.NodeHook()
			problems = append(problems, place(err, spec.Where))
			nodes = append(nodes, engine.NodeHook{Name: spec.Module, Nodes: spec.Nodes, Kinds: spec.Kinds, Open: spec.Open, Hook: hook})
			continue
		}
		hook, err := m.PortHook()
		problems = append(problems, place(err, spec.Where))
		patterns := slices.Clone(spec.Ops)
		for _, port := range spec.Ports {
			patterns = append(patterns, pipeline.PortName(port)+".*")
		}
		atPorts = append(atPorts, ports.Registration{Name: spec.Module, Match: ports.MatchOps(patterns), Open: spec.Open, Hook: hook})
	}
	return nodes, atPorts, errors.Join(problems...)
}

// closers are what is to be closed, in the order of opening.
type closers struct{ list []func(context.Context) error }

func (c *closers) add(f func(context.Context) error) { c.list = append(c.list, f) }

func (c *closers) close(ctx context.Context) error {
	var problems []error
	for _, f := range slices.Backward(c.list) {
		problems = append(problems, f(ctx))
	}
	c.list = nil
	return errors.Join(problems...)
}
