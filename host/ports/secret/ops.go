package secret

import (
	"context"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// Ops returns the port's methods for the door:
//
//	secret.get {name} -> {name, handle}
//	secret.use {name, host} -> {used: true}
//
// get returns what stands for the secret in a request, if there is one. use is what the http port
// asks on behalf of whoever wrote a handle into a request to the host; called by anybody else it
// is refused, because no secret is handed out.
//
// A capability can restrict name and, of use, host, written as the http port writes it: one that
// may use a secret for a host still needs the right to request it.
func (s *Secrets) Ops() []ports.Op {
	return []ports.Op{
		{Name: "secret.get", Guards: []string{"name"}, Func: s.opGet},
		{Name: "secret.use", Guards: []string{"name", "host"}, Func: s.opUse},
	}
}

func (s *Secrets) opGet(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	texts, err := begin(call, "name")
	if err != nil {
		return nil, err
	}
	spec, known := s.specs[texts[0]]
	if !known {
		return nil, absent(texts[0])
	}
	if _, err := s.read(ctx, texts[0], spec); err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: map[string]any{"name": texts[0], "handle": Handle(texts[0])}}, nil
}

func (s *Secrets) opUse(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	texts, err := begin(call, "name", "host")
	if err != nil {
		return nil, err
	}
	filled, err := fill(ctx, texts[0], texts[1], func(secure bool) (string, error) { return s.get(ctx, texts[0], texts[1], secure) })
	if err != nil {
		return nil, err
	}
	if !filled {
		return nil, &kernel.Error{Code: kernel.CodeDenied, What: "no secret is handed out", Why: "secret.use is what the http port asks for a request", Fix: "write " + Handle("NAME") + " into a header, params, json or body of the request"}
	}
	return &kernel.PortReply{Value: map[string]any{"used": true}}, nil
}

// begin reads the texts that a call has to have.
func begin(call *kernel.PortCall, known ...string) ([]string, error) {
	bad := func(what string) error {
		return &kernel.Error{Code: kernel.CodeArguments, What: call.Op + ": " + what}
	}
	for name := range call.Args {
		if !slices.Contains(known, name) {
			return nil, bad("unknown argument " + kernel.Quote(name) + "; it takes " + strings.Join(known, ", "))
		}
	}
	if len(call.Body) > 0 {
		return nil, bad("it takes no body")
	}
	texts := make([]string, len(known))
	for i, name := range known {
		text, ok := call.Args[name].(string)
		if !ok {
			return nil, bad(name + " must be a text")
		}
		texts[i] = text
	}
	return texts, nil
}
