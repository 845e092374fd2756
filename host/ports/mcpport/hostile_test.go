package mcpport_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/mcpport"
)

var loopback = []string{"127.0.0.0/8"}

// What a tool answers is held to the schema that it tells.
func TestOutputSchema(t *testing.T) {
	s := mcp.NewServer(&mcp.Implementation{Name: "other", Version: "1"}, nil)
	add := func(name, output, answer string, failed bool) {
		s.AddTool(&mcp.Tool{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`), OutputSchema: json.RawMessage(output)}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			r := &mcp.CallToolResult{IsError: failed, Content: []mcp.Content{&mcp.TextContent{Text: "said"}}}
			if answer != "" {
				r.StructuredContent = json.RawMessage(answer)
			}
			return r, nil
		})
	}
	const counts = `{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`
	const recursive = `{"type":"object","properties":{"next":{"$ref":"#"}}}`
	add("fits", counts, `{"n":1}`, false)
	add("other", counts, `{"n":"one\u001b[31m"}`, false)
	add("lacks", counts, `{"m":1}`, false)
	add("nothing", counts, ``, false)
	add("fails", counts, ``, true)
	add("recursive", recursive, `{"n":1}`, false)
	add("recursive_nothing", recursive, ``, false)
	p := open(t, &mcpport.ServerConfig{URL: web(t, s), AllowAddresses: loopback}, nil)
	for tool, want := range map[string]string{"fits": "map[n:1]", "recursive": "map[n:1]"} {
		if v, err := call(t, p, tool, nil); err != nil || fmt.Sprint(v) != want {
			t.Errorf("%s: %v, %v", tool, v, err)
		}
	}
	for tool, why := range map[string]string{"other": "at '/n': got string, want integer", "lacks": "missing property 'n'", "nothing": "it has no structuredContent", "recursive_nothing": "it has no structuredContent"} {
		v, err := call(t, p, tool, nil)
		says(t, err, kernel.CodeFailed, "the result of tool o."+tool+" does not fit its output schema", why, "the tool may have done what it was called for")
		if v != nil {
			t.Errorf("%s: %v", tool, v)
		}
	}
	_, err := call(t, p, "fails", nil)
	says(t, err, kernel.CodeFailed, "tool o.fails failed: said")
	listed, err := do(t, p, "mcp.list_tools", map[string]any{"server": "o"})
	if err != nil || !strings.Contains(fmt.Sprint(listed), "name:fits output_schema:map[properties:map[n:map[type:integer]]") {
		t.Errorf("%v, %v", listed, err)
	}
}

// The call whose answer is too large fails, and says so; those at the same time are answered, or say what became of them.
func TestTooMuchIsTheCallsOwn(t *testing.T) {
	for name, opts := range map[string]*mcp.StreamableHTTPOptions{"json": {JSONResponse: true}, "stream": {}} {
		t.Run(name, func(t *testing.T) {
			var under sync.WaitGroup
			goOn := make(chan struct{})
			const others = 4
			under.Add(others + 1)
			s := mcp.NewServer(&mcp.Implementation{Name: "other", Version: "1"}, nil)
			for _, tool := range []string{"waits", "huge"} {
				s.AddTool(&mcp.Tool{Name: tool, InputSchema: json.RawMessage(`{"type":"object"}`)}, func(_ context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
					text := string(req.Params.Arguments)
					if tool == "huge" {
						text = strings.Repeat("a", 200<<10)
						under.Wait()
					} else {
						under.Done()
						<-goOn
					}
					return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil
				})
			}
			inner := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, opts)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				text, err := io.ReadAll(r.Body)
				if err != nil {
					panic(err)
				}
				if strings.Contains(string(text), "breaks off") {
					under.Done()
					<-goOn
					panic(http.ErrAbortHandler)
				}
				r.Body = io.NopCloser(strings.NewReader(string(text)))
				inner.ServeHTTP(w, r)
			}))
			t.Cleanup(server.Close)
			p := open(t, &mcpport.ServerConfig{URL: server.URL, AllowAddresses: loopback, MaxResultBytes: 3000}, nil)
			if _, err := do(t, p, "mcp.list_tools", map[string]any{"server": "o"}); err != nil {
				t.Fatal(err)
			}
			var calls sync.WaitGroup
			for i := range others {
				calls.Go(func() {
					if v, err := call(t, p, "waits", map[string]any{"i": kernel.Number(int64(i))}); err != nil || v != fmt.Sprintf(`{"i":%d}`, i) {
						t.Errorf("%d: %v, %v", i, v, err)
					}
				})
			}
			calls.Go(func() {
				_, err := call(t, p, "waits", map[string]any{"i": "breaks off"})
				says(t, err, kernel.CodeUnavailable, "MCP server o has broken off", "nobody knows whether it did")
			})
			_, err := call(t, p, "huge", nil)
			says(t, err, kernel.CodeLimit, "MCP server o said too much", "max_result_bytes is 3000")
			close(goOn)
			calls.Wait()
			// The session goes on: nothing is to be waited for.
			under.Add(1)
			if v, err := call(t, p, "waits", map[string]any{}); err != nil || v != "{}" {
				t.Errorf("%v, %v", v, err)
			}
		})
	}
}

// lists is a server of which nothing is known but its list of tools.
func lists(t *testing.T, page func(n int, cursor string) (tools []map[string]any, next string)) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			ID     json.RawMessage
			Method string
			Params struct{ Cursor string }
		}
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil || m.ID == nil {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		answer := map[string]any{"jsonrpc": "2.0", "id": m.ID}
		switch m.Method {
		case "initialize":
			answer["result"] = map[string]any{"protocolVersion": "2025-06-18", "capabilities": map[string]any{"tools": map[string]any{}}, "serverInfo": map[string]any{"name": "o", "version": "1"}}
		case "tools/list":
			tools, next := page(int(asked.Add(1)), m.Params.Cursor)
			answer["result"] = map[string]any{"tools": tools, "nextCursor": next}
		default:
			answer["error"] = map[string]any{"code": -32601, "message": "no " + m.Method}
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			panic(err)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

// A list of tools that does not end is one that is not read to its end, nor at each call.
func TestListIsBounded(t *testing.T) {
	named := func(n int, name, description string) []map[string]any {
		tools := make([]map[string]any, n)
		for i := range tools {
			tools[i] = map[string]any{"name": name, "description": description, "inputSchema": map[string]any{"type": "object"}}
		}
		return tools
	}
	for name, test := range map[string]struct {
		page  func(n int, cursor string) ([]map[string]any, string)
		pages int64
		says  string
	}{
		"for ever":       {func(n int, _ string) ([]map[string]any, string) { return nil, fmt.Sprint(n) }, 100, "its list has not ended with page 100; the limits are 1000 tools, 100 pages, and 4194304 bytes"},
		"the same page":  {func(int, string) ([]map[string]any, string) { return named(1, "a", ""), "next" }, 2, "its list has not ended with page 2"},
		"tools":          {func(n int, _ string) ([]map[string]any, string) { return named(400, "a", ""), fmt.Sprint(n) }, 3, "1000 tools"}, // of one name
		"unlisted tools": {func(n int, _ string) ([]map[string]any, string) { return named(400, "unlisted", ""), fmt.Sprint(n) }, 3, "1000 tools"},
		"bytes": {func(n int, _ string) ([]map[string]any, string) {
			return named(1, "a", strings.Repeat("a", 1000<<10)), fmt.Sprint(n)
		}, 5, "4194304 bytes"},
		"bytes of a page": {func(int, string) ([]map[string]any, string) { return named(1, "a", strings.Repeat("a", 2<<20)), "" }, 1, "max_result_bytes is 1048576"},
		"bytes of cursor": {func(n int, _ string) ([]map[string]any, string) {
			return nil, strings.Repeat(fmt.Sprint(n%10), 1000<<10)
		}, 5, "4194304 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			url, asked := lists(t, test.page)
			p := open(t, &mcpport.ServerConfig{URL: url, AllowAddresses: loopback, Tools: []string{"a"}}, nil)
			for range 3 {
				_, err := call(t, p, "a", nil)
				says(t, err, kernel.CodeLimit, "MCP server o", test.says)
			}
			if asked.Load() != test.pages {
				t.Errorf("%d pages were asked for, want %d", asked.Load(), test.pages)
			}
		})
	}
	url, asked := lists(t, func(n int, cursor string) ([]map[string]any, string) {
		if n == 99 {
			return named(1, "last", ""), ""
		}
		if want := map[bool]string{true: "", false: fmt.Sprint(n - 1)}[n == 1]; cursor != want {
			t.Errorf("page %d is asked for as %q", n, cursor)
		}
		return named(1, fmt.Sprint("t", n), ""), fmt.Sprint(n)
	})
	p := open(t, &mcpport.ServerConfig{URL: url, AllowAddresses: loopback}, nil)
	listed, err := do(t, p, "mcp.list_tools", map[string]any{"server": "o"})
	if err != nil || strings.Count(fmt.Sprint(listed), "input_schema") != 99 || asked.Load() != 99 {
		t.Errorf("%v, %v", listed, err)
	}
}
