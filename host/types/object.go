package types

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/schema"
)

// maxNesting bounds how deep a schema of names and types nests.
const maxNesting = 24

// Object is the shape of an object: a schema, checked. It never changes, and may
// be used by several goroutines.
type Object struct {
	fields []field
	asJSON map[string]any
	schema *jsonSchema // where the schema was a JSON Schema; fields then describe it
}

type field struct {
	name     string
	typ      *fieldType
	optional bool // missing is null
}

// Field describes a field of an object, for a prompt or a listing.
type Field struct {
	Name     string
	Type     string // as the schema names it; of a JSON Schema, JSON's
	Required bool
}

// Object checks a schema: names and types, where a type can be such a mapping
// itself or a JSON Schema, or one JSON Schema for the whole. order is the names in
// the order in which they were written; what it leaves out follows, sorted. The
// error joins every mistake, each a CodePipeline error.
func (r *Registry) Object(doc map[string]any, order []string) (*Object, error) {
	o, wrong := r.object(doc, order, "", 0)
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	if o.schema == nil {
		if _, err := schema.Compile(o.asJSON); err != nil {
			return nil, invalid("make it smaller", "the schema cannot be used: %v", err)
		}
	}
	return o, nil
}

func (r *Registry) object(doc map[string]any, order []string, path string, depth int) (*Object, []error) {
	if depth > maxNesting {
		return nil, []error{invalid("make it flatter", "the schema nests deeper than %d, at %s", maxNesting, kernel.Quote(path))}
	}
	if isJSONSchema(doc) {
		return r.fromJSONSchema(doc, order, path)
	}
	o := &Object{}
	var wrong []error
	for _, name := range inOrder(doc, order) {
		f, errs := r.field(doc[name], path+name, depth)
		wrong = append(wrong, errs...)
		f.name = name
		o.fields = append(o.fields, f)
	}
	if wrong == nil {
		o.asJSON = o.jsonSchema()
	}
	return o, wrong
}

func (r *Registry) fromJSONSchema(doc map[string]any, order []string, path string) (*Object, []error) {
	s, err := compileJSONSchema(doc)
	if err != nil {
		return nil, []error{invalid("correct the JSON Schema", "the schema%s cannot be used: %v", at(path), err)}
	}
	return &Object{schema: s, asJSON: doc, fields: s.fields(order)}, nil
}

func at(path string) string {
	if path == "" {
		return ""
	}
	return " of " + kernel.Quote(path)
}

// inOrder returns the names of m, those of order first.
func inOrder[V any](m map[string]V, order []string) []string {
	names := make([]string, 0, len(m))
	for _, name := range order {
		if _, ok := m[name]; ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func (r *Registry) field(v any, path string, depth int) (field, []error) {
	if name, ok := v.(string); ok {
		t, optional, err := r.lookup(name)
		if err != nil {
			return field{}, []error{placed(err, path)}
		}
		return field{typ: t, optional: optional}, nil
	}
	doc, ok := asMap(v)
	switch {
	case !ok:
		return field{}, []error{invalid("name a type, such as str", "the type of field %s must be a name or a mapping, this is %s", kernel.Quote(path), found(v))}
	case describesValue(doc):
		s, err := compileJSONSchema(doc)
		if err != nil {
			return field{}, []error{invalid("correct the JSON Schema", "the type of field %s cannot be used: %v", kernel.Quote(path), err)}
		}
		return field{typ: &fieldType{name: s.typeName(), schema: s}, optional: s.nullable()}, nil
	}
	nested, wrong := r.object(doc, nil, path+".", depth+1)
	return field{typ: &fieldType{name: "dict", nested: nested}}, wrong
}

// placed says which field an error is about.
func placed(err error, path string) error {
	var e *kernel.Error
	if !errors.As(err, &e) {
		return err
	}
	p := *e
	p.What = "field " + kernel.Quote(path) + ": " + e.What
	return &p
}

// Fields describes the fields, in the schema's order.
func (o *Object) Fields() []Field {
	fields := make([]Field, len(o.fields))
	for i, f := range o.fields {
		fields[i] = Field{Name: f.name, Type: f.typ.name, Required: !f.optional}
		if f.optional && o.schema == nil && f.typ.schema == nil {
			fields[i].Type += "?"
		}
	}
	return fields
}

// JSONSchema returns the schema that a model is asked to follow and that inputs
// are held to. A field that sanitises admits whatever it can read. It is shared:
// do not change it.
func (o *Object) JSONSchema() map[string]any { return o.asJSON }

func (o *Object) jsonSchema() map[string]any {
	properties := make(map[string]any, len(o.fields))
	required := []any{}
	for _, f := range o.fields {
		properties[f.name] = f.jsonSchema()
		if !f.optional {
			required = append(required, f.name)
		}
	}
	return map[string]any{"type": "object", "properties": properties, "required": required}
}

func (f field) jsonSchema() map[string]any {
	switch {
	case f.typ.nested != nil:
		return f.typ.nested.asJSON
	case f.typ.schema != nil:
		return f.typ.schema.doc
	}
	s := map[string]any{}
	accepts := f.typ.accepts
	if f.optional && accepts != nil && !slices.Contains(accepts, "null") {
		accepts = append(slices.Clone(accepts), "null")
	}
	switch len(accepts) {
	case 0:
	case 1:
		s["type"] = accepts[0]
	default:
		list := make([]any, len(accepts))
		for i, name := range accepts {
			list[i] = name
		}
		s["type"] = list
	}
	if f.typ.hint != "" {
		s["description"] = f.typ.hint
	}
	return s
}

// Coerce returns v as the schema has it: cleaned, a missing optional field null,
// and, of a schema of names and types, without fields that it does not name. A
// JSON Schema says itself whether there can be others; of its properties, missing
// ones get their default, or null if that is allowed. v itself is not changed.
// The error, CodeFailed, names every field that breaks the schema.
func (o *Object) Coerce(v kernel.Value) (kernel.Value, error) {
	r := &report{}
	coerced := o.coerce(v, "", r)
	if err := r.err(kernel.CodeFailed, "send every field as the schema says"); err != nil {
		return nil, err
	}
	return coerced, nil
}

func (o *Object) coerce(v kernel.Value, path string, r *report) kernel.Value {
	if o.schema != nil {
		return o.schema.coerce(v, path, r)
	}
	members, ok := v.(map[string]any)
	if !ok {
		r.mismatch(path, "an object", v)
		return nil
	}
	out := make(map[string]any, len(o.fields))
	for _, f := range o.fields {
		member, there := members[f.name]
		if !there && !f.optional {
			r.missing(path+f.name, f.typ.expected(f.optional))
			continue
		}
		out[f.name] = f.coerce(member, path+f.name, r)
	}
	return out
}

func (f field) coerce(v kernel.Value, path string, r *report) kernel.Value {
	switch {
	case f.typ.nested != nil:
		return f.typ.nested.coerce(v, path+".", r)
	case f.typ.schema != nil:
		return f.typ.schema.coerce(v, path, r)
	case v == nil && f.optional && !slices.Contains(f.typ.accepts, "null"):
		return nil
	}
	coerced, ok := f.typ.coerce(v)
	if !ok {
		r.mismatch(path, f.typ.expected(f.optional), v)
	}
	return coerced
}

// Check holds v to the JSON Schema, without changing anything. The error,
// CodeInput, names every field that breaks it.
func (o *Object) Check(v kernel.Value) error {
	r := &report{}
	o.check(v, "", r)
	return r.err(kernel.CodeInput, "pass every field as the schema says")
}

func (o *Object) check(v kernel.Value, path string, r *report) {
	if o.schema != nil {
		o.schema.check(v, path, r)
		return
	}
	members, ok := v.(map[string]any)
	if !ok {
		r.mismatch(path, "an object", v)
		return
	}
	for _, f := range o.fields {
		if member, there := members[f.name]; there {
			f.check(member, path+f.name, r)
		} else if !f.optional {
			r.missing(path+f.name, f.typ.expected(f.optional))
		}
	}
}

func (f field) check(v kernel.Value, path string, r *report) {
	switch {
	case f.typ.nested != nil:
		f.typ.nested.check(v, path+".", r)
	case f.typ.schema != nil:
		f.typ.schema.check(v, path, r)
	case v == nil && f.optional || f.typ.accepts == nil:
	case !admits(f.typ.accepts, v):
		r.mismatch(path, f.typ.expected(f.optional), v)
	}
}

// expected says what a field takes.
func (t *fieldType) expected(optional bool) string {
	switch {
	case t.nested != nil:
		return "an object"
	case t.hint != "":
		return t.name + " (" + kernel.Quote(t.hint) + ")"
	case optional:
		return t.name + " or null"
	}
	return t.name
}

// found describes a value that was not expected.
func found(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "the boolean " + strconv.FormatBool(v)
	case string:
		return `the text "` + shown(v) + `"`
	case []any:
		return "a list"
	case map[string]any, Custom:
		return "an object"
	}
	return "the number " + shown(fmt.Sprint(v))
}

// shown is the start of a text that an error shows.
func shown(text string) string {
	const most = 60
	for i := range text {
		if i > most {
			return kernel.Quote(text[:i]) + "…"
		}
	}
	return kernel.Quote(text)
}
