package schema

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/pipeline/source"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

func compile(t testing.TB) *jsonschema.Schema {
	t.Helper()
	text, err := json.Marshal(Document())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("hexdag.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("hexdag.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate holds every document of a text to the schema, as it is written.
func validate(t testing.TB, s *jsonschema.Schema, text string) error {
	t.Helper()
	docs, _ := source.Parse("p.yaml", []byte(text)) // none of what is no YAML, and of includes, which no editor follows either
	for _, doc := range docs {
		if err := s.Validate(doc.Plain()); err != nil {
			return err
		}
	}
	return nil
}

// What the reference took the schema takes, unless the loader refuses it.
func TestGoldenPipelines(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "testdata", "conformance", "pipelines.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []struct{ ID, YAML string }
	}
	if err := json.Unmarshal(text, &file); err != nil || len(file.Cases) < 39 {
		t.Fatal(len(file.Cases), err)
	}
	s := compile(t)
	taken := 0
	for _, c := range file.Cases {
		_, loads := pipeline.Parse("p.yaml", []byte(c.YAML), pipeline.Options{})
		if err := validate(t, s, c.YAML); err != nil && loads == nil {
			t.Errorf("%s: %v\n%s", c.ID, err, c.YAML)
		}
		if loads == nil {
			taken++
		}
	}
	if taken < 35 {
		t.Errorf("the loader takes %d cases", taken)
	}
}

// The samples of the format's documentation are valid as they stand, also those
// whose code is no module yet: an editor cannot know.
func TestSamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "testdata", "samples", "*.yaml"))
	if err != nil || len(files) < 8 {
		t.Fatal(files, err)
	}
	s := compile(t)
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		docs, err := source.Parse(name, []byte(strings.ReplaceAll(string(text), `"!include"`, `"!included"`)))
		if err != nil {
			t.Fatal(name, err)
		}
		for _, doc := range docs {
			if err := s.Validate(renamed(doc.Plain())); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// renamed puts the includes back that source.Parse would have followed.
func renamed(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, item := range v {
			if name == "!included" {
				name = include
			}
			out[name] = renamed(item)
		}
		return out
	case []any:
		for i, item := range v {
			v[i] = renamed(item)
		}
	}
	return v
}

// The example's files are valid.
func TestExample(t *testing.T) {
	s := compile(t)
	for _, name := range []string{"pipeline.yaml", "hexdag.yaml", "hexdag.openai.yaml"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "..", "examples", "support-triage", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, s, string(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// So is the configuration that the README shows.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(text), "```yaml\napiVersion: hexdag/v1\nkind: Config\n")
	block, _, closed := strings.Cut(block, "```")
	if !found || !closed {
		t.Fatal("the README shows no configuration")
	}
	docs, err := source.Parse("README.md", []byte("kind: Config\n"+block))
	if err != nil {
		t.Fatal(err)
	}
	if err := compile(t).Validate(docs[0].Plain()); err != nil {
		t.Error(err)
	}
	for _, member := range []string{"env", "prices", "hooks", "ports", "modules"} {
		if docs[0].Member("spec").Member(member) == nil {
			t.Errorf("it does not show %s", member)
		}
	}
}

func TestRefused(t *testing.T) {
	s := compile(t)
	nodes := func(list string) string {
		return "kind: Pipeline\nmetadata: {name: t}\nspec:\n  nodes:\n    - " + list + "\n"
	}
	for name, text := range map[string]string{
		"no kind":                   "metadata: {name: t}\n",
		"an unknown kind":           "kind: Pipelin\nmetadata: {name: t}\nspec: {nodes: []}\n",
		"no nodes":                  "kind: Pipeline\nmetadata: {name: t}\nspec: {}\n",
		"no name":                   "kind: Pipeline\nmetadata: {}\nspec: {nodes: []}\n",
		"a field at node level":     nodes("{kind: data_node, metadata: {name: a}, when: x, spec: {output: 1}}"),
		"a misspelt field":          nodes("{kind: llm_node, metadata: {name: a}, spec: {human_message: x, tiemout: 3}}"),
		"another kind's field":      nodes("{kind: llm_node, metadata: {name: a}, spec: {human_message: x, fn: m}}"),
		"a message that is no text": nodes("{kind: llm_node, metadata: {name: a}, spec: {human_message: 3}}"),
		"no message":                nodes("{kind: llm_node, metadata: {name: a}, spec: {}}"),
		"no spec":                   nodes("{kind: function_node, metadata: {name: a}}"),
		"a negative timeout":        nodes("{kind: data_node, metadata: {name: a}, spec: {output: 1, timeout: -1}}"),
		"a lock without a name":     nodes("{kind: data_node, metadata: {name: a}, spec: {output: 1, lock: {ttl: 3}}}"),
		"an unknown mode":           nodes("{kind: composite_node, metadata: {name: a}, spec: {mode: for_each}}"),
		"a bad node in a body":      nodes("{kind: composite_node, metadata: {name: a}, spec: {mode: times, count: 1, body: [{kind: data_node, metadata: {name: b}, spec: {}}]}}"),
		"an unknown strategy":       "kind: Pipeline\nmetadata: {name: t}\nspec: {nodes: [], ports: {llm: {adapters: [{adapter: a}], strategy: rr}}}\n",
		"an unknown capability":     "kind: Pipeline\nmetadata: {name: t}\nspec: {nodes: [], caps: {deny: [port.lmm]}}\n",
		"a negative limit":          "kind: Pipeline\nmetadata: {name: t}\nspec: {nodes: [], limits: {max_llm_calls: -1}}\n",
		"a process without a file":  "kind: System\nmetadata: {name: t}\nspec: {processes: [{name: a}]}\n",
		"a hook without a module":   "kind: Config\nspec: {hooks: [{nodes: [a]}]}\n",
		"a module without a path":   "kind: Config\nspec: {modules: {m: {}}}\n",
		"an unknown protocol":       "kind: Config\nspec: {telemetry: {protocol: zipkin}}\n",
		"a sample below nothing":    "kind: Config\nspec: {telemetry: {sample: -1}}\n",
		"no tools to execute":       nodes("{kind: tool_executor_node, metadata: {name: a}, spec: {}}"),
		"nothing to parse":          nodes("{kind: tool_parser_node, metadata: {name: a}, spec: {tool_call_style: json}}"),
		"calls that are no text":    nodes("{kind: tool_parser_node, metadata: {name: a}, spec: {text: x, tool_call_style: native}}"),
		"a config of a macro":       nodes("{kind: macro_invocation, metadata: {name: a}, spec: {macro: core:reasoning_agent, config: {main_prompt: x, max_step: 3}}}"),
		"a macro's kind's config":   nodes("{kind: core:reasoning_agent, metadata: {name: a}, spec: {main_prompt: x, max_step: 3}}"),
		"steps that are no number":  nodes("{kind: macro_node, metadata: {name: a}, spec: {macro: core:reasoning_agent, config: {main_prompt: x, max_steps: many}}}"),
		"an unknown isolation":      "kind: Config\nspec: {modules: {m: {path: m.wasm, isolation: none}}}\n",
	} {
		if err := validate(t, s, text); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	for name, text := range map[string]string{
		"a core: kind":        nodes("{kind: core:data_node, metadata: {name: a}, spec: {output: 1}}"),
		"a built-in macro":    nodes("{kind: macro_invocation, metadata: {name: a}, spec: {macro: core:reasoning_agent, config: {main_prompt: x, max_steps: 3, allowed_tools: ['m:t'], tool_format: json}, inputs: {q: 1}}}"),
		"one by its kind":     nodes("{kind: core:reasoning_agent, metadata: {name: a}, spec: {main_prompt: x, inputs: {q: 1}, dependencies: []}}"),
		"core:llm_workflow":   nodes("{kind: macro_invocation, metadata: {name: a}, spec: {macro: core:llm_workflow, config: {template: x, output_schema: {a: str}}}}"),
		"tools as nodes":      nodes("{kind: tool_executor_node, metadata: {name: a}, spec: {available_tools: []}}"),
		"a macro's kind":      nodes("{kind: my_macro, metadata: {name: a}, spec: {whatever: 1}}"),
		"variables":           nodes("{kind: data_node, metadata: {name: a}, spec: {output: 1, max_retries: '${N:3}', critical: '{{ c }}', timeout: 200ms}}"),
		"a lock":              nodes("{kind: data_node, metadata: {name: a}, spec: {output: 1, lock: {name: 'orders-{{ id }}', timeout: 0, ttl: 30s, permits: 2}}}"),
		"a cache":             nodes("{kind: data_node, metadata: {name: a}, spec: {output: 1, cache: {key: '{{ id }}', ttl: 1h, scope: tenant, side_effects: true}}}"),
		"a cache that is on":  nodes("{kind: data_node, metadata: {name: a}, spec: {output: 1, cache: true}}"),
		"a lock by its name":  "kind: Pipeline\nmetadata: {name: t}\nspec: {lock: orders, nodes: []}\n",
		"settings":            nodes("{kind: llm_node, metadata: {name: a}, settings: {human_message: x}}"),
		"another's own field": "kind: Pipeline\nmetadata: {name: t, owner: me}\nspec: {nodes: [], variables: {a: 1}}\n",
	} {
		if err := validate(t, s, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// at returns the schema at a path of properties, items and the like; a step of
// "*" is that of all names, "[]" that of items.
func at(t *testing.T, path string) object {
	t.Helper()
	root := Document()
	definitions := root["definitions"].(object)
	var follow func(o object, steps []string) object
	follow = func(o object, steps []string) object {
		if name, ok := o["$ref"].(string); ok {
			target := root
			for _, step := range strings.Split(strings.TrimPrefix(name, "#/"), "/") {
				target = target[step].(object)
			}
			return follow(target, steps)
		}
		if len(steps) == 0 {
			if _, ok := o["properties"]; ok {
				return o
			}
		}
		if list, ok := o["anyOf"].([]any); ok {
			for _, item := range list {
				if found := follow(item.(object), steps); found != nil && len(found["properties"].(object)) > 1 {
					return found
				}
			}
			return nil
		}
		if len(steps) == 0 {
			return nil
		}
		var next any
		switch steps[0] {
		case "[]":
			next = o["items"]
		case "*":
			next = o["additionalProperties"]
		default:
			properties, _ := o["properties"].(object)
			next = properties[steps[0]]
		}
		if sub, ok := next.(object); ok {
			return follow(sub, steps[1:])
		}
		return nil
	}
	steps := strings.Split(path, ".")
	found := follow(definitions[steps[0]].(object), steps[1:])
	if found == nil {
		t.Fatalf("the schema has no %s", path)
	}
	return found
}

// asked reads the loader's source: which members each of its functions asks for, by
// function and section, such as "readLLM s".
func asked(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	// The methods of a section whose first argument is a member's name, and the
	// reader's functions that take a section and then names.
	methods := []string{"Get", "Member", "Text", "Required", "Flag", "Positive", "Seconds", "Texts", "Items", "Amount", "Bound"}
	functions := []string{"first", "template", "oneOf", "iterated", "body", "operand", "period", "process"}
	found := map[string][]string{}
	fset := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			function := f.Name.Name
			if f.Recv != nil && receiver(f.Recv.List[0].Type) == "Config" {
				function = "Config." + function
			}
			ast.Inspect(f.Body, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				var section string
				args := call.Args
				switch fun := call.Fun.(type) {
				case *ast.SelectorExpr:
					if slices.Contains(methods, fun.Sel.Name) {
						section = expression(fun.X)
						args = args[:min(len(args), 1)]
					} else if slices.Contains(functions, fun.Sel.Name) && len(args) > 1 {
						if section = expression(args[0]); section == "sys" {
							section, args = expression(args[1]), args[1:]
						}
						args = named(fun.Sel.Name, args[1:])
					}
				case *ast.Ident:
					if slices.Contains(functions, fun.Name) && len(args) > 1 {
						section, args = expression(args[0]), args[1:]
					}
				}
				for _, arg := range args {
					if lit, ok := arg.(*ast.BasicLit); ok && lit.Kind == token.STRING && section != "" {
						member, err := strconv.Unquote(lit.Value)
						if err == nil && member != "" && !slices.Contains(found[function+" "+section], member) {
							found[function+" "+section] = append(found[function+" "+section], member)
						}
					}
				}
				return true
			})
		}
	}
	return found
}

// named returns the arguments that are names of members.
func named(function string, args []ast.Expr) []ast.Expr {
	switch function {
	case "oneOf", "iterated", "operand", "period", "process":
		return args[:1]
	}
	return args
}

func receiver(e ast.Expr) string {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	return expression(e)
}

func expression(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return expression(e.X) + "." + e.Sel.Name
	}
	return ""
}

// group is members that the loader asks for, and where the schema has them.
type group struct {
	functions []string // as asked names them
	more      []string // members that the functions ask for by a variable
	without   []string // members that are refused, or have no effect
	paths     []string
	own       bool // of a node's spec: the common members are not listed
}

func groups() []group {
	ports := []string{"adapter", "name", "config", "params"}
	labels := []string{"integrity", "confidentiality"}
	return []group{
		{functions: []string{"readPipeline s"}, more: []string{"kind"}, paths: []string{"Pipeline"}},
		{functions: []string{"readPipeline meta", "choose meta"}, paths: []string{"Pipeline.metadata"}},
		{functions: []string{"readPipeline spec", "readDefinitions spec", "readAllPorts spec", "readOutput spec", "rest spec"}, without: []string{"common_field_mappings", "observers", "policies"}, paths: []string{"Pipeline.spec"}},
		{functions: []string{"readOrchestrator s"}, paths: []string{"Pipeline.spec.orchestrator"}},
		{functions: []string{"readLimits s"}, paths: []string{"Pipeline.spec.limits"}},
		{functions: []string{"readLock s"}, paths: []string{"lock"}},
		{functions: []string{"readCaching s"}, paths: []string{"cache"}},
		{functions: []string{"readCaps s"}, paths: []string{"Pipeline.spec.caps"}},
		{functions: []string{"readService s"}, paths: []string{"service"}},
		{functions: []string{"readHook s"}, paths: []string{"hook"}},
		{functions: []string{"readPort s", "readPool s", "readAdapter s"}, more: ports, paths: []string{"port", "port.adapters.[]"}},
		{functions: []string{"readAdapterDocument s"}, more: []string{"kind"}, paths: []string{"Adapter"}},
		{functions: []string{"readAdapterDocument meta"}, more: []string{"description"}, paths: []string{"Adapter.metadata"}},
		{functions: []string{"readAdapterDocument spec"}, paths: []string{"Adapter.spec"}},
		{functions: []string{"readMiddlewareDocument s"}, more: []string{"kind"}, paths: []string{"Middleware"}},
		{functions: []string{"readMiddlewareDocument meta"}, more: []string{"description"}, paths: []string{"Middleware.metadata"}},
		{functions: []string{"readMiddlewareDocument spec"}, paths: []string{"Middleware.spec"}},
		{functions: []string{"readMacro s"}, more: []string{"kind"}, paths: []string{"Macro"}},
		{functions: []string{"readMacro meta"}, more: []string{"description"}, paths: []string{"Macro.metadata"}},
		{functions: []string{"readMacro p"}, paths: []string{"Macro.parameters.[]"}},
		{functions: []string{"readMachine s"}, paths: []string{"machine"}},
		{functions: []string{"readMachine handlers"}, paths: []string{"machine.handlers"}},
		{functions: []string{"readEdge s"}, paths: []string{"machine.transitions.*"}},
		{functions: []string{"readSystem s"}, more: []string{"kind"}, paths: []string{"System"}},
		{functions: []string{"readSystem meta"}, paths: []string{"System.metadata"}},
		{functions: []string{"readSystem spec", "readStates spec"}, paths: []string{"System.spec"}},
		{functions: []string{"readProcess s"}, more: []string{"input_schema", "output_schema", "ports", "policies"}, paths: []string{"System.spec.processes.[]"}},
		{functions: []string{"readPipes s"}, paths: []string{"System.spec.pipes.[]"}},
		{functions: []string{"readState s"}, paths: []string{"System.spec.states.*"}},
		{functions: []string{"readEdgeProcess s"}, paths: []string{"System.spec.on_transition.*"}},
		{functions: []string{"readConfig s"}, more: []string{"kind"}, paths: []string{"Config"}},
		{functions: []string{"readConfig meta"}, paths: []string{"Config.metadata"}},
		{functions: []string{"readConfig spec", "Config.readLimits spec"}, more: []string{"static_limits"}, paths: []string{"Config.spec"}},
		{functions: []string{"readConfig audit"}, paths: []string{"Config.spec.audit"}},
		{functions: []string{"readLibraries s"}, paths: []string{"Config.spec.libraries"}},
		{functions: []string{"readLibraries p"}, paths: []string{"Config.spec.libraries.process_registry", "Config.spec.libraries.pipeline_spawner", "Config.spec.libraries.scheduler", "Config.spec.libraries.entity_state"}},
		{functions: []string{"readBackend s"}, paths: []string{"Config.spec.approvals", "Config.spec.libraries.store", "Config.spec.libraries.database_tools"}},
		{functions: []string{"readTelemetry s"}, paths: []string{"Config.spec.telemetry"}},
		{functions: []string{"readCentralAgents s"}, paths: []string{"Config.spec.libraries.central_agent"}},
		{functions: []string{"readCentralAgents one"}, more: []string{"untrusted"}, paths: []string{"Config.spec.libraries.central_agent.pipelines.*"}},
		{functions: []string{"readServer s"}, paths: []string{"Config.spec.server"}},
		{functions: []string{"readServer o"}, paths: []string{"Config.spec.server.oidc"}},
		{functions: []string{"readMCP s"}, paths: []string{"Config.spec.mcp"}},
		{functions: []string{"readPrompt s"}, more: []string{"messages"}, paths: []string{"Config.spec.mcp.prompts.*"}},
		{functions: []string{"readArguments a"}, paths: []string{"Config.spec.mcp.prompts.*.arguments.*", "Config.spec.mcp.resources.*.variables.*"}},
		{functions: []string{"readMessage s"}, more: []string{"text", "resource"}, paths: []string{"Config.spec.mcp.prompts.*.messages.[]"}},
		{functions: []string{"readResource s"}, paths: []string{"Config.spec.mcp.resources.*"}},
		{functions: []string{"readJournal s"}, paths: []string{"Config.spec.journal"}},
		{functions: []string{"Config.readLimits l"}, paths: []string{"Config.spec.tenant_limits", "Config.spec.run_limits"}},
		{functions: []string{"readModule s", "isolation s", "readStatic s", "readCallLimits s"}, paths: []string{"Config.spec.modules.*"}},
		{functions: []string{"readCallLimits l"}, paths: []string{"Config.spec.modules.*.limits"}},
		{functions: []string{"readStatic l"}, more: staticNames(), paths: []string{"Config.spec.static_limits", "Config.spec.modules.*.static_limits"}},
		{functions: []string{"readPortLabels s"}, more: labels, paths: []string{"port.labels"}},
		{functions: []string{"readModuleLabels s"}, more: labels, paths: []string{"Config.spec.modules.*.labels"}},
		{functions: []string{"readRunLabels s"}, more: []string{"endorse", "declassify"}, paths: []string{"Config.spec.labels"}},
		{functions: []string{"readRunLabels one"}, paths: []string{"Config.spec.labels.endorse.[]", "Config.spec.labels.declassify.[]"}},
		{more: labels, paths: []string{"Config.spec.labels.input", "Config.spec.labels.tools", "port.labels.resources.*", "Config.spec.modules.*.labels.tools.*"}},
		{functions: []string{"readPrices p"}, paths: []string{"Config.spec.prices.*"}},
		{functions: []string{"readExecutor s"}, paths: []string{"Config.spec.executor"}},
		{functions: []string{"readTrigger s"}, paths: []string{"Config.spec.triggers.[]"}},
		{functions: []string{"readTrigger d"}, paths: []string{"Config.spec.triggers.[].dedup"}},
		{functions: []string{"readSubscriptions s"}, paths: []string{"Config.spec.subscriptions.[]"}},

		{functions: []string{"readNode s", "specOf s", "invoke s"}, paths: []string{"node"}},
		{functions: []string{"readNode meta", "invoke meta"}, paths: []string{"node.metadata"}},
		{functions: []string{"readCommon s", "readMapping s", "readNode n.spec"}, without: nil, paths: []string{"common"}},
		{functions: []string{"readLLM s"}, own: true, paths: []string{"llm_node"}},
		{functions: []string{"withExamples example"}, paths: []string{"llm_node.examples.[]"}},
		{functions: []string{"conversation s"}, paths: []string{"llm_node.conversation.[]"}},
		{functions: []string{"readAgent s"}, own: true, paths: []string{"agent_node"}},
		{functions: []string{"readAgent config"}, paths: []string{"agent_node.config"}},
		{functions: []string{"readCentralAgent s"}, own: true, paths: []string{"central_agent_node"}},
		{functions: []string{"readFunctionNode s"}, own: true, paths: []string{"function_node"}},
		{functions: []string{"readExpression s", "readMerge s"}, own: true, paths: []string{"expression_node"}},
		{functions: []string{"readData n.spec"}, own: true, paths: []string{"data_node"}},
		{functions: []string{"readServiceCall n.spec"}, own: true, paths: []string{"service_call_node"}},
		{functions: []string{"readToolCall n.spec"}, own: true, paths: []string{"tool_call_node"}},
		{functions: []string{"readToolParser n.spec"}, own: true, paths: []string{"tool_parser_node"}},
		{functions: []string{"readToolExecutor n.spec"}, own: true, paths: []string{"tool_executor_node"}},
		{functions: []string{"readReasoning s", "readAsking s"}, paths: []string{"reasoning_agent_config"}},
		{functions: []string{"expandLLMMacro s"}, more: []string{"model", "timeout", "max_retries", "system_prompt", "output_schema"}, paths: []string{"llm_macro_config"}},
		{functions: []string{"invocation spec"}, more: []string{"model", "timeout", "max_retries", "main_prompt", "max_steps", "allowed_tools", "tool_format", "dependencies", "wait_for"}, paths: []string{"reasoning_agent"}},
		{functions: []string{"readAPICall s"}, own: true, paths: []string{"api_call_node"}},
		{functions: []string{"readTransition s"}, own: true, paths: []string{"transition"}},
		{functions: []string{"readWait s"}, without: []string{"timeout"}, own: true, paths: []string{"wait_node"}}, // which all kinds have
		{functions: []string{"readComposite s", "checkComposite s", "checkCount s"}, own: true, paths: []string{"composite_node"}},
		{functions: []string{"branch s"}, paths: []string{"composite_node.branches.[]"}},
		{functions: []string{"invoke spec"}, more: []string{"config", "inputs"}, paths: []string{"macro_invocation"}},
	}
}

func staticNames() []string {
	var names []string
	var o rewrite.Options
	for _, s := range o.Settings() {
		names = append(names, s.Name)
	}
	return names
}

// The loader's members are the schema's, and the other way round. A member that
// the loader begins to ask for fails here until the schema describes it.
func TestInStep(t *testing.T) {
	all := asked(t)
	common := at(t, "common")["properties"].(object)
	for _, g := range groups() {
		loader := map[string]bool{}
		for _, name := range g.more {
			loader[name] = true
		}
		for _, function := range g.functions {
			if _, ok := all[function]; !ok && len(g.more) == 0 {
				t.Errorf("the loader has no %s any more", function)
			}
			for _, name := range all[function] {
				loader[name] = true
			}
			delete(all, function)
		}
		for _, name := range g.without {
			if !loader[name] {
				t.Errorf("%v: nothing asks for %s any more", g.functions, name)
			}
			delete(loader, name)
		}
		described := map[string]bool{}
		for _, path := range g.paths {
			for name, member := range at(t, path)["properties"].(object) {
				if _, shared := common[name]; name == include || g.own && shared {
					continue
				}
				described[name] = true
				checkDescribed(t, path+"."+name, member.(object))
			}
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(loader)), slices.Sorted(maps.Keys(described))); diff != "" {
			t.Errorf("%v (-loader +schema):\n%s", g.functions, diff)
		}
	}
	// What is left is asked again, for where it stands.
	for _, function := range []string{"readDocuments doc", "readDocuments s", "readNodes item", "choose meta", "LoadConfig s", "unknownKind s", "readHooks s"} {
		delete(all, function)
	}
	for function, members := range all {
		t.Errorf("%s asks for %v, and no group of this test has it", function, members)
	}
}

// checkDescribed: an editor shows what a member is for.
func checkDescribed(t *testing.T, path string, member object) {
	t.Helper()
	_, isRef := member["$ref"]
	if text, _ := member["description"].(string); !isRef && text == "" {
		t.Errorf("%s has no description", path)
	}
}
