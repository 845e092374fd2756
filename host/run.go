package host

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// Result is the outcome of a run.
type Result = engine.Result

// Event is something that happened in a run.
type Event = kernel.Event

// Pipeline is a loaded pipeline. It may run any number of times at once.
type Pipeline struct {
	*pipeline.Pipeline
	host   *Host
	engine *engine.Engine
}

// RunOptions says how to run. The zero value is usable.
type RunOptions struct {
	// Observer is told of every event, from several goroutines; nil means none.
	Observer  func(*Event)
	Principal string // who runs; "" means the configuration's
	Labels    map[string]string
	Parent    string // run_id of the run that starts this one
}

// Validate reads and checks a pipeline file without a host: its form and its
// graph, not whether its modules and ports exist.
func Validate(file string) (*pipeline.Pipeline, error) { return pipeline.Load(file) }

// Load reads and checks a pipeline file against the host's modules and ports.
func (h *Host) Load(ctx context.Context, file string) (*Pipeline, error) {
	p, err := pipeline.Load(file)
	if err != nil {
		return nil, err
	}
	loaded := &Pipeline{Pipeline: p, host: h, engine: h.engine}
	if len(p.Ports) > 0 {
		ops, err := h.openPorts(ctx, p.Ports, file)
		if err != nil {
			return nil, err
		}
		loaded.engine = h.engine.WithDoor(h.door.With(ops...))
	}
	if err := loaded.engine.Check(p); err != nil {
		return nil, err
	}
	return loaded, nil
}

// Run runs the pipeline to its end. What went wrong is in the result.
func (p *Pipeline) Run(ctx context.Context, input any, opts RunOptions) *Result {
	run := &kernel.RunContext{
		RunID: newRunID(), ParentRunID: opts.Parent, PipelineName: p.Name, Tenant: p.host.tenant(),
		Principal: orElse(opts.Principal, p.host.principal()), Labels: opts.Labels, Started: time.Now(), Observer: opts.Observer,
		Budgets: p.host.budgets(),
	}
	given, err := kernel.ToValue(input)
	if err != nil {
		return refused(run, &kernel.Error{Code: kernel.CodeInput, What: "the input is no JSON value", Why: err.Error(), Fix: "pass JSON", Err: err})
	}
	record := kernel.AuditRecord{Kind: "run", RunID: run.RunID, Tenant: run.Tenant, Principal: run.Principal, Action: "pipeline.run", Resource: p.Name, Effect: kernel.Allow}
	if err := p.host.audit.Audit(ctx, &record); err != nil {
		return refused(run, err)
	}
	if deadline := p.host.config.RunLimits.Deadline; deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, deadline, fmt.Errorf("run_limits.deadline is %s", deadline))
		defer cancel()
	}
	for _, m := range p.host.modules { // the engine ends the run at each of them
		m.BeginRun(run)
	}
	result := p.engine.Run(ctx, p.Pipeline, run, given)
	ended := record
	ended.Time, ended.Action, ended.Effect, ended.Result = "", "pipeline.end", "", string(result.Status)
	if err := p.host.audit.Audit(context.WithoutCancel(ctx), &ended); err != nil && result.Err == nil {
		result.Status, result.Err = engine.Failed, err
		errors.As(err, &result.Error)
	}
	return result
}

// budgets are those of one run.
func (h *Host) budgets() kernel.Budgets {
	l := h.config.RunLimits
	return kernel.Budgets{
		Fuel: budget(l.Fuel, h.fuel), HostCalls: budget(l.HostCalls, nil), LogLines: budget(l.LogLines, nil),
		BytesIn: budget(l.BytesIn, nil), BytesOut: budget(l.BytesOut, nil),
	}
}

// budget returns a budget within parent; a limit of 0 is none of its own.
func budget(limit int64, parent *kernel.Budget) *kernel.Budget {
	if limit == 0 {
		return parent
	}
	return kernel.NewBudget(limit, parent)
}

// refused is the result of a run that did not begin.
func refused(run *kernel.RunContext, err error) *Result {
	r := &Result{Status: engine.Failed, RunID: run.RunID, NodeResults: map[string]kernel.Value{}, Output: map[string]kernel.Value{}, Err: kernel.At(err, kernel.Where{Run: run.RunID})}
	errors.As(r.Err, &r.Error)
	return r
}

// newRunID returns a random UUID (version 7: the time comes first, so that runs
// sort by it).
func newRunID() string {
	var id [16]byte
	rand.Read(id[6:])
	ms := time.Now().UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	text := hex.EncodeToString(id[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// Recorder is an observer that keeps the events of a run.
type Recorder struct {
	mu     sync.Mutex
	events []*Event
}

// Observe keeps an event.
func (r *Recorder) Observe(e *Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// Events returns what was kept so far.
func (r *Recorder) Events() []*Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*Event(nil), r.events...)
}
