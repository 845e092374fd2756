package policy_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/extension/policy/regoc"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testenv"
)

// stock are the policies of the library that take part in a decision.
func stock() []string {
	return []string{"abac", "agent_tools", "approvals", "budgets", "data_flow", "purpose", "rbac", "tenancy"}
}

// composed writes the composition of some policies, as policies/README.md has it.
func composed(t testing.TB, names []string, data string) (dir string) {
	t.Helper()
	text := "package hexdag.authz\n\nimport data.hexdag.combine\n"
	parts := make([]string, len(names))
	for i, n := range names {
		text += "import data.hexdag." + n + "\n"
		parts[i] = n + ".rules"
	}
	text += "\n# METADATA\n# entrypoint: true\ndecision := combine.decision([" + strings.Join(parts, ", ") + "])\n"
	dir = t.TempDir()
	for name, content := range map[string]string{"authz.rego": text, "data.json": data} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const stockData = `{
"rbac": {"roles": {"viewer": {"allow": [{"action": "database.query", "resource": "database:orders*"}]},
    "editor": {"inherits": ["viewer"], "allow": [{"action": "artifacts.*"}, {"action": "refund.issue"}]},
    "admin": {"inherits": ["editor", "loop"], "allow": [{"action": "*"}]}, "loop": {"inherits": ["admin"]}},
  "bindings": {"ada": [{"role": "admin", "tenant": "acme"}, {"role": "viewer", "tenant": "*"}], "bob": [{"role": "editor", "tenant": "acme"}], "cy": [{"role": "gone", "tenant": "*"}]}},
"abac": {"subjects": {"ada": {"level": 3, "groups": ["a"]}, "bob": {"level": "3"}}, "resources": {"database:orders": {"owner": "ada", "level": 2}},
  "rules": [{"id": "owner", "effect": "allow", "when": [{"of": ["subject", "id"], "is": "eq", "as": ["resource", "owner"]}]},
    {"id": "level", "effect": "deny", "action": "database.*", "when": [{"of": ["subject", "level"], "is": "lt", "as": ["resource", "level"]}]},
    {"id": "group", "effect": "approve", "action": "artifacts.store", "when": [{"of": ["subject", "groups"], "is": "has", "value": "b"}]},
    {"id": "prefix", "effect": "allow", "when": [{"of": ["resource", "id"], "is": "prefix", "value": "draft"}, {"of": ["context", "pipeline"], "is": "in", "value": ["triage", "x"]}]}]},
"tenancy": {"owners": [{"resource": "database:*", "tenants": ["acme"]}, {"resource": "artifacts:*", "tenants": ["*"]}, {"resource": "tool:*", "tenants": ["acme", "other"]}]},
"tools": {"refund.issue": {"principals": ["ada", "bob"], "args": {"amount": {"min": 0, "max": 200}, "order_id": {"matches": "[A-Z]-[0-9]+"}, "note": {"optional": true, "max_length": 4}}, "approve": {"amount": {"max": 50}}},
  "database.query": {"principals": ["*"], "args": {"limit": {"type": "number", "optional": true}}}},
"budgets": [{"id": "calls", "of": "llm_calls", "max": 10, "approve_over": 5}, {"id": "refunds", "of": "tool_calls", "max": 100, "adds": "amount", "action": "refund.*", "tenant": "acme"}],
"flow": {"outside": ["http.*"], "harmless": ["metrics.*"], "endorse": [{"action": "artifacts.*", "principals": ["ada"]}], "declassify": [{"action": "http.post", "resource": "http:a*", "principals": ["*"]}]},
"approvals": {"groups": {"leads": ["ada", "bob", "cy"]}, "calls": [{"id": "refunds", "action": "refund.issue", "argument": "amount", "over": 50, "group": "leads", "count": 2, "ttl_s": 60}]},
"purposes": {"resources": [{"resource": "database:*", "purposes": ["support"]}], "pipelines": {"triage": ["support", "ads"]}}
}`

// access makes up a request. Some members are missing, or of another type.
func access(r *rand.Rand) map[string]any {
	subject := map[string]any{"type": "user", "id": pick(r, "ada", "bob", "cy", "mallory"), "tenant": pick(r, "acme", "acme", "other", "", "*")}
	if r.IntN(4) == 0 {
		subject = map[string]any{"type": "module", "id": "orders", "tenant": "acme", "on_behalf_of": []any{pick(r, "ada", "bob"), "module:outer"}}
	}
	kind := pick(r, "database", "artifacts", "tool", "http")
	action := map[string]string{"database": "database.query", "artifacts": pick(r, "artifacts.store", "artifacts.retrieve"), "tool": pick(r, "refund.issue", "approvals.approve"), "http": pick(r, "http.get", "http.post")}[kind]
	q := map[string]any{
		"subject":  subject,
		"action":   map[string]any{"name": action, "args": arguments(r, action)},
		"resource": map[string]any{"type": kind, "id": pick(r, "orders", "people", "draft-1", "a.example")},
		"context": map[string]any{
			"pipeline": pick(r, "triage", "x", ""),
			"labels":   map[string]any{"integrity": pick(r, "trusted", "trusted", "untrusted", "odd"), "confidentiality": pick(r, "public", "internal", "secret"), "purpose": pick(r, "support", "support", "ads", "")},
			"usage":    map[string]any{"llm_calls": r.IntN(12), "tool_calls": r.IntN(120)},
		},
	}
	if r.IntN(5) == 0 {
		spoil(r, q)
	}
	return q
}

func arguments(r *rand.Rand, action string) map[string]any {
	switch action {
	case "refund.issue":
		args := map[string]any{"amount": r.IntN(260) - 20, "order_id": pick(r, "A-1", "A-1", "a1")}
		if r.IntN(3) == 0 {
			args["note"] = pick(r, "a", "long note")
		}
		return args
	case "approvals.approve":
		return map[string]any{"group": pick(r, "leads", "none"), "requested_by": []any{pick(r, "ada", "eve")}, "approved_by": []any{pick(r, "bob", "eve")}}
	}
	return map[string]any{}
}

// spoil removes a member somewhere, or gives it another value.
func spoil(r *rand.Rand, q map[string]any) {
	names := slices.Sorted(maps.Keys(q))
	name := names[r.IntN(len(names))]
	if inner, ok := q[name].(map[string]any); ok && len(inner) > 0 && r.IntN(4) > 0 {
		spoil(r, inner)
		return
	}
	if r.IntN(2) == 0 {
		delete(q, name)
		return
	}
	q[name] = []any{nil, "x", -1.5, true, []any{"a"}, map[string]any{"b": 1}}[r.IntN(6)]
}

// TestStockAsInOPA compares each stock policy, and all of them together, with OPA's
// evaluator.
func TestStockAsInOPA(t *testing.T) {
	inputs := 1500
	switch {
	case testenv.Race: // on the interpreter
		inputs = 40
	case testing.Short():
		inputs = 150
	}
	sets := map[string][]string{"all": stock()}
	for _, name := range stock() {
		sets[name] = []string{name, "rbac"}
	}
	for name, parts := range sets {
		t.Run(name, func(t *testing.T) {
			dir := composed(t, slices.Compact(slices.Sorted(slices.Values(parts))), stockData)
			a, err := regoc.Build(t.Context(), regoc.Source{Dirs: []string{dir}}, regoc.Options{})
			if err != nil {
				t.Fatal(err)
			}
			p := loadWith(t, a.Wasm, policy.Options{Data: a.Data, Interpreter: testenv.Race})
			opa := prepare(t, "data.hexdag.authz.decision", rego.Load([]string{"../../../policies", dir}, nil))
			random := rand.New(rand.NewPCG(7, uint64(len(name))))
			effects, ids := map[any]int{}, map[any]bool{}
			for range inputs {
				input, err := kernel.ToValue(access(random))
				if err != nil {
					t.Fatal(err)
				}
				got, defined, err := p.Eval(context.Background(), "hexdag/authz/decision", input)
				if err != nil || !defined {
					t.Fatalf("defined %v, error %v, input %v", defined, err, input)
				}
				if diff := cmp.Diff(opa(input), got); diff != "" {
					t.Fatalf("input %v: -OPA +driver\n%s", input, diff)
				}
				d := got.(map[string]any)
				effects[d["effect"]]++
				for _, r := range d["reasons"].([]any) {
					ids[r.(map[string]any)["id"]] = true
				}
			}
			if !testenv.Race && (effects["deny"] == 0 || effects["deny"] == inputs || len(ids) < 2) {
				t.Errorf("the decisions are too one-sided to tell much: %v, %v", effects, ids)
			}
		})
	}
}

// TestRolesListed: roles allow a request if, and only if, a listed permission covers it.
func TestRolesListed(t *testing.T) {
	triples := 10_000
	switch {
	case testenv.Race:
		triples = 100
	case testing.Short():
		triples = 500
	}
	dir := composed(t, []string{"rbac"}, stockData)
	a, err := regoc.Build(t.Context(), regoc.Source{Dirs: []string{dir}}, regoc.Options{Entrypoints: []string{"hexdag/rbac/permissions"}})
	if err != nil {
		t.Fatal(err)
	}
	p := loadWith(t, a.Wasm, policy.Options{Data: a.Data, Interpreter: testenv.Race})
	random := rand.New(rand.NewPCG(3, 4))
	allowed := 0
	for range triples {
		tenant, who := pick(random, "acme", "other", ""), pick(random, "ada", "bob", "cy", "eve")
		action := pick(random, "database.query", "database.write", "artifacts.store", "refund.issue", "x")
		kind, id := pick(random, "database", "artifacts"), pick(random, "orders", "orders_2", "people")
		request := map[string]any{"subject": map[string]any{"type": "user", "id": who, "tenant": tenant}}
		list, _, err := p.Eval(t.Context(), "hexdag/rbac/permissions", request)
		if err != nil {
			t.Fatal(err)
		}
		request["action"], request["resource"] = map[string]any{"name": action}, map[string]any{"type": kind, "id": id}
		d, _, err := p.Eval(t.Context(), "hexdag/authz/decision", request)
		if err != nil {
			t.Fatal(err)
		}
		listed := slices.ContainsFunc(list.([]any), func(v any) bool {
			g := v.(map[string]any)
			return covers(g["action"], action) && covers(g["resource"], kind+":"+id)
		})
		if got := d.(map[string]any)["effect"] == "allow"; got != listed {
			t.Fatalf("%v: allowed %v, listed %v by %v", request, got, listed, list)
		} else if got {
			allowed++
		}
	}
	if allowed == 0 || allowed == triples {
		t.Errorf("%d of %d are allowed, which tells little", allowed, triples)
	}
}

func covers(pattern any, value string) bool {
	prefix, open := strings.CutSuffix(fmt.Sprint(pattern), "*")
	return open && strings.HasPrefix(value, prefix) || pattern == value
}

// TestPartialIsNoGuess: where a decision is told without all of the request, it is the one that
// the whole request gets.
func TestPartialIsNoGuess(t *testing.T) {
	inputs := 400
	if testenv.Race || testing.Short() {
		inputs = 60
	}
	lacking := map[string]func(q map[string]any){
		"input.action.args": func(q map[string]any) { delete(q["action"].(map[string]any), "args") },
		"input.context":     func(q map[string]any) { delete(q, "context") },
		"input.resource":    func(q map[string]any) { delete(q, "resource") },
		"input.subject.id":  func(q map[string]any) { delete(q["subject"].(map[string]any), "id") },
	}
	known, told := map[string]int{}, map[any]bool{}
	for _, parts := range [][]string{{"rbac"}, {"abac", "rbac"}, {"agent_tools"}, {"rbac", "tenancy"}, stock()} {
		dir := composed(t, parts, stockData)
		opa := prepare(t, "data.hexdag.authz.decision", rego.Load([]string{"../../../policies", dir}, nil))
		partial, err := regoc.NewPartial(t.Context(), regoc.Source{Dirs: []string{dir}}, "hexdag/authz/decision")
		if err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(11, uint64(len(parts))))
		for range inputs / 5 {
			whole, err := kernel.ToValue(access(random))
			if err != nil {
				t.Fatal(err)
			}
			for ref, remove := range lacking {
				text, err := kernel.EncodeJSON(whole)
				if err != nil {
					t.Fatal(err)
				}
				less, err := kernel.DecodeJSON(text)
				if err != nil {
					t.Fatal(err)
				}
				if q := less.(map[string]any); !isObject(q["action"]) || !isObject(q["subject"]) {
					continue
				}
				remove(less.(map[string]any))
				v, sure, err := partial.Eval(t.Context(), less, []string{ref}, testTime())
				if err != nil {
					t.Fatal(err)
				}
				if !sure {
					continue
				}
				known[ref]++
				if diff := cmp.Diff(opa(whole), v); diff != "" {
					t.Fatalf("%v without %s, %v: -whole +told\n%s", parts, ref, whole, diff)
				}
				told[v.(map[string]any)["effect"]] = true
			}
		}
	}
	if known["input.action.args"] == 0 || known["input.context"] == 0 || !told["allow"] || !told["deny"] {
		t.Errorf("too little is told to say anything: %v, %v", known, told)
	}
	t.Log(known)
}

func isObject(v any) bool {
	_, ok := v.(map[string]any)
	return ok
}
