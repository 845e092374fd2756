package pipeline

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// Scope is what a reference can name while a node is prepared.
type Scope struct {
	Input   kernel.Value            // of the run
	Results map[string]kernel.Value // of the finished nodes
	Base    kernel.Value            // what the node is given: its fields are in reach by their names
}

// reference is a dotted path: $input.a.b, node.a.b, or a field of what the node is given.
type reference struct {
	text string
	path []string
}

var referencePattern = regexp.MustCompile(`^\$?[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*$`)

func parseReference(text string) (reference, bool) {
	if !referencePattern.MatchString(text) {
		return reference{}, false
	}
	return reference{text: text, path: strings.Split(text, ".")}, true
}

// node returns the node that the reference may name: its first segment.
func (r reference) node() string { return r.path[0] }

// resolve follows the reference. known is false where its first segment names
// nothing at all; a deeper segment that is missing is null.
func (r reference) resolve(s *Scope) (v kernel.Value, known bool) {
	head := r.path[0]
	if head == "$input" || head == "input" {
		v = s.Input
	} else if field, ok := fieldOf(s.Base, head); ok {
		v = field
	} else if result, ok := s.Results[head]; ok {
		v = result
	} else {
		return nil, false
	}
	for _, segment := range r.path[1:] {
		v, _ = fieldOf(v, segment)
	}
	return v, true
}

func fieldOf(v kernel.Value, name string) (kernel.Value, bool) {
	switch v := v.(type) {
	case map[string]any:
		field, ok := v[name]
		return field, ok
	case []any:
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(v) {
			return v[i], true
		}
	}
	return nil, false
}

// Template is text with {{ reference }} in it.
type Template struct {
	literals []string // one more than references
	refs     []reference
}

var placeholder = regexp.MustCompile(`\{\{\s*(\$?[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*)\s*\}\}`)

func parseTemplate(text string) *Template {
	t := &Template{}
	last := 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(text, -1) {
		ref, _ := parseReference(text[m[2]:m[3]])
		t.literals = append(t.literals, text[last:m[0]])
		t.refs = append(t.refs, ref)
		last = m[1]
	}
	t.literals = append(t.literals, text[last:])
	return t
}

// Render fills the template in. A name that is not there is an error.
func (t *Template) Render(s *Scope) (string, error) {
	var b strings.Builder
	for i, ref := range t.refs {
		b.WriteString(t.literals[i])
		v, known := ref.resolve(s)
		if !known {
			return "", &kernel.Error{Code: kernel.CodeInput, What: "the template names " + kernel.Quote(ref.text) + ", which is not there", Why: "in reach are " + s.names(), Fix: "correct the name, or pass it in the input"}
		}
		b.WriteString(Text(v))
	}
	b.WriteString(t.literals[len(t.refs)])
	return b.String(), nil
}

// names lists what a scope offers, for an error.
func (s *Scope) names() string {
	names := []string{"$input"}
	for name := range s.Results {
		names = append(names, name)
	}
	if fields, ok := s.Base.(map[string]any); ok {
		for name := range fields {
			names = append(names, kernel.Quote(name))
		}
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// Text returns a value as hexDAG's templates show it: as Python's str does.
func Text(v kernel.Value) string {
	if s, ok := v.(string); ok {
		return s
	}
	return repr(v)
}

func repr(v kernel.Value) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case string:
		return pythonQuote(v)
	case json.Number:
		return v.String()
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = repr(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case map[string]any:
		items := make([]string, 0, len(v))
		for name, item := range v {
			items = append(items, pythonQuote(name)+": "+repr(item))
		}
		slices.Sort(items)
		return "{" + strings.Join(items, ", ") + "}"
	}
	return fmt.Sprint(v)
}

func pythonQuote(s string) string {
	quote := `'`
	if strings.Contains(s, `'`) && !strings.Contains(s, `"`) {
		quote = `"`
	}
	return quote + strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`, quote, `\`+quote).Replace(s) + quote
}

// mapped is one value of an input_mapping: a reference, a literal, or a mapping
// or list of them.
type mapped struct {
	at       *value
	ref      *reference
	required bool             // | required
	fallback *json.RawMessage // | default(...), as JSON
	literal  kernel.Value
	list     []*mapped
	members  map[string]*mapped
}

var modifier = regexp.MustCompile(`^(.*?)\s*\|\s*(required|default\((.*)\))\s*$`)

func (p *problems) parseMapped(v *value) *mapped {
	m := &mapped{at: v}
	switch t := v.v.(type) {
	case string:
		p.parseMappedText(m, t)
	case []*value:
		m.list = make([]*mapped, len(t))
		for i, item := range t {
			m.list[i] = p.parseMapped(item)
		}
	case *mapping:
		m.members = make(map[string]*mapped, len(t.members))
		for name, item := range t.members {
			m.members[name] = p.parseMapped(item)
		}
	default:
		m.literal = t
	}
	return m
}

func (p *problems) parseMappedText(m *mapped, text string) {
	if found := modifier.FindStringSubmatch(text); found != nil {
		text = found[1]
		if found[2] == "required" {
			m.required = true
		} else {
			m.fallback = defaultValue(found[3])
		}
	}
	text = strings.TrimSpace(text)
	if literal, ok := quoted(text); ok {
		m.literal = literal
		return
	}
	ref, ok := parseReference(text)
	if !ok {
		p.add(m.at.errorf(kernel.CodeNotYet, "use a path such as $input.a or node.a.b, or a quoted string; README lists under 'Not yet' what is still to come",
			"%s is an expression, and expressions are not built yet", kernel.Quote(text)))
		return
	}
	m.ref = &ref
}

// quoted reads 'text' or "text" without escapes.
func quoted(text string) (string, bool) {
	if len(text) < 2 || text[0] != text[len(text)-1] || text[0] != '\'' && text[0] != '"' {
		return "", false
	}
	inner := text[1 : len(text)-1]
	return inner, !strings.ContainsAny(inner, `\`+text[:1])
}

// defaultValue reads the argument of default(): None, True, False, a number, a
// quoted string or a bare word.
func defaultValue(text string) *json.RawMessage {
	text = strings.TrimSpace(text)
	raw := json.RawMessage(text)
	switch text {
	case "None", "null", "":
		raw = json.RawMessage("null")
	case "True", "true":
		raw = json.RawMessage("true")
	case "False", "false":
		raw = json.RawMessage("false")
	default:
		if v, err := kernel.DecodeJSON(raw); err == nil {
			if _, number := v.(json.Number); number {
				break
			}
		}
		if inner, ok := quoted(text); ok {
			text = inner
		}
		raw, _ = json.Marshal(text)
	}
	return &raw
}

// value resolves a mapping in a scope.
func (m *mapped) value(s *Scope) (kernel.Value, error) {
	switch {
	case m.list != nil:
		list := make([]any, len(m.list))
		for i, item := range m.list {
			v, err := item.value(s)
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	case m.members != nil:
		members := make(map[string]any, len(m.members))
		for name, item := range m.members {
			v, err := item.value(s)
			if err != nil {
				return nil, err
			}
			members[name] = v
		}
		return members, nil
	case m.ref == nil:
		return m.literal, nil
	}
	return m.follow(s)
}

func (m *mapped) follow(s *Scope) (kernel.Value, error) {
	v, known := m.ref.resolve(s)
	if !known && len(m.ref.path) > 1 {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "path " + kernel.Quote(m.ref.text) + " does not exist", Where: m.at.where(), Why: "in reach are " + s.names(), Fix: "correct the mapping"}
	}
	if v == nil && m.fallback != nil {
		return kernel.DecodeJSON(*m.fallback)
	}
	if v == nil && m.required {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: kernel.Quote(m.ref.text) + " is required and missing", Where: m.at.where(), Fix: "pass it, or give it a default"}
	}
	return v, nil
}

// references calls f with every reference of the mapping.
func (m *mapped) references(f func(reference)) {
	if m.ref != nil {
		f(*m.ref)
	}
	for _, item := range m.list {
		item.references(f)
	}
	for _, item := range m.members {
		item.references(f)
	}
}
