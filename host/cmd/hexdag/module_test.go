package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// hostile exports a function with an escape sequence and a line break in its name, and node_run:
// (module (func (export "a\1b[31m\nb")) (func (export "node_run") (param i32) (result i64) i64.const 0) (memory (export "memory") 1))
const hostile = "\x00asm\x01\x00\x00\x00" + "\x01\x09\x02\x60\x00\x00\x60\x01\x7f\x01\x7e" + "\x03\x03\x02\x00\x01" + "\x05\x03\x01\x00\x01" +
	"\x07\x20\x03" + "\x08a\x1b[31m\nb\x00\x00" + "\x08node_run\x00\x01" + "\x06memory\x02\x00" + "\x0a\x09\x02\x02\x00\x0b\x04\x00\x42\x00\x0b"

func TestModuleInspect(t *testing.T) {
	at := folder(t, map[string]string{
		"hostile.wasm": hostile, "component.wasm": "\x00asm\x0d\x00\x01\x00", "text.wasm": "hello",
		// (module (import "env" "\1b[31mhack" (func)) (memory (export "memory") 1))
		"import.wasm": "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x02\x11\x01\x03env\x09\x1b[31mhack\x00\x00\x05\x03\x01\x00\x01\x07\x0a\x01\x06memory\x02\x00",
	})
	cli(t, "", "module", "inspect", puppet).wants(t, exitDone, "puppet 1.0.0", "sha256:", "hexdag_v1.call", "node_before", "node_run", "tool_call", `database.query: {table: "orders"}`, "pull: Pulls the strings.",
		"made by        none", "limits         deadline 1s, fuel 2000000000", "bytes_in 268435456", "functions 50000", "at most 64.0 MiB")
	r := cli(t, "", "module", "inspect", at("hostile.wasm"))
	r.wants(t, exitDone, `a\x1b[31m\nb`, "node_run", "asks for       none")
	const producers = "\x00\x1e\x09producers\x01\x08language\x01\x03Z\x1bg\x040.11"
	cli(t, "", "module", "inspect", folder(t, map[string]string{"m.wasm": hostile + producers})("m.wasm")).wants(t, exitDone, `made by        language: Z\x1bg 0.11`)
	cli(t, "", "module", "inspect", at("hostile.wasm"), "--json").wants(t, exitDone, `a\u001b[31m\nb`)
	cli(t, "", "module", "inspect", at("component.wasm")).refuses(t, exitBadInput, "component.wasm", "module.component", "core module")
	cli(t, "", "module", "inspect", at("text.wasm")).refuses(t, exitBadInput, "text.wasm", "module.invalid")
	cli(t, "", "module", "inspect", at("no.wasm")).refuses(t, exitBadInput, "no.wasm", "module.not_found")
	cli(t, "", "module", "inspect", at("import.wasm")).refuses(t, exitBadInput, "import.wasm", "module.import", `env.\x1b[31mhack`)

	info := decode[struct {
		File, Name, Version, Description, Digest, Dialect string
		Size                                              int
		Points, Imports, Exports                          []string
		Tools, Operations, Capabilities                   []any
		Limits                                            map[string]any
		StaticLimits                                      map[string]any `json:"static_limits"`
		Producers                                         []any
		Functions                                         int
		Memory                                            int `json:"memory_bytes"`
		MemoryMax                                         int `json:"memory_max_bytes"`
	}](t, cli(t, "", "module", "inspect", puppet, "--json").out)
	if info.Name != "puppet" || info.Dialect != "native" || info.Size == 0 || len(info.Points) != 3 || len(info.Imports) != 4 || len(info.Tools) != 1 || len(info.Capabilities) != 2 || info.Limits == nil {
		t.Errorf("%+v", info)
	}
}

func TestModuleCall(t *testing.T) {
	at := folder(t, map[string]string{"config.json": `{"output": "from a file"}`, "hostile.wasm": hostile})
	grants := []string{"--grant", "metrics.count:name=good", "--grant", "database.query"}
	for _, test := range []struct {
		name, point string
		flags       []string
		code        int
		words       []string
	}{
		{"nothing", "node_run", nil, exitDone, []string{"verdict  continue", "used ", "0 host calls"}},
		{"output", "node_run", []string{"--config", `{"output": {"n": 1.50}}`}, exitDone, []string{`output   {"n":1.50}`}},
		{"config from a file", "tool_call", []string{"--config", "@" + at("config.json")}, exitDone, []string{`"from a file"`}},
		{"hook", "node_before", []string{"--config", `{"verdict": 1}`, "--input", `{"input": {"a": "b"}}`}, exitDone, []string{"verdict  replace", `patched  {"a":"b"}`}},
		{"granted", "node_run", []string{"--config", `{"op": "metrics.count", "args": {"name": "good"}}`}, exitDone, []string{"1 host calls"}},
		{"not granted", "node_run", []string{"--config", `{"op": "metrics.count", "args": {"name": "bad"}}`}, exitFailed, []string{"verdict  error", "not granted"}},
		{"not requested", "node_run", []string{"--config", `{"op": "metrics.count", "args": {"name": "ugly"}}`}, exitFailed, []string{"verdict  error", "does not request it"}},
		{"no operation", "node_run", []string{"--config", `{"op": "drawer.open"}`}, exitFailed, []string{"verdict  error", "no operation drawer.open"}},
		{"denied", "node_run", []string{"--config", `{"verdict": 3, "output": {"reason": "a\u001b[31m"}}`}, exitDenied, []string{"verdict  deny", `a\u001b[31m`}},
		{"retry", "node_run", []string{"--config", `{"verdict": 4}`}, exitFailed, []string{"verdict  retry_after"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := append(append([]string{"module", "call", puppet, test.point}, grants...), test.flags...)
			cli(t, "", args...).wants(t, test.code, test.words...)
			r := cli(t, "", append(args, "--json")...)
			out := decode[struct {
				Verdict         string
				RetryAfterMS    int `json:"retry_after_ms"`
				Patched, Output any
				BodyBytes       int `json:"body_bytes"`
				Counters        map[string]int
				Usage           map[string]any
			}](t, r.out)
			if r.code != test.code || !strings.Contains(test.words[0]+out.Verdict, out.Verdict) || out.Usage["peak_memory_bytes"] == nil {
				t.Errorf("exit code %d: %+v", r.code, out)
			}
			if test.name == "granted" && out.Counters["good"] != 1 {
				t.Errorf("counters %v", out.Counters)
			}
		})
	}
}

func TestModuleCallRefuses(t *testing.T) {
	at := folder(t, map[string]string{"hostile.wasm": hostile})
	grants := []string{"--grant", "metrics.count", "--grant", "database.query"}
	for _, test := range []struct {
		name  string
		args  []string
		code  int
		words []string
	}{
		{"timeout", append([]string{puppet, "node_run", "--config", `{"loop": true}`, "--timeout", "30ms"}, grants...), exitFailed, []string{"module puppet@", "30ms", "timeout"}},
		{"memory", append([]string{puppet, "node_run", "--memory", "1"}, grants...), exitFailed, []string{"puppet.wasm", "memory", "the limit is 0", "code   limit"}},
		{"no grant", []string{puppet, "node_run"}, exitBadInput, []string{"module.grant", "add under grants of the module: - metrics.count"}},
		{"unreadable grant", []string{puppet, "node_run", "--grant", "metrics.count:name"}, exitBadInput, []string{"--grant metrics.count:name", "argument=pattern", "config.invalid"}},
		{"no such grant", append([]string{puppet, "node_run", "--grant", "database.drop"}, grants...), exitBadInput, []string{"no operation database.drop", "config.invalid"}},
		{"no such point", append([]string{puppet, "node_after"}, grants...), exitBadInput, []string{"node_after", "module.export"}},
		{"not a point", []string{at("hostile.wasm"), "a\x1b[31m\nb"}, exitBadInput, []string{`a\x1b[31m\nb`, "module.export"}},
		{"input", append([]string{puppet, "node_run", "--input", "{"}, grants...), exitBadInput, []string{"--input", "input.invalid"}},
		{"verdict", append([]string{puppet, "node_run", "--config", `{"verdict": 2}`}, grants...), exitFailed, []string{"module puppet@", "module.abi"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := cli(t, "", append([]string{"module", "call"}, test.args...)...)
			r.refuses(t, test.code, test.words...)
			if r.out != "" {
				t.Errorf("stdout %q", r.out)
			}
		})
	}
	cli(t, `{"input": 7}`, append([]string{"module", "call", puppet, "node_before", "--input", "@-", "--config", `{"verdict": 1}`}, grants...)...).wants(t, exitDone, "patched  7")
}

func TestBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles")
	}
	source := "../../../examples/support-triage/guests/refund"
	at := folder(t, map[string]string{"empty/readme": "", "bare/main.go": "package main\n\nfunc main() {}\n", "bad/main.go": "package main\n\nfunc main() { x }\n", "bad/manifest.json": `{"name": "bad", "version": "1.0.0"}`, "bad/go.mod": "module bad\n"})
	r := cli(t, "", "build", source, "-o", at("refund.wasm"))
	r.wants(t, exitDone)
	if r.out != at("refund.wasm")+"\n" {
		t.Errorf("stdout %q", r.out)
	}
	if info, err := os.Stat(at("refund.wasm")); err != nil || info.Size() < 1<<10 {
		t.Errorf("%v, %v", info, err)
	}
	cli(t, "", "build", at("empty")).refuses(t, exitBadInput, at("empty"), "module.invalid")
	cli(t, "", "build", at("gone")).refuses(t, exitBadInput, at("gone"), "module.not_found")
	cli(t, "", "build", at("bare")).refuses(t, exitBadInput, "manifest.json", "module.invalid")
	r = cli(t, "", "build", at("bad"))
	r.wants(t, exitBadInput, "undefined: x", "does not compile", "module.invalid")
	if _, err := os.Stat(at("bad/bad.wasm")); err == nil {
		t.Error("a module was left behind")
	}
}

// The build decides which engines there are.
func TestModuleCallEngine(t *testing.T) {
	call := func(engine string) ran {
		return cli(t, "", "module", "call", puppet, "node_run", "--grant", "metrics.count", "--grant", "database.query", "--engine", engine)
	}
	call("wazero").wants(t, exitDone, "verdict  continue")
	call("v8").refuses(t, exitBadInput, "no engine v8", "wazero, interpreter and wasmtime")
	fuel := regexp.MustCompile(`\d+ fuel`)
	call("interpreter").wants(t, exitDone, "verdict  continue", fuel.FindString(call("wazero").out)) // to the unit
	if os.Getenv("HEXDAG_TEST_ENGINE") == "wasmtime" {                                               // as make wasmtime builds it
		call("wasmtime").wants(t, exitDone, "verdict  continue")
	} else {
		call("wasmtime").refuses(t, exitBadInput, "no engine wasmtime", "built without the tag wasmtime", "CGO_ENABLED=1 go build -tags wasmtime")
	}
}
