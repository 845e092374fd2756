package moduletest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
)

// compare notes what is not as expected.
func (r *Result) compare() {
	r.compareCalls()
	e, out := &r.Case.Expect, r.Trace.Outcome
	if e.Log != nil {
		if got := logLines(r.Trace.Log); !slices.Equal(got, *e.Log) {
			r.problem("the log is %s, expected %s", list(got), list(*e.Log))
		}
	}
	if fuel := out.Usage.Fuel; e.MaxFuel > 0 && fuel > e.MaxFuel {
		r.problem("it took %d fuel, expected at most %d", fuel, e.MaxFuel)
	}
	if r.Trace.Err != nil {
		if e.Error != kernel.CodeOf(r.Trace.Err) {
			r.problem("it ended with no verdict: %s", r.Trace.Err) // an Error, which is safe to show
		}
		return
	}
	if e.Verdict != r.Verdict {
		r.problem("the verdict is %s%s, expected %s", r.Verdict, because(out.Output), orElse(e.Verdict, "the error "+string(e.Error)))
	}
	r.compareDocuments()
}

func (r *Result) compareDocuments() {
	e, out := &r.Case.Expect, r.Trace.Outcome
	if e.RetryMS != nil && (out.Verdict != abi.RetryAfter || *e.RetryMS != out.Arg) {
		r.problem("it asks to be tried again after %d ms, expected %d", out.Arg, *e.RetryMS)
	}
	r.compareValue("patched", e.Patched, out.Patched)
	r.compareValue("output", e.Output, out.Output)
	if want := e.body(); want != nil && !bytes.Equal(want, out.Body) {
		r.problem("the body is %s, expected %s", kernel.Quote(string(out.Body)), kernel.Quote(string(want)))
	}
	if e.Says != "" {
		object, _ := out.Output.(map[string]any)
		reason, _ := object["reason"].(string)
		if !strings.Contains(reason, e.Says) {
			r.problem("the reason is %s, expected one that says %s", kernel.Quote(reason), kernel.Quote(e.Says))
		}
	}
}

// body is the body that is expected; nil where none is.
func (e *Expect) body() []byte {
	if e.Text != nil {
		return append([]byte{}, *e.Text...)
	}
	return e.Bytes
}

func (r *Result) compareValue(name string, want json.RawMessage, got kernel.Value) {
	if want == nil {
		return
	}
	v, err := kernel.DecodeJSON(want)
	if err != nil {
		r.problem("expect.%s is no JSON: %s", name, kernel.Quote(err.Error()))
		return
	}
	if !same(v, got) {
		r.problem("%s is %s, expected %s", name, show(got), show(v))
	}
}

// compareCalls compares the calls one by one, those that were refused on the way included.
func (r *Result) compareCalls() {
	made := r.Trace.Calls
	for i, want := range r.Case.Calls {
		if i >= len(made) {
			r.problem("call %d is missing: %s %s", i+1, kernel.Quote(want.Op), show(objectOf(want.Args)))
			continue
		}
		got := made[i]
		if !want.is(got.Op, got.Args, got.Body) {
			r.problem("call %d is %s, expected %s %s", i+1, shown(got), kernel.Quote(want.Op), show(objectOf(want.Args))+bodyOf(raw(want.Text, want.Bytes)))
			continue
		}
		if got.Err != nil && (want.Error == nil || want.Error.Code != kernel.CodeOf(got.Err)) {
			r.problem("call %d, %s, was refused: %s", i+1, kernel.Quote(got.Op), got.Err)
		}
	}
	for i := len(r.Case.Calls); i < len(made); i++ {
		r.problem("call %d is not expected: %s", i+1, shown(made[i]))
	}
}

func shown(c extension.HostCall) string {
	return kernel.Quote(c.Op) + " " + show(objectOf(c.Args)) + bodyOf(c.Body)
}

func bodyOf(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return fmt.Sprintf(" with the body %s", kernel.Quote(string(b)))
}

func (r *Result) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// because is the reason that a verdict gives.
func because(output kernel.Value) string {
	object, _ := output.(map[string]any)
	if reason, ok := object["reason"].(string); ok {
		return " (" + kernel.Quote(reason) + ")"
	}
	return ""
}

func list(lines []string) string {
	quoted := make([]string, len(lines))
	for i, l := range lines {
		quoted[i] = kernel.Quote(l)
	}
	return "[" + strings.Join(quoted, "; ") + "]"
}

func show(v kernel.Value) string {
	text, err := kernel.EncodeJSON(v)
	if err != nil {
		return kernel.Quote(err.Error())
	}
	return kernel.Quote(string(text))
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
