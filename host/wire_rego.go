package host

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tetratelabs/wazero"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/extension/policy/regoc"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
	"github.com/hexdag/hexdag/host/ports/governance/rego"
)

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
	var c regoConfig
	if err := kernel.FromValue(config, &c); err != nil || (len(c.Dirs) > 0) == (c.File != "") || c.Key != "" && c.File == "" {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of rego cannot be used", Why: fmt.Sprint(err), Fix: "give dirs: [...], or file: policy.tar.gz and key: where it has to be signed, and entrypoint: where it is not " + rego.Entrypoint, Err: err}
	}
	p, err := o.policy(c)
	if err != nil {
		return nil, err
	}
	o.node.policy = p
	o.node.closing(p.Close)
	return made(rego.New(p, c.Entrypoint))
}

// policy loads a policy. What the one before it had compiled is used again.
func (o deciding) policy(c regoConfig) (*policy.Policy, error) {
	var old *policy.Policy
	if o.old != nil && o.old.nodes[o.name] != nil {
		old = o.old.nodes[o.name].policy
	}
	name := c.File
	o.node.files, o.node.key = o.host.besideConfigAll(c.Dirs), c.Key
	if c.File != "" {
		name = o.host.besideConfig(c.File)
		o.node.files = append(o.node.files, name)
	}
	if c.Key != "" {
		o.node.key = o.host.besideConfig(c.Key)
		o.node.files = append(o.node.files, o.node.key)
	}
	if old != nil && o.patch != nil {
		return o.patch(old)
	}
	f, err := o.read(c)
	if err != nil {
		return nil, err
	}
	if old != nil {
		return old.Next(o.ctx, f)
	}
	cache, err := o.host.policyCache()
	if err != nil {
		return nil, err
	}
	return policy.Load(o.ctx, f.Wasm, policyOptions(policy.Options{
		Name: orElse(name, strings.Join(c.Dirs, ", ")), Data: f.Data, Cache: cache,
		Log: func(_ context.Context, line string) { o.host.log.Info(line, "policy", o.where.String()) },
	}))
}

// read reads the policy's file, or compiles its folders.
func (o deciding) read(c regoConfig) (*policy.File, error) {
	switch {
	case c.Key != "":
		return readSigned(o.host.besideConfig(c.File), o.node.key)
	case c.File != "":
		return policy.ReadFile(o.host.besideConfig(c.File))
	}
	built, err := regoc.Build(o.ctx, regoc.Source{Dirs: o.host.besideConfigAll(c.Dirs)}, regoc.Options{})
	if err != nil {
		return nil, err
	}
	return &policy.File{Wasm: built.Wasm, Data: built.Data, Revision: built.Revision}, nil
}

// policyCache is the cache of compiled policies, which is closed after them.
func (h *Host) policyCache() (wazero.CompilationCache, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.policies != nil {
		return h.policies, nil
	}
	cache, err := wazero.NewCompilationCacheWithDir(filepath.Join(h.cache, "policies"))
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the cache of compiled policies cannot be opened", Why: err.Error(), Fix: "set HOME to a folder that you own", Err: err}
	}
	h.policies = cache
	return cache, nil
}

// besideConfig returns a path as one from the configuration's folder.
func (h *Host) besideConfig(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(h.config.File), path)
}

func (h *Host) besideConfigAll(paths []string) []string {
	all := make([]string, len(paths))
	for i, path := range paths {
		all[i] = h.besideConfig(path)
	}
	return all
}
