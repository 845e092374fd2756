package openaillm_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
)

// streams answers the pieces of calls, each a delta's tool_calls.
func streams(pieces ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, p := range pieces {
			fmt.Fprintf(w, "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[%s]},\"finish_reason\":null}]}\n\n", p)
		}
		io.WriteString(w, "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n")
	}
}

// TestStreamedCalls: endpoints that call themselves compatible number calls, and repeat what names them, as they like.
func TestStreamedCalls(t *testing.T) {
	two := []driver.ToolCall{{ID: "c1", Name: "look", Arguments: `{"at":"x"}`}, {ID: "c2", Name: "end", Arguments: `{}`}}
	for name, c := range map[string]struct {
		pieces []string
		want   []driver.ToolCall
	}{
		"as OpenAI": {[]string{`{"index":0,"id":"c1","function":{"name":"look","arguments":""}}`, `{"index":0,"function":{"arguments":"{\"at\":"}}`, `{"index":0,"function":{"arguments":"\"x\"}"}}`, `{"index":1,"id":"c2","function":{"name":"end","arguments":"{}"}}`}, two},
		"all have one index, as Ollama's and Gemini's had": {[]string{`{"index":0,"id":"c1","function":{"name":"look","arguments":"{\"at\":\"x\"}"}}`, `{"index":0,"id":"c2","function":{"name":"end","arguments":"{}"}}`}, two},
		"none has an index":           {[]string{`{"id":"c1","function":{"name":"look","arguments":"{\"at\":\"x\"}"}}, {"id":"c2","function":{"name":"end","arguments":"{}"}}`}, two},
		"id and name with each piece": {[]string{`{"index":0,"id":"c1","function":{"name":"look","arguments":"{\"at\":"}}`, `{"index":0,"id":"c1","function":{"name":"look","arguments":"\"x\"}"}}`, `{"index":1,"id":"c2","function":{"name":"end","arguments":"{}"}}`}, two},
		"counted from 1":              {[]string{`{"index":1,"id":"c1","function":{"name":"look","arguments":"{\"at\":\"x\"}"}}`, `{"index":2,"id":"c2","function":{"name":"end","arguments":"{}"}}`}, two},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, nil)
			s.override = streams(c.pieces...)
			got, err := open(t, s, nil).(driver.Streamer).Stream(t.Context(), ask("hello"), func(string) {})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got.ToolCalls); diff != "" || got.Usage.InputTokens != 7 || got.Usage.Estimated {
				t.Errorf("%+v\n%s", got.Usage, diff)
			}
		})
	}
	for name, pieces := range map[string][]string{
		"below 0": {`{"index":-1,"id":"c1","function":{"name":"look"}}`},
		"no end of them": func() (all []string) {
			for i := range 200 {
				all = append(all, fmt.Sprintf(`{"index":%d,"id":"c%d","function":{"name":"look"}}`, i<<40, i))
			}
			return all
		}(),
	} {
		s := newServer(t, nil)
		s.override = streams(pieces...)
		if _, err := open(t, s, nil).(driver.Streamer).Stream(t.Context(), ask("hello"), func(string) {}); kernel.CodeOf(err) != kernel.CodeFailed || !strings.Contains(err.Error(), "no usable answer") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHugeHead: an endpoint that sends headers without end is not read to it.
func TestHugeHead(t *testing.T) {
	s := newServer(t, nil)
	s.override = func(w http.ResponseWriter, _ *http.Request) {
		for i := range 64 {
			w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 16<<10))
		}
		sendJSON(w, http.StatusOK, completion("m", "hello", "hi"))
	}
	if _, err := open(t, s, nil).Complete(t.Context(), ask("hello")); kernel.CodeOf(err) != kernel.CodeUnavailable {
		t.Errorf("%v", err)
	}
}
