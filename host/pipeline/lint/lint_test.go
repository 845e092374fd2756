package lint

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
)

// write makes a folder of files and returns the path of pipeline.yaml in it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "pipeline.yaml")
}

// found renders findings as "W200 6:7 node", those of I300 left out.
func found(t *testing.T, r *Report) []string {
	t.Helper()
	var list []string
	for _, f := range r.Findings {
		if f.Severity != f.Rule.Severity() || f.Message == "" || f.File == "" {
			t.Errorf("incomplete: %+v", f)
		}
		if f.Rule != Description {
			list = append(list, strings.TrimSpace(fmt.Sprintf("%s %d:%d %s", f.Rule, f.Line, f.Column, f.Node)))
		}
	}
	return list
}

func look(t *testing.T, text string, opts Options) *Report {
	t.Helper()
	r, err := File(write(t, map[string]string{"pipeline.yaml": text}), opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const head = "kind: Pipeline\nmetadata: {name: t, description: d}\nspec:\n"

func TestRules(t *testing.T) {
	const ask = "    - {kind: llm_node, metadata: {name: ask}, spec: {human_message: hi%s}}\n"
	const agent = "    - {kind: agent_node, metadata: {name: ask}, spec: {main_prompt: hi%s}}\n"
	data := func(name, output string) string {
		return "    - {kind: data_node, metadata: {name: " + name + "}, dependencies: [], spec: {output: " + output + "}}\n"
	}
	const bounded = ", timeout: 5, max_retries: 2"
	nodes := func(settings string, list ...string) string {
		return head + settings + "  nodes:\n" + strings.Join(list, "")
	}
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"nothing":                                {nodes("", fmt.Sprintf(ask, bounded)), nil},
		"E100":                                   {nodes("", data("a", "'{{ b }}'"), data("b", "'{{ a }}'")), []string{"E100 5:7"}},
		"E101":                                   {nodes("", "    - {kind: lllm_node, metadata: {name: a}}\n"), []string{"E101 5:14"}},
		"E101, an alias":                         {nodes("  aliases: {x: my.Class}\n", data("a", "1")), []string{"E101 4:16"}},
		"E102":                                   {nodes("", "    - {kind: llm_node, metadata: {name: a}, spec: {}}\n"), []string{"E102 5:51"}},
		"E102, all of them":                      {nodes("", data("a", "1"), data("a", "1"), "    - {kind: nope, metadata: {name: b}}\n"), []string{"E102 6:7", "E101 7:14"}},
		"E102, no YAML":                          {"kind: [\n", []string{"E102 1:7"}},
		"W200 and W201":                          {nodes("", fmt.Sprintf(ask, "")), []string{"W200 5:7 ask", "W201 5:7 ask"}},
		"W200 and W201 of an agent":              {nodes("", fmt.Sprintf(agent, "")), []string{"W200 5:7 ask", "W201 5:7 ask"}},
		"one attempt is no retry":                {nodes("", fmt.Sprintf(ask, ", timeout: 5, max_retries: 1")), []string{"W201 5:7 ask"}},
		"a default timeout counts":               {nodes("  orchestrator: {default_node_timeout: 9}\n", fmt.Sprintf(ask, ", max_retries: 2")), nil},
		"middleware counts":                      {nodes("  ports: {llm: {adapter: mock, middleware: [hexdag.stdlib.middleware.retry_with_backoff.RetryWithBackoff, timeout]}}\n", fmt.Sprintf(ask, "")), nil},
		"that of the node alone":                 {nodes("  ports: {llm: {adapter: mock, middleware: [Timeout, RetryWithBackoff]}}\n  node_ports: {ask: {llm: {adapter: mock}}}\n", fmt.Sprintf(ask, "")), []string{"W200 7:7 ask", "W201 7:7 ask"}},
		"W200 in a body":                         {nodes("", "    - {kind: composite_node, metadata: {name: c}, spec: {mode: times, count: 2, body: [{kind: llm_node, metadata: {name: ask}, spec: {human_message: hi, max_retries: 2}}]}}\n"), []string{"W200 5:88 ask"}},
		"a body's default timeout":               {nodes("", "    - {kind: composite_node, metadata: {name: c}, spec: {mode: times, count: 2, default_node_timeout: 3, body: [{kind: llm_node, metadata: {name: ask}, spec: {human_message: hi, max_retries: 2}}]}}\n"), nil},
		"W202":                                   {nodes("  output: {x: a.v}\n", data("a", "{v: 1}"), data("b", "1")), []string{"W202 7:7 b"}},
		"W202, behind a strict mapping":          {nodes("", data("a", "{v: 1}"), "    - {kind: service_call_node, metadata: {name: s}, dependencies: [a], spec: {service: x, method: y, strict_mapping: true, input_mapping: {k: $input.z}}}\n"), []string{"W202 5:7 a"}},
		"no W202 where a mapping names it":       {nodes("", data("a", "{v: 1}"), "    - {kind: service_call_node, metadata: {name: s}, spec: {service: x, method: y, strict_mapping: true, input_mapping: {k: a.v}}}\n"), nil},
		"no W202 where a field of it is named":   {nodes("", data("a", "{v: 1}"), "    - {kind: expression_node, metadata: {name: s}, dependencies: [a], spec: {expressions: {w: v + 1}}}\n"), nil},
		"W202 where only the input is named":     {nodes("", data("a", "{v: 1}"), "    - {kind: expression_node, metadata: {name: s}, dependencies: [a], spec: {expressions: {w: $input.v + 1}}}\n"), []string{"W202 5:7 a"}},
		"no W202 where a function takes all":     {nodes("", data("a", "{v: 1}"), "    - {kind: function_node, metadata: {name: s}, dependencies: [a], spec: {fn: m}}\n"), nil},
		"no W202 of what has an effect":          {nodes("  output: {x: a.v}\n", data("a", "{v: 1}"), "    - {kind: service_call_node, metadata: {name: s}, spec: {service: x, method: y}}\n"), nil},
		"no W202 of a last node without output":  {nodes("", data("a", "{v: 1}"), data("b", "1")), nil},
		"W203":                                   {nodes("", data("a", "'key sk-abcdefghij0123456789'")), []string{"W203 5:79"}},
		"W204":                                   {nodes("  varables: {a: 1}\n", data("a", "1")), []string{"W204 4:3"}},
		"W204 of labels that say nothing":        {nodes("  ports: {memory: {adapter: memory, labels: {integrity: trusted}}}\n", data("a", "1")), []string{"W204 4:45"}},
		"no W204 of labels that say something":   {nodes("  ports: {memory: {adapter: memory, labels: {resources: {x: {integrity: untrusted}}}}}\n", data("a", "1")), nil},
		"E102 of labels that there are not":      {nodes("  ports: {memory: {adapter: memory, labels: {integrity: low}}}\n", data("a", "1")), []string{"E102 4:45"}},
		"W205":                                   {nodes("  lock: orders\n", "    - {kind: data_node, metadata: {name: a}, spec: {output: 1, lock: {name: x, ttl: 3}}}\n"), []string{"W205 4:9", "W205 6:70"}},
		"no W205 with a timeout":                 {nodes("  lock: {name: orders, timeout: 0}\n", data("a", "1")), nil},
		"I301":                                   {nodes("", data("myNode", "1"), data("a-b", "1"), data("a__b", "1"), data("ok_2", "1")), []string{"I301 5:42 myNode", "I301 6:42 a-b", "I301 7:42 a__b"}},
		"the rules hold also for macros' nodes":  {"kind: Macro\nmetadata: {name: m}\nnodes:\n  - {kind: llm_node, metadata: {name: '{{name}}_ask'}, spec: {human_message: hi}}\n---\n" + nodes("", "    - {kind: m, metadata: {name: i}}\n"), []string{"W200 4:5 i_ask", "W201 4:5 i_ask"}},
		"and for those of hexDAG's macros":       {nodes("", "    - {kind: core:reasoning_agent, metadata: {name: i}, spec: {main_prompt: hi, max_steps: 1, timeout: 9}}\n"), []string{"W201 5:7 i_final", "W201 5:7 i_step_0_llm"}},
		"which find nothing in these":            {nodes("", "    - {kind: core:reasoning_agent, metadata: {name: i}, spec: {main_prompt: hi, max_steps: 2, timeout: 9, max_retries: 3}}\n"), nil},
		"nothing uses what was made":             {nodes("  output: {v: a}\n", data("a", "1"), "    - {kind: tool_executor_node, metadata: {name: x}, dependencies: [a], spec: {available_tools: []}}\n", "    - {kind: tool_results_node, metadata: {name: w}, dependencies: [x], spec: {}}\n"), []string{"W202 8:7 w"}},
		"an empty pipeline has nothing to find":  {nodes("") + "    []\n", nil},
		"a file of macros has nothing to find":   {"kind: Macro\nmetadata: {name: m}\nnodes: [{kind: data_node, metadata: {name: a}, spec: {output: 1}}]\n", nil},
		"a configuration is no pipeline's file":  {"kind: Config\nspec: {}\n", []string{"E102 1:7"}},
		"a result that a switch routes on":       {nodes("", data("a", "{v: 1}"), "    - {kind: composite_node, metadata: {name: r}, spec: {mode: switch, route_downstream: true, branches: [{condition: a.v > 0, action: b}]}}\n", data("b", "1")), nil},
		"a result that the error handler sees":   {nodes("", data("a", "{v: 1}"), "    - {kind: expression_node, metadata: {name: e}, spec: {expressions: {w: 1 / a.v}, on_error: h}}\n", "    - {kind: data_node, metadata: {name: h}, dependencies: [], spec: {output: '{{ _error.message }}'}}\n"), nil},
		"a merge takes the results":              {nodes("", data("a", "1"), data("b", "2"), "    - {kind: expression_node, metadata: {name: e}, dependencies: [a, b], spec: {merge_strategy: list}}\n"), nil},
		"nothing uses what a body's middle says": {nodes("", "    - {kind: composite_node, metadata: {name: c}, spec: {mode: times, count: 2, body: [{kind: data_node, metadata: {name: x}, spec: {output: 1}}, {kind: data_node, metadata: {name: y}, dependencies: [x], spec: {output: 2}}]}}\n"), []string{"W202 5:88 x"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := look(t, tc.text, Options{})
			if got := found(t, r); !slices.Equal(got, slices.Concat(tc.want)) {
				t.Errorf("got %q, want %q: %+v", got, tc.want, r.Findings)
			}
		})
	}
}

func TestDescriptions(t *testing.T) {
	r := look(t, "kind: Pipeline\nmetadata: {name: t}\nspec:\n  nodes:\n    - {kind: data_node, metadata: {name: a}, spec: {output: 1}}\n    - {kind: data_node, metadata: {name: b, description: d}, spec: {output: 1}}\n", Options{})
	var got []string
	for _, f := range r.Findings {
		got = append(got, fmt.Sprintf("%s %d:%d %s", f.Rule, f.Line, f.Column, f.Message))
	}
	want := []string{"I300 2:11 pipeline t has no description", "I300 5:35 node a has no description"}
	if r.Infos != 2 || !slices.ContainsFunc(got, func(s string) bool { return s == want[0] }) || !slices.Contains(got, want[1]) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A secret is found wherever it stands, also where a file does not load, and no
// output has more of it than what all secrets of its kind begin with.
func TestSecrets(t *testing.T) {
	key := "-----BEGIN RSA PRIVATE KEY-----\\nMIIEowIBAAKCAQEAxyz0123456789\\n-----END RSA PRIVATE KEY-----"
	for name, tc := range map[string]struct{ value, secret, says string }{
		"OpenAI":       {"sk-proj-abcdefghij0123456789", "abcdefghij", "sk-… (28 characters)"},
		"in a text":    {"use sk-ant-abcdefghij0123456789 for it", "abcdefghij", "sk-… (27 characters)"},
		"GitHub":       {"ghp_abcdefghijklmnopqrstuvwxyz0123456789", "abcdefghij", "ghp_…"},
		"GitHub, fine": {"github_pat_11ABCDEFG0abcdefghijklmnop", "ABCDEFG", "github_pat_…"},
		"GitLab":       {"glpat-abcdefghij0123456789", "abcdefghij", "glpat-…"},
		"AWS":          {"AKIAIOSFODNN7EXAMPLE", "IOSFODNN7", "AKIA…"},
		"Google":       {"AIzaSyA0123456789abcdefghijklmnopqrstuv", "SyA012345", "AIza…"},
		"Slack":        {"xoxb-123456789012-abcdefghijkl", "123456789012", "xoxb-…"},
		"Hugging Face": {"hf_abcdefghijklmnopqrst0123456789", "abcdefghij", "hf_…"},
		"private key":  {key, "MIIEow", "-----BEGIN RSA PRIVATE KEY-----…"},
		"JWT":          {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U", "hbGciOi", "eyJ…"},
		"address":      {"postgres://admin:hunter2secret@db.example.com/x", "hunter2", "postgres://…"},
		"a default":    {"${OPENAI_API_KEY:sk-abcdefghij0123456789}", "abcdefghij", "sk-…"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, text := range []string{
				head + "  nodes: [{kind: data_node, metadata: {name: a}, spec: {output: {deep: [\"" + tc.value + "\"]}}}]\n",
				head + "  nodes: [{kind: nope, metadata: {name: a}, spec: {output: {deep: [\"" + tc.value + "\"]}}}]\n",
				head + "  ports: {llm: {adapter: \"x." + tc.value + "\"}}\n  nodes: []\n", // the loader quotes it
			} {
				r := look(t, text, Options{})
				i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Rule == Secret })
				if i < 0 || !strings.Contains(r.Findings[i].Message, tc.says) || r.Findings[i].Line == 0 || r.Findings[i].Column == 0 {
					t.Errorf("%s: %+v", text, r.Findings)
				}
				for _, f := range r.Findings {
					if strings.Contains(f.Message+f.Fix, tc.secret) {
						t.Errorf("it is shown: %+v", f)
					}
				}
			}
		})
	}
	for _, value := range []string{"risk-assessment-of-everything-2024", "sk-learn-pipeline-of-models", "${OPENAI_API_KEY}", "AKIA is a prefix", "https://example.com:8080/a@b", "https://{{ user }}:{{ password }}@example.com", "ghp_short"} {
		r := look(t, head+"  nodes: [{kind: data_node, metadata: {name: a}, spec: {output: \""+value+"\"}}]\n", Options{})
		if slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Rule == Secret }) {
			t.Errorf("%s is taken for a secret: %+v", value, r.Findings)
		}
	}
}

// A member of a configuration that is called password holds one.
func TestSecretsByName(t *testing.T) {
	port := func(member string) string {
		return head + "  ports: {llm: {adapter: mock, config: {" + member + "}}}\n  nodes: []\n"
	}
	for member, secret := range map[string]bool{
		"password: hunter2hunter2": true, "client_secret: abcdefghijkl": true, "apiKey: abcdefghijkl": true, "authorization: Bearer abcdefgh": true, "nested: {token: abcdefghijkl}": true,
		"password: short": false, "api_key: '${MY_API_KEY}'": false, "password: '{{ spec.variables.x }}'": false, "tokenizer: abcdefghijkl": false, "max_tokens: abcdefghijkl": false,
	} {
		r := look(t, port(member), Options{Env: func(string) (string, bool) { return "v", true }})
		i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Rule == Secret })
		if (i >= 0) != secret {
			t.Errorf("%s: %+v", member, r.Findings)
		}
		if i >= 0 && (strings.Contains(r.Findings[i].Message, "hunter2") || strings.Contains(r.Findings[i].Message, "abcdefgh")) {
			t.Errorf("it is shown: %+v", r.Findings[i])
		}
	}
	r := look(t, head+"  nodes: [{kind: llm_node, metadata: {name: a}, spec: {human_message: hi, output_schema: {password: trimmed_str}, input_mapping: {token: $input.some_token}}}]\n", Options{})
	if slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Rule == Secret }) {
		t.Errorf("a type or a path is taken for a secret: %+v", r.Findings)
	}
}

func TestMask(t *testing.T) {
	for text, want := range map[string]string{
		"sk-abcdefghij0123456789 and ghp_abcdefghijklmnopqrstuvwxyz0123": "sk-… and ghp_…",
		"sk-abcdefghij0123456789 sk-abcdefghij0123456780":                "sk-… sk-…",
		`a line\nsk-abcdefghij0123456789`:                                `a line\nsk-…`,
		"nothing":                                                        "nothing",
		"-----BEGIN PRIVATE KEY-----\nabc":                               "-----BEGIN PRIVATE KEY-----…",
	} {
		if got := mask(text); got != want {
			t.Errorf("%q masked as %q, want %q", text, got, want)
		}
	}
}

// What is included, what a composite or a system names: all of it is looked at.
func TestOtherFiles(t *testing.T) {
	const secret = "{kind: data_node, metadata: {name: %s, description: d}, spec: {output: sk-abcdefghij0123456789}}"
	body := "kind: Pipeline\nmetadata: {name: b, description: d}\nspec:\n  nodes:\n    - " + fmt.Sprintf(secret, "x") + "\n"
	for name, files := range map[string]map[string]string{
		"an include":       {"pipeline.yaml": head + "  nodes:\n    - \"!include\": sub/other.yaml\n", "sub/other.yaml": "- " + fmt.Sprintf(secret, "a") + "\n"},
		"a body_pipeline":  {"pipeline.yaml": head + "  nodes:\n    - {kind: composite_node, metadata: {name: c, description: d}, spec: {mode: times, count: 1, body_pipeline: sub/other.yaml}}\n", "sub/other.yaml": body},
		"a system":         {"pipeline.yaml": "kind: System\nmetadata: {name: s}\nspec: {processes: [{name: p, pipeline: sub/other.yaml}]}\n", "sub/other.yaml": body},
		"a system's loads": {"pipeline.yaml": "kind: System\nmetadata: {name: s}\nspec: {processes: [{name: p, pipeline: sub/other.yaml, policies: 1}]}\n", "sub/other.yaml": body},
	} {
		t.Run(name, func(t *testing.T) {
			file := write(t, files)
			r, err := File(file, Options{Severity: Warning, Disable: []string{"W204"}})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Findings) != 1 || r.Findings[0].Rule != Secret || r.Findings[0].File != filepath.Join(filepath.Dir(file), "sub", "other.yaml") || r.Findings[0].Line == 0 {
				t.Errorf("found %+v", r.Findings)
			}
		})
	}
}

// Without an environment, all of a file's are looked at, and what is wrong with
// several is said once.
func TestEnvironments(t *testing.T) {
	env := func(namespace, node string) string {
		return "kind: Pipeline\nmetadata: {name: t, namespace: " + namespace + ", description: d}\nspec:\n  nodes:\n    - {kind: data_node, metadata: {name: " + node + ", description: d}, spec: {output: AKIAIOSFODNN7EXAMPLE}}\n"
	}
	text := env("dev", "ok") + "---\n" + env("prod", "notOK")
	all := found(t, look(t, text, Options{}))
	if want := []string{"W203 5:78", "I301 11:42 notOK", "W203 11:81"}; !slices.Equal(all, want) {
		t.Errorf("all: %q, want %q", all, want)
	}
	if got := found(t, look(t, text, Options{Environment: "dev"})); slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "I301") }) {
		t.Errorf("dev: %q", got)
	}
	if got := found(t, look(t, text, Options{Environment: "test"})); !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "E102") }) {
		t.Errorf("an environment that is not there: %q", got)
	}
}

func TestOptions(t *testing.T) {
	text := head + "  varables: 1\n  nodes:\n    - {kind: llm_node, metadata: {name: badName}, spec: {human_message: hi}}\n"
	for _, tc := range []struct {
		opts                    Options
		errors, warnings, infos int
	}{
		{Options{}, 0, 3, 2},
		{Options{Severity: Warning}, 0, 3, 0},
		{Options{Severity: Error}, 0, 0, 0},
		{Options{Disable: []string{"W200", " w204", "I300"}}, 0, 1, 1},
	} {
		if r := look(t, text, tc.opts); r.Errors != tc.errors || r.Warnings != tc.warnings || r.Infos != tc.infos || len(r.Findings) != tc.errors+tc.warnings+tc.infos {
			t.Errorf("%+v: %+v", tc.opts, r)
		}
	}
	for _, tc := range []struct {
		opts Options
		says []string
	}{
		{Options{Disable: []string{"W299"}}, []string{"no rule W299", "known are E100"}},
		{Options{Disable: []string{"E100"}}, []string{"E100 cannot be disabled", "does not run"}},
		{Options{Severity: "fatal"}, []string{"no severity fatal", "error, warning or info"}},
	} {
		_, err := File("pipeline.yaml", tc.opts)
		if kernel.CodeOf(err) != kernel.CodeInput {
			t.Errorf("%+v: %v", tc.opts, err)
			continue
		}
		for _, s := range tc.says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%v does not say %q", err, s)
			}
		}
	}
	if r, err := File(filepath.Join(t.TempDir(), "no.yaml"), Options{}); err != nil || len(r.Findings) != 1 || r.Findings[0].Rule != Load {
		t.Errorf("a file that is not there: %+v, %v", r, err)
	}
}

// The lint of a text never panics, and shows no secret that is written in it.
func FuzzLint(f *testing.F) {
	f.Add(head + "  nodes: [{kind: llm_node, metadata: {name: a}, spec: {human_message: hi}}]\n")
	f.Add("kind: System\nmetadata: {name: s}\nspec: {processes: [{name: a, pipeline: pipeline.yaml}]}\n")
	f.Add("- sk-abcdefghij0123456789\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<12 {
			return
		}
		file := filepath.Join(dir, "pipeline.yaml")
		if err := os.WriteFile(file, []byte(text+"\n# end\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := File(file, Options{})
		if err != nil || r.Errors+r.Warnings+r.Infos != len(r.Findings) {
			t.Fatalf("%v: %+v", err, r)
		}
		for _, finding := range r.Findings {
			if secretPatterns[1].find(finding.Message+finding.Fix) != nil {
				t.Fatalf("a secret is shown: %+v", finding)
			}
		}
	})
}
