package kernel

import (
	"context"
	"slices"
	"sync/atomic"
)

// Trace notes what stands against taking the answer of a part of a run again: what was done for
// it that is not to be left out, or that is of the run alone. It is safe for concurrent use.
type Trace struct {
	run     *RunContext
	modules []string // that the part runs
	changed atomic.Pointer[string]
	private atomic.Pointer[string]
	secret  atomic.Pointer[string]
	once    atomic.Pointer[string]
	outer   *Trace
}

type traceKey struct{}

// WithTrace returns a context in which what a part of the run does is noted. modules are those that the part runs:
// what hooks do, and modules that serve ports, is not the part's doing.
func WithTrace(ctx context.Context, modules []string) (context.Context, *Trace) {
	outer, _ := ctx.Value(traceKey{}).(*Trace)
	t := &Trace{run: RunFrom(ctx), modules: modules, outer: outer}
	return context.WithValue(ctx, traceKey{}, t), t
}

// NoteChange says that a call may have changed something outside.
func NoteChange(ctx context.Context, call *PortCall) {
	note(ctx, call, func(t *Trace) *atomic.Pointer[string] { return &t.changed })
}

// NotePrivate says that a call has answered with what is the run's alone.
func NotePrivate(ctx context.Context, call *PortCall) {
	note(ctx, call, func(t *Trace) *atomic.Pointer[string] { return &t.private })
}

// NoteSecret says that a call has taken a secret.
func NoteSecret(ctx context.Context, call *PortCall) {
	note(ctx, call, func(t *Trace) *atomic.Pointer[string] { return &t.secret })
}

func note(ctx context.Context, call *PortCall, of func(*Trace) *atomic.Pointer[string]) {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	for ; t != nil; t = t.outer {
		if t.own(RunFrom(ctx), call.Caller.Modules) {
			of(t).CompareAndSwap(nil, &call.Op)
		}
	}
}

func (t *Trace) own(run *RunContext, chain []ModuleRights) bool {
	return run != t.run || len(chain) == 0 || slices.Contains(t.modules, chain[len(chain)-1].Name)
}

// NoteOnce says that governance has decided something for this one time: by an approval, or with
// obligations. why is in words.
func NoteOnce(ctx context.Context, why string) {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	for ; t != nil; t = t.outer {
		t.once.CompareAndSwap(nil, &why)
	}
}

// Changed returns the operation that was the first to change something, or "".
func (t *Trace) Changed() string { return first(&t.changed) }

// Private returns the operation that was the first to answer with what is the run's alone, or "".
func (t *Trace) Private() string { return first(&t.private) }

// Secret returns the operation that was the first to take a secret, or "".
func (t *Trace) Secret() string { return first(&t.secret) }

// Once returns what governance has decided for one time, or "".
func (t *Trace) Once() string { return first(&t.once) }

func first(p *atomic.Pointer[string]) string {
	if s := p.Load(); s != nil {
		return *s
	}
	return ""
}
