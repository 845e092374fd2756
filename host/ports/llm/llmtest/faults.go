package llmtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm"
	"github.com/hexdag/hexdag/host/testserver/llmserver"
)

// faults are what can go wrong in place of an answer, and how that is told.
func (e Endpoint) faults() []fault {
	const escape = "\x1b[2J"
	list := []fault{
		{llmserver.Fault{Kind: llmserver.Invalid, Message: "bad" + escape}, kernel.CodeArguments, `refused the request: 400 bad\x1b[2J`},
		{llmserver.Fault{Kind: llmserver.BadKey, Message: "no sk-te*****ghij"}, kernel.CodeUnavailable, "the model's endpoint refused the key"},
		{llmserver.Fault{Kind: llmserver.NotFound, Message: "no such model"}, kernel.CodeNotFound, "has no such model or path: 404 no such model (check model and base_url)"},
		{llmserver.Fault{Kind: llmserver.RateLimit, Message: "slowly"}, kernel.CodeRetry, "asks for fewer requests: 429 slowly"},
		{llmserver.Fault{Kind: llmserver.Overloaded, Message: "full"}, kernel.CodeUnavailable, "is overloaded"},
		{llmserver.Fault{Kind: llmserver.TooLong, Message: "9000 tokens"}, kernel.CodeLimit, "the conversation is too long for the model"},
		{llmserver.Fault{Kind: llmserver.Broken, Message: "oh"}, kernel.CodeUnavailable, "the model's endpoint failed: 500 oh"},
		{llmserver.Fault{Kind: llmserver.Broken, Message: "bad key " + llmserver.Key + "!"}, kernel.CodeUnavailable, "bad key [hidden]!"},
		{llmserver.Fault{Kind: llmserver.Cut}, kernel.CodeUnavailable, "cannot be reached, or broke off"},
		{llmserver.Fault{Kind: llmserver.Garbage}, kernel.CodeFailed, "no usable answer"},
		{llmserver.Fault{Kind: llmserver.Huge}, kernel.CodeLimit, "the model's answer is too large: it has more than 8388608 bytes"},
		{llmserver.Fault{Kind: llmserver.Redirect}, kernel.CodeFailed, "redirects, which is not followed"},
	}
	if e.Quota {
		list = append(list, fault{llmserver.Fault{Kind: llmserver.UsedUp, Message: "pay"}, kernel.CodeUnavailable, "used up"})
	}
	return list
}

type fault struct {
	llmserver.Fault
	code kernel.Code
	says string
}

func (e Endpoint) testFaults(t *testing.T) {
	for _, f := range e.faults() {
		for _, streamed := range []bool{false, true} {
			if streamed && (f.Kind == llmserver.Garbage || f.Kind == llmserver.Huge || f.Kind == llmserver.Cut) {
				continue // see testStreamFaults
			}
			t.Run(fmt.Sprintf("%s streamed %v", f.Kind, streamed), func(t *testing.T) {
				p, s := e.asks(t, fails(f.Fault))
				tell := func(string) {}
				if !streamed {
					tell = nil
				}
				_, err := p.Stream(t.Context(), ask("hi"), tell)
				if kernel.CodeOf(err) != f.code || !strings.Contains(err.Error(), f.says) {
					t.Errorf("error %v (code %q), want code %q and %q", err, kernel.CodeOf(err), f.code, f.says)
				}
				checkNoSecret(t, err)
				if n := len(s.Requests()); n != 1 {
					t.Errorf("%d requests: the driver retries on its own", n)
				}
			})
		}
	}
}

// An answer that breaks off is none, however much of it there was.
func (e Endpoint) testStreamFaults(t *testing.T) {
	for _, f := range []fault{
		{llmserver.Fault{Kind: llmserver.Cut}, kernel.CodeUnavailable, "cannot be reached, or broke off"},
		{llmserver.Fault{Kind: llmserver.End}, kernel.CodeUnavailable, "the answer ended before its end"},
		{llmserver.Fault{Kind: llmserver.Overloaded, Message: "full"}, kernel.CodeUnavailable, "is overloaded: full"},
		{llmserver.Fault{Kind: llmserver.Broken, Message: "oh"}, kernel.CodeUnavailable, "in the midst of its answer: oh"},
		{llmserver.Fault{Kind: llmserver.Garbage}, kernel.CodeFailed, "no usable answer"},
		{llmserver.Fault{Kind: llmserver.Huge}, kernel.CodeLimit, "too large"},
		{llmserver.Fault{Kind: llmserver.Stall}, kernel.CodeTimeout, "did not answer in time: timeout is 1s"},
	} {
		t.Run(string(f.Kind), func(t *testing.T) {
			f.Pieces = 6
			s := llmserver.New(t, fails(f.Fault))
			config := map[string]any{}
			if f.Kind == llmserver.Stall {
				config["timeout"] = "1s"
			}
			pieces := 0
			run := &kernel.RunContext{}
			resp, err := llm.New(e.open(t, s, config)).Stream(kernel.WithRun(t.Context(), run), ask("hi"), func(string) { pieces++ })
			if u := run.Usage.Snapshot(); u.InputTokens == 0 || u.OutputTokens == 0 {
				t.Errorf("what came of it was not charged: %+v", u)
			}
			if kernel.CodeOf(err) != f.code || !strings.Contains(err.Error(), f.says) || resp != nil {
				t.Errorf("error %v (code %q), want code %q and %q", err, kernel.CodeOf(err), f.code, f.says)
			}
			if pieces == 0 {
				t.Error("nothing was told before it")
			}
			checkNoSecret(t, err)
		})
	}
}

func (e Endpoint) testRateLimit(t *testing.T) {
	p, _ := e.asks(t, fails(llmserver.Fault{Kind: llmserver.RateLimit, RetryAfter: "7"}))
	_, err := p.Complete(t.Context(), ask("hi"))
	var retry *kernel.Error
	if !errors.As(err, &retry) || retry.Code != kernel.CodeRetry || retry.RetryAfter != 7*time.Second {
		t.Errorf("%+v", err)
	}
}

// The client tries again only if its operator says so.
func (e Endpoint) testRetries(t *testing.T) {
	n := 0
	s := llmserver.New(t, func(*llmserver.Question) llmserver.Answer {
		if n++; n < 2 {
			return llmserver.Answer{Fault: &llmserver.Fault{Kind: llmserver.Broken, RetryAfter: "0.01"}}
		}
		return llmserver.Answer{Text: "at last"}
	})
	resp, err := llm.New(e.open(t, s, map[string]any{"max_retries": kernel.Number(2)})).Complete(t.Context(), ask("hi"))
	if err != nil || resp.Content != "at last" || n != 2 {
		t.Errorf("%+v, %v after %d requests", resp, err, n)
	}
}

func (e Endpoint) testTimeout(t *testing.T) {
	s := llmserver.New(t, fails(llmserver.Fault{Kind: llmserver.Stall}))
	_, err := llm.New(e.open(t, s, map[string]any{"timeout": "50ms"})).Complete(t.Context(), ask("hi"))
	if kernel.CodeOf(err) != kernel.CodeTimeout || !strings.Contains(err.Error(), "the model did not answer in time: timeout is 50ms") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	slow := llmserver.New(t, fails(llmserver.Fault{Kind: llmserver.Stall, Pieces: 4}))
	_, err = llm.New(e.open(t, slow, nil)).Stream(ctx, ask("hi"), func(string) { cancel() })
	checkEnd(t, err, kernel.CodeCanceled, context.Canceled)
	cancel()
	gone := llmserver.New(t, says("hi"))
	gone.Close()
	if _, err = llm.New(e.open(t, gone, nil)).Complete(t.Context(), ask("hi")); kernel.CodeOf(err) != kernel.CodeUnavailable {
		t.Errorf("%v", err)
	}
}

// Nothing of the environment goes to an endpoint, and no key into a configuration's error.
func (e Endpoint) testSecrecy(t *testing.T) {
	for _, name := range []string{
		"OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_CLOUD_PROJECT",
	} {
		t.Setenv(name, "ambient-"+name)
	}
	for _, name := range []string{"OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS"} {
		t.Setenv(name, "X-Ambient: ambient")
	}
	for _, name := range []string{"OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_VERTEX_BASE_URL"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	t.Setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
	p, s := e.asks(t, says("hi"))
	if _, err := p.Complete(t.Context(), ask("hi")); err != nil {
		t.Fatal(err)
	}
	for name, values := range s.Last(t).Header {
		if strings.Contains(strings.Join(values, " "), "ambient") {
			t.Errorf("header %s: %s came from the environment", name, values)
		}
	}
	if strings.Contains(s.Last(t).Path, llmserver.Key) {
		t.Errorf("the key is in the address %s", s.Last(t).Path)
	}
	t.Setenv("EMPTY_KEY", "")
	t.Setenv("BROKEN_KEY", llmserver.Key+"\nX-Evil: 1")
	for _, c := range []struct {
		config map[string]any
		says   string
	}{
		{map[string]any{"url": "http://x"}, "url"}, {map[string]any{"base_url": "ftp://x"}, "base_url is not usable"}, {map[string]any{"base_url": "https://me:" + llmserver.Key + "@x"}, "base_url is not usable"},
		{map[string]any{"base_url": "https://x?key=" + llmserver.Key}, "base_url is not usable"}, {map[string]any{"timeout": "30"}, "give a number with a unit"}, {map[string]any{"max_retries": kernel.Number(11)}, "it is from 0 to 10"},
		{map[string]any{"api_key": llmserver.Key, "api_key_env": "X"}, "both"}, {map[string]any{"api_key": []any{llmserver.Key}}, "api_key"}, {map[string]any{"api_key_env": "EMPTY_KEY"}, "EMPTY_KEY is not set"},
		{map[string]any{"api_key_env": "BROKEN_KEY"}, "holds a character that no key has"}, {map[string]any{"structured_output": "maybe"}, "it is native or prompt"},
	} {
		_, err := e.Open(c.config)
		if kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: error %v, want code %q and %q", c.config, err, kernel.CodeConfig, c.says)
		}
		checkNoSecret(t, err)
	}
}

func (e Endpoint) testNoModel(t *testing.T) {
	s := llmserver.New(t, says("hi"))
	_, err := llm.New(e.open(t, s, map[string]any{"model": ""})).Complete(t.Context(), ask("hi"))
	if kernel.CodeOf(err) != kernel.CodeArguments || !strings.Contains(err.Error(), "no model is named") || len(s.Requests()) != 0 {
		t.Errorf("%v after %d requests", err, len(s.Requests()))
	}
}

// checkNoSecret fails if the key, or the end that is shown of it, is in anything that err can be printed as.
func checkNoSecret(t *testing.T, err error) {
	t.Helper()
	for e := err; e != nil; e = errors.Unwrap(e) {
		text := fmt.Sprintf("%v %+v %#v", e, e, e)
		for _, secret := range []string{llmserver.Key, "ghij"} {
			if strings.Contains(text, secret) {
				t.Errorf("the error shows %q: %s", secret, text)
			}
		}
	}
}
