package mcpserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/server/mcpserver"
)

// decide answers the approval that waits, as another process does.
func decide(t *testing.T, s site, approve bool) {
	t.Helper()
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	approvals, err := host.OpenApprovals(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer approvals.Close()
	list, err := approvals.List(t.Context(), host.ApprovalPending)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if _, err := approvals.Answer(t.Context(), list[0].ID, "eve", approve, "seen elsewhere"); err != nil {
		t.Fatal(err)
	}
}

// done counts what the run of a result has counted.
func done(t *testing.T, session *mcp.ClientSession, run any) int {
	t.Helper()
	events, err := session.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: fmt.Sprintf("hexdag://runs/%v/events", run)})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(events.Contents[0].Text, `"metrics.count"`)
}

// A call whose approval is given or refused elsewhere goes on while its client, of before 2026-07-28, still asks a person, and the
// client is told that nobody needs to answer any more. What it answers all the same counts for nothing.
func TestDecidedWhileAsked(t *testing.T) {
	for name, approve := range map[string]bool{"approved": true, "refused": false} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, storing, approving)
			server := s.open(t, mcpserver.Options{Approver: "bob"})
			c := connectOld(t, server, `{"elicitation":{}}`)
			c.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"work","arguments":{}}}`)
			asked := c.next("method")
			if asked["method"] != "elicitation/create" {
				t.Fatalf("%v", asked)
			}
			decide(t, s, approve)
			var result, cancelled map[string]any
			for result == nil || cancelled == nil { // in any order
				v := c.next("jsonrpc")
				switch {
				case v["method"] == "notifications/cancelled":
					cancelled, _ = v["params"].(map[string]any)
				case v["method"] == "elicitation/create":
					t.Fatalf("it is asked again: %v", v)
				case fmt.Sprint(v["id"]) == "2":
					result, _ = v["result"].(map[string]any)
				}
			}
			if cancelled["requestId"] != asked["id"] {
				t.Errorf("cancelled is %v, asked was %v", cancelled, asked["id"])
			}
			if said := fmt.Sprint(result["content"]); approve != (result["isError"] == nil) || approve == strings.Contains(said, "refused by eve: seen elsewhere") {
				t.Errorf("%v", result)
			}
			id, _ := json.Marshal(asked["id"])
			c.send(`{"jsonrpc":"2.0","id":` + string(id) + `,"result":{"action":"accept","content":{"approve":true}}}`)
			c.send(`{"jsonrpc":"2.0","id":3,"method":"ping"}`)
			if v := c.next("id"); fmt.Sprint(v["id"]) != "3" || v["error"] != nil {
				t.Errorf("%v", v)
			}
			meta, _ := result["_meta"].(map[string]any)
			if n := done(t, connect(t, server, nil), meta["hexdag/run"]); approve && n != 2 {
				t.Errorf("it was counted %d times: something was done twice, or not at all", n)
			}
		})
	}
}

// An answer that comes after another's has the call go on by that one's.
func TestAnsweredAfterAnother(t *testing.T) {
	s := newSite(t, storing, approving)
	session := connect(t, s.open(t, mcpserver.Options{Approver: "bob"}), &mcp.ClientOptions{
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			decide(t, s, true)
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"approve": false}}, nil
		},
	})
	result := call(t, session, "work", map[string]any{})
	if result.IsError {
		t.Fatal(text(result))
	}
	if n := done(t, session, result.Meta["hexdag/run"]); n != 2 {
		t.Errorf("it was counted %d times", n)
	}
}
