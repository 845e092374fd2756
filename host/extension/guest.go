package extension

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/tracing"
)

// guestHost is what one call of a module can reach: the door, with the rights of
// the whole chain.
type guestHost struct {
	module *version
	node   string
	caller kernel.Caller // the module included
	trace  *Trace        // nil where nobody asked for one
	begun  kernel.GuestCall
	told   LogTap // nil where nobody listens
}

// LogTap is told of the lines that modules log in a context, quoted.
type LogTap func(module string, level slog.Level, line string)

type logTapKey struct{}

// WithLogTap returns a context in which f, too, is told of what modules log. It is quick, and safe for concurrent use.
func WithLogTap(ctx context.Context, f LogTap) context.Context {
	return context.WithValue(ctx, logTapKey{}, f)
}

var _ sandbox.Host = (*guestHost)(nil)

func (h *guestHost) Call(ctx context.Context, op string, args map[string]any, body []byte) (*kernel.PortReply, error) {
	reply, err := ports.DoorFrom(ctx, h.module.owner.door).Call(ctx, &kernel.PortCall{Op: op, Args: args, Body: body, Node: h.node, Caller: h.caller})
	h.trace.called(HostCall{Op: op, Args: args, Body: body, Reply: reply, Err: err})
	return reply, err
}

func (h *guestHost) Log(level abi.Level, line string) {
	h.trace.logged(level, line)
	levels := [...]slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}
	line = kernel.Quote(line)
	h.module.owner.log.Log(context.Background(), levels[level], line, "module", h.module.Name(), "node", h.node)
	if h.told != nil {
		h.told(h.module.Name(), levels[level], line)
	}
}

// may checks a right that is an import of its own rather than an operation.
func (h *guestHost) may(op string) error {
	for _, m := range h.caller.Modules {
		if err := m.Check(op, nil); err != nil {
			return err
		}
	}
	return nil
}

func (h *guestHost) Clock(ctx context.Context, id abi.ClockID) (int64, error) {
	if err := h.may(abi.OpClock); err != nil {
		return 0, err
	}
	run := kernel.RunFrom(ctx)
	now := time.Now
	if run != nil && run.Clock != nil {
		now = run.Clock
	}
	t, err := reading(ctx, now)
	if err != nil {
		return 0, err
	}
	h.trace.read(t)
	switch {
	case id == abi.ClockWall:
		return t.UnixNano(), nil
	case run != nil:
		return t.Sub(run.Started).Nanoseconds(), nil
	}
	return 0, nil
}

func (h *guestHost) Random(ctx context.Context, p []byte) error {
	if err := h.may(abi.OpRandom); err != nil {
		return err
	}
	source := rand.Reader
	if run := kernel.RunFrom(ctx); run != nil && run.Entropy != nil {
		source = run.Entropy
	}
	drawn, err := effects(ctx).Draw(abi.OpRandom, func() ([]byte, error) {
		return journal.LaneFrom(ctx).Draw(abi.OpRandom, func() ([]byte, error) {
			_, err := io.ReadFull(source, p)
			return p, err
		})
	})
	copy(p, drawn)
	h.trace.drew(p)
	return err
}

// effects are those of the body that a call is made for; nil where nobody keeps them.
func effects(ctx context.Context) *kernel.Effects {
	if flow := kernel.FlowFrom(ctx); flow != nil {
		return flow.Effects
	}
	return nil
}

// reading is what the clock says, or said before the body waited.
func reading(ctx context.Context, now func() time.Time) (time.Time, error) {
	fx, lane := effects(ctx), journal.LaneFrom(ctx)
	if fx == nil && lane == nil {
		return now(), nil
	}
	text, err := fx.Draw(abi.OpClock, func() ([]byte, error) {
		return lane.Draw(abi.OpClock, func() ([]byte, error) { return now().MarshalBinary() })
	})
	if err != nil {
		return time.Time{}, err
	}
	var t time.Time
	return t, t.UnmarshalBinary(text)
}

// maxNesting is how deep guests may call guests through the host: a hook on the
// operation that it calls itself would otherwise go on until its deadline, and
// take an instance at every level.
const maxNesting = 8

// deeper begins a call of a guest, which is inside of the one that ctx is of.
func deeper(ctx context.Context, m *version, call *kernel.GuestCall) (context.Context, error) {
	if outer := kernel.GuestCallFrom(ctx); outer != nil {
		call.Depth = outer.Depth
	}
	if call.Depth == maxNesting {
		return nil, &kernel.Error{Code: kernel.CodeLimit, What: "guests call guests too deeply", Where: kernel.Where{Module: m.ID()},
			Why: fmt.Sprintf("the limit is %d", maxNesting), Fix: "do not hook the operations that the hook calls"}
	}
	call.Depth++
	return kernel.WithGuestCall(ctx, call), nil
}

// maxDelay bounds how long a guest can have the host wait.
const maxDelay = time.Hour

func delay(ms uint32) time.Duration { return min(time.Duration(ms)*time.Millisecond, maxDelay) }

// call runs an extension point with the module's own rights behind those of the caller.
func (m *version) call(ctx context.Context, point abi.Point, node string, caller kernel.Caller, input kernel.Value, body []byte) (*sandbox.Outcome, error) {
	return m.callEncoded(ctx, point, node, caller, input, nil, body)
}

// callEncoded is call where the caller has the input as JSON; text may be nil.
func (m *version) callEncoded(ctx context.Context, point abi.Point, node string, caller kernel.Caller, input kernel.Value, text, body []byte) (*sandbox.Outcome, error) {
	return m.enter(ctx, node, caller, sandbox.Call{Point: point, Input: input, Text: text, Body: body, Config: m.owner.spec.Config})
}

// enter completes a call with whom it can reach and whose it is, and makes it.
func (m *version) enter(ctx context.Context, node string, caller kernel.Caller, call sandbox.Call) (*sandbox.Outcome, error) {
	behind := append(append([]kernel.ModuleRights(nil), caller.Modules...), m.rights)
	host := &guestHost{module: m, node: node, caller: kernel.Caller{Principal: caller.Principal, Modules: behind}}
	host.told, _ = ctx.Value(logTapKey{}).(LogTap)
	ctx, err := deeper(ctx, m, &host.begun)
	if err != nil {
		return nil, kernel.At(err, kernel.Where{Node: node})
	}
	defer host.begun.End()
	call.Host, call.Isolation = host, m.owner.spec.Isolation
	run := kernel.RunFrom(ctx)
	if run != nil {
		call.Run, call.Tenant, call.Budgets = run.RunID, run.Tenant, &run.Budgets
	}
	if call.Isolation.Keeps() {
		call.Entered, call.Left = func() { m.owner.remind(ctx) }, func() { m.owner.remember(ctx) }
	}
	if m.owner.spec.Trace != nil {
		host.trace = &Trace{Point: call.Point, Input: call.Input, Body: call.Body, Config: call.Config}
	}
	lane, entered := journal.LaneFrom(ctx), journal.Guest{Module: m.Name(), Digest: m.Digest(), Point: string(call.Point)}
	if err := lane.Enter(entered); err != nil {
		return nil, kernel.At(err, kernel.Where{Module: m.ID(), Node: node})
	}
	ctx, span := m.owner.spec.Tracer.Guest(ctx, m.Name(), m.Digest(), string(call.Point))
	out, err := m.Call(ctx, call)
	span.EndGuest(tracing.Usage{Fuel: out.Usage.Fuel, Memory: out.Usage.Memory, HostCalls: out.Usage.HostCalls}, out.Verdict.String(), err)
	err = lane.Leave(entered, took(run, &out.Usage), out.Verdict.String(), err)
	m.owner.stats.add(out, err)
	if host.trace != nil {
		host.trace.Outcome, host.trace.Err = out, err
		m.owner.spec.Trace(ctx, host.trace)
	}
	if err != nil {
		return nil, kernel.At(err, kernel.Where{Node: node})
	}
	return out, nil
}

// took is what a call took of its run's budgets.
func took(run *kernel.RunContext, u *sandbox.Usage) journal.Took {
	t := journal.Took{Fuel: u.Fuel}
	if run == nil {
		return t
	}
	if run.LogLines != nil {
		t.LogLines = int64(u.Logged)
	}
	if run.BytesIn != nil {
		t.BytesIn = u.BytesIn
	}
	if run.BytesOut != nil {
		t.BytesOut = u.BytesOut
	}
	return t
}

// reason returns what a guest gave as the reason of a verdict, made safe to show.
func reason(out *sandbox.Outcome) string {
	switch v := out.Output.(type) {
	case string:
		return kernel.Quote(v)
	case map[string]any:
		if text, ok := v["reason"].(string); ok {
			return kernel.Quote(text)
		}
	}
	return "no reason given"
}

// verdict translates a hook's outcome.
func (m *version) verdict(point abi.Point, out *sandbox.Outcome) (kernel.Verdict, error) {
	v := kernel.Verdict{Body: out.Body}
	switch out.Verdict {
	case abi.Replace:
		v.Action, v.Value = kernel.Replace, out.Patched
	case abi.Skip:
		v.Action, v.Value = kernel.Skip, out.Output
	case abi.Deny:
		v.Action, v.Reason = kernel.Deny, reason(out)
	case abi.RetryAfter:
		v.Action, v.Reason, v.Delay = kernel.RetryAfter, reason(out), delay(out.Arg)
	case abi.Error:
		return v, m.failed(point, out)
	}
	return v, nil
}

func (m *version) failed(point abi.Point, out *sandbox.Outcome) error {
	return &kernel.Error{Code: kernel.CodeFailed, What: fmt.Sprintf("module %s failed in %s", kernel.Quote(m.Name()), point), Why: reason(out), Where: kernel.Where{Module: m.ID()}}
}

// result translates the outcome of node_run and tool_call.
func (m *version) result(point abi.Point, out *sandbox.Outcome) (kernel.Value, error) {
	switch out.Verdict {
	case abi.Deny:
		return nil, &kernel.Error{Code: kernel.CodeDenied, What: fmt.Sprintf("module %s refused %s", kernel.Quote(m.Name()), point), Why: reason(out), Where: kernel.Where{Module: m.ID()}}
	case abi.RetryAfter:
		return nil, &kernel.Error{Code: kernel.CodeRetry, What: fmt.Sprintf("module %s asks to try again", kernel.Quote(m.Name())), Why: reason(out),
			Where: kernel.Where{Module: m.ID()}, RetryAfter: delay(out.Arg)}
	case abi.Error:
		return nil, m.failed(point, out)
	}
	return out.Output, nil
}
