package engine

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/agent"
	"github.com/hexdag/hexdag/host/kernel"
)

// What is kept of a conversation is what would be made of it anew, whatever comes before.
func TestConversation(t *testing.T) {
	calls := []agent.Call{{Name: "orders:find", ID: "1", Raw: `{"id": 1}`, Signature: "s"}}
	system, asked := agent.Message{Role: "user", Content: "find \"it\"\n"}, agent.Message{Role: "assistant", Calls: calls}
	told, other := agent.Message{Role: "tool", CallID: "1", Content: "found"}, agent.Message{Role: "user", Content: "else"}
	find := []agent.Tool{{Name: "orders:find", Description: "<finds>", Schema: map[string]any{"type": "object"}}, {Name: "orders:drop", Parameters: []agent.Parameter{{Name: "id", Type: "int"}}}}
	var c conversation
	var before []any
	for i, step := range []struct {
		model    string
		messages []agent.Message
		tools    []agent.Tool
	}{
		{"", []agent.Message{system}, find},
		{"", []agent.Message{system, asked, told}, find},
		{"m", []agent.Message{system, asked, told, other}, find},
		{"", []agent.Message{system, asked}, find},
		{"", []agent.Message{system, {Role: "assistant", Calls: []agent.Call{{Name: "orders:drop", ID: "1"}}}, told}, find},
		{"", []agent.Message{other}, find[1:]},
		{"", []agent.Message{other, told}, []agent.Tool{}},
		{"", []agent.Message{other, told, told}, nil},
		{"", nil, find},
	} {
		args, text := c.args(step.model, step.messages, step.tools)
		var fresh conversation
		anew, _ := fresh.args(step.model, step.messages, step.tools)
		if diff := cmp.Diff(anew, args); diff != "" {
			t.Errorf("step %d: %s", i, diff)
		}
		want, err := kernel.EncodeJSON(args)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := text.JSON(); err != nil || string(got) != string(want) {
			t.Errorf("step %d: the text is %s, %v, want %s", i, got, err, want)
		}
		if text.For(args) != text {
			t.Errorf("step %d: the text is not of the arguments", i)
		}
		said := args["messages"].([]any)
		if _ = append(said, "more"); len(before) > 0 && len(said) > len(before) && len(c.turns.values) != len(said) {
			t.Errorf("step %d: who has the arguments can add to the conversation", i)
		}
		before = said
	}
	deep := kernel.Value("x")
	for range kernel.MaxDepth {
		deep = []any{deep}
	}
	if args, text := c.args("", nil, []agent.Tool{{Name: "deep", Schema: map[string]any{"default": deep}}}); text != nil || args["tools"] == nil {
		t.Error("what has no text has one")
	}
}
