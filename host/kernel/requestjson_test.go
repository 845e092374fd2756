package kernel_test

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/kernel"
)

// TestRequestJSON: a request is written by hand as its tags say, whatever it holds; each field is set in one of them.
func TestRequestJSON(t *testing.T) {
	args := map[string]any{"z": []any{nil, true, "ä\xff<"}, "a": kernel.Number(20)}
	full := kernel.AccessRequest{
		Subject:  kernel.Subject{Type: "module", ID: "or\"ders", Tenant: "acme", Chain: []string{"ada", "module:x\n"}},
		Action:   kernel.Act{Name: "database.query", Args: args, Text: kernel.NewText(args)},
		Resource: kernel.Resource{Type: "database", ID: "orders"},
		Context: kernel.Scope{RunID: "r1", Pipeline: "p", Node: "n", Labels: map[string]string{"b": "2", "a\\": "1"}, Sources: []string{"http:a", "http:b"},
			Usage: kernel.UsageSnapshot{LLMCalls: 1, InputTokens: math.MaxInt64, OutputTokens: 3, ToolCalls: -4, PortCalls: 5}},
	}
	eachField(t, reflect.ValueOf(full), "AccessRequest")
	changedText := full
	changedText.Action.Args = map[string]any{"other": "arguments"}
	empty := full
	empty.Action.Args, empty.Subject.Chain, empty.Context.Labels, empty.Context.Sources, empty.Context.Node = map[string]any{}, []string{}, map[string]string{}, nil, ""
	for name, r := range map[string]kernel.AccessRequest{"full": full, "nothing": {}, "empty": empty, "arguments that the text is not of": changedText} {
		text, err := kernel.EncodeJSON(&r)
		if err != nil {
			t.Fatal(err)
		}
		marshalled, err := json.Marshal(&r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := kernel.DecodeJSON(text)
		want, err2 := kernel.DecodeJSON(marshalled)
		if diff := cmp.Diff(want, got); diff != "" || err != nil || err2 != nil {
			t.Errorf("%s: %v, %v: %s", name, err, err2, diff)
		}
	}
	bad := kernel.AccessRequest{Action: kernel.Act{Args: map[string]any{"n": math.NaN()}}}
	if text, err := kernel.EncodeJSON(&bad); err == nil {
		t.Errorf("what is no JSON was written as %s", text)
	}
}

// eachField fails for fields that are not set.
func eachField(t *testing.T, v reflect.Value, path string) {
	t.Helper()
	for i := range v.NumField() {
		name := path + "." + v.Type().Field(i).Name
		if f := v.Field(i); f.Kind() == reflect.Struct {
			eachField(t, f, name)
		} else if f.IsZero() {
			t.Errorf("%s is not set: see to it that it is written", name)
		}
	}
}
