package server_test

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const shared = `kind: Pipeline
metadata: {name: shared}
spec:
  nodes:
    - {kind: service_call_node, metadata: {name: got}, spec: {service: memory, method: get, input_mapping: {key: "'shared'"}}}
    - {kind: service_call_node, metadata: {name: put}, dependencies: [got], spec: {service: memory, method: set, input_mapping: {key: "'shared'", value: "$input.secret"}}}
    - {kind: service_call_node, metadata: {name: lock}, dependencies: [put], spec: {service: lock, method: acquire, input_mapping: {name: "'shared'", ttl: "60"}}}
    - {kind: service_call_node, metadata: {name: tell}, dependencies: [lock], spec: {service: eventbus, method: publish, input_mapping: {topic: "'shared.told'", data: "$input.secret"}}}
    - {kind: service_call_node, metadata: {name: kept}, dependencies: [tell], spec: {service: artifacts, method: store, input_mapping: {name: "'shared'", value: "$input.secret"}}}
    - {kind: wait_node, metadata: {name: hold}, dependencies: [kept], spec: {event_key: "go-{{ $input.secret }}"}}
`

// hostile is a site of two tenants that share whatever a configuration can have them share: the pipeline, the memory's file, the bucket of
// artifacts, and the modules' cache.
func hostile(t *testing.T) string {
	t.Helper()
	dir := site(t)
	put(t, dir, "shared.yaml", shared)
	put(t, dir, "hexdag.yaml", `kind: Config
metadata: {name: test}
spec:
  server: {tokens: tokens.yaml, pipelines: [shared.yaml], tenants: [acme, globex], grace: 30, max_running: 2}
  ports:
    memory: {adapter: sqlite, config: {path: `+filepath.Join(dir, "memory.db")+`}}
    artifacts: {adapter: file, config: {root: `+filepath.Join(dir, "artifacts")+`}}
`)
	return dir
}

// TestHostileTenants: with one tenant's token nothing of another's is seen or changed, whatever they share. Each tries what the other did.
func TestHostileTenants(t *testing.T) {
	s := serve(t, hostile(t))
	run := func(token, secret string) (id, text string) {
		t.Helper()
		status, v := s.ask(t, token, "POST", "/v1/pipelines/shared/runs?wait=60", `{"input": {"secret": "`+secret+`"}}`)
		id, _ = v["run_id"].(string)
		if status != 200 || v["status"] != "suspended" {
			t.Fatal(status, v)
		}
		return id, fmt.Sprint(v)
	}
	const ada, eve = "ada-token", "eve-token"
	mine, _ := run(ada, "of-ada") // with a lock that is held
	theirs, text := run(eve, "of-eve")
	if strings.Contains(text, "of-ada") {
		t.Error("the memory, or the lock, of another tenant:", text)
	}
	_, list := s.ask(t, ada, "GET", "/v1/artifacts", "")
	all, _ := list["artifacts"].([]any)
	if len(all) != 1 {
		t.Fatal(list)
	}
	artifact, _ := all[0].(map[string]any)["id"].(string)

	for _, try := range []struct{ method, path, body string }{
		{"GET", "/v1/runs/" + mine, ""}, {"GET", "/v1/runs/" + mine + "?wait=1", ""}, {"GET", "/v1/runs/" + mine + "/events", ""},
		{"POST", "/v1/runs/" + mine + "/cancel", ""}, {"POST", "/v1/runs/" + mine + "/signal", `{"event": "go-of-ada"}`},
		{"GET", "/v1/artifacts/" + artifact, ""}, {"GET", "/v1/artifacts/" + artifact + "/content", ""}, {"DELETE", "/v1/artifacts/" + artifact, ""},
		{"POST", "/v1/artifacts?name=shared&run_id=" + mine, "x"}, {"POST", "/v1/artifacts?name=x&parents=" + artifact, "x"},
		{"POST", "/v1/approvals/nope/answer", `{"approve": true}`},
	} {
		if status, v := s.ask(t, eve, try.method, try.path, try.body); status != http.StatusNotFound || strings.Contains(fmt.Sprint(v), "of-ada") {
			t.Errorf("%s %s: %d %v", try.method, try.path, status, v)
		}
	}
	for _, path := range []string{"/v1/runs?limit=500", "/v1/artifacts?limit=1000", "/v1/artifacts?run_id=" + mine, "/v1/audit?limit=1000&tenant=acme", "/v1/audit?limit=1000&kind=run", "/v1/audit?limit=1000&principal=ada", "/v1/approvals", "/v1/pipelines", "/v1/modules", "/v1/policies", "/v1/permissions", "/metrics"} {
		for _, leak := range []string{artifact, "of-ada", "acme", `"ada"`} {
			if text := s.text(t, eve, path); strings.Contains(text, leak) {
				t.Errorf("%s has %q: %s", path, leak, text)
			}
		}
	}
	if text := s.text(t, eve, "/v1/runs?limit=500"); strings.Contains(text, mine) || !strings.Contains(text, theirs) {
		t.Error(text)
	}
	// The same key, content and names are each tenant's own.
	_, a := s.ask(t, ada, "POST", "/v1/artifacts?name=twin", "same")
	_, e := s.ask(t, eve, "POST", "/v1/artifacts?name=twin", "same")
	if a["id"] == e["id"] || a["id"] == nil || a["digest"] != e["digest"] {
		t.Error(a, e)
	}
	id, _ := e["id"].(string)
	if status, v := s.ask(t, eve, "DELETE", "/v1/artifacts/"+id, ""); status != http.StatusNoContent {
		t.Error(status, v)
	}
	id, _ = a["id"].(string)
	if text := s.text(t, ada, "/v1/artifacts/"+id+"/content"); text != "same" {
		t.Error("what another tenant deleted its own copy of:", text)
	}
	// What is ada's is as she left it.
	if _, text := run(ada, "again"); !strings.Contains(text, "of-ada") || strings.Contains(text, "of-eve") {
		t.Error(text)
	}
	if status, v := s.ask(t, ada, "POST", "/v1/runs/"+mine+"/signal", `{"event": "go-of-ada"}`); status != http.StatusAccepted {
		t.Error(status, v)
	}
	for {
		status, v := s.ask(t, ada, "GET", "/v1/runs/"+mine+"?wait=30", "")
		if v["status"] == "completed" {
			break
		}
		if status != 200 || v["status"] != "running" {
			t.Fatal(status, v)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestTenantsBudgets: one tenant's runs, however many, leave another's be.
func TestTenantsBudgets(t *testing.T) {
	dir := gatedSite(t, "30")
	put(t, dir, "hexdag.yaml", strings.Replace(gatedConfig("30", ""), "grace: 30", "grace: 30, max_running: 2, per_second: 1000", 1))
	g := newGate()
	s := serve(t, dir, g.op())
	for range 2 {
		s.hold(t, g)
	}
	if status, v := s.ask(t, "ada-token", "POST", "/v1/pipelines/said/runs", `{"input": {"held": false}}`); status != http.StatusTooManyRequests {
		t.Error(status, v)
	}
	if status, v := s.ask(t, "eve-token", "POST", "/v1/pipelines/said/runs?wait=60", `{"input": {"held": false}}`); status != 200 || v["status"] != "completed" {
		t.Error(status, v)
	}
	close(g.open)
}

// text returns an answer as it came.
func (s *serving) text(t testing.TB, token, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const asking = `kind: Pipeline
metadata: {name: asking}
spec:
  nodes:
    - {kind: service_call_node, metadata: {name: kept}, spec: {service: artifacts, method: store, input_mapping: {name: "'x'", value: "$input.secret"}}}
`

// TestHostileApprovals: though all tenants' approvals are in one place, as they are where hosts share them, one neither sees nor answers another's.
func TestHostileApprovals(t *testing.T) {
	dir := site(t)
	put(t, dir, "asking.yaml", asking)
	put(t, dir, "hexdag.yaml", `kind: Config
metadata: {name: test}
spec:
  server: {tokens: tokens.yaml, pipelines: [asking.yaml], tenants: [acme, globex], grace: 30}
  approvals: {adapter: sqlite, config: {path: approvals.db}}
  ports:
    governance: {adapter: abac, config: {rules: [{id: all, effect: allow, actions: ["**"]}, {id: stores, effect: approve, actions: [artifacts.store]}]}}
`)
	s := serve(t, dir)
	const ada, eve = "ada-token", "eve-token"
	for _, token := range []string{ada, eve} {
		if status, v := s.ask(t, token, "POST", "/v1/pipelines/asking/runs?wait=60", `{"input": {"secret": "of-`+token+`"}}`); status != 200 || v["status"] != "suspended" {
			t.Fatal(status, v)
		}
	}
	pending := func(token string) string {
		t.Helper()
		_, v := s.ask(t, token, "GET", "/v1/approvals", "")
		all, _ := v["approvals"].([]any)
		if len(all) != 1 {
			t.Fatal(v)
		}
		id, _ := all[0].(map[string]any)["id"].(string)
		return id
	}
	mine := pending(ada)
	for _, state := range []string{"pending", "approved", "denied", "used", "expired"} {
		if text := s.text(t, eve, "/v1/approvals?state="+state); strings.Contains(text, mine) || strings.Contains(text, "of-ada") {
			t.Errorf("%s: %s", state, text)
		}
	}
	for _, body := range []string{`{"approve": true}`, `{"approve": false}`} {
		if status, v := s.ask(t, eve, "POST", "/v1/approvals/"+mine+"/answer", body); status != http.StatusNotFound || strings.Contains(fmt.Sprint(v), "of-ada") {
			t.Error(status, v)
		}
	}
	if again := pending(ada); again != mine {
		t.Errorf("ada's approval was %s, and is %s", mine, again)
	}
}
