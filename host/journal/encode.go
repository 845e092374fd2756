package journal

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/hexdag/hexdag/host/kernel"
)

// AppendJSON appends the entry as JSON, on one line: the form that README.md specifies.
func (e *Entry) AppendJSON(dst []byte) ([]byte, error) { return appendEntry(dst, e) }

// appendEntry appends what json.Marshal makes of e, but for the order of members of values: by hand, because the writer
// does it for all that all runs do.
func appendEntry(dst []byte, e *Entry) ([]byte, error) {
	before := len(dst)
	o := object{kernel.NewObject(dst)}
	o.uint("seq", e.Seq)
	o.String("kind", string(e.Kind))
	o.Time("time", e.Time)
	o.Some("lane", e.Lane)
	if e.Head != nil {
		o.marshal("head", e.Head)
	}
	o.Some("host", e.Host)
	if len(e.InFlight) > 0 {
		o.marshal("in_flight", e.InFlight)
	}
	o.Some("op", e.Op)
	o.Some("key", e.Key)
	o.Some("digest", e.Digest)
	o.value("args", e.Args)
	o.value("value", e.Value)
	o.bytes("body", e.Body)
	o.Labels("labels", e.Labels)
	o.failed("failed", e.Failed)
	o.decision(e.Decided)
	o.raw("asked", e.Asked)
	o.Some("module", e.Module)
	o.Some("point", e.Point)
	o.int("fuel", e.Fuel)
	o.int("log_lines", e.LogLines)
	o.int("bytes_in", e.BytesIn)
	o.int("bytes_out", e.BytesOut)
	o.Some("verdict", e.Verdict)
	o.usage(e.Usage)
	if len(e.Charges) > 0 {
		o.marshal("charges", e.Charges)
	}
	o.Strings("reads", e.Reads)
	o.Some("state", string(e.State))
	o.raw("pause", e.Pause)
	o.cached(e.Cached)
	o.event(e.Event)
	o.Some("status", e.Status)
	o.flag("redacted", e.Redacted)
	o.End()
	if o.Err == nil && bytes.IndexByte(o.Text[before:], '\n') >= 0 {
		o.Err = errors.New("it holds a value that is no JSON") // such as a json.Number of anything
	}
	return o.Text, o.Err
}

// object writes an entry. What is empty it leaves out.
type object struct{ kernel.Object }

func (o *object) uint(name string, n uint64) {
	o.Name(name)
	o.Text = strconv.AppendUint(o.Text, n, 10)
}

func (o *object) int(name string, n int64) {
	if n != 0 {
		o.Int(name, n)
	}
}

func (o *object) flag(name string, set bool) {
	if set {
		o.Name(name)
		o.Text = append(o.Text, "true"...)
	}
}

func (o *object) value(name string, v kernel.Value) {
	if v != nil {
		o.Value(name, v)
	}
}

func (o *object) bytes(name string, data []byte) {
	if len(data) > 0 {
		o.Name(name)
		o.Text = append(base64.StdEncoding.AppendEncode(append(o.Text, '"'), data), '"')
	}
}

func (o *object) raw(name string, text json.RawMessage) {
	if len(text) == 0 {
		return
	}
	o.Name(name)
	b := bytes.NewBuffer(o.Text)
	o.Err = errors.Join(o.Err, json.Compact(b, text))
	o.Text = b.Bytes()
}

func (o *object) marshal(name string, v any) {
	o.Name(name)
	text, err := json.Marshal(v)
	o.Text, o.Err = append(o.Text, text...), errors.Join(o.Err, err)
}

func (o *object) failed(name string, e *kernel.Error) {
	if e != nil {
		o.marshal(name, e)
	}
}

func (o *object) decision(d *kernel.Decision) {
	if d == nil {
		return
	}
	o.Open("decided")
	o.String("effect", string(d.Effect))
	o.Reasons(d.Reasons)
	if len(d.Obligations) > 0 {
		o.marshal("obligations", d.Obligations)
	}
	o.int("ttl_s", int64(d.TTLSeconds))
	o.Some("revision", d.Revision)
	o.End()
}

func (o *object) usage(u *kernel.UsageSnapshot) {
	if u != nil {
		o.Usage(u)
	}
}

func (o *object) cached(c *kernel.Cached) {
	if c == nil {
		return
	}
	o.Open("cached")
	o.String("run_id", c.RunID)
	o.String("artifact", c.Artifact)
	o.Time("stored", c.Stored)
	o.End()
}

func (o *object) event(e *kernel.Event) {
	if e == nil {
		return
	}
	o.Open("event")
	e.Members(&o.Object)
	o.End()
}
