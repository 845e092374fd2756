package googlellm

import (
	"errors"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/hexdag/hexdag/host/ports/llm/endpoint"
	"google.golang.org/genai"
)

// Config says which endpoint to ask, and how. BaseURL is without the version.
type Config struct {
	endpoint.Config
}

// officialURL is the Gemini API's own endpoint, the default.
const officialURL = "https://generativelanguage.googleapis.com/"

func provider() endpoint.Provider {
	return endpoint.Provider{Name: "google", Title: "gcp.gemini", BaseURL: officialURL, Example: strings.TrimSuffix(officialURL, "/"), NeedKey: true, Quiet: true, Told: told}
}

// FromConfig is New for a decoded configuration. The keys are those of Config;
// any other is an error.
func FromConfig(config map[string]any) (driver.LLM, error) {
	var cfg Config
	if err := kernel.FromValue(config, &cfg); err != nil {
		return nil, provider().ConfigError("it takes "+endpoint.Keys, "%s", kernel.Quote(err.Error()))
	}
	return New(cfg)
}

// told reads the client's errors.
func told(err error) endpoint.Told {
	var answered genai.APIError
	if !errors.As(err, &answered) {
		return endpoint.Told{}
	}
	t := endpoint.Told{Message: answered.Message}
	if t.Message == "" {
		t.Message = answered.Status
	}
	for _, d := range answered.Details {
		switch {
		case d["reason"] == "API_KEY_INVALID":
			t.Kind = endpoint.BadKey
		case d["@type"] == "type.googleapis.com/google.rpc.RetryInfo":
			text, _ := d["retryDelay"].(string)
			if wait, err := time.ParseDuration(text); err == nil && wait > 0 {
				t.RetryAfter = wait
			}
		}
	}
	switch {
	case t.Kind != endpoint.Plain:
	case answered.Status == "RESOURCE_EXHAUSTED":
		t.Kind = endpoint.Throttled
	case answered.Status == "UNAVAILABLE":
		t.Kind = endpoint.Overloaded
	case strings.Contains(t.Message, "exceeds the maximum number of tokens"):
		t.Kind = endpoint.TooLong
	}
	return t
}
