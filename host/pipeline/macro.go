package pipeline

import (
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/expr"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
	"github.com/hexdag/hexdag/host/template"
)

// macro is a kind: Macro: nodes with parameters.
type macro struct {
	name       string
	parameters []parameter
	nodes      []*source.Value
	raw        *source.Value // nodes_raw: the nodes as text, a template
	outputs    *source.Value
	ports      []string
	at         *source.Value
}

type parameter struct {
	name     string
	typeName string
	required bool
	fallback *source.Value
}

// group is the nodes of one invocation of a macro.
type group struct {
	name         string
	parent       *group  // of the macro in which it is invoked; may be nil
	nodes        []*Node // those of the macros in it included
	dependencies []string
	rooted       bool // the invocation says what it depends on
}

// has reports whether a node comes from the invocation, or from one within it.
func (g *group) has(n *Node) bool {
	for at := n.group; at != nil; at = at.parent {
		if at == g {
			return true
		}
	}
	return false
}

// outermost returns the invocation that no other holds.
func (g *group) outermost() *group {
	for g.parent != nil {
		g = g.parent
	}
	return g
}

// exits returns the nodes of the group that no other of it follows.
func (g *group) exits() []string {
	followed := map[string]bool{}
	for _, n := range g.nodes {
		for _, d := range n.DependsOn {
			followed[d] = true
		}
	}
	var names []string
	for _, n := range g.nodes {
		if !followed[n.Name] {
			names = append(names, n.Name)
		}
	}
	return names
}

// readMacro reads a document of kind: Macro, whose members stand at its top.
func (r *reader) readMacro(s *source.Section) {
	s.What = "macro"
	s.Text("apiVersion")
	m := &macro{at: s.At}
	if meta := s.Member("metadata"); meta != nil {
		m.name = meta.Required("name")
	} else {
		r.Add(s.At.Errorf(kernel.CodePipeline, "add metadata: {name: ...}", "a macro needs metadata"))
	}
	for _, item := range s.Items("parameters") {
		p := r.Open(item, "a parameter")
		if p == nil {
			continue
		}
		m.parameters = append(m.parameters, parameter{name: p.Required("name"), typeName: or(p.Text("type"), "Any"), required: p.Flag("required"), fallback: p.Get("default")})
		p.Text("description")
		p.Rest("enum")
	}
	m.nodes, m.raw, m.outputs, m.ports = s.Items("nodes"), s.Get("nodes_raw"), s.Get("outputs"), s.Texts("requires_ports")
	if len(m.nodes) == 0 && m.raw == nil {
		r.Add(s.At.Errorf(kernel.CodePipeline, "add nodes: [...]", "a macro needs nodes"))
	}
	s.Rest("spec")
	if m.name != "" {
		r.macros[m.name] = m
	}
}

// maxNodes is how many nodes a file may have in all.
const maxNodes = 20_000

// readNodes reads a list of nodes, with those of macros in place of their invocations.
func (r *reader) readNodes(items []*source.Value) []*Node {
	var nodes []*Node
	for _, item := range items {
		if *r.opts.nodes++; *r.opts.nodes > maxNodes {
			if *r.opts.nodes == maxNodes+1 { // of which there may be a billion
				r.Add(item.Errorf(kernel.CodePipeline, "split the pipeline, or invoke its macros less often", "the pipeline has more than %d nodes, with those of its macros and bodies", maxNodes))
			}
			return nodes
		}
		written := ""
		if k := item.Member("kind"); k != nil {
			written, _ = k.Text()
		}
		if r.macroName(written) != "" || r.resolveKind(written) == macroKind {
			nodes = append(nodes, r.invoke(item)...)
			continue
		}
		if n := r.readNode(item); n != nil {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// invoke reads the invocation of a macro and returns its nodes.
func (r *reader) invoke(v *source.Value) []*Node {
	s := r.Open(v, "a node")
	if s == nil {
		return nil
	}
	written := s.Required("kind")
	n := &Node{Where: v.Where()}
	if meta := s.Member("metadata"); meta != nil {
		n.Name = meta.Required("name")
		meta.Text("description")
	} else {
		r.Add(v.Errorf(kernel.CodePipeline, "add metadata: {name: ...}", "a node needs metadata"))
	}
	dependencies := append(s.Texts("dependencies"), s.Texts("wait_for")...)
	rooted := s.Get("dependencies") != nil
	settings := s.Get("settings")
	r.checkNodeLevel(s)
	spec := r.specOf(n, s, settings)
	if spec == nil {
		return nil
	}
	name, given := r.macroName(written), spec
	if name == "" {
		name = spec.Required("macro")
		name = or(r.macroName(name), name)
		given = nil
	}
	dependencies = append(dependencies, append(spec.Texts("dependencies"), spec.Texts("wait_for")...)...)
	g := &group{name: n.Name, dependencies: dependencies, rooted: rooted || spec.Get("dependencies") != nil || len(dependencies) > 0}
	m := r.macros[name]
	if own := builtinMacros()[name]; m == nil && own != nil {
		return r.join(g, r.readNodes(own(r, r.invocation(v, n.Name, spec, given != nil))))
	}
	if m == nil {
		if at := spec.Get("macro"); at != nil && !r.notBuilt(at, name) {
			r.Add(at.Errorf(kernel.CodePipeline, kernel.DidYouMean(name, r.macroNames()), "there is no macro %s", kernel.Quote(name)))
		}
		return nil
	}
	arguments := r.arguments(m, spec, given)
	if r.depth++; r.depth > maxNested {
		r.depth--
		r.Add(v.Errorf(kernel.CodePipeline, "a macro must not use itself", "macros nest deeper than %d", maxNested))
		return nil
	}
	defer func() { r.depth-- }()
	return r.expandMacro(m, g, arguments)
}

// arguments returns the parameters of an invocation. hexDAG's code reads them
// from inputs, its documentation writes config; a macro's own kind has them at the
// top of its spec.
func (r *reader) arguments(m *macro, spec, direct *source.Section) map[string]*source.Value {
	values := map[string]*source.Value{}
	for _, from := range []string{"config", "inputs"} {
		section := spec.Member(from)
		if section == nil {
			continue
		}
		for _, name := range section.M.Names {
			if values[name] != nil {
				r.Add(section.M.Members[name].Errorf(kernel.CodePipeline, "give it once", "%s is in config and in inputs", kernel.Quote(name)))
			}
			values[name] = section.M.Members[name]
		}
	}
	if direct != nil {
		for _, p := range m.parameters {
			if v := direct.Get(p.name); v != nil && values[p.name] == nil {
				values[p.name] = v
			}
		}
	}
	spec.Rest()
	known := make([]string, len(m.parameters))
	for i, p := range m.parameters {
		known[i] = p.name
		if values[p.name] == nil && p.fallback != nil {
			values[p.name] = p.fallback
		}
		v := values[p.name]
		switch {
		case v == nil && p.required:
			r.Add(spec.At.Errorf(kernel.CodePipeline, "add it under inputs", "macro %s needs %s", kernel.Quote(m.name), kernel.Quote(p.name)))
		case v == nil:
			values[p.name] = spec.At.With(nil)
		case p.typeName != "Any" && !isTyped(v, p.typeName):
			r.Add(v.Errorf(kernel.CodePipeline, "give a value of that type", "parameter %s of macro %s is %s, this is %s", kernel.Quote(p.name), kernel.Quote(m.name), kernel.Quote(p.typeName), v.TypeName()))
		}
	}
	for name, v := range values {
		if !slices.Contains(known, name) {
			r.Add(v.Errorf(kernel.CodePipeline, kernel.DidYouMean(name, known), "macro %s has no parameter %s", kernel.Quote(m.name), kernel.Quote(name)))
		}
	}
	return values
}

// isTyped reports whether a value is of a type that a macro's parameter names;
// an unknown type takes anything.
func isTyped(v *source.Value, typeName string) bool {
	want, known := map[string]string{"str": "a string", "int": "a number", "float": "a number", "bool": "a boolean", "list": "a list", "dict": "a mapping"}[strings.TrimSuffix(typeName, "?")]
	return !known || v.TypeName() == want || v.V == nil && strings.HasSuffix(typeName, "?")
}

func (r *reader) expandMacro(m *macro, g *group, arguments map[string]*source.Value) []*Node {
	arguments["name"] = m.at.With(g.name)
	items := m.nodes
	if m.raw != nil {
		items = r.renderNodes(m, arguments)
	}
	expanded := make([]*source.Value, len(items))
	for i, item := range items {
		expanded[i] = substitute(item, arguments)
	}
	nodes := r.readNodes(expanded)
	if m.outputs != nil {
		if out := r.readNode(outputsNode(g.name, substitute(m.outputs, arguments))); out != nil {
			nodes = append(nodes, out)
		}
	}
	return r.join(g, nodes)
}

// join makes the nodes those of an invocation.
func (r *reader) join(g *group, nodes []*Node) []*Node {
	g.nodes = nodes
	for _, node := range nodes {
		if node.group == nil {
			node.group = g
		} else if top := node.group.outermost(); top != g {
			top.parent = g
		}
	}
	if g.name != "" {
		r.groupsByName[g.name] = g
	}
	return nodes
}

// outputsNode is the node that answers a macro's outputs under the instance's name.
func outputsNode(name string, outputs *source.Value) *source.Value {
	return nodeAt(outputs, "expression_node", fields{{"name", name}}, fields{{"expressions", outputs}})
}

// renderNodes fills in nodes_raw, the text of a list of nodes.
func (r *reader) renderNodes(m *macro, arguments map[string]*source.Value) []*source.Value {
	text, ok := m.raw.Text()
	if !ok {
		r.Add(m.raw.Errorf(kernel.CodePipeline, "write the nodes as text: nodes_raw: |", "nodes_raw must be text, this is %s", m.raw.TypeName()))
		return nil
	}
	scope := expr.Map{}
	for name, v := range arguments {
		scope[name] = v.Plain()
	}
	rendered, err := renderText(text, scope)
	if err != nil {
		r.Add(placed(err, m.raw))
		return nil
	}
	docs, err := source.Parse(m.raw.File, []byte(rendered))
	if err != nil {
		e := placed(err, m.raw)
		e.Where = m.raw.Where()
		r.Add(e)
		return nil
	}
	if len(docs) == 1 {
		if items, ok := docs[0].V.([]*source.Value); ok {
			for i, item := range items {
				items[i] = relocate(item, m.raw)
			}
			return items
		}
	}
	r.Add(m.raw.Errorf(kernel.CodePipeline, "write - kind: ... lines", "nodes_raw does not make a list of nodes"))
	return nil
}

func renderText(text string, scope expr.Scope) (string, error) {
	t, err := template.Parse(text)
	if err != nil {
		return "", err
	}
	return t.Render(scope)
}

// relocate gives a value and all in it another place.
func relocate(v, at *source.Value) *source.Value {
	switch t := v.V.(type) {
	case []*source.Value:
		list := make([]*source.Value, len(t))
		for i, item := range t {
			list[i] = relocate(item, at)
		}
		return at.With(list)
	case *source.Mapping:
		m := source.NewMapping()
		for _, name := range t.Names {
			m.Put(name, at, relocate(t.Members[name], at))
		}
		return at.With(m)
	}
	return at.With(v.V)
}

// substitute puts a macro's arguments in place of {{ parameter }} in every string
// of v. A string that is nothing else becomes the argument itself. Whatever else
// stands in braces is left for the run.
func substitute(v *source.Value, arguments map[string]*source.Value) *source.Value {
	switch t := v.V.(type) {
	case string:
		return substituteText(v, t, arguments)
	case []*source.Value:
		list := make([]*source.Value, len(t))
		for i, item := range t {
			list[i] = substitute(item, arguments)
		}
		return v.With(list)
	case *source.Mapping:
		m := source.NewMapping()
		for _, name := range t.Names {
			key, _ := substituteText(v, name, arguments).Text()
			m.Put(or(key, name), t.Keys[name], substitute(t.Members[name], arguments))
		}
		return v.With(m)
	}
	return v
}

func substituteText(v *source.Value, text string, arguments map[string]*source.Value) *source.Value {
	argument := func(path []string) (kernel.Value, bool) {
		a := arguments[path[0]]
		if a == nil {
			return nil, false
		}
		found, missing := follow(a.Plain(), path[1:])
		return found, !missing
	}
	if ref, ok := parseTemplate(text, v).only(); ok {
		if a := arguments[ref.Path[0]]; a != nil && len(ref.Path) == 1 {
			return v.With(a.V)
		}
	}
	return v.With(placeholder.ReplaceAllStringFunc(text, func(match string) string {
		path := parsePath(placeholder.FindStringSubmatch(match)[1])
		if value, ok := argument(path); ok {
			return expr.Str(value)
		}
		return match
	}))
}
