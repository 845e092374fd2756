package expr

import (
	"encoding/binary"
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"
	"unicode/utf8"
)

// table is a dict, or a set where vals is nil: in the order of insertion, as Python's dicts are.
type table struct {
	keys, vals []value
	at         map[hash]int
}

// hash is equal for values that are equal: 1, 1.0 and True are one key.
type hash struct {
	kind kind
	n    int64
	s    string
}

func newTable() *table { return &table{at: map[hash]int{}} }

// put sets a key. It counts the room that a new key takes.
func (t *table) put(m *machine, key, v value, isDict bool) *fault {
	h, f := m.hash(key, 0)
	if f != nil {
		return f
	}
	if i, ok := t.at[h]; ok {
		if isDict {
			t.vals[i] = v
		}
		return nil
	}
	if len(t.keys) >= maxItems {
		return tooMany(int64(len(t.keys) + 1))
	}
	if f := m.spend(8); f != nil {
		return f
	}
	t.at[h] = len(t.keys)
	t.keys = append(t.keys, key)
	if isDict {
		t.vals = append(t.vals, v)
	}
	return nil
}

// find looks a key up in a dict or set.
func (m *machine) find(v, key value) (value, bool, *fault) {
	if members, ok := v.ref.(map[string]any); ok {
		if key.kind != kindText {
			_, f := m.hash(key, 0)
			return null, false, f
		}
		member, ok := members[key.text()]
		return from(member), ok, m.scan(len(key.text()))
	}
	t, ok := v.ref.(*table)
	if !ok {
		return null, false, nil
	}
	h, f := m.hash(key, 0)
	if f != nil {
		return null, false, f
	}
	i, ok := t.at[h]
	if !ok || t.vals == nil {
		return null, ok, nil
	}
	return t.vals[i], true, nil
}

func (m *machine) hash(v value, depth int) (hash, *fault) {
	switch v.kind {
	case kindNone, kindMissing:
		return hash{kind: v.kind}, nil
	case kindBool, kindInt:
		return hash{kind: kindInt, n: v.n}, nil
	case kindBig:
		return hash{kind: kindBig, s: v.big().Text(62)}, m.spend(v.big().BitLen() / 16)
	case kindFloat:
		return hashFloat(v.float()), nil
	case kindDecimal:
		return m.hashDecimal(v)
	case kindText:
		return hash{kind: kindText, s: v.text()}, m.scan(len(v.text()))
	case kindInstant:
		return hash{kind: kindInstant, n: v.instant().UnixNano()}, nil
	case kindTuple:
		return m.hashTuple(v, depth)
	}
	return hash{}, wrong(aType(v)+" cannot be a key or an item of a set", "use text, a number or a tuple")
}

func hashFloat(f float64) hash {
	if f == math.Trunc(f) && !math.IsInf(f, 0) {
		if math.Abs(f) < 1<<62 {
			return hash{kind: kindInt, n: int64(f)}
		}
		n, _ := new(big.Float).SetFloat64(f).Int(nil)
		if v := bigValue(n); v.kind == kindInt {
			return hash{kind: kindInt, n: v.n}
		}
		return hash{kind: kindBig, s: n.Text(62)}
	}
	return hash{kind: kindFloat, n: int64(math.Float64bits(f))}
}

// hashDecimal agrees with integers and floats where a Decimal equals one.
func (m *machine) hashDecimal(v value) (hash, *fault) {
	if f := m.reach(v); f != nil {
		return hash{}, f
	}
	if r, ok := rational(v); ok {
		if f, exact := r.Float64(); exact {
			return hashFloat(f), nil
		}
		if r.IsInt() {
			return m.hash(bigValue(r.Num()), 0)
		}
		return hash{kind: kindDecimal, s: r.RatString()}, nil
	}
	return hash{kind: kindDecimal, s: v.decimal().String()}, nil
}

func (m *machine) hashTuple(v value, depth int) (hash, *fault) {
	if depth > maxNested {
		return hash{}, tooDeep()
	}
	if f := m.spend(count(v) * 2); f != nil {
		return hash{}, f
	}
	var b []byte
	for i := range count(v) {
		h, f := m.hash(item(v, i), depth+1)
		if f != nil {
			return hash{}, f
		}
		b = append(b, byte(h.kind))
		b = binary.AppendVarint(b, h.n)
		b = binary.AppendUvarint(b, uint64(len(h.s)))
		if f := m.write(len(b) + len(h.s)); f != nil {
			return hash{}, f
		}
		b = append(b, h.s...)
	}
	return hash{kind: kindTuple, s: string(b)}, nil
}

// each calls yield with every item of v: a dict's keys, a string's characters.
// It counts a step for each.
func (m *machine) each(v value, yield func(value) *fault) *fault {
	switch v.kind {
	case kindList, kindTuple, kindRange:
		for i := range count(v) {
			if f := m.step(); f != nil {
				return f
			}
			if f := yield(item(v, i)); f != nil {
				return f
			}
		}
		return nil
	case kindText:
		for s := v.text(); s != ""; {
			_, n := utf8.DecodeRuneInString(s)
			if f := m.step(); f != nil {
				return f
			}
			if f := yield(textValue(s[:n])); f != nil {
				return f
			}
			s = s[n:]
		}
		return nil
	case kindDict, kindSet:
		return m.eachKey(v, yield)
	}
	return notIterable(v)
}

func notIterable(v value) *fault {
	if v.kind == kindMissing {
		return isMissing(v)
	}
	return wrong(aType(v)+" has no items", "use a list; default(x, []) stands in for null")
}

func (m *machine) step() *fault {
	if m.steps--; m.steps < 0 {
		return m.spend(0)
	}
	return nil
}

func (m *machine) eachKey(v value, yield func(value) *fault) *fault {
	if members, ok := v.ref.(map[string]any); ok {
		names, f := m.names(members)
		if f != nil {
			return f
		}
		for _, name := range names {
			if f := yield(textValue(name)); f != nil {
				return f
			}
		}
		return nil
	}
	if t, ok := v.ref.(*table); ok {
		return m.each(listValue(t.keys), yield)
	}
	return nil
}

// names returns an object's names in order: JSON's objects have none.
func (m *machine) names(members map[string]any) ([]string, *fault) {
	if f := m.spend(len(members) * 4); f != nil {
		return nil, f
	}
	names := slices.AppendSeq(make([]string, 0, len(members)), maps.Keys(members))
	slices.SortFunc(names, strings.Compare)
	return names, nil
}

// items collects the items of v, as each gives them.
func (m *machine) items(v value) ([]value, *fault) {
	n := count(v)
	if v.kind == kindText {
		if f := m.scan(len(v.text())); f != nil {
			return nil, f
		}
		n = utf8.RuneCountInString(v.text())
	}
	if n > maxItems {
		return nil, tooMany(int64(n))
	}
	if list, ok := v.ref.([]value); ok {
		return list, m.spend(len(list))
	}
	all := make([]value, 0, min(n, m.steps+1))
	f := m.each(v, func(v value) *fault {
		all = append(all, v)
		return nil
	})
	return all, f
}
