package httpapi_test

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/server/httpapi"
)

// endless is a body that never ends.
type endless struct{ sent atomic.Int64 } // the client may still read from it when it was answered

func (e *endless) Read(p []byte) (int, error) {
	e.sent.Add(int64(len(p)))
	return len(p), nil
}

// log is what a server says.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) count(words string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), words)
}

// TestRefusedOnRecord: what is refused before a handler sees it is on record, a flood of it in a few records.
func TestRefusedOnRecord(t *testing.T) {
	var said log
	s := open(t, options{api: httpapi.Options{MaxBody: 1000, PerSecond: 20, Log: slog.New(slog.NewTextHandler(&said, nil))}})
	s.send(t, adaToken, "POST", "/v1/pipelines/echo/runs", bytes.NewReader(make([]byte, 2000))).problem(t, 413, "limit", "1000 bytes")
	for range 200 {
		s.ask(t, "forged", "GET", "/v1/runs", "").problem(t, 401, "denied", "the token is not known")
		s.ask(t, adaToken, "GET", "/v1/pipelines", "")
	}
	if n := said.count("the token is not known"); n == 0 || n > 100 {
		t.Errorf("%d of 200 requests with a forged token are in the log", n)
	}
	for {
		a := s.ask(t, bobToken, "GET", "/v1/audit?action=http.request&limit=1000", "")
		if a.status == 429 {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		if n := strings.Count(a.text, "too many requests"); n == 0 || n > 100 || !strings.Contains(a.text, "the request is too large") {
			t.Error(n, a.text)
		}
		return
	}
}

// TestEndlessBody: a client that sends without end is cut off, whatever it said of the length; nothing is kept of it.
func TestEndlessBody(t *testing.T) {
	s := open(t, options{api: httpapi.Options{MaxBody: 1000, MaxUpload: 1 << 20}})
	for _, path := range []string{"/v1/pipelines/echo/runs", "/v1/artifacts?name=x"} {
		body := &endless{}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+adaToken)
		req.Header.Set("Content-Type", "application/json")
		resp, err := s.Client().Do(req)
		if err == nil { // else the connection was closed while the client still wrote
			if resp.StatusCode != http.StatusRequestEntityTooLarge {
				t.Error(path, resp.Status)
			}
			resp.Body.Close()
		}
		if sent := body.sent.Load(); sent > 64<<20 {
			t.Errorf("%s took %d bytes", path, sent)
		}
	}
	if a := s.ask(t, adaToken, "GET", "/v1/artifacts", ""); strings.Contains(a.text, "sha256") {
		t.Error(a.text)
	}
}

// TestBrokenUpload: a client that goes in the middle of what it stores has stored nothing, and one that goes in the middle of a stream leaves none behind.
func TestBrokenUpload(t *testing.T) {
	s := open(t, options{})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(conn, "POST /v1/artifacts?name=x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+adaToken+"\r\nContent-Length: 1000000\r\n\r\nsome")
	if err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(s.ask(t, bobToken, "GET", "/v1/audit?action=artifact.store", "").text, "artifact.store") { // it is being read
		time.Sleep(20 * time.Millisecond)
	}
	conn.Close()
	for strings.Contains(s.ask(t, bobToken, "GET", "/metrics", "").text, "hexdag_http_requests_active 2") {
		time.Sleep(20 * time.Millisecond)
	}
	if a := s.ask(t, adaToken, "GET", "/v1/artifacts", ""); strings.Contains(a.text, "sha256") {
		t.Error(a.text)
	}
}
