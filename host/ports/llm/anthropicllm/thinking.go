package anthropicllm

import (
	"encoding/json"

	"github.com/anthropics/anthropic-sdk-go"
)

// thinking is what a model thought before it called tools. The endpoint wants it back with the calls,
// as it was: it is the first call's signature.
type thinking struct {
	Type      string `json:"type"`
	Thinking  string `json:"thinking,omitempty"`
	Signature string `json:"signature,omitempty"`
	Data      string `json:"data,omitempty"` // in place of both, where it is not to be read
}

func sealed(thought []thinking) string {
	if len(thought) == 0 {
		return ""
	}
	text, err := json.Marshal(thought)
	if err != nil {
		return ""
	}
	return string(text)
}

// thoughts returns the blocks of a signature; one of another backend, which a pool may have asked before, has none.
func thoughts(signature string) (blocks []anthropic.ContentBlockParamUnion) {
	var thought []thinking
	if json.Unmarshal([]byte(signature), &thought) != nil {
		return nil
	}
	for _, t := range thought {
		switch t.Type {
		case "thinking":
			blocks = append(blocks, anthropic.NewThinkingBlock(t.Signature, t.Thinking))
		case "redacted_thinking":
			blocks = append(blocks, anthropic.NewRedactedThinkingBlock(t.Data))
		}
	}
	return blocks
}
