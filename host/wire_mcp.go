package host

import (
	"context"
	"slices"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/mcpport"
)

// openMCP opens the servers whose tools are called. It is the operator's alone.
func openMCP(o opening, config map[string]any, dir string) ([]ports.Op, error) {
	var c mcpport.Config
	if err := kernel.FromValue(config, &c); err != nil {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of mcp cannot be used", Why: kernel.Quote(err.Error()), Fix: "it takes servers: {name: {command, env, pass_env, dir, or url, headers, allow_addresses, and tools, timeout, max_result_bytes}}", Err: err}
	}
	p, err := mcpport.New(c, mcpport.Options{Pins: OpenToolPins(o.host.config), Log: o.host.log, Dir: dir})
	if err != nil {
		return nil, err
	}
	o.closers.add(func(context.Context) error { return p.Close() })
	for _, name := range p.Names() {
		if slices.ContainsFunc(o.host.config.Modules, func(m pipeline.ModuleSpec) bool { return m.Name == name }) {
			return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the MCP server " + kernel.Quote(name) + " has the name of a module", Why: "tools are called by what they are of", Fix: "give one of them another name"}
		}
		if !slices.Contains(o.host.toolServers, name) {
			o.host.toolServers = append(o.host.toolServers, name)
		}
	}
	return p.Ops(), nil
}
