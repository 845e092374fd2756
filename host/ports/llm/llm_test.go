package llm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/llm"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a model that answers content, or fails, and keeps the last request.
type fake struct {
	content string
	usage   *driver.Usage // nil is some
	err     error
	last    *driver.Request
}

func (f *fake) Complete(_ context.Context, req *driver.Request) (*driver.Response, error) {
	f.last = req
	if f.err != nil {
		return nil, f.err
	}
	usage := driver.Usage{InputTokens: 10, OutputTokens: 5, TotalTokens: 15}
	if f.usage != nil {
		usage = *f.usage
	}
	return &driver.Response{Content: f.content, FinishReason: "stop", Model: "fake-1", Usage: usage}, nil
}

func (f *fake) Close() error { return f.err }

// call calls llm.complete as the door does, with the arguments written as JSON.
func call(ctx context.Context, t *testing.T, f *fake, args string) (*kernel.PortReply, error) {
	t.Helper()
	value, err := kernel.DecodeJSON([]byte(args))
	if err != nil {
		t.Fatal(err)
	}
	op := complete(t, f)
	return op.Func(ctx, &kernel.PortCall{Op: op.Name, Args: value.(map[string]any)})
}

func complete(t *testing.T, f *fake) ports.Op {
	t.Helper()
	ops := llm.New(f).Ops()
	if len(ops) != 3 || ops[0].Name != "llm.complete" {
		t.Fatalf("ops %+v, want llm.complete", ops)
	}
	return ops[0]
}

func TestCompleteOp(t *testing.T) {
	f := &fake{content: `{"ok": true, "n": 2.50}`}
	reply, err := call(t.Context(), t, f, `{
		"messages": [{"role": "system", "content": "s"}, {"role": "human", "content": "h"}, {"role": "ai", "content": ""}, {"role": "user", "content": "u"}],
		"model": "m", "max_tokens": 7, "temperature": 0.5, "schema": {"type": "object", "required": ["ok"]}}`)
	if err != nil {
		t.Fatal(err)
	}
	temperature := 0.5
	wantRequest := &driver.Request{
		Messages: []driver.Message{
			{Role: driver.System, Content: "s"}, {Role: driver.User, Content: "h"},
			{Role: driver.Assistant, Content: ""}, {Role: driver.User, Content: "u"},
		},
		Model: "m", MaxTokens: 7, Temperature: &temperature,
		Schema: map[string]any{"type": "object", "required": []any{"ok"}},
	}
	if diff := cmp.Diff(wantRequest, f.last); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	wantReply := map[string]any{
		"content": f.content, "finish_reason": "stop", "model": "fake-1",
		"usage":  map[string]any{"input_tokens": json.Number("10"), "output_tokens": json.Number("5"), "total_tokens": json.Number("15")},
		"parsed": map[string]any{"ok": true, "n": json.Number("2.50")},
	}
	if diff := cmp.Diff(wantReply, reply.Value); diff != "" {
		t.Errorf("reply (-want +got):\n%s", diff)
	}
	if guards := complete(t, f).Guards; len(guards) != 1 || guards[0] != "model" {
		t.Errorf("guards %v, want model", guards)
	}
}

func TestCompleteRefusesArguments(t *testing.T) {
	const hi = `"messages": [{"role": "user", "content": "hi"}]`
	for args, says := range map[string]string{
		`{}`:                 "messages is empty",
		`{"messages": []}`:   "messages is empty",
		`{"messages": "hi"}`: "messages must be a list",
		`{"messages": [7]}`:  "messages[0] must be an object",
		`{"messages": [{"role": "user", "content": "a"}, {"role": "user"}]}`:       "messages[1] must have a role and a content",
		`{"messages": [{"role": "user", "content": null}]}`:                        "messages[0] must have a role and a content",
		`{"messages": [{"role": "user", "content": ["a"]}]}`:                       "messages[0] must have a role and a content",
		`{"messages": [{"role": "root", "content": "a"}]}`:                         `messages[0].role is "root"; it is one of system, user, assistant`,
		`{"messages": [{"role": "USER", "content": "a"}]}`:                         "messages[0].role",
		`{"messages": [{"role": "user", "content": "a", "name": "x"}]}`:            `unknown member "name"`,
		`{` + hi + `, "max_token": 7}`:                                             `unknown argument "max_token"; it takes`,
		`{` + hi + `, "model": 7}`:                                                 "model must be a name",
		`{` + hi + `, "model": ""}`:                                                "model must be a name",
		`{` + hi + `, "max_tokens": 0}`:                                            "max_tokens must be an integer from 1",
		`{` + hi + `, "max_tokens": 1.5}`:                                          "max_tokens must be an integer",
		`{` + hi + `, "max_tokens": 1e99}`:                                         "max_tokens must be an integer",
		`{` + hi + `, "max_tokens": "7"}`:                                          "max_tokens must be an integer",
		`{` + hi + `, "temperature": "hot"}`:                                       "temperature must be a number",
		`{` + hi + `, "temperature": 1e999}`:                                       "temperature",
		`{` + hi + `, "temperature": -0.1}`:                                        "temperature is -0.1; it is from 0 to 2",
		`{` + hi + `, "schema": "object"}`:                                         "schema must be a JSON Schema",
		`{` + hi + `, "schema": {"type": "objekt"}}`:                               "schema:",
		`{` + hi + `, "schema": {"pattern": "("}}`:                                 "schema:",
		`{` + hi + `, "schema": {"$ref": "file:///etc/passwd"}}`:                   "names nothing",
		`{` + hi + `, "schema": {"$ref": "https://example.com/x.json"}}`:           "names nothing",
		`{` + hi + `, "schema": {"$ref": "#/$defs/nobody"}}`:                       "names nothing",
		`{` + hi + `, "schema": {"$id": "file:///etc/passwd"}}`:                    "$id is not supported",
		`{` + hi + `, "schema": {"$schema": "file:///etc/passwd"}}`:                "$schema must be",
		`{` + hi + `, "schema": {"$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}}}`: "recursive schemas are not supported",
		`{` + hi + `, "schema": {"maximum": 1e999999999}}`:                         "too long",
		`{` + hi + `, "schema": {"multipleOf": 1e-999999999}}`:                     "too long",
	} {
		f := &fake{content: "{}"}
		_, err := call(t.Context(), t, f, args)
		if kernel.CodeOf(err) != kernel.CodeArguments || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v, want code %q and %q", args, err, kernel.CodeArguments, says)
		}
		if f.last != nil {
			t.Errorf("%s: the model was asked", args)
		}
	}
}

func TestCompleteTakesNoBody(t *testing.T) {
	op := complete(t, &fake{})
	_, err := op.Func(t.Context(), &kernel.PortCall{Body: []byte("x"), Args: map[string]any{}})
	if kernel.CodeOf(err) != kernel.CodeArguments || !strings.Contains(err.Error(), "body") {
		t.Errorf("error %v, want one about the body", err)
	}
}

func TestPromptIsBounded(t *testing.T) {
	f := &fake{}
	_, err := llm.New(f).Complete(t.Context(), &llm.Request{Messages: []llm.Message{{Role: driver.User, Content: strings.Repeat("x", 8<<20+1)}}})
	if kernel.CodeOf(err) != kernel.CodeLimit || f.last != nil {
		t.Errorf("error %v, want code %q before the model is asked", err, kernel.CodeLimit)
	}
}

const person = `{"type": "object", "required": ["name", "age"], "additionalProperties": false,
  "properties": {"name": {"type": "string", "minLength": 1}, "age": {"$ref": "#/$defs/age"}},
  "$defs": {"age": {"type": "integer", "minimum": 0, "maximum": 150}}}`

func TestSchemaHoldsAnswers(t *testing.T) {
	for answer, says := range map[string]string{
		` {"name": "Ada", "age": 36} `:         "",
		`{"name": "Ada", "age": 36.0}`:         "",
		`{"name": "Ada"}`:                      "age",
		`{"name": "Ada", "age": "36"}`:         "age",
		`{"name": "Ada", "age": 151}`:          "maximum",
		`{"name": "", "age": 3}`:               "name",
		`{"name": "Ada", "age": 36, "x": 1}`:   "x",
		`[]`:                                   "breaks the schema",
		"```json\n{}\n```":                     "no valid JSON",
		`{"name": "Ada", "age": 36} and more`:  "no valid JSON",
		`{"name": "Ada", "age": 3, "age": 4}`:  "occurs twice",
		`{"name": "Ada", "age": 1e999999999}`:  "too long",
		"":                                     "no valid JSON",
		"\x1b[2Jhello":                         `\x1b[2Jhello`,
		strings.Repeat("[", 1000):              "no valid JSON",
		`"` + strings.Repeat("x", 1<<20) + `"`: "1048576",
	} {
		_, err := call(t.Context(), t, &fake{content: answer}, `{"messages": [{"role": "user", "content": "hi"}], "schema": `+person+`}`)
		switch {
		case says == "" && err != nil:
			t.Errorf("%s: error %v", answer, err)
		case says != "" && (kernel.CodeOf(err) != kernel.CodeFailed || !strings.Contains(err.Error(), says)):
			t.Errorf("%s: error %v, want code %q and %q", kernel.Quote(answer), err, kernel.CodeFailed, says)
		case err != nil && strings.ContainsAny(err.Error(), "\x1b\n"):
			t.Errorf("%s: the error is not quoted: %q", kernel.Quote(answer), err)
		}
	}
}

// Each definition uses the next one twice: forty lines that are a million
// million checks, if they are let through.
func TestSchemaCannotExplode(t *testing.T) {
	defs := []string{`"d40": {"type": "string"}`}
	for i := range 40 {
		defs = append(defs, fmt.Sprintf(`"d%d": {"anyOf": [{"$ref": "#/$defs/d%d"}, {"$ref": "#/$defs/d%[2]d"}]}`, i, i+1))
	}
	schema := `{"$ref": "#/$defs/d0", "$defs": {` + strings.Join(defs, ",") + `}}`
	start := time.Now()
	_, err := call(t.Context(), t, &fake{content: "7"}, `{"messages": [{"role": "user", "content": "hi"}], "schema": `+schema+`}`)
	if kernel.CodeOf(err) != kernel.CodeArguments || !strings.Contains(err.Error(), "more than 2000 values") {
		t.Errorf("error %v, want code %q and the bound", err, kernel.CodeArguments)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("refusing it took %s", took)
	}
}

func TestPropertiesMayHaveTheNamesOfKeywords(t *testing.T) {
	schema := `{"properties": {"$ref": {"type": "string"}, "$id": {"type": "string"}, "id": {"type": "string"}}, "required": ["$ref"]}`
	_, err := call(t.Context(), t, &fake{content: `{"$ref": "x"}`}, `{"messages": [{"role": "user", "content": "hi"}], "schema": `+schema+`}`)
	if err != nil {
		t.Error(err)
	}
}

func TestErrorsGetCodes(t *testing.T) {
	known := &kernel.Error{Code: kernel.CodeRetry, What: "later"}
	for _, test := range []struct {
		err  error
		code kernel.Code
	}{
		{known, kernel.CodeRetry},
		{fmt.Errorf("wrapped: %w", known), kernel.CodeRetry},
		{errors.New("odd"), kernel.CodeFailed},
	} {
		_, err := call(t.Context(), t, &fake{err: test.err}, `{"messages": [{"role": "user", "content": "hi"}]}`)
		if kernel.CodeOf(err) != test.code {
			t.Errorf("%v: error %v, want code %q", test.err, err, test.code)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := call(ctx, t, &fake{err: known}, `{"messages": [{"role": "user", "content": "hi"}]}`)
	if kernel.CodeOf(err) != kernel.CodeCanceled || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's end to win", err)
	}
}

func TestRunsAreCharged(t *testing.T) {
	run := &kernel.RunContext{}
	ctx := kernel.WithRun(t.Context(), run)
	for range 3 {
		if _, err := call(ctx, t, &fake{content: "hi"}, `{"messages": [{"role": "user", "content": "hi"}]}`); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := call(ctx, t, &fake{err: errors.New("no answer")}, `{"messages": [{"role": "user", "content": "hi"}]}`); err == nil {
		t.Fatal("an answer")
	}
	want := kernel.UsageSnapshot{LLMCalls: 3, InputTokens: 30, OutputTokens: 15}
	if got := run.Usage.Snapshot(); got != want {
		t.Errorf("usage %+v, want %+v", got, want)
	}
}

func TestLimitsOfRuns(t *testing.T) {
	limit := func(n float64) *float64 { return &n }
	price := func(model string) (kernel.Price, bool) {
		return kernel.Price{InputPerMillion: 100_000, OutputPerMillion: 200_000}, model != "unknown" // 2 dollars a call
	}
	for name, tc := range map[string]struct {
		limits kernel.Limits
		calls  int // that are admitted
		says   string
	}{
		"none":              {kernel.Limits{}, 5, ""},
		"no calls at all":   {kernel.Limits{LLMCalls: limit(0)}, 0, "limits.max_llm_calls is 0"},
		"calls":             {kernel.Limits{LLMCalls: limit(2)}, 2, "limits.max_llm_calls is 2, and 2 of it is used"},
		"tokens":            {kernel.Limits{Tokens: limit(31)}, 2, "limits.max_total_tokens is 31, and 30 of it is used"},
		"money":             {kernel.Limits{CostUSD: limit(3)}, 2, "limits.max_cost_usd is 3, and 4 of it is used"},
		"no money whatever": {kernel.Limits{CostUSD: limit(0)}, 0, "limits.max_cost_usd is 0"},
	} {
		t.Run(name, func(t *testing.T) {
			var events []kernel.EventType
			run := &kernel.RunContext{Observer: func(e *kernel.Event) { events = append(events, e.Type) }}
			run.Spending.Limits, run.Spending.Price = tc.limits, price
			ctx := kernel.WithRun(t.Context(), run)
			admitted := 0
			var err error
			for admitted < 5 && err == nil {
				if _, err = call(ctx, t, &fake{content: "hi"}, `{"messages": [{"role": "user", "content": "hi"}]}`); err == nil {
					admitted++
				}
			}
			if admitted != tc.calls || (err == nil) != (tc.says == "") || err != nil && (kernel.CodeOf(err) != kernel.CodeLimit || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("%d calls, then %v", admitted, err)
			}
			if exceeded := slices.Contains(events, kernel.ResourceLimitExceeded); exceeded != (err != nil) {
				t.Errorf("events %v", events)
			}
		})
	}
}

// A schema that no answer passes must not be a way to spend for nothing.
func TestRefusedAnswersAreCharged(t *testing.T) {
	run := &kernel.RunContext{}
	_, err := call(kernel.WithRun(t.Context(), run), t, &fake{content: "no JSON"}, `{"messages": [{"role": "user", "content": "hi"}], "schema": {}}`)
	if kernel.CodeOf(err) != kernel.CodeFailed {
		t.Fatalf("error %v, want code %q", err, kernel.CodeFailed)
	}
	want := kernel.UsageSnapshot{LLMCalls: 1, InputTokens: 10, OutputTokens: 5}
	if got := run.Usage.Snapshot(); got != want {
		t.Errorf("usage %+v, want %+v", got, want)
	}
}

// An endpoint whose counts cannot be, so that their sum is below nothing, gives a run no tokens back.
func TestImpossibleUsage(t *testing.T) {
	for _, usage := range []driver.Usage{{InputTokens: math.MaxInt64, OutputTokens: 1}, {InputTokens: math.MaxInt64, OutputTokens: math.MaxInt64}, {InputTokens: -1 << 40}, {OutputTokens: 1 << 50}} {
		most := 100.0
		tenant := &kernel.Spending{Limits: kernel.Limits{Tokens: &most}}
		p := llm.New(&fake{content: strings.Repeat("a", 200), usage: &usage})
		made := 0
		for range 20 {
			run := &kernel.RunContext{}
			run.Spending.Within = tenant
			resp, err := p.Complete(kernel.WithRun(t.Context(), run), &llm.Request{Messages: []llm.Message{{Role: driver.User, Content: "hi"}}, MaxTokens: 10})
			if err != nil {
				if kernel.CodeOf(err) != kernel.CodeLimit {
					t.Fatal(err)
				}
				break
			}
			if made++; resp.Usage.OutputTokens != 50 || !resp.Usage.Estimated {
				t.Errorf("%+v is taken for %+v", usage, resp.Usage)
			}
		}
		if made != 2 { // of 55 tokens each
			t.Errorf("%+v: %d calls of 55 tokens are made, of 100", usage, made)
		}
	}
}
