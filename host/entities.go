package host

import (
	"context"

	"github.com/hexdag/hexdag/host/expr"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/entitystate"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
)

// states returns the operations of entities under a pipeline's state machines;
// none where it has no machine.
func (o opening) states(machines []*pipeline.Machine) ([]ports.Op, error) {
	if len(machines) == 0 {
		return nil, nil
	}
	states, err := o.host.newStates(machines)
	if err != nil {
		return nil, err
	}
	for _, m := range machines {
		if m.OnChange != nil {
			states.Handle(m.Entity, o.host.onChange(m.OnChange))
		}
	}
	return ports.OnBehalf(entityOps(states)), nil
}

// entityOps are the operations of entities, held to what they tell of their answers.
func entityOps(states *entitystate.States) []ports.Op {
	text := ports.Of("string")
	state := ports.Answer(map[string]any{"entity_type": text, "entity_id": text, "state": text})
	entry := ports.Answer(map[string]any{"from_state": ports.OrNull("string"), "to_state": text, "timestamp": text, "metadata": ports.Of("object")})
	return ports.Held(ports.Answering(states.Ops(), map[string]map[string]any{
		"entity_state.register": state, "entity_state.get_state": state, "entity_state.get_history": ports.Answer(map[string]any{"history": ports.ListOf(entry)}),
		"entity_state.transition": ports.Answer(map[string]any{"entity_type": text, "entity_id": text, "from_state": ports.OrNull("string"), "to_state": text}),
	}))
}

// entityKeeper keeps what is known of entities in the libraries' store.
func (h *Host) entityKeeper() entitystate.Keeper {
	return entitystate.Documents(h.dataStore, int64(h.config.Libraries.Entities))
}

// newStates returns the tenant's entities under state machines, with their guards
// and what their states require.
func (h *Host) newStates(machines []*pipeline.Machine) (*entitystate.States, error) {
	list := make([]entitystate.Machine, len(machines))
	for i, m := range machines {
		list[i] = entitystate.Machine{Entity: m.Entity, Initial: m.Initial, States: m.States, Transitions: map[string][]entitystate.Edge{}}
		for from, edges := range m.Edges {
			for _, e := range edges {
				edge := entitystate.Edge{To: e.To}
				if e.Guard != nil {
					edge.Guard = e.Guard.Text
				}
				list[i].Transitions[from] = append(list[i].Transitions[from], edge)
			}
		}
	}
	states, err := entitystate.New(h.entityKeeper(), list, entitystate.Options{Guard: guard, Begins: true, Changed: h.entityChanged})
	if err != nil {
		return nil, err
	}
	for _, m := range machines {
		if len(m.Requires) > 0 {
			states.Handle(m.Entity, requires(m))
		}
	}
	return states, nil
}

// guard evaluates an edge's guard: the payload's fields go by their names, and
// none of them stands in for what the transition itself is.
func guard(_ context.Context, text string, c *entitystate.Change) (bool, error) {
	program, err := expr.Compile(text)
	if err != nil {
		return false, err
	}
	scope := expr.Map{}
	if fields, ok := c.Payload.(map[string]any); ok {
		for name, v := range fields {
			scope[name] = v
		}
	}
	for name, v := range map[string]kernel.Value{
		"payload": c.Payload, "input": c.Payload, "entity_type": c.Entity, "entity_id": c.ID, "from_state": c.From, "to_state": c.To, "reason": c.Reason,
	} {
		scope[name] = v
	}
	return program.Predicate(scope)
}

// requires refuses to enter a state without the fields that it requires.
func requires(m *pipeline.Machine) entitystate.Handler {
	return func(_ context.Context, c *entitystate.Change) error {
		fields, _ := c.Payload.(map[string]any)
		var missing []string
		for _, name := range m.Requires[c.To] {
			if fields[name] == nil {
				missing = append(missing, name)
			}
		}
		if len(missing) == 0 {
			return nil
		}
		return &kernel.Error{Code: kernel.CodeFailed, What: "state " + kernel.Quote(c.To) + " of " + kernel.Quote(c.Entity) + " requires " + list(missing), Why: "the transition's payload lacks them, or they are null", Fix: "pass them in payload"}
	}
}

func list(names []string) string {
	text := ""
	for i, name := range names {
		if i > 0 {
			text += ", "
		}
		text += kernel.Quote(name)
	}
	return text
}

// onChange has a module told of transitions: its tool is given {entity_type,
// entity_id, from_state, to_state, reason, payload}.
func (h *Host) onChange(f *pipeline.Function) entitystate.Handler {
	return within(func(ctx context.Context, c *entitystate.Change) error {
		call := &kernel.NodeCall{Name: c.Node, Kind: "transition", Attempt: 1, Input: changeValue(c)}
		_, err := h.engine.Call(ctx, f, call)
		return err
	})
}

func changeValue(c *entitystate.Change) map[string]any {
	return map[string]any{"entity_type": c.Entity, "entity_id": c.ID, "from_state": c.From, "to_state": c.To, "reason": c.Reason, "payload": c.Payload}
}
