// Package types holds hexDAG's field types: what an output_schema and an
// input_schema call str, int?, currency and so on, and the types that a pipeline
// defines itself. A schema says what a model is asked for, cleans what it
// answered, and holds values to it.
//
//	str int float bool list dict Any   JSON's types; Any is any value
//	currency       "$1,200" is 1200.0
//	flexible_bool  yes, no, on, off, y, n, 1, 0 in any case
//	score          a number, clamped to 0.0 to 1.0
//	upper_str, lower_str, trimmed_str  without white space around it
//	nullable_str   "N/A", "TBD", "unknown" and the like are null
//
// A ? after a name makes a field optional: missing is null. The types from
// currency on, and a pipeline's own, sanitise: their fields are required, but
// null where what was sent says nothing. What is no amount, no score or, of a
// pipeline's own type, not of its pattern or base, is null as well.
package types

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// Custom is one definition under custom_types, as the YAML has it. All members
// are optional: base ("str", "int", "float", "bool"), description, nulls ("common" or
// a list), trim, pattern (one or a list; the first that matches gives its group 1,
// or all of it), strip (characters), true_values, false_values, clamp ([min, max]),
// upper, lower, max_length, and default, which takes the place of null.
type Custom map[string]any

// Registry knows the types that a schema can name. It never changes, and may be
// used by several goroutines.
type Registry struct {
	types map[string]*fieldType
}

// fieldType is what a field can be.
type fieldType struct {
	name string
	hint string // what to send, for a model; "" where the JSON type says it all
	// accepts are the JSON types that a value can have before it is coerced; none
	// means any.
	accepts []string
	// coerce returns what becomes of a value, and whether it is of the type. It is
	// given null only if accepts has it.
	coerce func(v kernel.Value) (kernel.Value, bool)
	nested *Object     // of a nested schema
	schema *jsonSchema // of a field that is described by a JSON Schema
}

// typeName is what a custom type can be called.
var typeName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// NewRegistry returns the built-in types and the custom ones. Its error joins
// every mistake of the definitions, each a CodePipeline error.
func NewRegistry(custom map[string]any) (*Registry, error) {
	r := &Registry{types: maps.Clone(builtin)}
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(custom)) {
		t, errs := r.define(name, custom[name])
		wrong = append(wrong, errs...)
		r.types[name] = t
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	return r, nil
}

func (r *Registry) define(name string, definition any) (*fieldType, []error) {
	quoted := kernel.Quote(name)
	switch {
	case !typeName.MatchString(name):
		return nil, []error{invalid("use letters, digits and _, at most 64", "%s cannot be the name of a type", quoted)}
	case builtin[name] != nil:
		return nil, []error{invalid("choose another name", "custom_types.%s: hexDAG has a type of that name", quoted)}
	}
	members, ok := asMap(definition)
	if !ok {
		return nil, []error{invalid("write a mapping such as {base: str, nulls: common}", "custom_types.%s must be a mapping, this is %s", quoted, found(definition))}
	}
	return parseCustom(name, members)
}

// lookup returns the type that a schema calls text, and whether it is optional.
func (r *Registry) lookup(text string) (t *fieldType, optional bool, err error) {
	name, optional := strings.CutSuffix(text, "?")
	if t := r.types[name]; t != nil {
		return t, optional, nil
	}
	fix := kernel.DidYouMean(name, slices.Collect(maps.Keys(r.types)))
	if ours := fromJSON[strings.ToLower(name)]; ours != "" {
		fix = "did you mean " + ours + "?"
	}
	return nil, false, invalid(fix, "there is no type %s", kernel.Quote(text))
}

// fromJSON has hexDAG's names of what JSON Schema calls otherwise.
var fromJSON = map[string]string{
	"string": "str", "integer": "int", "number": "float", "boolean": "bool", "array": "list", "object": "dict", "any": "Any",
}

// invalid is a mistake of a pipeline's author.
func invalid(fix, what string, args ...any) *kernel.Error {
	return &kernel.Error{Code: kernel.CodePipeline, What: fmt.Sprintf(what, args...), Fix: fix}
}

func asMap(v any) (map[string]any, bool) {
	switch v := v.(type) {
	case map[string]any:
		return v, true
	case Custom:
		return v, true
	}
	return nil, false
}
