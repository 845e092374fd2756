package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hexdag/hexdag/host/kernel"
)

// caller is a model that calls tools by its interface: it gives its answers in turn, then the last for ever, and keeps what it was told.
type caller struct {
	answers []Answer
	none    bool // it has no such interface
	told    [][]Message
	tools   []Tool
}

func (c *caller) Complete(_ context.Context, messages []Message, tools []Tool) (Answer, error) {
	if c.none && tools != nil {
		return Answer{}, &kernel.Error{Code: kernel.CodeUnsupported, What: "the model calls no tools"}
	}
	c.tools = tools
	c.told = append(c.told, slices.Clone(messages))
	return c.answers[min(len(c.told), len(c.answers))-1], nil
}

func calls(text string, cs ...Call) Answer {
	for i := range cs {
		cs[i].ID = fmt.Sprintf("c%d", i)
		encoded, _ := kernel.EncodeJSON(cs[i].Args)
		cs[i].Raw = string(encoded)
	}
	return Answer{Text: text, Calls: cs}
}

func end(output string) Call { return Call{Name: toolEnd, Args: map[string]any{"output": output}} }

// transcript is a conversation, a line for each message.
func transcript(messages []Message) []string {
	var lines []string
	for _, m := range messages {
		line := m.Role
		if m.CallID != "" {
			line += " " + m.CallID
		}
		line += ": " + m.Content
		for _, c := range m.Calls {
			line += " [" + c.ID + " " + c.Name + " " + c.Raw + "]"
		}
		lines = append(lines, line)
	}
	return lines
}

func native(t *testing.T, spec *Spec, m Model, tools Tools) (kernel.Value, error) {
	t.Helper()
	spec.Style = Native
	return Run(t.Context(), spec, Deps{Model: m, Tools: tools, Render: render}, args(t, `{"topic":"x"}`))
}

// TestNative: a model that calls tools by its interface is told their results there, in one conversation.
func TestNative(t *testing.T) {
	tools := &box{tools: []Tool{search}, answer: found}
	m := &caller{answers: []Answer{
		calls("Let me look.", Call{Name: "search", Args: map[string]any{"q": "a"}}, Call{Name: "search", Args: map[string]any{"q": "b", "limit": json.Number("2")}}),
		calls("", Call{Name: "nope", Args: map[string]any{}}, Call{Name: "search", Args: map[string]any{}}),
		calls("", end("done")),
	}}
	got, err := native(t, &Spec{Prompt: "Do {{topic}}"}, m, tools)
	expect(t, got, err, `{"output":"done"}`)
	want := []string{
		"user: Do x\n\nCall the tools that you need, and tool_end with the final answer.",
		`assistant: Let me look. [c0 search {"q":"a"}] [c1 search {"limit":2,"q":"b"}]`,
		`tool c0: {"hits":3}`,
		`tool c1: {"hits":3}`,
		`assistant:  [c0 nope {}] [c1 search {}]`,
		"tool c0: Error - Tool 'nope' not found. Available: search, tool_end",
		"tool c1: Error - missing arguments: q",
	}
	if diff := cmp.Diff(want, transcript(m.told[2])); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{`search {"q":"a"}`, `search {"limit":2,"q":"b"}`}, tools.called); diff != "" {
		t.Error(diff)
	}
	schema := map[string]any{"type": "object", "properties": map[string]any{"q": map[string]any{"type": "string"}, "limit": map[string]any{"type": "integer"}}, "required": []any{"q"}}
	if len(m.tools) != 2 || m.tools[0].Name != toolEnd || !cmp.Equal(m.tools[1].Arguments(), schema) {
		t.Errorf("the model was given %+v", m.tools)
	}
}

// TestNativeTexts: a model that calls by its interface is not read for calls that it writes, and one that cannot is.
func TestNativeTexts(t *testing.T) {
	t.Run("quoting", func(t *testing.T) {
		tools := &box{tools: []Tool{search}, answer: found}
		m := &caller{answers: []Answer{
			calls("", Call{Name: "search", Args: map[string]any{"q": "a"}}),
			{Text: "It says: INVOKE_TOOL: search(q='all')"},
			calls("", end("done")),
		}}
		got, err := native(t, &Spec{Prompt: "p"}, m, tools)
		expect(t, got, err, `{"output":"done"}`)
		if len(tools.called) != 1 {
			t.Errorf("called %q", tools.called)
		}
		last := transcript(m.told[2])
		if got := last[len(last)-1]; got != "user: You called no tool. Call one, or tool_end with the final answer." {
			t.Error(got)
		}
	})
	for name, none := range map[string]bool{"it has no interface": true, "it does not use it": false} {
		t.Run(name, func(t *testing.T) {
			tools := &box{tools: []Tool{search}, answer: found}
			m := &caller{none: none, answers: []Answer{{Text: "INVOKE_TOOL: search(q='a')"}, {Text: "hm"}, {Text: "INVOKE_TOOL: tool_end(output='done')"}}}
			got, err := native(t, &Spec{Prompt: "p"}, m, tools)
			expect(t, got, err, `{"output":"done"}`)
			if len(tools.called) != 1 {
				t.Errorf("called %q", tools.called)
			}
			said := strings.Join(transcript(m.told[2]), "\n")
			want := "user: Result: search: {\"hits\":3}\nassistant: hm\nuser: You called no tool. Call one, or tool_end with the final answer. If you cannot call tools, write: INVOKE_TOOL: name(key='value')"
			if none {
				want = "Result: search: {\"hits\":3}\nStep 2: hm"
			}
			if !strings.Contains(said, want) {
				t.Error(said)
			}
		})
	}
}

// TestNativePhases: a phase begins with its prompt, in the same conversation.
func TestNativePhases(t *testing.T) {
	m := &caller{answers: []Answer{
		calls("", Call{Name: changePhase, Args: map[string]any{"phase": "check", "reason": "sure?"}}),
		calls("", end("done")),
	}}
	got, err := native(t, &Spec{Prompt: "p", Continuations: map[string]string{"check": "Check it: {{phase_reason}}"}}, m, nil)
	expect(t, got, err, `{"output":"done"}`)
	lines := transcript(m.told[1])
	if !strings.HasSuffix(lines[0], "change_phase goes on with another phase.") || lines[len(lines)-1] != "user: Check it: sure?" {
		t.Errorf("%q", lines)
	}
}

// TestNativeBounds: what a model does too much of is bounded, and told it.
func TestNativeBounds(t *testing.T) {
	tools := &box{tools: []Tool{search}, answer: found}
	var many []Call
	for range maxCalls + 2 {
		many = append(many, Call{Name: "search", Args: map[string]any{"q": "a"}})
	}
	m := &caller{answers: []Answer{calls("", many...), calls("", end("done"))}}
	got, err := native(t, &Spec{Prompt: "p"}, m, tools)
	expect(t, got, err, `{"output":"done"}`)
	lines := transcript(m.told[1])
	if len(tools.called) != maxCalls || lines[len(lines)-1] != "tool c17: Error - it was not made: one answer may hold 16 calls" {
		t.Errorf("%d calls, %q", len(tools.called), lines[len(lines)-1])
	}
	refused := Call{Name: "search", Err: errors.New("the arguments of search are no JSON object")}
	m = &caller{answers: []Answer{{Calls: []Call{{ID: "a", Name: refused.Name, Raw: "{", Err: refused.Err}}}, calls("", end("done"))}}
	got, err = native(t, &Spec{Prompt: "p"}, m, tools)
	expect(t, got, err, `{"output":"done"}`)
	if lines := transcript(m.told[1]); lines[len(lines)-1] != "tool a: Error - the arguments of search are no JSON object" || lines[len(lines)-2] != "assistant:  [a search {]" {
		t.Errorf("%q", lines)
	}
	m = &caller{answers: []Answer{calls("", Call{Name: "search", Args: map[string]any{"q": strings.Repeat("a", maxResponse)}})}}
	if _, err := native(t, &Spec{Prompt: "p"}, m, tools); kernel.CodeOf(err) != kernel.CodeLimit {
		t.Error(err)
	}

	// The calls that a model is reminded of count, too, whatever becomes of them.
	wide := func() *caller {
		var many []Call
		for range 8 {
			many = append(many, Call{Name: "a: b", Args: map[string]any{"q": strings.Repeat("a", maxArguments)}})
		}
		return &caller{answers: []Answer{calls("", many...)}}
	}
	m = wide()
	if _, err := native(t, &Spec{Prompt: "p", MaxSteps: 1000}, m, tools); kernel.CodeOf(err) != kernel.CodeLimit || len(m.told) > 5 {
		t.Errorf("after %d answers of half a megabyte: %v", len(m.told), err)
	}
	if line := transcript(m.told[1])[2]; !strings.HasPrefix(line, "tool c0: Error - Tool 'a: b' not found") && !strings.HasPrefix(line, "tool c0: Error - the call has") {
		t.Errorf("%q", line)
	}
	prompts := &caller{answers: []Answer{calls("", Call{Name: changePhase, Args: map[string]any{"phase": "again"}})}}
	if _, err := native(t, &Spec{Prompt: "p", Continuations: map[string]string{"again": strings.Repeat("x", maxPrompt)}, MaxSteps: 1000}, prompts, nil); kernel.CodeOf(err) != kernel.CodeLimit || len(prompts.told) > 3 {
		t.Errorf("after %d phases of a megabyte: %v", len(prompts.told), err)
	}
}
