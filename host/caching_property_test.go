package host_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

// With and without cache a pipeline has the same results, whatever it is and is given.
func TestCacheChangesNoResult(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	c := newCaches(t, "  tenant: acme\n")
	c.w.do = func(_ context.Context, call *kernel.NodeCall) (kernel.Value, error) {
		return map[string]any{"seen": call.Input, "len": kernel.Number(int64(kernel.SizeOf(call.Input)))}, nil
	}
	h, hits := c.host(t), 0
	for round := range rounds {
		r := rand.New(rand.NewPCG(7, uint64(round)))
		plain, kept := randomNodes(r)
		for range 2 {
			input := map[string]any{"a": r.IntN(2), "b": []any{"x", r.IntN(2) == 0, nil, 1.5}}
			want := c.load(t, h, plain...).Run(t.Context(), input, host.RunOptions{})
			for range 2 {
				have := c.load(t, h, kept...).Run(t.Context(), input, host.RunOptions{})
				if a, b := cameTo(t, want), cameTo(t, have); a != b {
					t.Fatalf("round %d:\n%s\nwithout a cache\n%s\nwith:\n%s", round, strings.Join(kept, "\n"), a, b)
				}
				hits += len(have.Cached)
			}
		}
	}
	if hits < rounds {
		t.Errorf("%d hits in %d rounds", hits, rounds)
	}
}

// outcome is what node n answered.
func outcome(t *testing.T, r *host.Result) string {
	t.Helper()
	text, err := json.Marshal(r.NodeResults["n"])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// cameTo is what a run came to, but for what is of each run.
func cameTo(t *testing.T, r *host.Result) string {
	t.Helper()
	failed := ""
	if r.Error != nil {
		failed = r.Error.What
	}
	text, err := json.Marshal([]any{r.Status, r.NodeResults, r.Output, r.Labels, failed})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// randomNodes are nodes that depend on each other, without and with cache.
func randomNodes(r *rand.Rand) (plain, kept []string) {
	count := 2 + r.IntN(5)
	for i := range count {
		var deps, reads []string
		for d := range i {
			if r.IntN(2) == 0 {
				deps, reads = append(deps, fmt.Sprint("n", d)), append(reads, fmt.Sprintf("d%d: n%d", d, d))
			}
		}
		head := fmt.Sprintf("metadata: {name: n%d}, dependencies: [%s]", i, strings.Join(deps, ", "))
		mapping := fmt.Sprintf("input_mapping: {%s}", strings.Join(append(reads, "a: $input.a", "b: $input.b"), ", "))
		var kind, spec string
		switch r.IntN(5) {
		case 0:
			kind, spec = "expression_node", fmt.Sprintf(`%s, expressions: {x: "a + %d", y: "b[3] * 2"}`, mapping, r.IntN(3))
		case 1:
			kind, spec = "data_node", `output: {v: "{{ a }}", w: [1, null]}, `+mapping
		case 2:
			kind, spec = "composite_node", `mode: for-each, items: "[1, 1, a]", `+mapping+`, body: [{kind: function_node, metadata: {name: in}, spec: {fn: work, strict_mapping: true, input_mapping: {i: $input.item}CACHE}}]`
		case 3:
			kind, spec = "expression_node", mapping+`, when: "a == 1", expressions: {z: "a"}`
		default:
			kind, spec = "function_node", "fn: work, "+mapping
		}
		node := func(cache string) string {
			text := strings.ReplaceAll(spec, "CACHE", cache)
			if r.IntN(3) > 0 {
				text += cache
			}
			return fmt.Sprintf("{kind: %s, %s, spec: {%s}}", kind, head, text)
		}
		plain, kept = append(plain, node("")), append(kept, node([]string{", cache: true", ", cache: {scope: run}", ", cache: {ttl: 60}"}[r.IntN(3)]))
	}
	return plain, kept
}
