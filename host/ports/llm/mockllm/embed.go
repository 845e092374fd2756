package mockllm

import (
	"context"
	"hash/fnv"
	"math"
	"strings"

	"github.com/hexdag/hexdag/host/ports/llm/driver"
)

// dimensions is how many a vector has where the request says nothing.
const dimensions = 64

// Embed implements driver.Embedder. A text's vector follows from its words, whatever their order and case: texts
// that share words are near each other. Its length is 1.
func (m *model) Embed(ctx context.Context, req *driver.EmbedRequest) (*driver.Embeddings, error) {
	if err := wait(ctx, m.delay); err != nil {
		return nil, err
	}
	size := dimensions
	if req.Dimensions > 0 {
		size = req.Dimensions
	}
	out := &driver.Embeddings{Model: m.name, Usage: driver.Usage{Estimated: true}}
	if req.Model != "" {
		out.Model = req.Model
	}
	for _, text := range req.Texts {
		out.Vectors = append(out.Vectors, vector(text, size))
		out.Usage.InputTokens += driver.TextTokens(text)
	}
	out.Usage.TotalTokens = out.Usage.InputTokens
	return out, nil
}

func vector(text string, size int) []float32 {
	v := make([]float32, size)
	v[0] = 1 // so that none is empty
	for word := range strings.FieldsSeq(strings.ToLower(text)) {
		h := fnv.New64a()
		_, _ = h.Write([]byte(word))
		sum := h.Sum64()
		sign := float32(1)
		if sum>>63 == 1 {
			sign = -1
		}
		v[sum%uint64(size)] += sign
	}
	var length float64
	for _, x := range v {
		length += float64(x) * float64(x)
	}
	if length == 0 {
		v[0], length = 1, 1
	}
	for i := range v {
		v[i] /= float32(math.Sqrt(length))
	}
	return v
}
