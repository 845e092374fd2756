package host

import (
	"context"
	"fmt"

	"github.com/hexdag/hexdag/host/extension"
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
	"github.com/hexdag/hexdag/host/ports/governance/shadow"
)

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
	g, err := openGoverning(ctx, h, spec)
	if err != nil {
		return nil, err
	}
	h.governing = g
	h.closers.add(g.close)
	return g.port, nil
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
	file = o.host.besideConfig(file)
	o.node.files = append(o.node.files, file)
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
	o.node.closing(d.Close)
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
	o.node.closing(d.Close)
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
		name := orElse(n.Name, fmt.Sprintf("%s %d", n.Adapter, i+1))
		d, err := o.open(name, n.Adapter, n.Config)
		if err != nil {
			return nil, err
		}
		members[i] = compose.Member{Driver: d, Name: name, Tenants: n.Tenants}
	}
	return made(compose.New(members...))
}

func openShadow(o deciding, config map[string]any) (driver.Driver, error) {
	var c struct{ Live, Candidate nested }
	if err := take("shadow", config, &c, "it takes live: {adapter, config} and candidate: {adapter, config}"); err != nil {
		return nil, err
	}
	live, err := o.open("live", c.Live.Adapter, c.Live.Config)
	if err != nil {
		return nil, err
	}
	candidate, err := o.open("candidate", c.Candidate.Adapter, c.Candidate.Config)
	if err != nil {
		return nil, err
	}
	d := shadow.New(live, candidate, o.host.audit)
	o.node.closing(d.Close)
	return d, nil
}
