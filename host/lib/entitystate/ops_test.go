package entitystate_test

import (
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/entitystate"
	"github.com/hexdag/hexdag/host/ports/memory/memstore"
)

func TestOps(t *testing.T) {
	s := open(t, memstore.New(), entitystate.Options{Now: newClock().now}, order())
	var events []*kernel.Event
	run := &kernel.RunContext{RunID: "r", Tenant: "acme", Observer: func(e *kernel.Event) { events = append(events, e) }}
	ctx := kernel.WithRun(t.Context(), run)
	call := func(op, args string) (string, error) {
		value, err := kernel.DecodeJSON([]byte(args))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range s.Ops() {
			if o.Name == "entity_state."+op {
				reply, err := o.Func(ctx, &kernel.PortCall{Op: o.Name, Args: value.(map[string]any), Node: "n"})
				if err != nil {
					return "", err
				}
				text, err := kernel.EncodeJSON(reply.Value)
				return string(text), err
			}
		}
		t.Fatalf("no operation %s", op)
		return "", nil
	}
	for _, c := range []struct{ op, args, want string }{
		{"register", `{"entity": "order", "entity_id": "1"}`, `{"entity_id":"1","entity_type":"order","state":"new"}`},
		{"transition", `{"entity": "order", "entity_id": "1", "to_state": "processing", "reason": "paid", "payload": {"x": 1}}`, `{"entity_id":"1","entity_type":"order","from_state":"new","to_state":"processing"}`},
		{"get_state", `{"entity": "order", "entity_id": "1"}`, `{"entity_id":"1","entity_type":"order","state":"processing"}`},
		{"get_history", `{"entity": "order", "entity_id": "1"}`, `{"history":[{"from_state":null,"metadata":{},"timestamp":"2026-11-20T12:00:00Z","to_state":"new"},` +
			`{"from_state":"new","metadata":{"reason":"paid"},"timestamp":"2026-11-20T12:00:00Z","to_state":"processing"}]}`},
	} {
		if got, err := call(c.op, c.args); err != nil || got != c.want {
			t.Errorf("%s %s:\n got %s, %v\nwant %s", c.op, c.args, got, err, c.want)
		}
	}
	if len(events) != 1 || events[0].Type != entitystate.Transitioned || events[0].Node != "n" || events[0].Tenant != "acme" || events[0].Reason != "paid" || events[0].Result.(map[string]any)["to_state"] != "processing" {
		t.Errorf("events %+v", events)
	}
	for _, c := range []struct{ op, args, says string }{
		{"register", `{"entity": "order"}`, "the entity's id ''"},
		{"register", `{"entity": "or:der", "entity_id": "1"}`, "entity type 'or:der'"},
		{"register", `{"entity": 1, "entity_id": "1"}`, "entity must be a text"},
		{"register", `{"entity": "order", "entity_id": "1", "tenant": "bob"}`, "unknown argument tenant"},
		{"transition", `{"entity": "order", "entity_id": "1"}`, "the state ''"},
		{"transition", `{"entity": "order", "entity_id": "1", "to_state": "a\u001b[2J"}`, `\x1b[2J`},
		{"transition", `{"entity": "order", "entity_id": "1", "to_state": "shipped", "reason": "a\nb"}`, "the reason"},
		{"transition", `{"entity": "order", "entity_id": "1", "to_state": "shipped", "from_state": "new"}`, "unknown argument from_state"},
		{"get_state", `{"entity": "order", "entity_id": "` + strings.Repeat("x", 257) + `"}`, "1 to 256 bytes"},
	} {
		_, err := call(c.op, c.args)
		wantError(t, err, nil, kernel.CodeArguments, c.says)
	}
	ctx = t.Context()
	_, err := call("get_state", `{"entity": "order", "entity_id": "1"}`)
	wantError(t, err, nil, kernel.CodeInternal, "outside a run")
	expectState(t, s, "1", "new", "processing")
}
