package ports

import (
	"context"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
)

// RepeatBy says which calls change nothing more where they are done a second time with the same idempotency key. Without
// it none is. It is set before the door is used.
func (d *Door) RepeatBy(repeatable func(op string, args map[string]any) bool) {
	d.repeatable = repeatable
}

// taken has a call done, and taken down in the run's journal, or answers what is there.
func (p *passage) taken(ctx context.Context, call *kernel.PortCall, do func(context.Context) (*kernel.PortReply, error)) (*kernel.PortReply, error) {
	shown := p.duties.Args(call.Args)
	if p.op.Own && p.duties.Hides() && journal.Digest(shown, nil) != journal.Digest(call.Args, nil) {
		seen := do
		do = func(ctx context.Context) (*kernel.PortReply, error) {
			return seen(context.WithValue(ctx, hiddenKey{}, true))
		}
	}
	lane := journal.LaneFrom(ctx)
	if lane == nil || p.op.tool {
		return do(ctx)
	}
	effect := effectOf(p.op.Name, call.Args)
	r := &journal.Request{
		Op: p.op.Name, Args: call.Args, Body: call.Body, Shown: shown, Labels: call.Labels, Node: call.Node,
		Changes: effect == changes, Repeatable: p.repeatable != nil && p.repeatable(p.op.Name, call.Args), Own: p.op.Own, Dear: p.op.Port() == "llm",
		Decides: p.op.Decides || p.op.Name == "governance.list_permissions",
	}
	switch p.op.Name {
	case "lock.acquire":
		r.Anew = len(call.Caller.Modules) == 0 // nobody has it by its id
		r.Scoped, _ = ctx.Value(scopedKey{}).(bool)
		r.Scoped = r.Scoped && r.Anew
		r.Gave = Acquired
		r.Ends = func(op string, args, _ kernel.Value) bool {
			return op == "lock.release" && member(args, "name") == member(call.Args, "name")
		}
	case "eventbus.subscribe":
		r.Ends = func(op string, args, reply kernel.Value) bool {
			return op == "eventbus.unsubscribe" && member(args, "subscription") == member(reply, "subscription")
		}
	case "artifacts.open", "artifacts.create":
		r.Ends = func(op string, args, reply kernel.Value) bool {
			return op == "artifacts.close" && member(args, "handle") == member(reply, "handle")
		}
	}
	return lane.Call(ctx, r, do)
}

type hiddenKey struct{}

// Hidden reports, to an operation on the run itself, whether governance lets records have less than its arguments.
func Hidden(ctx context.Context) bool {
	hidden, _ := ctx.Value(hiddenKey{}).(bool)
	return hidden
}

type scopedKey struct{}

// WithScoped returns the context of a call that acquires a lock which is given back when the work ends that it is for.
func WithScoped(ctx context.Context) context.Context {
	return context.WithValue(ctx, scopedKey{}, true)
}

// Acquired reports whether an answer of lock.acquire is that the lock was acquired.
func Acquired(reply kernel.Value) bool {
	fields, _ := reply.(map[string]any)
	return fields["acquired"] != false
}

// Redo has an operation on the run itself done again, as it was, and passes over any other.
func (d *Door) Redo(ctx context.Context, call *kernel.PortCall) {
	if op, ok := d.ops[call.Op]; ok && op.Own {
		_, _ = op.Func(ctx, call) // it answers as it did then
	}
}

// ChangesOwn reports whether a call is of an operation on the run itself that keeps something in it.
func (d *Door) ChangesOwn(call *kernel.PortCall) bool {
	op, ok := d.ops[call.Op]
	return ok && op.Own && (call.Op == "metrics.count" || effectOf(call.Op, call.Args) == changes)
}

func member(v kernel.Value, name string) kernel.Value {
	fields, _ := v.(map[string]any)
	text, _ := fields[name].(string)
	return text
}
