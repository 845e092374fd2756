package moduletest

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox"
)

// FromTrace makes a case of a call that a module has made: the same call with the
// same answers has to come to the same. started is when its run began.
func FromTrace(t *extension.Trace, started time.Time) (*Case, error) {
	input, ok := t.Input.(map[string]any)
	if !ok {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "the call cannot be recorded", Why: "its input is no object", Fix: "pass the message that abi/README.md describes for the extension point"}
	}
	c := &Case{Point: t.Point, Input: input, Config: t.Config, Random: t.Random}
	c.Text, c.Bytes = words(t.Body)
	if len(t.Clock) > 0 {
		start := started.UTC()
		c.Started = &start
	}
	for _, now := range t.Clock {
		c.Clock = append(c.Clock, now.UTC())
	}
	for _, call := range t.Calls {
		c.Calls = append(c.Calls, recordedCall(call))
	}
	var err error
	c.Expect, err = expectation(t)
	return c, err
}

func recordedCall(made extension.HostCall) Call {
	c := Call{Op: made.Op, Args: maps.Clone(made.Args)}
	c.Text, c.Bytes = words(made.Body)
	if made.Err != nil {
		c.Error = &Problem{Code: kernel.CodeOf(made.Err), Message: made.Err.Error()}
		var known *kernel.Error
		if errors.As(made.Err, &known) {
			c.Error.Message, c.Error.RetryMS = said(known), known.RetryAfter.Milliseconds()
		}
		return c
	}
	c.Reply = made.Reply.Value
	c.ReplyText, c.ReplyBytes = words(made.Reply.Body)
	return c
}

// said is an error's message as a guest reads it.
func said(e *kernel.Error) string {
	if e.Why == "" {
		return e.What
	}
	return e.What + ": " + e.Why
}

func expectation(t *extension.Trace) (e Expect, err error) {
	e.MaxFuel = bound(t.Outcome.Usage.Fuel)
	if len(t.Log) > 0 {
		lines := logLines(t.Log)
		e.Log = &lines
	}
	if e.Error = kernel.CodeOf(t.Err); e.Error == "" {
		err = e.of(t.Outcome)
	}
	return e, err
}

// of expects what came out of a call.
func (e *Expect) of(out *sandbox.Outcome) (err error) {
	e.Verdict = out.Verdict.String()
	if out.Verdict == abi.RetryAfter {
		e.RetryMS = &out.Arg
	}
	if out.Verdict == abi.Replace {
		e.Patched, err = kernel.EncodeJSON(out.Patched)
	}
	if out.HasOut && err == nil {
		e.Output, err = kernel.EncodeJSON(out.Output)
	}
	if len(out.Body) > 0 {
		text, bytes := words(out.Body)
		if e.Bytes = bytes; bytes == nil {
			e.Text = &text
		}
	}
	return err
}

// bound leaves room for another version of a compiler: twice the fuel, in two digits.
func bound(fuel int64) int64 {
	unit := int64(1)
	for 2*fuel/unit >= 100 {
		unit *= 10
	}
	return (2*fuel/unit + 1) * unit
}

// logLines are lines as cases have them, "level: text".
func logLines(log []extension.LogLine) []string {
	levels := [...]string{"debug", "info", "warn", "error"}
	lines := make([]string, len(log))
	for i, l := range log {
		lines[i] = fmt.Sprintf("%s: %s", levels[l.Level], l.Text)
	}
	return lines
}
