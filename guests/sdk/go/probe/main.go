// The probe of the conformance kit, made with the Go SDK: see abi/tck/README.md.
package main

import (
	"strings"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/nodeafter"
	"github.com/hexdag/hexdag/guests/sdk/go/nodebefore"
	"github.com/hexdag/hexdag/guests/sdk/go/noderun"
	"github.com/hexdag/hexdag/guests/sdk/go/observe"
	"github.com/hexdag/hexdag/guests/sdk/go/portafter"
	"github.com/hexdag/hexdag/guests/sdk/go/portbefore"
	"github.com/hexdag/hexdag/guests/sdk/go/portcall"
	"github.com/hexdag/hexdag/guests/sdk/go/toolcall"
)

// remembered counts the steps of that name in this instance.
var remembered int

func init() {
	node := func(c *hexdag.NodeCall) hexdag.Verdict { return play(c.Payload(), c.Result()) }
	port := func(c *hexdag.PortCall) hexdag.Verdict { return play(c.Payload(), c.Result()) }
	nodebefore.Handle(node)
	nodeafter.Handle(node)
	noderun.Handle(node)
	portbefore.Handle(port)
	portafter.Handle(port)
	portcall.Handle(func(c *hexdag.OperationCall) hexdag.Verdict { return play(c.Payload(), c.Result()) })
	toolcall.Handle(func(c *hexdag.ToolCall) hexdag.Verdict { return play(c.Payload(), c.Result()) })
	observe.Handle(func(e *observe.Event) hexdag.Verdict { return play(e.Payload(), (&hexdag.ToolCall{}).Result()) })
}

func main() {}

// probe is a call under way: its documents, and the step.
type probe struct {
	input, output hexdag.Doc
	step          hexdag.Doc
	doc           hexdag.Doc // that the step names
	at            string     // and the path in it
}

// play does the steps of the configuration, or else of the arguments.
func play(input, output hexdag.Doc) hexdag.Verdict {
	steps := hexdag.Config().At("/steps")
	if steps.Kind("") == hexdag.KindAbsent {
		steps = input.At("/args/steps")
	}
	for i := range steps.Len("") {
		p := &probe{input: input, output: output, step: steps.At("/" + itoa(int64(i)))}
		p.doc, p.at = p.document(p.step.String("/doc")), p.step.String("/at")
		if v, decided := p.decide(); decided {
			return v
		}
		p.act()
	}
	return hexdag.Continue()
}

func (p *probe) document(name string) hexdag.Doc {
	switch name {
	case "config":
		return hexdag.Config()
	case "reply":
		return hexdag.Reply()
	case "output":
		return p.output
	}
	return p.input
}

// decide returns the verdict where the step is one.
func (p *probe) decide() (v hexdag.Verdict, decided bool) {
	code, reason := p.step.String("/code"), p.step.String("/reason")
	switch p.step.String("/do") {
	case "continue":
		return hexdag.Continue(), true
	case "replace":
		return hexdag.Replace(), true
	case "skip":
		return hexdag.Skip(), true
	case "deny":
		return hexdag.Deny(code, reason), true
	case "fail":
		return hexdag.Fail(code, reason), true
	case "retry":
		return hexdag.RetryAfter(uint32(p.step.Int("/ms", 0))), true
	}
	return 0, false
}

func (p *probe) act() {
	switch do := p.step.String("/do"); do {
	case "set", "setraw", "setint", "remove", "append", "copybody":
		p.write(do)
	case "body", "bodyat":
		p.read(do)
	case "call":
		p.call()
	case "log":
		hexdag.Log(hexdag.Level(p.step.Int("/level", 0)), p.step.String("/text"))
	case "now":
		clock("now ", hexdag.Now)
	case "elapsed":
		clock("elapsed ", hexdag.Elapsed)
	case "random":
		buf := make([]byte, p.step.Int("/size", 0))
		if err := hexdag.Random(buf); err != nil {
			say(err.Error())
			return
		}
		say("random " + sum(string(buf)))
	case "escape":
		say("escape " + hexdag.Escape(p.step.String("/value")))
	case "remember":
		remembered++
		say("remembered " + itoa(int64(remembered)))
	default:
		p.look(do)
	}
}

// look does the steps that read a field.
func (p *probe) look(do string) {
	switch do {
	case "get", "sum":
		v, err := p.doc.Get(p.at)
		switch {
		case err != nil:
			say(err.Error())
		case v.Kind == hexdag.KindAbsent:
			say("absent")
		case do == "get":
			say(kindName(v.Kind) + " " + v.Text)
		default:
			say(kindName(v.Kind) + " " + sum(v.Text))
		}
	case "kind":
		say("kind " + kindName(p.doc.Kind(p.at)))
	case "text":
		text := "none"
		if p.doc.Kind(p.at) == hexdag.KindString {
			text = p.doc.String(p.at)
		}
		say("text " + text)
	case "int":
		text, n := "none", p.doc.Int(p.at, 0)
		if n == p.doc.Int(p.at, 1) {
			text = itoa(n)
		}
		say("int " + text)
	case "bool":
		text := "none"
		if p.doc.Bool(p.at, true) == p.doc.Bool(p.at, false) {
			text = p.doc.Raw(p.at)
		}
		say("bool " + text)
	case "keys", "keysum":
		names, err := p.doc.Keys(p.at)
		if err != nil {
			say(err.Error())
			return
		}
		text := strings.Join(names, ",")
		if do == "keysum" {
			text = sum(text)
		}
		say("keys " + itoa(int64(len(names))) + " " + text)
	case "count":
		say("count " + itoa(int64(p.doc.Len(p.at))))
	}
}

// write does the steps that write.
func (p *probe) write(do string) {
	var body []byte
	var err error
	switch do {
	case "set":
		set(p.doc, p.at, p.step.String("/kind"), p.step.String("/value"))
	case "setraw":
		if body, err = p.input.Body(); err == nil {
			set(p.doc, p.at, p.step.String("/kind"), string(body))
		}
	case "setint":
		p.doc.SetInt(p.at, p.step.Int("/value", 0))
	case "remove":
		p.doc.Remove(p.at)
	case "append":
		p.output.AppendBody([]byte(p.step.String("/value")))
	case "copybody":
		if body, err = p.doc.Body(); err == nil {
			p.output.AppendBody(body)
		}
	}
	if err == nil {
		err = hexdag.Err()
	}
	say(statusOf(err))
}

// set writes a value with the method for its kind.
func set(d hexdag.Doc, at, kind, value string) {
	switch {
	case kind == "string":
		d.SetString(at, value)
	case kind == "number":
		d.SetNumber(at, value)
	case kind == "json":
		d.SetJSON(at, value)
	case kind == "null" && value == "null":
		d.SetNull(at)
	case kind == "bool" && (value == "true" || value == "false"):
		d.SetBool(at, value == "true")
	default:
		d.SetValue(at, hexdag.Value{Kind: kindNamed(kind), Text: value})
	}
}

func (p *probe) read(do string) {
	size := p.step.Int("/size", 0)
	buf := make([]byte, size)
	if do == "bodyat" {
		n, err := p.doc.ReadBody(p.step.Int("/offset", 0), buf)
		if err != nil {
			say(statusOf(err))
			return
		}
		say("bytes " + sum(string(buf[:n])))
		return
	}
	var all []byte
	pieces := int64(0)
	for {
		n, err := p.doc.ReadBody(int64(len(all)), buf)
		if err != nil || n == 0 {
			break
		}
		all = append(all, buf[:n]...)
		pieces++
	}
	say("body " + itoa(pieces) + " " + sum(string(all)))
}

func (p *probe) call() {
	c := hexdag.NewCall(p.step.String("/op"))
	for i := range p.step.Len("/args") {
		arg := p.step.At("/args/" + itoa(int64(i)))
		at, kind, value := arg.String("/0"), arg.String("/1"), arg.String("/2")
		switch kind {
		case "string":
			c.String(at, value)
		case "json":
			c.JSON(at, value)
		case "bool":
			c.Bool(at, value == "true")
		default:
			c.Value(at, hexdag.Value{Kind: kindNamed(kind), Text: value})
		}
	}
	if body := p.step.String("/body"); body != "" {
		c.Body([]byte(body))
	}
	_, err := c.Do()
	failure, failed := err.(*hexdag.CallError)
	if !failed || p.step.Bool("/short", false) {
		say(statusOf(err))
		return
	}
	say(failure.Status.Error() + " " + failure.Code + " " + itoa(int64(failure.RetryMilliseconds)) + " " + failure.Message)
}

func clock(name string, read func() (int64, error)) {
	ns, err := read()
	if err != nil {
		say(err.Error())
		return
	}
	say(name + itoa(ns))
}
