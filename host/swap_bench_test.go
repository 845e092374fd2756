package host_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/extension/policy/regoc"
	"github.com/hexdag/hexdag/host/kernel"
)

// BenchmarkSwap is what it takes until a run is decided by other data: 100 KB for the stock policies on roles and
// attributes, of which one part says whether ada may run it. It includes the record of the change, and the run.
func BenchmarkSwap(b *testing.B) {
	s := governed(b, `{adapter: rego, config: {file: policy.tar.gz}}`)
	s.write(b, "policies/authz.rego", "package hexdag.authz\n\nimport data.hexdag.abac\nimport data.hexdag.combine\nimport data.hexdag.rbac\n\n# METADATA\n# entrypoint: true\ndecision := combine.decision([rbac.rules, abac.rules])\n")
	var data [2]map[string]any
	var bundles [2]string
	for i := range data {
		data[i] = staff(b, i == 1)
		text, err := kernel.EncodeJSON(data[i])
		if err != nil {
			b.Fatal(err)
		}
		if len(text) < 100_000 || len(text) > 110_000 {
			b.Fatalf("the data has %d bytes", len(text))
		}
		s.write(b, "policies/data.json", string(text))
		built, err := regoc.Build(b.Context(), regoc.Source{Dirs: []string{s.path("policies")}}, regoc.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := built.Write(s.path("policy.tar.gz")); err != nil {
			b.Fatal(err)
		}
		bundle, err := os.ReadFile(s.path("policy.tar.gz"))
		if err != nil {
			b.Fatal(err)
		}
		bundles[i] = string(bundle)
	}
	h := s.open(b)
	p := s.load(b, h, `{kind: expression_node, metadata: {name: e}, dependencies: [], spec: {expressions: {v: "1"}}}`)
	decided := func(b *testing.B, allowed bool) {
		if result := p.Run(b.Context(), nil, host.RunOptions{}); (result.Status == engine.Completed) != allowed {
			b.Fatal(allowed, result.Status, result.Err)
		}
	}
	next := 1 // of data
	for _, of := range []struct {
		name   string
		change func(b *testing.B) error
	}{
		{"reload", func(b *testing.B) error {
			b.StopTimer()
			s.write(b, "policy.tar.gz", bundles[next])
			b.StartTimer()
			changed, err := h.ReloadGovernance(b.Context())
			if !changed && err == nil {
				err = fmt.Errorf("nothing changed")
			}
			return err
		}},
		{"patch of all", func(b *testing.B) error {
			return h.PatchPolicy(b.Context(), "", []host.PolicyPatch{{Op: "replace", Path: "", Value: data[next]}})
		}},
		{"patch in a place", func(b *testing.B) error {
			patch := host.PolicyPatch{Op: "upsert", Path: "/rbac/bindings/ada", Value: []any{map[string]any{"role": "role19", "tenant": "acme"}}}
			if next == 0 {
				patch = host.PolicyPatch{Op: "remove", Path: "/rbac/bindings/ada"}
			}
			return h.PatchPolicy(b.Context(), "", []host.PolicyPatch{patch})
		}},
	} {
		b.Run(of.name, func(b *testing.B) {
			least := time.Hour
			for b.Loop() {
				next = 1 - next
				before := b.Elapsed()
				if err := of.change(b); err != nil {
					b.Fatal(err)
				}
				decided(b, next == 1)
				least = min(least, b.Elapsed()-before)
			}
			b.ReportMetric(float64(least.Nanoseconds()), "least-ns/op")
		})
	}
	b.Run("the run alone", func(b *testing.B) {
		for b.Loop() {
			decided(b, next == 1)
		}
	})
}

// staff is data of 1,000 people with roles and attributes, one more of whom is ada or is not.
func staff(t testing.TB, ada bool) map[string]any {
	t.Helper()
	roles, bindings, subjects := map[string]any{}, map[string]any{}, map[string]any{}
	for i := range 20 {
		role := map[string]any{"allow": []any{map[string]any{"action": fmt.Sprintf("port%d.op", i), "resource": fmt.Sprintf("kind%d:*", i)}}}
		if i > 0 {
			role["inherits"] = []any{fmt.Sprintf("role%d", i-1)}
		} else {
			role["allow"] = []any{map[string]any{"action": "pipeline.run"}}
		}
		roles[fmt.Sprintf("role%d", i)] = role
	}
	for i := range 1000 {
		bindings[fmt.Sprintf("user%d", i)] = []any{map[string]any{"role": fmt.Sprintf("role%d", i%20), "tenant": "acme"}}
		subjects[fmt.Sprintf("user%d", i)] = map[string]any{"department": strings.Repeat("d", 13+i%9), "level": i % 5}
	}
	if ada {
		bindings["ada"] = []any{map[string]any{"role": "role19", "tenant": "acme"}}
	}
	v, err := kernel.ToValue(map[string]any{"rbac": map[string]any{"roles": roles, "bindings": bindings}, "abac": map[string]any{"subjects": subjects, "rules": []any{
		map[string]any{"id": "r", "effect": "allow", "action": "port.*", "when": []any{map[string]any{"of": []any{"subject", "level"}, "is": "ge", "value": 2}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	return v.(map[string]any)
}
