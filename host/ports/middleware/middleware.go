package middleware

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// Middleware wraps the implementation of an operation. It is called once for each
// operation of the port.
type Middleware func(op string, next kernel.PortFunc) kernel.PortFunc

// builder makes a middleware from its parameters.
type builder func(p *params) Middleware

// builders are the middleware by their names.
func builders() map[string]builder {
	return map[string]builder{
		"RetryWithBackoff":         newRetry,
		"RateLimiter":              newRateLimiter,
		"CircuitBreaker":           newCircuitBreaker,
		"Timeout":                  newTimeout,
		"ResponseCache":            newCache,
		"StructuredOutputFallback": newNothing,
		"BatchGeneration":          newNothing, // llm.batch
		"Observability":            newNothing,
		"ObservableLLM":            newNothing,
		"ObservableToolRouter":     newNothing,
	}
}

// elsewhere are hexDAG's other middleware, and what to do instead.
func elsewhere() map[string]kernel.Error {
	return map[string]kernel.Error{
		"DistributedCache":   {Code: kernel.CodeNotYet, Why: "no cache is shared by several processes yet", Fix: "use ResponseCache"},
		"ResourceAccounting": {Code: kernel.CodeConfig, Why: "every run counts what it spends", Fix: "remove it"},
		"RoundRobin":         {Code: kernel.CodeConfig, Why: "a port does that by itself", Fix: "name the members under adapters: of the port, with strategy: round_robin"},
	}
}

// newNothing is what a port, or the door, does anyway.
func newNothing(*params) Middleware {
	return func(_ string, next kernel.PortFunc) kernel.PortFunc { return next }
}

// Names returns the names that New takes, sorted.
func Names() []string {
	var names []string
	for name := range builders() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// New returns the middleware of that name with its parameters. The name may be
// written as RetryWithBackoff, retry_with_backoff or, as in hexDAG,
// hexdag.stdlib.middleware.retry.RetryWithBackoff; parameters that are left
// out have the defaults. Errors are of CodeConfig, and of CodeNotYet for what
// only hexDAG has.
func New(name string, given map[string]any) (Middleware, error) {
	canonical := canonicalName(name)
	build, ok := builders()[canonical]
	if !ok {
		return nil, unknown(name, canonical)
	}
	p := &params{of: canonical, given: given}
	m := build(p)
	if err := p.end(); err != nil {
		return nil, err
	}
	return m, nil
}

// canonicalName returns the name that is written so, or the name's last part.
func canonicalName(name string) string {
	if rest, ok := strings.CutPrefix(name, "hexdag.stdlib.middleware."); ok {
		name = rest[strings.LastIndexByte(rest, '.')+1:]
	}
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "")) }
	for _, known := range slices.AppendSeq(Names(), maps.Keys(elsewhere())) {
		if name == known || !strings.ContainsFunc(name, isUpper) && plain(name) == plain(known) {
			return known
		}
	}
	return name
}

func isUpper(r rune) bool { return r >= 'A' && r <= 'Z' }

func unknown(name, canonical string) error {
	if e, ok := elsewhere()[canonical]; ok {
		e.What = "hexDAG's middleware " + canonical + " is not one here"
		return &e
	}
	return &kernel.Error{Code: kernel.CodeConfig, What: "there is no middleware " + kernel.Quote(name), Why: "a middleware is one of those that the host has; code is not imported", Fix: kernel.DidYouMean(canonical, Names())}
}

// Wrap returns a port's operations with the stack around them, the first
// innermost. What an operation charges is charged inside the stack, for
// each reply that the port itself gave: an answer from a cache costs nothing.
func Wrap(ops []ports.Op, stack []Middleware) []ports.Op {
	if len(stack) == 0 {
		return ops
	}
	wrapped := slices.Clone(ops)
	for i := range wrapped {
		op := &wrapped[i]
		op.Func = ports.Metered(*op)
		op.Meter = nil
		for _, m := range stack {
			op.Func = m(op.Name, op.Func)
		}
	}
	return wrapped
}

// problem is an error about a parameter.
func (p *params) problem(fix, format string, args ...any) {
	p.problems = append(p.problems, &kernel.Error{Code: kernel.CodeConfig, What: fmt.Sprintf("middleware %s: ", p.of) + fmt.Sprintf(format, args...), Fix: fix})
}
