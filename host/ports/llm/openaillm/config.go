package openaillm

import (
	"encoding/json"
	"errors"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/hexdag/hexdag/host/ports/llm/endpoint"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/ssestream"
)

// Config says which endpoint to ask, and how. BaseURL goes up to and with the version.
type Config struct {
	endpoint.Config
	Organization string `json:"organization"`
}

func provider() endpoint.Provider {
	return endpoint.Provider{Name: "openai", BaseURL: "https://api.openai.com/v1/", Example: "http://127.0.0.1:11434/v1", Told: told}
}

// FromConfig is New for a decoded configuration. The keys are those of Config;
// any other is an error.
func FromConfig(config map[string]any) (driver.LLM, error) {
	var cfg Config
	if err := kernel.FromValue(config, &cfg); err != nil {
		return nil, provider().ConfigError("it takes "+endpoint.Keys+", organization", "%s", kernel.Quote(err.Error()))
	}
	return New(cfg)
}

// told reads the client's errors.
func told(err error) endpoint.Told {
	var answered *openai.Error
	if errors.As(err, &answered) {
		return endpoint.Told{Message: answered.Message, Kind: kindOf(answered.Code, answered.Type)}
	}
	var streamed *ssestream.StreamError
	if !errors.As(err, &streamed) {
		return endpoint.Told{}
	}
	var event struct {
		Error struct {
			Message, Type string
			Code          any
		}
	}
	if json.Unmarshal(streamed.Event.Data, &event) != nil || event.Error.Message == "" {
		return endpoint.Told{Message: "an error that it does not name"}
	}
	code, _ := event.Error.Code.(string)
	return endpoint.Told{Message: event.Error.Message, Kind: kindOf(code, event.Error.Type)}
}

func kindOf(code, kind string) endpoint.Kind {
	switch {
	case code == "insufficient_quota" || kind == "insufficient_quota":
		return endpoint.UsedUp
	case code == "context_length_exceeded":
		return endpoint.TooLong
	case code == "rate_limit_exceeded":
		return endpoint.Throttled
	case code == "server_is_overloaded" || kind == "service_unavailable":
		return endpoint.Overloaded
	}
	return endpoint.Plain
}
