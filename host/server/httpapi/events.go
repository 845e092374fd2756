package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

// The times of a stream.
const (
	aliveEvery   = 15 * time.Second // a comment tells that it is there
	writeTimeout = 10 * time.Second // a client that takes nothing for so long is gone
	askAgain     = 2 * time.Second  // which a client whose stream broke waits
)

type eventsInput struct {
	RunID string `path:"run_id" maxLength:"128"`
	Last  string `header:"Last-Event-ID" maxLength:"20" doc:"The number of the last event that the client knows."`
}

func (s *Server) routeEvents() {
	event := huma.SchemaFromType(s.api.OpenAPI().Components.Schemas, typeOf[host.Event]())
	huma.Register(s.api, huma.Operation{
		OperationID: "run-events", Method: http.MethodGet, Path: "/v1/runs/{run_id}/events", Summary: "The events of a run, as they come", Tags: []string{"runs"},
		Description: "Server-sent events. The id of each is its number, from 1; its event is its type, and its data the event as JSON. Last-Event-ID has the stream go on behind one. It ends with the event end, whose data is {}, when the run has ended.",
		Responses: map[string]*huma.Response{"200": {Description: "The events.", Content: map[string]*huma.MediaType{"text/event-stream": {
			Schema: &huma.Schema{Type: huma.TypeString, Description: "Events whose data is as x-data says.", Extensions: map[string]any{"x-data": event}},
		}}}},
	}, s.runEvents)
}

func (s *Server) runEvents(ctx context.Context, in *eventsInput) (*huma.StreamResponse, error) {
	t, who := s.of(ctx)
	if err := t.host.Allow(ctx, who.Principal, actionRead, runResource(in.RunID)); err != nil {
		return nil, answer(err)
	}
	last := 0
	if in.Last != "" {
		n, err := strconv.Atoi(in.Last)
		if err != nil || n < 0 {
			return nil, answer(&kernel.Error{Code: kernel.CodeArguments, What: "Last-Event-ID is no number of an event", Fix: "send the id of the last event that was received"})
		}
		last = n
	}
	r := t.find(in.RunID)
	if r == nil {
		stands, err := s.stands(ctx, t, in.RunID)
		if err != nil {
			return nil, answer(err)
		}
		return nil, answer(&kernel.Error{Code: kernel.CodeNotFound, What: "the events of the run are not here", Why: "it is " + stands.Status + ", and this server has not started it, or not lately", Where: kernel.Where{Run: in.RunID}, Fix: "hexdag journal show " + in.RunID + " has those of a durable run"})
	}
	if s.streams.Add(1) > s.opts.MaxStreams {
		s.streams.Add(-1)
		return nil, answer(&kernel.Error{Code: kernel.CodeLimit, What: "too many clients follow events", Why: "the limit is " + itoa(s.opts.MaxStreams), Fix: "ask again later, or ask for the run: GET /v1/runs/{run_id}?wait=60", RetryAfter: askAgain})
	}
	return &huma.StreamResponse{Body: func(out huma.Context) {
		defer s.streams.Add(-1)
		out.SetHeader("Content-Type", "text/event-stream")
		out.SetHeader("Cache-Control", "no-store")
		out.SetHeader("X-Accel-Buffering", "no") // of a proxy
		s.stream(out, r.feed, last)
	}}, nil
}

// stream writes what a feed has and gets, until that ends, the client is gone, or the server drains.
func (s *Server) stream(out huma.Context, f *feed, last int) {
	w := &lines{out: out, flush: http.NewResponseController(rawWriter(out))}
	w.printf("retry: %d\n\n", askAgain.Milliseconds())
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	for {
		events, first, over, more := f.after(last)
		for i, e := range events {
			w.event(first+i, e)
		}
		last = max(last, first+len(events)-1)
		if over {
			w.printf("event: end\ndata: {}\n\n")
		}
		if !w.send() || over {
			return
		}
		select {
		case <-more:
		case <-alive.C:
			w.printf(": alive\n\n")
		case <-s.drained:
			return
		case <-out.Context().Done():
			return
		}
	}
}

// lines are what is written to a client.
type lines struct {
	out   huma.Context
	flush *http.ResponseController
	text  []byte
}

func (l *lines) printf(format string, args ...any) { l.text = fmt.Appendf(l.text, format, args...) }

func (l *lines) event(id int, e *host.Event) {
	data, err := json.Marshal(e)
	if err != nil { // of a value that is no JSON
		data, _ = json.Marshal(map[string]string{"type": string(e.Type), "run_id": e.RunID})
	}
	l.printf("id: %d\nevent: %s\ndata: %s\n\n", id, oneLine(string(e.Type)), data)
}

func oneLine(text string) string { return strings.NewReplacer("\n", " ", "\r", " ").Replace(text) }

// send reports whether the client has taken it.
func (l *lines) send() bool {
	if err := l.flush.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !isUnsupported(err) {
		return false
	}
	_, err := l.out.BodyWriter().Write(l.text)
	if l.text = l.text[:0]; cap(l.text) > 64<<10 {
		l.text = nil
	}
	return err == nil && l.flush.Flush() == nil
}
