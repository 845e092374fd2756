package llmserver

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
)

// gemini is Google's Gemini API, as ai.google.dev/api describes it.
type gemini struct{}

func googleKey(r *http.Request) *refusal {
	if r.Header.Get("X-Goog-Api-Key") != Key {
		return refuse(BadKey, "API key not valid. Please pass a valid API key.")
	}
	return nil
}

func (gemini) question(r *http.Request, body map[string]any) (*Question, *refusal) {
	if no := googleKey(r); no != nil {
		return nil, no
	}
	if no := known(body, "contents systemInstruction tools toolConfig generationConfig"); no != nil {
		return nil, no
	}
	name, method, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1beta/models/"), ":")
	generation := object(body["generationConfig"])
	if no := known(generation, "maxOutputTokens temperature responseMimeType responseJsonSchema"); no != nil {
		return nil, no
	}
	q := &Question{Protocol: "google", Model: name, MaxTokens: number(generation["maxOutputTokens"]), Temperature: float(generation["temperature"]), Schema: object(generation["responseJsonSchema"])}
	switch {
	case method == "streamGenerateContent" && r.URL.Query().Get("alt") == "sse":
		q.Stream = true
	case method != "generateContent":
		return nil, refuse(NotFound, "method %q is not found", method)
	}
	if q.Schema != nil && generation["responseMimeType"] != "application/json" {
		return nil, refuse(Invalid, "responseJsonSchema needs the response mime type application/json")
	}
	for _, part := range list(object(body["systemInstruction"])["parts"]) {
		q.System = join(q.System, text(object(part)["text"]))
	}
	for i, item := range list(body["contents"]) {
		if no := q.geminiContent(i, object(item)); no != nil {
			return nil, no
		}
	}
	if len(q.Messages) == 0 {
		return nil, refuse(Invalid, "* GenerateContentRequest.contents: contents is not specified")
	}
	for _, tool := range list(body["tools"]) {
		for _, item := range list(object(tool)["functionDeclarations"]) {
			f := object(item)
			if !plain(text(f["name"])) || strings.Trim(text(f["name"])[:1], "0123456789-") == "" {
				return nil, refuse(Invalid, "Invalid function name. Must start with a letter or an underscore.")
			}
			if schema, given := f["parametersJsonSchema"]; given && object(schema)["type"] != "object" {
				return nil, refuse(Invalid, "functionDeclaration parameters schema should be of type OBJECT.")
			}
			q.Tools = append(q.Tools, text(f["name"]))
		}
	}
	switch calling := object(object(body["toolConfig"])["functionCallingConfig"]); calling["mode"] {
	case "ANY":
		q.Choice = "required"
		if allowed := list(calling["allowedFunctionNames"]); len(allowed) == 1 {
			q.Choice = text(allowed[0])
		}
	case "NONE":
		q.Choice = "none"
	}
	return q, answered(q.Messages)
}

func (q *Question) geminiContent(i int, content map[string]any) *refusal {
	role := map[string]string{"user": "user", "model": "assistant"}[text(content["role"])]
	parts := list(content["parts"])
	if role == "" || len(parts) == 0 {
		return refuse(Invalid, "* GenerateContentRequest.contents[%d]: a valid role and parts must not be empty", i)
	}
	said := Message{Role: role}
	for j, item := range parts {
		p := object(item)
		call, result := object(p["functionCall"]), object(p["functionResponse"])
		switch {
		case call != nil && role == "assistant":
			// The newer models refuse calls of their own that come back without their signature.
			signature, err := base64.StdEncoding.DecodeString(text(p["thoughtSignature"]))
			if err != nil || len(said.Calls) == 0 && len(signature) == 0 && strings.HasPrefix(q.Model, "gemini-3") {
				return refuse(Invalid, "Function call is missing a thought_signature in functionCall parts.")
			}
			args := call["args"]
			if args == nil {
				args = map[string]any{}
			}
			said.Calls = append(said.Calls, Call{ID: text(call["id"]), Name: text(call["name"]), Arguments: encoded(args), Signature: string(signature)})
		case result != nil && role == "user":
			if text(result["name"]) == "" {
				return refuse(Invalid, "* GenerateContentRequest.contents[%d].parts[%d].function_response.name: Name cannot be empty.", i, j)
			}
			q.Messages = append(q.Messages, Message{Role: "tool", Text: text(object(result["response"])["output"]), Answers: text(result["id"])})
		case text(p["text"]) != "":
			said.Text += text(p["text"])
		default:
			return refuse(Invalid, "* GenerateContentRequest.contents[%d].parts[%d].data: required oneof field 'data' must have one initialized field", i, j)
		}
	}
	if said.Text != "" || said.Calls != nil {
		q.Messages = append(q.Messages, said)
	}
	return nil
}

func geminiChunk(q *Question, parts []any, reason any, usage map[string]any) map[string]any {
	candidate := map[string]any{"content": map[string]any{"role": "model", "parts": parts}, "index": 0}
	if reason != nil {
		candidate["finishReason"] = reason
	}
	return map[string]any{"candidates": []any{candidate}, "usageMetadata": usage, "modelVersion": q.Model, "responseId": "mAitaLmkHPPlz7IPvtfUqQ4"}
}

func geminiParts(a *Answer) []any {
	var parts []any
	for i, c := range a.Calls {
		args := json.RawMessage(c.Arguments)
		if !json.Valid(args) {
			args = json.RawMessage(`{}`)
		}
		part := map[string]any{"functionCall": map[string]any{"name": c.Name, "args": args}} // without an id
		if i == 0 {
			part["thoughtSignature"] = base64.StdEncoding.EncodeToString([]byte("signed:" + c.Name))
		}
		parts = append(parts, part)
	}
	return parts
}

func geminiReason(a *Answer) string {
	if a.Length {
		return "MAX_TOKENS"
	}
	return "STOP"
}

func geminiUsage(q *Question, a *Answer) map[string]any {
	in, out := tokens(q, a)
	return map[string]any{"promptTokenCount": in, "candidatesTokenCount": out, "totalTokenCount": in + out + 3, "thoughtsTokenCount": 3}
}

func (gemini) whole(q *Question, a *Answer) any {
	parts := []any{map[string]any{"text": "let me think", "thought": true}}
	if a.Text != "" {
		parts = append(parts, map[string]any{"text": a.Text})
	}
	return geminiChunk(q, append(parts, geminiParts(a)...), geminiReason(a), geminiUsage(q, a))
}

func (gemini) stream(q *Question, a *Answer) []string {
	in, _ := tokens(q, a)
	running := map[string]any{"promptTokenCount": in, "totalTokenCount": in}
	var out []string
	chunk := func(parts []any, reason any, usage map[string]any) {
		out = append(out, "data: "+encoded(geminiChunk(q, parts, reason, usage))+"\r\n\r\n")
	}
	chunk([]any{map[string]any{"text": "let me think", "thought": true}}, nil, running)
	for _, piece := range pieces(a.Text) {
		chunk([]any{map[string]any{"text": piece}}, nil, running)
	}
	if parts := geminiParts(a); parts != nil {
		chunk(parts, nil, running)
	}
	chunk([]any{map[string]any{"text": ""}}, geminiReason(a), geminiUsage(q, a))
	return out
}

func (gemini) failure(kind Kind, message string) (int, any, string) {
	f := map[Kind]struct {
		code   int
		status string
	}{
		Invalid: {400, "INVALID_ARGUMENT"}, BadKey: {400, "INVALID_ARGUMENT"}, NotFound: {404, "NOT_FOUND"}, RateLimit: {429, "RESOURCE_EXHAUSTED"},
		UsedUp: {429, "RESOURCE_EXHAUSTED"}, Overloaded: {503, "UNAVAILABLE"}, TooLong: {400, "INVALID_ARGUMENT"}, Broken: {500, "INTERNAL"},
	}[kind]
	e := map[string]any{"code": f.code, "message": message, "status": f.status}
	switch kind {
	case BadKey:
		e["details"] = []any{map[string]any{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}}
	case RateLimit:
		e["details"] = []any{map[string]any{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}}
	case TooLong:
		e["message"] = "The input token count exceeds the maximum number of tokens allowed: " + message
	}
	body := map[string]any{"error": e}
	return f.code, body, "data: " + encoded(body) + "\r\n\r\n"
}
