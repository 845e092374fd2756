package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/extension/policy/regoc"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/entitystate"
	"github.com/hexdag/hexdag/host/lib/pipelinememory"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/artifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/fileartifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/memartifacts"
	"github.com/hexdag/hexdag/host/ports/database"
	"github.com/hexdag/hexdag/host/ports/database/memdb"
	"github.com/hexdag/hexdag/host/ports/database/sqlitedb"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/governance/allowall"
	governancedriver "github.com/hexdag/hexdag/host/ports/governance/driver"
	"github.com/hexdag/hexdag/host/ports/governance/rego"
	"github.com/hexdag/hexdag/host/ports/llm"
	"github.com/hexdag/hexdag/host/ports/llm/mockllm"
	"github.com/hexdag/hexdag/host/ports/llm/openaillm"
	"github.com/hexdag/hexdag/host/ports/metrics"
)

// opener opens an adapter with its configuration, whose paths are resolved
// against dir, and returns the port's operations.
type opener func(o opening, config map[string]any, dir string) ([]ports.Op, error)

// adapters lists what can serve each port, by the adapter's names.
func adapters() map[string]map[string]opener {
	return map[string]map[string]opener{
		"llm": {
			"mock": openMock, "mock_llm": openMock, "llm:mock": openMock, "MockLLM": openMock,
			"openai": openOpenAI, "open_ai_adapter": openOpenAI, "llm:openai": openOpenAI, "OpenAIAdapter": openOpenAI,
		},
		"database":  {"sqlite": openSQLite, "memory": openMemoryDatabase},
		"artifacts": {"file": openFileArtifacts, "memory": openMemoryArtifacts},
		"memory": {
			"memory": openProcessMemory, "in_memory_memory": openProcessMemory, "InMemoryMemory": openProcessMemory,
			"sqlite": openSQLiteMemory, "sqlite_memory": openSQLiteMemory, "SQLiteMemory": openSQLiteMemory,
		},
		"http":     {"http": openHTTP},
		"api_call": {"http": openHTTP},
	}
}

// openDoor opens governance, then the ports that the configuration names, and
// the defaults of the rest.
func (h *Host) openDoor(ctx context.Context) error {
	specs := maps.Clone(h.config.Ports)
	if specs == nil {
		specs = map[string]pipeline.PortSpec{}
	}
	authorizer, err := h.openGovernance(ctx, specs["governance"])
	if err != nil {
		return err
	}
	delete(specs, "governance")
	if _, named := specs["artifacts"]; !named {
		specs["artifacts"] = pipeline.PortSpec{Adapter: "file"}
	}
	if _, named := specs["memory"]; !named {
		specs["memory"] = pipeline.PortSpec{Adapter: "memory"}
	}
	h.door = ports.NewDoor(authorizer, h.audit)
	ops, err := opening{host: h, ctx: ctx, closers: &h.closers, file: h.config.File}.ports(specs)
	if err != nil {
		return err
	}
	entities, err := entitystate.New(h.memory, nil, entitystate.Options{})
	if err != nil {
		return err
	}
	return errors.Join(h.door.Register(ops...), h.door.Register(authorizer.Ops()...), h.door.Register(metrics.Ops()...), h.door.Register(entities.Ops()...), h.door.Register(pipelinememory.Ops()...))
}

func adapterOf(port string, spec pipeline.PortSpec) (opener, error) {
	known, ok := adapters()[port]
	if !ok {
		fix := "known are " + strings.Join(slices.Sorted(maps.Keys(adapters())), ", ") + " and, for the operator alone, governance"
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "there is no port " + kernel.Quote(port), Fix: fix}
	}
	open, ok := known[spec.Adapter]
	if !ok {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: fmt.Sprintf("port %s has no adapter %s", port, kernel.Quote(spec.Adapter)), Fix: "known are " + strings.Join(slices.Sorted(maps.Keys(known)), ", ")}
	}
	return open, nil
}

// resolvePath makes a path in a configuration relative to the configuration's folder.
func resolvePath(config map[string]any, key, dir string) {
	if path, ok := config[key].(string); ok && path != "" && path != ":memory:" && !filepath.IsAbs(path) {
		config[key] = filepath.Join(dir, path)
	}
}

func openMock(o opening, config map[string]any, dir string) ([]ports.Op, error) {
	resolvePath(config, "rules_file", dir)
	if file, ok := config["rules_file"].(string); ok {
		rules, err := pipeline.ReadData(file)
		if err != nil {
			return nil, err
		}
		for name, v := range rules {
			config[name] = v
		}
	}
	d, err := mockllm.FromConfig(config)
	if err != nil {
		return nil, err
	}
	port := llm.New(d)
	o.closers.add(func(context.Context) error { return port.Close() })
	return port.Ops(), nil
}

func openOpenAI(o opening, config map[string]any, _ string) ([]ports.Op, error) {
	d, err := openaillm.FromConfig(config)
	if err != nil {
		return nil, err
	}
	port := llm.New(d)
	o.closers.add(func(context.Context) error { return port.Close() })
	return port.Ops(), nil
}

func openSQLite(o opening, config map[string]any, dir string) ([]ports.Op, error) {
	resolvePath(config, "path", dir)
	resolvePath(config, "seed", dir)
	d, err := sqlitedb.FromConfig(o.ctx, config)
	if err != nil {
		return nil, err
	}
	port := database.New(d)
	o.closers.add(func(context.Context) error { return port.Close() })
	return port.Ops(), nil
}

func openMemoryDatabase(o opening, config map[string]any, _ string) ([]ports.Op, error) {
	d, err := memdb.FromConfig(config)
	if err != nil {
		return nil, err
	}
	port := database.New(d)
	o.closers.add(func(context.Context) error { return port.Close() })
	return port.Ops(), nil
}

func openFileArtifacts(o opening, config map[string]any, dir string) ([]ports.Op, error) {
	resolvePath(config, "root", dir)
	root, _ := config["root"].(string)
	if root == "" {
		root = filepath.Join(o.host.state, "artifacts")
	}
	bucket, err := fileartifacts.OpenBucket(root)
	if err != nil {
		return nil, err
	}
	o.closers.add(func(context.Context) error { return bucket.Close() })
	o.host.storesIn("artifacts", root)
	return artifacts.New(bucket, artifacts.Options{}).Ops(), nil
}

func openMemoryArtifacts(opening, map[string]any, string) ([]ports.Op, error) {
	return artifacts.New(memartifacts.NewBucket(), artifacts.Options{}).Ops(), nil
}

// openGovernance opens who decides. It is the operator's alone: a pipeline
// cannot bring its own.
func (h *Host) openGovernance(ctx context.Context, spec pipeline.PortSpec) (*governance.Port, error) {
	var d governancedriver.Driver
	var err error
	switch spec.Adapter {
	case "", "allow_all":
		d = allowall.Driver{}
	case "rego":
		d, err = h.openRego(ctx, spec)
	default:
		err = &kernel.Error{Code: kernel.CodeConfig, What: "port governance has no adapter " + kernel.Quote(spec.Adapter), Fix: "known are allow_all and rego"}
	}
	if err != nil {
		return nil, place(err, spec.Where)
	}
	return governance.New(d, governance.Options{Auditor: h.audit}), nil
}

// regoConfig is the configuration of the adapter rego: folders of Rego, compiled
// here, or a file that 'hexdag policy build' wrote.
type regoConfig struct {
	Dirs       []string `json:"dirs"`
	File       string   `json:"file"`
	Entrypoint string   `json:"entrypoint"`
	// Key is a PEM file: with it, the file has to be a bundle that this key signed.
	Key string `json:"key"`
}

func (h *Host) openRego(ctx context.Context, spec pipeline.PortSpec) (governancedriver.Driver, error) {
	var c regoConfig
	if err := kernel.FromValue(spec.Config, &c); err != nil || (len(c.Dirs) > 0) == (c.File != "") || c.Key != "" && c.File == "" {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of rego cannot be used", Why: fmt.Sprint(err), Fix: "give dirs: [...], or file: policy.tar.gz and key: where it has to be signed, and entrypoint: where it is not " + rego.Entrypoint, Err: err}
	}
	dir := filepath.Dir(h.config.File)
	opts := policyOptions(policy.Options{Log: func(_ context.Context, line string) { h.log.Info(line, "policy", spec.Where.String()) }})
	cache, err := wazero.NewCompilationCacheWithDir(filepath.Join(h.cache, "policies"))
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the cache of compiled policies cannot be opened", Why: err.Error(), Fix: "set HOME to a folder that you own", Err: err}
	}
	h.closers.add(cache.Close)
	opts.Cache = cache
	p, err := loadPolicy(ctx, c, dir, opts)
	if err != nil {
		return nil, err
	}
	h.closers.add(func(context.Context) error { return p.Close() })
	return rego.New(p, c.Entrypoint)
}

func loadPolicy(ctx context.Context, c regoConfig, dir string, opts policy.Options) (*policy.Policy, error) {
	under := func(path string) string {
		if filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(dir, path)
	}
	if c.Key != "" {
		f, err := readSigned(under(c.File), under(c.Key))
		if err != nil {
			return nil, err
		}
		opts.Name, opts.Data = under(c.File), f.Data
		return policy.Load(ctx, f.Wasm, opts)
	}
	if c.File != "" {
		return policy.LoadFile(ctx, under(c.File), opts)
	}
	dirs := make([]string, len(c.Dirs))
	for i, d := range c.Dirs {
		dirs[i] = under(d)
	}
	built, err := regoc.Build(ctx, regoc.Source{Dirs: dirs}, regoc.Options{})
	if err != nil {
		return nil, err
	}
	opts.Name, opts.Data = strings.Join(c.Dirs, ", "), built.Data
	return policy.Load(ctx, built.Wasm, opts)
}

// memoryOps are the ports of a module that is called by itself.
func memoryOps() []ports.Op {
	ops := metrics.Ops()
	ops = append(ops, artifacts.New(memartifacts.NewBucket(), artifacts.Options{}).Ops()...)
	if model, err := mockllm.New(mockllm.Config{}); err == nil {
		ops = append(ops, llm.New(model).Ops()...)
	}
	if db, err := memdb.New(memdb.Config{}); err == nil {
		ops = append(ops, database.New(db).Ops()...)
	}
	return append(ops, emptyOps()...)
}
