package mcpserver_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/server/mcpserver"
)

// holding is a server with a tool, hold, whose calls last until release is called, and the sessions of three principals.
func holding(t *testing.T) (sessions map[string]*mcp.ClientSession, held *atomic.Int64, release func()) {
	t.Helper()
	held = new(atomic.Int64)
	open := make(chan struct{})
	hold := func(ctx context.Context, _ *kernel.NodeCall) (kernel.Value, error) {
		held.Add(1)
		select {
		case <-open:
		case <-ctx.Done():
		}
		return nil, nil
	}
	s := newSite(t, counting, allowing)
	s.write(t, "hold.yaml", "kind: Pipeline\nmetadata: {name: hold}\nspec:\n  nodes:\n    - {kind: function_node, metadata: {name: a}, spec: {fn: hold}}\n")
	tokens, err := mcpserver.ParseTokens("ann-0123456789abcdef ann\nbob-0123456789abcdef bob\neve-0123456789abcdef eve\n")
	if err != nil {
		t.Fatal(err)
	}
	url := serve(t, s.openOn(t, host.Options{Functions: map[string]host.Function{"hold": hold}}, mcpserver.Options{}, s.path("hold.yaml")), mcpserver.HTTPOptions{Tokens: tokens})
	sessions = map[string]*mcp.ClientSession{}
	for _, who := range []string{"ann", "bob", "eve"} {
		if sessions[who], err = dial(t, url, who+"-0123456789abcdef"); err != nil {
			t.Fatal(err)
		}
	}
	return sessions, held, sync.OnceFunc(func() { close(open) })
}

// Whoever calls as much as it may leaves room for others: one has half of what there is, two a third each.
func TestOneStarvesNobody(t *testing.T) {
	sessions, held, release := holding(t)
	defer release()
	var calls sync.WaitGroup
	// greedy makes so many calls at once, and returns what the refused ones were told.
	greedy := func(who string, n int) (refused []*mcp.CallToolResult) {
		t.Helper()
		before := held.Load()
		told := make(chan *mcp.CallToolResult, n)
		for range n {
			calls.Go(func() {
				result, err := sessions[who].CallTool(t.Context(), &mcp.CallToolParams{Name: "hold"})
				if err != nil {
					t.Error(err)
				}
				told <- result
			})
		}
		for deadline := time.Now().Add(60 * time.Second); int(held.Load()-before)+len(told) < n; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d calls are held and %d refused, of %d", who, held.Load()-before, len(told), n)
			}
		}
		for len(told) > 0 {
			refused = append(refused, <-told)
		}
		return refused
	}
	for _, test := range []struct {
		who  string
		held int64
	}{{"ann", 128}, {"bob", 64}, {"eve", 32}} {
		before := held.Load()
		refused := greedy(test.who, int(test.held)+8)
		if got := held.Load() - before; got != test.held || len(refused) != 8 {
			t.Errorf("%s has %d calls under way, and %d are refused", test.who, got, len(refused))
		}
		for _, r := range refused {
			says(t, r, kernel.CodeLimit, "too many calls are under way", fmt.Sprintf("%d of them are yours; of 256 in all, one principal has at most as many as are left for the others", test.held))
		}
	}
	release()
	calls.Wait()
	if result := call(t, sessions["ann"], "hold", nil); result.IsError { // what has ended counts no more
		t.Error(text(result))
	}
}

// What is kept of a principal's runs is not pushed out by another's.
func TestRunsAreKeptOfEach(t *testing.T) {
	sessions, _, release := holding(t)
	release()
	id, _ := call(t, sessions["ann"], "work", map[string]any{}).Meta["hexdag/run"].(string)
	var first string
	for i := range 520 {
		result := call(t, sessions["eve"], "hold", nil)
		if i == 0 {
			first, _ = result.Meta["hexdag/run"].(string)
		}
	}
	if state := read(t, sessions["ann"], "hexdag://runs/"+id); state["status"] != "completed" {
		t.Errorf("%v", state)
	}
	if _, err := sessions["eve"].ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "hexdag://runs/" + first}); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("what is kept of runs has no end: %v", err)
	}
}

// A client of before 2026-07-28 holds its call no longer than that.
func TestClientIsAskedAndDoesNotAnswer(t *testing.T) {
	var late atomic.Bool
	start := time.Now()
	clock := func() time.Time {
		if late.Load() {
			return start.Add(11 * time.Minute)
		}
		return start
	}
	c := connectOld(t, askingSite(t, doing(countOnce, askName)).open(t, mcpserver.Options{Now: clock}), `{"elicitation":{}}`)
	c.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"work","arguments":{}}}`)
	if asked := c.next("method"); asked["method"] != "elicitation/create" {
		t.Fatalf("%v", asked)
	}
	late.Store(true)
	result, _ := c.next("result")["result"].(map[string]any)
	if said := fmt.Sprint(result["structuredContent"]); said != "map[user:map[error:nobody has answered within 10m0s]]" {
		t.Errorf("%v", result)
	}
}

// What a client does not answer within ten minutes is no more waited for: the module goes on, and reads that.
func TestClientDoesNotAnswer(t *testing.T) {
	var now atomic.Int64
	start := time.Now()
	clock := func() time.Time { return start.Add(time.Duration(now.Load())) }
	opts := answering(accepts(map[string]any{"name": "Ann"}))
	opts.MultiRoundTrip = &mcp.MultiRoundTripOptions{Disabled: true}
	session := connect(t, askingSite(t, doing(countOnce, askName)).open(t, mcpserver.Options{Now: clock}), opts)
	asked := call(t, session, "work", map[string]any{})
	if !asked.NeedsInput() {
		t.Fatalf("%+v: %s", asked, text(asked))
	}
	uri := "hexdag://runs/" + asked.Meta["hexdag/run"].(string)
	now.Store(int64(9*time.Minute + 50*time.Second))
	time.Sleep(2500 * time.Millisecond) // it looks each second
	if state := read(t, session, uri); state["status"] != "suspended" {
		t.Fatalf("after less than ten minutes: %v", state)
	}
	now.Store(int64(10*time.Minute + 10*time.Second))
	for deadline := time.Now().Add(20 * time.Second); read(t, session, uri)["ended"] == nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it waits for ever")
		}
	}
	results := read(t, session, uri+"/results")
	if state := read(t, session, uri); state["status"] != "completed" || !strings.Contains(fmt.Sprint(results["output"]), "user:map[error:nobody has answered within 10m0s]") {
		t.Errorf("%v: %v", state, results)
	}
	// Who answers now comes too late: what came of it is told, and the answer counts for nothing.
	late, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "work", Arguments: map[string]any{}, RequestState: asked.RequestState,
		InputResponses: mcp.InputResponseMap{"user": &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": "Ann"}}}})
	if err != nil || late.IsError || late.NeedsInput() || !strings.Contains(text(late), "nobody has answered") || strings.Contains(text(late), "Ann") {
		t.Errorf("%v: %s", err, text(late))
	}
}
