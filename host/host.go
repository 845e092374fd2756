// Package host is hexdag as a library: a Host has the modules, the ports and the
// audit log that an operator configured; it loads pipelines and runs them.
//
//	cfg, err := host.LoadConfig("hexdag.yaml")
//	h, err := host.New(ctx, cfg, host.Options{})
//	defer h.Close(ctx)
//	p, err := h.Load("pipeline.yaml")
//	result := p.Run(ctx, map[string]any{"id": "T-1"}, host.RunOptions{})
package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/executor"
	"github.com/hexdag/hexdag/host/extension"
	journaldriver "github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/artifacts"
	"github.com/hexdag/hexdag/host/ports/eventbus"
	"github.com/hexdag/hexdag/host/ports/governance/approvals"
	"github.com/hexdag/hexdag/host/ports/governance/auditlog"
	"github.com/hexdag/hexdag/host/ports/memory"
	"github.com/hexdag/hexdag/host/ports/memory/driver"
	"github.com/hexdag/hexdag/host/resultcache"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/tracing"
)

// ServerSpec is what a configuration says of 'hexdag serve'.
type ServerSpec = pipeline.ServerSpec

// Config is what an operator decides; see README, Configuration.
type Config = pipeline.Config

// LoadConfig reads an operator's configuration.
func LoadConfig(file string) (*Config, error) { return pipeline.LoadConfig(file) }

// Options are what an embedding program decides. The zero value is usable.
type Options struct {
	// Log takes what modules log; nil drops it.
	Log *slog.Logger
	// CacheDir keeps compiled modules; "" means hexdag in the user's cache folder.
	CacheDir string
	// KeyFile holds the key that signs the audit log; "" means hexdag/audit.key in
	// the user's configuration folder.
	KeyFile string
	// CompileWorker is the command that compiles modules in a process of its own: a
	// program that calls CompileWorker, with its arguments. Without it, modules are
	// compiled in this process, where only the static limits hold.
	CompileWorker []string
	// Functions are bodies of function nodes in Go, by the name that fn: gives them.
	Functions map[string]Function
	// NodeHooks and PortHooks are hooks in Go, outside those of the configuration;
	// the first is outermost.
	NodeHooks []NodeHook
	PortHooks []PortHook
	// Ports are operations of ports in Go, which may be ports of their own names or stand
	// for one of the host's; the configuration then names no such port.
	Ports []PortOp
	// Memory is a backend of the memory port in Go, in place of the configuration's. The
	// host closes it.
	Memory MemoryStore
	// Journal keeps the journals of durable runs, in place of the configuration's. The host closes it.
	Journal JournalStore
	// Durable keeps a journal of every run, those of triggers among them: an event that is delivered again because the host died
	// does not start a second one.
	Durable bool
	// TracerProvider makes the spans of runs, in place of the configuration's telemetry. Whoever brings it ends it.
	TracerProvider TracerProvider
	// Version names the program's own code: Functions, hooks, Ports and Memory. Answers of nodes
	// that it takes part in are kept (cache) for this process alone where it is "".
	Version string
	// State is the folder of what is this process's alone: its audit log, and the runs that wait here. "" means the
	// configuration's state. Whatever processes share is in the configuration's in either case.
	State string
	// RecordCases is a folder that gets the first call of every module at each
	// extension point as a case for 'hexdag module test'; "" records nothing.
	RecordCases string
	// Engine runs the modules: "wazero", "interpreter", or "wasmtime" in a program that
	// is built with cgo and the tag wasmtime; "" means wazero.
	Engine string

	recorded bool // the host has no ports: it does recorded runs again
}

// Function is the body of a node in Go.
type Function = engine.Function

// NodeHook is a hook around nodes, in Go.
type NodeHook = engine.NodeHook

// PortHook is a hook around calls of ports, in Go.
type PortHook = ports.Registration

// PortOp is an operation of a port, in Go.
type PortOp = ports.Op

// MemoryStore is a backend of the memory port, in Go; package memorytest holds it to its duties.
type MemoryStore = driver.Store

// JournalStore is a backend of the journal; package journaltest holds it to its duties.
type JournalStore = journaldriver.Store

// CompileWorker is what a program that Options.CompileWorker names does with its
// last argument and its standard input. It returns the exit code.
func CompileWorker(ctx context.Context, cacheDir string, in io.Reader, errOut io.Writer) int {
	return sandbox.CompileWorker(ctx, cacheDir, in, errOut)
}

// Host runs pipelines. It is safe for concurrent use.
type Host struct {
	config     *Config
	log        *slog.Logger
	cache      string
	state      string
	runtime    *sandbox.Runtime
	door       *ports.Door
	engine     *engine.Engine
	audit      *auditlog.Log
	governance kernel.Authorizer
	governing  *governing
	fuel       *kernel.Budget  // of the tenant; nil has no limit
	spending   kernel.Spending // of the tenant
	payers     sync.Map        // *kernel.Spending of the durable runs that are under way, by their ids
	left       context.Context // ends when runs are left to who goes on with them
	leave      context.CancelFunc
	tracer     *tracing.Tracer // nil makes no spans
	memory     *memory.Memory  // the operator's
	locks      *Locks
	artifacts  *artifacts.Store // the operator's; nil where the embedding program brings the port
	bus        *eventbus.Bus
	busConfig  busConfig
	shared     servers

	approvals *approvals.Store
	modules   []*extension.Module
	byName    map[string]*extension.Module
	served    []*modulePort // the operator's ports that are modules
	// toolServers are those of the mcp port, by their names.
	toolServers []string
	opts        Options
	files       pipeline.Cache
	executor    executor.Executor // nil: runs work in this process
	values      *executor.Values
	elsewhere   elsewhere

	journals  journals
	libraries libraries

	mu      sync.Mutex        // pipelines with ports of their own may be loaded at once
	stores  map[string]string // where ports keep what they keep, by port
	closers closers

	policies wazero.CompilationCache // nil until there is a policy in Rego
}

// New opens everything that the configuration names. The caller closes the host.
func New(ctx context.Context, cfg *Config, opts Options) (*Host, error) {
	h := &Host{config: cfg, log: opts.Log, cache: opts.CacheDir, opts: opts, stores: map[string]string{}, byName: map[string]*extension.Module{}}
	h.left, h.leave = context.WithCancel(context.WithoutCancel(ctx))
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if err := h.open(ctx, opts); err != nil {
		return nil, errors.Join(err, h.Close(ctx))
	}
	return h, nil
}

func (h *Host) open(ctx context.Context, opts Options) error {
	if err := h.openFolders(); err != nil {
		return err
	}
	log, err := auditlog.Open(h.AuditDir(), auditlog.Options{KeyFile: opts.KeyFile, SaltsFile: h.config.Audit.Salts})
	if err != nil {
		return err
	}
	h.audit = log
	if err := h.openTelemetry(ctx); err != nil {
		return errors.Join(err, log.Close())
	}
	if err := h.recoverSuspended(); err != nil { // the log's lock makes the state folder this process's
		return errors.Join(err, log.Close())
	}
	if h.approvals, err = h.openApprovals(ctx); err != nil {
		return errors.Join(err, log.Close())
	}
	h.closers.add(func(context.Context) error { return h.approvals.Close() })
	h.fuel = budget(h.config.TenantLimits.Fuel, nil)
	h.spending.Limits = kernel.Limits{Tokens: h.config.TenantLimits.Tokens, CostUSD: h.config.TenantLimits.CostUSD}
	h.closers.add(func(context.Context) error { return log.Close() })
	if h.runtime, err = sandbox.New(ctx, sandbox.Options{CacheDir: filepath.Join(h.cache, "modules"), Worker: opts.CompileWorker, Log: opts.Log, Engine: sandbox.Engine(opts.Engine), Tenants: h.config.TenantLimits.TenantLimits}); err != nil {
		if kernel.CodeOf(err) != kernel.CodeInternal {
			return err
		}
		return &kernel.Error{Code: kernel.CodeConfig, What: "the sandbox cannot start", Why: err.Error(), Fix: "see the reason", Err: err}
	}
	h.closers.add(h.runtime.Close)
	h.closers.add(h.closeModules)
	if err := h.openDoor(ctx); err != nil {
		return err
	}
	if err := h.loadModules(ctx); err != nil {
		return err
	}
	if err := h.admitModulePorts(ctx); err != nil {
		return err
	}
	nodeHooks, portHooks, err := h.hooks(h.config.Hooks)
	if err != nil {
		return err
	}
	for _, hook := range append(recordedPortHooks(opts.PortHooks), portHooks...) {
		h.door.Hook(hook)
	}
	h.engine = engine.New(engine.Options{Tracer: h.tracer, Door: h.door, Modules: h.byName, Servers: h.toolServers, Functions: recordedFunctions(opts.Functions), Relabel: h.config.Labels.Of, Results: h.results(), Hooks: append(recordedNodeHooks(opts.NodeHooks), nodeHooks...)})
	return h.openExecutor()
}

// results keeps what nodes answered; nil where there is no store for it.
func (h *Host) results() engine.Results {
	switch {
	case h.opts.recorded:
		return unkept{}
	case h.artifacts == nil:
		return nil
	}
	return resultcache.New(resultcache.Options{
		Store: h.artifacts, Locks: h.locks, Authorizer: h.governance, Auditor: h.audit, Configuration: h.config.Digest, Revision: h.governing.port.Revision,
		Version: h.opts.Version, Code: len(h.opts.NodeHooks)+len(h.opts.PortHooks)+len(h.opts.Ports) > 0 || h.opts.Memory != nil,
	})
}

// Stores returns where ports keep what they keep, by port: folders, and URLs without user and parameters.
func (h *Host) Stores() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.stores)
}

func (h *Host) openFolders() error {
	h.state = orElse(h.opts.State, stateOf(h.config))
	for _, dir := range []string{h.state, stateOf(h.config)} {
		if err := h.openFolder(dir); err != nil {
			return err
		}
	}
	return h.openCache()
}

func (h *Host) openCache() error {
	if h.cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return &kernel.Error{Code: kernel.CodeConfig, What: "there is no folder for compiled modules", Why: err.Error(), Fix: "set HOME or XDG_CACHE_HOME", Err: err}
		}
		h.cache = filepath.Join(dir, "hexdag")
	}
	return h.openFolder(h.cache)
}

func (h *Host) openFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return &kernel.Error{Code: kernel.CodeConfig, What: "a folder of the host cannot be made", Where: kernel.Where{File: h.config.File}, Why: err.Error(),
			Fix: "set spec.state to a folder that you may write to, and HOME to one that you own", Err: err}
	}
	return nil
}

// loadModules loads every module of the configuration, and says all that is
// wrong with them at once.
func (h *Host) loadModules(ctx context.Context) error {
	var problems []error
	for _, spec := range h.config.Modules {
		if h.byName[spec.Name] == nil { // the one that decides is there already
			_, err := h.loadModule(ctx, spec, h.door)
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// loadModule loads a module that calls through door, on record.
func (h *Host) loadModule(ctx context.Context, spec pipeline.ModuleSpec, door *ports.Door) (*extension.Module, error) {
	m, err := extension.Load(ctx, h.runtime, door, h.log, extension.Spec{
		Name: spec.Name, Path: spec.Path, Digest: spec.Digest, Config: spec.Config, Grants: spec.Grants, Labels: extension.Labels(spec.Labels), Limits: spec.Limits, Static: spec.Static, Isolation: spec.Isolation, Dialect: spec.Dialect,
		Trace: h.record(spec.Name), Tracer: h.tracer,
	})
	if err != nil {
		refused := h.audit.Audit(ctx, &kernel.AuditRecord{Kind: "module", Principal: h.principal(), Tenant: h.tenant(), Action: "module.load", Resource: spec.Name, Effect: kernel.Forbid, Result: string(kernel.CodeOf(err)), Detail: err.Error()})
		return nil, errors.Join(kernel.At(err, spec.Where), refused)
	}
	h.byName[spec.Name] = m
	h.modules = append(h.modules, m)
	grants := make([]string, len(spec.Grants))
	for i, g := range spec.Grants {
		grants[i] = g.String()
	}
	return m, h.audit.Audit(ctx, &kernel.AuditRecord{Kind: "module", Principal: h.principal(), Tenant: h.tenant(), Action: "module.load", Resource: spec.Name, Effect: kernel.Allow, Digest: m.Digest(), Detail: fmt.Sprint(grants)})
}

// ReloadModule replaces a module, by its name in the configuration, by what is at
// its path now. Runs that have begun keep the version that they began with; later
// ones get the new one. What the configuration says of the module stays: a file
// that its pinned digest, its grants or its limits do not admit, or that lacks
// what the loaded one serves, is refused, and the loaded one goes on. Both are on
// record. It reports whether there was a change.
func (h *Host) ReloadModule(ctx context.Context, name string) (changed bool, err error) {
	for _, m := range h.modules {
		if m.Name() != name {
			continue
		}
		record := kernel.AuditRecord{Kind: "module", Principal: h.principal(), Tenant: h.tenant(), Action: "module.reload", Resource: name, Effect: kernel.Allow}
		changed, err = m.Reload(ctx, func(digest string) error {
			admitted := record
			admitted.Digest, admitted.Detail = digest, "takes the place of "+m.Digest()
			return h.audit.Audit(ctx, &admitted)
		})
		if err != nil && kernel.CodeOf(err) != kernel.CodeAudit {
			record.Effect, record.Result, record.Detail = kernel.Forbid, string(kernel.CodeOf(err)), err.Error()
			err = errors.Join(err, h.audit.Audit(ctx, &record))
		}
		return changed, err
	}
	names := make([]string, len(h.modules))
	for i, m := range h.modules {
		names[i] = kernel.Quote(m.Name())
	}
	return false, &kernel.Error{Code: kernel.CodeNotFound, What: "there is no module " + kernel.Quote(name), Where: kernel.Where{File: h.config.File},
		Why: "the configuration has " + orElse(strings.Join(names, ", "), "none"), Fix: "name one of these; what the configuration does not name is loaded by opening the host anew"}
}

func (h *Host) closeModules(ctx context.Context) error {
	var problems []error
	for _, m := range h.modules {
		problems = append(problems, m.Close(ctx))
	}
	return errors.Join(problems...)
}

// place is kernel.At that leaves nil alone.
func place(err error, w kernel.Where) error {
	if err == nil {
		return nil
	}
	return kernel.At(err, w)
}

func (h *Host) principal() string { return orElse(h.config.Principal, "local") }

func (h *Host) tenant() string { return orElse(h.config.Tenant, "default") }

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// AuditDir returns the folder of the audit log.
func (h *Host) AuditDir() string { return filepath.Join(h.state, "audit") }

// StateDir returns the folder of the host's state.
func (h *Host) StateDir() string { return h.state }

// Modules returns the loaded modules, in the configuration's order.
func (h *Host) Modules() []*extension.Module { return h.modules }

// Close ends what New opened. No run may be under way.
func (h *Host) Close(ctx context.Context) error {
	err := h.libraries.close(ctx)
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), draining) // what runs did is written, also where the time to end them is up
	defer cancel()
	return errors.Join(err, h.journals.close(within), h.closers.close(ctx))
}
