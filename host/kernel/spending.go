package kernel

import (
	"context"
	"fmt"
	"math"
	"sync"
)

// DefaultOutput is how many tokens an answer may have at most that has no bound of its own, in
// a run whose tokens or money have a limit: else nobody could say that it stays within it.
const DefaultOutput = 4096

// LLMCall is what a call of a model may take, as far as that is known before it.
type LLMCall struct {
	Model  string // "" where the backend does not say which it will ask
	Input  int64  // tokens, estimated
	Output int64  // tokens at most; 0 has no bound, and below 0 there are none
}

// Admission is a call of a model that may be made, and what is kept for it.
type Admission struct {
	// Output is how many tokens the answer may have; 0 has no bound.
	Output int64

	run      *RunContext
	ctx      context.Context
	mu       sync.Mutex
	tokens   float64
	cost     float64
	released bool
}

// StartLLM admits a call of a model, and keeps for it what it may take at most, of the run's limits and
// of those of its tenant, until it is settled: calls at once do not get past a limit together. The error is
// of CodeLimit.
func (r *RunContext) StartLLM(ctx context.Context, call LLMCall) (*Admission, error) {
	r = r.paying()
	s := &r.Spending
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.Within; w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
	}
	if err := s.admit(ctx, "max_llm_calls", s.Limits.LLMCalls, s.calls, 1); err != nil {
		return nil, err
	}
	price, known := s.priceOf(call.Model)
	if call.Model != "" && !known && s.costs() {
		return nil, unpriced(call.Model)
	}
	a := &Admission{Output: call.Output, run: r, ctx: ctx}
	if a.Output == 0 && s.bounded() {
		a.Output = max(1, min(DefaultOutput, s.room(call.Input, price), s.Within.room(call.Input, price)))
	}
	a.Output = max(a.Output, 0)
	a.tokens, a.cost = float64(call.Input+a.Output), price.of(call.Input, a.Output)
	if err := s.fits(ctx, a, ""); err != nil {
		return nil, err
	}
	if err := s.Within.fits(ctx, a, "tenant"); err != nil {
		return nil, err
	}
	s.calls++
	s.keep(a.tokens, a.cost)
	s.Within.keep(a.tokens, a.cost)
	return a, nil
}

// Bounded reports whether tokens or money of the run, or of its tenant, have a limit.
func (r *RunContext) Bounded() bool { return r.paying().Spending.bounded() }

func (s *Spending) priceOf(model string) (Price, bool) {
	if s.Price == nil {
		return Price{}, false
	}
	price, known := s.Price(model)
	if !known {
		price = Price{}
	}
	return price, known
}

// costs reports whether money has a limit.
func (s *Spending) costs() bool {
	return s != nil && (s.Limits.CostUSD != nil || s.Within.costs())
}

// bounded reports whether what an answer may have at most matters.
func (s *Spending) bounded() bool {
	return s != nil && (s.Limits.Tokens != nil || s.Limits.CostUSD != nil || s.Within.bounded())
}

// room is how many tokens of an answer there is room for after such a prompt. It is called with the lock.
func (s *Spending) room(input int64, price Price) int64 {
	room := float64(math.MaxInt64 / 2)
	if s == nil {
		return int64(room)
	}
	if l := s.Limits.Tokens; l != nil {
		room = math.Min(room, *l-s.tokens-s.reservedTokens-float64(input))
	}
	if _, out := price.perMillion(input); s.Limits.CostUSD != nil && out > 0 {
		room = math.Min(room, (*s.Limits.CostUSD-s.cost-s.reservedCost-price.of(input, 0))*1e6/out)
	}
	return int64(math.Max(room, 0))
}

// fits refuses a call that may go past a limit. It is called with the lock.
func (s *Spending) fits(ctx context.Context, a *Admission, whose string) error {
	if s == nil {
		return nil
	}
	for _, c := range []struct {
		name                        string
		limit                       *float64
		used, reserved, wants, most float64
		unit                        string
	}{
		{"max_total_tokens", s.Limits.Tokens, s.tokens, s.reservedTokens, a.tokens, 1, "tokens"},
		{"max_cost_usd", s.Limits.CostUSD, s.cost, s.reservedCost, a.cost, math.SmallestNonzeroFloat64, "dollars"},
	} {
		if c.limit == nil || c.used+c.reserved+math.Max(c.wants, c.most) <= *c.limit {
			continue
		}
		more := fmt.Sprintf("; this call may take %s %s", amount(c.wants), c.unit)
		if c.reserved > 0 {
			more += fmt.Sprintf(", and those under way %s", amount(c.reserved))
		}
		if whose == "" {
			return exceeded(ctx, c.name, *c.limit, c.used, more)
		}
		name := "tenant_limits." + map[string]string{"tokens": "tokens", "dollars": "cost_usd"}[c.unit]
		Emit(ctx, &Event{Type: ResourceLimitExceeded, Resource: name, Used: c.used, Limit: *c.limit})
		return &Error{Code: CodeLimit, What: "the tenant has spent what it may", Why: fmt.Sprintf("%s is %v, and %v of it is used", name, *c.limit, c.used) + more, Fix: "have the operator raise it"}
	}
	return nil
}

// amount is a number as a person reads it.
func amount(v float64) string { return fmt.Sprintf("%.6g", v) }

// keep adds to what is kept for calls under way. It is called with the lock.
func (s *Spending) keep(tokens, cost float64) {
	if s != nil {
		s.reservedTokens += tokens
		s.reservedCost += cost
	}
}

// Release gives up what is kept for the call: others that are made in its course are admitted for themselves.
func (a *Admission) Release() {
	s := &a.run.Spending
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.Within; w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
	}
	a.release()
}

// Withdraw ends a call that was not made after all.
func (a *Admission) Withdraw() {
	a.Release()
	s := &a.run.Spending
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls--
}

// release is called with the locks of both.
func (a *Admission) release() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.released {
		return
	}
	a.released = true
	a.run.Spending.keep(-a.tokens, -a.cost)
	a.run.Spending.Within.keep(-a.tokens, -a.cost)
}

// Settle ends the call with what it took. One that took nothing got no answer. The error is of CodeLimit,
// where nobody knows what the answer has cost, and that has a limit.
func (a *Admission) Settle(model string, input, output int64) error {
	return a.run.endLLM(a.ctx, a, model, input, output)
}

func (r *RunContext) endLLM(ctx context.Context, a *Admission, model string, input, output int64) error {
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
	if w := s.Within; w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
	}
	if a != nil {
		a.release()
	}
	price, known := s.priceOf(model)
	s.spend(input+output, price.of(input, output))
	if a != nil { // else it is a call of another process, or of a time before
		s.Within.spend(input+output, price.of(input, output))
	}
	s.warn(ctx, "max_llm_calls", s.Limits.LLMCalls, s.calls)
	s.warn(ctx, "max_total_tokens", s.Limits.Tokens, s.tokens)
	s.warn(ctx, "max_cost_usd", s.Limits.CostUSD, s.cost)
	if s.costs() && !known && input+output > 0 {
		return unpriced(model)
	}
	return nil
}

// spend is called with the lock.
func (s *Spending) spend(tokens int64, cost float64) {
	if s != nil {
		s.tokens += float64(tokens)
		s.cost += cost
	}
}

func unpriced(model string) error {
	return &Error{Code: CodeLimit, What: "the cost of model " + Quote(model) + " is not known", Why: "a limit of money cannot be enforced without its price", Fix: "have the operator add it under prices: {" + Quote(model) + ": {input: ..., output: ...}}"}
}

// Recharge counts what a call cost that was done before, and is not done again.
func (r *RunContext) Recharge(c Charge) {
	r = r.paying()
	r.Spending.mu.Lock()
	r.Spending.calls++
	r.Spending.mu.Unlock()
	_ = r.endLLM(context.Background(), nil, c.Model, c.Input, c.Output) // it was admitted then; nobody is warned again
}
