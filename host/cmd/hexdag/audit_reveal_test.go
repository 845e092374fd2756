package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const masking = `kind: Config
metadata: {name: test}
spec:
  principal: ada
  ports:
    governance: {adapter: abac, config: {rules: [
      {id: all, effect: allow, actions: [pipeline.run]},
      {id: stores, effect: allow, actions: [artifacts.store], obligations: [{type: mask, record: [/resource, /args/value]}]}]}}
`

func TestAuditReveal(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	put := func(name, text string) string {
		t.Helper()
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return at(name)
	}
	put("hexdag.yaml", masking)
	put("pipeline.yaml", "kind: Pipeline\nmetadata: {name: test}\nspec:\n  nodes:\n    - {kind: service_call_node, metadata: {name: x}, dependencies: [], spec: {service: artifacts, method: store, input_mapping: {name: \"'x'\", value: $input}}}\n")
	cli(t, "", "run", at("pipeline.yaml"), "--input", `"a secret"`).wants(t, exitDone)
	log := at(".hexdag/audit")
	text, err := os.ReadFile(filepath.Join(log, "records.jsonl"))
	if err != nil || strings.Contains(string(text), "a secret") {
		t.Fatalf("%v: the log tells it", err)
	}
	key, err := os.ReadFile(filepath.Join(log, "verifier"))
	if err != nil {
		t.Fatal(err)
	}
	record := ""
	for i, line := range strings.Split(string(text), "\n") {
		if strings.Contains(line, `"kind":"call"`) {
			record = strings.Repeat("I", i+1)
		}
	}
	n := len(record)
	if n == 0 {
		t.Fatal("no call is on record")
	}
	number := string(rune('0' + n))
	cli(t, "", "audit", "reveal", log, number).wants(t, exitDone, "can be proven", "hmac-sha256:", "/args/value", "/resource", "2 masked")
	cli(t, "", "audit", "reveal", log, "1").wants(t, exitDone, "0 masked")
	r := cli(t, "", "audit", "reveal", log, number, "--pointer", "/args/value", "--value", `"a secret"`)
	r.wants(t, exitDone, `"proof"`, `"salt"`)
	cli(t, "", "audit", "reveal", log, number, "--pointer", "/args/value", "--value", `"another"`).refuses(t, exitBadInput, "this is not what was at /args/value")
	cli(t, "", "audit", "reveal", log, number, "--pointer", "/args/name", "--value", `"x"`).refuses(t, exitFailed, "cannot be proven", "commits to /args/value, /resource")
	disclosure := put("disclosure.json", r.out)
	checked := []string{"audit", "reveal", "--key", strings.TrimSpace(string(key)), "--check"}
	cli(t, "", append(checked, disclosure)...).wants(t, exitDone, "record "+number+" is in the log", "a secret", "at /args/value", "artifacts.store")
	cli(t, "", append(checked, put("false.json", strings.ReplaceAll(r.out, "a secret", "no secret")))...).refuses(t, exitBadInput, "proves nothing", "not this value")
	cli(t, "", append(checked, put("none.json", "{"))...).refuses(t, exitBadInput, "no disclosure")
	cli(t, "", append(checked, at("gone"))...).refuses(t, exitBadInput, "gone")
	cli(t, "", "audit", "reveal", "--check", disclosure).refuses(t, exitBadInput, "with a key alone")
	cli(t, "", "audit", "reveal", log).refuses(t, exitBadInput, "which record")
	cli(t, "", "audit", "reveal", log, "x").refuses(t, exitBadInput, "no record's number")

	cli(t, "", "audit", "erase", log).refuses(t, exitBadInput, "what to erase")
	cli(t, "", "audit", "erase", log, "--before", "then").refuses(t, exitBadInput, "no time")
	cli(t, "", "audit", "erase", log, number).wants(t, exitDone, "2 salts erased")
	cli(t, "", "audit", "reveal", log, number).wants(t, exitDone, "erased", "2 masked")
	cli(t, "", "audit", "reveal", log, number, "--pointer", "/args/value", "--value", `"a secret"`).refuses(t, exitFailed, "its salt was erased")
	cli(t, "", "audit", "erase", log, "--before", "2999-01-01T00:00:00Z").wants(t, exitDone, "2 salts erased") // of the decision's record
	cli(t, "", "audit", "verify", log).wants(t, exitDone, "all as they were signed")
}
