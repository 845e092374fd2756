package host

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"

	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/extension/policy/regoc"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/governance/abac"
	"github.com/hexdag/hexdag/host/ports/governance/allowall"
	"github.com/hexdag/hexdag/host/ports/governance/authzen"
	"github.com/hexdag/hexdag/host/ports/governance/compose"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
	"github.com/hexdag/hexdag/host/ports/governance/guest"
	"github.com/hexdag/hexdag/host/ports/governance/opa"
	"github.com/hexdag/hexdag/host/ports/governance/rbac"
	"github.com/hexdag/hexdag/host/ports/governance/rego"
	"github.com/hexdag/hexdag/host/ports/governance/shadow"
)

// deciding opens backends of governance.
type deciding struct {
	host  *Host
	ctx   context.Context
	where kernel.Where
}

// deciders lists the backends, by the adapter's names.
func deciders() map[string]func(o deciding, config map[string]any) (driver.Driver, error) {
	return map[string]func(o deciding, config map[string]any) (driver.Driver, error){
		"allow_all": openAllowAll, "rbac": openRBAC, "abac": openABAC, "rego": openRego, "module": openGuest,
		"opa": openOPA, "authzen": openAuthZEN, "all_of": openAllOf, "shadow": openShadow,
	}
}

// openGovernance opens who decides. It is the operator's alone: a pipeline
// cannot bring its own.
func (h *Host) openGovernance(ctx context.Context, spec pipeline.PortSpec) (*governance.Port, error) {
	d, err := deciding{host: h, ctx: ctx, where: spec.Where}.open(orElse(spec.Adapter, "allow_all"), spec.Config)
	if err != nil {
		return nil, place(err, spec.Where)
	}
	return governance.New(d, governance.Options{Auditor: h.audit}), nil
}

func (o deciding) open(adapter string, config map[string]any) (driver.Driver, error) {
	open, known := deciders()[adapter]
	if !known {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "port governance has no adapter " + kernel.Quote(adapter), Fix: "known are " + strings.Join(slices.Sorted(maps.Keys(deciders())), ", ")}
	}
	return open(o, config)
}

// closing has a backend closed with the host.
func (o deciding) closing(d interface{ Close() error }) {
	o.host.closers.add(func(context.Context) error { return d.Close() })
}

// take reads a backend's configuration.
func take(adapter string, config map[string]any, into any, fix string) error {
	if err := kernel.FromValue(config, into); err != nil {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of " + adapter + " cannot be used", Why: kernel.Quote(err.Error()), Fix: fix, Err: err}
	}
	return nil
}

// data returns a configuration itself, or what the file holds that it names.
func (o deciding) data(adapter string, config map[string]any) (map[string]any, error) {
	file, inFile := config["file"].(string)
	if !inFile {
		return config, nil
	}
	if len(config) > 1 {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of " + adapter + " cannot be used", Why: "it has a file and more", Fix: "keep the data in the file, or here"}
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(filepath.Dir(o.host.config.File), file)
	}
	return pipeline.ReadData(file)
}

func openAllowAll(deciding, map[string]any) (driver.Driver, error) { return allowall.Driver{}, nil }

func openRBAC(o deciding, config map[string]any) (driver.Driver, error) {
	config, err := o.data("rbac", config)
	if err != nil {
		return nil, err
	}
	var data rbac.Data
	if err := take("rbac", config, &data, "it takes roles: {name: {inherits, allow, approve, deny}} and bindings: [{subjects, roles, tenants}], or file: roles.yaml"); err != nil {
		return nil, err
	}
	return made(rbac.New(data))
}

func openABAC(o deciding, config map[string]any) (driver.Driver, error) {
	config, err := o.data("abac", config)
	if err != nil {
		return nil, err
	}
	var data abac.Data
	if err := take("abac", config, &data, "it takes rules: [{id, effect, actions, resources, condition, message, obligations, ttl_s}] and attributes, or file: rules.yaml"); err != nil {
		return nil, err
	}
	return made(abac.New(data))
}

// made is a backend, or nil without a type where there is an error.
func made[D driver.Driver](d D, err error) (driver.Driver, error) {
	if err != nil {
		return nil, err
	}
	return d, nil
}

func openOPA(o deciding, config map[string]any) (driver.Driver, error) {
	var c opa.Config
	if err := take("opa", config, &c, "it takes url, decision, token_env and timeout"); err != nil {
		return nil, err
	}
	d, err := opa.New(c)
	if err != nil {
		return nil, err
	}
	o.closing(d)
	return d, nil
}

func openAuthZEN(o deciding, config map[string]any) (driver.Driver, error) {
	var c authzen.Config
	if err := take("authzen", config, &c, "it takes url, token_env, timeout and ignore_context"); err != nil {
		return nil, err
	}
	d, err := authzen.New(c)
	if err != nil {
		return nil, err
	}
	o.closing(d)
	return d, nil
}

// openGuest loads the module that decides before all others, behind a door without
// operations: a judge calls nobody.
func openGuest(o deciding, config map[string]any) (driver.Driver, error) {
	var c struct {
		Module string `json:"module"`
	}
	if err := take("module", config, &c, "it takes module: NAME, one of modules"); err != nil {
		return nil, err
	}
	h := o.host
	m, loaded := h.byName[c.Module]
	if !loaded {
		var err error
		if m, err = h.loadGovernor(o.ctx, c.Module); err != nil {
			return nil, err
		}
	}
	return made(guest.New(m))
}

func (h *Host) loadGovernor(ctx context.Context, name string) (*extension.Module, error) {
	for _, spec := range h.config.Modules {
		if spec.Name == name {
			return h.loadModule(ctx, spec, ports.NewDoor(governance.New(allowall.Driver{}, governance.Options{}), h.audit))
		}
	}
	return nil, &kernel.Error{Code: kernel.CodeConfig, What: "there is no module " + kernel.Quote(name) + " to decide", Fix: "name one of modules"}
}

// nested is a backend inside another's configuration.
type nested struct {
	Name    string         `json:"name"`
	Adapter string         `json:"adapter"`
	Tenants []string       `json:"tenants"`
	Config  map[string]any `json:"config"`
}

func openAllOf(o deciding, config map[string]any) (driver.Driver, error) {
	var c struct {
		Of []nested `json:"of"`
	}
	if err := take("all_of", config, &c, "it takes of: [{adapter, config, name, tenants}]"); err != nil {
		return nil, err
	}
	members := make([]compose.Member, len(c.Of))
	for i, n := range c.Of {
		d, err := o.open(n.Adapter, n.Config)
		if err != nil {
			return nil, err
		}
		members[i] = compose.Member{Driver: d, Name: orElse(n.Name, fmt.Sprintf("%s %d", n.Adapter, i+1)), Tenants: n.Tenants}
	}
	return made(compose.New(members...))
}

func openShadow(o deciding, config map[string]any) (driver.Driver, error) {
	var c struct{ Live, Candidate nested }
	if err := take("shadow", config, &c, "it takes live: {adapter, config} and candidate: {adapter, config}"); err != nil {
		return nil, err
	}
	live, err := o.open(c.Live.Adapter, c.Live.Config)
	if err != nil {
		return nil, err
	}
	candidate, err := o.open(c.Candidate.Adapter, c.Candidate.Config)
	if err != nil {
		return nil, err
	}
	d := shadow.New(live, candidate, o.host.audit)
	o.closing(d)
	return d, nil
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

func openRego(o deciding, config map[string]any) (driver.Driver, error) {
	h := o.host
	var c regoConfig
	if err := kernel.FromValue(config, &c); err != nil || (len(c.Dirs) > 0) == (c.File != "") || c.Key != "" && c.File == "" {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of rego cannot be used", Why: fmt.Sprint(err), Fix: "give dirs: [...], or file: policy.tar.gz and key: where it has to be signed, and entrypoint: where it is not " + rego.Entrypoint, Err: err}
	}
	dir := filepath.Dir(h.config.File)
	opts := policyOptions(policy.Options{Log: func(_ context.Context, line string) { h.log.Info(line, "policy", o.where.String()) }})
	cache, err := wazero.NewCompilationCacheWithDir(filepath.Join(h.cache, "policies"))
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the cache of compiled policies cannot be opened", Why: err.Error(), Fix: "set HOME to a folder that you own", Err: err}
	}
	h.closers.add(cache.Close)
	opts.Cache = cache
	p, err := loadPolicy(o.ctx, c, dir, opts)
	if err != nil {
		return nil, err
	}
	h.closers.add(func(context.Context) error { return p.Close() })
	return made(rego.New(p, c.Entrypoint))
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
