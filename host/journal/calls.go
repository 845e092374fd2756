package journal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

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
		case was.Digest != "" && was.Digest != Digest(r.Args, r.Body):
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
	if err := l.secure(ctx, r); err != nil {
		return nil, err
	}
	return l.perform(ctx, r, perform)
}

// secure has on the disk what must not be lost once a call is done: the call itself, or, where it can be repeated, what its
// arguments may be made of that would be something else then.
func (l *Lane) secure(ctx context.Context, r *Request) error {
	switch {
	case !r.Changes || r.Own:
		return nil
	case r.Repeatable:
		return l.tape.sink.SyncTo(ctx, l.tape.chances.Load())
	}
	return l.tape.sink.Sync(ctx)
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
	var needed *kernel.InputNeeded
	if errors.As(err, &needed) {
		e.Value = waitsFor("input", needed.ID, needed.Expires)
	}
	if strings.HasPrefix(r.Op, "artifacts.") {
		e.Reads = l.tape.run.ArtifactsRead(r.Node)
	}
	seq := l.write(e)
	if !r.Changes {
		l.tape.chance(seq)
	}
	if l.tape.Again() || !r.Dear && (!r.Changes || r.Repeatable || r.Own) {
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
		return nil, asked(r, reply)
	}
	return &kernel.PortReply{Value: reply.Value, Body: reply.Body, Labels: reply.Labels}, nil
}

// asked is the error that a call was answered with, with the input that it waits for.
func asked(r *Request, reply *Entry) error {
	id, expires := waitedFor("input", reply.Value)
	if id == "" || reply.Failed.Code != kernel.CodeInputNeeded {
		return reply.Failed
	}
	failed := *reply.Failed
	failed.Err = &kernel.InputNeeded{ID: id, Requests: r.Args["requests"], Expires: expires}
	return &failed
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

// Digest identifies the arguments and the body of a call.
func Digest(args map[string]any, body []byte) string {
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
