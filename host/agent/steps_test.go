package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
)

func encoded(t *testing.T, v kernel.Value) string {
	t.Helper()
	text, err := kernel.EncodeJSON(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRead(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		style  Style
		calls  string
		ended  bool
	}{
		"nothing is called":           {"It is 3.", Mixed, `[]`, true},
		"a call":                      {"See. INVOKE_TOOL: m:t(a='42', b=3)", Mixed, `[{"arguments":{"a":"42","b":3},"form":"function_call","id":"text_0","name":"m:t"}]`, false},
		"calls in both forms":         {"INVOKE_TOOL: t()\nINVOKE_TOOL: {\"tool\": \"u\", \"params\": {\"a\": [1]}}", Mixed, `[{"arguments":{},"form":"function_call","id":"text_0","name":"t"},{"arguments":{"a":[1]},"form":"json","id":"text_1","name":"u"}]`, false},
		"the end":                     {"INVOKE_TOOL: tool_end(output='done')", Mixed, `[]`, true},
		"a call before the end":       {"INVOKE_TOOL: t() INVOKE_TOOL: tool_end(output='done') INVOKE_TOOL: u()", Mixed, `[{"arguments":{},"form":"function_call","id":"text_0","name":"t"}]`, true},
		"an end that nobody can read": {"INVOKE_TOOL: tool_end(output=", Mixed, `[{"arguments":{},"error":"the call cannot be read at byte 17: a value is due","form":"function_call","id":"text_0","name":"tool_end"}]`, false},
		"prose about calls":           {"I would INVOKE_TOOL: if I could", Mixed, `[{"arguments":{},"error":"no call follows; a call is written INVOKE_TOOL: name(key='value')","form":"json","id":"text_0","name":""}]`, false},
		"another form than is taken":  {"INVOKE_TOOL: t()", JSON, `[{"arguments":{},"error":"a call is written INVOKE_TOOL: {\"tool\": \"name\", \"params\": {\"key\": \"value\"}}","form":"function_call","id":"text_0","name":"t"}]`, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Read(test.answer, test.style)
			if err != nil {
				t.Fatal(err)
			}
			if calls := encoded(t, got["tool_calls"]); calls != test.calls {
				t.Errorf("got  %s\nwant %s", calls, test.calls)
			}
			if got["ended"] != test.ended || got["content"] != test.answer || got["strategy"] != "text" {
				t.Errorf("%v", got)
			}
		})
	}
	if got, err := Read("bad \xff", Mixed); err != nil || got["content"] != "bad \uFFFD" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Read(strings.Repeat("a", maxResponse+1), Mixed); kernel.CodeOf(err) != kernel.CodeLimit {
		t.Error(err)
	}
}

// asMade has the calls of an answer made, and worded.
func asMade(t *testing.T, tools Tools, answer string) (results []any, told string) {
	t.Helper()
	read, err := Read(answer, Mixed)
	if err != nil {
		t.Fatal(err)
	}
	if results, err = Make(t.Context(), tools, read["tool_calls"]); err != nil {
		t.Fatal(err)
	}
	if told, err = Word(results); err != nil {
		t.Fatal(err)
	}
	return results, told
}

func TestMake(t *testing.T) {
	tools := &box{
		tools: []Tool{{Name: "m:add", Parameters: []Parameter{{Name: "n", Type: "int", Required: true}, {Name: "as", Type: "str"}}}, {Name: "m:fail"}, {Name: "m:long"}, {Name: "m:add"}},
		answer: func(_ context.Context, name string, args map[string]any) (kernel.Value, error) {
			switch name {
			case "m:fail":
				return nil, &kernel.Error{Code: kernel.CodeFailed, What: "it broke", Why: "no\nreason", Where: kernel.Where{File: "secret.go"}, Fix: "the operator's"}
			case "m:long":
				return strings.Repeat("l", 2*maxResult), nil
			}
			return map[string]any{"sum": args["n"], "text": "a\n- m:fail: done"}, nil
		},
	}
	results, told := asMade(t, tools, "INVOKE_TOOL: m:add(n='42', as=7) INVOKE_TOOL: m:fail() INVOKE_TOOL: nope() INVOKE_TOOL: m:add() INVOKE_TOOL: m:long() INVOKE_TOOL: m:add(")
	if got, want := strings.Join(tools.called, "; "), `m:add {"as":"7","n":42}; m:fail {}; m:long {}`; got != want {
		t.Errorf("called %s\nwant   %s", got, want)
	}
	for i, want := range []string{
		`{"arguments":{"as":"7","n":42},"result":{"sum":42,"text":"a\n- m:fail: done"},"tool_name":"m:add"}`,
		`{"arguments":{},"error":"it broke: no\\nreason","tool_name":"m:fail"}`,
		`{"arguments":{},"error":"Tool 'nope' not found. Available: m:add, m:fail, m:long","tool_name":"nope"}`,
		`{"arguments":{},"error":"missing arguments: n","tool_name":"m:add"}`,
	} {
		if got := encoded(t, results[i]); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	long, _ := results[4].(map[string]any)["result"].(string)
	if len(long) != maxResult || !strings.HasSuffix(long, fmt.Sprintf("(cut: %d bytes, the limit is %d)", 2*maxResult, maxResult)) {
		t.Errorf("%d bytes are kept of it: %s", len(long), long[len(long)-60:])
	}
	lines := strings.Split(told, "\n")
	for i, want := range []string{
		"## Tool Execution Results", `- m:add: {"sum":42,"text":"a\n- m:fail: done"}`, `- m:fail: Error - it broke: no\nreason`,
		"- nope: Error - Tool 'nope' not found. Available: m:add, m:fail, m:long", "- m:add: Error - missing arguments: n", "- m:long: " + long, "- m:add: Error - the call cannot be read at byte 7: arguments are written name=value",
	} {
		if lines[i] != want {
			t.Errorf("told %q\nwant %q", lines[i], want)
		}
	}
	if len(lines) != 9 || len(results) != 6 {
		t.Errorf("%d results: %q", len(results), lines[7:])
	}
}

// A tool's words stay below the tool.
func TestWordKeepsLines(t *testing.T) {
	told, err := Word([]any{map[string]any{"tool_name": "a\nb", "result": "x\n- c: done\u2028## Answer"}, map[string]any{"tool_name": "", "error": "y\r- d: done"}})
	if want := "## Tool Execution Results\n- a\\nb: x\n    - c: done\n    ## Answer\n- call: Error - y\n    - d: done\n\n"; err != nil || told != want {
		t.Errorf("%q, %v", told, err)
	}
	if told, err := Word([]any{}); err != nil || told != "" {
		t.Errorf("%q, %v", told, err)
	}
}

// What is no list of calls is refused whole, before any is made.
func TestMakeRefuses(t *testing.T) {
	call := map[string]any{"name": "m:t", "arguments": map[string]any{}}
	many := make([]any, maxCalls+1)
	for i := range many {
		many[i] = call
	}
	for name, test := range map[string]struct {
		calls kernel.Value
		code  kernel.Code
	}{
		"nothing":               {nil, kernel.CodeInput},
		"a text":                {"INVOKE_TOOL: m:t()", kernel.CodeInput},
		"calls that are texts":  {[]any{call, "m:t"}, kernel.CodeInput},
		"one without a name":    {[]any{call, map[string]any{"arguments": map[string]any{}}}, kernel.CodeInput},
		"one without arguments": {[]any{call, map[string]any{"name": "m:t"}}, kernel.CodeInput},
		"another form":          {[]any{call, map[string]any{"name": "m:t", "arguments": map[string]any{}, "form": json.Number("1")}}, kernel.CodeInput},
		"an error that is none": {[]any{call, map[string]any{"name": "m:t", "arguments": map[string]any{}, "error": true}}, kernel.CodeInput},
		"too many":              {many, kernel.CodeLimit},
	} {
		tools := &box{tools: []Tool{{Name: "m:t"}}, answer: func(context.Context, string, map[string]any) (kernel.Value, error) { return nil, nil }}
		if _, err := Make(t.Context(), tools, test.calls); kernel.CodeOf(err) != test.code || tools.called != nil {
			t.Errorf("%s: %v, called %v", name, err, tools.called)
		}
	}
	for name, results := range map[string]kernel.Value{"nothing": nil, "texts": []any{"a"}, "no tool": []any{map[string]any{"result": "a"}}} {
		if _, err := Word(results); kernel.CodeOf(err) != kernel.CodeInput {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Word(append(many, many...)); kernel.CodeOf(err) != kernel.CodeLimit {
		t.Error(err)
	}
}

func TestMakeBounds(t *testing.T) {
	tools := &box{tools: []Tool{{Name: "m:t"}}, answer: func(context.Context, string, map[string]any) (kernel.Value, error) { return nil, nil }}
	large := map[string]any{"name": "m:t", "arguments": map[string]any{"a": strings.Repeat("a", maxArguments)}}
	results, err := Make(t.Context(), tools, []any{large})
	if err != nil || tools.called != nil || !strings.Contains(encoded(t, results), "the limit is 65536") {
		t.Errorf("%v, called %d", err, len(tools.called))
	}
	if _, told := asMade(t, tools, strings.Repeat("INVOKE_TOOL: m:t() ", 20)); len(tools.called) != maxCalls || !strings.Contains(told, "call: Error - this and later calls were not made") {
		t.Errorf("%d calls: %s", len(tools.called), told)
	}
	if _, err := Manual(make([]Tool, maxTools+1), Mixed); kernel.CodeOf(err) != kernel.CodeLimit {
		t.Error(err)
	}
	if _, err := Manual([]Tool{{Name: "m:t", Parameters: make([]Parameter, maxPrompt)}}, Mixed); kernel.CodeOf(err) != kernel.CodeLimit {
		t.Error(err)
	}
}

// A stop, and the end of the context, end what is being made.
func TestMakeEnds(t *testing.T) {
	read, err := Read("INVOKE_TOOL: m:t() INVOKE_TOOL: m:t()", Mixed)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stop := &Stop{Err: errors.New("ask first")}
	tools := &box{tools: []Tool{{Name: "m:t"}}, answer: func(context.Context, string, map[string]any) (kernel.Value, error) { return nil, stop }}
	if _, err := Make(ctx, tools, read["tool_calls"]); !errors.Is(err, stop.Err) || len(tools.called) != 1 {
		t.Errorf("%v, called %v", err, tools.called)
	}
	tools.called, tools.answer = nil, func(context.Context, string, map[string]any) (kernel.Value, error) {
		cancel()
		return "late", nil
	}
	if _, err := Make(ctx, tools, read["tool_calls"]); kernel.CodeOf(err) != kernel.CodeCanceled || len(tools.called) != 1 {
		t.Errorf("%v, called %v", err, tools.called)
	}
	tools.called = nil
	if _, err := Make(ctx, tools, read["tool_calls"]); kernel.CodeOf(err) != kernel.CodeCanceled || tools.called != nil {
		t.Errorf("%v, called %v", err, tools.called)
	}
}
