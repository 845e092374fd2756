// Package pipeline turns hexDAG's YAML into a checked graph. Nothing of what a
// file says runs here: not at parsing, not at validation.
package pipeline

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/types"
)

// Pipeline is a checked pipeline. It is immutable and can run any number of times at once.
type Pipeline struct {
	*Graph
	File        string
	Name        string
	Namespace   string // metadata.namespace: the environment it is for
	Description string
	Version     string            // "sha256:..." of all that was read for it; "" where it was not read through a Cache
	Sources     map[string]Source // by path, each file that was read for it
	Where       kernel.Where

	Ports     map[string]PortSpec
	TypePorts map[string]map[string]PortSpec // by node kind
	NodePorts map[string]map[string]PortSpec // by node
	Services  map[string]ServiceSpec
	Hooks     []HookSpec
	Machines  []*Machine

	Concurrency int           // nodes of one run at once
	NodeTimeout time.Duration // of nodes that name none; 0 means none
	Timeout     time.Duration // of a run; 0 means none
	Limits      kernel.Limits
	Caps        kernel.CapSet
	Lock        *Lock         // what a run holds while it works; may be nil
	Input       *types.Object // what the run's input is held to; may be nil
	OutputType  *types.Object // what the output is held to; may be nil

	// Warnings are what works and is likely not meant.
	Warnings []*kernel.Error

	output map[string]Path
}

// Path is a dotted path that starts at a node.
type Path []string

// ServiceSpec says what a service of a pipeline is: a module, whose tools are the
// service's methods, or one that the host has.
type ServiceSpec struct {
	Module  string
	Builtin string // one of the libraries that the host has
	Where   kernel.Where
}

// defaultConcurrency is hexDAG's.
const defaultConcurrency = 10

// Output picks the pipeline's output from the nodes' results; what is missing is null.
func (p *Pipeline) Output(results Results) map[string]kernel.Value {
	return pick(p.output, results)
}

// OutputNodes returns the nodes whose results are in the output, sorted.
func (p *Pipeline) OutputNodes() []string {
	names := map[string]bool{}
	for _, path := range p.output {
		names[path[0]] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func pick(output map[string]Path, results Results) map[string]kernel.Value {
	out := make(map[string]kernel.Value, len(output))
	for alias, path := range output {
		v, _ := results.Result(path[0])
		v, _ = follow(v, path[1:])
		out[alias] = v
	}
	return out
}

// String describes the graph: the nodes of each wave, and what they depend on.
func (p *Pipeline) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d nodes in %d waves\n", p.Name, len(p.Nodes), len(p.Waves))
	for _, n := range p.ByWave() {
		fmt.Fprintf(&b, "  %d  %-20s %s", n.Wave, n.Name, n.Kind)
		if len(n.DependsOn) > 0 {
			b.WriteString(" after " + strings.Join(n.DependsOn, ", "))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// ByWave returns the nodes, sorted by wave and name.
func (g *Graph) ByWave() []*Node {
	return slices.SortedFunc(slices.Values(g.Nodes), func(a, b *Node) int {
		if a.Wave != b.Wave {
			return a.Wave - b.Wave
		}
		return strings.Compare(a.Name, b.Name)
	})
}

// Walk calls f with every node of the graph and of the bodies in it.
func (g *Graph) Walk(f func(*Node)) {
	if g == nil {
		return
	}
	for _, n := range g.Nodes {
		f(n)
		if b, ok := n.Body.(*Composite); ok {
			for _, inner := range b.inners() {
				inner.Graph.Walk(f)
			}
		}
	}
}

// inners returns the bodies of a composite.
func (b *Composite) inners() []*Inner {
	all := []*Inner{b.Body, b.Else}
	for _, branch := range b.Branches {
		all = append(all, branch.Body)
	}
	return slices.DeleteFunc(all, func(i *Inner) bool { return i == nil })
}

// Functions calls f with every function that a node runs itself.
func (n *Node) Functions(f func(*Function)) {
	give := func(fn *Function) {
		if fn != nil {
			f(fn)
		}
	}
	switch b := n.Body.(type) {
	case *Function:
		give(b)
	case *Compute:
		if b.Merge != nil {
			give(b.Merge.Reducer)
		}
	case *Wait:
		give(b.Setup)
	case *Composite:
		give(b.Reducer)
		for _, inner := range b.inners() {
			give(inner.Function)
		}
	}
}

// Modules returns the names of the modules that the nodes run, sorted.
func (p *Pipeline) Modules() []string {
	names := map[string]bool{}
	p.Walk(func(n *Node) {
		n.Functions(func(f *Function) { names[f.Module] = true })
		for _, h := range n.Hooks {
			names[h] = true
		}
	})
	for _, s := range p.Services {
		if s.Module != "" {
			names[s.Module] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
