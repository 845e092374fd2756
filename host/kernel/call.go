package kernel

import (
	"context"
	"sync/atomic"
	"time"
)

// Value is a JSON value as encoding/json decodes it with UseNumber: nil, bool,
// json.Number, string, []any or map[string]any. Values are never changed once
// they are shared; who patches one copies the path to what changes.
type Value = any

// PortCall is one call of a port's method on its way through the door.
type PortCall struct {
	Op     string         // "port.method"
	Args   map[string]any // a JSON object
	Body   []byte         // raw bytes beside the arguments
	Node   string         // the node that the call is made for, if any
	Caller Caller
	// Labels are what the arguments carry, beside what the flow of the context has; nil
	// adds nothing. To the operation they are all that the call carries.
	Labels *Labels
	// Attempt, from 1, is which attempt of the call it is for the hook that looks at it.
	Attempt int
	// Message is the call as hooks in modules read it, made once for all of them;
	// nil until the first needs it. Whoever changes the call removes it.
	Message *Message
	// Text is that of the arguments, where whoever calls has it; see Text.For.
	Text *Text
	// Tell, if set, is told of a model's answer as it comes, before hooks and obligations have their say of it:
	// where there are any, the door removes it.
	Tell func(piece string)
	// Again, if set, is called where what was told is of no use, since what told it failed, and the answer is told from its beginning.
	Again func()
}

// Attempts returns the call for whoever makes it several times, and what they call before they make it again.
func (c *PortCall) Attempts() (call *PortCall, again func()) {
	if c.Tell == nil || c.Again == nil {
		return c, func() {}
	}
	var told atomic.Bool
	own, tell, retold := *c, c.Tell, c.Again
	own.Tell = func(piece string) {
		told.Store(true)
		tell(piece)
	}
	own.Again = func() {
		told.Store(false)
		retold()
	}
	return &own, func() {
		if told.Swap(false) {
			retold()
		}
	}
}

// Message is a value and its text as JSON.
type Message struct {
	Value Value
	Text  []byte
}

// PortReply is what a port's method answers.
type PortReply struct {
	Value Value
	Body  []byte
	// Labels are what the reply carries beside what went into the call; nil adds nothing.
	Labels *Labels
}

// Caller is the chain of those on whose behalf a call is made: the run's
// principal, then each module between it and the port. The rights of a call are
// the intersection along the chain.
type Caller struct {
	Principal string
	Modules   []ModuleRights
}

// ModuleRights is a module in a chain of callers, and what it may do.
type ModuleRights struct {
	Name   string
	Digest string
	// Check returns nil if the module both requests and was granted op with
	// these arguments, else an Error that names the missing link.
	Check func(op string, args map[string]string) error
}

// Chain returns the callers' names, outermost first.
func (c Caller) Chain() []string {
	names := append(make([]string, 0, 1+len(c.Modules)), c.Principal)
	for _, m := range c.Modules {
		names = append(names, "module:"+m.Name)
	}
	return names
}

// NodeCall is one attempt to execute a node.
type NodeCall struct {
	Name    string
	Kind    string
	Attempt int // from 1
	Input   Value
	// Message is the call as hooks in modules read it, made once for all of them;
	// nil until the first needs it. Whoever changes the call removes it.
	Message *Message
}

// Action is what a hook decides.
type Action int

// The actions. Replace changes what a hook saw (a before-hook the input or the
// arguments, an after-hook the output or the reply). Skip, of a before-hook,
// gives the result in place of what is hooked.
const (
	Continue Action = iota
	Replace
	Skip
	Deny
	RetryAfter
)

// String returns the action as events and logs show it.
func (a Action) String() string {
	return [...]string{"continue", "replace", "skip", "deny", "retry_after"}[a]
}

// Verdict is a hook's decision.
type Verdict struct {
	Action Action
	Value  Value         // for Replace and Skip
	Body   []byte        // for Replace and Skip, at a port
	Reason string        // for Deny and RetryAfter
	Delay  time.Duration // for RetryAfter
}

// NodeHook runs around the execution of a node. An error counts as the hook's
// failure, not as its decision.
type NodeHook interface {
	BeforeNode(ctx context.Context, call *NodeCall) (Verdict, error)
	// AfterNode sees the output, or the error of a failed attempt.
	AfterNode(ctx context.Context, call *NodeCall, output Value, err error) (Verdict, error)
}

// PortHook runs around a call of a port's method.
type PortHook interface {
	BeforePort(ctx context.Context, call *PortCall) (Verdict, error)
	// AfterPort sees the reply, or the error of a failed call.
	AfterPort(ctx context.Context, call *PortCall, reply *PortReply, err error) (Verdict, error)
}

// PortFunc is the implementation of a port's method.
type PortFunc func(ctx context.Context, call *PortCall) (*PortReply, error)

type idempotencyKey struct{}

// WithIdempotencyKey returns the context of a call that may be done a second time, with the same key, where
// nobody knows whether it was done.
func WithIdempotencyKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, idempotencyKey{}, key)
}

// IdempotencyKeyFrom returns the key that a port passes on with what it changes, or "".
func IdempotencyKeyFrom(ctx context.Context) string {
	key, _ := ctx.Value(idempotencyKey{}).(string)
	return key
}
