package pipeline

import (
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// Node is one checked node of a pipeline.
type Node struct {
	Name        string
	Kind        string
	Description string
	Where       kernel.Where
	DependsOn   []string // sorted
	Wave        int      // from 1
	Retry       Retry
	Timeout     time.Duration // of each attempt; 0 means the pipeline's default
	Body        Body

	spec     *section
	explicit bool    // it names its dependencies itself
	mapping  *mapped // of input_mapping; nil without one
	strict   bool
}

// Retry says how often and when a node is tried again.
type Retry struct {
	Attempts int // in all, at least 1
	Delay    time.Duration
	Backoff  float64
	MaxDelay time.Duration
}

// After returns how long to wait after a failed attempt, counted from 1.
func (r Retry) After(attempt int) time.Duration {
	d := float64(r.Delay)
	for range attempt - 1 {
		if d *= r.Backoff; d >= float64(r.MaxDelay) {
			break
		}
	}
	return min(time.Duration(d), r.MaxDelay)
}

// Body is what a node does: *LLM, *Function, *Data or *ServiceCall.
type Body interface{ references(func(reference)) }

// LLM asks a model.
type LLM struct {
	System, Human *Template // System may be nil
	Schema        kernel.Value
	Model         string
	MaxTokens     int
}

// Function runs a module: its tool of that name, or its node_run where Tool is "".
type Function struct{ Module, Tool string }

// Data answers a fixed value whose strings are templates.
type Data struct{ Output *Filled }

// ServiceCall calls a port's method.
type ServiceCall struct{ Op string }

func (b *LLM) references(f func(reference)) {
	b.Human.references(f)
	if b.System != nil {
		b.System.references(f)
	}
}
func (b *Function) references(func(reference))    {}
func (b *Data) references(f func(reference))      { b.Output.references(f) }
func (b *ServiceCall) references(func(reference)) {}

func (t *Template) references(f func(reference)) {
	for _, ref := range t.refs {
		f(ref)
	}
}

// Filled is a value whose strings are templates.
type Filled struct {
	literal  kernel.Value
	template *Template
	list     []*Filled
	members  map[string]*Filled
}

func fill(v *value) *Filled {
	switch t := v.v.(type) {
	case string:
		return &Filled{template: parseTemplate(t)}
	case []*value:
		f := &Filled{list: make([]*Filled, len(t))}
		for i, item := range t {
			f.list[i] = fill(item)
		}
		return f
	case *mapping:
		f := &Filled{members: make(map[string]*Filled, len(t.members))}
		for name, item := range t.members {
			f.members[name] = fill(item)
		}
		return f
	}
	return &Filled{literal: v.v}
}

// Render fills the templates in.
func (f *Filled) Render(s *Scope) (kernel.Value, error) {
	switch {
	case f.template != nil:
		return f.template.Render(s)
	case f.list != nil:
		list := make([]any, len(f.list))
		for i, item := range f.list {
			v, err := item.Render(s)
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	case f.members != nil:
		members := make(map[string]any, len(f.members))
		for name, item := range f.members {
			v, err := item.Render(s)
			if err != nil {
				return nil, err
			}
			members[name] = v
		}
		return members, nil
	}
	return f.literal, nil
}

func (f *Filled) references(visit func(reference)) {
	if f.template != nil {
		f.template.references(visit)
	}
	for _, item := range f.list {
		item.references(visit)
	}
	for _, item := range f.members {
		item.references(visit)
	}
}

// kinds maps every name of a node kind to its reader; nil marks the kinds of
// hexDAG that are not built yet.
func kinds() map[string]func(*Node) Body {
	return map[string]func(*Node) Body{
		"llm_node": readLLM, "function_node": readFunction, "data_node": readData, "static_node": readData, "service_call_node": readServiceCall,
		"agent_node": nil, "re_act_agent_node": nil, "api_call_node": nil, "composite_node": nil, "expression_node": nil,
		"transition": nil, "transition_node": nil, "wait_node": nil, "macro_invocation": nil,
	}
}

// laterFields are the members of a spec, common to all kinds, that are not built yet.
func laterFields() []string {
	return []string{"when", "on_error", "critical", "required_inputs", "cache", "hooks"}
}

// readNode reads one entry of spec.nodes; nil if it is no node at all.
func (p *problems) readNode(v *value) *Node {
	s := p.open(v, "a node")
	if s == nil {
		return nil
	}
	n := &Node{Where: v.where()}
	n.Kind = strings.TrimPrefix(s.required("kind"), "core:")
	if meta := s.member("metadata"); meta != nil {
		n.Name, n.Description = meta.required("name"), meta.text("description")
	} else {
		p.add(v.errorf(kernel.CodePipeline, "add metadata: {name: ...}", "a node needs metadata"))
	}
	p.checkName(n, s)
	explicit, waits := s.get("dependencies"), s.texts("wait_for")
	settings := s.get("settings")
	p.checkNodeLevel(s)
	n.spec = p.specOf(n, s, settings)
	read, known := kinds()[n.Kind]
	switch {
	case !known && n.Kind != "":
		p.add(s.get("kind").errorf(kernel.CodeUnknownKind, didYouMean(n.Kind, builtKinds()), "there is no node kind %s", kernel.Quote(n.Kind)))
		return n
	case read == nil && n.Kind != "":
		p.add(s.get("kind").errorf(kernel.CodeNotYet, "README lists under 'Not yet' what is still to come", "node kind %s is part of hexDAG and not built yet", n.Kind))
		return n
	case n.spec == nil || read == nil:
		return n
	}
	n.readCommon()
	if explicit == nil {
		explicit = n.spec.get("dependencies")
	}
	waits = append(waits, n.spec.texts("wait_for")...)
	n.Body = read(n)
	n.spec.rest(laterFields()...)
	n.DependsOn = waits
	if explicit != nil {
		n.explicit = true
		n.DependsOn = append(n.DependsOn, explicitNames(p, explicit)...)
	}
	return n
}

func explicitNames(p *problems, v *value) []string {
	s := section{problems: p, at: v, m: &mapping{members: map[string]*value{"dependencies": v}}}
	return s.texts("dependencies")
}

func builtKinds() []string {
	var names []string
	for name := range kinds() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (p *problems) checkName(n *Node, s *section) {
	switch n.Name {
	case "":
	case "ctx", "input", "$input", "state":
		p.add(s.at.errorf(kernel.CodePipeline, "choose another", "%s is a reserved name", n.Name))
	default:
		if ref, ok := parseReference(n.Name); !ok && !dashed(n.Name) || ok && len(ref.path) > 1 {
			p.add(s.at.errorf(kernel.CodePipeline, "use letters, digits, _ and -", "%s is no name for a node", kernel.Quote(n.Name)))
		}
	}
}

func dashed(name string) bool {
	_, ok := parseReference(strings.ReplaceAll(name, "-", "_"))
	return ok
}

// checkNodeLevel refuses at node level what belongs inside spec.
func (p *problems) checkNodeLevel(s *section) {
	legal := []string{"kind", "metadata", "spec", "settings", "dependencies", "wait_for"}
	for _, name := range s.m.names {
		if !slices.Contains(legal, name) {
			at := s.m.keys[name]
			if at == nil {
				at = s.at
			}
			p.add(at.errorf(kernel.CodePipeline, "move it inside spec", "%s is not a valid node-level field", kernel.Quote(name)))
		}
	}
}

// specOf returns the spec with the settings under it.
func (p *problems) specOf(n *Node, s *section, settings *value) *section {
	what := "spec of node " + kernel.Quote(n.Name)
	v := s.get("spec")
	if v == nil {
		v = &value{file: s.at.file, line: s.at.line, column: s.at.column, v: &mapping{members: map[string]*value{}, keys: map[string]*value{}}}
	}
	spec := p.open(v, what)
	if spec == nil || settings == nil {
		return spec
	}
	if under := p.open(settings, "settings"); under != nil {
		merged := &mapping{names: slices.Clone(spec.m.names), members: map[string]*value{}, keys: map[string]*value{}}
		for name, item := range spec.m.members {
			merged.members[name], merged.keys[name] = item, spec.m.keys[name]
		}
		merged.merge(settings)
		spec.m = merged
	}
	return spec
}

func (n *Node) readCommon() {
	s := n.spec
	n.Timeout = s.seconds("timeout")
	n.Retry = Retry{Attempts: max(int(s.positive("max_retries")), 1), Delay: s.seconds("retry_delay"), Backoff: s.positive("retry_backoff"), MaxDelay: s.seconds("retry_max_delay")}
	if n.Retry.Delay == 0 {
		n.Retry.Delay = time.Second
	}
	if n.Retry.Backoff == 0 {
		n.Retry.Backoff = 2
	}
	if n.Retry.MaxDelay == 0 {
		n.Retry.MaxDelay = time.Minute
	}
	n.strict = s.flag("strict_mapping")
	if v := s.get("input_mapping"); v != nil {
		if _, ok := v.v.(*mapping); !ok {
			s.add(v.errorf(kernel.CodePipeline, "write name: path lines", "input_mapping must be a mapping, this is %s", v.typeName()))
		} else {
			n.mapping = s.parseMapped(v)
		}
	}
	if n.strict && n.mapping == nil {
		s.add(s.at.errorf(kernel.CodePipeline, "add input_mapping, or remove strict_mapping", "strict_mapping needs input_mapping"))
	}
}

// first returns the first member of these names that is there.
func (s *section) first(names ...string) *value {
	var found *value
	for _, name := range names {
		if v := s.get(name); v != nil && found == nil {
			found = v
		}
	}
	return found
}

func (s *section) template(names ...string) *Template {
	v := s.first(names...)
	if v == nil {
		return nil
	}
	text, ok := v.v.(string)
	if !ok {
		s.add(v.errorf(kernel.CodePipeline, "write text", "%s must be a string, this is %s", names[0], v.typeName()))
	}
	return parseTemplate(text)
}

func readLLM(n *Node) Body {
	s := n.spec
	b := &LLM{Human: s.template("human_message", "prompt_template", "template"), System: s.template("system_message", "system_prompt"), Model: s.text("model"), MaxTokens: int(s.positive("max_tokens"))}
	if b.Human == nil {
		s.add(s.at.errorf(kernel.CodePipeline, "add human_message: ...", "an llm_node needs human_message"))
		b.Human = parseTemplate("")
	}
	if v := s.get("output_schema"); v != nil {
		b.Schema = s.schema(v)
	}
	for _, later := range []string{"examples", "conversation", "stream"} {
		if v := s.get(later); v != nil {
			s.add(v.errorf(kernel.CodeNotYet, "remove it; README lists under 'Not yet' what is still to come", "%s of llm_node is not built yet", later))
		}
	}
	return b
}

// readFunction reads fn: "module" or "module.tool".
func readFunction(n *Node) Body {
	fn := n.spec.required("fn")
	module, tool, _ := strings.Cut(fn, ".")
	if v := n.spec.get("fn"); v != nil && (module == "" || strings.ContainsAny(fn, "/: ") || strings.Contains(tool, ".")) {
		n.spec.add(v.errorf(kernel.CodePipeline, "write fn: module for a module that exports node_run, or fn: module.tool for one of its tools, and configure the module; see README, Modules",
			"fn: %s is no module's export; import paths run no code here", kernel.Quote(fn)))
	}
	return &Function{Module: module, Tool: tool}
}

func readData(n *Node) Body {
	v := n.spec.get("output")
	if v == nil {
		n.spec.add(n.spec.at.errorf(kernel.CodePipeline, "add output: {...}", "a data_node needs output"))
		return &Data{Output: &Filled{}}
	}
	return &Data{Output: fill(v)}
}

func readServiceCall(n *Node) Body {
	return &ServiceCall{Op: n.spec.required("service") + "." + n.spec.required("method")}
}

// schema reads output_schema: {field: type} or a JSON Schema of an object.
func (s *section) schema(v *value) kernel.Value {
	m, ok := v.v.(*mapping)
	if !ok {
		s.add(v.errorf(kernel.CodePipeline, "write field: type lines", "output_schema must be a mapping, this is %s", v.typeName()))
		return nil
	}
	if _, full := m.members["properties"]; full {
		return v.plain()
	}
	properties, required := map[string]any{}, make([]any, 0, len(m.names))
	for _, field := range m.names {
		item := m.members[field]
		name, _ := item.v.(string)
		base, nullable := strings.CutSuffix(name, "?")
		kind, known := fieldTypes()[base]
		if !known {
			var names []string
			for k := range fieldTypes() {
				names = append(names, k)
			}
			s.add(item.errorf(kernel.CodePipeline, didYouMean(base, names), "field %s has the unknown type %s", kernel.Quote(field), kernel.Quote(name)))
			continue
		}
		properties[field] = typeSchema(kind, nullable)
		required = append(required, field)
	}
	return map[string]any{"type": "object", "properties": properties, "required": required}
}

// fieldTypes maps hexDAG's names of types to JSON Schema's.
func fieldTypes() map[string]string {
	return map[string]string{"str": "string", "int": "integer", "float": "number", "bool": "boolean", "list": "array", "dict": "object", "Any": ""}
}

func typeSchema(kind string, nullable bool) kernel.Value {
	switch {
	case kind == "":
		return map[string]any{}
	case nullable:
		return map[string]any{"type": []any{kind, "null"}}
	}
	return map[string]any{"type": kind}
}
