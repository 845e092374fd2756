package sandbox

import (
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
)

// maxTokens bounds how many reference tokens a pointer may have.
const maxTokens = 64

// document is one JSON document of a call, with the raw bytes beside it. A value
// that came from elsewhere may be shared with other calls: it is cloned before
// the first change. What a guest has made is changed in place.
type document struct {
	value   kernel.Value
	present bool
	owned   bool   // the value is this document's alone
	text    []byte // the value's JSON text, made when first asked for
	buffer  []byte // what text is made in; the only part that outlives a call
	body    []byte
}

// reset empties the document. One that has nothing is left alone: clearing is not
// free while the garbage collector works.
func (d *document) reset() {
	if d.present || d.body != nil || d.text != nil {
		*d = document{buffer: d.buffer}
	}
}

// put makes the document a value that may be shared.
func (d *document) put(v kernel.Value) {
	d.value, d.present, d.owned, d.text = v, true, false, nil
}

// encoded returns the document as JSON text; nil if there is none.
func (d *document) encoded() ([]byte, abi.Status) {
	if !d.present {
		return nil, abi.OK
	}
	if d.text == nil {
		text, err := kernel.AppendJSON(d.buffer[:0], d.value)
		if err != nil {
			return nil, abi.Invalid
		}
		d.text, d.buffer = text, text
	}
	return d.text, abi.OK
}

// kindOf returns the kind of a value that is present.
func kindOf(v kernel.Value) abi.Kind {
	switch v.(type) {
	case nil:
		return abi.KindNull
	case bool:
		return abi.KindBool
	case string:
		return abi.KindString
	case []any:
		return abi.KindArray
	case map[string]any:
		return abi.KindObject
	default:
		return abi.KindNumber
	}
}

// lookup follows a JSON pointer. The pointer's bytes may be the guest's memory:
// nothing of them is kept.
func (d *document) lookup(pointer []byte) (v kernel.Value, found bool, status abi.Status) {
	if status := checkPointer(pointer); status != abi.OK || !d.present {
		return nil, false, status
	}
	v = d.value
	for len(pointer) > 0 {
		var token []byte
		token, pointer = cutToken(pointer)
		if v, found = member(v, token); !found {
			return nil, false, abi.OK
		}
	}
	return v, true, abi.OK
}

// checkPointer holds a pointer to RFC 6901 and to the bound of its tokens,
// whatever the document has.
func checkPointer(pointer []byte) abi.Status {
	if len(pointer) > 0 && pointer[0] != '/' {
		return abi.Invalid
	}
	tokens := 0
	for i, c := range pointer {
		if c == '/' {
			tokens++
		}
		if c == '~' && (i+1 == len(pointer) || pointer[i+1] != '0' && pointer[i+1] != '1') {
			return abi.Invalid
		}
	}
	if tokens > maxTokens {
		return abi.Limit
	}
	return abi.OK
}

// cutToken splits "/token/rest" into the token and "/rest".
func cutToken(pointer []byte) (token, rest []byte) {
	pointer = pointer[1:]
	if end := slices.Index(pointer, '/'); end >= 0 {
		return pointer[:end], pointer[end:]
	}
	return pointer, nil
}

func member(v kernel.Value, token []byte) (kernel.Value, bool) {
	switch v := v.(type) {
	case map[string]any:
		if slices.Contains(token, '~') {
			token = []byte(abi.UnescapePointer(string(token)))
		}
		item, ok := v[string(token)]
		return item, ok
	case []any:
		if i, ok := index(token, len(v)); ok {
			return v[i], true
		}
	}
	return nil, false
}

// index reads an array index as RFC 6901 writes it: no sign, no leading zero.
func index(token []byte, length int) (int, bool) {
	if len(token) == 0 || len(token) > 9 || token[0] == '0' && len(token) > 1 {
		return 0, false
	}
	n := 0
	for _, c := range token {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, n < length
}

// encodedField returns the text that field answers for the value that a pointer
// named: a string as it is, anything else as JSON. It is made in dst, but for the
// whole document, whose text is kept.
func (d *document) encodedField(pointer []byte, v kernel.Value, dst []byte) ([]byte, abi.Status) {
	switch v := v.(type) {
	case string:
		return append(dst, v...), abi.OK
	case map[string]any, []any:
		if len(pointer) == 0 {
			return d.encoded()
		}
	}
	dst, err := kernel.AppendJSON(dst, v)
	if err != nil {
		return dst, abi.Invalid
	}
	return dst, abi.OK
}

// appendKeys appends the reference tokens of a container's members, each behind a '/'.
func appendKeys(dst []byte, v kernel.Value) (text []byte, count int, status abi.Status) {
	switch v := v.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			dst = append(append(dst, '/'), abi.EscapePointer(name)...)
		}
		return dst, len(v), abi.OK
	case []any:
		for i := range v {
			dst = strconv.AppendInt(append(dst, '/'), int64(i), 10)
		}
		return dst, len(v), abi.OK
	}
	return dst, 0, abi.Invalid
}

// parseValue reads what a guest passes to set. The text is a private copy.
func parseValue(kind abi.Kind, text string) (kernel.Value, abi.Status) {
	if kind == abi.KindString {
		if !utf8.ValidString(text) {
			return nil, abi.Invalid
		}
		return text, abi.OK
	}
	if kind > abi.KindJSON || kind == abi.KindAbsent {
		return nil, abi.Unsupported
	}
	v, err := kernel.DecodeJSON([]byte(text))
	if err != nil || kind != abi.KindJSON && kindOf(v) != kind {
		return nil, abi.Invalid
	}
	return v, abi.OK
}

// edit sets or removes what a pointer names and makes the parents that are not
// there yet, as objects.
type edit struct {
	remove bool
	value  kernel.Value
}

// apply changes the document. cloned is how many values had to be cloned first.
func (d *document) apply(pointer []byte, e edit) (cloned int, status abi.Status) {
	if status := checkPointer(pointer); status != abi.OK {
		return 0, status
	}
	if !utf8.Valid(pointer) {
		return 0, abi.Invalid
	}
	if len(pointer) == 0 {
		d.replace(e)
		return 0, abi.OK
	}
	switch {
	case !d.present:
		d.value = map[string]any{}
	case !d.owned:
		d.value, cloned = clone(d.value)
	}
	d.present, d.owned = true, true
	root, status := e.in(d.value, pointer)
	if status == abi.OK {
		d.value, d.text = root, nil
	}
	return cloned, status
}

// replace changes the whole of the document.
func (d *document) replace(e edit) {
	body := d.body
	if e.remove {
		d.reset()
	} else {
		d.put(e.value)
		d.owned = true
	}
	d.body = body
}

// clone copies the containers of a value, and counts what it has copied.
func clone(v kernel.Value) (kernel.Value, int) {
	count := 1
	switch v := v.(type) {
	case map[string]any:
		c := make(map[string]any, len(v)+1)
		for name, item := range v {
			copied, n := clone(item)
			c[name], count = copied, count+n
		}
		return c, count
	case []any:
		c := make([]any, len(v), len(v)+1)
		for i, item := range v {
			copied, n := clone(item)
			c[i], count = copied, count+n
		}
		return c, count
	}
	return v, count
}

// in changes v in place where it can, and returns what v has become.
func (e edit) in(v kernel.Value, pointer []byte) (kernel.Value, abi.Status) {
	token, rest := cutToken(pointer)
	switch v := v.(type) {
	case map[string]any:
		return v, e.inObject(v, abi.UnescapePointer(string(token)), rest)
	case []any:
		return e.inArray(v, token, rest)
	}
	return nil, abi.NotFound
}

func (e edit) inObject(v map[string]any, name string, rest []byte) abi.Status {
	item, exists := v[name]
	switch {
	case e.remove && !exists:
		return abi.NotFound
	case len(rest) == 0 && e.remove:
		delete(v, name)
		return abi.OK
	case len(rest) == 0:
		v[name] = e.value
		return abi.OK
	case !exists:
		item = map[string]any{}
	}
	changed, status := e.in(item, rest)
	if status == abi.OK {
		v[name] = changed
	}
	return status
}

func (e edit) inArray(v []any, token, rest []byte) (kernel.Value, abi.Status) {
	if len(token) == 1 && token[0] == '-' && len(rest) == 0 && !e.remove {
		return append(v, e.value), abi.OK
	}
	i, ok := index(token, len(v))
	switch {
	case !ok:
		return nil, abi.NotFound
	case len(rest) == 0 && e.remove:
		return slices.Delete(v, i, i+1), abi.OK
	case len(rest) == 0:
		v[i] = e.value
		return v, abi.OK
	}
	changed, status := e.in(v[i], rest)
	if status == abi.OK {
		v[i] = changed
	}
	return v, status
}
