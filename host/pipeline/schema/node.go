package schema

import (
	"maps"
	"slices"
)

// node is one entry of a list of nodes. What its spec holds depends on its kind.
func node() object {
	kinds := slices.Sorted(maps.Keys(specs()))
	names := make([]any, len(kinds))
	rules := make([]any, 0, len(kinds))
	for i, kind := range kinds {
		names[i] = kind
		rules = append(rules, object{
			"if":   object{"properties": object{"kind": object{"enum": []any{kind, "core:" + kind}}}, "required": []any{"kind"}},
			"then": object{"properties": object{"spec": ref(kind)}},
		})
		if need := needed(kind); need != nil {
			rules = append(rules, object{
				"if":   object{"properties": object{"kind": object{"enum": []any{kind, "core:" + kind}}}, "required": []any{"kind"}, "not": object{"required": []any{"settings"}}},
				"then": object{"properties": object{"spec": need}, "required": []any{"spec"}},
			})
		}
	}
	o := closed("A node, or the invocation of a macro.", object{
		"kind":         object{"description": "What the node does: a kind, an alias of spec.aliases, or the name of a macro.", "anyOf": []any{object{"enum": names}, object{"type": "string"}}},
		"metadata":     metadata("The node's name and description.", object{}),
		"spec":         object{"description": "What the node does it with, by its kind.", "type": "object"},
		"settings":     open("Literal members of spec, under those that spec has.", object{}),
		"dependencies": texts("The nodes that this one waits for, beside those that it names. [] makes a root."),
		"wait_for":     texts("Further nodes that this one waits for."),
	}, "kind", "metadata")
	for _, name := range slices.Sorted(maps.Keys(builtinMacros())) {
		named := object{"enum": builtinNames(name)}
		rules = append(rules,
			object{"if": object{"properties": object{"kind": named}, "required": []any{"kind"}}, "then": object{"properties": object{"spec": ref(name)}}},
			object{
				"if":   object{"properties": object{"spec": object{"properties": object{"macro": named}, "required": []any{"macro"}}}, "required": []any{"spec"}},
				"then": object{"properties": object{"spec": object{"properties": object{"config": ref(name + "_config")}}}},
			})
	}
	o["allOf"] = rules
	return o
}

// needed is what a kind's spec has to hold; nil for nothing.
func needed(kind string) object {
	all := func(names ...any) object {
		return object{"if": object{"required": []any{include}}, "else": object{"required": names}}
	}
	either := func(names ...string) object {
		list := make([]any, len(names))
		for i, name := range names {
			list[i] = object{"required": []any{name}}
		}
		return object{"anyOf": append(list, object{"required": []any{include}})}
	}
	switch kind {
	case "llm_node":
		return either("human_message", "prompt_template", "template")
	case "agent_node":
		return either("main_prompt", "initial_prompt_template")
	case "central_agent_node":
		return all("goal")
	case "function_node":
		return all("fn")
	case "expression_node":
		return either("expressions", "merge_strategy")
	case "data_node":
		return all("output")
	case "service_call_node":
		return all("service", "method")
	case "tool_call_node":
		return all("tool")
	case "tool_parser_node":
		return all("text")
	case "tool_executor_node":
		return all("available_tools")
	case "api_call_node":
		return all("url")
	case "composite_node":
		return all("mode")
	case "transition":
		return all("entity", "entity_id", "to_state")
	case "wait_node":
		return all("event_key")
	case "macro_invocation":
		return all("macro")
	}
	return nil
}

// common are the members that the spec of every kind of node has.
func common() object {
	return object{
		"input_mapping":   mapping("What the node is given, by name: a path ($input.x, node.x), an expression, or a literal; | required, | default(x).", anything("A path, an expression, a literal, or a mapping or list of them.")),
		"strict_mapping":  flag("The node is given what input_mapping names and nothing else."),
		"when":            condition("An expression; where it is false the node is skipped."),
		"on_error":        text("The node that goes on with {_error: {node, type, message}} where this one fails."),
		"timeout":         seconds("The longest that one attempt may take; of a wait_node, that it waits (7d, 24h, 30m, 1d12h)."),
		"max_retries":     positive("The attempts in all."),
		"retry_delay":     seconds("Before the second attempt; 1 if it is left out."),
		"retry_backoff":   positive("By what each delay is longer than the one before; 2 if it is left out."),
		"retry_max_delay": seconds("The longest delay; 60 if it is left out."),
		"critical":        flag("The run fails where the node is skipped."),
		"lock":            ref("lock"),
		"cache":           ref("cache"),
		"required_inputs": texts("Fields of what the node is given that must not be null."),
		"input_schema":    fields("What the node is given is held to."),
		"hooks":           texts("Modules around this node, the first outermost."),
		"dependencies":    texts("As beside spec, where they belong."),
		"wait_for":        texts("As beside spec, where they belong."),
	}
}

// lock is a name, or {name, ...}.
func lock() object {
	return object{"description": "The lock that the node, or the run, holds while it works: nobody else does meanwhile.", "anyOf": []any{
		text("The lock's name: text with {{ name.field }}."),
		closed("", object{
			"name": text("The lock's name: text with {{ name.field }}."), "timeout": bound("The longest that it waits for the lock, in seconds; as long as the run may take if it is left out."),
			"ttl": seconds("After which the lock ends if this host dies; the lock port's default if it is left out."), "permits": positive("How many may hold the lock at once; 1 if it is left out."),
		}, "name"),
	}}
}

// cache is true, or {key, ...}.
func cache() object {
	return object{"description": "What the node answered is taken again where nothing has changed that its answer depends on.", "anyOf": []any{
		object{"type": "boolean"},
		ref("template"),
		closed("", object{
			"key": text("What of that which the node is given counts: text with {{ name.field }}; all of it if it is left out."), "ttl": seconds("How long an answer is good; for as long as the store keeps it if it is left out."),
			"scope": choice("For whom an answer is kept: whoever the run is of, the run alone, or the tenant; principal if it is left out.", "principal", "run", "tenant"), "side_effects": flag("What the node changes outside is not changed again where its answer is taken again."),
		}),
	}}
}

// fields is {field: type}, or a JSON Schema.
func fields(description string) object {
	return open(description+" {field: type}, or a JSON Schema of an object. Types: str, int, float, bool, list, dict, Any, currency, flexible_bool, score, upper_str, lower_str, trimmed_str, nullable_str, and custom_types; ? after one makes it optional.", object{})
}

func spec(description string, members object) object {
	all := object{}
	for name := range common() {
		all[name] = object{"$ref": "#/definitions/common/properties/" + name}
	}
	maps.Copy(all, members)
	return closed(description, all)
}

// specs are the specs of the kinds of nodes.
func specs() map[string]object {
	answer := ref("answer")
	return map[string]object{
		"llm_node": spec("Asks a model.", object{
			"human_message": text("The message: text with {{ name.field }}."), "prompt_template": text("human_message, as it was called."), "template": text("human_message, as it was called."),
			"system_message": text("The system's message."), "system_prompt": text("system_message, as it was called."),
			"examples":     listOf("Examples, which are added to the system's message.", closed("An example.", object{"input": anything("What is asked."), "output": anything("What is to be answered.")})),
			"conversation": object{"description": "Turns before the message: {{ node }}, which names a list, or a list of {role, content}.", "anyOf": []any{text(""), listOf("", turn())}},
			"model":        text("The model, where the adapter offers several."), "max_tokens": positive("The most tokens of an answer."), "stream": flag("Tell observers of the answer as it comes."), "output_schema": answer,
			"available_tools": texts("The tools that it is told of, and how to write calls of them; it makes none, a tool_executor_node does."), "tool_call_style": writtenStyles(),
			"keep_messages": flag("Answer {content, messages}: the text, and the turns of this node, for the conversation of another."),
		}),
		"agent_node": spec("Lets a model call tools until it is done.", object{
			"main_prompt": text("The task: text with {{ name.field }}."), "initial_prompt_template": text("main_prompt, as it was called."),
			"continuation_prompts": mapping("Prompts, by the phase that they begin.", text("A prompt.")),
			"max_steps":            positive("The most answers of the model; 20 if it is left out."), "tool_call_style": styles(),
			"available_tools": texts("The tools that it may call: module:tool, module:* or service:method."), "entities": texts("The types of entities that it may see and move."),
			"config": closed("The same as beside it, as hexDAG's code reads it.", object{"max_steps": positive("The most answers of the model."), "tool_call_style": styles(), "tools": texts("The tools that it may call."), "entities": texts("The types of entities that it may see and move.")}),
			"model":  text("The model, where the adapter offers several."), "output_schema": answer,
		}),
		"central_agent_node": spec("Reaches a goal by starting runs of pipelines, as a model decides.", object{
			"goal": text("The goal: text with {{ name.field }}."), "instructions": text("How to go about it, in words."), "model": text("The model, where the adapter offers several."), "tool_call_style": styles(),
			"pipelines": texts("The pipelines that it may start, of those that the operator lets central agents start; all of these, if it is left out."),
			"max_steps": positive("The most answers of the model; 40 if it is left out."), "max_starts": positive("The most runs that it starts."), "retries": bound("How often a pipeline that has failed may be started again."),
			"available_tools": texts("Tools that it may call beside its own: module:tool, module:* or service:method."),
		}),
		"function_node": spec("Runs a module.", object{
			"fn": text("module, for its node_run, or module.tool."), "unpack_input": flag("Always so: a tool is given the fields that its schema names."), "output_schema": answer,
		}),
		"expression_node": spec("Computes.", object{
			"expressions":    mapping("Expressions, evaluated in this order; later ones see earlier ones.", anything("An expression, a text with {{ ... }}, or a literal.")),
			"output_fields":  texts("Which of them make the result; all if it is left out."),
			"merge_strategy": choice("How the results of what the node depends on become one.", "dict", "list", "first", "last", "reduce"), "extract_field": text("A path into each of them."), "reducer": text("The module.tool of reduce, which is given {items: [...]}."),
			"output_schema": answer,
		}),
		"data_node":         spec("Answers a value; the texts in it are templates.", object{"output": anything("The value.")}),
		"service_call_node": spec("Calls an operation of a port, or a method of a service.", object{"service": text("The port, or one of spec.services."), "method": text("The operation, or the service's method."), "output_schema": answer}),
		"tool_call_node":    spec("Calls a tool as an agent would.", object{"tool": text("module.tool, or server.tool of a server of the mcp port."), "output_schema": answer}),
		"tool_parser_node": spec("Reads what a model has written for calls of tools: {content, tool_calls, strategy, ended}.", object{
			"text": text("What it has written: text with {{ name.field }}."), "tool_call_style": writtenStyles(),
		}),
		"tool_executor_node": spec("Makes the calls that it is given as tool_calls: {llm_content, tool_results, has_tools}.", object{
			"available_tools": texts("The tools that it may call, and no others: module:tool, module:* or service:method."),
		}),
		"tool_results_node": spec("Words the results that it is given as tool_results for a model: {content, results, ended}.", object{}),
		"api_call_node": spec("Makes one HTTP request, to a host that the operator lists.", object{
			"method": text("GET (the default), POST, PUT, DELETE, PATCH or HEAD."), "url": text("The address: text with {{ name.field }}."), "headers": open("Headers.", object{}), "params": open("The query's parameters.", object{}),
			"json_body": anything("The body, as JSON."), "port": text("api_call."), "output_schema": answer,
		}),
		"composite_node":   composite(),
		"transition":       spec("Moves an entity to another state.", object{"entity": anything("Its type."), "entity_id": anything("Its id: a path ($input.x, node.x) or text."), "to_state": anything("The state."), "reason": anything("Why."), "payload": anything("What the state machine's guards and handlers see.")}),
		"wait_node":        spec("Suspends the run until an event comes.", object{"event_key": text("The event's name: text with {{ name.field }}."), "on_timeout": text("The node that goes on where none came in time."), "setup_fn": text("A module's export that runs before."), "timeout_node": seconds("How long setup_fn may take.")}),
		"macro_invocation": invocation(),
	}
}

// builtinMacros are the members of the configs of hexDAG's own macros.
func builtinMacros() map[string]object {
	asking := func(members object) object {
		maps.Copy(members, object{
			"model": text("The model, where the adapter offers several."), "timeout": seconds("The longest that one attempt to ask the model may take."), "max_retries": positive("The attempts in all, each time that the model is asked."),
		})
		return members
	}
	return map[string]object{
		"reasoning_agent": asking(object{
			"main_prompt": text("The task: text with {{ name.field }}."), "max_steps": positive("The most steps, 50 at most; 5 if it is left out."),
			"allowed_tools": texts("The tools that it may call: module:tool, module:* or service:method; none if it is left out."), "tool_format": writtenStyles(),
		}),
		"llm_macro": asking(object{
			"template": text("The message: text with {{ name.field }}."), "system_prompt": text("The system's message."), "output_schema": ref("answer"), "parse_strategy": choice("The answer is held to output_schema in any case.", "json"),
		}),
	}
}

// builtinNames are the names of a built-in macro that mean no other, whatever the file holds.
func builtinNames(name string) []any {
	if name == "llm_macro" {
		return []any{"core:llm_macro", "core:llm_workflow"}
	}
	return []any{"core:" + name}
}

// builtin describes a built-in macro: its config, and the spec of a node whose kind it is.
func builtin(members object) (config, spec object) {
	direct := maps.Clone(members)
	config = closed("The macro's config.", members)
	direct["config"] = config
	maps.Copy(direct, object{
		"inputs":       open("What its prompts can name beside all else: a path, an expression or a literal, by the name.", object{}),
		"dependencies": texts("What its first nodes wait for."), "wait_for": texts("What its first nodes wait for."),
	})
	return config, closed("The nodes of a macro.", direct)
}

func turn() object {
	return closed("A turn: {role, content}, or {prompt, messages}.", object{"role": text("user, assistant or system."), "content": text("What was said."), "prompt": text("A system's message before the messages."), "messages": anything("Turns, or {{ node }}.")})
}

func writtenStyles() object {
	return choice("How the model writes calls in its text; mixed takes both forms, and is what it does if it is left out.", "mixed", "function_call", "json")
}

func styles() object {
	return choice("How the model calls tools; native, by its own interface, if it is left out.", "native", "mixed", "function_call", "json")
}

// invocation is closed in what it has of its own: its parameters stand under inputs.
func invocation() object {
	return closed("The nodes of a macro.", object{
		"macro": text("The macro's name."), "inputs": open("Its parameters.", object{}), "config": open("Its parameters, as hexDAG's documentation writes them.", object{}),
		"dependencies": texts("What its first nodes wait for."), "wait_for": texts("What its first nodes wait for."),
	})
}

func composite() object {
	body := func(description string) object {
		return object{"description": description + ": a list of nodes, or a module's export.", "anyOf": []any{ref("nodes"), text("")}}
	}
	return spec("Runs bodies: by a condition, or again and again.", object{
		"mode": choice("if-else and switch run one body, the others one again and again.", "if-else", "switch", "for-each", "times", "while"), "condition": condition("Of if-else and while: an expression."),
		"items": anything("Of for-each: an expression, or a list."), "count": anything("Of times: a number above zero, or an expression."),
		"body": body("What runs"), "body_pipeline": text("A pipeline's file that runs instead of body."), "else_body": body("What runs where the condition is false, or no branch applies"),
		"branches": listOf("Of switch: the first whose condition holds.", closed("A branch.", object{
			"condition": condition("An expression."), "action": text("The name that is the result; with route_downstream, a node's."), "body": body("What runs"), "body_pipeline": text("A pipeline's file that runs instead of body."),
		}, "condition")),
		"else_action": text("The action where no branch applies."), "route_downstream": flag("Of the nodes that actions name, only the chosen one runs."),
		"item_var": text("The name of the item; item if it is left out."), "index_var": text("The name of the index; index if it is left out."), "concurrency": positive("Of for-each: how many bodies run at once."),
		"max_iterations": positive("Of while: 100 if it is left out."), "initial_state": anything("Of while: what state begins as."), "state_update": mapping("Of while: expressions, by members of state, evaluated after each body; $body is its result.", anything("An expression.")),
		"collect": choice("What the result is of the bodies' results.", "list", "last", "first", "dict", "reduce"), "key_field": text("Of dict: the field that is the key."), "reducer": text("Of reduce: a module.tool, which is given {items: [...]}."),
		"error_handling": choice("What an error of a body does.", "fail_fast", "continue", "collect"), "max_concurrent_nodes": positive("Of one body, how many nodes run at once."), "default_node_timeout": seconds("Of a body's nodes that name none."), "strict_validation": flag("Always so."),
	})
}
