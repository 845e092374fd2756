package mcpport_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/mcpport"
	"github.com/hexdag/hexdag/host/toolpins"
)

// serverEnv has this program be a server.
const serverEnv = "HEXDAG_MCP_TEST_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(serverEnv) != "" {
		huge = 100 << 20
		if err := other("0").Run(context.Background(), &mcp.StdioTransport{}); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// huge is how much a tool says that says too much.
var huge = 10 << 20

// other is a server of somebody else.
func other(description string) *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "other", Version: "1"}, nil)
	object := map[string]any{"type": "object"}
	add := func(name string, schema any, do func(ctx context.Context, args map[string]any) (*mcp.CallToolResult, error)) {
		s.AddTool(&mcp.Tool{Name: name, Description: "Tool " + description, InputSchema: schema}, func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			var args map[string]any
			if err := json.Unmarshal(req.Params.Arguments, &args); err != nil {
				return nil, err
			}
			return do(ctx, args)
		})
	}
	said := func(text string) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil
	}
	add("echo", map[string]any{"type": "object", "properties": map[string]any{"text": map[string]any{"type": "string"}}, "required": []string{"text"}}, func(_ context.Context, args map[string]any) (*mcp.CallToolResult, error) {
		return said(fmt.Sprint(args["text"]))
	})
	add("env", object, func(context.Context, map[string]any) (*mcp.CallToolResult, error) {
		return said(strings.Join(os.Environ(), " "))
	})
	add("structured", object, func(context.Context, map[string]any) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "{}"}}, StructuredContent: map[string]any{"n": 1}}, nil
	})
	add("image", object, func(context.Context, map[string]any) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.ImageContent{Data: []byte("a"), MIMEType: "image/png"}}}, nil
	})
	add("fails", object, func(context.Context, map[string]any) (*mcp.CallToolResult, error) {
		r, err := said("no \x1b[31mdisk")
		r.IsError = true
		return r, err
	})
	add("huge", object, func(context.Context, map[string]any) (*mcp.CallToolResult, error) {
		return said(strings.Repeat("a", huge))
	})
	add("large", object, func(context.Context, map[string]any) (*mcp.CallToolResult, error) {
		return said(strings.Repeat("a", 4000))
	})
	add("never", object, func(ctx context.Context, _ map[string]any) (*mcp.CallToolResult, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	add("dies", object, func(context.Context, map[string]any) (*mcp.CallToolResult, error) {
		os.Exit(3)
		return nil, nil
	})
	return s
}

func open(t *testing.T, c *mcpport.ServerConfig, pins *toolpins.Store) *mcpport.Port {
	t.Helper()
	if pins == nil {
		pins = toolpins.New(filepath.Join(t.TempDir(), "tools.json"))
	}
	p, err := mcpport.New(mcpport.Config{Servers: map[string]*mcpport.ServerConfig{"o": c}}, mcpport.Options{Pins: pins})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func command(t *testing.T) *mcpport.ServerConfig {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &mcpport.ServerConfig{Command: []string{self}, Env: map[string]string{serverEnv: "1", "TOKEN": "x"}}
}

func do(t *testing.T, p *mcpport.Port, op string, args map[string]any) (kernel.Value, error) {
	t.Helper()
	for _, o := range p.Ops() {
		if o.Name == op {
			reply, err := o.Func(t.Context(), &kernel.PortCall{Op: op, Args: args})
			if err != nil {
				return nil, err
			}
			return reply.Value, nil
		}
	}
	t.Fatal("no operation ", op)
	return nil, nil
}

func call(t *testing.T, p *mcpport.Port, tool string, args map[string]any) (kernel.Value, error) {
	t.Helper()
	return do(t, p, "mcp.call_tool", map[string]any{"tool": "o." + tool, "arguments": args})
}

func says(t *testing.T, err error, code kernel.Code, words ...string) {
	t.Helper()
	for _, word := range words {
		if kernel.CodeOf(err) != code || !strings.Contains(err.Error(), word) {
			t.Errorf("%v has code %q, want %q, and to say %q", err, kernel.CodeOf(err), code, word)
		}
	}
}

func TestCommand(t *testing.T) {
	t.Setenv("HEXDAG_MCP_SECRET", "s3cr3t")
	c := command(t)
	c.PassEnv, c.Timeout, c.MaxResultBytes = []string{"HEXDAG_MCP_PASSED"}, 60, 3000
	t.Setenv("HEXDAG_MCP_PASSED", "p")
	p := open(t, c, nil)
	for tool, want := range map[string]string{"echo": "hi", "structured": "map[n:1]", "image": "map[content:[map[data:YQ== mimeType:image/png type:image]]]"} {
		args := map[string]any{}
		if tool == "echo" {
			args["text"] = "hi"
		}
		if v, err := call(t, p, tool, args); err != nil || fmt.Sprint(v) != want {
			t.Errorf("%s: %v, %v", tool, v, err)
		}
	}
	env, err := call(t, p, "env", nil)
	if text := fmt.Sprint(env); err != nil || strings.Contains(text, "s3cr3t") || strings.Contains(text, "PATH=") || !strings.Contains(text, "TOKEN=x") || !strings.Contains(text, "HEXDAG_MCP_PASSED=p") {
		t.Errorf("the command has the environment %s, %v", text, err)
	}
	_, err = call(t, p, "echo", map[string]any{"text": kernel.Number(1)})
	says(t, err, kernel.CodeArguments, "the arguments of tool o.echo do not fit its schema", "see mcp.list_tools")
	_, err = call(t, p, "ecoh", nil)
	says(t, err, kernel.CodeNotFound, "there is no tool o.ecoh", "echo")
	_, err = call(t, p, "fails", nil)
	says(t, err, kernel.CodeFailed, "tool o.fails failed", `no \x1b[31mdisk`)
	_, err = call(t, p, "large", nil)
	says(t, err, kernel.CodeLimit, "the result of tool o.large is too large", "max_result_bytes is 3000")
	_, err = call(t, p, "huge", nil)
	says(t, err, kernel.CodeLimit, "MCP server o said too much", "max_result_bytes is 3000")
}

func TestNeverEnds(t *testing.T) {
	c := command(t)
	c.Timeout = 0.3
	p := open(t, c, nil)
	if _, err := do(t, p, "mcp.list_tools", map[string]any{"server": "o"}); err != nil && kernel.CodeOf(err) != kernel.CodeTimeout {
		t.Fatal(err)
	}
	_, err := call(t, p, "never", nil)
	says(t, err, kernel.CodeTimeout, "timeout of MCP server o is 300ms")
}

// A server that dies is started again, not at once, and what it was doing is not done again.
func TestDies(t *testing.T) {
	p := open(t, command(t), nil)
	_, err := call(t, p, "dies", nil)
	says(t, err, kernel.CodeUnavailable, "MCP server o has broken off", "nobody knows whether it did what it was called for")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		v, err := call(t, p, "echo", map[string]any{"text": "again"})
		if err == nil && v == "again" {
			break
		}
		if err != nil && kernel.CodeOf(err) != kernel.CodeUnavailable || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	missing := open(t, &mcpport.ServerConfig{Command: []string{"no-such-program-of-hexdag"}}, nil)
	_, err = call(t, missing, "echo", nil)
	says(t, err, kernel.CodeUnavailable, "MCP server o is not there", "no-such-program-of-hexdag", "it is tried again in")
}

func web(t *testing.T, s *mcp.Server) (url string) {
	t.Helper()
	server := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, nil))
	t.Cleanup(server.Close)
	return server.URL
}

func TestURL(t *testing.T) {
	var seen atomic.Value
	inner := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return other("0") }, nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Header.Get("Authorization"))
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p := open(t, &mcpport.ServerConfig{URL: server.URL, AllowAddresses: []string{"127.0.0.0/8"}, Headers: map[string]string{"Authorization": "Bearer t"}, MaxResultBytes: 3000, Tools: []string{"echo", "huge"}}, nil)
	if v, err := call(t, p, "echo", map[string]any{"text": "hi"}); err != nil || v != "hi" || seen.Load() != "Bearer t" {
		t.Errorf("%v, %v; %v", v, err, seen.Load())
	}
	_, err := call(t, p, "env", nil)
	says(t, err, kernel.CodeDenied, "tool o.env may not be called", "tools of MCP server o does not list it")
	_, err = call(t, p, "huge", nil)
	says(t, err, kernel.CodeLimit, "MCP server o said too much")
	redirects := httptest.NewServer(http.RedirectHandler(server.URL, http.StatusTemporaryRedirect))
	t.Cleanup(redirects.Close)
	_, err = call(t, open(t, &mcpport.ServerConfig{URL: redirects.URL, AllowAddresses: []string{"127.0.0.0/8"}}, nil), "echo", nil)
	says(t, err, kernel.CodeUnavailable, "MCP server o is not there")
	private := open(t, &mcpport.ServerConfig{URL: strings.Replace(server.URL, "http://", "https://", 1)}, nil)
	_, err = call(t, private, "echo", nil)
	says(t, err, kernel.CodeUnavailable, "its address is loopback")
}

// A tool that tells something else of itself than when it was first seen cannot be called.
func TestChangedTool(t *testing.T) {
	pins := toolpins.New(filepath.Join(t.TempDir(), "tools.json"))
	allow := []string{"127.0.0.0/8"}
	first := open(t, &mcpport.ServerConfig{URL: web(t, other("0")), AllowAddresses: allow}, pins)
	if _, err := call(t, first, "echo", map[string]any{"text": "hi"}); err != nil {
		t.Fatal(err)
	}
	changed := open(t, &mcpport.ServerConfig{URL: web(t, other("that reads your mail first")), AllowAddresses: allow}, pins)
	_, err := call(t, changed, "echo", map[string]any{"text": "hi"})
	says(t, err, kernel.CodeDenied, "tool o.echo may not be called", "has changed since it was first seen", "hexdag mcp approve mcp:o.echo")
	listed, err := do(t, changed, "mcp.list_tools", map[string]any{"server": "o"})
	if err != nil || fmt.Sprint(listed) != "map[tools:[]]" {
		t.Errorf("%v, %v", listed, err)
	}
	if _, err := pins.Approve(t.Context(), "mcp:o.echo", "", "bob"); err != nil {
		t.Fatal(err)
	}
	if v, err := call(t, changed, "echo", map[string]any{"text": "hi"}); err != nil || v != "hi" {
		t.Errorf("%v, %v", v, err)
	}
}

func TestConfig(t *testing.T) {
	for says, c := range map[string]*mcpport.ServerConfig{
		"needs a command or a url":               {},
		"has an environment or a folder":         {URL: "https://example.com", Env: map[string]string{"A": "b"}},
		"has headers or addresses":               {Command: []string{"a"}, Headers: map[string]string{"A": "b"}},
		"is not reached safely":                  {URL: "http://example.com"},
		"has a limit that cannot be":             {Command: []string{"a"}, MaxResultBytes: 1 << 40},
		"allow_addresses: nowhere is no prefix":  {URL: "https://example.com", AllowAddresses: []string{"nowhere"}},
		"ftp://example.com is no address of a s": {URL: "ftp://example.com"},
	} {
		_, err := mcpport.New(mcpport.Config{Servers: map[string]*mcpport.ServerConfig{"o": c}}, mcpport.Options{})
		if kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
	if _, err := mcpport.New(mcpport.Config{Servers: map[string]*mcpport.ServerConfig{"a.b": {Command: []string{"a"}}}}, mcpport.Options{}); err == nil || !strings.Contains(err.Error(), "has a name that cannot be used") {
		t.Error(err)
	}
}

// TestStubbornCommand: a command that does not end is ended, with what it has started.
func TestStubbornCommand(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("NOT CHECKED here: /proc tells whether a process lives")
	}
	file := filepath.Join(t.TempDir(), "pid")
	c := command(t)
	c.Command = []string{"/bin/sh", "-c", `/bin/sleep 300 & echo $! >"$PIDFILE"; "$0"; wait`, c.Command[0]}
	c.Env["PIDFILE"] = file
	p := open(t, c, nil)
	if v, err := call(t, p, "echo", map[string]any{"text": "hi"}); err != nil || v != "hi" {
		t.Fatal(v, err)
	}
	pid, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	lives := func() bool {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		return err == nil && !strings.Contains(string(stat), ") Z ")
	}
	for deadline := time.Now().Add(10 * time.Second); lives(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("what the command had started goes on")
		}
	}
}
