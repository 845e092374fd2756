package host

import (
	"context"
	"iter"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/obligation"
)

// held is the error of a run of which a node that is done had acquired a lock for those after it, or subscribed: that went with the
// process that died.
func held(entries []*journal.Entry) error {
	type thing struct{ op, name string }
	by := map[thing]*journal.Entry{}
	text := func(v kernel.Value, name string) string {
		fields, _ := v.(map[string]any)
		text, _ := fields[name].(string)
		return text
	}
	calls := map[string]*journal.Entry{} // the last of each lane
	for e := range journal.Over(entries) {
		switch call := calls[e.Lane]; {
		case e.Kind == journal.Call:
			calls[e.Lane] = e
		case e.Kind != journal.Reply || e.Failed != nil || call == nil:
		case e.Op == "lock.acquire" && call.Point != journal.Scope && ports.Acquired(e.Value):
			by[thing{e.Op, text(call.Args, "name")}] = call
		case e.Op == "eventbus.subscribe":
			by[thing{e.Op, text(e.Value, "subscription")}] = call
		}
	}
	for _, e := range entries {
		switch {
		case e.Kind != journal.Call:
		case e.Op == "lock.release":
			delete(by, thing{"lock.acquire", text(e.Args, "name")})
		case e.Op == "eventbus.unsubscribe":
			delete(by, thing{"eventbus.subscribe", text(e.Args, "subscription")})
		}
	}
	for thing, call := range by {
		return &kernel.Error{Code: kernel.CodeLockLost, What: "what " + thing.op + " had given is no longer there", Where: kernel.Where{Node: call.Lane}, Why: "the host that held it died before the run gave it back",
			Fix: "run the pipeline anew; a lock in the spec of a node, or of the pipeline, is acquired again"}
	}
	return nil
}

// recallState gives a run back what was in the memory of the process that died: what it had spent, counted and
// kept, as far as that is of nodes that do not work again.
func (h *Host) recallState(ctx context.Context, rc *kernel.RunContext, r *recovery) error {
	if r.from != nil {
		if r.from.Masked {
			return keptNowhere("pipeline_memory", "")
		}
		if err := rc.Kept.Set(r.from.Kept, r.from.KeptLabels); err != nil {
			return err
		}
		rc.Charge(r.from.Spent)
		rc.Recall(r.from.Reads)
	}
	return r.pipeline.recall(ctx, rc, journal.Over(r.entries))
}

// recall has a run have done what nodes did that do not work again, as far as that is the run's own: what these spent, counted and kept.
func (p *Pipeline) recall(ctx context.Context, rc *kernel.RunContext, over iter.Seq[*journal.Entry]) error {
	ctx = kernel.WithRun(ctx, rc)
	type limited struct{ lane, op string }
	limits := map[limited]int64{}
	within := map[string]int{} // how many modules, or functions, are being called in a lane
	for call := range over {
		p.recallBudgets(rc, call, within)
		switch {
		case (call.Kind == journal.Enter || call.Kind == journal.Ran) && call.Point == string(abi.ToolCall):
			rc.RecountTool()
		case call.Kind == journal.Decision:
			rc.CountPort()
			if call.Decided == nil {
				continue
			}
			if duties, err := obligation.Parse(call.Decided.Obligations); err == nil {
				limits[limited{call.Lane, call.Op}] = duties.Calls
			}
		case call.Kind == journal.Call:
			if limit := limits[limited{call.Lane, call.Op}]; limit > 0 {
				rc.CountCall(call.Op, limit)
			}
			args, _ := call.Args.(map[string]any)
			again := &kernel.PortCall{Op: call.Op, Args: args, Labels: call.Labels}
			if door := p.plan.Door(); !call.Masked() {
				door.Redo(ctx, again)
			} else if door.ChangesOwn(again) {
				return keptNowhere(call.Op, call.Lane)
			}
		case call.Kind == journal.Reply:
			for _, c := range call.Charges {
				rc.Recharge(c)
			}
		}
	}
	return nil
}

// recallBudgets counts what modules took.
func (p *Pipeline) recallBudgets(rc *kernel.RunContext, e *journal.Entry, within map[string]int) {
	switch e.Kind {
	case journal.Enter:
		within[e.Lane]++
	case journal.Local:
		within[e.Lane]--
	case journal.Leave:
		within[e.Lane]--
		recallTook(rc, &e.Took)
	case journal.Ran:
		recallTook(rc, &e.Took)
	case journal.Decision, journal.Draw:
		if within[e.Lane] > 0 {
			rc.HostCalls.Recall(1)
		}
	}
}

func recallTook(rc *kernel.RunContext, t *journal.Took) {
	rc.Fuel.Recall(t.Fuel)
	rc.LogLines.Recall(t.LogLines)
	rc.BytesIn.Recall(t.BytesIn)
	rc.BytesOut.Recall(t.BytesOut)
}

// keptNowhere is the error of a run that goes on without what it had kept.
func keptNowhere(op, node string) error {
	return &kernel.Error{Code: kernel.CodeDiverged, What: "the run cannot go on from its journal", Where: kernel.Where{Node: node}, Why: "what it had kept with " + op + " is nowhere: the policy masks it",
		Fix: "run the pipeline anew; let the policy mask no arguments of " + op + " where runs are to survive their host"}
}
