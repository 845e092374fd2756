package main

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// troubled has one of everything that lint finds in a file that loads.
const troubled = `kind: Pipeline
metadata: {name: t}
spec:
  varables: 1
  output: {x: badName}
  nodes:
    - {kind: llm_node, metadata: {name: badName}, spec: {human_message: "key sk-abcdefghij0123456789"}}
    - {kind: data_node, metadata: {name: unused}, dependencies: [], spec: {output: "\e[31mred"}}
`

func TestLint(t *testing.T) {
	at := folder(t, map[string]string{"p.yaml": troubled, "bad.yaml": "kind: Pipeline\nmetadata: {name: t}\nspec: {nodes: [{kind: nope, metadata: {name: a}}]}\n", "good.yaml": "kind: Pipeline\nmetadata: {name: t, description: d}\nspec: {nodes: [{kind: data_node, metadata: {name: a, description: d}, spec: {output: 1}}]}\n"})
	r := cli(t, "", "lint", at("p.yaml"))
	r.wants(t, exitBadInput, at("p.yaml")+":4:3: warning W204: spec has the member varables", ":7:7: warning W200: ", ":7:7: warning W201: ", ":8:7: warning W202: nothing uses the result of node unused",
		":7:73: warning W203: an API key is written into the file: sk-… (23 characters)", ":2:11: info I300: ", ":7:41: info I301: ", "such as bad_name", "errors 0, warnings 5, infos 4\n")
	if strings.Contains(r.out+r.err, "abcdefghij") || r.err != "" {
		t.Errorf("%s %s", r.out, r.err)
	}
	r = cli(t, "", "lint", at("p.yaml"), "--severity", "error")
	r.wants(t, exitDone, "errors 0, warnings 0, infos 0\n")
	cli(t, "", "lint", at("p.yaml"), "--disable", "W200,W201,W202", "--disable", "w203,W204").wants(t, exitDone, "errors 0, warnings 0, infos 4\n")
	cli(t, "", "lint", at("good.yaml")).wants(t, exitDone, "errors 0, warnings 0, infos 0\n")
	cli(t, "", "lint", at("bad.yaml"), "--severity", "error").wants(t, exitBadInput, ":3:23: error E101: there is no node kind nope", "errors 1, ")

	r = cli(t, "", "lint", at("p.yaml"), "--format", "json")
	type finding struct {
		Rule, Severity, Message, Fix, File, Node string
		Line, Column                             int
	}
	doc := decode[struct {
		File                    string
		Findings                []finding
		Errors, Warnings, Infos int
	}](t, r.out)
	if r.code != exitBadInput || doc.Warnings != 5 || doc.Infos != 4 || len(doc.Findings) != 9 || doc.Findings[0].Rule != "I300" || doc.Findings[0].Line != 2 || doc.File != at("p.yaml") {
		t.Errorf("exit code %d, %+v", r.code, doc)
	}
	r = cli(t, "", "lint", at("good.yaml"), "--format", "json")
	r.wants(t, exitDone, `"findings":[]`)
	for _, test := range []struct {
		args  []string
		words []string
	}{
		{[]string{"--disable", "E100"}, []string{"rule E100 cannot be disabled"}},
		{[]string{"--disable", "X1"}, []string{"no rule X1"}},
		{[]string{"--severity", "loud"}, []string{"no severity loud"}},
		{[]string{"--format", "xml"}, []string{"no format xml"}},
	} {
		cli(t, "", append([]string{"lint", at("good.yaml")}, test.args...)...).refuses(t, exitBadInput, test.words...)
	}
	cli(t, "", "lint", at("no.yaml")).wants(t, exitBadInput, "no.yaml: error E102: the file cannot be read")
}

func TestExplain(t *testing.T) {
	at := hello(t)
	cli(t, "", "explain", at("pipeline.yaml")).wants(t, exitDone, "pipeline hello", "wave 1\n", "configured by "+at("hexdag.yaml"), "greet: dependencies", "calls     llm.complete by mock (config)", "calls     artifacts.store by file (built in)",
		"puppet  ", "granted metrics.count; database.query", "port.llm\n", "vas.write\n", "output\n  greeting  greet\n")
	if _, err := os.Stat(at(".hexdag")); err == nil {
		t.Error("something was opened")
	}
	r := cli(t, "", "explain", at("pipeline.yaml"), "--json")
	var plan struct {
		Name    string
		Waves   [][]string
		Nodes   []map[string]any
		Modules []map[string]any
	}
	if err := json.Unmarshal([]byte(r.out), &plan); err != nil || r.code != exitDone || plan.Name != "hello" || len(plan.Waves) != 2 || len(plan.Nodes) != 3 || plan.Modules[0]["configured"] != true {
		t.Errorf("exit code %d, %+v, %v", r.code, plan, err)
	}
	system := folder(t, map[string]string{"s.yaml": "kind: System\nmetadata: {name: s}\nspec: {processes: [{name: one, pipeline: p.yaml}], ports: {llm: {adapter: mock}}}\n", "p.yaml": "kind: Pipeline\nmetadata: {name: p}\nspec: {nodes: [{kind: llm_node, metadata: {name: n}, spec: {human_message: hi}}]}\n"})
	cli(t, "", "explain", system("s.yaml")).wants(t, exitDone, "process one\n", "pipeline p", "llm.complete by mock (pipeline)")
	if r := cli(t, "", "explain", system("s.yaml")); strings.Contains(r.out, "configured by") {
		t.Errorf("there is no configuration: %s", r.out)
	}
	r = cli(t, "", "explain", system("s.yaml"), "--json")
	r.wants(t, exitDone, `"system":"s"`, `"process":"one"`, `"name":"p"`)
	cli(t, "", "explain", at("no.yaml")).refuses(t, exitBadInput, "no.yaml")
	cli(t, "", "explain", at("pipeline.yaml"), "--config", at("no.yaml")).refuses(t, exitBadInput, "no.yaml")
}

func TestGraph(t *testing.T) {
	at := hello(t)
	cli(t, "", "graph", at("pipeline.yaml")).wants(t, exitDone, "hello\n├─ wave 1\n", "└─ keep  service_call_node artifacts.store  <- greet")
	r := cli(t, "", "graph", at("pipeline.yaml"), "--svg")
	if err := xml.Unmarshal([]byte(r.out), new(struct{ XMLName xml.Name })); err != nil || r.code != exitDone || !strings.HasPrefix(r.out, "<svg ") {
		t.Errorf("exit code %d, %v: %s", r.code, err, r.out)
	}
	file := filepath.Join(t.TempDir(), "p.svg")
	written := cli(t, "", "graph", at("pipeline.yaml"), "--svg", "-o", file)
	text, err := os.ReadFile(file)
	if err != nil || written.code != exitDone || written.out != "" || string(text) != r.out {
		t.Errorf("%+v, %v", written, err)
	}
	cli(t, "", "graph", at("pipeline.yaml"), "-o", filepath.Join(file, "x")).refuses(t, exitBadInput, "cannot be written", "not a directory")
	cli(t, "", "graph", at("no.yaml")).refuses(t, exitBadInput, "no.yaml")
}

func TestSchema(t *testing.T) {
	r := cli(t, "", "schema")
	var doc map[string]any
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil || r.code != exitDone || doc["$schema"] != "http://json-schema.org/draft-07/schema#" {
		t.Errorf("exit code %d, %v", r.code, err)
	}
	file := filepath.Join(t.TempDir(), "hexdag.schema.json")
	cli(t, "", "schema", "-o", file).wants(t, exitDone)
	if text, err := os.ReadFile(file); err != nil || string(text) != r.out {
		t.Errorf("the file holds something else: %v", err)
	}
}
