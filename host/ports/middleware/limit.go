package middleware

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/timeout"
	"golang.org/x/time/rate"

	"github.com/hexdag/hexdag/host/kernel"
)

// newRateLimiter makes RateLimiter, one bucket for the whole port. It keeps calls
// waiting and refuses none, but one whose time would be up before its turn.
func newRateLimiter(p *params) Middleware {
	calls := p.count("max_calls", 10, 1, 1_000_000)
	period := p.seconds("period", time.Minute, time.Millisecond, 24*time.Hour)
	bucket := rate.NewLimiter(rate.Limit(float64(calls)/period.Seconds()), calls)
	return func(op string, next kernel.PortFunc) kernel.PortFunc {
		return func(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
			if err := bucket.Wait(ctx); err != nil {
				if ctx.Err() != nil {
					return nil, kernel.ContextError(ctx)
				}
				return nil, &kernel.Error{Code: kernel.CodeTimeout, What: op + " was not tried: its time would be up before its turn",
					Why: fmt.Sprintf("the port's RateLimiter lets %d calls pass in %s", calls, period), Fix: "raise max_calls, or give the node more time", Err: err}
			}
			return next(ctx, call)
		}
	}
}

// newTimeout makes Timeout. It ends a call's context and waits for the call: an
// operation honours its context.
func newTimeout(p *params) Middleware {
	limit := p.seconds("timeout_seconds", 30*time.Second, time.Millisecond, 24*time.Hour)
	policy := timeout.New[*kernel.PortReply](limit)
	return func(op string, next kernel.PortFunc) kernel.PortFunc {
		return func(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
			reply, err := failsafe.With[*kernel.PortReply](policy).WithContext(ctx).GetWithExecution(func(exec failsafe.Execution[*kernel.PortReply]) (*kernel.PortReply, error) {
				return next(exec.Context(), call)
			})
			if ctx.Err() != nil && err != nil {
				return nil, kernel.ContextError(ctx)
			}
			if errors.Is(err, timeout.ErrExceeded) {
				return nil, &kernel.Error{Code: kernel.CodeTimeout, What: op + " did not answer in time", Why: fmt.Sprintf("timeout_seconds of the port's Timeout is %g", limit.Seconds()), Fix: "raise it, or ask for less", Err: err}
			}
			return reply, err
		}
	}
}
