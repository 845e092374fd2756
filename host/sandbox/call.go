package sandbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
)

// Host is what a guest can reach during one call. Its methods are called from
// the goroutine that runs the guest; their errors become statuses.
type Host interface {
	// Call does a port operation on the guest's behalf. The arguments are the
	// host's own copy.
	Call(ctx context.Context, op string, args map[string]any, body []byte) (*kernel.PortReply, error)
	// Log takes one line, of at most Limits.LogLine bytes, unescaped.
	Log(level abi.Level, line string)
	// Clock reads a clock.
	Clock(ctx context.Context, id abi.ClockID) (int64, error)
	// Random fills p with randomness.
	Random(ctx context.Context, p []byte) error
}

// Call is one call of an extension point.
type Call struct {
	Point     abi.Point
	Input     kernel.Value
	Text      []byte // of Input as JSON, where the caller has it; shared, never changed
	Body      []byte
	Config    kernel.Value
	Host      Host
	Isolation Isolation       // "" means IsolateCall
	Tenant    string          // whose quota the call counts against
	Run       string          // whose instance it is, with IsolateRun
	Budgets   *kernel.Budgets // of the run, and through it of the tenant; nil has no limit

	// Entered is called once the call has its instance, after all that it waits for, and Left
	// before anybody else can get the instance. Both may be nil.
	Entered, Left func()
}

// Outcome is what a guest decided, and what the call used.
type Outcome struct {
	Verdict abi.Verdict
	Arg     uint32       // of the verdict
	Patched kernel.Value // with Replace: the new value of what Point.Patchable names
	Output  kernel.Value // nil if the guest set none
	HasOut  bool         // whether it set one
	Body    []byte       // beside the output
	Usage   Usage
}

// Usage is what one call used.
type Usage struct {
	Fuel      int64
	Wall      time.Duration
	Memory    uint64 // peak bytes of linear memory
	HostCalls int
	LogLines  int // dropped ones included
	Logged    int // those that were not dropped
	BytesIn   int64
	BytesOut  int64
}

// Call runs an extension point. An error means that there is no verdict: the
// guest trapped, ran out of a limit or broke the protocol. The usage is valid in
// either case.
func (m *Module) Call(ctx context.Context, call Call) (*Outcome, error) {
	out := &Outcome{}
	err := m.Invoke(ctx, call, out)
	return out, err
}

// Invoke is Call into an outcome of the caller's, which may be used again: the
// body is then written where the last one was. On a warm instance it allocates
// nothing of its own.
func (m *Module) Invoke(ctx context.Context, call Call, out *Outcome) error {
	*out = Outcome{Body: out.Body[:0]}
	if !m.Has(call.Point) {
		return m.missing(call.Point)
	}
	tenant, err := m.admit(ctx, call.Tenant)
	if err != nil {
		return err
	}
	defer tenant.leave()
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.pool.gate.leave()
	if m.dialect == Command {
		call.Isolation = IsolateCall // whatever is asked for: it has ended when it has answered
	}
	if call.Isolation == IsolateRun && call.Run != "" {
		r := m.pool.ofRun(call.Run)
		if turn, err := m.runtime.turns.takes(ctx, r); err != nil {
			return err
		} else if turn {
			return m.inRun(ctx, r, call, out)
		}
	}
	i, err := m.take(ctx, out)
	if err != nil {
		return err
	}
	if err := i.run(ctx, &call, out); err != nil {
		i.close(ctx)
		return err
	}
	if m.dialect == Command {
		i.close(ctx)
		return nil
	}
	m.give(ctx, i, call.Isolation != Shared)
	return nil
}

// inRun calls the instance of the run, at the caller's turn. After a trap the run gets
// another one.
func (m *Module) inRun(ctx context.Context, r *runInstance, call Call, out *Outcome) (err error) {
	defer func() { <-r.turn }()
	if r.instance == nil {
		if r.instance, err = m.take(ctx, out); err != nil {
			return err
		}
	}
	outer, _ := ctx.Value(turnsKey{}).(*taken)
	ctx = context.WithValue(ctx, turnsKey{}, &taken{r, outer})
	if err := r.instance.run(ctx, &call, out); err != nil {
		r.instance.close(ctx)
		r.instance = nil
		return err
	}
	return nil
}

// missing explains that the module lacks an export, and names those it has.
func (m *Module) missing(p abi.Point) error {
	return &kernel.Error{Code: kernel.CodeModuleExport, Where: kernel.Where{Module: m.ID()},
		What: fmt.Sprintf("the module does not export %s", kernel.Quote(string(p))),
		Why:  m.Serves(p), Fix: "use it for one of those, or export the function"}
}

// Serves says which extension points the module exports, and whether one that it
// does not export, or something that it exports, is likely to be a slip of the pen.
func (m *Module) Serves(wanted ...abi.Point) string {
	text := fmt.Sprintf("its extension points are %v", m.points)
	if len(m.points) == 0 {
		text = "it exports no extension point"
	}
	for _, p := range wanted {
		if !slices.Contains(abi.Points(), p) {
			if near := kernel.Nearest(string(p), pointNames()); near != "" {
				return text + "; " + kernel.Quote(string(p)) + " is none: did you mean " + near + "?"
			}
			return text + "; " + kernel.Quote(string(p)) + " is none"
		}
		others := slices.DeleteFunc(m.Exports(), func(name string) bool { return slices.Contains(pointNames(), name) })
		if near := kernel.Nearest(string(p), others); near != "" {
			return text + "; it exports " + kernel.Quote(near) + ": did you mean " + string(p) + "?"
		}
	}
	return text
}

func pointNames() []string {
	var names []string
	for _, p := range abi.Points() {
		names = append(names, string(p))
	}
	return names
}

// run is one call. After an error the instance is not to be used again.
func (i *instance) run(ctx context.Context, call *Call, out *Outcome) error {
	if call.Entered != nil {
		call.Entered()
	}
	if call.Left != nil {
		defer call.Left()
	}
	a := &i.state
	a.begin(ctx, i, call)
	a.docs[abi.DocOutput].body = out.Body
	err := i.play(call.Point, out)
	a.end()
	out.Usage = a.usage
	return err
}

// play has the guest do the call that has begun.
func (i *instance) play(point abi.Point, out *Outcome) error {
	a := &i.state
	text, status := a.docs[abi.DocInput].encoded()
	if status != abi.OK {
		return a.errorf(kernel.CodeInput, "the input document is no JSON", status.String(), "pass a value that JSON can hold")
	}
	if len(text) > a.limits.Document {
		return a.errorf(kernel.CodeLimit, "the input document is too large", fmt.Sprintf("%d bytes, the limit is %d", len(text), a.limits.Document), "raise limits.document of the module, or pass less")
	}
	switch i.module.dialect {
	case Extism:
		return i.runExtism(text, out)
	case Command:
		return i.runCommand(text, out)
	}
	i.stack[0] = uint64(uint32(len(text)))
	if err := i.entry(point).CallWithStack(&a.context, i.stack[:]); err != nil {
		return a.ending(err)
	}
	a.flushLines()
	if err := a.settle(); err != nil {
		return err
	}
	return a.conclude(i.stack[0], out)
}

// legal lists the verdicts that each extension point may return.
func legal(p abi.Point, v abi.Verdict) bool {
	switch v {
	case abi.Continue, abi.Deny, abi.RetryAfter, abi.Error:
		return true
	case abi.Replace:
		return p.Patchable() != ""
	case abi.Skip:
		return p == abi.NodeBefore || p == abi.PortBefore
	}
	return false
}

func (a *activation) conclude(result uint64, out *Outcome) error {
	v, arg := abi.Unpack(result)
	if !legal(a.call.Point, v) {
		return a.errorf(kernel.CodeABI, fmt.Sprintf("the guest returned an unknown verdict from %s", a.call.Point), fmt.Sprintf("verdict %d (%s) is not among those of this extension point", uint32(v), v), "see abi/README.md, Verdicts")
	}
	out.Verdict, out.Arg = v, arg
	if v == abi.Replace {
		out.Patched, _, _ = a.docs[abi.DocInput].lookup([]byte(a.call.Point.Patchable()))
	}
	output := &a.docs[abi.DocOutput]
	out.Output, out.HasOut, out.Body = output.value, output.present, output.body
	return nil
}
