package policy_test

import (
	"context"
	"fmt"
	"testing"

	_ "github.com/open-policy-agent/opa/v1/features/wasm" // OPA's own runtime for modules
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/extension/policy/regoc"
	"github.com/hexdag/hexdag/host/extension/policy/topdown"
	"github.com/hexdag/hexdag/host/kernel"
)

// thousand returns data with 1,000 principals in 20 roles, each of which inherits
// from the one before, with three grants, and as many subjects with attributes.
func thousand(t testing.TB) string {
	t.Helper()
	roles, bindings, subjects := map[string]any{}, map[string]any{}, map[string]any{}
	for i := range 20 {
		role := map[string]any{"allow": []any{}}
		for j := range 3 {
			role["allow"] = append(role["allow"].([]any), map[string]any{"action": fmt.Sprintf("port%d.op%d", i, j), "resource": fmt.Sprintf("kind%d:*", i)})
		}
		if i > 0 {
			role["inherits"] = []any{fmt.Sprintf("role%d", i-1)}
		}
		roles[fmt.Sprintf("role%d", i)] = role
	}
	for i := range 1000 {
		bindings[fmt.Sprintf("user%d", i)] = []any{map[string]any{"role": fmt.Sprintf("role%d", i%20), "tenant": "acme"}}
		subjects[fmt.Sprintf("user%d", i)] = map[string]any{"department": fmt.Sprintf("d%d", i%7), "level": i % 5}
	}
	var rules []any
	for i := range 20 {
		rules = append(rules, map[string]any{"id": fmt.Sprintf("r%d", i), "effect": "allow", "action": fmt.Sprintf("port%d.*", i), "when": []any{
			map[string]any{"of": []any{"subject", "department"}, "is": "eq", "value": "d5"}, map[string]any{"of": []any{"subject", "level"}, "is": "ge", "value": 2}}})
	}
	v, err := kernel.ToValue(map[string]any{"rbac": map[string]any{"roles": roles, "bindings": bindings}, "abac": map[string]any{"subjects": subjects, "rules": rules}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := kernel.EncodeJSON(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// BenchmarkThousand is one decision of the stock policies with 1,000 bindings: ours,
// OPA's evaluator, and OPA's own runtime for the same modules.
func BenchmarkThousand(b *testing.B) {
	data := thousand(b)
	input, err := kernel.ToValue(map[string]any{"subject": map[string]any{"type": "user", "id": "user19", "tenant": "acme"},
		"action": map[string]any{"name": "port3.op1"}, "resource": map[string]any{"type": "kind3", "id": "x"}, "context": map[string]any{}})
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"rbac", "abac"} {
		dir := composed(b, []string{name}, data)
		a, err := regoc.Build(b.Context(), regoc.Source{Dirs: []string{dir}}, regoc.Options{})
		if err != nil {
			b.Fatal(err)
		}
		p := loadWith(b, a.Wasm, policy.Options{Data: a.Data, Builtins: topdown.Builtins()})
		load := rego.Load([]string{"../../../policies", dir}, nil)
		b.Run(name+"/driver", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v, _, err := p.Eval(context.Background(), "hexdag/authz/decision", input)
				if err != nil || v.(map[string]any)["effect"] != "allow" {
					b.Fatal(v, err)
				}
			}
		})
		for side, target := range map[string]string{"OPA": "rego", "OPA wasm": "wasm"} {
			opa := prepare(b, "data.hexdag.authz.decision", load, rego.Target(target))
			b.Run(name+"/"+side, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if v := opa(input); v.(map[string]any)["effect"] != "allow" {
						b.Fatal(v)
					}
				}
			})
		}
	}
}
