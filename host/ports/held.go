package ports

import (
	"context"
	"slices"
	"sync"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/schema"
)

// Held returns operations that answer only what their Output says. One that would answer something else fails with CodeInternal: the mistake
// is ours, and nobody is to go by such an answer.
func Held(ops []Op) []Op {
	held := slices.Clone(ops)
	for i := range held {
		if held[i].Output == nil {
			continue
		}
		name, do := held[i].Name, held[i].Func
		output := sync.OnceValues(func() (*schema.Schema, error) { return schema.Compile(ops[i].Output) })
		held[i].Func = func(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
			reply, err := do(ctx, call)
			if err != nil {
				return reply, err
			}
			s, err := output()
			if err == nil {
				err = s.Validate(reply.Value)
			}
			if err != nil {
				return nil, &kernel.Error{Code: kernel.CodeInternal, What: "what " + name + " answers does not fit its output schema", Why: kernel.Quote(err.Error()), Fix: "report it; what was asked for may have been done", Err: err}
			}
			return reply, nil
		}
	}
	return held
}

// Answering returns operations with the JSON Schemas of what they answer, by their names.
func Answering(ops []Op, outputs map[string]map[string]any) []Op {
	told := slices.Clone(ops)
	for i := range told {
		told[i].Output = outputs[told[i].Name]
	}
	return told
}

// Answer returns the JSON Schema of an object that has these members, but for the optional ones always, and no others.
func Answer(properties map[string]any, optional ...string) map[string]any {
	var required []string
	for name := range properties {
		if !slices.Contains(optional, name) {
			required = append(required, name)
		}
	}
	slices.Sort(required)
	return Parameters(properties, required...)
}

// OrNull returns the JSON Schema of a value of a type that may be missing.
func OrNull(typ string) map[string]any { return map[string]any{"type": []any{typ, "null"}} }

// ListOf returns the JSON Schema of a list.
func ListOf(items map[string]any) map[string]any {
	return map[string]any{"type": "array", "items": items}
}

// Of returns the JSON Schema of a value of a type.
func Of(typ string) map[string]any { return map[string]any{"type": typ} }
