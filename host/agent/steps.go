package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// The parts of a loop for whoever has a step of it be several nodes: Manual is what the model is told of tools, Read reads its answer, Make makes
// the calls and Word words what came of them. What one answers is a value, so that what is between them can see and change it; and so none of
// them trusts what it is given.

// Manual tells a model of tools, how it writes calls of them, and that an answer without one is its last. Error: CodeLimit, if there are too many.
func Manual(tools []Tool, style Style) (string, error) {
	if len(tools) > maxTools {
		return "", limit("the node has %d tools", len(tools), maxTools, "grant it fewer")
	}
	text := "\n" + described(tools, style.written()) + "- When you need no tool any more: write what you conclude, without a call.\n"
	if len(text) > maxPrompt {
		return "", limit("the tools' descriptions have %d bytes", len(text), maxPrompt, "grant it fewer tools")
	}
	return text, nil
}

// The members of a call as a value.
const (
	memberName      = "name"
	memberArguments = "arguments"
	memberForm      = "form"
	memberError     = "error"
)

// Read reads an answer: {content, tool_calls: [{id, name, arguments, form, error?}], strategy, ended}. It has ended with an answer that calls nothing,
// or with a call of tool_end, after which nothing is called. Error: CodeLimit, if it is too long.
func Read(answer string, style Style) (map[string]any, error) {
	if len(answer) > maxResponse {
		return nil, limit("the model answered %d bytes", len(answer), maxResponse, "have it answer less, for example with max_tokens")
	}
	answer = strings.ToValidUTF8(answer, "\uFFFD")
	calls := ParseCalls(answer, style.written())
	ended, list := len(calls) == 0, []any{}
	for i, c := range calls {
		if ended = c.Err == nil && c.Name == toolEnd; ended {
			break
		}
		args := c.Args
		if args == nil {
			args = map[string]any{}
		}
		call := map[string]any{"id": fmt.Sprintf("text_%d", i), memberName: c.Name, memberArguments: args, memberForm: string(JSON)}
		if c.function {
			call[memberForm] = string(FunctionCall)
		}
		if c.Err != nil {
			call[memberError] = c.Err.Error()
		}
		list = append(list, call)
	}
	return map[string]any{"content": answer, "tool_calls": list, "strategy": "text", "ended": ended}, nil
}

// callOf reads a call that Read has answered.
func callOf(v kernel.Value) (Call, error) {
	fields, isObject := v.(map[string]any)
	name, isName := fields[memberName].(string)
	args, isArguments := fields[memberArguments].(map[string]any)
	form, isForm := fields[memberForm].(string)
	why, fails := fields[memberError].(string)
	switch {
	case !isObject || !isName || !isArguments, fields[memberForm] != nil && !isForm, fields[memberError] != nil && !fails:
		return Call{}, noCalls()
	}
	call := Call{Name: name, Args: args, function: form == string(FunctionCall)}
	if fails {
		call.Err = errors.New(kernel.Quote(why))
	} else if size := kernel.SizeOf(args); size > maxArguments {
		call.Err = fmt.Errorf("the call has %d bytes, the limit is %d", size, maxArguments)
	}
	return call, nil
}

func noCalls() error {
	return &kernel.Error{Code: kernel.CodeInput, What: "tool_calls must be a list of {name, arguments}", Fix: "give it what a tool_parser_node answers"}
}

// callsOf reads tool_calls. One answer has at most maxCalls, and then one that says that there were more.
func callsOf(v kernel.Value) ([]Call, error) {
	list, isList := v.([]any)
	if !isList {
		return nil, noCalls()
	}
	calls := make([]Call, 0, min(len(list), maxCalls+1))
	for i, item := range list {
		call, err := callOf(item)
		switch {
		case err != nil:
			return nil, err
		case i >= maxCalls && call.Err == nil, i > maxCalls:
			return nil, limit("there are %d calls", len(list), maxCalls, "make fewer at once")
		}
		calls = append(calls, call)
	}
	return calls, nil
}

// Make makes calls, one after the other, and returns what came of each: {tool_name, arguments, result}, or {tool_name, arguments, error} where
// one was not made, or failed. A result that is too long to be told is kept as it is told. Errors: CodeInput and CodeLimit for what are no calls,
// of which none is made then, what Tools stop with, and the end of the context.
func Make(ctx context.Context, tools Tools, calls kernel.Value) ([]any, error) {
	list, err := callsOf(calls)
	if err != nil {
		return nil, err
	}
	known := map[string]*Tool{}
	for _, t := range tools.List() {
		if known[t.Name] == nil {
			known[t.Name] = &t
		}
	}
	results := make([]any, 0, len(list))
	for _, call := range list {
		if over(ctx) {
			return nil, kernel.ContextError(ctx)
		}
		result := map[string]any{"tool_name": call.Name, "arguments": call.Args}
		args, why := prepare(known, call)
		if why == "" {
			result["arguments"] = args
			v, err := tools.Call(ctx, call.Name, args)
			var stop *Stop
			switch {
			case ctx.Err() != nil:
				return nil, kernel.ContextError(ctx)
			case errors.As(err, &stop):
				return nil, err
			case err != nil:
				why = told(err)
			default:
				result["result"] = kept(v)
			}
		}
		if why != "" {
			result["error"] = why
		}
		results = append(results, result)
	}
	return results, nil
}

// kept is a result as it is kept: a value that could not be told whole is its text, cut.
func kept(v kernel.Value) kernel.Value {
	if kernel.SizeOf(v) > maxResult {
		return resultText(v)
	}
	return v
}

// Word words results that Make has returned, as a model is told them: "" for none. Error: CodeInput for what are none, CodeLimit for too many.
func Word(results kernel.Value) (string, error) {
	list, isList := results.([]any)
	switch {
	case !isList:
		return "", noResults()
	case len(list) == 0:
		return "", nil
	case len(list) > maxCalls+1:
		return "", limit("there are %d results", len(list), maxCalls+1, "make fewer calls at once")
	}
	var b strings.Builder
	b.WriteString("## Tool Execution Results\n")
	for _, item := range list {
		fields, isObject := item.(map[string]any)
		tool, isName := fields["tool_name"].(string)
		if !isObject || !isName {
			return "", noResults()
		}
		if tool == "" {
			tool = "call"
		}
		text := resultText(fields["result"])
		if why, failed := fields["error"].(string); failed {
			text = "Error - " + resultText(why)
		}
		b.WriteString("- " + kernel.Quote(tool) + ": " + indented(text) + "\n")
	}
	return b.String() + "\n", nil
}

func noResults() error {
	return &kernel.Error{Code: kernel.CodeInput, What: "tool_results must be a list of {tool_name, result} and {tool_name, error}", Fix: "give it what a tool_executor_node answers"}
}
