// Package template renders the build-time templates of a pipeline's file and of
// macros: a bounded part of Jinja2, over hexDAG's expressions.
//
//	{{ expression }}                       its value, as Python's str shows it
//	{% if a %} {% elif b %} {% else %} {% endif %}
//	{% for x in xs %} {% else %} {% endfor %}   also {% for k, v in m.items() %}; in it
//	    loop.index, loop.index0, loop.first, loop.last, loop.length
//	{% set x = expression %}               until the end of the for that it is in
//	{% raw %} {% endraw %}                 text as it is
//	{# comment #}
//	{{- -}} {%- -%} {#- -#}                without the white space beside it
//
// In an expression, a value can be piped through filters, x | upper | default('a'),
// and tested: x is defined, is not none, is string, number, boolean, mapping,
// sequence. Both bind tighter than any operator. The filters are
//
//	default(value='', boolean=False), d    the value, if there is none; with True also if it is empty
//	upper lower capitalize trim(chars=None) replace(old, new, count=-1) indent(width=4) string
//	join(d='') first last sort(reverse=False) reverse list items length count
//	int(default=0) float(default=0.0) abs round(precision=0) sum(start=0) min max
//	tojson
//
// A template reads its scope and nothing else: there are no includes, no files and
// no attributes but the members of JSON data. What it may cost is limited.
package template

import (
	"strings"

	"github.com/hexdag/hexdag/host/expr"
)

// Template is a parsed template. Several goroutines may render it at once.
type Template struct {
	text   string
	body   []node
	static bool
}

// Parse reads a template. What is wrong with it is a *kernel.Error, CodePipeline
// or CodeLimit, that says line and column.
func Parse(text string) (*Template, error) {
	if len(text) > maxSource {
		return nil, beyond("the template has %s bytes", len(text), maxSource, "move parts of it into data")
	}
	t := &Template{text: text, static: !hasTag(text)}
	if t.static {
		return t, nil
	}
	p := &parser{source: text}
	var err error
	if t.body, err = p.parse(); err != nil {
		return nil, err
	}
	return t, nil
}

func hasTag(text string) bool {
	return strings.Contains(text, "{{") || strings.Contains(text, "{%") || strings.Contains(text, "{#")
}

// IsStatic reports that there are no tags: the template renders as it is written.
func (t *Template) IsStatic() bool { return t.static }

// Render fills the template in. A name or a member that is not there is an error,
// CodePipeline, that says line and column, as is an expression that fails; CodeLimit
// is the error of what is too large or takes too long. true, false and none are
// known beside the scope's names.
func (t *Template) Render(s expr.Scope) (string, error) {
	return t.render(s, standard)
}

func (t *Template) render(s expr.Scope, l limits) (string, error) {
	if t.static {
		return t.text, nil
	}
	r := newRendering(t.text, s, l)
	if err := r.nodes(t.body); err != nil {
		return "", err
	}
	return r.out.String(), nil
}
