package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// helloPipeline says hello, if it may: the name evil is denied, and no name fails.
const helloPipeline = `apiVersion: hexdag/v1
kind: Pipeline
metadata: {name: hello}
spec:
  nodes:
    - {kind: function_node, metadata: {name: pull}, dependencies: [], spec: {fn: puppet}}
    - {kind: llm_node, metadata: {name: greet}, dependencies: [], spec: {human_message: "{{ $input.name }}", strict_mapping: true, input_mapping: {name: "$input.name | required"}}}
    - {kind: service_call_node, metadata: {name: keep}, dependencies: [greet], spec: {service: artifacts, method: store, input_mapping: {name: $input.name, value: greet}}}
  output: {greeting: greet}
`

const helloConfig = `kind: Config
spec:
  modules:
    puppet: {path: PUPPET, grants: [metrics.count, database.query], config: {log: "a \e[31mline\nof two", output: 1}}
  ports:
    llm: {adapter: mock, config: {rules: [{match: "^(ann|evil)$", reply: Hello}]}}
    database: {adapter: memory}
    governance: {adapter: rego, config: {dirs: [policy]}}
`

const helloPolicy = `package hexdag.authz

# METADATA
# entrypoint: true
decision := {"effect": "deny", "reasons": [{"id": "evil", "msg": "go \u001b[31maway"}]} if {
	input.resource.id == "evil"
} else := {"effect": "allow", "reasons": []}
`

func hello(t *testing.T) func(name string) string {
	t.Helper()
	return folder(t, map[string]string{"pipeline.yaml": helloPipeline, "hexdag.yaml": helloConfig, "policy/authz.rego": helloPolicy, "input.json": `{"name": "ann"}`})
}

// result is the document that run --json ends with.
type result struct {
	Status      string           `json:"status"`
	RunID       string           `json:"run_id"`
	NodeResults map[string]any   `json:"node_results"`
	Output      map[string]any   `json:"output"`
	Error       *failure         `json:"error"`
	Usage       map[string]int   `json:"usage"`
	Counters    map[string]int   `json:"counters"`
	Events      []map[string]any `json:"events"`
}

type failure struct {
	Code, What, Why, Fix string
	Where                struct {
		File, Module, Node, Run string
		Line, Column            int
	}
}

func TestRun(t *testing.T) {
	at := hello(t)
	for _, test := range []struct {
		name, in string
		input    []string
		code     int
		status   string
		words    []string
	}{
		{"JSON", "", []string{"--input", `{"name": "ann"}`}, exitDone, "completed", nil},
		{"file", "", []string{"--input", "@" + at("input.json")}, exitDone, "completed", nil},
		{"standard input", `{"name": "ann"}`, []string{"--input", "@-"}, exitDone, "completed", nil},
		{"none", "", nil, exitBadInput, "failed", []string{"pipeline.yaml:7:", "$input.name"}},
		{"failed", "", []string{"--input", `{"name": "bob"}`}, exitFailed, "failed", []string{"node greet", "no answer"}},
		{"denied", "", []string{"--input", `{"name": "evil"}`}, exitDenied, "denied", []string{"node keep", "governance denied artifacts.store", `go \x1b[31maway [evil]`}},
		{"no JSON", "", []string{"--input", `{"name": `}, exitBadInput, "failed", []string{"--input", "no JSON value"}},
		{"no file", "", []string{"--input", "@" + at("no.json")}, exitBadInput, "failed", []string{"no.json"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := append([]string{"run", at("pipeline.yaml")}, test.input...)
			r := cli(t, test.in, args...)
			r.wants(t, test.code)
			if test.code == exitDone {
				r.wants(t, test.code, `"greeting": "Hello"`, "completed", "greet ", "keep ", "done")
			} else {
				i := strings.Index(r.err, "error: ")
				ran{r.code, r.out, r.err[max(i, 0):]}.refuses(t, test.code, test.words...)
			}
			r = cli(t, test.in, append(args, "--json")...)
			doc := decode[result](t, r.out)
			if r.code != test.code || doc.Status != test.status || doc.NodeResults == nil || doc.Output == nil || doc.Events == nil {
				t.Errorf("exit code %d, document %+v", r.code, doc)
			}
			if (doc.Error == nil) != (test.code == exitDone) {
				t.Errorf("error %+v", doc.Error)
			}
			if doc.Error != nil && len(test.words) > 0 && !strings.Contains(doc.Error.What+doc.Error.Why+doc.Error.Where.File+doc.Error.Where.Node, strings.TrimPrefix(strings.Split(test.words[0], ":")[0], "node ")) {
				t.Errorf("error %+v does not say %q", doc.Error, test.words[0])
			}
			if test.code == exitDone {
				first, last := doc.Events[0], doc.Events[len(doc.Events)-1]
				if doc.Output["greeting"] != "Hello" || doc.RunID == "" || first["type"] != "PipelineStarted" || last["type"] != "PipelineCompleted" || last["run_id"] != doc.RunID || doc.Usage["llm_calls"] != 1 {
					t.Errorf("document %+v", doc)
				}
			}
		})
	}
}

// The members of the document are what scripts read.
func TestRunDocument(t *testing.T) {
	at := hello(t)
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(cli(t, "", "run", at("pipeline.yaml"), "--input", `{"name": "ann"}`, "--json").out), &members); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"status", "run_id", "node_results", "output", "error", "events"} {
		if _, there := members[name]; !there {
			t.Errorf("the document has no %s", name)
		}
	}
	if string(members["error"]) != "null" {
		t.Errorf("error is %s", members["error"])
	}
}

// What a guest logs is escaped.
func TestRunLog(t *testing.T) {
	at := hello(t)
	cli(t, "", "run", at("pipeline.yaml"), "--input", `{"name": "ann"}`).wants(t, exitDone, `a \\x1b[31mline\\nof two`, "module=puppet")
}

func TestRunConfig(t *testing.T) {
	at := hello(t)
	if err := os.Rename(at("hexdag.yaml"), at("ops.yaml")); err != nil {
		t.Fatal(err)
	}
	run := []string{"run", at("pipeline.yaml"), "--input", `{"name": "ann"}`}
	cli(t, "", run...).refuses(t, exitBadInput, "pipeline.yaml:6:", "no module puppet", "module.not_found", "port 'llm'")
	cli(t, "", append(run, "--config", at("ops.yaml"))...).wants(t, exitDone, "Hello")
	cli(t, "", append(run, "--config", at("no.yaml"))...).refuses(t, exitBadInput, "no.yaml")
	cli(t, "", "run", at("no.yaml")).refuses(t, exitBadInput, "no.yaml")
	if doc := decode[result](t, cli(t, "", "run", at("no.yaml"), "--json").out); doc.Status != "failed" || doc.Error == nil || doc.Error.What == "" || len(doc.Events) != 0 {
		t.Errorf("document %+v", doc)
	}
}

// A broken configuration gives its modules' errors, all of them.
func TestRunBrokenModules(t *testing.T) {
	at := folder(t, map[string]string{
		"pipeline.yaml": helloPipeline, "component.wasm": "\x00asm\x0d\x00\x01\x00",
		"hexdag.yaml": "kind: Config\nspec:\n  ports: {database: {adapter: memory}}\n  modules:\n    puppet: {path: PUPPET}\n    part: {path: component.wasm}\n    gone: {path: gone.wasm}\n",
	})
	r := cli(t, "", "run", at("pipeline.yaml"))
	r.refuses(t, exitBadInput, "add under grants of the module: - metrics.count", "module.grant", "component.wasm", "module.component", "gone.wasm", "module.not_found")
	if n := strings.Count(r.err, "error: "); n != 3 {
		t.Errorf("%d errors, want 3:\n%s", n, r.err)
	}
}

const lines = `{"id": "T-1", "name": "ann"}

nonsense
{"id": "T-2", "name": "evil"}
{"id": "T-\u001b[31m3", "name": "bob"}
{"id": "T-4", "name": "ann"}
`

func TestRunEach(t *testing.T) {
	at := hello(t)
	file := at("lines.jsonl")
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	run := []string{"run", at("pipeline.yaml"), "--each", file}
	r := cli(t, "", run...)
	r.wants(t, exitFailed, "5/5", "T-1", "completed", "5 lines in", "2 completed, 1 denied, 2 failed", "lines.jsonl:3", `T-\x1b[31m3`, "LLM calls", "hexdag audit verify "+at(".hexdag/audit"), at(".hexdag/artifacts"))
	cli(t, "", append(run, "--tolerate-failures", "--concurrency", "1", "--reload-policies", "5ms")...).wants(t, exitDone, "2 completed, 1 denied, 2 failed")
	cli(t, "", "run", at("pipeline.yaml"), "--each", at("no.jsonl")).refuses(t, exitBadInput, "no.jsonl")
	cli(t, "", "run", at("pipeline.yaml"), "--each", filepath.Dir(file)).refuses(t, exitBadInput, "directory")
}

// With --json every line is a document, and the last is the report.
func TestRunEachJSON(t *testing.T) {
	at := hello(t)
	if err := os.WriteFile(at("lines.jsonl"), []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	r := cli(t, "", "run", at("pipeline.yaml"), "--each", at("lines.jsonl"), "--json")
	r.wants(t, exitFailed)
	all := slices.Collect(strings.Lines(r.out))
	ended := 0
	for _, line := range all[:len(all)-1] {
		var event struct {
			Type  string `json:"type"`
			RunID string `json:"run_id"`
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil || event.Type == "" || event.RunID == "" {
			t.Errorf("%v: %s", err, line)
		}
		if event.Type == "PipelineCompleted" {
			ended++
		}
	}
	var report struct {
		Lines, Completed, Failed, Denied int
		Problems                         []struct {
			Line  int
			Error failure
		}
		AuditDir string `json:"audit_dir"`
	}
	if err := json.Unmarshal([]byte(all[len(all)-1]), &report); err != nil {
		t.Fatal(err)
	}
	if report.Lines != 5 || report.Completed != 2 || report.Failed != 2 || report.Denied != 1 || len(report.Problems) != 3 || report.Problems[0].Error.Code != "input.invalid" || ended != 4 || report.AuditDir == "" {
		t.Errorf("%d runs ended, report %+v", ended, report)
	}
}

func TestValidate(t *testing.T) {
	at := folder(t, map[string]string{
		"ok.yaml": helloPipeline, "kind.yaml": strings.Replace(helloPipeline, "llm_node", "lmm_node", 1), "yaml.yaml": "kind: Pipeline\nspec: [\n",
		"loop.yaml": strings.Replace(helloPipeline, "dependencies: []", "dependencies: [keep]", 2), "empty.yaml": "",
	})
	cli(t, "", "validate", at("ok.yaml")).wants(t, exitDone, "hello", "greet", "keep")
	for name, words := range map[string][]string{
		"kind.yaml":  {"kind.yaml:7:", "lmm_node", "did you mean", "llm_node", "pipeline.kind"},
		"yaml.yaml":  {"yaml.yaml:2:", "pipeline.syntax"},
		"loop.yaml":  {"loop.yaml:", "greet", "keep", "pipeline.invalid"},
		"empty.yaml": {"empty.yaml", "pipeline.syntax"},
		"no.yaml":    {"no.yaml"},
	} {
		t.Run(name, func(t *testing.T) { cli(t, "", "validate", at(name)).refuses(t, exitBadInput, words...) })
	}
}
