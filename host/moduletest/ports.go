package moduletest

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// script is a case while it is played.
type script struct {
	calls    []Call
	done     []bool
	clock    []time.Time
	read     int
	random   []byte
	problems []string
	trace    *extension.Trace
}

type scriptKey struct{}

// mocked are operations with the arguments that grants can restrict, and answers
// from the case that is played.
func mocked(ops []ports.Op) []ports.Op {
	list := make([]ports.Op, len(ops))
	for i, op := range ops {
		op.Func, op.Meter, op.Decides = answer, nil, false
		list[i] = op
	}
	return list
}

// answer finds the next call of the case that is this one. That the calls came in
// order is for the comparison in the end, which sees those that were refused, too.
func answer(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	s, _ := ctx.Value(scriptKey{}).(*script)
	if s == nil {
		return nil, &kernel.Error{Code: kernel.CodeInternal, What: "no case is played"}
	}
	for i, c := range s.calls {
		if s.done[i] || !c.is(call.Op, call.Args, call.Body) {
			continue
		}
		s.done[i] = true
		if c.Error != nil {
			return nil, &kernel.Error{Code: c.Error.Code, What: c.Error.Message, RetryAfter: time.Duration(c.Error.RetryMS) * time.Millisecond}
		}
		return &kernel.PortReply{Value: c.Reply, Body: raw(c.ReplyText, c.ReplyBytes)}, nil
	}
	return nil, &kernel.Error{Code: kernel.CodeFailed, What: "the case has no such call of " + call.Op}
}

// is reports whether the module made this call.
func (c *Call) is(op string, args map[string]any, body []byte) bool {
	return c.Op == op && same(objectOf(c.Args), objectOf(args)) && bytes.Equal(raw(c.Text, c.Bytes), body)
}

// objectOf makes no arguments an empty object, as the host does.
func objectOf(args map[string]any) map[string]any {
	if args == nil {
		return map[string]any{}
	}
	return args
}

// same compares two values as JSON.
func same(a, b kernel.Value) bool {
	x, errA := kernel.EncodeJSON(a)
	y, errB := kernel.EncodeJSON(b)
	return errA == nil && errB == nil && bytes.Equal(x, y)
}

// now is the clock of a run: the case's readings, of which the last one stays.
func (s *script) now() time.Time {
	if len(s.clock) == 0 {
		s.problem("it read the clock, and the case gives no time: add clock")
		return time.Time{}
	}
	t := s.clock[min(s.read, len(s.clock)-1)]
	s.read++
	return t
}

// Read is the randomness of a run.
func (s *script) Read(p []byte) (int, error) {
	if len(s.random) == 0 {
		s.problem("it drew more random bytes than the case gives: add random_base64")
		return 0, fmt.Errorf("the case gives no more random bytes")
	}
	n := copy(p, s.random)
	s.random = s.random[n:]
	return n, nil
}

func (s *script) problem(text string) {
	for _, p := range s.problems {
		if p == text {
			return
		}
	}
	s.problems = append(s.problems, text)
}
