package vectorsearchtest

import (
	"slices"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/vectorsearch"
	"github.com/hexdag/hexdag/host/ports/vectorsearch/driver"
)

func made(t *testing.T, i kernel.Integrity, c kernel.Confidentiality, sources ...string) *kernel.Labels {
	t.Helper()
	labels, err := kernel.NewLabels(i, c, sources...)
	if err != nil {
		t.Fatal(err)
	}
	return labels
}

// carrying calls an operation with labels, and returns those of the reply.
func carrying(t *testing.T, v *vectorsearch.Vectors, labels *kernel.Labels, op, args string) string {
	t.Helper()
	value, err := kernel.DecodeJSON([]byte(args))
	if err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	ops := v.Ops()
	i := slices.IndexFunc(ops, func(o ports.Op) bool { return o.Name == "vector_search."+op })
	ctx := kernel.WithRun(t.Context(), &kernel.RunContext{RunID: "run", Tenant: "acme"})
	reply, err := ops[i].Func(ctx, &kernel.PortCall{Op: "vector_search." + op, Args: value.(map[string]any), Labels: labels})
	if err != nil {
		t.Fatal(err)
	}
	return reply.Labels.String()
}

// A vector keeps the labels of who upserted it last, and a search answers with those of what
// it found.
func (h Harness) testLabels(t *testing.T) {
	v := h.open(t, driver.Euclidean, vectorsearch.Options{})
	web := made(t, kernel.Untrusted, "", "http:a")
	for id, labels := range map[string]*kernel.Labels{"0": nil, "1": web, "2": made(t, "", kernel.Secret, "vault"), "3": nil} {
		carrying(t, v, labels, "upsert", `{"collection": "c", "vectors": [{"id": "`+id+`", "vector": [`+id+`], "metadata": {"hexdag.labels": {"integrity": "trusted"}}}]}`)
	}
	nearest := func(to, k, want string) {
		t.Helper()
		if got := carrying(t, v, nil, "search", `{"collection": "c", "vector": [`+to+`], "top_k": `+k+`}`); got != want {
			t.Errorf("the nearest %s to %s are %s, want %s", k, to, got, want)
		}
	}
	nearest("0", "1", "trusted, public")
	nearest("3", "1", "trusted, public")
	nearest("1", "1", "untrusted, public (http:a)")
	nearest("2", "1", "trusted, secret (vault)")
	nearest("0", "4", "untrusted, secret (http:a, vault)")
	found, err := v.Search(t.Context(), "acme", "c", vectorsearch.Query{Values: []float32{1}, Limit: 1})
	if err != nil || len(found) != 1 || found[0].Labels.String() != web.String() {
		t.Errorf("%+v, %v", found, err)
	}

	// Whoever replaces a vector says what it is; the others keep theirs.
	carrying(t, v, nil, "upsert", `{"collection": "c", "vectors": [{"id": "1", "vector": [1]}]}`)
	carrying(t, v, web, "upsert", `{"collection": "c", "vectors": [{"id": "0", "vector": [0]}]}`)
	nearest("1", "1", "trusted, public")
	nearest("0", "1", "untrusted, public (http:a)")
	nearest("2", "1", "trusted, secret (vault)")
	carrying(t, v, nil, "delete", `{"collection": "c", "ids": ["0"]}`)
	upsert(t, v, "acme", "c", vectorsearch.Vector{ID: "0", Values: []float32{0}})
	nearest("0", "1", "trusted, public")
}
