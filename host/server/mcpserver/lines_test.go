package mcpserver_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/server/mcpserver"
)

// agreeing is a client that has agreed on a version.
func agreeing(t *testing.T, version string) *raw {
	t.Helper()
	return connectAt(t, newSite(t, counting, allowing).open(t, mcpserver.Options{}), version, "{}")
}

func (c *raw) line() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// answers checks that the next line is an error of a code, with these words, and that the client is served on.
func (c *raw) answers(id string, code int, words string) {
	c.t.Helper()
	line := c.line()
	if !strings.Contains(line, words) || !strings.Contains(line, fmt.Sprintf(`"code":%d`, code)) || !strings.Contains(line, `"id":`+id) {
		c.t.Errorf("%s\nwant %d, %q", line, code, words)
	}
	c.send(`{"jsonrpc":"2.0","id":"still there","method":"ping"}`)
	if line := c.line(); !strings.Contains(line, "still there") || strings.Contains(line, "error") {
		c.t.Errorf("after %q: %s", words, line)
	}
}

// A line that is no message is answered, and the next is read.
func TestBadLines(t *testing.T) {
	c := agreeing(t, "2025-06-18")
	for _, bad := range []struct {
		text, id string
		code     int
		words    string
	}{
		{"{", "null", -32700, "the line is no JSON"},
		{"hello", "null", -32700, "the line is no JSON"},
		{`{"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":2,"method":"ping"}`, "null", -32700, "the line is no JSON"},
		{`{"id":7}`, "7", -32600, "no message of JSON-RPC 2.0"},
		{`{"jsonrpc":"1.0","id":"a","method":"ping"}`, `"a"`, -32600, "no message of JSON-RPC 2.0"},
		{`{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}`, "null", -32600, "no message of JSON-RPC 2.0"},
		{`17`, "null", -32600, "no message of JSON-RPC 2.0"},
		{`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, "null", -32600, "MCP 2025-06-18 has no batches of messages (send each on a line of its own)"},
		{`[`, "null", -32700, "the line is no JSON"},
		{`{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"` + strings.Repeat("a", 5<<20) + `"}}`, "null", -32600, "the line is too long: a message has at most 4194304 bytes"},
		{strings.Repeat("[", 20<<10), "null", -32700, "the line is no JSON"},
	} {
		c.send(bad.text)
		c.answers(bad.id, bad.code, bad.words)
	}
}

// Blank lines are none, several messages in one write are several, and lines may end as Windows has them.
func TestLinesInOneWrite(t *testing.T) {
	c := agreeing(t, "2025-06-18")
	c.send("\n\r\n   \n" + `{"jsonrpc":"2.0","id":1,"method":"ping"}` + "\r\n\n" + `{"jsonrpc":"2.0","id":2,"method":"ping"}` + "\n" + ` {"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"work","arguments":{}}} `)
	var ids []string
	for range 3 {
		var v map[string]any
		if err := json.Unmarshal([]byte(c.line()), &v); err != nil || v["error"] != nil {
			t.Fatalf("%v, %v", v, err)
		}
		ids = append(ids, fmt.Sprint(v["id"]))
	}
	if all := strings.Join(ids, ""); !strings.Contains(all, "1") || !strings.Contains(all, "2") || !strings.Contains(all, "3") {
		t.Errorf("%v", ids)
	}
}

// Versions before 2025-06-18 have batches, which are answered by one.
func TestBatches(t *testing.T) {
	c := agreeing(t, "2025-03-26")
	c.send(`[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}},{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"work","arguments":{}}},{"jsonrpc":"2.0","id":1,"method":"ping"},{"nothing":1}]`)
	var answers []map[string]any
	if err := json.Unmarshal([]byte(c.line()), &answers); err != nil || len(answers) != 4 {
		t.Fatalf("%v, %v", answers, err)
	}
	failed := 0
	for _, a := range answers {
		if a["error"] != nil {
			failed++
		}
	}
	if failed != 2 {
		t.Errorf("%v", answers)
	}
	c.send("[]")
	c.answers("null", -32600, "the batch is empty")
	c.send("[" + strings.Repeat(`{"jsonrpc":"2.0","id":1,"method":"ping"},`, 100) + `{"jsonrpc":"2.0","id":2,"method":"ping"}]`)
	c.answers("null", -32600, "the batch has 101 messages, the limit is 100")
	c.send(`[1, 2]`)
	if err := json.Unmarshal([]byte(c.line()), &answers); err != nil || len(answers) != 2 {
		t.Errorf("%v, %v", answers, err)
	}
	c.send(`[{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":98}}]`) // to which there is no answer
	c.send(`{"jsonrpc":"2.0","id":9,"method":"ping"}`)
	if line := c.line(); !strings.Contains(line, `"id":9`) {
		t.Error(line)
	}
}

// A client whose messages end in the middle of a call has the call cancelled, whether or not it still reads.
func TestEndInACall(t *testing.T) {
	server := stuck(t, "deadline: 120s, fuel: 1000000000000000").open(t, mcpserver.Options{})
	watcher := connect(t, server, nil)
	c, left := connectStdio(t, server)
	c.send(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"old","version":"1"}}}`)
	c.next("result")
	c.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	c.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"pull","arguments":{}}}`)
	for list := 0; list == 0; {
		all, err := watcher.ListResources(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		list = len(all.Resources)
	}
	if _, err := c.in.WriteString(`{"jsonrpc":"2.0","id":3,"meth`); err != nil {
		t.Fatal(err)
	}
	_ = c.in.Close()
	if err := <-left; err != nil {
		t.Error(err)
	}
	ends(t, watcher, 1)
}
