package host

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/executor"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/pipelinespawner"
	"github.com/hexdag/hexdag/host/ports/llm/prices"
)

// Result is the outcome of a run.
type Result = engine.Result

// Event is something that happened in a run.
type Event = kernel.Event

// RunOptions says how to run. The zero value is usable.
type RunOptions struct {
	// Observer is told of events, in their order, from one goroutine of its own. One
	// that is slow misses events rather than holding up the run; it is never
	// told after Run has returned.
	Observer func(*Event)
	// Recorder keeps every event; nil means none.
	Recorder  *Recorder
	Principal string // who runs; "" means the configuration's
	// Labels are what is said of the run, which policies and modules read. Those called
	// integrity and confidentiality are the labels of its input; trusted and public, if
	// they are left out.
	Labels map[string]string
	// InputLabels are labels of the input that come from elsewhere, such as those of the
	// result that it is; they are joined with the others.
	InputLabels *kernel.Labels
	Parent      *kernel.RunContext // the run that starts this one
	// Fresh has every node work, whatever is kept of it (cache), and keeps what it answers.
	Fresh     bool
	recovered *recording // of a run that goes on after its host has died
	spawned   *pipelinespawner.Request
	goal      *Goal           // that the run is for
	took      time.Duration   // of a run that goes on after its host has died: how long it had
	waking    uint64          // the epoch of the journal in which the run waits that goes on
	left      <-chan struct{} // a durable run stops where it is once this is closed: another host goes on with it
	// Durable keeps a journal of the run: if its host dies, Recover has it finish, and Replay can do it again.
	Durable bool
	// RunID is the run's id; "" gives it one. A durable run of which there is a journal is not begun again: CodeRunExists.
	RunID string
	// Begun, if set, is called when governance has admitted the run and, if it is durable, what it begins with is on the disk: from then on
	// it is not lost. It must return soon.
	Begun func()
	// Client is who starts the run, or has it go on, as far as it can be asked for something; nil is nobody. What is asked is in
	// Asks of the result's waits, and the data of the event is the answer.
	Client *Client
}

// Client is whoever has started a run and can be asked for something.
type Client = kernel.Client

// Run runs the pipeline to its end, or until it waits for an event. What went
// wrong is in the result.
func (p *Pipeline) Run(ctx context.Context, input any, opts RunOptions) *Result {
	makeRoom()
	run := p.host.newRun(p.Name, opts)
	err := checkRunID(run.RunID)
	if err != nil {
		return refused(ctx, run, err)
	}
	if run.InputLabels, err = p.host.inputLabels(ctx, &opts); err != nil {
		return refused(ctx, run, err)
	}
	given, err := kernel.ToValue(input)
	if err != nil {
		return refused(ctx, run, &kernel.Error{Code: kernel.CodeInput, What: "the input is no JSON value", Why: err.Error(), Fix: "pass JSON", Err: err})
	}
	result := p.run(ctx, run, given, nil, opts)
	if outer := kernel.FlowFrom(ctx); outer != nil { // a node of another run started this one
		outer.Join(joinedNodes(result))
	}
	return result
}

// room is, in bytes, about what a run has on its stack where a module that it calls calls the host.
const room = 16 << 10

// makeRoom has the goroutine's stack grow now, while little is on it: else it would grow deep in the run, several times, and all that is on it be
// copied, pointer by pointer. Where a goroutine is a request, or a call of a tool, that is each time.
//
//go:noinline
func makeRoom() {
	var space [room]byte
	runtime.KeepAlive(&space)
}

// newRun is the identity of a new run.
func (h *Host) newRun(pipeline string, opts RunOptions) *kernel.RunContext {
	run := &kernel.RunContext{
		RunID: orElse(opts.RunID, newRunID()), PipelineName: pipeline, Tenant: h.tenant(), Principal: orElse(opts.Principal, h.principal()), Labels: opts.Labels, Started: time.Now(), Fresh: opts.Fresh, Durable: opts.Durable || h.opts.Durable,
		Budgets: h.budgets(), Client: opts.Client,
	}
	run.Spending.Price, run.Spending.Of, run.Spending.Within = h.price, pipeline, &h.spending
	if opts.Parent != nil {
		run.ParentRunID, run.Caps = opts.Parent.RunID, opts.Parent.Caps
		run.Fresh, run.Durable = run.Fresh || opts.Parent.Fresh, run.Durable || opts.Parent.Durable
		if opts.spawned == nil || opts.spawned.Within { // else its parent's locks may end before it does
			run.Leases.Inherit(&opts.Parent.Leases)
		}
	}
	if g := opts.goal; g != nil {
		run.Origin, run.Caps = g.Origin, run.Caps.Intersect(g.Caps)
	}
	if s := opts.spawned; s != nil {
		run.RunID, run.Origin, run.Caps = s.RunID, s.Origin, run.Caps.Intersect(s.Caps)
		if opts.Parent != nil {
			run.Budgets, run.Spending.Within = h.within(&opts.Parent.Budgets), opts.Parent.Paying()
		}
	}
	return run
}

// within are the budgets of a run that is a part of what another may use.
func (h *Host) within(parent *kernel.Budgets) kernel.Budgets {
	l := h.config.RunLimits
	return kernel.Budgets{
		Fuel: budget(l.Fuel, parent.Fuel), HostCalls: budget(l.HostCalls, parent.HostCalls), LogLines: budget(l.LogLines, parent.LogLines),
		BytesIn: budget(l.BytesIn, parent.BytesIn), BytesOut: budget(l.BytesOut, parent.BytesOut), Runs: parent.Runs,
	}
}

// price answers what a model costs: what the operator says of it, or of the model that it is a version of, or else its provider's list.
func (h *Host) price(model string) (kernel.Price, bool) {
	for _, name := range []string{model, prices.Undated(model)} {
		for _, p := range h.config.Prices {
			if abi.Match(p.Model, name) {
				return p.Price, true
			}
		}
	}
	return prices.Of(model)
}

// run runs or resumes in a span of its own.
func (p *Pipeline) run(ctx context.Context, run *kernel.RunContext, input kernel.Value, from *engine.Resumption, opts RunOptions) *Result {
	run.PipelineVersion = p.Version
	defer p.host.paying(run)()
	if from != nil {
		if err := p.host.recallStarted(ctx, run, &p.Limits); err != nil {
			return refused(ctx, run, errors.Join(err, opts.recovered.leave(ctx)))
		}
	}
	ctx, span := p.host.tracer.Run(ctx, run)
	result := p.onRecord(ctx, run, input, from, opts)
	span.EndRun(string(result.Status), result.Usage, result.Err)
	return result
}

// onRecord runs or resumes, on record, and keeps what a suspended run goes on with.
func (p *Pipeline) onRecord(ctx context.Context, run *kernel.RunContext, input kernel.Value, from *engine.Resumption, opts RunOptions) *Result {
	action := actionRun
	if from != nil {
		action = actionResume
	}
	if err := p.host.admit(ctx, run, action); err != nil {
		result := refused(ctx, run, errors.Join(err, opts.recovered.leave(ctx)))
		if opts.recovered == nil && (opts.waking == 0 || result.Status == engine.Denied) { // else it stays as it is
			p.host.runEnded(ctx, run, result)
		}
		return result
	}
	if deadline := p.host.config.RunLimits.Deadline; deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, max(deadline-opts.took, 0), fmt.Errorf("run_limits.deadline is %s", deadline))
		defer cancel()
	}
	observer, stop := observe(opts)
	run.Observer = p.host.observed(ctx, observer)
	ctx, recorded, err := p.record(ctx, run, input, from, opts)
	if err != nil {
		stop()
		return refused(ctx, run, err)
	}
	defer recorded.release()
	if opts.Begun != nil {
		opts.Begun()
	}
	p.host.runStarted(ctx, run)
	result := p.work(ctx, run, input, from)
	stop()
	unknown := from == nil && opts.RunID == "" && opts.spawned == nil && opts.recovered == nil // until now, so that nothing is kept of it
	if result.Status == engine.Suspended || !unknown {
		if err := p.keep(run, input, result, recorded); err != nil {
			fail(result, err)
		}
	}
	goesOn := false                                    // elsewhere, or when its journal is there again
	if err := recorded.over(ctx, result); err != nil { // behind what a run that waits goes on with
		fail(result, err)
		code := kernel.CodeOf(err)
		goesOn = code == kernel.CodeFenced || code == kernel.CodeUnavailable
	}
	ended := kernel.AuditRecord{Kind: "run", RunID: run.RunID, Tenant: run.Tenant, Principal: run.Principal, Action: "pipeline.end", Resource: run.PipelineName, Result: string(result.Status)}
	if goesOn || errors.Is(result.Err, executor.ErrLeft) {
		ended.Result, ended.Detail = endLeft, kernel.Quote(result.Err.Error())
	}
	if err := p.host.audit.Audit(context.WithoutCancel(ctx), &ended); err != nil && result.Err == nil {
		fail(result, err)
	}
	if p.host.executor == nil && !goesOn { // with an executor a worker says so, whatever becomes of this process
		p.host.runEnded(ctx, run, result)
	}
	if err := recorded.close(ctx, result); err != nil && !goesOn { // whoever goes on finds that it is over
		p.host.log.Warn("the journal of a run that is over cannot be closed", "run", run.RunID, "error", err.Error())
	}
	return result
}

// endLeft is what is on record of a run's end where it goes on elsewhere, or later: it has not ended.
const endLeft = "left"

// fail turns a result into that of a failed run.
func fail(result *Result, err error) {
	result.Status, result.Err = engine.Failed, err
	errors.As(err, &result.Error)
}

// budgets are those of one run.
func (h *Host) budgets() kernel.Budgets {
	l := h.config.RunLimits
	return kernel.Budgets{
		Fuel: budget(l.Fuel, h.fuel), HostCalls: budget(l.HostCalls, nil), LogLines: budget(l.LogLines, nil),
		BytesIn: budget(l.BytesIn, nil), BytesOut: budget(l.BytesOut, nil), Runs: h.spawning().Budget(),
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
func refused(ctx context.Context, run *kernel.RunContext, err error) *Result {
	r := &Result{Status: engine.StatusOf(ctx, err), RunID: run.RunID, NodeResults: map[string]kernel.Value{}, Output: map[string]kernel.Value{}, Err: kernel.At(err, kernel.Where{Run: run.RunID})}
	errors.As(r.Err, &r.Error)
	return r
}

// maxRunID is how many bytes the id of a run may have.
const maxRunID = 128

// checkRunID refuses an id that is of more than letters, digits and "_.-": names of files and topics are made of it.
func checkRunID(id string) error {
	plain := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }
	fits := id != "" && len(id) <= maxRunID && plain(id[0])
	for i := 1; fits && i < len(id); i++ {
		fits = plain(id[i]) || id[i] == '_' || id[i] == '.' || id[i] == '-'
	}
	if fits {
		return nil
	}
	return &kernel.Error{Code: kernel.CodeInput, What: "the run's id cannot be used", Why: kernel.Quote(id) + " is not of 1 to 128 letters, digits, _, . and -, of which a letter or a digit is the first", Fix: "leave it out: the run gets one"}
}

// NewRunID returns an id for a run, as runs get one that are given none.
func NewRunID() string { return newRunID() }

// newRunID returns a random UUID (version 7: the time comes first, so that runs
// sort by it).
func newRunID() string {
	var id [16]byte
	rand.Read(id[6:])
	return uuidText(id, time.Now(), 7)
}

// madeRunID returns the id of the run that is made for this: the same each time (version 8 of UUIDs, made of a digest). It sorts by the time.
func madeRunID(at time.Time, of ...string) string {
	h := sha256.New()
	for _, part := range of {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return uuidText([16]byte(h.Sum(nil)[:16]), at, 8)
}

// uuidText sets the time and the version of an id.
func uuidText(id [16]byte, at time.Time, version byte) string {
	ms := at.UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	id[6], id[8] = id[6]&0x0f|version<<4, id[8]&0x3f|0x80
	text := hex.EncodeToString(id[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}
