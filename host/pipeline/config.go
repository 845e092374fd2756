package pipeline

import (
	"path/filepath"
	"slices"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

// Config is what an operator decides: which modules there are and what they may
// do, where they hook in, which adapters serve the ports, and where the host
// keeps its state. Paths are resolved against the file's folder.
type Config struct {
	File      string
	State     string // folder; "" means .hexdag beside the file
	Tenant    string
	Principal string
	Modules   []ModuleSpec
	Hooks     []HookSpec
	Ports     map[string]PortSpec

	TenantLimits TenantLimits
	RunLimits    RunLimits
	Static       rewrite.Options // what modules' bytes are held to; zero fields mean the defaults
}

// ModuleSpec is a module that the operator admits.
type ModuleSpec struct {
	Name   string
	Path   string
	Digest string
	Config kernel.Value
	Grants []abi.Capability
	Limits sandbox.Limits
	Static rewrite.Options // zero fields mean the defaults
	// Isolation is what of its state one call can leave to the next; "" means nothing.
	Isolation sandbox.Isolation
	// Dialect is how to talk to it; "" means what the module looks like.
	Dialect sandbox.Dialect
	Where   kernel.Where
}

// HookSpec puts a module around nodes or around port calls. Empty lists of
// Nodes and Kinds match every node.
type HookSpec struct {
	Module string
	Nodes  []string // names
	Kinds  []string
	Ops    []string // patterns of operations; not empty means a port hook
	Where  kernel.Where
}

// LoadConfig reads an operator's configuration. Its error joins everything that
// is wrong with the file.
func LoadConfig(file string) (*Config, error) {
	docs, err := readFile(file)
	if err != nil {
		return nil, err
	}
	p := &problems{code: kernel.CodeConfig}
	c := &Config{File: file}
	for i, doc := range docs {
		s := p.open(doc, "a document")
		if s == nil {
			continue
		}
		if kind := s.required("kind"); kind != "Config" || i > 0 {
			p.add(doc.errorf(kernel.CodeConfig, "keep one document of kind: Config in it", "this is no operator's configuration"))
			continue
		}
		p.readConfig(c, s)
	}
	if len(docs) == 0 {
		p.add(&kernel.Error{Code: kernel.CodeConfig, What: "the file is empty", Where: kernel.Where{File: file}, Fix: "start it with apiVersion: hexdag/v1 and kind: Config"})
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return c, nil
}

func (p *problems) readConfig(c *Config, s *section) {
	s.text("apiVersion")
	if meta := s.member("metadata"); meta != nil {
		meta.text("name")
	}
	spec := s.member("spec")
	s.rest()
	if spec == nil {
		return
	}
	c.Tenant, c.Principal = spec.text("tenant"), spec.text("principal")
	if state := spec.text("state"); state != "" {
		c.State = c.resolve(state)
	}
	c.readLimits(spec)
	c.Ports = p.readPorts(spec)
	if modules := spec.member("modules"); modules != nil {
		for _, name := range modules.m.names {
			if m := modules.member(name); m != nil {
				c.Modules = append(c.Modules, p.readModule(c, name, m))
			}
		}
	}
	for _, item := range spec.items("hooks") {
		if h := p.open(item, "a hook"); h != nil {
			c.Hooks = append(c.Hooks, p.readHook(c, h))
		}
	}
	spec.rest("logging", "orchestrator", "limits", "caps", "plugins", "mcp_permissions")
}

// resolve makes a path of the file relative to the file's folder.
func (c *Config) resolve(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(c.File), path)
}

func (p *problems) readModule(c *Config, name string, s *section) ModuleSpec {
	s.what = "module " + kernel.Quote(name)
	m := ModuleSpec{Name: name, Where: s.at.where(), Path: c.resolve(s.required("path")), Digest: s.text("digest")}
	if v := s.get("config"); v != nil {
		m.Config = v.plain()
	}
	for _, item := range s.items("grants") {
		g, err := abi.ParseCapability(item.plain())
		if err != nil {
			p.add(item.errorf(kernel.CodeConfig, "write - port.method, or - port.method: {argument: pattern}", "this is no grant: %v", err))
			continue
		}
		m.Grants = append(m.Grants, g)
	}
	m.Limits, m.Static = readCallLimits(s), readStatic(s).Or(c.Static)
	m.Isolation = p.isolation(s)
	m.Dialect = sandbox.Dialect(s.text("dialect"))
	s.rest()
	return m
}

func (p *problems) isolation(s *section) sandbox.Isolation {
	if i := sandbox.Isolation(s.text("isolation")); i.Known() {
		return i
	}
	p.add(s.get("isolation").errorf(kernel.CodeConfig, "write call, run or, for a module that you trust, shared", "there is no such isolation"))
	return ""
}

func (p *problems) readHook(c *Config, s *section) HookSpec {
	s.what = "hook"
	h := HookSpec{Where: s.at.where(), Module: s.required("module"), Nodes: s.texts("nodes"), Kinds: s.texts("kinds"), Ops: s.texts("ops")}
	known := slices.ContainsFunc(c.Modules, func(m ModuleSpec) bool { return m.Name == h.Module })
	if !known && h.Module != "" {
		names := make([]string, len(c.Modules))
		for i, m := range c.Modules {
			names[i] = m.Name
		}
		p.add(s.get("module").errorf(kernel.CodeConfig, didYouMean(h.Module, names), "there is no module %s", kernel.Quote(h.Module)))
	}
	if len(h.Ops) > 0 && len(h.Nodes)+len(h.Kinds) > 0 {
		p.add(s.at.errorf(kernel.CodeConfig, "write two hooks", "a hook is around nodes or around ops, not both"))
	}
	s.rest("failure", "order")
	return h
}

// ReadData reads a YAML file of plain data: one mapping.
func ReadData(file string) (map[string]any, error) {
	docs, err := readFile(file)
	if err != nil {
		return nil, err
	}
	if len(docs) == 1 {
		if m, ok := docs[0].plain().(map[string]any); ok {
			return m, nil
		}
	}
	return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the file must hold one mapping", Where: kernel.Where{File: file}, Fix: "write name: value lines"}
}
