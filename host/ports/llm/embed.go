package llm

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"encoding/json"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/hexdag/hexdag/host/tracing"
)

// The bounds of a request for embeddings.
const (
	maxTexts      = 2048
	maxDimensions = 16384
)

func embedArgument(format string, args ...any) error {
	return &kernel.Error{Code: kernel.CodeArguments, What: "llm.embed: " + fmt.Sprintf(format, args...)}
}

// Embed makes vectors of texts. A backend that has none is CodeUnsupported; the other
// codes are those of Complete.
func (p *Port) Embed(ctx context.Context, req *EmbedRequest) (*Embeddings, error) {
	if err := checkEmbed(req); err != nil {
		return nil, err
	}
	embedder, ok := p.driver.(driver.Embedder)
	if !ok {
		return nil, noEmbeddings()
	}
	call := kernel.LLMCall{Model: req.Model, Output: noOutput}
	if call.Model == "" {
		call.Model = p.embed
	}
	for _, text := range req.Texts {
		call.Input += driver.TextTokens(text)
	}
	var out *Embeddings
	err := charge(ctx, call, func(ctx context.Context, _ int64) (string, Usage, error) {
		ctx, span := p.tracer.Model(ctx, &tracing.ModelCall{Embeds: true, Provider: p.provider, URL: p.url, Model: call.Model})
		answer, err := embedder.Embed(ctx, req)
		embedded(ctx, span, answer, err)
		if err != nil {
			return call.Model, Usage{}, portError(ctx, err)
		}
		if answer.Usage.InputTokens <= 0 || !countable(answer.Usage) {
			answer.Usage = Usage{InputTokens: call.Input, TotalTokens: call.Input, Estimated: true}
		}
		out = answer
		return answer.Model, answer.Usage, checkVectors(req, answer)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// noOutput is what a call's answer takes that has no text.
const noOutput = -1

func noEmbeddings() error {
	return &kernel.Error{Code: kernel.CodeUnsupported, What: "the model's backend makes no embeddings", Fix: "configure one that does, such as openai or google; in a pool, another member is asked"}
}

func checkEmbed(req *EmbedRequest) error {
	if len(req.Texts) == 0 || len(req.Texts) > maxTexts {
		return embedArgument("texts has %d items; it has from 1 to %d", len(req.Texts), maxTexts)
	}
	size := 0
	for i, text := range req.Texts {
		if text == "" {
			return embedArgument("texts[%d] is empty", i)
		}
		size += len(text)
	}
	if size > maxPromptBytes {
		return &kernel.Error{Code: kernel.CodeLimit, What: fmt.Sprintf("llm.embed: texts of %d bytes are too much", size), Why: fmt.Sprintf("the limit is %d", maxPromptBytes), Fix: "send them in several calls"}
	}
	if req.Dimensions < 0 || req.Dimensions > maxDimensions {
		return embedArgument("dimensions is %d; it is from 1 to %d", req.Dimensions, maxDimensions)
	}
	return nil
}

func checkVectors(req *EmbedRequest, answer *Embeddings) error {
	unusable := func(format string, args ...any) error {
		return &kernel.Error{Code: kernel.CodeFailed, What: "the model's vectors cannot be used", Why: fmt.Sprintf(format, args...)}
	}
	if len(answer.Vectors) != len(req.Texts) {
		return unusable("there are %d, of %d texts", len(answer.Vectors), len(req.Texts))
	}
	for i, v := range answer.Vectors {
		if len(v) == 0 || len(v) > maxDimensions || len(v) != len(answer.Vectors[0]) {
			return unusable("vector %d has %d dimensions", i, len(v))
		}
		for _, x := range v {
			if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				return unusable("vector %d holds what is no number", i)
			}
		}
	}
	return nil
}

func (p *Port) embedOp(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	if len(call.Body) > 0 {
		return nil, embedArgument("it takes no body")
	}
	req, err := parseEmbed(call.Args)
	if err != nil {
		return nil, err
	}
	out, err := p.Embed(ctx, req)
	if err != nil {
		return nil, err
	}
	vectors := make([]any, len(out.Vectors))
	for i, v := range out.Vectors {
		numbers := make([]any, len(v))
		for j, x := range v {
			numbers[j] = json.Number(strconv.FormatFloat(float64(x), 'g', -1, 32))
		}
		vectors[i] = numbers
	}
	return &kernel.PortReply{Value: map[string]any{"embeddings": vectors, "model": out.Model, "usage": usageValue(out.Usage)}}, nil
}

func parseEmbed(args map[string]any) (*EmbedRequest, error) {
	req := &EmbedRequest{}
	for name, value := range args {
		switch name {
		case "texts":
			list, ok := value.([]any)
			if !ok || len(list) > maxTexts {
				return nil, embedArgument("texts must be a list of at most %d strings", maxTexts)
			}
			for i, item := range list {
				text, ok := item.(string)
				if !ok {
					return nil, embedArgument("texts[%d] must be a string", i)
				}
				req.Texts = append(req.Texts, text)
			}
		case "model":
			var err error
			if req.Model, err = parseModel(value); err != nil {
				return nil, err
			}
		case "dimensions":
			text, _ := value.(json.Number)
			n, err := strconv.Atoi(string(text))
			if err != nil || n < 1 {
				return nil, embedArgument("dimensions must be an integer from 1")
			}
			req.Dimensions = n
		default:
			return nil, embedArgument("unknown argument %q; it takes texts, model, dimensions", kernel.Quote(name))
		}
	}
	return req, nil
}
