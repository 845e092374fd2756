package kernel

import "maps"

// Spent is what a run has spent, for a process that goes on with it.
type Spent struct {
	Usage    UsageSnapshot    `json:"usage"`
	Counters map[string]int64 `json:"counters,omitempty"`
	Calls    map[string]int64 `json:"calls,omitempty"`     // of operations that governance limits
	LLMCalls float64          `json:"llm_tries,omitempty"` // those that failed included
	CostUSD  float64          `json:"cost_usd,omitempty"`
	Fuel     int64            `json:"fuel,omitempty"`
	Host     int64            `json:"host_calls,omitempty"`
	Lines    int64            `json:"log_lines,omitempty"`
	BytesIn  int64            `json:"bytes_in,omitempty"`
	BytesOut int64            `json:"bytes_out,omitempty"`
}

// Spent returns what the run has spent so far.
func (r *RunContext) Spent() Spent {
	r = r.paying()
	r.calls.mu.Lock()
	calls := maps.Clone(r.calls.value)
	r.calls.mu.Unlock()
	r.Spending.mu.Lock()
	tries, cost := r.Spending.own.calls, r.Spending.own.cost
	r.Spending.mu.Unlock()
	return Spent{
		Usage: r.Usage.Snapshot(), Counters: r.Counters(), Calls: calls, LLMCalls: tries, CostUSD: cost,
		Fuel: r.Fuel.Spent(), Host: r.HostCalls.Spent(), Lines: r.LogLines.Spent(), BytesIn: r.BytesIn.Spent(), BytesOut: r.BytesOut.Spent(),
	}
}

// Shown is Spent without the counters that no record is to have.
func (r *RunContext) Shown() Spent {
	s := r.Spent()
	r = r.paying()
	r.counters.mu.Lock()
	defer r.counters.mu.Unlock()
	maps.DeleteFunc(s.Counters, func(name string, _ int64) bool { return r.counters.hidden[name] })
	return s
}

// Charge has a run that has spent nothing yet begin with what it spent elsewhere. Its budgets are its own.
func (r *RunContext) Charge(s Spent) {
	r.Usage.LLMCalls.Add(s.Usage.LLMCalls)
	r.Usage.InputTokens.Add(s.Usage.InputTokens)
	r.Usage.OutputTokens.Add(s.Usage.OutputTokens)
	r.Usage.ToolCalls.Add(s.Usage.ToolCalls)
	r.Usage.PortCalls.Add(s.Usage.PortCalls)
	r.counters.value, r.calls.value = maps.Clone(s.Counters), maps.Clone(s.Calls)
	r.Spending.recall(sums{calls: s.LLMCalls, tools: float64(s.Usage.ToolCalls), tokens: float64(s.Usage.InputTokens + s.Usage.OutputTokens), cost: s.CostUSD})
	for b, n := range map[*Budget]int64{r.Fuel: s.Fuel, r.HostCalls: s.Host, r.LogLines: s.Lines, r.BytesIn: s.BytesIn, r.BytesOut: s.BytesOut} {
		if b != nil {
			b.spent.Add(n)
		}
	}
}

// Add returns the sum of both.
func (s Spent) Add(t Spent) Spent { return s.plus(t, 1) }

// Since returns what was spent after before was.
func (s Spent) Since(before Spent) Spent { return s.plus(before, -1) }

func (s Spent) plus(t Spent, sign int64) Spent {
	u := t.Usage
	return Spent{
		Usage:    s.Usage.Add(UsageSnapshot{LLMCalls: sign * u.LLMCalls, InputTokens: sign * u.InputTokens, OutputTokens: sign * u.OutputTokens, ToolCalls: sign * u.ToolCalls, PortCalls: sign * u.PortCalls}),
		Counters: summed(s.Counters, t.Counters, sign), Calls: summed(s.Calls, t.Calls, sign),
		LLMCalls: s.LLMCalls + float64(sign)*t.LLMCalls, CostUSD: s.CostUSD + float64(sign)*t.CostUSD,
		Fuel: s.Fuel + sign*t.Fuel, Host: s.Host + sign*t.Host, Lines: s.Lines + sign*t.Lines, BytesIn: s.BytesIn + sign*t.BytesIn, BytesOut: s.BytesOut + sign*t.BytesOut,
	}
}

func summed(a, b map[string]int64, sign int64) map[string]int64 {
	if len(b) == 0 {
		return a
	}
	sum := maps.Clone(a)
	if sum == nil {
		sum = map[string]int64{}
	}
	for name, n := range b {
		if sum[name] += sign * n; sum[name] == 0 && sign < 0 {
			delete(sum, name)
		}
	}
	return sum
}
