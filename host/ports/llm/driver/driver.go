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
)

// Message is one turn of a conversation.
type Message struct {
	Role    Role
	Content string
}

// Request asks for the next turn of a conversation.
type Request struct {
	Messages    []Message
	Model       string         // "" is the backend's own choice
	MaxTokens   int            // the most to answer; 0 is the model's own limit
	Temperature *float64       // nil is the model's own
	Schema      map[string]any // a JSON Schema that the answer is to match; nil asks for text
}

// Response is a model's answer.
type Response struct {
	Content      string
	FinishReason string // "stop", "length", "content_filter", "refusal", or the backend's own word
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

// LLM is a language model as a backend offers it.
//
// # Duties
//
// Concurrency: every method may be called by several goroutines at once.
//
// Retries are not the driver's: it tries once, unless its operator configured
// more, and reports what failed.
//
// Ending: when the context ends, Complete returns soon and its error is, wraps,
// or is a [kernel.Error] with the code of, the context's.
//
// Usage is always there: as the model counted it, or from [Estimate].
//
// Schema: a driver hands it to a model that can be held to it. One whose model
// cannot returns [kernel.CodeUnsupported]. It need not check the answer; package
// llm does.
//
// Errors are [kernel.Error]s with CodeRetry for "later" (with
// RetryAfter, if the backend said when), CodeUnavailable for "not reachable, or not
// with these credentials", CodeNotFound for an unknown model, CodeLimit for
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

// messageTokens is what a message costs beside its text: the marks around it.
const messageTokens = 4

// Estimate returns the usage of an exchange by a rule that needs no tokenizer: a
// text is one token for every four runes begun, and a message four more.
func Estimate(messages []Message, answer string) Usage {
	u := Usage{OutputTokens: textTokens(answer), Estimated: true}
	for _, m := range messages {
		u.InputTokens += textTokens(m.Content) + messageTokens
	}
	u.TotalTokens = u.InputTokens + u.OutputTokens
	return u
}

func textTokens(text string) int64 {
	return int64(utf8.RuneCountInString(text)+3) / 4
}
