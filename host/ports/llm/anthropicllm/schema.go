package anthropicllm

import (
	"encoding/json"
	"fmt"
)

// held returns a schema that the endpoint holds a model to, and of which every answer that
// is valid against the given one as well but for bounds, which it does not know: package llm checks these. Objects are
// closed, as it demands. An error says what of the schema has no such form.
func held(schema map[string]any) (map[string]any, error) {
	if schema["type"] != "object" {
		return nil, fmt.Errorf("it is not of the type object")
	}
	v, err := heldIn(schema)
	if err != nil {
		return nil, err
	}
	return v, nil
}

func heldIn(schema map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(schema)+1)
	for name, v := range schema {
		switch name {
		case "type", "enum", "const", "description", "title", "default", "format", "required", "$ref":
			out[name] = v
		case "minItems":
			if n, _ := v.(json.Number); n == "0" || n == "1" {
				out[name] = v
			}
		case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern",
			"maxItems", "uniqueItems", "minProperties", "maxProperties", "$schema", "examples", "additionalProperties":
		case "properties", "$defs", "definitions":
			members, err := heldMembers(v)
			if err != nil {
				return nil, err
			}
			out[name] = members
		case "items":
			item, ok := v.(map[string]any)
			if !ok {
				return nil, fmt.Errorf("items is no schema")
			}
			inner, err := heldIn(item)
			if err != nil {
				return nil, err
			}
			out[name] = inner
		case "anyOf", "allOf":
			list, _ := v.([]any)
			inner := make([]any, len(list))
			for i, item := range list {
				one, ok := item.(map[string]any)
				if !ok {
					return nil, fmt.Errorf("%s holds no schema", name)
				}
				var err error
				if inner[i], err = heldIn(one); err != nil {
					return nil, err
				}
			}
			out[name] = inner
		default:
			return nil, fmt.Errorf("the endpoint does not know %q", name)
		}
	}
	if schema["type"] != "object" {
		return out, nil
	}
	if closed, given := schema["additionalProperties"]; given && closed != false {
		return nil, fmt.Errorf("it has objects with members that are not named")
	}
	members, _ := schema["properties"].(map[string]any)
	if len(members) == 0 {
		return nil, fmt.Errorf("it has objects whose members are not named")
	}
	required, _ := schema["required"].([]any)
	for _, name := range required {
		text, _ := name.(string)
		if _, named := members[text]; !named {
			return nil, fmt.Errorf("it requires %q, which it does not describe", text)
		}
	}
	out["additionalProperties"] = false
	return out, nil
}

func heldMembers(v any) (map[string]any, error) {
	members, _ := v.(map[string]any)
	out := make(map[string]any, len(members))
	for name, member := range members {
		schema, ok := member.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%q is no schema", name)
		}
		inner, err := heldIn(schema)
		if err != nil {
			return nil, err
		}
		out[name] = inner
	}
	return out, nil
}
