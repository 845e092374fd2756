package ports_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

func obliging(effect kernel.Effect, obligations ...map[string]any) *decider {
	return &decider{decision: kernel.Decision{Effect: effect, Obligations: obligations, Reasons: []kernel.Reason{{ID: "r", Msg: "because of bob"}}, Revision: "rev1"}}
}

func rows(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
	return &kernel.PortReply{Value: map[string]any{"rows": []any{map[string]any{"id": "1", "email": "bob@example.com"}}}, Body: []byte("raw")}, nil
}

// seer is a hook that remembers the replies that it saw, or answers itself.
type seer struct {
	saw  []kernel.Value
	skip *kernel.Verdict
}

func (s *seer) BeforePort(context.Context, *kernel.PortCall) (kernel.Verdict, error) {
	if s.skip != nil {
		return *s.skip, nil
	}
	return kernel.Verdict{}, nil
}

func (s *seer) AfterPort(_ context.Context, _ *kernel.PortCall, reply *kernel.PortReply, _ error) (kernel.Verdict, error) {
	s.saw = append(s.saw, reply.Value)
	return kernel.Verdict{}, nil
}

func TestMaskedReply(t *testing.T) {
	audit := &recorder{}
	door := newDoor(t, obliging(kernel.Allow, map[string]any{"type": "mask", "reply": []any{"/rows/*/email"}, "body": true, "record": []any{"/resource", "/args/topic", "/reasons"}}), audit,
		ports.Op{Name: "test.rows", Guards: []string{"topic"}, Func: rows})
	hook := &seer{}
	door.Hook(ports.Registration{Name: "seer", Match: func(string) bool { return true }, Hook: hook})
	call := calling("test.rows")
	call.Args["topic"] = "bob"
	reply, err := door.Call(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"rows": []any{map[string]any{"id": "1"}}}
	if diff := cmp.Diff(want, reply.Value); diff != "" || reply.Body != nil {
		t.Errorf("%q %s", reply.Body, diff)
	}
	if diff := cmp.Diff([]kernel.Value{want}, hook.saw); diff != "" {
		t.Errorf("a hook saw what is masked: %s", diff)
	}
	if len(audit.records) == 0 {
		t.Fatal("no records")
	}
	digests := map[string]bool{}
	for _, topic := range []string{"bob", "eve"} {
		call.Args["topic"] = topic
		if _, err := door.Call(t.Context(), call); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range audit.records {
		if text, _ := kernel.EncodeJSON(r); strings.Contains(string(text), "bob") {
			t.Errorf("a record tells %s", text)
		}
		digests[r.Digest] = true
	}
	if len(digests) != 1 {
		t.Errorf("the digest tells a masked argument apart: %v", digests)
	}
	hook.skip = &kernel.Verdict{Action: kernel.Skip, Value: map[string]any{"rows": []any{map[string]any{"email": "x"}}}, Body: []byte("x")}
	if reply, err = door.Call(t.Context(), call); err != nil || reply.Body != nil {
		t.Fatal(reply, err)
	}
	if diff := cmp.Diff(map[string]any{"rows": []any{map[string]any{}}}, reply.Value); diff != "" {
		t.Errorf("a hook's own reply is not masked: %s", diff)
	}
}

func TestLimits(t *testing.T) {
	slow := func(ctx context.Context, _ *kernel.PortCall) (*kernel.PortReply, error) {
		<-ctx.Done()
		return nil, kernel.ContextError(ctx)
	}
	for name, tc := range map[string]struct {
		limit map[string]any
		do    kernel.PortFunc
		calls int // that go well
		code  kernel.Code
		says  string
	}{
		"calls":       {map[string]any{"calls": kernel.Number(3)}, rows, 3, kernel.CodeLimit, "a run 3 calls"},
		"reply_bytes": {map[string]any{"reply_bytes": kernel.Number(20)}, rows, 0, kernel.CodeLimit, "governance allows 20"},
		"enough":      {map[string]any{"reply_bytes": kernel.Number(2000)}, rows, 5, "", ""},
		"timeout_ms":  {map[string]any{"timeout_ms": kernel.Number(20)}, slow, 0, kernel.CodeTimeout, "governance allows it 20ms"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.limit["type"] = "limit"
			door := newDoor(t, obliging(kernel.Allow, tc.limit), &recorder{}, ports.Op{Name: "test.do", Func: tc.do})
			ctx := kernel.WithRun(t.Context(), &kernel.RunContext{RunID: "r"})
			for i := range 5 {
				reply, err := door.Call(ctx, calling("test.do"))
				if i < tc.calls {
					if err != nil {
						t.Fatalf("call %d: %v", i+1, err)
					}
					continue
				}
				if kernel.CodeOf(err) != tc.code || !strings.Contains(err.Error(), tc.says) || reply != nil {
					t.Fatalf("call %d: %v, %v", i+1, reply, err)
				}
			}
		})
	}
	// A limit that nobody can count is not kept by not counting.
	door := newDoor(t, obliging(kernel.Allow, map[string]any{"type": "limit", "calls": kernel.Number(3)}), &recorder{}, ports.Op{Name: "test.do", Func: rows})
	if _, err := door.Call(t.Context(), calling("test.do")); kernel.CodeOf(err) != kernel.CodeDenied {
		t.Errorf("without a run: %v", err)
	}
}

func TestNotify(t *testing.T) {
	audit := &recorder{}
	door := newDoor(t, obliging(kernel.Allow, map[string]any{"type": "notify", "to": "sec\x1burity", "message": "look"}), audit, ports.Op{Name: "test.rows", Func: rows})
	var told []*kernel.Event
	ctx := kernel.WithRun(t.Context(), &kernel.RunContext{RunID: "r", Observer: func(e *kernel.Event) { told = append(told, e) }})
	if _, err := door.Call(ctx, calling("test.rows")); err != nil {
		t.Fatal(err)
	}
	if len(told) != 2 || told[0].Type != kernel.GovernanceNotified || told[0].Action != `sec\x1burity` || told[0].Reason != "look" {
		t.Errorf("told %+v", told)
	}
	if r := audit.records[len(audit.records)-1]; r.Kind != "note" || r.Detail != `notify sec\x1burity: look` || r.RunID != "r" {
		t.Errorf("recorded %+v", r)
	}
}

// What the host cannot do it must not allow.
func TestUnfulfillable(t *testing.T) {
	for _, o := range []map[string]any{{"type": "label", "labels": map[string]any{"pii": "yes"}}, {"type": "mask"}, {"type": "sing"}, {"type": "approval", "role": "lead"}} {
		for _, effect := range []kernel.Effect{kernel.Allow, kernel.Approve} {
			audit := &recorder{}
			reached := false
			door := newDoor(t, obliging(effect, o), audit, ports.Op{Name: "test.do", Func: func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
				reached = true
				return &kernel.PortReply{}, nil
			}})
			_, err := door.Call(t.Context(), calling("test.do"))
			if reached || kernel.CodeOf(err) != kernel.CodeDenied || !strings.Contains(err.Error(), "obliges to what the host cannot do") {
				t.Errorf("%v: reached %v, %v", o, reached, err)
			}
			if !recorded(audit, "test.do", kernel.Forbid) {
				t.Errorf("%v: the refusal is not on record", o)
			}
		}
	}
}

// approver gives the approvals that it has, and remembers what it was asked.
type approver struct {
	left  int
	asked []*ports.ApprovalRequest
}

func (a *approver) Approve(_ context.Context, req *ports.ApprovalRequest) (*ports.Approved, error) {
	a.asked = append(a.asked, req)
	if a.left == 0 {
		return nil, &kernel.Error{Code: kernel.CodeApproval, What: "wait", Err: &kernel.ApprovalNeeded{ID: "7"}}
	}
	a.left--
	return &ports.Approved{ID: "7", By: []string{"ada"}, At: time.Unix(0, 0)}, nil
}

func TestApproval(t *testing.T) {
	for name, d := range map[string]*decider{
		"approve":                      obliging(kernel.Approve),
		"approve, and who may":         obliging(kernel.Approve, map[string]any{"type": "approval", "by": []any{"ada"}, "ttl_s": kernel.Number(60)}),
		"allow, once that is approved": obliging(kernel.Allow, map[string]any{"type": "approval", "by": []any{"ada"}, "ttl_s": kernel.Number(60)}),
	} {
		t.Run(name, func(t *testing.T) {
			audit, who, times := &recorder{}, &approver{}, 0
			door := newDoor(t, d, audit, ports.Op{Name: "test.do", Func: func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
				times++
				return &kernel.PortReply{}, nil
			}})
			door.ApproveWith(who)
			call := calling("test.do", rights("m", "test.do"))
			call.Args["n"], call.Body = kernel.Number(1), []byte("raw")
			_, err := door.Call(t.Context(), call)
			var needed *kernel.ApprovalNeeded
			if times != 0 || kernel.CodeOf(err) != kernel.CodeApproval || !errors.As(err, &needed) || needed.EventKey() != "hexdag.approval:7" || !recorded(audit, "test.do", kernel.Forbid) {
				t.Fatalf("%d times, %v, %+v", times, err, audit.records)
			}
			who.left = 1
			if _, err := door.Call(t.Context(), call); err != nil || times != 1 {
				t.Fatalf("%d times, %v", times, err)
			}
			last := audit.records[len(audit.records)-1]
			if last.Effect != kernel.Allow || last.Reasons[0].ID != "hexdag.approval" || !strings.Contains(last.Reasons[0].Msg, "approval 7, by [ada] at 1970-01-01") {
				t.Errorf("recorded %+v", last)
			}
			if _, err := door.Call(t.Context(), call); kernel.CodeOf(err) != kernel.CodeApproval || times != 1 {
				t.Fatalf("a second time: %d times, %v", times, err)
			}
			asked := who.asked[0]
			if asked.Access.Action.Name != "test.do" || asked.Access.Subject.ID != "m" || asked.Revision != "rev1" || !strings.HasPrefix(asked.Body, "sha256:") || asked.Rules.Count != 1 {
				t.Errorf("asked %+v", asked)
			}
			if len(d.decision.Obligations) > 0 && (asked.Rules.TTL != time.Minute || asked.Rules.By[0] != "ada") {
				t.Errorf("asked %+v", asked.Rules)
			}
		})
	}
}
