package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// connect infers the dependencies of every node, and checks them: each exists,
// and there is no cycle. It gives every node its wave.
func (p *problems) connect(nodes []*Node) {
	byName := map[string]*Node{}
	for _, n := range nodes {
		if other, twice := byName[n.Name]; twice && n.Name != "" {
			p.add(&kernel.Error{Code: kernel.CodePipeline, What: "two nodes are called " + kernel.Quote(n.Name), Where: n.Where, Why: "the other is at " + other.Where.String(), Fix: "rename one"})
		}
		byName[n.Name] = n
	}
	for i, n := range nodes {
		inferred := n.inferred(byName)
		all := slices.Concat(n.DependsOn, inferred)
		if len(all) == 0 && !n.explicit && i > 0 {
			all = []string{nodes[i-1].Name} // hexDAG chains a node without references to the one before it
		}
		slices.Sort(all)
		n.DependsOn = slices.Compact(all)
		for _, d := range n.DependsOn {
			if byName[d] == nil {
				names := make([]string, 0, len(byName))
				for name := range byName {
					names = append(names, name)
				}
				p.add(&kernel.Error{Code: kernel.CodePipeline, What: fmt.Sprintf("node %s depends on %s, which does not exist", kernel.Quote(n.Name), kernel.Quote(d)), Where: n.Where, Fix: didYouMean(d, names)})
			}
		}
	}
	if len(p.list) == 0 {
		p.assignWaves(nodes, byName)
	}
}

// inferred returns the nodes that a node's mapping, templates and wait_for refer to.
func (n *Node) inferred(byName map[string]*Node) []string {
	var names []string
	visit := func(r reference) {
		if name := r.node(); name != n.Name && byName[name] != nil {
			names = append(names, name)
		}
	}
	if n.mapping != nil {
		n.mapping.references(visit)
	}
	if n.Body != nil {
		n.Body.references(visit)
	}
	return names
}

// assignWaves numbers the layers of the graph from 1: a node's is one more than
// its latest dependency's.
func (p *problems) assignWaves(nodes []*Node, byName map[string]*Node) {
	var path []string
	var visit func(n *Node) bool
	visit = func(n *Node) bool {
		switch {
		case n.Wave > 0:
			return true
		case n.Wave < 0: // on the path
			start := slices.Index(path, n.Name)
			cycle := append(slices.Clone(path[start:]), n.Name)
			p.add(&kernel.Error{Code: kernel.CodePipeline, What: "Cycle detected: " + strings.Join(cycle, " -> "), Where: n.Where, Fix: "remove one of these dependencies"})
			return false
		}
		n.Wave = -1
		path = append(path, n.Name)
		wave := 1
		for _, d := range n.DependsOn {
			if !visit(byName[d]) {
				return false
			}
			wave = max(wave, byName[d].Wave+1)
		}
		path = path[:len(path)-1]
		n.Wave = wave
		return true
	}
	for _, n := range nodes {
		if !visit(n) {
			return
		}
	}
}
