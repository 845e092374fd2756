package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
)

// TestReplay records runs with the command, does them again, as they were and under other rules, and is told what cannot be.
func TestReplay(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	put := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("hexdag.yaml", "kind: Config\nmetadata: {name: test}\nspec: {}\n")
	put("pipeline.yaml", "kind: Pipeline\nmetadata: {name: keep}\nspec:\n  nodes:\n    - {kind: service_call_node, metadata: {name: x}, dependencies: [], spec: {service: artifacts, method: store, input_mapping: {name: \"'x'\", value: $input}}}\n")
	put("strict/authz.rego", "package hexdag.authz\n\n# METADATA\n# entrypoint: true\ndecision := {\"effect\": effect, \"reasons\": [{\"id\": \"strict\", \"msg\": \"m\"}]}\n\ndefault effect := \"allow\"\n\neffect := \"deny\" if input.action.name == \"artifacts.store\"\n")
	config := at("hexdag.yaml")
	replay := func(args ...string) ran {
		return cli(t, "", append([]string{"replay", "--config", config}, args...)...)
	}

	replay("--all").refuses(t, exitFailed, "there is no journal", "run --durable")
	put("lines.jsonl", "{\"id\": \"1\"}\n{\"id\": \"2\"}\n{\"id\": \"3\"}\n")
	cli(t, "", "run", at("pipeline.yaml"), "--durable", "--each", at("lines.jsonl")).wants(t, exitDone)
	list := cli(t, "", "journal", "list", "--config", config, "--status", "completed")
	list.wants(t, exitDone, "keep")
	id, _, _ := strings.Cut(strings.Split(list.out, "\n")[1], " ")

	replay(id).wants(t, exitDone, "run "+id+" of keep: the same to the bit")
	replay("--all").wants(t, exitDone, "3 runs, 3 of them as they were")
	replay("--all", "--pipeline", "other").wants(t, exitDone, "0 runs")
	one := replay(id, "--policy", at("strict"))
	one.wants(t, exitFailed, "would have been otherwise", "it was completed, and would be denied", "node x", "governance decides otherwise about artifacts.store", "was  allow", "is   deny by strict")
	all := replay("--all", "--policy", at("strict"))
	all.wants(t, exitFailed, "3 runs, 0 of them as they were", "runs that would have ended otherwise", "     3  run of keep: completed -> denied", "     3  governance decides otherwise about artifacts.store")
	if impact := decode[host.ReplayImpact](t, replay("--all", "--policy", at("strict"), "--json").out); impact.Runs != 3 || impact.Denied() != 3 || len(impact.Unreplayed) > 0 {
		t.Errorf("%+v", impact)
	}

	replay().refuses(t, exitBadInput, "it is not said which run is done again", "--all")
	replay("--all", id).refuses(t, exitBadInput, "it is not said which run is done again")
	replay("none").refuses(t, exitFailed, "there is no journal of the run none", "journal list")
	replay(id, "--from", "nobody").refuses(t, exitBadInput, "there is no node nobody", id)
	replay(id, "--module", "m=m.wasm").refuses(t, exitBadInput, "the run had no module m")
	replay(id, "--policy", at("none")).refuses(t, exitBadInput)
	cli(t, "", "resume", "--config", config, "--crashed").wants(t, exitDone, "no durable run has lost its host")
	cli(t, "", "resume", "--config", config, "--crashed", id).refuses(t, exitFailed, "the run has ended already", "it is completed")
	cli(t, "", "resume", "--config", config, "--crashed", "none").refuses(t, exitFailed, "there is no journal of the run none")
}
