package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPolicy(t *testing.T) {
	at := folder(t, map[string]string{
		"ok/authz.rego": helloPolicy, "bad/authz.rego": "package hexdag.authz\n\ndecision := f(x)\n", "in.json": `{"resource": {"id": "evil"}}`,
		"two/two.rego": "package two\n\nimport data.limit\n\n# METADATA\n# entrypoint: true\na := limit\n\n# METADATA\n# entrypoint: true\nb if input.yes\n", "two/data.json": `{"limit": 7}`,
	})
	for _, name := range []string{"p.tar.gz", "p.wasm"} {
		cli(t, "", "policy", "build", at("ok"), "-o", at(name)).wants(t, exitDone, at(name), "bytes of WebAssembly", "hexdag/authz/decision")
		for _, input := range []string{`{"resource": {"id": "evil"}}`, "@" + at("in.json"), "@-"} {
			r := cli(t, `{"resource": {"id": "evil"}}`, "policy", "eval", at(name), "--input", input)
			r.wants(t, exitDone)
			d := decode[struct {
				Effect  string
				Reasons []map[string]string
			}](t, r.out)
			if d.Effect != "deny" || d.Reasons[0]["msg"] != "go \x1b[31maway" {
				t.Errorf("%s, %s: %+v", name, input, d)
			}
		}
		cli(t, "", "policy", "eval", at(name), "--input", "{}").wants(t, exitDone, `"effect":"allow"`)
	}
	cli(t, "", "policy", "build", at("two"), "-o", at("two.tar.gz")).wants(t, exitDone, "two/a", "two/b")
	cli(t, "", "policy", "eval", at("two.tar.gz"), "-e", "two/a").wants(t, exitDone, "7\n")
	cli(t, "", "policy", "eval", at("two.tar.gz"), "-e", "two/b", "--input", `{"yes": true}`).wants(t, exitDone, "true\n")
	cli(t, "", "policy", "eval", at("two.tar.gz"), "-e", "two/b", "--input", `{}`).refuses(t, exitFailed, "undefined", "two.tar.gz")
	cli(t, "", "policy", "eval", at("two.tar.gz")).refuses(t, exitBadInput, "several entrypoints", "--entrypoint")
	cli(t, "", "policy", "eval", at("two.tar.gz"), "-e", "two/c").refuses(t, exitBadInput, "two/c")
	cli(t, "", "policy", "eval", at("no.tar.gz"), "--input", "{}").refuses(t, exitBadInput, "no.tar.gz", "policy.invalid")
	cli(t, "", "policy", "eval", at("in.json"), "--input", "{}").refuses(t, exitBadInput, "in.json", "policy.invalid")
	cli(t, "", "policy", "eval", at("p.wasm"), "--input", "{").refuses(t, exitBadInput, "--input")
	cli(t, "", "policy", "build", at("bad"), "-o", at("bad.wasm")).refuses(t, exitBadInput, "authz.rego:3", "policy.invalid")
	cli(t, "", "policy", "build", at("gone"), "-o", at("gone.wasm")).refuses(t, exitBadInput, "gone", "policy.invalid")
	if _, err := os.Stat(at("bad.wasm")); err == nil {
		t.Error("a policy was left behind")
	}
}

func TestAuditVerify(t *testing.T) {
	at := hello(t)
	run := func() { cli(t, "", "run", at("pipeline.yaml"), "--input", `{"name": "ann"}`).wants(t, exitDone) }
	run()
	log := at(".hexdag/audit")
	r := cli(t, "", "audit", "verify", log)
	r.wants(t, exitDone, "records, all as they were signed", "root ", "allow", "the key in the directory")
	report := decode[struct {
		Origin, Root, Key, Trust string
		SignedAt                 string `json:"signed_at"`
		Records                  int
		Kinds, Effects           map[string]int
	}](t, cli(t, "", "audit", "verify", log, "--json").out)
	if report.Records != 8 || report.Kinds["run"] != 2 || report.Kinds["call"] != 2 || report.Kinds["decision"] != 3 || report.Kinds["module"] != 1 {
		t.Errorf("%+v", report)
	}
	cli(t, "", "audit", "verify", log, "--key", report.Key).wants(t, exitDone, "the given key")
	cli(t, "", "audit", "verify", log, "--key", "nonsense").refuses(t, exitBadInput, "config.invalid")

	checkpoint := filepath.Join(log, "checkpoint")
	old, err := os.ReadFile(checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("known"), old, 0o600); err != nil {
		t.Fatal(err)
	}
	run()
	cli(t, "", "audit", "verify", log, "--known", at("known")).wants(t, exitDone, "16 records")
	cli(t, "", "audit", "verify", log, "--known", at("gone")).refuses(t, exitBadInput, "gone")

	records := filepath.Join(log, "records.jsonl")
	text, err := os.ReadFile(records)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(records, []byte(strings.Replace(string(text), "allow", "alloW", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	cli(t, "", "audit", "verify", log).refuses(t, exitBadInput, "records.jsonl:1", "audit.tampered")
	cli(t, "", "run", at("pipeline.yaml"), "--input", `{"name": "ann"}`).refuses(t, exitBadInput, "records.jsonl:1", "audit.tampered")
	cli(t, "", "audit", "verify", at("policy")).refuses(t, exitBadInput, at("policy"), "config.invalid")
	cli(t, "", "audit", "verify", at("gone")).refuses(t, exitBadInput, at("gone"), "config.invalid")
}
