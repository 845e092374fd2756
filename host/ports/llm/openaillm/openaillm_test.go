package openaillm_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/hexdag/hexdag/host/ports/llm/endpoint"
	"github.com/hexdag/hexdag/host/ports/llm/openaillm"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open returns a driver for the server; config adds to its configuration.
func open(t *testing.T, s *server, config map[string]any) driver.LLM {
	t.Helper()
	all := map[string]any{"base_url": s.URL + "/v1", "model": "gpt-test", "api_key": testKey}
	for k, v := range config {
		all[k] = v
	}
	d, err := openaillm.FromConfig(all)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func ask(prompt string) *driver.Request {
	return &driver.Request{Messages: []driver.Message{{Role: driver.User, Content: prompt}}}
}

func TestRequestShape(t *testing.T) {
	s := newServer(t, func(string) string { return `{"n": 1}` })
	d := open(t, s, map[string]any{"organization": "org-7"})
	temperature := 0.25
	schema := map[string]any{"type": "object", "properties": map[string]any{"n": map[string]any{"maximum": json.Number("9.50")}}}
	_, err := d.Complete(t.Context(), &driver.Request{
		Messages: []driver.Message{
			{Role: driver.System, Content: "be brief"}, {Role: driver.User, Content: "<q> & ☂"},
			{Role: driver.Assistant, Content: "yes?"}, {Role: driver.User, Content: "go"},
		},
		Model: "other", MaxTokens: 50, Temperature: &temperature, Schema: schema,
	})
	if err != nil {
		t.Fatal(err)
	}
	head, body := s.last(t)
	want := map[string]any{
		"model": "other", "max_tokens": 50.0, "temperature": 0.25,
		"messages": []any{
			map[string]any{"role": "system", "content": "be brief"}, map[string]any{"role": "user", "content": "<q> & ☂"},
			map[string]any{"role": "assistant", "content": "yes?"}, map[string]any{"role": "user", "content": "go"},
		},
		"response_format": map[string]any{"type": "json_schema", "json_schema": map[string]any{
			"name": "answer", "schema": map[string]any{"type": "object", "properties": map[string]any{"n": map[string]any{"maximum": 9.5}}},
		}},
	}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("request body (-want +got):\n%s", diff)
	}
	if got := head.Get("Authorization"); got != "Bearer "+testKey {
		t.Errorf("Authorization %q", got)
	}
	if got := head.Get("OpenAI-Organization"); got != "org-7" {
		t.Errorf("OpenAI-Organization %q", got)
	}
}

func TestRequestLeavesOutWhatIsNotAsked(t *testing.T) {
	s := newServer(t, func(string) string { return "hi" })
	if _, err := open(t, s, nil).Complete(t.Context(), ask("hello")); err != nil {
		t.Fatal(err)
	}
	_, body := s.last(t)
	want := map[string]any{"model": "gpt-test", "messages": []any{map[string]any{"role": "user", "content": "hello"}}}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("request body (-want +got):\n%s", diff)
	}
}

func TestResponse(t *testing.T) {
	answer := func(change func(completion, choice, message map[string]any)) map[string]any {
		c := completion("gpt-test-2026", "hello", "hi there")
		choice := c["choices"].([]any)[0].(map[string]any)
		change(c, choice, choice["message"].(map[string]any))
		return c
	}
	counted := driver.Usage{InputTokens: 9, OutputTokens: 3, TotalTokens: 12}
	estimated := driver.Usage{InputTokens: 6, OutputTokens: 2, TotalTokens: 8, Estimated: true}
	tests := []struct {
		name string
		sent map[string]any
		want driver.Response
	}{
		{"as it is", answer(func(_, _, _ map[string]any) {}),
			driver.Response{Content: "hi there", FinishReason: "stop", Model: "gpt-test-2026", Usage: counted}},
		{"cut short", answer(func(_, choice, _ map[string]any) { choice["finish_reason"] = "length" }),
			driver.Response{Content: "hi there", FinishReason: "length", Model: "gpt-test-2026", Usage: counted}},
		{"no usage", answer(func(c, _, _ map[string]any) { delete(c, "usage") }),
			driver.Response{Content: "hi there", FinishReason: "stop", Model: "gpt-test-2026", Usage: estimated}},
		{"negative usage", answer(func(c, _, _ map[string]any) {
			c["usage"] = map[string]any{"prompt_tokens": -900, "completion_tokens": 3, "total_tokens": -897}
		}), driver.Response{Content: "hi there", FinishReason: "stop", Model: "gpt-test-2026", Usage: estimated}},
		{"no model", answer(func(c, _, _ map[string]any) { delete(c, "model") }),
			driver.Response{Content: "hi there", FinishReason: "stop", Model: "gpt-test", Usage: counted}},
		{"refusal", answer(func(_, _, m map[string]any) { m["content"], m["refusal"] = nil, "I cannot" }),
			driver.Response{Content: "I cannot", FinishReason: "refusal", Model: "gpt-test-2026", Usage: counted}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t, nil)
			s.override = func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, http.StatusOK, test.sent) }
			got, err := open(t, s, nil).Complete(t.Context(), ask("hello"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&test.want, got); diff != "" {
				t.Errorf("response (-want +got):\n%s", diff)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	status := func(code int, kind, message string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { sendError(w, code, "some_error", kind, message) }
	}
	raw := func(code int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(code)
			io.WriteString(w, body)
		}
	}
	tests := []struct {
		name    string
		handler http.HandlerFunc
		code    kernel.Code
		says    string
	}{
		{"401", status(401, "invalid_api_key", "Incorrect API key provided: sk-te*****ghij"), kernel.CodeUnavailable, "the environment variable TEST_LLM_KEY"},
		{"403", status(403, "", "no"), kernel.CodeUnavailable, "the environment variable TEST_LLM_KEY"},
		{"404", status(404, "model_not_found", "The model `x` does not exist"), kernel.CodeNotFound, "The model `x` does not exist"},
		{"400", status(400, "", "bad\x1b[2J"), kernel.CodeArguments, `bad\x1b[2J`},
		{"too long", status(400, "context_length_exceeded", "it has 9000 tokens"), kernel.CodeLimit, "the conversation is too long for the model: 400 it has 9000 tokens"},
		{"quota", status(429, "insufficient_quota", "You exceeded your current quota"), kernel.CodeUnavailable, "used up"},
		{"500", status(500, "", "The server had an error"), kernel.CodeUnavailable, "The server had an error"},
		{"502 of a proxy", raw(502, "text/html", "<html>Bad Gateway</html>"), kernel.CodeUnavailable, "502"},
		{"401 of a proxy", raw(401, "text/html", "<html>Who are you</html>"), kernel.CodeUnavailable, "refused the key"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/v1", http.StatusTemporaryRedirect)
		}, kernel.CodeFailed, "redirects"},
		{"no JSON", raw(200, "application/json", `{"choices": [`), kernel.CodeFailed, "no usable answer"},
		{"HTML", raw(200, "text/html", "<html>Welcome</html>"), kernel.CodeFailed, "no usable answer"},
		{"no choices", raw(200, "application/json", `{"choices": []}`), kernel.CodeFailed, "no choices"},
		{"empty", raw(200, "application/json", ""), kernel.CodeFailed, "no usable answer"},
		{"cut in the body", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `{"id": "chatcmpl`)
		}, kernel.CodeUnavailable, "broke off"},
		{"cut at once", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, kernel.CodeUnavailable, "broke off"},
		{"the key repeated", status(500, "", "bad key "+testKey+"!"), kernel.CodeUnavailable, "bad key [hidden]!"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("TEST_LLM_KEY", testKey)
			s := newServer(t, nil)
			s.override = test.handler
			_, err := open(t, s, map[string]any{"api_key": nil, "api_key_env": "TEST_LLM_KEY"}).Complete(t.Context(), ask("hello"))
			if kernel.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v (code %q), want code %q and %q", err, kernel.CodeOf(err), test.code, test.says)
			}
			checkNoSecret(t, err)
			if n := s.requests(); n != 1 {
				t.Errorf("%d requests: the driver retries on its own", n)
			}
		})
	}
}

// checkNoSecret fails if the key, or the end that OpenAI shows of it, is in
// anything that err can be printed as.
func checkNoSecret(t *testing.T, err error) {
	t.Helper()
	for e := err; e != nil; e = errors.Unwrap(e) {
		text := fmt.Sprintf("%v %+v %#v", e, e, e)
		for _, secret := range []string{testKey, "ghij"} {
			if strings.Contains(text, secret) {
				t.Errorf("the error shows %q: %s", secret, text)
			}
		}
	}
}

func TestRateLimit(t *testing.T) {
	at := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
	tests := []struct {
		header, value string
		low, high     time.Duration
	}{
		{"Retry-After", "7", 7 * time.Second, 7 * time.Second},
		{"Retry-After-Ms", "250", 250 * time.Millisecond, 250 * time.Millisecond},
		{"Retry-After", at, 80 * time.Second, 90 * time.Second},
		{"Retry-After", "soon", 0, 0},
	}
	for _, test := range tests {
		s := newServer(t, nil)
		s.override = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(test.header, test.value)
			sendError(w, http.StatusTooManyRequests, "requests", "rate_limit_exceeded", "Rate limit reached")
		}
		_, err := open(t, s, nil).Complete(t.Context(), ask("hello"))
		var retry *kernel.Error
		if !errors.As(err, &retry) || retry.Code != kernel.CodeRetry {
			t.Errorf("%s %s: error %v, want code %q", test.header, test.value, err, kernel.CodeRetry)
			continue
		}
		if d := retry.RetryAfter; d < test.low || d > test.high {
			t.Errorf("%s %s: delay %s, want %s to %s", test.header, test.value, d, test.low, test.high)
		}
	}
}

func TestSecretHidesItself(t *testing.T) {
	cfg := openaillm.Config{Config: endpoint.Config{APIKey: testKey}}
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if shown := fmt.Sprintf("%v %+v %#v %s", cfg, cfg, cfg, text); strings.Contains(shown, testKey) {
		t.Errorf("the key shows: %s", shown)
	}
}
