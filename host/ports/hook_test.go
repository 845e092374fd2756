package ports_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// hook is a port hook made of functions; nil continues.
type hook struct {
	before func(call *kernel.PortCall) (kernel.Verdict, error)
	after  func(call *kernel.PortCall, reply *kernel.PortReply, err error) (kernel.Verdict, error)
}

func (h hook) BeforePort(_ context.Context, call *kernel.PortCall) (kernel.Verdict, error) {
	if h.before == nil {
		return kernel.Verdict{}, nil
	}
	return h.before(call)
}

func (h hook) AfterPort(_ context.Context, call *kernel.PortCall, reply *kernel.PortReply, err error) (kernel.Verdict, error) {
	if h.after == nil {
		return kernel.Verdict{}, nil
	}
	return h.after(call, reply, err)
}

// site is a door with the operation test.echo and hooks around it.
type site struct {
	*ports.Door
	calls []kernel.PortCall
	audit recorder
}

func newSite(t *testing.T, hooks ...hook) *site {
	s := &site{}
	s.Door = newDoor(t, allowing(), &s.audit, echo(&s.calls))
	for i, h := range hooks {
		s.Hook(ports.Registration{Name: string(rune('a' + i)), Match: ports.MatchOps([]string{"test.*"}), Hook: h})
	}
	return s
}

// topics is a module that may echo to some topics.
func topics(allowed ...string) kernel.ModuleRights {
	return kernel.ModuleRights{Name: "m", Check: func(_ string, args map[string]string) error {
		if slices.Contains(allowed, args["topic"]) {
			return nil
		}
		return &kernel.Error{Code: kernel.CodeDenied, What: "not this topic"}
	}}
}

func (s *site) echo(ctx context.Context, topic string) (*kernel.PortReply, error) {
	call := calling("test.echo", topics("orders"))
	call.Args["topic"] = topic
	call.Body = []byte("body")
	return s.Call(ctx, call)
}

func before(v kernel.Verdict, err error) hook {
	return hook{before: func(*kernel.PortCall) (kernel.Verdict, error) { return v, err }}
}

func after(v kernel.Verdict, err error) hook {
	return hook{after: func(*kernel.PortCall, *kernel.PortReply, error) (kernel.Verdict, error) { return v, err }}
}

// Patched arguments are another call: its rights are checked anew, so that a
// hook cannot widen what the caller may do.
func TestReplacedArgumentsAreCheckedAnew(t *testing.T) {
	replace := func(v kernel.Value) hook { return before(kernel.Verdict{Action: kernel.Replace, Value: v}, nil) }
	for name, c := range map[string]struct {
		value kernel.Value
		code  kernel.Code
	}{
		"another topic": {map[string]any{"topic": "payments"}, kernel.CodeDenied},
		"no topic":      {map[string]any{}, kernel.CodeDenied},
		"another type":  {map[string]any{"topic": []any{"orders"}}, kernel.CodeArguments},
		"no object":     {"orders", kernel.CodeABI},
		"nothing":       {nil, kernel.CodeABI},
	} {
		s := newSite(t, replace(c.value))
		_, err := s.echo(context.Background(), "orders")
		if kernel.CodeOf(err) != c.code || len(s.calls) > 0 {
			t.Errorf("%s: reached %d times, %v", name, len(s.calls), err)
		}
	}
	s := newSite(t, replace(map[string]any{"topic": "orders", "extra": true}))
	reply, err := s.echo(context.Background(), "orders")
	if err != nil || reply.Value.(map[string]any)["extra"] != true || string(reply.Body) != "body" {
		t.Errorf("an allowed patch: %+v, %v", reply, err)
	}
	if len(s.audit.records) != 2 {
		t.Errorf("the patched call has no record of its own: %+v", s.audit.records)
	}
}

func TestDenyBefore(t *testing.T) {
	s := newSite(t, before(kernel.Verdict{Action: kernel.Deny, Reason: "no\x1b[2J"}, nil))
	_, err := s.echo(context.Background(), "orders")
	if kernel.CodeOf(err) != kernel.CodeDenied || len(s.calls) > 0 || !recorded(&s.audit, "test.echo", kernel.Forbid) {
		t.Errorf("reached %d times, %v, records %+v", len(s.calls), err, s.audit.records)
	}
	for _, r := range s.audit.records {
		for _, reason := range r.Reasons {
			if slices.Contains([]byte(reason.Msg), 0x1b) {
				t.Errorf("the reason is not escaped: %q", reason.Msg)
			}
		}
	}
}

func TestDenyAfterWithholdsTheReply(t *testing.T) {
	s := newSite(t, after(kernel.Verdict{Action: kernel.Deny}, nil))
	reply, err := s.echo(context.Background(), "orders")
	if kernel.CodeOf(err) != kernel.CodeDenied || reply != nil || !recorded(&s.audit, "test.echo", kernel.Forbid) {
		t.Errorf("%+v, %v", reply, err)
	}
}

func TestSkipGivesItsResultInstead(t *testing.T) {
	inner := 0
	s := newSite(t, before(kernel.Verdict{Action: kernel.Skip, Value: "cached"}, nil), hook{before: func(*kernel.PortCall) (kernel.Verdict, error) {
		inner++
		return kernel.Verdict{}, nil
	}})
	reply, err := s.echo(context.Background(), "orders")
	if err != nil || reply.Value != "cached" || len(reply.Body) > 0 || len(s.calls) > 0 || inner > 0 {
		t.Errorf("%+v, %v, reached %d times, inner hook %d times", reply, err, len(s.calls), inner)
	}
	if _, err := s.echo(context.Background(), "payments"); kernel.CodeOf(err) != kernel.CodeDenied {
		t.Errorf("a hook skipped what the caller may not do: %v", err)
	}
}

// A hook that fails, before or after, never counts as its consent.
func TestHookFailureFailsTheCall(t *testing.T) {
	broken := &kernel.Error{Code: kernel.CodeTrap, What: "the guest trapped"}
	s := newSite(t, before(kernel.Verdict{}, broken))
	if _, err := s.echo(context.Background(), "orders"); kernel.CodeOf(err) != kernel.CodeTrap || len(s.calls) > 0 {
		t.Errorf("before: reached %d times, %v", len(s.calls), err)
	}
	s = newSite(t, after(kernel.Verdict{}, broken))
	if reply, err := s.echo(context.Background(), "orders"); kernel.CodeOf(err) != kernel.CodeTrap || reply != nil {
		t.Errorf("after: %+v, %v", reply, err)
	}
}

func TestRetryAfter(t *testing.T) {
	asked := 0
	s := newSite(t, hook{before: func(*kernel.PortCall) (kernel.Verdict, error) {
		if asked++; asked < 4 {
			return kernel.Verdict{Action: kernel.RetryAfter, Delay: time.Millisecond}, nil
		}
		return kernel.Verdict{}, nil
	}})
	if _, err := s.echo(context.Background(), "orders"); err != nil || asked != 4 || len(s.calls) != 1 {
		t.Errorf("asked %d times, reached %d times, %v", asked, len(s.calls), err)
	}
}

// A hook that always says "again" ends as a limit, before and after.
func TestRetriesAreBounded(t *testing.T) {
	again := kernel.Verdict{Action: kernel.RetryAfter} // without a delay
	s := newSite(t, before(again, nil))
	if _, err := s.echo(context.Background(), "orders"); kernel.CodeOf(err) != kernel.CodeLimit || len(s.calls) > 0 {
		t.Errorf("before: reached %d times, %v", len(s.calls), err)
	}
	s = newSite(t, after(again, nil))
	if _, err := s.echo(context.Background(), "orders"); kernel.CodeOf(err) != kernel.CodeLimit || len(s.calls) != 10 {
		t.Errorf("after: reached %d times, %v", len(s.calls), err)
	}
}

// Who waits for a hook's delay can give up.
func TestRetryDelayHonoursTheContext(t *testing.T) {
	s := newSite(t, before(kernel.Verdict{Action: kernel.RetryAfter, Delay: time.Hour}, nil))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := s.echo(ctx, "orders")
	if kernel.CodeOf(err) != kernel.CodeTimeout || time.Since(start) > 2*time.Second {
		t.Errorf("after %s: %v", time.Since(start), err)
	}
}

func TestReplaceAfter(t *testing.T) {
	s := newSite(t, after(kernel.Verdict{Action: kernel.Replace, Value: "redacted"}, nil))
	reply, err := s.echo(context.Background(), "orders")
	if err != nil || reply.Value != "redacted" || string(reply.Body) != "body" {
		t.Errorf("%+v, %v", reply, err)
	}
}

// The first hook is the outermost, and each sees what those before it left.
func TestOrderOfHooks(t *testing.T) {
	var order []string
	stage := func(name string) hook {
		return hook{
			before: func(call *kernel.PortCall) (kernel.Verdict, error) {
				order = append(order, name+" before "+call.Args["key"].(string))
				return kernel.Verdict{Action: kernel.Replace, Value: map[string]any{"topic": "orders", "key": name}}, nil
			},
			after: func(call *kernel.PortCall, _ *kernel.PortReply, err error) (kernel.Verdict, error) {
				order = append(order, name+" after "+call.Args["key"].(string))
				return kernel.Verdict{}, err
			},
		}
	}
	s := newSite(t, stage("a"), stage("b"))
	call := calling("test.echo", topics("orders"))
	call.Args = map[string]any{"topic": "orders", "key": "start"}
	if _, err := s.Call(context.Background(), call); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a before start", "b before a", "b after b", "a after a"}; !slices.Equal(order, want) {
		t.Errorf("%q, want %q", order, want)
	}
	if call.Args["key"] != "start" {
		t.Error("a hook changed the caller's arguments")
	}
}

// Where the record of a patched call cannot be written, the call does not happen.
func TestAuditFailureAfterAPatch(t *testing.T) {
	s := newSite(t)
	late := hook{before: func(*kernel.PortCall) (kernel.Verdict, error) {
		s.audit.err = errors.New("disk full")
		return kernel.Verdict{Action: kernel.Replace, Value: map[string]any{"topic": "orders"}}, nil
	}}
	s.Hook(ports.Registration{Name: "late", Match: ports.MatchOps([]string{"**"}), Hook: late})
	if _, err := s.echo(context.Background(), "orders"); kernel.CodeOf(err) != kernel.CodeAudit || len(s.calls) > 0 {
		t.Errorf("reached %d times, %v", len(s.calls), err)
	}
}

// Each hook counts its own attempts: those of one further out begin anew.
func TestHooksCountAttempts(t *testing.T) {
	var seen []string
	note := func(name string, again int) hook {
		return hook{
			before: func(call *kernel.PortCall) (kernel.Verdict, error) {
				seen = append(seen, fmt.Sprint(name, call.Attempt, call.Message == nil))
				if call.Message == nil {
					call.Message = &kernel.Message{}
				}
				return kernel.Verdict{}, nil
			},
			after: func(call *kernel.PortCall, _ *kernel.PortReply, _ error) (kernel.Verdict, error) {
				seen = append(seen, fmt.Sprint(name, call.Attempt))
				if call.Attempt < again {
					return kernel.Verdict{Action: kernel.RetryAfter}, nil
				}
				return kernel.Verdict{}, nil
			},
		}
	}
	s := newSite(t, note("a", 2), note("b", 2))
	if _, err := s.echo(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	// The first attempt's message is shared; another's is made anew.
	want := []string{"a1 true", "b1 false", "b1", "b2 true", "b2", "a1", "a2 true", "b1 false", "b1", "b2 true", "b2", "a2"}
	if !slices.Equal(seen, want) {
		t.Errorf("got  %v\nwant %v", seen, want)
	}
}
