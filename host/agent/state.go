package agent

import (
	"fmt"
	"maps"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// state is what an agent has done so far, with hexDAG's names.
type state struct {
	input    map[string]any
	steps    []any // "Step n: <answer>"
	results  []any // "<tool>: <result>" or "<tool>: Error - <why>"
	used     []any
	phase    string
	phases   []any
	contexts map[string]any
	step     int
	response string

	told    string          // the last result, without its tool
	history strings.Builder // the steps with their results, for the next prompt
}

const mainPhase = "main"

func newState(input kernel.Value) *state {
	fields, ok := input.(map[string]any)
	if !ok {
		fields = map[string]any{"input": input}
	}
	return &state{input: fields, steps: []any{}, results: []any{}, used: []any{}, phase: mainPhase, phases: []any{mainPhase}, contexts: map[string]any{}}
}

// value is the state as a node's result.
func (s *state) value() map[string]any {
	return map[string]any{
		"input_data":      s.input,
		"reasoning_steps": s.steps,
		"tool_results":    s.results,
		"tools_used":      s.used,
		"current_phase":   s.phase,
		"phase_history":   s.phases,
		"phase_contexts":  s.contexts,
		"step":            kernel.Number(int64(s.step)),
		"response":        s.response,
		"loop_iteration":  kernel.Number(0),
	}
}

// fields are what a prompt can name: the state, the input over it, and what the
// phase is about.
func (s *state) fields() map[string]kernel.Value {
	fields := s.value()
	maps.Copy(fields, s.input)
	steps := make([]string, len(s.steps))
	for i, step := range s.steps {
		steps[i] = step.(string)
	}
	fields["reasoning_so_far"] = strings.Join(steps, "\n")
	if len(steps) == 0 {
		fields["reasoning_so_far"] = "Starting reasoning..."
	}
	about, _ := s.contexts[s.phase].(map[string]any)
	if about == nil {
		about = map[string]any{}
	}
	fields["phase_context"], fields["phase_reason"], fields["phase_target"] = about, "", ""
	if reason, ok := about["reason"]; ok {
		fields["phase_reason"] = reason
	}
	if target, ok := about["target_output"]; ok {
		fields["phase_target"] = target
	}
	return fields
}

// begin records an answer.
func (s *state) begin(response string) {
	s.step++
	s.response = response
	text := fmt.Sprintf("Step %d: %s", s.step, response)
	s.steps = append(s.steps, text)
	s.history.WriteString(indented(text) + "\n")
}

func (s *state) succeeded(tool string, result kernel.Value) {
	s.used = append(s.used, tool)
	s.record(tool, resultText(result))
}

func (s *state) failed(tool, why string) { s.record(tool, "Error - "+why) }

func (s *state) record(tool, text string) {
	if tool == "" {
		tool = "call"
	}
	s.told = text
	line := kernel.Quote(tool) + ": " + text
	s.results = append(s.results, line)
	s.history.WriteString("  Result: " + indented(line) + "\n")
}

// bounded refuses to go on with a history that is too large; more is what the model is told beside it.
func (s *state) bounded(more int) error {
	if n := s.history.Len() + more; n > maxHistory {
		return limit("the agent's steps and results have %d bytes", n, maxHistory, "lower max_steps, or have its tools answer less")
	}
	return nil
}

// indented keeps the lines of a text, after its first, below what it belongs to:
// no text of a model or a tool can look like a section of the prompt.
func indented(text string) string { return lines.Replace(text) }

var lines = strings.NewReplacer("\r\n", "\n    ", "\n", "\n    ", "\r", "\n    ", "\v", " ", "\f", " ", "\u2028", "\n    ", "\u2029", "\n    ", "\u0085", "\n    ")

// resultText is a tool's result as the model is told it: a text as it is,
// everything else as JSON.
func resultText(v kernel.Value) string {
	text, ok := v.(string)
	if !ok {
		encoded, err := kernel.EncodeJSON(v)
		if err != nil {
			return "Error - the result is no JSON value: " + kernel.Quote(err.Error())
		}
		text = string(encoded)
	}
	if len(text) <= maxResult {
		return strings.ToValidUTF8(text, "\uFFFD")
	}
	note := fmt.Sprintf(" ... (cut: %d bytes, the limit is %d)", len(text), maxResult)
	return strings.ToValidUTF8(text[:maxResult-len(note)], "") + note
}
