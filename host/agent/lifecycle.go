package agent

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// The names of the loop's own tools. No other tool of such a name is called.
const (
	toolEnd     = "tool_end"
	changePhase = "change_phase"
)

// lifecycle describes the loop's own tools.
func (l *loop) lifecycle() []Tool {
	end := Tool{Name: toolEnd, Description: "Ends with the result."}
	var fields []string
	for _, f := range l.output.Fields() {
		end.Parameters = append(end.Parameters, Parameter{Name: f.Name, Type: strings.TrimSuffix(f.Type, "?")})
		fields = append(fields, f.Name+" is "+f.Type)
	}
	if fields != nil {
		end.Description += " " + strings.Join(fields, ", ") + "."
	}
	tools := []Tool{end}
	if len(l.spec.Continuations) > 0 {
		tools = append(tools, Tool{
			Name:        changePhase,
			Description: "Goes on with another phase: " + strings.Join(l.phases(), ", ") + ".",
			Parameters: []Parameter{
				{Name: "phase", Type: "str", Required: true}, {Name: "reason", Type: "str"}, {Name: "carried_data", Type: "dict"},
				{Name: "target_output", Type: "str"}, {Name: "previous_phase", Type: "str"}, {Name: "iteration", Type: "int"}, {Name: "metadata", Type: "dict"},
			},
		})
	}
	return tools
}

func (l *loop) phases() []string { return slices.Sorted(maps.Keys(l.spec.Continuations)) }

// end ends the loop if the schema takes the arguments.
func (l *loop) end(args map[string]any) {
	result, err := l.output.Coerce(args)
	if err == nil && l.deps.Accept != nil {
		err = l.deps.Accept(result)
	}
	if err != nil {
		l.state.failed(toolEnd, told(err))
		return
	}
	l.ended, l.result = true, result
}

// changePhase makes another prompt the current one. What the model carries over
// becomes part of the input.
func (l *loop) changePhase(args map[string]any) {
	about := map[string]any{}
	for name, v := range args {
		if !phaseArgument(name, v) {
			l.state.failed(changePhase, kernel.Quote(name)+" is no argument of change_phase, or not of its type")
			return
		}
		if v != nil && name != "phase" {
			about[name] = v
		}
	}
	phase, _ := args["phase"].(string)
	if _, known := l.spec.Continuations[phase]; !known {
		l.state.failed(changePhase, fmt.Sprintf("there is no phase %s; %s", kernel.Quote(phase), kernel.DidYouMean(phase, l.phases())))
		return
	}
	s := l.state
	if about["previous_phase"] == nil {
		about["previous_phase"] = s.phase
	}
	s.phase, s.contexts[phase] = phase, about
	s.phases = append(s.phases, phase)
	if carried, ok := about["carried_data"].(map[string]any); ok {
		s.input = maps.Clone(s.input)
		maps.Copy(s.input, carried)
	}
	s.succeeded(changePhase, map[string]any{"action": changePhase, "new_phase": phase, "context": about})
}

func phaseArgument(name string, v kernel.Value) bool {
	if v == nil {
		return name != "phase"
	}
	var ok bool
	switch name {
	case "phase", "reason", "target_output", "previous_phase":
		_, ok = v.(string)
	case "carried_data", "metadata":
		_, ok = v.(map[string]any)
	case "iteration":
		_, ok = v.(json.Number)
	}
	return ok
}
