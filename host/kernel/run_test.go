package kernel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// door notes the calls of a run.
type door struct{ calls []*PortCall }

func (d *door) call(_ context.Context, c *PortCall) (*PortReply, error) {
	d.calls = append(d.calls, c)
	switch c.Op {
	case "llm.embed":
		return &PortReply{Value: map[string]any{"embeddings": []any{[]any{Number(1), Number(2)}}}}, nil
	case "llm.complete":
		if c.Tell != nil {
			c, again := c.Attempts()
			c.Tell("good")
			again()
			again() // of an attempt that told nothing
			c.Tell("hel")
			c.Tell("lo")
		}
		return &PortReply{Value: map[string]any{"content": "hello"}}, nil
	case "memory.get":
		return &PortReply{Value: map[string]any{"value": "kept", "found": true}}, nil
	case "governance.authorize":
		return &PortReply{Value: map[string]any{"effect": "deny", "reasons": []any{}}}, nil
	}
	return &PortReply{Value: c.Args}, nil
}

func TestAccessors(t *testing.T) {
	d := &door{}
	run := &RunContext{RunID: "r", Principal: "ann", Door: d.call}
	ctx := t.Context()
	if text, err := run.LLM().Complete(ctx, []any{map[string]any{"role": "user", "content": "hi"}}); text != "hello" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	var told []string
	if text, err := run.LLM().Stream(ctx, []any{map[string]any{"role": "user", "content": "hi"}}, func(attempt int, piece string) { told = append(told, fmt.Sprintf("%d %s", attempt, piece)) }); text != "hello" || strings.Join(told, "|") != "1 good|2 hel|2 lo" || err != nil {
		t.Errorf("%q, told %q, %v", text, told, err)
	}
	if v, err := run.LLM().Embed(ctx, []string{"a"}); err != nil || len(v) != 1 || v[0][1] != 2 {
		t.Errorf("%v, %v", v, err)
	}
	if _, err := run.LLM().Embed(ctx, []string{"a", "b"}); CodeOf(err) != CodeFailed {
		t.Errorf("one vector of two texts: %v", err)
	}
	if v, err := run.Memory().Get(ctx, "k"); v != "kept" || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	if err := run.Memory().Set(ctx, "k", "v"); err != nil {
		t.Error(err)
	}
	if _, err := run.Database().Query(ctx, map[string]any{"table": "t"}); err != nil {
		t.Error(err)
	}
	if _, err := run.Artifacts().Store(ctx, "n", 1); err != nil {
		t.Error(err)
	}
	if _, eof, err := run.Files().Read(ctx, "f", 7); eof || err != nil {
		t.Error(eof, err)
	}
	if err := run.Files().Write(ctx, "f", []byte("x")); err != nil || string(d.calls[len(d.calls)-1].Body) != "x" {
		t.Error(err)
	}
	if err := run.Vectors().Upsert(ctx, "c", []any{map[string]any{"id": "a", "vector": []any{1}}}); err != nil {
		t.Error(err)
	}
	if _, err := run.Vectors().Search(ctx, map[string]any{"collection": "c"}); err != nil {
		t.Error(err)
	}
	if decision, err := run.Governance().Authorize(ctx, "pay", map[string]any{"type": "order"}); err != nil || decision.Effect != Forbid {
		t.Errorf("%+v, %v", decision, err)
	}
	var ops []string
	for _, c := range d.calls {
		ops = append(ops, c.Op)
		if c.Caller.Principal != "ann" {
			t.Errorf("%s is called by %q", c.Op, c.Caller.Principal)
		}
	}
	if got := strings.Join(ops, " "); got != "llm.complete llm.complete llm.embed llm.embed memory.get memory.set database.query artifacts.store file_storage.read file_storage.write vector_search.upsert vector_search.search governance.authorize" {
		t.Errorf("calls %s", got)
	}
	if _, err := (&RunContext{}).LLM().Complete(ctx, nil); CodeOf(err) != CodeUnavailable {
		t.Errorf("outside a run: %v", err)
	}
	if old := func(c *ExecutionContext) string { return c.RunID }; old(run) != "r" { // the name that hexDAG had
		t.Error("not the same type")
	}
}

func TestRunMemoryIsBounded(t *testing.T) {
	var m RunMemory
	big := strings.Repeat("x", maxRunMemory/2)
	if err := m.Set(map[string]Value{"a": big}, nil); err != nil {
		t.Fatal(err)
	}
	err := m.Set(map[string]Value{"b": "small", "c": big}, nil)
	if CodeOf(err) != CodeLimit || !strings.Contains(err.Error(), "8388608") {
		t.Errorf("%v", err)
	}
	if _, _, there := m.Get("b"); there {
		t.Error("half of an update was kept")
	}
	for range 5 { // in place of the old value, not beside it
		if err := m.Set(map[string]Value{"a": big}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Set(map[string]Value{"f": func() {}}, nil); CodeOf(err) != CodeArguments {
		t.Errorf("%v", err)
	}
}

// Calls at once never get past a limit of calls.
func TestLimitsUnderConcurrency(t *testing.T) {
	limit := 7.0
	run := &RunContext{}
	run.Spending.Limits = Limits{LLMCalls: &limit, ToolCalls: &limit}
	var mu sync.Mutex
	llm, tools := 0, 0
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			admitted, err := run.StartLLM(t.Context(), LLMCall{})
			if err == nil {
				err = admitted.Settle("m", 1, 1)
				mu.Lock()
				llm++
				mu.Unlock()
			}
			if err != nil && CodeOf(err) != CodeLimit {
				t.Error(err)
			}
			if run.StartTool(t.Context()) == nil {
				mu.Lock()
				tools++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if llm != 7 || tools != 7 || run.Usage.LLMCalls.Load() != 7 {
		t.Errorf("%d calls of models, %d of tools, %d counted", llm, tools, run.Usage.LLMCalls.Load())
	}
}

type lease struct {
	Lease
	name string
}

func (l *lease) Name() string                  { return l.name }
func (l *lease) Fence() Fence                  { return Fence{Lock: l.name, Token: 1} }
func (l *lease) Valid() bool                   { return true }
func (l *lease) Release(context.Context) error { return nil }

// A part of a run spends what is the run's, and counts where the run does.
func TestPartsStayWithinTheRun(t *testing.T) {
	two, price := 2.0, 1.0
	run := &RunContext{RunID: "r", Tenant: "t"}
	run.Spending.Limits = Limits{LLMCalls: &two, ToolCalls: &two, CostUSD: &price}
	run.Spending.Price = func(string) (Price, bool) { return Price{InputPerMillion: 1}, true }
	part := run.Part("p").Part("q") // what a part subscribes to is part of the same
	if part.ParentRunID != "p" || part.Tenant != "t" {
		t.Errorf("%+v", part)
	}
	for i, r := range []*RunContext{run, part} {
		admitted, err := r.StartLLM(t.Context(), LLMCall{})
		if err == nil {
			err = errors.Join(admitted.Settle("m", 10, 0), r.StartTool(t.Context()))
		}
		if r.CountPort(); err != nil || !r.CountCall("op", 2) {
			t.Errorf("%d: %v", i, err)
		}
		r.Count("c", 1)
	}
	for _, r := range []*RunContext{run, part} {
		if _, err := r.StartLLM(t.Context(), LLMCall{}); CodeOf(err) != CodeLimit {
			t.Errorf("a third call of a model: %v", err)
		}
		if err := r.StartTool(t.Context()); CodeOf(err) != CodeLimit {
			t.Errorf("a third tool: %v", err)
		}
		if r.CountCall("op", 2) {
			t.Error("a third call")
		}
		if used := r.Used(); used.LLMCalls != 2 || used.ToolCalls != 2 || used.PortCalls != 2 || used.InputTokens != 20 {
			t.Errorf("used %+v", used)
		}
	}
	if run.Counters()["c"] != 2 || run.Spending.Cost() == 0 {
		t.Error(run.Counters(), run.Spending.Cost())
	}
}

// A part acts under the run's locks, and holds no more of them than both may.
func TestPartsHoldLeasesTogether(t *testing.T) {
	run := &RunContext{}
	part, other := run.Part("p"), run.Part("q")
	a, b := &lease{name: "a"}, &lease{name: "b"}
	if !run.Leases.Add("", a, 2) || !part.Leases.Add("", b, 2) {
		t.Fatal("two of two")
	}
	if other.Leases.Add("", &lease{name: "c"}, 2) || run.Leases.Add("", &lease{name: "c"}, 2) {
		t.Error("three of two")
	}
	if fences, err := FencesFrom(WithRun(t.Context(), part)); err != nil || len(fences) != 2 {
		t.Error(fences, err)
	}
	if fences, err := FencesFrom(WithRun(t.Context(), run)); err != nil || len(fences) != 1 {
		t.Error(fences, err)
	}
	if err := part.Leases.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !other.Leases.Add("", b, 2) {
		t.Error("what a part gave back is counted")
	}
	if run.Leases.Remove(a); !run.Leases.Add("", a, 2) {
		t.Error("what was removed is counted")
	}
}
