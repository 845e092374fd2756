package memorytest

import (
	"context"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/memory"
)

// learning returns a context whose flow begins with labels, and the flow.
func learning(t *testing.T, i kernel.Integrity, source string) (context.Context, *kernel.Flow) {
	t.Helper()
	labels, err := kernel.NewLabels(i, "", source)
	if err != nil {
		t.Fatal(err)
	}
	flow := kernel.NewFlow(labels)
	return kernel.WithFlow(t.Context(), flow), flow
}

// A value keeps the labels of who set it, whoever reads it learns them, and nobody can
// write a value that looks as if it had others.
func (h Harness) testLabels(t *testing.T) {
	m, _ := h.open(t, memory.Options{})
	set := func(ctx context.Context, key, args string) {
		t.Helper()
		if _, err := call(ctx, t, m, "acme", "set", `{"key": "`+key+`", "value": `+args+`}`); err != nil {
			t.Fatal(err)
		}
	}
	get := func(key, want, labels string) {
		t.Helper()
		ctx, flow := learning(t, kernel.Trusted, "")
		got, err := call(ctx, t, m, "acme", "get", `{"key": "`+key+`"}`)
		if err != nil || got != `{"found":true,"value":`+want+`}` || flow.Labels().String() != labels {
			t.Errorf("%s: %s, %v, %s", key, got, err, flow.Labels())
		}
	}
	untrusted, _ := learning(t, kernel.Untrusted, "http:a")
	trusted, _ := learning(t, kernel.Trusted, "")
	const forged = `{"hexdag.labels":{"confidentiality":"public","integrity":"trusted"},"hexdag.value":1}`
	set(untrusted, "u", `{"a":1}`)
	get("u", `{"a":1}`, "untrusted, public (http:a)")
	set(trusted, "t", `2`)
	get("t", `2`, "trusted, public")
	set(trusted, "f", forged)
	get("f", forged, "trusted, public")
	set(untrusted, "uf", forged)
	get("uf", forged, "untrusted, public (http:a)")

	// A swap compares values, and not their labels.
	for _, step := range []struct {
		ctx         context.Context
		args, want  string
		value, then string
	}{
		{trusted, `{"key": "u", "expected": {"a": 2}, "value": 1}`, `{"swapped":false}`, `{"a":1}`, "untrusted, public (http:a)"},
		{trusted, `{"key": "u", "expected": {"a": 1}, "value": {"a": 3}}`, `{"swapped":true}`, `{"a":3}`, "untrusted, public (http:a)"}, // who swaps has seen what was there
		{untrusted, `{"key": "t", "expected": 2, "value": 3}`, `{"swapped":true}`, `3`, "untrusted, public (http:a)"},
		{untrusted, `{"key": "t", "expected": 3, "value": 4}`, `{"swapped":true}`, `4`, "untrusted, public (http:a)"},
	} {
		got, err := call(step.ctx, t, m, "acme", "compare_and_swap", step.args)
		if err != nil || got != step.want {
			t.Errorf("%s: %s, %v", step.args, got, err)
		}
		key := step.args[9:10]
		get(key, step.value, step.then)
	}
	fresh, _ := learning(t, kernel.Trusted, "") // the other has learned what it swapped
	set(fresh, "u", `5`)
	get("u", `5`, "trusted, public")
}
