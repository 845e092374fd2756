package httpport

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
)

func TestBadArguments(t *testing.T) {
	reached := false
	s, _ := serve(t, func(http.ResponseWriter, *http.Request) { reached = true })
	p := local(t, Config{MaxRequestBytes: 100})
	header := func(name string, value any) map[string]any {
		return map[string]any{"headers": map[string]any{name: value}}
	}
	many := map[string]any{}
	for i := range 65 {
		many[fmt.Sprint("x-", i)] = "y"
	}
	for _, c := range []struct {
		args map[string]any
		code kernel.Code
		says string
	}{
		{map[string]any{"url": kernel.Number(1)}, kernel.CodeArguments, "url must be a text"},
		{map[string]any{"url": nil}, kernel.CodeArguments, "url must be a text"},
		{map[string]any{"method": "CONNECT"}, kernel.CodeArguments, "method must be one of"},
		{map[string]any{"method": "TRACE"}, kernel.CodeArguments, "method must be one of"},
		{map[string]any{"method": "GET / HTTP/1.1\r\nHost: evil\r\n\r\nGET"}, kernel.CodeArguments, "method must be one of"},
		{map[string]any{"method": nil}, kernel.CodeArguments, "method must be one of"},
		{map[string]any{"host": "evil"}, kernel.CodeArguments, "unknown argument host"},
		{map[string]any{"proxy": "http://evil"}, kernel.CodeArguments, "unknown argument proxy"},
		{map[string]any{"json": 1, "body": "x"}, kernel.CodeArguments, "one of json, body"},
		{map[string]any{"body": kernel.Number(1)}, kernel.CodeArguments, "body must be a text"},
		{map[string]any{"body": strings.Repeat("x", 101)}, kernel.CodeLimit, "101 bytes, max_request_bytes of the http port is 100"},
		{map[string]any{"params": "q=1"}, kernel.CodeArguments, "params must be an object"},
		{map[string]any{"params": map[string]any{"q": map[string]any{}}}, kernel.CodeArguments, "must be a scalar"},
		{map[string]any{"params": map[string]any{"q": strings.Repeat("x", 8<<10)}}, kernel.CodeArguments, "the limit is 8192"},
		{map[string]any{"timeout": kernel.Number(31)}, kernel.CodeArguments, "from 0.001 to 30"},
		{map[string]any{"timeout": "1"}, kernel.CodeArguments, "timeout must be"},
		{map[string]any{"headers": []any{}}, kernel.CodeArguments, "headers must be an object"},
		{header("X", map[string]any{}), kernel.CodeArguments, "cannot be sent"},
		{header("X", "a\r\nHost: evil"), kernel.CodeArguments, "cannot be sent"},
		{header("X", "a\nb"), kernel.CodeArguments, "cannot be sent"},
		{header("X", "a\x00b"), kernel.CodeArguments, "cannot be sent"},
		{header("X\r\nHost", "evil"), kernel.CodeArguments, "cannot be sent"},
		{header("X: y", "z"), kernel.CodeArguments, "cannot be sent"},
		{header("", "z"), kernel.CodeArguments, "cannot be sent"},
		{header("Hóst", "z"), kernel.CodeArguments, "cannot be sent"},
		{header("Host", "evil"), kernel.CodeArguments, "the host's own"},
		{header("hOST", "evil"), kernel.CodeArguments, "the host's own"},
		{header("Transfer-Encoding", "chunked"), kernel.CodeArguments, "the host's own"},
		{header("content-length", "0"), kernel.CodeArguments, "the host's own"},
		{header("Connection", "X-Secret"), kernel.CodeArguments, "the host's own"},
		{header("Upgrade", "h2c"), kernel.CodeArguments, "the host's own"},
		{header("HTTP2-Settings", "x"), kernel.CodeArguments, "the host's own"},
		{header("Proxy-Authorization", "x"), kernel.CodeArguments, "the host's own"},
		{header("Accept-Encoding", "br"), kernel.CodeArguments, "the host's own"},
		{map[string]any{"headers": map[string]any{"X-A": "1", "x-a": "2"}}, kernel.CodeArguments, "twice"},
		{map[string]any{"headers": many}, kernel.CodeLimit, "65 of"},
		{header("X", strings.Repeat("y", 16<<10)), kernel.CodeLimit, "the limits are 64 and 16384"},
	} {
		if _, set := c.args["url"]; !set {
			c.args["url"] = s.URL
		}
		_, err := do(t.Context(), p, "http.request", c.args, nil)
		wantCode(t, fmt.Sprintf("%.200v", c.args), err, c.code, c.says)
		if err != nil && strings.ContainsAny(err.Error(), "\r\n\x00") {
			t.Errorf("%q", err)
		}
	}
	_, err := do(t.Context(), p, "api_call.get", map[string]any{"url": s.URL, "method": "DELETE"}, nil)
	wantCode(t, "another method", err, kernel.CodeArguments, "the method is GET")
	if reached {
		t.Error("a refused request was made")
	}
}
