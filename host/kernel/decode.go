package kernel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// DecodeJSON reads one JSON text as a Value. It is stricter than encoding/json,
// because two readers that differ are a way past a policy: a member that occurs
// twice, invalid UTF-8, a lone surrogate, nesting beyond MaxDepth and anything
// after the value are errors. Numbers keep their text.
func DecodeJSON(text []byte) (Value, error) {
	d := decoder{text: text}
	v, err := d.value(0)
	if err != nil {
		return nil, err
	}
	if d.space(); d.at < len(d.text) {
		return nil, d.errorf("something follows the value")
	}
	return v, nil
}

// UnmarshalStrict is json.Unmarshal that refuses unknown members, numbers in
// place of numbers' texts, and anything after the value.
func UnmarshalStrict(text []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("something follows the JSON value")
	}
	return nil
}

type decoder struct {
	text []byte
	at   int
}

func (d *decoder) errorf(format string, args ...any) error {
	return fmt.Errorf("JSON, byte %d: %s", d.at, fmt.Sprintf(format, args...))
}

func (d *decoder) space() {
	for d.at < len(d.text) {
		switch d.text[d.at] {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return
		}
	}
}

// next skips white space and returns the byte after it, or 0 at the end.
func (d *decoder) next() byte {
	d.space()
	if d.at < len(d.text) {
		return d.text[d.at]
	}
	return 0
}

func (d *decoder) value(depth int) (Value, error) {
	if depth > MaxDepth {
		return nil, d.errorf("nests deeper than %d", MaxDepth)
	}
	switch c := d.next(); {
	case c == '{':
		return d.object(depth)
	case c == '[':
		return d.array(depth)
	case c == '"':
		return d.string()
	case c == '-' || c >= '0' && c <= '9':
		return d.number()
	case c == 't':
		return true, d.word("true")
	case c == 'f':
		return false, d.word("false")
	case c == 'n':
		return nil, d.word("null")
	case d.at >= len(d.text):
		return nil, d.errorf("ends where a value is due")
	default:
		return nil, d.errorf("%q where a value is due", c)
	}
}

func (d *decoder) word(w string) error {
	if !bytes.HasPrefix(d.text[d.at:], []byte(w)) {
		return d.errorf("no value starts like this; did you mean %s?", w)
	}
	d.at += len(w)
	return nil
}

func (d *decoder) object(depth int) (Value, error) {
	d.at++
	members := map[string]any{}
	if d.next() == '}' {
		d.at++
		return members, nil
	}
	for {
		if d.next() != '"' {
			return nil, d.errorf("a member's name is due")
		}
		name, err := d.string()
		if err != nil {
			return nil, err
		}
		if _, twice := members[name]; twice {
			return nil, d.errorf("member %s occurs twice", strconv.QuoteToASCII(cutString(name, 64)))
		}
		if d.next() != ':' {
			return nil, d.errorf("a colon is due")
		}
		d.at++
		if members[name], err = d.value(depth + 1); err != nil {
			return nil, err
		}
		switch d.next() {
		case ',':
			d.at++
		case '}':
			d.at++
			return members, nil
		default:
			return nil, d.errorf("a comma or } is due")
		}
	}
}

func (d *decoder) array(depth int) (Value, error) {
	d.at++
	items := []any{}
	if d.next() == ']' {
		d.at++
		return items, nil
	}
	for {
		item, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
		switch d.next() {
		case ',':
			d.at++
		case ']':
			d.at++
			return items, nil
		default:
			return nil, d.errorf("a comma or ] is due")
		}
	}
}

func (d *decoder) number() (Value, error) {
	start := d.at
	if d.text[d.at] == '-' {
		d.at++
	}
	switch {
	case d.at < len(d.text) && d.text[d.at] == '0':
		d.at++
	case d.digits() == 0:
		return nil, d.errorf("a digit is due")
	}
	if d.at < len(d.text) && d.text[d.at] == '.' {
		d.at++
		if d.digits() == 0 {
			return nil, d.errorf("a digit is due after the point")
		}
	}
	if d.at < len(d.text) && d.text[d.at]|0x20 == 'e' {
		d.at++
		if d.at < len(d.text) && (d.text[d.at] == '+' || d.text[d.at] == '-') {
			d.at++
		}
		if d.digits() == 0 {
			return nil, d.errorf("a digit is due in the exponent")
		}
	}
	return json.Number(d.text[start:d.at]), nil
}

func (d *decoder) digits() int {
	start := d.at
	for d.at < len(d.text) && d.text[d.at] >= '0' && d.text[d.at] <= '9' {
		d.at++
	}
	return d.at - start
}

func (d *decoder) string() (string, error) {
	d.at++
	start := d.at
	for d.at < len(d.text) {
		switch c := d.text[d.at]; {
		case c == '"':
			raw := d.text[start:d.at]
			d.at++
			if !utf8.Valid(raw) {
				return "", d.errorf("a string is not valid UTF-8")
			}
			return string(raw), nil
		case c == '\\':
			return d.escaped(start)
		case c < ' ':
			return "", d.errorf("a control character inside a string")
		}
		d.at++
	}
	return "", d.errorf("a string has no end")
}

// escaped reads on a string that has escapes from the first of them.
func (d *decoder) escaped(start int) (string, error) {
	out := append([]byte(nil), d.text[start:d.at]...)
	for d.at < len(d.text) {
		switch c := d.text[d.at]; {
		case c == '"':
			d.at++
			if !utf8.Valid(out) {
				return "", d.errorf("a string is not valid UTF-8")
			}
			return string(out), nil
		case c == '\\':
			var err error
			if out, err = d.escape(out); err != nil {
				return "", err
			}
		case c < ' ':
			return "", d.errorf("a control character inside a string")
		default:
			out = append(out, c)
			d.at++
		}
	}
	return "", d.errorf("a string has no end")
}

func (d *decoder) escape(out []byte) ([]byte, error) {
	d.at++
	if d.at >= len(d.text) {
		return nil, d.errorf("a string has no end")
	}
	c := d.text[d.at]
	d.at++
	switch c {
	case '"', '\\', '/':
		return append(out, c), nil
	case 'b':
		return append(out, '\b'), nil
	case 'f':
		return append(out, '\f'), nil
	case 'n':
		return append(out, '\n'), nil
	case 'r':
		return append(out, '\r'), nil
	case 't':
		return append(out, '\t'), nil
	case 'u':
		r, err := d.unicode()
		return utf8.AppendRune(out, r), err
	}
	return nil, d.errorf("unknown escape \\%q", c)
}

// unicode reads what follows \u, and the second half of a surrogate pair.
func (d *decoder) unicode() (rune, error) {
	r, err := d.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if !bytes.HasPrefix(d.text[d.at:], []byte(`\u`)) {
		return 0, d.errorf("half a surrogate pair")
	}
	d.at += 2
	low, err := d.hex4()
	if err != nil {
		return 0, err
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, d.errorf("half a surrogate pair")
	}
	return r, nil
}

func (d *decoder) hex4() (rune, error) {
	if len(d.text)-d.at < 4 {
		return 0, d.errorf("\\u takes four hexadecimal digits")
	}
	n, err := strconv.ParseUint(string(d.text[d.at:d.at+4]), 16, 16)
	if err != nil {
		return 0, d.errorf("\\u takes four hexadecimal digits")
	}
	d.at += 4
	return rune(n), nil
}

func cutString(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n]
}
