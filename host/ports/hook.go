package ports

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
)

// maxAttempts bounds how often hooks may have one call tried again.
const maxAttempts = 10

// hooked runs the i-th hook that matches around the rest, the first outermost.
func (p *passage) hooked(ctx context.Context, guarded map[string]string, i int) (*kernel.PortReply, error) {
	for i < len(p.hooks) && !p.hooks[i].Match(p.op.Name) {
		i++
	}
	if i == len(p.hooks) {
		return p.perform(ctx, guarded)
	}
	hook := p.hooks[i]
	for attempt := 1; ; attempt++ {
		reply, delay, err := p.around(ctx, guarded, hook, i, attempt)
		if delay <= 0 {
			return reply, err
		}
		if attempt == maxAttempts {
			return nil, &kernel.Error{Code: kernel.CodeLimit, What: "hook " + hook.Name + " had " + p.op.Name + " tried too often",
				Why: "the limit is 10 attempts of one call", Fix: "return deny or continue in the end"}
		}
		if err := journal.LaneFrom(ctx).Sleep(ctx, delay); err != nil {
			return nil, err
		}
	}
}

// attempted is the call as a hook sees it. All hooks share the first attempt's
// message; hooks further in count for themselves.
func attempted(call *kernel.PortCall, attempt int) *kernel.PortCall {
	if attempt == call.Attempt {
		return call
	}
	counted := *call
	counted.Attempt, counted.Message = attempt, nil
	return &counted
}

// around is one attempt inside one hook. A positive delay asks for another.
func (p *passage) around(ctx context.Context, guarded map[string]string, hook Registration, i, attempt int) (*kernel.PortReply, time.Duration, error) {
	ctx, err := deeper(ctx, hook.Name)
	if err != nil {
		return nil, 0, err
	}
	v, err := hook.Hook.BeforePort(ctx, attempted(p.call, attempt))
	if v, err = p.judged(ctx, &hook, v, err); err != nil {
		return nil, 0, err
	}
	switch v.Action {
	case kernel.Deny:
		return nil, 0, p.denied(ctx, guarded, hook.Name, v.Reason)
	case kernel.RetryAfter:
		return nil, max(v.Delay, time.Millisecond), nil
	case kernel.Skip:
		return &kernel.PortReply{Value: v.Value, Body: v.Body}, 0, nil
	}
	inner := *p // another attempt starts from the call as it came
	if v.Action == kernel.Replace {
		if guarded, err = inner.replace(ctx, v); err != nil {
			return nil, 0, err
		}
	}
	reply, callErr := inner.hooked(ctx, guarded, i+1)
	v, err = hook.Hook.AfterPort(ctx, attempted(inner.call, attempt), reply, callErr)
	if v, err = p.judged(ctx, &hook, v, err); err != nil {
		return nil, 0, err
	}
	switch v.Action {
	case kernel.Deny:
		return nil, 0, p.denied(ctx, guarded, hook.Name, v.Reason)
	case kernel.RetryAfter:
		return nil, max(v.Delay, time.Millisecond), nil
	case kernel.Replace:
		replaced := &kernel.PortReply{Value: v.Value, Body: v.Body}
		if reply != nil {
			replaced.Labels = reply.Labels
			if v.Body == nil {
				replaced.Body = reply.Body
			}
		}
		return replaced, 0, nil
	}
	return reply, 0, callErr
}

// judged reports a hook's verdict. Where a hook that may fail has failed, the
// verdict is to continue.
func (p *passage) judged(ctx context.Context, r *Registration, v kernel.Verdict, err error) (kernel.Verdict, error) {
	if err == nil {
		p.span.Hook(r.Name, v.Action)
		emitVerdict(ctx, p.call, r.Name, v)
		return v, nil
	}
	if !r.Open || ctx.Err() != nil {
		return v, err
	}
	p.span.FailedOpen(r.Name)
	kernel.Emit(ctx, &kernel.Event{Type: kernel.HookDecided, Node: p.call.Node, Op: p.call.Op, Module: r.Name, Action: "failed_open", Reason: err.Error()})
	return kernel.Verdict{}, nil
}

// maxNesting is how deep hooks may call operations that are hooked: a hook on the
// operation that it calls itself would otherwise go on for ever.
const maxNesting = 16

type nestingKey struct{}

func deeper(ctx context.Context, hook string) (context.Context, error) {
	depth, _ := ctx.Value(nestingKey{}).(int)
	if depth == maxNesting {
		return nil, &kernel.Error{Code: kernel.CodeLimit, What: "hook " + hook + " runs inside itself too deeply", Why: fmt.Sprintf("the limit is %d", maxNesting), Fix: "do not hook the operations that the hook calls"}
	}
	return context.WithValue(ctx, nestingKey{}, depth+1), nil
}

// replace takes a hook's new arguments. They are another call than the one that
// was admitted, so they are admitted anew.
func (p *passage) replace(ctx context.Context, v kernel.Verdict) (map[string]string, error) {
	args, ok := v.Value.(map[string]any)
	if !ok {
		return nil, &kernel.Error{Code: kernel.CodeABI, What: "a hook replaced the arguments of " + p.op.Name + " by something that is no object", Fix: "patch below /args"}
	}
	changed := *p.call
	changed.Args, changed.Message = args, nil
	if v.Body != nil {
		changed.Body = v.Body
	}
	p.call = &changed
	return p.admit(ctx)
}

func (p *passage) denied(ctx context.Context, guarded map[string]string, hook, reason string) error {
	err := &kernel.Error{Code: kernel.CodeDenied, What: "hook " + hook + " denied " + p.op.Name, Why: kernel.Quote(reason), Fix: "see the hook's configuration"}
	return p.refuse(ctx, guarded, err, kernel.Reason{ID: "hook:" + hook, Msg: kernel.Quote(reason)})
}

// perform does the operation and charges the run for it.
func (p *passage) perform(ctx context.Context, guarded map[string]string) (*kernel.PortReply, error) {
	if err := p.countCall(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := p.withTimeout(ctx)
	defer cancel()
	call := p.call
	labels, heard := p.labels(), call.Tell != nil && !p.untouched()
	if labels != call.Labels || heard {
		carrying := *call
		carrying.Labels = labels
		if heard {
			carrying.Tell = nil
		}
		call = &carrying
	}
	p.note(ctx, call)
	if p.tracer != nil && (labels.Confidentiality() == kernel.Secret || p.duties.Masks()) {
		ctx = p.tracer.Quietly(ctx)
	}
	reply, err := p.taken(ctx, call, func(ctx context.Context) (*kernel.PortReply, error) {
		reply, err := Metered(*p.op)(ctx, call)
		if err != nil {
			p.flow.Join(p.declared(guarded)) // what an error says comes from there, too, and is written down so
			return nil, err
		}
		return p.masked(p.labelled(guarded, reply)), nil // before a hook sees it, or it is written down
	})
	if err != nil {
		return nil, err
	}
	p.flow.Join(reply.Labels)
	if p.op.Decides {
		emitDecision(ctx, p.call, reply.Value)
	}
	if err := p.checkSize(reply); err != nil {
		return nil, err
	}
	return reply, nil
}

// untouched reports whether the reply reaches whoever calls as the port gives it: no hook is around it, and no
// obligation takes anything off it.
func (p *passage) untouched() bool {
	hooked := slices.ContainsFunc(p.hooks, func(r Registration) bool { return r.Match(p.op.Name) })
	return !hooked && (p.duties == nil || len(p.duties.Reply) == 0 && p.duties.ReplyBytes == 0)
}

// note has whoever would take the answer again know what the call is.
func (p *passage) note(ctx context.Context, call *kernel.PortCall) {
	if p.op.tool { // it calls what it does
		return
	}
	switch effectOf(p.op.Name, call.Args) {
	case changes:
		kernel.NoteChange(ctx, call)
	case private:
		kernel.NotePrivate(ctx, call)
	case secret:
		kernel.NoteSecret(ctx, call)
	}
}

// emitDecision tells the run's observer what governance answered a question.
func emitDecision(ctx context.Context, call *kernel.PortCall, answer kernel.Value) {
	var d kernel.Decision
	if err := kernel.FromValue(answer, &d); err != nil {
		return
	}
	rules, messages := make([]string, len(d.Reasons)), make([]string, len(d.Reasons))
	for i, r := range d.Reasons {
		rules[i], messages[i] = kernel.Quote(r.ID), kernel.Quote(r.Msg)
	}
	action, _ := call.Args["action"].(string)
	kernel.Emit(ctx, &kernel.Event{Type: kernel.GovernanceDecided, Node: call.Node, Op: kernel.Quote(action), Action: string(d.Effect), Rules: rules, Reason: strings.Join(messages, "; ")})
}

func emitVerdict(ctx context.Context, call *kernel.PortCall, hook string, v kernel.Verdict) {
	if v.Action != kernel.Continue {
		kernel.Emit(ctx, &kernel.Event{Type: kernel.HookDecided, Node: call.Node, Op: call.Op, Module: hook, Action: v.Action.String(), Reason: kernel.Quote(v.Reason)})
	}
}
