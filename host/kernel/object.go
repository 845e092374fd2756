package kernel

import (
	"errors"
	"strconv"
	"time"
)

// Object writes the members of a JSON object, one after the other, by hand: for what is written down about all that all runs do. Names
// need no escapes.
type Object struct {
	Text []byte
	Err  error // all that went wrong
}

// NewObject begins an object behind what is there.
func NewObject(dst []byte) Object { return Object{Text: append(dst, '{')} }

// End ends the object, or the one that Open began.
func (o *Object) End() { o.Text = append(o.Text, '}') }

// Name begins a member, of which the value follows.
func (o *Object) Name(name string) {
	if o.Text[len(o.Text)-1] != '{' {
		o.Text = append(o.Text, ',')
	}
	o.Text = append(append(append(o.Text, '"'), name...), '"', ':')
}

// Open begins an object that is a member.
func (o *Object) Open(name string) {
	o.Name(name)
	o.Text = append(o.Text, '{')
}

// String writes a text.
func (o *Object) String(name, text string) {
	o.Name(name)
	o.Text = AppendString(o.Text, text)
}

// Some writes a text that is not empty.
func (o *Object) Some(name, text string) {
	if text != "" {
		o.String(name, text)
	}
}

// Strings writes texts, if there are any.
func (o *Object) Strings(name string, texts []string) {
	if len(texts) == 0 {
		return
	}
	o.Name(name)
	o.Text = append(o.Text, '[')
	for i, text := range texts {
		if i > 0 {
			o.Text = append(o.Text, ',')
		}
		o.Text = AppendString(o.Text, text)
	}
	o.Text = append(o.Text, ']')
}

// Int writes a number.
func (o *Object) Int(name string, n int64) {
	o.Name(name)
	o.Text = strconv.AppendInt(o.Text, n, 10)
}

// someInt writes a number that is not 0.
func (o *Object) someInt(name string, n int) {
	if n != 0 {
		o.Int(name, int64(n))
	}
}

// someFloat writes a number that is not 0.
func (o *Object) someFloat(name string, f float64) {
	if f != 0 {
		o.Value(name, f)
	}
}

// Time writes a time, to the nanosecond.
func (o *Object) Time(name string, t time.Time) {
	o.Name(name)
	o.Text = append(t.UTC().AppendFormat(append(o.Text, '"'), time.RFC3339Nano), '"')
}

// Value writes a value, null too.
func (o *Object) Value(name string, v Value) {
	o.Name(name)
	var err error
	o.Text, err = AppendJSON(o.Text, v)
	o.Err = errors.Join(o.Err, err)
}

// Reasons writes the reasons of a decision: null, where nobody said any.
func (o *Object) Reasons(reasons []Reason) {
	o.Name("reasons")
	if reasons == nil {
		o.Text = append(o.Text, "null"...)
		return
	}
	o.Text = append(o.Text, '[')
	for i, r := range reasons {
		if i > 0 {
			o.Text = append(o.Text, ',')
		}
		o.Text = append(o.Text, '{')
		o.String("id", r.ID)
		o.String("msg", r.Msg)
		o.End()
	}
	o.Text = append(o.Text, ']')
}

// Usage writes what a run has used.
func (o *Object) Usage(u *UsageSnapshot) {
	o.Open("usage")
	o.Int("llm_calls", u.LLMCalls)
	o.Int("input_tokens", u.InputTokens)
	o.Int("output_tokens", u.OutputTokens)
	o.Int("tool_calls", u.ToolCalls)
	o.Int("port_calls", u.PortCalls)
	o.End()
}

// Labels writes labels, if there are any.
func (o *Object) Labels(name string, l *Labels) {
	if l == nil {
		return
	}
	o.Open(name)
	o.String("integrity", string(l.Integrity()))
	o.String("confidentiality", string(l.Confidentiality()))
	o.Strings("sources", l.Sources())
	o.End()
}
