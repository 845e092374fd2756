// Package llmtest is the suite that every backend of the llm port passes.
package llmtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
)

// Harness makes what the suite tests. Both functions close, at the end of the
// test, whatever they started beside the driver; the suite closes the driver.
type Harness struct {
	// New returns a driver whose model answers each of the prompts, the only user
	// message of a request, with its answer.
	New func(t *testing.T, answers map[string]string) driver.LLM
	// Stall returns a driver whose model takes longer than any test.
	Stall func(t *testing.T) driver.LLM
}

// soon is how long a driver may take to notice that its context has ended.
const soon = 5 * time.Second

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Run("Answer", h.testAnswer)
	t.Run("Usage", h.testUsage)
	t.Run("Model", h.testModel)
	t.Run("RequestUnchanged", h.testRequestUnchanged)
	t.Run("Schema", h.testSchema)
	t.Run("Pieces", h.testPieces)
	t.Run("Vectors", h.testVectors)
	t.Run("Concurrent", h.testConcurrent)
	t.Run("Ended", h.testEnded)
	t.Run("Canceled", h.testCanceled)
	t.Run("Deadline", h.testDeadline)
}

func (h Harness) open(t *testing.T, answers map[string]string) *llm.Port {
	return port(t, h.New(t, answers))
}

func port(t *testing.T, d driver.LLM) *llm.Port {
	t.Helper()
	p := llm.New(d)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return p
}

func ask(prompt string) *llm.Request {
	return &llm.Request{Messages: []llm.Message{{Role: driver.User, Content: prompt}}}
}

func (h Harness) testAnswer(t *testing.T) {
	answers := map[string]string{
		"plain":     "an answer",
		"lines":     "one\ntwo\r\n\n three\t",
		"unicode":   "naïve 日本語 🦔 \u202e",
		"quotes":    `"\"'${x}` + "`\x00",
		"json":      `{"a": [1, 2.50, null]}`,
		"long":      strings.Repeat("long ", 40_000),
		"prompt 日本": "foreign prompt",
	}
	p := h.open(t, answers)
	for prompt, want := range answers {
		resp, err := p.Complete(t.Context(), ask(prompt))
		if err != nil {
			t.Errorf("%s: %v", prompt, err)
			continue
		}
		if resp.Content != want {
			t.Errorf("%s: content %q, want %q", prompt, kernel.Quote(resp.Content), kernel.Quote(want))
		}
		if resp.FinishReason != "stop" {
			t.Errorf("%s: finish reason %q, want stop", prompt, resp.FinishReason)
		}
	}
}

func (h Harness) testUsage(t *testing.T) {
	p := h.open(t, map[string]string{"short": "yes", strings.Repeat("word ", 500): strings.Repeat("word ", 500)})
	short, err := p.Complete(t.Context(), ask("short"))
	if err != nil {
		t.Fatal(err)
	}
	long, err := p.Complete(t.Context(), ask(strings.Repeat("word ", 500)))
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []llm.Usage{short.Usage, long.Usage} {
		if u.InputTokens <= 0 || u.OutputTokens <= 0 || u.TotalTokens != u.InputTokens+u.OutputTokens {
			t.Errorf("usage %+v: not positive, or not the sum of its parts", u)
		}
	}
	if long.Usage.InputTokens <= short.Usage.InputTokens || long.Usage.OutputTokens <= short.Usage.OutputTokens {
		t.Errorf("usage of a long exchange %+v is not above that of a short one %+v", long.Usage, short.Usage)
	}
}

func (h Harness) testModel(t *testing.T) {
	p := h.open(t, map[string]string{"hello": "hi"})
	resp, err := p.Complete(t.Context(), ask("hello"))
	if err != nil {
		t.Fatal(err)
	}
	if resp.Model == "" {
		t.Error("the response names no model")
	}
	req := ask("hello")
	req.Model = resp.Model
	again, err := p.Complete(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if again.Model != resp.Model {
		t.Errorf("asked for model %q, answered by %q", resp.Model, again.Model)
	}
}

func (h Harness) testRequestUnchanged(t *testing.T) {
	p := h.open(t, map[string]string{"hello": `{"ok": true}`})
	request := func() *llm.Request {
		temperature := 0.5
		return &llm.Request{
			Messages: []llm.Message{
				{Role: driver.System, Content: "be brief"}, {Role: driver.Assistant, Content: "I shall"}, {Role: driver.User, Content: "hello"},
			},
			MaxTokens: 100, Temperature: &temperature,
			Schema: map[string]any{"type": "object", "required": []any{"ok"}},
		}
	}
	req := request()
	if _, err := p.Complete(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(request(), req); diff != "" {
		t.Errorf("the driver changed the request (-before +after):\n%s", diff)
	}
}

func (h Harness) testSchema(t *testing.T) {
	p := h.open(t, map[string]string{"good": `{"n": 7}`, "broken": "Sure! {", "wrong": `{"n": "seven"}`})
	schema := map[string]any{
		"type": "object", "required": []any{"n"},
		"properties": map[string]any{"n": map[string]any{"type": "integer"}},
	}
	for prompt, code := range map[string]kernel.Code{"good": "", "broken": kernel.CodeFailed, "wrong": kernel.CodeFailed} {
		req := ask(prompt)
		req.Schema = schema
		resp, err := p.Complete(t.Context(), req)
		if kernel.CodeOf(err) != code {
			t.Errorf("%s: error %v, want code %q", prompt, err, code)
		}
		if resp == nil || resp.Usage.TotalTokens <= 0 {
			t.Errorf("%s: response %+v: what the answer cost is lost", prompt, resp)
		}
		if n := resp != nil && resp.Parsed != nil; n != (code == "") {
			t.Errorf("%s: parsed is there: %v", prompt, n)
		}
	}
}

// A driver that streams tells of an answer what it answers.
func (h Harness) testPieces(t *testing.T) {
	const answer = "one two\nthree 日本 🦔 "
	d := h.New(t, map[string]string{"hello": answer})
	streamer, ok := d.(driver.Streamer)
	if !ok {
		t.Skip("it does not stream")
	}
	defer d.Close()
	var told strings.Builder
	resp, err := streamer.Stream(t.Context(), ask("hello"), func(piece string) { told.WriteString(piece) })
	if err != nil || told.String() != answer || resp.Content != answer || resp.FinishReason != driver.Stop || resp.Usage.OutputTokens <= 0 {
		t.Errorf("told %q, %+v, %v", told.String(), resp, err)
	}
}

// A driver that makes vectors makes one of each text, all of one length.
func (h Harness) testVectors(t *testing.T) {
	d := h.New(t, nil)
	embedder, ok := d.(driver.Embedder)
	if !ok {
		t.Skip("it makes no vectors")
	}
	defer d.Close()
	texts := []string{"a", "naïve 日本 🦔", strings.Repeat("long ", 2000)}
	out, err := embedder.Embed(t.Context(), &driver.EmbedRequest{Texts: texts, Dimensions: 8})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range out.Vectors {
		if len(v) != 8 {
			t.Errorf("vector %d has %d dimensions", i, len(v))
		}
	}
	if len(out.Vectors) != len(texts) || out.Model == "" {
		t.Errorf("%d vectors of %d texts, by %q", len(out.Vectors), len(texts), out.Model)
	}
}

func (h Harness) testConcurrent(t *testing.T) {
	answers := map[string]string{}
	for i := range 8 {
		answers[fmt.Sprintf("question %d", i)] = fmt.Sprintf("answer %d", i)
	}
	p := h.open(t, answers)
	var wg sync.WaitGroup
	for prompt, want := range answers {
		for range 4 {
			wg.Go(func() {
				resp, err := p.Complete(t.Context(), ask(prompt))
				if err != nil {
					t.Errorf("%s: %v", prompt, err)
				} else if resp.Content != want {
					t.Errorf("%s: %q, want %q", prompt, resp.Content, want)
				}
			})
		}
	}
	wg.Wait()
}

func (h Harness) testEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := h.open(t, map[string]string{"hello": "hi"}).Complete(ctx, ask("hello"))
	checkEnd(t, err, kernel.CodeCanceled, context.Canceled)
}

func (h Harness) testCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	start := time.Now()
	_, err := port(t, h.Stall(t)).Complete(ctx, ask("hello"))
	checkEnd(t, err, kernel.CodeCanceled, context.Canceled)
	if took := time.Since(start); took > soon {
		t.Errorf("it took %s to notice the end", took)
	}
}

func (h Harness) testDeadline(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := port(t, h.Stall(t)).Complete(ctx, ask("hello"))
	checkEnd(t, err, kernel.CodeTimeout, context.DeadlineExceeded)
}

func checkEnd(t *testing.T, err error, code kernel.Code, cause error) {
	t.Helper()
	if kernel.CodeOf(err) != code || !errors.Is(err, cause) {
		t.Errorf("error %v (code %q), want code %q and cause %v", err, kernel.CodeOf(err), code, cause)
	}
}
