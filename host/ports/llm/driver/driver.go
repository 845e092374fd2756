// Package driver is what a language model's backend implements. Who uses a model
// uses package llm.
package driver

import (
	"context"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
)

// Role says whose words a message holds.
type Role string

// The roles.
const (
	System    Role = "system"
	User      Role = "user"
	Assistant Role = "assistant"
	Tool      Role = "tool" // what a tool that the model called has to say
)

// Message is one turn of a conversation.
type Message struct {
	Role      Role
	Content   string
	ToolCalls []ToolCall // of an assistant: what it wanted called
	// CallID is the ID of the call that a tool's message answers, which an assistant made before it.
	CallID string
}

// ToolSpec is a tool that a model may call.
type ToolSpec struct {
	Name        string // any: a driver whose endpoint is choosy about names sends others
	Description string
	Parameters  map[string]any // the JSON Schema of an object; nil takes no arguments
}

// ToolMode says whether a model calls tools.
type ToolMode string

// The modes.
const (
	Auto     ToolMode = "auto"     // as the model likes; so is ""
	None     ToolMode = "none"     // it does not
	Required ToolMode = "required" // it calls at least one
)

// ToolChoice says whether a model calls tools: by its mode, or the one that is named.
type ToolChoice struct {
	Mode ToolMode
	Name string
}

// ToolCall is a tool's call that a model wants made.
type ToolCall struct {
	ID        string // of its own in the conversation
	Name      string
	Arguments string // as the model wrote them: what is to be a JSON object
	// Signature is what the model's endpoint wants back with the call, as it gave it; most have none.
	Signature string

	// Args are the arguments, and Invalid is why the call cannot be made as it is. Package
	// llm fills them in; a driver leaves them alone.
	Args    map[string]any
	Invalid string
}

// Request asks for the next turn of a conversation.
type Request struct {
	Messages    []Message
	Model       string         // "" is the backend's own choice
	MaxTokens   int            // the most to answer; 0 is the model's own limit
	Temperature *float64       // nil is the model's own
	Schema      map[string]any // a JSON Schema that the answer is to match; nil asks for text
	Tools       []ToolSpec
	ToolChoice  ToolChoice
}

// Finish reasons that all backends use. Beside them there are the backends' own words.
const (
	Stop          = "stop"
	Length        = "length"
	ToolUse       = "tool_calls"
	ContentFilter = "content_filter"
	Refusal       = "refusal"
)

// Response is a model's answer.
type Response struct {
	Content      string
	ToolCalls    []ToolCall
	FinishReason string
	Model        string // the model that answered
	Usage        Usage

	// Parsed is Content as a JSON value, if the request had a schema. Package llm
	// fills it in; a driver leaves it alone.
	Parsed kernel.Value
}

// Usage is what an answer cost, in tokens.
type Usage struct {
	InputTokens  int64
	OutputTokens int64
	TotalTokens  int64
	Estimated    bool // not counted by the model but by Estimate
}

// LLM is a language model as a backend offers it. It may also be an Embedder, a Streamer
// and Named.
//
// # Duties
//
// Concurrency: every method may be called by several goroutines at once.
//
// Retries are not the driver's: it tries once, unless its operator configured
// more, and reports what failed.
//
// Ending: when the context ends, every method returns soon and its error is, wraps,
// or is a [kernel.Error] with the code of, the context's.
//
// Usage is always there: as the model counted it, or from [Estimate].
//
// Schema: a driver hands it to a model that can be held to it. One whose model
// cannot returns [kernel.CodeUnsupported]; package llm then asks by words. It need not
// check the answer, nor the calls of tools in it; package llm does.
//
// Errors are [kernel.Error]s with CodeRetry for "later" (with
// RetryAfter, if the backend said when), CodeUnavailable for "not reachable, overloaded, or not
// with these credentials", CodeNotFound for an unknown model, CodeArguments for a request
// that the model does not take, CodeLimit for one that is too long for it, or
// too large an answer, CodeFailed for everything else. No error ever holds a
// credential, and what a backend wrote is in it only after [kernel.Quote].
//
// Secrecy: a driver writes no logs of its own.
type LLM interface {
	// Complete answers the conversation. It neither keeps nor changes the request.
	Complete(ctx context.Context, req *Request) (*Response, error)

	// Close releases connections. Calls in flight may fail; later ones may, too.
	Close() error
}

// Streamer is a model whose answer can be read as it comes.
type Streamer interface {
	// Stream is Complete, and tells of the answer's text piece by piece: together the pieces are
	// its Content. It calls tell from its own goroutine. An answer that broke off is an error.
	Stream(ctx context.Context, req *Request, tell func(piece string)) (*Response, error)
}

// Named knows which models answer where a request names none.
type Named interface {
	// DefaultModels returns the name for Complete and that for Embed; "" where there is none.
	DefaultModels() (complete, embed string)
}

// Provided knows whose model it is, and where it is.
type Provided interface {
	// Provider returns the provider's name, by OpenTelemetry's conventions where these have one, and the URL of the endpoint; "" where
	// there is none.
	Provider() (name, url string)
}

// EmbedRequest asks for texts as vectors.
type EmbedRequest struct {
	Texts      []string
	Model      string // "" is the backend's own choice
	Dimensions int    // 0 is the model's own
}

// Embeddings are the vectors of texts, in their order.
type Embeddings struct {
	Vectors [][]float32
	Model   string
	Usage   Usage // without output
}

// Embedder makes vectors of texts. Its duties are those of [LLM].
type Embedder interface {
	Embed(ctx context.Context, req *EmbedRequest) (*Embeddings, error)
}

// messageTokens is what a message costs beside its text: the marks around it.
const messageTokens = 4

// Estimate returns the usage of an exchange by a rule that needs no tokenizer: a
// text is one token for every four runes begun, and a message four more.
func Estimate(messages []Message, answer string) Usage {
	u := Usage{InputTokens: PromptTokens(messages), OutputTokens: TextTokens(answer), Estimated: true}
	u.TotalTokens = u.InputTokens + u.OutputTokens
	return u
}

// PromptTokens is what Estimate counts of messages.
func PromptTokens(messages []Message) (n int64) {
	for _, m := range messages {
		n += TextTokens(m.Content) + messageTokens
		for _, c := range m.ToolCalls {
			n += TextTokens(c.Name) + TextTokens(c.Arguments) + messageTokens
		}
	}
	return n
}

// TextTokens is what Estimate counts of a text.
func TextTokens(text string) int64 {
	return int64(utf8.RuneCountInString(text)+3) / 4
}
