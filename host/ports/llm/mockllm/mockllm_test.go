package mockllm_test

import (
	"context"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/hexdag/hexdag/host/ports/llm/llmtest"
	"github.com/hexdag/hexdag/host/ports/llm/mockllm"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	llmtest.Run(t, llmtest.Harness{
		New: func(t *testing.T, answers map[string]string) driver.LLM {
			var cfg mockllm.Config
			for prompt, answer := range answers {
				// To answer ${x} as it stands, a group that captures nothing splits it.
				cfg.Rules = append(cfg.Rules, mockllm.Rule{
					Match: mockllm.Patterns{`\A` + regexp.QuoteMeta(prompt) + `\z`, `(?P<x>\A)`},
					Reply: strings.ReplaceAll(answer, "${x}", "${${x}x}"),
				})
			}
			return open(t, cfg)
		},
		Stall: func(t *testing.T) driver.LLM { return open(t, mockllm.Config{DelayMS: 3_600_000}) },
	})
}

func open(t *testing.T, cfg mockllm.Config) driver.LLM {
	t.Helper()
	d, err := mockllm.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func fromYAML(t *testing.T, text string) (driver.LLM, error) {
	t.Helper()
	config, err := kernel.DecodeJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return mockllm.FromConfig(config.(map[string]any))
}

func say(t *testing.T, d driver.LLM, messages ...driver.Message) (string, error) {
	t.Helper()
	resp, err := d.Complete(t.Context(), &driver.Request{Messages: messages})
	if err != nil {
		return "", err
	}
	return resp.Content, nil
}

func user(text string) driver.Message { return driver.Message{Role: driver.User, Content: text} }

func TestResponses(t *testing.T) {
	d, err := fromYAML(t, `{"responses": ["one", {"n": 2, "a": [1.50, null]}, "last"]}`)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"one", `{"a":[1.50,null],"n":2}`, "last", "last", "last"} {
		if got, err := say(t, d, user("anything")); err != nil || got != want {
			t.Errorf("answer %d is %q, %v; want %q", i, got, err, want)
		}
	}
}

func TestResponsesAreGivenOnceUnderConcurrency(t *testing.T) {
	d := open(t, mockllm.Config{Responses: []any{"a", "b", "c", "last"}})
	var mu sync.Mutex
	count := map[string]int{}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			got, _ := say(t, d, user("x"))
			mu.Lock()
			defer mu.Unlock()
			count[got]++
		})
	}
	wg.Wait()
	if count["a"] != 1 || count["b"] != 1 || count["c"] != 1 || count["last"] != 17 {
		t.Errorf("answers %v: want a, b and c once and last 17 times", count)
	}
}

func TestNoScript(t *testing.T) {
	if got, err := say(t, open(t, mockllm.Config{}), user("x")); err != nil || got != `{"result":"Mock response"}` {
		t.Errorf("answer %q, %v", got, err)
	}
}

const triage = `{
  "model": "triage-1",
  "rules_file": "triage.yaml",
  "rules": [
    {"match": ["(?i)refund", "order (?P<order>[A-Z]-\\d+)"], "reply": {"kind": "refund", "order": "${order}", "of": ["${order}!"]}},
    {"match": "(?i)refund", "reply": {"kind": "refund", "order": null}},
    {"match": "my name is (?P<name>\\w+)", "reply": "Hello, ${name}. $1 costs ${name}"}
  ]%s
}`

func TestRules(t *testing.T) {
	d, err := fromYAML(t, strings.Replace(triage, "%s", `, "default": {"kind": "other"}`, 1))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		messages []driver.Message
		want     string
	}{
		{"all patterns", []driver.Message{user("A refund of order A-17 please")}, `{"kind":"refund","of":["A-17!"],"order":"A-17"}`},
		{"the first rule wins", []driver.Message{user("REFUND me")}, `{"kind":"refund","order":null}`},
		{"user messages are joined", []driver.Message{user("refund"), user("order B-2")}, `{"kind":"refund","of":["B-2!"],"order":"B-2"}`},
		{"other roles do not count", []driver.Message{{Role: driver.System, Content: "refund"}, user("hi")}, `{"kind":"other"}`},
		{"text reply", []driver.Message{user("my name is Ada")}, "Hello, Ada. $1 costs Ada"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got, err := say(t, d, test.messages...); err != nil || got != test.want {
				t.Errorf("answer %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

func TestCapturedTextStaysText(t *testing.T) {
	d, err := fromYAML(t, `{"rules": [{"match": "(?s)say (?P<x>.*)", "reply": {"said": "${x}"}}]}`)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"said":"\", \"admin\": true, \"${x}"}`
	if got, err := say(t, d, user(`say ", "admin": true, "${x}`)); err != nil || got != want {
		t.Errorf("answer %q, %v; want %q", got, err, want)
	}
}

func TestNoRuleMatches(t *testing.T) {
	d, err := fromYAML(t, strings.Replace(triage, "%s", "", 1))
	if err != nil {
		t.Fatal(err)
	}
	_, err = say(t, d, user("hello\x1b[31m"))
	if kernel.CodeOf(err) != kernel.CodeFailed {
		t.Fatalf("error %v, want code %q", err, kernel.CodeFailed)
	}
	for _, part := range []string{"none of the 3 rules of triage.yaml", "hello"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
	if strings.Contains(err.Error(), "\x1b") {
		t.Errorf("error %q holds an escape sequence", err)
	}
}

func TestUsageAndModel(t *testing.T) {
	d := open(t, mockllm.Config{Responses: []any{"12345"}, Model: "m"})
	resp, err := d.Complete(context.Background(), &driver.Request{Messages: []driver.Message{user("日本語四五"), {Role: driver.System, Content: ""}}})
	if err != nil {
		t.Fatal(err)
	}
	// Five runes are two tokens, a message is four more, and an empty text none.
	if want := (driver.Usage{InputTokens: 10, OutputTokens: 2, TotalTokens: 12, Estimated: true}); resp.Usage != want {
		t.Errorf("usage %+v, want %+v", resp.Usage, want)
	}
	if resp.Model != "m" {
		t.Errorf("model %q, want m", resp.Model)
	}
}

func TestBadConfig(t *testing.T) {
	for config, part := range map[string]string{
		`{"respones": ["x"]}`: "respones",
		`{"responses": "x"}`:  "responses",
		`{"responses": ["x"], "rules": [{"match": "x", "reply": "y"}]}`:        "one or the other",
		`{"responses": ["x"], "default": "y"}`:                                 "one or the other",
		`{"rules": [{"match": "(", "reply": "y"}]}`:                            "rules[0]",
		`{"rules": [{"match": "x", "reply": "y"}, {"match": [], "reply": 1}]}`: "rules[1]",
		`{"rules": [{"match": "x"}]}`:                                          "reply",
		`{"rules": [{"match": 7, "reply": "y"}]}`:                              "a string or a list of strings",
		`{"rules": [{"match": "(?P<a>x)", "reply": "${b}"}]}`:                  "${b}",
		`{"rules": [{"match": ["(?P<a>x)", "(?P<a>y)"], "reply": "${a}"}]}`:    "two groups are named a",
		`{"rules_file": "r.yaml"}`:                                             "r.yaml",
		`{"delay_ms": -1}`:                                                     "delay_ms",
	} {
		_, err := fromYAML(t, config)
		if kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: error %v, want code %q and %q", config, err, kernel.CodeConfig, part)
		}
	}
}

// Calls of tools that are no calls are found when the script is read.
func TestBadCallsInScripts(t *testing.T) {
	for _, config := range []map[string]any{
		{"responses": []any{map[string]any{"tool_calls": []any{map[string]any{"arguments": map[string]any{}}}}}},
		{"default": map[string]any{"tool_calls": []any{1}}},
		{"rules": []any{map[string]any{"match": "x", "reply": map[string]any{"tool_calls": []any{"look"}}}}},
	} {
		_, err := mockllm.FromConfig(config)
		if kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), "tool_calls[0] must be {name, arguments}") {
			t.Errorf("%v: %v", config, err)
		}
	}
}

// A rule can look at what tools answered since the model said something last, and no further back.
func TestResults(t *testing.T) {
	d, err := fromYAML(t, `{"rules": [
    {"match": "go", "result": ["first (?P<a>\\d+)", "second (?P<b>\\d+)"], "reply": "${a} and ${b}"},
    {"match": "go", "result": "first (?P<a>\\d+)", "reply": "only ${a}"}
  ], "default": "nothing"}`)
	if err != nil {
		t.Fatal(err)
	}
	tool := func(text string) driver.Message { return driver.Message{Role: driver.Tool, Content: text} }
	answer := driver.Message{Role: driver.Assistant, Content: "well"}
	for name, c := range map[string]struct {
		messages []driver.Message
		want     string
	}{
		"both":           {[]driver.Message{user("go"), answer, tool("first 1"), tool("second 2")}, "1 and 2"},
		"one":            {[]driver.Message{user("go"), answer, tool("first 1")}, "only 1"},
		"of before":      {[]driver.Message{user("go"), answer, tool("second 2"), answer, tool("first 1")}, "only 1"},
		"none":           {[]driver.Message{user("go"), answer}, "nothing"},
		"said by a user": {[]driver.Message{user("go"), answer, user("first 1")}, "nothing"},
	} {
		if got, err := say(t, d, c.messages...); err != nil || got != c.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for text, want := range map[string]string{
		`{"rules": [{"match": "a", "result": "(", "reply": "x"}]}`:               "result: ",
		`{"rules": [{"match": "(?P<a>x)", "result": "(?P<a>y)", "reply": "x"}]}`: "result: two groups are named a",
	} {
		if _, err := fromYAML(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
