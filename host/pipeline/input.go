package pipeline

import "github.com/hexdag/hexdag/host/kernel"

// Prepare returns what a node is given, from the run's input and the results of
// the finished nodes. All that its templates name is in it, so that a hook which
// changes what the node is given changes all that the node can see.
func (n *Node) Prepare(input kernel.Value, results map[string]kernel.Value) (kernel.Value, error) {
	given := n.base(input, results)
	if n.mapping != nil {
		mapped, err := n.applyMapping(input, results, given)
		if err != nil {
			return nil, err
		}
		given = mapped
	}
	if !n.strict {
		given = ambient(given, input)
	}
	return n.enclose(given, input, results), nil
}

// enclose adds what the templates name and the node was not given so far.
func (n *Node) enclose(given, input kernel.Value, results map[string]kernel.Value) kernel.Value {
	var missing map[string]any
	fields, isObject := given.(map[string]any)
	n.Body.references(func(r reference) {
		name := r.node()
		if _, there := fields[name]; there {
			return
		}
		v, found := results[name]
		if name == "$input" || name == "input" {
			name, v, found = "input", input, true
		}
		if !found {
			return
		}
		if missing == nil {
			missing = map[string]any{}
		}
		missing[name] = v
	})
	if missing == nil {
		return given
	}
	if isObject {
		for name, v := range fields {
			missing[name] = v
		}
	}
	return missing
}

// ScopeOf returns the scope of a node's templates for what the node is given.
func ScopeOf(given kernel.Value) *Scope {
	input, _ := fieldOf(given, "input")
	return &Scope{Input: input, Base: given}
}

// base is what a node is given without a mapping: the run's input, the result
// of its one dependency, or the results by name.
func (n *Node) base(input kernel.Value, results map[string]kernel.Value) kernel.Value {
	switch len(n.DependsOn) {
	case 0:
		return input
	case 1:
		return results[n.DependsOn[0]]
	}
	byName := make(map[string]any, len(n.DependsOn))
	for _, name := range n.DependsOn {
		byName[name] = results[name]
	}
	return byName
}

// applyMapping adds the mapped members to all results and the input, or, of a
// strict mapping and of a port's method, takes them alone.
func (n *Node) applyMapping(input kernel.Value, results map[string]kernel.Value, base kernel.Value) (kernel.Value, error) {
	scope := &Scope{Input: input, Results: results, Base: base}
	given := make(map[string]any, len(n.mapping.members)+len(results)+1)
	if !n.strict {
		for name, result := range results {
			given[name] = result
		}
		given["input"] = input
	}
	for name, m := range n.mapping.members {
		v, err := m.value(scope)
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
	ambient, also := input.(map[string]any)
	if !ok || !also {
		return given
	}
	filled := make(map[string]any, len(fields)+len(ambient))
	for name, v := range ambient {
		filled[name] = v
	}
	for name, v := range fields {
		if v != nil || filled[name] == nil {
			filled[name] = v
		}
	}
	return filled
}

// MappedNames returns the names that input_mapping gives; nil without a mapping.
func (n *Node) MappedNames() []string {
	if n.mapping == nil {
		return nil
	}
	return n.mapping.at.v.(*mapping).names
}
