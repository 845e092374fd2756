package expr

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
)

// fields is one call of str.format.
type fields struct {
	m        *machine
	args     []value
	names    []string
	next     int  // of the arguments that {} takes in turn
	numbered bool // whether {0} was used
}

func badField(why string) *fault {
	return wrong("format: "+why, "write {}, {0}, {name}, {name.member}, {name[0]} or {name:>10}; a brace itself is {{ or }}")
}

// formatFields is str.format. A field reaches the arguments' JSON members and items,
// and nothing else of them.
func (m *machine) formatFields(text string, args []value, names []string) (value, *fault) {
	s := &fields{m: m, args: args, names: names}
	out, f := s.fill(text, 0)
	return textValue(out), f
}

func (s *fields) fill(text string, depth int) (string, *fault) {
	var out []byte
	for text != "" {
		i := strings.IndexAny(text, "{}")
		if i < 0 {
			i = len(text)
		}
		piece := text[:i]
		text = text[i:]
		switch {
		case text == "":
		case strings.HasPrefix(text, "{{"), strings.HasPrefix(text, "}}"):
			piece, text = piece+text[:1], text[2:]
		case text[0] == '}':
			return "", badField("a } stands alone")
		default:
			field, rest, ok := cutField(text[1:])
			if !ok {
				return "", badField("a { is never closed")
			}
			shown, f := s.field(field, depth)
			if f != nil {
				return "", f
			}
			piece, text = piece+shown, rest
		}
		if f := s.m.spend(2 + len(piece)/writeBytes); f != nil {
			return "", f
		}
		out = append(out, piece...)
		if len(out) > s.m.textLimit {
			return "", tooLong(len(out))
		}
	}
	return string(out), nil
}

// cutField returns what is before the } that closes a field, and what is after it.
func cutField(text string) (field, rest string, ok bool) {
	open := 1
	for i := range len(text) {
		switch text[i] {
		case '{':
			open++
		case '}':
			if open--; open == 0 {
				return text[:i], text[i+1:], true
			}
		}
	}
	return "", "", false
}

func (s *fields) field(field string, depth int) (string, *fault) {
	const deepest = 1 // a field within a format, and no deeper
	if depth > deepest {
		return "", badField("fields nest too deep")
	}
	if f := s.m.scan(len(field)); f != nil {
		return "", f
	}
	end := strings.IndexAny(field, "!:")
	if open := strings.IndexByte(field, '['); open >= 0 && open < end {
		if closed := strings.IndexByte(field, ']'); closed > end { // {d[a:b]}
			if end = strings.IndexAny(field[closed:], "!:"); end >= 0 {
				end += closed
			}
		}
	}
	if end < 0 {
		end = len(field)
	}
	v, f := s.resolve(field[:end])
	if f != nil {
		return "", f
	}
	rest := field[end:]
	if strings.HasPrefix(rest, "!") {
		if len(rest) < 2 || len(rest) > 2 && rest[2] != ':' {
			return "", badField("a conversion is !r, !s or !a")
		}
		if v, f = s.convert(v, rest[1]); f != nil {
			return "", f
		}
		rest = rest[2:]
	}
	spec, f := s.fill(strings.TrimPrefix(rest, ":"), depth+1)
	if f != nil {
		return "", f
	}
	return s.m.format(v, spec)
}

func (s *fields) convert(v value, to byte) (value, *fault) {
	var text string
	var f *fault
	switch to {
	case 's':
		text, f = s.m.str(v)
	case 'r':
		text, f = s.m.repr(v)
	case 'a':
		if text, f = s.m.repr(v); f == nil {
			text, f = s.m.ascii(text)
		}
	default:
		return null, badField("a conversion is !r, !s or !a")
	}
	return textValue(text), f
}

// resolve follows a field's name: an argument, then members and indexes.
func (s *fields) resolve(path string) (value, *fault) {
	end := strings.IndexAny(path, ".[")
	if end < 0 {
		end = len(path)
	}
	v, f := s.argument(path[:end])
	rest := path[end:]
	for f == nil && rest != "" {
		var key value
		if key, rest, f = cutKey(rest); f != nil {
			break
		}
		var found bool
		if v, found, f = s.inside(v, key); f == nil && !found {
			f = badField("there is no " + kernel.Quote(path))
		}
	}
	return v, f
}

// cutKey reads .name or [key] at the beginning of a path.
func cutKey(path string) (key value, rest string, f *fault) {
	text := path[1:]
	if path[0] == '[' {
		closed := strings.IndexByte(text, ']')
		if closed < 1 {
			return null, "", badField("a [ is never closed, or empty")
		}
		text, rest = text[:closed], text[closed+1:]
		if rest != "" && rest[0] != '.' && rest[0] != '[' {
			return null, "", badField("only . or [ follows a ]")
		}
	} else {
		end := strings.IndexAny(text, ".[")
		if end < 0 {
			end = len(text)
		}
		text, rest = text[:end], text[end:]
	}
	if text == "" {
		return null, "", badField("a name is empty")
	}
	if n, ok := index(text); ok {
		return intValue(int64(n)), rest, nil
	}
	return textValue(text), rest, nil
}

// inside is the member or the item of v; an object's members are text, also where
// they look like a number.
func (s *fields) inside(v, key value) (value, bool, *fault) {
	switch v.kind {
	case kindDict:
		found, ok, f := s.m.find(v, key)
		if !ok && f == nil && key.kind == kindInt {
			return s.m.find(v, textValue(strconv.FormatInt(key.n, 10)))
		}
		return found, ok, f
	case kindList, kindTuple, kindRange:
		if key.kind == kindInt && key.n < int64(count(v)) {
			return item(v, int(key.n)), true, nil
		}
	}
	return null, false, nil
}

func (s *fields) argument(name string) (value, *fault) {
	positional := len(s.args) - len(s.names)
	n, isNumber := index(name)
	switch {
	case name == "" && s.numbered, isNumber && s.next > 0:
		return null, badField("{} and {0} cannot be mixed")
	case name == "":
		n = s.next
		s.next++
	case isNumber:
		s.numbered = true
	default:
		for i, known := range s.names {
			if known == name {
				return s.args[positional+i], nil
			}
		}
		return null, badField("there is no argument " + quoted(name))
	}
	if n >= positional {
		return null, badField("there is no argument " + grouped(n) + ": " + grouped(positional) + " are given")
	}
	return s.args[n], nil
}

// ascii escapes what is not ASCII in a text that repr made.
func (m *machine) ascii(text string) (string, *fault) {
	if isASCII(text) {
		return text, nil
	}
	if f := m.write(4 * len(text)); f != nil {
		return "", f
	}
	var out []byte
	for _, r := range text {
		if r < utf8.RuneSelf {
			out = append(out, byte(r))
		} else {
			out = appendEscaped(out, r)
		}
	}
	return string(out), nil
}
