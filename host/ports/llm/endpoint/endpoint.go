// Package endpoint is what the adapters of models behind HTTP have in common: where the
// endpoint is, its key, how long and how much may come from it, and what its failures are
// called.
package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// Config says which endpoint to ask, and how. Nothing else is read: of the
// environment only the variable that APIKeyEnv names, and what Go's HTTP client
// reads about proxies.
type Config struct {
	BaseURL        string `json:"base_url"`
	Model          string `json:"model"`           // for requests that name none
	EmbeddingModel string `json:"embedding_model"` // for embeddings that name none

	// The key comes from one of these; with neither, requests carry none.
	APIKey    Secret `json:"api_key"`
	APIKeyEnv string `json:"api_key_env"` // the name of an environment variable

	Timeout    string `json:"timeout"`     // of a call, with its retries, as "30s"; 60s if empty
	MaxRetries int    `json:"max_retries"` // by the client itself, on what may pass; 0 is none

	// StructuredOutput is native, or "", where the endpoint holds a model to a schema, and
	// prompt where it cannot: the schema is then a part of the conversation.
	StructuredOutput string `json:"structured_output"`
}

// Keys are the members of a Config, for messages.
const Keys = "base_url, model, embedding_model, api_key or api_key_env, timeout, max_retries, structured_output"

// Secret is a text that does not show itself when it is printed or encoded.
type Secret string

const hidden = "[hidden]"

// String hides the secret.
func (Secret) String() string { return hidden }

// GoString hides the secret.
func (Secret) GoString() string { return hidden }

// MarshalText hides the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Provider is whose protocol an endpoint speaks.
type Provider struct {
	Name    string // as the adapter's
	Title   string // by OpenTelemetry's conventions; Name, if it is ""
	BaseURL string // of its own endpoint
	Example string // of another
	NeedKey bool
	// Quiet hides from the client that an answer broke off, which it would log; Call knows of it.
	Quiet bool
	// Told reads what the endpoint said from an error of the client.
	Told func(err error) Told
}

// Endpoint is one that can be asked. It may be used by several goroutines; nothing in it
// changes.
type Endpoint struct {
	BaseURL        string // ends with a slash
	Model          string
	EmbeddingModel string
	Key            Secret
	Client         *http.Client
	MaxRetries     int
	Timeout        time.Duration
	Native         bool // structured output

	provider  Provider
	transport *http.Transport
	keyPlace  string // where the operator put the key, for errors
}

const (
	defaultTimeout = time.Minute
	maxRetries     = 10
	maxIdle        = 64 // connections that are kept for the next call
)

// New returns the endpoint that cfg names, or a CodeConfig error. It connects to
// nothing yet.
func New(cfg Config, p Provider) (*Endpoint, error) {
	e := &Endpoint{BaseURL: p.BaseURL, Model: cfg.Model, EmbeddingModel: cfg.EmbeddingModel, Timeout: defaultTimeout, MaxRetries: cfg.MaxRetries, provider: p}
	if cfg.BaseURL != "" {
		u, err := url.Parse(cfg.BaseURL)
		// The URL may hold a password: it is not shown.
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return nil, p.ConfigError("give scheme, host and path only, as "+p.Example, "base_url is not usable")
		}
		e.BaseURL = strings.TrimSuffix(u.String(), "/") + "/"
	}
	if cfg.Timeout != "" {
		d, err := time.ParseDuration(cfg.Timeout)
		if err != nil || d <= 0 {
			return nil, p.ConfigError("give a number with a unit, as 30s", "timeout is %q", kernel.Quote(cfg.Timeout))
		}
		e.Timeout = d
	}
	if cfg.MaxRetries < 0 || cfg.MaxRetries > maxRetries {
		return nil, p.ConfigError("", "max_retries is %d; it is from 0 to %d", cfg.MaxRetries, maxRetries)
	}
	switch cfg.StructuredOutput {
	case "", "native":
		e.Native = true
	case "prompt":
	default:
		return nil, p.ConfigError("", "structured_output is %q; it is native or prompt", kernel.Quote(cfg.StructuredOutput))
	}
	if err := e.findKey(cfg); err != nil {
		return nil, err
	}
	e.transport = http.DefaultTransport.(*http.Transport).Clone()
	e.transport.MaxIdleConnsPerHost = maxIdle // all go to one host
	e.transport.MaxResponseHeaderBytes = maxHeaderBytes
	e.Client = &http.Client{
		Transport: &cappedTransport{next: e.transport},
		// A redirect would carry the conversation to where nobody configured it to go.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return e, nil
}

// Official reports whether it is the provider's own.
func (e *Endpoint) Official() bool { return e.BaseURL == e.provider.BaseURL }

// Close drops the idle connections.
func (e *Endpoint) Close() error {
	e.transport.CloseIdleConnections()
	return nil
}

// Provider implements driver.Provided.
func (e *Endpoint) Provider() (name, url string) {
	if e.provider.Title != "" {
		return e.provider.Title, e.BaseURL
	}
	return e.provider.Name, e.BaseURL
}

// DefaultModels implements driver.Named.
func (e *Endpoint) DefaultModels() (complete, embed string) { return e.Model, e.EmbeddingModel }

func (e *Endpoint) findKey(cfg Config) error {
	p := e.provider
	switch {
	case cfg.APIKey != "" && cfg.APIKeyEnv != "":
		return p.ConfigError("give one of them", "it has both api_key and api_key_env")
	case cfg.APIKeyEnv != "":
		e.keyPlace = "the environment variable " + kernel.Quote(cfg.APIKeyEnv)
		if e.Key = Secret(os.Getenv(cfg.APIKeyEnv)); e.Key == "" {
			return p.ConfigError("set it to the endpoint's key", "%s is not set", e.keyPlace)
		}
	case cfg.APIKey != "":
		e.keyPlace, e.Key = "api_key", cfg.APIKey
	case p.NeedKey:
		return p.ConfigError("name the variable that holds the key in api_key_env", "it has neither api_key_env nor api_key")
	}
	if strings.ContainsFunc(string(e.Key), func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return p.ConfigError("give the key alone", "%s holds a character that no key has", e.keyPlace)
	}
	return nil
}

// ConfigError is an error of the adapter's configuration.
func (p Provider) ConfigError(fix, format string, args ...any) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: "the " + p.Name + " model's configuration: " + fmt.Sprintf(format, args...), Fix: fix}
}

// Call has the client make a call, within the timeout, and gives its error a code.
func (e *Endpoint) Call(ctx context.Context, do func(ctx context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	x := exchange{quiet: e.provider.Quiet}
	err := do(context.WithValue(limited, exchangeKey{}, &x))
	var known *kernel.Error
	if x.failed != nil {
		err = x.failed
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return e.timedOut()
	case errors.As(err, &known):
		return known
	}
	return e.callError(&x, err)
}

// ModelFor returns the model that a request is for.
func (e *Endpoint) ModelFor(asked, configured, member string) (string, error) {
	switch {
	case asked != "":
		return asked, nil
	case configured != "":
		return configured, nil
	}
	return "", &kernel.Error{Code: kernel.CodeArguments, What: "no model is named", Fix: "name one in the call, or as " + member + " in the model's configuration"}
}

// Unsupported is the error of a schema that the endpoint cannot be given.
func Unsupported(why string) error {
	return &kernel.Error{Code: kernel.CodeUnsupported, What: "the model cannot be held to the schema", Why: why}
}
