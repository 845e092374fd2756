package pipeline

import (
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// Data answers a fixed value whose strings are templates.
type Data struct{ Output *Filled }

func (b *Data) visit(f func(Reference)) { b.Output.visit(f) }

func readData(r *reader, n *Node) Body {
	v, there := n.spec.M.Members["output"]
	n.spec.Get("output")
	if !there {
		r.Add(n.spec.At.Errorf(kernel.CodePipeline, "add output: {...}", "a data_node needs output"))
	}
	return &Data{Output: fill(v)}
}

// ServiceCall calls a method of a port, "port.method", or of a service of the
// pipeline.
type ServiceCall struct{ Service, Method string }

func (b *ServiceCall) visit(func(Reference)) {}

func readServiceCall(r *reader, n *Node) Body {
	if v := n.spec.Get("output_schema"); v != nil {
		n.Output = r.object(v, "output_schema")
	}
	return &ServiceCall{Service: n.spec.Required("service"), Method: n.spec.Required("method")}
}

// ToolCall calls a tool, "module.tool", "service.method" or "server.tool", as a model would.
type ToolCall struct {
	Tool string
	At   *source.Value
}

func (b *ToolCall) visit(func(Reference)) {}

func readToolCall(r *reader, n *Node) Body {
	if v := n.spec.Get("output_schema"); v != nil {
		n.Output = r.object(v, "output_schema")
	}
	return &ToolCall{Tool: n.spec.Required("tool"), At: n.spec.Get("tool")}
}

// APICall makes one request through the http port.
type APICall struct {
	Method  string
	URL     *Template
	Headers *Filled
	Params  *Filled
	JSON    *Filled
	Port    string
}

func (b *APICall) visit(f func(Reference)) {
	b.URL.visit(f)
	b.Headers.visit(f)
	b.Params.visit(f)
	b.JSON.visit(f)
}

func readAPICall(r *reader, n *Node) Body {
	s := n.spec
	b := &APICall{
		Method: strings.ToUpper(s.Text("method")), URL: r.template(s, "url"),
		Headers: fill(s.Get("headers")), Params: fill(s.Get("params")), JSON: fill(s.Get("json_body")), Port: s.Text("port"),
	}
	if b.Method == "" {
		b.Method = "GET"
	}
	if known := []string{"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"}; !slices.Contains(known, b.Method) {
		r.Add(s.Get("method").Errorf(kernel.CodePipeline, kernel.DidYouMean(b.Method, known), "there is no method %s", kernel.Quote(b.Method)))
	}
	if b.URL == nil {
		r.Add(s.At.Errorf(kernel.CodePipeline, "add url: ...", "an api_call_node needs url"))
	}
	if v := s.Get("output_schema"); v != nil {
		n.Output = r.object(v, "output_schema")
	}
	return b
}

// Transition moves an entity to another state.
type Transition struct {
	Entity, ID, ToState, Reason *Operand
	Payload                     *mapped
}

// Operand is text, or a reference where it is written as one.
type Operand struct {
	ref  *Reference
	text *Template
}

// Value returns the operand; nil is null.
func (o *Operand) Value(s *Scope) (kernel.Value, error) {
	switch {
	case o == nil:
		return nil, nil
	case o.ref != nil:
		return o.ref.value(s)
	}
	return o.text.Render(s)
}

func (o *Operand) visit(f func(Reference)) {
	switch {
	case o == nil:
	case o.ref != nil:
		f(*o.ref)
	default:
		o.text.visit(f)
	}
}

// operand reads a string that starts like a path with a dot as a reference, and
// any other as text.
func (r *reader) operand(s *source.Section, name string) *Operand {
	v := s.Get(name)
	if v == nil {
		return nil
	}
	text, ok := v.Text()
	if !ok {
		text = exampleText(v)
	}
	if path := parsePath(text); len(path) > 1 {
		return &Operand{ref: &Reference{Path: path, At: v}}
	}
	return &Operand{text: parseTemplate(text, v)}
}

func (b *Transition) visit(f func(Reference)) {
	for _, o := range []*Operand{b.Entity, b.ID, b.ToState, b.Reason} {
		o.visit(f)
	}
	b.Payload.visit(f)
}

// PayloadValue resolves the payload; nil without one.
func (b *Transition) PayloadValue(s *Scope, warn func(string)) (kernel.Value, error) {
	if b.Payload == nil {
		return nil, nil
	}
	return b.Payload.value(s, warn)
}

func readTransition(r *reader, n *Node) Body {
	s := n.spec
	b := &Transition{Entity: r.operand(s, "entity"), ID: r.operand(s, "entity_id"), ToState: r.operand(s, "to_state"), Reason: r.operand(s, "reason")}
	for name, o := range map[string]*Operand{"entity": b.Entity, "entity_id": b.ID, "to_state": b.ToState} {
		if o == nil {
			r.Add(s.At.Errorf(kernel.CodePipeline, "add "+name+": ...", "a transition needs %s", name))
		}
	}
	if v := s.Get("payload"); v != nil {
		b.Payload = r.parseMapped(v)
	}
	return b
}

// Wait suspends the run until an event comes.
type Wait struct {
	EventKey  *Template
	Timeout   time.Duration // 0 means none
	OnTimeout string        // the node that goes on where none came in time; "" means to fail
	Setup     *Function     // what runs before; may be nil
}

func (b *Wait) visit(f func(Reference)) { b.EventKey.visit(f) }

func readWait(r *reader, n *Node) Body {
	s := n.spec
	b := &Wait{EventKey: r.template(s, "event_key"), Timeout: r.period(s, "timeout"), OnTimeout: s.Text("on_timeout"), Setup: r.function(s.Get("setup_fn"), "setup_fn")}
	n.Timeout = s.Seconds("timeout_node")
	if b.EventKey == nil {
		r.Add(s.At.Errorf(kernel.CodePipeline, "add event_key: ...", "a wait_node needs event_key"))
		b.EventKey = parseTemplate("", s.At)
	}
	return b
}

// period reads a time in seconds, or in hexDAG's units: 7d, 24h, 30m, 1d12h.
func (r *reader) period(s *source.Section, name string) time.Duration {
	v := s.Get(name)
	text, ok := "", false
	if v != nil {
		text, ok = v.Text()
	}
	days, rest, found := strings.Cut(text, "d")
	if !ok || !found {
		return s.Seconds(name)
	}
	total, err := time.ParseDuration(days + "h")
	total *= 24
	if err == nil && rest != "" {
		var more time.Duration
		more, err = time.ParseDuration(rest)
		total += more
	}
	if err != nil || total <= 0 {
		r.Add(v.Errorf(kernel.CodePipeline, "write seconds, or a time such as 7d, 24h, 30m or 1d12h", "%s is no duration", name))
		return 0
	}
	return total
}
