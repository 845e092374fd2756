package pipeline

import (
	"maps"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// Given is what the run of a graph can hand to its nodes.
type Given struct {
	Input   kernel.Value // of the run
	Results Results      // of the finished nodes; all that a node depends on are there
	Run     *kernel.RunContext
	Clock   func() time.Time // nil: the system's
	Warn    func(string)     // is told of an expression that failed and made null; may be nil
}

// Prepare returns what a node is given. All that its templates and expressions
// name is in it, so that a hook which changes what the node is given changes all
// that the node can see.
func (n *Node) Prepare(g *Given) (kernel.Value, error) {
	given := n.base(g)
	if n.mapping != nil {
		mapped, err := n.applyMapping(g, given)
		if err != nil {
			return nil, err
		}
		given = mapped
	}
	if !n.strict && !n.takesCalls() {
		given = ambient(given, g.Input)
	}
	return n.enclose(given, g), nil
}

// base is what a node is given without a mapping: the run's input, the result
// of its one dependency, or the results by name.
func (n *Node) base(g *Given) kernel.Value {
	switch len(n.DependsOn) {
	case 0:
		return g.Input
	case 1:
		v, _ := g.Results.Result(n.DependsOn[0])
		return v
	}
	byName := make(map[string]any, len(n.DependsOn))
	for _, name := range n.DependsOn {
		byName[name], _ = g.Results.Result(name)
	}
	return byName
}

// applyMapping adds the mapped members to the results of all that the node
// depends on, however indirectly, and the input; of a strict mapping it takes them
// alone.
func (n *Node) applyMapping(g *Given, base kernel.Value) (kernel.Value, error) {
	scope := &Scope{Given: base, Input: g.Input, Results: g.Results, Context: n.contextOf(g.Run), Clock: g.Clock}
	given := make(map[string]any, len(n.mapping.members)+len(n.ancestors)+1)
	if !n.strict {
		for _, name := range n.ancestors {
			if v, ok := g.Results.Result(name); ok {
				given[name] = v
			}
		}
		given["input"] = g.Input
	}
	if input, ok := g.Input.(map[string]any); ok { // the mapping's expressions see the input behind all else
		fields, isObject := base.(map[string]any)
		if !isObject {
			fields = map[string]any{whole: base}
		}
		scope.Given = fillIn(fields, input)
	}
	for name, m := range n.mapping.members {
		v, err := m.value(scope, g.Warn)
		if err != nil {
			return nil, err
		}
		given[name] = v
	}
	return given, nil
}

// ambient fills in the run's input where a field is absent or null.
func ambient(given, input kernel.Value) kernel.Value {
	fields, ok := given.(map[string]any)
	if !ok {
		return given
	}
	if ambient, ok := input.(map[string]any); ok {
		return fillIn(fields, ambient)
	}
	return given
}

// fillIn returns fields with what of ambient they lack. It changes neither.
func fillIn(fields, ambient map[string]any) map[string]any {
	var filled map[string]any
	for name, v := range ambient {
		if v == nil || fields[name] != nil {
			continue
		}
		if filled == nil {
			filled = make(map[string]any, len(fields)+len(ambient))
			maps.Copy(filled, fields)
		}
		filled[name] = v
	}
	if filled == nil {
		return fields
	}
	return filled
}

// enclose adds what the node names and was not given so far.
func (n *Node) enclose(given kernel.Value, g *Given) kernel.Value {
	fields, isObject := given.(map[string]any)
	var missing map[string]any
	for _, name := range n.names {
		if _, there := fields[name]; there {
			continue
		}
		v, found := g.Results.Result(name)
		switch name {
		case "$input":
			if n.adds("input") {
				continue // it is there under that name
			}
			v, found = g.Input, true
			if _, taken := fields["input"]; !taken {
				name = "input"
			}
		case "input":
			v, found = g.Input, true
		}
		if !found {
			continue
		}
		if missing == nil {
			missing = make(map[string]any, len(fields)+len(n.names))
		}
		missing[name] = v
	}
	if missing == nil {
		return given
	}
	if isObject {
		maps.Copy(missing, fields)
	} else {
		missing[whole] = given
	}
	return missing
}

// adds reports whether the mapping gives the node the run's input under a name.
func (n *Node) adds(name string) bool {
	return n.mapping != nil && !n.strict && n.mapping.members[name] == nil
}

// ScopeOf returns the scope of a node's own templates and expressions, for what
// the node is given.
func (n *Node) ScopeOf(given kernel.Value, run *kernel.RunContext, clock func() time.Time) *Scope {
	s := &Scope{Given: given, Context: n.contextOf(run), Clock: clock}
	if v, ok := kernel.Field(given, "input"); ok { // a hook that changes input changes $input
		s.Input = v
	}
	return s
}

// contextOf returns what ctx names.
func (n *Node) contextOf(run *kernel.RunContext) func() kernel.Value {
	if run == nil {
		return nil
	}
	return func() kernel.Value {
		services := make([]any, len(n.services))
		for i, name := range n.services {
			services[i] = name
		}
		return map[string]any{"run_id": run.RunID, "pipeline_name": run.PipelineName, "node_name": n.Name, "services": services}
	}
}

// MappedNames returns the names that input_mapping gives; nil without a mapping.
func (n *Node) MappedNames() []string {
	if n.mapping == nil {
		return nil
	}
	return n.mapping.names
}
