// Package ports is the one door between what runs in a pipeline and the world:
// every port method is an Op, and every call of one goes through Door.Call,
// which checks, meters, hooks and audits it. The ports themselves are the
// packages below this one.
package ports

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
)

// Op is a port's method as the door offers it.
type Op struct {
	// Name is "port.method".
	Name string
	// Guards are the arguments, strings at the top level, that a capability can
	// restrict; the first is the resource that governance is asked about.
	Guards []string
	// Derive, if set, returns the guarded arguments in place of the call's own
	// words, where they follow from others: a host from a URL. It leaves out what
	// does not follow, which no restricted capability then covers; that the
	// arguments make sense is for Func to check.
	Derive func(args map[string]any) map[string]string
	// Meter, if set, charges the run for a reply.
	Meter func(run *kernel.RunContext, reply *kernel.PortReply)
	// Decides marks an operation that is itself a question to governance: the
	// door asks no second one.
	Decides bool
	// Judge, if set, is asked beside governance, about a call that is within the rights of whoever makes it: what it says holds where it is
	// stricter. It may only look, and at nothing but the request and what the context carries. nil has no opinion.
	Judge func(ctx context.Context, req *kernel.AccessRequest) *kernel.Decision
	// Own marks an operation whose effect is on the run itself, in this process: where a run is done again, so is that.
	Own bool
	// Labels are what the operator says of its replies.
	Labels LabelRules
	// Tool, if set, is what agents are told of the operation, which they may be given as a tool; else they cannot.
	Tool *Tool
	// Output, if set, is the JSON Schema of the value that it answers, to which Held holds it.
	Output map[string]any
	// tool marks a tool that a model has chosen.
	tool, begun bool
	// Func does the work. It honours its context, does not keep or change the
	// arguments, and returns a *kernel.Error where it can say more than "failed".
	Func kernel.PortFunc
}

// Tool describes an operation as a tool of agents.
type Tool struct {
	Description string
	Input       map[string]any // the JSON Schema of the arguments, which they are held to
}

// Parameters returns the JSON Schema of an object whose members have these schemas; others it has not.
func Parameters(properties map[string]any, required ...string) map[string]any {
	names := make([]any, len(required))
	for i, name := range required {
		names[i] = name
	}
	return map[string]any{"type": "object", "properties": properties, "required": names, "additionalProperties": false}
}

// Param returns the JSON Schema of a value of a type, with what it is for.
func Param(typ, description string) map[string]any {
	return map[string]any{"type": typ, "description": description}
}

// LabelRules say which labels replies carry: those of the first resource that matches,
// or else the port's. The zero value has none.
type LabelRules struct {
	Port      *kernel.Labels
	Resources []ResourceLabels
}

// ResourceLabels are the labels of what is read from the resources of a pattern, as
// abi.Match has it.
type ResourceLabels struct {
	Pattern string
	Labels  *kernel.Labels
}

// silent reports whether nothing is said of any reply.
func (r *LabelRules) silent() bool { return r.Port == nil && len(r.Resources) == 0 }

// of returns the labels of what comes from a resource, with it as their source.
func (r *LabelRules) of(from kernel.Resource) *kernel.Labels {
	labels := r.Port
	for _, rule := range r.Resources {
		if abi.Match(rule.Pattern, from.ID) {
			labels = rule.Labels
			break
		}
	}
	if labels == nil {
		return nil
	}
	return labels.From(strings.TrimSuffix(from.Type+":"+from.ID, ":"))
}

// Port returns the part of the name before the dot.
func (o *Op) Port() string {
	port, _, _ := strings.Cut(o.Name, ".")
	return port
}

// Metered returns what the operation does, with what it charges the run for it.
func Metered(o Op) kernel.PortFunc {
	if o.Meter == nil {
		return o.Func
	}
	return func(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
		reply, err := o.Func(ctx, call)
		if run := kernel.RunFrom(ctx); run != nil && err == nil {
			o.Meter(run, reply)
		}
		return reply, err
	}
}

// maxGuarded is how many bytes an argument may have that capabilities restrict:
// it is matched against patterns, and recorded.
const maxGuarded = 1 << 10

// guarded returns the arguments that capabilities restrict. An argument that is
// there but no string is an error, so that no other type slips past a pattern.
func (o *Op) guarded(args map[string]any) (map[string]string, error) {
	if o.Derive != nil {
		derived := make(map[string]any, len(o.Guards))
		for name, value := range o.Derive(args) {
			derived[name] = value
		}
		args = derived
	}
	values := make(map[string]string, len(o.Guards))
	for _, name := range o.Guards {
		switch v := args[name].(type) {
		case nil:
		case string:
			if len(v) > maxGuarded {
				return nil, &kernel.Error{Code: kernel.CodeArguments, What: fmt.Sprintf("%s: argument %s is too long", o.Name, name), Why: fmt.Sprintf("it has %d bytes, the limit is %d", len(v), maxGuarded), Fix: "use a shorter name"}
			}
			values[name] = v
		default:
			return nil, &kernel.Error{Code: kernel.CodeArguments, What: fmt.Sprintf("%s: argument %s must be a string", o.Name, name)}
		}
	}
	return values, nil
}

// checkGuardNames returns an error if a capability restricts an argument that
// the operation does not guard: it would never match, or worse, be believed in.
func (o *Op) checkGuardNames(names []string) error {
	for _, name := range names {
		if !slices.Contains(o.Guards, name) {
			return fmt.Errorf("%s has no argument %q to restrict; it has %s", o.Name, name, strings.Join(o.Guards, ", "))
		}
	}
	return nil
}
