package ports

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/obligation"
	"github.com/hexdag/hexdag/host/tracing"
)

// Door is the one way from a pipeline to its ports. It is safe for concurrent
// use once its operations and hooks are registered.
type Door struct {
	authorizer kernel.Authorizer
	auditor    kernel.Auditor
	approver   Approver
	tracer     *tracing.Tracer
	ops        map[string]*Op
	hooks      []Registration
	repeatable func(op string, args map[string]any) bool
	anything   bool // an operation that it does not know is one without arguments that capabilities restrict
}

// Registration says what a hook is around, and what a failure of its own means.
type Registration struct {
	Name  string
	Match func(op string) bool
	Open  bool // let the call go on
	Hook  kernel.PortHook
}

// NewDoor returns a door that asks authorizer about every call and records every
// call with auditor.
func NewDoor(authorizer kernel.Authorizer, auditor kernel.Auditor) *Door {
	return &Door{authorizer: authorizer, auditor: auditor, ops: map[string]*Op{}}
}

// ApproveWith has calls that need an approval wait for one of a. Without it they
// are refused. It is set before the door is used.
func (d *Door) ApproveWith(a Approver) { d.approver = a }

// TraceWith has calls be seen in spans. It is set before the door is used.
func (d *Door) TraceWith(t *tracing.Tracer) { d.tracer = t }

// Register offers operations.
func (d *Door) Register(ops ...Op) error {
	for _, op := range ops {
		if _, taken := d.ops[op.Name]; taken {
			return fmt.Errorf("operation %s is registered twice", op.Name)
		}
		d.ops[op.Name] = &op
	}
	return nil
}

// With returns a door with the same hooks and checks on which ops stand in for
// the operations of their ports.
func (d *Door) With(ops ...Op) *Door {
	derived := *d
	derived.ops = maps.Clone(d.ops)
	for _, op := range ops {
		maps.DeleteFunc(derived.ops, func(_ string, old *Op) bool { return old.Port() == op.Port() })
	}
	for _, op := range ops {
		derived.ops[op.Name] = &op
	}
	return &derived
}

type doorKey struct{}

// WithDoor returns a context whose guests call through d.
func WithDoor(ctx context.Context, d *Door) context.Context {
	return context.WithValue(ctx, doorKey{}, d)
}

// DoorFrom returns the door that ctx carries, or else d.
func DoorFrom(ctx context.Context, d *Door) *Door {
	if carried, ok := ctx.Value(doorKey{}).(*Door); ok {
		return carried
	}
	return d
}

// Hook puts a hook around the operations that match, inside those registered
// before it.
func (d *Door) Hook(r Registration) {
	d.hooks = append(d.hooks, r)
}

// WithHooks returns a door with further hooks, inside those of d.
func (d *Door) WithHooks(hooks ...Registration) *Door {
	derived := *d
	derived.hooks = append(slices.Clip(d.hooks), hooks...)
	return &derived
}

// Ops returns the names of the operations, sorted.
func (d *Door) Ops() []string {
	names := make([]string, 0, len(d.ops))
	for name := range d.ops {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Tools returns the operations of a port that agents may be given as tools, by name.
func (d *Door) Tools(port string) []*Op {
	var tools []*Op
	for _, name := range d.Ops() {
		if op := d.ops[name]; op.Tool != nil && op.Port() == port {
			tools = append(tools, op)
		}
	}
	return tools
}

// Has reports whether there is an operation.
func (d *Door) Has(op string) bool { return d.anything || d.ops[op] != nil }

// ForRecorded has the door know every operation, for runs that are done again: their calls are answered from the recording, whatever
// served them then.
func (d *Door) ForRecorded() { d.anything = true }

// anyOp is an operation of which nothing is known: capabilities may restrict each argument that is text.
func anyOp(call *kernel.PortCall) *Op {
	op := &Op{Name: call.Op, Func: unknown}
	for _, name := range slices.Sorted(maps.Keys(call.Args)) {
		if text, ok := call.Args[name].(string); ok && len(text) <= maxGuarded {
			op.Guards = append(op.Guards, name)
		}
	}
	return op
}

func unknown(_ context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	return nil, &kernel.Error{Code: kernel.CodeUnrecorded, What: call.Op + " was not called", Why: "the run is done again without the world"}
}

// CheckCapability returns an error if a capability can never apply: an unknown
// operation, or an argument that the operation does not guard.
func (d *Door) CheckCapability(op string, args []string) error {
	o, ok := d.ops[op]
	if !ok && d.anything {
		return nil
	}
	if !ok {
		return fmt.Errorf("there is no operation %s; there are %s", kernel.Quote(op), strings.Join(d.Ops(), ", "))
	}
	return o.checkGuardNames(args)
}

// Call does one operation: it checks the rights of every module in the chain,
// asks governance, lets the hooks decide, records, does it and charges the run.
// Every refusal is recorded, too.
func (d *Door) Call(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	flow := kernel.FlowFrom(ctx)
	if flow != nil && flow.Effects != nil {
		return flow.Effects.Do(flow, call, func() (*kernel.PortReply, error) { return d.enter(ctx, flow, call) })
	}
	return d.enter(ctx, flow, call)
}

func (d *Door) enter(ctx context.Context, flow *kernel.Flow, call *kernel.PortCall) (*kernel.PortReply, error) {
	op, ok := d.ops[call.Op]
	if !ok && d.anything {
		op, ok = anyOp(call), true
	}
	if !ok {
		err := &kernel.Error{Code: kernel.CodeUnsupported, What: "there is no operation " + kernel.Quote(call.Op),
			Why: "the ports that are configured offer " + strings.Join(d.Ops(), ", "), Fix: "configure the port, or correct the name"}
		c := passage{Door: d, op: &Op{Name: kernel.Quote(call.Op)}, call: call, flow: flow}
		ctx, c.span = d.tracer.Port(ctx, unknownOp, call)
		refused := c.refuse(ctx, nil, err, kernel.Reason{ID: "hexdag.operation", Msg: err.What})
		c.span.EndPort("", refused)
		return nil, refused
	}
	if run := kernel.RunFrom(ctx); run != nil {
		run.CountPort()
	}
	call.Attempt = 1
	c := passage{Door: d, op: op, call: call, flow: flow}
	if d.tracer == nil {
		return c.pass(ctx)
	}
	ctx, c.span = d.tracer.Port(ctx, op.Name, call)
	reply, err := c.pass(ctx)
	if c.span.Recording() {
		c.span.EndPort(c.shown(), err)
	}
	return reply, err
}

// unknownOp is the name of the spans of calls of what there is not: its own could be any text.
const unknownOp = "unknown.operation"

// shown is what the call was about, as spans tell it: nothing that is secret, or that the policy masks.
func (p *passage) shown() string {
	if p.subject == "" || p.labels().Confidentiality() == kernel.Secret {
		return ""
	}
	r := kernel.AuditRecord{Resource: p.subject}
	p.duties.MaskRecord(&r, p.call.Args)
	return r.Resource
}

// CallTool does what a model has chosen to do: like the call of a port it is checked,
// recorded and labelled, but no hook is around it. Governance is asked about the
// action "module.tool" and the resource tool:module.tool.
//
// begun says that the tool had begun before its run waited for an approval of something
// that the tool does: an approval of the tool itself was used then.
func (d *Door) CallTool(ctx context.Context, call *kernel.PortCall, begun bool, do kernel.PortFunc) (*kernel.PortReply, error) {
	unhooked := *d
	unhooked.hooks = nil
	call.Attempt = 1
	c := passage{Door: &unhooked, op: &Op{Name: call.Op, tool: true, begun: begun, Func: do}, call: call, flow: kernel.FlowFrom(ctx), span: d.tracer.Current(ctx)}
	return c.pass(ctx)
}

// passage is one call on its way through the door.
type passage struct {
	*Door
	op     *Op
	call   *kernel.PortCall
	flow   *kernel.Flow       // of whoever calls; may be nil
	duties *obligation.Duties // of the decision that admitted the call; nil before
	known  bool               // the decision is on record
	span   tracing.Span

	text    *kernel.Text // of the arguments
	subject string       // what the call is about; "" where it is not of one thing, or nobody asks
}

func (p *passage) pass(ctx context.Context) (*kernel.PortReply, error) {
	start := time.Now()
	guarded, err := p.admit(ctx)
	if err != nil {
		p.emit(ctx, start, err)
		return nil, err
	}
	reply, err := p.hooked(ctx, guarded, 0)
	if err == nil {
		reply = p.labelled(guarded, p.masked(reply)) // a hook's own reply, too
	}
	p.emit(ctx, start, err)
	return reply, err
}

// labels are those of what goes into the call.
func (p *passage) labels() *kernel.Labels { return p.flow.Labels().Join(p.call.Labels) }

// labelled returns the reply with what the operator and governance say of it, and has
// the caller learn its labels.
func (p *passage) labelled(guarded map[string]string, reply *kernel.PortReply) *kernel.PortReply {
	labels := p.declared(guarded)
	if labels = labels.Join(reply.Labels); labels == nil {
		return reply
	}
	p.flow.Join(labels)
	if labels == reply.Labels {
		return reply
	}
	changed := *reply
	changed.Labels = labels
	return &changed
}

// declared are the labels of a reply whatever it holds.
func (p *passage) declared(guarded map[string]string) *kernel.Labels {
	var labels *kernel.Labels
	if !p.op.Labels.silent() {
		labels = p.op.Labels.of(p.resource(guarded))
	}
	if p.duties != nil {
		labels = labels.Join(p.duties.Labels.From("policy"))
	}
	return labels
}

// admit is the check of the chain: request, grant, policy. What it allows is on
// record before it happens.
func (p *passage) admit(ctx context.Context) (map[string]string, error) {
	p.text = p.call.Text.For(p.call.Args)
	guarded, err := p.op.guarded(p.call.Args)
	if err != nil {
		return nil, p.refuse(ctx, nil, err, kernel.Reason{ID: "hexdag.arguments", Msg: err.Error()})
	}
	if p.span.Recording() && p.subject == "" {
		p.subject = p.resource(guarded).ID
	}
	if err := p.capable(ctx); err != nil {
		return nil, p.refuse(ctx, guarded, err, kernel.Reason{ID: "hexdag.caps", Msg: err.Error()})
	}
	for _, m := range p.call.Caller.Modules {
		if err := m.Check(p.op.Name, guarded); err != nil {
			return nil, p.refuse(ctx, guarded, err, kernel.Reason{ID: "hexdag.capability", Msg: err.Error()})
		}
	}
	reasons, err := p.decide(ctx, guarded)
	if err != nil {
		return nil, p.refuse(ctx, guarded, err, reasons...)
	}
	if err := p.record(ctx, guarded, kernel.Allow, reasons, ""); err != nil {
		return nil, err
	}
	return guarded, p.notify(ctx)
}

// decide has governance say whether the call may be done, or takes what it has said, and takes on what it
// obliges to. The reasons are those of either answer.
func (p *passage) decide(ctx context.Context, guarded map[string]string) (reasons []kernel.Reason, err error) {
	if p.op.Decides {
		return nil, nil
	}
	decision, known, err := journal.LaneFrom(ctx).Decide(ctx, p.op.Name, func() (d kernel.Decision, err error) {
		d, reasons, err = p.judge(ctx, guarded)
		return d, err
	})
	if p.known = known; known && err == nil {
		p.duties, err = obligation.Parse(decision.Obligations)
	}
	if err != nil {
		return reasons, err
	}
	switch {
	case decision.Effect == kernel.Approve:
		kernel.NoteOnce(ctx, p.op.Name+" was approved")
	case p.duties.EachTime():
		kernel.NoteOnce(ctx, "governance obliges to something at each "+p.op.Name)
	}
	return reasons, nil
}

// capable refuses what the run as a whole may not do.
func (p *passage) capable(ctx context.Context) error {
	run := kernel.RunFrom(ctx)
	c := kernel.CapabilityOf(p.op.Name)
	if run == nil || c == "" || p.op.tool || run.Caps.Allows(c) {
		return nil
	}
	return &kernel.Error{Code: kernel.CodeDenied, What: "the run may not call " + p.op.Name, Why: "caps of the pipeline, or of the run that started it, deny " + string(c), Fix: "remove " + string(c) + " from spec.caps.deny, or add it to default_set"}
}

// Reasons are those of a decision, with their rules, for a person.
func Reasons(d kernel.Decision) string {
	why := make([]string, len(d.Reasons))
	for i, r := range d.Reasons {
		why[i] = kernel.Quote(r.Msg) + " [" + kernel.Quote(r.ID) + "]"
	}
	return strings.Join(why, "; ")
}

// Denied is the error of what governance did not allow.
func Denied(action string, d kernel.Decision) error {
	e := &kernel.Error{Code: kernel.CodeDenied, What: "governance denied " + action, Why: Reasons(d), Fix: "ask whoever owns the policy, or change what is asked"}
	if d.Effect == kernel.Approve {
		e.What, e.Fix = action+" needs an approval", "allow it in the policy: this host keeps no approvals"
	}
	return e
}

// refuse records a refusal and returns its error; a refusal that cannot be
// recorded is still a refusal.
func (p *passage) refuse(ctx context.Context, guarded map[string]string, err error, reasons ...kernel.Reason) error {
	if rerr := p.record(ctx, guarded, kernel.Forbid, reasons, string(kernel.CodeOf(err))); rerr != nil {
		return errors.Join(err, rerr)
	}
	return err
}

// resource returns what the call is about: its first guarded argument.
func (p *passage) resource(guarded map[string]string) kernel.Resource {
	if p.op.tool {
		return kernel.Resource{Type: "tool", ID: p.op.Name}
	}
	r := kernel.Resource{Type: p.op.Port()}
	if len(p.op.Guards) > 0 {
		r.ID = guarded[p.op.Guards[0]]
	}
	return r
}

func (p *passage) question(ctx context.Context, guarded map[string]string) *kernel.AccessRequest {
	return &kernel.AccessRequest{
		Subject:  SubjectOf(ctx, p.call.Caller),
		Action:   kernel.Act{Name: p.op.Name, Args: p.call.Args, Text: p.text},
		Resource: p.resource(guarded),
		Context:  scopeOf(ctx, p.call.Node, p.labels()),
	}
}

// SubjectOf returns who makes a call: the innermost module of the chain, or else
// the run's principal.
func SubjectOf(ctx context.Context, caller kernel.Caller) kernel.Subject {
	s := kernel.Subject{Type: "user", ID: caller.Principal}
	if run := kernel.RunFrom(ctx); run != nil {
		s.Tenant = run.Tenant
	}
	if n := len(caller.Modules); n > 0 {
		s.Type, s.ID = "module", caller.Modules[n-1].Name
		s.Chain = caller.Chain()[:n]
	}
	return s
}

// ScopeOf returns the circumstance of a call: its run, node, labels and usage.
func ScopeOf(ctx context.Context, node string) kernel.Scope {
	return scopeOf(ctx, node, kernel.FlowFrom(ctx).Labels())
}

func scopeOf(ctx context.Context, node string, labels *kernel.Labels) kernel.Scope {
	run := kernel.RunFrom(ctx)
	if run == nil {
		return kernel.Scope{Node: node}
	}
	return kernel.Scope{RunID: run.RunID, Pipeline: run.PipelineName, Node: node, Labels: run.LabelsFor(labels), Sources: labels.Sources(), Usage: run.Used()}
}

func (p *passage) record(ctx context.Context, guarded map[string]string, effect kernel.Effect, reasons []kernel.Reason, result string) error {
	p.span.Decided(effect, reasons)
	if p.known { // so is this
		return nil
	}
	r := &kernel.AuditRecord{
		Kind: "call", Principal: p.call.Caller.Principal, Chain: p.call.Caller.Chain(), Node: p.call.Node,
		Action: p.op.Name, Resource: p.resource(guarded).ID, Effect: effect, Reasons: reasons, Result: result, Digest: p.digest(), Labels: p.labels(),
	}
	if run := kernel.RunFrom(ctx); run != nil {
		r.RunID, r.Tenant = run.RunID, run.Tenant
	}
	p.duties.MaskRecord(r, p.call.Args)
	if err := p.auditor.Audit(ctx, r); err != nil {
		return &kernel.Error{Code: kernel.CodeAudit, What: p.op.Name + " was refused", Why: "it cannot be recorded: " + err.Error(),
			Fix: "make room for the audit log, or mend its folder", Err: err}
	}
	return nil
}

// digest identifies the arguments and the body without keeping them.
func (p *passage) digest() string {
	args := p.text.For(p.duties.Args(p.call.Args))
	if len(p.call.Body) == 0 {
		return args.Digest()
	}
	text, err := args.JSON()
	if err != nil {
		return ""
	}
	h := sha256.New()
	h.Write(text)
	h.Write(p.call.Body)
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

func (p *passage) emit(ctx context.Context, start time.Time, err error) {
	e := &kernel.Event{Type: kernel.PortCalled, Node: p.call.Node, Op: p.op.Name, Status: "ok", DurationMS: float64(time.Since(start).Microseconds()) / 1000, Labels: p.labels()}
	if n := len(p.call.Caller.Modules); n > 0 {
		e.Module = p.call.Caller.Modules[n-1].Name
	}
	if err != nil {
		e.Status = string(kernel.CodeOf(err))
	}
	kernel.Emit(ctx, e)
}

// MatchOps returns a function that reports whether an operation matches one of
// the patterns, as abi.Match has it.
func MatchOps(patterns []string) func(op string) bool {
	return func(op string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return abi.Match(p, op) })
	}
}
