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
	kept     sums
	released bool
}

// StartLLM admits a call of a model, and keeps for it what it may take at most, of the limits of the run, of those of the runs
// that led to it and of those of its tenant, until it is settled: calls at once do not get past a limit together. The error is
// of CodeLimit.
func (r *RunContext) StartLLM(ctx context.Context, call LLMCall) (*Admission, error) {
	r = r.paying()
	s := &r.Spending
	defer s.lock()()
	for w := s; w != nil; w = w.Within {
		if err := w.admit(ctx, w == s, "max_llm_calls", w.Limits.LLMCalls, w.used().calls, 1); err != nil {
			return nil, err
		}
	}
	price, known := s.priceOf(call.Model)
	if call.Model != "" && !known && s.costs() {
		return nil, unpriced(call.Model)
	}
	a := &Admission{Output: call.Output, run: r, ctx: ctx}
	if a.Output == 0 && s.bounded() {
		most := int64(DefaultOutput)
		for w := s; w != nil; w = w.Within {
			most = min(most, w.room(call.Input, price))
		}
		a.Output = max(1, most)
	}
	a.Output = max(a.Output, 0)
	a.kept = sums{tokens: float64(call.Input + a.Output), cost: price.of(call.Input, a.Output)}
	for w := s; w != nil; w = w.Within {
		if err := w.fits(ctx, w == s, a.kept); err != nil {
			return nil, err
		}
	}
	s.spend(sums{calls: 1})
	s.keep(a.kept, 1)
	return a, nil
}

// Bounded reports whether tokens or money of the run, or of what it is within, have a limit.
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
	room, used := float64(math.MaxInt64/2), s.used()
	if l := s.Limits.Tokens; l != nil {
		room = math.Min(room, *l-used.tokens-s.reserved.tokens-float64(input))
	}
	if _, out := price.perMillion(input); s.Limits.CostUSD != nil && out > 0 {
		room = math.Min(room, (*s.Limits.CostUSD-used.cost-s.reserved.cost-price.of(input, 0))*1e6/out)
	}
	return int64(math.Max(room, 0))
}

// fits refuses a call that may go past a limit; own says that it is the limit of the run that makes it. It is called with the lock.
func (s *Spending) fits(ctx context.Context, own bool, wants sums) error {
	used := s.used()
	for _, c := range []struct {
		name                        string
		limit                       *float64
		used, reserved, wants, most float64
		unit                        string
	}{
		{"max_total_tokens", s.Limits.Tokens, used.tokens, s.reserved.tokens, wants.tokens, 1, "tokens"},
		{"max_cost_usd", s.Limits.CostUSD, used.cost, s.reserved.cost, wants.cost, math.SmallestNonzeroFloat64, "dollars"},
	} {
		if c.limit == nil || c.used+c.reserved+math.Max(c.wants, c.most) <= *c.limit {
			continue
		}
		more := fmt.Sprintf("; this call may take %s %s", amount(c.wants), c.unit)
		if c.reserved > 0 {
			more += fmt.Sprintf(", and those under way %s", amount(c.reserved))
		}
		return s.exceeded(ctx, own, c.name, *c.limit, c.used, more)
	}
	return nil
}

// amount is a number as a person reads it.
func amount(v float64) string { return fmt.Sprintf("%.6g", v) }

// keep adds to what is kept for calls under way, or, with sign -1, takes it from that. It is called with the locks.
func (s *Spending) keep(o sums, sign float64) {
	for w := s; w != nil; w = w.Within {
		w.reserved.tokens += sign * o.tokens
		w.reserved.cost += sign * o.cost
	}
}

// Release gives up what is kept for the call: others that are made in its course are admitted for themselves.
func (a *Admission) Release() {
	defer a.run.Spending.lock()()
	a.release()
}

// Withdraw ends a call that was not made after all.
func (a *Admission) Withdraw() {
	defer a.run.Spending.lock()()
	a.release()
	a.run.Spending.spend(sums{calls: -1})
}

// release is called with the locks of all.
func (a *Admission) release() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.released {
		return
	}
	a.released = true
	a.run.Spending.keep(a.kept, -1)
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
	defer s.lock()()
	price, known := s.priceOf(model)
	took := sums{tokens: float64(input + output), cost: price.of(input, output)}
	if a != nil {
		a.release()
		s.spend(took)
	} else { // a call of another process, or of a time before: what this is within has counted it then
		s.own.add(took)
	}
	for w := s; w != nil; w = w.Within {
		used := w.used()
		w.warn(ctx, w == s, "max_llm_calls", w.Limits.LLMCalls, used.calls)
		w.warn(ctx, w == s, "max_total_tokens", w.Limits.Tokens, used.tokens)
		w.warn(ctx, w == s, "max_cost_usd", w.Limits.CostUSD, used.cost)
	}
	if s.costs() && !known && input+output > 0 {
		return unpriced(model)
	}
	return nil
}

func unpriced(model string) error {
	return &Error{Code: CodeLimit, What: "the cost of model " + Quote(model) + " is not known", Why: "a limit of money cannot be enforced without its price", Fix: "have the operator add it under prices: {" + Quote(model) + ": {input: ..., output: ...}}"}
}

// Recharge counts what a call cost that was done before, and is not done again.
func (r *RunContext) Recharge(c Charge) {
	r = r.paying()
	r.Spending.recall(sums{calls: 1})
	_ = r.endLLM(context.Background(), nil, c.Model, c.Input, c.Output) // it was admitted then; nobody is warned again
}
