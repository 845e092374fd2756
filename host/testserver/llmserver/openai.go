package llmserver

import (
	"net/http"
	"strings"
)

// openAI is OpenAI's chat completions, as developers.openai.com/api/reference describes them.
type openAI struct{}

func (openAI) question(r *http.Request, body map[string]any) (*Question, *refusal) {
	if no := openAIKey(r); no != nil {
		return nil, no
	}
	if no := known(body, "model messages tools tool_choice response_format max_tokens max_completion_tokens temperature stream stream_options"); no != nil {
		return nil, no
	}
	q := &Question{
		Protocol: "openai", Model: text(body["model"]), Stream: body["stream"] == true, Temperature: float(body["temperature"]),
		MaxTokens: max(number(body["max_tokens"]), number(body["max_completion_tokens"])), Schema: object(object(object(body["response_format"])["json_schema"])["schema"]),
	}
	if q.Model == "" {
		return nil, refuse(Invalid, "you must provide a model parameter")
	}
	for i, item := range list(body["messages"]) {
		m := object(item)
		content := text(m["content"])
		switch role := text(m["role"]); role {
		case "system", "developer":
			q.System = join(q.System, content)
		case "user":
			q.Messages = append(q.Messages, Message{Role: role, Text: content})
		case "tool":
			q.Messages = append(q.Messages, Message{Role: role, Text: content, Answers: text(m["tool_call_id"])})
		case "assistant":
			said := Message{Role: role, Text: content}
			for _, item := range list(m["tool_calls"]) {
				c, f := object(item), object(object(item)["function"])
				if c["type"] != "function" || text(c["id"]) == "" || !plain(text(f["name"])) {
					return nil, refuse(Invalid, "messages[%d].tool_calls is not valid", i)
				}
				said.Calls = append(said.Calls, Call{ID: text(c["id"]), Name: text(f["name"]), Arguments: text(f["arguments"])})
			}
			if m["content"] == nil && said.Calls == nil {
				return nil, refuse(Invalid, "messages[%d].content: expected a string, got null", i)
			}
			q.Messages = append(q.Messages, said)
		default:
			return nil, refuse(Invalid, "messages[%d].role: %q is none", i, role)
		}
	}
	if len(q.Messages) == 0 {
		return nil, refuse(Invalid, "messages is empty")
	}
	for i, item := range list(body["tools"]) {
		f := object(object(item)["function"])
		if object(item)["type"] != "function" || !plain(text(f["name"])) {
			return nil, refuse(Invalid, "tools[%d].function.name does not match ^[a-zA-Z0-9_-]+$", i)
		}
		if schema, given := f["parameters"]; given && !parameters(object(schema)) {
			return nil, refuse(Invalid, "Invalid schema for function '%s': schema must have type 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level.", text(f["name"]))
		}
		q.Tools = append(q.Tools, text(f["name"]))
	}
	switch c := body["tool_choice"].(type) {
	case string:
		q.Choice = c
	case map[string]any:
		q.Choice = text(object(c["function"])["name"])
	}
	if q.Choice != "" && q.Tools == nil {
		return nil, refuse(Invalid, "tool_choice is only allowed when tools are specified")
	}
	return q, answered(q.Messages)
}

func openAIKey(r *http.Request) *refusal {
	if key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "); key != Key {
		return refuse(BadKey, "Incorrect API key provided: %s. You can find your API key in your account.", key)
	}
	return nil
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "\n" + b
}

func openAIReason(a *Answer) string {
	switch {
	case a.Length:
		return "length"
	case len(a.Calls) > 0:
		return "tool_calls"
	}
	return "stop"
}

const completionID = "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT"

func (openAI) whole(q *Question, a *Answer) any {
	message := map[string]any{"role": "assistant", "content": a.Text, "refusal": nil, "annotations": []any{}}
	if len(a.Calls) > 0 {
		calls := []any{}
		for _, c := range a.Calls {
			calls = append(calls, map[string]any{"id": c.ID, "type": "function", "function": map[string]any{"name": c.Name, "arguments": c.Arguments}})
		}
		message["tool_calls"] = calls
		if a.Text == "" {
			message["content"] = nil
		}
	}
	return map[string]any{
		"id": completionID, "object": "chat.completion", "created": 1741569952, "model": q.Model,
		"choices": []any{map[string]any{"index": 0, "message": message, "logprobs": nil, "finish_reason": openAIReason(a)}},
		"usage":   openAIUsage(q, a), "service_tier": "default", "system_fingerprint": "fp_44709d6fcb",
	}
}

func openAIUsage(q *Question, a *Answer) map[string]any {
	in, out := tokens(q, a)
	return map[string]any{
		"prompt_tokens": in, "completion_tokens": out, "total_tokens": in + out,
		"prompt_tokens_details":     map[string]any{"cached_tokens": 0, "audio_tokens": 0},
		"completion_tokens_details": map[string]any{"reasoning_tokens": 0, "audio_tokens": 0},
	}
}

func (openAI) stream(q *Question, a *Answer) []string {
	chunk := func(delta map[string]any, reason any) string {
		return "data: " + encoded(map[string]any{
			"id": completionID, "object": "chat.completion.chunk", "created": 1741569952, "model": q.Model, "system_fingerprint": "fp_44709d6fcb", "usage": nil,
			"choices": []any{map[string]any{"index": 0, "delta": delta, "logprobs": nil, "finish_reason": reason}},
		}) + "\n\n"
	}
	out := []string{chunk(map[string]any{"role": "assistant", "content": "", "refusal": nil}, nil)}
	for _, piece := range pieces(a.Text) {
		out = append(out, chunk(map[string]any{"content": piece}, nil))
	}
	for i, c := range a.Calls {
		out = append(out, chunk(map[string]any{"tool_calls": []any{map[string]any{"index": i, "id": c.ID, "type": "function", "function": map[string]any{"name": c.Name, "arguments": ""}}}}, nil))
		for _, piece := range pieces(c.Arguments) {
			out = append(out, chunk(map[string]any{"tool_calls": []any{map[string]any{"index": i, "function": map[string]any{"arguments": piece}}}}, nil))
		}
	}
	out = append(out, chunk(map[string]any{}, openAIReason(a)))
	out = append(out, "data: "+encoded(map[string]any{
		"id": completionID, "object": "chat.completion.chunk", "created": 1741569952, "model": q.Model, "choices": []any{}, "usage": openAIUsage(q, a),
	})+"\n\n")
	return append(out, "data: [DONE]\n\n")
}

func (openAI) failure(kind Kind, message string) (int, any, string) {
	f := map[Kind]struct {
		status     int
		kind, code any
	}{
		Invalid: {400, "invalid_request_error", nil}, BadKey: {401, "invalid_request_error", "invalid_api_key"},
		NotFound: {404, "invalid_request_error", "model_not_found"}, RateLimit: {429, "requests", "rate_limit_exceeded"},
		UsedUp: {429, "insufficient_quota", "insufficient_quota"}, Overloaded: {503, "service_unavailable", "server_is_overloaded"},
		TooLong: {400, "invalid_request_error", "context_length_exceeded"}, Broken: {500, "server_error", nil},
	}[kind]
	body := map[string]any{"error": map[string]any{"message": message, "type": f.kind, "param": nil, "code": f.code}}
	return f.status, body, "data: " + encoded(body) + "\n\n"
}

// embeddings answers a request for vectors, which say how long their texts are and where they stand; it returns
// nothing for any other request.
func embeddings(r *http.Request, body map[string]any) (any, *refusal) {
	vector := func(i int, text string, size any) []any {
		n := number(size)
		if n == 0 {
			n = 4
		}
		v := make([]any, n)
		for j := range v {
			v[j] = 0.5
		}
		v[0], v[n-1] = float64(len(text)), float64(i)+0.25
		return v
	}
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/embeddings"):
		if no := openAIKey(r); no != nil {
			return nil, no
		}
		if no := known(body, "input model dimensions encoding_format"); no != nil {
			return nil, no
		}
		data, count := []any{}, 0
		for i, item := range list(body["input"]) {
			count += 1 + len(text(item))/4
			data = append(data, map[string]any{"object": "embedding", "index": i, "embedding": vector(i, text(item), body["dimensions"])})
		}
		if len(data) > 1 { // the index says which is which
			data[0], data[1] = data[1], data[0]
		}
		return map[string]any{"object": "list", "data": data, "model": body["model"], "usage": map[string]any{"prompt_tokens": count, "total_tokens": count}}, nil
	case strings.HasSuffix(path, ":batchEmbedContents"):
		if no := googleKey(r); no != nil {
			return nil, no
		}
		out := []any{}
		for i, item := range list(body["requests"]) {
			one := object(item)
			if text(one["model"]) != strings.TrimSuffix(strings.TrimPrefix(path, "/v1beta/"), ":batchEmbedContents") {
				return nil, refuse(Invalid, "requests[%d].model must be the model of the path", i)
			}
			said := text(object(list(object(one["content"])["parts"])[0])["text"])
			out = append(out, map[string]any{"values": vector(i, said, one["outputDimensionality"])})
		}
		return map[string]any{"embeddings": out}, nil
	}
	return nil, nil
}
