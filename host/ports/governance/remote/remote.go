// Package remote asks a decision point over HTTP: JSON there, JSON back.
package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// Config is the configuration that such backends share.
type Config struct {
	URL      string `json:"url"`       // of the server: http or https
	TokenEnv string `json:"token_env"` // the environment variable that holds a bearer token; "" sends none
	Timeout  string `json:"timeout"`   // of one question, such as 500ms; 1s if it is not said
}

const (
	defaultTimeout = time.Second
	// maxAnswer is how large an answer can be, in bytes.
	maxAnswer = 1 << 20
	// maxIdle is how many connections wait to be used again.
	maxIdle = 16
)

// Client asks one server. It is the operator's to name, so its address is not checked
// as those that pipelines reach are; the environment's proxies and redirects are not
// followed.
type Client struct {
	base    string
	token   string
	timeout time.Duration
	http    *http.Client
}

// New returns a client. What is wrong with the configuration is CodeConfig.
func New(c Config) (*Client, error) {
	base, err := url.Parse(c.URL)
	if err == nil && (base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "") {
		err = errors.New("it is not http(s)://host[:port][/path]")
	}
	if err != nil {
		return nil, invalid("url "+kernel.Quote(c.URL)+": "+err.Error(), "give the server's URL, and a token by token_env")
	}
	client := &Client{base: strings.TrimSuffix(c.URL, "/"), timeout: defaultTimeout}
	if c.Timeout != "" {
		if client.timeout, err = time.ParseDuration(c.Timeout); err != nil || client.timeout <= 0 || client.timeout > time.Minute {
			return nil, invalid("timeout "+kernel.Quote(c.Timeout)+" is no time of 1m at most", "write it as 500ms")
		}
	}
	if c.TokenEnv != "" {
		if client.token = os.Getenv(c.TokenEnv); client.token == "" {
			return nil, invalid("the environment variable "+kernel.Quote(c.TokenEnv)+" is not set", "set it, or remove token_env")
		}
	}
	client.http = &http.Client{
		Transport:     &http.Transport{MaxIdleConns: maxIdle, MaxIdleConnsPerHost: maxIdle, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10, TLSHandshakeTimeout: client.timeout, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return client, nil
}

func invalid(why, fix string) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: "the decision point cannot be asked", Why: why, Fix: fix}
}

// Name is the server's URL.
func (c *Client) Name() string { return c.base }

// Post sends a question to a path below the server's URL and returns the answer. Any
// status but 200, any type but JSON and any answer of more than 1 MiB is an error.
func (c *Client) Post(ctx context.Context, path string, question kernel.Value) (kernel.Value, error) {
	text, err := kernel.EncodeJSON(question)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("the decision point did not answer in %s", c.timeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.failed(ctx, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, c.failed(ctx, err)
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the decision point answered with status %d: %s", resp.StatusCode, kernel.Quote(string(answer[:min(len(answer), 200)])))
	case len(answer) > maxAnswer:
		return nil, fmt.Errorf("the decision point's answer is larger than %d bytes", maxAnswer)
	case kind != "application/json":
		return nil, fmt.Errorf("the decision point's answer is of type %s, not application/json", kernel.Quote(kind))
	}
	v, err := kernel.DecodeJSON(answer)
	if err != nil {
		return nil, fmt.Errorf("the decision point's answer: %w", err)
	}
	return v, nil
}

func (c *Client) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return kernel.ContextError(ctx)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // the URL is the operator's
	}
	return &kernel.Error{Code: kernel.CodeUnavailable, What: "the decision point cannot be reached", Why: err.Error(), Fix: "see to it that it runs, and that url is right", Err: err}
}

// Close ends the connections that wait to be used again.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}
