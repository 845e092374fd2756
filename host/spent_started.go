package host

import (
	"context"
	"errors"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/processregistry"
)

// paying has what a run spends be found by those that it has started and that go on here, until it is over. One of these is charged within it.
func (h *Host) paying(run *kernel.RunContext) (over func()) {
	if !run.Durable || h.executor != nil {
		return func() {}
	}
	if parent, known := h.payers.Load(run.ParentRunID); known && run.Spending.Within == &h.spending {
		run.Spending.Within, _ = parent.(*kernel.Spending)
	}
	h.payers.Store(run.RunID, run.Paying())
	return func() { h.payers.Delete(run.RunID) }
}

// recallStarted has a run that goes on have spent what those have that it had started, and theirs, as far as their journals tell.
func (h *Host) recallStarted(ctx context.Context, run *kernel.RunContext, limits *kernel.Limits) error {
	registry := h.libraries.registry
	if l := limits; registry == nil || !run.Durable || h.executor != nil || l.LLMCalls == nil && l.ToolCalls == nil && l.Tokens == nil && l.CostUSD == nil {
		return nil
	}
	j, err := h.openJournals(ctx)
	if err != nil {
		return err
	}
	var of kernel.Started
	known := map[string]bool{run.RunID: true}
	for parents := []string{run.RunID}; len(parents) > 0; parents = parents[1:] {
		started, err := registry.List(ctx, run.Tenant, processregistry.Filter{Parent: parents[0], Limit: processregistry.MaxList})
		if err != nil {
			return err
		}
		for _, p := range started {
			if known[p.RunID] {
				continue
			}
			known[p.RunID] = true
			parents = append(parents, p.RunID)
			if err := j.spent(ctx, run.Tenant, p.RunID, &of); err != nil {
				return err
			}
		}
	}
	run.RecallStarted(of)
	return nil
}

// spent adds what the journal of a run has it spend. One that has none has begun nothing, or was removed for its age.
func (j *journals) spent(ctx context.Context, tenant, run string, of *kernel.Started) error {
	read, err := journal.Read(ctx, j.store, tenant, run)
	if errors.Is(err, driver.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for e, err := range read.Entries(ctx) {
		if err != nil {
			return err
		}
		of.Charges = append(of.Charges, e.Charges...)
		of.LLMCalls += int64(len(e.Charges))
		if (e.Kind == journal.Enter || e.Kind == journal.Ran) && e.Point == string(abi.ToolCall) {
			of.ToolCalls++
		}
	}
	return nil
}
