package journal

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// Decide returns what governance decides of a call, or has decided. known says that it is on record.
func (l *Lane) Decide(ctx context.Context, op string, ask func() (kernel.Decision, error)) (d kernel.Decision, known bool, err error) {
	if l.silent() {
		d, err = ask()
		return d, false, err
	}
	e, err := l.expect(Decision, "a decision about "+op, func(was *Entry) (string, bool) { return "a decision about " + op, was.Op == op })
	switch {
	case err != nil:
		return d, true, err
	case e == nil && l.tape.mode == Rehearsing && !l.tape.opts.Judge:
		d.Effect = kernel.Allow // what is not recorded is not done
	case e == nil || l.tape.opts.Judge:
		d, err = l.asked(ask)
		if e != nil && e.Decided != nil {
			l.compare(e, &d, op)
			err = l.approved(e, &d, op, err)
		}
	default:
		if e.Decided != nil {
			d = *e.Decided
		}
		err = recalled(e)
	}
	if e == nil || l.Again() {
		now := Entry{Kind: Decision, Op: op, Failed: failure(err)}
		if err == nil || d.Effect != "" {
			now.Decided = &d
		}
		var needed *kernel.ApprovalNeeded
		if errors.As(err, &needed) {
			now.Value = waitsFor("approval", needed.ID, needed.Expires)
		}
		l.write(now)
	}
	if e == nil && !l.Again() && err == nil && approves(&d) { // it is used up: nobody is asked a second time
		err = l.tape.sink.Sync(ctx)
	}
	return d, e != nil || l.Again(), err
}

// asked has governance decide, whatever that does itself.
func (l *Lane) asked(ask func() (kernel.Decision, error)) (kernel.Decision, error) {
	l.muted.Add(1)
	defer l.muted.Add(-1)
	return ask()
}

// compare notes that other rules decide otherwise.
func (l *Lane) compare(was *Entry, is *kernel.Decision, op string) {
	if was.Decided.Effect == is.Effect && approves(was.Decided) == approves(is) {
		return
	}
	l.tape.note(Difference{Lane: l.path, Seq: was.Seq, What: "governance decides otherwise about " + op, Was: briefDecision(was.Decided), Is: briefDecision(is), Decision: true})
}

// approves reports whether a call needs an approval.
func approves(d *kernel.Decision) bool {
	return d.Effect == kernel.Approve || d.Effect == kernel.Allow && slices.ContainsFunc(d.Obligations, func(o map[string]any) bool { return o["type"] == "approval" })
}

// approved is the error of a decision that is made anew, which was err. What needs an approval has what came of it then; what did not need
// one waits for it.
func (l *Lane) approved(was *Entry, is *kernel.Decision, op string, err error) error {
	switch {
	case !approves(is):
		return err
	case approves(was.Decided):
		return recalled(was)
	}
	needed := &kernel.ApprovalNeeded{ID: "replay", Expires: l.tape.run.Started.Add(24 * time.Hour)}
	return &kernel.Error{Code: kernel.CodeApproval, What: op + " needs an approval", Why: "it needed none when the run was recorded", Fix: "allow it in the policy, if nobody is to be asked", Err: needed}
}

// judgeAgain has governance answer a question of the run anew.
func (l *Lane) judgeAgain(ctx context.Context, r *Request, key string, known bool, perform func(context.Context) (*kernel.PortReply, error)) (*kernel.PortReply, error) {
	var was *Entry
	for ; known && l.next < len(l.known); l.next++ {
		if e := l.known[l.next]; e.Kind == Reply && e.Op == r.Op {
			was = e
		} else if e.Kind != Told {
			break
		}
	}
	l.write(Entry{Kind: Call, Op: r.Op, Key: key, Args: argsOf(r.Shown), Labels: r.Labels, request: r})
	return l.perform(ctx, r, func(ctx context.Context) (*kernel.PortReply, error) {
		reply, err := perform(ctx)
		var then, now kernel.Decision
		if was == nil || err != nil || kernel.FromValue(was.Value, &then) != nil || kernel.FromValue(reply.Value, &now) != nil || then.Effect == "" {
			return reply, err
		}
		about, _ := r.Args["action"].(string)
		l.compare(&Entry{Seq: was.Seq, Decided: &then}, &now, kernel.Quote(about))
		if then.Effect == now.Effect && Equal(obligationsOf(&then), obligationsOf(&now)) {
			reply = &kernel.PortReply{Value: was.Value, Labels: reply.Labels} // why, and by which rules, is no difference
		}
		return reply, nil
	})
}

func obligationsOf(d *kernel.Decision) kernel.Value {
	v, _ := kernel.ToValue(d.Obligations) // what was decided is JSON
	return v
}

// recalled is the error of a decision, with the approval that it waits for.
func recalled(e *Entry) error {
	if e.Failed == nil {
		return nil
	}
	id, expires := waitedFor("approval", e.Value)
	if id == "" {
		return e.Failed
	}
	failed := *e.Failed
	failed.Err = &kernel.ApprovalNeeded{ID: id, Expires: expires}
	return &failed
}

// waitsFor is what is kept of an approval, or of input, that something waits for: the error alone is kept without its cause.
func waitsFor(what, id string, expires time.Time) kernel.Value {
	return map[string]any{what: id, "expires": expires.UTC().Format(time.RFC3339Nano)}
}

// waitedFor reads what waitsFor made; the id of anything else is "".
func waitedFor(what string, v kernel.Value) (id string, expires time.Time) {
	fields, _ := v.(map[string]any)
	id, _ = fields[what].(string)
	text, _ := fields["expires"].(string)
	expires, _ = time.Parse(time.RFC3339Nano, text) // the zero time has expired
	return id, expires
}
