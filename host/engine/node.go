package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/tracing"
)

// worker does the work of one node.
type worker struct {
	g *graph
	n *pipeline.Node
	*site
	flow    kernel.Flow
	place   place
	learned workContext // of flow; here, so that it takes no allocation
	lane    *journal.Lane
	from    *Progress      // what it goes on from; nil: from the start
	cached  *kernel.Cached // where its answer is from; nil: it worked for it
	span    tracing.Span
	tried   int // attempts

	tellings atomic.Int32 // how often its answer was begun to be told
}

// work runs a node that is due, in a span of its own.
func (g *graph) work(ctx context.Context, given kernel.Value, e ended) ended {
	w := &worker{g: g, n: e.node, site: g.r.sites[e.node], from: e.from, lane: e.lane}
	w.flow.Set(e.labels)
	if g.r.engine.tracer == nil {
		return w.locked(ctx, given, e)
	}
	ctx, w.span = g.r.engine.tracer.Node(ctx, w.n.Name, w.n.Kind, g.body)
	e = w.locked(ctx, given, e)
	var s *suspension
	w.span.EndNode(w.tried, e.cached, errors.As(e.err, &s), e.err)
	return e
}

// locked does the work while the run holds the node's lock. One that waits for a lock takes no place among
// those that run at once: whoever holds the lock may need it.
func (w *worker) locked(ctx context.Context, given kernel.Value, e ended) ended {
	if w.n.Lock == nil {
		return w.work(ctx, given, e)
	}
	ctx = journal.WithLane(ctx, e.lane)
	e.err = w.g.r.locked(ctx, w.door, w.n.Lock, w.scope(given), w.n.Name, e.labels, func(ctx context.Context) error {
		e = w.work(ctx, given, e)
		return e.err
	})
	return e
}

// work does a node's work. Only nodes that do something themselves count against the
// bounds of what runs at once: a composite waits for its bodies.
func (w *worker) work(ctx context.Context, given kernel.Value, e ended) ended {
	g, n := w.g, w.n
	if !g.isLight(n) {
		if w.takesPlace() && w.caching == nil {
			if e.err = g.r.acquire(ctx); e.err != nil {
				return e
			}
			defer g.r.release()
			w.place.run = g.r
		}
		w.learned = workContext{kernel.FlowContext{Context: ctx, Flow: &w.flow}, w.lane, &w.place}
		ctx = &w.learned
	}
	if g.r.observed() {
		kernel.Emit(ctx, &kernel.Event{Type: kernel.NodeStarted, Node: n.Name, Kind: n.Kind, Wave: n.Wave, Dependencies: n.DependsOn, Body: g.body})
	}
	started := time.Now()
	e.output, e.err = w.attempts(ctx, given)
	if e.labels = w.flow.Labels(); e.err == nil {
		e.labels = w.relabel.Of(e.labels)
	}
	e.duration, e.cached = time.Since(started), w.cached
	return e
}

// workContext is what a node works in.
type workContext struct {
	kernel.FlowContext
	lane  *journal.Lane
	place *place
}

// Value returns the node's flow, its lane, its place, or what the context has.
func (c *workContext) Value(key any) any {
	if key == (journal.LaneKey{}) && c.lane != nil {
		return c.lane
	}
	if key == (kernel.PlaceKey{}) && c.place != nil && c.place.run != nil {
		return c.place
	}
	return c.FlowContext.Value(key)
}

// acquire takes a place among the nodes that run at once, of the run and of all runs.
func (r *run) acquire(ctx context.Context) error {
	if r.tape.Again() { // the order is the recording's
		return nil
	}
	select {
	case r.limit <- struct{}{}:
	case <-ctx.Done():
		return kernel.ContextError(ctx)
	}
	select {
	case r.engine.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		<-r.limit
		return kernel.ContextError(ctx)
	}
}

// place is what acquire took of all runs' places; that of the run stays taken.
type place struct {
	run  *run // nil where none was taken
	mu   sync.Mutex
	idle int // how many wait
}

// Leave implements kernel.Place.
func (p *place) Leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.idle++; p.idle == 1 && !p.run.tape.Again() {
		<-p.run.engine.slots
	}
}

// Return implements kernel.Place. It waits for a place even where the run has ended: release gives it back.
func (p *place) Return() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.idle--; p.idle == 0 && !p.run.tape.Again() {
		p.run.engine.slots <- struct{}{}
	}
}

func (r *run) release() {
	if r.tape.Again() {
		return
	}
	<-r.engine.slots
	<-r.limit
}

// attempts executes the node until it succeeds, or its attempts are used up.
func (w *worker) attempts(ctx context.Context, given kernel.Value) (kernel.Value, error) {
	n := w.n
	for attempt := 1; ; attempt++ {
		w.tried = attempt
		output, err := w.attempt(ctx, given, attempt)
		var s *suspension
		if err == nil || ctx.Err() != nil || errors.As(err, &s) || kernel.CodeOf(err).Class() == kernel.ClassDenied {
			return output, err
		}
		delay := n.Retry.After(attempt)
		var asked *kernel.Error
		if errors.As(err, &asked) && asked.RetryAfter > delay {
			delay = asked.RetryAfter
		}
		if attempt >= n.Retry.Attempts {
			return nil, err
		}
		w.span.Retried(attempt, err)
		kernel.Emit(ctx, &kernel.Event{Type: kernel.NodeRetrying, Node: n.Name, Kind: n.Kind, Wave: n.Wave, Attempt: attempt, Reason: err.Error()})
		if w.lane.Sleep(ctx, delay) != nil {
			return nil, err
		}
	}
}

// attempt is one attempt within its time.
func (w *worker) attempt(ctx context.Context, given kernel.Value, attempt int) (output kernel.Value, err error) {
	timeout := w.n.Timeout
	if timeout == 0 {
		timeout = w.g.timeout
	}
	if timeout > 0 && !w.lane.Again() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, timeoutError{"node " + w.n.Name, timeout})
		defer cancel()
	}
	call := &kernel.NodeCall{Name: w.n.Name, Kind: w.n.Kind, Attempt: attempt, Input: given}
	output, err = kernel.Guarded(func() (kernel.Value, error) { return w.hooked(ctx, call, 0) })
	if was := w.lane.Ending(); err != nil && was != nil && (was.Code == kernel.CodeTimeout || was.Code == kernel.CodeCanceled) {
		return nil, was // its time was up then
	}
	return output, interrupted(ctx, err)
}

// interrupted returns the end of ctx in place of what a call that it stopped made
// of it: a port's failure, or a denial, as governance denies what it cannot decide.
func interrupted(ctx context.Context, err error) error {
	if code := kernel.CodeOf(err); err == nil || ctx.Err() == nil || code == kernel.CodeTimeout || code == kernel.CodeCanceled {
		return err
	}
	var e *kernel.Error
	errors.As(kernel.ContextError(ctx), &e)
	e.Err = errors.Join(e.Err, err)
	return e
}

// hooked runs the i-th hook around the rest, the first outermost.
func (w *worker) hooked(ctx context.Context, call *kernel.NodeCall, i int) (kernel.Value, error) {
	if i == len(w.hooks) {
		return w.answer(ctx, call)
	}
	hook := w.hooks[i]
	var v kernel.Verdict
	var err error
	if w.from == nil { // else they have had their say
		v, err = hook.Hook.BeforeNode(ctx, call)
		if v, err = w.judge(ctx, hook, call, v, err); err != nil {
			return nil, err
		}
	}
	switch v.Action {
	case kernel.Skip:
		return v.Value, nil
	case kernel.Replace:
		changed := *call
		changed.Input = v.Value
		changed.Message = nil
		call = &changed
	}
	output, callErr := w.hooked(ctx, call, i+1)
	var s *suspension
	if errors.As(callErr, &s) {
		return output, callErr // there is no result yet
	}
	v, err = hook.Hook.AfterNode(ctx, call, output, callErr)
	if v, err = w.judge(ctx, hook, call, v, err); err != nil {
		return nil, err
	}
	if v.Action == kernel.Replace {
		return v.Value, nil
	}
	return output, callErr
}

// judge reports a hook's verdict and turns a refusal into its error. Where a hook
// that may fail has failed, the verdict is to continue.
func (w *worker) judge(ctx context.Context, hook *NodeHook, call *kernel.NodeCall, v kernel.Verdict, err error) (kernel.Verdict, error) {
	if err != nil {
		if !hook.Open || ctx.Err() != nil {
			return v, err
		}
		w.span.FailedOpen(hook.Name)
		kernel.Emit(ctx, &kernel.Event{Type: kernel.HookDecided, Node: call.Name, Kind: call.Kind, Module: hook.Name, Action: "failed_open", Reason: err.Error()})
		return kernel.Verdict{}, nil
	}
	if v.Action == kernel.Continue {
		return v, nil
	}
	w.span.Hook(hook.Name, v.Action)
	kernel.Emit(ctx, &kernel.Event{Type: kernel.HookDecided, Node: call.Name, Kind: call.Kind, Module: hook.Name, Action: v.Action.String(), Reason: kernel.Quote(v.Reason)})
	switch v.Action {
	case kernel.RetryAfter:
		return v, &kernel.Error{Code: kernel.CodeRetry, What: "hook " + hook.Name + " asks to try node " + call.Name + " again", Why: kernel.Quote(v.Reason), Fix: "give the node max_retries", RetryAfter: v.Delay}
	case kernel.Deny:
		return v, &kernel.Error{Code: kernel.CodeDenied, What: "hook " + hook.Name + " denied node " + call.Name, Why: kernel.Quote(v.Reason), Fix: "see the hook's configuration"}
	}
	return v, nil
}

// execute does what the node is for, and holds the answer to the node's schema.
func (w *worker) execute(ctx context.Context, call *kernel.NodeCall) (kernel.Value, error) {
	v, err := w.body(ctx, call)
	if err != nil {
		return v, w.suspended(err, call)
	}
	if w.n.Output == nil {
		return v, nil
	}
	if _, agent := w.n.Body.(*pipeline.Agent); agent {
		return v, nil // the loop has held it to the schema, or has given up on one
	}
	held, err := w.n.Output.Coerce(v)
	if err != nil {
		return nil, worded(err, kernel.CodeFailed, "the answer of node "+kernel.Quote(w.n.Name)+" breaks its output_schema", kernel.Where{})
	}
	return held, nil
}

func (w *worker) body(ctx context.Context, call *kernel.NodeCall) (kernel.Value, error) {
	switch b := w.n.Body.(type) {
	case *pipeline.Compute:
		return w.compute(ctx, b, call)
	case *pipeline.Data:
		return b.Output.Render(w.scope(call.Input))
	case *pipeline.Function:
		return w.function(ctx, b, call)
	case *pipeline.LLM:
		return w.complete(ctx, b, call)
	case *pipeline.Agent:
		return w.agent(ctx, b, call)
	case *pipeline.ServiceCall:
		return w.service(ctx, b, call)
	case *pipeline.ToolCall:
		return w.tool(ctx, b, call)
	case *pipeline.ToolParser:
		return w.parse(b, call)
	case *pipeline.ToolExecutor:
		return w.makeCalls(ctx, b, call)
	case *pipeline.ToolResults:
		return wordResults(call)
	case *pipeline.APICall:
		return w.request(ctx, b, call)
	case *pipeline.Composite:
		return w.composite(ctx, b, call)
	case *pipeline.Transition:
		return w.transition(ctx, b, call)
	case *pipeline.Wait:
		return w.wait(ctx, b, call)
	}
	return nil, &kernel.Error{Code: kernel.CodeInternal, What: fmt.Sprintf("node kind %s has no body", w.n.Kind), Fix: "report it"}
}

func (w *worker) scope(given kernel.Value) *pipeline.Scope {
	return w.n.ScopeOf(given, w.g.r.context, w.lane.Clock())
}

func (w *worker) caller() kernel.Caller {
	return kernel.Caller{Principal: w.g.r.context.Principal}
}

// call does an operation of a port on behalf of the run.
func (w *worker) call(ctx context.Context, op string, args map[string]any) (*kernel.PortReply, error) {
	return w.callWritten(ctx, op, args, nil)
}

// callWritten is call where the text of the arguments is there, or nil.
func (w *worker) callWritten(ctx context.Context, op string, args map[string]any, text *kernel.Text) (*kernel.PortReply, error) {
	return w.door.Call(ctx, &kernel.PortCall{Op: op, Args: args, Text: text, Node: w.n.Name, Caller: w.caller()})
}
