package journal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// Request is a call of a port on its way to the port itself: governance and hooks have had their say.
type Request struct {
	Op     string
	Args   map[string]any
	Body   []byte
	Shown  map[string]any // the arguments as governance lets them be seen
	Labels *kernel.Labels // that it carries
	Node   string
	// Changes says that the call may change something outside; Repeatable, that doing it again with the same
	// idempotency key changes nothing more.
	Changes, Repeatable bool
	// Dear says that the reply is worth waiting for the disk: that of a model, which is not asked twice.
	Dear bool
	// Own says that what it does is to the run itself, in this process: it is done again in any case.
	Own bool
	// Decides says that governance itself answers, by its rules.
	Decides bool
	// Ends, if set, says that the reply is of no use to another process, as a lock or something that is open, until a call ends
	// that, which it recognises by its operation and its arguments.
	Ends func(op string, args, reply kernel.Value) bool
	// Gave says whether a reply gave anything; nil: each did.
	Gave func(reply kernel.Value) bool
	// Scoped says that whoever calls gives it back when its work ends, by no call: a lock in a spec.
	Scoped bool
	// Anew says that it is such, and that whoever calls does without the words of the reply: it is called again.
	Anew bool
}

// Call has perform do a call of a port, or answers what it answered before. What may not be done twice is on the disk before it is done.
func (l *Lane) Call(ctx context.Context, r *Request, perform func(context.Context) (*kernel.PortReply, error)) (*kernel.PortReply, error) {
	if l.silent() {
		return perform(ctx)
	}
	key := l.key()
	if r.Changes && r.Repeatable {
		ctx = kernel.WithIdempotencyKey(ctx, key)
	}
	known, err := l.expect(Call, r.Op, func(was *Entry) (string, bool) {
		switch {
		case was.Op != r.Op:
			return r.Op, false
		case was.Digest != "" && was.Digest != digest(r.Args, r.Body):
			return r.Op + " with other arguments", false
		}
		return "", true
	})
	switch {
	case err != nil:
		return nil, err
	case r.Decides && l.tape.mode == Rehearsing && l.tape.opts.Judge:
		return l.judgeAgain(ctx, r, key, known != nil, perform)
	case known != nil:
		return l.recall(ctx, r, known, perform)
	case l.tape.Again() && !r.Own:
		return nil, l.unrecorded(r)
	}
	begun := Entry{Kind: Call, Op: r.Op, Key: key, Args: argsOf(r.Shown), Labels: r.Labels, request: r}
	if r.Scoped {
		begun.Point = Scope
	}
	l.write(begun)
	if r.Changes && !r.Repeatable {
		if err := l.tape.sink.Sync(ctx); err != nil {
			return nil, err
		}
	}
	return l.perform(ctx, r, perform)
}

func argsOf(args map[string]any) kernel.Value {
	if args == nil {
		return nil
	}
	return args
}

// perform does a call, and takes down what it answered.
func (l *Lane) perform(ctx context.Context, r *Request, do func(context.Context) (*kernel.PortReply, error)) (*kernel.PortReply, error) {
	reply, err := l.muffled(ctx, do)
	e := Entry{Kind: Reply, Op: r.Op, Failed: failure(err), Charges: l.charged()}
	e.Labels = kernel.FlowFrom(ctx).Labels() // what the call has learned; so has an error
	if reply != nil {
		e.Labels = e.Labels.Join(reply.Labels)
		e.Value, e.Body = reply.Value, reply.Body
	}
	if strings.HasPrefix(r.Op, "artifacts.") {
		e.Reads = l.tape.run.ArtifactsRead(r.Node)
	}
	l.write(e)
	if l.tape.Again() || !r.Dear && (!r.Changes || r.Repeatable) {
		return reply, err
	}
	if failed := l.tape.sink.Sync(ctx); failed != nil && err == nil {
		return nil, failed
	}
	return reply, err
}

// muffled does what is taken down as a whole. That it panics is what came of it.
func (l *Lane) muffled(ctx context.Context, do func(context.Context) (*kernel.PortReply, error)) (*kernel.PortReply, error) {
	l.muted.Add(1)
	defer l.muted.Add(-1)
	return kernel.Guarded(func() (*kernel.PortReply, error) { return do(ctx) })
}

// recall answers a call that is known, as far as it is.
func (l *Lane) recall(ctx context.Context, r *Request, call *Entry, perform func(context.Context) (*kernel.PortReply, error)) (*kernel.PortReply, error) {
	var reply *Entry
	for reply == nil && l.next < len(l.known) {
		l.await()
		e := l.known[l.next]
		if e.Kind != Told && (e.Kind != Reply || e.Op != r.Op) {
			break
		}
		if l.consume(); e.Kind == Reply {
			reply = e
			break
		}
		if l.Again() && !r.Own { // what the call itself had told
			l.retell(e)
		}
	}
	if l.Again() {
		l.write(Entry{Kind: Call, Op: r.Op, Key: call.Key, Args: argsOf(r.Shown), Labels: r.Labels, request: r})
	}
	switch {
	case reply == nil && l.Again() && !r.Own:
		return nil, l.unrecorded(r)
	case reply == nil:
		return l.inFlight(ctx, r, call, perform)
	case r.Own:
		return l.performAgain(ctx, r, perform)
	case r.Anew && l.tape.mode == Resuming && reply.Failed == nil:
		return l.performAgain(ctx, r, perform)
	case r.Ends != nil && l.tape.mode == Resuming && reply.Failed == nil && !l.ended(r, reply):
		return nil, gone(r, l.path)
	}
	for _, id := range reply.Reads {
		l.tape.run.ReadArtifact(r.Node, id)
	}
	for _, c := range reply.Charges {
		l.tape.run.Recharge(c)
	}
	if l.Again() {
		again := *reply
		l.write(again)
	}
	if reply.Failed != nil {
		kernel.FlowFrom(ctx).Join(reply.Labels)
		return nil, asError(reply.Failed)
	}
	return &kernel.PortReply{Value: reply.Value, Body: reply.Body, Labels: reply.Labels}, nil
}

// performAgain does what is done again in any case.
func (l *Lane) performAgain(ctx context.Context, r *Request, do func(context.Context) (*kernel.PortReply, error)) (*kernel.PortReply, error) {
	if l.Again() {
		return l.perform(ctx, r, do)
	}
	defer l.charged()
	return l.muffled(ctx, do)
}

// ended reports whether the lane has ended what a call gave it.
func (l *Lane) ended(r *Request, reply *Entry) bool {
	if r.Gave != nil && !r.Gave(reply.Value) {
		return true
	}
	for _, e := range l.known[l.next:] {
		if e.Kind == Call && r.Ends(e.Op, e.Args, reply.Value) {
			return true
		}
	}
	return false
}

// gone is the error of what the process held that died.
func gone(r *Request, path string) error {
	return &kernel.Error{Code: kernel.CodeLockLost, What: "what " + r.Op + " had given is no longer there", Why: "the host that held it died while " + place(path) + " was under way",
		Fix: "run the pipeline anew; a lock in a node's spec, unlike one that a module acquires, is acquired again"}
}

// inFlight goes on with a call of which nobody knows whether it was done.
func (l *Lane) inFlight(ctx context.Context, r *Request, call *Entry, do func(context.Context) (*kernel.PortReply, error)) (*kernel.PortReply, error) {
	if r.Changes && !r.Repeatable && r.Ends == nil && !r.Anew {
		err := &kernel.Error{Code: kernel.CodeInFlight, What: "nobody knows whether " + r.Op + " was done", Why: "it was under way when the host died, and its port cannot tell a repetition",
			Fix: "find out, and run the pipeline anew from there"}
		l.write(Entry{Kind: Reply, Op: r.Op, Failed: err})
		return nil, err
	}
	if r.Changes && r.Repeatable && call.Key != "" { // what was offered then
		ctx = kernel.WithIdempotencyKey(ctx, call.Key)
	}
	return l.perform(ctx, r, do)
}

// unrecorded is the error of a call that a run which is done again does not make.
func (l *Lane) unrecorded(r *Request) error {
	l.tape.differ(Difference{Lane: l.path, What: "a call that the recording does not hold; it was not made", Is: r.Op, Unrecorded: true})
	return &kernel.Error{Code: kernel.CodeUnrecorded, What: r.Op + " was not called", Why: "the recording of the run does not hold this call, with these arguments", Fix: "run the pipeline anew to see what comes of it"}
}

// digest identifies arguments and body.
func digest(args map[string]any, body []byte) string {
	text, err := kernel.EncodeJSON(args)
	if err != nil {
		return ""
	}
	h := sha256.New()
	h.Write(text)
	h.Write([]byte{0})
	h.Write(body)
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

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
			now.Value = map[string]any{"approval": needed.ID, "expires": needed.Expires.UTC().Format(time.RFC3339Nano)}
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
	fields, _ := e.Value.(map[string]any)
	id, _ := fields["approval"].(string)
	if id == "" {
		return e.Failed
	}
	text, _ := fields["expires"].(string)
	expires, _ := time.Parse(time.RFC3339Nano, text) // the zero time has expired
	failed := *e.Failed
	failed.Err = &kernel.ApprovalNeeded{ID: id, Expires: expires}
	return &failed
}

// Guest is a call of a module.
type Guest struct {
	Module, Digest, Point string
}

// Enter notes that a module is called. An error is why that was stopped then: how far a module comes in its time is
// not the same twice. That it was called is written once it does something itself; else, all at once in the end.
func (l *Lane) Enter(g Guest) error {
	if l.silent() {
		return nil
	}
	e := Entry{Kind: Enter, Module: g.Module, Digest: g.Digest, Point: g.Point, Usage: l.usage}
	if l.tape.mode == Resuming || l.tape.mode == Replaying {
		known, err := l.entered(&e)
		if err != nil || known {
			return err
		}
	}
	l.enter(e)
	return nil
}

// enter has the lane be in one call of a module more, leave in so many.
func (l *Lane) enter(e Entry) {
	if l.entering = append(l.entering, e); len(l.entering) == 1 && l.tape.mode == Replaying {
		l.tape.works(1)
	}
}

func (l *Lane) leave(in int) {
	if len(l.entering) > 0 && in == 0 && l.tape.mode == Replaying {
		l.tape.works(-1)
	}
	l.entering = l.entering[:in]
}

// entered goes past what is known of the beginning of a module's call, and reports whether that is written already.
func (l *Lane) entered(e *Entry) (known bool, err error) {
	if l.tape.mode == Resuming {
		l.skipEvents()
	}
	if l.next < len(l.known) && l.known[l.next].Kind == Ran && l.known[l.next].Module == e.Module && l.known[l.next].Point == e.Point {
		l.await()
		if was := l.known[l.next]; was.Failed != nil && unlike(was.Failed) {
			l.pass(l.next + 1)
			return true, was.Failed
		}
		return false, nil
	}
	what := e.Module + "." + e.Point
	was, err := l.expect(Enter, what, func(was *Entry) (string, bool) {
		return what, was.Op == "" && was.Module == e.Module && was.Point == e.Point
	})
	if was == nil {
		return false, err
	}
	e.Usage = was.Usage
	if left := l.stopped(); left != nil {
		if l.Again() {
			l.write(*e)
		}
		return true, left
	}
	if l.Again() {
		l.write(*e)
	}
	l.enter(Entry{}) // it is written
	return true, nil
}

// unlike reports whether a module's call failed for what is not the same twice: its time, or a limit, which can be one of all that
// its tenant does.
func unlike(e *kernel.Error) bool { return ended(e) || e.Code == kernel.CodeLimit }

// stopped returns the failure of the module's call that has just begun, if its time was up, and goes past all
// that it did.
func (l *Lane) stopped() error {
	depth := 0
	for i, e := range l.known[l.next:] {
		switch e.Kind {
		case Enter:
			if e.Op == "" {
				depth++
			}
		case Leave:
			if depth--; depth >= 0 {
				continue
			}
			if e.Failed == nil || !unlike(e.Failed) {
				return nil
			}
			l.pass(l.next + i + 1)
			return e.Failed
		}
	}
	return nil
}

// pass goes past known entries, up to an index, as they are. What they count for they count for again.
func (l *Lane) pass(to int) {
	for l.next < to {
		l.await()
		e := l.consume()
		switch e.Kind {
		case Call:
			l.calls++
		case Decision:
			l.tape.run.CountPort()
		case Reply:
			for _, c := range e.Charges {
				l.tape.run.Recharge(c)
			}
		}
		if l.Again() {
			l.write(*e)
		}
	}
}

// Leave notes that a module has returned.
func (l *Lane) Leave(g Guest, fuel int64, verdict string, failed error) error {
	if l.silent() {
		return failed
	}
	is := Entry{Kind: Leave, Module: g.Module, Point: g.Point, Fuel: fuel, Verdict: verdict, Failed: failure(failed)}
	last := len(l.entering) - 1
	if begun := l.entering[last]; begun.Kind != "" { // it did nothing else
		is.Kind, is.Digest, is.Usage = Ran, begun.Digest, begun.Usage
	}
	l.leave(last)
	if l.tape.mode == Resuming || l.tape.mode == Replaying {
		what := is.Brief()
		e, err := l.expect(is.Kind, what, func(was *Entry) (string, bool) {
			return what, was.Module == g.Module && was.Fuel == fuel && was.Verdict == verdict && code(was.Failed) == code(is.Failed)
		})
		if err != nil {
			return err
		}
		if e != nil && !l.Again() {
			return failed
		}
	}
	l.append(is)
	return failed
}

func code(e *kernel.Error) kernel.Code {
	if e == nil {
		return ""
	}
	return e.Code
}

// Local has Go code of the embedding program do something, or answers what it did before, which is not done again.
func (l *Lane) Local(ctx context.Context, name string, do func() (kernel.Value, error)) (kernel.Value, error) {
	if l.silent() {
		return do()
	}
	flow := kernel.FlowFrom(ctx)
	e, begun, err := l.local(name)
	switch {
	case err != nil:
		return nil, err
	case e != nil:
		flow.Join(e.Labels)
		return e.Value, recalled(e)
	}
	if l.Again() {
		l.tape.differ(Difference{Lane: l.path, What: "Go code that is not there now; it was not run", Is: name, Unrecorded: true})
		return nil, &kernel.Error{Code: kernel.CodeUnrecorded, What: kernel.Quote(name) + " was not run", Why: "the recording of the run does not hold what it answers", Fix: "run the pipeline anew to see what comes of it"}
	}
	if !begun {
		l.write(Entry{Kind: Enter, Op: name})
	}
	v, err := kernel.Guarded(do)
	l.write(Entry{Kind: Local, Op: name, Value: v, Labels: flow.Labels(), Failed: failure(err)})
	return v, err
}

// local goes past what Go code did then, if it is known to its end. begun says that it is known to have begun.
func (l *Lane) local(name string) (end *Entry, begun bool, err error) {
	if l.tape.mode == Rehearsing {
		if end = l.search(Local, func(was *Entry) (string, bool) { return "", was.Op == name }); end != nil {
			l.write(*end)
		}
		return end, false, nil
	}
	begin, err := l.expect(Enter, kernel.Quote(name), func(was *Entry) (string, bool) { return kernel.Quote(name), was.Op == name })
	if begin == nil {
		return nil, false, err
	}
	if l.Again() {
		l.write(*begin)
	}
	depth := 1
	for i := l.next; i < len(l.known); i++ {
		switch e := l.known[i]; {
		case e.Kind == Enter && e.Op != "":
			depth++
		case e.Kind == Local:
			if depth--; depth == 0 {
				l.pass(i + 1)
				return e, true, nil
			}
		}
	}
	return nil, true, nil
}

// Answer returns the answer of a node that was taken from the cache; nil where none was, and the node works.
func (l *Lane) Answer() *Entry {
	if l.silent() || l.tape.mode == Recording {
		return nil
	}
	switch {
	case l.tape.mode == Rehearsing:
		e := l.search(Answer, func(*Entry) (string, bool) { return "", true })
		if e != nil {
			l.write(*e)
		}
		return e
	case l.tape.mode == Resuming, l.tape.parted():
		l.skipEvents()
	}
	l.Warnings()
	if l.next < len(l.known) && l.known[l.next].Kind == Answer {
		l.await()
		e := l.consume()
		if l.Again() {
			l.write(*e)
		}
		return e
	}
	return nil
}

// Warnings has the observer told again of warnings about a node's answer and whether it is kept, which nobody asks for
// in a run that is done again.
func (l *Lane) Warnings() {
	if !l.Again() || l.tape.mode != Replaying {
		return
	}
	for {
		if l.next >= len(l.known) || l.known[l.next].Kind != Told || l.known[l.next].Event.Type != kernel.NodeWarned {
			return
		}
		l.await()
		l.retell(l.consume())
	}
}

// retell tells of an event as it was.
func (l *Lane) retell(e *Entry) {
	l.write(Entry{Kind: Told, Event: e.Event})
	if o := l.tape.run.Observer; o != nil {
		o(e.Event)
	}
}

// Took notes that a node's answer was taken from the cache.
func (l *Lane) Took(v kernel.Value, labels *kernel.Labels, cached *kernel.Cached) {
	if !l.silent() {
		l.write(Entry{Kind: Answer, Value: v, Labels: labels, Cached: cached})
	}
}

// Ending returns the error that the lane's node ended with then, if that is what comes next in a run that is done as it was.
func (l *Lane) Ending() *kernel.Error {
	if l.silent() || l.tape.mode != Replaying || l.next >= len(l.known) || l.known[l.next].Kind != Done {
		return nil
	}
	return l.known[l.next].Failed
}

// Ready waits until it is the lane's turn.
func (l *Lane) Ready() {
	if !l.silent() {
		l.await()
	}
}

// Restored returns what became of the node before, if it is not to work again.
func (l *Lane) Restored() *Entry {
	if l.silent() {
		return nil
	}
	switch l.tape.mode {
	case Resuming:
	case Rehearsing:
		if l.tape.opts.Keep == nil || strings.Contains(l.path, "/") || !l.tape.opts.Keep(l.path) {
			return nil
		}
	default:
		return nil
	}
	for i := len(l.known) - 1; i >= 0; i-- {
		if e := l.known[i]; e.Kind == Done {
			l.next = len(l.known)
			if l.Again() {
				l.write(*e)
			}
			return e
		}
	}
	return nil
}

// Done notes what became of the lane's node.
func (l *Lane) Done(e Entry) {
	if l.silent() {
		return
	}
	e.Kind = Done
	l.leave(0) // what panicked did not
	switch l.tape.mode {
	case Replaying:
		is := e.Brief()
		_, _ = l.expect(Done, is, func(was *Entry) (string, bool) { return is, same(was, &e) })
	case Rehearsing:
		l.search(Done, func(was *Entry) (string, bool) { return "", true })
	}
	l.write(e)
}

// note is differ of what leaves the rest comparable.
func (t *Tape) note(d Difference) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.differences = append(t.differences, d)
}

// same reports whether two ends of a node are alike.
func same(a, b *Entry) bool {
	return a.State == b.State && code(a.Failed) == code(b.Failed) && (a.Failed == nil || a.Failed.What == b.Failed.What && a.Failed.Why == b.Failed.Why) && Equal(a.Value, b.Value) &&
		a.Labels.String() == b.Labels.String()
}

// Ended reports whether two runs ended alike.
func (e *Entry) Ended(other *Entry) bool {
	return e.Status == other.Status && code(e.Failed) == code(other.Failed) && Equal(e.Value, other.Value)
}

// Equal reports whether two values are the same JSON.
func Equal(a, b kernel.Value) bool {
	x, errX := kernel.EncodeJSON(a)
	y, errY := kernel.EncodeJSON(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// Brief is an entry in a few words.
func (e *Entry) Brief() string {
	switch e.Kind {
	case Told:
		return briefEvent(e.Event)
	case Done, End:
		text := string(e.State) + e.Status // it has one of them
		if e.Failed != nil {
			return text + " (" + e.Failed.What + ")"
		}
		if v, err := kernel.EncodeJSON(e.Value); err == nil {
			text += " " + kernel.Quote(shorten(string(v)))
		}
		return text
	case Call, Reply:
		return string(e.Kind) + " of " + e.Op
	case Decision:
		if e.Decided != nil {
			return "a decision about " + e.Op + ": " + briefDecision(e.Decided)
		}
		return "a decision about " + e.Op
	case Draw:
		return "a reading of " + e.Op
	case Enter:
		if e.Op != "" {
			return kernel.Quote(e.Op)
		}
		return e.Module + "." + e.Point
	case Leave, Ran:
		text := fmt.Sprintf("%s.%s: %s with %d fuel", e.Module, e.Point, e.Verdict, e.Fuel)
		if e.Failed != nil {
			text += " (" + string(e.Failed.Code) + ")"
		}
		return text
	case Local:
		return kernel.Quote(e.Op)
	}
	return string(e.Kind)
}

func shorten(s string) string {
	if r := []rune(s); len(r) > 120 {
		return string(r[:117]) + "..."
	}
	return s
}

func briefDecision(d *kernel.Decision) string {
	text := string(d.Effect)
	for i, r := range d.Reasons {
		sep := ", "
		if i == 0 {
			sep = " by "
		}
		text += sep + kernel.Quote(r.ID)
	}
	return text
}

// briefEvent is an event without what differs from one time to the next.
func briefEvent(e *kernel.Event) string {
	if e == nil {
		return "an event"
	}
	text := string(e.Type)
	for _, part := range []string{e.Node, e.Body, e.Op, e.Module, e.Action, e.Status, e.EventKey, e.Resource, e.Entity, e.EntityID, e.FromState, e.ToState} {
		if part != "" {
			text += " " + part
		}
	}
	return text
}
