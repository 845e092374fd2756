package kernel

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// MaxDepth is how deep a JSON value may nest.
const MaxDepth = 128

// AppendJSON appends v as compact JSON: members sorted by name, so that equal
// values have equal texts. It takes what a Value holds and Go's integers,
// floats, what is an Appender and anything that encoding/json takes.
func AppendJSON(dst []byte, v Value) ([]byte, error) {
	return appendJSON(dst, v, 0)
}

func appendJSON(dst []byte, v Value, depth int) ([]byte, error) {
	if depth > MaxDepth {
		return dst, fmt.Errorf("value nests deeper than %d", MaxDepth)
	}
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case json.Number:
		if v == "" {
			return append(dst, '0'), nil
		}
		return append(dst, v...), nil
	case string:
		return AppendString(dst, v), nil
	case int:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(dst, v, 10), nil
	case float64:
		return appendFloat(dst, v)
	case []any:
		return appendArray(dst, v, depth)
	case map[string]any:
		return appendObject(dst, v, depth)
	case json.RawMessage:
		value, err := DecodeJSON(v)
		if err != nil {
			return dst, err
		}
		return appendJSON(dst, value, depth)
	case Appender:
		return v.AppendJSON(dst)
	default:
		text, err := json.Marshal(v)
		if err != nil {
			return dst, err
		}
		return append(dst, text...), nil
	}
}

func appendFloat(dst []byte, v float64) ([]byte, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return dst, fmt.Errorf("JSON has no number %v", v)
	}
	text, err := json.Marshal(v)
	return append(dst, text...), err
}

func appendArray(dst []byte, v []any, depth int) ([]byte, error) {
	dst = append(dst, '[')
	for i, item := range v {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = appendJSON(dst, item, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func appendObject(dst []byte, v map[string]any, depth int) ([]byte, error) {
	var few [16]string
	names := few[:0]
	for name := range v {
		names = append(names, name)
	}
	slices.Sort(names)
	dst = append(dst, '{')
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(AppendString(dst, name), ':')
		var err error
		if dst, err = appendJSON(dst, v[name], depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string, in valid UTF-8.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, n := utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscape(dst, c)
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch {
	case c == '"' || c == '\\':
		return append(dst, '\\', c)
	case c == '\n':
		return append(dst, '\\', 'n')
	case c == '\t':
		return append(dst, '\\', 't')
	case c == '\r':
		return append(dst, '\\', 'r')
	case c < ' ':
		return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	default: // a byte of invalid UTF-8
		return utf8.AppendRune(dst, utf8.RuneError)
	}
}

// EncodeJSON returns v as AppendJSON writes it.
func EncodeJSON(v Value) ([]byte, error) { return AppendJSON(nil, v) }

// ToValue turns any Go value that encoding/json takes into a Value.
func ToValue(v any) (Value, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return DecodeJSON(text)
}

// FromValue stores a Value in the Go value that into points to, and refuses
// members that it does not have.
func FromValue(v Value, into any) error {
	text, err := EncodeJSON(v)
	if err != nil {
		return err
	}
	return UnmarshalStrict(text, into)
}

// Number returns n as a Value.
func Number(n int64) Value { return json.Number(strconv.FormatInt(n, 10)) }

// Field is a member of an object, or an item of an array by its decimal index.
func Field(v Value, name string) (Value, bool) {
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
