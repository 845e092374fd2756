package engine

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/agent"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// entityTools let an agent see and move entities of the types that it names. It cannot register one: that would put an entity past its
// machine's guards, and one that nobody has moved begins with its first transition.
func (w *worker) entityTools(types []string) []offered {
	guarded := func(op string) func(ctx context.Context, args map[string]any, _ begun) (kernel.Value, error) {
		return func(ctx context.Context, args map[string]any, _ begun) (kernel.Value, error) {
			entity, _ := args["entity"].(string)
			if !slices.Contains(types, entity) {
				return nil, &kernel.Error{Code: kernel.CodeDenied, What: "this agent may not reach entities of type " + kernel.Quote(entity), Why: "it names entities: " + strings.Join(types, ", "), Fix: "add it there"}
			}
			reply, err := w.call(ctx, op, args)
			if err != nil {
				return nil, err
			}
			return reply.Value, nil
		}
	}
	id := []agent.Parameter{{Name: "entity", Type: "string", Required: true}, {Name: "entity_id", Type: "string", Required: true}}
	to := append(slices.Clone(id), agent.Parameter{Name: "to_state", Type: "string", Required: true}, agent.Parameter{Name: "reason", Type: "string"}, agent.Parameter{Name: "payload", Type: "object"})
	of := "an entity of type " + strings.Join(types, ", ")
	return []offered{
		{Tool: agent.Tool{Name: "entity_state:get_state", Description: "The state of " + of, Parameters: id}, call: guarded("entity_state.get_state")},
		{Tool: agent.Tool{Name: "entity_state:get_history", Description: "The states that " + of + " has been in, the oldest first", Parameters: id}, call: guarded("entity_state.get_history")},
		{Tool: agent.Tool{Name: "entity_state:transition", Description: "Moves " + of + " to another state." + transitionsOf(w.g.r.Machines, types), Parameters: to}, call: guarded(opTransition)},
	}
}

// transitionsOf says where entities can be moved, and what has to be in the payload for it.
func transitionsOf(machines []*pipeline.Machine, types []string) string {
	var b strings.Builder
	for _, m := range machines {
		if !slices.Contains(types, m.Entity) {
			continue
		}
		b.WriteString(" " + m.Entity + ": begins in " + m.Initial)
		for _, from := range slices.Sorted(maps.Keys(m.Edges)) {
			to := make([]string, len(m.Edges[from]))
			for i, e := range m.Edges[from] {
				to[i] = e.To
			}
			b.WriteString("; " + from + " -> " + strings.Join(to, ", "))
		}
		for _, state := range slices.Sorted(maps.Keys(m.Requires)) {
			b.WriteString("; " + state + " needs the payload's " + strings.Join(m.Requires[state], ", "))
		}
		b.WriteString(".")
	}
	return b.String()
}
