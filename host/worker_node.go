package host

import (
	"context"
	"errors"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/executor"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/tracing"
)

// RunNode implements executor.Nodes.
func (e *elsewhere) RunNode(ctx context.Context, task *executor.Task) (*executor.Done, error) {
	o, err := e.open(ctx, task.Head)
	if err != nil {
		return nil, err
	}
	defer o.close()
	h := e.host
	work := &engine.NodeWork{Node: task.Node, Key: task.Key(), Input: o.input, Since: task.Since, From: engine.Resumption{Results: map[string]kernel.Value{}}}
	for _, r := range task.Reads {
		var out executor.Outcome
		if err := h.values.Get(ctx, r.Outcome, &out); err != nil {
			return nil, err
		}
		work.From.Results[r.Node] = out.Value
		if out.Labels != nil {
			if work.From.Labels == nil {
				work.From.Labels = map[string]*kernel.Labels{}
			}
			work.From.Labels[r.Node] = out.Labels
		}
	}
	if err := e.goOn(ctx, o, task, work); err != nil {
		return nil, err
	}
	if err := e.recall(ctx, o.run, task.Kept); err != nil {
		return nil, err
	}
	before, kept := keptBy(o.run)
	o.run.Charge(task.Spent)
	spent := o.run.Spent()
	holds(o.run, task.Fences)
	events := &Recorder{}
	var observer kernel.Observer
	if o.head.Observed {
		observer = events.Observe
	}
	o.run.Observer = h.observed(ctx, observer)
	if deadline := h.config.RunLimits.Deadline; deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, task.Since.Add(deadline), errors.New("run_limits.deadline is "+deadline.String()))
		defer cancel()
	}
	ctx, recorded, err := e.record(ctx, o, task)
	if err != nil {
		return nil, err
	}
	outcome := o.p.plan.RunNode(tracing.Within(ctx, o.head.Trace), o.run, work)
	if err := recorded.endNode(ctx, outcome); err != nil {
		return nil, err
	}
	outcome.Error = e.without(outcome.Error)
	done := &executor.Done{State: outcome.State, Waits: outcome.Waits, Stopped: outcome.Stopped, Spent: o.run.Spent().Since(spent)}
	out := &executor.Outcome{NodeOutcome: *outcome, Events: events.Events()}
	if len(out.Events) > maxEvents {
		out.Events = out.Events[:maxEvents]
	}
	if outcome.State == engine.NodeWaiting {
		out.Reads = o.run.ArtifactsRead(task.Node)
	}
	storing, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	if done.Outcome, err = h.values.Put(storing, o.head, nodeName(task), out, outcome.Labels, task.Bound); err != nil {
		return nil, err
	}
	done.Kept, err = e.keepMemory(storing, o, task, before, kept)
	return done, err
}

// nodeName is the name of the artifact of a node's outcome.
func nodeName(task *executor.Task) string {
	return "node-" + hexOf(task.Node) + "-" + hexOf(task.Key())[:8]
}

// goOn gives a node that goes on how far it was, and what came for it.
func (e *elsewhere) goOn(ctx context.Context, o *site, task *executor.Task, work *engine.NodeWork) error {
	if task.Before == nil {
		return nil
	}
	var before executor.Outcome
	if err := e.host.values.Get(ctx, *task.Before, &before); err != nil {
		return err
	}
	o.run.Recall(map[string][]string{task.Node: before.Reads})
	if before.Progress == nil {
		return nil
	}
	for _, event := range task.Events {
		if len(event.Path) == 0 {
			continue // an approval: governance says whether it may
		}
		var data kernel.Value
		if err := e.host.values.Get(ctx, event.Data, &data); err != nil {
			return err
		}
		if err := before.Progress.Deliver(event.Path, data, labelsOf(&event)); err != nil {
			return &kernel.Error{Code: kernel.CodeInternal, What: "an event came for nobody", Where: kernel.Where{Node: task.Node, Run: task.RunID}, Why: err.Error(), Fix: "report it", Err: err}
		}
	}
	work.From.Progress = map[string]*engine.Progress{task.Node: before.Progress}
	return nil
}

// labelsOf are those of an event's data. What did not come through a host is anybody's.
func labelsOf(e *executor.Event) *kernel.Labels {
	if e.Labelled {
		return e.Labels
	}
	untrusted, _ := kernel.NewLabels(kernel.Untrusted, "", "event:"+e.Key) // it is one
	return e.Labels.Join(untrusted)
}

// recall gives the run what its nodes kept for each other.
func (e *elsewhere) recall(ctx context.Context, run *kernel.RunContext, kept []executor.Ref) error {
	for _, ref := range kept {
		var m executor.Memory
		if err := e.host.values.Get(ctx, ref, &m); err != nil {
			return err
		}
		if err := run.Kept.Set(m.Values, m.Labels); err != nil {
			return err
		}
	}
	return nil
}

// keptBy is what the run's memory holds, as JSON, for comparison.
func keptBy(run *kernel.RunContext) (map[string]string, map[string]*kernel.Labels) {
	values, labels := run.Kept.Snapshot()
	texts := make(map[string]string, len(values))
	for key, v := range values {
		text, _ := kernel.EncodeJSON(v) // it was encoded when it was kept
		texts[key] = string(text)
	}
	return texts, labels
}

// keepMemory stores what a task put into the run's memory; nil where that is nothing.
func (e *elsewhere) keepMemory(ctx context.Context, o *site, task *executor.Task, before map[string]string, labelsBefore map[string]*kernel.Labels) (*executor.Ref, error) {
	values, labels := o.run.Kept.Snapshot()
	m := executor.Memory{Values: map[string]kernel.Value{}, Labels: map[string]*kernel.Labels{}}
	var all *kernel.Labels
	for key, v := range values {
		text, _ := kernel.EncodeJSON(v)
		if was, there := before[key]; there && was == string(text) && labels[key] == labelsBefore[key] {
			continue
		}
		m.Values[key] = v
		if l := labels[key]; l != nil {
			m.Labels[key] = l
			all = all.Join(l)
		}
	}
	if len(m.Values) == 0 {
		return nil, nil
	}
	ref, err := e.host.values.Put(ctx, o.head, "memory-"+hexOf(task.Key()), m, all, task.Bound)
	return &ref, err
}

// Hold implements executor.Nodes.
func (e *elsewhere) Hold(ctx context.Context, task *executor.Task, held func(executor.Held) error) error {
	o, err := e.open(ctx, task.Head)
	if err != nil {
		return err
	}
	defer o.close()
	return o.p.plan.Locked(ctx, o.run, o.input, func(ctx context.Context) error {
		fences, err := kernel.FencesFrom(ctx)
		if err == nil {
			err = held(executor.Held{Fences: fences, Spent: o.run.Spent()})
		}
		if err != nil {
			return err
		}
		<-ctx.Done()
		return kernel.ContextError(ctx)
	})
}

// holds has a run act under the lock that its pipeline holds in another process.
func holds(run *kernel.RunContext, fences []kernel.Fence) {
	if len(fences) == 0 {
		return
	}
	var outer kernel.Leases
	for _, f := range fences {
		outer.Add("", heldElsewhere{f}, len(fences))
	}
	run.Leases.Inherit(&outer)
}

// heldElsewhere is a lock that another process holds for the run, and stops the run when it is lost.
type heldElsewhere struct{ fence kernel.Fence }

func (h heldElsewhere) ID() string                    { return "" }
func (h heldElsewhere) Name() string                  { return h.fence.Lock }
func (h heldElsewhere) Fence() kernel.Fence           { return h.fence }
func (h heldElsewhere) Valid() bool                   { return true }
func (h heldElsewhere) Release(context.Context) error { return nil }

func (h heldElsewhere) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}
