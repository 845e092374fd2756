package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/llm"
	guestllm "github.com/hexdag/hexdag/host/ports/llm/guest"
	"github.com/hexdag/hexdag/host/ports/memory"
	guestmemory "github.com/hexdag/hexdag/host/ports/memory/guest"
)

// moduleAdapter is the adapter that has one of the operator's modules be the port.
const moduleAdapter = "module"

// builtInPorts are the names that no module's port may have, beside those of adapters.
var builtInPorts = []string{"governance", "metrics", "client", "entity_state", "pipeline_memory", "process_registry", "pipeline_spawner", "scheduler", "central_agent", "database_tools", "clock", "random"}

// moduleConfig is the configuration of the adapter module.
type moduleConfig struct {
	memory.Options        // of the memory port
	Module         string `json:"module"`
	// Over is what the module's own calls of the port reach: it is around another adapter.
	Over *nested `json:"over"`
	// OwnRights has its calls need its own rights alone, and not those of whoever calls it.
	OwnRights bool `json:"own_rights"`
}

// modulePort is a port that a module implements.
type modulePort struct {
	host  *Host
	name  string
	port  string
	own   bool // a pipeline's
	vouch bool
	over  []ports.Op
	ops   []abi.Operation // what it has to describe
	where kernel.Where
}

// openModule opens a port that a module implements. The operator's modules are loaded
// after the ports, since their grants name operations: what a module does is in its
// manifest, and admitModulePorts compares in the end.
func (o opening) openModule(port string, config map[string]any) ([]ports.Op, error) {
	var c moduleConfig
	if err := kernel.FromValue(config, &c); err != nil {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of the adapter module cannot be used", Why: kernel.Quote(err.Error()), Fix: "it takes module, over: {adapter, config}, own_rights and, of the memory port, its limits", Err: err}
	}
	if limited := c.MaxKeyBytes != 0 || c.MaxValueBytes != 0 || c.MaxKeys != 0 || c.MaxBytes != 0; limited && port != "memory" {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "limits of keys and values are the memory port's", Fix: "remove them from port " + kernel.Quote(port)}
	}
	if c.OwnRights && o.own {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "a pipeline cannot give a module rights of its own", Why: "own_rights lets it do more than whoever calls it may", Fix: "remove own_rights, or have the operator configure the port"}
	}
	p := &modulePort{host: o.host, name: c.Module, port: port, own: o.own, vouch: c.OwnRights, where: o.where}
	if c.Over != nil {
		inner := o
		inner.within = true
		var err error
		if p.over, err = inner.adapter(port, pipeline.PortSpec{Adapter: c.Over.Adapter, Config: c.Over.Config}); err != nil {
			return nil, err
		}
	}
	ops, err := p.operations(o, &c)
	if err != nil {
		return nil, err
	}
	if o.own {
		return ops, p.admit(o.ctx)
	}
	o.host.served = append(o.host.served, p)
	return ops, nil
}

// operations are what the port offers: those of the host's own port over the module,
// or those that the manifest describes.
func (p *modulePort) operations(o opening, c *moduleConfig) ([]ports.Op, error) {
	switch {
	case p.port == "memory":
		if err := c.Check(); err != nil {
			return nil, err
		}
		p.has(guestmemory.Operations())
		return ports.OnBehalf(o.keepMemory(guestmemory.New(p.forCaller), &memoryConfig{Options: c.Options})), nil
	case p.port == "llm":
		p.has(guestllm.Operations())
		return ports.OnBehalf(llm.New(guestllm.New(p.name, p.forCaller)).TraceWith(o.host.tracer).Ops()), nil
	case adapters()[p.port] != nil || slices.Contains(builtInPorts, p.port):
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "port " + p.port + " cannot be a module", Why: "modules implement memory, llm and ports of names of their own", Fix: "use another adapter, or a hook around the port ('hexdag new porthook')"}
	}
	described, err := p.described(o.ctx)
	if err != nil {
		return nil, err
	}
	var ops []ports.Op
	for _, op := range described {
		if port, _, _ := strings.Cut(op.Name, "."); port == p.port {
			p.ops = append(p.ops, op)
			ops = append(ops, ports.Op{Name: op.Name, Guards: op.Guards, Func: p.serve})
		}
	}
	if len(ops) == 0 {
		names := make([]string, len(described))
		for i, op := range described {
			names[i] = op.Name
		}
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "module " + kernel.Quote(p.name) + " implements no port " + kernel.Quote(p.port), Why: "its manifest describes the operations " + orElse(strings.Join(names, ", "), "none"),
			Fix: "name the port as they do, or describe its operations in manifest.json"}
	}
	return ops, nil
}

// has notes what the module has to describe.
func (p *modulePort) has(names []string) {
	for _, name := range names {
		p.ops = append(p.ops, abi.Operation{Name: name})
	}
}

// described returns what the module's manifest describes, which need not be loaded.
func (p *modulePort) described(ctx context.Context) ([]abi.Operation, error) {
	if m := p.host.byName[p.name]; m != nil {
		return m.Operations(), nil
	}
	i := slices.IndexFunc(p.host.config.Modules, func(s pipeline.ModuleSpec) bool { return s.Name == p.name })
	if i < 0 {
		return nil, p.unknown()
	}
	spec := p.host.config.Modules[i]
	wasm, err := extension.ReadFile(spec.Path, spec.Static.MaxModuleBytes)
	if err != nil {
		return nil, kernel.At(err, kernel.Where{Module: kernel.Quote(p.name)})
	}
	manifest, err := abi.ReadManifest(wasm)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeModuleInvalid, What: "the module's manifest cannot be read", Where: kernel.Where{File: spec.Path, Module: kernel.Quote(p.name)}, Why: kernel.Quote(err.Error()), Fix: "mend manifest.json and build the module again", Err: err}
	}
	if manifest == nil {
		return nil, nil
	}
	return manifest.Operations, ctx.Err()
}

func (p *modulePort) unknown() error {
	names := make([]string, len(p.host.config.Modules))
	for i, m := range p.host.config.Modules {
		names[i] = m.Name
	}
	return &kernel.Error{Code: kernel.CodeModuleNotFound, What: "there is no module " + kernel.Quote(p.name), Where: p.where, Why: "port " + p.port + " is to be one", Fix: kernel.DidYouMean(p.name, names)}
}

// check compares the loaded module with what the port needs of it.
func (p *modulePort) check() error {
	m := p.host.byName[p.name]
	if m == nil {
		return p.unknown()
	}
	if !m.Has(abi.PortCall) {
		return &kernel.Error{Code: kernel.CodeModuleExport, Where: kernel.Where{Module: m.ID()}, What: "module " + kernel.Quote(m.Name()) + " cannot be port " + p.port, Why: fmt.Sprintf("it exports no port_call; its extension points are %v", m.Points()), Fix: "export the function, or name another module"}
	}
	described := map[string]abi.Operation{}
	for _, op := range m.Operations() {
		described[op.Name] = op
	}
	var missing []string
	for _, op := range p.ops {
		if is, ok := described[op.Name]; !ok || !slices.Equal(op.Guards, is.Guards) && op.Guards != nil {
			missing = append(missing, op.Name)
		}
	}
	if len(missing) > 0 {
		return &kernel.Error{Code: kernel.CodeModuleExport, Where: kernel.Where{Module: m.ID()}, What: "module " + kernel.Quote(m.Name()) + " cannot be port " + p.port, Why: "its manifest does not describe " + strings.Join(missing, ", ") + "; it describes " + orElse(strings.Join(slices.Sorted(maps.Keys(described)), ", "), "no operations"),
			Fix: "do these in port_call, and describe them under operations in manifest.json"}
	}
	return nil
}

// forCaller does an operation for whoever the port's own call is for.
func (p *modulePort) forCaller(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	on := ports.Behalf(ctx)
	call.Node, call.Caller = on.Node, on.Caller
	if run := kernel.RunFrom(ctx); run != nil && call.Caller.Principal == "" {
		call.Caller.Principal = run.Principal // the host asks for itself, in somebody's run
	}
	return p.serve(ctx, call)
}

// serve has the module do an operation. The operator's port reaches the operator's
// ports, whatever a pipeline has put in their place.
func (p *modulePort) serve(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	if p.vouch {
		vouched := *call
		vouched.Caller.Modules = vouchFor(call.Caller.Modules)
		call = &vouched
	}
	door := p.host.door
	if p.own {
		door = ports.DoorFrom(ctx, door)
	}
	if len(p.over) > 0 {
		door = door.With(p.over...)
	}
	return p.host.byName[p.name].Serve(ports.WithDoor(ctx, door), call)
}

// vouchFor returns a chain of callers that is shown and not checked.
func vouchFor(chain []kernel.ModuleRights) []kernel.ModuleRights {
	vouched := slices.Clone(chain)
	for i := range vouched {
		vouched[i].Check = func(string, map[string]string) error { return nil }
	}
	return vouched
}

// admit checks a port that is a module, and has on record which module it is.
func (p *modulePort) admit(ctx context.Context) error {
	if err := p.check(); err != nil {
		return place(err, p.where)
	}
	h, rights := p.host, "its callers' rights"
	if p.vouch {
		rights = "its own rights"
	}
	return h.audit.Audit(ctx, &kernel.AuditRecord{Kind: "module", Principal: h.principal(), Tenant: h.tenant(), Action: "module.port", Resource: p.port, Effect: kernel.Allow,
		Digest: h.byName[p.name].Digest(), Detail: "module " + kernel.Quote(p.name) + ", with " + rights})
}

// admitModulePorts admits the operator's ports that are modules, once these are loaded.
func (h *Host) admitModulePorts(ctx context.Context) error {
	var problems []error
	for _, p := range h.served {
		problems = append(problems, p.admit(ctx))
	}
	return errors.Join(problems...)
}
