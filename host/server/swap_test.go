package server_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/server/httpapi"
)

// swapping is a site whose pipeline has a module say which it is, at its begin and at its end, with a gate between; a policy in a file says who may.
func swapping(t *testing.T) string {
	t.Helper()
	dir := site(t)
	put(t, dir, "hexdag.yaml", `kind: Config
metadata: {name: test}
spec:
  server: {tokens: tokens.yaml, pipelines: [swaps.yaml], tenants: [acme, globex], grace: 60, per_second: 10000}
  modules: {who: {path: who.wasm, grants: [metrics.count], config: {op: metrics.count, args: {name: x}, output: {version: two}, tools: {node: {calls: [{op: metrics.count, head: {name: x}}]}}}}}
  ports:
    governance: {adapter: rbac, config: {file: roles.yaml}}
`)
	put(t, dir, "swaps.yaml", `kind: Pipeline
metadata: {name: swaps}
spec:
  nodes:
    - {kind: function_node, metadata: {name: first}, spec: {fn: who}}
    - {kind: service_call_node, metadata: {name: held}, dependencies: [first], spec: {service: llm, method: complete, input_mapping: {model: "'gate'"}, when: "$input.held"}}
    - {kind: function_node, metadata: {name: last}, dependencies: [first, held], spec: {fn: who}}
`)
	put(t, dir, "tokens.yaml", fmt.Sprintf("tokens:\n  - {sha256: %q, tenant: acme, principal: ada}\n  - {sha256: %q, tenant: acme, principal: bob}\n  - {sha256: %q, tenant: globex, principal: eve}\n",
		httpapi.TokenDigest("ada-token"), httpapi.TokenDigest("bob-token"), httpapi.TokenDigest("eve-token")))
	put(t, dir, "roles.yaml", withModule(roles("ada", "bob", "eve")))
	who(t, dir, "../enforcement/toolbox/toolbox.wasm")
	return dir
}

func withModule(roles string) string {
	return strings.Replace(roles, "subjects: [", `subjects: ["module:who", `, 1)
}

// who has a module take who's place: the toolbox answers with what it calls, the puppet with its configuration's output.
func who(t *testing.T, dir, file string) {
	t.Helper()
	wasm, err := os.ReadFile(file)
	if err == nil {
		wasm, err = abi.RemoveCustomSections(wasm, func(name string) bool { return name == abi.ManifestSection })
	}
	if err == nil {
		wasm, err = abi.EmbedManifest(wasm, &abi.Manifest{Name: "who", Version: "1.0.0", Capabilities: []abi.Capability{{Op: "metrics.count"}}})
	}
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "next", string(wasm))
	if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "who.wasm")); err != nil {
		t.Fatal(err)
	}
}

// whose is by which of the modules a run was begun and ended.
func whose(v map[string]any) string {
	output, _ := v["output"].(map[string]any)
	name := func(node string) string {
		if strings.Contains(fmt.Sprint(output[node]), "two") {
			return "new"
		}
		return "old"
	}
	return name("first") + " " + name("last")
}

// TestSwap: a module and a policy change under load, by a request. No run is dropped; those that began before have the old module to their end, and those
// that begin afterwards the new. What a run asks governance from then on, the new policy answers, whenever the run began.
func TestSwap(t *testing.T) {
	dir := swapping(t)
	g := newGate()
	s := serve(t, dir, g.op())
	start := func(token, held string) (int, map[string]any, error) {
		return ask(t.Context(), token, "POST", s.url+"/v1/pipelines/swaps/runs?wait=60", `{"input": {"held": `+held+`}}`)
	}
	type answer struct {
		status int
		v      map[string]any
		err    error
	}
	before := map[string]chan answer{"ada-token": make(chan answer, 1), "bob-token": make(chan answer, 1)}
	for token, told := range before {
		go func() {
			status, v, err := start(token, "true")
			told <- answer{status, v, err}
		}()
		select {
		case <-g.entered:
		case got := <-told:
			t.Fatal(got)
		}
	}
	var swapped, over atomic.Bool
	var done atomic.Int64
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for !over.Load() {
				after := swapped.Load()
				status, v, err := start("ada-token", "false")
				of := whose(v)
				if err != nil || status != 200 || v["status"] != "completed" || after && of != "new new" || of != "new new" && of != "old old" {
					t.Errorf("%d %v %v, after it: %v", status, v, err, after)
					return
				}
				done.Add(1)
			}
		})
	}
	more := func() {
		for upTo := done.Load() + 20; done.Load() < upTo && !t.Failed(); {
			time.Sleep(time.Millisecond)
		}
	}
	more()
	if status, v, err := start("bob-token", "false"); err != nil || status != 200 || whose(v) != "old old" {
		t.Error(status, v, err)
	}
	who(t, dir, "../testdata/puppet/puppet.wasm")
	put(t, dir, "roles.yaml", withModule(roles("ada", "eve")))
	status, v := s.ask(t, "ada-token", "POST", "/v1/reload", "")
	if status != 200 || fmt.Sprint(v["modules"], v["policies"]) != "[who] true" {
		t.Error(status, v)
	}
	swapped.Store(true)
	more()
	if status, v, err := start("bob-token", "false"); err != nil || status != 200 || v["status"] != "denied" {
		t.Error("whom the new policy gives nothing:", status, v, err)
	}
	over.Store(true)
	load.Wait()
	close(g.open)
	if got := <-before["ada-token"]; got.err != nil || got.status != 200 || got.v["status"] != "completed" || whose(got.v) != "old old" {
		t.Error("what had begun before:", got)
	}
	if got := <-before["bob-token"]; got.err != nil || got.status != 200 || got.v["status"] != "failed" || !strings.Contains(fmt.Sprint(got.v), "no role of user:bob allows metrics.count") {
		t.Error("who may no more what had begun before:", got)
	}
}

// TestReloadByRequest: governance says who may have the configuration be read again; each tenant's log has it, and who asked is in that tenant's own.
func TestReloadByRequest(t *testing.T) {
	dir := gatedSite(t, "60")
	put(t, dir, "roles.yaml", "roles: {all: {allow: [{action: \"**\", resource: \"**\"}]}, some: {allow: [{action: \"pipeline.*\", resource: \"**\"}, {action: \"audit.*\", resource: \"**\"}]}}\nbindings: [{subjects: [\"user:ada\"], roles: [all]}, {subjects: [\"user:eve\"], roles: [some]}]\n")
	s := serve(t, dir, newGate().op())
	if status, v := s.ask(t, "eve-token", "POST", "/v1/reload", ""); status != http.StatusForbidden {
		t.Error(status, v)
	}
	put(t, dir, "said.yaml", said("two"))
	if status, v := s.ask(t, "ada-token", "POST", "/v1/reload", ""); status != 200 || fmt.Sprint(v["modules"], v["policies"], v["pipelines"]) != "[] false [said]" {
		t.Error(status, v)
	}
	if _, v := s.ask(t, "ada-token", "POST", "/v1/pipelines/said/runs?wait=60", `{"input": {"held": false}}`); version(v) != "two" {
		t.Error(v)
	}
	put(t, dir, "said.yaml", strings.Replace(said("three"), "data_node", "nope_node", 1))
	if status, v := s.ask(t, "ada-token", "POST", "/v1/reload", ""); status != http.StatusUnprocessableEntity || !strings.Contains(fmt.Sprint(v), "nope_node") {
		t.Error(status, v)
	}
	for token, want := range map[string][]string{"ada-token": {`"principal":"ada"`, "nope_node"}, "eve-token": {`"principal":"local"`, "nope_node"}} {
		text := s.text(t, token, "/v1/audit?kind=config&limit=1000")
		for _, words := range want {
			if !strings.Contains(text, words) {
				t.Errorf("%s: no %s in %s", token, words, text)
			}
		}
		if token == "eve-token" && strings.Contains(text, `"ada"`) {
			t.Error(text)
		}
	}
}

// TestFloodOfReloads: those that come while one goes on are refused, not queued.
func TestFloodOfReloads(t *testing.T) {
	s := serve(t, gatedSite(t, "60"), newGate().op())
	var done, refused atomic.Int64
	var flood sync.WaitGroup
	for range 16 {
		flood.Go(func() {
			for range 4 {
				status, v, err := ask(t.Context(), "ada-token", "POST", s.url+"/v1/reload", "")
				switch {
				case err != nil:
					t.Error(err)
				case status == 200:
					done.Add(1)
				case status == http.StatusTooManyRequests && strings.Contains(fmt.Sprint(v), "being read again already"):
					refused.Add(1)
				default:
					t.Error(status, v)
				}
			}
		})
	}
	flood.Wait()
	if done.Load() == 0 || refused.Load() == 0 {
		t.Error(done.Load(), refused.Load())
	}
}
