package ports_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/centralagent"
	"github.com/hexdag/hexdag/host/lib/databasetools"
	"github.com/hexdag/hexdag/host/lib/entitystate"
	"github.com/hexdag/hexdag/host/lib/pipelinememory"
	"github.com/hexdag/hexdag/host/lib/pipelinespawner"
	"github.com/hexdag/hexdag/host/lib/processregistry"
	"github.com/hexdag/hexdag/host/lib/scheduler"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/artifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/memartifacts"
	"github.com/hexdag/hexdag/host/ports/clientport"
	"github.com/hexdag/hexdag/host/ports/database"
	"github.com/hexdag/hexdag/host/ports/database/memdb"
	"github.com/hexdag/hexdag/host/ports/database/sqlitedb"
	"github.com/hexdag/hexdag/host/ports/eventbus"
	"github.com/hexdag/hexdag/host/ports/eventbus/membus"
	"github.com/hexdag/hexdag/host/ports/filestorage"
	"github.com/hexdag/hexdag/host/ports/filestorage/blobfiles"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/governance/allowall"
	"github.com/hexdag/hexdag/host/ports/httpport"
	"github.com/hexdag/hexdag/host/ports/llm"
	"github.com/hexdag/hexdag/host/ports/llm/mockllm"
	"github.com/hexdag/hexdag/host/ports/lock"
	"github.com/hexdag/hexdag/host/ports/lock/memlock"
	"github.com/hexdag/hexdag/host/ports/mcpport"
	"github.com/hexdag/hexdag/host/ports/memory"
	"github.com/hexdag/hexdag/host/ports/memory/memstore"
	"github.com/hexdag/hexdag/host/ports/metrics"
	"github.com/hexdag/hexdag/host/ports/middleware"
	"github.com/hexdag/hexdag/host/ports/secret"
	"github.com/hexdag/hexdag/host/ports/secret/envsecret"
	"github.com/hexdag/hexdag/host/ports/vectorsearch"
	vectors "github.com/hexdag/hexdag/host/ports/vectorsearch/driver"
	"github.com/hexdag/hexdag/host/ports/vectorsearch/memvectors"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// everyOp returns the operations of every port that the host registers.
func everyOp(t *testing.T) []ports.Op {
	t.Helper()
	model, err := mockllm.New(mockllm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	db, err := memdb.New(memdb.Config{})
	if err != nil {
		t.Fatal(err)
	}
	web, err := httpport.New(httpport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	storage, err := blobfiles.Open(t.Context(), blobfiles.Config{URL: "mem://"})
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := secret.New(envsecret.New(), nil)
	if err != nil {
		t.Fatal(err)
	}
	others, err := mcpport.New(mcpport.Config{Servers: map[string]*mcpport.ServerConfig{"a": {Command: []string{"none"}}}}, mcpport.Options{})
	if err != nil {
		t.Fatal(err)
	}
	remembered := memory.New(memstore.New(), memory.Options{})
	entities, err := entitystate.New(remembered, nil, entitystate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	readable, err := sqlitedb.New(t.Context(), sqlitedb.Config{Path: ":memory:", ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = readable.Close() })
	queried, err := databasetools.New(readable, 0)
	if err != nil {
		t.Fatal(err)
	}
	registry := processregistry.New(processregistry.Options{})
	agents := centralagent.New(centralagent.Options{}).Ops()
	for i := range agents {
		agents[i].Judge = nil // see TestAnOperationJudges
	}
	return slices.Concat(registry.Ops(), agents, pipelinespawner.New(nil, registry, pipelinespawner.Options{}).Ops(), scheduler.New(scheduler.Options{}).Ops(nil), queried.Ops(), metrics.Ops(), clientport.Ops(func() string { return "a" }), artifacts.New(memartifacts.NewBucket(), artifacts.Options{}).Ops(),
		llm.New(model).Ops(), database.New(db).Ops(), governance.New(allowall.Driver{}, governance.Options{}).Ops(),
		remembered.Ops(), filestorage.New(storage, filestorage.Options{}).Ops(), secrets.Ops(), vectorsearch.New(memvectors.New(vectors.Cosine), vectors.Cosine, vectorsearch.Options{}).Ops(), entities.Ops(), pipelinememory.Ops(), web.Ops(), others.Ops(), lock.New(memlock.New(), lock.Options{}).Ops(),
		eventbus.New(membus.New(membus.Config{}), eventbus.Options{}).Ops(nil))
}

// A port that is not among everyOp would go untested: the sources are the witness.
func TestEveryOpIsEnumerated(t *testing.T) {
	var enumerated []string
	for _, op := range everyOp(t) {
		enumerated = append(enumerated, op.Name)
	}
	named := regexp.MustCompile(`(?:Name:\s*|Op[A-Z]\w+\s*=\s*)"([a-z_]+\.[a-z_]+)"`)
	found := 0
	look := func(file string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		source, err := os.ReadFile(file)
		for _, match := range named.FindAllSubmatch(source, -1) {
			found++
			if name := string(match[1]); !slices.Contains(enumerated, name) {
				t.Errorf("%s offers %s, which everyOp does not have", file, name)
			}
		}
		return err
	}
	err := errors.Join(filepath.WalkDir(".", look), filepath.WalkDir("../lib", look))
	if err != nil || found+2 < len(enumerated) { // database_tools has two of the port's
		t.Errorf("%d operations found in the sources, %d enumerated (%v)", found, len(enumerated), err)
	}
}

// recorder is an auditor that remembers, or fails.
type recorder struct {
	records []kernel.AuditRecord
	err     error
}

func (r *recorder) Audit(_ context.Context, record *kernel.AuditRecord) error {
	r.records = append(r.records, *record)
	return r.err
}

// decider answers every question alike.
type decider struct {
	decision kernel.Decision
	err      error
	asked    []kernel.AccessRequest
}

func (d *decider) Authorize(_ context.Context, req *kernel.AccessRequest) (kernel.Decision, error) {
	d.asked = append(d.asked, *req)
	return d.decision, d.err
}

func allowing() *decider { return &decider{decision: kernel.Decision{Effect: kernel.Allow}} }

// rights is a module in a chain that may do what is listed.
func rights(name string, allowed ...string) kernel.ModuleRights {
	return kernel.ModuleRights{Name: name, Check: func(op string, _ map[string]string) error {
		if slices.Contains(allowed, op) {
			return nil
		}
		return &kernel.Error{Code: kernel.CodeDenied, What: name + " may not"}
	}}
}

func calling(op string, modules ...kernel.ModuleRights) *kernel.PortCall {
	return &kernel.PortCall{Op: op, Args: map[string]any{}, Caller: kernel.Caller{Principal: "alice", Modules: modules}}
}

// TestEveryOpIsGated: whatever link of the chain is missing, no operation is
// reached, and the refusal is on record.
func TestEveryOpIsGated(t *testing.T) {
	cases := map[string]struct {
		decider *decider
		audit   error
		modules func(op string) []kernel.ModuleRights
		code    kernel.Code
		policy  bool // it is governance that refuses, which is not asked about its own questions
	}{
		"no grant":            {allowing(), nil, func(string) []kernel.ModuleRights { return []kernel.ModuleRights{rights("m")} }, kernel.CodeDenied, false},
		"an inner one has no": {allowing(), nil, func(op string) []kernel.ModuleRights { return []kernel.ModuleRights{rights("a", op), rights("b")} }, kernel.CodeDenied, false},
		"an outer one has no": {allowing(), nil, func(op string) []kernel.ModuleRights { return []kernel.ModuleRights{rights("a"), rights("b", op)} }, kernel.CodeDenied, false},
		"policy forbids":      {&decider{decision: kernel.Decision{Effect: kernel.Forbid}}, nil, nil, kernel.CodeDenied, true},
		"approval is due":     {&decider{decision: kernel.Decision{Effect: kernel.Approve}}, nil, nil, kernel.CodeDenied, true},
		"no effect":           {&decider{}, nil, nil, kernel.CodeDenied, true},
		"an unknown effect":   {&decider{decision: kernel.Decision{Effect: "ALLOW"}}, nil, nil, kernel.CodeDenied, true},
		"governance fails":    {&decider{decision: kernel.Decision{Effect: kernel.Allow}, err: errors.New("down")}, nil, nil, kernel.CodeInternal, true},
		"audit fails":         {allowing(), errors.New("disk full"), nil, kernel.CodeAudit, false},
	}
	gated := 0
	for _, op := range everyOp(t) {
		for name, c := range cases {
			if op.Decides && c.policy {
				continue
			}
			gated++
			reached := false
			op.Func = func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
				reached = true
				return &kernel.PortReply{}, nil
			}
			audit := &recorder{err: c.audit}
			door := newDoor(t, c.decider, audit, op)
			var modules []kernel.ModuleRights
			if c.modules != nil {
				modules = c.modules(op.Name)
			}
			_, err := door.Call(context.Background(), calling(op.Name, modules...))
			if reached || kernel.CodeOf(err) != c.code {
				t.Errorf("%s, %s: reached %v, error %v", op.Name, name, reached, err)
			}
			if !recorded(audit, op.Name, kernel.Forbid) && c.audit == nil {
				t.Errorf("%s, %s: the refusal is not on record: %+v", op.Name, name, audit.records)
			}
		}
	}
	if gated < 10*6 {
		t.Errorf("only %d combinations were tried", gated)
	}
}

func newDoor(t *testing.T, d kernel.Authorizer, a kernel.Auditor, ops ...ports.Op) *ports.Door {
	t.Helper()
	door := ports.NewDoor(d, a)
	if err := door.Register(ops...); err != nil {
		t.Fatal(err)
	}
	return door
}

func recorded(r *recorder, op string, effect kernel.Effect) bool {
	return slices.ContainsFunc(r.records, func(record kernel.AuditRecord) bool { return record.Action == op && record.Effect == effect })
}

// What is allowed is on record before it happens; it is counted, and told.
func TestAllowedCallsAreRecordedFirst(t *testing.T) {
	for _, op := range everyOp(t) {
		audit := &recorder{}
		times, metered := 0, 0
		var told []*kernel.Event
		run := &kernel.RunContext{RunID: "r", Observer: func(e *kernel.Event) { told = append(told, e) }}
		if meters := op.Meter; meters != nil {
			op.Meter = func(run *kernel.RunContext, reply *kernel.PortReply) { metered++; meters(run, reply) }
		}
		op.Func = func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
			if times++; !recorded(audit, op.Name, kernel.Allow) {
				t.Errorf("%s happened before its record", op.Name)
			}
			return &kernel.PortReply{}, nil
		}
		d := allowing()
		if _, err := newDoor(t, d, audit, op).Call(kernel.WithRun(t.Context(), run), calling(op.Name, rights("m", op.Name))); err != nil || times != 1 {
			t.Errorf("%s: %d times, %v", op.Name, times, err)
		}
		if n := run.Usage.Snapshot().PortCalls; n != 1 || op.Meter != nil && metered != 1 {
			t.Errorf("%s: counted %d times, metered %d times", op.Name, n, metered)
		}
		if !slices.ContainsFunc(told, func(e *kernel.Event) bool {
			return e.Type == kernel.PortCalled && e.Op == op.Name && e.Module == "m" && e.Status == "ok"
		}) {
			t.Errorf("%s: no event tells of it: %+v", op.Name, told)
		}
		if op.Decides == (len(d.asked) == 1) {
			t.Errorf("%s: governance was asked %d times", op.Name, len(d.asked))
		}
	}
}

// echo is an operation that answers its arguments.
func echo(calls *[]kernel.PortCall) ports.Op {
	return ports.Op{Name: "test.echo", Guards: []string{"topic", "key"}, Func: func(_ context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
		*calls = append(*calls, *call)
		return &kernel.PortReply{Value: call.Args, Body: call.Body}, nil
	}}
}

// A guarded argument of another type than string would slip past a pattern.
func TestGuardedArgumentsAreStrings(t *testing.T) {
	var calls []kernel.PortCall
	for _, v := range []any{kernel.Number(1), true, []any{"orders"}, map[string]any{"a": "orders"}} {
		audit := &recorder{}
		call := calling("test.echo", rights("m", "test.echo"))
		call.Args["topic"] = v
		_, err := newDoor(t, allowing(), audit, echo(&calls)).Call(context.Background(), call)
		if len(calls) > 0 || kernel.CodeOf(err) != kernel.CodeArguments {
			t.Errorf("%v: reached %d times, error %v", v, len(calls), err)
		}
		if !recorded(audit, "test.echo", kernel.Forbid) {
			t.Errorf("%v: the refusal is not on record", v)
		}
	}
}

// The question to governance and the record name the innermost module, on
// behalf of the others, and the run that the host knows: what the arguments say
// of either counts for nothing.
func TestIdentityComesFromTheHost(t *testing.T) {
	var calls []kernel.PortCall
	d, audit := allowing(), &recorder{}
	call := calling("test.echo", rights("tool", "test.echo"), rights("hook", "test.echo"))
	call.Node = "n1"
	call.Args = map[string]any{"topic": "orders", "run_id": "forged", "tenant": "bob", "principal": "root", "chain": []any{"root"}}
	ctx := kernel.WithRun(context.Background(), &kernel.RunContext{RunID: "r1", Tenant: "alice-inc", Principal: "alice"})
	if _, err := newDoor(t, d, audit, echo(&calls)).Call(ctx, call); err != nil {
		t.Fatal(err)
	}
	chain := []string{"alice", "module:tool", "module:hook"}
	asked, record := d.asked[0], audit.records[0]
	if s := asked.Subject; s.ID != "hook" || s.Type != "module" || s.Tenant != "alice-inc" || !slices.Equal(s.Chain, chain[:2]) {
		t.Errorf("subject %+v", s)
	}
	if asked.Resource.ID != "orders" || asked.Context.RunID != "r1" || asked.Context.Node != "n1" {
		t.Errorf("asked %+v", asked)
	}
	if record.RunID != "r1" || record.Tenant != "alice-inc" || record.Principal != "alice" || !slices.Equal(record.Chain, chain) || record.Digest == "" {
		t.Errorf("record %+v", record)
	}
}

// Another pipeline's door stands on the same checks and hooks.
func TestADerivedDoorIsGated(t *testing.T) {
	var own, other []kernel.PortCall
	audit := &recorder{}
	door := newDoor(t, allowing(), audit, echo(&own))
	denied := 0
	deny := hook{before: func(*kernel.PortCall) (kernel.Verdict, error) {
		denied++
		return kernel.Verdict{Action: kernel.Deny}, nil
	}}
	door.Hook(ports.Registration{Name: "guard", Match: ports.MatchOps([]string{"test.*"}), Hook: deny})
	derived := door.With(echo(&other))
	_, err := derived.Call(context.Background(), calling("test.echo", rights("m")))
	_, hookErr := derived.Call(context.Background(), calling("test.echo"))
	if kernel.CodeOf(err) != kernel.CodeDenied || kernel.CodeOf(hookErr) != kernel.CodeDenied || denied != 1 || len(own)+len(other) > 0 {
		t.Errorf("%v, %v; hook asked %d times, reached %d", err, hookErr, denied, len(own)+len(other))
	}
}

func TestUnknownOps(t *testing.T) {
	audit := &recorder{}
	door := newDoor(t, allowing(), audit)
	for _, name := range []string{"", "test.echo", "metrics.count\x00", "\x1b[2J"} {
		_, err := door.Call(context.Background(), calling(name))
		if kernel.CodeOf(err) != kernel.CodeUnsupported || strings.ContainsAny(err.Error(), "\x00\x1b") {
			t.Errorf("%q: %q", name, err)
		}
	}
	if err := door.CheckCapability("test.echo", nil); err == nil {
		t.Error("a grant of an unknown operation is taken")
	}
}

func TestGrantsNameGuardedArguments(t *testing.T) {
	for _, op := range everyOp(t) {
		door := newDoor(t, allowing(), &recorder{}, op)
		if err := door.CheckCapability(op.Name, op.Guards); err != nil {
			t.Error(err)
		}
		if err := door.CheckCapability(op.Name, []string{"no_such_argument"}); err == nil {
			t.Errorf("%s: a grant that restricts nothing is taken", op.Name)
		}
	}
	if err := newDoor(t, allowing(), &recorder{}).Register(everyOp(t)[0], everyOp(t)[0]); err == nil {
		t.Error("an operation is registered twice")
	}
}

// What an operation does twice is known of each: a retry that guesses wrongly
// does something twice, and a cache that does gives a tenant's answer to another run.
func TestEveryOpHasAnEffect(t *testing.T) {
	effects := map[string]middleware.Effect{}
	for _, op := range everyOp(t) {
		effects[op.Name] = middleware.EffectOf(op.Name, nil)
	}
	want := map[string]middleware.Effect{
		"api_call.delete": middleware.Repeatable, "api_call.get": middleware.Cacheable, "api_call.patch": middleware.Once, "api_call.post": middleware.Once,
		"api_call.put": middleware.Repeatable, "api_call.request": middleware.Cacheable, "http.request": middleware.Cacheable, // GET, without a method
		"artifacts.open": middleware.Once, "artifacts.read": middleware.Once, "artifacts.create": middleware.Once, "artifacts.write": middleware.Once, "artifacts.close": middleware.Once, // a handle is where it was left
		"artifacts.delete": middleware.Repeatable, "artifacts.list": middleware.Repeatable, "artifacts.retrieve": middleware.Repeatable, "artifacts.store": middleware.Repeatable,
		"database.describe_table": middleware.Cacheable, "database.insert": middleware.Once, "database_tools.describe_table": middleware.Cacheable, "database_tools.list_tables": middleware.Cacheable, "database_tools.query": middleware.Cacheable,
		"central_agent.survey": middleware.Repeatable, "central_agent.wait": middleware.Repeatable, "central_agent.note": middleware.Repeatable, "central_agent.report": middleware.Repeatable, "central_agent.ask": middleware.Repeatable,
		"central_agent.start": middleware.Once, "central_agent.submit": middleware.Once, "central_agent.goals": middleware.Repeatable, "central_agent.goal": middleware.Repeatable, "central_agent.cancel": middleware.Repeatable,
		"pipeline_spawner.await": middleware.Repeatable, "pipeline_spawner.cancel": middleware.Repeatable, "pipeline_spawner.spawn": middleware.Once, "pipeline_spawner.spawn_many": middleware.Once,
		"process_registry.get": middleware.Repeatable, "process_registry.list": middleware.Repeatable, "process_registry.list_by_ref": middleware.Repeatable,
		"scheduler.cancel": middleware.Repeatable, "scheduler.list": middleware.Repeatable, "scheduler.schedule_once": middleware.Once, "scheduler.schedule_recurring": middleware.Once,
		"database.list_tables": middleware.Cacheable, "database.query": middleware.Cacheable,
		"entity_state.get_history": middleware.Repeatable, "entity_state.get_state": middleware.Repeatable, "entity_state.register": middleware.Once, "entity_state.transition": middleware.Once,
		"eventbus.publish": middleware.Once, "eventbus.replay": middleware.Repeatable, "eventbus.subscribe": middleware.Once, "eventbus.topics": middleware.Repeatable, "eventbus.unsubscribe": middleware.Repeatable,
		"governance.authorize": middleware.Once, "governance.audit": middleware.Once, "governance.list_permissions": middleware.Once, "llm.complete": middleware.Cacheable, "llm.embed": middleware.Cacheable, "llm.batch": middleware.Repeatable, "metrics.count": middleware.Once,
		"pipeline_memory.get": middleware.Repeatable, "pipeline_memory.set": middleware.Repeatable, "pipeline_memory.update": middleware.Repeatable, "pipeline_memory.snapshot": middleware.Repeatable,
		"lock.acquire": middleware.Once, "lock.holder": middleware.Repeatable, "lock.is_locked": middleware.Repeatable, "lock.release": middleware.Once, "lock.renew": middleware.Repeatable,
		"client.ask": middleware.Repeatable, "client.describe": middleware.Repeatable, "mcp.list_tools": middleware.Repeatable, "mcp.call_tool": middleware.Once,
		"vector_search.upsert": middleware.Repeatable, "vector_search.search": middleware.Repeatable, "vector_search.delete": middleware.Repeatable, "vector_search.describe": middleware.Repeatable,
		"secret.get": middleware.Repeatable, "secret.use": middleware.Repeatable, "file_storage.read": middleware.Repeatable, "file_storage.write": middleware.Repeatable, "file_storage.stat": middleware.Repeatable, "file_storage.delete": middleware.Repeatable, "file_storage.list": middleware.Repeatable,
		"memory.compare_and_swap": middleware.Once, "memory.delete": middleware.Repeatable, "memory.exists": middleware.Repeatable, "memory.get": middleware.Repeatable, "memory.list_keys": middleware.Repeatable, "memory.query": middleware.Repeatable, "memory.set": middleware.Repeatable,
	}
	if e := middleware.EffectOf("eventbus.publish", map[string]any{"id": "x"}); e != middleware.Repeatable {
		t.Error("publishing again under the same id: ", e)
	}
	if diff := cmp.Diff(want, effects); diff != "" {
		t.Errorf("an operation is new, or has another effect: add it to EffectOf, and here (-want +got)\n%s", diff)
	}
}

// A derived argument is what capabilities match, governance is asked about and
// the record names, whatever the call says of it.
func TestDerivedArguments(t *testing.T) {
	var calls []kernel.PortCall
	op := echo(&calls)
	op.Derive = func(args map[string]any) map[string]string {
		if url, ok := args["url"].(string); ok {
			return map[string]string{"topic": "host of " + url}
		}
		return nil
	}
	for _, c := range []struct {
		args map[string]any
		want string
	}{
		{map[string]any{"url": "u", "topic": "forged", "key": "forged"}, "host of u"},
		{map[string]any{"topic": "forged"}, ""},
		{map[string]any{"url": 1, "topic": 7}, ""},
	} {
		var checked map[string]string
		m := kernel.ModuleRights{Name: "m", Check: func(_ string, args map[string]string) error { checked = args; return nil }}
		d, audit := allowing(), &recorder{}
		if _, err := newDoor(t, d, audit, op).Call(context.Background(), &kernel.PortCall{Op: op.Name, Args: c.args, Caller: kernel.Caller{Modules: []kernel.ModuleRights{m}}}); err != nil {
			t.Fatal(err)
		}
		_, forged := checked["key"]
		if checked["topic"] != c.want || forged || d.asked[0].Resource.ID != c.want || audit.records[0].Resource != c.want {
			t.Errorf("%v: checked %v, asked about %q, recorded %q", c.args, checked, d.asked[0].Resource.ID, audit.records[0].Resource)
		}
	}
	op.Derive = func(map[string]any) map[string]string { return map[string]string{"topic": strings.Repeat("x", 2000)} }
	_, err := newDoor(t, allowing(), &recorder{}, op).Call(context.Background(), calling(op.Name))
	if kernel.CodeOf(err) != kernel.CodeArguments {
		t.Errorf("a long one: %v", err)
	}
}

// What an operation itself says of a call holds where it is stricter than governance, which is asked all the same; what it says is on record.
func TestAnOperationJudges(t *testing.T) {
	effects := []kernel.Effect{kernel.Allow, kernel.Approve, kernel.Forbid, "unheard"}
	for _, governs := range effects {
		for _, own := range append(effects, "") {
			reached := false
			op := ports.Op{Name: "a.b", Func: func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
				reached = true
				return &kernel.PortReply{}, nil
			}, Judge: func(_ context.Context, req *kernel.AccessRequest) *kernel.Decision {
				if own == "" {
					return nil
				}
				return &kernel.Decision{Effect: own, Reasons: []kernel.Reason{{ID: "own", Msg: req.Subject.ID}}}
			}}
			audit, d := &recorder{}, &decider{decision: kernel.Decision{Effect: governs}}
			_, err := newDoor(t, d, audit, op).Call(t.Context(), calling("a.b"))
			want := governs == kernel.Allow && (own == kernel.Allow || own == "")
			if reached != want || (err == nil) != want || len(d.asked) != 1 {
				t.Errorf("governance says %q, the operation %q: reached %v, %v", governs, own, reached, err)
			}
			asked := own != "" && (governs == kernel.Allow || governs == kernel.Approve)
			said := slices.ContainsFunc(audit.records[0].Reasons, func(r kernel.Reason) bool { return r.ID == "own" && r.Msg == "alice" })
			if said != asked {
				t.Errorf("governance says %q, the operation %q: on record are %+v", governs, own, audit.records[0].Reasons)
			}
			if needs := strings.Contains(fmt.Sprint(err), "needs an approval"); needs != (governs != kernel.Forbid && governs != "unheard" && own != kernel.Forbid && own != "unheard" && !want) {
				t.Errorf("governance says %q, the operation %q: %v", governs, own, err)
			}
		}
	}
}
