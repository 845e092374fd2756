// Package clientport lets modules ask the client that has started their run: the person at it for input, its model for a
// completion, and for the folders that it works on. Nothing is answered while the module runs: the run waits, as for an
// approval, and the module goes on from there with the answer.
package clientport

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/arguments"
	"github.com/hexdag/hexdag/host/schema"
)

// The kinds of input.
const (
	Elicit   = "elicit"   // of the person at the client
	Complete = "complete" // of the client's model
	Roots    = "roots"    // the folders that the client works on
)

// Kinds are all of them, sorted.
var Kinds = []string{Complete, Elicit, Roots}

// The bounds of what is asked.
const (
	maxRequests  = 8
	maxName      = 64
	maxMessage   = 16 << 10 // bytes
	maxMessages  = 64
	maxTokens    = 100_000
	maxSchema    = 16 << 10  // bytes
	maxQuestions = 256 << 10 // bytes of all requests
	patience     = 10 * time.Minute
)

// OpAsk asks for one thing or several at once:
//
//	client.ask {requests: {NAME: request, ...}} -> {NAME: answer, ...}
//	  {kind: elicit, message, schema}                          -> {action: accept | decline | cancel, content?}
//	  {kind: complete, messages: [{role, content}], max_tokens, system?, temperature?, stop?} -> {content, model, finish_reason}
//	  {kind: roots}                                            -> {roots: [{uri, name?}]}
//
// An answer that did not come within ten minutes is {error}; where no server stands between the run and the client any more, the node fails
// with CodeTimeout. A capability can restrict the kinds, which are sorted and joined by commas.
const OpAsk = "client.ask"

// OpDescribe answers which kinds the client can be asked for: {elicit, complete, roots}.
const OpDescribe = "client.describe"

// Ops returns the port's operations. newID makes ids of what is asked.
func Ops(newID func() string) []ports.Op {
	return []ports.Op{
		{Name: OpAsk, Guards: []string{"kinds"}, Derive: kinds, Func: func(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
			return nil, ask(ctx, call, newID)
		}},
		{Name: OpDescribe, Func: func(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
			a := arguments.Of(call)
			run := a.Run(ctx)
			if err := a.End(); err != nil {
				return nil, err
			}
			takes := map[string]any{}
			for _, kind := range Kinds {
				takes[kind] = run.Client.Takes(kind)
			}
			return &kernel.PortReply{Value: takes}, nil
		}},
	}
}

// kinds are those that a call asks for, for capabilities. Where one has none that is known, nothing is said of them.
func kinds(args map[string]any) map[string]string {
	requests, _ := args["requests"].(map[string]any)
	var all []string
	for _, r := range requests {
		fields, _ := r.(map[string]any)
		kind, _ := fields["kind"].(string)
		if !slices.Contains(Kinds, kind) {
			return nil
		}
		if !slices.Contains(all, kind) {
			all = append(all, kind)
		}
	}
	slices.Sort(all)
	return map[string]string{"kinds": strings.Join(all, ",")}
}

// ask returns the error with which the run waits.
func ask(ctx context.Context, call *kernel.PortCall, newID func() string) error {
	a := arguments.Of(call)
	run := a.Run(ctx)
	requests := a.Object("requests", " of requests, by their names")
	if err := a.End(); err != nil {
		return err
	}
	if len(requests) == 0 || len(requests) > maxRequests {
		return wrong("requests must have 1 to %d members", maxRequests)
	}
	if size := kernel.SizeOf(requests); size > maxQuestions {
		return &kernel.Error{Code: kernel.CodeLimit, What: OpAsk + ": the requests are too large", Why: fmt.Sprintf("they have about %d bytes, the limit is %d", size, maxQuestions), Fix: "ask for less"}
	}
	for name, r := range requests {
		if err := check(name, r); err != nil {
			return err
		}
	}
	for _, r := range requests {
		kind := r.(map[string]any)["kind"].(string) // checked
		if !run.Client.Takes(kind) {
			run.Client.Lack(kind)
			return &kernel.Error{Code: kernel.CodeUnavailable, What: OpAsk + ": nobody can be asked for " + kind, Why: "the run was not started by a client that takes such requests", Fix: "call the tool from a client that does; " + OpDescribe + " says what there is"}
		}
	}
	needed := &kernel.InputNeeded{ID: newID(), Requests: requests, Expires: time.Now().Add(patience)}
	return &kernel.Error{Code: kernel.CodeInputNeeded, What: OpAsk + " waits for the client's answer", Why: "its key is " + needed.EventKey(), Fix: "answer it at the client; or: hexdag resume --event " + needed.EventKey() + " --data '{\"NAME\": ANSWER}'", Err: needed}
}

func wrong(format string, args ...any) error {
	return &kernel.Error{Code: kernel.CodeArguments, What: OpAsk + ": " + fmt.Sprintf(format, args...), Fix: "see host/ports/clientport for what it takes"}
}

// check holds a request to its kind's form.
func check(name string, request any) error {
	if name == "" || len(name) > maxName {
		return wrong("the name of a request has 1 to %d bytes", maxName)
	}
	fields, _ := request.(map[string]any)
	f := form{wrong: func(format string, args ...any) error {
		return wrong("request %s: %s", kernel.Quote(name), fmt.Sprintf(format, args...))
	}, fields: fields}
	switch kind := fields["kind"]; kind {
	case Elicit:
		return f.elicit()
	case Complete:
		return f.complete()
	case Roots:
		return f.only("kind")
	default:
		return f.wrong("its kind must be one of %s", strings.Join(Kinds, ", "))
	}
}

type form struct {
	fields map[string]any
	wrong  func(format string, args ...any) error
}

// only refuses members that a kind has not.
func (f form) only(names ...string) error {
	for name := range f.fields {
		if !slices.Contains(names, name) {
			return f.wrong("it has no %s; it takes %s", kernel.Quote(name), strings.Join(names, ", "))
		}
	}
	return nil
}

func (f form) elicit() error {
	message, _ := f.fields["message"].(string)
	doc, _ := f.fields["schema"].(map[string]any)
	properties, _ := doc["properties"].(map[string]any)
	switch {
	case message == "" || len(message) > maxMessage:
		return f.wrong("message is a text of 1 to %d bytes", maxMessage)
	case doc["type"] != "object" || len(properties) == 0:
		return f.wrong("schema is that of an object with properties")
	case kernel.SizeOf(doc) > maxSchema:
		return f.wrong("schema has more than %d bytes", maxSchema)
	}
	for field, p := range properties {
		typ := ""
		if described, ok := p.(map[string]any); ok {
			typ, _ = described["type"].(string)
		}
		if !slices.Contains([]string{"string", "number", "integer", "boolean", "array"}, typ) {
			return f.wrong("property %s of schema must be a string, number, integer, boolean, or an array of choices", kernel.Quote(field))
		}
	}
	if _, err := schema.Compile(doc); err != nil {
		return f.wrong("schema: %s", kernel.Quote(err.Error()))
	}
	return f.only("kind", "message", "schema")
}

func (f form) complete() error {
	messages, _ := f.fields["messages"].([]any)
	if len(messages) == 0 || len(messages) > maxMessages {
		return f.wrong("messages are 1 to %d", maxMessages)
	}
	for _, m := range messages {
		fields, _ := m.(map[string]any)
		_, isText := fields["content"].(string)
		if role := fields["role"]; !isText || role != "user" && role != "assistant" {
			return f.wrong("a message is {role: user or assistant, content: text}")
		}
	}
	tokens, _ := f.fields["max_tokens"].(json.Number)
	if n, err := tokens.Int64(); err != nil || n < 1 || n > maxTokens {
		return f.wrong("max_tokens is a number from 1 to %d", maxTokens)
	}
	if _, isText := f.fields["system"].(string); !isText && f.fields["system"] != nil {
		return f.wrong("system is a text")
	}
	if t := f.fields["temperature"]; t != nil {
		number, _ := t.(json.Number)
		if n, err := number.Float64(); err != nil || n < 0 {
			return f.wrong("temperature is a number, 0 or more")
		}
	}
	for _, s := range list(f.fields["stop"]) {
		if _, isText := s.(string); !isText {
			return f.wrong("stop is a list of texts")
		}
	}
	return f.only("kind", "messages", "max_tokens", "system", "temperature", "stop")
}

func list(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	}
	return []any{v} // refused as an item that is none
}

// Fits holds what a person has answered to the schema of what was asked, as Ask has checked it.
func Fits(request map[string]any, content map[string]any) error {
	doc, _ := request["schema"].(map[string]any)
	s, err := schema.Compile(doc)
	if err != nil {
		return err
	}
	return s.Validate(content)
}
