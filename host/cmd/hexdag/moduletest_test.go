package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/testenv"
)

func TestModuleTest(t *testing.T) {
	at := folder(t, map[string]string{
		"good/b.case.json":    `{"point": "node_before", "input": {"input": 7}, "config": {"verdict": 1}, "expect": {"verdict": "replace", "patched": 7}}`,
		"bad/x\x1b.case.json": `{"point": "node_before", "input": {"input": 7}, "config": {"verdict": 1}, "expect": {"verdict": "replace", "patched": 8}}`,
		"broken/x.case.json":  `{"point": "node_before"}`,
		"empty/readme":        "",
	})
	// A real call becomes a case, which passes; nothing is written over.
	record := []string{"module", "call", puppet, "node_run", "--grant", "metrics.count", "--grant", "database.query", "--config", `{"op": "metrics.count", "args": {"name": "good"}}`, "--record", at("good/a.case.json")}
	cli(t, "", record...).wants(t, exitDone, "verdict  continue")
	cli(t, "", record...).refuses(t, exitFailed, "good/a.case.json", "cannot be written")
	cli(t, "", "module", "test", puppet, "--cases", at("good")).wants(t, exitDone, "module puppet@", "2 cases, 0 failed", "│a   │passed│continue│", "│b   │passed│replace │")

	r := cli(t, "", "module", "test", puppet, "--cases", at("bad"))
	r.wants(t, exitFailed, "1 cases, 1 failed", `x\x1b`, "FAILED", "patched is 7, expected 8")
	r = cli(t, "", "module", "test", puppet, "--cases", at("bad"), "--json")
	out := decode[struct {
		Module string
		Failed int
		Cases  []struct {
			Case, File, Verdict string
			Passed              bool
			Fuel                int64
			HostCalls           int `json:"host_calls"`
			Problems            []string
		}
	}](t, r.out)
	if r.code != exitFailed || out.Failed != 1 || len(out.Cases) != 1 || out.Cases[0].Passed || len(out.Cases[0].Problems) != 1 || out.Cases[0].Fuel == 0 {
		t.Errorf("exit code %d: %+v", r.code, out)
	}
	cli(t, "", "module", "test", puppet, "--cases", at("broken")).refuses(t, exitBadInput, "x.case.json", "expect has to name a verdict", "--record")
	cli(t, "", "module", "test", puppet, "--cases", at("empty")).refuses(t, exitBadInput, "there are no cases", "--record")
	cli(t, "", "module", "test", at("gone")).refuses(t, exitBadInput, "module.not_found")
	cli(t, "", "module", "test", at("empty")).refuses(t, exitBadInput, "module.invalid")

	// A folder with one module and no source is tested as it is.
	wasm, err := os.ReadFile(puppet)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("good/puppet.wasm"), wasm, 0o600); err != nil {
		t.Fatal(err)
	}
	cli(t, "", "module", "test", at("good")).wants(t, exitDone, "2 cases, 0 failed")
	cli(t, "", "module", "bench", at("good"), "-n", "3").wants(t, exitDone, "│a   │3    │", "peak memory")
	cli(t, "", "module", "bench", at("good"), "-n", "0").refuses(t, exitBadInput, "-n")
}

// TestRunRecord makes cases of a run, and they pass.
func TestRunRecord(t *testing.T) {
	at := folder(t, map[string]string{
		"hexdag.yaml":   "kind: Config\nspec: {ports: {database: {adapter: memory}}, modules: {puppet: {path: PUPPET, grants: [metrics.count, database.query], config: {op: metrics.count, args: {name: good}}}}}\n",
		"pipeline.yaml": "kind: Pipeline\nmetadata: {name: p}\nspec: {nodes: [{kind: function_node, metadata: {name: a}, spec: {fn: puppet}}]}\n",
	})
	cases := t.TempDir()
	cli(t, "", "run", at("pipeline.yaml"), "--input", "{}", "--record", cases).wants(t, exitDone)
	text, err := os.ReadFile(filepath.Join(cases, "puppet.node_run.case.json"))
	if err != nil || !strings.Contains(string(text), `"metrics.count"`) {
		t.Fatalf("%v: %s", err, text)
	}
	cli(t, "", "module", "test", puppet, "--cases", cases).wants(t, exitDone, "1 cases, 0 failed", "puppet.node_run")
	cli(t, "", "run", at("pipeline.yaml"), "--input", "{}", "--record", cases).wants(t, exitFailed, "cannot be written", "puppet.node_run.case.json")
}

// TestTrapNamesFunctions builds guests that trap: an author sees in which function.
func TestTrapNamesFunctions(t *testing.T) {
	const manifest = `{"name": "trap", "version": "1.0.0"}`
	const wanted = `{"point": "node_run", "input": {}, "expect": {"verdict": "continue"}}`
	at := folder(t, map[string]string{
		"go/go.mod": "module trap\n\ngo 1.26\n", "go/manifest.json": manifest, "go/x.case.json": wanted,
		"go/main.go":      "package main\n\n//go:noinline\nfunc divide(a, b uint32) uint64 { return uint64(a / b) }\n\n//go:wasmexport node_run\nfunc nodeRun(n uint32) uint64 { return divide(n, n-n) }\n\nfunc main() {}\n",
		"c/manifest.json": manifest, "c/x.case.json": wanted,
		"c/trap.c": "__attribute__((noinline)) static int divide(int a, volatile int b) { return a / b; }\n__attribute__((export_name(\"node_run\"))) unsigned long long entry(int n) { return divide(n, 0); }\n",
	})
	for lang, says := range map[string]string{"go": "main.divide < ", "c": "in divide < "} {
		t.Run(lang, func(t *testing.T) {
			if lang == "c" {
				testenv.NeedClang(t)
			}
			cli(t, "", "module", "test", at(lang)).wants(t, exitFailed, "the guest trapped in node_run", says)
		})
	}
}
