package llm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/hexdag/hexdag/host/schema"
)

// maxAsked is how often a model is asked that cannot be held to a schema.
const maxAsked = 3

// maxRetold is how many bytes of an answer of no use a model is reminded of.
const maxRetold = 16 << 10

// askByWords asks a model for what it cannot be held to: the schema is a part of the
// conversation, and an answer that breaks it is followed by what is wrong with it. The usage
// is that of all answers.
func (p *Port) askByWords(ctx context.Context, req *Request, answer *schema.Schema) (*Response, error) {
	text, err := kernel.EncodeJSON(req.Schema)
	if err != nil {
		return nil, argument("schema: %v", err)
	}
	asked := *req
	asked.Schema = nil
	asked.Messages = slices.Concat([]Message{{Role: driver.System, Content: "Answer with one JSON value that is valid against this JSON Schema, and with nothing else: no other text, no code fence.\n" + string(text)}}, req.Messages)
	var used Usage
	for try := 1; ; try++ {
		resp, err := p.ask(ctx, &asked, nil)
		if resp != nil {
			used = sum(used, resp.Usage)
			resp.Usage = used
		}
		switch {
		case err != nil:
			return resp, err
		case len(resp.ToolCalls) > 0:
			return resp, p.checkCalls(req, resp)
		}
		said := resp.Content
		resp.Content = bare(said)
		if resp.Parsed, err = parseAnswer(answer, resp.Content); err == nil {
			return resp, nil
		}
		resp.Content = said
		if try == maxAsked {
			return resp, &kernel.Error{Code: kernel.CodeFailed, What: fmt.Sprintf("the model gave no answer of the schema's shape when it was asked %d times", try), Why: err.Error(), Fix: "ask for a simpler shape, or name a model that can be held to a schema", Err: err}
		}
		if len(said) > maxRetold {
			said = strings.ToValidUTF8(said[:maxRetold], "")
		}
		asked.Messages = append(slices.Clip(asked.Messages),
			Message{Role: driver.Assistant, Content: said},
			Message{Role: driver.User, Content: "That was not it: " + whyOf(err) + ". Answer again, with the JSON value alone."})
	}
}

func sum(a, b Usage) Usage {
	return Usage{InputTokens: a.InputTokens + b.InputTokens, OutputTokens: a.OutputTokens + b.OutputTokens, TotalTokens: a.TotalTokens + b.TotalTokens, Estimated: a.Estimated || b.Estimated}
}

// whyOf is what the model is told: what is wrong, and not its own words once more.
func whyOf(err error) string {
	var e *kernel.Error
	if errors.As(err, &e) {
		return e.Why
	}
	return err.Error()
}

// bare returns what of a text is to be the JSON value: what a code fence is around, or
// else what is from the first brace or bracket to the last.
func bare(text string) string {
	text = strings.TrimSpace(text)
	if _, err := kernel.DecodeJSON([]byte(text)); err == nil {
		return text
	}
	if _, after, fenced := strings.Cut(text, "```"); fenced {
		inside, _, closed := strings.Cut(after, "```")
		_, inside, lines := strings.Cut(inside, "\n") // the first line names the language
		if closed && lines {
			return strings.TrimSpace(inside)
		}
	}
	from, to := strings.IndexAny(text, "{["), strings.LastIndexAny(text, "}]")
	if from < 0 || to < from {
		return text
	}
	return text[from : to+1]
}
