package anthropicllm

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hexdag/hexdag/host/kernel"
)

// What the endpoint does not know of a schema is left out where the port checks it anyway, and refused where leaving it
// out would have the model answer something else.
func TestHeld(t *testing.T) {
	for given, want := range map[string]string{
		`{"type": "object", "properties": {"a": {"type": "string", "minLength": 1, "pattern": "x", "format": "date"}}, "required": ["a"], "$schema": "https://json-schema.org/draft/2020-12/schema"}`: `{"type": "object", "additionalProperties": false, "properties": {"a": {"type": "string", "format": "date"}}, "required": ["a"]}`,
		`{"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"type": "object", "properties": {"c": {"const": 1}}}}}`:                                                       `{"type": "object", "additionalProperties": false, "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"type": "object", "additionalProperties": false, "properties": {"c": {"const": 1}}}}}`,
		`{"type": "object", "properties": {"a": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]}}}}`:                         `{"type": "object", "additionalProperties": false, "properties": {"a": {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}}}`,
		`{"type": "object", "properties": {"minimum": {"type": "integer"}, "oneOf": {"type": "string"}}}`:                                                                                             `{"type": "object", "additionalProperties": false, "properties": {"minimum": {"type": "integer"}, "oneOf": {"type": "string"}}}`,
		`{"type": "array", "items": {}}`: "not of the type object",
		`{"type": "object"}`:             "whose members are not named",
		`{"type": "object", "properties": {"a": {}}, "additionalProperties": true}`:               "members that are not named",
		`{"type": "object", "properties": {"a": {"oneOf": [{}]}}}`:                                `does not know "oneOf"`,
		`{"type": "object", "properties": {"a": {}}, "required": ["b"]}`:                          `requires "b", which it does not describe`,
		`{"type": "object", "properties": {"a": {"type": "array", "items": {"type": "object"}}}}`: "whose members are not named",
		`{"type": "object", "properties": {"a": {"anyOf": [true]}}}`:                              "anyOf holds no schema",
		`{"type": "object", "properties": {"a": true}}`:                                           `"a" is no schema`,
	} {
		v, err := kernel.DecodeJSON([]byte(given))
		if err != nil {
			t.Fatal(err)
		}
		before, _ := kernel.EncodeJSON(v)
		got, err := held(v.(map[string]any))
		if after, _ := kernel.EncodeJSON(v); string(after) != string(before) {
			t.Errorf("%s was changed", given)
		}
		if !strings.HasPrefix(want, "{") {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", given, err, want)
			}
			continue
		}
		wanted, derr := kernel.DecodeJSON([]byte(want))
		if derr != nil {
			t.Fatal(derr)
		}
		if diff := cmp.Diff(wanted, any(got)); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", given, err, diff)
		}
	}
}
