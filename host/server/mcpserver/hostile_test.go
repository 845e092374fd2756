package mcpserver_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/server/mcpserver"
)

// stuck is a site whose tool, pull, never ends.
func stuck(t *testing.T, limits string) site {
	t.Helper()
	s := site{t.TempDir()}
	wasm, err := os.ReadFile("../../testdata/puppet/puppet.wasm")
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "puppet.wasm", string(wasm))
	s.write(t, "hexdag.yaml", "kind: Config\nmetadata: {name: test}\nspec:\n  ports: {database: {adapter: memory}}\n  modules:\n    puppet: {path: puppet.wasm, grants: [metrics.count, database.query], config: {loop: true}, limits: {"+limits+"}}\n")
	return s
}

// A tool that never ends is stopped by its limits, and its caller told which.
func TestNeverEnds(t *testing.T) {
	session := connect(t, stuck(t, "deadline: 300ms, fuel: 1000000000000").open(t, mcpserver.Options{}), nil)
	says(t, call(t, session, "pull", nil), kernel.CodeTimeout, "300ms")
	session = connect(t, stuck(t, "deadline: 60s, fuel: 1000000").open(t, mcpserver.Options{}), nil)
	says(t, call(t, session, "pull", nil), kernel.CodeLimit, "fuel", "1000000")
}

// What is asked for, and then is not, ends: by a cancellation, or because the client is gone.
func TestCancelled(t *testing.T) {
	server := stuck(t, "deadline: 120s, fuel: 1000000000000000").open(t, mcpserver.Options{})
	session := connect(t, server, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "pull"}); err == nil {
		t.Error("it has ended")
	}
	ends(t, connect(t, server, nil), 1)

	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	left := make(chan error, 1)
	go func() { left <- server.ServeStdio(context.WithoutCancel(t.Context()), inR, outW) }()
	c := &raw{t, inW, bufio.NewReader(outR)}
	c.send(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"old","version":"1"}}}`)
	c.next("result")
	c.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	c.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"pull","arguments":{}}}`)
	time.Sleep(200 * time.Millisecond)
	_, _ = inW.Close(), outR.Close()
	select {
	case err := <-left:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the server has not seen that the client is gone")
	}
	ends(t, connect(t, server, nil), 2)
}

// ends waits until so many runs there are, and all are cancelled.
func ends(t *testing.T, session *mcp.ClientSession, runs int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		list, err := session.ListResources(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		cancelled := 0
		for _, r := range list.Resources {
			if strings.HasSuffix(r.Title, ", cancelled") {
				cancelled++
			}
		}
		if len(list.Resources) == runs && cancelled == runs {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d runs, %d cancelled", len(list.Resources), cancelled)
		}
	}
}

// What is too large for a client is not sent to it.
func TestMegabytes(t *testing.T) {
	s := newSite(t, counting, allowing)
	s.write(t, "echo.yaml", "kind: Pipeline\nmetadata: {name: echo}\nspec:\n  nodes:\n    - {kind: expression_node, metadata: {name: a}, spec: {expressions: {said: \"$input.text\"}}}\n  output: {said: a.said}\n")
	session := connect(t, s.open(t, mcpserver.Options{}, s.path("echo.yaml")), nil)
	says(t, call(t, session, "echo", map[string]any{"text": strings.Repeat("a", 2<<20)}), kernel.CodeLimit, "the result of tool echo is too large for a client", "the limit is 1048576", "store an artifact")
	if result := call(t, session, "echo", map[string]any{"text": "a"}); result.IsError {
		t.Error(text(result))
	}
}

// Of two tools of one name none stands for the other.
func TestOneName(t *testing.T) {
	s := newSite(t, counting, allowing)
	config, err := os.ReadFile(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "hexdag.yaml", strings.Replace(string(config), "  modules:\n", "  modules:\n    fox: {path: box.wasm, "+allGrants+"}\n", 1))
	if got := names(t, connect(t, s.open(t, mcpserver.Options{}), nil)); fmt.Sprint(got) != "[box.work fox.work]" {
		t.Error(got)
	}
}

// raw is a client of an older version, a line at a time.
type raw struct {
	t  *testing.T
	in *os.File
	r  *bufio.Reader
}

func (c *raw) send(text string) {
	c.t.Helper()
	if _, err := c.in.WriteString(text + "\n"); err != nil {
		c.t.Fatal(err)
	}
}

// next returns the next message that has the member.
func (c *raw) next(member string) map[string]any {
	c.t.Helper()
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			c.t.Fatalf("%v: %s", err, line)
		}
		if v[member] != nil {
			return v
		}
	}
}

// connectStdio has a client talk to a server; left is how that has ended.
func connectStdio(t *testing.T, server *mcpserver.Server) (c *raw, left <-chan error) {
	t.Helper()
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	var serving sync.WaitGroup
	serving.Go(func() { ended <- server.ServeStdio(context.WithoutCancel(t.Context()), inR, outW) })
	t.Cleanup(func() {
		_ = inW.Close()
		serving.Wait()
		_ = outR.Close()
	})
	return &raw{t, inW, bufio.NewReader(outR)}, ended
}

// connectOld has a client of 2025-06-18 talk to a server.
func connectOld(t *testing.T, server *mcpserver.Server, capabilities string) *raw {
	t.Helper()
	return connectAt(t, server, "2025-06-18", capabilities)
}

func connectAt(t *testing.T, server *mcpserver.Server, version, capabilities string) *raw {
	t.Helper()
	c, _ := connectStdio(t, server)
	c.send(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"` + version + `","capabilities":` + capabilities + `,"clientInfo":{"name":"old","version":"1"}}}`)
	if v, _ := c.next("result")["result"].(map[string]any); v["protocolVersion"] != version {
		t.Fatalf("%v", v)
	}
	c.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return c
}

// Clients of before 2026-07-28 are asked by a request of the server's.
func TestElicitedBefore(t *testing.T) {
	c := connectOld(t, newSite(t, storing, approving).open(t, mcpserver.Options{Approver: "bob"}), `{"elicitation":{}}`)
	c.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"work","arguments":{}}}`)
	asked := c.next("method")
	if asked["method"] != "elicitation/create" || !strings.Contains(fmt.Sprint(asked["params"]), "a person looks at it first") {
		t.Fatalf("%v", asked)
	}
	id, _ := json.Marshal(asked["id"])
	c.send(`{"jsonrpc":"2.0","id":` + string(id) + `,"result":{"action":"accept","content":{"approve":true}}}`)
	result, _ := c.next("result")["result"].(map[string]any)
	if result["isError"] != nil {
		t.Errorf("%v", result)
	}
}

// What a client gives back is what it was given, or nothing comes of it.
func TestTamperedState(t *testing.T) {
	s := newSite(t, storing, approving)
	session := connect(t, s.open(t, mcpserver.Options{Approver: "bob"}), &mcp.ClientOptions{
		MultiRoundTrip:     &mcp.MultiRoundTripOptions{Disabled: true},
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) { return nil, nil },
	})
	asked := call(t, session, "work", map[string]any{})
	if !asked.NeedsInput() || asked.RequestState == "" {
		t.Fatalf("%+v: %s", asked, text(asked))
	}
	yes := mcp.InputResponseMap{"approval": &mcp.ElicitResult{Action: "accept", Content: map[string]any{"approve": true}}}
	again := func(state string, answers mcp.InputResponseMap) *mcp.CallToolResult {
		t.Helper()
		result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "work", Arguments: map[string]any{}, RequestState: state, InputResponses: answers})
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	for _, state := range []string{"x", "A" + asked.RequestState[1:], asked.RequestState + "AAAA"} {
		_, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "work", Arguments: map[string]any{}, RequestState: state, InputResponses: yes})
		if err == nil || !strings.Contains(err.Error(), "the call cannot go on: its requestState is none that this server has given for this tool") {
			t.Errorf("%q: %v", state, err)
		}
	}
	if anew := again("", yes); !anew.NeedsInput() { // nobody has seen what that would be an answer to
		t.Errorf("an approval is taken that nobody was asked for: %s", text(anew))
	}
	if next := again(asked.RequestState, nil); !next.NeedsInput() {
		t.Errorf("without an answer it is not asked for again: %s", text(next))
	}
	if done := again(asked.RequestState, yes); done.IsError || done.NeedsInput() {
		t.Error(text(done))
	}
	if done := again(asked.RequestState, yes); done.IsError { // the same answer again: it went on
		t.Error(text(done))
	}
}
