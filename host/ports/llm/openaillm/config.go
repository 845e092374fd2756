package openaillm

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
)

// Config says which endpoint to ask, and how. Nothing else is read: of the
// environment only the variable that APIKeyEnv names, and what Go's HTTP client
// reads about proxies.
type Config struct {
	BaseURL string `json:"base_url"` // up to and with the version, as https://api.openai.com/v1, the default
	Model   string `json:"model"`    // for requests that name none

	// The key comes from one of these; with neither, requests carry none.
	APIKey    Secret `json:"api_key"`
	APIKeyEnv string `json:"api_key_env"` // the name of an environment variable

	Timeout      string `json:"timeout"`     // of a call, with its retries, as "30s"; 60s if empty
	MaxRetries   int    `json:"max_retries"` // by the client itself, on 408, 409, 429, 5xx and lost connections; 0 is none
	Organization string `json:"organization"`
}

// Secret is a text that does not show itself when it is printed or encoded.
type Secret string

const hidden = "[hidden]"

// String hides the secret.
func (Secret) String() string { return hidden }

// GoString hides the secret.
func (Secret) GoString() string { return hidden }

// MarshalText hides the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// FromConfig is New for a decoded configuration. The keys are those of Config;
// any other is an error.
func FromConfig(config map[string]any) (driver.LLM, error) {
	var cfg Config
	if err := kernel.FromValue(config, &cfg); err != nil {
		return nil, configError("it takes base_url, model, api_key or api_key_env, timeout, max_retries, organization",
			"%s", kernel.Quote(err.Error()))
	}
	return New(cfg)
}

// settled is what a Config comes to.
type settled struct {
	baseURL  string
	secret   string
	keyPlace string
	timeout  time.Duration
}

const (
	defaultTimeout = time.Minute
	maxRetries     = 10
)

func (cfg Config) settle() (settled, error) {
	s := settled{baseURL: officialURL, timeout: defaultTimeout}
	if cfg.BaseURL != "" {
		u, err := url.Parse(cfg.BaseURL)
		// The URL may hold a password: it is not shown.
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return s, configError("give scheme, host and path only, as http://127.0.0.1:11434/v1", "base_url is not usable")
		}
		s.baseURL = strings.TrimSuffix(u.String(), "/") + "/"
	}
	if cfg.Timeout != "" {
		d, err := time.ParseDuration(cfg.Timeout)
		if err != nil || d <= 0 {
			return s, configError("give a number with a unit, as 30s", "timeout is %q", kernel.Quote(cfg.Timeout))
		}
		s.timeout = d
	}
	if cfg.MaxRetries < 0 || cfg.MaxRetries > maxRetries {
		return s, configError("", "max_retries is %d; it is from 0 to %d", cfg.MaxRetries, maxRetries)
	}
	return s, s.findKey(cfg)
}

func (s *settled) findKey(cfg Config) error {
	switch {
	case cfg.APIKey != "" && cfg.APIKeyEnv != "":
		return configError("give one of them", "it has both api_key and api_key_env")
	case cfg.APIKeyEnv != "":
		s.keyPlace = "the environment variable " + kernel.Quote(cfg.APIKeyEnv)
		if s.secret = os.Getenv(cfg.APIKeyEnv); s.secret == "" {
			return configError("set it to the endpoint's key", "%s is not set", s.keyPlace)
		}
	case cfg.APIKey != "":
		s.keyPlace, s.secret = "api_key", string(cfg.APIKey)
	}
	if strings.ContainsFunc(s.secret, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return configError("give the key alone", "%s holds a character that no key has", s.keyPlace)
	}
	return nil
}

func configError(fix, format string, args ...any) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: "the openai model's configuration: " + fmt.Sprintf(format, args...), Fix: fix}
}
