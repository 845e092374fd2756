package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// contextFields are what ctx has.
func contextFields() []string { return []string{"run_id", "pipeline_name", "node_name", "services"} }

// check finds what a graph names that cannot be there when it runs.
func (r *reader) check(pl *Pipeline) {
	for _, n := range pl.Nodes {
		r.checkVariables(pl, n)
		known := r.known(pl, n)
		n.visit(func(ref Reference) { r.checkReference(pl, n, ref, known) })
	}
}

// known returns what the paths of a node can start with, beside its nodes.
func (r *reader) known(pl *Pipeline, n *Node) []string {
	known := []string{"input", "$input", "ctx", "state", whole}
	if pl.Input != nil {
		known = append(known, inputFields(pl)...)
	}
	if n.mapping != nil {
		known = append(known, n.mapping.names...)
	}
	if b, ok := n.Body.(*Compute); ok {
		for _, v := range b.Vars {
			known = append(known, v.Name)
		}
	}
	return known
}

// inputFields returns the names that input_schema declares.
func inputFields(pl *Pipeline) []string {
	var names []string
	for _, f := range pl.Input.Fields() {
		names = append(names, f.Name)
	}
	return names
}

func (r *reader) checkVariables(pl *Pipeline, n *Node) {
	b, ok := n.Body.(*Compute)
	if !ok {
		return
	}
	for _, v := range b.Vars {
		if pl.Node(v.Name) != nil {
			r.Add(&kernel.Error{Code: kernel.CodePipeline, What: fmt.Sprintf("expression %s of node %s has the name of a node", kernel.Quote(v.Name), kernel.Quote(n.Name)), Where: n.Where, Fix: "choose another"})
		}
	}
}

func (r *reader) checkReference(pl *Pipeline, n *Node, ref Reference, known []string) {
	root := ref.Path[0]
	add := func(fix, format string, args ...any) {
		if ref.At == nil {
			return
		}
		e := ref.At.Errorf(kernel.CodePipeline, fix, format, args...)
		e.Where.Node = n.Name
		r.Add(e)
	}
	switch {
	case root == "ctx" && len(ref.Path) > 1 && !slices.Contains(contextFields(), ref.Path[1]):
		add(kernel.DidYouMean(ref.Path[1], contextFields()), "ctx has no field %s", kernel.Quote(ref.Path[1]))
	case (root == "$input" || root == "input") && len(ref.Path) > 1 && pl.Input != nil && !slices.Contains(inputFields(pl), ref.Path[1]):
		add(kernel.DidYouMean(ref.Path[1], inputFields(pl)), "input_schema declares no field %s", kernel.Quote(ref.Path[1]))
	case pl.Node(root) != nil || strings.HasPrefix(root, "$") || slices.Contains(known, root):
	case ref.Template:
		r.suspect(pl, n, ref)
	case len(ref.Path) > 1 && strict(n):
		add(kernel.DidYouMean(root, nodeNames(pl.Graph))+"; a field of the run's input is $input."+ref.text()+", or declare it in input_schema", "Unknown reference %s in node %s", kernel.Quote(root), kernel.Quote(n.Name))
	}
}

// strict reports whether a path of the node has to start with something known:
// inside bodies it can be what an iteration adds.
func strict(n *Node) bool {
	_, composite := n.Body.(*Composite)
	return !composite
}

// suspect warns of a template's name that is nearly a node's.
func (r *reader) suspect(pl *Pipeline, n *Node, ref Reference) {
	best := kernel.Nearest(ref.Path[0], nodeNames(pl.Graph))
	if best == "" || best == n.Name || slices.Contains(n.DependsOn, best) || ref.At == nil {
		return
	}
	r.warnAt(ref.At, "did you mean "+best+"?", "template of node %s names %s, which is no node", kernel.Quote(n.Name), kernel.Quote(ref.Path[0]))
}
