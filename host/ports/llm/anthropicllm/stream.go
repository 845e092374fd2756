package anthropicllm

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/anthropics/anthropic-sdk-go"
)

// maxBlocks is the most blocks that are read of a stream.
const maxBlocks = 256

// answer is what has come of a streamed message. The client's own Accumulate copies the whole with each piece.
type answer struct {
	start  anthropic.Message
	blocks []*block
	ended  bool
}

type block struct {
	kind, id, name  string
	text, input     strings.Builder
	thought, signed strings.Builder
	data            string
}

func (a *answer) add(e anthropic.MessageStreamEventUnion, tell func(string)) error {
	switch e.Type {
	case "message_start":
		a.start = e.Message
	case "content_block_start":
		if e.Index != int64(len(a.blocks)) || len(a.blocks) >= maxBlocks {
			return fmt.Errorf("block %d follows on %d", e.Index, len(a.blocks))
		}
		b := &block{kind: e.ContentBlock.Type, id: e.ContentBlock.ID, name: e.ContentBlock.Name, data: e.ContentBlock.Data}
		a.blocks = append(a.blocks, b)
		b.say(e.ContentBlock.Text, tell)
	case "content_block_delta":
		if e.Index < 0 || e.Index >= int64(len(a.blocks)) {
			return fmt.Errorf("there is no block %d", e.Index)
		}
		b := a.blocks[e.Index]
		switch e.Delta.Type {
		case "text_delta":
			b.say(e.Delta.Text, tell)
		case "input_json_delta":
			b.input.WriteString(e.Delta.PartialJSON)
		case "thinking_delta":
			b.thought.WriteString(e.Delta.Thinking)
		case "signature_delta":
			b.signed.WriteString(e.Delta.Signature)
		}
	case "message_delta":
		a.start.StopReason = e.Delta.StopReason
		u, now := &a.start.Usage, e.Usage // totals, of which some are left out
		u.OutputTokens = now.OutputTokens
		u.InputTokens = max(u.InputTokens, now.InputTokens)
		u.CacheCreationInputTokens = max(u.CacheCreationInputTokens, now.CacheCreationInputTokens)
		u.CacheReadInputTokens = max(u.CacheReadInputTokens, now.CacheReadInputTokens)
	case "message_stop":
		a.ended = true
	}
	return nil
}

func (b *block) say(text string, tell func(string)) {
	if b.kind != "text" || text == "" {
		return
	}
	b.text.WriteString(text)
	tell(text)
}

// message returns the whole.
func (a *answer) message() *anthropic.Message {
	a.start.Content = nil
	for _, b := range a.blocks {
		a.start.Content = append(a.start.Content, anthropic.ContentBlockUnion{
			Type: b.kind, ID: b.id, Name: b.name, Text: b.text.String(), Input: json.RawMessage(b.input.String()),
			Thinking: b.thought.String(), Signature: b.signed.String(), Data: b.data,
		})
	}
	return &a.start
}
