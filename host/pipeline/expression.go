package pipeline

import (
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/expr"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// Compute evaluates expressions in order, or merges the results of the nodes that
// it depends on.
type Compute struct {
	Vars   []Variable
	Output []string // the variables that make the result; empty means all
	Merge  *Merge
}

// Variable is one expression, or a template.
type Variable struct {
	Name     string
	Program  *Expression
	Template *Template
}

// Merge says how results become one: a dict by node, a list, the first or the
// last that is not null, or what a function makes of the list.
type Merge struct {
	Strategy string
	Extract  []string // path into each result
	Reducer  *Function
	Order    []string // the nodes
}

// Extracted returns the part of a node's result that is merged.
func (m *Merge) Extracted(v kernel.Value) kernel.Value {
	v, _ = follow(v, m.Extract)
	return v
}

func (b *Compute) visit(f func(Reference)) {
	own := make([]string, 0, len(b.Vars))
	for _, v := range b.Vars {
		others := func(r Reference) {
			if !slices.Contains(own, r.Path[0]) {
				f(r)
			}
		}
		v.Program.visit(others)
		v.Template.visit(others)
		own = append(own, v.Name)
	}
}

func readExpression(r *reader, n *Node) Body {
	s := n.spec
	b := &Compute{Output: s.Texts("output_fields"), Merge: r.readMerge(s)}
	if v := s.Get("output_schema"); v != nil {
		n.Output = r.object(v, "output_schema")
	}
	if exprs := s.Member("expressions"); exprs != nil {
		for _, name := range exprs.M.Names {
			r.checkVariable(n, name, exprs.M.Members[name])
			b.Vars = append(b.Vars, r.readVariable(name, exprs.M.Members[name]))
		}
	}
	if len(b.Vars) == 0 && b.Merge == nil {
		r.Add(s.At.Errorf(kernel.CodePipeline, "add expressions: {name: expression}, or merge_strategy", "an expression_node needs expressions"))
	}
	for _, field := range b.Output {
		if !slices.ContainsFunc(b.Vars, func(v Variable) bool { return v.Name == field }) {
			r.Add(s.Get("output_fields").Errorf(kernel.CodePipeline, "name one of the expressions", "output_fields names %s, which is none of the expressions", kernel.Quote(field)))
		}
	}
	return b
}

// checkVariable refuses a name that would hide another.
func (r *reader) checkVariable(n *Node, name string, v *source.Value) {
	if slices.Contains(r.functions, name) {
		r.Add(v.Errorf(kernel.CodePipeline, "choose another", "expression %s has the name of a built-in function", kernel.Quote(name)))
	}
	if n.mapping != nil && n.mapping.members[name] != nil {
		r.Add(v.Errorf(kernel.CodePipeline, "choose another", "expression %s has the name of an input_mapping", kernel.Quote(name)))
	}
}

func (r *reader) readVariable(name string, v *source.Value) Variable {
	out := Variable{Name: name}
	text, ok := v.Text()
	if !ok {
		// YAML's own literals: a number, a boolean, a list.
		text = expr.Repr(v.Plain())
	}
	if ok && isTemplate(text) {
		out.Template = parseTemplate(text, v)
		return out
	}
	out.Program = r.expression(v, text)
	return out
}

func (r *reader) readMerge(s *source.Section) *Merge {
	v := s.Get("merge_strategy")
	if v == nil {
		return nil
	}
	m := &Merge{Strategy: s.Text("merge_strategy")}
	if known := []string{"dict", "list", "first", "last", "reduce"}; !slices.Contains(known, m.Strategy) {
		r.Add(v.Errorf(kernel.CodePipeline, kernel.DidYouMean(m.Strategy, known), "there is no merge_strategy %s", kernel.Quote(m.Strategy)))
	}
	if field := s.Text("extract_field"); field != "" {
		m.Extract = strings.Split(field, ".")
	}
	m.Reducer = r.function(s.Get("reducer"), "reducer")
	if m.Strategy == "reduce" && m.Reducer == nil {
		r.Add(v.Errorf(kernel.CodePipeline, "add reducer: module.tool, which is given {items: [...]}", "merge_strategy reduce needs a reducer"))
	}
	return m
}
