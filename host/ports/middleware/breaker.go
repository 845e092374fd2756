package middleware

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/hexdag/hexdag/host/kernel"
)

// ErrCircuitOpen is the cause of the error of a call that a circuit breaker
// refused; its code is CodeUnavailable.
var ErrCircuitOpen = errors.New("the circuit breaker is open")

// breaker is CircuitBreaker: the state is of the port, so that one operation's
// failures spare the others, too.
type breaker struct {
	circuit   circuitbreaker.CircuitBreaker[any]
	threshold int
}

func newCircuitBreaker(p *params) Middleware {
	b := &breaker{threshold: p.count("failure_threshold", 5, 1, 10_000)}
	delay := p.seconds("reset_timeout", time.Minute, time.Millisecond, 24*time.Hour)
	probes := p.count("half_open_max_calls", 1, 1, 1000)
	b.circuit = circuitbreaker.NewBuilder[any]().WithFailureThreshold(uint(b.threshold)).
		WithDelay(delay).WithSuccessThresholdRatio(1, uint(probes)).Build()
	return b.wrap
}

func (b *breaker) wrap(op string, next kernel.PortFunc) kernel.PortFunc {
	return func(ctx context.Context, call *kernel.PortCall) (reply *kernel.PortReply, err error) {
		if !b.circuit.TryAcquirePermit() {
			return nil, b.refusal(op)
		}
		probe := b.circuit.IsHalfOpen()
		ended := false
		defer func() { b.record(ctx, err, ended, probe) }()
		reply, err = next(ctx, call)
		ended = true
		return reply, err
	}
}

// record tells the circuit how a call went. A caller that gave up, or asked for
// what it may not, has told nothing about the port.
func (b *breaker) record(ctx context.Context, err error, ended, probe bool) {
	switch {
	case ended && err == nil:
		b.circuit.RecordSuccess()
	case ended && ctx.Err() == nil && isFailure(err):
		b.circuit.RecordFailure()
		if probe {
			b.circuit.Open() // one failed probe is enough, of however many
		}
	case probe && b.circuit.IsHalfOpen():
		// The probe told nothing. Its permit comes back only with the state anew.
		b.circuit.Open()
		b.circuit.HalfOpen()
	}
}

func (b *breaker) refusal(op string) error {
	e := &kernel.Error{
		Code: kernel.CodeUnavailable, What: op + " was not tried: " + ErrCircuitOpen.Error(),
		Why: fmt.Sprintf("the port failed %d times in a row, failure_threshold of its CircuitBreaker", b.threshold),
		Fix: "mend what the port reaches", Err: ErrCircuitOpen,
	}
	if left := b.circuit.RemainingDelay(); left > 0 {
		e.Fix += fmt.Sprintf("; it is tried again in %s", left.Round(time.Millisecond))
	}
	return e
}
