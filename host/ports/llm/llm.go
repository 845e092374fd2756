// Package llm is the port to language models. A model is asked with messages and
// answers with one, as text or, if the request brings a JSON Schema, as a JSON
// value that was checked against it. Backends are the packages below this one;
// they implement package driver.
package llm

import (
	"context"
	"errors"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/hexdag/hexdag/host/schema"
)

type (
	// Message is one turn of a conversation.
	Message = driver.Message
	// Request is what a model is asked.
	Request = driver.Request
	// Response is what it answers.
	Response = driver.Response
	// Usage is what that took.
	Usage = driver.Usage
)

// Port is a language model. It may be used by several goroutines.
type Port struct{ driver driver.LLM }

// New returns the port to the model behind d. Closing the port closes d.
func New(d driver.LLM) *Port { return &Port{driver: d} }

// Close releases what the backend holds.
func (p *Port) Close() error { return p.driver.Close() }

// Complete asks the model for the next turn. An answer that breaks the request's
// schema is CodeFailed; the other codes are those of [driver.LLM], with
// CodeTimeout and CodeCanceled for a context that ended and CodeArguments for a
// request that cannot be sent.
//
// A model that answered has been paid: an answer of no use comes with its error,
// so that it can be charged.
func (p *Port) Complete(ctx context.Context, req *Request) (*Response, error) {
	if err := checkRequest(req); err != nil {
		return nil, err
	}
	var answer *schema.Schema
	if req.Schema != nil {
		var err error
		if answer, err = compileSchema(req.Schema); err != nil {
			return nil, err
		}
	}
	resp, err := p.driver.Complete(ctx, req)
	if err != nil {
		return nil, portError(ctx, err)
	}
	if answer != nil {
		parsed, err := parseAnswer(answer, resp.Content)
		if err != nil {
			return resp, err
		}
		resp.Parsed = parsed
	}
	return resp, nil
}

// portError gives a driver's error a code. The context's end wins over what the
// driver made of it.
func portError(ctx context.Context, err error) error {
	var known *kernel.Error
	switch {
	case ctx.Err() != nil:
		return kernel.ContextError(ctx)
	case errors.As(err, &known):
		return err
	}
	return &kernel.Error{Code: kernel.CodeFailed, What: "the model's call failed", Why: kernel.Quote(err.Error()), Err: err}
}
