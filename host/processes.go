package host

import (
	"context"
	"errors"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/processregistry"
)

// Process returns how a run of the tenant stands. The registry is written behind runs' backs: of a durable run whose host died before that,
// the journal knows more. CodeNotFound where neither knows it.
func (h *Host) Process(ctx context.Context, run string) (*processregistry.Process, error) {
	known, err := h.Processes().Get(ctx, h.tenant(), run)
	if err != nil && !errors.Is(err, processregistry.ErrUnknown) {
		return nil, err
	}
	if known != nil && known.Status != processregistry.Running && known.Status != processregistry.Lost && known.Status != processregistry.Suspended {
		return known, nil
	}
	recorded, jerr := h.recordedProcess(ctx, run, known != nil && known.Status == processregistry.Suspended)
	switch {
	case jerr != nil:
		return nil, jerr
	case recorded == nil:
		return known, err
	case recorded.Status == processregistry.Running && known != nil && known.Status != processregistry.Suspended: // which knows whether its host lives
		return known, nil
	}
	if recorded.Status != processregistry.Running {
		h.Processes().Put(h.tenant(), recorded)
	}
	return recorded, nil
}

// recordedProcess returns how a run stands by its journal; nil where there is none, or where it is known that the run waits, and it does: one that has gone on at another host is not
// known to this one's registry.
func (h *Host) recordedProcess(ctx context.Context, run string, waits bool) (*processregistry.Process, error) {
	if !h.opts.Durable {
		return nil, nil
	}
	p, err := h.recordedAs(ctx, h.tenant(), run, waits)
	if p != nil && p.Status == processregistry.Lost {
		p.Status = processregistry.Running
	}
	return p, err
}

// recordedAs returns how a durable run stands by its journal, lost where it runs and nobody works on it; nil where there is none, or it waits and that is known.
func (h *Host) recordedAs(ctx context.Context, tenant, run string, waits bool) (*processregistry.Process, error) {
	if h.executor != nil {
		return nil, nil
	}
	j, err := h.openJournals(ctx)
	if err != nil {
		return nil, err
	}
	head, err := j.store.Get(ctx, tenant, run)
	if errors.Is(err, driver.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if neverDid(head) || waits && head.Status == driver.Suspended {
		return nil, nil
	}
	p := &processregistry.Process{RunID: run, Pipeline: head.Pipeline, Status: processregistry.Status(head.Status), Parent: head.Parent, Started: head.Begun, Host: head.Owner}
	if head.Status == driver.Running {
		if head.Free {
			p.Status = processregistry.Lost
		}
		return p, nil
	}
	entries, err := h.entries(ctx, j, tenant, run)
	if err != nil {
		return nil, err
	}
	parts := journal.Parts(entries)
	if len(parts) == 0 { // it had done nothing
		return p, nil
	}
	last := parts[len(parts)-1]
	p.Principal, p.Ended = last.Head.Principal, last.Last
	if last.End == nil {
		return p, nil
	}
	result := resultOf(run, last.Entries)
	p.Error = result.Error
	p.SetOutput(outputOf(result), joinedNodes(result).Join(last.Head.InputLabels))
	return p, nil
}

// resultOf is what a run came to whose journal ends with entries.
func resultOf(run string, entries []*journal.Entry) *Result {
	end := entries[len(entries)-1]
	output, _ := end.Value.(map[string]any)
	result := &Result{RunID: run, Status: engine.Status(end.Status), Output: output, Error: end.Failed, NodeResults: map[string]kernel.Value{}, Labels: map[string]*kernel.Labels{}}
	if end.Failed != nil {
		result.Err = end.Failed
	}
	if end.Usage != nil {
		result.Usage = *end.Usage
	}
	for name, e := range journal.Ends(entries).Nodes {
		if e.State == journal.Finished {
			result.NodeResults[name], result.Labels[name] = e.Value, e.Labels
		}
		if e.State == journal.Failed {
			result.Labels[name] = e.Labels
		}
	}
	return result
}
