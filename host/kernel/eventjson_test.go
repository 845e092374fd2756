package kernel_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/kernel"
)

// TestEventJSON: an event is written by hand as its tags say; each field is set in one.
func TestEventJSON(t *testing.T) {
	labels, err := kernel.NewLabels(kernel.Untrusted, kernel.Secret, "http:a", "tool:b")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 26, 10, 0, 0, 1, time.UTC)
	full := kernel.Event{
		Type: kernel.NodeCompleted, Time: at, RunID: "r", ParentRunID: "p", Pipeline: "p\n", Tenant: "acme", Node: "\"n\"", Kind: "k", Wave: 1, Dependencies: []string{"a", "b"}, Nodes: 2, Waves: 3, Attempt: 4,
		Op: "a.b", Module: "m", Action: "replace", Status: "ok", Reason: "<b>\xff", Rules: []string{"x"}, DurationMS: 0.25, Result: map[string]any{"n": kernel.Number(2), "list": []any{nil, true, 1e300}},
		Error:  &kernel.Error{Code: kernel.CodeFailed, What: "it failed", Where: kernel.Where{Node: "n"}, Why: "so", Fix: "mend it"},
		Labels: labels, Cached: &kernel.Cached{RunID: "c", Artifact: "a", Stored: at}, Body: "inline[1]", EventKey: "e", Resource: "fuel", Used: 1e-7, Limit: 1e21,
		Entity: "order", EntityID: "7", FromState: "new", ToState: "paid", System: "s", Process: "q", Dropped: 1 << 40,
	}
	for v, i := reflect.ValueOf(full), 0; i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not set: see to it that it is written", v.Type().Field(i).Name)
		}
	}
	for name, e := range map[string]*kernel.Event{
		"full": &full, "least": {}, "empty": {Dependencies: []string{}, Rules: []string{}, Result: map[string]any{}, Error: &kernel.Error{}, Labels: &kernel.Labels{}, Cached: &kernel.Cached{}},
	} {
		text, err := kernel.EncodeJSON(e)
		if err != nil {
			t.Fatal(err)
		}
		marshalled, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var got, want any
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s: %v: %s", name, err, text)
		}
		if err := json.Unmarshal(marshalled, &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if text, err := kernel.EncodeJSON(&kernel.Event{Result: func() {}}); err == nil {
		t.Errorf("what is no value was written as %s", text)
	}
}
