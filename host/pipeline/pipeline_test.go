package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/sandbox"

	"github.com/hexdag/hexdag/host/kernel"
)

// spec wraps nodes in a pipeline.
func spec(nodes string) string {
	return "apiVersion: hexdag/v1\nkind: Pipeline\nmetadata: {name: t}\nspec:\n  nodes:\n" + nodes
}

func data(name, rest string) string {
	return fmt.Sprintf("    - {kind: data_node, metadata: {name: %s}, spec: {output: {v: 1}}%s}\n", name, rest)
}

func mustParse(t *testing.T, text string) *Pipeline {
	t.Helper()
	p, err := Parse("p.yaml", []byte(text), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// waves renders the graph as "1:a 1:b 2:c".
func waves(p *Pipeline) string {
	var parts []string
	for _, line := range strings.Split(strings.TrimSpace(p.String()), "\n")[1:] {
		fields := strings.Fields(line)
		parts = append(parts, fields[0]+":"+fields[1])
	}
	return strings.Join(parts, " ")
}

func TestDependencies(t *testing.T) {
	for name, tc := range map[string]struct{ nodes, want string }{
		"a node without references follows the one before it": {data("z", "") + data("a", "") + data("m", ""), "1:z 2:a 3:m"},
		"an empty list makes a root":                          {data("z", "") + data("a", ", dependencies: []"), "1:a 1:z"},
		"diamond":                                             {data("a", "") + data("b", ", dependencies: [a]") + data("c", ", dependencies: [a]") + data("d", ", dependencies: [b, c]"), "1:a 2:b 2:c 3:d"},
		"wait_for takes a bare string":                        {data("a", "") + data("b", ", dependencies: []") + data("c", ", wait_for: a"), "1:a 1:b 2:c"},
		"templates refer": {data("a", "") + data("b", ", dependencies: []") +
			"    - {kind: data_node, metadata: {name: c}, spec: {output: {deep: [{x: 'of {{ b.v }}'}]}}}\n", "1:a 1:b 2:c"},
		"mappings refer": {data("a", "") + data("b", ", dependencies: []") +
			"    - {kind: service_call_node, metadata: {name: c}, spec: {service: s, method: m, input_mapping: {x: {y: [b.v, $input.a]}}}}\n", "1:a 1:b 2:c"},
		"explicit and inferred are joined": {data("a", "") + data("b", ", dependencies: []") +
			"    - {kind: data_node, metadata: {name: c}, dependencies: [a], spec: {output: '{{ b }}'}}\n", "1:a 1:b 2:c"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := waves(mustParse(t, spec(tc.nodes))); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestBadFiles(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		code kernel.Code
		line int
		says []string
	}{
		"not YAML":             {"kind: Pipeline\nspec: {a: 1\n", kernel.CodeSyntax, 2, []string{"not valid YAML"}},
		"no pipeline":          {"# nothing\n", kernel.CodeSyntax, 0, []string{"holds no pipeline", "kind: Pipeline"}},
		"a list":               {"- a\n", kernel.CodePipeline, 1, []string{"must be a mapping", "this is a list"}},
		"unknown manifest":     {"kind: Pipline\n", kernel.CodePipeline, 1, []string{"no kind Pipline", "did you mean Pipeline?"}},
		"unknown node kind":    {spec("    - {kind: lllm_node, metadata: {name: a}, spec: {}}\n"), kernel.CodeUnknownKind, 6, []string{"lllm_node", "did you mean llm_node?"}},
		"agent without prompt": {spec("    - {kind: agent_node, metadata: {name: a}, spec: {}}\n"), kernel.CodePipeline, 6, []string{"agent_node", "needs main_prompt"}},
		"field at node level":  {spec("    - {kind: data_node, metadata: {name: a}, when: x, spec: {output: 1}}\n"), kernel.CodePipeline, 6, []string{"when is not a valid node-level field", "move it inside spec"}},
		"bad when":             {spec("    - {kind: data_node, metadata: {name: a}, spec: {output: 1, when: 'x = 1'}}\n"), kernel.CodeExpression, 6, []string{"x = 1"}},
		"misspelt field":       {spec("    - {kind: data_node, metadata: {name: a}, spec: {outptu: 1}}\n"), kernel.CodePipeline, 6, []string{"needs output"}},
		"twice":                {spec(data("a", "") + data("a", "")), kernel.CodePipeline, 7, []string{"two nodes are called a", "p.yaml:6"}},
		"missing dependency":   {spec(data("analyzer", "") + data("b", ", dependencies: [analyser]")), kernel.CodePipeline, 7, []string{"depends on analyser", "did you mean analyzer?"}},
		"cycle":                {spec(data("a", ", dependencies: [c]") + data("b", ", dependencies: [a]") + data("c", ", dependencies: [b]")), kernel.CodePipeline, 6, []string{"Cycle detected: a -> c -> b -> a"}},
		"self loop":            {spec(data("a", ", dependencies: [a]")), kernel.CodePipeline, 6, []string{"Cycle detected: a -> a"}},
		"reserved name":        {spec(data("input", "")), kernel.CodePipeline, 6, []string{"reserved"}},
		"import path":          {spec("    - {kind: function_node, metadata: {name: a}, spec: {fn: myapp.nodes.run}}\n"), kernel.CodePipeline, 6, []string{"import paths run no code here", "fn: module.tool"}},
		"!py":                  {spec("    - kind: data_node\n      metadata: {name: a}\n      spec:\n        output: !py |\n          print(1)\n"), kernel.CodePipeline, 9, []string{"nothing in a file runs"}},
		"expression":           {spec("    - {kind: service_call_node, metadata: {name: a}, spec: {service: s, method: m, input_mapping: {x: '$input.a +'}}}\n"), kernel.CodeExpression, 6, []string{"$input.a +"}},
		"same key twice":       {"kind: Pipeline\nkind: Pipeline\n", kernel.CodeSyntax, 2, nil},
		"strict without map":   {spec("    - {kind: data_node, metadata: {name: a}, spec: {output: 1, strict_mapping: true}}\n"), kernel.CodePipeline, 6, []string{"strict_mapping needs input_mapping"}},
		"alias bomb":           {bomb(), kernel.CodeSyntax, 0, []string{"more than 100000 values"}},
		"bad port":             {spec(data("a", "")) + "  ports: {llm: mock}\n", kernel.CodePipeline, 7, []string{"llm must be a mapping"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Parse("p.yaml", []byte(tc.text), Options{})
			if err == nil {
				t.Fatalf("taken: %v", p)
			}
			if got := kernel.CodeOf(err); got != tc.code {
				t.Errorf("code %s, want %s: %v", got, tc.code, err)
			}
			var e *kernel.Error
			errors.As(err, &e)
			if tc.line > 0 && (e.Where.File != "p.yaml" || e.Where.Line != tc.line) {
				t.Errorf("at %s, want p.yaml:%d", e.Where, tc.line)
			}
			for _, s := range tc.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
		})
	}
}

// bomb is a billion laughs.
func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	return b.String()
}

func TestAllErrorsAtOnce(t *testing.T) {
	_, err := Parse("p.yaml", []byte(spec("    - {kind: nope, metadata: {name: a}}\n    - {kind: llm_node, metadata: {name: b}, spec: {}}\n"+data("c", ", dependencies: [x]"))), Options{})
	for _, s := range []string{"p.yaml:6", "nope", "p.yaml:7", "human_message", "p.yaml:8", "depends on x"} {
		if err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("%v does not say %s", err, s)
		}
	}
}

func jsonValue(t *testing.T, text string) kernel.Value {
	t.Helper()
	v, err := kernel.DecodeJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestPrepare(t *testing.T) {
	two := data("a", "") + data("b", ", dependencies: []")
	service := func(mapping, rest string) string {
		return "    - {kind: service_call_node, metadata: {name: n}, spec: {service: s, method: m, input_mapping: {" + mapping + "}" + rest + "}}\n"
	}
	for name, tc := range map[string]struct {
		nodes, input, want string
	}{
		"no dependency: the run's input":            {data("n", ""), `{"x":1}`, `{"x":1}`},
		"one dependency: its result":                {data("a", "") + data("n", ""), `{}`, `{"k":"va"}`},
		"two dependencies: by name":                 {two + data("n", ", dependencies: [a, b]"), `{}`, `{"a":{"k":"va"},"b":{"k":null}}`},
		"ambient input fills in":                    {data("a", "") + data("n", ""), `{"id":"c1","k":"no"}`, `{"id":"c1","k":"va"}`},
		"ambient input rescues null":                {data("b", "") + data("n", ""), `{"k":"yes"}`, `{"k":"yes"}`},
		"a mapping adds":                            {two + service("x: a.k", ""), `{"i":1}`, `{"a":{"k":"va"},"i":1,"input":{"i":1},"x":"va"}`}, // and not b, which it does not depend on
		"a strict mapping is all":                   {two + service("x: a.k, y: {z: [$input.i, 7]}", ", strict_mapping: true"), `{"i":1}`, `{"x":"va","y":{"z":[1,7]}}`},
		"a missing deep segment is null":            {two + service("x: a.none.more", ", strict_mapping: true"), `{}`, `{"x":null}`},
		"default":                                   {two + service(`x: "b.k | default('n/a')", y: "a.k | default(3)"`, ", strict_mapping: true"), `{}`, `{"x":"n/a","y":"va"}`},
		"a quoted string is itself":                 {two + service(`x: "'a.k'"`, ", strict_mapping: true"), `{}`, `{"x":"a.k"}`},
		"a list index is a segment":                 {two + service(`x: $input.l.1`, ", strict_mapping: true"), `{"l":[1,2]}`, `{"x":2}`},
		"a template's names are part of what it is": {two + "    - {kind: data_node, metadata: {name: n}, dependencies: [a], spec: {output: '{{ $input.i }} {{ b.k }}'}}\n", `{"i":1}`, `{"a":{"k":"va"},"b":{"k":null},"i":1,"input":{"i":1}}`},
	} {
		t.Run(name, func(t *testing.T) {
			p := mustParse(t, spec(tc.nodes))
			results := map[string]kernel.Value{"a": jsonValue(t, `{"k":"va"}`), "b": jsonValue(t, `{"k":null}`)}
			got, err := p.Nodes[len(p.Nodes)-1].Prepare(&Given{Input: jsonValue(t, tc.input), Results: ResultMap(results)})
			if err != nil {
				t.Fatal(err)
			}
			text, err := kernel.EncodeJSON(got)
			if err != nil || string(text) != tc.want {
				t.Errorf("got %s, want %s (%v)", text, tc.want, err)
			}
		})
	}
}

func TestMappingErrors(t *testing.T) {
	for mapping, says := range map[string]string{
		`x: "b.k | required"`: "required and missing",
	} {
		p := mustParse(t, spec(data("a", "")+data("b", ", dependencies: []")+"    - {kind: service_call_node, metadata: {name: n}, spec: {service: s, method: m, input_mapping: {"+mapping+"}}}\n"))
		_, err := p.Nodes[2].Prepare(&Given{Input: map[string]any{}, Results: ResultMap{"a": nil, "b": jsonValue(t, `{"k":null}`)}})
		if kernel.CodeOf(err) != kernel.CodeInput || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", mapping, err)
		}
	}
}

func TestTemplate(t *testing.T) {
	scope := (&Node{}).ScopeOf(map[string]any{"name": "Ann", "n": json.Number("3"), "b": true, "none": nil, "list": []any{"a", json.Number("1")}, "input": map[string]any{"x": "in"}}, nil, nil)
	for text, want := range map[string]string{
		"Hi {{name}}, {{ n }} {{b}} {{none}}": "Hi Ann, 3 True None",
		"{{ list }} {{ list.0 }}":             "['a', 1] a",
		"{{ $input.x }}":                      "in",
		"{{ name | upper }} {{ 1 }}":          "{{ name | upper }} {{ 1 }}",
		"{{ input.x }}":                       "in",
	} {
		if got, err := ParseTemplate(text).Render(scope); err != nil || got != want {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	for _, missing := range []string{"nobody", "name.missing", "none.deep", "list.7"} {
		if _, err := ParseTemplate("{{ " + missing + " }}").Render(scope); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("%s: %v", missing, err)
		}
	}
}

func TestConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hexdag.yaml")
	load := func(text string) (*Config, error) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return LoadConfig(file)
	}
	c, err := load(`kind: Config
spec:
  state: out
  tenant_limits: {instances: 9, waiting: 3, fuel: 1000000000000, tokens: 1000, cost_usd: 2.5}
  run_limits: {deadline: 5s, fuel: 11, host_calls: 12, log_lines: 13, bytes_in: 14, bytes_out: 15}
  static_limits: {functions: 7, nesting: 8}
  modules:
    n: {path: n.wasm, static_limits: {functions: 70}, limits: {bytes_in: 4, bytes_out: 5}}
    m: {path: m.wasm, grants: [llm.complete, {database.query: {table: [a, "b_*"]}}], limits: {deadline: 50ms, memory: 1048576}, config: {k: [1]}}
  hooks:
    - {module: m, ops: ["llm.*"]}
`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.TenantLimits, (TenantLimits{TenantLimits: sandbox.TenantLimits{Instances: 9, Waiting: 3}, Fuel: 1e12, Tokens: c.TenantLimits.Tokens, CostUSD: c.TenantLimits.CostUSD}); got != want || *got.Tokens != 1000 || *got.CostUSD != 2.5 {
		t.Errorf("tenant_limits read as %+v", got)
	}
	if got, want := c.RunLimits, (RunLimits{5 * time.Second, 11, 12, 13, 14, 15}); got != want {
		t.Errorf("run_limits read as %+v", got)
	}
	n, m := c.Modules[0], c.Modules[1]
	if n.Static.MaxFunctions != 70 || n.Static.MaxNesting != 8 || m.Static.MaxFunctions != 7 || n.Limits.BytesIn != 4 || n.Limits.BytesOut != 5 {
		t.Errorf("read as %+v and %+v", n, m)
	}
	if m.Path != filepath.Join(filepath.Dir(file), "m.wasm") || len(m.Grants) != 2 || m.Grants[1].Args["table"][1] != "b_*" || m.Limits.Deadline.String() != "50ms" || m.Limits.Memory != 1<<20 {
		t.Errorf("read as %+v", m)
	}
	for text, says := range map[string]string{
		"kind: Config\nspec: {modules: {m: {path: m.wasm, grants: [llm]}}}\n":                                "not of the form port.method",
		"kind: Config\nspec: {hooks: [{module: x}]}\n":                                                       "there is no module x",
		"kind: Config\nspec: {modules: {m: {path: m.wasm, memory: 3}}}\n":                                    "has no member memory",
		"kind: Config\nspec: {modules: {m: {path: m.wasm}}, hooks: [{module: m, ops: [a.b], nodes: [n]}]}\n": "not both",
		"kind: Config\nspec: {modules: {m: {path: m.wasm, limits: {deadline: soon}}}}\n":                     "no duration",
		"kind: Config\nspec: {tenant_limits: {instances: 1.5}}\n":                                            "give a whole number",
		"kind: Config\nspec: {run_limits: {host_calls: -1}}\n":                                               "must be a positive number",
		"kind: Config\nspec: {static_limits: {funktions: 1}}\n":                                              "has no member funktions",
		"kind: Pipeline\n": "no operator's configuration",
		"":                 "empty",
	} {
		if _, err := load(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v does not say %q", text, err, says)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(spec(data("a", "")))
	f.Add("a: &x [*x]\n")
	f.Add("? {a: b}\n: c\n")
	f.Add("<<: 3\n")
	f.Add("kind: Pipeline\nmetadata: {name: t}\nspec: {nodes: [{kind: llm_node}, 3, null]}\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<12 {
			return
		}
		p, err := Parse("f.yaml", []byte(text), Options{})
		if (p == nil) == (err == nil) {
			t.Fatalf("pipeline %v, error %v", p, err)
		}
	})
}
