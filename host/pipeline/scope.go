package pipeline

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/expr"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// Results are the results of finished nodes.
type Results interface {
	Result(node string) (kernel.Value, bool)
}

// ResultMap is Results in a map.
type ResultMap map[string]kernel.Value

// Result returns a node's result.
func (m ResultMap) Result(node string) (kernel.Value, bool) {
	v, ok := m[node]
	return v, ok
}

// Scope is what the templates and expressions of a node can name: the fields of
// what it is given, then the results of nodes, the run's input as $input or input,
// and ctx.
type Scope struct {
	Given   kernel.Value
	Input   kernel.Value
	Results Results // nil: none
	Context func() kernel.Value
	Clock   func() time.Time // nil: the system's
}

var _ expr.Scope = (*Scope)(nil)

// whole is the name of what a node is given where that is no object.
const whole = "_input"

// Lookup implements expr.Scope.
func (s *Scope) Lookup(name string) (kernel.Value, bool) {
	fields, isObject := s.Given.(map[string]any)
	if v, ok := fields[name]; ok {
		return v, true
	}
	if s.Results != nil {
		if v, ok := s.Results.Result(name); ok {
			return v, true
		}
	}
	switch name {
	case "$input", "input":
		return s.Input, true
	case "ctx":
		if s.Context != nil {
			return s.Context(), true
		}
	case whole:
		if !isObject {
			return s.Given, true
		}
	}
	return nil, false
}

// Names implements expr.Scope: what an error says is in reach.
func (s *Scope) Names() []string {
	names := []string{"$input", "ctx"}
	if fields, ok := s.Given.(map[string]any); ok {
		for name := range fields {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Now lets a run decide what time it is.
func (s *Scope) Now() time.Time {
	if s.Clock != nil {
		return s.Clock()
	}
	return time.Now()
}

func (s *Scope) quotedNames() string {
	names := s.Names()
	for i, name := range names {
		names[i] = kernel.Quote(name)
	}
	return strings.Join(names, ", ")
}

// Text returns a value as templates show it: as Python's str does.
func Text(v kernel.Value) string { return expr.Str(v) }

// Reference is a dotted path: $input.a.b, node.a.b, or a field of what the node
// is given; At is where it stands.
type Reference struct {
	Path []string
	At   *source.Value
	// Template marks one in a template rather than in an expression.
	Template bool
}

func (r Reference) text() string { return strings.Join(r.Path, ".") }

var pathPattern = regexp.MustCompile(`^\$?[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*$`)

// parsePath reads a dotted path; nil if text is none.
func parsePath(text string) []string {
	if !pathPattern.MatchString(text) {
		return nil
	}
	return strings.Split(text, ".")
}

// follow walks from a value; missing reports whether a segment is not there.
func follow(v kernel.Value, path []string) (found kernel.Value, missing bool) {
	for _, segment := range path {
		var ok bool
		if v, ok = kernel.Field(v, segment); !ok {
			return nil, true
		}
	}
	return v, false
}
