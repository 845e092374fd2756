package agent

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
)

// literals reads values as models write them between the words of a call: JSON,
// and Python's literals for the same.
type literals struct {
	text string
	at   int
}

func (l *literals) errorf(format string, args ...any) error {
	return fmt.Errorf("the call cannot be read at byte %d: %s", l.at, fmt.Sprintf(format, args...))
}

func (l *literals) rest() string { return l.text[l.at:] }

// peek returns the next byte, or 0 at the end.
func (l *literals) peek() byte {
	if l.at < len(l.text) {
		return l.text[l.at]
	}
	return 0
}

func (l *literals) space() {
	for l.at < len(l.text) && strings.IndexByte(" \t\r\n", l.text[l.at]) >= 0 {
		l.at++
	}
}

// value reads a value of an argument: a literal, or a bare text up to the comma
// or the parenthesis that ends it.
func (l *literals) value() (kernel.Value, error) {
	l.space()
	switch l.peek() {
	case '\'', '"', '[', '{':
		return l.literal(0)
	}
	start, open := l.at, 0
	for ; l.at < len(l.text); l.at++ {
		c := l.text[l.at]
		if open == 0 && (c == ',' || c == ')') {
			break
		}
		switch c {
		case '(':
			open++
		case ')':
			open--
		}
	}
	text := strings.TrimSpace(l.text[start:l.at])
	if text == "" {
		l.at = start
		return nil, l.errorf("a value is due")
	}
	if v, known := scalar(text); known {
		return v, nil
	}
	return text, nil
}

// scalar reads a number or one of the words that JSON and Python have.
func scalar(text string) (kernel.Value, bool) {
	switch text {
	case "null", "None":
		return nil, true
	case "true", "True":
		return true, true
	case "false", "False":
		return false, true
	}
	if text == "" || text[0] != '-' && (text[0] < '0' || text[0] > '9') {
		return nil, false
	}
	v, err := kernel.DecodeJSON([]byte(text))
	return v, err == nil
}

// literal reads a value inside a list or an object, where texts are quoted.
func (l *literals) literal(depth int) (kernel.Value, error) {
	l.space()
	if depth > kernel.MaxDepth {
		return nil, l.errorf("it nests deeper than %d", kernel.MaxDepth)
	}
	switch l.peek() {
	case '\'', '"':
		return l.quoted()
	case '[':
		return l.list(depth)
	case '{':
		return l.object(depth)
	}
	start := l.at
	for l.at < len(l.text) && strings.IndexByte(" \t\r\n,:()[]{}'\"", l.text[l.at]) < 0 {
		l.at++
	}
	v, known := scalar(l.text[start:l.at])
	if !known {
		l.at = start
		return nil, l.errorf("a value is due; put texts in quotes")
	}
	return v, nil
}

func (l *literals) list(depth int) (kernel.Value, error) {
	l.at++
	items := []any{}
	for {
		if l.space(); l.peek() == ']' {
			l.at++
			return items, nil
		}
		item, err := l.literal(depth + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
		if err := l.separator(']'); err != nil {
			return nil, err
		}
	}
}

func (l *literals) object(depth int) (map[string]any, error) {
	l.at++
	members := map[string]any{}
	for {
		l.space()
		switch l.peek() {
		case '}':
			l.at++
			return members, nil
		case '\'', '"':
		default:
			return nil, l.errorf("a member's name in quotes is due")
		}
		name, err := l.quoted()
		if err != nil {
			return nil, err
		}
		if _, twice := members[name]; twice {
			return nil, l.errorf("member %s occurs twice", kernel.Quote(name))
		}
		if l.space(); l.peek() != ':' {
			return nil, l.errorf("a colon is due")
		}
		l.at++
		if members[name], err = l.literal(depth + 1); err != nil {
			return nil, err
		}
		if err := l.separator('}'); err != nil {
			return nil, err
		}
	}
}

// separator skips a comma; without one, the end has to be next.
func (l *literals) separator(end byte) error {
	switch l.space(); l.peek() {
	case ',':
		l.at++
	case end:
	default:
		return l.errorf("a comma or %c is due", end)
	}
	return nil
}

// quoted reads a text in either quotes. Escapes are JSON's and Python's; a
// backslash before anything else stands for itself, and a line may break.
func (l *literals) quoted() (string, error) {
	quote := l.text[l.at]
	l.at++
	var b strings.Builder
	for l.at < len(l.text) {
		c := l.text[l.at]
		l.at++
		switch c {
		case quote:
			return b.String(), nil
		case '\\':
			if err := l.escape(&b); err != nil {
				return "", err
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", l.errorf("a text has no end")
}

var escapes = map[byte]byte{'n': '\n', 't': '\t', 'r': '\r', 'b': '\b', 'f': '\f', '\\': '\\', '/': '/', '\'': '\'', '"': '"'}

func (l *literals) escape(b *strings.Builder) error {
	if l.at == len(l.text) {
		return l.errorf("a text has no end")
	}
	c := l.text[l.at]
	l.at++
	plain, known := escapes[c]
	switch {
	case known:
		b.WriteByte(plain)
	case c == 'x' || c == 'u':
		r, err := l.codePoint(map[byte]int{'x': 2, 'u': 4}[c])
		if err != nil {
			return err
		}
		b.WriteRune(r)
	default:
		b.WriteByte('\\')
		b.WriteByte(c)
	}
	return nil
}

// codePoint reads the digits of an escape, and of \u the second half of a pair.
func (l *literals) codePoint(digits int) (rune, error) {
	r, err := l.hex(digits)
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if !strings.HasPrefix(l.rest(), `\u`) {
		return 0, l.errorf("half a surrogate pair")
	}
	l.at += 2
	low, err := l.hex(4)
	if err != nil {
		return 0, err
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, l.errorf("half a surrogate pair")
	}
	return r, nil
}

func (l *literals) hex(digits int) (rune, error) {
	if len(l.rest()) < digits {
		return 0, l.errorf("an escape takes %d hexadecimal digits", digits)
	}
	n, err := strconv.ParseUint(l.text[l.at:l.at+digits], 16, 32)
	if err != nil {
		return 0, l.errorf("an escape takes %d hexadecimal digits", digits)
	}
	l.at += digits
	return rune(n), nil
}
