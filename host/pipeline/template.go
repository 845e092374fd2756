package pipeline

import (
	"regexp"
	"strings"

	"github.com/hexdag/hexdag/host/expr"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/source"
)

// Template is text with {{ path }} in it, filled in while the pipeline runs.
// Whatever is not of that form is left as it is.
type Template struct {
	source   string
	literals []string // one more than refs
	refs     []Reference
}

// ParseTemplate reads a template that no file holds.
func ParseTemplate(text string) *Template { return parseTemplate(text, nil) }

// Source returns the template's text.
func (t *Template) Source() string { return t.source }

var placeholder = regexp.MustCompile(`\{\{\s*(\$?[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*)\s*\}\}`)

// isTemplate reports whether hexDAG takes a text for a template.
func isTemplate(text string) bool {
	return strings.Contains(text, "{{") && strings.Contains(text, "}}")
}

func parseTemplate(text string, at *source.Value) *Template {
	t := &Template{source: text}
	last := 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(text, -1) {
		t.literals = append(t.literals, text[last:m[0]])
		t.refs = append(t.refs, Reference{Path: parsePath(text[m[2]:m[3]]), At: at, Template: true})
		last = m[1]
	}
	t.literals = append(t.literals, text[last:])
	return t
}

// Render fills the template in. A name or a path that is not there is an error.
func (t *Template) Render(s *Scope) (string, error) {
	if len(t.refs) == 0 {
		return t.literals[0], nil
	}
	var b strings.Builder
	for i, ref := range t.refs {
		b.WriteString(t.literals[i])
		v, err := ref.value(s)
		if err != nil {
			return "", err
		}
		b.WriteString(expr.Str(v))
	}
	b.WriteString(t.literals[len(t.refs)])
	return b.String(), nil
}

func (r Reference) value(s *Scope) (kernel.Value, error) {
	v, known := s.Lookup(r.Path[0])
	if known {
		var missing bool
		if v, missing = follow(v, r.Path[1:]); !missing {
			return v, nil
		}
	}
	e := &kernel.Error{Code: kernel.CodeInput, What: "the template names " + kernel.Quote(r.text()) + ", which is not there", Why: "in reach are " + s.quotedNames(), Fix: "correct the name, or pass it in the input"}
	if r.At != nil {
		e.Where = r.At.Where()
	}
	return nil, e
}

// only returns the one reference that a template consists of, if it does.
func (t *Template) only() (Reference, bool) {
	if len(t.refs) == 1 && strings.TrimSpace(t.literals[0]+t.literals[1]) == "" {
		return t.refs[0], true
	}
	return Reference{}, false
}

func (t *Template) visit(f func(Reference)) {
	if t == nil {
		return
	}
	for _, ref := range t.refs {
		f(ref)
	}
}

// Filled is a value whose strings are templates.
type Filled struct {
	literal  kernel.Value
	template *Template
	list     []*Filled
	members  map[string]*Filled
}

func fill(v *source.Value) *Filled {
	if v == nil {
		return nil
	}
	switch t := v.V.(type) {
	case string:
		return &Filled{template: parseTemplate(t, v)}
	case []*source.Value:
		f := &Filled{list: make([]*Filled, len(t))}
		for i, item := range t {
			f.list[i] = fill(item)
		}
		return f
	case *source.Mapping:
		f := &Filled{members: make(map[string]*Filled, len(t.Members))}
		for name, item := range t.Members {
			f.members[name] = fill(item)
		}
		return f
	}
	return &Filled{literal: v.V}
}

// Render fills the templates in; nil renders to null.
func (f *Filled) Render(s *Scope) (kernel.Value, error) {
	switch {
	case f == nil:
		return nil, nil
	case f.template != nil:
		return f.template.Render(s)
	case f.list != nil:
		list := make([]any, len(f.list))
		for i, item := range f.list {
			v, err := item.Render(s)
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	case f.members != nil:
		members := make(map[string]any, len(f.members))
		for name, item := range f.members {
			v, err := item.Render(s)
			if err != nil {
				return nil, err
			}
			members[name] = v
		}
		return members, nil
	}
	return f.literal, nil
}

func (f *Filled) visit(visit func(Reference)) {
	if f == nil {
		return
	}
	f.template.visit(visit)
	for _, item := range f.list {
		item.visit(visit)
	}
	for _, item := range f.members {
		item.visit(visit)
	}
}
