package entitystate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// Ops returns the operations for the door, about the entities of the tenant of the
// run that calls:
//
//	entity_state.register {entity, entity_id, initial_state?} -> {entity_type, entity_id, state}
//	entity_state.transition {entity, entity_id, to_state, reason?, payload?} -> {entity_type, entity_id, from_state, to_state}
//	entity_state.get_state {entity, entity_id} -> {entity_type, entity_id, state}
//	entity_state.get_history {entity, entity_id} -> {history: [{from_state, to_state, timestamp, metadata: {reason?}}]}
//
// A capability can restrict entity, the type, and to_state.
func (s *States) Ops() []ports.Op {
	entity := []string{"entity"}
	return []ports.Op{
		{Name: "entity_state.register", Guards: entity, Func: s.opRegister},
		{Name: "entity_state.transition", Guards: []string{"entity", "to_state"}, Func: s.opTransition},
		{Name: "entity_state.get_state", Guards: entity, Func: s.opGetState},
		{Name: "entity_state.get_history", Guards: entity, Func: s.opGetHistory},
	}
}

func (s *States) opRegister(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := begin(ctx, call, "initial_state")
	if err != nil {
		return nil, err
	}
	state, err := s.Register(ctx, a.Tenant, a.Entity, a.ID, a.text["initial_state"])
	if err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: map[string]any{"entity_type": a.Entity, "entity_id": a.ID, "state": state}}, nil
}

func (s *States) opTransition(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := begin(ctx, call, "to_state", "reason", "payload")
	if err != nil {
		return nil, err
	}
	a.To, a.Reason, a.Payload, a.Node = a.text["to_state"], a.text["reason"], call.Args["payload"], call.Node
	if err := s.Transition(ctx, &a.Change); err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: a.value()}, nil
}

func (s *States) opGetState(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := begin(ctx, call)
	if err != nil {
		return nil, err
	}
	state, err := s.State(ctx, a.Tenant, a.Entity, a.ID)
	if err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: map[string]any{"entity_type": a.Entity, "entity_id": a.ID, "state": state}}, nil
}

func (s *States) opGetHistory(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := begin(ctx, call)
	if err != nil {
		return nil, err
	}
	history, err := s.History(ctx, a.Tenant, a.Entity, a.ID)
	if err != nil {
		return nil, err
	}
	entries := make([]any, len(history))
	for i, e := range history {
		entries[i] = e.value()
	}
	return &kernel.PortReply{Value: map[string]any{"history": entries}}, nil
}

func (e Entry) value() map[string]any {
	value := map[string]any{"from_state": nil, "to_state": e.To, "timestamp": e.At.Format(time.RFC3339Nano), "metadata": map[string]any{}}
	if e.From != "" {
		value["from_state"] = e.From
	}
	if e.Reason != "" {
		value["metadata"] = map[string]any{"reason": e.Reason}
	}
	return value
}

// arguments are a call's: the entity, and what else is text.
type arguments struct {
	Change
	text map[string]string
}

// begin reads the arguments of a call: the entity's, and those that are known besides.
func begin(ctx context.Context, call *kernel.PortCall, known ...string) (*arguments, error) {
	run := kernel.RunFrom(ctx)
	if run == nil {
		return nil, &kernel.Error{Code: kernel.CodeInternal, What: call.Op + " was called outside a run"}
	}
	known = append([]string{"entity", "entity_id"}, known...)
	a := &arguments{text: map[string]string{}}
	for name, value := range call.Args {
		if !slices.Contains(known, name) {
			return nil, badCall(call, "unknown argument %s; it takes %s", kernel.Quote(name), strings.Join(known, ", "))
		}
		text, isText := value.(string)
		if !isText && name != "payload" && value != nil {
			return nil, badCall(call, "%s must be a text", name)
		}
		a.text[name] = text
	}
	if len(call.Body) > 0 {
		return nil, badCall(call, "it takes no body")
	}
	a.Tenant, a.Entity, a.ID = run.Tenant, a.text["entity"], a.text["entity_id"]
	return a, nil
}

func badCall(call *kernel.PortCall, format string, args ...any) error {
	return &kernel.Error{Code: kernel.CodeArguments, What: call.Op + ": " + fmt.Sprintf(format, args...)}
}
