package pipeline

import (
	"maps"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// builtinMacros are hexDAG's own macros by their names. Each returns its nodes as a file could write them, in the place of its invocation, so
// that all that reads a file's nodes reads these.
func builtinMacros() map[string]func(r *reader, in *invocation) []*source.Value {
	return map[string]func(*reader, *invocation) []*source.Value{"core:reasoning_agent": expandReasoningAgent, "core:llm_macro": expandLLMMacro}
}

// builtinAliases maps the other names that hexDAG has for them.
func builtinAliases() map[string]string {
	return map[string]string{"reasoning_agent_macro": "reasoning_agent", "llm_workflow": "llm_macro"}
}

// macroName returns the name of the macro that a text means: one of the file, which wins, or hexDAG's own, with core: or without, by an alias
// of the file, or by its class; "" if it means none.
func (r *reader) macroName(written string) string {
	kind := r.resolveKind(written)
	own := "core:" + or(builtinAliases()[kind], kind)
	switch {
	case r.macros[written] != nil:
		return written
	case builtinMacros()[own] != nil:
		return own
	case r.macros[kind] != nil:
		return kind
	}
	return ""
}

// macroNames are all that can be invoked.
func (r *reader) macroNames() []string {
	return slices.Concat(slices.Sorted(maps.Keys(r.macros)), slices.Sorted(maps.Keys(builtinMacros())))
}

// notBuilt reports, as a problem too, whether a name is that of a macro of hexDAG's which there is not.
func (r *reader) notBuilt(at *source.Value, name string) bool {
	switch strings.TrimPrefix(r.resolveKind(name), "core:") {
	case "conversation", "conversation_agent", "conversation_macro":
		r.Add(at.Errorf(kernel.CodeNotYet, "keep the turns in the memory port, and give them to an llm_node as its conversation", "macro core:conversation_agent is not built yet"))
		return true
	}
	return false
}

// invocation is what the invocation of a built-in macro says.
type invocation struct {
	name   string
	at     *source.Value
	config *source.Section
	inputs *source.Section // what its prompts can name beside all else, as an input_mapping; nil without
}

// invocation reads the spec of an invocation: config, and inputs. Where the macro is written as the node's kind, its config stands beside these, too.
func (r *reader) invocation(v *source.Value, name string, spec *source.Section, direct bool) *invocation {
	in := &invocation{name: name, at: v, inputs: spec.Member("inputs")}
	m := source.NewMapping()
	if config := spec.Member("config"); config != nil {
		m = config.M.Clone()
	}
	if direct {
		for _, member := range spec.Unasked() {
			if m.Members[member] != nil {
				r.Add(spec.M.Members[member].Errorf(kernel.CodePipeline, "give it once", "%s is in config and beside it", kernel.Quote(member)))
			}
			m.Put(member, spec.M.Keys[member], spec.Get(member))
		}
	}
	spec.Rest()
	in.config = &source.Section{Problems: r.Problems, At: spec.At, M: m, What: "config of node " + kernel.Quote(name)}
	return in
}

// settled reports whether nothing is wrong with an invocation whose config was read; before is how many problems there were.
func (in *invocation) settled(r *reader, before int) bool {
	in.config.Rest()
	if in.inputs != nil {
		for _, name := range in.inputs.M.Names {
			if slices.Contains(in.config.Asked(), name) {
				r.Add(in.inputs.M.Members[name].Errorf(kernel.CodePipeline, "move it to config", "%s is no input of the macro, but a part of its config", kernel.Quote(name)))
			}
		}
	}
	return len(r.List()) == before && in.name != ""
}

// asked adds the members of config that are handed on to nodes which ask a model.
func (in *invocation) asked(spec fields) fields {
	for _, name := range []string{"model", "timeout", "max_retries"} {
		if v := in.config.M.Members[name]; v != nil {
			spec = append(spec, field{name, v})
		}
	}
	return spec
}

// readAsking checks these members.
func (in *invocation) readAsking() {
	s := in.config
	s.Text("model")
	s.Seconds("timeout")
	s.Positive("max_retries")
}

// node returns a node of the macro.
func (in *invocation) node(kind, name, description string, spec fields) *source.Value {
	return nodeAt(in.at, kind, fields{{"name", name}, {"description", description}}, spec)
}

// fields are the members of a mapping, in order. Their values are source.Values, fields, lists of any of these, or plain.
type fields []field

type field struct {
	name  string
	value any
}

func nodeAt(at *source.Value, kind string, metadata, spec fields) *source.Value {
	return valueAt(at, fields{{"kind", kind}, {"metadata", metadata}, {"spec", spec}})
}

// valueAt returns a value in a place; what has a place of its own keeps it.
func valueAt(at *source.Value, v any) *source.Value {
	switch t := v.(type) {
	case *source.Value:
		return t
	case fields:
		m := source.NewMapping()
		for _, f := range t {
			m.Put(f.name, nil, valueAt(at, f.value))
		}
		return at.With(m)
	case []any:
		list := make([]*source.Value, len(t))
		for i, item := range t {
			list[i] = valueAt(at, item)
		}
		return at.With(list)
	}
	return at.With(v)
}

// expandLLMMacro makes the one node of core:llm_macro, which has the name of its invocation.
func expandLLMMacro(r *reader, in *invocation) []*source.Value {
	before, s := len(r.List()), in.config
	in.readAsking()
	spec := in.asked(nil)
	if s.Required("template") == "" && s.Get("template") != nil {
		r.Add(s.Get("template").Errorf(kernel.CodePipeline, "write what the model is to do", "template is empty"))
	}
	spec = append(spec, field{"human_message", s.Get("template")})
	for _, name := range []string{"system_prompt", "output_schema"} {
		if v := s.Get(name); v != nil {
			spec = append(spec, field{name, v})
		}
	}
	if v := s.Get("parse_strategy"); v != nil && textOf(v) != "json" {
		r.Add(v.Errorf(kernel.CodePipeline, "remove it: with output_schema the answer is held to it, however the model wraps it", "there is no such parse_strategy here"))
	}
	if in.inputs != nil {
		spec = append(spec, field{"input_mapping", in.inputs.At})
	}
	if !in.settled(r, before) {
		return nil
	}
	return []*source.Value{in.node("llm_node", in.name, "Asks the model.", spec)}
}
