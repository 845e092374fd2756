package journal

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// AppendJSON appends the entry as JSON, on one line: the form that README.md specifies.
func (e *Entry) AppendJSON(dst []byte) ([]byte, error) { return appendEntry(dst, e) }

// appendEntry appends what json.Marshal makes of e, but for the order of members of values: by hand, because the writer
// does it for all that all runs do.
func appendEntry(dst []byte, e *Entry) ([]byte, error) {
	before := len(dst)
	o := object{dst: append(dst, '{')}
	o.uint("seq", e.Seq)
	o.text("kind", string(e.Kind))
	o.time("time", e.Time)
	o.some("lane", e.Lane)
	if e.Head != nil {
		o.marshal("head", e.Head)
	}
	o.some("host", e.Host)
	if len(e.InFlight) > 0 {
		o.marshal("in_flight", e.InFlight)
	}
	o.some("op", e.Op)
	o.some("key", e.Key)
	o.some("digest", e.Digest)
	o.value("args", e.Args)
	o.value("value", e.Value)
	o.bytes("body", e.Body)
	o.labels("labels", e.Labels)
	o.failed("failed", e.Failed)
	o.decision(e.Decided)
	o.raw("asked", e.Asked)
	o.some("module", e.Module)
	o.some("point", e.Point)
	o.int("fuel", e.Fuel)
	o.some("verdict", e.Verdict)
	o.usage(e.Usage)
	if len(e.Charges) > 0 {
		o.marshal("charges", e.Charges)
	}
	o.texts("reads", e.Reads)
	o.some("state", string(e.State))
	o.raw("pause", e.Pause)
	o.cached(e.Cached)
	o.event(e.Event)
	o.some("status", e.Status)
	o.flag("redacted", e.Redacted)
	o.dst = append(o.dst, '}')
	if o.err == nil && bytes.IndexByte(o.dst[before:], '\n') >= 0 {
		o.err = errors.New("it holds a value that is no JSON") // such as a json.Number of anything
	}
	return o.dst, o.err
}

// object appends the members of a JSON object, behind its "{". The names need no escapes.
type object struct {
	dst []byte
	err error // the first
}

// name appends a member's name, and what parts it from the one before.
func (o *object) name(name string) {
	if o.dst[len(o.dst)-1] != '{' {
		o.dst = append(o.dst, ',')
	}
	o.dst = append(append(append(o.dst, '"'), name...), '"', ':')
}

func (o *object) text(name, text string) {
	o.name(name)
	o.dst = kernel.AppendString(o.dst, text)
}

// some, like the others below, leaves a member out that is empty.
func (o *object) some(name, text string) {
	if text != "" {
		o.text(name, text)
	}
}

func (o *object) texts(name string, texts []string) {
	if len(texts) == 0 {
		return
	}
	o.name(name)
	o.dst = append(o.dst, '[')
	for i, text := range texts {
		if i > 0 {
			o.dst = append(o.dst, ',')
		}
		o.dst = kernel.AppendString(o.dst, text)
	}
	o.dst = append(o.dst, ']')
}

func (o *object) uint(name string, n uint64) {
	o.name(name)
	o.dst = strconv.AppendUint(o.dst, n, 10)
}

func (o *object) int(name string, n int64) {
	if n != 0 {
		o.always(name, n)
	}
}

func (o *object) always(name string, n int64) {
	o.name(name)
	o.dst = strconv.AppendInt(o.dst, n, 10)
}

func (o *object) float(name string, f float64) {
	switch {
	case f == 0:
	case f == math.Trunc(f) && math.Abs(f) < 1e15:
		o.always(name, int64(f))
	default:
		o.value(name, f)
	}
}

func (o *object) flag(name string, set bool) {
	if set {
		o.name(name)
		o.dst = append(o.dst, "true"...)
	}
}

func (o *object) time(name string, t time.Time) {
	o.name(name)
	o.dst = append(t.UTC().AppendFormat(append(o.dst, '"'), time.RFC3339Nano), '"')
}

func (o *object) value(name string, v kernel.Value) {
	if v == nil {
		return
	}
	o.name(name)
	var err error
	o.dst, err = kernel.AppendJSON(o.dst, v)
	o.err = errors.Join(o.err, err)
}

func (o *object) bytes(name string, data []byte) {
	if len(data) > 0 {
		o.name(name)
		o.dst = append(base64.StdEncoding.AppendEncode(append(o.dst, '"'), data), '"')
	}
}

func (o *object) raw(name string, text json.RawMessage) {
	if len(text) == 0 {
		return
	}
	o.name(name)
	b := bytes.NewBuffer(o.dst)
	o.err = errors.Join(o.err, json.Compact(b, text))
	o.dst = b.Bytes()
}

func (o *object) marshal(name string, v any) {
	o.name(name)
	text, err := json.Marshal(v)
	o.dst, o.err = append(o.dst, text...), errors.Join(o.err, err)
}

func (o *object) open(name string) {
	o.name(name)
	o.dst = append(o.dst, '{')
}

func (o *object) close() { o.dst = append(o.dst, '}') }

func (o *object) labels(name string, l *kernel.Labels) {
	if l == nil {
		return
	}
	o.open(name)
	o.text("integrity", string(l.Integrity()))
	o.text("confidentiality", string(l.Confidentiality()))
	o.texts("sources", l.Sources())
	o.close()
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
	o.open("decided")
	o.text("effect", string(d.Effect))
	o.reasons(d.Reasons)
	if len(d.Obligations) > 0 {
		o.marshal("obligations", d.Obligations)
	}
	o.int("ttl_s", int64(d.TTLSeconds))
	o.some("revision", d.Revision)
	o.close()
}

// reasons are never left out: there are none, or nobody said.
func (o *object) reasons(reasons []kernel.Reason) {
	o.name("reasons")
	if reasons == nil {
		o.dst = append(o.dst, "null"...)
		return
	}
	o.dst = append(o.dst, '[')
	for i, r := range reasons {
		if i > 0 {
			o.dst = append(o.dst, ',')
		}
		o.dst = append(o.dst, '{')
		o.text("id", r.ID)
		o.text("msg", r.Msg)
		o.close()
	}
	o.dst = append(o.dst, ']')
}

func (o *object) usage(u *kernel.UsageSnapshot) {
	if u == nil {
		return
	}
	o.open("usage")
	o.always("llm_calls", u.LLMCalls)
	o.always("input_tokens", u.InputTokens)
	o.always("output_tokens", u.OutputTokens)
	o.always("tool_calls", u.ToolCalls)
	o.always("port_calls", u.PortCalls)
	o.close()
}

func (o *object) cached(c *kernel.Cached) {
	if c == nil {
		return
	}
	o.open("cached")
	o.text("run_id", c.RunID)
	o.text("artifact", c.Artifact)
	o.time("stored", c.Stored)
	o.close()
}

func (o *object) event(e *kernel.Event) {
	if e == nil {
		return
	}
	o.open("event")
	o.text("type", string(e.Type))
	o.time("time", e.Time)
	o.text("run_id", e.RunID)
	o.some("parent_run_id", e.ParentRunID)
	o.text("pipeline", e.Pipeline)
	o.text("tenant", e.Tenant)
	o.some("node", e.Node)
	o.some("kind", e.Kind)
	o.int("wave", int64(e.Wave))
	o.texts("dependencies", e.Dependencies)
	o.int("nodes", int64(e.Nodes))
	o.int("waves", int64(e.Waves))
	o.int("attempt", int64(e.Attempt))
	o.some("op", e.Op)
	o.some("module", e.Module)
	o.some("action", e.Action)
	o.some("status", e.Status)
	o.some("reason", e.Reason)
	o.texts("rules", e.Rules)
	o.float("duration_ms", e.DurationMS)
	o.value("result", e.Result)
	o.failed("error", e.Error)
	o.labels("labels", e.Labels)
	o.cached(e.Cached)
	o.some("body", e.Body)
	o.some("event_key", e.EventKey)
	o.some("resource", e.Resource)
	o.float("used", e.Used)
	o.float("limit", e.Limit)
	o.some("entity", e.Entity)
	o.some("entity_id", e.EntityID)
	o.some("from_state", e.FromState)
	o.some("to_state", e.ToState)
	o.some("system", e.System)
	o.some("process", e.Process)
	o.int("dropped", e.Dropped)
	o.close()
}
