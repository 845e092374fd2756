package expr

import (
	"encoding/json"
	"math"
	"strconv"

	"github.com/hexdag/hexdag/host/kernel"
)

// writer turns a result into JSON's values, and counts how long their text is at least.
type writer struct {
	m    *machine
	left int // bytes
}

// result is v as a kernel.Value. Data of the scope that is the whole result is given
// back as it is, whatever its size: it is there already.
func (m *machine) result(v value) (kernel.Value, *fault) {
	switch c := v.ref.(type) {
	case []any:
		return c, nil
	case map[string]any:
		return c, nil
	}
	w := &writer{m: m, left: maxResult}
	return w.value(v, 0)
}

func (w *writer) room(n int) *fault {
	if w.left -= n; w.left < 0 || n < 0 {
		w.left = -1
		return beyond("the result is too large", maxResult, "bytes of JSON", "return less of it")
	}
	return nil
}

func (w *writer) value(v value, depth int) (kernel.Value, *fault) {
	if depth > kernel.MaxDepth {
		return nil, beyond("the result nests too deep", kernel.MaxDepth, "levels", "use a flatter one")
	}
	if f := w.room(2); f != nil {
		return nil, f
	}
	if f := w.m.step(); f != nil {
		return nil, f
	}
	switch v.kind {
	case kindNone:
		return nil, nil
	case kindBool:
		return v.n != 0, nil
	case kindInt:
		return json.Number(strconv.FormatInt(v.n, 10)), nil
	case kindBig, kindDecimal, kindFloat:
		return w.number(v)
	case kindText:
		return v.ref, w.room(len(v.text()))
	case kindInstant:
		return isoTime(v.instant(), "T"), w.room(32)
	case kindList, kindTuple, kindSet, kindRange:
		return w.list(v, depth)
	case kindDict:
		return w.object(v, depth)
	case kindMissing:
		return nil, isMissing(v)
	}
	text, f := appendForeign(nil, v)
	if f != nil {
		return nil, f
	}
	return json.Number(text), w.room(len(text))
}

func (w *writer) number(v value) (kernel.Value, *fault) {
	if v.kind == kindFloat && (math.IsNaN(v.float()) || math.IsInf(v.float(), 0)) {
		return nil, wrong("the result is "+floatText(v.float())+", and JSON has no such number", "test it first")
	}
	text, f := w.m.str(v)
	if f != nil {
		return nil, f
	}
	if v.kind == kindDecimal {
		if _, ok := isJSONNumber(text); !ok {
			return nil, wrong("the result is "+text+", and JSON has no such number", "test it first")
		}
	}
	return json.Number(text), w.room(len(text))
}

func (w *writer) list(v value, depth int) (kernel.Value, *fault) {
	if raw, ok := v.ref.([]any); ok {
		return raw, w.measure(raw, depth)
	}
	if count(v) > maxItems {
		return nil, tooMany(int64(count(v)))
	}
	n := 0
	if v.kind != kindSet {
		n = count(v)
	}
	out := make([]any, 0, n)
	f := w.m.each(v, func(item value) *fault {
		made, f := w.value(item, depth+1)
		out = append(out, made)
		return f
	})
	return out, f
}

func (w *writer) object(v value, depth int) (kernel.Value, *fault) {
	if raw, ok := v.ref.(map[string]any); ok {
		return raw, w.measure(raw, depth)
	}
	t, _ := v.ref.(*table)
	out := make(map[string]any, len(t.keys))
	for i, key := range t.keys {
		name, f := w.name(key)
		if f != nil {
			return nil, f
		}
		if _, twice := out[name]; twice {
			return nil, wrong("two keys are both "+quoted(name)+" in JSON", "use text as keys")
		}
		if out[name], f = w.value(t.vals[i], depth+1); f != nil {
			return nil, f
		}
	}
	return out, w.m.spend(len(t.keys))
}

// name is a dict's key as a member's name: what Python's json makes of it.
func (w *writer) name(key value) (string, *fault) {
	switch key.kind {
	case kindText:
		return key.text(), w.room(len(key.text()) + 3)
	case kindNone:
		return "null", w.room(7)
	case kindBool:
		return strconv.FormatBool(key.n != 0), w.room(7)
	case kindInt, kindBig, kindFloat:
		s, f := w.m.str(key)
		if f != nil {
			return "", f
		}
		return s, w.room(len(s) + 3)
	}
	return "", wrong("a member's name is "+aType(key)+", and JSON's names are text", "use text as keys: str(x)")
}

// measure counts data of the scope that is a part of the result, as often as it is:
// it is not copied, but whoever encodes the result writes it each time.
func (w *writer) measure(v kernel.Value, depth int) *fault {
	if depth > kernel.MaxDepth {
		return beyond("the result nests too deep", kernel.MaxDepth, "levels", "use a flatter one")
	}
	if f := w.room(2); f != nil {
		return f
	}
	switch v := v.(type) {
	case string:
		return w.room(len(v))
	case json.Number:
		return w.room(len(v))
	case []any:
		for _, item := range v {
			if f := w.measure(item, depth+1); f != nil {
				return f
			}
		}
	case map[string]any:
		for name, member := range v {
			if f := w.room(len(name) + 3); f != nil {
				return f
			}
			if f := w.measure(member, depth+1); f != nil {
				return f
			}
		}
	}
	return nil
}
