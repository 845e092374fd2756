package kernel

import (
	"sync"
	"testing"
)

func TestBudget(t *testing.T) {
	tenant := NewBudget(100, nil)
	a, b := NewBudget(80, tenant), NewBudget(80, tenant)
	if got := a.Take(70); got != 70 {
		t.Errorf("took %d of 80 within 100", got)
	}
	if got := b.Take(50); got != 30 {
		t.Errorf("took %d where the tenant had 30", got)
	}
	if got := a.Take(20); got != 0 {
		t.Errorf("took %d where the tenant had nothing", got)
	}
	b.Return(30)
	if got := a.Take(20); got != 10 {
		t.Errorf("took %d where the run had 10", got)
	}
	if a.Spent() != 80 || b.Spent() != 0 || tenant.Spent() != 80 {
		t.Errorf("spent %d, %d, %d", a.Spent(), b.Spent(), tenant.Spent())
	}
	if got := (*Budget)(nil).Take(5); got != 5 {
		t.Errorf("no limit gave %d", got)
	}
}

func TestBudgetIsNeverOverspent(t *testing.T) {
	tenant := NewBudget(10_000, nil)
	var wg sync.WaitGroup
	for range 8 {
		run := NewBudget(5_000, tenant)
		wg.Go(func() {
			for i := range 3_000 {
				if got := run.Take(7); i%3 == 0 {
					run.Return(got)
				}
				if tenant.Spent() > 10_000+7*8 { // takers reserve before they learn what the parent has
					t.Error("overspent")
				}
			}
		})
	}
	wg.Wait()
	if tenant.Spent() > 10_000 {
		t.Errorf("spent %d of 10000", tenant.Spent())
	}
}
