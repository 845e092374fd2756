package pipeline

import (
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// LLM asks a model.
type LLM struct {
	System, Human *Template // System may be nil
	Conversation  []Turns   // between them
	Model         string
	MaxTokens     int
	Stream        bool
	Tools         []string // that it is told of; it calls none, a ToolExecutor does
	Style         string   // how it writes calls of them: mixed, function_call or json
	Keeps         bool     // it answers {content, messages}: its text, and the turns of it, for the conversation of another
}

// KeepsLabels reports whether a node takes no labels off its answer, whatever the operator lets it: it answers what it was asked, too.
func (n *Node) KeepsLabels() bool {
	b, ok := n.Body.(*LLM)
	return ok && b.Keeps
}

// Turns are turns of a conversation: one of a role, or what a reference names, a
// list of {role, content}.
type Turns struct {
	Role    string
	Content *Template
	List    *Reference
}

func (b *LLM) visit(f func(Reference)) {
	b.Human.visit(f)
	b.System.visit(f)
	for _, t := range b.Conversation {
		t.Content.visit(f)
		if t.List != nil {
			f(*t.List)
		}
	}
}

// Values returns the turns for a scope, as {role, content} objects. A node that was skipped has said nothing.
func (t *Turns) Values(s *Scope) ([]any, error) {
	if t.List != nil {
		if v, known := s.Lookup(t.List.Path[0]); known && IsSkipped(v) {
			return nil, nil
		}
		v, err := t.List.value(s)
		if err != nil {
			return nil, err
		}
		list, ok := v.([]any)
		if !ok {
			return nil, &kernel.Error{Code: kernel.CodeInput, What: "conversation must be a list of {role, content}: " + kernel.Quote(t.List.text()) + " is none", Where: t.List.At.Where(), Fix: "name a list"}
		}
		return list, nil
	}
	content, err := t.Content.Render(s)
	if err != nil {
		return nil, err
	}
	return []any{map[string]any{"role": t.Role, "content": content}}, nil
}

func readLLM(r *reader, n *Node) Body {
	s := n.spec
	b := &LLM{
		Human:  r.template(s, "human_message", "prompt_template", "template"),
		System: r.template(s, "system_message", "system_prompt"),
		Model:  s.Text("model"), MaxTokens: int(s.Positive("max_tokens")), Stream: s.Flag("stream"),
		Tools: s.Texts("available_tools"), Style: r.writtenStyle(s.Get("tool_call_style"), "tool_call_style"), Keeps: s.Flag("keep_messages"),
	}
	if b.Human == nil {
		r.Add(s.At.Errorf(kernel.CodePipeline, "add human_message: ...", "an llm_node needs human_message"))
		b.Human = parseTemplate("", s.At)
	}
	if s.Get("examples") != nil {
		b.System = r.withExamples(b.System, s.Items("examples"))
	}
	if v := s.Get("conversation"); v != nil {
		b.Conversation = r.conversation(v)
	}
	if v := s.Get("output_schema"); v != nil {
		n.Output = r.object(v, "output_schema")
		if len(b.Tools) > 0 {
			r.Add(v.Errorf(kernel.CodePipeline, "remove one of them", "an llm_node with available_tools writes calls of them, and has no output_schema"))
		}
	}
	return b
}

// withExamples appends the examples to the system message, in hexDAG's words.
func (r *reader) withExamples(system *Template, items []*source.Value) *Template {
	text := "Examples:"
	for _, item := range items {
		example := r.Open(item, "an example")
		if example == nil {
			continue
		}
		text += "\n\nInput: " + exampleText(example.Get("input")) + "\nOutput: " + exampleText(example.Get("output"))
		example.Rest()
	}
	literal := &Template{literals: []string{text}}
	if system == nil {
		return literal
	}
	joined := *system
	joined.literals = append([]string(nil), system.literals...)
	joined.literals[len(joined.literals)-1] += "\n\n" + text
	return &joined
}

func exampleText(v *source.Value) string {
	if v == nil {
		return ""
	}
	if text, ok := v.Text(); ok {
		return text
	}
	text, err := kernel.EncodeJSON(v.Plain())
	if err != nil {
		return ""
	}
	return string(text)
}

// conversation reads "{{ node }}", a list of {role, content}, or a list of
// {prompt, messages}.
func (r *reader) conversation(v *source.Value) []Turns {
	if text, ok := v.Text(); ok {
		ref, ok := parseTemplate(text, v).only()
		if !ok {
			r.Add(v.Errorf(kernel.CodePipeline, "write one {{ node.field }}, or a list of {role, content}", "conversation must name a list of turns"))
			return nil
		}
		return []Turns{{List: &ref}}
	}
	items, ok := v.V.([]*source.Value)
	if !ok {
		r.Add(v.Errorf(kernel.CodePipeline, "write a list of {role, content}", "conversation must be a list, this is %s", v.TypeName()))
		return nil
	}
	var turns []Turns
	for _, item := range items {
		s := r.Open(item, "a turn of conversation")
		if s == nil {
			continue
		}
		if s.M.Members["messages"] != nil {
			if prompt := r.template(s, "prompt"); prompt != nil {
				turns = append(turns, Turns{Role: "system", Content: prompt})
			}
			turns = append(turns, r.conversation(s.Get("messages"))...)
			s.Rest()
			continue
		}
		role := s.Required("role")
		content := r.template(s, "content")
		if content == nil {
			r.Add(item.Errorf(kernel.CodePipeline, "add content: ...", "a turn of conversation needs content"))
			continue
		}
		turns = append(turns, Turns{Role: role, Content: content})
		s.Rest()
	}
	return turns
}
