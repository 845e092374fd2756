// Package schema holds values to JSON Schemas that nobody vouches for: who writes
// one may be a guest, and the validator runs outside the sandbox. A schema is
// complete in itself, not recursive and bounded in size, so that checking a value
// is cheap.
package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The bounds that keep checking a value cheap.
const (
	maxSchemaNodes  = 2000 // JSON values in a schema, after its references are written out
	maxNumberLength = 400  // digits of a number, and its exponent's value
)

// Schema is a JSON Schema, draft 2020-12 or draft-07.
type Schema struct{ compiled *jsonschema.Schema }

// Compile checks that doc is a schema, complete in itself and cheap to apply.
// Names and texts of the schema are escaped in its errors.
func Compile(doc map[string]any) (*Schema, error) {
	size := &schemaSize{root: doc, targets: map[string]int{}}
	if _, err := size.of(doc); err != nil {
		return nil, err
	}
	const here = "schema.json"
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	if err := c.AddResource(here, doc); err != nil {
		return nil, errors.New(kernel.Quote(err.Error()))
	}
	compiled, err := c.Compile(here)
	if err != nil {
		return nil, errors.New(kernel.Quote(err.Error()))
	}
	return &Schema{compiled: compiled}, nil
}

// noLoader keeps a schema from reading files, which is the library's default,
// should a reference get past schemaSize.
type noLoader struct{}

func (noLoader) Load(string) (any, error) {
	return nil, errors.New("a schema must be complete in itself")
}

// Validate returns what of a value breaks the schema, in one line.
func (s *Schema) Validate(v kernel.Value) error {
	if err := checkNumbers(v); err != nil {
		return err
	}
	if err := s.compiled.Validate(v); err != nil {
		return violations(err)
	}
	return nil
}

// violations words a validator's error in one line.
func violations(err error) error {
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	lines := strings.Split(invalid.Error(), "\n")
	if len(lines) > 1 {
		lines = lines[1:] // the first names the schema
	}
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimSpace(line), "- ")
	}
	return errors.New(strings.Join(lines, "; "))
}

// schemaSize counts the values that a schema has once its references are
// written out: a few lines of nested references can otherwise take for ever.
type schemaSize struct {
	root    map[string]any
	targets map[string]int // by reference; 0 while it is being counted
}

func (s *schemaSize) of(v any) (int, error) {
	total := 1
	for name, part := range parts(v) {
		n, err := s.of(part)
		if err != nil {
			return 0, err
		}
		referred, err := s.referred(name, part)
		if err != nil {
			return 0, err
		}
		if total += n + referred; total > maxSchemaNodes {
			return 0, fmt.Errorf("it has more than %d values, references written out", maxSchemaNodes)
		}
	}
	return total, checkNumber(v)
}

// referred returns the size of what a member points to, if it is a reference.
// Whatever else changes what a reference means is refused; an $anchor names a place that no
// reference here can lead to.
func (s *schemaSize) referred(name string, member any) (int, error) {
	if _, isProperty := member.(map[string]any); isProperty {
		return 0, nil
	}
	switch name {
	case "$id", "$dynamicAnchor", "$dynamicRef", "$recursiveRef", "$recursiveAnchor":
		return 0, fmt.Errorf("%s is not supported; use $ref with #/$defs/name", name)
	case "$schema":
		if member != "https://json-schema.org/draft/2020-12/schema" && member != "http://json-schema.org/draft-07/schema#" {
			return 0, fmt.Errorf("$schema must be draft 2020-12, which is the default, or draft-07")
		}
	case "$ref":
		ref, _ := member.(string)
		return s.target(ref)
	}
	return 0, nil
}

func (s *schemaSize) target(ref string) (int, error) {
	if n, seen := s.targets[ref]; seen && n == 0 {
		return 0, fmt.Errorf("$ref %q leads back to itself; recursive schemas are not supported", kernel.Quote(ref))
	} else if seen {
		return n, nil
	}
	target, ok := lookup(s.root, ref)
	if !ok {
		return 0, fmt.Errorf("$ref %q names nothing; it must be #/ and a path in this schema", kernel.Quote(ref))
	}
	s.targets[ref] = 0
	n, err := s.of(target)
	s.targets[ref] = n
	return n, err
}

// lookup resolves a JSON pointer in a fragment.
func lookup(root any, ref string) (any, bool) {
	path, ok := strings.CutPrefix(ref, "#/")
	if !ok || strings.Contains(path, "%") {
		return nil, false
	}
	unescape := strings.NewReplacer("~1", "/", "~0", "~")
	at := root
	for _, part := range strings.Split(path, "/") {
		object, ok := at.(map[string]any)
		if !ok {
			return nil, false
		}
		if at, ok = object[unescape.Replace(part)]; !ok {
			return nil, false
		}
	}
	return at, true
}

// checkNumbers refuses numbers whose arithmetic is expensive: the validator
// computes with exact fractions, and 1e999999999 has a billion digits.
func checkNumbers(v any) error {
	for _, part := range parts(v) {
		if err := checkNumbers(part); err != nil {
			return err
		}
	}
	return checkNumber(v)
}

func checkNumber(v any) error {
	number, _ := v.(json.Number)
	_, exponent, _ := strings.Cut(strings.ToLower(string(number)), "e")
	n, err := strconv.Atoi("0" + strings.TrimLeft(exponent, "+-"))
	if err != nil || n > maxNumberLength || len(number) > maxNumberLength {
		return fmt.Errorf("the number %s is too long", kernel.Quote(string(number)))
	}
	return nil
}

// parts returns the members of an object, or the items of an array without a name.
func parts(v any) iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		switch v := v.(type) {
		case map[string]any:
			for name, member := range v {
				if !yield(name, member) {
					return
				}
			}
		case []any:
			for _, item := range v {
				if !yield("", item) {
					return
				}
			}
		}
	}
}
