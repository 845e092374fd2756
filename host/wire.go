package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/entitystate"
	"github.com/hexdag/hexdag/host/lib/pipelinememory"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/artifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/memartifacts"
	"github.com/hexdag/hexdag/host/ports/clientport"
	"github.com/hexdag/hexdag/host/ports/database"
	"github.com/hexdag/hexdag/host/ports/database/memdb"
	"github.com/hexdag/hexdag/host/ports/database/sqlitedb"
	"github.com/hexdag/hexdag/host/ports/llm"
	"github.com/hexdag/hexdag/host/ports/llm/mockllm"
	"github.com/hexdag/hexdag/host/ports/metrics"
	"github.com/hexdag/hexdag/host/ports/middleware"
)

// opener opens an adapter with its configuration, whose paths are resolved
// against dir, and returns the port's operations.
type opener func(o opening, config map[string]any, dir string) ([]ports.Op, error)

// adapters lists what can serve each port, by the adapter's names.
func adapters() map[string]map[string]opener {
	locks := map[string]opener{}
	for name := range lockStores() {
		locks[name] = lockAdapter(name)
	}
	return map[string]map[string]opener{
		"lock": locks,
		"llm": {
			"mock": openMock, "mock_llm": openMock, "llm:mock": openMock, "MockLLM": openMock,
			"openai": openOpenAI, "open_ai_adapter": openOpenAI, "llm:openai": openOpenAI, "OpenAIAdapter": openOpenAI,
			"anthropic": openAnthropic, "anthropic_adapter": openAnthropic, "llm:anthropic": openAnthropic, "AnthropicAdapter": openAnthropic,
			"google": openGoogle, "gemini": openGoogle, "llm:google": openGoogle, "replay": openReplay,
		},
		"database":      {"sqlite": openSQLite, "postgres": openPostgres, "memory": openMemoryDatabase},
		"artifacts":     artifactAdapters(),
		"file_storage":  {"local": openLocalFiles, "blob": openBlobFiles},
		"vector_search": {"memory": openMemoryVectors, "hnsw": openGraphVectors, "pgvector": openPostgresVectors},
		"memory": {
			"memory": openProcessMemory, "in_memory_memory": openProcessMemory, "InMemoryMemory": openProcessMemory,
			"sqlite": openSQLiteMemory, "sqlite_memory": openSQLiteMemory, "SQLiteMemory": openSQLiteMemory,
			"redis": openRedisMemory,
		},
		"secret": {
			"env": openEnvSecrets, "age": openAgeSecrets, "vault": openVaultSecrets,
		},
		"eventbus": {"memory": openProcessBus, "nats": openNATSBus, "redis": openRedisBus, "kafka": openKafkaBus},
		"http":     {"http": openHTTP},
		"mcp":      {"servers": openMCP},
		"api_call": {"http": openHTTP},
	}
}

// defaults are the adapters of ports that no configuration has to name.
var defaults = map[string]string{"artifacts": "file", "memory": "memory", "file_storage": "local", "vector_search": "memory", "lock": "memory"}

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
	inGo, err := h.portsInGo(specs)
	if err != nil {
		return err
	}
	for port, adapter := range defaults {
		if _, named := specs[port]; !named && !inGo[port] {
			specs[port] = pipeline.PortSpec{Adapter: adapter}
		}
	}
	if _, named := specs["eventbus"]; !named && specs["event_bus"].Adapter == "" {
		specs["eventbus"] = pipeline.PortSpec{Adapter: "memory"}
	}
	h.governance = authorizer
	h.door = ports.NewDoor(authorizer, h.audit)
	h.door.TraceWith(h.tracer)
	if h.opts.recorded {
		return h.openRecorded()
	}
	h.door.ApproveWith(h.approvals)
	h.door.RepeatBy(func(op string, args map[string]any) bool {
		return keyed[op] || middleware.EffectOf(op, args) != middleware.Once
	})
	o := opening{host: h, ctx: ctx, closers: &h.closers, file: h.config.File}
	ops, err := o.ports(specs)
	if err != nil {
		return err
	}
	ops = append(ops, h.opts.Ports...)
	if h.opts.Memory != nil {
		ops = append(ops, o.keepMemory(h.opts.Memory, &memoryConfig{})...)
	}
	entities, err := entitystate.New(h.entityKeeper(), nil, entitystate.Options{Changed: h.entityChanged})
	if err != nil {
		return err
	}
	return errors.Join(h.door.Register(ops...), h.door.Register(authorizer.Ops()...), h.door.Register(metrics.Ops()...), h.door.Register(clientport.Ops(newRunID)...), h.door.Register(ports.OnBehalf(entityOps(entities))...), h.door.Register(pipelinememory.Ops()...), h.openLibraries())
}

// keyed are the operations that take the key of a call which may be done a second time for what they make: an event, a run, a
// schedule. The second is the first.
var keyed = map[string]bool{
	"eventbus.publish": true, "pipeline_spawner.spawn": true, "pipeline_spawner.spawn_many": true, "scheduler.schedule_once": true, "scheduler.schedule_recurring": true,
	"central_agent.start": true, "central_agent.submit": true,
}

// portsInGo returns the ports that the embedding program brings: no other has operations
// of them.
func (h *Host) portsInGo(specs map[string]pipeline.PortSpec) (map[string]bool, error) {
	inGo := map[string]bool{}
	for _, op := range h.opts.Ports {
		port := op.Port()
		if port == "memory" || slices.Contains(builtInPorts, port) {
			return nil, &kernel.Error{Code: kernel.CodeConfig, What: "Options.Ports cannot have " + kernel.Quote(op.Name), Why: "the host itself needs port " + kernel.Quote(port), Fix: "name another port; a memory is Options.Memory, governance is the configuration's"}
		}
		inGo[port] = true
	}
	if h.opts.Memory != nil {
		inGo["memory"] = true
	}
	for name, spec := range specs {
		if port := pipeline.PortName(name); inGo[port] {
			return nil, place(&kernel.Error{Code: kernel.CodeConfig, What: "port " + kernel.Quote(port) + " is there twice", Why: "the program that embeds the host brings it", Fix: "remove it from the configuration"}, spec.Where)
		}
	}
	return inGo, nil
}

func adapterOf(port string, spec pipeline.PortSpec) (opener, error) {
	if spec.Adapter == moduleAdapter {
		return func(o opening, config map[string]any, _ string) ([]ports.Op, error) {
			return o.openModule(port, config)
		}, nil
	}
	known, ok := adapters()[port]
	if !ok {
		fix := "known are " + strings.Join(slices.Sorted(maps.Keys(adapters())), ", ") + " and, for the operator alone, governance; a module that exports port_call is one of its own, with adapter: module"
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "there is no port " + kernel.Quote(port), Fix: fix}
	}
	open, ok := known[spec.Adapter]
	if !ok {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: fmt.Sprintf("port %s has no adapter %s", port, kernel.Quote(spec.Adapter)), Fix: "known are " + strings.Join(slices.Sorted(maps.Keys(known)), ", ") + ", and module where a module does the port's operations"}
	}
	return open, nil
}

// noPath refuses a port of a pipeline's own that would lie in the host's state.
func noPath(member string) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: "a port of a pipeline's own has no " + member, Why: "what the host keeps is not for a pipeline to open", Fix: "name a place below the pipeline's folder in " + member + ", or use the operator's port"}
}

// path makes a path in an adapter's configuration relative to the configuration's
// folder. A pipeline's own adapters reach files below its folder alone.
func (o opening) path(config map[string]any, key, dir string) error {
	path, ok := config[key].(string)
	if !ok || path == "" || path == ":memory:" {
		return nil
	}
	if !o.own {
		if !filepath.IsAbs(path) {
			config[key] = filepath.Join(dir, path)
		}
		return nil
	}
	refuse := func(why string) error {
		return &kernel.Error{Code: kernel.CodeConfig, What: key + ": " + kernel.Quote(path) + " is not for a pipeline to open", Why: why, Fix: "name a file below the pipeline's folder, or have the operator configure the port"}
	}
	if !filepath.IsLocal(path) {
		return refuse("it lies outside the pipeline's folder")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return refuse(err.Error())
	}
	defer root.Close()
	if _, err := root.Stat(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return refuse(err.Error()) // a link that leads out, for one
	}
	config[key] = filepath.Join(dir, path)
	return nil
}

// reach refuses a server of a pipeline's own adapter that the operator does not list: it
// would be a way out beside the http port.
func (o opening) reach(what, address string) error {
	if !o.own {
		return nil
	}
	host := ""
	if u, err := url.Parse(address); err == nil {
		host = u.Host
	}
	if slices.ContainsFunc(o.host.config.Endpoints, func(pattern string) bool { return abi.Match(pattern, host) }) {
		return nil
	}
	return &kernel.Error{Code: kernel.CodeConfig, What: "a pipeline may not send to " + what + " at " + kernel.Quote(host), Why: "the operator's endpoints do not list it", Fix: "have the operator add endpoints: [" + kernel.Quote(host) + "] to the configuration, or configure the port there"}
}

func openSQLite(o opening, config map[string]any, dir string) ([]ports.Op, error) {
	if err := errors.Join(o.path(config, "path", dir), o.path(config, "seed", dir)); err != nil {
		return nil, err
	}
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

// memoryOps are the ports of a module that is called by itself.
func memoryOps() []ports.Op {
	ops := append(metrics.Ops(), clientport.Ops(newRunID)...)
	ops = append(ops, artifacts.New(memartifacts.NewBucket(), artifacts.Options{}).Ops()...)
	if model, err := mockllm.New(mockllm.Config{}); err == nil {
		ops = append(ops, llm.New(model).Ops()...)
	}
	if db, err := memdb.New(memdb.Config{}); err == nil {
		ops = append(ops, database.New(db).Ops()...)
	}
	return append(ops, emptyOps()...)
}
