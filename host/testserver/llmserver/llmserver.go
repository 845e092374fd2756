// Package llmserver is a server for tests that speaks the protocols of language models as
// their providers do: OpenAI's chat completions and embeddings, Anthropic's messages and
// Google's Gemini API, with streams, calls of tools, schemas and errors. It refuses what they refuse, as far
// as clients of ours could get it wrong. What the model says, and what goes wrong, is the test's to say.
package llmserver

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Key is what the server takes for a valid key.
const Key = "sk-test-0123456789abcdefghij"

// Question is what a model is asked, in any protocol.
type Question struct {
	Protocol    string // openai, anthropic, google
	Model       string
	System      string
	Messages    []Message
	Tools       []string
	Choice      string // auto, none, required, or a tool's name
	Schema      map[string]any
	MaxTokens   int
	Temperature *float64
	Stream      bool
}

// Prompt is the text of the last message.
func (q *Question) Prompt() string { return q.Messages[len(q.Messages)-1].Text }

// Message is one of a conversation.
type Message struct {
	Role    string // user, assistant, tool
	Text    string
	Calls   []Call
	Answers string // the call that a tool's message answers: its ID
}

// Call is one of a tool.
type Call struct {
	ID, Name, Arguments string
	Signature           string // Google's
}

// Answer is what the model says.
type Answer struct {
	Text   string
	Calls  []Call
	Length bool // it was cut at max_tokens
	Fault  *Fault
}

// Fault is what goes wrong.
type Fault struct {
	Kind       Kind
	Message    string // of the error
	RetryAfter string // a header
	// Pieces is how many pieces of a stream come before it; otherwise it comes in place of the answer.
	Pieces int
}

// Kind is a kind of fault.
type Kind string

// The kinds. Those of the second group need no words.
const (
	Invalid    Kind = "invalid"
	BadKey     Kind = "bad_key"
	NotFound   Kind = "not_found"
	RateLimit  Kind = "rate_limit"
	UsedUp     Kind = "used_up"
	Overloaded Kind = "overloaded"
	TooLong    Kind = "too_long"
	Broken     Kind = "broken" // 500

	Cut      Kind = "cut"     // the connection
	End      Kind = "end"     // the stream, as if it were whole
	Stall    Kind = "stall"   // nothing comes any more
	Huge     Kind = "huge"    // what comes does not end
	Garbage  Kind = "garbage" // something else than the protocol
	Redirect Kind = "redirect"
)

// Server is a running one.
type Server struct {
	*httptest.Server
	model func(*Question) Answer

	mu       sync.Mutex
	requests []Request
}

// Request is one that came.
type Request struct {
	Path   string
	Header http.Header
	Body   map[string]any
}

// New starts a server, which is closed with the test.
func New(t testing.TB, model func(*Question) Answer) *Server {
	t.Helper()
	s := &Server{model: model}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.CloseClientConnections() // those that stall
		s.Close()
	})
	return s
}

// Requests are those that came.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Last is the last request that came.
func (s *Server) Last(t testing.TB) Request {
	t.Helper()
	all := s.Requests()
	if len(all) == 0 {
		t.Fatal("no request came")
	}
	return all[len(all)-1]
}

// protocol is how one provider's requests are read and answers are written.
type protocol interface {
	// question reads a request; a refusal says why there is none.
	question(r *http.Request, body map[string]any) (*Question, *refusal)
	// whole writes an answer, stream writes it piece by piece: it returns what is to be sent.
	whole(q *Question, a *Answer) any
	stream(q *Question, a *Answer) []string
	// failure returns the body and the status of an error, and how a stream says it.
	failure(kind Kind, message string) (status int, body any, streamed string)
}

// refusal is why a provider would not answer.
type refusal struct {
	kind    Kind
	message string
}

func refuse(kind Kind, format string, args ...any) *refusal {
	return &refusal{kind, fmt.Sprintf(format, args...)}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var body map[string]any
	badJSON := json.Unmarshal(text, &body)
	s.mu.Lock()
	s.requests = append(s.requests, Request{r.URL.RequestURI(), r.Header.Clone(), body})
	s.mu.Unlock()
	var p protocol
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/chat/completions"), strings.HasSuffix(path, "/embeddings"):
		p = openAI{}
	case strings.HasSuffix(path, "/v1/messages"):
		p = claude{}
	case strings.HasPrefix(path, "/v1beta/models/"):
		p = gemini{}
	default:
		http.NotFound(w, r)
		return
	}
	if badJSON != nil || r.Method != http.MethodPost {
		s.fail(w, r, p, &Fault{Kind: Invalid, Message: "this is no request"})
		return
	}
	if vectors, no := embeddings(r, body); vectors != nil || no != nil {
		if no != nil {
			s.fail(w, r, p, &Fault{Kind: no.kind, Message: no.message})
			return
		}
		send(w, http.StatusOK, vectors)
		return
	}
	q, no := p.question(r, body)
	if no != nil {
		s.fail(w, r, p, &Fault{Kind: no.kind, Message: no.message})
		return
	}
	a := s.model(q)
	switch {
	case a.Fault != nil && (a.Fault.Pieces == 0 || !q.Stream):
		s.fail(w, r, p, a.Fault)
	case q.Stream:
		s.stream(w, r, p, q, &a)
	default:
		send(w, http.StatusOK, p.whole(q, &a))
	}
}

func send(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request, p protocol, q *Question, a *Answer) {
	w.Header().Set("Content-Type", "text/event-stream")
	for i, piece := range p.stream(q, a) {
		if a.Fault != nil && i == a.Fault.Pieces {
			s.breakOff(w, r, p, a.Fault)
			return
		}
		if _, err := io.WriteString(w, piece); err != nil {
			return
		}
		w.(http.Flusher).Flush()
	}
}

// breakOff goes wrong in the midst of a stream.
func (s *Server) breakOff(w http.ResponseWriter, r *http.Request, p protocol, f *Fault) {
	switch f.Kind {
	case Cut:
		panic(http.ErrAbortHandler)
	case End:
	case Stall:
		<-r.Context().Done()
	case Garbage:
		_, _ = io.WriteString(w, "event: message_start\ndata: {\"type\": [}\n\n")
	case Huge:
		flood(w, []byte(": "+strings.Repeat("x", 1<<20)+"\n"))
	default:
		_, _, streamed := p.failure(f.Kind, f.Message)
		_, _ = io.WriteString(w, streamed)
	}
}

// fail goes wrong in place of an answer.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, p protocol, f *Fault) {
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	switch f.Kind {
	case Cut:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"id": "b`)
	case Stall:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	case Garbage:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"choices": [`)
	case Huge:
		w.Header().Set("Content-Type", "application/json")
		flood(w, []byte(strings.Repeat(" ", 1<<20)))
	case Redirect:
		http.Redirect(w, r, "http://127.0.0.1:1/v1", http.StatusTemporaryRedirect)
	default:
		status, body, _ := p.failure(f.Kind, f.Message)
		send(w, status, body)
	}
}

// flood writes until the client has enough, but not for ever.
func flood(w io.Writer, piece []byte) {
	for range 256 {
		if _, err := w.Write(piece); err != nil {
			return
		}
	}
}

// tokens is what the server counts: words, more or less.
func tokens(q *Question, a *Answer) (in, out int) {
	in, out = 8+len(q.System)/4, 1+len(a.Text)/4
	for _, m := range q.Messages {
		in += 4 + len(m.Text)/4
	}
	for _, c := range a.Calls {
		out += 8 + len(c.Arguments)/4
	}
	return in, out
}

// pieces splits a text as a stream does: in the midst of words, but not of characters.
func pieces(text string) []string {
	var out []string
	size := max(3, len(text)/40)
	for text != "" {
		end := min(size, len(text))
		for end < len(text) && text[end]&0xc0 == 0x80 {
			end++
		}
		out, text = append(out, text[:end]), text[end:]
	}
	return out
}

// known refuses members that a protocol does not have.
func known(body map[string]any, names string) *refusal {
	for name := range body {
		if !strings.Contains(" "+names+" ", " "+name+" ") {
			return refuse(Invalid, "Unknown name %q: Cannot find field.", name)
		}
	}
	return nil
}

func object(v any) map[string]any { m, _ := v.(map[string]any); return m }
func list(v any) []any            { l, _ := v.([]any); return l }
func text(v any) string           { s, _ := v.(string); return s }
func number(v any) int            { n, _ := v.(float64); return int(n) }

func float(v any) *float64 {
	if f, ok := v.(float64); ok {
		return &f
	}
	return nil
}

func encoded(v any) string {
	out, _ := json.Marshal(v)
	return string(out)
}

// plain reports whether a tool's name is one that all providers take.
func plain(name string) bool {
	return name != "" && len(name) <= 64 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}

// parameters reports whether the schema of a tool's arguments is that of an object, and combines no others at its top.
func parameters(schema map[string]any) bool {
	for _, name := range []string{"anyOf", "oneOf", "allOf", "not", "enum"} {
		if _, there := schema[name]; there {
			return false
		}
	}
	return schema["type"] == "object"
}

// answered refuses a conversation in which a call of a tool is not followed by its result, or the reverse.
func answered(messages []Message) *refusal {
	due := map[string]bool{}
	for i, m := range messages {
		switch {
		case m.Role == "tool" && !due[m.Answers]:
			return refuse(Invalid, "messages.%d: a tool result without its call: %q", i, m.Answers)
		case m.Role == "tool":
			delete(due, m.Answers)
		case len(due) > 0:
			return refuse(Invalid, "messages.%d: calls of tools were found without their results", i)
		}
		for _, c := range m.Calls {
			due[c.ID] = true
		}
	}
	if len(due) > 0 {
		return refuse(Invalid, "calls of tools were found without their results")
	}
	return nil
}
