package engine

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/agent"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/schema"
)

// libraryOf is the port that an owner of tools stands for: what a service has built in, or itself.
func libraryOf(services map[string]pipeline.ServiceSpec, owner string) string {
	if s, ok := services[owner]; ok {
		return s.Builtin
	}
	return owner
}

// isLibrary reports whether an owner of tools is a library, where no server is known by that name: when a run is done again none is.
func (w *worker) isLibrary(owner string) bool {
	r := w.g.r
	return !slices.Contains(r.engine.servers, owner) && len(w.door.Tools(libraryOf(r.Services, owner))) > 0
}

// libraryTools are the methods of a library of the host, for an agent that names them: each call passes the door, as any, and its arguments are
// held to the method's schema first.
func (w *worker) libraryTools(library, owner, wanted string) []offered {
	var tools []offered
	for _, op := range w.door.Tools(library) {
		method := strings.TrimPrefix(op.Name, library+".")
		if wanted != "*" && wanted != method {
			continue
		}
		input := sync.OnceValues(func() (*schema.Schema, error) { return schema.Compile(op.Tool.Input) })
		tools = append(tools, offered{
			Tool: agent.Tool{Name: owner + ":" + method, Description: described(op), Parameters: parametersIn(op.Tool.Input), Schema: op.Tool.Input},
			call: func(ctx context.Context, args map[string]any, _ begun) (kernel.Value, error) {
				if err := held(op.Name, input, args); err != nil {
					return nil, err
				}
				reply, err := w.call(ctx, op.Name, args)
				if err != nil {
					return nil, err
				}
				return reply.Value, nil
			},
		})
	}
	return tools
}

// described is what a model is told of an operation: what it does, and what it answers.
func described(op *ports.Op) string {
	if answer := outline(op.Output); answer != "" {
		return op.Tool.Description + " Answers " + answer + "."
	}
	return op.Tool.Description
}

// outline writes the members that a schema has in one line: {tasks: [{task_id, error?}]}; "" is that of a schema which says nothing of them.
func outline(schema map[string]any) string {
	if items, isList := schema["items"].(map[string]any); isList {
		return "[" + outline(items) + "]"
	}
	properties, _ := schema["properties"].(map[string]any)
	if len(properties) == 0 {
		return ""
	}
	required, _ := schema["required"].([]any)
	members := make([]string, 0, len(properties))
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		member := name
		if !slices.Contains(required, any(name)) {
			member += "?"
		}
		of, _ := properties[name].(map[string]any)
		if inner := outline(of); inner != "" && inner != "[]" {
			member += ": " + inner
		}
		members = append(members, member)
	}
	return "{" + strings.Join(members, ", ") + "}"
}

// held returns what of a tool's arguments breaks its schema.
func held(op string, input func() (*schema.Schema, error), args map[string]any) error {
	s, err := input()
	if err == nil {
		if args == nil {
			args = map[string]any{}
		}
		err = s.Validate(args)
	}
	if err != nil {
		return &kernel.Error{Code: kernel.CodeArguments, What: "the arguments of " + op + " cannot be used", Why: err.Error(), Err: err}
	}
	return nil
}

func parametersIn(input map[string]any) []agent.Parameter {
	text, err := kernel.EncodeJSON(input)
	if err != nil {
		return nil
	}
	return parametersOf(abi.Tool{InputSchema: text})
}

// libraryTool refuses a method that a library has not.
func (c *checker) libraryTool(n *pipeline.Node, library []*ports.Op, owner, wanted string) {
	var names []string
	for _, op := range library {
		_, method, _ := strings.Cut(op.Name, ".")
		names = append(names, method)
	}
	if wanted != "*" && !slices.Contains(names, wanted) {
		c.add(at(n), kernel.CodePipeline, kernel.Quote(owner)+" has no tool "+kernel.Quote(wanted), kernel.DidYouMean(wanted, names))
	}
}
