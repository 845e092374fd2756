package pipeline

import (
	"errors"
	"regexp"
	"strings"

	"github.com/hexdag/hexdag/host/expr"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// mapped is one value of an input_mapping: a path, an expression or a literal, or
// a mapping or list of them.
type mapped struct {
	at          *source.Value
	path        []string
	node        bool // the path starts at a node
	program     *Expression
	required    bool // | required
	hasFallback bool // | default(...)
	fallback    kernel.Value
	literal     kernel.Value
	list        []*mapped
	names       []string
	members     map[string]*mapped
}

// Expression is a compiled expression and where it stands.
type Expression struct {
	*expr.Program
	at *source.Value
}

// expression compiles a text; nil, with a problem, if it is none.
func (r *reader) expression(at *source.Value, text string) *Expression {
	program, err := expr.Compile(text)
	if err != nil {
		r.Add(placed(err, at))
		return nil
	}
	return &Expression{program, at}
}

// placed returns err as an Error at v's place.
func placed(err error, v *source.Value) *kernel.Error {
	var e *kernel.Error
	errors.As(kernel.At(err, v.Where()), &e) // At makes one of any error
	return e
}

// addAll adds each of the errors that err joins, at v's place.
func (r *reader) addAll(err error, v *source.Value) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			r.addAll(e, v)
		}
		return
	}
	r.Add(placed(err, v))
}

func (e *Expression) visit(f func(Reference)) {
	if e == nil {
		return
	}
	for _, ref := range e.References() {
		f(Reference{Path: ref.Path, At: e.at})
	}
}

var modifier = regexp.MustCompile(`(?s)^(.*?)\s*\|\s*(required|default\((.*)\))\s*$`)

func (r *reader) parseMapped(v *source.Value) *mapped {
	m := &mapped{at: v}
	switch t := v.V.(type) {
	case string:
		r.parseMappedText(m, t)
	case []*source.Value:
		m.list = make([]*mapped, len(t))
		for i, item := range t {
			m.list[i] = r.parseMapped(item)
		}
	case *source.Mapping:
		m.names = t.Names
		m.members = make(map[string]*mapped, len(t.Members))
		for name, item := range t.Members {
			m.members[name] = r.parseMapped(item)
		}
	default:
		m.literal = t
	}
	return m
}

func (r *reader) parseMappedText(m *mapped, text string) {
	if found := modifier.FindStringSubmatch(text); found != nil {
		text = found[1]
		if found[2] == "required" {
			m.required = true
		} else {
			m.hasFallback, m.fallback = true, defaultValue(found[3])
		}
	}
	text = strings.TrimSpace(text)
	if only, ok := parseTemplate(text, m.at).only(); ok {
		text = only.text() // {{ node.x }} says the same as node.x
	}
	if m.path = parsePath(text); m.path == nil {
		m.program = r.expression(m.at, text)
	}
}

// defaultValue reads the argument of default(): None, True, False, a number, a
// quoted string or a bare word.
func defaultValue(text string) kernel.Value {
	text = strings.TrimSpace(text)
	if program, err := expr.Compile(text); err == nil && len(program.References()) == 0 {
		if v, err := program.Eval(expr.Map{}); err == nil {
			return v
		}
	}
	switch text {
	case "null", "":
		return nil
	case "true", "false":
		return text == "true"
	}
	return text
}

// bind marks the paths that start at one of the graph's nodes.
func (m *mapped) bind(isNode func(string) bool) {
	if m.path != nil {
		m.node = isNode(m.path[0])
	}
	for _, item := range m.list {
		item.bind(isNode)
	}
	for _, item := range m.members {
		item.bind(isNode)
	}
}

// value resolves a mapping; warn is told of an expression that failed, which
// makes null.
func (m *mapped) value(s *Scope, warn func(string)) (kernel.Value, error) {
	switch {
	case m.list != nil:
		list := make([]any, len(m.list))
		for i, item := range m.list {
			v, err := item.value(s, warn)
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	case m.members != nil:
		members := make(map[string]any, len(m.members))
		for name, item := range m.members {
			v, err := item.value(s, warn)
			if err != nil {
				return nil, err
			}
			members[name] = v
		}
		return members, nil
	case m.path == nil && m.program == nil:
		return m.literal, nil
	}
	v, err := m.resolve(s, warn)
	if err != nil {
		return nil, err
	}
	if v == nil && m.hasFallback {
		return m.fallback, nil
	}
	if v == nil && m.required {
		text, _ := m.at.Text()
		return nil, &kernel.Error{Code: kernel.CodeInput, What: kernel.Quote(text) + ": the value is required and missing", Where: m.at.Where(), Fix: "pass it, or give it a default"}
	}
	return v, nil
}

func (m *mapped) resolve(s *Scope, warn func(string)) (kernel.Value, error) {
	if m.program != nil {
		v, err := m.program.Eval(s)
		if err != nil && warn != nil {
			warn(kernel.At(err, m.at.Where()).Error())
		}
		return v, nil
	}
	root := m.path[0]
	var v kernel.Value
	known := true
	switch {
	case m.node:
		v, known = s.Results.Result(root)
	case root == "$input":
		v = s.Input
	default:
		v, known = s.Lookup(root)
	}
	if !known && len(m.path) > 1 {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "path " + kernel.Quote(strings.Join(m.path, ".")) + " does not exist", Where: m.at.Where(), Why: "in reach are " + s.quotedNames(), Fix: "correct the mapping"}
	}
	v, _ = follow(v, m.path[1:])
	return v, nil
}

// visit calls f with every reference of the mapping.
func (m *mapped) visit(f func(Reference)) {
	if m == nil {
		return
	}
	if m.path != nil {
		f(Reference{Path: m.path, At: m.at})
	}
	m.program.visit(f)
	for _, item := range m.list {
		item.visit(f)
	}
	for _, item := range m.members {
		item.visit(f)
	}
}
