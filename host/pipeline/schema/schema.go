// Package schema describes hexDAG's YAML as a JSON Schema, for editors. What the
// schema takes, the loader may still refuse: it does not look into expressions, and
// knows nothing of the other files and modules that are named. What it refuses,
// the loader refuses, too.
package schema

import "maps"

// object is a JSON value of the schema.
type object = map[string]any

// include is the member that stands for another file; see README, Pipelines.
const include = "!include"

// Document returns the schema (draft-07, which editors know) of one document of a file.
func Document() map[string]any {
	kinds := []string{"Pipeline", "System", "Macro", "Adapter", "Middleware", "Config"}
	documents := map[string]object{"Pipeline": pipelineDocument(), "System": systemDocument(), "Macro": macroDocument(), "Adapter": adapterDocument(), "Middleware": middlewareDocument(), "Config": configDocument()}
	cases := make([]any, len(kinds))
	definitions := object{
		"node": node(), "nodes": listOf("The nodes.", ref("node")), "port": port(), "middleware": middleware(), "hook": hook(), "service": service(), "machine": machine(), "template": template(), "lock": lock(), "cache": cache(),
		"common": open("What the spec of every kind of node has.", common()), "included": included(), "answer": fields("What the node answers is held to."), "include": text("Another file below the pipeline's folder, as file.yaml or file.yaml#member."),
	}
	for i, kind := range kinds {
		cases[i] = object{"if": object{"properties": object{"kind": object{"const": kind}}, "required": []any{"kind"}}, "then": ref(kind)}
		definitions[kind] = documents[kind]
	}
	for kind, spec := range specs() {
		definitions[kind] = spec
	}
	for name, members := range builtinMacros() {
		definitions[name+"_config"], definitions[name] = builtin(members)
	}
	return object{
		"$schema": "http://json-schema.org/draft-07/schema#", "title": "hexDAG pipeline", "description": "A document of a pipeline's file, or the operator's configuration.",
		"type": "object", "required": []any{"kind"}, "properties": object{"kind": choice("What the document is.", kinds...)},
		"allOf": cases, "definitions": definitions,
	}
}

func ref(name string) object { return object{"$ref": "#/definitions/" + name} }

// template is a text that becomes another value when the file is loaded: ${VAR},
// or {{ ... }}.
func template() object {
	return object{"type": "string", "pattern": `\$\{|\{\{`, "description": "A text with ${VAR} or {{ ... }} in it, of which the value is made."}
}

func anything(description string) object { return object{"description": description} }

func text(description string) object {
	if description == "" {
		return object{"type": "string"}
	}
	return object{"type": "string", "description": description}
}

// orTemplate is a value of a type, or the text that it is made of.
func orTemplate(description string, value object) object {
	return object{"description": description, "anyOf": []any{value, ref("template")}}
}

func choice(description string, values ...string) object {
	list := make([]any, len(values))
	for i, v := range values {
		list[i] = v
	}
	return orTemplate(description, object{"enum": list})
}

func flag(description string) object { return orTemplate(description, object{"type": "boolean"}) }

func positive(description string) object {
	return orTemplate(description, object{"type": "number", "exclusiveMinimum": 0})
}

func bound(description string) object {
	return orTemplate(description, object{"type": "number", "minimum": 0})
}

// seconds is a time: a number of seconds, or a text with a unit.
func seconds(description string) object {
	return object{"description": description + ` In seconds, or with a unit ("200ms").`, "anyOf": []any{object{"type": "number", "exclusiveMinimum": 0}, object{"type": "string"}}}
}

func condition(description string) object {
	return object{"description": description, "type": []any{"string", "boolean"}}
}

// texts is a list of strings; a bare string is a list of one.
func texts(description string) object {
	return object{"description": description, "anyOf": []any{text(""), object{"type": "array", "items": text("")}, ref("included")}}
}

// included is an include in place of a value.
func included() object {
	return object{"type": "object", "properties": object{include: ref("include")}, "required": []any{include}, "additionalProperties": false}
}

func listOf(description string, item object) object {
	return object{"description": description, "anyOf": []any{object{"type": "array", "items": item}, ref("included")}}
}

// open is an object with members that are known, among others.
func open(description string, members object, required ...string) object {
	properties := maps.Clone(members)
	properties[include] = ref("include")
	o := object{"description": description, "type": "object", "properties": properties}
	if len(required) > 0 {
		list := make([]any, len(required))
		for i, name := range required {
			list[i] = name
		}
		o["if"], o["else"] = object{"required": []any{include}}, object{"required": list}
	}
	return o
}

// closed is an object with these members and no others.
func closed(description string, members object, required ...string) object {
	o := open(description, members, required...)
	o["additionalProperties"] = false
	return o
}

// mapping is an object whose names are the author's.
func mapping(description string, value object) object {
	o := open(description, object{})
	o["additionalProperties"] = value
	return o
}

func metadata(description string, members object) object {
	all := object{"name": text("The name."), "description": text("What it is for.")}
	maps.Copy(all, members)
	return open(description, all, "name")
}

func document(description string, members object, required ...string) object {
	all := object{"apiVersion": text("hexdag/v1"), "kind": text("What the document is.")}
	maps.Copy(all, members)
	return closed(description, all, required...)
}
