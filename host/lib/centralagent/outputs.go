package centralagent

import "github.com/hexdag/hexdag/host/ports"

// Outputs returns the JSON Schemas of what the operations answer, by their names. They may answer more than is told here.
func Outputs() map[string]map[string]any {
	text, maybe := ports.Of("string"), ports.OrNull("string")
	object := func(properties map[string]any) map[string]any {
		schema := ports.Answer(properties)
		delete(schema, "additionalProperties")
		return schema
	}
	statuses := []any{}
	for _, s := range Statuses() {
		statuses = append(statuses, string(s))
	}
	status := map[string]any{"enum": statuses}
	goal := object(map[string]any{
		"goal_id": text, "pipeline": text, "status": status, "run_id": maybe, "outcome": maybe, "summary": maybe, "error": maybe, "submitted_at": text, "completed_at": maybe, "waits": ports.ListOf(text),
	})
	return map[string]map[string]any{
		"central_agent.survey": object(map[string]any{
			"pipelines":   ports.ListOf(object(map[string]any{"pipeline": text, "description": text, "input_schema": ports.OrNull("object"), "when_untrusted": text})),
			"runs":        ports.ListOf(object(map[string]any{"run_id": text, "pipeline": text, "status": text, "error_code": maybe})),
			"starts_left": ports.Of("integer"),
		}),
		"central_agent.note":   object(map[string]any{"noted": ports.Of("boolean")}),
		"central_agent.start":  object(map[string]any{"run_id": text, "pipeline": text, "status": text}),
		"central_agent.wait":   object(map[string]any{"runs": ports.ListOf(object(map[string]any{"run_id": text, "pipeline": text, "status": text, "output": map[string]any{}, "error": maybe}))}),
		"central_agent.ask":    object(map[string]any{"approved": ports.Of("boolean")}),
		"central_agent.report": object(map[string]any{"outcome": text}),
		"central_agent.submit": object(map[string]any{"goal_id": text, "status": status}),
		"central_agent.goals":  object(map[string]any{"goals": ports.ListOf(goal)}),
		"central_agent.goal":   goal,
		"central_agent.cancel": object(map[string]any{"goal_id": text, "cancelled": ports.Of("boolean")}),
	}
}
