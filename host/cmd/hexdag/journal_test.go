package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/journal/pgjournal"
	"github.com/hexdag/hexdag/host/journal/sqlitejournal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testserver"
)

// recorded writes journals into a file: of a run that completed, one that failed, one that waits, and one whose host has died.
func recorded(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	store, err := sqlitejournal.Open(t.Context(), sqlitejournal.Config{Path: path}, "alpha")
	if err != nil {
		t.Fatal(err)
	}
	w := journal.NewWriter(store, journal.WriterOptions{})
	begun := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	write := func(id, tenant string, status driver.Status, entries ...journal.Entry) {
		head := &driver.Run{ID: id, Tenant: tenant, Pipeline: "orders", Version: "sha256:1", Begun: begun, Parent: "above"}
		if err := store.Create(t.Context(), head); err != nil {
			t.Fatal(err)
		}
		r := w.Run(head, 1)
		for i, e := range entries {
			e.Time = begun.Add(time.Duration(i) * 1500 * time.Millisecond)
			r.Append(e)
		}
		err := r.Sync(t.Context())
		if status != "" {
			err = r.Close(t.Context(), status)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	untrusted, err := kernel.NewLabels(kernel.Untrusted, "", "http:example.org")
	if err != nil {
		t.Fatal(err)
	}
	write("r1", "acme", "completed",
		journal.Entry{Kind: journal.Begin, Head: &journal.Head{Format: journal.Version, Run: "r1", Pipeline: "orders", Principal: "ada", Tenant: "acme", Host: "alpha", Input: map[string]any{"order": "A-1"}}},
		journal.Entry{Kind: journal.Local, Lane: "fetch", Op: "node.prepare"},
		journal.Entry{Kind: journal.Decision, Lane: "fetch", Op: "http.request", Decided: &kernel.Decision{Effect: kernel.Allow, Reasons: []kernel.Reason{{ID: "web"}}}},
		journal.Entry{Kind: journal.Call, Lane: "fetch", Op: "http.request", Key: "k1", Args: map[string]any{"url": "https://example.org/\x1b[31m"}},
		journal.Entry{Kind: journal.Reply, Lane: "fetch", Value: map[string]any{"text": strings.Repeat("long ", 100)}, Body: []byte("bytes"), Labels: untrusted},
		journal.Entry{Kind: journal.Enter, Lane: "loop/1/check", Module: "redact", Point: "before"},
		journal.Entry{Kind: journal.Leave, Lane: "loop/1/check", Took: journal.Took{Fuel: 1234}, Verdict: "continue"},
		journal.Entry{Kind: journal.Done, Lane: "loop/1/check", Failed: &kernel.Error{Code: kernel.CodeTrap, What: "it trapped\x07"}, State: "failed"},
		journal.Entry{Kind: journal.Told, Event: &kernel.Event{Type: kernel.NodeFailed, Node: "check"}},
		journal.Entry{Kind: journal.Recover, Host: "beta", InFlight: []journal.InFlight{{Lane: "fetch", Op: "http.request"}}},
		journal.Entry{Kind: journal.End, Status: "completed", Value: "done"},
	)
	write("r2", "acme", "failed", journal.Entry{Kind: journal.Enter, Lane: "a"})
	write("r3", "acme", driver.Suspended, journal.Entry{Kind: journal.Enter, Lane: "a"})
	write("r4", "acme", "", journal.Entry{Kind: journal.Enter, Lane: "a"})
	write("s1", "globex", "completed", journal.Entry{Kind: journal.Enter, Lane: "a"})
	if err := errors.Join(w.Close(t.Context()), store.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestJournal(t *testing.T) {
	at := folder(t, map[string]string{
		"hexdag.yaml": "kind: Config\nspec:\n  tenant: acme\n  state: out\n  journal: {keep: 1000000h, keep_failed: 1ns}\n",
		"none.yaml":   "kind: Config\nspec: {state: nothing}\n",
		"odd.yaml":    "kind: Config\nspec:\n  journal: {adapter: mysql, retention: 3}\n",
		"more.yaml":   "kind: Config\nspec:\n  journal: {config: {url: x}}\n",
		"server.yaml": "kind: Config\nspec:\n  journal: {adapter: postgres, config: {url: \"postgres://u:secret@127.0.0.1:1/d\"}}\n",
		"secret.yaml": "kind: Config\nspec:\n  journal: {adapter: postgres, config: {url: \"postgres://u:${NO_SUCH_PASSWORD}@127.0.0.1:1/d\"}}\n",
	})
	file := filepath.Join(filepath.Dir(at("hexdag.yaml")), "out", "journal.db")
	recorded(t, file)
	with := func(args ...string) ran {
		return cli(t, "", append(append([]string{"journal"}, args...), "--config", at("hexdag.yaml"))...)
	}

	list := with("list")
	list.wants(t, exitDone, "RUN", "r1   completed  orders    2026-05-06T07:08:09Z  11", "r2   failed", "r3   suspended", "r4   free", "alpha-")
	if strings.Contains(list.out, "s1") {
		t.Errorf("another tenant's run is shown:\n%s", list.out)
	}
	for status, want := range map[string]string{"free": "r4", "failed": "r2", "suspended": "r3", "running": "r4", "denied": ""} {
		got := ""
		for _, h := range decode[[]journalHead](t, with("list", "--status", status, "--json").out) {
			got += h.Run
		}
		if got != want {
			t.Errorf("those that are %s: %s", status, got)
		}
	}
	with("list", "--pipeline", "other").wants(t, exitDone, "no runs are recorded")

	show := with("show", "r1")
	show.wants(t, exitDone, "run       r1\n", "status    completed\n", "pipeline  orders sha256:1", "parent    above",
		"    1     +0.000s  -                     begin     orders for ada of acme on alpha, 0 modules, input {\"order\":\"A-1\"}\n",
		"    2     +1.500s  fetch                 local     node.prepare\n", "decision  allow http.request, web\n",
		`call      http.request {"url":"https://example.org/\u001b[31m"} key k1`, "… (511 bytes) (5 bytes) [untrusted", "enter     redact before\n", "leave     continue fuel 1234\n",
		`done      failed failed: module.trap: it trapped\a`, "in flight: fetch http.request host beta", `end       completed "done"`)
	if strings.Contains(show.out, "NodeFailed") {
		t.Error("events are shown that nobody asked for")
	}
	with("show", "r1", "--events").wants(t, exitDone, "event     NodeFailed check")
	lane := with("show", "r1", "--lane", "loop/*/check")
	lane.wants(t, exitDone, "redact before")
	if strings.Contains(lane.out, "http.request") {
		t.Errorf("another lane is shown:\n%s", lane.out)
	}
	shown := decode[struct {
		Head    journalHead     `json:"head"`
		Entries []journal.Entry `json:"entries"`
	}](t, with("show", "r1", "--json").out)
	if shown.Head.Run != "r1" || len(shown.Entries) != 11 || shown.Entries[3].Key != "k1" {
		t.Errorf("%+v", shown)
	}

	lines := strings.Split(strings.TrimSpace(with("export", "r1").out), "\n")
	if len(lines) != 11 {
		t.Fatalf("%d lines", len(lines))
	}
	var e journal.Entry
	if err := json.Unmarshal([]byte(lines[4]), &e); err != nil || e.Seq != 5 || e.Kind != journal.Reply || string(e.Body) != "bytes" {
		t.Errorf("%s: %v", lines[4], err)
	}
	for _, command := range []string{"show", "export", "verify", "redact"} {
		with(command, "none\x1b").refuses(t, exitFailed, `there is no journal of the run none\x1b`, "hexdag journal list")
	}
	with("verify").wants(t, exitDone, "4 journals with 14 whole entries, 0 damaged")
	with("verify", "r1", "--json").wants(t, exitDone, `[{"bytes":`, `"entries":11,"run":"r1"}]`)
	with("show", "r1", "--lane", "[").refuses(t, exitFailed, "--lane is no pattern")

	with("redact", "r4").refuses(t, exitFailed, "run r4", "cannot be redacted yet")
	with("redact", "r1", "--path", "/seq").refuses(t, exitFailed, "/seq is no path of a value")
	with("redact", "r1", "--op", "http.*", "--path", "/args/url").wants(t, exitDone, "1 entries were redacted")
	with("redact", "r1", "--path", "/body").wants(t, exitDone, "1 entries were redacted")
	with("show", "r1").wants(t, exitDone, `call      http.request {"url":"[redacted]"} key k1 redacted`)
	with("verify").wants(t, exitDone, "4 journals with 14 whole entries, 0 damaged")

	with("gc", "--dry-run").wants(t, exitDone, "1 journals", "would be removed")
	with("gc", "--json").wants(t, exitDone, `"runs":["r2"]`)
	with("gc").wants(t, exitDone, "0 journals, 0 B, and 0 files")
	with("list").wants(t, exitDone, "r1", "r3", "r4")

	for config, c := range map[string]struct {
		code int
		want []string
	}{
		"none.yaml": {exitFailed, []string{"there is no journal", "no run was recorded yet", "hexdag run --durable"}}, "odd.yaml": {exitBadInput, []string{"mysql", "retention", "odd.yaml:3:"}},
		"more.yaml": {exitBadInput, []string{"the configuration of the journal cannot be used", "it takes path"}}, "server.yaml": {exitFailed, []string{"PostgreSQL cannot be reached", "server.yaml:3:"}},
		"secret.yaml": {exitBadInput, []string{"NO_SUCH_PASSWORD is not set"}},
	} {
		r := cli(t, "", "journal", "list", "--config", at(config))
		r.refuses(t, c.code, c.want...)
		if strings.Contains(r.err, "secret@") {
			t.Errorf("a password is shown: %s", r.err)
		}
	}
}

// What is damaged is said, and what is whole is shown.
func TestJournalDamaged(t *testing.T) {
	at := folder(t, map[string]string{"hexdag.yaml": "kind: Config\nspec: {tenant: acme, journal: {config: {path: my.db}}}\n"})
	path := filepath.Join(filepath.Dir(at("hexdag.yaml")), "my.db")
	recorded(t, path)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const word = `"lane":"a"` // r1 is compressed
	if !strings.Contains(string(text), word) {
		t.Fatal("the file does not hold what this test damages")
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), word, `"lane":"b"`)), 0o600); err != nil {
		t.Fatal(err)
	}
	with := func(args ...string) ran {
		return cli(t, "", append(append([]string{"journal"}, args...), "--config", at("hexdag.yaml"))...)
	}
	with("verify").refuses(t, exitBadInput, "r2  cut before entry 1: its checksum does not match", "4 journals with 11 whole entries, 3 damaged", "the run's journal is damaged", "journal.invalid")
	with("show", "r2").wants(t, exitDone, "cut before entry 1")
	with("export", "r2").refuses(t, exitBadInput, "the run's journal is damaged")
	with("export", "r1").wants(t, exitDone, `"kind":"end"`)
}

// Journals in Postgres are seen from any host, and what somebody works on is not removed.
func TestJournalInPostgres(t *testing.T) {
	_, url := testserver.Postgres(t)
	at := folder(t, map[string]string{"hexdag.yaml": "kind: Config\nspec:\n  tenant: acme\n  journal: {adapter: postgres, config: {url: \"" + url + "\", table: runs, ttl: 600}, keep: 1ns}\n"})
	store, err := pgjournal.Open(t.Context(), pgjournal.Config{URL: url, Table: "runs", TTL: 600}, "alpha")
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	w := journal.NewWriter(store, journal.WriterOptions{})
	defer w.Close(t.Context())
	for _, id := range []string{"ended", "busy"} {
		head := &driver.Run{ID: id, Tenant: "acme", Pipeline: "orders"}
		if err := store.Create(t.Context(), head); err != nil {
			t.Fatal(err)
		}
		r := w.Run(head, 1)
		r.Append(journal.Entry{Kind: journal.Draw, Op: "clock.read", Body: []byte("x")})
		err := r.Sync(t.Context())
		if id == "ended" {
			err = r.Close(t.Context(), "completed")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	with := func(args ...string) ran {
		return cli(t, "", append(append([]string{"journal"}, args...), "--config", at("hexdag.yaml"))...)
	}
	with("list").wants(t, exitDone, "ended", "completed", "busy", "running", "alpha-")
	with("show", "busy").wants(t, exitDone, "draw      clock.read (1 bytes)")
	with("verify").wants(t, exitDone, "2 journals with 2 whole entries, 0 damaged")
	with("redact", "busy").refuses(t, exitFailed, "cannot be redacted yet")
	with("redact", "ended").wants(t, exitDone, "1 entries were redacted")
	with("gc", "--json").wants(t, exitDone, `"runs":["ended"]`)
	with("list", "--json").wants(t, exitDone, `"run":"busy"`)
}
