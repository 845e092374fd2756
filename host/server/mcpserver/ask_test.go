package mcpserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/server/mcpserver"
)

const (
	nameForm  = `{kind: elicit, message: "What is your\u202e name?", schema: {type: object, properties: {name: {type: string, minLength: 2}}, required: [name]}}`
	askName   = "{op: client.ask, head: {requests: {user: " + nameForm + "}}}"
	askModel  = "{op: client.ask, head: {requests: {said: {kind: complete, system: Be short., messages: [{role: user, content: hi}], max_tokens: 20, temperature: 0.5, stop: [x]}}}}"
	askRoots  = "{op: client.ask, head: {requests: {where: {kind: roots}}}}"
	askAll    = "{op: client.ask, head: {requests: {user: " + nameForm + ", said: {kind: complete, messages: [{role: user, content: hi}], max_tokens: 20}, where: {kind: roots}}}}"
	countOnce = "{op: metrics.count, head: {name: a, delta: 1}}"
)

func doing(calls ...string) string {
	return "tools: {work: {calls: [" + strings.Join(calls, ", ") + "]}}"
}

// askingSite has a module that may ask its client.
func askingSite(t *testing.T, does string) site {
	t.Helper()
	s := newSite(t, does, allowing)
	config, err := os.ReadFile(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.boxOf(t, []abi.Capability{{Op: "metrics.count"}, {Op: "client.ask"}, {Op: "client.describe"}}, work)
	s.write(t, "hexdag.yaml", strings.Replace(string(config), allGrants, "grants: [metrics.count, client.ask, client.describe]", 1))
	return s
}

// answering is a client that answers all that there is.
func answering(elicit func(*mcp.ElicitParams) *mcp.ElicitResult) *mcp.ClientOptions {
	return &mcp.ClientOptions{
		ElicitationHandler: func(_ context.Context, req *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return elicit(req.Params), nil
		},
		CreateMessageHandler: func(_ context.Context, req *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) { //nolint:staticcheck // until clients have none any more
			return &mcp.CreateMessageResult{Role: "assistant", Model: "m", StopReason: "endTurn", Content: &mcp.TextContent{Text: fmt.Sprint("you said ", req.Params.Messages[0].Content.(*mcp.TextContent).Text, ", ", req.Params.MaxTokens)}}, nil
		},
	}
}

func accepts(content map[string]any) func(*mcp.ElicitParams) *mcp.ElicitResult {
	return func(*mcp.ElicitParams) *mcp.ElicitResult {
		return &mcp.ElicitResult{Action: "accept", Content: content}
	}
}

// A tool asks the client, once, and goes on where it was with the answer, which is untrusted.
func TestToolAsks(t *testing.T) {
	var asked *mcp.ElicitParams
	for name, test := range map[string]struct {
		does   string
		answer func(*mcp.ElicitParams) *mcp.ElicitResult
		want   string
	}{
		"accepted":    {doing(countOnce, askName), accepts(map[string]any{"name": "Ann"}), `{"user":{"action":"accept","content":{"name":"Ann"}}}`},
		"declined":    {doing(countOnce, askName), func(*mcp.ElicitParams) *mcp.ElicitResult { return &mcp.ElicitResult{Action: "decline"} }, `{"user":{"action":"decline"}}`},
		"cancelled":   {doing(askName), func(*mcp.ElicitParams) *mcp.ElicitResult { return &mcp.ElicitResult{Action: "cancel"} }, `{"user":{"action":"cancel"}}`},
		"the model":   {doing(askModel), nil, `{"said":{"content":"you said hi, 20","finish_reason":"stop","model":"m"}}`},
		"the folders": {doing(askRoots), nil, `{"where":{"roots":[{"name":"here","uri":"file:///here"}]}}`},
		"all at once": {doing(countOnce, askAll), accepts(map[string]any{"name": "Ann"}), `{"said":{"content":"you said hi, 20","finish_reason":"stop","model":"m"},"user":{"action":"accept","content":{"name":"Ann"}},"where":{"roots":[{"name":"here","uri":"file:///here"}]}}`},
		"twice":       {doing(askName, countOnce, strings.Replace(askName, "What is", "And what is", 1)), accepts(map[string]any{"name": "Bob"}), `{"user":{"action":"accept","content":{"name":"Bob"}}}`},
		"what it can": {doing("{op: client.describe}"), nil, `{"complete":true,"elicit":true,"roots":true}`},
	} {
		t.Run(name, func(t *testing.T) {
			opts := answering(func(p *mcp.ElicitParams) *mcp.ElicitResult {
				asked = p
				return test.answer(p)
			})
			server := askingSite(t, test.does).open(t, mcpserver.Options{})
			session := connectRooted(t, server, opts)
			result := call(t, session, "work", map[string]any{})
			if result.IsError || text(result) != test.want {
				t.Fatalf("%s\nwant %s", text(result), test.want)
			}
			if labels := fmt.Sprint(result.Meta["hexdag/labels"]); strings.Contains(test.want, "action") && !strings.Contains(labels, "untrusted") {
				t.Errorf("labels %s", labels)
			}
			id, _ := result.Meta["hexdag/run"].(string)
			events, err := session.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "hexdag://runs/" + id + "/events"})
			if err != nil {
				t.Fatal(err)
			}
			if counted := strings.Count(events.Contents[0].Text, `"op":"metrics.count"`); counted != strings.Count(test.does, "metrics.count") {
				t.Errorf("what was done before is done %d times", counted)
			}
		})
	}
	if asked == nil || !strings.HasPrefix(asked.Message, "The tool work asks: ") || strings.Contains(asked.Message, "\u202e") {
		t.Errorf("%+v", asked)
	}
}

// connectRooted is connect with a client that works on a folder.
func connectRooted(t *testing.T, server *mcpserver.Server, opts *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	return connectWith(t, server, opts, func(c *mcp.Client) {
		c.AddRoots(&mcp.Root{URI: "file:///here", Name: "here"}) //nolint:staticcheck // until clients have none any more
	})
}

// By hand: what the client answers is held to what was asked; what does not fit is asked for again, and each answer counts once.
func TestAnswersAreHeldToWhatWasAsked(t *testing.T) {
	opts := answering(accepts(nil))
	opts.MultiRoundTrip = &mcp.MultiRoundTripOptions{Disabled: true}
	session := connect(t, askingSite(t, doing(countOnce, askName, strings.Replace(askName, "What is", "And what is", 1))).open(t, mcpserver.Options{}), opts)
	again := func(state string, answers mcp.InputResponseMap) *mcp.CallToolResult {
		t.Helper()
		result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "work", Arguments: map[string]any{}, RequestState: state, InputResponses: answers})
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	yes := func(name string) mcp.InputResponseMap {
		return mcp.InputResponseMap{"user": &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": name}}, "another": &mcp.ElicitResult{Action: "accept"}}
	}
	first := call(t, session, "work", map[string]any{})
	if !first.NeedsInput() || first.InputRequests["user"] == nil {
		t.Fatalf("%+v", first)
	}
	for _, answers := range []mcp.InputResponseMap{nil, {"other": yes("Ann")["user"]}, yes("A"), {"user": &mcp.ElicitResult{Action: "accept"}}, {"user": &mcp.ListRootsResult{}}, {"user": &mcp.ElicitResult{Action: "accept", Content: map[string]any{"name": strings.Repeat("a", 300<<10)}}}} { //nolint:staticcheck // until clients have none any more
		if asked := again(first.RequestState, answers); !asked.NeedsInput() || asked.RequestState != first.RequestState {
			t.Errorf("%v is taken: %s", answers, text(asked))
		}
	}
	second := again(first.RequestState, yes("Ann"))
	if !second.NeedsInput() || second.RequestState == first.RequestState {
		t.Fatalf("%+v: %s", second, text(second))
	}
	if stale := again(first.RequestState, yes("Eve")); !stale.NeedsInput() || stale.RequestState != second.RequestState {
		t.Errorf("an answer to what was asked before is taken for one to what is asked now: %s", text(stale))
	}
	if done := again(second.RequestState, yes("Bob")); done.IsError || text(done) != `{"user":{"action":"accept","content":{"name":"Bob"}}}` {
		t.Errorf("%s", text(done))
	}
	if done := again(second.RequestState, yes("Eve")); done.IsError || !strings.Contains(text(done), "Bob") {
		t.Errorf("%s", text(done))
	}
	_, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "work", Arguments: map[string]any{}, RequestState: second.RequestState + "A", InputResponses: yes("Eve")})
	if wire := new(jsonrpc.Error); !errors.As(err, &wire) || wire.Code != jsonrpc.CodeInvalidParams {
		t.Errorf("%v", err)
	}
}

// A client that takes no requests is told so, by the protocol's own error.
func TestNobodyToAsk(t *testing.T) {
	session := connect(t, askingSite(t, doing(askModel)).open(t, mcpserver.Options{}), nil)
	_, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "work", Arguments: map[string]any{}})
	wire := new(jsonrpc.Error)
	if !errors.As(err, &wire) || wire.Code != mcp.CodeMissingRequiredClientCapabilities || string(wire.Data) != `{"requiredCapabilities":{"sampling":{}}}` {
		t.Errorf("%v", err)
	}
}

// What a module asks for is bounded, and what is wrong with it is said to the module.
func TestWhatIsAskedIsBounded(t *testing.T) {
	many := make([]string, 9)
	for i := range many {
		many[i] = fmt.Sprintf("r%d: {kind: roots}", i)
	}
	for requests, words := range map[string]string{
		"{}":                                 "requests must have 1 to 8 members",
		"{" + strings.Join(many, ", ") + "}": "requests must have 1 to 8 members",
		"{a: {kind: secrets}}":               "its kind must be one of complete, elicit, roots",
		"{a: 1}":                             "its kind must be one of",
		"{a: {kind: roots, x: 1}}":           "it has no x; it takes kind",
		"{a: {kind: elicit, message: hi, schema: {type: string}}}":                                                "schema is that of an object with properties",
		"{a: {kind: elicit, message: '', schema: {type: object, properties: {a: {type: string}}}}}":               "message is a text of 1 to 16384 bytes",
		"{a: {kind: elicit, message: hi, schema: {type: object, properties: {a: {type: object}}}}}":               "property a of schema must be a string, number",
		"{a: {kind: elicit, message: hi, schema: {type: object, properties: {a: {type: string, pattern: '('}}}}}": "schema: ",
		"{a: {kind: complete, messages: [], max_tokens: 1}}":                                                      "messages are 1 to 64",
		"{a: {kind: complete, messages: [{role: system, content: hi}], max_tokens: 1}}":                           "a message is {role: user or assistant, content: text}",
		"{a: {kind: complete, messages: [{role: user, content: hi}], max_tokens: 0}}":                             "max_tokens is a number from 1 to 100000",
		"{a: {kind: complete, messages: [{role: user, content: hi}], max_tokens: 1, temperature: -1}}":            "temperature is a number",
		"{a: {kind: complete, messages: [{role: user, content: hi}], max_tokens: 1, stop: [1]}}":                  "stop is a list of texts",
		"{a: {kind: complete, messages: [{role: user, content: hi}], max_tokens: 1, system: 1}}":                  "system is a text",
		"{" + strings.Repeat("a", 65) + ": {kind: roots}}":                                                        "the name of a request has 1 to 64 bytes",
	} {
		session := connectRooted(t, askingSite(t, doing("{op: client.ask, head: {requests: "+requests+"}}")).open(t, mcpserver.Options{}), answering(accepts(nil)))
		says(t, call(t, session, "work", map[string]any{}), kernel.CodeFailed, words)
	}
}

// What an operator grants is by kind.
func TestAskingIsGranted(t *testing.T) {
	s := askingSite(t, doing(askName))
	s.write(t, "hexdag.yaml", "kind: Config\nmetadata: {name: test}\nspec:\n  modules:\n    box: {path: box.wasm, grants: [metrics.count, {client.ask: {kinds: roots}}, client.describe], config: {"+doing(askName)+"}}\n")
	says(t, call(t, connect(t, s.open(t, mcpserver.Options{}), answering(accepts(nil))), "work", map[string]any{}), kernel.CodeFailed, "client.ask")
}

// Clients of before 2026-07-28 are asked by requests of the server's, and what they do not answer the module reads.
func TestAskedBefore(t *testing.T) {
	for name, test := range map[string]struct{ answer, want string }{
		"answered":       {`"result":{"action":"accept","content":{"name":"Ann"}}`, `{"user":{"action":"accept","content":{"name":"Ann"}}}`},
		"does not fit":   {`"result":{"action":"accept","content":{"name":"A"}}`, "could not be asked"},
		"an error of it": {`"error":{"code":-32000,"message":"no\u001b[2J person"}`, `no\\x1b[2J person`},
	} {
		t.Run(name, func(t *testing.T) {
			c := connectOld(t, askingSite(t, doing(countOnce, askName)).open(t, mcpserver.Options{}), `{"elicitation":{}}`)
			c.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"work","arguments":{}}}`)
			asked := c.next("method")
			if asked["method"] != "elicitation/create" || !strings.Contains(fmt.Sprint(asked["params"]), "What is your") {
				t.Fatalf("%v", asked)
			}
			id, _ := json.Marshal(asked["id"])
			c.send(`{"jsonrpc":"2.0","id":` + string(id) + `,` + test.answer + `}`)
			result, _ := c.next("result")["result"].(map[string]any)
			if said, _ := json.Marshal(result); !strings.Contains(string(said), strings.ReplaceAll(test.want, `"`, `\"`)) {
				t.Errorf("%s", said)
			}
		})
	}
}
