package pool_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/llm"
	"github.com/hexdag/hexdag/host/ports/llm/mockllm"
	"github.com/hexdag/hexdag/host/ports/pool"
)

// member answers its name, or as it is told.
type member struct {
	mu    sync.Mutex
	err   error
	value kernel.Value
	calls int
	paid  int
}

func (m *member) ops(names ...string) []ports.Op {
	var ops []ports.Op
	for _, name := range names {
		ops = append(ops, ports.Op{Name: name, Guards: []string{"model"}, Meter: func(*kernel.RunContext, *kernel.PortReply) { m.paid++ },
			Func: func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
				m.mu.Lock()
				defer m.mu.Unlock()
				m.calls++
				return &kernel.PortReply{Value: m.value}, m.err
			}})
	}
	return ops
}

func says(content any) kernel.Value { return map[string]any{"content": content} }

func coded(code kernel.Code) error { return &kernel.Error{Code: code, What: "it is " + string(code)} }

func newPool(t *testing.T, strategy, op string, members ...*member) ports.Op {
	t.Helper()
	var lists [][]ports.Op
	for _, m := range members {
		lists = append(lists, m.ops(op))
	}
	ops, err := pool.New(strategy, lists...)
	if err != nil {
		t.Fatal(err)
	}
	return ops[0]
}

func ask(t *testing.T, op ports.Op) (kernel.Value, error) {
	t.Helper()
	ctx := kernel.WithRun(t.Context(), &kernel.RunContext{})
	reply, err := op.Func(ctx, &kernel.PortCall{Op: op.Name})
	if err != nil {
		return nil, err
	}
	return reply.Value, nil
}

func calls(members ...*member) []int {
	var n []int
	for _, m := range members {
		n = append(n, m.calls)
	}
	return n
}

func TestStrategies(t *testing.T) {
	for strategy, want := range map[string][]int{"": {2, 2, 2}, pool.RoundRobin: {2, 2, 2}, pool.Failover: {6, 0, 0}} {
		a, b, c := &member{value: says("a")}, &member{value: says("b")}, &member{value: says("c")}
		op := newPool(t, strategy, "llm.complete", a, b, c)
		for range 6 {
			if _, err := ask(t, op); err != nil {
				t.Error(err)
			}
		}
		if diff := cmp.Diff(want, calls(a, b, c)); diff != "" {
			t.Errorf("%s: %s", strategy, diff)
		}
	}
}

func TestGoesOn(t *testing.T) {
	for name, c := range map[string]struct {
		op      string
		members []*member
		want    kernel.Value
		code    kernel.Code
		calls   []int
	}{
		"from a failure":             {"llm.complete", []*member{{err: coded(kernel.CodeUnavailable)}, {value: says("b")}}, says("b"), "", []int{1, 1}},
		"from an unknown model":      {"llm.complete", []*member{{err: coded(kernel.CodeNotFound)}, {value: says("b")}}, says("b"), "", []int{1, 1}},
		"from an error without code": {"llm.complete", []*member{{err: errors.New("boom")}, {value: says("b")}}, says("b"), "", []int{1, 1}},
		"from nothing":               {"llm.complete", []*member{{value: says(nil)}, {value: says("b")}}, says("b"), "", []int{1, 1}},
		"from no value":              {"llm.complete", []*member{{}, {value: says("b")}}, says("b"), "", []int{1, 1}},
		"to nothing in the end":      {"llm.complete", []*member{{value: says(nil)}, {err: coded(kernel.CodeFailed)}}, says(nil), "", []int{1, 1}},
		"not from an empty text":     {"llm.complete", []*member{{value: says("")}, {value: says("b")}}, says(""), "", []int{1, 0}},
		"not from another's null":    {"memory.get", []*member{{}, {value: says("b")}}, nil, "", []int{1, 0}},
		"not from a denial":          {"llm.complete", []*member{{err: coded(kernel.CodeDenied)}, {value: says("b")}}, nil, kernel.CodeDenied, []int{1, 0}},
		"not from bad arguments":     {"llm.complete", []*member{{err: coded(kernel.CodeArguments)}, {value: says("b")}}, nil, kernel.CodeArguments, []int{1, 0}},
		"not from a canceled call":   {"llm.complete", []*member{{err: coded(kernel.CodeCanceled)}, {value: says("b")}}, nil, kernel.CodeCanceled, []int{1, 0}},
		"not from a run's limit":     {"llm.complete", []*member{{err: coded(kernel.CodeLimit)}, {value: says("b")}}, nil, kernel.CodeLimit, []int{1, 0}},
		"from a full memory":         {"memory.set", []*member{{err: coded(kernel.CodeLimit)}, {value: says("b")}}, says("b"), "", []int{1, 1}},
		"not from what may be done":  {"database.insert", []*member{{err: coded(kernel.CodeTimeout)}, {value: says("b")}}, nil, kernel.CodeTimeout, []int{1, 0}},
		"from what was not done":     {"database.insert", []*member{{err: coded(kernel.CodeRetry)}, {value: says("b")}}, says("b"), "", []int{1, 1}},
	} {
		got, err := ask(t, newPool(t, pool.Failover, c.op, c.members...))
		if diff := cmp.Diff(c.want, got); diff != "" || kernel.CodeOf(err) != c.code {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if diff := cmp.Diff(c.calls, calls(c.members...)); diff != "" {
			t.Errorf("%s: calls %s", name, diff)
		}
		for i, m := range c.members {
			if want := m.calls; m.err == nil && m.paid != want {
				t.Errorf("%s: member %d answered %d times and was paid %d times", name, i+1, want, m.paid)
			}
		}
	}
}

func TestAllFail(t *testing.T) {
	op := newPool(t, pool.RoundRobin, "llm.complete", &member{err: coded(kernel.CodeUnavailable)}, &member{err: coded(kernel.CodeTimeout)}, &member{err: errors.New("boom")})
	for range 2 {
		_, err := ask(t, op)
		if kernel.CodeOf(err) != kernel.CodeUnavailable {
			t.Error(err)
		}
		for _, text := range []string{"all 3 members", "member 1: it is port.unavailable", "member 2: it is timeout", "member 3: boom"} {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%v does not say %q", err, text)
			}
		}
	}
	later := func(d time.Duration) *member {
		return &member{err: &kernel.Error{Code: kernel.CodeRetry, RetryAfter: d}}
	}
	_, err := ask(t, newPool(t, "", "llm.complete", later(time.Minute), later(time.Second)))
	var e *kernel.Error
	if !errors.As(err, &e) || e.Code != kernel.CodeRetry || e.RetryAfter != time.Second {
		t.Errorf("%v, after %s", err, e.RetryAfter)
	}
}

func TestEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := &member{value: says("b")}
	first := ports.Op{Name: "llm.complete", Guards: []string{"model"}, Func: func(ctx context.Context, _ *kernel.PortCall) (*kernel.PortReply, error) {
		cancel()
		return nil, coded(kernel.CodeUnavailable)
	}}
	ops, err := pool.New(pool.Failover, []ports.Op{first}, b.ops("llm.complete"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ops[0].Func(ctx, &kernel.PortCall{}); err == nil || b.calls != 0 {
		t.Errorf("%v, %d calls after the end", err, b.calls)
	}
}

func TestConfiguration(t *testing.T) {
	one := func(names ...string) []ports.Op { return (&member{}).ops(names...) }
	guarded := one("llm.complete")
	guarded[0].Guards = nil
	deciding := one("llm.complete")
	deciding[0].Decides = true
	for name, c := range map[string]struct {
		strategy string
		members  [][]ports.Op
		says     string
	}{
		"no strategy of that name": {"random", [][]ports.Op{one("llm.complete")}, "there is no strategy random; it is round_robin or failover"},
		"nobody":                   {"", nil, "0 members"},
		"too many":                 {"", slices.Repeat([][]ports.Op{one("llm.complete")}, 65), "65 members"},
		"another port":             {"", [][]ports.Op{one("llm.complete"), one("memory.get")}, "member 2 memory.get(model)"},
		"more operations":          {"", [][]ports.Op{one("llm.complete"), one("llm.complete", "llm.embed")}, "different operations"},
		"fewer operations":         {"", [][]ports.Op{one("llm.complete", "llm.embed"), one("llm.complete")}, "different operations"},
		"fewer guards":             {"", [][]ports.Op{one("llm.complete"), guarded}, "different operations"},
		"one that decides":         {"", [][]ports.Op{one("llm.complete"), deciding}, "different operations"},
	} {
		ops, err := pool.New(c.strategy, c.members...)
		if kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), c.says) || ops != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The same operations in another order are the same.
	ops, err := pool.New("", one("a.x", "a.y"), one("a.y", "a.x"))
	if err != nil || ops[0].Name != "a.x" || !slices.Equal(ops[0].Guards, []string{"model"}) {
		t.Errorf("%v, %v", ops, err)
	}
}

func TestConcurrently(t *testing.T) {
	members := []*member{{value: says("a")}, {value: says("b")}, {err: coded(kernel.CodeUnavailable)}}
	var lists [][]ports.Op
	for _, m := range members {
		ops := m.ops("llm.complete")
		ops[0].Meter = nil // it is not for several goroutines
		lists = append(lists, ops)
	}
	ops, err := pool.New("", lists...)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			if _, err := ops[0].Func(t.Context(), &kernel.PortCall{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := calls(members...); got[2] != 10 || got[0]+got[1] != 30 {
		t.Errorf("calls %v", got)
	}
}

// TestOnlyCalls: a model that calls tools and says nothing has answered.
func TestOnlyCalls(t *testing.T) {
	calling := map[string]any{"content": nil, "tool_calls": []any{map[string]any{"id": "1", "name": "look"}}}
	first, second := &member{value: calling}, &member{value: says("no")}
	got, err := ask(t, newPool(t, pool.Failover, "llm.complete", first, second))
	if answer, _ := got.(map[string]any); err != nil || answer["tool_calls"] == nil || second.calls != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// TestModels pools two real models behind a door, which charges each answer once.
func TestModels(t *testing.T) {
	var members [][]ports.Op
	for _, name := range []string{"one", "two"} {
		model, err := mockllm.New(mockllm.Config{Responses: []any{name}})
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, llm.New(model).Ops())
	}
	ops, err := pool.New("", members...)
	if err != nil {
		t.Fatal(err)
	}
	door := ports.NewDoor(allow{}, allow{})
	if err := door.Register(ops...); err != nil {
		t.Fatal(err)
	}
	run := &kernel.RunContext{}
	var got []string
	for range 2 {
		reply, err := door.Call(kernel.WithRun(t.Context(), run), &kernel.PortCall{Op: "llm.complete", Args: map[string]any{"messages": []any{map[string]any{"role": "user", "content": "hi"}}}})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(reply.Value.(map[string]any)["content"]))
	}
	if !slices.Equal(got, []string{"one", "two"}) || run.Usage.LLMCalls.Load() != 2 {
		t.Errorf("%v, %d calls charged", got, run.Usage.LLMCalls.Load())
	}
}

type allow struct{}

func (allow) Authorize(context.Context, *kernel.AccessRequest) (kernel.Decision, error) {
	return kernel.Decision{Effect: kernel.Allow}, nil
}
func (allow) Audit(context.Context, *kernel.AuditRecord) error { return nil }
