package agent

import (
	"encoding/json"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/types"
)

// prompt is what the model is asked next: the phase's prompt with the fields in
// it, what can be called and how, and what happened so far.
func (l *loop) prompt() (string, error) {
	text, err := l.phasePrompt()
	if err != nil {
		return "", err
	}
	text += "\n" + l.manual
	if l.state.step > 0 {
		text += "\n## Reasoning History\n" + l.state.history.String()
	}
	return text, nil
}

// phasePrompt is the prompt of the phase, with the fields in it.
func (l *loop) phasePrompt() (string, error) {
	text := l.spec.Prompt
	if phase := l.state.phase; phase != mainPhase {
		text = l.spec.Continuations[phase]
	}
	text, err := l.deps.Render(text, l.state.fields())
	if err != nil {
		return "", err
	}
	if len(text) > maxPrompt {
		return "", limit("the prompt has %d bytes", len(text), maxPrompt, "put less into it")
	}
	return text, nil
}

// manual is the section about tools, with how to end.
func manual(tools []Tool, style Style, output *types.Object) string {
	var b strings.Builder
	b.WriteString(described(tools, style))
	for _, s := range examples(tools, style, output) {
		b.WriteString(s + "\n")
	}
	return b.String()
}

// described lists the tools and says how to call one. Names and descriptions are a
// module's words, and take one line.
func described(tools []Tool, style Style) string {
	var b strings.Builder
	b.WriteString("\n## Available Tools\n")
	for _, t := range tools {
		names := make([]string, len(t.Parameters))
		for i, p := range t.Parameters {
			names[i] = kernel.Quote(p.Name)
		}
		description := kernel.Quote(t.Description)
		if description == "" {
			description = "No description"
		}
		b.WriteString("- " + kernel.Quote(t.Name) + "(" + strings.Join(names, ", ") + "): " + description + "\n")
	}
	b.WriteString("\n## Usage Guidelines\n" + guidelines[style])
	return b.String()
}

// guidelines say how to write a call.
var guidelines = map[Style]string{
	Mixed: "- Call ONE tool at a time, in one of two forms:\n" +
		"  INVOKE_TOOL: tool_name(param='value', number=3)\n" +
		"  INVOKE_TOOL: {\"tool\": \"tool_name\", \"params\": {\"param\": \"value\", \"number\": 3}}\n",
	FunctionCall: "- Call ONE tool at a time: INVOKE_TOOL: tool_name(param='value', number=3)\n",
	JSON:         "- Call ONE tool at a time: INVOKE_TOOL: {\"tool\": \"tool_name\", \"params\": {\"param\": \"value\", \"number\": 3}}\n",
}

// examples show how to end, and how to change the phase where there are phases.
func examples(tools []Tool, style Style, output *types.Object) []string {
	result := map[string]any{}
	for _, f := range output.Fields() {
		result[f.Name] = exampleOf(f.Type)
	}
	lines := []string{"- For the final answer: " + Call{Name: toolEnd, Args: result}.Format(style)}
	for _, t := range tools {
		if t.Name == changePhase {
			c := Call{Name: changePhase, Args: map[string]any{"phase": "new_phase", "reason": "why", "carried_data": map[string]any{"key": "value"}}}
			lines = append(lines, "- To change the phase: "+c.Format(style))
		}
	}
	return lines
}

func exampleOf(typ string) kernel.Value {
	switch strings.TrimSuffix(typ, "?") {
	case "int", "integer":
		return json.Number("3")
	case "float", "number", "score":
		return json.Number("0.5")
	case "bool", "boolean", "flexible_bool":
		return true
	case "list", "array":
		return []any{"value"}
	case "dict", "object":
		return map[string]any{"key": "value"}
	}
	return "value"
}
