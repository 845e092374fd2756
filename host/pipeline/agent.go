package pipeline

import (
	"maps"
	"slices"

	"github.com/hexdag/hexdag/host/kernel"
)

// Agent lets a model call tools until it is done.
type Agent struct {
	Prompt        *Template
	Continuations map[string]*Template // by phase
	MaxSteps      int
	Style         string   // native, mixed, function_call or json
	Tools         []string // "module:tool", "module:*" or "service:method": all that it may call; nil is all of its pipeline's services
	Entities      []string
	Model         string
	Central       *Central // of a central_agent_node
}

// Central is what a central_agent_node says of the runs that it starts; the operator's bounds hold, too.
type Central struct {
	Pipelines []string // that it may start; nil is all that the operator lets central agents start
	Starts    int      // in all; 0 is no bound of its own
	Retries   int      // of a pipeline that has failed; below 0 there is no bound of its own
}

func (b *Agent) visit(f func(Reference)) {
	b.Prompt.visit(f)
	for _, name := range slices.Sorted(maps.Keys(b.Continuations)) {
		b.Continuations[name].visit(f)
	}
}

func readAgent(r *reader, n *Node) Body {
	s := n.spec
	b := &Agent{Prompt: r.template(s, "main_prompt", "initial_prompt_template"), Continuations: map[string]*Template{}, Model: s.Text("model")}
	if b.Prompt == nil {
		r.Add(s.At.Errorf(kernel.CodePipeline, "add main_prompt: ...", "an agent_node needs main_prompt"))
		b.Prompt = parseTemplate("", s.At)
	}
	if phases := s.Member("continuation_prompts"); phases != nil {
		for _, phase := range phases.M.Names {
			b.Continuations[phase] = r.template(phases, phase)
		}
	}
	// hexDAG's documentation has these beside the prompt, its code under config.
	steps, style, tools, entities := s.Positive("max_steps"), s.Get("tool_call_style"), r.toolNames(s, "available_tools"), s.Texts("entities")
	config := s.Member("config")
	if config != nil {
		if v := config.Positive("max_steps"); v > 0 {
			steps = v
		}
		if v := config.Get("tool_call_style"); v != nil {
			style = v
		}
		if more := r.toolNames(config, "tools"); more != nil {
			tools = append(append([]string{}, tools...), more...)
		}
		entities = append(entities, config.Texts("entities")...)
		config.Rest()
	}
	b.MaxSteps, b.Tools, b.Entities, b.Style = int(steps), tools, entities, "native"
	if b.MaxSteps == 0 {
		b.MaxSteps = 20
	}
	if style != nil {
		b.Style = r.style(style)
	}
	if v := s.Get("output_schema"); v != nil {
		n.Output = r.object(v, "output_schema")
	}
	return b
}
