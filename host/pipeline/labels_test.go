package pipeline

import (
	"slices"
	"strings"
	"testing"
)

// Whose results can be in what a node is given is what labels follow: never too little.
func TestReads(t *testing.T) {
	before := data("a", ", dependencies: []") + data("b", ", dependencies: [a]") + data("c", ", dependencies: []")
	for name, tc := range map[string]struct {
		node  string
		nodes string
		input bool
	}{
		"what it waits for":         {`{kind: expression_node, metadata: {name: n}, dependencies: [b], wait_for: [c], spec: {expressions: {v: "1"}}}`, "b c", true},
		"what its template names":   {`{kind: data_node, metadata: {name: n}, dependencies: [], spec: {output: "{{ b.v }}"}}`, "b", true},
		"all that a mapping adds":   {`{kind: function_node, metadata: {name: n}, dependencies: [b], spec: {fn: m, input_mapping: {x: c.v}}}`, "a b c", true},
		"what a strict one names":   {`{kind: function_node, metadata: {name: n}, dependencies: [b], spec: {fn: m, strict_mapping: true, input_mapping: {x: c.v}}}`, "c", false},
		"and what decides":          {`{kind: function_node, metadata: {name: n}, dependencies: [b], spec: {fn: m, when: "a.v == 1", strict_mapping: true, input_mapping: {x: c.v}}}`, "a c", false},
		"and the input, if named":   {`{kind: function_node, metadata: {name: n}, dependencies: [b], spec: {fn: m, strict_mapping: true, input_mapping: {x: $input.v}}}`, "", true},
		"a field of who knows what": {`{kind: function_node, metadata: {name: n}, dependencies: [b], spec: {fn: m, strict_mapping: true, input_mapping: {x: "v + 1"}}}`, "b", true},
	} {
		p := mustParse(t, spec(before+"    - "+tc.node+"\n"))
		indexes, input := p.Node("n").Reads()
		var names []string
		for _, i := range indexes {
			names = append(names, p.Nodes[i].Name)
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != tc.nodes || input != tc.input {
			t.Errorf("%s: %s, %v, want %s, %v", name, got, input, tc.nodes, tc.input)
		}
	}
}
