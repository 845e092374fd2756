package llmserver

import (
	"encoding/json"
	"net/http"
	"strings"
)

// claude is Anthropic's messages, as platform.claude.com/docs describes them.
type claude struct{}

func (claude) question(r *http.Request, body map[string]any) (*Question, *refusal) {
	switch {
	case r.Header.Get("X-Api-Key") != Key:
		return nil, refuse(BadKey, "invalid x-api-key")
	case r.Header.Get("Anthropic-Version") != "2023-06-01":
		return nil, refuse(Invalid, "anthropic-version: header is required")
	}
	if no := known(body, "model messages system max_tokens temperature tools tool_choice output_config stream"); no != nil {
		return nil, no
	}
	q := &Question{Protocol: "anthropic", Model: text(body["model"]), MaxTokens: number(body["max_tokens"]), Stream: body["stream"] == true, Temperature: float(body["temperature"])}
	if q.Model == "" || q.MaxTokens < 1 {
		return nil, refuse(Invalid, "model and max_tokens: Field required")
	}
	for i, item := range list(body["system"]) {
		if text(object(item)["text"]) == "" {
			return nil, refuse(Invalid, "system.%d: text content blocks must be non-empty", i)
		}
		q.System = join(q.System, text(object(item)["text"]))
	}
	for i, item := range list(body["messages"]) {
		if no := q.claudeMessage(i, object(item)); no != nil {
			return nil, no
		}
	}
	if len(q.Messages) == 0 {
		return nil, refuse(Invalid, "messages: at least one message is required")
	}
	for i, item := range list(body["tools"]) {
		t := object(item)
		if !plain(text(t["name"])) || !parameters(object(t["input_schema"])) {
			return nil, refuse(Invalid, "tools.%d: name should match '^[a-zA-Z0-9_-]{1,64}$', input_schema.type: Input should be 'object'", i)
		}
		q.Tools = append(q.Tools, text(t["name"]))
	}
	switch c := object(body["tool_choice"]); c["type"] {
	case "any":
		q.Choice = "required"
	case "tool":
		q.Choice = text(c["name"])
	default:
		q.Choice = text(c["type"])
	}
	if format := object(object(body["output_config"])["format"]); format != nil {
		q.Schema = object(format["schema"])
		if format["type"] != "json_schema" || q.Schema == nil {
			return nil, refuse(Invalid, "output_config.format: type json_schema and schema are required")
		}
		if no := closed(q.Schema); no != nil {
			return nil, no
		}
	}
	return q, answered(q.Messages)
}

func (q *Question) claudeMessage(i int, m map[string]any) *refusal {
	role := text(m["role"])
	if role != "user" && role != "assistant" {
		return refuse(Invalid, "messages.%d.role: Input should be 'user' or 'assistant'", i)
	}
	said, thought := Message{Role: role}, ""
	for j, item := range list(m["content"]) {
		b := object(item)
		switch kind := text(b["type"]); {
		case kind == "text" && strings.TrimSpace(text(b["text"])) == "":
			return refuse(Invalid, "messages.%d.content.%d: text content blocks must contain non-whitespace text", i, j)
		case kind == "text":
			said.Text += text(b["text"])
		case kind == "thinking" && role == "assistant" && j == 0:
			thought = text(b["signature"])
		case kind == "tool_use" && role == "assistant":
			input, ok := b["input"].(map[string]any)
			if !ok || !plain(text(b["name"])) {
				return refuse(Invalid, "messages.%d.content.%d.tool_use.input: Input should be a valid dictionary", i, j)
			}
			if !plain(text(b["id"])) {
				return refuse(Invalid, "messages.%d.content.%d.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'", i, j)
			}
			if said.Calls == nil && thought != "signed:"+text(b["name"]) && !strings.HasPrefix(q.Model, "claude-3") { // the newer models always think
				return refuse(Invalid, "messages.%d.content.0.type: Expected thinking or redacted_thinking, but found tool_use", i)
			}
			said.Calls = append(said.Calls, Call{ID: text(b["id"]), Name: text(b["name"]), Arguments: encoded(input)})
		case kind == "tool_result" && role == "user":
			result := text(b["content"])
			for _, part := range list(b["content"]) {
				if strings.TrimSpace(text(object(part)["text"])) == "" {
					return refuse(Invalid, "messages.%d.content.%d.tool_result: text content blocks must be non-empty", i, j)
				}
				result += text(object(part)["text"])
			}
			q.Messages = append(q.Messages, Message{Role: "tool", Text: result, Answers: text(b["tool_use_id"])})
		default:
			return refuse(Invalid, "messages.%d.content.%d: %q is not for %s", i, j, kind, role)
		}
	}
	if len(list(m["content"])) == 0 {
		return refuse(Invalid, "messages.%d: all messages must have non-empty content", i)
	}
	if said.Text != "" || said.Calls != nil {
		q.Messages = append(q.Messages, said)
	}
	return nil
}

// closed refuses schemas that the endpoint does not hold a model to.
func closed(v any) *refusal {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if no := closed(item); no != nil {
				return no
			}
		}
	case map[string]any:
		if v["type"] == "object" && v["additionalProperties"] != false {
			return refuse(Invalid, "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false")
		}
		for _, name := range []string{"minimum", "maximum", "minLength", "maxLength", "multipleOf", "oneOf", "not"} {
			if _, there := v[name]; there && v["type"] != nil {
				return refuse(Invalid, "output_config.format.schema: property '%s' is not supported", name)
			}
		}
		for _, member := range v {
			if no := closed(member); no != nil {
				return no
			}
		}
	}
	return nil
}

func claudeReason(a *Answer) string {
	switch {
	case a.Length:
		return "max_tokens"
	case len(a.Calls) > 0:
		return "tool_use"
	}
	return "end_turn"
}

func claudeUsage(q *Question, a *Answer) map[string]any {
	in, out := tokens(q, a)
	return map[string]any{"input_tokens": in - 3, "cache_creation_input_tokens": 1, "cache_read_input_tokens": 2, "output_tokens": out, "service_tier": "standard"}
}

func claudeMessage(q *Question, a *Answer, content []any, reason any) map[string]any {
	return map[string]any{
		"id": "msg_01XFDUDYJgAACzvnptvVoYEL", "type": "message", "role": "assistant", "model": q.Model,
		"content": content, "stop_reason": reason, "stop_sequence": nil, "usage": claudeUsage(q, a),
	}
}

func (claude) whole(q *Question, a *Answer) any {
	content := []any{}
	if len(a.Calls) > 0 {
		content = append(content, map[string]any{"type": "thinking", "thinking": "let me think", "signature": "signed:" + a.Calls[0].Name})
	}
	if a.Text != "" {
		content = append(content, map[string]any{"type": "text", "text": a.Text})
	}
	for _, c := range a.Calls {
		input := json.RawMessage(c.Arguments)
		if !json.Valid(input) {
			input = json.RawMessage(encoded(c.Arguments))
		}
		content = append(content, map[string]any{"type": "tool_use", "id": c.ID, "name": c.Name, "input": input})
	}
	return claudeMessage(q, a, content, claudeReason(a))
}

func (claude) stream(q *Question, a *Answer) []string {
	event := func(kind string, data map[string]any) string {
		data["type"] = kind
		return "event: " + kind + "\ndata: " + encoded(data) + "\n\n"
	}
	start := claudeMessage(q, a, []any{}, nil)
	usage := claudeUsage(q, a)
	usage["output_tokens"] = 1
	start["usage"] = usage
	out := []string{event("message_start", map[string]any{"message": start})}
	block := 0
	add := func(begin map[string]any, kind, member string, parts []string) {
		out = append(out, event("content_block_start", map[string]any{"index": block, "content_block": begin}))
		for _, piece := range parts {
			out = append(out, event("content_block_delta", map[string]any{"index": block, "delta": map[string]any{"type": kind, member: piece}}))
		}
		out = append(out, event("content_block_stop", map[string]any{"index": block}))
		block++
	}
	if len(a.Calls) > 0 {
		add(map[string]any{"type": "thinking", "thinking": "", "signature": ""}, "thinking_delta", "thinking", pieces("let me think"))
		last := len(out) - 1
		signed := event("content_block_delta", map[string]any{"index": block - 1, "delta": map[string]any{"type": "signature_delta", "signature": "signed:" + a.Calls[0].Name}})
		out = append(out[:last], signed, out[last])
	}
	if a.Text != "" {
		add(map[string]any{"type": "text", "text": ""}, "text_delta", "text", pieces(a.Text))
		out = append(out, event("ping", map[string]any{}))
	}
	for _, c := range a.Calls {
		add(map[string]any{"type": "tool_use", "id": c.ID, "name": c.Name, "input": map[string]any{}}, "input_json_delta", "partial_json", pieces(c.Arguments))
	}
	_, tokensOut := tokens(q, a)
	out = append(out, event("message_delta", map[string]any{"delta": map[string]any{"stop_reason": claudeReason(a), "stop_sequence": nil}, "usage": map[string]any{"output_tokens": tokensOut}}))
	return append(out, event("message_stop", map[string]any{}))
}

func (claude) failure(kind Kind, message string) (int, any, string) {
	f := map[Kind]struct {
		status int
		kind   string
	}{
		Invalid: {400, "invalid_request_error"}, BadKey: {401, "authentication_error"}, NotFound: {404, "not_found_error"}, RateLimit: {429, "rate_limit_error"},
		UsedUp: {402, "billing_error"}, Overloaded: {529, "overloaded_error"}, TooLong: {400, "invalid_request_error"}, Broken: {500, "api_error"},
	}[kind]
	if kind == TooLong {
		message = "prompt is too long: " + message
	}
	body := map[string]any{"type": "error", "error": map[string]any{"type": f.kind, "message": message}, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}
	return f.status, body, "event: error\ndata: " + encoded(body) + "\n\n"
}
