package mcpserver

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/clientport"
)

// maxAnswer is how many bytes what a client answers may have.
const maxAnswer = 256 << 10

// clientOf is what the client of a call can be asked for.
func clientOf(req *mcp.CallToolRequest) *host.Client {
	if told, ok := req.Params.Meta[mcp.MetaKeyClientCapabilities].(map[string]any); ok && req.ProtocolVersion() >= sinceRounds {
		return kernel.NewClient(kindsTold(told)...)
	}
	return kernel.NewClient(kindsOf(req.ClientCapabilities())...)
}

// kindsOf are the kinds of input that a client with these capabilities takes.
func kindsOf(caps *mcp.ClientCapabilities) (kinds []string) {
	if caps == nil {
		return nil
	}
	if e := caps.Elicitation; e != nil && (e.Form != nil || e.URL == nil) {
		kinds = append(kinds, clientport.Elicit)
	}
	if caps.Sampling != nil { //nolint:staticcheck // until clients have none any more
		kinds = append(kinds, clientport.Complete)
	}
	if caps.RootsV2 != nil { //nolint:staticcheck // until clients have none any more
		kinds = append(kinds, clientport.Roots)
	}
	return kinds
}

// kindsTold are those of capabilities that came with a request, once the library has checked that they are some: it reads them by writing them
// down again, with 32 KiB for that each time.
func kindsTold(caps map[string]any) (kinds []string) {
	has := func(of map[string]any, name string) bool { return of[name] != nil }
	if e, ok := caps["elicitation"].(map[string]any); ok && (has(e, "form") || !has(e, "url")) {
		kinds = append(kinds, clientport.Elicit)
	}
	if has(caps, "sampling") {
		kinds = append(kinds, clientport.Complete)
	}
	if has(caps, "roots") {
		kinds = append(kinds, clientport.Roots)
	}
	return kinds
}

// lacking is the error of a call whose run failed after it had asked for what its client does not take; nil for any other, and
// for clients of versions that do not know it.
func lacking(req *mcp.CallToolRequest, r *run, result *host.Result) error {
	r.mu.Lock()
	kinds := r.client.Lacked()
	r.mu.Unlock()
	if len(kinds) == 0 || result.Status == engine.Completed || req.ProtocolVersion() < sinceRounds {
		return nil
	}
	required := map[string]any{}
	for _, kind := range kinds {
		required[map[string]string{clientport.Elicit: "elicitation", clientport.Complete: "sampling", clientport.Roots: "roots"}[kind]] = map[string]any{}
	}
	data, err := json.Marshal(map[string]any{"requiredCapabilities": required})
	if err != nil {
		return err
	}
	return &jsonrpc.Error{Code: mcp.CodeMissingRequiredClientCapabilities, Message: "the tool asks the client for " + strings.Join(kinds, ", ") + ", which it does not declare", Data: data}
}

// inputOf returns the wait of a run for what its client is asked; nil, where it waits for something else.
func inputOf(result *host.Result) *engine.Wait {
	for i, w := range result.Waits {
		if strings.HasPrefix(w.EventKey, kernel.InputKey) {
			return &result.Waits[i]
		}
	}
	return nil
}

// asked are the requests of a wait, by their names, as its module made them.
func asked(w *engine.Wait) map[string]map[string]any {
	all, _ := w.Asks.(map[string]any)
	requests := make(map[string]map[string]any, len(all))
	for name, r := range all {
		requests[name], _ = r.(map[string]any)
	}
	return requests
}

// requestsOf are the requests as MCP has them. who asks is said to the person who answers.
func requestsOf(w *engine.Wait, who string) mcp.InputRequestMap {
	requests := mcp.InputRequestMap{}
	for name, r := range asked(w) {
		requests[name] = requestOf(r, who)
	}
	return requests
}

func requestOf(r map[string]any, who string) mcp.InputRequest {
	switch r["kind"] {
	case clientport.Elicit:
		return &mcp.ElicitParams{Mode: "form", Message: who + " asks: " + readable(text(r["message"])), RequestedSchema: r["schema"]}
	case clientport.Complete:
		p := &mcp.CreateMessageParams{SystemPrompt: text(r["system"])} //nolint:staticcheck // until clients have none any more
		messages, _ := r["messages"].([]any)
		for _, m := range messages {
			fields, _ := m.(map[string]any)
			p.Messages = append(p.Messages, &mcp.SamplingMessage{Role: mcp.Role(text(fields["role"])), Content: &mcp.TextContent{Text: text(fields["content"])}}) //nolint:staticcheck // likewise
		}
		tokens, _ := r["max_tokens"].(json.Number)
		p.MaxTokens, _ = tokens.Int64() // the port has checked it
		if t, given := r["temperature"].(json.Number); given {
			p.Temperature, _ = t.Float64()
		}
		stops, _ := r["stop"].([]any)
		for _, s := range stops {
			p.StopSequences = append(p.StopSequences, text(s))
		}
		return p
	}
	return &mcp.ListRootsParams{} //nolint:staticcheck // likewise
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// readable is a module's text without what would have a person see something else than what it says.
func readable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(text, string(unicode.ReplacementChar)))
}

// answers are what the client has answered, as the module reads it; not all, where an answer is missing, is none to what was
// asked, or does not fit the schema that was asked for.
func answers(w *engine.Wait, responses mcp.InputResponseMap) (map[string]any, bool) {
	all := map[string]any{}
	for name, r := range asked(w) {
		v, ok := answerOf(r, responses[name])
		if !ok {
			return nil, false
		}
		all[name] = v
	}
	return all, kernel.SizeOf(all) <= maxAnswer
}

func answerOf(r map[string]any, response mcp.InputResponse) (map[string]any, bool) {
	switch a := response.(type) {
	case *mcp.ElicitResult:
		if r["kind"] != clientport.Elicit || a == nil {
			return nil, false
		}
		v, err := kernel.ToValue(a.Content)
		content, _ := v.(map[string]any)
		switch {
		case err != nil || a.Action == "":
			return nil, false
		case a.Action != "accept":
			return map[string]any{"action": a.Action}, true
		case clientport.Fits(r, content) != nil:
			return nil, false
		}
		return map[string]any{"action": a.Action, "content": content}, true
	case *mcp.CreateMessageWithToolsResult: //nolint:staticcheck // until clients have none any more
		if r["kind"] != clientport.Complete || a == nil {
			return nil, false
		}
		var said strings.Builder
		for _, c := range a.Content {
			if block, isText := c.(*mcp.TextContent); isText {
				said.WriteString(block.Text)
			}
		}
		return map[string]any{"content": said.String(), "model": a.Model, "finish_reason": finish(a.StopReason)}, true
	case *mcp.ListRootsResult: //nolint:staticcheck // likewise
		if r["kind"] != clientport.Roots || a == nil {
			return nil, false
		}
		roots := []any{}
		for _, root := range a.Roots {
			roots = append(roots, map[string]any{"uri": root.URI, "name": root.Name})
		}
		return map[string]any{"roots": roots}, true
	}
	return nil, false
}

// finish is why a model has stopped, in the words of the llm port.
func finish(reason string) string {
	if known := map[string]string{"endTurn": "stop", "stopSequence": "stop", "maxTokens": "length", "toolUse": "tool_calls"}[reason]; known != "" {
		return known
	}
	return reason
}

// ask asks the client of a session for all that a run waits for, at the same time.
func (o *served) ask(ctx context.Context, session *mcp.ServerSession, w *engine.Wait, who string) map[string]any {
	type answered struct {
		name string
		v    map[string]any
	}
	requests := asked(w)
	came := make(chan answered, len(requests))
	for name, r := range requests {
		o.calls.Go(func() {
			response, err := send(ctx, session, requestOf(r, who))
			v, ok := answerOf(r, response)
			switch {
			case err != nil && errors.Is(context.Cause(ctx), errUnanswered):
				v = unansweredIn(w)
			case err != nil:
				v = map[string]any{"error": "the client could not be asked: " + kernel.Quote(err.Error())}
			case !ok || kernel.SizeOf(v) > maxAnswer:
				v = map[string]any{"error": "the client's answer does not fit what was asked"}
			}
			came <- answered{name, v}
		})
	}
	all := make(map[string]any, len(requests))
	for range requests {
		a := <-came
		all[a.name] = a.v
	}
	return all
}

func send(ctx context.Context, session *mcp.ServerSession, request mcp.InputRequest) (mcp.InputResponse, error) {
	switch r := request.(type) {
	case *mcp.ElicitParams:
		return session.Elicit(ctx, r)
	case *mcp.CreateMessageParams: //nolint:staticcheck // until clients have none any more
		messages := make([]*mcp.SamplingMessageV2, len(r.Messages)) //nolint:staticcheck // likewise
		for i, m := range r.Messages {
			messages[i] = &mcp.SamplingMessageV2{Role: m.Role, Content: []mcp.Content{m.Content}} //nolint:staticcheck // likewise
		}
		return session.CreateMessageWithTools(ctx, &mcp.CreateMessageWithToolsParams{Messages: messages, MaxTokens: r.MaxTokens, SystemPrompt: r.SystemPrompt, Temperature: r.Temperature, StopSequences: r.StopSequences}) //nolint:staticcheck // likewise
	}
	return session.ListRoots(ctx, nil) //nolint:staticcheck // likewise
}

// unanswered are the answers that a module reads whose client has not answered in time.
func unanswered(w *engine.Wait) map[string]any {
	all := map[string]any{}
	for name := range asked(w) {
		all[name] = unansweredIn(w)
	}
	return all
}

// errUnanswered ends the asking of a client that has not answered in time.
var errUnanswered = errors.New("the client has not answered in time")

func unansweredIn(w *engine.Wait) map[string]any {
	return map[string]any{"error": "nobody has answered within " + w.Timeout.Round(time.Second).String()}
}
