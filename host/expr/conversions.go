package expr

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

var conversions = []*function{
	{signature: "str(object='')", run: func(m *machine, args []value, _ []string) (value, *fault) {
		if !given(args[0]) {
			return textValue(""), nil
		}
		s, f := m.str(args[0])
		return textValue(s), f
	}},
	{signature: "int(x=0, /, base=10)", run: func(m *machine, args []value, _ []string) (value, *fault) {
		if !given(args[0]) {
			return intValue(0), nil
		}
		return m.toInt(args[0], args[1])
	}},
	{signature: "float(x=0.0, /)", run: func(m *machine, args []value, _ []string) (value, *fault) {
		if !given(args[0]) {
			return floatValue(0), nil
		}
		return m.convertFloat(args[0])
	}},
	{signature: "bool(x=False, /)", missing: true, run: func(_ *machine, args []value, _ []string) (value, *fault) {
		return boolValue(truth(args[0])), nil
	}},
	{signature: "Decimal(value='0')", run: func(m *machine, args []value, _ []string) (value, *fault) {
		if !given(args[0]) {
			return m.toDecimal(intValue(0))
		}
		return m.toDecimal(args[0])
	}},
	{signature: "list(iterable=(), /)", run: func(m *machine, args []value, _ []string) (value, *fault) {
		return m.collect(args[0], kindList)
	}},
	{signature: "tuple(iterable=(), /)", run: func(m *machine, args []value, _ []string) (value, *fault) {
		return m.collect(args[0], kindTuple)
	}},
	{signature: "set(iterable=(), /)", run: func(m *machine, args []value, _ []string) (value, *fault) {
		out := newTable()
		if !given(args[0]) {
			return value{kind: kindSet, ref: out}, nil
		}
		f := m.each(args[0], func(v value) *fault { return out.put(m, v, null, false) })
		return value{kind: kindSet, ref: out}, f
	}},
	{signature: "dict(*pairs, **members)", run: func(m *machine, args []value, names []string) (value, *fault) {
		return m.toDict(args[:len(args)-len(names)], args[len(args)-len(names):], names)
	}},
}

func (m *machine) collect(v value, kind kind) (value, *fault) {
	if !given(v) {
		return value{kind: kind, ref: []value(nil)}, nil
	}
	items, f := m.items(v)
	return value{kind: kind, ref: items}, f
}

func (m *machine) toDict(from, members []value, names []string) (value, *fault) {
	out := newTable()
	if len(from) > 1 {
		return null, wrong("dict takes one argument without a name, and "+grouped(len(from))+" are given", "pass one dict or one list of pairs")
	}
	for _, v := range from {
		if f := m.addPairs(out, v); f != nil {
			return null, f
		}
	}
	for i, name := range names {
		if f := out.put(m, textValue(name), members[i], true); f != nil {
			return null, f
		}
	}
	return value{kind: kindDict, ref: out}, nil
}

func (m *machine) addPairs(out *table, v value) *fault {
	if v.kind == kindDict {
		return m.eachKey(v, func(key value) *fault {
			member, _, f := m.find(v, key)
			if f != nil {
				return f
			}
			return out.put(m, key, member, true)
		})
	}
	return m.each(v, func(pair value) *fault {
		items, f := m.items(pair)
		if f != nil {
			return f
		}
		if len(items) != 2 {
			return wrong("dict takes pairs, and an item has "+grouped(len(items))+" parts", "pass a list of (name, value)")
		}
		return out.put(m, items[0], items[1], true)
	})
}

func (m *machine) toInt(v, base value) (value, *fault) {
	if given(base) && v.kind != kindText {
		return null, wrong("int with a base takes text, not "+aType(v), "pass text such as 'ff', or no base")
	}
	switch {
	case v.isSmall():
		return intValue(v.n), nil
	case v.kind == kindBig:
		return v, nil
	case v.kind == kindFloat:
		return truncate(v.float())
	case v.kind == kindDecimal:
		if f := m.reach(v); f != nil {
			return null, f
		}
		r, ok := rational(v)
		if !ok {
			return null, wrong("this Decimal is no integer", "test it first")
		}
		return checkBig(new(big.Int).Quo(r.Num(), r.Denom()))
	case v.kind == kindText:
		return m.parseInt(v.text(), base)
	}
	return null, wrong("int takes text or a number, not "+aType(v), "give null a value: int(default(x, 0))")
}

func truncate(f float64) (value, *fault) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return null, wrong("the float "+floatText(f)+" has no integer", "test it first")
	}
	if math.Abs(f) < 1<<62 {
		return intValue(int64(f)), nil
	}
	n, _ := new(big.Float).SetFloat64(f).Int(nil)
	return checkBig(n)
}

func (m *machine) parseInt(s string, base value) (value, *fault) {
	radix := int64(10)
	if given(base) {
		var f *fault
		if radix, f = integerArgument(base, "the base"); f != nil {
			return null, f
		}
		if radix != 0 && (radix < 2 || radix > 36) {
			return null, wrong("the base is "+strconv.FormatInt(radix, 10), "use 0 or 2 to 36")
		}
	}
	if f := m.scan(len(s)); f != nil {
		return null, f
	}
	digits := strings.ToLower(trim(s))
	if len(digits) > maxDigits {
		return null, beyond("a number of "+grouped(len(digits))+" digits", maxDigits, "digits", "use a shorter one")
	}
	if f := m.spend(len(digits) / 8); f != nil {
		return null, f
	}
	sign := ""
	if digits != "" && (digits[0] == '-' || digits[0] == '+') {
		sign, digits = strings.TrimPrefix(digits[:1], "+"), digits[1:]
	}
	for prefix, of := range map[string]int64{"0x": 16, "0o": 8, "0b": 2} {
		if strings.HasPrefix(digits, prefix) && (radix == of || radix == 0) {
			radix, digits = of, strings.TrimPrefix(digits[2:], "_")
		}
	}
	if radix == 0 {
		radix = 10
	}
	plain, ok := withoutUnderscores(digits)
	n, isNumber := new(big.Int).SetString(sign+plain, int(radix))
	if !ok || !isNumber || plain == "" || plain[0] == '-' || plain[0] == '+' {
		return null, wrong("int: the text is no integer", "pass digits, or float(x) first where there is a point")
	}
	return checkBig(n)
}

// withoutUnderscores removes underscores, which stand between digits alone.
func withoutUnderscores(s string) (string, bool) {
	if strings.HasPrefix(s, "_") || strings.HasSuffix(s, "_") || strings.Contains(s, "__") {
		return s, false
	}
	return strings.ReplaceAll(s, "_", ""), true
}

func (m *machine) convertFloat(v value) (value, *fault) {
	switch v.kind {
	case kindBool, kindInt, kindBig, kindFloat:
		f, fault := toFloat(v)
		return floatValue(f), fault
	case kindDecimal:
		return floatValue(decimalFloat(v)), nil
	case kindText:
		return m.parseFloat(v.text())
	}
	return null, wrong("float takes text or a number, not "+aType(v), "give null a value: float(default(x, 0))")
}

func (m *machine) parseFloat(s string) (value, *fault) {
	bad := wrong("float: the text is no number", "pass text such as '2.5' or '1e3'")
	if f := m.spend(len(s) / writeBytes); f != nil {
		return null, f
	}
	s, ok := withoutUnderscores(strings.ToLower(trim(s)))
	if !ok || strings.HasPrefix(strings.TrimLeft(s, "+-"), "0x") || strings.Contains(s, "p") {
		return null, bad
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) {
		return null, bad
	}
	return floatValue(f), nil
}
