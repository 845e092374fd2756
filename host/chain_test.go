package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// opCall is how a test calls an operation: with these arguments, after which a call
// that was let through ends like this.
type opCall struct {
	args string      // YAML
	ends kernel.Code // "" is ok
	// guard is the argument by which a grant is withheld, with a value that the call does
	// not have; "" where the operation guards none.
	guard string
	// meter is what the run is charged beside the call itself.
	meter func(kernel.UsageSnapshot) bool
}

// opCalls are calls of all operations; WEB is the URL of a server.
func opCalls() map[string]opCall {
	const absent = `{id: "sha256:0000000000000000000000000000000000000000000000000000000000000000"}`
	web := opCall{args: `{url: "WEB/"}`, guard: "host"}
	return map[string]opCall{
		"api_call.delete": web, "api_call.get": web, "api_call.patch": web, "api_call.post": web, "api_call.put": web, "api_call.request": web, "http.request": web,
		"artifacts.store": {args: `{name: a, value: 1}`, guard: "name"}, "artifacts.list": {args: `{}`, guard: "run_id"},
		"artifacts.open": {args: absent, ends: kernel.CodeNotFound, guard: "id"}, "artifacts.create": {args: `{name: a}`, guard: "name"},
		"artifacts.read": {args: `{handle: "9"}`, ends: kernel.CodeNotFound}, "artifacts.write": {args: `{handle: "9"}`, ends: kernel.CodeNotFound}, "artifacts.close": {args: `{handle: "9"}`, ends: kernel.CodeNotFound},
		"artifacts.retrieve": {args: absent, ends: kernel.CodeNotFound, guard: "id"}, "artifacts.delete": {args: absent, ends: kernel.CodeNotFound, guard: "id"},
		"database.query": {args: `{table: t}`, guard: "table"}, "database.insert": {args: `{table: t, row: {a: 2}}`, guard: "table"},
		"database.describe_table": {args: `{table: t}`, guard: "table"}, "database.list_tables": {args: `{}`},
		"entity_state.register": {args: `{entity: order, entity_id: "1"}`, guard: "entity"}, "entity_state.transition": {args: `{entity: order, entity_id: "1", to_state: done}`, guard: "entity"},
		"entity_state.get_state":   {args: `{entity: order, entity_id: "2"}`, ends: kernel.CodeNotFound, guard: "entity"},
		"entity_state.get_history": {args: `{entity: order, entity_id: "2"}`, ends: kernel.CodeNotFound, guard: "entity"},
		"governance.authorize":     {args: `{action: a.b}`, guard: "action"}, "governance.audit": {args: `{action: a.b}`, guard: "action"}, "governance.list_permissions": {args: `{}`},
		"mcp.list_tools": {args: `{server: other}`, guard: "server"}, "mcp.call_tool": {args: `{tool: other.echo}`, guard: "tool"},
		"llm.complete": {args: `{messages: [{role: user, content: hi}]}`, guard: "model", meter: func(u kernel.UsageSnapshot) bool { return u.LLMCalls == 1 && u.InputTokens > 0 && u.OutputTokens > 0 }},
		"llm.batch":    {args: `{requests: [{messages: [{role: user, content: hi}]}]}`, guard: "model", meter: func(u kernel.UsageSnapshot) bool { return u.LLMCalls == 1 && u.InputTokens > 0 && u.OutputTokens > 0 }},
		"llm.embed":    {args: `{texts: [hi]}`, guard: "model", meter: func(u kernel.UsageSnapshot) bool { return u.LLMCalls == 1 && u.InputTokens > 0 }},
		"memory.get":   {args: `{key: k}`, guard: "key"}, "memory.set": {args: `{key: k, value: 1}`, guard: "key"}, "memory.delete": {args: `{key: k}`, guard: "key"},
		"memory.exists": {args: `{key: k}`, guard: "key"}, "memory.list_keys": {args: `{}`, guard: "prefix"}, "memory.compare_and_swap": {args: `{key: k2, value: 1}`, guard: "key"},
		"memory.query":      {args: `{where: {a: 1}}`, guard: "prefix"},
		"file_storage.read": {args: `{path: none}`, ends: kernel.CodeNotFound, guard: "path"}, "file_storage.write": {args: `{path: a, content: x}`, guard: "path"}, "file_storage.stat": {args: `{path: none}`, guard: "path"},
		"file_storage.delete": {args: `{path: none}`, guard: "path"}, "file_storage.list": {args: `{}`, guard: "prefix"},
		"vector_search.upsert": {args: `{collection: c, vectors: [{id: a, vector: [1]}]}`, guard: "collection"}, "vector_search.search": {args: `{collection: c, vector: [1]}`, guard: "collection"},
		"vector_search.delete": {args: `{collection: c, ids: [b]}`, guard: "collection"}, "vector_search.describe": {args: `{collection: c}`, guard: "collection"},
		"secret.get": {args: `{name: none}`, ends: kernel.CodeNotFound, guard: "name"}, "secret.use": {args: `{name: none, host: example.com}`, ends: kernel.CodeDenied, guard: "name"},
		"metrics.count":   {args: `{name: a}`, guard: "name"},
		"client.describe": {args: `{}`}, "client.ask": {args: `{requests: {a: {kind: roots}}}`, ends: kernel.CodeUnavailable, guard: "kinds"},
		"pipeline_memory.get": {args: `{key: k}`, guard: "key"}, "pipeline_memory.set": {args: `{key: k, value: 1}`, guard: "key"},
		"eventbus.publish": {args: `{topic: orders.paid, data: 1}`, guard: "topic"}, "eventbus.replay": {args: `{topic: orders.paid, limit: 1}`, guard: "topic"}, "eventbus.topics": {args: `{topic: orders.paid}`, guard: "topic"},
		"lock.acquire": {args: `{name: a}`, guard: "name"}, "lock.is_locked": {args: `{name: a}`, guard: "name"}, "lock.holder": {args: `{name: a}`, guard: "name"},
		"lock.release": {args: `{name: a}`, ends: kernel.CodeLockLost, guard: "name"}, "lock.renew": {args: `{name: a}`, ends: kernel.CodeLockLost, guard: "name"},
		"eventbus.subscribe": {args: `{topic: orders.paid}`, ends: kernel.CodeModuleExport, guard: "topic"}, "eventbus.unsubscribe": {args: `{subscription: s}`, ends: kernel.CodeNotFound},
		"process_registry.get": {args: `{run_id: none}`, ends: kernel.CodeNotFound, guard: "run_id"}, "process_registry.list": {args: `{}`, guard: "pipeline_name"}, "process_registry.list_by_ref": {args: `{ref_id: o}`, guard: "ref_type"},
		"pipeline_spawner.spawn": {args: `{pipeline: child}`, guard: "pipeline"}, "pipeline_spawner.spawn_many": {args: `{pipeline: child, inputs: [{}]}`, guard: "pipeline"},
		"pipeline_spawner.await": {args: `{run_id: none}`, ends: kernel.CodeNotFound, guard: "run_id"}, "pipeline_spawner.cancel": {args: `{run_id: none}`, guard: "run_id"},
		"scheduler.schedule_once": {args: `{pipeline: child, delay_seconds: 3600}`, guard: "pipeline"}, "scheduler.schedule_recurring": {args: `{pipeline: child, interval_seconds: 3600}`, guard: "pipeline"},
		"scheduler.cancel": {args: `{task_id: none}`, guard: "task_id"}, "scheduler.list": {args: `{ref_id: o}`, guard: "ref_id"},
		"central_agent.survey": {args: `{}`}, "central_agent.note": {args: `{text: plan}`}, "central_agent.report": {args: `{outcome: done}`}, "central_agent.ask": {args: `{question: may I}`, ends: kernel.CodeApproval},
		"central_agent.start": {args: `{pipeline: child}`, guard: "pipeline"}, "central_agent.wait": {args: `{run_ids: [none]}`, ends: kernel.CodeNotFound}, "central_agent.submit": {args: `{pipeline: child}`, guard: "pipeline"},
		"central_agent.goals": {args: `{}`}, "central_agent.goal": {args: `{goal_id: none}`, ends: kernel.CodeNotFound, guard: "goal_id"}, "central_agent.cancel": {args: `{goal_id: none}`, ends: kernel.CodeNotFound, guard: "goal_id"},
		"database_tools.query": {args: `{sql: "SELECT 1"}`}, "database_tools.list_tables": {args: `{}`}, "database_tools.describe_table": {args: `{table: t}`, guard: "table"},
		"pipeline_memory.update": {args: `{k: 1}`}, "pipeline_memory.snapshot": {args: `{}`},
	}
}

// What is known to change nothing outside: the answer of a node that calls nothing else can be kept. Everything
// else counts as a change, what is new, too. Of the rest, those answer with what is the run's alone.
func TestOperationsThatOnlyAsk(t *testing.T) {
	asks := []string{
		"api_call.get", "api_call.request", "artifacts.close", "artifacts.list", "artifacts.open", "artifacts.read", "artifacts.retrieve", "central_agent.goal", "central_agent.goals", "central_agent.survey", "central_agent.wait", "client.ask", "client.describe", "database.describe_table", "database.list_tables", "database.query",
		"database_tools.describe_table", "database_tools.list_tables", "database_tools.query",
		"entity_state.get_history", "entity_state.get_state", "eventbus.replay", "eventbus.topics", "file_storage.list", "file_storage.read", "file_storage.stat", "governance.authorize", "governance.list_permissions",
		"http.request", "llm.batch", "llm.complete", "llm.embed", "lock.holder", "lock.is_locked", "mcp.list_tools", "memory.exists", "memory.get", "memory.list_keys", "memory.query", "metrics.count", "pipeline_memory.get", "pipeline_memory.snapshot", "pipeline_spawner.await",
		"process_registry.get", "process_registry.list", "process_registry.list_by_ref", "scheduler.list",
		"secret.get", "secret.use", "vector_search.describe", "vector_search.search",
	}
	ofRun := []string{"artifacts.close", "artifacts.list", "artifacts.open", "artifacts.read", "artifacts.retrieve", "central_agent.survey", "central_agent.wait", "client.ask", "client.describe", "lock.holder", "pipeline_memory.get", "pipeline_memory.snapshot"}
	var gotAsks, gotOfRun []string
	for op := range opCalls() {
		if !ports.MayChange(op) {
			gotAsks = append(gotAsks, op)
		}
		if ports.OfRun(op) {
			gotOfRun = append(gotOfRun, op)
		}
	}
	slices.Sort(gotAsks)
	slices.Sort(gotOfRun)
	if !slices.Equal(gotAsks, asks) || !slices.Equal(gotOfRun, ofRun) {
		t.Errorf("%v\n%v", gotAsks, gotOfRun)
	}
}

// chainSite has every port configured, and modules that each call one operation.
type chainSite struct {
	t    *testing.T
	dir  string
	web  string
	bare []byte

	other string // the URL of an MCP server
}

func newChainSite(t *testing.T) *chainSite {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) }))
	t.Cleanup(web.Close)
	tools := mcp.NewServer(&mcp.Implementation{Name: "other", Version: "1"}, nil)
	tools.AddTool(&mcp.Tool{Name: "echo", InputSchema: map[string]any{"type": "object"}}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "echo"}}}, nil
	})
	other := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return tools }, &mcp.StreamableHTTPOptions{Stateless: true}))
	t.Cleanup(other.Close)
	wasm, err := os.ReadFile("enforcement/toolbox/toolbox.wasm")
	if err != nil {
		t.Fatal(err)
	}
	bare, err := abi.RemoveCustomSections(wasm, func(name string) bool { return name == abi.ManifestSection })
	if err != nil {
		t.Fatal(err)
	}
	return &chainSite{t: t, dir: t.TempDir(), web: web.URL, bare: bare, other: other.URL}
}

// module writes a module that requests this, and returns its line of configuration.
func (s *chainSite) module(name string, requests []abi.Capability, grants, op string, limits string) string {
	s.t.Helper()
	wasm, err := abi.EmbedManifest(s.bare, &abi.Manifest{Name: "m", Version: "1.0.0", Capabilities: requests})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, name+".wasm"), wasm, 0o600); err != nil {
		s.t.Fatal(err)
	}
	head := strings.ReplaceAll(opCalls()[op].args, "WEB", s.web)
	call := "{op: " + op + ", head: " + head + "}"
	if limits != "" { // which the second call is past
		call += ", " + call
	}
	return fmt.Sprintf("    %s: {path: %s.wasm, grants: [%s]%s, config: {tools: {node: {calls: [%s]}}}}\n", name, name, grants, limits, call)
}

func nameOf(op string) string { return strings.ReplaceAll(op, ".", "_") }

func (s *chainSite) open(governance string, modules ...string) (*Host, error) {
	s.t.Helper()
	config := `kind: Config
spec:
  principal: ada
  tenant: acme
  state: ` + s.t.TempDir() + `
  libraries: {pipelines: pipelines, central_agent: {pipelines: {child: {}}}, database_tools: {adapter: sqlite, config: {path: tools.db, seed: tools.sql}}}
  modules:
` + strings.Join(modules, "") + `  ports:
    governance: ` + governance + `
    llm: {adapter: mock}
    database: {adapter: memory, config: {tables: {t: [{a: 1}]}}}
    http: {adapter: http, config: {hosts: ["127.0.0.1:*"], allow_addresses: [127.0.0.0/8]}}
    mcp: {adapter: servers, config: {servers: {other: {url: "` + s.other + `", allow_addresses: [127.0.0.0/8]}}}}
    artifacts: {adapter: memory}
    memory: {adapter: memory}
    secret: {adapter: env}
`
	child := filepath.Join(s.dir, "pipelines", "child.yaml")
	if err := errors.Join(os.WriteFile(filepath.Join(s.dir, "tools.sql"), []byte("CREATE TABLE t (a INTEGER)"), 0o600), os.MkdirAll(filepath.Dir(child), 0o700), os.WriteFile(child, []byte("kind: Pipeline\nmetadata: {name: child}\nspec: {nodes: [{kind: data_node, metadata: {name: n}, spec: {output: {}}}]}\n"), 0o600)); err != nil {
		s.t.Fatal(err)
	}
	file := filepath.Join(s.dir, "hexdag.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		s.t.Fatal(err)
	}
	cfg, err := LoadConfig(file)
	if err != nil {
		s.t.Fatal(err)
	}
	h, err := New(s.t.Context(), cfg, Options{})
	if err == nil {
		s.t.Cleanup(func() { _ = h.Close(s.t.Context()) })
	}
	return h, err
}

// called is what a run of a module came to, and what is known of it afterwards.
type called struct {
	result *Result
	record *kernel.AuditRecord // of the call
	event  *Event
}

func (s *chainSite) run(h *Host, module, op string) called {
	s.t.Helper()
	file := filepath.Join(s.dir, "pipeline.yaml")
	text := "kind: Pipeline\nmetadata: {name: test}\nspec:\n  nodes:\n    - {kind: function_node, metadata: {name: n}, spec: {fn: " + module + "}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	p, err := h.Load(s.t.Context(), file, LoadOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	rec := &Recorder{}
	c := called{result: p.Run(s.t.Context(), map[string]any{}, RunOptions{Recorder: rec})}
	for _, e := range rec.Events() {
		if e.Type == kernel.PortCalled && e.Op == op {
			c.event = e
		}
	}
	err = TailAudit(s.t.Context(), h.AuditDir(), 10, false, func(r *AuditRecord) error {
		if r.Kind == "call" && r.Action == op && r.RunID == c.result.RunID {
			c.record = r
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// refused checks that a call was refused for a reason, and that record, event and meter
// know of it.
func (s *chainSite) refused(c called, op, module, rule string, says ...string) {
	s.t.Helper()
	switch {
	case c.result.Err == nil:
		s.t.Errorf("%s, %s: it was done", op, rule)
	case c.record == nil || c.record.Effect != kernel.Forbid || c.record.Result != string(kernel.CodeDenied) || c.record.Reasons[0].ID != rule || !slices.Equal(c.record.Chain, []string{"ada", "module:" + module}):
		s.t.Errorf("%s, %s: on record is %+v", op, rule, c.record)
	case c.event == nil || c.event.Status != string(kernel.CodeDenied) || c.event.Module != module || c.event.Node != "n":
		s.t.Errorf("%s, %s: the event is %+v", op, rule, c.event)
	case c.result.Usage.PortCalls != 1 || c.result.Usage.LLMCalls != 0:
		s.t.Errorf("%s, %s: the run is charged %+v", op, rule, c.result.Usage)
	}
	for _, word := range says {
		if c.record != nil && !strings.Contains(c.record.Reasons[0].Msg, word) {
			s.t.Errorf("%s, %s: the reason does not say %q: %s", op, rule, word, c.record.Reasons[0].Msg)
		}
	}
}

func requesting(op string) []abi.Capability {
	// The second is what lets the module load at all where op is not requested.
	return []abi.Capability{{Op: op}, {Op: "metrics.count", Args: map[string][]string{"name": {"unused"}}}}
}

// TestEveryOpPassesTheWholeChain has a guest call every operation that the host offers,
// with each link of the chain missing in turn: what the module imports, requests and was
// granted, and what the policy says. Nothing but the whole chain lets it through, the
// refusal says which link is missing, and whatever becomes of the call is metered, told
// as an event, and on record.
func TestEveryOpPassesTheWholeChain(t *testing.T) {
	s := newChainSite(t)
	empty, err := s.open("{adapter: allow_all}")
	if err != nil {
		t.Fatal(err)
	}
	calls, ops := opCalls(), empty.door.Ops()
	if missing := slices.DeleteFunc(slices.Clone(ops), func(op string) bool { _, known := calls[op]; return known }); len(missing) > 0 {
		t.Fatalf("say in opCalls how to call %v", missing)
	}
	if len(ops) != len(calls) {
		t.Errorf("the host offers %d operations, opCalls has %d: %v", len(ops), len(calls), slices.Sorted(maps.Keys(calls)))
	}
	for port := range adapters() {
		if port != "api_call" && !slices.ContainsFunc(ops, func(op string) bool { return strings.HasPrefix(op, port+".") }) {
			t.Errorf("port %s is not configured here", port)
		}
	}

	const unused = `{metrics.count: {name: unused}}`
	var modules []string
	for _, op := range ops {
		c, name := calls[op], nameOf(op)
		modules = append(modules,
			s.module("a_"+name, []abi.Capability{{Op: "metrics.count", Args: map[string][]string{"name": {"unused"}}}}, unused, op, ""),
			s.module("c_"+name, requesting(op), op+", "+unused, op, ""),
			s.module("d_"+name, requesting(op), op+", "+unused, op, ", limits: {host_calls: 1}"))
		if c.guard != "" {
			modules = append(modules, s.module("b_"+name, requesting(op), `{`+op+`: {`+c.guard+`: nothing.like.it}}, `+unused, op, ""))
		}
	}
	open, err := s.open("{adapter: allow_all}", modules...)
	if err != nil {
		t.Fatal(err)
	}
	closed, err := s.open(`{adapter: abac, config: {rules: [{id: runs, effect: allow, actions: [pipeline.run]}, {id: never, effect: deny, actions: ["*.*"], condition: "action.name != 'pipeline.run'", message: "not here"}]}}`, modules...)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range ops {
		c, name := calls[op], nameOf(op)
		s.refused(s.run(open, "a_"+name, op), op, "a_"+name, "hexdag.capability", "its manifest does not request it", "under capabilities in its manifest.json")
		if c.guard != "" {
			s.refused(s.run(open, "b_"+name, op), op, "b_"+name, "hexdag.capability", "it was not granted it", "add under grants of the module: - "+op)
		}
		if op != "governance.authorize" { // which is itself a question to governance
			s.refused(s.run(closed, "c_"+name, op), op, "c_"+name, "never", "not here")
		}
		s.allowed(s.run(open, "c_"+name, op), op, "c_"+name, c)
		if c.ends == "" { // else the module ends with the first
			s.metered(s.run(open, "d_"+name, op), op)
		}
		// Without a grant at all the module does not even load.
		_, err := s.open("{adapter: allow_all}", s.module("e_"+name, requesting(op), unused, op, ""))
		if kernel.CodeOf(err) != kernel.CodeModuleGrant || op != "metrics.count" && !strings.Contains(err.Error(), op) {
			if op != "metrics.count" { // of which one name was granted
				t.Errorf("%s: loaded without a grant: %v", op, err)
			}
		}
	}
}

// metered checks that the second call of a module that may do one was not done.
func (s *chainSite) metered(c called, op string) {
	s.t.Helper()
	if c.result.Err == nil || c.result.Usage.PortCalls != 1 || !strings.Contains(c.result.Err.Error(), "used up its calls of the host") {
		s.t.Errorf("%s: %d calls within a limit of one: %v", op, c.result.Usage.PortCalls, c.result.Err)
	}
}

// allowed checks that a call that has the whole chain was done, once, and is known of.
func (s *chainSite) allowed(c called, op, module string, how opCall) {
	s.t.Helper()
	status := "ok"
	if how.ends != "" {
		status = string(how.ends)
	}
	switch {
	case how.ends == kernel.CodeApproval:
		if c.result.Status != engine.Suspended || c.record == nil || c.record.Reasons[0].ID != "hexdag.approval" || c.event == nil || c.event.Status != status {
			s.t.Errorf("%s: %s, on record is %+v", op, c.result.Status, c.record)
		}
	case (c.result.Err == nil) != (how.ends == ""):
		s.t.Errorf("%s: %v", op, c.result.Err)
	case c.record == nil || c.record.Effect != kernel.Allow || c.record.Digest == "" || c.record.Tenant != "acme" || !slices.Equal(c.record.Chain, []string{"ada", "module:" + module}):
		s.t.Errorf("%s: on record is %+v", op, c.record)
	case c.event == nil || c.event.Status != status || c.event.Module != module:
		s.t.Errorf("%s: the event is %+v", op, c.event)
	case c.result.Usage.PortCalls != 1 || how.meter != nil && !how.meter(c.result.Usage):
		s.t.Errorf("%s: the run is charged %+v", op, c.result.Usage)
	}
}
