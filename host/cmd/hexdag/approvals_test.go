package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const approvalConfig = `kind: Config
spec:
  principal: ada
  ports:
    governance:
      adapter: abac
      config:
        rules:
          - {id: all, effect: allow, actions: ["**"]}
          - {id: stores, effect: approve, actions: [artifacts.store], message: "look at \e[31mit"}
`

const approvalPipeline = `kind: Pipeline
metadata: {name: p}
spec:
  nodes:
    - {kind: service_call_node, metadata: {name: x}, spec: {service: artifacts, method: store, input_mapping: {name: "'x'", value: $input}}}
`

func TestApprovals(t *testing.T) {
	at := folder(t, map[string]string{"hexdag.yaml": strings.Replace(approvalConfig, `\e`, `\x1b`, 1), "pipeline.yaml": approvalPipeline})
	config := []string{"--config", at("hexdag.yaml")}
	with := func(args ...string) ran { return cli(t, "", append(args, config...)...) }
	type approval struct {
		ID, State, Body, Revision                                string
		Request, Reasons, By, Count, Answers, Requested, Expires any
		GoodFor                                                  any `json:"good_for_ns"`
	}
	pending := func() string {
		t.Helper()
		list := decode[[]approval](t, with("approvals", "list", "--json").out)
		if len(list) != 1 || list[0].State != "pending" {
			t.Fatalf("%+v", list)
		}
		return list[0].ID
	}
	cli(t, "", "run", at("pipeline.yaml"), "--input", `"v"`).wants(t, exitDone, "suspended")
	id := pending()
	with("approvals", "list").wants(t, exitDone, id, "pending", "artifacts.store on artifacts:x", "user:ada", `{"name":"x","value":"v"}`, `look at \x1b[31mit [stores]`)
	with("approvals", "approve", id, "--as", "ada").refuses(t, exitDenied, "who asks for an approval does not give it")
	with("approvals", "approve", "nonsense", "--as", "bob").refuses(t, exitFailed, "nonsense", "port.not_found")
	with("resume", "--list").wants(t, exitDone, "hexdag.approval:"+id)
	with("approvals", "approve", id, "--as", "bob", "--note", "fine").wants(t, exitDone, "approved", "by bob", "fine", "hexdag resume --event hexdag.approval:"+id)
	with("approvals", "deny", id, "--as", "bob").refuses(t, exitBadInput, "it is approved")
	with("resume", "--event", "hexdag.approval:"+id).wants(t, exitDone, "completed")
	with("approvals", "list").wants(t, exitDone)
	with("approvals", "list", "--all").wants(t, exitDone, id, "used", "by bob")

	// Whoever answers sees whose words go into the call.
	cli(t, "", "run", at("pipeline.yaml"), "--input", `"v"`, "--label", "integrity=untrusted,confidentiality=internal").wants(t, exitDone, "suspended")
	third := pending()
	with("approvals", "list").wants(t, exitDone, third, "made of   what is untrusted, internal (input)")
	with("approvals", "deny", third, "--as", "bob").wants(t, exitDone, "denied")
	with("resume", "--event", "hexdag.approval:"+third).refuses(t, exitDenied, "was not approved")
	cli(t, "", "run", at("pipeline.yaml"), "--input", `"v"`, "--label", "integrity=low").refuses(t, exitBadInput, "there is no integrity low", "write trusted or untrusted")

	cli(t, "", "run", at("pipeline.yaml"), "--input", `"v"`).wants(t, exitDone, "suspended")
	second := pending()
	if second == id {
		t.Error("an approval is asked for again")
	}
	with("approvals", "deny", second, "--as", "bob", "--note", "too much").wants(t, exitDone, "denied", "too much")
	with("resume", "--event", "hexdag.approval:"+second).refuses(t, exitDenied, "was not approved", "refused by bob: too much")
}

func TestAuditProveExportTail(t *testing.T) {
	at := hello(t)
	cli(t, "", "run", at("pipeline.yaml"), "--input", `{"name": "ann"}`).wants(t, exitDone)
	log := at(".hexdag/audit")
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(log, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	key := strings.TrimSpace(read("verifier"))
	put := func(name, text string) string {
		t.Helper()
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return at(name)
	}
	known := put("known", read("checkpoint"))
	cli(t, "", "run", at("pipeline.yaml"), "--input", `{"name": "ann"}`).wants(t, exitDone)
	r := cli(t, "", "audit", "prove", log, "9", "--known", known)
	r.wants(t, exitDone, `"record":9`, `"inclusion"`, `"consistency"`)
	proof := put("proof.json", r.out)
	cli(t, "", "audit", "prove", "--check", proof, "--key", key).wants(t, exitDone, "record 9 is in the log", "only grown since")
	cli(t, "", "audit", "prove", "--check", put("false.json", strings.Replace(r.out, `"record":9`, `"record":8`, 1)), "--key", key).refuses(t, exitBadInput, "proves nothing", "record 8", "audit.tampered")
	cli(t, "", "audit", "prove", "--check", put("no.json", "{"), "--key", key).refuses(t, exitBadInput, "no proof")
	cli(t, "", "audit", "prove", "--check", at("gone"), "--key", key).refuses(t, exitBadInput, "gone")
	cli(t, "", "audit", "prove", "--check", proof).refuses(t, exitBadInput, "with a key alone")
	cli(t, "", "audit", "prove", log, "--known", known).wants(t, exitDone, `"known"`)
	cli(t, "", "audit", "prove", log, "99").refuses(t, exitBadInput, "no proof for record 99", "covers 16")
	cli(t, "", "audit", "prove", log, "x").refuses(t, exitBadInput, "no record's number")
	cli(t, "", "audit", "prove", log).refuses(t, exitBadInput, "nothing to prove")
	cli(t, "", "audit", "prove").refuses(t, exitBadInput, "which log")

	lines := func(r ran) int { r.wants(t, exitDone); return strings.Count(r.out, "\n") }
	for name, want := range map[string]int{"": 16, "--kind=run": 4, "--kind=run --from=9": 2, "--to=3": 3, "--effect=allow --kind=decision": 6, "--action=pipeline.*": 6, "--since=2100-01-01T00:00:00Z": 0, "--until=2100-01-01T00:00:00Z": 16, "--principal=nobody": 0, "--tenant=default": 16} {
		if got := lines(cli(t, "", append([]string{"audit", "export", log}, strings.Fields(name)...)...)); got != want {
			t.Errorf("export %s: %d lines, want %d", name, got, want)
		}
	}
	cli(t, "", "audit", "export", log, "--to=1").wants(t, exitDone, `{"n":1,"record":{"time":`)
	cli(t, "", "audit", "export", log, "--since", "yesterday").refuses(t, exitBadInput, "--since is no time")
	if got := lines(cli(t, "", "audit", "tail", log, "-n", "3")); got != 3 {
		t.Errorf("tail: %d lines", got)
	}
	cli(t, "", "audit", "tail", log).wants(t, exitDone, "pipeline.end", "completed", "by local")
	cli(t, "", "audit", "tail", log, "-n", "1", "--json").wants(t, exitDone, `"action":"pipeline.end"`)
	cli(t, "", "audit", "tail", at("gone")).refuses(t, exitBadInput, "there is no audit log")

	records := filepath.Join(log, "records.jsonl")
	if err := os.WriteFile(records, []byte(strings.Replace(read("records.jsonl"), "local", "other", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	changed := cli(t, "", "audit", "export", log)
	changed.refuses(t, exitBadInput, "records.jsonl:1", "audit.tampered")
	if changed.out != "" {
		t.Errorf("of a changed log it prints %s", changed.out)
	}
	cli(t, "", "audit", "prove", log, "1").refuses(t, exitBadInput, "records.jsonl:1", "audit.tampered")
}
