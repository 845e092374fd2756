//go:build !wasip1

package hexdagtest

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
)

const (
	maxPointer = 1 << 10
	maxTokens  = 64
)

// decode reads one JSON text, keeping numbers as they are written.
func decode(text string) (any, bool) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, false
	}
	_, err := d.Token()
	return v, err == io.EOF
}

// encode writes compact JSON with members in byte order.
func encode(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // what decode gave can be written
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func kindOf(v any) hexdag.Kind {
	switch v.(type) {
	case nil:
		return hexdag.KindNull
	case bool:
		return hexdag.KindBool
	case json.Number:
		return hexdag.KindNumber
	case string:
		return hexdag.KindString
	case []any:
		return hexdag.KindArray
	}
	return hexdag.KindObject
}

func textOf(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return encode(v)
}

// at reads one field of a JSON text.
func at(text, path string) string {
	v, ok := decode(text)
	tokens, status := parsePointer(path)
	if !ok || status != 0 {
		return ""
	}
	v, status = find(v, tokens)
	if status != 0 {
		return ""
	}
	return textOf(v)
}

func parseAs(kind uint32, text string) (any, bool) {
	if kind == uint32(hexdag.KindString) {
		return text, utf8.ValidString(text)
	}
	v, ok := decode(text)
	return v, ok && (kind == kindJSON || kindOf(v) == hexdag.Kind(kind))
}

func parsePointer(path string) ([]string, hexdag.Status) {
	if len(path) > maxPointer {
		return nil, hexdag.Limit
	}
	if path == "" {
		return nil, 0
	}
	if path[0] != '/' || !utf8.ValidString(path) {
		return nil, hexdag.Invalid
	}
	tokens := strings.Split(path[1:], "/")
	if len(tokens) > maxTokens {
		return nil, hexdag.Limit
	}
	for i, token := range tokens {
		for j := range len(token) {
			if token[j] == '~' && !strings.HasPrefix(token[j+1:], "0") && !strings.HasPrefix(token[j+1:], "1") {
				return nil, hexdag.Invalid
			}
		}
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
	}
	return tokens, 0
}

func membersOf(v any) ([]string, bool) {
	switch v := v.(type) {
	case map[string]any:
		return slices.Sorted(maps.Keys(v)), true
	case []any:
		names := make([]string, len(v))
		for i := range v {
			names[i] = strconv.Itoa(i)
		}
		return names, true
	}
	return nil, false
}

// index reads an array index: digits without a leading zero.
func index(token string, size int) (int, bool) {
	i, err := strconv.Atoi(token)
	return i, err == nil && i >= 0 && i < size && strconv.Itoa(i) == token
}

func find(v any, tokens []string) (any, hexdag.Status) {
	for _, token := range tokens {
		switch parent := v.(type) {
		case map[string]any:
			child, ok := parent[token]
			if !ok {
				return nil, hexdag.NotFound
			}
			v = child
		case []any:
			i, ok := index(token, len(parent))
			if !ok {
				return nil, hexdag.NotFound
			}
			v = parent[i]
		default:
			return nil, hexdag.NotFound
		}
	}
	return v, 0
}

// assign returns parent with v at tokens. It makes missing parents, as objects,
// and copies what it changes, so that a write that fails has changed nothing.
func assign(parent any, tokens []string, v any) (any, hexdag.Status) {
	if len(tokens) == 0 {
		return v, 0
	}
	token, rest := tokens[0], tokens[1:]
	var child any
	at := 0
	switch p := parent.(type) {
	case map[string]any:
		var there bool
		if child, there = p[token]; !there && len(rest) > 0 {
			child = map[string]any{}
		}
	case []any:
		var there bool
		if at, there = index(token, len(p)); there {
			child = p[at]
		} else if token == "-" && len(rest) == 0 {
			at = len(p)
		} else {
			return nil, hexdag.NotFound
		}
	default:
		return nil, hexdag.NotFound
	}
	child, status := assign(child, rest, v)
	return with(parent, token, at, child), status
}

// with returns a copy of parent with child as its member token or, of an array,
// at index at; the length is behind the last.
func with(parent any, token string, at int, child any) any {
	if list, ok := parent.([]any); ok {
		list = slices.Clone(list)
		if at == len(list) {
			return append(list, child)
		}
		list[at] = child
		return list
	}
	object := maps.Clone(parent.(map[string]any))
	object[token] = child
	return object
}

// remove returns parent without what is at tokens, which are not empty.
func remove(parent any, tokens []string) (any, hexdag.Status) {
	child, status := find(parent, tokens[:1])
	if status != 0 {
		return nil, status
	}
	if len(tokens) > 1 {
		child, status = remove(child, tokens[1:])
		if status != 0 {
			return nil, status
		}
		return assign(parent, tokens[:1], child)
	}
	switch p := parent.(type) {
	case map[string]any:
		p = maps.Clone(p)
		delete(p, tokens[0])
		return p, 0
	default:
		list := p.([]any)
		i, _ := index(tokens[0], len(list))
		return slices.Delete(slices.Clone(list), i, i+1), 0
	}
}
