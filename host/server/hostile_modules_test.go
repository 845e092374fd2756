package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

// module is one that makes a call, with what its node is given under the name of with, if that is set.
type module struct {
	op, args, with string
}

// hostileModules is a site of two tenants that share all that a configuration can have them share, and a pipeline for each module, called like it.
func hostileModules(t *testing.T, dir string, modules map[string]module) {
	t.Helper()
	wasm, err := os.ReadFile("../enforcement/toolbox/toolbox.wasm")
	if err != nil {
		t.Fatal(err)
	}
	wasm, err = abi.RemoveCustomSections(wasm, func(name string) bool { return name == abi.ManifestSection })
	if err != nil {
		t.Fatal(err)
	}
	var specs strings.Builder
	for name, m := range modules {
		made, err := abi.EmbedManifest(wasm, &abi.Manifest{Name: "m", Version: "1.0.0", Capabilities: []abi.Capability{{Op: m.op}}})
		if err != nil {
			t.Fatal(err)
		}
		put(t, dir, name+".wasm", string(made))
		head := m.args
		if head == "" {
			head = "{}"
		}
		fmt.Fprintf(&specs, "    %s: {path: %s.wasm, isolation: run, grants: [%s], config: {tools: {node: {calls: [{op: %s, head: %s, args: %q}]}}}}\n", name, name, m.op, m.op, head, m.with)
		put(t, dir, filepath.Join("pipelines", name+".yaml"), "kind: Pipeline\nmetadata: {name: "+name+"}\nspec:\n  nodes:\n    - {kind: function_node, metadata: {name: out}, spec: {fn: "+name+"}}\n")
	}
	put(t, dir, "hexdag.yaml", `kind: Config
metadata: {name: test}
spec:
  server: {tokens: tokens.yaml, pipelines: [pipelines], tenants: [acme, globex], grace: 30, per_second: 10000}
  modules:
`+specs.String()+`  approvals: {adapter: sqlite, config: {path: approvals.db}}
  tenant_limits: {tokens: 400}
  triggers: [{name: heard, on: "shared.>", pipeline: pipelines/heard.yaml}]
  ports:
    llm: {adapter: mock}
    memory: {adapter: sqlite, config: {path: memory.db}}
    artifacts: {adapter: file, config: {root: artifacts}}
    eventbus: {adapter: nats, config: {folder: nats, sync_always: false}}
    lock: {adapter: nats, config: {folder: nats, sync_always: false}}
`)
	put(t, dir, "pipelines/heard.yaml", "kind: Pipeline\nmetadata: {name: heard}\nspec: {nodes: [{kind: data_node, metadata: {name: out}, spec: {output: {heard: \"{{ secret }}\"}}}]}\n")
	put(t, dir, "pipelines/kept.yaml", `kind: Pipeline
metadata: {name: kept}
spec:
  nodes:
    - {kind: service_call_node, metadata: {name: out}, spec: {service: fake, method: ask, input_mapping: {for: "'all'"}, cache: {scope: tenant, side_effects: true}}}
`)
	put(t, dir, "pipelines/holds.yaml", `kind: Pipeline
metadata: {name: holds}
spec:
  nodes:
    - {kind: service_call_node, metadata: {name: lock}, spec: {service: lock, method: acquire, input_mapping: {name: "'shared'", ttl: "300"}}}
    - {kind: service_call_node, metadata: {name: hold}, dependencies: [lock], spec: {service: fake, method: hold}}
    - {kind: service_call_node, metadata: {name: held}, dependencies: [hold], spec: {service: lock, method: holder, input_mapping: {name: "'shared'"}}}
`)
}

// theirs are the names by which a module tries what is another tenant's, where that is called shared.
var theirs = []string{"shared", "acme/shared", "acme.shared", "../acme/shared", "acme:shared", "../../acme/shared"}

// TestHostileModules: modules of one tenant reach nothing of another's, though both share the stores of their memory, topics, locks, artifacts and
// journals, the modules' files and what they were compiled to. What there is of the other's was left by an earlier server, or is held meanwhile.
func TestHostileModules(t *testing.T) {
	const ada, eve = "ada-token", "eve-token"
	dir := site(t)
	if err := os.Mkdir(filepath.Join(dir, "pipelines"), 0o700); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	entered, open := make(chan struct{}, 1), make(chan struct{})
	ports := []host.PortOp{
		{Name: "fake.ask", Func: func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
			return &kernel.PortReply{Value: kernel.Number(asked.Add(1))}, nil
		}},
		{Name: "fake.hold", Func: func(ctx context.Context, _ *kernel.PortCall) (*kernel.PortReply, error) {
			entered <- struct{}{}
			select {
			case <-open:
				return &kernel.PortReply{Value: true}, nil
			case <-ctx.Done():
				return nil, kernel.ContextError(ctx)
			}
		}},
	}
	modules := map[string]module{
		"set": {op: "memory.set", args: "{key: shared}", with: "value"}, "get": {op: "memory.get", args: "{key: shared}"},
		"tell": {op: "eventbus.publish", args: "{topic: shared.told}", with: "data"}, "store": {op: "artifacts.store", args: "{name: shared}", with: "value"},
		"spend": {op: "llm.complete", args: `{messages: [{role: user, content: "say something that takes quite a number of tokens"}], max_tokens: 100}`},
	}
	hostileModules(t, dir, modules)
	var s *serving
	run := func(token, pipeline, secret string) (status, text string) {
		t.Helper()
		code, v := s.ask(t, token, "POST", "/v1/pipelines/"+pipeline+"/runs?wait=60", `{"input": {"secret": "`+secret+`"}}`)
		if code != 200 {
			t.Fatal(code, v)
		}
		status, _ = v["status"].(string)
		output, _ := json.Marshal([]any{v["output"], v["error"]})
		return status, string(output)
	}
	does := func(token, pipeline, secret string) string {
		t.Helper()
		status, text := run(token, pipeline, secret)
		if status != "completed" {
			t.Fatal(pipeline, status, text)
		}
		return text
	}

	s = serve(t, dir, ports...)
	for _, name := range []string{"set", "tell", "store"} {
		does(ada, name, "of-ada")
	}
	mine := s.heard(t, ada, 1)
	_, list := s.ask(t, ada, "GET", "/v1/artifacts", "")
	all, _ := list["artifacts"].([]any)
	artifact := ""
	for _, one := range all {
		if one, _ := one.(map[string]any); one["name"] == "shared" {
			artifact, _ = one["id"].(string)
		}
	}
	if artifact == "" {
		t.Fatal(list)
	}
	s.end(t)

	// nothing is what an answer has to say where there is nothing.
	type try struct {
		module
		says []string // one of them
	}
	tries := map[string]try{
		"list_keys": {module{op: "memory.list_keys"}, []string{`"keys":[]`}}, "query_all": {module{op: "memory.query", args: "{where: {secret: of-ada}}"}, []string{`"entries":[]`}},
		"replay": {module{op: "eventbus.replay", args: `{topic: "shared.>", limit: 100}`}, []string{`"events":[]`}}, "topics": {module{op: "eventbus.topics", args: `{topic: "shared.>"}`}, []string{`"topics":[]`}},
		"artifact_retrieve": {module{op: "artifacts.retrieve", args: "{id: \"" + artifact + "\"}"}, []string{"there is no artifact"}}, "artifact_open": {module{op: "artifacts.open", args: "{id: \"" + artifact + "\"}"}, []string{"there is no artifact"}},
		"artifact_delete": {module{op: "artifacts.delete", args: "{id: \"" + artifact + "\"}"}, []string{"there is no artifact"}}, "artifact_list": {module{op: "artifacts.list", args: "{run_id: \"" + mine + "\"}"}, []string{"there is no run"}},
		"run_get": {module{op: "process_registry.get", args: "{run_id: \"" + mine + "\"}"}, []string{"Unknown run ID"}}, "run_list": {module{op: "process_registry.list"}, nil},
		"run_await": {module{op: "pipeline_spawner.await", args: "{run_id: \"" + mine + "\"}"}, []string{"Unknown run ID"}}, "run_cancel": {module{op: "pipeline_spawner.cancel", args: "{run_id: \"" + mine + "\"}"}, []string{`"cancelled":false`}},
		"unsubscribe": {module{op: "eventbus.unsubscribe", args: "{subscription: heard}"}, []string{"there is no subscription"}},
	}
	for i, name := range theirs {
		for op, of := range map[string]try{
			"get": {module{op: "memory.get", args: "{key: %s}"}, []string{`"found":false`}}, "exists": {module{op: "memory.exists", args: "{key: %s}"}, []string{"false"}}, "keys": {module{op: "memory.list_keys", args: "{prefix: %s}"}, []string{"[]"}},
			"delete": {module{op: "memory.delete", args: "{key: %s}"}, []string{`"deleted":false`}},
			"locked": {module{op: "lock.is_locked", args: "{name: %s}"}, []string{"false"}}, "holder": {module{op: "lock.holder", args: "{name: %s}"}, []string{`"holders":[]`}},
			"release": {module{op: "lock.release", args: "{name: %s}"}, []string{"no longer held"}}, "renew": {module{op: "lock.renew", args: "{name: %s}"}, []string{"no longer held"}},
		} {
			of.args = fmt.Sprintf(of.args, `"`+name+`"`)
			tries[fmt.Sprintf("%s_%d", op, i)] = of
		}
	}
	for i, topic := range []string{"acme.shared.told", "*.ev.acme.0.shared.told", "hexdag.ev.acme.0.shared.told", "$SYS.shared", "hexdag.pipeline.tell.completed"} {
		tries[fmt.Sprintf("tell_%d", i)] = try{module{op: "eventbus.publish", args: `{topic: "` + topic + `"}`, with: "data"}, nil}
	}
	for name, of := range tries {
		modules[name] = of.module
	}
	hostileModules(t, dir, modules)
	s = serve(t, dir, ports...)
	_, v := s.ask(t, ada, "POST", "/v1/pipelines/holds/runs", `{"input": {}}`)
	held, _ := v["run_id"].(string)
	<-entered
	for _, name := range slices.Sorted(maps.Keys(tries)) {
		of := tries[name]
		status, text := run(eve, name, "of-eve")
		if strings.Contains(text, "of-ada") || strings.Contains(text, held) || len(of.says) > 0 && !slices.ContainsFunc(of.says, func(says string) bool { return strings.Contains(text, says) }) {
			t.Errorf("%s %s: %s, %s", of.op, of.args, status, text)
		}
	}
	// What eve's modules do under the same names is hers.
	for _, name := range []string{"set", "tell", "store"} {
		does(eve, name, "of-eve")
	}
	s.heard(t, eve, 1)
	if text := does(eve, "get", ""); !strings.Contains(text, "of-eve") {
		t.Error(text)
	}
	if text := does(eve, "replay", ""); !strings.Contains(text, "of-eve") || strings.Contains(text, "of-ada") {
		t.Error(text)
	}
	if text := s.text(t, eve, "/v1/runs?pipeline=heard"); strings.Contains(text, mine) {
		t.Error("what ada had published was heard:", text)
	}
	for token, others := range map[string][]string{eve: {`"ada"`, `"acme"`, held}, ada: {`"eve"`, `"globex"`}} {
		for _, other := range others {
			if text := s.text(t, token, "/v1/audit?limit=1000"); strings.Contains(text, other) {
				t.Errorf("%s on record: %s", other, text)
			}
		}
	}
	// An answer that is kept is a tenant's.
	for _, token := range []string{ada, eve, ada, eve} {
		if text := does(token, "kept", ""); !strings.Contains(text, map[string]string{ada: `"out":1`, eve: `"out":2`}[token]) {
			t.Error("an answer that is kept:", token, text)
		}
	}
	// What a tenant has of models is a tenant's to spend.
	for n := 0; ; n++ {
		status, text := run(eve, "spend", "")
		if status == "completed" && n < 100 {
			continue
		}
		if n == 0 || n == 100 || !strings.Contains(text, "tenant_limits.tokens") {
			t.Error(n, status, text)
		}
		break
	}
	does(ada, "spend", "")

	s.reloadsOne(t, dir, "tell")

	// All that is ada's is as she left it.
	if text := does(ada, "get", ""); !strings.Contains(text, "of-ada") || strings.Contains(text, "of-eve") {
		t.Error(text)
	}
	if text := s.text(t, ada, "/v1/artifacts/"+artifact+"/content"); !strings.Contains(text, "of-ada") {
		t.Error(text)
	}
	if text := does(ada, "replay", ""); !strings.Contains(text, "of-ada") || strings.Contains(text, "of-eve") {
		t.Error(text)
	}
	does(ada, "tell", "of-ada")
	s.heard(t, ada, 2)
	close(open)
	if _, v := s.ask(t, ada, "GET", "/v1/runs/"+held+"?wait=60", ""); v["status"] != "completed" || !strings.Contains(fmt.Sprint(v["output"]), held) {
		t.Error("the lock is not held any more:", v)
	}
}

// reloadsOne has one tenant read a module's file again: another's is as it was, until the server finds by itself that the file has changed.
func (s *serving) reloadsOne(t *testing.T, dir, name string) {
	t.Helper()
	digest := func(token string) string {
		_, v := s.ask(t, token, "GET", "/v1/modules", "")
		list, _ := v["modules"].([]any)
		for _, one := range list {
			if one, _ := one.(map[string]any); one["name"] == name {
				text, _ := one["digest"].(string)
				return text
			}
		}
		t.Fatal(v)
		return ""
	}
	wasm, err := os.ReadFile(filepath.Join(dir, name+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	for tries := 0; ; tries++ {
		if wasm, err = abi.AppendCustomSection(wasm, "note", []byte("again")); err != nil {
			t.Fatal(err)
		}
		was, began := digest("ada-token"), time.Now()
		put(t, dir, name+".wasm", string(wasm))
		status, v := s.ask(t, "eve-token", "POST", "/v1/modules/"+name+"/reload", "")
		mine, hers := digest("ada-token"), digest("eve-token")
		if time.Since(began) > time.Second && tries < 20 { // the server may have looked
			continue
		}
		if status != 200 || v["changed"] != true || mine != was || hers == was {
			t.Error(status, v, was, mine, hers)
		}
		return
	}
}

// heard waits until so many runs have been started by events that the tenant's modules published, and returns the last.
func (s *serving) heard(t *testing.T, token string, n int) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		_, v := s.ask(t, token, "GET", "/v1/runs?pipeline=heard&status=completed", "")
		runs, _ := v["runs"].([]any)
		if len(runs) >= n {
			if len(runs) > n {
				t.Error(v)
			}
			id, _ := runs[0].(map[string]any)["run_id"].(string)
			return id
		}
		if time.Now().After(deadline) {
			t.Fatal(v)
		}
	}
}

// TestHostileStream: who follows another tenant's run is told that there is none, before it is over as afterwards; a stream tells of its own run alone; and
// an event under the same key goes to the tenant's own runs.
func TestHostileStream(t *testing.T) {
	const ada, eve = "ada-token", "eve-token"
	dir := hostile(t)
	put(t, dir, "shared.yaml", strings.Replace(shared, "go-{{ $input.secret }}", "go", 1))
	s := serve(t, dir)
	ids := map[string]string{}
	for _, token := range []string{ada, eve} {
		status, v := s.ask(t, token, "POST", "/v1/pipelines/shared/runs?wait=60", `{"input": {"secret": "of-`+token+`"}}`)
		if status != 200 || v["status"] != "suspended" {
			t.Fatal(status, v)
		}
		ids[token], _ = v["run_id"].(string)
	}
	for _, last := range []string{"", "0", "1", "999"} {
		status, text := s.follow(t, eve, ids[ada], last)
		if status != http.StatusNotFound || strings.Contains(text, "of-ada") {
			t.Error(last, status, text)
		}
	}
	if _, text := s.follow(t, eve, ids[eve], ""); !strings.Contains(text, ids[eve]) || strings.Contains(text, "of-ada") || strings.Contains(text, ids[ada]) {
		t.Error(text)
	}
	// Both wait for what is called the same.
	if status, v := s.ask(t, eve, "POST", "/v1/runs/"+ids[eve]+"/signal", `{"event": "go", "data": {"from": "eve"}}`); status != http.StatusAccepted {
		t.Fatal(status, v)
	}
	for {
		status, v := s.ask(t, eve, "GET", "/v1/runs/"+ids[eve]+"?wait=30", "")
		if v["status"] == "completed" {
			break
		}
		if status != 200 || v["status"] != "running" {
			t.Fatal(status, v)
		}
	}
	if _, v := s.ask(t, ada, "GET", "/v1/runs/"+ids[ada], ""); v["status"] != "suspended" {
		t.Error("an event of another tenant's:", v)
	}
}

// follow returns the answer to who follows a run from behind an event; of a stream, all until it ends.
func (s *serving) follow(t *testing.T, token, run, last string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1/runs/"+run+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "text/event-stream")
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var lines strings.Builder
	scanner := bufio.NewScanner(resp.Body)
	for scanner.Scan() {
		lines.WriteString(scanner.Text() + "\n")
	}
	return resp.StatusCode, lines.String()
}
