// Package pool puts several adapters behind one port. A call goes to one of them
// and, if that fails, to the others.
package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/middleware"
)

// The strategies: which member is asked first.
const (
	RoundRobin = "round_robin" // the one after that of the last call; the default
	Failover   = "failover"    // the first
)

// MaxMembers is how many adapters a pool has at most.
const MaxMembers = 64

// New returns the operations of a pool whose members offer the same operations
// with the same guarded arguments. strategy is RoundRobin, Failover or "". Errors
// are of CodeConfig.
//
// A call is made of one member after the other until one answers. It is not if
// a member denied it, found fault with its arguments, or the context ended, or a
// model's limit was met: the others would be asked what was refused. A call that may not be repeated
// (middleware.EffectOf) goes on only from a member that says that it was not
// done. An llm.complete whose answer has the content null, and calls no tools, goes on, too; if no
// member says more, that is the answer. If all fail, the error lists
// each one's; its code is theirs, or CodeUnavailable if they differ.
//
// What an operation charges is charged for the reply of each member.
func New(strategy string, members ...[]ports.Op) ([]ports.Op, error) {
	if strategy != "" && strategy != RoundRobin && strategy != Failover {
		return nil, configError("correct strategy", "there is no strategy %s; it is %s or %s", kernel.Quote(strategy), RoundRobin, Failover)
	}
	if len(members) == 0 || len(members) > MaxMembers {
		return nil, configError("name some under adapters:", "it has %d members, of 1 to %d", len(members), MaxMembers)
	}
	p := &pool{size: len(members), rotates: strategy != Failover}
	ops := make([]ports.Op, len(members[0]))
	for i, op := range members[0] {
		alike := make([]ports.Op, len(members))
		for m, offered := range members {
			at := slices.IndexFunc(offered, func(o ports.Op) bool { return o.Name == op.Name })
			if at < 0 || len(offered) != len(ops) || !slices.Equal(offered[at].Guards, op.Guards) || offered[at].Decides != op.Decides {
				return nil, configError("pool adapters of one port", "its members offer different operations: the first %s, member %d %s", names(members[0]), m+1, names(offered))
			}
			alike[m] = offered[at]
		}
		op.Func, op.Meter = p.operation(alike), nil
		ops[i] = op
	}
	return ops, nil
}

func names(ops []ports.Op) string {
	names := make([]string, len(ops))
	for i, op := range ops {
		names[i] = op.Name + "(" + strings.Join(op.Guards, ", ") + ")"
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func configError(fix, format string, args ...any) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: "the pool: " + fmt.Sprintf(format, args...), Fix: fix}
}

type pool struct {
	size    int
	rotates bool
	calls   atomic.Uint64
}

// first returns who is asked first.
func (p *pool) first() int {
	if !p.rotates {
		return 0
	}
	return int((p.calls.Add(1) - 1) % uint64(p.size))
}

// operation is one operation over all members.
func (p *pool) operation(members []ports.Op) kernel.PortFunc {
	do := make([]kernel.PortFunc, len(members))
	for i, op := range members {
		do[i] = ports.Metered(op)
	}
	name := members[0].Name
	return func(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
		repeatable := middleware.EffectOf(name, call.Args) >= middleware.Repeatable
		first := p.first()
		call, again := call.Attempts()
		var empty *kernel.PortReply
		var failed []failure
		for i := range do {
			if i > 0 {
				again()
			}
			member := (first + i) % len(do)
			reply, err := do[member](ctx, call)
			switch {
			case err == nil && !isEmpty(name, reply):
				return reply, nil
			case err == nil:
				empty = reply
			case ctx.Err() != nil || !goesOn(name, err, repeatable):
				return nil, err
			default:
				failed = append(failed, failure{member + 1, err})
			}
		}
		if empty != nil {
			return empty, nil
		}
		return nil, allFailed(name, failed)
	}
}

// isEmpty reports whether a model answered nothing: no text, nor calls of tools.
func isEmpty(op string, reply *kernel.PortReply) bool {
	if op != "llm.complete" {
		return false
	}
	value, isObject := reply.Value.(map[string]any)
	return reply.Value == nil || isObject && value["content"] == nil && value["tool_calls"] == nil
}

// goesOn reports whether another member may be asked what one failed to do.
func goesOn(op string, err error, repeatable bool) bool {
	code := kernel.CodeOf(err)
	if code == kernel.CodeLimit && strings.HasPrefix(op, "llm.") {
		return false
	}
	if code.Class() != kernel.ClassFailed || code == kernel.CodeArguments || code == kernel.CodeAudit || code == kernel.CodeCanceled {
		return false
	}
	return repeatable || code == kernel.CodeRetry
}

type failure struct {
	member int
	err    error
}

func allFailed(op string, failed []failure) error {
	e := &kernel.Error{Code: kernel.CodeOf(failed[0].err), What: fmt.Sprintf("%s failed on all %d members of its pool", op, len(failed)), Fix: "see each member's error"}
	var why []string
	var causes []error
	for _, f := range failed {
		why = append(why, fmt.Sprintf("member %d: %v", f.member, f.err))
		causes = append(causes, f.err)
		if kernel.CodeOf(f.err) != e.Code {
			e.Code = kernel.CodeUnavailable
		}
	}
	e.Why, e.Err = strings.Join(why, "; "), errors.Join(causes...)
	if e.Code == kernel.CodeRetry {
		e.RetryAfter = soonest(causes)
	}
	return e
}

// soonest is when the first of the members may be asked again.
func soonest(errs []error) time.Duration {
	var wait []time.Duration
	for _, err := range errs {
		var e *kernel.Error
		if errors.As(err, &e) {
			wait = append(wait, e.RetryAfter)
		}
	}
	return slices.Min(wait)
}
