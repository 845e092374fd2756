// Package explain says what a pipeline would do: its nodes and what each waits for
// and why, the hooks around them, the operations they call and what serves these,
// and what the run as a whole may do. Nothing is opened and nothing runs.
package explain

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// Plan is what a pipeline would do. Durations are in seconds; 0 means none.
type Plan struct {
	Name         string            `json:"name"`
	File         string            `json:"file"`
	Environment  string            `json:"environment,omitempty"`
	Description  string            `json:"description,omitempty"`
	Config       string            `json:"config,omitempty"` // the configuration's file
	Waves        [][]string        `json:"waves"`
	Nodes        []Node            `json:"nodes"` // by wave and name
	Operations   []Operation       `json:"operations"`
	Capabilities []Capability      `json:"capabilities"`
	Modules      []Module          `json:"modules"`
	Output       map[string]string `json:"output"` // paths, by alias
	Concurrency  int               `json:"max_concurrent_nodes"`
	NodeTimeout  float64           `json:"default_node_timeout"`
	Timeout      float64           `json:"pipeline_timeout"`
	Limits       Limits            `json:"limits"`
	Caps         Caps              `json:"caps"`
	RunLimits    *RunLimits        `json:"run_limits,omitempty"` // of the configuration
	Lock         *Lock             `json:"lock,omitempty"`
}

// Limits is what a run may spend; null means no limit.
type Limits struct {
	LLMCalls  *float64 `json:"max_llm_calls"`
	ToolCalls *float64 `json:"max_tool_calls"`
	Tokens    *float64 `json:"max_total_tokens"`
	CostUSD   *float64 `json:"max_cost_usd"`
}

// Caps is what a run may do at all; allowed is null where everything is.
type Caps struct {
	Allowed []kernel.Capability `json:"allowed"`
	Denied  []kernel.Capability `json:"denied"`
}

// RunLimits is what the modules of one run may take together; 0 means no limit.
type RunLimits struct {
	Deadline  float64 `json:"deadline"` // seconds
	Fuel      int64   `json:"fuel"`
	HostCalls int64   `json:"host_calls"`
}

// Lock is a lock that is held meanwhile.
type Lock struct {
	Name    string   `json:"name"`
	Timeout *float64 `json:"timeout"` // null waits as long as the run may take
	TTL     float64  `json:"ttl"`     // 0 is the port's default
	Permits int      `json:"permits"`
	Call
}

// Cache says when a node's answer is an earlier one: where all that it depends on is the same.
type Cache struct {
	Scope       pipeline.CacheScope `json:"scope"`         // principal, run or tenant: whose runs share it
	Key         string              `json:"key,omitempty"` // what of that which it is given counts; "" is all of it
	TTL         float64             `json:"ttl"`           // 0 is no end
	SideEffects bool                `json:"side_effects,omitempty"`
	Modules     []string            `json:"modules"` // whose digests count, beside those of hooks and of ports
}

// Node is one node of the plan.
type Node struct {
	Name        string       `json:"name"`
	Kind        string       `json:"kind"`
	Description string       `json:"description,omitempty"`
	Line        int          `json:"line"`
	Wave        int          `json:"wave"`
	Does        string       `json:"does,omitempty"` // what it runs, by kind
	DependsOn   []Dependency `json:"depends_on"`
	When        string       `json:"when,omitempty"`
	OnError     string       `json:"on_error,omitempty"`
	Critical    bool         `json:"critical,omitempty"`
	Relabel     []string     `json:"relabel,omitempty"` // endorse, declassify: what the operator lets it take off its answer
	Timeout     float64      `json:"timeout"`           // of each attempt, with the defaults
	Attempts    int          `json:"attempts"`
	Lock        *Lock        `json:"lock,omitempty"`
	Cache       *Cache       `json:"cache,omitempty"`
	Hooks       []Hook       `json:"hooks"` // the first is outermost
	Operations  []Call       `json:"operations"`
	Tools       []string     `json:"tools"` // "module.tool", or "module" for its node_run
	Bodies      []Body       `json:"bodies,omitempty"`
}

// Dependency is a node that another waits for, and why.
type Dependency struct {
	Node    string   `json:"node"`
	Reasons []Reason `json:"reasons"`
}

// Reason is why a node waits for another: see pipeline.Cause.
type Reason struct {
	Cause  pipeline.Cause `json:"cause"`
	Member string         `json:"member,omitempty"`
	Line   int            `json:"line,omitempty"`
	Column int            `json:"column,omitempty"`
}

// Hook is a module around a node or a call.
type Hook struct {
	Module  string `json:"module"`
	From    string `json:"from"`    // config, pipeline or node
	Failure string `json:"failure"` // closed or open
}

// Call is an operation that a node calls itself.
type Call struct {
	Operation string `json:"operation"`
	Adapter   string `json:"adapter"` // "" where nothing that is known serves it
	From      string `json:"from"`    // node_ports, type_ports, pipeline, config or built in
	Hooks     []Hook `json:"hooks"`
	// Labels are what the answer carries, whatever resource it comes from.
	Labels *kernel.Labels `json:"labels,omitempty"`
}

// Body is a body of a composite.
type Body struct {
	Name  string `json:"name"`
	When  string `json:"when,omitempty"`
	Does  string `json:"does,omitempty"` // the function that it is
	Nodes []Node `json:"nodes,omitempty"`
}

// Operation is an operation that nodes call, and what the run needs for it.
type Operation struct {
	Name       string            `json:"name"`
	Capability kernel.Capability `json:"capability,omitempty"`
	Nodes      []string          `json:"nodes"`
}

// Capability is one that the run needs, and whether its caps allow it.
type Capability struct {
	Name    kernel.Capability `json:"name"`
	Allowed bool              `json:"allowed"`
}

// Module is a module that nodes run or that is hooked in.
type Module struct {
	Name       string   `json:"name"`
	Configured bool     `json:"configured"`
	Path       string   `json:"path,omitempty"`
	Isolation  string   `json:"isolation,omitempty"`
	Grants     []string `json:"grants"`
	Labels     []string `json:"labels,omitempty"` // what its answers carry, and whether it may take any off
}

// New returns the plan of a pipeline under an operator's configuration; nil is none.
func New(p *pipeline.Pipeline, c *pipeline.Config) *Plan {
	e := explainer{p: p, c: c, operations: map[string][]string{}, capabilities: map[kernel.Capability]bool{}, modules: map[string]bool{}}
	plan := &Plan{
		Name: p.Name, File: p.File, Environment: p.Namespace, Description: p.Description, Output: map[string]string{}, Concurrency: p.Concurrency,
		NodeTimeout: p.NodeTimeout.Seconds(), Timeout: p.Timeout.Seconds(), Waves: make([][]string, len(p.Waves)),
		Limits: Limits{p.Limits.LLMCalls, p.Limits.ToolCalls, p.Limits.Tokens, p.Limits.CostUSD}, Caps: Caps{Allowed: p.Caps.Allowed, Denied: orEmpty(p.Caps.Denied)},
	}
	if c != nil {
		plan.Config = c.File
		if l := c.RunLimits; l != (pipeline.RunLimits{}) {
			plan.RunLimits = &RunLimits{Deadline: l.Deadline.Seconds(), Fuel: l.Fuel, HostCalls: l.HostCalls}
		}
	}
	for alias, path := range p.OutputPaths() {
		plan.Output[alias] = path.Text()
	}
	plan.Lock = e.lock(&pipeline.Node{}, p.Lock)
	plan.Nodes = e.nodes(p.Graph, p.NodeTimeout)
	for _, n := range plan.Nodes {
		plan.Waves[n.Wave-1] = append(plan.Waves[n.Wave-1], n.Name)
	}
	e.summarise(plan)
	return plan
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// explainer walks a pipeline, and notes what all of its nodes need together.
type explainer struct {
	p            *pipeline.Pipeline
	c            *pipeline.Config
	operations   map[string][]string // the nodes that call them
	capabilities map[kernel.Capability]bool
	modules      map[string]bool
}

func (e *explainer) nodes(g *pipeline.Graph, timeout time.Duration) []Node {
	list := make([]Node, 0, len(g.Nodes))
	for _, n := range g.ByWave() {
		list = append(list, e.node(g, n, timeout))
	}
	return list
}

func (e *explainer) node(g *pipeline.Graph, n *pipeline.Node, timeout time.Duration) Node {
	out := Node{
		Name: n.Name, Kind: n.Kind, Description: n.Description, Line: n.Where.Line, Wave: n.Wave, Does: Does(n), DependsOn: []Dependency{}, OnError: n.OnError, Critical: n.Critical,
		Timeout: n.Timeout.Seconds(), Attempts: n.Retry.Attempts, Relabel: e.relabel(n), Hooks: e.nodeHooks(n), Operations: []Call{}, Tools: []string{},
	}
	if n.Timeout == 0 {
		out.Timeout = timeout.Seconds()
	}
	if n.When != nil {
		out.When = n.When.Text
	}
	out.Lock = e.lock(n, n.Lock)
	for _, d := range g.Why(n) {
		dependency := Dependency{Node: d.Node}
		for _, r := range d.Reasons {
			dependency.Reasons = append(dependency.Reasons, Reason{Cause: r.Cause, Member: r.Member, Line: r.Where.Line, Column: r.Where.Column})
		}
		out.DependsOn = append(out.DependsOn, dependency)
	}
	for _, op := range e.opsOf(n) {
		out.Operations = append(out.Operations, e.call(n, op))
	}
	out.Tools = append(out.Tools, e.toolsOf(n)...)
	out.Cache = cache(n, out.Tools)
	if b, ok := n.Body.(*pipeline.Composite); ok {
		timeout = e.p.NodeTimeout
		if b.NodeTimeout > 0 {
			timeout = b.NodeTimeout
		}
		out.Bodies = e.bodies(b, timeout)
	}
	return out
}

// lock says which lock a node holds, or the run, as a node without a name.
func (e *explainer) lock(n *pipeline.Node, l *pipeline.Lock) *Lock {
	if l == nil {
		return nil
	}
	return &Lock{Name: l.Name.Source(), Timeout: l.Timeout, TTL: l.TTL.Seconds(), Permits: max(l.Permits, 1), Call: e.call(n, "lock.acquire")}
}

func cache(n *pipeline.Node, tools []string) *Cache {
	if n.Cache == nil {
		return nil
	}
	c := &Cache{Scope: n.Cache.Scope, TTL: n.Cache.TTL.Seconds(), SideEffects: n.Cache.SideEffects, Modules: []string{}}
	if n.Cache.Key != nil {
		c.Key = n.Cache.Key.Source()
	}
	for _, tool := range tools {
		module, _, _ := strings.Cut(tool, ".")
		c.Modules = append(c.Modules, module)
	}
	slices.Sort(c.Modules)
	c.Modules = slices.Compact(c.Modules)
	return c
}

func (e *explainer) bodies(b *pipeline.Composite, timeout time.Duration) []Body {
	var list []Body
	for _, inner := range b.Bodies() {
		body := Body{Name: inner.Name}
		if inner.Condition != nil {
			body.When = inner.Condition.Text
		}
		switch {
		case inner.Function != nil:
			body.Does = inner.Function.String()
		case inner.Graph != nil:
			body.Nodes = e.nodes(inner.Graph, timeout)
		}
		list = append(list, body)
	}
	return list
}

// opsOf returns the operations that a node calls itself, not through a module.
func (e *explainer) opsOf(n *pipeline.Node) []string {
	switch b := n.Body.(type) {
	case *pipeline.LLM:
		return []string{"llm.complete"}
	case *pipeline.Agent:
		if b.Central != nil {
			return []string{"llm.complete", "central_agent.survey", "central_agent.note", "central_agent.start", "central_agent.wait", "central_agent.ask", "central_agent.report"}
		}
		if len(b.Entities) > 0 {
			return []string{"llm.complete", "entity_state.get_state", "entity_state.transition"}
		}
		return []string{"llm.complete"}
	case *pipeline.APICall:
		return []string{"http.request"}
	case *pipeline.Transition:
		return []string{"entity_state.transition"}
	case *pipeline.ServiceCall:
		service, named := e.p.Services[b.Service]
		switch {
		case named && service.Module != "":
		case named:
			return []string{service.Builtin + "." + b.Method}
		default:
			return []string{b.Service + "." + b.Method}
		}
	}
	return nil
}

// toolsOf returns what of modules a node runs, and notes what that takes.
func (e *explainer) toolsOf(n *pipeline.Node) []string {
	var tools []string
	add := func(module, tool string) {
		e.modules[module] = true
		if tool != "" {
			e.capabilities[kernel.CapTools] = true
			module += "." + tool
		}
		tools = append(tools, module)
	}
	n.Functions(func(f *pipeline.Function) { add(f.Module, f.Tool) })
	switch b := n.Body.(type) {
	case *pipeline.ServiceCall:
		if module := e.p.Services[b.Service].Module; module != "" {
			add(module, b.Method)
		}
	case *pipeline.ToolCall:
		owner, tool, _ := strings.Cut(strings.Replace(b.Tool, ":", ".", 1), ".")
		if service, ok := e.p.Services[owner]; ok {
			owner = service.Module
		}
		add(owner, tool)
	case *pipeline.Agent:
		names := b.Tools
		if len(names) == 0 && b.Central == nil {
			for _, service := range slices.Sorted(maps.Keys(e.p.Services)) {
				names = append(names, service+":*")
			}
		}
		e.offered(names, add)
	case *pipeline.ToolExecutor:
		e.offered(b.Tools, add)
	}
	return tools
}

// offered adds the tools of a module that a model may choose of.
func (e *explainer) offered(names []string, add func(module, tool string)) {
	for _, name := range names {
		owner, tool := name, "*"
		if i := strings.IndexAny(name, ":."); i >= 0 {
			owner, tool = name[:i], name[i+1:]
		}
		if service, ok := e.p.Services[owner]; ok {
			owner = service.Module
		}
		if owner != "" {
			add(owner, tool)
		}
	}
}

// summarise lists what the nodes need together.
func (e *explainer) summarise(plan *Plan) {
	plan.Operations, plan.Capabilities, plan.Modules = []Operation{}, []Capability{}, []Module{}
	for _, name := range slices.Sorted(maps.Keys(e.operations)) {
		op := Operation{Name: name, Capability: kernel.CapabilityOf(name), Nodes: e.operations[name]}
		if op.Capability != "" {
			e.capabilities[op.Capability] = true
		}
		plan.Operations = append(plan.Operations, op)
	}
	for _, name := range slices.Sorted(maps.Keys(e.capabilities)) {
		plan.Capabilities = append(plan.Capabilities, Capability{name, e.p.Caps.Allows(name)})
	}
	for _, name := range e.p.Modules() {
		e.modules[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(e.modules)) {
		plan.Modules = append(plan.Modules, e.module(name))
	}
}

// relabel is what the operator lets a node take off what it answers.
func (e *explainer) relabel(n *pipeline.Node) []string {
	if e.c == nil || n.KeepsLabels() {
		return nil
	}
	return relabels(e.c.Labels.Of(e.p.Name, n.Name))
}

func (e *explainer) module(name string) Module {
	m := Module{Name: name, Grants: []string{}}
	if e.c == nil {
		return m
	}
	for _, spec := range e.c.Modules {
		if spec.Name != name {
			continue
		}
		m.Configured, m.Path, m.Isolation = true, spec.Path, string(spec.Isolation)
		if m.Isolation == "" {
			m.Isolation = "call"
		}
		for _, g := range spec.Grants {
			m.Grants = append(m.Grants, g.String())
		}
		m.Labels = moduleLabels(&spec.Labels)
	}
	return m
}

// moduleLabels says what a module's answers carry, and what it may take off.
func moduleLabels(l *pipeline.ModuleLabels) []string {
	words := relabels(l.Relabel)
	if l.Result != nil {
		words = append(words, "answers "+l.Result.String())
	}
	if l.AnyTool != nil {
		words = append(words, "tools answer "+l.AnyTool.String())
	}
	for _, tool := range slices.Sorted(maps.Keys(l.Tools)) {
		words = append(words, tool+" answers "+l.Tools[tool].String())
	}
	return words
}

func relabels(may kernel.Relabel) []string {
	var words []string
	if may.Endorse {
		words = append(words, "endorse")
	}
	if may.Declassify {
		words = append(words, "declassify")
	}
	return words
}
