// Package pipelinememory lets the nodes of one run keep values for each other. What
// is kept ends with the run; what should live longer belongs into the memory port.
package pipelinememory

import (
	"context"
	"maps"
	"slices"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// Ops returns the operations for the door, about the run that calls:
//
//	pipeline_memory.get {key, default?} -> the value, or the default, or null
//	pipeline_memory.set {key, value} -> {key, stored: true}
//	pipeline_memory.update {field: value, ...} -> {keys_updated}
//	pipeline_memory.snapshot {} -> {key: value, ...}
//
// A capability can restrict the key of get and set.
func Ops() []ports.Op {
	key, anything := []string{"key"}, map[string]any{"type": "object"}
	name := ports.Param("string", "its name")
	tool := func(description string, input map[string]any) *ports.Tool {
		return &ports.Tool{Description: description, Input: input}
	}
	return ports.Held([]ports.Op{
		{Name: "pipeline_memory.get", Guards: key, Own: true, Func: get, Output: map[string]any{}, Tool: tool("A value that was kept in this run.", ports.Parameters(map[string]any{"key": name, "default": map[string]any{"description": "what is answered where there is none"}}, "key"))},
		{Name: "pipeline_memory.set", Guards: key, Own: true, Func: set, Output: ports.Answer(map[string]any{"key": ports.Of("string"), "stored": ports.Of("boolean")}), Tool: tool("Keeps a value for the rest of this run.", ports.Parameters(map[string]any{"key": name, "value": map[string]any{"description": "what to keep"}}, "key", "value"))},
		{Name: "pipeline_memory.update", Own: true, Func: update, Output: ports.Answer(map[string]any{"keys_updated": ports.Of("integer")}), Tool: tool("Keeps several values, each by its name, for the rest of this run.", anything)},
		{Name: "pipeline_memory.snapshot", Own: true, Func: snapshot, Output: anything, Tool: tool("All values that were kept in this run.", ports.Parameters(map[string]any{}))},
	})
}

func runOf(ctx context.Context) (*kernel.RunContext, error) {
	if run := kernel.RunFrom(ctx); run != nil {
		return run, nil
	}
	return nil, &kernel.Error{Code: kernel.CodeUnavailable, What: "pipeline_memory is there inside a run only", Fix: "use the memory port"}
}

func keyOf(call *kernel.PortCall) (string, error) {
	key, _ := call.Args["key"].(string)
	if key == "" || len(key) > 512 {
		return "", &kernel.Error{Code: kernel.CodeArguments, What: call.Op + " needs a key", Why: "it is text of 1 to 512 bytes", Fix: "pass key"}
	}
	return key, nil
}

func get(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	run, err := runOf(ctx)
	if err != nil {
		return nil, err
	}
	key, err := keyOf(call)
	if err != nil {
		return nil, err
	}
	v, labels, ok := run.Kept.Get(key)
	if !ok {
		v = call.Args["default"]
	}
	return &kernel.PortReply{Value: v, Labels: labels}, nil
}

func set(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	run, err := runOf(ctx)
	if err != nil {
		return nil, err
	}
	key, err := keyOf(call)
	if err != nil {
		return nil, err
	}
	if err := keep(ctx, run, map[string]kernel.Value{key: call.Args["value"]}, call.Labels); err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: map[string]any{"key": key, "stored": true}}, nil
}

func update(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	run, err := runOf(ctx)
	if err != nil {
		return nil, err
	}
	if err := keep(ctx, run, call.Args, call.Labels); err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: map[string]any{"keys_updated": kernel.Number(int64(len(call.Args)))}}, nil
}

func snapshot(ctx context.Context, _ *kernel.PortCall) (*kernel.PortReply, error) {
	run, err := runOf(ctx)
	if err != nil {
		return nil, err
	}
	values, labels := run.Kept.Snapshot()
	reply := &kernel.PortReply{Value: values}
	for _, l := range labels {
		reply.Labels = reply.Labels.Join(l)
	}
	return reply, nil
}

// keep keeps values with the labels of the call that sets them.
func keep(ctx context.Context, run *kernel.RunContext, values map[string]kernel.Value, l *kernel.Labels) error {
	var labels map[string]*kernel.Labels
	if l != nil {
		labels = make(map[string]*kernel.Labels, len(values))
		for key := range values {
			labels[key] = l
		}
	}
	if err := run.Kept.Set(values, labels); err != nil {
		return err
	}
	if ports.Hidden(ctx) {
		run.Kept.Hide(slices.Collect(maps.Keys(values))...)
	}
	return nil
}
