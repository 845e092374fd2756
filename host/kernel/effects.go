package kernel

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"sync"
)

// Effects are what one body in a module has done to the world, in its order: calls
// through the door, readings of the clock, random bytes. A body that has to wait for an
// approval, or for what its client is asked, is stopped there; when it is run anew, it is told again what it was told
// before, and does nothing twice. A module is deterministic, so it asks the same: where it
// does not, it is stopped.
//
// The zero value has none. It is for one body, which does one thing at a time; what
// is done inside of that, by hooks for one, is part of it.
type Effects struct {
	mu      sync.Mutex
	before  []Step // what was done before it waited
	next    int    // of before
	done    []Step
	size    int
	lost    bool // there was too much to keep
	busy    bool
	stopped error // what it waits for, or that it does something else than before
}

// Step is one thing that was done.
type Step struct {
	Op     string  `json:"op"`
	Digest string  `json:"digest,omitempty"` // of the arguments and the body
	Value  Value   `json:"value,omitempty"`
	Body   []byte  `json:"body,omitempty"`
	Failed *Error  `json:"failed,omitempty"`
	Labels *Labels `json:"labels,omitempty"` // of the reply
	Asked  string  `json:"asked,omitempty"`  // the key of the event whose data is the reply, until that has come

	call *asked // instead of the digest, until that is needed
}

// asked is what a digest is of.
type asked struct {
	args map[string]any
	body []byte
}

// The most that is kept of one body. Most never wait, so a digest is made when one does; but of
// calls that have more than maxAsked bytes, which are not worth keeping, at once.
const (
	MaxEffects     = 1024
	MaxEffectBytes = 4 << 20
	maxAsked       = 1 << 10
)

// Recall returns effects that begin with what was done before.
func Recall(before []Step) *Effects { return &Effects{before: before} }

// Stopped returns the error that stopped the body, or nil: that of what it
// waits for, or, of CodeFailed, that it did something else than it did before it waited.
func (e *Effects) Stopped() error {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stopped
}

// Done returns what was done so far, to go on from; false, where that was too much to keep.
func (e *Effects) Done() ([]Step, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	done := make([]Step, len(e.done))
	for i, one := range e.done {
		if one.call != nil {
			one.Digest, one.call = one.call.digest(), nil
		}
		done[i] = one
	}
	return done, !e.lost
}

func (a *asked) digest() string {
	text, err := EncodeJSON(a.args)
	if err != nil {
		return ""
	}
	h := sha256.New()
	h.Write(text)
	h.Write([]byte{0})
	h.Write(a.body)
	return hex.EncodeToString(h.Sum(nil))
}

func (a *asked) size() int {
	if a == nil {
		return 0
	}
	return SizeOf(a.args) + len(a.body)
}

// Do performs a call, or answers as before.
func (e *Effects) Do(flow *Flow, call *PortCall, perform func() (*PortReply, error)) (*PortReply, error) {
	what := &asked{call.Args, call.Body}
	known, nested, err := e.begin(call.Op, what.digest)
	switch {
	case err != nil:
		return nil, err
	case nested:
		return perform()
	case known != nil:
		flow.Join(known.Labels)
		if known.Failed != nil {
			return nil, known.Failed
		}
		return &PortReply{Value: known.Value, Body: bytes.Clone(known.Body), Labels: known.Labels}, nil
	}
	reply, err := perform()
	one := Step{Op: call.Op, call: what}
	var failed *Error
	switch {
	case errors.As(err, &failed):
		one.Failed = failed
	case err != nil:
		one.Failed = &Error{Code: CodeOf(err), What: err.Error()}
	case reply != nil:
		one.Value, one.Body, one.Labels = reply.Value, reply.Body, reply.Labels
	}
	e.end(one, err)
	return reply, err
}

// Draw returns what read answers, or what it answered before.
func (e *Effects) Draw(op string, read func() ([]byte, error)) ([]byte, error) {
	if e == nil {
		return read()
	}
	known, nested, err := e.begin(op, func() string { return "" })
	switch {
	case err != nil:
		return nil, err
	case nested:
		return read()
	case known != nil:
		return bytes.Clone(known.Body), nil
	}
	text, err := read()
	if err == nil {
		e.end(Step{Op: op, Body: bytes.Clone(text)}, nil)
		return text, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.busy = false
	return nil, err
}

// begin returns what was answered before. nested says that what is asked is part of
// something else.
func (e *Effects) begin(op string, digest func() string) (known *Step, nested bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.stopped != nil:
		return nil, false, e.stopped // nothing more is done by it
	case e.busy:
		return nil, true, nil
	case e.next == len(e.before) || e.before[e.next].Asked != "": // which has to be asked again
		e.busy = true
		return nil, false, nil
	}
	known = &e.before[e.next]
	if known.Op != op || known.Digest != digest() {
		e.stopped = &Error{Code: CodeFailed, What: "what waited cannot go on", Why: "it asks for " + Quote(op) + " where it asked for " + Quote(known.Op) + " before it waited, or with other arguments",
			Fix: "run the pipeline again; a module, or what it is given, has changed meanwhile"}
		return nil, false, e.stopped
	}
	e.next++
	e.keep(*known)
	return known, false, nil
}

func (e *Effects) end(one Step, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.busy = false
	if needed := NeededBy(err); needed != nil {
		e.stopped = err
		input, isInput := needed.(*InputNeeded)
		if !isInput {
			return // it is done again, and allowed then
		}
		one.Failed, one.Asked = nil, input.EventKey()
	}
	e.keep(one)
}

func (e *Effects) keep(one Step) {
	if e.lost {
		return
	}
	if one.call.size() > maxAsked {
		one.Digest, one.call = one.call.digest(), nil
	}
	e.size += one.size()
	if e.lost = e.size > MaxEffectBytes || len(e.done) == MaxEffects; e.lost {
		e.done = nil
		return
	}
	e.done = append(e.done, one)
}

// size is about how many bytes keeping a step takes, but for what all of them have.
func (s *Step) size() int {
	n := len(s.Op) + len(s.Digest) + s.call.size() + SizeOf(s.Value) + len(s.Body)
	if s.Failed != nil {
		n += len(s.Failed.What) + len(s.Failed.Why) + len(s.Failed.Fix)
	}
	for _, source := range s.Labels.Sources() {
		n += len(source)
	}
	return n
}

// SizeOf is about how many bytes a value has as JSON.
func SizeOf(v Value) int {
	switch v := v.(type) {
	case string:
		return len(v) + 2
	case json.Number:
		return len(v)
	case []any:
		n := 2
		for _, item := range v {
			n += 1 + SizeOf(item)
		}
		return n
	case map[string]any:
		n := 2
		for name, item := range v {
			n += 4 + len(name) + SizeOf(item)
		}
		return n
	}
	return 5
}
