// Package topdown offers policies those builtins of OPA that are deterministic
// and of bounded cost, by OPA's own implementations. It adds OPA to the program:
// package policy needs none of it.
package topdown

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/builtins"

	"github.com/hexdag/hexdag/host/extension/policy"
)

// Builtins returns the builtins that package policy does not have itself, by name.
func Builtins() map[string]policy.Builtin {
	all := make(map[string]policy.Builtin, len(offered))
	for name, check := range offered {
		all[name] = adapt(name, check)
	}
	return all
}

// Names returns the names of Builtins, sorted.
func Names() []string { return slices.Sorted(maps.Keys(offered)) }

// Unbounded returns any builtin of OPA's, or false if there is none: for OPA's own
// tests of a driver, and for nothing that is not trusted.
func Unbounded(name string) (policy.Builtin, bool) {
	if topdown.GetBuiltin(name) == nil || ast.BuiltinMap[name] == nil {
		return policy.Builtin{}, false
	}
	return adapt(name, func([]string) error { return nil }), true
}

// adapt makes a policy's builtin of OPA's. OPA has one of every name in offered: a
// test says so.
func adapt(name string, check guard) policy.Builtin {
	call := topdown.GetBuiltin(name)
	return policy.Builtin{
		Arity: len(ast.BuiltinMap[name].Decl.FuncArgs().Args),
		Call: func(e *policy.Evaluation, args []string) (string, error) {
			if err := check(args); err != nil {
				return "", fmt.Errorf("%s: %w", name, err)
			}
			return run(e, name, call, args)
		},
	}
}

// run calls a builtin of OPA's. Its errors are undefined, as they are in Rego,
// but for those that end an evaluation.
func run(e *policy.Evaluation, name string, call topdown.BuiltinFunc, args []string) (text string, err error) {
	defer func() {
		if r := recover(); r != nil { // a bug of a library must not end the host
			text, err = "", fmt.Errorf("%s panicked: %v", name, r)
		}
	}()
	terms := make([]*ast.Term, len(args))
	for i, arg := range args {
		if terms[i], err = ast.ParseTerm(arg); err != nil {
			return "", fmt.Errorf("%s: argument %d: %w", name, i+1, err)
		}
	}
	var result *ast.Term
	err = call(builtinContext(e), terms, func(t *ast.Term) error {
		result = t
		return nil
	})
	if halt, ok := errors.AsType[topdown.Halt](err); ok {
		return "", halt
	}
	if err != nil || result == nil {
		return "", nil // undefined
	}
	w := writer{left: maxResult}
	if err := w.value(result.Value, 0); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return string(w.text), nil
}

// ending has those builtins that look end with the evaluation.
type ending struct{ ctx context.Context }

// Cancel implements topdown.Cancel; nobody calls it.
func (ending) Cancel() {}

// Cancelled implements topdown.Cancel.
func (e ending) Cancelled() bool { return e.ctx != nil && e.ctx.Err() != nil }

// builtinContext returns the context that the evaluation's builtins share.
func builtinContext(e *policy.Evaluation) topdown.BuiltinContext {
	c, ok := e.State.(*topdown.BuiltinContext)
	if !ok {
		now := e.Now.UnixNano()
		c = &topdown.BuiltinContext{
			Context: e.Context,
			Time:    ast.NewTerm(ast.Number(fmt.Sprint(now))),
			Seed:    &stream{seed: e.Seed},
			Cache:   builtins.Cache{},
			Runtime: ast.ObjectTerm(),
			Cancel:  ending{e.Context},
		}
		e.State = c
	}
	return *c
}
