package policy

import "context"

// EvalText evaluates with an input that may be any Rego value, and returns all of
// the module's answer.
func (p *Policy) EvalText(ctx context.Context, entrypoint, input string) (any, error) {
	if input == "" {
		return p.evaluate(ctx, entrypoint, nil)
	}
	return p.evaluate(ctx, entrypoint, []byte(input))
}

// Heap returns how much memory the data takes, with what changes have left there.
func (p *Policy) Heap() uint32 { return p.heap }
