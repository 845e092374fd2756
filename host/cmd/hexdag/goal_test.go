package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The complaints example, by the command.
func TestGoals(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../../examples/complaints")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "out")); err != nil { // of whoever ran it here
		t.Fatal(err)
	}
	config := filepath.Join(dir, "hexdag.yaml")
	run := func(args ...string) ran {
		t.Helper()
		return cli(t, "", append(append([]string{"goal"}, args...), "--config", config)...)
	}
	done := func(args ...string) string {
		t.Helper()
		r := run(args...)
		r.wants(t, exitDone)
		return r.out
	}
	if r := done("list"); !strings.Contains(r, "there are no such goals") {
		t.Error(r)
	}
	ids := strings.Fields(done("submit", "complaint", "--each", filepath.Join(dir, "complaints.jsonl")))
	if len(ids) != 4 {
		t.Fatal(ids)
	}
	if r := done("serve", "--until-idle"); strings.Count(r, ": running") != 4 || strings.Count(r, ": escalated: ") != 2 {
		t.Error(r)
	}
	shown := done("list", "--status", "waiting")
	found := regexp.MustCompile(`hexdag approvals approve (\w+)`).FindStringSubmatch(shown)
	if found == nil {
		t.Fatal(shown)
	}
	cli(t, "", "approvals", "approve", found[1], "--as", "ada", "--config", config).wants(t, exitDone)
	if r := done("serve", "--until-idle"); !strings.Contains(r, "goal "+ids[1]+": done: What A-200 cost was paid back") {
		t.Error(r)
	}
	if r := done("show", ids[3]); !strings.Contains(r, "refused   start: governance denied central_agent.start: what has led to starting payout is untrusted") || !strings.Contains(r, "status    completed") {
		t.Error(r)
	}
	if r := done("show", ids[0], "--json"); !strings.Contains(r, `"kind": "spawn"`) && !strings.Contains(r, `"kind":"spawn"`) {
		t.Error(r)
	}
	if r := done("list", "--json"); strings.Count(r, `"goal_id"`) != 4 {
		t.Error(r)
	}
	if r := done("cancel", ids[0]); !strings.Contains(r, "the goal is over already") {
		t.Error(r)
	}
	one := strings.TrimSpace(done("submit", "complaint", "--input", `{"order": "A-100", "text": "?"}`))
	done("cancel", one)
	if r := done("list", "--status", "cancelled"); !strings.Contains(r, one) {
		t.Error(r)
	}
	run("submit", "nobody").refuses(t, exitFailed, "there is no pipeline nobody to start")
	run("show", "none").refuses(t, exitFailed, "there is no goal none", "hexdag goal list")
	run("list", "--status", "asleep").refuses(t, exitBadInput, "there is no status asleep")
	bad := filepath.Join(dir, "bad.jsonl")
	if err := os.WriteFile(bad, []byte("{}\n{\"a\": \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("submit", "complaint", "--each", bad).refuses(t, exitBadInput, "the line cannot be an input", "bad.jsonl:2")
}
