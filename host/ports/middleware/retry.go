package middleware

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"

	"github.com/hexdag/hexdag/host/kernel"
)

// retry is the configuration of RetryWithBackoff.
type retry struct {
	retries   int
	baseDelay time.Duration
	factor    float64
	maxDelay  time.Duration
	jitter    bool
	methods   func(op string) bool // nil means what EffectOf says
}

func newRetry(p *params) Middleware {
	r := &retry{
		retries:   p.count("max_retries", 3, 0, 100),
		baseDelay: p.seconds("base_delay", time.Second, 0, time.Hour),
		factor:    p.number("backoff_factor", 2, 1, 100),
		maxDelay:  p.seconds("max_delay", time.Minute, 0, time.Hour),
		jitter:    p.flag("jitter", true),
		methods:   p.matcher("methods"),
	}
	return r.wrap
}

func (r *retry) wrap(op string, next kernel.PortFunc) kernel.PortFunc {
	policyOf := func(repeatable bool) failsafe.Policy[*kernel.PortReply] {
		return retrypolicy.NewBuilder[*kernel.PortReply]().
			HandleIf(func(_ *kernel.PortReply, err error) bool { return r.shouldRetry(err, repeatable) }).
			WithMaxRetries(r.retries).WithDelayFunc(r.delay).ReturnLastFailure().Build()
	}
	always, rarely := policyOf(true), policyOf(false)
	return func(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
		repeatable, policy := r.repeats(op, call), rarely
		if repeatable {
			policy = always
		}
		call, again := call.Attempts()
		// What goes well at once does without the policy.
		reply, err := next(ctx, call)
		if !r.shouldRetry(err, repeatable) {
			return reply, err
		}
		tried := false
		_, ended := failsafe.With(policy).WithContext(ctx).Get(func() (*kernel.PortReply, error) {
			if tried {
				again()
				reply, err = next(ctx, call)
			}
			tried = true
			return reply, err
		})
		// The last attempt's own answer stands, unless the context ended in place of another.
		if ended != nil && ctx.Err() != nil && r.shouldRetry(err, repeatable) {
			return nil, kernel.ContextError(ctx)
		}
		return reply, err
	}
}

func (r *retry) repeats(op string, call *kernel.PortCall) bool {
	if r.methods != nil {
		return r.methods(op)
	}
	return EffectOf(op, call.Args) >= Repeatable
}

// shouldRetry reports whether another attempt is of use and, unless the operation
// may be repeated, whether the port said that this one had no effect.
func (r *retry) shouldRetry(err error, repeatable bool) bool {
	return isFailure(err) && retryAfter(err) <= r.maxDelay && (repeatable || kernel.CodeOf(err) == kernel.CodeRetry)
}

// retryAfter is how long the port asks to wait.
func retryAfter(err error) time.Duration {
	var e *kernel.Error
	if errors.As(err, &e) && e.Code == kernel.CodeRetry {
		return e.RetryAfter
	}
	return 0
}

// delay returns how long to wait after the attempt, at least what the port asked for.
func (r *retry) delay(attempt failsafe.ExecutionAttempt[*kernel.PortReply]) time.Duration {
	d := min(float64(r.baseDelay)*math.Pow(r.factor, float64(attempt.Attempts()-1)), float64(r.maxDelay))
	if r.jitter {
		d *= 0.5 + draw(attempt.Context())/2
	}
	return max(time.Duration(d), retryAfter(attempt.LastError()))
}

// draw is a random number from 0 to 1, of what the run draws from: a run that is done
// again with the same randomness waits as long.
func draw(ctx context.Context) float64 {
	run := kernel.RunFrom(ctx)
	if run == nil || run.Entropy == nil {
		return rand.Float64()
	}
	var bits [8]byte
	if _, err := io.ReadFull(run.Entropy, bits[:]); err != nil {
		return 1 // the whole delay
	}
	return float64(binary.LittleEndian.Uint64(bits[:])>>11) / (1 << 53)
}
