package openaillm_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// testKey is what the server takes for a valid key.
const testKey = "sk-test-0123456789abcdefghij"

// chatRequest is the part of a chat completion's request that the server reads.
type chatRequest struct {
	Model    string `json:"model"`
	Messages []struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	} `json:"messages"`
}

// server speaks OpenAI's chat completions protocol.
type server struct {
	*httptest.Server
	// answer returns what the model says to the last message.
	answer func(prompt string) string
	// override, if set, answers instead.
	override http.HandlerFunc

	mu     sync.Mutex
	bodies []string
	heads  []http.Header
}

func newServer(t *testing.T, answer func(prompt string) string) *server {
	t.Helper()
	s := &server{answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.bodies, s.heads = append(s.bodies, string(body)), append(s.heads, r.Header.Clone())
	s.mu.Unlock()
	switch {
	case s.override != nil:
		s.override(w, r)
	case r.Method != http.MethodPost || r.URL.Path != "/v1/chat/completions":
		sendError(w, http.StatusNotFound, "invalid_request_error", "", "Invalid URL ("+r.Method+" "+r.URL.Path+")")
	case r.Header.Get("Authorization") != "Bearer "+testKey:
		sendError(w, http.StatusUnauthorized, "invalid_request_error", "invalid_api_key",
			"Incorrect API key provided: "+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	default:
		s.complete(w, body)
	}
}

func (s *server) complete(w http.ResponseWriter, body []byte) {
	var req chatRequest
	if err := json.Unmarshal(body, &req); err != nil || req.Model == "" || len(req.Messages) == 0 {
		sendError(w, http.StatusBadRequest, "invalid_request_error", "", "We could not parse the JSON body of your request.")
		return
	}
	prompt := req.Messages[len(req.Messages)-1].Content
	sendJSON(w, http.StatusOK, completion(req.Model, prompt, s.answer(prompt)))
}

// completion is a chat completion object with every member that OpenAI sends.
func completion(model, prompt, answer string) map[string]any {
	in, out := 8+len(prompt)/4, 1+len(answer)/4
	return map[string]any{
		"id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT", "object": "chat.completion", "created": 1741569952, "model": model,
		"choices": []any{map[string]any{
			"index":         0,
			"message":       map[string]any{"role": "assistant", "content": answer, "refusal": nil, "annotations": []any{}},
			"logprobs":      nil,
			"finish_reason": "stop",
		}},
		"usage": map[string]any{
			"prompt_tokens": in, "completion_tokens": out, "total_tokens": in + out,
			"prompt_tokens_details":     map[string]any{"cached_tokens": 0, "audio_tokens": 0},
			"completion_tokens_details": map[string]any{"reasoning_tokens": 0, "audio_tokens": 0},
		},
		"service_tier": "default", "system_fingerprint": "fp_44709d6fcb",
	}
}

func sendError(w http.ResponseWriter, status int, kind, code, message string) {
	sendJSON(w, status, map[string]any{"error": map[string]any{"message": message, "type": kind, "param": nil, "code": code}})
}

func sendJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// last returns the last request's head and decoded body.
func (s *server) last(t *testing.T) (http.Header, map[string]any) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.bodies) == 0 {
		t.Fatal("no request came")
	}
	var body map[string]any
	if err := json.Unmarshal([]byte(s.bodies[len(s.bodies)-1]), &body); err != nil {
		t.Fatal(err)
	}
	return s.heads[len(s.heads)-1], body
}

func (s *server) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.bodies)
}
