package engine

import (
	"context"

	"github.com/hexdag/hexdag/host/agent"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// manual is what an llm_node tells its model of the tools that it names; "" where it names none.
func (w *worker) manual(ctx context.Context, b *pipeline.LLM) (string, error) {
	if len(b.Tools) == 0 {
		return "", nil
	}
	tools, err := w.toolsOf(ctx, b.Tools)
	if err != nil {
		return "", err
	}
	return agent.Manual(toolbox{tools: tools}.List(), agent.Style(b.Style))
}

// parse runs a tool_parser_node.
func (w *worker) parse(b *pipeline.ToolParser, call *kernel.NodeCall) (kernel.Value, error) {
	text, err := b.Text.Render(w.scope(call.Input))
	if err != nil {
		return nil, err
	}
	return agent.Read(text, agent.Style(b.Style))
}

// makeCalls runs a tool_executor_node. Its calls are a model's: they pass what those of an agent do, and where one waits for an approval,
// those before it are not made again.
func (w *worker) makeCalls(ctx context.Context, b *pipeline.ToolExecutor, call *kernel.NodeCall) (kernel.Value, error) {
	given, _ := call.Input.(map[string]any)
	t := w.turns()
	var tools []offered
	if list, isList := given["tool_calls"].([]any); !isList || len(list) > 0 { // a server need not be asked for nothing
		var err error
		if tools, err = w.toolsOf(ctx, b.Tools); err != nil {
			return nil, err
		}
	}
	results, err := agent.Make(ctx, toolbox{w, tools, t}, given["tool_calls"])
	if err != nil {
		return nil, w.betweenTurns(err, call, t)
	}
	return map[string]any{"llm_content": given["content"], "tool_results": results, "has_tools": len(results) > 0}, nil
}

// wordResults runs a tool_results_node.
func wordResults(call *kernel.NodeCall) (kernel.Value, error) {
	given, _ := call.Input.(map[string]any)
	text, err := agent.Word(given["tool_results"])
	if err != nil {
		return nil, err
	}
	return map[string]any{"content": given["content"], "results": text, "ended": given["ended"] == true}, nil
}
