// Package mockllm is a language model that answers from a script. It is the
// default backend: the same conversation always gets the same answer, without a
// network, a key or a cost.
//
// A script is either a list of responses, given in order and then the last one
// for ever, or a list of rules, of which the first that matches answers.
package mockllm

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
)

// Config is the script. Without responses, rules and a default, every answer is
// {"result": "Mock response"}, as hexDAG's.
type Config struct {
	// Responses are strings, or values that are answered as JSON. Where the request has tools, an object {tool_calls:
	// [{name, arguments}], content} is answered as calls of them; so it is in rules and Default.
	Responses []any  `json:"responses"`
	Rules     []Rule `json:"rules"`
	// Default answers what no rule matches: a string, or a value that is answered
	// as JSON. Without it, that is an error.
	Default any `json:"default"`
	// RulesFile is where the caller read the rules; errors name it.
	RulesFile string `json:"rules_file"`
	Model     string `json:"model"`    // the model's name; "mock" if empty
	DelayMS   int    `json:"delay_ms"` // how long an answer takes
}

// Rule answers the conversations that it matches.
type Rule struct {
	// Match are RE2 expressions, all of which must match somewhere in the user's
	// messages, joined by line breaks.
	Match Patterns `json:"match"`
	// Reply is a string, or a value that is answered as JSON. In its strings,
	// ${name} is what the expressions' group of that name captured.
	Reply any `json:"reply"`
	// After has the rule match only where the last message is the result of the tool of this name.
	After string `json:"after"`
	// Result are further expressions, which must all match in what tools answered since the model said something last. Their groups can be
	// named in Reply, too.
	Result Patterns `json:"result"`
}

// model is safe for concurrent use: next is its only state.
type model struct {
	name      string
	delay     time.Duration
	responses []reply
	next      atomic.Int64
	rules     []rule
	fallback  *reply
	source    string // of the rules, for errors
}

// New returns the model that follows the script, or a CodeConfig error.
func New(cfg Config) (driver.LLM, error) {
	m, err := build(cfg)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the mock model's configuration: " + err.Error()}
	}
	return m, nil
}

// FromConfig is New for a decoded configuration. The keys are those of Config;
// any other is an error.
func FromConfig(config map[string]any) (driver.LLM, error) {
	var cfg Config
	if err := kernel.FromValue(config, &cfg); err != nil {
		return nil, &kernel.Error{
			Code: kernel.CodeConfig,
			What: "the mock model's configuration: " + kernel.Quote(err.Error()),
			Fix:  "it takes responses, or rules and default; and rules_file, model, delay_ms",
		}
	}
	return New(cfg)
}

func build(cfg Config) (*model, error) {
	m := &model{name: cfg.Model, delay: time.Duration(cfg.DelayMS) * time.Millisecond, source: cfg.RulesFile}
	if m.name == "" {
		m.name = "mock"
	}
	if m.source == "" {
		m.source = "the configuration"
	}
	switch {
	case cfg.DelayMS < 0:
		return nil, fmt.Errorf("delay_ms is %d; it is at least 0", cfg.DelayMS)
	case cfg.RulesFile != "" && len(cfg.Rules) == 0:
		return nil, fmt.Errorf("rules_file %s gave no rules", kernel.Quote(cfg.RulesFile))
	case len(cfg.Responses) > 0 && (len(cfg.Rules) > 0 || cfg.Default != nil):
		return nil, fmt.Errorf("it has responses and rules or a default; give one or the other")
	case len(cfg.Responses) == 0 && len(cfg.Rules) == 0 && cfg.Default == nil:
		cfg.Responses = []any{map[string]any{"result": "Mock response"}}
	}
	return m, m.script(cfg)
}

func (m *model) script(cfg Config) error {
	for i, r := range cfg.Responses {
		said, err := encode(r)
		if err != nil {
			return fmt.Errorf("responses[%d]: %w", i, err)
		}
		m.responses = append(m.responses, said)
	}
	for i, r := range cfg.Rules {
		compiled, err := compile(r)
		if err != nil {
			return fmt.Errorf("rules[%d]: %w", i, err)
		}
		m.rules = append(m.rules, compiled)
	}
	if cfg.Default != nil {
		said, err := encode(cfg.Default)
		if err != nil {
			return fmt.Errorf("default: %w", err)
		}
		m.fallback = &said
	}
	return nil
}

// reply is an answer made ready.
type reply struct {
	text    string
	content string            // with calls
	calls   []driver.ToolCall // where it has any, and the request tools
}

// encode returns an answer: a string as it is, anything else as JSON.
func encode(answer any) (reply, error) {
	if text, ok := answer.(string); ok {
		return reply{text: text}, nil
	}
	text, err := kernel.EncodeJSON(answer)
	if err != nil {
		return reply{}, err
	}
	r := reply{text: string(text)}
	fields, _ := answer.(map[string]any)
	list, _ := fields["tool_calls"].([]any)
	for i, item := range list {
		c, _ := item.(map[string]any)
		name, ok := c["name"].(string)
		if !ok {
			return r, fmt.Errorf("tool_calls[%d] must be {name, arguments}", i)
		}
		args, err := argumentsOf(c["arguments"])
		if err != nil {
			return r, fmt.Errorf("tool_calls[%d]: %w", i, err)
		}
		r.calls = append(r.calls, driver.ToolCall{Name: name, Arguments: args})
	}
	r.content, _ = fields["content"].(string)
	return r, nil
}

// argumentsOf returns the text of a call's arguments: a string as it is, so that a script can have
// a model write what is no JSON.
func argumentsOf(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "{}", nil
	case string:
		return v, nil
	}
	text, err := kernel.EncodeJSON(v)
	return string(text), err
}

// Complete answers by the script. The usage is [driver.Estimate]'s; max_tokens,
// temperature and schema change nothing.
func (m *model) Complete(ctx context.Context, req *driver.Request) (*driver.Response, error) {
	if err := wait(ctx, m.delay); err != nil {
		return nil, err
	}
	answer, err := m.answer(req.Messages)
	if err != nil {
		return nil, err
	}
	r := &driver.Response{Content: answer.text, FinishReason: driver.Stop, Model: m.name}
	if req.Model != "" {
		r.Model = req.Model
	}
	if len(req.Tools) > 0 && len(answer.calls) > 0 {
		r.Content, r.FinishReason, r.ToolCalls = answer.content, driver.ToolUse, slices.Clone(answer.calls)
		for i := range r.ToolCalls {
			r.ToolCalls[i].ID = fmt.Sprintf("call_%d_%d", len(req.Messages), i)
		}
	}
	r.Usage = driver.Estimate(req.Messages, answer.text)
	return r, nil
}

// Stream implements driver.Streamer: word by word.
func (m *model) Stream(ctx context.Context, req *driver.Request, tell func(string)) (*driver.Response, error) {
	r, err := m.Complete(ctx, req)
	if err != nil {
		return nil, err
	}
	for piece := range strings.SplitAfterSeq(r.Content, " ") {
		if piece != "" {
			tell(piece)
		}
	}
	return r, nil
}

// Provider implements driver.Provided.
func (m *model) Provider() (name, url string) { return "mock", "" }

// DefaultModels implements driver.Named.
func (m *model) DefaultModels() (complete, embed string) { return m.name, m.name }

// Close does nothing.
func (m *model) Close() error { return nil }

func (m *model) answer(messages []driver.Message) (reply, error) {
	if n := int64(len(m.responses)); n > 0 {
		return m.responses[min(m.next.Add(1), n)-1], nil
	}
	text, results := userText(messages), toolText(messages)
	for _, r := range m.rules {
		if groups, ok := r.match(text, results); ok && (r.after == "" || r.after == answered(messages)) {
			return encode(expand(r.reply, groups))
		}
	}
	if m.fallback != nil {
		return *m.fallback, nil
	}
	return reply{}, &kernel.Error{
		Code: kernel.CodeFailed,
		What: fmt.Sprintf("the mock model has no answer to %q", kernel.Quote(text)),
		Why:  fmt.Sprintf("none of the %d rules of %s matches", len(m.rules), kernel.Quote(m.source)),
		Fix:  "add a rule, or a default",
	}
}

// answered returns the tool whose result the last message is; "" where it is something else.
func answered(messages []driver.Message) string {
	if len(messages) == 0 || messages[len(messages)-1].Role != driver.Tool {
		return ""
	}
	id := messages[len(messages)-1].CallID
	for _, m := range slices.Backward(messages) {
		for _, c := range m.ToolCalls {
			if c.ID == id {
				return c.Name
			}
		}
	}
	return ""
}

func userText(messages []driver.Message) string {
	var texts []string
	for _, m := range messages {
		if m.Role == driver.User {
			texts = append(texts, m.Content)
		}
	}
	return strings.Join(texts, "\n")
}

// toolText is what tools answered since the model said something last.
func toolText(messages []driver.Message) string {
	var texts []string
	for _, m := range slices.Backward(messages) {
		if m.Role != driver.Tool {
			break
		}
		texts = append(texts, m.Content)
	}
	slices.Reverse(texts)
	return strings.Join(texts, "\n")
}

func wait(ctx context.Context, delay time.Duration) error {
	if delay == 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
