package kernel

import (
	"context"
	"errors"
	"io"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// RunContext is the identity of one run of a pipeline and what it has spent. It
// travels with every call that the run makes. Its identity never changes; its
// counters may be used by several goroutines.
type RunContext struct {
	RunID        string
	ParentRunID  string
	PipelineName string
	// PipelineVersion is "sha256:..." of all that the pipeline's file is made of, or "".
	PipelineVersion string
	Tenant          string
	Principal       string
	Labels          map[string]string
	Trace           string // of the first span of the run, as W3C's traceparent and, behind a space, tracestate; "" where there is none
	Started         time.Time
	Deadline        time.Time // when the run is stopped; zero means never
	Observer        Observer  // may be nil
	Journal         Journal   // may be nil
	Client          *Client   // who has started it, as far as it can be asked for something; may be nil
	Durable         bool      // a journal is kept of it, and of the runs that it starts
	Fresh           bool      // its nodes work, whatever is kept of them
	// Clock and Entropy are what modules that may ask get as the time and as
	// randomness; nil means the machine's.
	Clock   func() time.Time
	Entropy io.Reader

	// Origin is where the run comes from, if another run has started it, or a schedule.
	Origin Origin

	Budgets
	Usage    Usage
	Spending Spending  // of the pipeline's limits
	Caps     CapSet    // what the run may do at all
	Kept     RunMemory // pipeline_memory
	Leases   Leases    // the locks that it holds
	// Door does the run's calls of ports; set for as long as it runs.
	Door     PortFunc
	reads    reads
	counters counters
	calls    counters
	endings  endings
	message  atomic.Pointer[runMessage]
	labels   atomic.Pointer[map[string]string]
	payer    *RunContext // at whose expense the run is; nil is itself
	// InputLabels are those of the run's input.
	InputLabels *Labels
}

// Origin is where a run comes from that another run has started, or a schedule.
type Origin struct {
	Lineage []string `json:"lineage,omitempty"` // the pipelines whose runs led to it, the first first
	// RefID and RefType say what it is about, in the words of whoever started it.
	RefID   string `json:"ref_id,omitempty"`
	RefType string `json:"ref_type,omitempty"`
	// Labels are those of these words.
	Labels *Labels `json:"labels,omitempty"`
}

// Told returns the labels of what an origin tells: none where it says nothing of what the run is about.
func (o *Origin) Told() *Labels {
	if o.RefID == "" && o.RefType == "" {
		return nil
	}
	return o.Labels
}

// Journal takes down what becomes of a run; package journal is one.
type Journal interface {
	// Told is given each event, and answers whether the observer is to be told of it.
	Told(ctx context.Context, e *Event) bool
	// Charged is given what a call has cost.
	Charged(ctx context.Context, c Charge)
}

// Charge is what the call of a model has cost its run.
type Charge struct {
	Model  string `json:"model"`
	Input  int64  `json:"input_tokens"`
	Output int64  `json:"output_tokens"`
}

// Observed reports whether anybody is told of events.
func (r *RunContext) Observed() bool { return r.Observer != nil || r.Journal != nil }

// Part returns a run with an id of its own within this one: for the same caller, under the same locks,
// and at this one's expense, so that both together stay within one set of limits.
func (r *RunContext) Part(id string) *RunContext {
	p := &RunContext{
		RunID: id, ParentRunID: r.RunID, PipelineName: r.PipelineName, PipelineVersion: r.PipelineVersion, Tenant: r.Tenant, Principal: r.Principal, Labels: r.Labels,
		Started: time.Now(), Deadline: r.Deadline, Observer: r.Observer, Clock: r.Clock, Entropy: r.Entropy,
		Budgets: r.Budgets, Caps: r.Caps, Door: r.Door, payer: r.paying(), Origin: r.Origin,
	}
	p.Leases.within(&r.Leases)
	return p
}

func (r *RunContext) paying() *RunContext {
	if r.payer != nil {
		return r.payer
	}
	return r
}

// Paying returns what the run's models and tools are charged to.
func (r *RunContext) Paying() *Spending { return &r.paying().Spending }

// CountPort counts a call of a port.
func (r *RunContext) CountPort() { r.paying().Usage.PortCalls.Add(1) }

// Used returns what the run has used up so far, or the one that it is a part of.
func (r *RunContext) Used() UsageSnapshot { return r.paying().Usage.Snapshot() }

// LabelsFor returns the run's labels as policies read them, with those of what goes
// into a call. Whoever has them does not change them.
func (r *RunContext) LabelsFor(l *Labels) map[string]string {
	if l == nil {
		if known := r.labels.Load(); known != nil {
			return *known
		}
	}
	labels := make(map[string]string, len(r.Labels)+2)
	maps.Copy(labels, r.Labels)
	labels[LabelIntegrity], labels[LabelConfidentiality] = string(l.Integrity()), string(l.Confidentiality())
	if l == nil {
		r.labels.Store(&labels)
	}
	return labels
}

// ExecutionContext is the name that RunContext had in hexDAG.
//
// Deprecated: use RunContext.
type ExecutionContext = RunContext

// Usage counts what a run has spent on its ports.
type Usage struct {
	LLMCalls     atomic.Int64
	InputTokens  atomic.Int64
	OutputTokens atomic.Int64
	ToolCalls    atomic.Int64
	PortCalls    atomic.Int64
}

// UsageSnapshot is Usage at one moment.
type UsageSnapshot struct {
	LLMCalls     int64 `json:"llm_calls"`
	InputTokens  int64 `json:"input_tokens"`
	OutputTokens int64 `json:"output_tokens"`
	ToolCalls    int64 `json:"tool_calls"`
	PortCalls    int64 `json:"port_calls"`
}

// Snapshot returns the counters as they are now.
func (u *Usage) Snapshot() UsageSnapshot {
	return UsageSnapshot{
		LLMCalls:     u.LLMCalls.Load(),
		InputTokens:  u.InputTokens.Load(),
		OutputTokens: u.OutputTokens.Load(),
		ToolCalls:    u.ToolCalls.Load(),
		PortCalls:    u.PortCalls.Load(),
	}
}

// Add returns the sum of both.
func (u UsageSnapshot) Add(v UsageSnapshot) UsageSnapshot {
	return UsageSnapshot{
		LLMCalls:     u.LLMCalls + v.LLMCalls,
		InputTokens:  u.InputTokens + v.InputTokens,
		OutputTokens: u.OutputTokens + v.OutputTokens,
		ToolCalls:    u.ToolCalls + v.ToolCalls,
		PortCalls:    u.PortCalls + v.PortCalls,
	}
}

type counters struct {
	mu     sync.Mutex
	value  map[string]int64
	hidden map[string]bool // those that no record is to have
}

// Count adds delta to the run's counter of that name.
func (r *RunContext) Count(name string, delta int64) {
	r = r.paying()
	r.counters.mu.Lock()
	defer r.counters.mu.Unlock()
	if r.counters.value == nil {
		r.counters.value = map[string]int64{}
	}
	r.counters.value[name] += delta
}

// HideCounter leaves a counter out of what Shown returns.
func (r *RunContext) HideCounter(name string) {
	r = r.paying()
	r.counters.mu.Lock()
	defer r.counters.mu.Unlock()
	if r.counters.hidden == nil {
		r.counters.hidden = map[string]bool{}
	}
	r.counters.hidden[name] = true
}

// CountCall counts a call of an operation that governance limits, and reports
// whether it is within the limit.
func (r *RunContext) CountCall(op string, limit int64) bool {
	r = r.paying()
	r.calls.mu.Lock()
	defer r.calls.mu.Unlock()
	if r.calls.value == nil {
		r.calls.value = map[string]int64{}
	}
	if r.calls.value[op] >= limit {
		return false
	}
	r.calls.value[op]++
	return true
}

// Counters returns a copy of the run's counters.
func (r *RunContext) Counters() map[string]int64 {
	r.counters.mu.Lock()
	defer r.counters.mu.Unlock()
	return maps.Clone(r.counters.value)
}

// runMessage is a run as modules read it, with the usage that it tells of.
type runMessage struct {
	usage UsageSnapshot
	Message
}

// Message returns the run as modules read it: what describe makes of its usage,
// kept for as long as that stays the same.
func (r *RunContext) Message(usage UsageSnapshot, describe func(UsageSnapshot) Message) Message {
	if known := r.message.Load(); known != nil && known.usage == usage {
		return known.Message
	}
	fresh := &runMessage{usage: usage, Message: describe(usage)}
	r.message.Store(fresh)
	return fresh.Message
}

type runKey struct{}

// WithRun returns a context that carries run.
func WithRun(ctx context.Context, run *RunContext) context.Context {
	return context.WithValue(ctx, runKey{}, run)
}

// RunFrom returns the run that ctx carries, or nil.
func RunFrom(ctx context.Context) *RunContext {
	run, _ := ctx.Value(runKey{}).(*RunContext)
	return run
}

// Emit fills in an event's run and tells the run's observer. Without a run, or
// an observer, it does nothing.
func Emit(ctx context.Context, e *Event) {
	run := RunFrom(ctx)
	if run == nil || !run.Observed() {
		return
	}
	e.Time = time.Now()
	e.RunID, e.ParentRunID, e.Pipeline, e.Tenant = run.RunID, run.ParentRunID, run.PipelineName, run.Tenant
	tell := run.Journal == nil || run.Journal.Told(ctx, e)
	if tell && run.Observer != nil {
		run.Observer(e)
	}
}

// ContextError returns why ctx is done, as an Error.
func ContextError(ctx context.Context) error {
	var lost *Error
	if errors.As(context.Cause(ctx), &lost) && lost.Code == CodeLockLost {
		again := *lost // the caller's own
		return &again
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &Error{Code: CodeTimeout, What: "the time is up", Why: context.Cause(ctx).Error(), Err: ctx.Err()}
	}
	return &Error{Code: CodeCanceled, What: "canceled", Why: context.Cause(ctx).Error(), Err: ctx.Err()}
}
