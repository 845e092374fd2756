package llm

import (
	"context"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// Ops returns the port's methods for the door:
//
//	llm.complete {messages: [{role, content, tool_calls?, tool_call_id?}], model?, max_tokens?, temperature?, schema?,
//	  tools?: [{name, description?, parameters?}], tool_choice?: auto | none | required | {name}}
//	  -> {content, finish_reason, model, usage: {input_tokens, output_tokens, total_tokens, estimated?}, parsed?,
//	  tool_calls?: [{id, name, arguments, signature?, error?}]}
//	llm.embed {texts: [text], model?, dimensions?} -> {embeddings: [[number]], model, usage}
//	llm.batch {requests: [what llm.complete takes, without a model], model?}
//	  -> {items: [{index, status: ok | error, error?: {code, message}, what llm.complete answers}], usage}
//
// A batch fails as a whole where the model cannot be reached for any of it. A capability can restrict model. usage.estimated is there, and true, if the
// model did not count; parsed is there if a schema was given. A call of a tool whose error is
// there cannot be made: the model is to be told of it. Every answer is
// charged to the run, also one that the schema refuses.
func (p *Port) Ops() []ports.Op {
	return []ports.Op{
		{Name: "llm.complete", Guards: []string{"model"}, Func: p.completeOp},
		{Name: "llm.embed", Guards: []string{"model"}, Func: p.embedOp},
		{Name: "llm.batch", Guards: []string{"model"}, Func: p.batchOp},
	}
}

func (p *Port) completeOp(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	if len(call.Body) > 0 {
		return nil, argument("it takes no body")
	}
	req, err := parseRequest(call.Args)
	if err != nil {
		return nil, err
	}
	resp, err := p.Stream(ctx, req, call.Tell)
	if err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: replyValue(req, resp)}, nil
}

func usageValue(u Usage) map[string]any {
	usage := map[string]any{
		"input_tokens":  kernel.Number(u.InputTokens),
		"output_tokens": kernel.Number(u.OutputTokens),
		"total_tokens":  kernel.Number(u.TotalTokens),
	}
	if u.Estimated {
		usage["estimated"] = true
	}
	return usage
}

func replyValue(req *Request, resp *Response) map[string]any {
	value := map[string]any{
		"content":       resp.Content,
		"finish_reason": resp.FinishReason,
		"model":         resp.Model,
		"usage":         usageValue(resp.Usage),
	}
	if len(resp.ToolCalls) > 0 {
		value["tool_calls"] = callValues(resp.ToolCalls)
	} else if req.Schema != nil {
		value["parsed"] = resp.Parsed
	}
	return value
}
