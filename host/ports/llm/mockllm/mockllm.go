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
	"strings"
	"sync/atomic"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
)

// Config is the script. Without responses, rules and a default, every answer is
// {"result": "Mock response"}, as hexDAG's.
type Config struct {
	// Responses are strings, or values that are answered as JSON.
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
}

// model is safe for concurrent use: next is its only state.
type model struct {
	name      string
	delay     time.Duration
	responses []string
	next      atomic.Int64
	rules     []rule
	fallback  *string
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
		text, err := encode(r)
		if err != nil {
			return fmt.Errorf("responses[%d]: %w", i, err)
		}
		m.responses = append(m.responses, text)
	}
	for i, r := range cfg.Rules {
		compiled, err := compile(r)
		if err != nil {
			return fmt.Errorf("rules[%d]: %w", i, err)
		}
		m.rules = append(m.rules, compiled)
	}
	if cfg.Default != nil {
		text, err := encode(cfg.Default)
		if err != nil {
			return fmt.Errorf("default: %w", err)
		}
		m.fallback = &text
	}
	return nil
}

// encode returns an answer's text: a string as it is, anything else as JSON.
func encode(answer any) (string, error) {
	if text, ok := answer.(string); ok {
		return text, nil
	}
	text, err := kernel.EncodeJSON(answer)
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
	name := m.name
	if req.Model != "" {
		name = req.Model
	}
	return &driver.Response{
		Content:      answer,
		FinishReason: "stop",
		Model:        name,
		Usage:        driver.Estimate(req.Messages, answer),
	}, nil
}

// Close does nothing.
func (m *model) Close() error { return nil }

func (m *model) answer(messages []driver.Message) (string, error) {
	if n := int64(len(m.responses)); n > 0 {
		return m.responses[min(m.next.Add(1), n)-1], nil
	}
	text := userText(messages)
	for _, r := range m.rules {
		if groups, ok := r.match(text); ok {
			return encode(expand(r.reply, groups))
		}
	}
	if m.fallback != nil {
		return *m.fallback, nil
	}
	return "", &kernel.Error{
		Code: kernel.CodeFailed,
		What: fmt.Sprintf("the mock model has no answer to %q", kernel.Quote(text)),
		Why:  fmt.Sprintf("none of the %d rules of %s matches", len(m.rules), kernel.Quote(m.source)),
		Fix:  "add a rule, or a default",
	}
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
