package llm

import (
	"context"
	"sync/atomic"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// Ops returns the port's methods for the door:
//
//	llm.complete {messages: [{role, content}], model?, max_tokens?, temperature?, schema?}
//	  -> {content, finish_reason, model, usage: {input_tokens, output_tokens, total_tokens, estimated?}, parsed?}
//
// A capability can restrict model. usage.estimated is there, and true, if the
// model did not count; parsed is there if a schema was given. Every answer is
// charged to the run, also one that the schema refuses.
func (p *Port) Ops() []ports.Op {
	return []ports.Op{{Name: "llm.complete", Guards: []string{"model"}, Func: p.complete}}
}

func (p *Port) complete(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	if len(call.Body) > 0 {
		return nil, argument("it takes no body")
	}
	req, err := parseRequest(call.Args)
	if err != nil {
		return nil, err
	}
	run := kernel.RunFrom(ctx)
	if run == nil {
		resp, err := p.Complete(ctx, req)
		if err != nil {
			return nil, err
		}
		return &kernel.PortReply{Value: replyValue(req, resp)}, nil
	}
	settle, err := run.StartLLM(ctx, int64(req.MaxTokens))
	if err != nil {
		return nil, err
	}
	outer := chargedIn(ctx)
	inner := &charged{}
	resp, err := p.Complete(context.WithValue(ctx, chargedKey{}, inner), req)
	var used Usage
	model := req.Model
	if resp != nil { // also an answer of no use was paid
		used, model = resp.Usage, resp.Model
	}
	input, output := inner.beyond(used)
	outer.add(used, inner)
	if serr := settle(model, input, output); err == nil {
		err = serr
	}
	if err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: replyValue(req, resp)}, nil
}

// charged is what the calls of a model have been charged for that were made in the
// course of another one: a module that is the model asks another for its answer.
type charged struct{ input, output atomic.Int64 }

type chargedKey struct{}

func chargedIn(ctx context.Context) *charged {
	c, _ := ctx.Value(chargedKey{}).(*charged)
	return c
}

// beyond is what of an answer's usage has not been charged: what a module says that
// it used comes on top of nothing that it did use.
func (c *charged) beyond(used Usage) (input, output int64) {
	return max(0, used.InputTokens-c.input.Load()), max(0, used.OutputTokens-c.output.Load())
}

// add adds a call, with those in its course, to those of the call that it is in.
func (c *charged) add(used Usage, inner *charged) {
	if c != nil {
		c.input.Add(max(used.InputTokens, inner.input.Load()))
		c.output.Add(max(used.OutputTokens, inner.output.Load()))
	}
}

func replyValue(req *Request, resp *Response) map[string]any {
	usage := map[string]any{
		"input_tokens":  kernel.Number(resp.Usage.InputTokens),
		"output_tokens": kernel.Number(resp.Usage.OutputTokens),
		"total_tokens":  kernel.Number(resp.Usage.TotalTokens),
	}
	if resp.Usage.Estimated {
		usage["estimated"] = true
	}
	value := map[string]any{
		"content":       resp.Content,
		"finish_reason": resp.FinishReason,
		"model":         resp.Model,
		"usage":         usage,
	}
	if req.Schema != nil {
		value["parsed"] = resp.Parsed
	}
	return value
}
