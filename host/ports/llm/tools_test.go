package llm_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm"
	"github.com/hexdag/hexdag/host/ports/llm/driver"
	"github.com/hexdag/hexdag/host/ports/llm/mockllm"
)

const tooled = `"tools": [{"name": "look", "description": "looks", "parameters": {"type": "object", "required": ["at"], "properties": {"at": {"type": "string"}}}}, {"type": "function", "function": {"name": "end"}}]`

func mockOps(t *testing.T, config string) map[string]kernel.PortFunc {
	t.Helper()
	value, err := kernel.DecodeJSON([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	d, err := mockllm.FromConfig(value.(map[string]any))
	if err != nil {
		t.Fatal(err)
	}
	ops := map[string]kernel.PortFunc{}
	for _, op := range llm.New(d).Ops() {
		ops[op.Name] = op.Func
	}
	return ops
}

func do(ctx context.Context, t *testing.T, ops map[string]kernel.PortFunc, op, args string) (map[string]any, error) {
	t.Helper()
	value, err := kernel.DecodeJSON([]byte(args))
	if err != nil {
		t.Fatalf("%v: %s", err, args)
	}
	reply, err := ops[op](ctx, &kernel.PortCall{Op: op, Args: value.(map[string]any)})
	if err != nil {
		return nil, err
	}
	return reply.Value.(map[string]any), nil
}

// A guest, or a node, calls with tools, makes the calls, and gives back what came, as it was given.
func TestToolsByTheDoor(t *testing.T) {
	ops := mockOps(t, `{"rules": [
		{"match": "sky", "after": "look", "reply": "It is blue."},
		{"match": "sky", "reply": {"content": "Let me look.", "tool_calls": [{"name": "look", "arguments": {"at": "the sky"}}, {"name": "end"}]}}]}`)
	first, err := do(t.Context(), t, ops, "llm.complete", `{"messages": [{"role": "user", "content": "the sky?"}], `+tooled+`, "tool_choice": "auto"}`)
	if err != nil {
		t.Fatal(err)
	}
	calls := []any{map[string]any{"id": "call_1_0", "name": "look", "arguments": map[string]any{"at": "the sky"}}, map[string]any{"id": "call_1_1", "name": "end", "arguments": map[string]any{}}}
	if diff := cmp.Diff(calls, first["tool_calls"]); diff != "" || first["content"] != "Let me look." || first["finish_reason"] != "tool_calls" {
		t.Errorf("%v\n%s", first, diff)
	}
	text, _ := kernel.EncodeJSON(first["tool_calls"])
	second, err := do(t.Context(), t, ops, "llm.complete", `{"messages": [{"role": "user", "content": "the sky?"}, {"role": "assistant", "content": "Let me look.", "tool_calls": `+string(text)+`},
		{"role": "tool", "tool_call_id": "call_1_1", "content": "ended"}, {"role": "tool", "tool_call_id": "call_1_0", "content": "blue"}], `+tooled+`}`)
	if err != nil || second["content"] != "It is blue." || second["tool_calls"] != nil {
		t.Errorf("%v, %v", second, err)
	}
	none, err := do(t.Context(), t, ops, "llm.complete", `{"messages": [{"role": "user", "content": "the sky?"}]}`)
	if err != nil || none["tool_calls"] != nil {
		t.Errorf("without tools: %v, %v", none, err)
	}
}

// What a model makes up of tools is told with the call, and ends nothing.
func TestCallsThatCannotBeMade(t *testing.T) {
	for call, says := range map[string]string{
		`{"name": "rm -rf", "arguments": {}}`:                                               "there is no tool rm -rf; there are end, look",
		`{"name": "look", "arguments": {}}`:                                                 "the arguments of look break its parameters: ",
		`{"name": "look", "arguments": "{\"at\": \"x\""}`:                                   "the arguments of look are no JSON object: ",
		`{"name": "look", "arguments": "[]"}`:                                               "they are another value",
		`{"name": "look", "arguments": "\u001b[2J"}`:                                        `no JSON object`,
		`{"name": "look", "arguments": "` + strings.Repeat("x", 1<<20+1) + `"}`:             "1048577 bytes are more than the 1048576 that are read",
		`{"name": "` + strings.Repeat("x", 5000) + `", "arguments": {}}`:                    "… (5000 bytes); there are end, look",
		`{"name": "look", "arguments": {"at": "` + strings.Repeat("y", 600) + `", "b": 1}}`: "",
	} {
		ops := mockOps(t, `{"responses": [{"tool_calls": [`+call+`]}]}`)
		got, err := do(t.Context(), t, ops, "llm.complete", `{"messages": [{"role": "user", "content": "hi"}], `+tooled+`}`)
		if err != nil {
			t.Errorf("%.80s: %v", call, err)
			continue
		}
		made := got["tool_calls"].([]any)[0].(map[string]any)
		text, _ := made["error"].(string)
		if says == "" && text != "" || !strings.Contains(text, says) || strings.ContainsAny(text, "\x1b\n") || len(text) > 2000 {
			t.Errorf("%.80s: %.300q, want %q", call, text, says)
		}
	}
	ops := mockOps(t, `{"responses": [{"tool_calls": [`+strings.Repeat(`{"name": "end"},`, 128)+`{"name": "end"}]}]}`)
	_, err := do(t.Context(), t, ops, "llm.complete", `{"messages": [{"role": "user", "content": "hi"}], `+tooled+`}`)
	if kernel.CodeOf(err) != kernel.CodeFailed || !strings.Contains(err.Error(), "the model called 129 tools at once: the most is 128") {
		t.Error(err)
	}
}

// One tool whose parameters nobody can read takes none of the others with it.
func TestToolsThatNobodyCanCall(t *testing.T) {
	ops := mockOps(t, `{"default": {"tool_calls": [{"name": "odd", "arguments": {}}, {"name": "look", "arguments": "null"}]}}`)
	v, err := do(t.Context(), t, ops, "llm.complete", `{"messages": [{"role": "user", "content": "x"}], "tools": [{"name": "odd", "parameters": {"$ref": "http://127.0.0.1:1/x"}}, {"name": "look"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	calls, _ := v["tool_calls"].([]any)
	first, _ := calls[0].(map[string]any)["error"].(string)
	if !strings.Contains(first, "odd cannot be called: its parameters are no JSON Schema") || calls[1].(map[string]any)["error"] != nil {
		t.Errorf("%v", calls)
	}
}

// scripted answers what it is told to.
type scripted struct{ resp driver.Response }

func (s scripted) Complete(context.Context, *driver.Request) (*driver.Response, error) {
	r := s.resp
	r.ToolCalls = slices.Clone(r.ToolCalls)
	return &r, nil
}
func (scripted) Close() error { return nil }

// Each call has an id of its own in the conversation, whatever the endpoint makes of ids: results are told apart by them.
func TestIDsOfCalls(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	var calls []driver.ToolCall
	for _, id := range []string{"a", "a", "", "call_2_2", "old", long, "", "b"} {
		calls = append(calls, driver.ToolCall{ID: id, Name: "look", Arguments: "{}"})
	}
	p := llm.New(scripted{driver.Response{ToolCalls: calls}})
	resp, err := p.Complete(t.Context(), &llm.Request{
		Messages: []llm.Message{{Role: driver.Assistant, ToolCalls: []driver.ToolCall{{ID: "old", Name: "look"}}}, {Role: driver.Tool, CallID: "old", Content: "x"}},
		Tools:    []driver.ToolSpec{{Name: "look"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{"old": true}
	for i, c := range resp.ToolCalls {
		if c.ID == "" || len(c.ID) > 256 || seen[c.ID] {
			t.Errorf("call %d is named %.300q", i, c.ID)
		}
		seen[c.ID] = true
	}
	if resp.ToolCalls[0].ID != "a" || resp.ToolCalls[7].ID != "b" {
		t.Errorf("those that tell them apart are not as they were: %+v", resp.ToolCalls)
	}
	huge := llm.New(scripted{driver.Response{ToolCalls: []driver.ToolCall{{ID: strings.Repeat("x", 9<<20), Name: "look"}}}})
	if _, err := huge.Complete(t.Context(), &llm.Request{Messages: []llm.Message{{Role: driver.User, Content: "x"}}}); kernel.CodeOf(err) != kernel.CodeLimit {
		t.Errorf("an id of megabytes: %v", err)
	}
}

func TestBadTools(t *testing.T) {
	const hi = `"messages": [{"role": "user", "content": "hi"}]`
	for args, says := range map[string]string{
		`{` + hi + `, "tools": {}}`: "tools must be a list of", `{` + hi + `, "tools": [1]}`: "tools[0] must be an object", `{` + hi + `, "tools": [{"name": 1}]}`: "tools[0].name is of another type",
		`{` + hi + `, "tools": [{"name": ""}]}`: "tools[0].name must have from 1 to 256 bytes", `{` + hi + `, "tools": [{"name": "a"}, {"name": "a"}]}`: "two tools are named a",
		`{` + hi + `, "tools": [{"name": "a", "run": 1}]}`: "unknown member \"run\"", `{` + hi + `, "tools": [{"name": "a", "parameters": []}]}`: "tools[0].parameters is of another type",
		`{` + hi + `, "tools": [` + strings.Repeat(`{"name": "a"},`, 256) + `{"name": "b"}]}`: "tools has 257 items; the most is 256",
		`{` + hi + `, "tool_choice": "maybe"}`:                                                "tool_choice is \"maybe\"; it is auto, none, required", `{` + hi + `, "tool_choice": 7}`: "tool_choice must be", `{` + hi + `, "tool_choice": {"name": "a"}}`: "which is none of the tools",
		`{` + hi + `, "tool_choice": "required"}`:                                                                                                                 "there are no tools",
		`{"messages": [{"role": "tool", "content": "x", "tool_call_id": "c"}]}`:                                                                                   "answers the call \"c\", which no message before it makes",
		`{"messages": [{"role": "tool", "content": "x"}]}`:                                                                                                        "answers the call",
		`{"messages": [{"role": "user", "content": "x", "tool_call_id": "c"}]}`:                                                                                   "has a tool_call_id, and is not a tool's",
		`{"messages": [{"role": "user", "content": "x", "tool_calls": [{"id": "c", "name": "n"}]}]}`:                                                              "and is not the assistant's",
		`{"messages": [{"role": "assistant", "content": "x", "tool_calls": [{"name": "n"}]}]}`:                                                                    "must have an id and a name",
		`{"messages": [{"role": "assistant", "content": "x", "tool_calls": [{"id": "", "name": "n"}]}]}`:                                                          "a tool_call without an id or a name",
		`{"messages": [{"role": "assistant", "content": "x", "tool_calls": [{"id": "c", "name": "n", "arguments": 7}]}]}`:                                         "must be an object, or its JSON text",
		`{"messages": [{"role": "assistant", "content": "x", "tool_calls": 7}]}`:                                                                                  "tool_calls must be a list",
		`{"messages": [{"role": "assistant", "content": "x", "tool_calls": [` + strings.Repeat(`{"id": "c", "name": "n"},`, 128) + `{"id": "c", "name": "n"}]}]}`: "the most is 128",
	} {
		_, err := do(t.Context(), t, mockOps(t, `{}`), "llm.complete", args)
		if kernel.CodeOf(err) != kernel.CodeArguments || !strings.Contains(err.Error(), says) {
			t.Errorf("%.150s: error %v, want code %q and %q", args, err, kernel.CodeArguments, says)
		}
	}
}

func TestBatch(t *testing.T) {
	ops := mockOps(t, `{"rules": [{"match": "(?P<n>\\d+)", "reply": "it is ${n}"}]}`)
	var reqs []string
	for i := range 40 {
		reqs = append(reqs, fmt.Sprintf(`{"messages": [{"role": "user", "content": "number %d"}]}`, i))
	}
	reqs[7] = `{"messages": [{"role": "user", "content": "none"}]}`
	run := &kernel.RunContext{}
	got, err := do(kernel.WithRun(t.Context(), run), t, ops, "llm.batch", `{"model": "m", "requests": [`+strings.Join(reqs, ",")+`]}`)
	if err != nil {
		t.Fatal(err)
	}
	for i, item := range got["items"].([]any) {
		v := item.(map[string]any)
		if i == 7 {
			if e, _ := v["error"].(map[string]any); v["status"] != "error" || e["code"] != "failed" || !strings.Contains(e["message"].(string), "has no answer") {
				t.Errorf("%v", v)
			}
			continue
		}
		if v["status"] != "ok" || v["content"] != fmt.Sprintf("it is %d", i) || v["index"] != kernel.Number(int64(i)) || v["model"] != "m" {
			t.Errorf("%d: %v", i, v)
		}
	}
	if u := run.Usage.Snapshot(); u.LLMCalls != 39 || got["usage"].(map[string]any)["input_tokens"] != kernel.Number(u.InputTokens) {
		t.Errorf("charged %+v of %v", u, got["usage"])
	}
	three := 3.0
	poor := &kernel.RunContext{}
	poor.Spending.Limits = kernel.Limits{LLMCalls: &three}
	got, err = do(kernel.WithRun(t.Context(), poor), t, ops, "llm.batch", `{"requests": [`+strings.Join(reqs[10:20], ",")+`]}`)
	ok := 0
	for _, item := range got["items"].([]any) {
		if item.(map[string]any)["status"] == "ok" {
			ok++
		}
	}
	if err != nil || ok != 3 {
		t.Errorf("%d of 10 within a limit of 3, %v", ok, err)
	}
	for args, says := range map[string]string{
		`{}`: "requests has 0 items", `{"requests": 1}`: "requests must be a list", `{"requests": [1]}`: "requests[0] must be an object", `{"requests": [{"model": "m", "messages": []}]}`: "has a model of its own",
		`{"requests": [{"messages": 1}]}`: "requests[0]: ", `{"requests": [{}], "x": 1}`: "unknown argument \"x\"", `{"requests": [` + strings.Repeat(`{},`, 256) + `{}]}`: "requests has 257 items",
	} {
		if _, err := do(t.Context(), t, ops, "llm.batch", args); kernel.CodeOf(err) != kernel.CodeArguments || !strings.Contains(err.Error(), says) {
			t.Errorf("%.60s: %v, want %q", args, err, says)
		}
	}
}

// A batch of answers of megabytes ends where nobody could hold them.
func TestBatchIsBounded(t *testing.T) {
	p := llm.New(scripted{driver.Response{Content: strings.Repeat("x", 8<<20)}})
	reqs := make([]*llm.Request, 256)
	for i := range reqs {
		reqs[i] = &llm.Request{Messages: []llm.Message{{Role: driver.User, Content: "x"}}}
	}
	items, err := p.Batch(t.Context(), reqs)
	if err != nil {
		t.Fatal(err)
	}
	answered := 0
	for _, item := range items {
		if item.Err == nil {
			answered++
		} else if kernel.CodeOf(item.Err) != kernel.CodeLimit {
			t.Error(item.Err)
		}
	}
	if answered < 9 || answered > 20 {
		t.Errorf("%d answers of 8 MiB", answered)
	}
}

func TestEmbedOp(t *testing.T) {
	ops := mockOps(t, `{}`)
	run := &kernel.RunContext{}
	got, err := do(kernel.WithRun(t.Context(), run), t, ops, "llm.embed", `{"texts": ["the red fox", "The FOX red", "something else"], "dimensions": 16}`)
	if err != nil {
		t.Fatal(err)
	}
	vectors := got["embeddings"].([]any)
	if len(vectors) != 3 || len(vectors[0].([]any)) != 16 || run.Usage.InputTokens.Load() == 0 || run.Usage.OutputTokens.Load() != 0 {
		t.Errorf("%v, charged %+v", got, run.Usage.Snapshot())
	}
	if !cmp.Equal(vectors[0], vectors[1]) || cmp.Equal(vectors[0], vectors[2]) {
		t.Errorf("%v", vectors)
	}
	for args, says := range map[string]string{
		`{}`: "texts has 0 items", `{"texts": "a"}`: "texts must be a list", `{"texts": [1]}`: "texts[0] must be a string", `{"texts": [""]}`: "texts[0] is empty",
		`{"texts": ["a"], "dimensions": 0}`: "dimensions must be an integer from 1", `{"texts": ["a"], "dimensions": 20000}`: "it is from 1 to 16384", `{"texts": ["a"], "x": 1}`: "unknown argument \"x\"", `{"texts": ["a"], "model": ""}`: "model must be a name",
	} {
		if _, err := do(t.Context(), t, ops, "llm.embed", args); kernel.CodeOf(err) != kernel.CodeArguments || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", args, err, says)
		}
	}
}

// A backend that streams nothing is told of as a whole; one that is too talkative is stopped.
func TestStreamsOfBackendsThatHaveNone(t *testing.T) {
	var told []string
	resp, err := llm.New(&fake{content: "one two"}).Stream(t.Context(), &llm.Request{Messages: []llm.Message{{Role: driver.User, Content: "hi"}}}, func(piece string) { told = append(told, piece) })
	if err != nil || resp.Content != "one two" || !cmp.Equal(told, []string{"one two"}) {
		t.Errorf("%+v, %v, told %q", resp, err, told)
	}
	run := &kernel.RunContext{}
	_, err = llm.New(&fake{content: strings.Repeat("x", 8<<20+1)}).Complete(kernel.WithRun(t.Context(), run), &llm.Request{Messages: []llm.Message{{Role: driver.User, Content: "hi"}}})
	if kernel.CodeOf(err) != kernel.CodeLimit || !strings.Contains(err.Error(), "the model's answer is too large: it has 8388609 bytes, the limit is 8388608") || run.Usage.InputTokens.Load() != 10 {
		t.Errorf("%v, charged %+v", err, run.Usage.Snapshot())
	}
}

// A call that a backend could not even try is none of the run's.
func TestWhatIsUnsupportedIsNotCharged(t *testing.T) {
	one := 1.0
	run := &kernel.RunContext{}
	run.Spending.Limits = kernel.Limits{LLMCalls: &one}
	f := &fake{err: &kernel.Error{Code: kernel.CodeUnsupported, What: "no"}}
	ctx := kernel.WithRun(t.Context(), run)
	if _, err := call(ctx, t, f, `{"messages": [{"role": "user", "content": "hi"}]}`); kernel.CodeOf(err) != kernel.CodeUnsupported {
		t.Error(err)
	}
	f.err, f.content = nil, "hi"
	if _, err := call(ctx, t, f, `{"messages": [{"role": "user", "content": "hi"}]}`); err != nil {
		t.Error(err)
	}
	if f.last.MaxTokens != 0 {
		t.Errorf("a limit of calls bounds no answer: %d", f.last.MaxTokens)
	}
}

// failing is a model that fails, or panics, at first.
type failing struct {
	errs []error
	next int
}

func (f *failing) Complete(_ context.Context, req *driver.Request) (*driver.Response, error) {
	if f.next++; f.next <= len(f.errs) {
		if f.errs[f.next-1] == nil {
			panic("a bug")
		}
		return nil, f.errs[f.next-1]
	}
	return &driver.Response{Content: "yes", Usage: driver.Estimate(req.Messages, "yes")}, nil
}
func (*failing) Close() error { return nil }

// A call that no model has answered takes nothing of what a run may spend: whoever makes it again, or asks another, can.
func TestFailedCallsTakeNothing(t *testing.T) {
	coded := func(code kernel.Code) error { return &kernel.Error{Code: code, What: "no"} }
	for name, c := range map[string]struct {
		err    error // nil panics
		counts bool
	}{
		"later": {coded(kernel.CodeRetry), false}, "out of reach": {coded(kernel.CodeUnavailable), false}, "no such model": {coded(kernel.CodeNotFound), false},
		"garbage": {coded(kernel.CodeFailed), true}, "too late": {coded(kernel.CodeTimeout), true}, "a bug": {nil, true},
	} {
		tenant := &kernel.Spending{}
		most, calls := 100.0, 1.0
		tenant.Limits.Tokens = &most
		run := &kernel.RunContext{}
		run.Spending.Limits.LLMCalls, run.Spending.Within = &calls, tenant
		p := llm.New(&failing{errs: []error{c.err}})
		req := &llm.Request{Messages: []llm.Message{{Role: driver.User, Content: "hi"}}, MaxTokens: 60}
		ask := func(run *kernel.RunContext) error {
			_, err := kernel.Guarded(func() (*llm.Response, error) { return p.Complete(kernel.WithRun(t.Context(), run), req) })
			return err
		}
		if err := ask(run); err == nil {
			t.Fatalf("%s: no error", name)
		}
		if err := ask(run); (kernel.CodeOf(err) == kernel.CodeLimit) != c.counts || err != nil && !strings.Contains(err.Error(), "max_llm_calls") {
			t.Errorf("%s: the second call: %v", name, err)
		}
		other := &kernel.RunContext{}
		other.Spending.Within = tenant
		if err := ask(other); err != nil {
			t.Errorf("%s: of another run, the tenant's budget is kept from it: %v", name, err)
		}
	}
}
