package llmtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/hexdag/hexdag/host/testserver/llmserver"
)

// Endpoint is an adapter of a provider's protocol. It is held to all that Run asks, and to what becomes of
// calls of tools, streams, schemas, embeddings and faults, against a server that speaks the protocol over HTTP.
type Endpoint struct {
	// Open returns the adapter for a server; config has base_url, model and api_key, as the adapter's own does.
	Open func(config map[string]any) (driver.LLM, error)
	// Path follows the server's address in base_url.
	Path string
	// Embeds says that it makes embeddings.
	Embeds bool
	// Quota says that the provider tells an account that is used up from a limit of the rate.
	Quota bool
	// Foreign is a model that takes up calls of tools which another made; "" is any.
	Foreign string
}

const testModel = "gemini-3-test" // of which Google wants signatures back

func (e Endpoint) open(t *testing.T, s *llmserver.Server, more map[string]any) driver.LLM {
	t.Helper()
	config := map[string]any{"base_url": s.URL + e.Path, "model": testModel, "api_key": llmserver.Key}
	if e.Embeds {
		config["embedding_model"] = "embed-test"
	}
	for name, v := range more {
		config[name] = v
	}
	d, err := e.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func (e Endpoint) asks(t *testing.T, model func(*llmserver.Question) llmserver.Answer) (*llm.Port, *llmserver.Server) {
	t.Helper()
	s := llmserver.New(t, model)
	return llm.New(e.open(t, s, nil)), s
}

func says(text string) func(*llmserver.Question) llmserver.Answer {
	return func(*llmserver.Question) llmserver.Answer { return llmserver.Answer{Text: text} }
}

func fails(f llmserver.Fault) func(*llmserver.Question) llmserver.Answer {
	return func(*llmserver.Question) llmserver.Answer {
		return llmserver.Answer{Text: strings.Repeat("some text ", 100), Fault: &f}
	}
}

// RunEndpoint runs the suite.
func RunEndpoint(t *testing.T, e Endpoint) {
	Run(t, Harness{
		New: func(t *testing.T, answers map[string]string) driver.LLM {
			s := llmserver.New(t, func(q *llmserver.Question) llmserver.Answer { return llmserver.Answer{Text: answers[q.Prompt()]} })
			return e.open(t, s, nil)
		},
		Stall: func(t *testing.T) driver.LLM {
			return e.open(t, llmserver.New(t, fails(llmserver.Fault{Kind: llmserver.Stall})), nil)
		},
	})
	t.Run("Question", e.testQuestion)
	t.Run("ToolLoop", e.testToolLoop)
	t.Run("ForeignCalls", e.testForeignCalls)
	t.Run("OddTools", e.testOddTools)
	t.Run("ToolChoice", e.testToolChoice)
	t.Run("BadCalls", e.testBadCalls)
	t.Run("Length", e.testLength)
	t.Run("Stream", e.testStream)
	t.Run("Schema", e.testSchema)
	t.Run("SchemaByWords", e.testSchemaByWords)
	t.Run("Embed", e.testEmbed)
	t.Run("Faults", e.testFaults)
	t.Run("StreamFaults", e.testStreamFaults)
	t.Run("RateLimit", e.testRateLimit)
	t.Run("Retries", e.testRetries)
	t.Run("Timeout", e.testTimeout)
	t.Run("Secrecy", e.testSecrecy)
	t.Run("NoModel", e.testNoModel)
}

func (e Endpoint) testQuestion(t *testing.T) {
	var got *llmserver.Question
	p, _ := e.asks(t, func(q *llmserver.Question) llmserver.Answer {
		got = q
		return llmserver.Answer{Text: "yes"}
	})
	warm := 0.5
	resp, err := p.Complete(t.Context(), &llm.Request{
		Messages: []llm.Message{{Role: driver.System, Content: "be brief"}, {Role: driver.User, Content: "one"}, {Role: driver.Assistant, Content: "1"}, {Role: driver.User, Content: "two"}},
		Model:    "other", MaxTokens: 77, Temperature: &warm,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &llmserver.Question{
		Protocol: got.Protocol, Model: "other", System: "be brief", MaxTokens: 77, Temperature: &warm,
		Messages: []llmserver.Message{{Role: "user", Text: "one"}, {Role: "assistant", Text: "1"}, {Role: "user", Text: "two"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the endpoint was asked (-want +got):\n%s", diff)
	}
	if resp.Model != "other" || resp.Usage.Estimated || resp.Usage.InputTokens != 8+2+3*4 || resp.Usage.OutputTokens < 1 {
		t.Errorf("%+v", resp)
	}
}

var weather = driver.ToolSpec{
	Name: "box.weather:now", Description: "the weather",
	Parameters: map[string]any{
		"type": "object", "required": []any{"city"}, "additionalProperties": false,
		"properties": map[string]any{"city": map[string]any{"type": "string"}, "days": map[string]any{"type": "integer"}},
	},
}

// A model calls tools, is told what they answer, and goes on; streamed or not.
func (e Endpoint) testToolLoop(t *testing.T) {
	for _, streamed := range []bool{false, true} {
		t.Run(fmt.Sprintf("streamed %v", streamed), func(t *testing.T) { e.toolLoop(t, streamed) })
	}
}

func (e Endpoint) toolLoop(t *testing.T, streamed bool) {
	var asked []*llmserver.Question
	p, _ := e.asks(t, func(q *llmserver.Question) llmserver.Answer {
		asked = append(asked, q)
		if len(asked) > 1 {
			return llmserver.Answer{Text: "It rains in Bonn."}
		}
		return llmserver.Answer{Text: "Let me see. ", Calls: []llmserver.Call{
			{ID: "call_1", Name: q.Tools[0], Arguments: `{"city": "Bonn 日本", "days": 2}`}, {ID: "call_2", Name: q.Tools[0], Arguments: `{"city": "Rome"}`},
		}}
	})
	req := &llm.Request{Messages: []llm.Message{{Role: driver.User, Content: "weather?"}}, Tools: []driver.ToolSpec{weather}}
	ask := func() *llm.Response {
		t.Helper()
		var told strings.Builder
		tell := func(piece string) { told.WriteString(piece) }
		if !streamed {
			tell = nil
		}
		resp, err := p.Stream(t.Context(), req, tell)
		if err != nil {
			t.Fatal(err)
		}
		if streamed && told.String() != resp.Content {
			t.Errorf("told %q, answered %q", told.String(), resp.Content)
		}
		return resp
	}
	resp := ask()
	if resp.FinishReason != driver.ToolUse || resp.Content != "Let me see. " || len(resp.ToolCalls) != 2 {
		t.Fatalf("%+v", resp)
	}
	first, second := resp.ToolCalls[0], resp.ToolCalls[1]
	if first.Name != weather.Name || first.Args["city"] != "Bonn 日本" || fmt.Sprint(first.Args["days"]) != "2" || first.Invalid != "" || first.ID == "" || first.ID == second.ID {
		t.Errorf("%+v", resp.ToolCalls)
	}
	req.Messages = append(req.Messages,
		llm.Message{Role: driver.Assistant, Content: resp.Content, ToolCalls: resp.ToolCalls},
		llm.Message{Role: driver.Tool, CallID: first.ID, Content: "rain"}, llm.Message{Role: driver.Tool, CallID: second.ID, Content: "sun"})
	if resp = ask(); resp.Content != "It rains in Bonn." || resp.FinishReason != driver.Stop || resp.ToolCalls != nil {
		t.Errorf("%+v", resp)
	}
	got := asked[1].Messages
	if len(got) != 4 || len(got[1].Calls) != 2 || got[2].Text != "rain" || got[3].Text != "sun" || got[2].Answers != got[1].Calls[0].ID || got[1].Calls[0].Name != asked[0].Tools[0] {
		t.Errorf("the endpoint was told %+v", got)
	}
	if asked[0].Protocol == "google" && got[1].Calls[0].Signature != "signed:"+asked[0].Tools[0] {
		t.Errorf("the signature came back as %q", got[1].Calls[0].Signature)
	}
}

// A tool whose schema an endpoint would refuse, and with it all others, is offered in a form that it takes; calls are held to the schema.
func (e Endpoint) testOddTools(t *testing.T) {
	object := func(members ...any) map[string]any {
		m := map[string]any{}
		for i := 0; i < len(members); i += 2 {
			m[members[i].(string)] = members[i+1]
		}
		return m
	}
	either := object("anyOf", []any{object("required", []any{"a"}), object("required", []any{"b"})}, "properties", object("a", object("type", "string"), "b", object("type", "string")))
	tools := []driver.ToolSpec{{Name: "any", Parameters: object()}, {Name: "either", Parameters: either}, {Name: "text", Parameters: object("type", "string")}, {Name: "one", Parameters: object("oneOf", []any{object("type", "object")})}, {Name: "none"}}
	p, _ := e.asks(t, func(q *llmserver.Question) llmserver.Answer {
		return llmserver.Answer{Calls: []llmserver.Call{{ID: "1", Name: "either", Arguments: `{}`}, {ID: "2", Name: "either", Arguments: `{"b": "x"}`}, {ID: "3", Name: "any", Arguments: `{"x": 1}`}}}
	})
	resp, err := p.Complete(t.Context(), &llm.Request{Messages: ask("hi").Messages, Tools: tools})
	if err != nil {
		t.Fatal(err)
	}
	if c := resp.ToolCalls; len(c) != 3 || c[0].Invalid == "" || c[1].Invalid != "" || c[2].Invalid != "" {
		t.Errorf("%+v", c)
	}
	if len(either) != 2 || either["type"] != nil {
		t.Error("the request was changed")
	}
}

// A conversation that another provider's model began is taken up: a pool goes on with whoever answers.
func (e Endpoint) testForeignCalls(t *testing.T) {
	var got *llmserver.Question
	p, _ := e.asks(t, func(q *llmserver.Question) llmserver.Answer {
		got = q
		return llmserver.Answer{Text: "ok"}
	})
	for _, signature := range []string{"", `[{"type":"thinking","thinking":"hm","signature":"x"}]`, "\xff"} {
		calls := []driver.ToolCall{{ID: "functions.now:0", Name: weather.Name, Arguments: `{}`, Signature: signature}, {ID: strings.Repeat("x", 100), Name: weather.Name, Arguments: `no JSON`}}
		_, err := p.Complete(t.Context(), &llm.Request{Model: e.Foreign, Tools: []driver.ToolSpec{weather}, Messages: []llm.Message{
			{Role: driver.System, Content: " "}, {Role: driver.User, Content: "weather?"}, {Role: driver.Assistant, Content: "\n", ToolCalls: calls}, {Role: driver.Tool, CallID: calls[0].ID, Content: "rain"}, {Role: driver.Tool, CallID: calls[1].ID, Content: ""},
		}})
		if err != nil {
			t.Fatalf("with the signature %q: %v", signature, err)
		}
		m := got.Messages
		if len(m) != 4 || len(m[1].Calls) != 2 || m[2].Answers != m[1].Calls[0].ID || m[3].Answers != m[1].Calls[1].ID || m[2].Answers == m[3].Answers || m[2].Text != "rain" {
			t.Errorf("the endpoint was told %+v", m)
		}
	}
}

func (e Endpoint) testToolChoice(t *testing.T) {
	var got *llmserver.Question
	p, _ := e.asks(t, func(q *llmserver.Question) llmserver.Answer {
		got = q
		return llmserver.Answer{Text: "ok"}
	})
	for _, c := range []struct {
		choice driver.ToolChoice
		want   []string
	}{
		{driver.ToolChoice{}, []string{"", "auto"}}, {driver.ToolChoice{Mode: driver.Auto}, []string{"", "auto"}}, {driver.ToolChoice{Mode: driver.None}, []string{"none"}},
		{driver.ToolChoice{Mode: driver.Required}, []string{"required"}}, {driver.ToolChoice{Name: weather.Name}, []string{"box_weather_now"}},
	} {
		// The second has, for an endpoint, the first one's name; the third begins with a digit.
		tools := []driver.ToolSpec{weather, {Name: "box weather now"}, {Name: "3d"}}
		_, err := p.Complete(t.Context(), &llm.Request{Messages: ask("hi").Messages, Tools: tools, ToolChoice: c.choice})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(" "+strings.Join(c.want, " ")+" ", " "+got.Choice+" ") || len(got.Tools) != 3 || got.Tools[1] != "box_weather_now_2" {
			t.Errorf("%+v: choice %q of %q, want %q", c.choice, got.Choice, got.Tools, c.want)
		}
	}
}

// What a model makes up is told, and stops nothing.
func (e Endpoint) testBadCalls(t *testing.T) {
	p, _ := e.asks(t, func(q *llmserver.Question) llmserver.Answer {
		return llmserver.Answer{Calls: []llmserver.Call{
			{ID: "a", Name: "rm_rf", Arguments: `{}`}, {ID: "b", Name: q.Tools[0], Arguments: `{"city": 7}`}, {ID: "c", Name: q.Tools[0], Arguments: `[1]`}, {ID: "d", Name: q.Tools[0], Arguments: `{"city": "Bonn"`},
		}}
	})
	for _, tell := range []func(string){nil, func(string) {}} {
		resp, err := p.Stream(t.Context(), &llm.Request{Messages: ask("hi").Messages, Tools: []driver.ToolSpec{weather}}, tell)
		if kernel.CodeOf(err) == kernel.CodeFailed && strings.Contains(err.Error(), "no usable answer") {
			continue // a client that reads the arguments itself
		}
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"there is no tool rm_rf; there are box.weather:now", "break its parameters", "", ""} {
			if c := resp.ToolCalls[i]; c.Invalid == "" || !strings.Contains(c.Invalid, want) {
				t.Errorf("call %d: %+v, want %q", i, c, want)
			}
		}
	}
}

func (e Endpoint) testLength(t *testing.T) {
	p, _ := e.asks(t, func(*llmserver.Question) llmserver.Answer { return llmserver.Answer{Text: "and so", Length: true} })
	for _, tell := range []func(string){nil, func(string) {}} {
		resp, err := p.Stream(t.Context(), ask("hi"), tell)
		if err != nil || resp.FinishReason != driver.Length || resp.Content != "and so" {
			t.Errorf("%+v, %v", resp, err)
		}
	}
}

func (e Endpoint) testStream(t *testing.T) {
	text := strings.Repeat("naïve 日本語 🦔 \"quoted\" \n", 50)
	p, s := e.asks(t, says(text))
	var told []string
	resp, err := p.Stream(t.Context(), ask("hi"), func(piece string) { told = append(told, piece) })
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(told, ""); got != text || resp.Content != text || len(told) < 10 {
		t.Errorf("%d pieces, %d bytes told, %d answered, of %d", len(told), len(got), len(resp.Content), len(text))
	}
	whole, err := p.Complete(t.Context(), ask("hi"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(whole, resp); diff != "" {
		t.Errorf("streamed it is another answer (-whole +streamed):\n%s", diff)
	}
	if n := len(s.Requests()); n != 2 {
		t.Errorf("%d requests", n)
	}
}

var person = map[string]any{
	"type": "object", "required": []any{"name"},
	"properties": map[string]any{
		"name": map[string]any{"type": "string", "minLength": kernel.Number(1)},
		"tags": map[string]any{"type": "array", "items": map[string]any{"type": "object", "properties": map[string]any{"t": map[string]any{"type": "integer", "minimum": kernel.Number(0)}}}},
	},
}

// A model is held to a schema by the endpoint, as far as that can; the rest is checked.
func (e Endpoint) testSchema(t *testing.T) {
	answer := `{"name": "Ada"}`
	var got *llmserver.Question
	p, s := e.asks(t, func(q *llmserver.Question) llmserver.Answer {
		got = q
		return llmserver.Answer{Text: answer}
	})
	req := ask("who?")
	req.Schema = person
	resp, err := p.Complete(t.Context(), req)
	if err != nil || got.Schema["type"] != "object" || fmt.Sprint(resp.Parsed) != "map[name:Ada]" {
		t.Errorf("%+v, %v; the schema was %v", resp, err, got.Schema)
	}
	answer = `{"name": ""}`
	if _, err = p.Complete(t.Context(), req); kernel.CodeOf(err) != kernel.CodeFailed || !strings.Contains(err.Error(), "breaks the schema") {
		t.Errorf("an answer that breaks what the endpoint does not know: %v", err)
	}
	if n := len(s.Requests()); n != 2 {
		t.Errorf("%d requests: it was asked again", n)
	}
}

// Where an endpoint holds no model to a schema, the model is asked by words, and told what is wrong.
func (e Endpoint) testSchemaByWords(t *testing.T) {
	answers := []string{"Sure! The name is Ada.", "```json\n{\"name\": 7}\n```", "Here:\n```json\n{\"name\": \"Ada\"}\n```\nAnything else?"}
	var asked []*llmserver.Question
	s := llmserver.New(t, func(q *llmserver.Question) llmserver.Answer {
		asked = append(asked, q)
		return llmserver.Answer{Text: answers[min(len(asked), len(answers))-1]}
	})
	p := llm.New(e.open(t, s, map[string]any{"structured_output": "prompt"}))
	run := &kernel.RunContext{}
	req := ask("who?")
	req.Schema = person
	resp, err := p.Complete(kernel.WithRun(t.Context(), run), req)
	if err != nil || fmt.Sprint(resp.Parsed) != "map[name:Ada]" || resp.Content != `{"name": "Ada"}` {
		t.Fatalf("%+v, %v", resp, err)
	}
	if len(asked) != 3 || asked[0].Schema != nil || !strings.Contains(asked[0].System, `"minLength":1`) {
		t.Fatalf("asked %d times, first %+v", len(asked), asked[0])
	}
	if last := asked[2].Messages; len(last) != 5 || !strings.Contains(last[2].Text, "That was not it") || !strings.Contains(last[4].Text, "name") {
		t.Errorf("%+v", last)
	}
	if u := run.Usage.Snapshot(); u.LLMCalls != 3 || u.InputTokens != resp.Usage.InputTokens || u.OutputTokens != resp.Usage.OutputTokens {
		t.Errorf("charged %+v for %+v", u, resp.Usage)
	}
	answers, asked = []string{"no"}, nil
	resp, err = p.Complete(t.Context(), req)
	if kernel.CodeOf(err) != kernel.CodeFailed || !strings.Contains(err.Error(), "no answer of the schema's shape when it was asked 3 times") || len(asked) != 3 || resp == nil {
		t.Errorf("%v after %d questions", err, len(asked))
	}
}

func (e Endpoint) testEmbed(t *testing.T) {
	p, _ := e.asks(t, says(""))
	run := &kernel.RunContext{}
	out, err := p.Embed(kernel.WithRun(t.Context(), run), &llm.EmbedRequest{Texts: []string{"a", "abc", "abcde"}, Dimensions: 3})
	if !e.Embeds {
		if kernel.CodeOf(err) != kernel.CodeUnsupported || !strings.Contains(err.Error(), "makes no embeddings") {
			t.Errorf("%v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]float32{{1, 0.5, 0.25}, {3, 0.5, 1.25}, {5, 0.5, 2.25}}, out.Vectors); diff != "" {
		t.Errorf("vectors (-want +got):\n%s", diff)
	}
	if out.Model != "embed-test" || out.Usage.InputTokens < 3 || run.Usage.InputTokens.Load() != out.Usage.InputTokens {
		t.Errorf("%+v, charged %+v", out, run.Usage.Snapshot())
	}
	for says, req := range map[string]*llm.EmbedRequest{"texts has 0 items": {}, "texts[1] is empty": {Texts: []string{"a", ""}}, "dimensions is -1": {Texts: []string{"a"}, Dimensions: -1}} {
		if _, err := p.Embed(t.Context(), req); kernel.CodeOf(err) != kernel.CodeArguments || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}
