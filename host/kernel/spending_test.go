package kernel

import (
	"strings"
	"sync"
	"testing"
)

func amountOf(v float64) *float64 { return &v }

func start(t *testing.T, r *RunContext, c LLMCall) *Admission {
	t.Helper()
	a, err := r.StartLLM(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func refused(t *testing.T, r *RunContext, c LLMCall, words ...string) {
	t.Helper()
	_, err := r.StartLLM(t.Context(), c)
	if CodeOf(err) != CodeLimit {
		t.Fatalf("%+v: %v, want code %q", c, err, CodeLimit)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%+v: %v, want %q in it", c, err, w)
		}
	}
}

// What calls under way may take, prompt and answer, is kept for them.
func TestTokensAreReserved(t *testing.T) {
	run := &RunContext{}
	run.Spending.Limits = Limits{Tokens: amountOf(100)}
	a := start(t, run, LLMCall{Input: 20, Output: 60})
	refused(t, run, LLMCall{Input: 10, Output: 20}, "limits.max_total_tokens is 100, and 0 of it is used", "this call may take 30 tokens", "those under way 80")
	if err := a.Settle("m", 10, 10); err != nil {
		t.Fatal(err)
	}
	start(t, run, LLMCall{Input: 10, Output: 70})
	refused(t, run, LLMCall{}, "20 of it is used")
}

// An answer without a bound gets one where there is a limit, and only there.
func TestAnswersGetBounds(t *testing.T) {
	run := &RunContext{}
	if a := start(t, run, LLMCall{Input: 20}); a.Output != 0 {
		t.Errorf("without limits an answer may have %d", a.Output)
	}
	run = &RunContext{}
	run.Spending.Limits = Limits{Tokens: amountOf(10_000)}
	if a := start(t, run, LLMCall{Input: 20}); a.Output != DefaultOutput {
		t.Errorf("an answer may have %d, want %d", a.Output, DefaultOutput)
	}
	if a := start(t, run, LLMCall{Input: 1000}); a.Output != DefaultOutput {
		t.Errorf("an answer may have %d, want %d", a.Output, DefaultOutput)
	}
	if a := start(t, run, LLMCall{Input: 700}); a.Output != 88 {
		t.Errorf("the last answer may have %d, want what is left, 88", a.Output)
	}
	refused(t, run, LLMCall{})
}

func TestMoneyIsReserved(t *testing.T) {
	run := &RunContext{}
	run.Spending.Limits = Limits{CostUSD: amountOf(3)}
	run.Spending.Price = func(model string) (Price, bool) {
		return Price{InputPerMillion: 1e6, OutputPerMillion: 2e6}, model == "m" // a dollar a token, two for the answer's
	}
	refused(t, run, LLMCall{Model: "x"}, "the cost of model x is not known", "prices: {x:")
	a := start(t, run, LLMCall{Model: "m", Input: 1})
	if a.Output != 1 {
		t.Errorf("an answer may have %d tokens, want the 1 that there is money for", a.Output)
	}
	refused(t, run, LLMCall{Model: "m", Input: 1, Output: 1}, "limits.max_cost_usd is 3, and 0 of it is used", "this call may take 3 dollars", "those under way 3")
	if err := a.Settle("m", 1, 0); err != nil || run.Spending.Cost() != 1 {
		t.Errorf("cost %v, %v", run.Spending.Cost(), err)
	}
	refused(t, run, LLMCall{Model: "m", Input: 2, Output: 1}, "1 of it is used")
	a = start(t, run, LLMCall{Input: 1}) // who knows which model; what it costs is found later
	if err := a.Settle("y", 1, 1); CodeOf(err) != CodeLimit || !strings.Contains(err.Error(), "model y") {
		t.Errorf("%v", err)
	}
}

// The runs of a tenant stay within its limits together.
func TestTenantsAreBounded(t *testing.T) {
	tenant := &Spending{Limits: Limits{Tokens: amountOf(100)}}
	one, two := &RunContext{}, &RunContext{}
	one.Spending.Within, two.Spending.Within = tenant, tenant
	a := start(t, one, LLMCall{Input: 30, Output: 30})
	refused(t, two, LLMCall{Input: 30, Output: 30}, "the tenant has spent what it may", "tenant_limits.tokens is 100, and 0 of it is used", "those under way 60")
	if err := a.Settle("m", 30, 5); err != nil {
		t.Fatal(err)
	}
	b := start(t, two, LLMCall{Input: 30, Output: 30})
	b.Release() // it is done by another call
	b.Release()
	c := start(t, two, LLMCall{Input: 35, Output: 30})
	if err := c.Settle("m", 35, 30); err != nil {
		t.Fatal(err)
	}
	if err := b.Settle("m", 0, 0); err != nil {
		t.Fatal(err)
	}
	refused(t, one, LLMCall{}, "100 of it is used")
	if one.Usage.InputTokens.Load() != 30 || two.Usage.InputTokens.Load() != 35 {
		t.Error("a run was charged for another")
	}
}

// However many ask at once, what they take together is within the limit, and what is kept is given back.
func TestBudgetsUnderConcurrency(t *testing.T) {
	tenant := &Spending{Limits: Limits{Tokens: amountOf(5000), CostUSD: amountOf(0.5)}}
	price := func(string) (Price, bool) { return Price{InputPerMillion: 100, OutputPerMillion: 100}, true }
	runs := make([]*RunContext, 4)
	for i := range runs {
		runs[i] = &RunContext{}
		runs[i].Spending = Spending{}
		runs[i].Spending.Limits, runs[i].Spending.Price, runs[i].Spending.Within = Limits{Tokens: amountOf(2000)}, price, tenant
	}
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			a, err := runs[i%len(runs)].StartLLM(t.Context(), LLMCall{Model: "m", Input: 10, Output: 90})
			if err != nil {
				if CodeOf(err) != CodeLimit {
					t.Error(err)
				}
				return
			}
			if err := a.Settle("m", 10, 90); err != nil { // all that it may
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i, r := range runs {
		if s := &r.Spending; s.tokens > 2000 || s.reservedTokens != 0 {
			t.Errorf("run %d took %v, and %v is kept", i, s.tokens, s.reservedTokens)
		}
	}
	if tenant.tokens > 5000 || tenant.cost > 0.5+1e-9 || tenant.reservedTokens != 0 || tenant.tokens < 2000 {
		t.Errorf("the tenant took %v for %v dollars, and %v is kept", tenant.tokens, tenant.cost, tenant.reservedTokens)
	}
}
