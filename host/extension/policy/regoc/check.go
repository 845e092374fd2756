package regoc

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/hexdag/hexdag/host/kernel"
)

// Check compiles a source with its tests, and refuses what OPA's strict mode does:
// unused variables and imports among them. The error joins all that is wrong.
func Check(source Source) error {
	files, err := load(source.Dirs)
	if err != nil {
		return err
	}
	modules, err := files.parse(func(string) bool { return true })
	if err != nil {
		return err
	}
	_, err = check(modules, files.data, true)
	return err
}

// Formatted is a file as opa fmt has it.
type Formatted struct {
	File string
	Text []byte
	// Changed says that the file is not so.
	Changed bool
}

// Format formats the Rego files of a source; Write of each has it stay.
func Format(source Source) ([]Formatted, error) {
	files, err := load(source.Dirs)
	if err != nil {
		return nil, err
	}
	var all []Formatted
	for _, one := range files.rego {
		if strings.HasPrefix(one.name, stockPrefix) {
			continue
		}
		text, err := format.Source(one.name, one.text)
		if err != nil {
			return nil, buildError(err)
		}
		all = append(all, Formatted{File: one.name, Text: text, Changed: !bytes.Equal(text, one.text)})
	}
	return all, nil
}

// Write writes the formatted text over the file, whole or not at all.
func (f *Formatted) Write() error { return WriteFile(f.File, f.Text) }

// Residue returns what is left of a rule, as hexdag/rbac/allow, once all is known
// of the input but the action and the resource: conditions on these, of which each
// is enough. None at all means that the rule never applies.
func Residue(ctx context.Context, source Source, rule string, input kernel.Value) ([]string, error) {
	r, _, err := evaluator(source, dataRef(rule)+"[_]", rego.Input(input), rego.Unknowns([]string{"input.action", "input.resource"}))
	if err != nil {
		return nil, err
	}
	left, err := r.Partial(ctx)
	if err != nil {
		return nil, buildError(err)
	}
	var all []string
	for _, q := range left.Queries {
		all = append(all, residual(q))
	}
	for _, m := range left.Support {
		all = append(all, fmt.Sprintf("where %s", m))
	}
	return all, nil
}

// residual writes the conditions of a body, each once, and not what it only names.
func residual(body ast.Body) string {
	var conditions []string
	for _, e := range body {
		text := e.String()
		if strings.HasPrefix(text, "_ = ") || slices.Contains(conditions, text) {
			continue
		}
		conditions = append(conditions, text)
	}
	if len(conditions) == 0 {
		return "true"
	}
	return strings.Join(conditions, "; ")
}
