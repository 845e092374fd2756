package host_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

// governed is a configuration whose governance is the YAML.
func governed(t testing.TB, governance string) site {
	t.Helper()
	return newSite(t, "  principal: ada\n  tenant: acme\n  ports:\n    governance: "+governance+"\n")
}

func TestGovernanceAdapters(t *testing.T) {
	const roles = `{roles: {writer: {allow: [{action: pipeline.run, resource: "pipeline:test"}, {action: "artifacts.store", resource: "artifacts:x"}]}}, bindings: [{subjects: ["user:ada"], roles: [writer]}]}`
	const nobody = `{roles: {}, bindings: []}`
	for name, tc := range map[string]struct {
		governance string
		allowed    bool
	}{
		"allow_all":             {`{adapter: allow_all}`, true},
		"rbac":                  {`{adapter: rbac, config: ` + roles + `}`, true},
		"rbac without bindings": {`{adapter: rbac, config: ` + nobody + `}`, false},
		"rbac in a file":        {`{adapter: rbac, config: {file: roles.yaml}}`, true},
		"abac":                  {`{adapter: abac, config: {rules: [{id: mine, effect: allow, actions: ["pipeline.run", "artifacts.*"], condition: "subject.tenant == 'acme'"}]}}`, true},
		"abac of another":       {`{adapter: abac, config: {rules: [{id: mine, effect: allow, actions: ["artifacts.*"], condition: "subject.tenant == 'umbrella'"}]}}`, false},
		"all_of":                {`{adapter: all_of, config: {of: [{adapter: allow_all}, {adapter: rbac, config: ` + roles + `, tenants: [acme]}]}}`, true},
		"all_of, one denies":    {`{adapter: all_of, config: {of: [{adapter: allow_all}, {adapter: rbac, config: ` + nobody + `, tenants: [acme]}]}}`, false},
		"all_of, not asked":     {`{adapter: all_of, config: {of: [{adapter: allow_all}, {adapter: rbac, config: ` + nobody + `, tenants: [umbrella]}]}}`, true},
		"shadow":                {`{adapter: shadow, config: {live: {adapter: allow_all}, candidate: {adapter: rbac, config: ` + nobody + `}}}`, true},
		"opa, out of reach":     {`{adapter: opa, config: {url: "http://127.0.0.1:1"}}`, false},
		"authzen, out of reach": {`{adapter: authzen, config: {url: "http://127.0.0.1:1"}}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := governed(t, tc.governance)
			s.write(t, "roles.yaml", roles)
			h := s.open(t)
			result := s.load(t, h, store).Run(t.Context(), "v", host.RunOptions{})
			if (result.Status == engine.Completed) != tc.allowed {
				t.Fatalf("%s: %v", result.Status, result.Err)
			}
			if !tc.allowed {
				wantError(t, result.Err, kernel.CodeDenied, "governance denied pipeline.run")
			}
			if err := h.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if name == "shadow" {
				last := s.records(t)
				found := 0
				for _, r := range last {
					if r.Kind == "shadow" {
						found++
					}
				}
				if found != 3 { // of the run, of the call, and of what it decided
					t.Errorf("%d records of the candidate: %+v", found, last)
				}
			}
		})
	}
}

// Who may run what is governance's to say, before anything of the pipeline happens.
func TestRunsAreAuthorized(t *testing.T) {
	const rules = `{adapter: abac, config: {rules: [
        {id: calls, effect: allow, actions: [artifacts.store]},
        {id: operators, effect: allow, actions: [pipeline.run], resources: ["pipeline:te*"], condition: "subject.id == 'ada'"},
        {id: careful, effect: approve, actions: [pipeline.run], condition: "subject.id == 'bob'", message: "ask \x1b[31mher"},
        {id: dutiful, effect: allow, actions: [pipeline.run], condition: "subject.id == 'eve'", obligations: [{type: limit, calls: 1}]}]}}`
	s := governed(t, rules)
	h := s.open(t)
	p := s.load(t, h, store)
	for principal, tc := range map[string]struct {
		status engine.Status
		effect kernel.Effect
		says   []string
	}{
		"ada":     {engine.Completed, kernel.Allow, nil},
		"mallory": {engine.Denied, kernel.Forbid, []string{"governance denied pipeline.run", "ask whoever owns the policy"}},
		"bob":     {engine.Denied, kernel.Forbid, []string{"pipeline.run needs an approval, and a run cannot wait", `ask \x1b[31mher [careful]`, "have the calls that matter approved"}},
		"eve":     {engine.Denied, kernel.Forbid, []string{"governance obliges to what the host cannot do", "put the obligations on the calls"}},
	} {
		result := p.Run(t.Context(), "v", host.RunOptions{Principal: principal})
		if result.Status != tc.status {
			t.Errorf("%s: %s, %v", principal, result.Status, result.Err)
		}
		if tc.says != nil {
			wantError(t, result.Err, kernel.CodeDenied, tc.says...)
		}
		var runs, calls int
		for _, r := range s.records(t) {
			switch {
			case r.RunID != result.RunID:
			case r.Kind == "run" && r.Action == "pipeline.run":
				runs++
				if r.Effect != tc.effect || r.Resource != "test" || r.Principal != principal || len(r.Reasons) == 0 {
					t.Errorf("%s: %+v", principal, r)
				}
			case r.Kind == "call":
				calls++
			}
		}
		if allowed := tc.status == engine.Completed; runs != 1 || (calls == 1) != allowed {
			t.Errorf("%s: %d records of the run, %d of calls", principal, runs, calls)
		}
	}
}

func TestGovernanceRefused(t *testing.T) {
	for config, says := range map[string]string{
		`{adapter: nonsense}`: "known are abac, all_of, allow_all, authzen, module, opa, rbac, rego, shadow",
		`{adapter: rbac, config: {roles: {a: {inherits: [a]}}}}`:                                     "in a circle",
		`{adapter: rbac, config: {role: {}}}`:                                                        "unknown field",
		`{adapter: rbac, config: {file: roles.yaml, roles: {}}}`:                                     "a file and more",
		`{adapter: abac, config: {rules: [{id: a, effect: allow, actions: [a], condition: "1 +"}]}}`: "condition",
		`{adapter: all_of, config: {of: [{adapter: allow_all, tenants: [a]}]}}`:                      "no policy is for every tenant",
		`{adapter: all_of, config: {of: [{adapter: nonsense}]}}`:                                     "no adapter nonsense",
		`{adapter: shadow, config: {live: {adapter: allow_all}}}`:                                    "no adapter",
		`{adapter: module, config: {module: nobody}}`:                                                "no module nobody",
		`{adapter: opa, config: {url: "ftp://x"}}`:                                                   "http(s)://",
	} {
		_, err := governed(t, config).new(t)
		wantError(t, err, kernel.CodeConfig, says, "hexdag.yaml")
	}
}

func TestGovernanceFileIsAbsent(t *testing.T) {
	_, err := governed(t, `{adapter: rbac, config: {file: absent.yaml}}`).new(t)
	wantError(t, err, kernel.CodeSyntax, "absent.yaml", "cannot be read")
}

// A module decides about everything that pipelines do, its own host included.
func TestModuleGoverns(t *testing.T) {
	spec := `
  modules:
    guard: {path: ../../../governor.wasm, config: {decisions: {pipeline.run: {effect: allow}, artifacts.store: {effect: allow, reasons: [{id: g, msg: m}]}}}}
  ports:
    governance: {adapter: module, config: {module: guard}}
`
	s := newSite(t, spec)
	s.write(t, "governor.wasm", readFile(t, "ports/governance/guest/testdata/governor.wasm"))
	s.write(t, "hexdag.yaml", strings.ReplaceAll(readFile(t, s.path("hexdag.yaml")), "../../../governor.wasm", "governor.wasm"))
	h := s.open(t)
	if result := s.load(t, h, store).Run(t.Context(), "v", host.RunOptions{}); result.Err != nil {
		t.Fatal(result.Err)
	}
	list := `{kind: service_call_node, metadata: {name: l}, dependencies: [], spec: {service: artifacts, method: list}}`
	wantError(t, s.load(t, h, list).Run(t.Context(), nil, host.RunOptions{}).Err, kernel.CodeDenied, "no rule had an answer")
	if len(h.Modules()) != 1 {
		t.Errorf("%d modules", len(h.Modules()))
	}
	spec = strings.ReplaceAll(spec, "../../../governor.wasm", "PUPPET")
	_, err := newSite(t, spec).new(t) // what it asks for is nobody's who decides
	wantError(t, err, kernel.CodeModuleGrant, "database.query")
}

// What Go bodies reach of governance, by RunContext: the roadmap's three.
func TestGovernanceOfARun(t *testing.T) {
	s := governed(t, `{adapter: abac, config: {rules: [{id: all, effect: allow, actions: ["pipeline.run", "governance.*", "a.b"], resources: ["pipeline:test", "governance:**", "t:x"]}]}}`)
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(t.Context(), cfg, host.Options{Functions: map[string]host.Function{"ask": func(ctx context.Context, _ *kernel.NodeCall) (kernel.Value, error) {
		g := kernel.RunFrom(ctx).Governance()
		d, err := g.Authorize(ctx, "a.b", map[string]any{"type": "t", "id": "x"})
		if err != nil || d.Effect != kernel.Allow || !strings.HasPrefix(d.Revision, "abac:") {
			t.Errorf("%+v, %v", d, err)
		}
		list, err := g.ListPermissions(ctx, []string{"a.b", "a.c"}, []map[string]any{{"type": "t", "id": "x"}})
		if err != nil || list.Patterns || len(list.List) != 1 || list.List[0].Action != "a.b" || list.List[0].Rules[0] != "all" {
			t.Errorf("%+v, %v", list, err)
		}
		return nil, g.Audit(ctx, "a.done", map[string]any{"type": "t", "id": "x"}, "ok")
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(t.Context())
	node := `{kind: function_node, metadata: {name: ask}, dependencies: [], spec: {fn: ask}}`
	if result := s.load(t, h, node).Run(t.Context(), nil, host.RunOptions{}); result.Err != nil {
		t.Fatal(result.Err)
	}
	for _, r := range s.records(t) {
		if r.Kind == "note" && r.Action == "a.done" && r.Resource == "t:x" && r.Principal == "ada" && r.Tenant == "acme" && r.RunID != "" {
			return
		}
	}
	t.Error("the note is not on record")
}

const approving = `{adapter: abac, config: {rules: [
        {id: all, effect: allow, actions: ["**"], ttl_s: 60},
        {id: stores, effect: approve, actions: [artifacts.store], message: "a person looks at it first", obligations: [{type: approval, by: [bob, eve]}]}]}}`

func neededBy(t *testing.T, s site) host.Approval {
	t.Helper()
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	approvals, err := host.OpenApprovals(t.Context(), cfg) // as another process does
	if err != nil {
		t.Fatal(err)
	}
	defer approvals.Close()
	list, err := approvals.List(t.Context(), host.ApprovalPending)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	return list[0]
}

// A run waits for an approval, through the end of its process, and goes on with it.
func TestRunWaitsForApproval(t *testing.T) {
	s := governed(t, approving)
	h := s.open(t)
	after := `{kind: expression_node, metadata: {name: after}, dependencies: [x], spec: {expressions: {done: "1"}}}`
	result := s.load(t, h, store, after).Run(t.Context(), "v", host.RunOptions{})
	if result.Status != engine.Suspended || len(result.Waits) != 1 {
		t.Fatalf("%s %+v %v", result.Status, result.Waits, result.Err)
	}
	asked := neededBy(t, s)
	if key := result.Waits[0].EventKey; key != "hexdag.approval:"+asked.ID {
		t.Fatalf("it waits for %s", key)
	}
	// Nobody has answered: it goes on waiting, for the same approval.
	again, err := h.Resume(t.Context(), result.RunID, "", nil, host.RunOptions{})
	if err != nil || again.Status != engine.Suspended || again.Waits[0].EventKey != result.Waits[0].EventKey {
		t.Fatalf("%+v, %v", again, err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	h = s.open(t)
	if _, err := h.Approvals().Answer(t.Context(), asked.ID, "bob", true, ""); err != nil {
		t.Fatal(err)
	}
	results, err := h.Signal(t.Context(), "hexdag.approval:"+asked.ID, nil, host.RunOptions{})
	if err != nil || len(results) != 1 || results[0].Status != engine.Completed || results[0].RunID != result.RunID {
		t.Fatalf("%+v, %v", results, err)
	}
	if stored, _ := results[0].NodeResults["x"].(map[string]any); stored == nil || results[0].NodeResults["after"] == nil {
		t.Errorf("%+v", results[0].NodeResults)
	}
	found := false
	for _, r := range s.records(t) {
		if r.Action == "artifacts.store" && r.Effect == kernel.Allow && r.Kind == "call" {
			found = strings.Contains(r.Reasons[0].Msg, "approval "+asked.ID+", by [bob]")
		}
	}
	if !found {
		t.Error("who approved is not on record")
	}
	// It was good once.
	if result := s.load(t, h, store).Run(t.Context(), "v", host.RunOptions{}); result.Status != engine.Suspended {
		t.Errorf("a second time: %s %v", result.Status, result.Err)
	}
}

func TestRunIsRefusedApproval(t *testing.T) {
	s := governed(t, approving)
	h := s.open(t)
	p := s.load(t, h, store)
	result := p.Run(t.Context(), "v", host.RunOptions{})
	if _, err := h.Approvals().Answer(t.Context(), neededBy(t, s).ID, "eve", false, "too much"); err != nil {
		t.Fatal(err)
	}
	refused, err := h.Resume(t.Context(), result.RunID, "", nil, host.RunOptions{})
	if err != nil || refused.Status != engine.Denied {
		t.Fatalf("%+v, %v", refused, err)
	}
	wantError(t, refused.Err, kernel.CodeDenied, "artifacts.store was not approved", "refused by eve: too much")
}

// An approval is for exactly one call, and a run that another waits for fails with its id.
func TestApprovalIsForOneCall(t *testing.T) {
	s := governed(t, approving)
	h := s.open(t)
	p := s.load(t, h, store)
	// Who started this run waits for its end, and nobody would resume it.
	child := func(input any) *host.Result {
		return p.Run(t.Context(), input, host.RunOptions{Parent: &kernel.RunContext{RunID: "parent"}})
	}
	result := child("v")
	asked := neededBy(t, s)
	wantError(t, result.Err, kernel.CodeApproval, "approval "+asked.ID+" is pending", "hexdag approvals approve "+asked.ID)
	var needed *kernel.ApprovalNeeded
	if !errors.As(result.Err, &needed) || needed.ID != asked.ID {
		t.Errorf("%v names no approval", result.Err)
	}
	if _, err := h.Approvals().Answer(t.Context(), asked.ID, "bob", true, ""); err != nil {
		t.Fatal(err)
	}
	if result := child("w"); result.Status != engine.Denied {
		t.Errorf("another argument: %s", result.Status)
	}
	if result := child("v"); result.Err != nil {
		t.Errorf("the same: %v", result.Err)
	}
	if result := child("v"); result.Status != engine.Denied {
		t.Errorf("a second time: %s", result.Status)
	}
	if waiting, err := h.Waiting(); err != nil || len(waiting) > 0 {
		t.Errorf("%+v, %v", waiting, err)
	}
}
