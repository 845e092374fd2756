package pipeline

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
)

// macros is a file of these macros and a pipeline of nodes.
func macros(list []string, nodes string) string {
	return strings.Join(append(list, spec(nodes)), "---\n")
}

const (
	chainMacro = `kind: Macro
metadata: {name: chain}
parameters: [{name: field, type: str, required: true}, {name: k, type: int, default: 2}]
nodes:
  - {kind: expression_node, metadata: {name: "{{name}}_a"}, spec: {expressions: {v: "{{field}} * {{k}}"}}}
  - {kind: data_node, metadata: {name: "{{name}}_b"}, spec: {output: "{{k}}"}}
`
	forkMacro = `kind: Macro
metadata: {name: fork}
nodes:
  - {kind: data_node, metadata: {name: "{{name}}_l"}, spec: {output: 1}, dependencies: []}
  - {kind: data_node, metadata: {name: "{{name}}_r"}, spec: {output: 1}, dependencies: []}
`
	outputsMacro = `kind: Macro
metadata: {name: answers}
parameters: [{name: n}]
nodes:
  - {kind: data_node, metadata: {name: "{{name}}_x"}, spec: {output: {v: "{{n}}"}}}
outputs: {double: "{{name}}_x.v * 2"}
`
	outerMacro = `kind: Macro
metadata: {name: outer}
nodes:
  - {kind: fork, metadata: {name: "{{name}}_first"}}
  - {kind: chain, metadata: {name: "{{name}}_then"}, spec: {inputs: {field: x}}}
`
	rawMacro = `kind: Macro
metadata: {name: many}
parameters: [{name: names, type: list}, {name: last, type: bool, default: false}]
nodes_raw: |
  {% for n in names %}
  - kind: data_node
    metadata: {name: {{ name }}_{{ n }}}
    dependencies: []
    spec: {output: {v: "{{ n }}", at: "{{ '{{ $input.x }}' }}"}}
  {% endfor %}
  {% if last %}
  - {kind: data_node, metadata: {name: {{ name }}_end}, spec: {output: 1}}
  {% endif %}
`
)

// A macro's nodes take part in the graph as if they stood where it is invoked.
func TestMacros(t *testing.T) {
	all := []string{chainMacro, forkMacro, outputsMacro, outerMacro, rawMacro}
	for name, tc := range map[string]struct {
		nodes string
		want  string // "a:x,y" for each node that is named
	}{
		"by macro_invocation": {"    - {kind: macro_invocation, metadata: {name: m}, spec: {macro: chain, inputs: {field: x}}}\n", "m_a: m_b:m_a"},
		"by its own kind":     {"    - {kind: chain, metadata: {name: m}, spec: {field: x, k: 3}}\n", "m_a: m_b:m_a"},
		"by core: and macro_node": {"    - {kind: core:chain, metadata: {name: m}, spec: {field: x}}\n    - {kind: macro_node, metadata: {name: n}, spec: {macro: core:chain, config: {field: x}}}\n",
			"m_a: m_b:m_a n_a:m_b n_b:n_a"},
		"what follows it follows its last nodes": {"    - {kind: fork, metadata: {name: m}}\n" + data("z", ""), "m_l: m_r: z:m_l,m_r"},
		"it follows the node before it":          {data("a", "") + "    - {kind: chain, metadata: {name: m}, spec: {field: x}}\n", "m_a:a m_b:m_a"},
		"not where it says what it depends on":   {data("a", "") + data("b", ", dependencies: []") + "    - {kind: chain, metadata: {name: m}, spec: {field: x}, dependencies: [a]}\n", "m_a:a m_b:m_a"},
		"nor where it depends on nothing":        {data("a", "") + "    - {kind: chain, metadata: {name: m}, spec: {field: x}, dependencies: []}\n", "m_a: m_b:m_a"},
		"nor where it only waits":                {data("a", "") + data("b", ", dependencies: []") + "    - {kind: chain, metadata: {name: m}, spec: {field: x}, wait_for: a}\n", "m_a:a m_b:m_a"},
		"dependencies in its spec":               {data("a", "") + data("b", ", dependencies: []") + "    - {kind: macro_invocation, metadata: {name: m}, spec: {macro: chain, inputs: {field: x}, dependencies: [a]}}\n", "m_a:a"},
		"another waits for it by its name":       {"    - {kind: fork, metadata: {name: m}}\n" + data("a", ", dependencies: []") + data("z", ", dependencies: [m]") + data("y", ", wait_for: m"), "z:m_l,m_r y:m_l,m_r"},
		"a node of it is named":                  {"    - {kind: chain, metadata: {name: m}, spec: {field: x}}\n" + data("a", ", dependencies: []") + expression("z", "m_a.v + m_b", ""), "z:m_a,m_b"},
		"its outputs are a node of its name":     {"    - {kind: answers, metadata: {name: m}, spec: {n: 4}}\n" + expression("z", "m.double", ""), "m_x: m:m_x z:m"},
		"within a macro":                         {data("a", "") + data("b", ", dependencies: []") + "    - {kind: outer, metadata: {name: m}, dependencies: [a]}\n" + data("z", ""), "m_first_l:a m_first_r:a m_then_a:m_first_l,m_first_r m_then_b:m_then_a z:m_then_b"},
		"the whole of the outer by its name":     {"    - {kind: outer, metadata: {name: m}}\n" + data("a", ", dependencies: []") + data("z", ", dependencies: [m]"), "z:m_then_b"},
		"made from text":                         {"    - {kind: many, metadata: {name: m}, spec: {names: [p, q], last: true}}\n" + data("z", ""), "m_p: m_q: m_end:m_q z:m_end,m_p"},
		"twice":                                  {"    - {kind: chain, metadata: {name: m}, spec: {field: x}}\n    - {kind: chain, metadata: {name: n}, spec: {field: m_b}}\n", "n_a:m_b n_b:n_a"},
		"in a body":                              {"    - {kind: composite_node, metadata: {name: c}, spec: {mode: times, count: 1, body: [{kind: chain, metadata: {name: m}, spec: {field: index}}]}}\n", "c:"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Parse("p.yaml", []byte(macros(all, tc.nodes)), Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range strings.Fields(tc.want) {
				node, deps, _ := strings.Cut(want, ":")
				if got := strings.ReplaceAll(after(t, p, node), " ", ","); got != deps {
					t.Errorf("%s depends on %q, want %q", node, got, deps)
				}
			}
		})
	}
}

// Parameters keep their types where they stand alone, and are text within text.
func TestMacroParameters(t *testing.T) {
	p := mustParse(t, macros([]string{"kind: Macro\nmetadata: {name: m}\nparameters: [{name: n, type: int}, {name: l, type: list}, {name: o, type: dict}, {name: unset}]\nnodes:\n  - kind: data_node\n    metadata: {name: \"{{name}}\"}\n    spec: {output: {n: \"{{n}}\", text: \"{{ n }} of {{l}}\", l: \"{{l}}\", deep: \"{{ o.k.0 }}\", unset: \"{{unset}}\", run: \"{{ $input.x }} {{ other }}\", \"{{name}}_key\": 1}}\n"},
		"    - {kind: m, metadata: {name: d}, spec: {n: 3, l: [1, a], o: {k: [v]}}}\n"))
	got, err := p.Nodes[0].Body.(*Data).Output.Render(&Scope{Given: map[string]any{"other": "o"}, Input: map[string]any{"x": "in"}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := kernel.EncodeJSON(got)
	if want := `{"d_key":1,"deep":"v","l":[1,"a"],"n":3,"run":"in o","text":"3 of [1, 'a']","unset":null}`; err != nil || string(text) != want {
		t.Errorf("got  %s\nwant %s (%v)", text, want, err)
	}
}

func TestMacrosFromText(t *testing.T) {
	p := mustParse(t, macros([]string{rawMacro}, "    - {kind: many, metadata: {name: m}, spec: {names: [p]}}\n"))
	got, err := p.Nodes[0].Body.(*Data).Output.Render(&Scope{Input: map[string]any{"x": "in"}})
	if text := fmt.Sprint(got); err != nil || text != "map[at:in v:p]" || len(p.Nodes) != 1 {
		t.Errorf("%s, %v", text, err)
	}
}

func TestMacrosThatAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		macro, node string
		says        []string
	}{
		"none of that name":      {chainMacro, "    - {kind: macro_invocation, metadata: {name: m}, spec: {macro: chian}}\n", []string{"there is no macro chian", "known are chain"}},
		"no name at all":         {chainMacro, "    - {kind: macro_invocation, metadata: {name: m}, spec: {}}\n", []string{"needs macro"}},
		"a parameter is missing": {chainMacro, "    - {kind: chain, metadata: {name: m}}\n", []string{"macro chain needs field"}},
		"an unknown parameter":   {chainMacro, "    - {kind: macro_invocation, metadata: {name: m}, spec: {macro: chain, inputs: {field: x, fild: y}}}\n", []string{"macro chain has no parameter fild", "did you mean field?"}},
		"of another type":        {chainMacro, "    - {kind: chain, metadata: {name: m}, spec: {field: 3}}\n", []string{"parameter field of macro chain is str, this is a number"}},
		"given twice":            {chainMacro, "    - {kind: macro_invocation, metadata: {name: m}, spec: {macro: chain, inputs: {field: x}, config: {field: y}}}\n", []string{"field is in config and in inputs"}},
		"no nodes":               {"kind: Macro\nmetadata: {name: e}\n", "    - {kind: e, metadata: {name: m}}\n", []string{"a macro needs nodes"}},
		"itself":                 {"kind: Macro\nmetadata: {name: e}\nnodes: [{kind: e, metadata: {name: x}}]\n", "    - {kind: e, metadata: {name: m}}\n", []string{"macros nest deeper than 10", "must not use itself"}},
		"a field at node level":  {chainMacro, "    - {kind: chain, metadata: {name: m}, inputs: {field: x}}\n", []string{"inputs is not a valid node-level field"}},
		"a name that is taken":   {chainMacro, "    - {kind: chain, metadata: {name: m}, spec: {field: x}}\n" + data("m_a", ""), []string{"two nodes are called m_a"}},
		"text that is no list":   {"kind: Macro\nmetadata: {name: e}\nnodes_raw: 'a: 1'\n", "    - {kind: e, metadata: {name: m}}\n", []string{"nodes_raw does not make a list of nodes", "p.yaml:3:"}},
		"text that is no YAML":   {"kind: Macro\nmetadata: {name: e}\nnodes_raw: '[{'\n", "    - {kind: e, metadata: {name: m}}\n", []string{"not valid YAML", "p.yaml:3:"}},
		"a template that fails":  {"kind: Macro\nmetadata: {name: e}\nnodes_raw: '{{ nope }}'\n", "    - {kind: e, metadata: {name: m}}\n", []string{"nope", "p.yaml:3:"}},
		"raw that is no text":    {"kind: Macro\nmetadata: {name: e}\nnodes_raw: [1]\n", "    - {kind: e, metadata: {name: m}}\n", []string{"nodes_raw must be text, this is a list"}},
		"a bad node in a macro":  {"kind: Macro\nmetadata: {name: e}\nnodes: [{kind: llm_node, metadata: {name: x}, spec: {}}]\n", "    - {kind: e, metadata: {name: m}}\n", []string{"an llm_node needs human_message", "p.yaml:3:"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("p.yaml", []byte(macros([]string{tc.macro}, tc.node)), Options{})
			wantProblem(t, err, kernel.CodeOf(err), append(tc.says, "p.yaml:")...)
			if kernel.CodeOf(err).Class() != kernel.ClassBadInput {
				t.Errorf("%v", err)
			}
		})
	}
}

// A few macros that use each other often cannot make the loader work without end.
func TestMacroBomb(t *testing.T) {
	var list []string
	for i := range 9 {
		list = append(list, fmt.Sprintf("kind: Macro\nmetadata: {name: m%d}\nnodes:\n%s", i, strings.Repeat(fmt.Sprintf("  - {kind: m%d, metadata: {name: x}}\n", i+1), 10)))
	}
	list = append(list, "kind: Macro\nmetadata: {name: m9}\nnodes: [{kind: data_node, metadata: {name: n}, spec: {output: 1}}]\n")
	_, err := Parse("p.yaml", []byte(macros(list, "    - {kind: m0, metadata: {name: m}}\n")), Options{})
	wantProblem(t, err, kernel.CodePipeline, "more than 20000 nodes", "p.yaml:")
}

// Nor can a few files whose bodies are each other's.
func TestBodyBomb(t *testing.T) {
	files := map[string]string{}
	for i := range 8 {
		var nodes strings.Builder
		for j := range 12 {
			fmt.Fprintf(&nodes, "    - {kind: composite_node, metadata: {name: c%d}, spec: {mode: times, count: 1, body_pipeline: %d.yaml}}\n", j, i+1)
		}
		files[fmt.Sprintf("%d.yaml", i)] = spec(nodes.String())
	}
	files["8.yaml"] = spec(data("n", ""))
	_, err := Load(folder(t, files)("0.yaml"), Options{})
	wantProblem(t, err, kernel.CodePipeline, "more than 20000 nodes")
}
