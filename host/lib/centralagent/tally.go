package centralagent

import (
	"context"
	"fmt"
	"sync"

	"github.com/hexdag/hexdag/host/agent"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/processregistry"
)

// tally is what a run has started as a central agent. It is made of what the registry knows, so that a run that goes on elsewhere has the same.
type tally struct {
	mu     sync.Mutex
	loaded bool
	starts int
	of     map[string][]string // the runs of a pipeline, of which nobody has seen yet whether they failed
	failed map[string]int
	ours   map[string]string // the pipeline of each run
}

func (l *Library) tally(run string) *tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tallies[run]
	if t == nil {
		t = &tally{of: map[string][]string{}, failed: map[string]int{}, ours: map[string]string{}}
		l.tallies[run] = t
	}
	return t
}

// known returns what a run has started, locked; the caller unlocks it.
func (l *Library) known(ctx context.Context, run *kernel.RunContext) (*tally, error) {
	t := l.tally(run.RunID)
	t.mu.Lock()
	if t.loaded {
		return t, nil
	}
	started, err := l.started(ctx, run)
	if err != nil {
		t.mu.Unlock()
		return nil, err
	}
	for _, p := range started {
		t.add(p.RunID, p.Pipeline)
	}
	t.loaded = true
	return t, nil
}

// started are the runs that a run has started as a central agent, the latest first.
func (l *Library) started(ctx context.Context, run *kernel.RunContext) ([]*processregistry.Process, error) {
	return l.opts.Registry.List(ctx, run.Tenant, processregistry.Filter{Parent: run.RunID, RefID: run.RunID, RefType: refType, Limit: processregistry.MaxList})
}

// refType is what kind of thing a run that a central agent has started is about; the thing is the run of the goal.
const refType = "goal"

func (t *tally) add(run, pipeline string) {
	if _, known := t.ours[run]; known {
		return
	}
	t.ours[run] = pipeline
	t.starts++
	t.of[pipeline] = append(t.of[pipeline], run)
}

// limits are how many runs one goal may start, and how often one that has failed again.
func (l *Library) limits(ctx context.Context) (starts, retries int) {
	starts, retries = l.opts.MaxStarts, *l.opts.MaxRetries
	if b := agent.BoundsFrom(ctx); b != nil {
		if b.Starts > 0 {
			starts = min(starts, b.Starts)
		}
		if b.Retries >= 0 {
			retries = min(retries, b.Retries)
		}
	}
	return starts, retries
}

// admit says why a run may not start another of a pipeline. It is called with the tally locked.
func (l *Library) admit(ctx context.Context, run *kernel.RunContext, t *tally, pipeline string) error {
	starts, retries := l.limits(ctx)
	if t.starts >= starts {
		return &kernel.Error{Code: kernel.CodeLimit, What: "the goal has started as many runs as it may", Why: fmt.Sprintf("%d of %d", t.starts, starts), Fix: "have the node, or the operator, allow more: max_starts"}
	}
	if err := l.settle(ctx, run, t, pipeline); err != nil {
		return err
	}
	if n := t.failed[pipeline]; n > retries {
		return &kernel.Error{Code: kernel.CodeLimit, What: "pipeline " + kernel.Quote(pipeline) + " is not started again", Why: fmt.Sprintf("it has failed %d times for this goal, and may be started again %d times after it has", n, retries), Fix: "go about it in another way, or have a person look at it"}
	}
	return nil
}

// settle counts the runs of a pipeline that have failed since somebody looked.
func (l *Library) settle(ctx context.Context, run *kernel.RunContext, t *tally, pipeline string) error {
	open := t.of[pipeline][:0]
	for _, id := range t.of[pipeline] {
		p, err := l.opts.Registry.Get(ctx, run.Tenant, id)
		switch {
		case kernel.CodeOf(err) == kernel.CodeNotFound: // it was removed, or was never there
			continue
		case err != nil:
			return err
		case p.Status == processregistry.Running || p.Status == processregistry.Suspended:
			open = append(open, id)
		case p.Status != processregistry.Completed:
			t.failed[pipeline]++
		}
	}
	t.of[pipeline] = open
	return nil
}
