package ports_test

import (
	"context"
	"errors"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

func made(t *testing.T, i kernel.Integrity, c kernel.Confidentiality, sources ...string) *kernel.Labels {
	t.Helper()
	l, err := kernel.NewLabels(i, c, sources...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// read is an operation whose replies carry labels by their resource.
func read(t *testing.T, reply *kernel.PortReply, err error) ports.Op {
	t.Helper()
	return ports.Op{Name: "test.read", Guards: []string{"table"}, Labels: ports.LabelRules{Port: made(t, "", kernel.Internal), Resources: []ports.ResourceLabels{
		{Pattern: "open", Labels: nil}, {Pattern: "mail*", Labels: made(t, kernel.Untrusted, "")},
	}}, Func: func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) { return reply, err }}
}

// Whoever calls learns what the reply carries: its own labels, the operator's for what it
// comes from, and governance's; of an error, too, and whatever a hook says in place of it.
func TestCallersLearn(t *testing.T) {
	own := &kernel.PortReply{Value: 1, Labels: made(t, "", kernel.Secret, "own")}
	obliged := &decider{decision: kernel.Decision{Effect: kernel.Allow, Obligations: []map[string]any{{"type": "label", "labels": map[string]any{"integrity": "untrusted"}}}}}
	skip := hook{before: func(*kernel.PortCall) (kernel.Verdict, error) {
		return kernel.Verdict{Action: kernel.Skip, Value: 2}, nil
	}}
	for name, tc := range map[string]struct {
		table string
		op    ports.Op
		d     *decider
		hook  kernel.PortHook
		want  string
	}{
		"the port's":     {"t", read(t, &kernel.PortReply{Value: 1}, nil), allowing(), nil, "trusted, internal (test:t)"},
		"a resource's":   {"mails", read(t, &kernel.PortReply{Value: 1}, nil), allowing(), nil, "untrusted, public (test:mails)"},
		"none":           {"open", read(t, &kernel.PortReply{Value: 1}, nil), allowing(), nil, "trusted, public"},
		"the reply's":    {"mails", read(t, own, nil), allowing(), nil, "untrusted, secret (own, test:mails)"},
		"governance's":   {"open", read(t, &kernel.PortReply{Value: 1}, nil), obliged, nil, "untrusted, public (policy)"},
		"of an error":    {"mails", read(t, nil, errors.New("mail says no")), allowing(), nil, "untrusted, public (test:mails)"},
		"of a hook's":    {"mails", read(t, &kernel.PortReply{Value: 1}, nil), allowing(), skip, "untrusted, public (test:mails)"},
		"in none's flow": {"t", read(t, own, nil), allowing(), nil, "trusted, secret (own, test:t)"},
	} {
		audit := &recorder{}
		door := newDoor(t, tc.d, audit, tc.op)
		if tc.hook != nil {
			door.Hook(ports.Registration{Name: "h", Match: ports.MatchOps([]string{"test.*"}), Hook: tc.hook})
		}
		flow := kernel.NewFlow(nil)
		call := calling("test.read")
		call.Args["table"] = tc.table
		reply, err := door.Call(kernel.WithFlow(t.Context(), flow), call)
		if got := flow.Labels().String(); got != tc.want {
			t.Errorf("%s: learned %s, want %s (%v)", name, got, tc.want, err)
		}
		if err == nil && reply.Labels.String() != tc.want {
			t.Errorf("%s: the reply carries %s", name, reply.Labels)
		}
		if own.Labels.String() != "trusted, secret (own)" {
			t.Error("a reply that others may have was changed")
		}
	}
}

// What goes into a call is what governance, the record, the event and the operation see.
func TestCallsCarryLabels(t *testing.T) {
	var seen *kernel.Labels
	op := ports.Op{Name: "test.write", Func: func(_ context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
		seen = call.Labels
		return &kernel.PortReply{}, nil
	}}
	d, audit := allowing(), &recorder{}
	var events []*kernel.Event
	run := &kernel.RunContext{RunID: "r", Labels: map[string]string{"purpose": "test", "integrity": "forged"}, Observer: func(e *kernel.Event) { events = append(events, e) }}
	ctx := kernel.WithFlow(kernel.WithRun(t.Context(), run), kernel.NewFlow(made(t, kernel.Untrusted, "", "http:a")))
	call := calling("test.write")
	call.Labels = made(t, "", kernel.Secret, "vault")
	const want = "untrusted, secret (http:a, vault)"
	if _, err := newDoor(t, d, audit, op).Call(ctx, call); err != nil {
		t.Fatal(err)
	}
	asked := d.asked[0].Context
	if asked.Labels["integrity"] != "untrusted" || asked.Labels["confidentiality"] != "secret" || asked.Labels["purpose"] != "test" || len(asked.Sources) != 2 {
		t.Errorf("asked %+v", asked)
	}
	if seen.String() != want || audit.records[0].Labels.String() != want || len(events) != 1 || events[0].Labels.String() != want {
		t.Errorf("%s, %s, %+v", seen, audit.records[0].Labels, events)
	}
	// Without labels governance is told so, by the same map each time.
	plain := kernel.WithRun(t.Context(), run)
	for range 2 {
		if _, err := newDoor(t, d, audit, op).Call(plain, calling("test.write")); err != nil {
			t.Fatal(err)
		}
	}
	if l := d.asked[2].Context.Labels; l["integrity"] != "trusted" || l["confidentiality"] != "public" {
		t.Errorf("%v", l)
	}
}

// A tool that a model chose is asked about as one, recorded, and outside of hooks on ports.
func TestToolsAreAskedAbout(t *testing.T) {
	d, audit := allowing(), &recorder{}
	door := newDoor(t, d, audit)
	hooked := 0
	door.Hook(ports.Registration{Name: "h", Match: ports.MatchOps([]string{"**"}), Hook: hook{before: func(*kernel.PortCall) (kernel.Verdict, error) { hooked++; return kernel.Verdict{}, nil }}})
	did := 0
	do := func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
		did++
		return &kernel.PortReply{Value: "done"}, nil
	}
	if _, err := door.CallTool(t.Context(), calling("llm.send"), false, do); err != nil || did != 1 || hooked != 0 {
		t.Fatalf("%v, %d times, %d hooked", err, did, hooked)
	}
	if r := d.asked[0].Resource; r.Type != "tool" || r.ID != "llm.send" || !recorded(audit, "llm.send", kernel.Allow) {
		t.Errorf("%+v, %+v", d.asked[0], audit.records)
	}
	d.decision.Effect = kernel.Forbid
	if _, err := door.CallTool(t.Context(), calling("llm.send"), false, do); kernel.CodeOf(err) != kernel.CodeDenied || did != 1 || !recorded(audit, "llm.send", kernel.Forbid) {
		t.Errorf("%v, %d times", err, did)
	}
	// One that had begun before it waited is not approved twice, but can be denied.
	d.decision.Effect = kernel.Approve
	if _, err := door.CallTool(t.Context(), calling("llm.send"), true, do); err != nil || did != 2 {
		t.Errorf("%v, %d times", err, did)
	}
	if _, err := door.CallTool(t.Context(), calling("llm.send"), false, do); err == nil || did != 2 {
		t.Errorf("%v, %d times", err, did)
	}
}
