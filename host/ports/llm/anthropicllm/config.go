package anthropicllm

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/hexdag/hexdag/host/ports/llm/endpoint"
)

// Config says which endpoint to ask, and how. BaseURL is without the version.
type Config struct {
	endpoint.Config
	MaxTokens int `json:"max_tokens"` // of answers to requests that say nothing of it; 8192 if 0
}

// officialURL is Anthropic's own endpoint, the default.
const officialURL = "https://api.anthropic.com/"

func provider() endpoint.Provider {
	return endpoint.Provider{Name: "anthropic", BaseURL: officialURL, Example: strings.TrimSuffix(officialURL, "/"), Told: told}
}

// FromConfig is New for a decoded configuration. The keys are those of Config;
// any other is an error.
func FromConfig(config map[string]any) (driver.LLM, error) {
	var cfg Config
	if err := kernel.FromValue(config, &cfg); err != nil {
		return nil, provider().ConfigError("it takes "+endpoint.Keys+", max_tokens", "%s", kernel.Quote(err.Error()))
	}
	return New(cfg)
}

// told reads the client's errors, of answers and of streams.
func told(err error) endpoint.Told {
	var answered *anthropic.Error
	if !errors.As(err, &answered) {
		return endpoint.Told{}
	}
	var body struct {
		Error struct{ Type, Message string }
	}
	if json.Unmarshal([]byte(answered.RawJSON()), &body) != nil {
		return endpoint.Told{}
	}
	t := endpoint.Told{Message: body.Error.Message}
	switch {
	case body.Error.Type == "overloaded_error":
		t.Kind = endpoint.Overloaded
	case body.Error.Type == "rate_limit_error":
		t.Kind = endpoint.Throttled
	case body.Error.Type == "billing_error", strings.Contains(t.Message, "credit balance is too low"):
		t.Kind = endpoint.UsedUp
	case body.Error.Type == "request_too_large", strings.HasPrefix(t.Message, "prompt is too long"), strings.Contains(t.Message, "exceed context limit"):
		t.Kind = endpoint.TooLong
	case t.Message == "":
		t.Message = body.Error.Type
	}
	return t
}
