package kernel

import "sync/atomic"

// Budget is an amount that can be spent once, by several goroutines, and that is
// part of a larger one: a run's of its tenant's. A nil Budget has no limit.
type Budget struct {
	parent *Budget
	limit  int64
	spent  atomic.Int64
}

// NewBudget returns a budget of limit units within parent, which may be nil.
func NewBudget(limit int64, parent *Budget) *Budget {
	return &Budget{parent: parent, limit: limit}
}

// Take takes up to n units and returns how many: fewer where the budget, or one
// that it is part of, has no more.
func (b *Budget) Take(n int64) int64 {
	if b == nil || n <= 0 {
		return max(n, 0)
	}
	for {
		spent := b.spent.Load()
		got := min(n, b.limit-spent)
		if got <= 0 {
			return 0
		}
		if !b.spent.CompareAndSwap(spent, spent+got) {
			continue
		}
		granted := b.parent.Take(got)
		b.spent.Add(granted - got)
		return granted
	}
}

// Return gives back n units that were taken and not used.
func (b *Budget) Return(n int64) {
	for ; b != nil && n > 0; b = b.parent {
		b.spent.Add(-n)
	}
}

// Recall counts n units of the budget alone as taken: they were when another process had the run.
func (b *Budget) Recall(n int64) {
	if b != nil && n > 0 {
		b.spent.Add(n)
	}
}

// Spent returns how much has been taken and not given back.
func (b *Budget) Spent() int64 {
	if b == nil {
		return 0
	}
	return b.spent.Load()
}

// Budgets are what the guests of a run may use together, each amount within what
// its tenant has. A nil one has no limit.
type Budgets struct {
	Fuel      *Budget
	HostCalls *Budget
	LogLines  *Budget
	BytesIn   *Budget // what the host gives them
	BytesOut  *Budget // what they give the host
	Runs      *Budget // that a run and those that it starts may start, in all
}
