package llm

import (
	"context"
	"encoding/json"

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
	return []ports.Op{{Name: "llm.complete", Guards: []string{"model"}, Meter: meter, Func: p.complete}}
}

func (p *Port) complete(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	if len(call.Body) > 0 {
		return nil, argument("it takes no body")
	}
	req, err := parseRequest(call.Args)
	if err != nil {
		return nil, err
	}
	resp, err := p.Complete(ctx, req)
	if err != nil {
		if run := kernel.RunFrom(ctx); run != nil && resp != nil {
			charge(run, resp.Usage.InputTokens, resp.Usage.OutputTokens)
		}
		return nil, err
	}
	return &kernel.PortReply{Value: replyValue(req, resp)}, nil
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

// meter charges what the reply says. A reply that a hook made may say nothing,
// but never less than nothing.
func meter(run *kernel.RunContext, reply *kernel.PortReply) {
	value, _ := reply.Value.(map[string]any)
	usage, _ := value["usage"].(map[string]any)
	charge(run, tokens(usage["input_tokens"]), tokens(usage["output_tokens"]))
}

func tokens(v any) int64 {
	text, _ := v.(json.Number)
	n, err := text.Int64()
	if err != nil {
		return 0
	}
	return max(n, 0)
}

func charge(run *kernel.RunContext, input, output int64) {
	run.Usage.LLMCalls.Add(1)
	run.Usage.InputTokens.Add(input)
	run.Usage.OutputTokens.Add(output)
}
