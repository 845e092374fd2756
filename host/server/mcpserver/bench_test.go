package mcpserver_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/host/server/mcpserver"
)

// idle is a tool that counts, and does nothing else.
const idle = "tools: {work: {calls: [{op: metrics.count, head: {name: a, delta: 1}}]}}"

// echo is the library's own server, with a tool in Go that does nothing.
func echo() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "echo", Version: "1"}, nil)
	s.AddTool(&mcp.Tool{Name: "work", InputSchema: map[string]any{"type": "object"}}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "null"}}}, nil
	})
	return s
}

func calls(b *testing.B, session *mcp.ClientSession) {
	b.Helper()
	params := &mcp.CallToolParams{Name: "work", Arguments: map[string]any{}}
	b.ReportAllocs()
	for b.Loop() {
		if result, err := session.CallTool(b.Context(), params); err != nil || result.IsError {
			b.Fatal(result, err)
		}
	}
}

// A call of a tool over pipes, as over standard input and output: the library's own, and a sandboxed one that is governed and on record.
func BenchmarkStdio(b *testing.B) {
	b.Run("library", func(b *testing.B) {
		inR, inW, err := os.Pipe()
		if err != nil {
			b.Fatal(err)
		}
		outR, outW, err := os.Pipe()
		if err != nil {
			b.Fatal(err)
		}
		var serving sync.WaitGroup
		serving.Go(func() {
			_ = echo().Run(context.WithoutCancel(b.Context()), &mcp.IOTransport{Reader: inR, Writer: outW})
		})
		session, err := mcp.NewClient(&mcp.Implementation{Name: "b", Version: "1"}, nil).Connect(b.Context(), &mcp.IOTransport{Reader: outR, Writer: inW}, nil)
		if err != nil {
			b.Fatal(err)
		}
		defer serving.Wait()
		defer session.Close()
		calls(b, session)
	})
	b.Run("hexdag", func(b *testing.B) {
		calls(b, connect(b, newSite(b, idle, allowing).open(b, mcpserver.Options{}), nil))
	})
}

func BenchmarkHTTP(b *testing.B) {
	b.Run("library", func(b *testing.B) {
		s := echo()
		server := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true}))
		defer server.Close()
		session, err := dial(b, server.URL, "")
		if err != nil {
			b.Fatal(err)
		}
		calls(b, session)
	})
	b.Run("hexdag", func(b *testing.B) {
		session, err := dial(b, serve(b, newSite(b, idle, allowing).open(b, mcpserver.Options{}), mcpserver.HTTPOptions{}), "")
		if err != nil {
			b.Fatal(err)
		}
		calls(b, session)
	})
}
