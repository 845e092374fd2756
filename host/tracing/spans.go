package tracing

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/hexdag/hexdag/host/kernel"
)

// The attributes that no convention has. README, Telemetry, lists them.
const (
	keyRun       = attribute.Key("hexdag.run.id")
	keyParentRun = attribute.Key("hexdag.run.parent_id")
	keyStatus    = attribute.Key("hexdag.run.status")
	keyPipeline  = attribute.Key("hexdag.pipeline.name")
	keyVersion   = attribute.Key("hexdag.pipeline.version")
	keyTenant    = attribute.Key("hexdag.tenant")

	keyNode     = attribute.Key("hexdag.node.name")
	keyKind     = attribute.Key("hexdag.node.kind")
	keyBody     = attribute.Key("hexdag.node.body")
	keyAttempts = attribute.Key("hexdag.node.attempts")
	keyCached   = attribute.Key("hexdag.node.cached")
	keyFrom     = attribute.Key("hexdag.node.cached_from")
	keyWaits    = attribute.Key("hexdag.node.waits")
	keyAttempt  = attribute.Key("hexdag.node.attempt")

	keyOp       = attribute.Key("hexdag.port.operation")
	keyPort     = attribute.Key("hexdag.port.name")
	keyResource = attribute.Key("hexdag.port.resource")
	keyCaller   = attribute.Key("hexdag.port.callers")
	keyEffect   = attribute.Key("hexdag.governance.effect")
	keyRules    = attribute.Key("hexdag.governance.rules")

	keyHook   = attribute.Key("hexdag.hook.name")
	keyAction = attribute.Key("hexdag.hook.action")

	keyModule    = attribute.Key("hexdag.module.name")
	keyDigest    = attribute.Key("hexdag.module.digest")
	keyPoint     = attribute.Key("hexdag.module.export")
	keyFuel      = attribute.Key("hexdag.module.fuel")
	keyMemory    = attribute.Key("hexdag.module.memory")
	keyHostCalls = attribute.Key("hexdag.module.host_calls")
	keyVerdict   = attribute.Key("hexdag.module.verdict")
)

// Run begins the span of a run, and notes in the run which that is. Where the run has had one before, as one that waited, or whose host died, the
// new one is linked to that.
func (t *Tracer) Run(ctx context.Context, run *kernel.RunContext) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	var opts []trace.SpanStartOption
	if first := spanOf(run.Trace); first.IsValid() {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: first}))
	}
	ctx, s := t.start(ctx, "run "+text(run.PipelineName), trace.SpanKindInternal, opts...)
	if run.Trace == "" {
		run.Trace = Parent(ctx)
	}
	if s.span != nil {
		var a attributes
		a.text(keyRun, run.RunID)
		a.text(keyParentRun, run.ParentRunID)
		a.text(keyPipeline, run.PipelineName)
		a.text(keyVersion, run.PipelineVersion)
		a.text(keyTenant, run.Tenant)
		s.span.SetAttributes(a...)
	}
	return ctx, s
}

// EndRun ends the span of a run with what became of it.
func (s Span) EndRun(status string, used kernel.UsageSnapshot, err error) {
	if s.span == nil {
		return
	}
	a := attributes{keyStatus.String(status)}
	a.number("hexdag.usage.llm_calls", used.LLMCalls)
	a.number("hexdag.usage.input_tokens", used.InputTokens)
	a.number("hexdag.usage.output_tokens", used.OutputTokens)
	a.number("hexdag.usage.tool_calls", used.ToolCalls)
	a.number("hexdag.usage.port_calls", used.PortCalls)
	s.span.SetAttributes(a...)
	s.end(err)
}

// Node begins the span of a node; body is the composite's that it is in.
func (t *Tracer) Node(ctx context.Context, name, kind, body string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	return t.node(ctx, name, kind, body)
}

// agentKind is the kind of the nodes that are agents, by the conventions.
const agentKind = "agent_node"

func (t *Tracer) node(ctx context.Context, name, kind, body string) (context.Context, Span) {
	shown := text(name)
	title := "node " + shown
	if kind == agentKind {
		title = "invoke_agent " + shown
	}
	ctx, s := t.start(ctx, title, trace.SpanKindInternal)
	if s.span == nil {
		return ctx, s
	}
	a := attributes{keyNode.String(shown), keyKind.String(text(kind))}
	a.text(keyBody, body)
	if kind == agentKind {
		a = append(a, semconv.GenAIOperationNameInvokeAgent, semconv.GenAIAgentNameKey.String(shown))
	}
	if run := kernel.RunFrom(ctx); run != nil {
		a.text(keyRun, run.RunID)
	}
	s.span.SetAttributes(a...)
	return ctx, s
}

// Retried notes that an attempt of a node has failed, and that there will be another.
func (s Span) Retried(attempt int, err error) {
	if s.span != nil {
		s.span.AddEvent("hexdag.node.retry", trace.WithAttributes(keyAttempt.Int(attempt), semconv.ErrorTypeKey.String(string(kernel.CodeOf(err)))))
	}
}

// EndNode ends the span of a node. cached says where its answer is from that it did not work for; waits, that there is none yet.
func (s Span) EndNode(attempts int, cached *kernel.Cached, waits bool, err error) {
	if s.span == nil {
		return
	}
	s.span.SetAttributes(keyAttempts.Int(attempts), keyCached.Bool(cached != nil))
	if cached != nil {
		s.span.SetAttributes(keyFrom.String(text(cached.RunID)))
	}
	if waits {
		s.span.SetAttributes(keyWaits.Bool(true))
		err = nil
	}
	s.end(err)
}

// Hook notes what a hook has decided around what the span is of.
func (s Span) Hook(name string, v kernel.Action) {
	if s.span != nil && v != kernel.Continue {
		s.hook(name, v.String())
	}
}

// FailedOpen notes that a hook has failed which may.
func (s Span) FailedOpen(name string) {
	if s.span != nil {
		s.hook(name, "failed_open")
	}
}

func (s Span) hook(name, action string) {
	s.span.AddEvent("hexdag.hook", trace.WithAttributes(keyHook.String(text(name)), keyAction.String(action)))
}

// Port begins the span of a call of a port.
func (t *Tracer) Port(ctx context.Context, op string, call *kernel.PortCall) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	return t.port(ctx, op, call)
}

func (t *Tracer) port(ctx context.Context, op string, call *kernel.PortCall) (context.Context, Span) {
	ctx, s := t.start(ctx, op, kindOf(op))
	if s.span == nil {
		return ctx, s
	}
	port, _, _ := strings.Cut(op, ".")
	a := attributes{keyOp.String(op), keyPort.String(port)}
	a.text(keyNode, call.Node)
	if len(call.Caller.Modules) > 0 {
		a = append(a, keyCaller.StringSlice(texts(call.Caller.Chain())))
	}
	s.span.SetAttributes(a...)
	return ctx, s
}

// kindOf is what an operation is to whoever it reaches.
func kindOf(op string) trace.SpanKind {
	switch {
	case op == "eventbus.publish":
		return trace.SpanKindProducer
	case strings.HasPrefix(op, "http."), strings.HasPrefix(op, "api_call."), strings.HasPrefix(op, "mcp."), strings.HasPrefix(op, "database."):
		return trace.SpanKindClient
	}
	return trace.SpanKindInternal
}

// Decided notes what governance said of a call. Messages are left out: they can be anybody's words.
func (s Span) Decided(effect kernel.Effect, reasons []kernel.Reason) {
	if s.span == nil {
		return
	}
	a := attributes{keyEffect.String(string(effect))}
	if len(reasons) > 0 {
		rules := make([]string, 0, min(len(reasons), maxTexts))
		for _, r := range reasons[:min(len(reasons), maxTexts)] {
			rules = append(rules, text(r.ID))
		}
		a = append(a, keyRules.StringSlice(rules))
	}
	s.span.SetAttributes(a...)
}

// EndPort ends the span of a call; resource is what it was about, "" where that is not to be told.
func (s Span) EndPort(resource string, err error) {
	if s.span == nil {
		return
	}
	var a attributes
	a.text(keyResource, resource)
	s.span.SetAttributes(a...)
	s.end(err)
}

// Answered notes the status of an HTTP server's answer in the span of the call that asked.
func (t *Tracer) Answered(ctx context.Context, method, host string, status int) {
	if s := t.Current(ctx); s.span != nil && !quiet(ctx) {
		s.span.SetAttributes(semconv.HTTPRequestMethodKey.String(text(method)), semconv.ServerAddressKey.String(text(host)), semconv.HTTPResponseStatusCodeKey.Int(status))
	}
}

// Guest begins the span of a call of a module.
func (t *Tracer) Guest(ctx context.Context, module, digest, point string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	return t.guest(ctx, module, digest, point)
}

func (t *Tracer) guest(ctx context.Context, module, digest, point string) (context.Context, Span) {
	shown := text(module)
	ctx, s := t.start(ctx, "guest "+shown+" "+point, trace.SpanKindInternal)
	if s.span != nil {
		s.span.SetAttributes(keyModule.String(shown), keyDigest.String(digest), keyPoint.String(point))
	}
	return ctx, s
}

// Usage is what a call of a module has used.
type Usage struct {
	Fuel      int64
	Memory    uint64 // bytes, at most
	HostCalls int
}

// EndGuest ends the span of a call of a module. A verdict to deny is no error of the module.
func (s Span) EndGuest(u Usage, verdict string, err error) {
	if s.span == nil {
		return
	}
	s.span.SetAttributes(keyFuel.Int64(u.Fuel), keyMemory.Int64(int64(u.Memory)), keyHostCalls.Int(u.HostCalls))
	if err == nil {
		s.span.SetAttributes(keyVerdict.String(verdict))
		if verdict == "error" {
			s.span.SetStatus(codes.Error, "the module failed")
		}
	}
	s.end(err)
}
