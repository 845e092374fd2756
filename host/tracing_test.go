package host_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testserver/otlpserver"
)

// spans are those that a host has made.
type spans struct {
	exporter *tracetest.InMemoryExporter
	provider *sdktrace.TracerProvider
}

func newSpans(t *testing.T) *spans {
	t.Helper()
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	return &spans{exporter, provider}
}

func (s *spans) all() tracetest.SpanStubs { return s.exporter.GetSpans() }

// one returns the only span of a name.
func (s *spans) one(t *testing.T, name string) tracetest.SpanStub {
	t.Helper()
	var found []tracetest.SpanStub
	var names []string
	for _, span := range s.all() {
		names = append(names, span.Name)
		if span.Name == name {
			found = append(found, span)
		}
	}
	if len(found) != 1 {
		t.Fatalf("there are %d spans %q among %q", len(found), name, names)
	}
	return found[0]
}

// path is how a span is nested, the outermost first.
func (s *spans) path(of tracetest.SpanStub) string {
	names := []string{of.Name}
	all := s.all()
	for of.Parent.IsValid() {
		i := slices.IndexFunc(all, func(p tracetest.SpanStub) bool { return p.SpanContext.SpanID() == of.Parent.SpanID() })
		if i < 0 {
			names = append(names, "elsewhere")
			break
		}
		of = all[i]
		names = append(names, of.Name)
	}
	slices.Reverse(names)
	return strings.Join(names, " > ")
}

// has checks that a span has all these attributes, as they are printed.
func has(t *testing.T, span tracetest.SpanStub, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for _, a := range span.Attributes {
		got[string(a.Key)] = a.Value.String()
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s: %s is %q, want %q", span.Name, name, got[name], value)
		}
	}
}

func attributeOf(span tracetest.SpanStub, name string) (attribute.Value, bool) {
	for _, a := range span.Attributes {
		if string(a.Key) == name {
			return a.Value, true
		}
	}
	return attribute.Value{}, false
}

func eventsOf(span tracetest.SpanStub) (list []string) {
	for _, e := range span.Events {
		var values []string
		for _, a := range e.Attributes {
			values = append(values, string(a.Key)+"="+a.Value.String())
		}
		list = append(list, e.Name+" "+strings.Join(values, " "))
	}
	return list
}

// traced opens the site's host with spans.
func (s site) traced(t *testing.T, made *spans, opts host.Options) *host.Host {
	t.Helper()
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	opts.TracerProvider = made.provider
	h, err := host.New(t.Context(), cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close(context.Background()) })
	return h
}

const tracedSpec = `  tenant: acme
  modules:
    guard: {path: PUPPET, config: {op: metrics.count, args: {name: good}}, grants: [{metrics.count: {name: [good, bad]}}, {database.query: {table: orders}}]}
    box: {path: PUPPET, config: {output: {found: "yes"}}, grants: [{metrics.count: {name: [good, bad]}}, {database.query: {table: orders}}]}
  hooks: [{module: guard, nodes: [ask]}]
  ports:
    database: {adapter: memory}
    llm: {adapter: mock, config: {model: llama, rules: [{match: "pull: ", reply: "INVOKE_TOOL: tool_end(output='done')"}, {match: "many", reply: "four"}], default: "INVOKE_TOOL: box:pull()"}}
`

// A run, its nodes, what these call, and the modules in between nest, and say what they are.
func TestSpansOfRun(t *testing.T) {
	made := newSpans(t)
	s := newSite(t, tracedSpec)
	h := s.traced(t, made, host.Options{})
	p := s.load(t, h,
		`{kind: llm_node, metadata: {name: ask}, dependencies: [], spec: {human_message: "how many?"}}`,
		`{kind: agent_node, metadata: {name: clerk}, dependencies: [ask], spec: {main_prompt: "Do it.", available_tools: ["box:*"]}}`,
		`{kind: tool_call_node, metadata: {name: tool}, dependencies: [clerk], spec: {tool: box.pull}}`,
		`{kind: expression_node, metadata: {name: last}, dependencies: [tool], spec: {expressions: {n: "1 + 1"}}}`)
	result := p.Run(t.Context(), map[string]any{}, host.RunOptions{})
	if result.Status != engine.Completed {
		t.Fatal(result.Err)
	}
	run := made.one(t, "run test")
	has(t, run, map[string]string{"hexdag.run.id": result.RunID, "hexdag.pipeline.name": "test", "hexdag.pipeline.version": p.Version, "hexdag.tenant": "acme", "hexdag.run.status": "completed", "hexdag.usage.llm_calls": "3", "hexdag.usage.tool_calls": "2"})
	has(t, made.one(t, "node ask"), map[string]string{"hexdag.node.kind": "llm_node", "hexdag.node.name": "ask", "hexdag.run.id": result.RunID, "hexdag.node.attempts": "1", "hexdag.node.cached": "false"})
	var paths []string
	for _, span := range made.all() {
		paths = append(paths, made.path(span))
	}
	for _, want := range []string{
		"run test > node ask > guest guard node_before > metrics.count",
		"run test > node ask > llm.complete > chat llama",
		"run test > invoke_agent clerk > llm.complete > chat llama",
		"run test > invoke_agent clerk > execute_tool box:pull > guest box tool_call",
		"run test > node tool > execute_tool box:pull > guest box tool_call",
		"run test > node last",
	} {
		if !slices.Contains(paths, want) {
			t.Errorf("there is no %s in\n%s", want, strings.Join(paths, "\n"))
		}
	}
	has(t, made.one(t, "metrics.count"), map[string]string{"hexdag.port.operation": "metrics.count", "hexdag.port.name": "metrics", "hexdag.port.resource": "good", "hexdag.governance.effect": "allow", "hexdag.port.callers": `["local","module:guard"]`})
	guest := made.one(t, "guest guard node_before")
	has(t, guest, map[string]string{"hexdag.module.name": "guard", "hexdag.module.digest": h.Modules()[0].Digest(), "hexdag.module.export": "node_before", "hexdag.module.verdict": "continue", "hexdag.module.host_calls": "1"})
	for _, name := range []string{"hexdag.module.fuel", "hexdag.module.memory"} {
		if v, ok := attributeOf(guest, name); !ok || v.AsInt64() <= 0 {
			t.Errorf("%s is %v", name, v.String())
		}
	}
	agent := made.one(t, "invoke_agent clerk")
	has(t, agent, map[string]string{"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "clerk", "hexdag.node.kind": "agent_node"})
	chats := 0
	for _, span := range made.all() {
		switch span.Name {
		case "chat llama":
			chats++
			has(t, span, map[string]string{"gen_ai.operation.name": "chat", "gen_ai.provider.name": "mock", "gen_ai.request.model": "llama", "gen_ai.response.model": "llama", "gen_ai.response.finish_reasons": `["stop"]`})
			for _, name := range []string{"gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"} {
				if v, ok := attributeOf(span, name); !ok || v.AsInt64() <= 0 {
					t.Errorf("%s is %v", name, v.String())
				}
			}
			if span.SpanKind != trace.SpanKindClient {
				t.Errorf("a request to a model is %v", span.SpanKind)
			}
		case "execute_tool box:pull":
			has(t, span, map[string]string{"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "box:pull", "hexdag.governance.effect": "allow"})
		}
		for _, name := range []string{"gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result"} {
			if v, told := attributeOf(span, name); told {
				t.Errorf("%s tells %s, and nobody has asked for it", span.Name, v.String())
			}
		}
		if span.Status.Code == codes.Error {
			t.Errorf("%s has failed: %s", span.Name, span.Status.Description)
		}
		if span.InstrumentationScope.Name != "github.com/hexdag/hexdag" || !strings.HasPrefix(span.InstrumentationScope.SchemaURL, "https://opentelemetry.io/schemas/") {
			t.Errorf("%s is of %+v", span.Name, span.InstrumentationScope)
		}
	}
	if chats != 3 {
		t.Errorf("%d requests to a model", chats)
	}
}

// What was said is told where the operator asks for it, but what is secret.
func TestSpansTellContent(t *testing.T) {
	made := newSpans(t)
	s := newSite(t, tracedSpec+"  telemetry: {content: true}\n")
	h := s.traced(t, made, host.Options{})
	p := s.load(t, h, `{kind: llm_node, metadata: {name: ask}, dependencies: [], spec: {human_message: "how many {{ what }}?"}}`, `{kind: tool_call_node, metadata: {name: tool}, dependencies: [], spec: {tool: box.pull}}`)
	if r := p.Run(t.Context(), map[string]any{"what": "pans"}, host.RunOptions{}); r.Status != engine.Completed {
		t.Fatal(r.Err)
	}
	chat := made.one(t, "chat llama")
	has(t, chat, map[string]string{
		"gen_ai.input.messages":  `[{"parts":[{"content":"how many pans?","type":"text"}],"role":"user"}]`,
		"gen_ai.output.messages": `[{"finish_reason":"stop","parts":[{"content":"four","type":"text"}],"role":"assistant"}]`,
	})
	has(t, made.one(t, "execute_tool box:pull"), map[string]string{"gen_ai.tool.call.arguments": `{"what":"pans"}`, "gen_ai.tool.call.result": `{"found":"yes"}`})
	made.exporter.Reset()
	if r := p.Run(t.Context(), map[string]any{"what": "hush"}, host.RunOptions{Labels: map[string]string{kernel.LabelConfidentiality: string(kernel.Secret)}}); r.Status != engine.Completed {
		t.Fatal(r.Err)
	}
	if all := made.text(); strings.Contains(all, "hush") || !strings.Contains(all, "chat llama") {
		t.Error("what is secret is told:", all)
	}
}

// A tool's call is told apart by the id that the model has given it, whatever that is.
func TestSpansOfCalls(t *testing.T) {
	made := newSpans(t)
	s := newSite(t, tracedSpec)
	ids := []string{"call-1", "c\x1b[31m" + strings.Repeat("x", 1000)}
	said := func(id, tool string) (*kernel.PortReply, error) {
		return &kernel.PortReply{Value: map[string]any{"content": "", "tool_calls": []any{map[string]any{"id": id, "name": tool, "arguments": map[string]any{}}}}}, nil
	}
	s.write(t, "hexdag.yaml", strings.Replace(readFile(t, s.path("hexdag.yaml")), "    llm:", "    # llm:", 1))
	model := host.PortOp{Name: "llm.complete", Func: func(_ context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
		messages, _ := call.Args["messages"].([]any)
		if n := len(messages) / 2; n < len(ids) {
			return said(ids[n], "box:pull")
		}
		return said("last", "tool_end")
	}}
	h := s.traced(t, made, host.Options{Ports: []host.PortOp{model}})
	p := s.load(t, h, `{kind: agent_node, metadata: {name: clerk}, dependencies: [], spec: {initial_prompt_template: "x", available_tools: ["box:pull"], max_steps: 5}}`)
	if r := p.Run(t.Context(), map[string]any{}, host.RunOptions{}); r.Status != engine.Completed {
		t.Fatal(r.Err)
	}
	var told []string
	for _, span := range made.all() {
		if span.Name == "execute_tool box:pull" {
			id, _ := attributeOf(span, "gen_ai.tool.call.id")
			told = append(told, id.AsString())
		}
	}
	if len(told) != 2 || !slices.Contains(told, ids[0]) || strings.ContainsAny(strings.Join(told, ""), "\x1b") || max(len(told[0]), len(told[1])) > 256 {
		t.Errorf("%q", told)
	}
}

// text is all that the spans say.
func (s *spans) text() string {
	var b strings.Builder
	for _, span := range s.all() {
		fmt.Fprintln(&b, span.Name, span.Status.Description, eventsOf(span))
		for _, a := range span.Attributes {
			fmt.Fprintln(&b, " ", a.Key, a.Value.String())
		}
	}
	return b.String()
}

// Failures, refusals, hooks' verdicts and attempts are told; anybody's words are not, and nothing is long.
func TestSpansOfFailure(t *testing.T) {
	made := newSpans(t)
	s := newSite(t, `  modules:
    stop: {path: PUPPET, config: {verdict: 3, output: "the password is hunter2"}, grants: [{metrics.count: {name: [good, bad]}}, {database.query: {table: orders}}]}
    thief: {path: PUPPET, config: {op: database.query, args: {table: elsewhere}}, grants: [{metrics.count: {name: [good, bad]}}, {database.query: {table: orders}}]}
  hooks: [{module: stop, nodes: [stopped]}]
  ports:
    database: {adapter: memory}
    governance: {adapter: abac, config: {rules: [{id: no-lock, effect: deny, actions: [lock.acquire], message: "hunter2"}, {id: rest, effect: allow, actions: ["**"]}]}}
`)
	tries := 0
	h := s.traced(t, made, host.Options{Functions: map[string]host.Function{"fails": func(context.Context, *kernel.NodeCall) (kernel.Value, error) {
		tries++
		return nil, &kernel.Error{Code: kernel.CodeUnavailable, What: "no luck " + strings.Repeat("é", 400), Why: "the password is hunter2"}
	}}})
	for node, check := range map[string]func(){
		`{kind: function_node, metadata: {name: failing}, dependencies: [], spec: {fn: fails, max_retries: 2, retry_delay: 0.001}}`: func() {
			span := made.one(t, "node failing")
			has(t, span, map[string]string{"error.type": string(kernel.CodeUnavailable), "hexdag.node.attempts": "2"})
			if span.Status.Code != codes.Error || !strings.HasPrefix(span.Status.Description, "no luck é") || len(span.Status.Description) > 256 {
				t.Errorf("%+v", span.Status)
			}
			if events := eventsOf(span); len(events) != 1 || events[0] != "hexdag.node.retry hexdag.node.attempt=1 error.type=port.unavailable" {
				t.Errorf("%q", events)
			}
		},
		`{kind: data_node, metadata: {name: stopped}, dependencies: [], spec: {output: 1}}`: func() {
			span := made.one(t, "node stopped")
			has(t, span, map[string]string{"error.type": string(kernel.CodeDenied)})
			if events := eventsOf(span); len(events) != 1 || events[0] != "hexdag.hook hexdag.hook.name=stop hexdag.hook.action=deny" {
				t.Errorf("%q", events)
			}
			has(t, made.one(t, "guest stop node_before"), map[string]string{"hexdag.module.verdict": "deny"})
		},
		pull("thief"): func() {
			span := made.one(t, "database.query")
			has(t, span, map[string]string{"error.type": string(kernel.CodeDenied), "hexdag.governance.effect": "deny", "hexdag.governance.rules": `["hexdag.capability"]`})
			has(t, made.one(t, "run test"), map[string]string{"hexdag.run.status": "failed"})
		},
		`{kind: service_call_node, metadata: {name: locks}, dependencies: [], spec: {service: lock, method: acquire, input_mapping: {name: "'a'"}}}`: func() {
			span := made.one(t, "lock.acquire")
			has(t, span, map[string]string{"error.type": string(kernel.CodeDenied), "hexdag.governance.effect": "deny", "hexdag.governance.rules": `["no-lock"]`, "hexdag.port.resource": "a"})
			has(t, made.one(t, "run test"), map[string]string{"hexdag.run.status": "denied"})
		},
		`{kind: expression_node, metadata: {name: bad}, dependencies: [], spec: {input_schema: {n: int}, expressions: {x: "1"}}}`: func() {
			has(t, made.one(t, "node bad"), map[string]string{"error.type": string(kernel.CodeInput)})
		},
	} {
		made.exporter.Reset()
		if r := s.load(t, h, node).Run(t.Context(), map[string]any{}, host.RunOptions{}); r.Err == nil {
			t.Fatal(r.Status, node)
		}
		check()
		if all := made.text(); strings.Contains(all, "hunter2") {
			t.Error("spans tell a reason:", all)
		}
	}
}

// The trace of whoever starts a run.
const (
	parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	state  = "vendor=1,other=a:b"
)

// A run is in the trace of whoever starts it; what it starts is in its own, at once or later, by an event as by a call.
func TestSpansOfChildren(t *testing.T) {
	made := newSpans(t)
	s := newSite(t, `  libraries: {pipelines: pipelines}
  triggers: [{name: t, on: orders.*, pipeline: shipped.yaml}]
`)
	s.pipeline(t, "shipped", echo)
	s.write(t, "pipelines/child.yaml", "kind: Pipeline\nmetadata: {name: child}\nspec:\n  nodes:\n    - "+echo+"\n")
	h := s.traced(t, made, host.Options{})
	p := s.load(t, h,
		`{kind: service_call_node, metadata: {name: tells}, dependencies: [], spec: {service: eventbus, method: publish, input_mapping: {topic: "'orders.new'", data: "{'id': 1}"}}}`,
		`{kind: service_call_node, metadata: {name: spawns}, dependencies: [tells], spec: {service: pipeline_spawner, method: spawn, input_mapping: {pipeline: "'child'"}}}`)
	var result *host.Result
	told := listen(t, h, func() {
		result = p.Run(host.WithinTrace(t.Context(), parent, state), map[string]any{}, host.RunOptions{})
	})
	if result.Status != engine.Completed || len(told.runs("t")) != 1 {
		t.Fatal(result.Err, told.runs("t"))
	}
	if err := h.Close(t.Context()); err != nil { // which waits for what was spawned
		t.Fatal(err)
	}
	for _, span := range made.all() {
		if span.SpanContext.TraceID().String() != "0af7651916cd43dd8448eb211c80319c" {
			t.Errorf("%s is in another trace: %s", span.Name, made.path(span))
		}
		if got := span.SpanContext.TraceState().String(); got != state {
			t.Errorf("%s has the state %q", made.path(span), got)
		}
	}
	for name, path := range map[string]string{
		"run test":    "elsewhere > run test",
		"run shipped": "elsewhere > run test > node tells > eventbus.publish > run shipped",
		"run child":   "elsewhere > run test > run child",
	} {
		if got := made.path(made.one(t, name)); got != path {
			t.Errorf("%s, want %s", got, path)
		}
	}
	has(t, made.one(t, "run child"), map[string]string{"hexdag.run.parent_id": result.RunID})
	if kind := made.one(t, "eventbus.publish").SpanKind; kind != trace.SpanKindProducer {
		t.Error(kind)
	}
}

// A run that waited, or whose host has died, has another span, linked to its first. One that is done again has none.
func TestSpansOfResumedRuns(t *testing.T) {
	made := newSpans(t)
	s := newSite(t, "  tenant: acme\n")
	h := s.traced(t, made, host.Options{})
	p := s.load(t, h, `{kind: wait_node, metadata: {name: w}, dependencies: [], spec: {event_key: go}}`)
	first := p.Run(host.WithinTrace(t.Context(), parent, state), map[string]any{}, host.RunOptions{Durable: true})
	if first.Status != engine.Suspended {
		t.Fatal(first.Err)
	}
	began := made.one(t, "run test")
	has(t, began, map[string]string{"hexdag.run.status": "suspended"})
	has(t, made.one(t, "node w"), map[string]string{"hexdag.node.waits": "true"})
	made.exporter.Reset()
	if r, err := h.Resume(t.Context(), first.RunID, "go", map[string]any{"a": 1}, host.RunOptions{}); err != nil || r.Status != engine.Completed {
		t.Fatal(r, err)
	}
	went := made.one(t, "run test")
	if len(went.Links) != 1 || !went.Links[0].SpanContext.Equal(began.SpanContext.WithRemote(true)) || went.Parent.IsValid() {
		t.Errorf("linked to %+v, not to %+v", went.Links, began.SpanContext)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	made.exporter.Reset()
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	replayer, err := host.OpenReplayer(t.Context(), cfg, host.Options{TracerProvider: made.provider}, host.ReplayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer replayer.Close(context.WithoutCancel(t.Context()))
	if again, err := replayer.Run(t.Context(), first.RunID); err != nil || !again.Same {
		t.Fatalf("%+v, %v", again, err)
	}
	if all := made.all(); len(all) != 0 {
		t.Errorf("a run that is done again has spans: %s", made.text())
	}
}

// What another host goes on with is linked to the span that the journal knows, too.
func TestSpansOfRecoveredRuns(t *testing.T) {
	made := newSpans(t)
	d := newDurable(t, "  tenant: default\n")
	h := d.traced(t, made, host.Options{Journal: d.journals.Open("first")})
	p := d.load(t, h, `{kind: expression_node, metadata: {name: a}, dependencies: [], spec: {expressions: {n: "1"}}}`, `{kind: expression_node, metadata: {name: b}, dependencies: [a], spec: {expressions: {n: "2"}}}`)
	whole := p.Run(host.WithinTrace(t.Context(), parent, state), map[string]any{}, host.RunOptions{Durable: true})
	if whole.Status != engine.Completed {
		t.Fatal(whole.Err)
	}
	began := made.one(t, "run test")
	made.exporter.Reset()
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	entries := d.entries(t, whole.RunID)
	of := &driver.Run{ID: whole.RunID, Tenant: "default", Pipeline: "test", Version: p.Version, Begun: entries[0].Time}
	i := slices.IndexFunc(entries, func(e *journal.Entry) bool { return e.Kind == journal.Done && e.Lane == "a" })
	next := d.traced(t, made, host.Options{Journal: died(t, of, entries[:i+1]).Open("second")})
	if err := next.Recover(t.Context(), host.RunOptions{}, func(r *host.Recovered) {
		if r.Err != nil || r.Result.Status != engine.Completed {
			t.Errorf("%+v", r)
		}
	}); err != nil {
		t.Fatal(err)
	}
	went := made.one(t, "run test")
	if len(went.Links) != 1 || went.Links[0].SpanContext.SpanID() != began.SpanContext.SpanID() {
		t.Errorf("linked to %+v, not to %+v", went.Links, began.SpanContext)
	}
	if made.one(t, "node b"); strings.Contains(made.text(), "node a\n") {
		t.Error("what was done before has a span again:", made.text())
	}
}

// The http port tells the hosts that the operator lists which trace a request is in, and nobody else.
func TestSpansPropagate(t *testing.T) {
	for _, propagate := range []string{"[]", `["127.0.0.1:*"]`} {
		var told, toldState string
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			told, toldState = r.Header.Get("traceparent"), r.Header.Get("tracestate")
		}))
		name := strings.TrimPrefix(web.URL, "http://")
		made := newSpans(t)
		s := newSite(t, "  telemetry: {propagate: "+propagate+"}\n  ports:\n    http: {adapter: http, config: {hosts: [\""+name+"\"], allow_addresses: [127.0.0.0/8]}}\n")
		h := s.traced(t, made, host.Options{})
		result := s.load(t, h, `{kind: api_call_node, metadata: {name: w}, dependencies: [], spec: {url: "`+web.URL+`/path?token=hunter2"}}`).Run(host.WithinTrace(t.Context(), parent, state), map[string]any{}, host.RunOptions{})
		web.Close()
		if result.Status != engine.Completed {
			t.Fatal(result.Err)
		}
		span := made.one(t, "http.request")
		has(t, span, map[string]string{"http.request.method": "GET", "http.response.status_code": "200", "server.address": "127.0.0.1", "hexdag.port.resource": name})
		want, wantState := "", ""
		if propagate != "[]" {
			wantState = state
			want = "00-" + span.SpanContext.TraceID().String() + "-" + span.SpanContext.SpanID().String() + "-01"
		}
		if told != want || toldState != wantState {
			t.Errorf("%s: the server is told %q and %q, want %q and %q", propagate, told, toldState, want, wantState)
		}
		if strings.Contains(made.text(), "hunter2") {
			t.Error("spans tell a query:", made.text())
		}
	}
}

// The configuration, or the environment, says where spans go; the end of the host sends what is left.
func TestSpansAreSent(t *testing.T) {
	collector := otlpserver.New(t)
	t.Setenv("COLLECTOR_API_KEY", "hunter2")
	s := newSite(t, "  telemetry: {endpoint: \""+collector.URL+"\", headers: {Authorization: \"Bearer ${COLLECTOR_API_KEY}\"}, service: desk}\n")
	h := s.open(t)
	const node = `{kind: data_node, metadata: {name: a}, dependencies: [], spec: {output: 1}}`
	if r := s.load(t, h, node).Run(t.Context(), map[string]any{}, host.RunOptions{}); r.Status != engine.Completed {
		t.Fatal(r.Err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if names := collector.Names(); !slices.Equal(names, []string{"node a", "run test"}) || !slices.Equal(collector.Header("authorization"), []string{"Bearer hunter2"}) || collector.Resource()["service.name"] != "desk" {
		t.Errorf("%q with %q of %v", names, collector.Header("authorization"), collector.Resource())
	}
	t.Setenv("COLLECTOR_API_KEY", "")
	if err := os.Unsetenv("COLLECTOR_API_KEY"); err != nil {
		t.Fatal(err)
	}
	_, err := s.new(t)
	wantError(t, err, kernel.CodeConfig, "COLLECTOR_API_KEY is not set", "hexdag.yaml", "spec.telemetry names it")
	for _, wrong := range []struct{ spec, says string }{
		{"{protocol: zipkin}", "there is no protocol zipkin"}, {"{sample: 2}", "sample is 2"}, {"{headers: {A: {b: c}}}", "A"}, {"{endpont: a}", "endpont"}, {"{endpoint: \"collector:4318\"}", "endpoint is not usable"},
	} {
		_, err := newSite(t, "  telemetry: "+wrong.spec+"\n").new(t)
		wantError(t, err, kernel.CodeConfig, wrong.says, "hexdag.yaml")
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	cfg := &host.Config{File: s.path("other.yaml"), State: t.TempDir()}
	host.TelemetryOfEnvironment(cfg)
	if cfg.Telemetry == nil {
		t.Error("the environment is not heard")
	}
}
