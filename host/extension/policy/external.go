package policy

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// Builtin is a function for policies that an application adds to this package's
// own: package topdown has OPA's. It must be pure, given the Evaluation, and
// bound what it spends: the host cannot interrupt it.
type Builtin struct {
	Arity int
	// Call takes arguments as Rego's text, each a whole value of at most 1 MiB and
	// kernel.MaxDepth, and returns such a text. "" is undefined. An error ends the
	// evaluation.
	Call func(e *Evaluation, args []string) (string, error)
}

// Evaluation is what the builtins of one evaluation share.
type Evaluation struct {
	Context context.Context
	// Now is the one time of the evaluation.
	Now time.Time
	// Seed is for builtins that would need chance. It follows from the time and the
	// input, so that an evaluation can be repeated.
	Seed [sha256.Size]byte
	// State is a builtin's to keep between the calls of an evaluation.
	State any
}

func newEvaluation(ctx context.Context, now time.Time, input []byte) *Evaluation {
	text := binary.BigEndian.AppendUint64(nil, uint64(now.UnixNano()))
	return &Evaluation{Context: ctx, Now: now, Seed: sha256.Sum256(append(text, input...))}
}

// external runs a builtin that the application added.
func (in *instance) external(ctx context.Context, b Builtin, addresses []uint64) uint32 {
	if in.evaluation == nil {
		in.evaluation = newEvaluation(ctx, in.now, in.input)
	}
	args := make([]string, len(addresses))
	for i, address := range addresses {
		args[i] = in.argumentText(ctx, address)
		if _, err := parseTerm(args[i]); err != nil {
			in.stop(notValue(in.opts.Name, err))
		}
	}
	result, err := b.Call(in.evaluation, args)
	switch {
	case ctx.Err() != nil:
		in.stop(ended(*in.opts, ctx.Err(), "it ran"))
	case err != nil:
		in.stop(limit(in.opts.Name, "a builtin that the policy calls was stopped", kernel.Quote(err.Error())))
	case result == "":
		return 0
	}
	return in.resultText(ctx, []byte(result))
}

func notValue(name string, err error) error {
	return protocol(name, "the policy gave a builtin what is not a value", kernel.Quote(err.Error()))
}
