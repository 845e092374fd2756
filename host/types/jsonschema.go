package types

import (
	"maps"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/schema"
)

// jsonSchema is a JSON Schema that stands where names and types could.
type jsonSchema struct {
	doc      map[string]any
	compiled *schema.Schema
}

// isJSONSchema reports whether a mapping is a JSON Schema of an object and not
// one of names and types. hexDAG has no type that is called object, and no type
// that is a list.
func isJSONSchema(doc map[string]any) bool {
	if doc["type"] == "object" {
		return true
	}
	_, hasProperties := doc["properties"].(map[string]any)
	_, hasRequired := doc["required"].([]any)
	return hasProperties && hasRequired
}

// describesValue reports whether a mapping is the JSON Schema of a value and not
// a nested object with a field that is called type: no type has both a name in
// hexDAG and in JSON Schema.
func describesValue(doc map[string]any) bool {
	switch t := doc["type"].(type) {
	case string:
		return slices.Contains([]string{"string", "integer", "number", "boolean", "array", "object", "null"}, t)
	case []any:
		return true
	}
	for _, keyword := range []string{"enum", "anyOf", "oneOf", "allOf"} {
		if _, ok := doc[keyword].([]any); ok {
			return true
		}
	}
	return isJSONSchema(doc)
}

func compileJSONSchema(doc map[string]any) (*jsonSchema, error) {
	compiled, err := schema.Compile(doc)
	if err != nil {
		return nil, err
	}
	return &jsonSchema{doc: doc, compiled: compiled}, nil
}

func (s *jsonSchema) typeName() string { return typeOf(s.doc) }

// typeOf names the JSON type that a schema admits.
func typeOf(doc map[string]any) string {
	switch t := doc["type"].(type) {
	case string:
		return t
	case []any:
		names := make([]string, 0, len(t))
		for _, name := range t {
			if text, ok := name.(string); ok {
				names = append(names, text)
			}
		}
		return strings.Join(names, " or ")
	}
	return "value"
}

func (s *jsonSchema) nullable() bool { return nullable(s.doc) }

func nullable(doc map[string]any) bool {
	list, _ := doc["type"].([]any)
	return slices.Contains(list, any("null"))
}

// fields describes the properties.
func (s *jsonSchema) fields(order []string) []field {
	properties, _ := s.doc["properties"].(map[string]any)
	required, _ := s.doc["required"].([]any)
	var fields []field
	for _, name := range inOrder(properties, order) {
		property, _ := properties[name].(map[string]any)
		fields = append(fields, field{
			name: name, typ: &fieldType{name: typeOf(property)}, optional: !slices.Contains(required, any(name)),
		})
	}
	return fields
}

func (s *jsonSchema) check(v kernel.Value, path string, r *report) {
	if err := s.compiled.Validate(v); err != nil {
		r.add(label(path) + kernel.Quote(err.Error()))
	}
}

func (s *jsonSchema) coerce(v kernel.Value, path string, r *report) kernel.Value {
	v = complete(s.doc, v)
	s.check(v, path, r)
	return v
}

// complete gives the properties that an object lacks their default, or null where
// that is allowed.
func complete(doc map[string]any, v kernel.Value) kernel.Value {
	properties, _ := doc["properties"].(map[string]any)
	members, ok := v.(map[string]any)
	if !ok || len(properties) == 0 {
		return v
	}
	out := maps.Clone(members)
	for name, p := range properties {
		property, _ := p.(map[string]any)
		member, there := out[name]
		if there {
			out[name] = complete(property, member)
			continue
		}
		if otherwise, ok := property["default"]; ok {
			out[name] = otherwise
		} else if nullable(property) {
			out[name] = nil
		}
	}
	return out
}
