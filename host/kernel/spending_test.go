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
		if s := &r.Spending; s.own.tokens > 2000 || s.reserved.tokens != 0 {
			t.Errorf("run %d took %v, and %v is kept", i, s.own.tokens, s.reserved.tokens)
		}
	}
	if tenant.parts.tokens > 5000 || tenant.parts.cost > 0.5+1e-9 || tenant.reserved.tokens != 0 || tenant.parts.tokens < 2000 {
		t.Errorf("the tenant took %v for %v dollars, and %v is kept", tenant.parts.tokens, tenant.parts.cost, tenant.reserved.tokens)
	}
}

// family is a run, one that it has started, and one that that has, of a tenant.
func family(tenant *Spending) (top, middle, last *RunContext) {
	top, middle, last = &RunContext{}, &RunContext{}, &RunContext{}
	top.Spending.Of, middle.Spending.Of, last.Spending.Of = "goal", "step", "detail"
	top.Spending.Within, middle.Spending.Within, last.Spending.Within = tenant, &top.Spending, &middle.Spending
	return top, middle, last
}

// What a run starts, and what that starts, spends of its limits: what calls may take is kept there while they are under way, and what they took is
// charged there after them.
func TestWhatIsStartedIsCounted(t *testing.T) {
	tenant := &Spending{Limits: Limits{Tokens: amountOf(1000)}}
	top, middle, last := family(tenant)
	top.Spending.Limits = Limits{Tokens: amountOf(100), LLMCalls: amountOf(4), ToolCalls: amountOf(2)}
	a := start(t, last, LLMCall{Input: 20, Output: 40})
	refused(t, top, LLMCall{Input: 20, Output: 40}, "the run has spent what it may", "those under way 60")
	refused(t, middle, LLMCall{Input: 20, Output: 40}, "a run of goal and those that it has started have spent what they may", "limits.max_total_tokens is 100, and 0 of it is used", "those under way 60", "of the pipeline goal")
	if b := start(t, middle, LLMCall{Input: 10}); b.Output != 30 {
		t.Errorf("an answer may have %d tokens, want the 30 that are left of the first run's", b.Output)
	} else if err := b.Settle("m", 10, 0); err != nil {
		t.Fatal(err)
	}
	if err := a.Settle("m", 20, 20); err != nil {
		t.Fatal(err)
	}
	refused(t, last, LLMCall{Input: 20, Output: 40}, "50 of it is used")
	start(t, last, LLMCall{Input: 1, Output: 1}).Withdraw()
	c := start(t, top, LLMCall{Input: 20, Output: 30})
	if err := c.Settle("m", 20, 0); err != nil {
		t.Fatal(err)
	}
	start(t, middle, LLMCall{Input: 1, Output: 1}).Release()
	refused(t, last, LLMCall{Input: 1, Output: 1}, "limits.max_llm_calls is 4, and 4 of it is used")
	for i, r := range []*RunContext{last, middle, last} {
		if err := r.StartTool(t.Context()); (err == nil) != (i < 2) {
			t.Error(i, err)
		}
	}
	if got := [3]int64{top.Usage.InputTokens.Load(), middle.Usage.InputTokens.Load(), last.Usage.InputTokens.Load()}; got != [3]int64{20, 10, 20} || tenant.parts.tokens != 70 || tenant.reserved != (sums{}) {
		t.Error("each is to say what it took itself, and the tenant is to be charged once:", got, tenant.parts, tenant.reserved)
	}
	if s := last.Spent(); s.LLMCalls != 1 || s.Usage.OutputTokens != 20 {
		t.Error(s)
	}
}

// A run that goes on in another process begins with what those that it had started have spent; one of these that goes on is not counted twice.
func TestWhatWasStartedIsRecalled(t *testing.T) {
	top, middle, _ := family(&Spending{})
	price := func(string) (Price, bool) { return Price{InputPerMillion: 1e6, OutputPerMillion: 1e6}, true }
	top.Spending.Limits, top.Spending.Price, middle.Spending.Price = Limits{Tokens: amountOf(100), CostUSD: amountOf(100), ToolCalls: amountOf(3)}, price, price
	top.RecallStarted(Started{LLMCalls: 1, ToolCalls: 2, Charges: []Charge{{Model: "m", Input: 50, Output: 20}}})
	middle.Recharge(Charge{Model: "m", Input: 50, Output: 20})
	middle.RecountTool()
	middle.RecountTool()
	refused(t, middle, LLMCall{Model: "m", Input: 20, Output: 20}, "max_total_tokens is 100, and 70 of it is used")
	if a := start(t, middle, LLMCall{Model: "m", Input: 20, Output: 10}); a.Settle("m", 20, 10) != nil {
		t.Error("it cannot be settled")
	}
	refused(t, top, LLMCall{Model: "m"}, "100 of it is used")
	if err := middle.StartTool(t.Context()); err != nil {
		t.Error(err)
	}
	if err := middle.StartTool(t.Context()); CodeOf(err) != CodeLimit {
		t.Error(err)
	}
	if top.Spending.Cost() != 0 || middle.Spending.Cost() != 100 {
		t.Error(top.Spending.Cost(), middle.Spending.Cost())
	}
}

// However many runs ask at once, at whatever depth, what they take together is within the limit of the first.
func TestFamiliesUnderConcurrency(t *testing.T) {
	top, middle, last := family(&Spending{})
	top.Spending.Limits, middle.Spending.Limits = Limits{Tokens: amountOf(5000)}, Limits{Tokens: amountOf(3000)}
	var all sync.WaitGroup
	for i := range 300 {
		all.Go(func() {
			a, err := []*RunContext{top, middle, last}[i%3].StartLLM(t.Context(), LLMCall{Model: "m", Input: 10, Output: 90})
			if err == nil {
				err = a.Settle("m", 10, 90)
			}
			if err != nil && CodeOf(err) != CodeLimit {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if u := top.Spending.used(); u.tokens > 5000 || u.tokens < 3000 || middle.Spending.used().tokens > 3000 || top.Spending.reserved != (sums{}) || middle.Spending.reserved != (sums{}) {
		t.Error(u, middle.Spending.used(), top.Spending.reserved)
	}
}
