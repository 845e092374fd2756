package mcpserver_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/server/mcpserver"
)

// serve serves HTTP at an address of this machine, until the end of the test.
func serve(t testing.TB, server *mcpserver.Server, opts mcpserver.HTTPOptions) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- server.ServeHTTP(ctx, l, opts) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String() + "/mcp"
}

// bearer shows a token with every request.
type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if b.token != "" {
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.next.RoundTrip(r)
}

func dial(t testing.TB, url, token string) (*mcp.ClientSession, error) {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: &http.Client{Transport: bearer{token, transport}}}, nil)
	if err == nil {
		t.Cleanup(func() { _ = session.Close() })
	}
	return session, err
}

func TestHTTP(t *testing.T) {
	s := newSite(t, counting, allowing)
	url := serve(t, s.open(t, mcpserver.Options{}), mcpserver.HTTPOptions{})
	session, err := dial(t, url, "")
	if err != nil {
		t.Fatal(err)
	}
	if result := call(t, session, "work", map[string]any{"n": 1}); result.IsError {
		t.Error(text(result))
	}
	says(t, call(t, session, "work", map[string]any{"n": "a"}), kernel.CodeArguments, "do not fit its schema")
}

// A web page of elsewhere does not reach a server of this machine, whatever address its name was made to lead to.
func TestForeignPages(t *testing.T) {
	s := newSite(t, counting, allowing)
	url := serve(t, s.open(t, mcpserver.Options{}), mcpserver.HTTPOptions{Origins: []string{"https://console.example"}})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for name, test := range map[string]struct {
		host, origin string
		status       int
		says         string
	}{
		"another host":     {"evil.example", "", http.StatusForbidden, "the request is for the host evil.example"},
		"another origin":   {"", "http://evil.example", http.StatusForbidden, "the request is of the web page http://evil.example"},
		"no origin":        {"", "null", http.StatusForbidden, "the request is of the web page null"},
		"looks local":      {"", "http://localhost.evil.example", http.StatusForbidden, "evil.example"},
		"local":            {"", "http://localhost:3000", http.StatusOK, ""},
		"one that may":     {"", "https://console.example", http.StatusOK, ""},
		"no page":          {"", "", http.StatusOK, ""},
		"by its name":      {"localhost", "", http.StatusOK, ""},
		"by an IPv6 local": {"[::1]:80", "", http.StatusOK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Accept", "application/json, text/event-stream")
			if test.host != "" {
				req.Host = test.host
			}
			if test.origin != "" {
				req.Header.Set("Origin", test.origin)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body := make([]byte, 4096)
			n, _ := resp.Body.Read(body)
			if resp.StatusCode != test.status || !strings.Contains(string(body[:n]), test.says) {
				t.Errorf("%s: %s", resp.Status, body[:n])
			}
		})
	}
}

// Who calls is who the token says, and sees what that one may call, and their own runs.
func TestTokens(t *testing.T) {
	s := newSite(t, counting, `{adapter: abac, config: {rules: [{id: all, effect: allow, actions: ["**"]}, {id: no, effect: deny, actions: [box.work], condition: "subject.id == 'eve'"}]}}`)
	tokens, err := mcpserver.ParseTokens("# who calls\nann-0123456789abcdef ann\nbob-0123456789abcdef bob\n\neve-0123456789abcdef eve\n")
	if err != nil {
		t.Fatal(err)
	}
	url := serve(t, s.open(t, mcpserver.Options{}), mcpserver.HTTPOptions{Tokens: tokens})
	for _, token := range []string{"", "ann", "ann-0123456789abcdee"} {
		if _, err := dial(t, url, token); err == nil {
			t.Errorf("token %q is taken", token)
		}
	}
	sessions := map[string]*mcp.ClientSession{}
	for _, who := range []string{"ann", "bob", "eve"} {
		if sessions[who], err = dial(t, url, who+"-0123456789abcdef"); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(t, sessions["eve"]); got != nil {
		t.Errorf("eve is offered %q", got)
	}
	result := call(t, sessions["ann"], "work", map[string]any{})
	id, _ := result.Meta["hexdag/run"].(string)
	if state := read(t, sessions["ann"], "hexdag://runs/"+id); state["principal"] != "ann" {
		t.Errorf("%v", state)
	}
	if _, err := sessions["bob"].ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "hexdag://runs/" + id}); err == nil {
		t.Error("bob reads ann's run")
	}
	for _, text := range []string{"", "short ann\n", "ann-0123456789abcdef\n", "ann-0123456789abcdef ann\nann-0123456789abcdef bob\n"} {
		if _, err := mcpserver.ParseTokens(text); kernel.CodeOf(err) != kernel.CodeConfig {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What other machines can reach needs tokens.
func TestOpenToTheWorld(t *testing.T) {
	s := newSite(t, counting, allowing)
	server := s.open(t, mcpserver.Options{})
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err = server.ServeHTTP(ctx, l, mcpserver.HTTPOptions{})
	if kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), "nothing says who they are") || !strings.Contains(err.Error(), "--tokens") {
		t.Error(err)
	}
}
