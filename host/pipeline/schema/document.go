package schema

import "github.com/hexdag/hexdag/host/sandbox/rewrite"

func pipelineDocument() object {
	return document("A pipeline.", object{
		"metadata": metadata("The pipeline's name and description.", object{"namespace": text("The environment that it is for, where a file holds several; --env picks it.")}),
		"spec":     pipelineSpec(),
	}, "kind", "metadata", "spec")
}

func pipelineSpec() object {
	return open("What the pipeline is.", object{
		"nodes":          ref("nodes"),
		"ports":          ports("What serves the ports, beside what the operator configures; governance and http are the operator's alone."),
		"type_ports":     mapping("Ports of the nodes of a kind.", ports("Ports, by name.")),
		"node_ports":     mapping("Ports of single nodes.", ports("Ports, by name.")),
		"aliases":        mapping("Other names of kinds of nodes.", text("The kind.")),
		"custom_types":   mapping("Types of fields: base, nulls, trim, pattern, strip, true_values, false_values, clamp, upper, lower, max_length, default.", open("A type.", object{})),
		"services":       mapping("Modules whose tools are methods, by the service's name.", ref("service")),
		"state_machines": mapping("The states of entities, by their type.", ref("machine")),
		"output":         mapping("What of the results is the pipeline's output: a path, by its alias.", text("node, or node.field.")),
		"input_schema":   fields("What the run's input is held to."),
		"output_schema":  fields("What the output is held to."),
		"hooks":          listOf("Modules around nodes or port calls, inside those of the configuration; the first is outermost.", ref("hook")),
		"lock":           ref("lock"),
		"orchestrator": closed("How the nodes are run.", object{
			"max_concurrent_nodes": positive("How many at once; 10 if it is left out."), "default_node_timeout": seconds("Of nodes that name none; none if it is left out."),
			"pipeline_timeout": seconds("Of a run; none if it is left out."), "strict_validation": flag("Always so."),
		}),
		"limits": closed("What a run may spend; 0 allows nothing.", object{
			"max_llm_calls": bound("Calls of models."), "max_tool_calls": bound("Calls of tools."), "max_total_tokens": bound("Tokens of models."), "max_cost_usd": bound("US dollars, by the operator's prices."),
			"warning_threshold": bound("The share at which an event warns; 0.8 if it is left out."),
		}),
		"caps": closed("What a run may do at all.", object{
			"default_set": capabilities("All that it may do; everything if it is left out."), "deny": capabilities("What it may not do."), "profiles": anything("For whoever spawns runs."),
		}),
	}, "nodes")
}

func capabilities(description string) object {
	o := texts(description)
	one := object{"enum": []any{
		"vas.read", "vas.write", "vas.exec", "vas.list", "vas.stat", "port.llm", "port.tool_router", "port.data_store", "proc.spawn", "entity.transition", "mem.read", "mem.write", "*",
	}}
	o["anyOf"] = []any{one, object{"type": "array", "items": object{"anyOf": []any{one, ref("template")}}}, ref("template"), ref("included")}
	return o
}

func ports(description string) object { return mapping(description, ref("port")) }

func adapterMembers() object {
	return object{
		"adapter": text("The adapter's name."), "ref": text("The name of a kind: Adapter of this file."), "config": open("The adapter's configuration.", object{}),
		"name": text("adapter, as it was called."), "params": open("config, as it was called.", object{}),
	}
}

func port() object {
	members := adapterMembers()
	members["adapters"] = listOf("Several adapters that serve the port together.", closed("An adapter of the pool.", adapterMembers()))
	members["strategy"] = choice("Which of them is asked first.", "round_robin", "failover")
	members["middleware"] = ref("middleware")
	members["labels"] = labels("The labels of what the port answers.", object{"resources": mapping("Those of what comes from a resource, such as a host or a table, by patterns; the first that matches counts.", labels("Its labels.", object{}))})
	return closed("What serves a port.", members)
}

func labels(description string, more object) object {
	members := object{"integrity": choice("Whose words it can hold.", "trusted", "untrusted"), "confidentiality": choice("Who may see it.", "public", "internal", "secret")}
	for name, member := range more {
		members[name] = member
	}
	return closed(description, members)
}

func relabelling(description string) object {
	return listOf(description, closed("A node.", object{"pipeline": text("Its pipeline's name."), "node": text("Its name.")}, "pipeline", "node"))
}

func middleware() object {
	return object{
		"description": "What is around the port, the first innermost: RetryWithBackoff, RateLimiter, CircuitBreaker, Timeout, ResponseCache; {name: parameters}; or the name of a kind: Middleware.",
		"anyOf":       []any{text(""), object{"type": "array", "items": object{"anyOf": []any{text(""), object{"type": "object", "maxProperties": 1}}}}, ref("included")},
	}
}

func hook() object {
	return closed("A module around nodes or port calls; without a list it is around every node.", object{
		"module": text("The module's name in the configuration."), "nodes": texts("Names of nodes."), "kinds": texts("Kinds of nodes."), "ports": texts("Names of ports."), "ops": texts("Operations, such as llm.*."),
		"failure": choice("What an error of the hook itself does: stop the call, or let it go on.", "closed", "open"),
	}, "module")
}

func service() object {
	return closed("A service.", object{"module": text("The module whose tools are its methods."), "class": text("pipeline_memory, entity_state, process_registry, pipeline_spawner, scheduler, central_agent or database_tools, which the host has."), "config": anything("Has no effect.")})
}

func machine() object {
	state := text("A state.")
	edge := object{"anyOf": []any{state, closed("A transition.", object{"to": text("The state that it leads to."), "guard": condition("An expression over the payload.")}, "to")}}
	return closed("The states of one type of entity.", object{
		"initial": text("The state that an entity begins in."), "initial_state": text("initial, as it is called elsewhere."), "states": texts("All states; those that are mentioned if it is left out."),
		"transitions": mapping("From a state to others.", object{"anyOf": []any{edge, object{"type": "array", "items": edge}}}),
		"handlers":    closed("Who is told.", object{"on_transition": text("A module.tool, which is given every transition.")}),
	})
}

func macroDocument() object {
	return document("Nodes with parameters.", object{
		"metadata": metadata("The macro's name and description.", object{}),
		"parameters": listOf("What an invocation gives.", closed("A parameter, {{ name }} in the nodes.", object{
			"name": text("Its name."), "type": text("str, int, float, bool, list, dict or Any."), "required": flag("It has to be given."), "default": anything("Its value where none is given."), "description": text("What it is for."),
		}, "name")),
		"nodes": ref("nodes"), "nodes_raw": text("The nodes as text, a template with {% for %} and {% if %}."), "outputs": mapping("Expressions that are the result of a node of the invocation's name.", anything("An expression.")), "requires_ports": texts("The ports that the nodes need."),
	}, "kind", "metadata")
}

func adapterDocument() object {
	return document("An adapter with its configuration, which ports name with ref.", object{
		"metadata": metadata("The adapter's name and description.", object{}),
		"spec":     closed("What it is.", object{"class": text("The adapter's name."), "config": open("Its configuration.", object{}), "capabilities": anything("Has no effect.")}, "class"),
	}, "kind", "metadata", "spec")
}

func middlewareDocument() object {
	return document("A stack of middleware, which ports name.", object{
		"metadata": metadata("The stack's name and description.", object{}),
		"spec":     closed("What it is.", object{"stack": ref("middleware")}, "stack"),
	}, "kind", "metadata", "spec")
}

func systemDocument() object {
	return document("Several pipelines, run one after the other or as the states of entities ask for them.", object{
		"metadata": metadata("The system's name and description.", object{}),
		"spec": closed("What it is.", object{
			"processes": listOf("The pipelines.", closed("A pipeline.", object{
				"name": text("Its name in the system."), "pipeline": text("Its file."), "input_schema": anything("Has no effect."), "output_schema": anything("Has no effect."), "ports": anything("Has no effect."), "policies": anything("Has no effect."),
			}, "name", "pipeline")),
			"pipes": listOf("What of a process goes into another.", closed("A pipe.", object{"from": text("A process."), "to": text("A process."), "mapping": mapping("Fields of its input: {{ process.node }}.", anything("A field."))}, "from", "to")),
			"ports": ports("Ports of the processes that have none of their own."), "services": mapping("Services of the processes.", ref("service")),
			"state_machines": mapping("The states of entities, by their type. With them, transitions start the processes.", ref("machine")),
			"states": mapping("What a state asks for, by STATE, of all types of entities that have it, or by TYPE.STATE.", closed("A state.", object{
				"on_enter": text("The process that runs."), "requires": texts("Fields of a transition's payload that must not be null."), "terminal": flag("Entities in it are forgotten."),
			})),
			"on_transition": mapping(`The process that runs, by "FROM -> TO", or "TYPE.FROM -> TO"; it wins over on_enter.`, closed("A transition.", object{"process": text("The process that runs.")}, "process")),
			"transaction":   text("unified: a process that fails leaves the entity in its old state."), "gc": anything("Has no effect."), "memory": anything("Has no effect."),
		}, "processes"),
	}, "kind", "metadata", "spec")
}

func configDocument() object {
	return document("What an operator decides.", object{
		"metadata": open("The configuration's name.", object{"name": text("The name.")}),
		"spec": closed("What the operator decides.", object{
			"principal": text("Who runs, unless said otherwise; local if it is left out."), "tenant": text("default if it is left out."), "state": text("The folder of the audit log, the artifacts and the runs that wait."),
			"env":       texts("Patterns of the environment variables that pipelines may read."),
			"endpoints": texts("Patterns of host or host:port of the model endpoints that pipelines may name in ports of their own."),
			"prices":    mapping("What models cost, by patterns of their names.", closed("US dollars per million tokens.", object{"input": bound("Tokens that are sent."), "output": bound("Tokens of answers.")})),
			"modules":   mapping("The modules, by the name that pipelines use.", module()), "hooks": listOf("Modules around nodes or port calls; the first is outermost.", ref("hook")),
			"ports": ports("What serves the ports."),
			"labels": closed("What values carry.", object{
				"input":   labels("What the inputs of runs carry at least.", object{}),
				"tools":   labels("What the answers of tools of modules carry at least.", object{}),
				"endorse": relabelling("Nodes whose answers are trusted whatever they were given."), "declassify": relabelling("Nodes whose answers are public whatever they were given."),
			}),
			"executor": closed("Where the nodes of runs work; this process, if it is left out.", object{
				"adapter": text("local, or temporal."), "config": open("The adapter's: address, namespace, task_queue, and what the README says.", object{}),
			}),
			"approvals": closed("Where it is kept what persons are asked to approve, and what they said.", object{"adapter": choice("A file in the host's state, or a database that hosts share; sqlite if it is left out.", "sqlite", "postgres"), "config": open("Its configuration.", object{"path": text("sqlite: the file; approvals.db in the host's state if it is left out."), "url": text("postgres: postgres://user:password@host/database."), "table": text("postgres: the table; hexdag_approvals if it is left out.")})}),
			"audit":     closed("What the audit log keeps.", object{"arguments": flag("The arguments of what governance is asked, and not their digest alone: for 'hexdag policy impact'."), "salts": text("The file of the salts of what is masked; beside the log if it is left out.")}),
			"journal": closed("Where runs are recorded, and for how long that is kept.", object{
				"adapter": choice("A file in the host's state, or a database that hosts share.", "sqlite", "postgres"), "config": open("Its configuration.", object{"path": text("sqlite: the file; journal.db in the host's state if it is left out."), "url": text("postgres: postgres://user:password@host/database."), "table": text("postgres: what the tables' names begin with; hexdag_journal if it is left out."), "ttl": positive("postgres: for how many seconds a host that has died keeps its runs; 15 if it is left out.")}),
				"keep": seconds("The journals of runs that completed; 720h if it is left out."), "keep_failed": seconds("Those of the others; as keep if it is left out."), "max_runs": positive("How many of those that have ended are kept."),
			}),
			"libraries": closed("What the host's libraries keep, start and offer.", object{
				"store":            closed("Where they keep what outlives a run.", object{"adapter": choice("A file in the host's state, a database that hosts share, or this process alone; sqlite if it is left out.", "sqlite", "postgres", "memory"), "config": open("Its configuration.", object{"path": text("sqlite: the file; libraries.db in the host's state if it is left out."), "url": text("postgres: postgres://user:password@host/database."), "table": text("postgres: the table; hexdag_documents if it is left out.")})}),
				"pipelines":        text("The folder of the pipelines that runs and schedules may start; none if it is left out."),
				"process_registry": closed("Which runs are known.", object{"keep": seconds("For how long those that have ended are; 720h if it is left out."), "max_runs": positive("How many of those; 100000 if it is left out.")}),
				"pipeline_spawner": closed("Bounds of the runs that runs start.", object{"max_depth": positive("Of runs that start each other; 8 if it is left out."), "max_runs": positive("That a run and all that comes of it start; 1000 if it is left out."), "max_running": positive("At once; 64 if it is left out.")}),
				"scheduler":        closed("Bounds of schedules.", object{"max_tasks": positive("That a tenant has; 10000 if it is left out."), "concurrency": positive("Runs of schedules at once; 64 if it is left out.")}),
				"entity_state":     closed("Bounds of entities.", object{"max_entities": positive("That a tenant has; 100000 if it is left out.")}),
				"central_agent": closed("What central agents may do.", object{
					"pipelines": mapping("The pipelines that they may start, by their names or patterns of them, of which the first that matches counts; nothing else.", closed("A pipeline.", object{
						"untrusted": choice("What becomes of a start that untrusted values have led to: approve, if it is left out.", "approve", "allow", "deny"), "trusted": flag("What it answers is not made untrusted."),
					})),
					"max_starts": positive("Runs that one goal starts; 50 if it is left out."), "max_retries": bound("How often a pipeline that has failed may be started again for a goal; 2 if it is left out."),
					"max_goals": positive("Goals of a tenant that are not over; 1000 if it is left out."), "concurrency": positive("Goals that one host works on at once; 16 if it is left out."),
				}),
				"database_tools": closed("A database that agents and pipelines may query with SQL, read-only.", object{"adapter": choice("What it is.", "sqlite", "postgres"), "config": open("As of the database port.", object{})}),
			}),
			"telemetry": closed("Where spans go, by OTLP, and what they tell; none are made if it is left out, unless the environment says so. What is left out in it the variables OTEL_* say.", object{
				"endpoint": text("URL of the collector."), "protocol": choice("How it is sent; http/protobuf if nobody says.", "http/protobuf", "http/json", "grpc"), "headers": mapping("Headers of what is sent.", text("A text, such as Bearer ${COLLECTOR_API_KEY}.")),
				"sample": bound("The share of the traces that begin here, from 0 to 1."), "service": text("service.name; hexdag if nobody says."), "attributes": mapping("Of whoever sends.", text("A text.")),
				"content":   flag("Spans tell what models and tools were told, and what they answered, but what is secret."),
				"propagate": texts("Patterns of the hosts that requests of the http port tell the trace, as traceparent."),
			}),
			"server": closed("What 'hexdag serve' offers, and to whom.", object{
				"address": text("Where it listens; 127.0.0.1:8480 if it is left out."), "pipelines": texts("The files and folders of the pipelines that may be run."),
				"tokens":  text("The file of tokens: tokens: [{sha256, tenant, principal, expires}]."),
				"oidc":    closed("Whose tokens are taken.", object{"issuer": text("The issuer's URL."), "audience": text("Whom its tokens are for."), "tenant": text("The claim that names the tenant; tenant if it is left out."), "principal": text("The claim that names the principal; sub if it is left out.")}, "issuer", "audience"),
				"tenants": texts("The tenants, each of which has a host of its own; the configuration's if it is left out."), "grace": seconds("That runs have to end in when the server ends; 30 if it is left out."),
				"max_body": positive("Bytes of a request; 1048576 if it is left out."), "max_upload": positive("Bytes of an artifact that is stored over HTTP; 268435456 if it is left out."), "max_running": positive("Runs of a tenant at once; 256 if it is left out."), "per_second": positive("Requests of a principal; 200 if it is left out."), "max_streams": positive("Clients that follow events; 10000 if it is left out."),
			}),
			"mcp": closed("What 'hexdag mcp' offers beside tools.", object{
				"prompts": mapping("Prompts, by their names.", closed("A prompt: messages, or what a tool answers.", object{
					"title": text("What it is called where people read it."), "description": text("What it is for."), "tool": text("module.tool, or pipeline:NAME, that makes it of its arguments."),
					"arguments": mapping("By their names.", argument("An argument.")),
					"messages": listOf("What it says.", closed("A message: a text, a file or a resource.", object{
						"role": choice("Whose words they are; user if it is left out.", "user", "assistant"), "text": text("With {{argument}} in it."),
						"file": text("An image, a sound or a document."), "resource": text("The URI of a resource that is offered, with {{argument}} in it."),
					})),
				})),
				"resources": mapping("Documents, by their names.", closed("A document: a file, or what a tool answers.", object{
					"title": text("What it is called where people read it."), "description": text("What it is."), "uri": text("Its URI, as docs://handbook; of a tool, with {variables}."), "mime_type": text("Its type; by the file's name if it is left out."),
					"file": text("Where it is."), "tool": text("module.tool, or pipeline:NAME, that makes it of the variables."), "variables": mapping("The variables of its URI, by their names.", argument("A variable.")),
				}, "uri")),
			}),
			"tenant_limits": closed("What all runs of the tenant take together.", object{"instances": positive("Instances of modules."), "waiting": positive("Calls that wait for one."), "fuel": positive("Fuel since the host was opened."), "tokens": bound("Tokens of models since then."), "cost_usd": bound("US dollars that models have cost since then.")}),
			"run_limits": closed("What the modules of one run take together.", object{
				"deadline": seconds("Of the run."), "fuel": positive("Instructions."), "host_calls": positive("Calls of the host."), "log_lines": positive("Lines that modules log."), "bytes_in": positive("What the host gives to modules."), "bytes_out": positive("What they give the host."),
			}),
			"static_limits": staticLimits(),
			"triggers":      listOf("What starts runs of pipelines.", trigger()),
			"subscriptions": listOf("Modules that are told of events.", closed("A module and what it is told of.", object{
				"module": text("The module, which exports observe."), "on": texts("Patterns of topics."), "group": text("What shares the events, and keeps the place; the module's name if it is left out."),
				"concurrency": positive("Events at once."), "start": choice("Where a new one begins.", "new", "beginning"),
			}, "module", "on")),
		}),
	}, "kind")
}

func argument(about string) object {
	return closed(about, object{"description": text("What it is."), "required": flag("Whether it has to be given."), "values": texts("What is proposed to who fills it in.")})
}

func trigger() object {
	return closed("A pipeline, and the events that start it.", object{
		"name": text("Its name, under which it keeps its place."), "on": texts("Patterns of topics: * stands for a part, > at the end for one or more."), "pipeline": text("The pipeline's file."),
		"when": anything("An expression over the event: data, topic, key, labels and so on. Where it is false or fails, nothing is started."), "input": mapping("The run's input: expressions over the event.", anything("An expression, or a literal that is no text.")),
		"concurrency": positive("Runs at once."), "retries": positive("How often a run that failed is made again."), "max_per_minute": positive("Runs that begin within a minute; the rest wait."),
		"dedup": closed("Of events that are equal in key, one starts a run within window.", object{"key": anything("An expression over the event."), "window": seconds("How long.")}, "key", "window"),
		"start": choice("Where a new trigger begins.", "new", "beginning"), "principal": text("Who runs; the configuration's principal if it is left out."),
	}, "name", "on", "pipeline")
}

func module() object {
	grant := object{"anyOf": []any{text("port.method"), object{"type": "object", "maxProperties": 1}}}
	return closed("A module.", object{
		"path": text("Its file."), "digest": text("sha256:..., which pins its bytes."), "config": anything("What it reads as its configuration."),
		"grants":    listOf("What it may do: port.method, or port.method: {argument: pattern}.", grant),
		"isolation": choice("What one call can leave to the next: nothing, what the run's next calls see, or, for a module that you trust, anything.", "call", "run", "shared"),
		"labels": labels("What its answers carry beside what it was given and has read.", object{
			"tools":   mapping("What single tools' answers carry, by their names.", labels("Its labels.", object{})),
			"endorse": flag("Its answers are trusted whatever it was given."), "declassify": flag("Its answers are public whatever it was given."),
		}),
		"dialect": text("How to talk to it; what it looks like if it is left out."), "static_limits": staticLimits(),
		"limits": closed("What one call may take.", object{
			"deadline": seconds("Its time."), "fuel": positive("Instructions."), "memory": positive("Bytes of memory."), "document": positive("Bytes of a document."), "body": positive("Bytes of a body."), "host_calls": positive("Calls of the host."),
			"bytes_in": positive("What the host gives to it."), "bytes_out": positive("What it gives the host."), "log_lines": positive("Lines that it logs."), "log_line": positive("Bytes of one."), "instances": positive("Instances at once."), "waiting": positive("Calls that wait for one."),
		}),
	}, "path")
}

func staticLimits() object {
	members := object{}
	var o rewrite.Options
	for _, s := range o.Settings() {
		members[s.Name] = positive("The most that a module may have.")
	}
	return closed("What modules' bytes are held to.", members)
}
