package openaillm

import (
	"context"

	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
)

// Embed implements driver.Embedder.
func (m *model) Embed(ctx context.Context, req *driver.EmbedRequest) (*driver.Embeddings, error) {
	name, err := m.ModelFor(req.Model, m.EmbeddingModel, "embedding_model")
	if err != nil {
		return nil, err
	}
	params := openai.EmbeddingNewParams{
		Model: name, Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: req.Texts},
		EncodingFormat: openai.EmbeddingNewParamsEncodingFormatFloat,
	}
	if req.Dimensions > 0 {
		params.Dimensions = param.NewOpt(int64(req.Dimensions))
	}
	out := &driver.Embeddings{Model: name, Vectors: make([][]float32, len(req.Texts))}
	err = m.Call(ctx, func(ctx context.Context) error {
		answer, err := m.embeddings.New(ctx, params)
		if err != nil {
			return err
		}
		for _, e := range answer.Data {
			if e.Index < 0 || e.Index >= int64(len(out.Vectors)) || out.Vectors[e.Index] != nil {
				return m.Malformed("its vectors are not those of the texts")
			}
			vector := make([]float32, len(e.Embedding))
			for i, v := range e.Embedding {
				vector[i] = float32(v)
			}
			out.Vectors[e.Index] = vector
		}
		if answer.Model != "" {
			out.Model = answer.Model
		}
		out.Usage = driver.Usage{InputTokens: answer.Usage.PromptTokens, TotalTokens: answer.Usage.PromptTokens}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
