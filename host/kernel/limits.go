package kernel

import (
	"context"
	"fmt"
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
type Price struct {
	InputPerMillion, OutputPerMillion float64 // US dollars
	// LongPrompt is how many tokens a prompt has at most that costs this; a longer one costs what the Long prices
	// say, and so does its answer. 0 is without end.
	LongPrompt            int64
	LongInput, LongOutput float64
}

// perMillion returns what a million tokens cost, with a prompt of so many.
func (p Price) perMillion(input int64) (in, out float64) {
	if p.LongPrompt > 0 && input > p.LongPrompt {
		return p.LongInput, p.LongOutput
	}
	return p.InputPerMillion, p.OutputPerMillion
}

// of returns what so many tokens cost.
func (p Price) of(input, output int64) float64 {
	in, out := p.perMillion(input)
	return (float64(input)*in + float64(output)*out) / 1e6
}

// Spending is what a run, or a tenant, has spent of its Limits, with all that is within it, and what calls under way may
// still spend. It may be used by several goroutines.
type Spending struct {
	Limits Limits
	// Price answers for a model; nil knows none.
	Price func(model string) (Price, bool)
	// Of is the pipeline whose run it is; "" is the tenant's, whose Tokens and CostUSD alone count.
	Of string
	// Within is what this is a part of: that of the run which started this one, or the tenant's. It may be nil.
	Within *Spending

	mu       sync.Mutex
	own      sums
	parts    sums // of the runs that it has started, and theirs; the tenant has these alone
	reserved sums
	warned   map[string]bool
}

// sums are what is counted against limits.
type sums struct {
	calls  float64 // of models, those that failed included
	tools  float64
	tokens float64
	cost   float64 // US dollars
}

func (s *sums) add(o sums) {
	s.calls += o.calls
	s.tools += o.tools
	s.tokens += o.tokens
	s.cost += o.cost
}

// used is what was spent in all. It is called with the lock.
func (s *Spending) used() sums {
	u := s.own
	u.add(s.parts)
	return u
}

// lock locks it and what it is within, always in that order.
func (s *Spending) lock() (unlock func()) {
	for w := s; w != nil; w = w.Within {
		w.mu.Lock()
	}
	return func() {
		for w := s; w != nil; w = w.Within {
			w.mu.Unlock()
		}
	}
}

// spend is called with the locks.
func (s *Spending) spend(o sums) {
	s.own.add(o)
	for w := s.Within; w != nil; w = w.Within {
		w.parts.add(o)
	}
}

// Cost returns what the run's models have cost so far, in US dollars, without those of runs that it has started.
func (s *Spending) Cost() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own.cost
}

// StartTool admits a call of a tool and counts it.
func (r *RunContext) StartTool(ctx context.Context) error {
	r = r.paying()
	s := &r.Spending
	defer s.lock()()
	for w := s; w != nil; w = w.Within {
		if err := w.admit(ctx, w == s, "max_tool_calls", w.Limits.ToolCalls, w.used().tools, 1); err != nil {
			return err
		}
	}
	r.Usage.ToolCalls.Add(1)
	s.spend(sums{tools: 1})
	for w := s; w != nil; w = w.Within {
		w.warn(ctx, w == s, "max_tool_calls", w.Limits.ToolCalls, w.used().tools)
	}
	return nil
}

// RecountTool counts a call of a tool that was made before, and is not made again.
func (r *RunContext) RecountTool() {
	r = r.paying()
	r.Usage.ToolCalls.Add(1)
	r.Spending.recall(sums{tools: 1})
}

// recall counts what was spent before. What this is within has counted it then.
func (s *Spending) recall(o sums) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.own.add(o)
}

// Started is what the runs that a run has started, and theirs, have spent before, for a process that goes on with it.
type Started struct {
	LLMCalls, ToolCalls int64
	Charges             []Charge
}

// RecallStarted counts what runs have spent that the run had started.
func (r *RunContext) RecallStarted(of Started) {
	s := &r.paying().Spending
	s.mu.Lock()
	defer s.mu.Unlock()
	o := sums{calls: float64(of.LLMCalls), tools: float64(of.ToolCalls)}
	for _, c := range of.Charges {
		price, _ := s.priceOf(c.Model)
		o.tokens += float64(c.Input + c.Output)
		o.cost += price.of(c.Input, c.Output)
	}
	s.parts.add(o)
}

// admit refuses what would go past a limit; own says that it is the limit of the run that asks. It is called with the lock.
func (s *Spending) admit(ctx context.Context, own bool, name string, limit *float64, used, wants float64) error {
	if limit == nil || used+wants <= *limit {
		return nil
	}
	return s.exceeded(ctx, own, name, *limit, used, "")
}

// exceeded is the error of what would go past a limit.
func (s *Spending) exceeded(ctx context.Context, own bool, name string, limit, used float64, more string) error {
	e := &Error{Code: CodeLimit, What: "the run has spent what it may", Why: fmt.Sprintf("limits.%s is %v, and %v of it is used", name, limit, used) + more, Fix: "raise it in the pipeline's spec.limits, or do less in one run"}
	switch {
	case s.Of == "" && !own:
		name = "tenant_limits." + map[string]string{"max_total_tokens": "tokens", "max_cost_usd": "cost_usd"}[name]
		e.What, e.Why, e.Fix = "the tenant has spent what it may", fmt.Sprintf("%s is %v, and %v of it is used", name, limit, used)+more, "have the operator raise it"
	case !own:
		e.What = "a run of " + Quote(s.Of) + " and those that it has started have spent what they may"
		e.Fix = "raise it in spec.limits of the pipeline " + Quote(s.Of) + ", or start less"
	}
	Emit(ctx, &Event{Type: ResourceLimitExceeded, Resource: name, Used: used, Limit: limit})
	return e
}

// warn says once that most of a limit of a run is used up. It is called with the lock.
func (s *Spending) warn(ctx context.Context, own bool, name string, limit *float64, used float64) {
	if !own && s.Of == "" || limit == nil || *limit <= 0 || used < s.Limits.Warning**limit || s.warned[name] {
		return
	}
	if s.warned == nil {
		s.warned = map[string]bool{}
	}
	s.warned[name] = true
	Emit(ctx, &Event{Type: ResourceWarning, Resource: name, Used: used, Limit: *limit})
}
