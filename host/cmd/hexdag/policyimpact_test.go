package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hexdag/hexdag/host"
)

func TestPolicyImpact(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	put := func(name, text string) string {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return at(name)
	}
	config := func(more string) {
		put("hexdag.yaml", "kind: Config\nmetadata: {name: test}\nspec:\n  principal: ada\n"+more+"  ports:\n    governance: {adapter: rego, config: {dirs: [old]}}\n")
	}
	policy := func(folder, rules string) string {
		put(folder+"/authz.rego", "package hexdag.authz\n\n# METADATA\n# entrypoint: true\ndecision := {\"effect\": effect, \"reasons\": [{\"id\": \""+folder+"\", \"msg\": \"m\"}]}\n\ndefault effect := \"deny\"\n\n"+rules)
		return at(folder)
	}
	put("pipeline.yaml", "kind: Pipeline\nmetadata: {name: test}\nspec:\n  nodes:\n    - {kind: service_call_node, metadata: {name: x}, dependencies: [], spec: {service: artifacts, method: store, input_mapping: {name: \"'x'\", value: $input}}}\n")
	policy("old", "effect := \"allow\" if input.subject.id == \"ada\"\n")
	config("")
	run := func() { cli(t, "", "run", at("pipeline.yaml"), "--input", `"v"`).wants(t, exitDone) }
	run() // a decision on the run, without arguments, and one on the call, of which they are not kept
	log := at(".hexdag/audit")
	impact := func(candidate string, flags ...string) ran {
		return cli(t, "", append([]string{"policy", "impact", candidate, "--decisions", log}, flags...)...)
	}

	impact(policy("same", "effect := \"allow\" if input.subject.type == \"user\"\n")).wants(t, exitDone, "2 decisions in", "2 replayed, 2 of them the same")
	closed := policy("closed", "effect := \"allow\" if input.action.name == \"pipeline.run\"\n")
	impact(closed).wants(t, exitFailed, "2 replayed, 1 of them the same", "1  allow -> deny  [old] -> [closed]", "artifacts.store on artifacts:x by ada")
	impact(closed, "--fail-on", "looser").wants(t, exitDone, "allow -> deny")
	impact(closed, "--fail-on", "none", "--complete").wants(t, exitDone)
	impact(closed, "--fail-on", "some").refuses(t, exitBadInput, "--fail-on is some")

	byArgs := policy("args", "effect := \"allow\" if input.action.name == \"pipeline.run\"\n\neffect := \"allow\" if input.action.args.value == \"v\"\n")
	impact(byArgs).wants(t, exitDone, "1 replayed, 1 of them the same", "1  not replayed: the candidate's answer depends on input.action.args, which the record does not tell", "artifacts.store")
	impact(byArgs, "--complete").wants(t, exitFailed)
	cli(t, "", "policy", "build", byArgs, "-o", at("args.tar.gz")).wants(t, exitDone)
	impact(at("args.tar.gz")).wants(t, exitDone, "not replayed")

	config("  audit: {arguments: true}\n")
	run()
	for _, candidate := range []string{byArgs, at("args.tar.gz")} {
		impact(candidate).wants(t, exitDone, "4 decisions", "3 replayed, 3 of them the same")
	}
	r := impact(policy("later", "effect := \"approve\" if input.action.args.value == \"v\"\n"), "--json")
	r.wants(t, exitFailed)
	report := decode[host.PolicyImpact](t, r.out)
	if report.Decisions != 4 || report.Replayed != 3 || report.Same != 0 || len(report.Changes) != 2 || report.Changes[0].Count != 2 || report.Changes[0].To != "deny" || report.Changes[1].To != "approve" || report.Changes[1].Examples[0].Action != "artifacts.store" || len(report.Unreplayed) != 1 {
		t.Errorf("%+v", report)
	}

	exported := put("decisions.jsonl", cli(t, "", "audit", "export", log, "--kind", "decision").out)
	cli(t, "", "policy", "impact", closed, "--decisions", exported).wants(t, exitFailed, "4 decisions in 4 records", "2  allow -> deny")
	cli(t, "", "policy", "impact", closed, "--decisions", put("no.jsonl", "{}\n")).refuses(t, exitBadInput, "no.jsonl:1", "no audit record")
	cli(t, "", "policy", "impact", closed, "--decisions", at("gone")).refuses(t, exitBadInput, "gone")
	cli(t, "", "policy", "impact", at("gone"), "--decisions", log).refuses(t, exitBadInput, "gone")
	records := filepath.Join(log, "records.jsonl")
	text, err := os.ReadFile(records)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(records, append(text, text...), 0o600); err != nil {
		t.Fatal(err)
	}
	impact(closed).refuses(t, exitBadInput, "records that no checkpoint covers")
}
