// Package diagram draws pipelines and systems: as a tree of text, and as SVG.
// What a file's author wrote is escaped in both.
package diagram

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/pipeline/explain"
)

// Diagram is what is drawn. Its texts are as the file has them, until they are written.
type Diagram struct {
	title string
	note  string
	graph *graph
}

type graph struct{ nodes []*vertex } // by wave and name

// vertex is a node, or a process of a system.
type vertex struct {
	name  string
	kind  string
	note  string // what it does
	when  string
	about string
	wave  int // from 1
	after []edge
	inner []frame
}

// frame is a body inside a vertex: a graph, or only a note.
type frame struct {
	name  string
	note  string
	graph *graph
}

type edge struct {
	from  string
	style style
}

// style is how an edge is drawn, by what it means.
type style string

const (
	data    style = "data"    // it is named
	order   style = "order"   // it comes next
	route   style = "route"   // a switch leads to it
	handler style = "handler" // it handles errors
)

// Of returns the diagram of what a file holds.
func Of(f *pipeline.File) *Diagram {
	if f.System != nil {
		return ofSystem(f.System)
	}
	return &Diagram{title: f.Pipeline.Name, note: f.Pipeline.Description, graph: ofGraph(f.Pipeline.Graph)}
}

func ofGraph(g *pipeline.Graph) *graph {
	out := &graph{}
	for _, n := range g.ByWave() {
		v := &vertex{name: n.Name, kind: n.Kind, note: explain.Does(n), about: n.Description, wave: n.Wave}
		if n.When != nil {
			v.when = n.When.Text
		}
		for _, d := range g.Why(n) {
			v.after = append(v.after, edge{d.Node, styleOf(d.Reasons)})
		}
		if b, ok := n.Body.(*pipeline.Composite); ok {
			v.inner = frames(b)
		}
		out.nodes = append(out.nodes, v)
	}
	return out
}

func frames(b *pipeline.Composite) []frame {
	var list []frame
	for _, inner := range b.Bodies() {
		f := frame{name: inner.Name}
		if inner.Condition != nil {
			f.note = "if " + inner.Condition.Text
		}
		switch {
		case inner.Function != nil:
			f.note = strings.TrimSpace(f.note + " " + inner.Function.String())
		case inner.Graph != nil:
			f.graph = ofGraph(inner.Graph)
		}
		list = append(list, f)
	}
	for i, branch := range b.Branches {
		if branch.Action != "" {
			list = append(list, frame{name: fmt.Sprintf("branches.%d", i), note: "if " + branch.Condition.Text + ": " + branch.Action})
		}
	}
	if b.ElseAction != "" {
		list = append(list, frame{name: "else", note: b.ElseAction})
	}
	return list
}

// styleOf picks what of several reasons says most: that a value flows.
func styleOf(reasons []pipeline.Reason) style {
	has := func(causes ...pipeline.Cause) bool {
		return slices.ContainsFunc(reasons, func(r pipeline.Reason) bool { return slices.Contains(causes, r.Cause) })
	}
	switch {
	case has(pipeline.Named, pipeline.Declared):
		return data
	case has(pipeline.Routed):
		return route
	case has(pipeline.Handler):
		return handler
	}
	return order
}

// ofSystem draws each process as a node with its pipeline in it: in the order in
// which they run, or beside each other where entities start them.
func ofSystem(s *pipeline.System) *Diagram {
	d := &Diagram{title: s.Name, note: s.Description, graph: &graph{}}
	for i, p := range s.Processes {
		v := &vertex{name: p.Name, kind: "process", wave: i + 1}
		if len(s.Machines) > 0 {
			v.wave, v.note = 1, strings.Join(starts(s, p.Name), ", ")
		}
		if p.Pipeline != nil {
			v.about = p.Pipeline.Description
			v.inner = []frame{{name: "pipeline", note: p.Pipeline.Name, graph: ofGraph(p.Pipeline.Graph)}}
		}
		for _, pipe := range p.Pipes {
			v.after = append(v.after, edge{pipe.From, data})
		}
		if i > 0 && v.wave > 1 && !slices.ContainsFunc(v.after, func(e edge) bool { return e.from == s.Processes[i-1].Name }) {
			v.after = append(v.after, edge{s.Processes[i-1].Name, order})
		}
		d.graph.nodes = append(d.graph.nodes, v)
	}
	return d
}

// starts returns the states and transitions of entities that start a process.
func starts(s *pipeline.System, process string) []string {
	var list []string
	for _, on := range []map[string]string{s.OnEnter, s.OnEdge} {
		for state, name := range on {
			if name == process {
				list = append(list, "on "+state)
			}
		}
	}
	slices.Sort(list)
	return list
}

// waves returns the vertices by wave.
func (g *graph) waves() [][]*vertex {
	var waves [][]*vertex
	for _, v := range g.nodes {
		for len(waves) < v.wave {
			waves = append(waves, nil)
		}
		waves[v.wave-1] = append(waves[v.wave-1], v)
	}
	return waves
}

// Text returns the diagram as a tree: the waves, the nodes of each with what they
// wait for, and in these the bodies.
func (d *Diagram) Text() string {
	var b strings.Builder
	b.WriteString(kernel.Quote(d.title) + "\n")
	d.graph.write(&b, "")
	return b.String()
}

// branch returns what a line of the tree begins with, and what those below it do.
func branch(indent string, last bool) (line, below string) {
	if last {
		return indent + "└─ ", indent + "   "
	}
	return indent + "├─ ", indent + "│  "
}

func (g *graph) write(b *strings.Builder, indent string) {
	waves := g.waves()
	for i, wave := range waves {
		below := indent
		if len(waves) > 1 {
			var line string
			line, below = branch(indent, i == len(waves)-1)
			fmt.Fprintf(b, "%swave %d\n", line, i+1)
		}
		width := 0
		for _, v := range wave {
			width = max(width, len([]rune(kernel.Quote(v.name))))
		}
		for j, v := range wave {
			v.write(b, below, j == len(wave)-1, width)
		}
	}
}

func (v *vertex) write(b *strings.Builder, indent string, last bool, width int) {
	line, below := branch(indent, last)
	text := fmt.Sprintf("%-*s  %s", width, kernel.Quote(v.name), kernel.Quote(v.kind))
	if v.note != "" {
		text += " " + kernel.Quote(v.note)
	}
	for i, e := range v.after {
		if i == 0 {
			text += "  <- "
		} else {
			text += ", "
		}
		text += kernel.Quote(e.from)
		if e.style != data {
			text += " (" + string(e.style) + ")"
		}
	}
	if v.when != "" {
		text += "  if " + kernel.Quote(v.when)
	}
	b.WriteString(line + text + "\n")
	for i, f := range v.inner {
		line, inside := branch(below, i == len(v.inner)-1)
		b.WriteString(strings.TrimRight(line+f.name+"  "+kernel.Quote(f.note), " ") + "\n")
		if f.graph != nil {
			f.graph.write(b, inside)
		}
	}
}
