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

// Spending is what a run, or a tenant, has spent of its Limits, and what calls under way may
// still spend. It may be used by several goroutines.
type Spending struct {
	Limits Limits
	// Price answers for a model; nil knows none.
	Price func(model string) (Price, bool)
	// Within is what this is a part of: the tenant's, whose Tokens and CostUSD alone count. It may be nil.
	Within *Spending

	mu             sync.Mutex
	calls          float64 // of models, those that failed included
	tokens         float64
	reservedTokens float64
	cost           float64 // US dollars
	reservedCost   float64
	warned         map[string]bool
}

// Cost returns what the run's models have cost so far, in US dollars.
func (s *Spending) Cost() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cost
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
	return exceeded(ctx, name, *limit, used, "")
}

func exceeded(ctx context.Context, name string, limit, used float64, more string) error {
	Emit(ctx, &Event{Type: ResourceLimitExceeded, Resource: name, Used: used, Limit: limit})
	return &Error{Code: CodeLimit, What: "the run has spent what it may", Why: fmt.Sprintf("limits.%s is %v, and %v of it is used", name, limit, used) + more, Fix: "raise it in the pipeline's spec.limits, or do less in one run"}
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
