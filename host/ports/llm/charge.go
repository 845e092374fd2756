package llm

import (
	"context"
	"sync/atomic"

	"github.com/hexdag/hexdag/host/kernel"
)

// charge has the call of a model made if the run of the context may, for what it may take at
// most, and charges the run for what it took. do is told how many tokens the answer may have.
func charge(ctx context.Context, call kernel.LLMCall, do func(ctx context.Context, output int64) (model string, used Usage, err error)) error {
	run := kernel.RunFrom(ctx)
	if run == nil {
		_, _, err := do(ctx, call.Output)
		return err
	}
	outer := chargedIn(ctx)
	if outer != nil { // what is kept for that one is for this one to use
		outer.admission.Release()
	}
	admission, err := run.StartLLM(ctx, call)
	if err != nil {
		return err
	}
	defer admission.Release() // of one that panics nothing may stay reserved: its tenant's other runs would miss it
	inner := &charged{admission: admission}
	model, used, err := do(context.WithValue(ctx, chargedKey{}, inner), admission.Output)
	if used == (Usage{}) && undone(err) && inner.input.Load()+inner.output.Load() == 0 {
		admission.Withdraw()
		return err
	}
	input, output := inner.beyond(used)
	outer.add(used, inner)
	if serr := admission.Settle(model, input, output); err == nil {
		err = serr
	}
	return err
}

// undone reports whether an error says that no model has worked: such a call is none of those that a run may make, so that another member
// of a pool, or a retry, can make it.
func undone(err error) bool {
	switch kernel.CodeOf(err) {
	case kernel.CodeUnsupported, kernel.CodeRetry, kernel.CodeUnavailable, kernel.CodeNotFound, kernel.CodeArguments:
		return true
	}
	return false
}

// charged is what the calls of a model have been charged for that were made in the
// course of another one: a module that is the model asks another for its answer.
type charged struct {
	admission     *kernel.Admission
	input, output atomic.Int64
}

type chargedKey struct{}

func chargedIn(ctx context.Context) *charged {
	c, _ := ctx.Value(chargedKey{}).(*charged)
	return c
}

// beyond is what of an answer's usage has not been charged: what a module says that
// it used comes on top of nothing that it did use.
func (c *charged) beyond(used Usage) (input, output int64) {
	return max(0, used.InputTokens-c.input.Load()), max(0, used.OutputTokens-c.output.Load())
}

// add adds a call, with those in its course, to those of the call that it is in.
func (c *charged) add(used Usage, inner *charged) {
	if c != nil {
		c.input.Add(max(used.InputTokens, inner.input.Load()))
		c.output.Add(max(used.OutputTokens, inner.output.Load()))
	}
}
