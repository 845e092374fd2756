package openaillm

import (
	"context"
	"fmt"
	"strings"

	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/hexdag/hexdag/host/ports/llm/endpoint"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
)

// maxCalls is the most calls of tools that are read of a stream.
const maxCalls = 128

// Stream implements driver.Streamer.
func (m *model) Stream(ctx context.Context, req *driver.Request, tell func(string)) (*driver.Response, error) {
	params, names, err := m.params(req)
	if err != nil {
		return nil, err
	}
	params.StreamOptions.IncludeUsage = param.NewOpt(true)
	var resp *driver.Response
	err = m.Call(ctx, func(ctx context.Context) error {
		stream := m.chat.NewStreaming(ctx, params)
		defer stream.Close()
		a := answer{tell: tell}
		for stream.Next() {
			if err := a.add(stream.Current()); err != nil {
				return m.Malformed(err.Error())
			}
		}
		switch {
		case stream.Err() != nil:
			return stream.Err()
		case a.FinishReason == "":
			return endpoint.Cut
		}
		a.Content = a.text.String()
		for _, c := range a.calls {
			a.ToolCalls = append(a.ToolCalls, driver.ToolCall{ID: c.id, Name: names.In(c.name), Arguments: c.arguments.String()})
		}
		resp = settled(req, params.Model, &a.Response, a.refusal.String(), a.usage)
		return nil
	})
	return resp, err
}

// answer is what has come of one.
type answer struct {
	driver.Response
	text, refusal strings.Builder
	calls         []*partialCall
	at            map[int64]*partialCall // the last of an index
	usage         openai.CompletionUsage
	tell          func(string)
}

type partialCall struct {
	id, name  string
	arguments strings.Builder
}

func (a *answer) add(chunk openai.ChatCompletionChunk) error {
	if chunk.Model != "" {
		a.Model = chunk.Model
	}
	if u := chunk.Usage; u.PromptTokens > 0 || u.CompletionTokens > 0 {
		a.usage = chunk.Usage
	}
	if len(chunk.Choices) == 0 {
		return nil
	}
	choice := chunk.Choices[0]
	if choice.FinishReason != "" {
		a.FinishReason = choice.FinishReason
	}
	if piece := choice.Delta.Content; piece != "" {
		a.text.WriteString(piece)
		a.tell(piece)
	}
	a.refusal.WriteString(choice.Delta.Refusal)
	for _, d := range choice.Delta.ToolCalls {
		if err := a.call(&d); err != nil {
			return err
		}
	}
	return nil
}

// call adds a piece of a call. Endpoints that are said to be compatible give all calls the same index, with the ID of each, or repeat the ID
// and the name with each piece.
func (a *answer) call(d *openai.ChatCompletionChunkChoiceDeltaToolCall) error {
	c := a.at[d.Index]
	if c == nil || d.ID != "" && c.id != "" && d.ID != c.id {
		if d.Index < 0 || len(a.calls) >= maxCalls {
			return fmt.Errorf("the call of a tool has the index %d, after %d calls", d.Index, len(a.calls))
		}
		c = &partialCall{}
		a.calls = append(a.calls, c)
		if a.at == nil {
			a.at = map[int64]*partialCall{}
		}
		a.at[d.Index] = c
	}
	if c.id == "" {
		c.id = d.ID
	}
	if d.Function.Name != c.name {
		c.name += d.Function.Name
	}
	c.arguments.WriteString(d.Function.Arguments)
	return nil
}
