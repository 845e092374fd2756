package kernel

import (
	"context"
	"fmt"
	"math"
	"sync"
)

// Limits is what a run may spend. A nil field has no limit; 0 allows nothing.
type Limits struct {
	LLMCalls  *float64
	ToolCalls *float64
	Tokens    *float64
	CostUSD   *float64
	Warning   float64 // the share of a limit at which a warning is due
}

// Price is what a model's tokens cost.
type Price struct{ InputPerMillion, OutputPerMillion float64 } // US dollars

// Spending is what a run has spent of its Limits, and what calls under way may
// still spend. It may be used by several goroutines.
type Spending struct {
	Limits Limits
	// Price answers for a model; nil knows none.
	Price func(model string) (Price, bool)

	mu       sync.Mutex
	calls    float64 // of models, those that failed included
	reserved float64 // tokens
	cost     float64 // US dollars
	warned   map[string]bool
}

// Cost returns what the run's models have cost so far, in US dollars.
func (s *Spending) Cost() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cost
}

// StartLLM admits a call of a model; tokens is what it may take at
// most, 0 if that is not known. done is called with what it took.
func (r *RunContext) StartLLM(ctx context.Context, tokens int64) (done func(model string, input, output int64) error, err error) {
	r = r.paying()
	s := &r.Spending
	s.mu.Lock()
	defer s.mu.Unlock()
	used := float64(r.Usage.InputTokens.Load() + r.Usage.OutputTokens.Load())
	for _, c := range []struct {
		name        string
		limit       *float64
		used, wants float64
	}{
		{"max_llm_calls", s.Limits.LLMCalls, s.calls, 1},
		{"max_total_tokens", s.Limits.Tokens, used + s.reserved, math.Max(float64(tokens), 1)},
		{"max_cost_usd", s.Limits.CostUSD, s.cost, math.SmallestNonzeroFloat64},
	} {
		if err := s.admit(ctx, c.name, c.limit, c.used, c.wants); err != nil {
			return nil, err
		}
	}
	s.calls++
	s.reserved += float64(tokens)
	return func(model string, input, output int64) error { return r.endLLM(ctx, model, tokens, input, output) }, nil
}

// endLLM settles a call. One that took nothing got no answer.
func (r *RunContext) endLLM(ctx context.Context, model string, reserved, input, output int64) error {
	if input+output > 0 {
		r.Usage.LLMCalls.Add(1)
	}
	r.Usage.InputTokens.Add(input)
	r.Usage.OutputTokens.Add(output)
	if run := RunFrom(ctx); run != nil && run.Journal != nil {
		run.Journal.Charged(ctx, Charge{Model: model, Input: input, Output: output})
	}
	s := &r.Spending
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserved -= float64(reserved)
	var price Price
	known := false
	if s.Price != nil {
		price, known = s.Price(model)
	}
	s.cost += (float64(input)*price.InputPerMillion + float64(output)*price.OutputPerMillion) / 1e6
	s.warn(ctx, "max_llm_calls", s.Limits.LLMCalls, s.calls)
	s.warn(ctx, "max_total_tokens", s.Limits.Tokens, float64(r.Usage.InputTokens.Load()+r.Usage.OutputTokens.Load()))
	s.warn(ctx, "max_cost_usd", s.Limits.CostUSD, s.cost)
	if s.Limits.CostUSD != nil && !known && input+output > 0 {
		return &Error{Code: CodeLimit, What: "the cost of model " + Quote(model) + " is not known", Why: "limits.max_cost_usd cannot be enforced without its price", Fix: "have the operator add it under prices: {" + Quote(model) + ": {input: ..., output: ...}}"}
	}
	return nil
}

// Recharge counts what a call cost that was done before, and is not done again.
func (r *RunContext) Recharge(c Charge) {
	r = r.paying()
	r.Spending.mu.Lock()
	r.Spending.calls++
	r.Spending.mu.Unlock()
	_ = r.endLLM(context.Background(), c.Model, 0, c.Input, c.Output) // it was admitted then; nobody is warned again
}

// StartTool admits a call of a tool and counts it.
func (r *RunContext) StartTool(ctx context.Context) error {
	r = r.paying()
	s := &r.Spending
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.admit(ctx, "max_tool_calls", s.Limits.ToolCalls, float64(r.Usage.ToolCalls.Load()), 1); err != nil {
		return err
	}
	s.warn(ctx, "max_tool_calls", s.Limits.ToolCalls, float64(r.Usage.ToolCalls.Add(1)))
	return nil
}

// admit refuses what would go past a limit.
func (s *Spending) admit(ctx context.Context, name string, limit *float64, used, wants float64) error {
	if limit == nil || used+wants <= *limit {
		return nil
	}
	Emit(ctx, &Event{Type: ResourceLimitExceeded, Resource: name, Used: used, Limit: *limit})
	return &Error{Code: CodeLimit, What: "the run has spent what it may", Why: fmt.Sprintf("limits.%s is %v, and %v of it is used", name, *limit, used), Fix: "raise it in the pipeline's spec.limits, or do less in one run"}
}

// warn says once that most of a limit is used up.
func (s *Spending) warn(ctx context.Context, name string, limit *float64, used float64) {
	if limit == nil || *limit <= 0 || used < s.Limits.Warning**limit || s.warned[name] {
		return
	}
	if s.warned == nil {
		s.warned = map[string]bool{}
	}
	s.warned[name] = true
	Emit(ctx, &Event{Type: ResourceWarning, Resource: name, Used: used, Limit: *limit})
}
