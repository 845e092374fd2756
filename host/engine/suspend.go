package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// suspension is how a node ends that waits: no failure, and no result yet.
type suspension struct {
	waits    []Wait
	setup    kernel.Value // what a wait_node's setup answered
	progress *Progress    // of a node that waits for something inside; nil for a wait_node
}

func (s *suspension) Error() string { return "waits for " + s.waits[0].EventKey }

// wait runs a wait_node: the run goes on without what depends on it, and then
// ends as suspended.
func (w *worker) wait(ctx context.Context, b *pipeline.Wait, call *kernel.NodeCall) (kernel.Value, error) {
	key, err := b.EventKey.Render(w.scope(call.Input))
	if err != nil {
		return nil, err
	}
	var setup kernel.Value
	if b.Setup != nil {
		setup, err = w.inside(ctx, func(ctx context.Context) (kernel.Value, error) { return w.function(ctx, b.Setup, call) })
		if err != nil {
			return nil, err
		}
	}
	return nil, &suspension{waits: []Wait{{Node: call.Name, EventKey: key, Timeout: b.Timeout, OnTimeout: b.OnTimeout, Since: time.Now().UTC()}}, setup: setup}
}

// stopped is the error of a body in a module that has to wait for an approval, or for its client's answer, with
// what it has done.
type stopped struct {
	error
	steps []kernel.Step
}

func (s *stopped) Unwrap() error { return s.error }

// stoppable runs a body in a module, and stops it where a call of its own needs an
// approval, or an answer, whatever the module makes of that. before is what it did before it
// waited. Where too much was done to be kept, the error is the approval's, and says so.
func stoppable(ctx context.Context, before []kernel.Step, body func() (kernel.Value, error)) (kernel.Value, error) {
	flow := kernel.FlowFrom(ctx)
	if flow == nil {
		return body()
	}
	effects := kernel.Recall(before)
	flow.Effects = effects
	v, err := body()
	flow.Effects = nil
	why := effects.Stopped()
	switch steps, kept := effects.Done(); {
	case why == nil:
		return v, err
	case kernel.NeededBy(why) == nil:
		return nil, why
	case !kept:
		return nil, tooMuchDone(why)
	default:
		return nil, &stopped{why, steps}
	}
}

// overgrown is the error of a body that did too much before it had to wait.
type overgrown struct{ error }

func (o *overgrown) Unwrap() error { return o.error }

// tooMuchDone says of what a body needs why its run does not wait for it.
func tooMuchDone(why error) error {
	var e *kernel.Error
	if !errors.As(why, &e) {
		return &overgrown{why}
	}
	told := *e
	told.Why += fmt.Sprintf("; the run does not wait for it: what the module did before is more than is kept, %d calls and %d MiB", kernel.MaxEffects, kernel.MaxEffectBytes>>20)
	told.Fix = "have the module do less before it"
	if e.Code == kernel.CodeApproval {
		told.Fix = e.Fix + ", and run the pipeline again: the approval holds, and what was done before is done twice. Or have the module do less before it"
	}
	return &overgrown{&told}
}

// suspended has the run wait for an approval, or an answer, that a node needs: what it has done so
// far is not done again when the run is resumed. A run that another has started and waits
// for fails with the approval's id, as nobody would resume it; so does what has done too
// much to be kept, or is a function in Go, which can do anything.
func (w *worker) suspended(err error, call *kernel.NodeCall) error {
	var s *suspension
	if errors.As(err, &s) {
		if s.progress != nil {
			s.progress.Input, s.progress.Labels = call.Input, w.flow.Labels()
		}
		return err
	}
	needed := kernel.NeededBy(err)
	var large *overgrown
	if needed == nil || errors.As(err, &large) || w.g.r.context.ParentRunID != "" {
		return err
	}
	progress := &Progress{Input: call.Input, Labels: w.flow.Labels()}
	var body *stopped
	switch {
	case errors.As(err, &body):
		progress.Steps = body.steps
		_, progress.Begun = w.n.Body.(*pipeline.ToolCall)
	case !w.callsItself():
		return err
	}
	now := time.Now().UTC()
	patience := max(needed.Until().Sub(now).Round(time.Millisecond), time.Millisecond) // 0 would be for ever
	wait := Wait{Node: w.n.Name, EventKey: needed.EventKey(), Timeout: patience, Since: now}
	if input, asks := needed.(*kernel.InputNeeded); asks {
		wait.Asks = input.Requests
	}
	return &suspension{waits: []Wait{wait}, progress: progress}
}

// callsItself reports whether a call of a port is all that the node does.
func (w *worker) callsItself() bool {
	switch w.n.Body.(type) {
	case *pipeline.ServiceCall, *pipeline.ToolCall, *pipeline.APICall, *pipeline.LLM, *pipeline.Transition:
		return true
	}
	return false
}
