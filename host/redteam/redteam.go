// Package redteam attacks the host with the modules of guests/hostile, and
// tells of each whether the host held: it is alive, it answered the right
// error, in time and within its memory, left a record, and another tenant's
// guest did not notice.
package redteam

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox"
)

// Case is one attack.
type Case struct {
	ID     string        // the group and number of the attack's kind; letters tell variants apart
	What   string        // what the guest does
	Source string        // its file in guests/hostile, or what makes it
	Want   string        // what the host must answer: an error's code, a verdict or a status; | between several
	Time   time.Duration // how long it may take, from its load to its end
	Memory uint64        // how much the process may grow meanwhile, in bytes
	Record kernel.Effect // what must be on record of a call; "" where the guest calls nothing
	Stall  time.Duration // how long the canary may be kept waiting

	attack func(ctx context.Context, s *site) string // returns what the host answered
}

// Result is how a case ended.
type Result struct {
	Case
	Got        string
	Took       time.Duration
	Grown      uint64        // bytes, at the peak
	Canary     time.Duration // median latency of the other tenant's calls meanwhile
	CanaryMax  time.Duration
	CanaryRuns int
	Problems   []string // why it did not pass
}

// Pass reports whether the host held.
func (r *Result) Pass() bool { return len(r.Problems) == 0 }

// Options configures Run.
type Options struct {
	// Sandbox configures the runtime that is attacked, as the host configures its own.
	Sandbox sandbox.Options
	// Select, if set, says which cases to run.
	Select func(c Case) bool
	// Slack multiplies the bounds of time and memory, for a machine that is busy
	// or a race detector that watches; 0 means 1.
	Slack int
	// Done, if set, is told of each result at once.
	Done func(r Result)
}

// Cases returns every case, in the order of its kind.
func Cases() []Case {
	cases := slices.Concat(loadCases(), bombCases(), timeCases(), resourceCases(), boundaryCases(), protocolCases(), rightsCases(), portCases(), outputCases())
	slices.SortStableFunc(cases, func(a, b Case) int { return compareIDs(a.ID, b.ID) })
	for i := range cases {
		c := &cases[i]
		orElse(&c.Time, 2*time.Second)
		orElse(&c.Memory, 64<<20)
		orElse(&c.Stall, 250*time.Millisecond)
	}
	return cases
}

func orElse[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// compareIDs orders by group, number and variant: A3 before A12.
func compareIDs(a, b string) int {
	if a[0] != b[0] {
		return int(a[0]) - int(b[0])
	}
	number := func(id string) string { return strings.TrimRight(id[1:], "abcdefghijklmnopqrstuvwxyz") }
	if d := len(number(a)) - len(number(b)); d != 0 {
		return d
	}
	return strings.Compare(a, b)
}

// giveUp is how long an attack that overran its bound is waited for.
const giveUp = 30 * time.Second

// Run runs the cases one after another. Its error says that the cases could not
// be run, and not that one did not pass.
func Run(ctx context.Context, opts Options) (results []Result, err error) {
	s, err := newSite(ctx, opts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	for _, c := range Cases() {
		if opts.Select != nil && !opts.Select(c) {
			continue
		}
		r, ended := s.run(ctx, c)
		results = append(results, r)
		if opts.Done != nil {
			opts.Done(r)
		}
		if !ended {
			s.lost = true
			return results, fmt.Errorf("case %s cannot be stopped: the others were not run", c.ID)
		}
		if ctx.Err() != nil {
			return results, kernel.ContextError(ctx)
		}
	}
	return results, nil
}

// run runs one case. It has not ended if the attack goes on.
func (s *site) run(ctx context.Context, c Case) (r Result, ended bool) {
	s.reset()
	watch := s.canary.watch(ctx)
	s.gauge = startGauge()
	s.began = time.Now()
	answer := make(chan string, 1)
	go func() { answer <- guarded(func() string { return c.attack(ctx, s) }) }()
	r = Result{Case: c}
	select {
	case r.Got = <-answer:
		ended = true
	case <-time.After(c.Time*time.Duration(s.slack) + giveUp):
		r.Got = "goes on"
	}
	s.mu.Lock()
	r.Took = time.Since(s.began)
	r.Grown = s.gauge.stop()
	s.mu.Unlock()
	r.Canary, r.CanaryMax, r.CanaryRuns = watch.stop()
	r.Problems = s.judge(&r, watch.failure)
	if ended {
		if err := s.canary.call(ctx); err != nil {
			r.Problems = append(r.Problems, "afterwards the canary failed: "+err.Error())
		}
		s.cleanUp(ctx)
	}
	return r, ended
}

// guarded runs f and answers a panic that escapes the host, which is what no
// attack may bring about.
func guarded(f func() string) (answer string) {
	defer func() {
		if p := recover(); p != nil {
			answer = fmt.Sprintf("PANIC %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}

// judge says what a result lacks.
func (s *site) judge(r *Result, canary error) (problems []string) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if !slices.Contains(strings.Split(r.Want, "|"), r.Got) {
		problem("answered %s, not %s", kernel.Quote(r.Got), r.Want)
	}
	if bound := r.Time * time.Duration(s.slack); r.Took > bound {
		problem("took %s of %s", r.Took.Round(time.Millisecond), bound)
	}
	if bound := r.Memory * uint64(s.slack); r.Grown > bound {
		problem("took %d MiB of %d", r.Grown>>20, bound>>20)
	}
	if r.Record != "" && !s.recorded(r.Record) {
		problem("no record says %s", r.Record)
	}
	if canary != nil {
		problem("the canary failed: %v", canary)
	}
	// Twice the latency of a quiet host, and some time for the scheduler of a small machine.
	if bound := (2*s.canary.quiet + r.Stall/10) * time.Duration(s.slack); r.CanaryRuns >= 5 && r.Canary > bound {
		problem("the canary's median was %s of %s", r.Canary.Round(time.Microsecond), bound.Round(time.Microsecond))
	}
	if bound := r.Stall * time.Duration(s.slack); r.CanaryMax > bound {
		problem("the canary waited %s of %s", r.CanaryMax.Round(time.Millisecond), bound)
	}
	return problems
}
