package replayllm_test

import (
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/llm/replayllm"
)

func args(prompt string) map[string]any {
	return map[string]any{"messages": []any{map[string]any{"role": "user", "content": prompt}}}
}

func asked(lane, op, prompt string) *journal.Entry {
	return &journal.Entry{Kind: journal.Call, Lane: lane, Op: op, Digest: journal.Digest(args(prompt), nil)}
}

func answered(lane, op, content string) *journal.Entry {
	return &journal.Entry{Kind: journal.Reply, Lane: lane, Op: op, Value: map[string]any{"content": content}, Charges: []kernel.Charge{{Model: "m", Input: 3, Output: 2}}}
}

// Answers are given by their requests, those to one request in their order, each once; lanes are apart.
func TestAnswers(t *testing.T) {
	m := replayllm.New()
	failed := &journal.Entry{Kind: journal.Reply, Lane: "c", Op: "llm.complete", Failed: &kernel.Error{Code: kernel.CodeRetry, What: "later"}}
	gone := answered("d", "llm.complete", "[redacted]")
	gone.Redacted = true
	m.Add([]*journal.Entry{
		asked("a", "llm.complete", "one"), asked("b", "llm.complete", "two"), asked("a", "memory.get", "x"), answered("b", "llm.complete", "2"), answered("a", "llm.complete", "1"),
		asked("a", "llm.complete", "one"), answered("a", "llm.complete", "1 again"), asked("c", "llm.complete", "three"), failed, asked("d", "llm.complete", "four"), gone,
		asked("a", "llm.embed", "one"), answered("a", "llm.embed", "vectors"), asked("e", "llm.complete", "five"), // its host died
	})
	if held, redacted := m.Held(); held != 5 || redacted != 1 {
		t.Errorf("%d answers, %d redacted", held, redacted)
	}
	ops := map[string]kernel.PortFunc{}
	for _, op := range m.Ops() {
		ops[op.Name] = op.Func
	}
	run := &kernel.RunContext{}
	ctx := kernel.WithRun(t.Context(), run)
	for _, c := range []struct{ op, prompt, want, fails string }{
		{"llm.complete", "two", "2", ""}, {"llm.complete", "one", "1", ""}, {"llm.embed", "one", "vectors", ""}, {"llm.complete", "one", "1 again", ""},
		{"llm.complete", "one", "", "it has been asked more often than then"}, {"llm.complete", "three", "", "later"}, {"llm.complete", "four", "", "; 1 answers were redacted"}, {"llm.complete", "five", "", "none of its 5 answers is to a request with the digest sha256:"},
		{"llm.batch", "one", "", "no answer to this llm.batch"},
	} {
		reply, err := ops[c.op](ctx, &kernel.PortCall{Op: c.op, Args: args(c.prompt)})
		if c.fails != "" {
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s %s: %v, want %q", c.op, c.prompt, err, c.fails)
			}
			continue
		}
		if err != nil || reply.Value.(map[string]any)["content"] != c.want {
			t.Errorf("%s %s: %+v, %v, want %q", c.op, c.prompt, reply, err, c.want)
		}
	}
	if u := run.Usage.Snapshot(); u.LLMCalls != 4 || u.InputTokens != 12 || u.OutputTokens != 8 {
		t.Errorf("charged %+v", u)
	}
	if _, err := replayllm.Lines([]byte("{")); kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), "hexdag journal export") {
		t.Error(err)
	}
}

// An answer is told as a whole to who wants it piece by piece; one that is held to a schema is not.
func TestTells(t *testing.T) {
	held := args("held")
	held["schema"] = map[string]any{"type": "object"}
	m := replayllm.New()
	m.Add([]*journal.Entry{
		asked("a", "llm.complete", "one"), answered("a", "llm.complete", "It rains."),
		{Kind: journal.Call, Lane: "a", Op: "llm.complete", Digest: journal.Digest(held, nil)}, answered("a", "llm.complete", "{}"),
	})
	told := ""
	for _, a := range []map[string]any{args("one"), held} {
		if _, err := m.Ops()[0].Func(t.Context(), &kernel.PortCall{Op: "llm.complete", Args: a, Tell: func(piece string) { told += piece }}); err != nil {
			t.Fatal(err)
		}
	}
	if told != "It rains." {
		t.Errorf("told %q", told)
	}
}

// A run that stayed just within its limit does so again.
func TestWithinTheLimit(t *testing.T) {
	vectors := answered("a", "llm.embed", "vectors")
	vectors.Charges = []kernel.Charge{{Model: "m", Input: 10}}
	m := replayllm.New()
	m.Add([]*journal.Entry{asked("a", "llm.embed", "one"), vectors})
	limit := 10.0
	run := &kernel.RunContext{}
	run.Spending.Limits.Tokens = &limit
	if _, err := m.Ops()[1].Func(kernel.WithRun(t.Context(), run), &kernel.PortCall{Op: "llm.embed", Args: args("one")}); err != nil {
		t.Error(err)
	}
}
