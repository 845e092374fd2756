package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

// Config is what an operator decides: which modules there are and what they may
// do, where they hook in, which adapters serve the ports, and where the host
// keeps its state. Paths are resolved against the file's folder.
type Config struct {
	File      string
	Digest    string // of what the file says of modules, ports, hooks and labels; "" where there is no file
	State     string // folder; "" means .hexdag beside the file
	Tenant    string
	Principal string
	Modules   []ModuleSpec
	Hooks     []HookSpec
	Ports     map[string]PortSpec
	Env       []string // patterns of the environment variables that pipelines may read
	Endpoints []string // patterns of the hosts of models that pipelines may name in ports of their own
	Prices    []Price  // what models cost
	Executor  ExecutorSpec
	Server    ServerSpec
	Telemetry *TelemetrySpec // nil makes no spans

	Approvals     PortSpec // sqlite or postgres; sqlite if there is no adapter
	Audit         AuditSpec
	Journal       JournalSpec
	Libraries     LibrariesSpec
	MCP           MCPSpec
	Triggers      []TriggerSpec
	Subscriptions []SubscriptionSpec

	TenantLimits TenantLimits
	RunLimits    RunLimits
	Labels       RunLabels
	Static       rewrite.Options // what modules' bytes are held to; zero fields mean the defaults

	parts map[string]string // digests of the members of spec, but for what a server takes up while it runs
}

// Differs returns the members of spec in which another configuration is not as this one, but for what a server takes up while it runs: its
// tokens, issuer and pipelines.
func (c *Config) Differs(other *Config) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(c.parts)) {
		if c.parts[name] != other.parts[name] {
			names = append(names, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(other.parts)) {
		if _, both := c.parts[name]; !both {
			names = append(names, name)
		}
	}
	return names
}

// ExecutorSpec says where the nodes of runs work. The zero value is this process.
type ExecutorSpec struct {
	Adapter string // local, or ""; temporal
	Config  map[string]any
	Where   kernel.Where
}

// AuditSpec says what the audit log keeps, and where.
type AuditSpec struct {
	Arguments bool   // of what governance is asked, and not their digest alone
	Salts     string // the file of the salts of what is masked; "" means beside the log
}

// JournalSpec says where runs are recorded, and for how long that is kept.
type JournalSpec struct {
	Adapter string // sqlite or postgres; "" means sqlite
	Config  map[string]any
	Where   kernel.Where

	Keep       time.Duration // the journals of runs that completed; 0 means the default
	KeepFailed time.Duration // those of the others; 0 means as Keep
	MaxRuns    int           // that have ended; 0 means no limit
}

// Price is what the tokens of the models cost whose names match a pattern.
type Price struct {
	Model string
	kernel.Price
}

// ModuleSpec is a module that the operator admits.
type ModuleSpec struct {
	Name   string
	Path   string
	Digest string
	Config kernel.Value
	Grants []abi.Capability
	Labels ModuleLabels
	Limits sandbox.Limits
	Static rewrite.Options // zero fields mean the defaults
	// Isolation is what of its state one call can leave to the next; "" means nothing.
	Isolation sandbox.Isolation
	// Dialect is how to talk to it; "" means what the module looks like.
	Dialect sandbox.Dialect
	Where   kernel.Where
}

// HookSpec puts a module around nodes or around port calls. Without any of the
// lists it is around every node.
type HookSpec struct {
	Module string
	Nodes  []string // names
	Kinds  []string
	Ports  []string // names of ports; with Ops, what it is around
	Ops    []string // patterns of operations
	Open   bool     // a failure of the hook itself lets the call go on
	Where  kernel.Where
}

// OnPorts reports whether the hook is around port calls.
func (h *HookSpec) OnPorts() bool { return len(h.Ops)+len(h.Ports) > 0 }

// LoadConfig reads an operator's configuration. Its error joins everything that
// is wrong with the file.
func LoadConfig(file string) (*Config, error) {
	docs, err := source.Load(file, nil)
	if err != nil {
		return nil, err
	}
	r := newReader(file, Options{})
	r.Code = kernel.CodeConfig
	c := &Config{File: file}
	for i, doc := range docs {
		s := r.Open(doc, "a document")
		if s == nil {
			continue
		}
		if kind := s.Required("kind"); kind != "Config" || i > 0 {
			r.Add(doc.Errorf(kernel.CodeConfig, "keep one document of kind: Config in it", "this is no operator's configuration"))
			continue
		}
		r.readConfig(c, s)
	}
	if len(docs) == 0 {
		r.Add(&kernel.Error{Code: kernel.CodeConfig, What: "the file is empty", Where: kernel.Where{File: file}, Fix: "start it with apiVersion: hexdag/v1 and kind: Config"})
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	if c.Digest, err = configDigest(file, docs); err != nil {
		return c, err
	}
	c.parts, err = partDigests(docs)
	return c, err
}

// partDigests digests the members of spec one by one.
func partDigests(docs []*source.Value) (map[string]string, error) {
	fields, _ := docs[0].Plain().(map[string]any)
	spec, _ := fields["spec"].(map[string]any)
	parts := map[string]string{}
	for name, v := range spec {
		if server, ok := v.(map[string]any); ok && name == "server" {
			fixed := maps.Clone(server)
			for _, live := range []string{"tokens", "oidc", "pipelines"} {
				delete(fixed, live)
			}
			v = fixed
		}
		text, err := kernel.AppendJSON(nil, v)
		if err != nil {
			return nil, docs[0].Errorf(kernel.CodeConfig, "write values that JSON has", "the configuration is no JSON: %s", kernel.Quote(err.Error()))
		}
		sum := sha256.Sum256(text)
		parts[name] = hex.EncodeToString(sum[:])
	}
	return parts, nil
}

// configDigest digests what can have a part in what nodes answer.
func configDigest(file string, docs []*source.Value) (string, error) {
	folder, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return "", err
	}
	fields, _ := docs[0].Plain().(map[string]any)
	spec, _ := fields["spec"].(map[string]any)
	parts := map[string]any{"folder": folder} // which paths are relative to
	for _, name := range []string{"modules", "hooks", "ports", "labels", "env", "endpoints"} {
		parts[name] = spec[name]
	}
	text, err := kernel.AppendJSON(nil, parts)
	if err != nil {
		return "", docs[0].Errorf(kernel.CodeConfig, "write values that JSON has", "the configuration is no JSON: %s", kernel.Quote(err.Error()))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

func (r *reader) readConfig(c *Config, s *source.Section) {
	s.Text("apiVersion")
	if meta := s.Member("metadata"); meta != nil {
		meta.Text("name")
	}
	spec := s.Member("spec")
	s.Rest()
	if spec == nil {
		return
	}
	c.Tenant, c.Principal = spec.Text("tenant"), spec.Text("principal")
	if state := spec.Text("state"); state != "" {
		c.State = c.resolve(state)
	}
	if audit := spec.Member("audit"); audit != nil {
		if c.Audit.Arguments = audit.Flag("arguments"); audit.Get("salts") != nil {
			c.Audit.Salts = c.resolve(audit.Text("salts"))
		}
		audit.Rest()
	}
	if s := spec.Member("approvals"); s != nil {
		c.Approvals = r.readBackend(s, "sqlite", "postgres")
	}
	if s := spec.Member("journal"); s != nil {
		c.Journal = r.readJournal(s)
	}
	if s := spec.Member("libraries"); s != nil {
		c.Libraries = r.readLibraries(c, s)
	}
	c.MCP = r.readMCP(c, spec.Member("mcp"))
	c.readLimits(spec)
	if s := spec.Member("server"); s != nil {
		c.Server = r.readServer(c, s)
	}
	c.Executor = r.readExecutor(spec.Member("executor"))
	c.Telemetry = r.readTelemetry(spec.Member("telemetry"))
	c.Ports = r.readPorts(spec.Get("ports"))
	c.Labels = r.readRunLabels(spec.Member("labels"))
	c.Env, c.Endpoints = spec.Texts("env"), spec.Texts("endpoints")
	c.Prices = r.readPrices(spec.Member("prices"))
	if modules := spec.Member("modules"); modules != nil {
		for _, name := range modules.M.Names {
			if m := modules.Member(name); m != nil {
				spec := r.readModule(c, name, m)
				spec.Labels.AnyTool = c.Labels.Tools
				c.Modules = append(c.Modules, spec)
			}
		}
	}
	r.readHooks(c, spec.Items("hooks"))
	r.readTriggers(c, spec.Items("triggers"))
	r.readSubscriptions(c, spec.Items("subscriptions"))
	spec.Rest("logging", "orchestrator", "limits", "caps", "plugins", "mcp_permissions")
}

func (r *reader) readExecutor(s *source.Section) ExecutorSpec {
	if s == nil {
		return ExecutorSpec{}
	}
	e := ExecutorSpec{Adapter: s.Required("adapter"), Where: s.At.Where()}
	if v := s.Get("config"); v != nil {
		var ok bool
		if e.Config, ok = v.Plain().(map[string]any); !ok {
			r.Add(v.Errorf(kernel.CodeConfig, "write config: {task_queue: ...}", "the executor's config is no mapping"))
		}
	}
	s.Rest()
	return e
}

func (r *reader) readJournal(s *source.Section) JournalSpec {
	j := JournalSpec{Where: s.At.Where(), Adapter: r.oneOf(s, "adapter", "sqlite", "postgres"), Keep: s.Seconds("keep"), KeepFailed: s.Seconds("keep_failed"), MaxRuns: s.Amount("max_runs")}
	if v := s.Get("config"); v != nil {
		config, ok := v.Plain().(map[string]any)
		if !ok {
			r.Add(v.Errorf(r.Code, "write config: {name: value}", "config must be a mapping"))
		}
		j.Config = config
	}
	s.Rest()
	return j
}

// resolve makes a path of the file relative to the file's folder.
func (c *Config) resolve(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(c.File), path)
}

func (r *reader) readModule(c *Config, name string, s *source.Section) ModuleSpec {
	s.What = "module " + kernel.Quote(name)
	m := ModuleSpec{Name: name, Where: s.At.Where(), Path: c.resolve(s.Required("path")), Digest: s.Text("digest")}
	if v := s.Get("config"); v != nil {
		m.Config = v.Plain()
	}
	for _, item := range s.Items("grants") {
		g, err := abi.ParseCapability(item.Plain())
		if err != nil {
			r.Add(item.Errorf(kernel.CodeConfig, "write - port.method, or - port.method: {argument: pattern}", "this is no grant: %v", err))
			continue
		}
		m.Grants = append(m.Grants, g)
	}
	m.Labels = r.readModuleLabels(s.Member("labels"))
	m.Limits, m.Static = readCallLimits(s), readStatic(s).Or(c.Static)
	m.Isolation = r.isolation(s)
	m.Dialect = sandbox.Dialect(s.Text("dialect"))
	s.Rest()
	return m
}

func (r *reader) isolation(s *source.Section) sandbox.Isolation {
	if i := sandbox.Isolation(s.Text("isolation")); i.Known() {
		return i
	}
	r.Add(s.Get("isolation").Errorf(kernel.CodeConfig, "write call, run or, for a module that you trust, shared", "there is no such isolation"))
	return ""
}

func (r *reader) readHooks(c *Config, items []*source.Value) {
	names := make([]string, len(c.Modules))
	for i, m := range c.Modules {
		names[i] = m.Name
	}
	for _, item := range items {
		s := r.Open(item, "a hook")
		if s == nil {
			continue
		}
		h := r.readHook(s)
		if h.Module != "" && !slices.Contains(names, h.Module) {
			r.Add(s.Get("module").Errorf(kernel.CodeConfig, kernel.DidYouMean(h.Module, names), "there is no module %s", kernel.Quote(h.Module)))
		}
		c.Hooks = append(c.Hooks, h)
	}
}

// readHook reads a hook of the configuration or of a pipeline.
func (r *reader) readHook(s *source.Section) HookSpec {
	s.What = "hook"
	h := HookSpec{Where: s.At.Where(), Module: s.Required("module"), Nodes: s.Texts("nodes"), Kinds: s.Texts("kinds"), Ports: s.Texts("ports"), Ops: s.Texts("ops")}
	for i, kind := range h.Kinds {
		h.Kinds[i] = r.resolveKind(kind)
	}
	h.Open = r.oneOf(s, "failure", "closed", "open") == "open"
	if h.OnPorts() && len(h.Nodes)+len(h.Kinds) > 0 {
		r.Add(s.At.Errorf(r.Code, "write two hooks", "a hook is around nodes or around ports, not both"))
	}
	s.Rest()
	return h
}

// readPrices reads {model: {input: dollars, output: dollars}}, per million tokens.
func (r *reader) readPrices(s *source.Section) []Price {
	if s == nil {
		return nil
	}
	var prices []Price
	for _, name := range s.M.Names {
		p := s.Member(name)
		if p == nil {
			continue
		}
		price := Price{Model: name}
		if v := p.Bound("input"); v != nil {
			price.InputPerMillion = *v
		}
		if v := p.Bound("output"); v != nil {
			price.OutputPerMillion = *v
		}
		p.Rest()
		prices = append(prices, price)
	}
	return prices
}

// ReadData reads a YAML file of plain data: one mapping.
func ReadData(file string) (map[string]any, error) {
	docs, err := source.Load(file, nil)
	if err != nil {
		return nil, err
	}
	if len(docs) == 1 {
		if m, ok := docs[0].Plain().(map[string]any); ok {
			return m, nil
		}
	}
	return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the file must hold one mapping", Where: kernel.Where{File: file}, Fix: "write name: value lines"}
}
