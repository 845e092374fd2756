package pipeline

import (
	"fmt"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// The steps of core:reasoning_agent that its config does not say, and at most: each makes four nodes.
const (
	reasoningSteps    = 5
	maxReasoningSteps = 50
)

// What the model is told after its first answer, and at the end.
const (
	reasonOn = "Go on. Call the tools that you still need. When you need none any more, write what you conclude, without a call."
	conclude = "Give your final answer now, from all of the above. Call no tools."
)

// reasoning is an invocation of core:reasoning_agent: an agent whose steps are nodes. A step asks the model, reads its answer for calls, makes
// them and words what came of them. One that calls nothing is the last: those after it are skipped, and the final node asks for the answer.
type reasoning struct {
	*invocation
	prompt, tools, style *source.Value
	steps                int
}

func expandReasoningAgent(r *reader, in *invocation) []*source.Value {
	a := r.readReasoning(in)
	if a == nil {
		return nil
	}
	var nodes []*source.Value
	for i := range a.steps {
		nodes = append(nodes, a.ask(i), a.read(i), a.call(i), a.word(i))
	}
	return append(nodes, a.final())
}

// readReasoning reads the config; nil if anything is wrong with it.
func (r *reader) readReasoning(in *invocation) *reasoning {
	before, s := len(r.List()), in.config
	a := &reasoning{invocation: in, steps: reasoningSteps}
	in.readAsking()
	a.prompt = s.Get("main_prompt")
	switch {
	case a.prompt == nil:
		r.Add(s.At.Errorf(kernel.CodePipeline, "add main_prompt: ... under config", "macro core:reasoning_agent needs main_prompt"))
	case strings.TrimSpace(s.Text("main_prompt")) == "" && len(r.List()) == before:
		r.Add(a.prompt.Errorf(kernel.CodePipeline, "write what the agent is to do", "main_prompt is empty"))
	}
	if n := s.Amount("max_steps"); n > maxReasoningSteps {
		r.Add(s.Get("max_steps").Errorf(kernel.CodePipeline, "use an agent_node, whose steps are no nodes and of which there may be more", "max_steps is %d, the most is %d: each is four nodes", n, maxReasoningSteps))
	} else if n > 0 {
		a.steps = n
	}
	s.Texts("allowed_tools")
	if a.tools = s.Get("allowed_tools"); a.tools == nil { // as hexDAG has it: none
		a.tools = valueAt(in.at, []any{})
	}
	if a.style = s.Get("tool_format"); a.style == nil {
		a.style = in.at.With("mixed")
	}
	r.writtenStyle(a.style, "tool_format")
	if in.name != "" && len(parsePath(in.name)) != 1 {
		r.Add(in.at.Errorf(kernel.CodePipeline, "use letters, digits and _", "%s is no name for a reasoning_agent: its nodes name each other by it", kernel.Quote(in.name)))
	}
	if !in.settled(r, before) {
		return nil
	}
	return a
}

// of returns the name of a node of a step.
func (a *reasoning) of(step int, part string) string {
	return fmt.Sprintf("%s_step_%d_%s", a.name, step, part)
}

// ask is the node that asks the model. The first tells it the task, and what it can call; each other goes on with the conversation so far,
// unless the step before it was the last.
func (a *reasoning) ask(i int) *source.Value {
	spec := fields{{"keep_messages", true}}
	if i == 0 {
		spec = append(spec, field{"human_message", a.prompt})
		if list, ok := a.tools.V.([]*source.Value); !ok || len(list) > 0 {
			spec = append(spec, field{"available_tools", a.tools}, field{"tool_call_style", a.style})
		}
		if a.inputs != nil {
			spec = append(spec, field{"input_mapping", a.inputs.At})
		}
		return a.node("llm_node", a.of(i, "llm"), "Asks the model.", a.asked(spec))
	}
	before := a.of(i-1, "result_merger")
	spec = append(spec, field{"when", before + ".ended == False"}, field{"conversation", a.said(i)}, field{"human_message", "{{" + before + ".results}}" + reasonOn})
	return a.node("llm_node", a.of(i, "llm"), "Asks the model.", a.asked(spec))
}

// said is the conversation before a step.
func (a *reasoning) said(step int) []any {
	turns := make([]any, step)
	for i := range turns {
		turns[i] = fields{{"messages", "{{" + a.of(i, "llm") + ".messages}}"}}
	}
	return turns
}

// read is the node that reads an answer for calls. It and those after it are given what they name and nothing else: no field of the run's
// input can stand in for what the model said.
func (a *reasoning) read(i int) *source.Value {
	answer := a.of(i, "llm")
	return a.node("tool_parser_node", a.of(i, "adapter"), "Reads the answer for calls of tools.", fields{
		{"strict_mapping", true}, {"input_mapping", fields{{answer, answer}}}, {"text", "{{" + answer + ".content}}"}, {"tool_call_style", a.style},
	})
}

// call is the node that makes the calls.
func (a *reasoning) call(i int) *source.Value {
	read := a.of(i, "adapter")
	return a.node("tool_executor_node", a.of(i, "tool_executor"), "Makes the calls.", fields{
		{"strict_mapping", true}, {"input_mapping", fields{{"content", read + ".content"}, {"tool_calls", read + ".tool_calls"}}}, {"available_tools", a.tools},
	})
}

// word is the node that words what came of them.
func (a *reasoning) word(i int) *source.Value {
	made := a.of(i, "tool_executor")
	return a.node("tool_results_node", a.of(i, "result_merger"), "Words what came of the calls.", fields{
		{"strict_mapping", true}, {"input_mapping", fields{{"content", made + ".llm_content"}, {"tool_results", made + ".tool_results"}, {"ended", a.of(i, "adapter") + ".ended"}}},
	})
}

// final is the node that asks for the answer. What tools answered in the last step was not told yet.
func (a *reasoning) final() *source.Value {
	results, last := a.name+"_results", make([]string, a.steps)
	for i := range last {
		last[i] = a.of(a.steps-1-i, "result_merger") + ".results"
	}
	return a.node("llm_node", a.name+"_final", "Asks for the final answer.", a.asked(fields{
		{"strict_mapping", true}, {"input_mapping", fields{{results, "coalesce(" + strings.Join(last, ", ") + ", '')"}}},
		{"conversation", a.said(a.steps)}, {"human_message", "{{" + results + "}}" + conclude},
	}))
}
