package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// Graph is checked nodes and their edges. It is immutable.
type Graph struct {
	Nodes  []*Node // in the file's order
	Waves  []int   // how many nodes each wave has; wave 1 is Waves[0]
	byName map[string]*Node
}

// Node returns the node of that name; nil if there is none.
func (g *Graph) Node(name string) *Node { return g.byName[name] }

// After returns the names of a node and of all that depend on it, however indirectly.
func (g *Graph) After(name string) map[string]bool {
	after := map[string]bool{}
	todo := []*Node{g.byName[name]}
	for len(todo) > 0 {
		n := todo[0]
		todo = todo[1:]
		if n == nil || after[n.Name] {
			continue
		}
		after[n.Name] = true
		for _, i := range n.Dependents() {
			todo = append(todo, g.Nodes[i])
		}
	}
	return after
}

// visit calls f with every reference of a node.
func (n *Node) visit(f func(Reference)) {
	n.mapping.visit(f)
	if n.When != nil {
		n.When.visit(f)
	}
	n.Lock.visit(f)
	n.Cache.visit(f)
	if n.Body != nil {
		n.Body.visit(f)
	}
}

// connect infers the dependencies of every node, and checks them: each exists,
// and there is no cycle. chained says whether a node that names nothing follows
// the one before it.
func (r *reader) connect(nodes []*Node, chained bool) *Graph {
	c := &connector{reader: r, g: &Graph{Nodes: nodes, byName: map[string]*Node{}}}
	before := len(r.List())
	for i, n := range nodes {
		n.Index = i
		if other, twice := c.g.byName[n.Name]; twice && n.Name != "" {
			r.Add(&kernel.Error{Code: kernel.CodePipeline, What: "two nodes are called " + kernel.Quote(n.Name), Where: n.Where, Why: "the other is at " + other.Where.String(), Fix: "rename one"})
		}
		c.g.byName[n.Name] = n
	}
	for i, n := range nodes {
		c.depend(i, n, chained)
	}
	c.groups()
	for _, n := range nodes {
		c.route(n)
	}
	for _, n := range nodes {
		c.handle(n)
	}
	for _, n := range nodes {
		c.settle(n)
	}
	if len(r.List()) == before {
		c.assignWaves()
	}
	if len(r.List()) == before {
		c.finish()
	}
	return c.g
}

type connector struct {
	*reader
	g *Graph
}

func (c *connector) isNode(name string) bool { return c.g.byName[name] != nil }

// depend gives a node the dependencies that it names itself, those that it refers
// to, and, where it has neither, the node before it.
func (c *connector) depend(i int, n *Node, chained bool) {
	if n.mapping != nil {
		n.mapping.bind(c.isNode)
	}
	var inferred []string
	n.visit(func(ref Reference) {
		if name := ref.Path[0]; name != n.Name && c.isNode(name) && !slices.Contains(inferred, name) {
			inferred = append(inferred, name)
		}
	})
	n.DependsOn = c.exits(n.DependsOn)
	if n.explicit {
		for _, name := range inferred {
			if !slices.Contains(n.DependsOn, name) {
				c.warn(n, "node "+n.Name+" names "+name+" and lists its dependencies without it; it was added", "add "+name+" to dependencies")
			}
		}
	}
	n.DependsOn = append(n.DependsOn, inferred...)
	order := c.exits(n.declared)
	if len(order) == 0 {
		order = inferred
	}
	if chained && len(n.DependsOn) == 0 && !n.explicit && i > 0 {
		n.DependsOn = c.before(i, n)
		order = n.DependsOn
	}
	if b, ok := n.Body.(*Compute); ok && b.Merge != nil {
		b.Merge.Order = order
	}
}

// before returns what a node without references follows: the node before it, or
// the last nodes of the macro before it. The first nodes of a macro whose
// invocation says what it depends on follow nothing else.
func (c *connector) before(i int, n *Node) []string {
	previous := c.g.Nodes[i-1]
	for at := n.group; at != nil && !at.has(previous); at = at.parent {
		if at.rooted {
			return nil
		}
	}
	var outermost *group
	for at := previous.group; at != nil && !at.has(n); at = at.parent {
		outermost = at
	}
	if outermost != nil {
		return outermost.exits()
	}
	return []string{previous.Name}
}

// exits puts the last nodes of a macro in place of the macro's own name.
func (c *connector) exits(names []string) []string {
	var all []string
	for _, name := range names {
		if group := c.groupsByName[name]; group != nil && !c.isNode(name) {
			all = append(all, group.exits()...)
			continue
		}
		all = append(all, name)
	}
	return all
}

// groups gives the first nodes of macros the dependencies of their invocations.
func (c *connector) groups() {
	for _, n := range c.g.Nodes {
		for at := n.group; at != nil; at = at.parent {
			inner := slices.ContainsFunc(n.DependsOn, func(name string) bool {
				d := c.g.byName[name]
				return d != nil && at.has(d)
			})
			if !inner {
				n.DependsOn = append(n.DependsOn, c.exits(at.dependencies)...)
			}
		}
	}
}

// route makes the targets of a switch wait for it, and run only if it names them.
func (c *connector) route(n *Node) {
	b, ok := n.Body.(*Composite)
	if !ok || b.Mode != Switch || !b.Route {
		return
	}
	for _, name := range b.actions() {
		target := c.g.byName[name]
		if target == nil {
			c.unknown(n, name, "routes to")
			continue
		}
		if slices.Contains(target.DependsOn, n.Name) && target.When != nil && strings.Contains(target.When.Text, routed(n.Name, name)) {
			continue // two branches, one target
		}
		target.DependsOn = append(target.DependsOn, n.Name)
		text := routed(n.Name, name)
		if target.When != nil {
			text = "(" + target.When.Text + ") and (" + text + ")"
		}
		if program := c.expression(target.spec.At, text); program != nil {
			target.When = &Condition{Expression: program, Text: text}
		}
	}
}

// handle makes the handler of a node's errors wait for it.
func (c *connector) handle(n *Node) {
	names := []string{n.OnError}
	if b, ok := n.Body.(*Wait); ok {
		names = append(names, b.OnTimeout)
	}
	for _, name := range names {
		switch {
		case name == "":
		case name == n.Name:
			c.Add(&kernel.Error{Code: kernel.CodePipeline, What: "node " + kernel.Quote(n.Name) + " handles its own errors", Where: n.Where, Fix: "name another node in on_error"})
		case c.g.byName[name] == nil:
			c.unknown(n, name, "names as its handler")
		default:
			h := c.g.byName[name]
			h.DependsOn = append(h.DependsOn, n.Name)
		}
	}
}

func (c *connector) unknown(n *Node, name, verb string) {
	c.Add(&kernel.Error{Code: kernel.CodePipeline, What: fmt.Sprintf("node %s %s %s, which does not exist", kernel.Quote(n.Name), verb, kernel.Quote(name)), Where: n.Where, Fix: kernel.DidYouMean(name, c.names())})
}

func (c *connector) names() []string {
	names := make([]string, 0, len(c.g.byName))
	for name := range c.g.byName {
		names = append(names, name)
	}
	return names
}

// settle sorts a node's dependencies and notes what its body names.
func (c *connector) settle(n *Node) {
	slices.Sort(n.DependsOn)
	n.DependsOn = slices.Compact(n.DependsOn)
	for _, d := range n.DependsOn {
		if c.g.byName[d] == nil {
			c.unknown(n, d, "depends on")
		}
	}
	if n.Body != nil {
		note := func(ref Reference) { n.names = append(n.names, ref.Path[0]) }
		n.Body.visit(note)
		n.Lock.visit(note)
		slices.Sort(n.names)
		n.names = slices.Compact(n.names)
	}
}

// assignWaves numbers the layers of the graph from 1: a node's is one more than
// its latest dependency's.
func (c *connector) assignWaves() {
	var path []string
	var visit func(n *Node) bool
	visit = func(n *Node) bool {
		switch {
		case n.Wave > 0:
			return true
		case n.Wave < 0: // on the path
			start := slices.Index(path, n.Name)
			cycle := append(slices.Clone(path[start:]), n.Name)
			c.Add(&kernel.Error{Code: kernel.CodePipeline, What: "Cycle detected: " + strings.Join(cycle, " -> "), Where: n.Where, Fix: "remove one of these dependencies"})
			return false
		}
		n.Wave = -1
		path = append(path, n.Name)
		wave := 1
		for _, d := range n.DependsOn {
			if !visit(c.g.byName[d]) {
				return false
			}
			wave = max(wave, c.g.byName[d].Wave+1)
		}
		path = path[:len(path)-1]
		n.Wave = wave
		return true
	}
	for _, n := range c.g.Nodes {
		if !visit(n) {
			return
		}
	}
}

// finish notes the edges as indexes, and what a mapping that adds can see.
func (c *connector) finish() {
	for _, n := range c.g.Nodes {
		for _, name := range n.DependsOn {
			d := c.g.byName[name]
			n.deps = append(n.deps, d.Index)
			d.next = append(d.next, n.Index)
		}
		for len(c.g.Waves) < n.Wave {
			c.g.Waves = append(c.g.Waves, 0)
		}
		c.g.Waves[n.Wave-1]++
	}
	for _, n := range c.g.Nodes {
		if n.mapping != nil && !n.strict {
			n.ancestors = c.ancestorsOf(n)
		}
		c.flows(n)
	}
}

func (c *connector) ancestorsOf(n *Node) []string {
	seen := make([]bool, len(c.g.Nodes))
	var names []string
	stack := slices.Clone(n.deps)
	for len(stack) > 0 {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[i] {
			continue
		}
		seen[i] = true
		names = append(names, c.g.Nodes[i].Name)
		stack = append(stack, c.g.Nodes[i].deps...)
	}
	return names
}
