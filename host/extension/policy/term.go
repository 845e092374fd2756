package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
)

// A term is a Rego value: what a kernel.Value may be, but that objects are of the
// type object, for their keys may be any term, and that there are sets.
type (
	set    []any // sorted, without equals
	object []member
	member struct{ key, value any }
)

// parseTerm reads a value as opa_value_dump writes it: JSON, and sets.
func parseTerm(text string) (any, error) {
	p := &termParser{text: text}
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if p.space(); p.at < len(p.text) {
		return nil, p.errorf("something follows the value")
	}
	return v, nil
}

type termParser struct {
	text string
	at   int
}

func (p *termParser) errorf(format string, args ...any) error {
	return fmt.Errorf("value of Rego, byte %d: %s", p.at, fmt.Sprintf(format, args...))
}

func (p *termParser) space() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// take skips white space, and then word if it is next.
func (p *termParser) take(word string) bool {
	p.space()
	if !strings.HasPrefix(p.text[p.at:], word) {
		return false
	}
	p.at += len(word)
	return true
}

func (p *termParser) value(depth int) (any, error) {
	if depth > kernel.MaxDepth {
		return nil, p.errorf("nests deeper than %d", kernel.MaxDepth)
	}
	p.space()
	if p.at == len(p.text) {
		return nil, p.errorf("a value is due")
	}
	switch p.text[p.at] {
	case '"':
		return p.string()
	case '{':
		p.at++
		return p.braces(depth)
	case '[':
		p.at++
		return p.array(depth)
	case 'n':
		return nil, p.word("null")
	case 't':
		return true, p.word("true")
	case 'f':
		return false, p.word("false")
	case 's':
		return set{}, p.word("set()")
	}
	return p.number()
}

func (p *termParser) word(word string) error {
	if !p.take(word) {
		return p.errorf("a value is due")
	}
	return nil
}

func (p *termParser) array(depth int) (any, error) {
	items := []any{}
	if p.take("]") {
		return items, nil
	}
	for {
		item, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
		if p.take("]") {
			return items, nil
		}
		if !p.take(",") {
			return nil, p.errorf("a comma or ] is due")
		}
	}
}

// braces reads an object or a set: the first colon decides.
func (p *termParser) braces(depth int) (any, error) {
	if p.take("}") {
		return object{}, nil
	}
	var members object
	var items set
	for {
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if p.take(":") {
			m := member{key: v}
			if m.value, err = p.value(depth + 1); err != nil {
				return nil, err
			}
			members = append(members, m)
		} else {
			items = append(items, v)
		}
		if p.take("}") {
			break
		}
		if !p.take(",") {
			return nil, p.errorf("a comma or } is due")
		}
	}
	switch {
	case items == nil:
		slices.SortFunc(members, func(a, b member) int { return compareTerms(a.key, b.key) })
		return members, nil
	case members == nil:
		return newSet(items), nil
	}
	return nil, p.errorf("both members and elements between braces")
}

func newSet(items []any) set {
	slices.SortFunc(items, compareTerms)
	return slices.CompactFunc(items, func(a, b any) bool { return compareTerms(a, b) == 0 })
}

func (p *termParser) string() (any, error) {
	start := p.at
	plain := true // nothing to unescape, or to refuse
	for p.at++; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case c == '\\':
			p.at++
			plain = false
		case c < ' ' || c >= utf8.RuneSelf:
			plain = false
		case c == '"':
			p.at++
			if plain {
				return p.text[start+1 : p.at-1], nil
			}
			var s string
			if err := json.Unmarshal([]byte(p.text[start:p.at]), &s); err != nil {
				return nil, p.errorf("%v", err)
			}
			return s, nil
		}
	}
	return nil, p.errorf("a string has no end")
}

func (p *termParser) number() (any, error) {
	end := p.at
	for end < len(p.text) && strings.IndexByte("+-.0123456789eE", p.text[end]) >= 0 {
		end++
	}
	text := p.text[p.at:end]
	if digits, negative := strings.CutPrefix(text, "-"); strings.HasPrefix(digits, ".") { // a literal .5 stays as it was written
		text = "0" + digits
		if negative {
			text = "-" + text
		}
	}
	var n json.Number
	if text == "" || json.Unmarshal([]byte(text), &n) != nil {
		return nil, p.errorf("a value is due")
	}
	p.at = end
	return n, nil
}

// toValue turns a term into JSON's types: a set becomes a sorted array, and a key
// that is no string becomes its JSON text, as in OPA.
func toValue(v any) kernel.Value {
	switch v := v.(type) {
	case []any:
		return toValues(v)
	case set:
		return toValues(v)
	case object:
		members := make(map[string]any, len(v))
		for _, m := range v {
			name, ok := m.key.(string)
			if !ok {
				text, _ := kernel.EncodeJSON(toValue(m.key)) // JSON's types cannot fail
				name = string(text)
			}
			members[name] = toValue(m.value)
		}
		return members
	}
	return v
}

func toValues(items []any) []any {
	values := make([]any, len(items))
	for i, item := range items {
		values[i] = toValue(item)
	}
	return values
}

// appendTerm writes a term as Rego does, with strings as quote writes them: for
// the module that is JSON's way, within a text that sprintf makes, Go's.
func appendTerm(dst []byte, v any, quote func([]byte, string) []byte) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return fmt.Append(dst, v)
	case json.Number:
		return append(dst, v...)
	case string:
		return quote(dst, v)
	case []any:
		return append(appendItems(append(dst, '['), v, quote), ']')
	case set:
		if len(v) == 0 {
			return append(dst, "set()"...)
		}
		return append(appendItems(append(dst, '{'), v, quote), '}')
	case object:
		dst = append(dst, '{')
		for i, m := range v {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = append(appendTerm(dst, m.key, quote), ": "...)
			dst = appendTerm(dst, m.value, quote)
		}
		return append(dst, '}')
	}
	panic(fmt.Sprintf("policy: no Rego value is a %T", v))
}

func appendItems(dst []byte, items []any, quote func([]byte, string) []byte) []byte {
	for i, item := range items {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = appendTerm(dst, item, quote)
	}
	return dst
}

func appendJSONString(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, string(utf8.RuneError))
	}
	dst, _ = kernel.AppendJSON(dst, s) // a string cannot fail
	return dst
}
