package host

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/executor"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
)

// record takes down what is done for a node of a durable run, in a journal of its own. Where another worker has begun with the node and is
// gone, what it did is known, and not done again: the executor gives the node to somebody else only then, so its journal is taken from
// whoever still writes it. Workers that are to know it of each other share the journal in Postgres.
func (e *elsewhere) record(ctx context.Context, o *site, task *executor.Task) (context.Context, *recording, error) {
	run := o.run
	if !run.Durable {
		return ctx, nil, nil
	}
	h := e.host
	j, err := h.openJournals(ctx)
	if err != nil {
		return ctx, nil, err
	}
	id := task.Key()        // see ofNode
	if task.Before != nil { // it goes on after it waited: that is another piece of work
		text, err := json.Marshal(task.Before)
		if err != nil {
			return ctx, nil, err
		}
		id += "/" + journal.Short(string(text))
	}
	of := &driver.Run{ID: id, Parent: run.RunID, Tenant: run.Tenant, Pipeline: run.PipelineName, Version: run.PipelineVersion, Begun: run.Started}
	switch err := j.store.Create(ctx, of); {
	case errors.Is(err, driver.ErrExists):
		return h.recordAgain(ctx, j, run, id, pieceName(run, task, id))
	case err != nil:
		return ctx, nil, err
	}
	of.Epoch = 1
	w := j.writer.Run(of, 1)
	w.Append(journal.Entry{Kind: journal.Begin, Time: run.Started, Head: &journal.Head{
		Format: journal.Version, Run: id, Parent: run.RunID, Tenant: run.Tenant, Principal: run.Principal, Pipeline: run.PipelineName, Version: run.PipelineVersion, Host: hostName(), Labels: run.Labels,
		InputLabels: run.InputLabels, Caps: run.Caps, Input: o.input, Source: map[string]string{}, Modules: map[string]string{},
	}})
	run.Journal = journal.Record(run, w).Named(pieceName(run, task, id))
	r := &recording{id: id, w: w}
	return r.start(ctx, j), r, nil
}

// recordAgain goes on with what another worker has done for a node.
func (h *Host) recordAgain(ctx context.Context, j *journals, run *kernel.RunContext, id, name string) (context.Context, *recording, error) {
	head, err := j.store.Claim(ctx, run.Tenant, id, true)
	var over *driver.Over
	if errors.As(err, &over) { // it had ended, and nobody was told
		entries, err := h.entries(ctx, j, run.Tenant, id)
		if err != nil {
			return ctx, nil, err
		}
		run.Journal = journal.Resume(run, &journal.Taken{}, entries).Named(name)
		return ctx, nil, nil
	}
	if err != nil {
		return ctx, nil, claimError(id, err)
	}
	r, err := h.recovery(ctx, j, head)
	if err != nil && !errors.Is(err, errNeverBegan) { // one that had done nothing begins
		return ctx, nil, err
	}
	if r.ended != "" {
		run.Journal = journal.Resume(run, &journal.Taken{}, r.entries).Named(name)
		return ctx, nil, r.w.Close(ctx, r.ended)
	}
	r.w.Append(journal.Entry{Kind: journal.Recover, Host: hostName(), InFlight: r.inFlight})
	if err := r.w.Sync(ctx); err != nil {
		return ctx, nil, errors.Join(err, r.w.Close(context.WithoutCancel(ctx), driver.Running))
	}
	run.Journal = journal.Resume(run, r.w, r.entries).Named(name)
	recorded := &recording{id: id, w: r.w}
	return recorded.start(ctx, j), recorded, nil
}

// pieceName names what is done for a node: as the run, or, after the node waited, as that piece of work.
func pieceName(run *kernel.RunContext, task *executor.Task, id string) string {
	if task.Before == nil {
		return run.RunID
	}
	return id
}

// entries are what a node's journal holds.
func (h *Host) entries(ctx context.Context, j *journals, tenant, id string) ([]*journal.Entry, error) {
	read, err := journal.Read(ctx, j.store, tenant, id)
	if err != nil {
		return nil, err
	}
	return read.All(ctx)
}

// ofNode reports whether a journal is of one node of a run on an executor.
func ofNode(id string) bool { return strings.Contains(id, "/") }

// endNode writes what became of a node. What is not durable has not become of it.
func (r *recording) endNode(ctx context.Context, o *engine.NodeOutcome) error {
	if r == nil {
		return nil
	}
	defer r.stop()
	status := engine.Completed
	if o.State == engine.NodeFailed {
		status = engine.Failed
	}
	r.w.Append(journal.Entry{Kind: journal.End, Status: string(status), Failed: o.Error})
	return r.w.Close(context.WithoutCancel(ctx), driver.Status(status))
}
