package pipeline

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// Cause is why a node depends on another.
type Cause string

// The causes.
const (
	Declared Cause = "dependencies" // its dependencies name it
	Awaited  Cause = "wait_for"     // its wait_for names it
	Named    Cause = "reference"    // a template or an expression of its spec names it
	Ordered  Cause = "order"        // it names nothing, and stands next in the file
	Routed   Cause = "route"        // a switch with route_downstream leads to it
	Handler  Cause = "on_error"     // it goes on where the other fails, or waits too long
	Invoked  Cause = "macro"        // the invocation of the macro that it comes from depends on it
)

// Reason is one cause of a dependency and, of a reference, what in the spec names
// the other node, and where.
type Reason struct {
	Cause  Cause
	Member string // such as input_mapping.score; "" where it is not a member of the spec
	Where  kernel.Where
}

// Dependency is a node that another waits for, and why.
type Dependency struct {
	Node    string
	Reasons []Reason
}

// Why returns what a node of the graph depends on, in DependsOn's order, each with
// at least one reason.
func (g *Graph) Why(n *Node) []Dependency {
	named := n.named()
	all := make([]Dependency, len(n.DependsOn))
	for i, name := range n.DependsOn {
		all[i] = Dependency{Node: name, Reasons: g.reasons(n, name, named[name])}
	}
	return all
}

// named returns the references of a node by what they name, in the order of their places.
func (n *Node) named() map[string][]Reason {
	members := map[*source.Value]string{}
	if n.spec != nil {
		notePaths(n.spec.At.With(n.spec.M), "", members)
		members[n.spec.At] = "when" // a condition to which a switch has added that it leads here
	}
	named := map[string][]Reason{}
	n.visit(func(ref Reference) {
		if ref.At != nil {
			root := ref.Path[0]
			named[root] = append(named[root], Reason{Cause: Named, Member: members[ref.At], Where: ref.At.Where()})
		}
	})
	for root, reasons := range named {
		slices.SortFunc(reasons, func(a, b Reason) int {
			return cmp.Or(a.Where.Line-b.Where.Line, a.Where.Column-b.Where.Column, strings.Compare(a.Member, b.Member))
		})
		named[root] = slices.Compact(reasons)
	}
	return named
}

// notePaths notes the dotted path to every value in v.
func notePaths(v *source.Value, path string, paths map[*source.Value]string) {
	below := func(name string) string { return strings.TrimPrefix(path+"."+name, ".") }
	if _, noted := paths[v]; !noted { // an anchored value stands where it is first
		paths[v] = path
	}
	switch t := v.V.(type) {
	case []*source.Value:
		for i, item := range t {
			notePaths(item, below(strconv.Itoa(i)), paths)
		}
	case *source.Mapping:
		for _, name := range t.Names {
			notePaths(t.Members[name], below(name), paths)
		}
	}
}

func (g *Graph) reasons(n *Node, on string, named []Reason) []Reason {
	var reasons []Reason
	because := func(holds bool, c Cause) {
		if holds {
			reasons = append(reasons, Reason{Cause: c, Where: n.Where})
		}
	}
	other := g.byName[on]
	routed := other != nil && other.routesTo(n.Name)
	because(n.explicit && g.stands(on, n.declared), Declared)
	because(g.stands(on, n.waits), Awaited)
	for _, r := range named {
		if !routed || r.Member != "when" { // which names it since it routes here
			reasons = append(reasons, r)
		}
	}
	because(routed, Routed)
	because(other != nil && other.handledBy(n.Name), Handler)
	for at := n.group; at != nil; at = at.parent {
		because(g.stands(on, at.dependencies), Invoked)
	}
	because(len(reasons) == 0, Ordered)
	return reasons
}

// stands reports whether one of the names is the node, or a macro's whose last
// nodes include it.
func (g *Graph) stands(node string, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		if name == node || g.byName[name] != nil {
			return name == node
		}
		group := g.groupOf(name)
		return group != nil && slices.Contains(group.exits(), node)
	})
}

// groupOf returns the invocation of a macro of that name; nil if there is none.
func (g *Graph) groupOf(name string) *group {
	for _, n := range g.Nodes {
		for at := n.group; at != nil; at = at.parent {
			if at.name == name {
				return at
			}
		}
	}
	return nil
}

func (n *Node) routesTo(name string) bool {
	b, ok := n.Body.(*Composite)
	return ok && b.Mode == Switch && b.Route && slices.Contains(b.actions(), name)
}

func (n *Node) handledBy(name string) bool {
	b, ok := n.Body.(*Wait)
	return n.OnError == name || ok && b.OnTimeout == name
}

// References calls f with every path that the node's mapping, condition and body name.
func (n *Node) References(f func(Reference)) { n.visit(f) }

// Receives returns the nodes whose results the node is given without naming them:
// those that it depends on, with a mapping however indirectly; none with strict_mapping.
func (n *Node) Receives() []string {
	switch {
	case n.strict:
		return nil
	case n.mapping != nil:
		return n.ancestors
	}
	return n.DependsOn
}

// Text returns the path as a file writes it.
func (p Path) Text() string { return Reference{Path: p}.text() }

// OutputPaths returns what output names, by its alias.
func (p *Pipeline) OutputPaths() map[string]Path { return p.output }

// NamedInner is a body of a composite under the name of the member that holds it.
type NamedInner struct {
	Name      string     // body, else_body, or branches.N.body, N from 0
	Condition *Condition // under which it runs, of a branch or an if; may be nil
	*Inner
}

// Bodies returns the bodies of a composite, in the order in which they are considered.
func (b *Composite) Bodies() []NamedInner {
	var all []NamedInner
	for i, branch := range b.Branches {
		all = append(all, NamedInner{"branches." + strconv.Itoa(i) + ".body", branch.Condition, branch.Body})
	}
	all = append(all, NamedInner{"body", b.Condition, b.Body}, NamedInner{"else_body", nil, b.Else})
	return slices.DeleteFunc(all, func(i NamedInner) bool { return i.Inner == nil })
}

// PortName returns our name of a port that hexDAG calls otherwise.
func PortName(name string) string {
	switch name {
	case "api_call":
		return "http"
	case "event_bus":
		return "eventbus"
	case "data_store", "storage":
		return "memory"
	}
	return name
}
