package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

const opComplete = "llm.complete"

// attempts executes a node until it succeeds, or its attempts are used up.
func (e *Engine) attempts(ctx context.Context, p *pipeline.Pipeline, n *pipeline.Node, given kernel.Value) (kernel.Value, error) {
	for attempt := 1; ; attempt++ {
		output, err := e.attempt(ctx, p, n, given, attempt)
		if err == nil || ctx.Err() != nil || kernel.CodeOf(err).Class() == kernel.ClassDenied {
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
		kernel.Emit(ctx, &kernel.Event{Type: kernel.NodeRetrying, Node: n.Name, Kind: n.Kind, Wave: n.Wave, Attempt: attempt, Reason: err.Error()})
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		}
	}
}

// attempt is one attempt within its time.
func (e *Engine) attempt(ctx context.Context, p *pipeline.Pipeline, n *pipeline.Node, given kernel.Value, attempt int) (output kernel.Value, err error) {
	timeout := n.Timeout
	if timeout == 0 {
		timeout = p.NodeTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("timeout of node %s is %s", n.Name, timeout))
	defer cancel()
	// A panic of the host's own code fails the node, not the process.
	defer func() {
		if v := recover(); v != nil {
			err = &kernel.Error{Code: kernel.CodeInternal, What: fmt.Sprintf("the host panicked: %v", v), Fix: "report it", Err: fmt.Errorf("%v\n%s", v, debug.Stack())}
		}
	}()
	call := &kernel.NodeCall{Name: n.Name, Kind: n.Kind, Attempt: attempt, Input: given}
	output, err = e.hooked(ctx, n, call, 0)
	return output, ended(ctx, err)
}

// ended returns the end of ctx in place of what a call that it stopped made of
// it: a port's failure, or a denial, as governance denies what it cannot decide.
func ended(ctx context.Context, err error) error {
	if code := kernel.CodeOf(err); err == nil || ctx.Err() == nil || code == kernel.CodeTimeout || code == kernel.CodeCanceled {
		return err
	}
	var e *kernel.Error
	errors.As(kernel.ContextError(ctx), &e)
	e.Err = errors.Join(e.Err, err)
	return e
}

// hooked runs the i-th hook that matches around the rest, the first outermost.
func (e *Engine) hooked(ctx context.Context, n *pipeline.Node, call *kernel.NodeCall, i int) (kernel.Value, error) {
	for i < len(e.hooks) && !e.hooks[i].matches(n) {
		i++
	}
	if i == len(e.hooks) {
		return e.execute(ctx, n, call)
	}
	hook := &e.hooks[i]
	v, err := hook.Hook.BeforeNode(ctx, call)
	if err != nil {
		return nil, err
	}
	emitVerdict(ctx, call, hook.Name, v)
	switch v.Action {
	case kernel.Deny, kernel.RetryAfter:
		return nil, refusal(hook.Name, call, v)
	case kernel.Skip:
		return v.Value, nil
	case kernel.Replace:
		changed := *call
		changed.Input = v.Value
		call = &changed
	}
	output, callErr := e.hooked(ctx, n, call, i+1)
	v, err = hook.Hook.AfterNode(ctx, call, output, callErr)
	if err != nil {
		return nil, err
	}
	emitVerdict(ctx, call, hook.Name, v)
	switch v.Action {
	case kernel.Deny, kernel.RetryAfter:
		return nil, refusal(hook.Name, call, v)
	case kernel.Replace:
		return v.Value, nil
	}
	return output, callErr
}

func refusal(hook string, call *kernel.NodeCall, v kernel.Verdict) error {
	if v.Action == kernel.RetryAfter {
		return &kernel.Error{Code: kernel.CodeRetry, What: "hook " + hook + " asks to try node " + call.Name + " again", Why: kernel.Quote(v.Reason), Fix: "give the node max_retries", RetryAfter: v.Delay}
	}
	return &kernel.Error{Code: kernel.CodeDenied, What: "hook " + hook + " denied node " + call.Name, Why: kernel.Quote(v.Reason), Fix: "see the hook's configuration"}
}

func emitVerdict(ctx context.Context, call *kernel.NodeCall, hook string, v kernel.Verdict) {
	if v.Action != kernel.Continue {
		kernel.Emit(ctx, &kernel.Event{Type: kernel.HookDecided, Node: call.Name, Kind: call.Kind, Module: hook, Action: v.Action.String(), Reason: kernel.Quote(v.Reason)})
	}
}

// execute does what the node is for.
func (e *Engine) execute(ctx context.Context, n *pipeline.Node, call *kernel.NodeCall) (kernel.Value, error) {
	switch b := n.Body.(type) {
	case *pipeline.LLM:
		return e.complete(ctx, b, call)
	case *pipeline.Function:
		return e.function(ctx, b, call)
	case *pipeline.Data:
		return b.Output.Render(pipeline.ScopeOf(call.Input))
	case *pipeline.ServiceCall:
		return e.service(ctx, n, b, call)
	}
	return nil, &kernel.Error{Code: kernel.CodeInternal, What: fmt.Sprintf("node kind %s has no body", n.Kind), Fix: "report it"}
}

func caller(ctx context.Context) kernel.Caller {
	return kernel.Caller{Principal: kernel.RunFrom(ctx).Principal}
}

// complete asks the model. With a schema the answer is its object, else its text.
func (e *Engine) complete(ctx context.Context, b *pipeline.LLM, call *kernel.NodeCall) (kernel.Value, error) {
	scope := pipeline.ScopeOf(call.Input)
	var messages []any
	for _, m := range []struct {
		role string
		text *pipeline.Template
	}{{"system", b.System}, {"user", b.Human}} {
		if m.text == nil {
			continue
		}
		content, err := m.text.Render(scope)
		if err != nil {
			return nil, err
		}
		messages = append(messages, map[string]any{"role": m.role, "content": content})
	}
	args := map[string]any{"messages": messages}
	if b.Model != "" {
		args["model"] = b.Model
	}
	if b.MaxTokens > 0 {
		args["max_tokens"] = json.Number(fmt.Sprint(b.MaxTokens))
	}
	if b.Schema != nil {
		args["schema"] = b.Schema
	}
	reply, err := e.door.Call(ctx, &kernel.PortCall{Op: opComplete, Args: args, Node: call.Name, Caller: caller(ctx)})
	if err != nil {
		return nil, err
	}
	answer, _ := reply.Value.(map[string]any)
	if b.Schema != nil {
		return answer["parsed"], nil
	}
	return answer["content"], nil
}

func (e *Engine) function(ctx context.Context, b *pipeline.Function, call *kernel.NodeCall) (kernel.Value, error) {
	m := e.modules[b.Module]
	if b.Tool == "" {
		return m.RunNode(ctx, call)
	}
	return m.CallTool(ctx, b.Tool, m.Arguments(ctx, b.Tool, call.Input), call.Name, caller(ctx))
}

// service calls a port's method: the mapped names are its arguments, or the
// fields that the node is given where nothing is mapped.
func (e *Engine) service(ctx context.Context, n *pipeline.Node, b *pipeline.ServiceCall, call *kernel.NodeCall) (kernel.Value, error) {
	args, _ := call.Input.(map[string]any)
	if names := n.MappedNames(); names != nil {
		mapped := make(map[string]any, len(names))
		for _, name := range names {
			if v, there := args[name]; there {
				mapped[name] = v
			}
		}
		args = mapped
	}
	reply, err := e.door.Call(ctx, &kernel.PortCall{Op: b.Op, Args: args, Node: call.Name, Caller: caller(ctx)})
	if err != nil {
		return nil, err
	}
	return reply.Value, nil
}
