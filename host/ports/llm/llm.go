// Package llm is the port to language models. A model is asked with messages and
// answers with one, as text, as calls of tools or, if the request brings a JSON Schema,
// as a JSON value that was checked against it. Backends are the packages below this one;
// they implement package driver.
package llm

import (
	"context"
	"errors"
	"fmt"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/hexdag/hexdag/host/tracing"
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
	// EmbedRequest asks for texts as vectors.
	EmbedRequest = driver.EmbedRequest
	// Embeddings are these.
	Embeddings = driver.Embeddings
)

// Port is a language model. It may be used by several goroutines.
type Port struct {
	driver          driver.LLM
	complete, embed string // the models that answer where none is named; "" is not known
	schemas         schemas
	tracer          *tracing.Tracer
	provider, url   string // of the model; "" is not known
}

// New returns the port to the model behind d. Closing the port closes d.
func New(d driver.LLM) *Port {
	p := &Port{driver: d}
	if named, ok := d.(driver.Named); ok {
		p.complete, p.embed = named.DefaultModels()
	}
	if provided, ok := d.(driver.Provided); ok {
		p.provider, p.url = provided.Provider()
	}
	return p
}

// TraceWith has requests be seen in spans. It is set before the port is used.
func (p *Port) TraceWith(t *tracing.Tracer) *Port {
	p.tracer = t
	return p
}

// Close releases what the backend holds.
func (p *Port) Close() error { return p.driver.Close() }

// Complete asks the model for the next turn. A call of a tool in the answer that cannot
// be made says why. An answer that breaks the request's schema is CodeFailed; a model that cannot be
// held to one is asked by words, and again, up to three times. The other codes are those
// of [driver.LLM], with CodeTimeout and CodeCanceled for a context that ended,
// CodeArguments for a request that cannot be sent, and CodeLimit for one that goes past
// what the run, or its tenant, may spend: it is not sent.
//
// The run of the context is charged for every answer. One of no use comes with its error.
func (p *Port) Complete(ctx context.Context, req *Request) (*Response, error) {
	return p.Stream(ctx, req, nil)
}

// Stream is Complete, and tells of the text of the answer as it comes; of a backend that
// cannot, as a whole. Nothing is told of an answer that is held to a schema. After an error, what was
// told is of no use.
func (p *Port) Stream(ctx context.Context, req *Request, tell func(piece string)) (*Response, error) {
	if err := checkRequest(req); err != nil {
		return nil, err
	}
	if req.Schema == nil {
		resp, err := p.ask(ctx, req, tell)
		if err != nil {
			return resp, err
		}
		return resp, p.checkCalls(req, resp)
	}
	answer, err := p.schemas.compile(req.Schema)
	if err != nil {
		return nil, argument("schema: %v", err)
	}
	resp, err := p.ask(ctx, req, nil)
	switch {
	case kernel.CodeOf(err) == kernel.CodeUnsupported:
		return p.askByWords(ctx, req, answer)
	case err != nil:
		return resp, err
	case len(resp.ToolCalls) > 0: // the answer is yet to come
		return resp, p.checkCalls(req, resp)
	}
	resp.Parsed, err = parseAnswer(answer, resp.Content)
	return resp, err
}

// ask has the model answer once, at the run's expense.
func (p *Port) ask(ctx context.Context, req *Request, tell func(piece string)) (resp *Response, err error) {
	model := req.Model
	if model == "" {
		model = p.complete
	}
	call := kernel.LLMCall{Model: model, Output: int64(req.MaxTokens)}
	if run := kernel.RunFrom(ctx); run != nil && run.Bounded() {
		call.Input = promptTokens(req)
	}
	err = charge(ctx, call, func(ctx context.Context, output int64) (string, Usage, error) {
		bounded := *req
		bounded.MaxTokens = int(min(output, maxTokens))
		told := int64(0)
		heard := tell
		if tell != nil {
			heard = func(piece string) {
				told += driver.TextTokens(piece)
				tell(piece)
			}
		}
		if resp, err = p.traced(ctx, model, &bounded, heard); err != nil {
			return model, brokenOff(req, told), portError(ctx, err)
		}
		if !countable(resp.Usage) {
			resp.Usage = driver.Estimate(req.Messages, resp.Content)
		}
		return resp.Model, resp.Usage, checkSize(resp)
	})
	return resp, err
}

// maxCounted is the most tokens that an answer can have taken: an endpoint that says more cannot count, and sums of such numbers are
// beyond what there is, or below nothing.
const maxCounted = 1 << 40

func countable(u Usage) bool {
	for _, n := range []int64{u.InputTokens, u.OutputTokens, u.TotalTokens} {
		if n < 0 || n > maxCounted {
			return false
		}
	}
	return true
}

// brokenOff estimates what an answer took that ended early: its provider counts it, too.
func brokenOff(req *Request, told int64) Usage {
	if told == 0 {
		return Usage{}
	}
	u := Usage{InputTokens: promptTokens(req), OutputTokens: told, Estimated: true}
	u.TotalTokens = u.InputTokens + u.OutputTokens
	return u
}

func (p *Port) send(ctx context.Context, req *Request, tell func(piece string)) (*Response, error) {
	if tell == nil {
		return p.driver.Complete(ctx, req)
	}
	if streamer, ok := p.driver.(driver.Streamer); ok {
		return streamer.Stream(ctx, req, tell)
	}
	resp, err := p.driver.Complete(ctx, req)
	if err == nil && resp.Content != "" {
		tell(resp.Content)
	}
	return resp, err
}

// maxAnswerBytes bounds an answer, with its calls of tools.
const maxAnswerBytes = 8 << 20

func checkSize(resp *Response) error {
	if size := sizeOf(resp); size > maxAnswerBytes {
		return &kernel.Error{Code: kernel.CodeLimit, What: "the model's answer is too large", Why: fmt.Sprintf("it has %d bytes, the limit is %d", size, maxAnswerBytes), Fix: "have it answer less, for example with max_tokens"}
	}
	return nil
}

func sizeOf(resp *Response) int {
	size := len(resp.Content)
	for _, c := range resp.ToolCalls {
		size += len(c.ID) + len(c.Name) + len(c.Arguments) + len(c.Signature)
	}
	return size
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

// promptTokens estimates what of a request the model reads.
func promptTokens(req *Request) int64 {
	n := driver.PromptTokens(req.Messages)
	for _, t := range req.Tools {
		n += driver.TextTokens(t.Name) + driver.TextTokens(t.Description) + jsonTokens(t.Parameters)
	}
	return n + jsonTokens(req.Schema)
}

func jsonTokens(doc map[string]any) int64 {
	if doc == nil {
		return 0
	}
	text, err := kernel.EncodeJSON(doc)
	if err != nil {
		return 0
	}
	return driver.TextTokens(string(text))
}
