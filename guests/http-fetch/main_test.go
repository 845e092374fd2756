package main

import (
	"strings"
	"testing"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/hexdagtest"
)

// web is a host whose port answers so.
func web(t *testing.T, config string, reply hexdagtest.Reply) *hexdagtest.Host {
	t.Helper()
	host := hexdagtest.New(t)
	if config != "" {
		host.Config(config)
	}
	host.OnCall("http.request", func(hexdagtest.Request) hexdagtest.Reply { return reply })
	return host
}

const page = `{"tool": "fetch", "args": {"url": "https://example.com/a?b"}}`

func TestFetches(t *testing.T) {
	for body, want := range map[string]string{
		`"hello"`:              `{"content_type":"text/html","cut":false,"status":200,"text":"hello"}`,
		`""`:                   `{"content_type":"text/html","cut":false,"status":200,"text":""}`,
		`null`:                 `{"content_type":"text/html","cut":false,"status":200,"text":""}`,
		`{"b": 1.50, "a": []}`: `{"content_type":"text/html","cut":false,"status":200,"text":"{\"a\":[],\"b\":1.50}"}`,
	} {
		got := web(t, "", hexdagtest.Reply{Value: `{"status_code": 200, "headers": {"content-type": "text/html"}, "body": ` + body + `}`}).ToolCall(fetch, page)
		if got.Verdict != "continue" || got.Output != want || got.Calls[0].Args != `{"method":"GET","url":"https://example.com/a?b"}` {
			t.Errorf("%s: %+v", body, got)
		}
	}
	got := web(t, "", hexdagtest.Reply{Value: `{"status_code": 404, "headers": {}}`}).ToolCall(fetch, page)
	if got.Verdict != "continue" || got.Result("/status") != "404" || got.Result("/content_type") != "" {
		t.Errorf("%+v", got) // a status is a result
	}
	got = web(t, "", hexdagtest.Reply{Value: `{"status_code": 200, "headers": {"content-type": "image/png"}}`, Body: []byte("\x89PNG")}).ToolCall(fetch, page)
	if got.Output != `{"binary_bytes":4,"content_type":"image/png","status":200}` {
		t.Errorf("%+v", got)
	}
}

// TestCuts: never in the middle of a character.
func TestCuts(t *testing.T) {
	for most, want := range map[string]string{"100": "aé日😀", "10": "aé日😀", "9": "aé日", "6": "aé日", "5": "aé", "3": "aé", "2": "a", "1": "a"} {
		got := web(t, `{"max_bytes": `+most+`}`, hexdagtest.Reply{Value: `{"status_code": 200, "body": "aé日😀"}`}).ToolCall(fetch, page)
		if got.Result("/text") != want || (got.Result("/cut") == "true") != (want != "aé日😀") {
			t.Errorf("%s: %+v", most, got)
		}
	}
}

func TestRefuses(t *testing.T) {
	for payload, code := range map[string]string{
		`{"tool": "fetch", "args": {}}`:                              "bad_arguments",
		`{"tool": "fetch", "args": {"url": 7}}`:                      "bad_arguments",
		`{"tool": "fetch", "args": {"url": "file:///etc/passwd"}}`:   "bad_arguments",
		`{"tool": "fetch", "args": {"url": " https://example.com"}}`: "bad_arguments",
		`{"tool": "post", "args": {"url": "https://example.com"}}`:   "no_tool",
	} {
		if got := web(t, "", hexdagtest.Reply{}).ToolCall(fetch, payload); got.Verdict != "error" || got.Code() != code || len(got.Calls) != 0 {
			t.Errorf("%s: %+v", payload, got)
		}
	}
	for _, config := range []string{`{"max_bytes": 0}`, `{"timeout_s": -1}`} {
		if got := web(t, config, hexdagtest.Reply{}).ToolCall(fetch, page); got.Verdict != "error" || got.Code() != "bad_config" || len(got.Calls) != 0 {
			t.Errorf("%s: %+v", config, got)
		}
	}
}

func TestThePortSaysNo(t *testing.T) {
	got := hexdagtest.New(t).ToolCall(fetch, page)
	if got.Verdict != "error" || got.Code() != "denied" || !strings.Contains(got.Reason(), "http.request is not granted") {
		t.Errorf("%+v", got)
	}
	if got = web(t, "", hexdagtest.Reply{Status: hexdag.Retry, Code: "retry", RetryMilliseconds: 700}).ToolCall(fetch, page); got.Verdict != "retry_after" || got.RetryMilliseconds != 700 {
		t.Errorf("%+v", got)
	}
	got = web(t, `{"timeout_s": 2.5}`, hexdagtest.Reply{Status: hexdag.Timeout, Code: "timeout", Message: "too slow"}).ToolCall(fetch, page)
	if got.Verdict != "error" || got.Code() != "timeout" || got.Calls[0].At("/timeout") != "2.5" {
		t.Errorf("%+v", got)
	}
}
