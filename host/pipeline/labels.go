package pipeline

import (
	"slices"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// PortLabels are the labels of what a port answers: those of the first resource
// that matches, or else the port's.
type PortLabels struct {
	Port      *kernel.Labels
	Resources []ResourceLabels

	unsaid bool // whose words the port's answers are
}

// ResourceLabels are the labels of what is read from resources of a pattern.
type ResourceLabels struct {
	Pattern string
	Labels  *kernel.Labels

	unsaid bool // whose words they are
}

// ModuleLabels are the labels of what a module answers, beside those of what it was
// given and has read, and what of these it may take off.
type ModuleLabels struct {
	Result *kernel.Labels
	Tools  map[string]*kernel.Labels
	kernel.Relabel
	// AnyTool are those that the operator says of the tools of all modules.
	AnyTool *kernel.Labels
}

// RunLabels are what an operator says of runs: the labels that their inputs have at
// least, what tools answer, and the nodes that may take off labels of what they answer.
type RunLabels struct {
	Input *kernel.Labels
	Tools *kernel.Labels // of what tools of modules answer
	Nodes []NodeRelabel
}

// NodeRelabel lets a node of a pipeline, by their names, take off labels.
type NodeRelabel struct {
	Pipeline, Node string
	kernel.Relabel
}

// Of returns what a node may take off.
func (l *RunLabels) Of(pipeline, node string) kernel.Relabel {
	var may kernel.Relabel
	for _, n := range l.Nodes {
		if n.Pipeline == pipeline && n.Node == node {
			may.Endorse, may.Declassify = may.Endorse || n.Endorse, may.Declassify || n.Declassify
		}
	}
	return may
}

// readLabels reads {integrity, confidentiality} of an open section.
func (r *reader) readLabels(s *source.Section) *kernel.Labels {
	l, err := kernel.NewLabels(kernel.Integrity(s.Text(kernel.LabelIntegrity)), kernel.Confidentiality(s.Text(kernel.LabelConfidentiality)))
	if err != nil {
		r.addAll(err, s.At)
	}
	return l
}

// readPortLabels reads {integrity, confidentiality, resources: {pattern: {...}}}; nil without any.
func (r *reader) readPortLabels(s *source.Section) *PortLabels {
	if s == nil {
		return nil
	}
	s.What = "labels"
	l := &PortLabels{Port: r.readLabels(s), unsaid: s.Text(kernel.LabelIntegrity) == ""}
	if resources := s.Member("resources"); resources != nil {
		for _, pattern := range resources.M.Names {
			if one := resources.Member(pattern); one != nil {
				one.What = "labels of resource " + kernel.Quote(pattern)
				l.Resources = append(l.Resources, ResourceLabels{pattern, r.readLabels(one), one.Text(kernel.LabelIntegrity) == ""})
				one.Rest()
			}
		}
	}
	s.Rest()
	says := func(l ResourceLabels) bool { return l.Labels != nil }
	if r.Code != kernel.CodeConfig && l.Port == nil && !slices.ContainsFunc(l.Resources, says) {
		r.warnAt(s.At, "write integrity: untrusted, or confidentiality: internal or secret, or remove it", "these labels have no effect: trusted and public is what the answers of a pipeline's own ports are anyway")
	}
	return l
}

// readModuleLabels reads {integrity, confidentiality, tools: {name: {...}}, endorse, declassify}.
func (r *reader) readModuleLabels(s *source.Section) ModuleLabels {
	var l ModuleLabels
	if s == nil {
		return l
	}
	s.What = "labels"
	l.Result, l.Endorse, l.Declassify = r.readLabels(s), s.Flag("endorse"), s.Flag("declassify")
	if tools := s.Member("tools"); tools != nil {
		l.Tools = map[string]*kernel.Labels{}
		for _, name := range tools.M.Names {
			if one := tools.Member(name); one != nil {
				one.What = "labels of tool " + kernel.Quote(name)
				l.Tools[name] = r.readLabels(one)
				one.Rest()
			}
		}
	}
	s.Rest()
	return l
}

// readRunLabels reads {input: {...}, tools: {...}, endorse: [{pipeline, node}], declassify: [...]}.
func (r *reader) readRunLabels(s *source.Section) RunLabels {
	var l RunLabels
	if s == nil {
		return l
	}
	s.What = "labels"
	if input := s.Member("input"); input != nil {
		input.What = "labels of inputs"
		l.Input = r.readLabels(input).From("input")
		input.Rest()
	}
	if tools := s.Member("tools"); tools != nil {
		tools.What = "labels of tools"
		l.Tools = r.readLabels(tools)
		tools.Rest()
	}
	for _, member := range []struct {
		name string
		may  kernel.Relabel
	}{{"endorse", kernel.Relabel{Endorse: true}}, {"declassify", kernel.Relabel{Declassify: true}}} {
		for _, item := range s.Items(member.name) {
			if one := r.Open(item, member.name); one != nil {
				l.Nodes = append(l.Nodes, NodeRelabel{Pipeline: one.Required("pipeline"), Node: one.Required("node"), Relabel: member.may})
				one.Rest()
			}
		}
	}
	s.Rest()
	return l
}

// Reads returns whose results can be in what a node is given, or have decided that it
// runs, by their indexes, and whether the graph's input can. With a strict mapping
// that names nodes alone these are the ones that it names; else all that the node depends on.
func (n *Node) Reads() (nodes []int, input bool) { return n.reads, n.readsInput }

// flows notes what Reads returns.
func (c *connector) flows(n *Node) {
	if n.strict {
		precise, input := true, false
		var nodes []int
		n.visit(func(ref Reference) {
			switch d := c.g.byName[ref.Path[0]]; {
			case d != nil:
				nodes = append(nodes, d.Index)
			case ref.Path[0] == "$input", ref.Path[0] == "input":
				input = true
			case ref.Path[0] != "ctx":
				precise = false // a field of whatever it is given
			}
		})
		if precise {
			slices.Sort(nodes)
			n.reads, n.readsInput = slices.DeleteFunc(slices.Compact(nodes), func(i int) bool { return i == n.Index }), input
			return
		}
	}
	n.reads, n.readsInput = slices.Clone(n.deps), true
	for _, name := range n.ancestors {
		n.reads = append(n.reads, c.g.byName[name].Index)
	}
	slices.Sort(n.reads)
	n.reads = slices.Compact(n.reads)
}

// AnswerLabels returns the labels of what a port answers. What comes from the web, or from a server of somebody else's, is untrusted, unless the
// operator says in so many words that it is trusted.
func (s *PortSpec) AnswerLabels(port string) PortLabels {
	l := PortLabels{unsaid: true}
	if s.Labels != nil {
		l = PortLabels{Port: s.Labels.Port, Resources: slices.Clone(s.Labels.Resources), unsaid: s.Labels.unsaid}
	}
	if port != "http" && port != "api_call" && port != "mcp" {
		return l
	}
	if l.unsaid {
		l.Port = l.Port.Join(untrusted)
	}
	for i, r := range l.Resources {
		if r.unsaid {
			l.Resources[i].Labels = r.Labels.Join(untrusted)
		}
	}
	return l
}

var untrusted, _ = kernel.NewLabels(kernel.Untrusted, "")
