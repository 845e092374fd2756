package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/journal/memjournal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/server/httpapi"
)

// gate is a port that lets calls pass one by one.
type gate struct {
	entered chan struct{}
	open    chan struct{}
}

func newGate() *gate { return &gate{make(chan struct{}, 100), make(chan struct{})} }

func (g *gate) ports() []host.PortOp {
	return []host.PortOp{{Name: "fake.enter", Func: func(ctx context.Context, _ *kernel.PortCall) (*kernel.PortReply, error) {
		g.entered <- struct{}{}
		select {
		case <-g.open:
			return &kernel.PortReply{Value: true}, nil
		case <-ctx.Done():
			return nil, kernel.ContextError(ctx)
		}
	}}}
}

func TestRuns(t *testing.T) {
	s := open(t, options{})
	a := s.ask(t, adaToken, "POST", "/v1/pipelines/echo/runs?wait=10", `{"input": {"text": "hello"}, "labels": {"ticket": "7"}}`)
	output, _ := a.body["output"].(map[string]any)
	out, _ := output["out"].(map[string]any)
	id, _ := a.body["run_id"].(string)
	if a.status != 200 || a.body["status"] != "completed" || out["said"] != "hello" || a.header.Get("Location") != "/v1/runs/"+id {
		t.Fatal(a.status, a.text, a.header)
	}
	if a := s.ask(t, adaToken, "GET", "/v1/runs/"+id, ""); a.status != 200 || a.body["status"] != "completed" || a.body["pipeline"] != "echo" {
		t.Error(a.status, a.text)
	}
	if a := s.ask(t, adaToken, "GET", "/v1/runs?pipeline=echo", ""); a.status != 200 || !strings.Contains(a.text, id) || strings.Contains(a.text, "hello") {
		t.Error(a.status, a.text)
	}
	s.ask(t, adaToken, "GET", "/v1/runs/nope", "").problem(t, 404, "port.not_found", "there is no run nope")
	s.ask(t, adaToken, "POST", "/v1/pipelines/ecko/runs", `{}`).problem(t, 404, "port.not_found", "there is no pipeline ecko", "echo")
	s.ask(t, adaToken, "POST", "/v1/pipelines/echo/runs", `{"input": `).problem(t, 400, "port.arguments")
	s.ask(t, adaToken, "POST", "/v1/pipelines/echo/runs", `{"inptu": 1}`).problem(t, 422, "port.arguments", "inptu")
	s.ask(t, adaToken, "GET", "/v1/runs?limit=0", "").problem(t, 422, "port.arguments", "limit")
	s.ask(t, adaToken, "GET", "/v1/runs?nope=1", "").problem(t, 422, "port.arguments", "nope")
}

// TestRunsOnce: two requests with one key start one run.
func TestRunsOnce(t *testing.T) {
	s := open(t, options{api: httpapi.Options{Durable: true}})
	first := s.ask(t, adaToken, "POST", "/v1/pipelines/echo/runs?wait=10", `{"input": {"text": "a"}}`, "Idempotency-Key", "k")
	again := s.ask(t, adaToken, "POST", "/v1/pipelines/echo/runs?wait=10", `{"input": {"text": "a"}}`, "Idempotency-Key", "k")
	other := s.ask(t, bobToken, "POST", "/v1/pipelines/echo/runs?wait=10", `{"input": {"text": "a"}}`, "Idempotency-Key", "k")
	if first.body["run_id"] != again.body["run_id"] || first.body["run_id"] == other.body["run_id"] || again.body["status"] != "completed" {
		t.Error(first.text, again.text, other.text)
	}
}

// TestTenantsApart: nobody sees, or touches, what is another tenant's.
func TestTenantsApart(t *testing.T) {
	g := newGate()
	s := open(t, options{ports: g.ports()})
	a := s.ask(t, adaToken, "POST", "/v1/pipelines/waits/runs", `{}`)
	<-g.entered
	id, _ := a.body["run_id"].(string)
	if a.status != 202 || a.body["status"] != "running" {
		t.Fatal(a.status, a.text)
	}
	for _, c := range [][2]string{{"GET", "/v1/runs/" + id}, {"POST", "/v1/runs/" + id + "/cancel"}, {"GET", "/v1/runs/" + id + "/events"}} {
		s.ask(t, evilToken, c[0], c[1], "").problem(t, 404, "port.not_found")
	}
	s.ask(t, evilToken, "POST", "/v1/runs/"+id+"/signal", `{"event": "x"}`).problem(t, 404, "port.not_found")
	if a := s.ask(t, evilToken, "GET", "/v1/runs", ""); a.status != 200 || strings.Contains(a.text, id) {
		t.Error(a.text)
	}
	if a := s.ask(t, evilToken, "GET", "/metrics", ""); !strings.Contains(a.text, `hexdag_runs_active{tenant="globex"} 0`) || strings.Contains(a.text, "acme") {
		t.Error(a.text)
	}
	if a := s.ask(t, bobToken, "GET", "/metrics", ""); !strings.Contains(a.text, `hexdag_runs_active{tenant="acme"} 1`) {
		t.Error(a.text)
	}
	close(g.open)
	if a := s.ask(t, bobToken, "GET", "/v1/runs/"+id+"?wait=10", ""); a.body["status"] != "completed" {
		t.Error(a.text)
	}
}

func TestCancel(t *testing.T) {
	g := newGate()
	s := open(t, options{ports: g.ports()})
	a := s.ask(t, adaToken, "POST", "/v1/pipelines/waits/runs", `{}`)
	<-g.entered
	id, _ := a.body["run_id"].(string)
	if a := s.ask(t, adaToken, "POST", "/v1/runs/"+id+"/cancel", ""); a.status != 202 || a.body["status"] != "cancelled" {
		t.Error(a.status, a.text)
	}
	if a := s.ask(t, adaToken, "POST", "/v1/runs/"+id+"/cancel", ""); a.status != 202 || a.body["status"] != "cancelled" {
		t.Error("once more:", a.status, a.text)
	}
}

func TestSignal(t *testing.T) {
	s := open(t, options{})
	a := s.ask(t, adaToken, "POST", "/v1/pipelines/pauses/runs?wait=10", `{"input": {"id": "7"}}`)
	id, _ := a.body["run_id"].(string)
	if a.status != 200 || a.body["status"] != "suspended" || fmt.Sprint(a.body["waits"]) != "[go-7]" {
		t.Fatal(a.status, a.text)
	}
	s.ask(t, adaToken, "POST", "/v1/runs/"+id+"/signal", `{"event": "go-8"}`).problem(t, 422, "port.arguments", "go-7")
	if a := s.ask(t, adaToken, "POST", "/v1/runs/"+id+"/signal", `{"event": "go-7", "data": {"by": "ada"}}`); a.status != 202 {
		t.Error(a.status, a.text)
	}
	if a := s.ask(t, adaToken, "GET", "/v1/runs/"+id+"?wait=10", ""); a.body["status"] != "completed" {
		t.Error(a.text)
	}
	s.ask(t, adaToken, "POST", "/v1/runs/"+id+"/signal", `{"event": "go-7"}`).problem(t, 409, "run.fenced", "it is completed")
}

// A run that waits goes on at any server that shares its journal, and all know how it stands, although each has a registry of its own.
func TestSignalAtAnotherServer(t *testing.T) {
	journals := memjournal.NewServer()
	one, two := open(t, options{shares: journals.Open("one")}), open(t, options{shares: journals.Open("two")})
	a := one.ask(t, adaToken, "POST", "/v1/pipelines/pauses/runs?wait=10", `{"input": {"id": "7"}}`)
	id, _ := a.body["run_id"].(string)
	if a.status != 200 || a.body["status"] != "suspended" {
		t.Fatal(a.status, a.text)
	}
	for _, s := range []*site{one, two} {
		if a := s.ask(t, adaToken, "GET", "/v1/runs/"+id, ""); a.body["status"] != "suspended" || fmt.Sprint(a.body["waits"]) != "[go-7]" {
			t.Error(a.text)
		}
	}
	two.ask(t, evilToken, "GET", "/v1/runs/"+id, "").problem(t, 404, "port.not_found", "there is no run")
	two.ask(t, adaToken, "POST", "/v1/runs/"+id+"/signal", `{"event": "go-8"}`).problem(t, 422, "port.arguments", "go-7")
	if a := two.ask(t, adaToken, "POST", "/v1/runs/"+id+"/signal", `{"event": "go-7", "data": {"by": "ada"}}`); a.status != 202 {
		t.Error(a.status, a.text)
	}
	for _, s := range []*site{two, one} {
		if a := s.ask(t, adaToken, "GET", "/v1/runs/"+id+"?wait=10", ""); a.body["status"] != "completed" {
			t.Error(a.text)
		}
	}
	one.ask(t, adaToken, "POST", "/v1/runs/"+id+"/signal", `{"event": "go-7"}`).problem(t, 409, "run.fenced", "it is completed")
}

// sse reads a stream of events to its end: their ids and types.
func sse(t *testing.T, s *site, token, path string, headers ...string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatal(resp.Status, resp.Header)
	}
	var events []string
	id := ""
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "id":
			id = text + " "
		case "event":
			events = append(events, id+text)
			id = ""
		}
	}
	return events
}

func TestEvents(t *testing.T) {
	g := newGate()
	s := open(t, options{ports: g.ports()})
	a := s.ask(t, adaToken, "POST", "/v1/pipelines/waits/runs", `{}`)
	<-g.entered
	id, _ := a.body["run_id"].(string)
	got := make(chan []string)
	go func() { got <- sse(t, s, adaToken, "/v1/runs/"+id+"/events") }()
	time.Sleep(50 * time.Millisecond)
	close(g.open)
	events := <-got
	if len(events) < 5 || !strings.HasPrefix(events[0], "1 ") || events[len(events)-1] != "end" {
		t.Fatal(events)
	}
	again := sse(t, s, adaToken, "/v1/runs/"+id+"/events")
	if strings.Join(again, ",") != strings.Join(events, ",") {
		t.Errorf("%v, and later %v", events, again)
	}
	rest := sse(t, s, adaToken, "/v1/runs/"+id+"/events", "Last-Event-ID", "2")
	if strings.Join(rest, ",") != strings.Join(events[2:], ",") {
		t.Errorf("%v, not %v", rest, events[2:])
	}
	s.ask(t, adaToken, "GET", "/v1/runs/"+id+"/events", "", "Last-Event-ID", "x").problem(t, 422, "port.arguments", "Last-Event-ID")
}

// TestDrain: a server that ends lets no run begin, and waits for those that are under way.
func TestDrain(t *testing.T) {
	g := newGate()
	s := open(t, options{ports: g.ports()})
	a := s.ask(t, adaToken, "POST", "/v1/pipelines/waits/runs", `{}`)
	<-g.entered
	id, _ := a.body["run_id"].(string)
	done := make(chan struct{})
	go func() { defer close(done); s.api.Drain(t.Context()) }()
	for s.ask(t, "", "GET", "/readyz", "").status != 503 {
		time.Sleep(time.Millisecond)
	}
	refused := s.ask(t, adaToken, "POST", "/v1/pipelines/echo/runs", `{}`)
	refused.problem(t, 503, "port.unavailable", "the server ends")
	if refused.header.Get("Retry-After") != "1" {
		t.Error(refused.header)
	}
	if a := s.ask(t, "", "GET", "/healthz", ""); a.status != 200 {
		t.Error(a.status)
	}
	select {
	case <-done:
		t.Error("it did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	close(g.open)
	<-done
	if a := s.ask(t, adaToken, "GET", "/v1/runs/"+id, ""); a.body["status"] != "completed" {
		t.Error(a.text)
	}
}

// TestDrainedInTime: what does not end in time is cancelled.
func TestDrainedInTime(t *testing.T) {
	g := newGate()
	s := open(t, options{ports: g.ports()})
	a := s.ask(t, adaToken, "POST", "/v1/pipelines/waits/runs", `{}`)
	<-g.entered
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	s.api.Drain(ctx)
	id, _ := a.body["run_id"].(string)
	if a := s.ask(t, adaToken, "GET", "/v1/runs/"+id, ""); a.body["status"] != "cancelled" {
		t.Error(a.text)
	}
}
