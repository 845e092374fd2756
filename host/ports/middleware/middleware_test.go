package middleware_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/middleware"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const complete = "llm.complete"

func build(t *testing.T, name string, given map[string]any) middleware.Middleware {
	t.Helper()
	m, err := middleware.New(name, given)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// answers is a port's method that fails with the errors in turn, then answers.
type answers struct {
	mu     sync.Mutex
	errs   []error
	calls  int
	called []time.Time
}

func (a *answers) do(_ context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	a.called = append(a.called, time.Now())
	if a.calls <= len(a.errs) {
		return nil, a.errs[a.calls-1]
	}
	return &kernel.PortReply{Value: call.Args["x"], Body: []byte("body")}, nil
}

func failing(n int, err error) *answers { return &answers{errs: slices.Repeat([]error{err}, n)} }

func coded(code kernel.Code) error { return &kernel.Error{Code: code, What: "no"} }

func tenant(ctx context.Context, name, run string) context.Context {
	return kernel.WithRun(ctx, &kernel.RunContext{RunID: run, Tenant: name})
}

func call(x any) *kernel.PortCall { return &kernel.PortCall{Args: map[string]any{"x": x}} }

func TestNames(t *testing.T) {
	for _, name := range []string{
		"RetryWithBackoff", "retry_with_backoff", "hexdag.stdlib.middleware.retry.RetryWithBackoff", "hexdag.stdlib.middleware.RetryWithBackoff",
		"hexdag.stdlib.middleware.anything.at.all.RetryWithBackoff", "rate_limiter", "hexdag.stdlib.middleware.circuit_breaker.CircuitBreaker",
		"timeout", "ResponseCache", "structured_output_fallback", "Observability", "observable_llm", "ObservableToolRouter",
	} {
		if _, err := middleware.New(name, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range middleware.Names() {
		build(t, name, nil)
	}
}

func TestUnknown(t *testing.T) {
	for name, want := range map[string]struct {
		code kernel.Code
		says string
	}{
		"RetryWithBackof":                         {kernel.CodeConfig, "did you mean RetryWithBackoff?"},
		"retry_with_backof":                       {kernel.CodeConfig, "did you mean RetryWithBackoff?"},
		"hexdag.stdlib.middleware.timeout.Timeot": {kernel.CodeConfig, "did you mean Timeout?"},
		"mycompany.middleware.Timeout":            {kernel.CodeConfig, "code is not imported"},
		"":                                        {kernel.CodeConfig, "known are BatchGeneration, CircuitBreaker"},
		strings.Repeat("x", 1<<20):                {kernel.CodeConfig, "known are BatchGeneration, CircuitBreaker"},
		"\x1b[2J":                                 {kernel.CodeConfig, `\x1b[2J`},
		"hexdag.stdlib.middleware.DistributedCache": {kernel.CodeNotYet, "ResponseCache"},
		"round_robin": {kernel.CodeConfig, "strategy: round_robin"},
	} {
		_, err := middleware.New(name, nil)
		if kernel.CodeOf(err) != want.code || !strings.Contains(err.Error(), want.says) || len(err.Error()) > 2000 || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%.40q: %.300v, want %s and %q", name, err, want.code, want.says)
		}
	}
}

func TestParameters(t *testing.T) {
	for _, c := range []struct {
		name  string
		given map[string]any
		says  []string
	}{
		{"RetryWithBackoff", map[string]any{"max_retry": 3}, []string{"no parameter max_retry", "did you mean max_retries?"}},
		{"RetryWithBackoff", map[string]any{"max_retries": -1}, []string{"max_retries is -1", "from 0 to 100"}},
		{"RetryWithBackoff", map[string]any{"max_retries": 101}, []string{"from 0 to 100"}},
		{"RetryWithBackoff", map[string]any{"max_retries": 2.5}, []string{"max_retries is 2.5", "integer"}},
		{"RetryWithBackoff", map[string]any{"max_retries": "3"}, []string{`max_retries is "3"`}},
		{"RetryWithBackoff", map[string]any{"max_retries": nil}, []string{"max_retries is null"}},
		{"RetryWithBackoff", map[string]any{"jitter": 1, "base_delay": true, "backoff_factor": 0.5}, []string{"jitter is 1", "base_delay is true", "backoff_factor is 0.5"}},
		{"RetryWithBackoff", map[string]any{"methods": "llm.complete"}, []string{"list of operations"}},
		{"RetryWithBackoff", map[string]any{"methods": []any{1}}, []string{"list of operations"}},
		{"RateLimiter", map[string]any{"period": 0}, []string{"period is 0", "from 0.001"}},
		{"RateLimiter", map[string]any{"max_calls": uint64(1 << 63)}, []string{"max_calls is 9223372036854775808"}},
		{"CircuitBreaker", map[string]any{"failure_threshold": 0}, []string{"from 1 to 10000"}},
		{"Timeout", map[string]any{"timeout": 3}, []string{"known are timeout_seconds"}},
		{"ResponseCache", map[string]any{"ttl": "1h"}, []string{`ttl is "1h"`}},
		{"ResponseCache", map[string]any{"maxsize": 1}, []string{"did you mean max_size?"}},
		{"Observability", map[string]any{"x": 1}, []string{"no parameter x", "there are none"}},
	} {
		_, err := middleware.New(c.name, c.given)
		if kernel.CodeOf(err) != kernel.CodeConfig {
			t.Errorf("%s %v: %v", c.name, c.given, err)
			continue
		}
		for _, says := range append(c.says, "middleware "+c.name) {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%s %v: %v does not say %q", c.name, c.given, err, says)
			}
		}
	}
	build(t, "RetryWithBackoff", map[string]any{"max_retries": int64(1), "base_delay": 0.5, "max_delay": uint64(2), "backoff_factor": 1, "jitter": false})
}

// TestRetryDelays: 3 retries, 1 s, doubled, up to the cap.
func TestRetryDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := failing(100, coded(kernel.CodeUnavailable))
		f := build(t, "RetryWithBackoff", map[string]any{"jitter": false, "max_retries": 5, "max_delay": 10})(complete, a.do)
		if _, err := f(t.Context(), call(1)); kernel.CodeOf(err) != kernel.CodeUnavailable || err.Error() != "no" {
			t.Errorf("the last error is not the port's own: %v", err)
		}
		var delays []float64
		for i := range len(a.called) - 1 {
			delays = append(delays, a.called[i+1].Sub(a.called[i]).Seconds())
		}
		if diff := cmp.Diff([]float64{1, 2, 4, 8, 10}, delays); diff != "" {
			t.Error(diff)
		}
	})
}

// TestRetryDrawsFromTheRun: the same randomness, the same delays.
func TestRetryDrawsFromTheRun(t *testing.T) {
	for name, tc := range map[string]struct {
		entropy string
		want    []float64
	}{
		"nothing":          {strings.Repeat("\x00", 24), []float64{0.5, 1, 2}},
		"the middle":       {strings.Repeat("\x00\x00\x00\x00\x00\x00\x00\x80", 3), []float64{0.75, 1.5, 3}},
		"too few of them":  {strings.Repeat("\x00", 20), []float64{0.5, 1, 4}},
		"none of them all": {"", []float64{1, 2, 4}},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := failing(3, coded(kernel.CodeTimeout))
			ctx := kernel.WithRun(t.Context(), &kernel.RunContext{RunID: "r", Entropy: strings.NewReader(tc.entropy)})
			if _, err := build(t, "RetryWithBackoff", nil)(complete, a.do)(ctx, call("ok")); err != nil {
				t.Fatal(err)
			}
			var delays []float64
			for i := range len(a.called) - 1 {
				delays = append(delays, a.called[i+1].Sub(a.called[i]).Seconds())
			}
			if diff := cmp.Diff(tc.want, delays); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		})
	}
}

func TestRetryDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := failing(3, coded(kernel.CodeTimeout))
		reply, err := build(t, "RetryWithBackoff", nil)(complete, a.do)(t.Context(), call("ok"))
		if err != nil || reply.Value != "ok" || a.calls != 4 {
			t.Fatalf("%v, %v after %d calls", reply, err, a.calls)
		}
		for i, most := range []float64{1, 2, 4} {
			if d := a.called[i+1].Sub(a.called[i]).Seconds(); d < most/2 || d > most {
				t.Errorf("delay %d is %v s, with jitter it is %v to %v", i, d, most/2, most)
			}
		}
	})
}

func TestRetryGivesUp(t *testing.T) {
	never := map[string]error{
		"denied": coded(kernel.CodeDenied), "arguments": coded(kernel.CodeArguments), "not found": coded(kernel.CodeNotFound), "config": coded(kernel.CodeConfig),
		"limit": coded(kernel.CodeLimit), "canceled": coded(kernel.CodeCanceled), "too long a wait": &kernel.Error{Code: kernel.CodeRetry, RetryAfter: time.Hour},
	}
	for name, err := range never {
		synctest.Test(t, func(t *testing.T) {
			a := failing(9, err)
			_, got := build(t, "RetryWithBackoff", nil)(complete, a.do)(t.Context(), call(1))
			if a.calls != 1 || !errors.Is(got, err) {
				t.Errorf("%s: %d calls, %v", name, a.calls, got)
			}
		})
	}
	a := failing(9, coded(kernel.CodeFailed))
	if _, err := build(t, "RetryWithBackoff", map[string]any{"max_retries": 0})(complete, a.do)(t.Context(), call(1)); a.calls != 1 || kernel.CodeOf(err) != kernel.CodeFailed {
		t.Errorf("without retries: %d calls, %v", a.calls, err)
	}
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := failing(1, &kernel.Error{Code: kernel.CodeRetry, RetryAfter: 20 * time.Second})
		f := build(t, "RetryWithBackoff", nil)("database.insert", a.do)
		if _, err := f(t.Context(), call(1)); err != nil || a.called[1].Sub(a.called[0]) != 20*time.Second {
			t.Errorf("%v, %v", err, a.called)
		}
	})
}

// A call that may have had its effect is not made again by itself.
func TestRetryOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for op, calls := range map[string]int{"database.insert": 1, "http.request": 1, "api_call.post": 1, "guest.anything": 1, "memory.set": 2, "api_call.get": 2} {
			a := failing(1, coded(kernel.CodeUnavailable))
			c := &kernel.PortCall{Args: map[string]any{"method": "POST"}}
			_, _ = build(t, "RetryWithBackoff", nil)(op, a.do)(t.Context(), c)
			if a.calls != calls {
				t.Errorf("%s: %d calls, want %d", op, a.calls, calls)
			}
		}
		a := failing(1, coded(kernel.CodeUnavailable))
		m := build(t, "RetryWithBackoff", map[string]any{"methods": []any{"database.*"}})
		if _, err := m("database.insert", a.do)(t.Context(), call(1)); err != nil || a.calls != 2 {
			t.Errorf("where methods says so: %d calls, %v", a.calls, err)
		}
	})
}

func TestRetryEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := failing(9, coded(kernel.CodeUnavailable))
		f := build(t, "RetryWithBackoff", nil)(complete, a.do)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := f(ctx, call(1)); kernel.CodeOf(err) != kernel.CodeTimeout || time.Since(start) != time.Millisecond || a.calls != 1 {
			t.Errorf("%v after %s and %d calls", err, time.Since(start), a.calls)
		}
		if reply, err := f(ctx, call(1)); reply != nil || kernel.CodeOf(err) != kernel.CodeTimeout {
			t.Errorf("an ended context: %v, %v", reply, err)
		}
		// An answer that was paid is not thrown away because the context has just ended.
		ctx, cancel = context.WithCancel(t.Context())
		reply, err := build(t, "RetryWithBackoff", nil)(complete, func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
			cancel()
			return &kernel.PortReply{Value: "paid"}, nil
		})(ctx, call(1))
		if err != nil || reply.Value != "paid" {
			t.Errorf("%v, %v", reply, err)
		}
	})
}

func TestRateLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{}
		m := build(t, "RateLimiter", nil)
		one, other := m(complete, a.do), m("llm.other", a.do)
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 12 {
			f := one
			if i%2 == 0 {
				f = other // one bucket for both
			}
			wg.Go(func() {
				if _, err := f(t.Context(), call(1)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var waits []time.Duration
		for _, at := range a.called {
			waits = append(waits, at.Sub(start).Round(time.Second))
		}
		slices.Sort(waits)
		if diff := cmp.Diff(append(make([]time.Duration, 10), 6*time.Second, 12*time.Second), waits); diff != "" {
			t.Error(diff)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := one(ctx, call(1))
		if kernel.CodeOf(err) != kernel.CodeTimeout || !strings.Contains(err.Error(), "10 calls pass in 1m0s") {
			t.Errorf("a call without time: %v", err)
		}
		if a.calls != 12 {
			t.Errorf("%d calls", a.calls)
		}
	})
}

func TestCircuitBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := failing(6, coded(kernel.CodeUnavailable))
		f := build(t, "CircuitBreaker", nil)(complete, a.do)
		for range 5 {
			_, _ = f(t.Context(), call(1))
		}
		_, err := f(t.Context(), call(1))
		if !errors.Is(err, middleware.ErrCircuitOpen) || kernel.CodeOf(err) != kernel.CodeUnavailable || !strings.Contains(err.Error(), "failed 5 times in a row") || !strings.Contains(err.Error(), "in 1m0s") || a.calls != 5 {
			t.Fatalf("after 5 failures: %v, %d calls", err, a.calls)
		}
		time.Sleep(59 * time.Second)
		if _, err := f(t.Context(), call(1)); !errors.Is(err, middleware.ErrCircuitOpen) {
			t.Errorf("after 59 s: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := f(t.Context(), call(1)); kernel.CodeOf(err) != kernel.CodeUnavailable || a.calls != 6 {
			t.Errorf("the probe: %v, %d calls", err, a.calls)
		}
		if _, err := f(t.Context(), call(1)); !errors.Is(err, middleware.ErrCircuitOpen) {
			t.Errorf("after a failed probe: %v", err)
		}
		time.Sleep(time.Minute)
		for range 3 {
			if _, err := f(t.Context(), call(1)); err != nil {
				t.Errorf("closed again: %v", err)
			}
		}
	})
}

// One probe at a time, and what a denied or abandoned probe leaves is another probe.
func TestCircuitBreakerProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mode atomic.Value
		mode.Store(coded(kernel.CodeUnavailable))
		release := make(chan struct{})
		f := build(t, "CircuitBreaker", map[string]any{"failure_threshold": 1, "reset_timeout": 1})(complete, func(ctx context.Context, c *kernel.PortCall) (*kernel.PortReply, error) {
			if c.Args["x"] == "slow" {
				<-release
				return &kernel.PortReply{}, nil
			}
			if c.Args["x"] == "panic" {
				panic("a bug")
			}
			return nil, mode.Load().(error)
		})
		_, _ = f(t.Context(), call(1))
		time.Sleep(time.Second)
		for _, err := range []error{coded(kernel.CodeDenied), coded(kernel.CodeArguments)} {
			mode.Store(err)
			if _, got := f(t.Context(), call(1)); !errors.Is(got, err) {
				t.Fatalf("a probe that tells nothing: %v", got)
			}
		}
		func() {
			defer func() { _ = recover() }()
			_, _ = f(t.Context(), call("panic"))
		}()
		done := make(chan error)
		go func() { _, err := f(t.Context(), call("slow")); done <- err }()
		synctest.Wait()
		if _, err := f(t.Context(), call(1)); !errors.Is(err, middleware.ErrCircuitOpen) {
			t.Errorf("beside the probe: %v", err)
		}
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := f(t.Context(), call(1)); errors.Is(err, middleware.ErrCircuitOpen) {
			t.Errorf("after the probe: %v", err)
		}
	})
}

func TestCircuitBreakerCountsThePortsFailuresAlone(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx context.Context
		err error
	}{
		"denied": {t.Context(), coded(kernel.CodeDenied)}, "arguments": {t.Context(), coded(kernel.CodeArguments)}, "not found": {t.Context(), coded(kernel.CodeNotFound)},
		"a caller that gave up": {ended, coded(kernel.CodeTimeout)},
	} {
		a := failing(100, c.err)
		f := build(t, "CircuitBreaker", nil)(complete, a.do)
		for range 20 {
			_, _ = f(c.ctx, call(1))
		}
		if a.calls != 20 {
			t.Errorf("%s: it opened after %d calls", name, a.calls)
		}
	}
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(ctx context.Context, _ *kernel.PortCall) (*kernel.PortReply, error) {
			if run := kernel.RunFrom(ctx); run == nil || run.Tenant != "acme" {
				t.Error("the context lost its run")
			}
			select {
			case <-time.After(time.Hour):
				return &kernel.PortReply{}, nil
			case <-ctx.Done():
				return nil, kernel.ContextError(ctx)
			}
		}
		f := build(t, "Timeout", nil)(complete, slow)
		ctx := tenant(t.Context(), "acme", "r")
		start := time.Now()
		_, err := f(ctx, call(1))
		if kernel.CodeOf(err) != kernel.CodeTimeout || !strings.Contains(err.Error(), "timeout_seconds of the port's Timeout is 30") || time.Since(start) != 30*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		canceled, cancel := context.WithCancel(ctx)
		time.AfterFunc(time.Second, cancel)
		if _, err := f(canceled, call(1)); kernel.CodeOf(err) != kernel.CodeCanceled {
			t.Errorf("canceled: %v", err)
		}
		a := failing(1, coded(kernel.CodeDenied))
		if _, err := build(t, "Timeout", nil)(complete, a.do)(ctx, call(1)); kernel.CodeOf(err) != kernel.CodeDenied {
			t.Errorf("the port's own error: %v", err)
		}
	})
}

func TestStack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := failing(2, coded(kernel.CodeUnavailable))
		charged := 0
		op := ports.Op{Name: complete, Guards: []string{"model"}, Func: a.do, Meter: func(*kernel.RunContext, *kernel.PortReply) { charged++ }}
		wrapped := middleware.Wrap([]ports.Op{op}, []middleware.Middleware{build(t, "RetryWithBackoff", nil), build(t, "ResponseCache", nil)})
		door := ports.NewDoor(allow{}, allow{})
		if err := door.Register(wrapped...); err != nil {
			t.Fatal(err)
		}
		c := call("x")
		c.Op = complete
		for range 3 {
			if reply, err := door.Call(tenant(t.Context(), "acme", "r"), c); err != nil || reply.Value != "x" {
				t.Errorf("%v, %v", reply, err)
			}
		}
		if a.calls != 3 || charged != 1 || !slices.Equal(wrapped[0].Guards, op.Guards) {
			t.Errorf("%d calls, charged %d times, guards %v", a.calls, charged, wrapped[0].Guards)
		}
	})
}

type allow struct{}

func (allow) Authorize(context.Context, *kernel.AccessRequest) (kernel.Decision, error) {
	return kernel.Decision{Effect: kernel.Allow}, nil
}
func (allow) Audit(context.Context, *kernel.AuditRecord) error { return nil }

// BenchmarkCall is what each middleware adds to a call that goes well.
func BenchmarkCall(b *testing.B) {
	ctx := tenant(context.Background(), "acme", "r")
	c := &kernel.PortCall{Op: complete, Args: map[string]any{"messages": []any{map[string]any{"role": "user", "content": "hi"}}}}
	answer := &kernel.PortReply{Value: map[string]any{"content": "ok"}}
	f := func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) { return answer, nil }
	for _, name := range []string{"", "RetryWithBackoff", "CircuitBreaker", "Timeout", "ResponseCache"} {
		wrapped := kernel.PortFunc(f)
		if name != "" {
			m, err := middleware.New(name, nil)
			if err != nil {
				b.Fatal(err)
			}
			wrapped = m(complete, f)
		}
		b.Run("with-"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := wrapped(ctx, c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
