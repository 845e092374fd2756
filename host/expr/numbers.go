package expr

import (
	"math"
	"math/big"
	"strconv"
)

var numberFunctions = []*function{
	{signature: "abs(x, /)", run: func(m *machine, args []value, _ []string) (value, *fault) { return m.abs(args[0]) }},
	{signature: "round(number, ndigits=None)", run: func(m *machine, args []value, _ []string) (value, *fault) {
		return m.round(args[0], args[1])
	}},
	{signature: "pow(base, exp, mod=None)", run: func(m *machine, args []value, _ []string) (value, *fault) {
		if given(args[2]) && args[2].kind != kindNone {
			return m.powerModulo(args[0], args[1], args[2])
		}
		return m.arithmetic("**", args[0], args[1])
	}},
	{signature: "min(*items, default=None, key=None)", run: func(m *machine, args []value, names []string) (value, *fault) {
		return m.extreme("min", less, args, names)
	}},
	{signature: "max(*items, default=None, key=None)", run: func(m *machine, args []value, names []string) (value, *fault) {
		return m.extreme("max", greater, args, names)
	}},
	{signature: "sum(iterable, /, start=0)", run: func(m *machine, args []value, _ []string) (value, *fault) {
		return m.sum(args[0], args[1])
	}},
}

func (m *machine) abs(v value) (value, *fault) {
	switch {
	case v.kind == kindFloat:
		return floatValue(math.Abs(v.float())), nil
	case v.kind == kindDecimal && v.decimal().Negative, v.isSmall() && v.n < 0, v.kind == kindBig && v.big().Sign() < 0:
		return m.negate(v, '-')
	case v.isNumber():
		return m.negate(v, '+')
	}
	return null, wrong("abs takes a number, not "+aType(v), "give null a value: abs(default(x, 0))")
}

func (m *machine) round(v, digits value) (value, *fault) {
	whole := !given(digits) || digits.kind == kindNone
	places := int64(0)
	if !whole {
		var f *fault
		if places, f = integerArgument(digits, "the number of digits"); f != nil {
			return null, f
		}
		places = max(min(places, maxSpread), -maxSpread)
	}
	switch {
	case v.isInteger():
		return m.roundInt(v, places)
	case v.kind == kindFloat && whole:
		return truncate(math.RoundToEven(v.float()))
	case v.kind == kindFloat:
		return m.roundFloat(v.float(), int(places))
	case v.kind == kindDecimal:
		if f := m.reach(v); f != nil {
			return null, f
		}
		d, f := rounded(v.decimal(), int32(places))
		if f != nil {
			return null, f
		}
		if whole {
			return m.toInt(decimalValue(d), value{})
		}
		return decimalValue(d), nil
	}
	return null, wrong("round takes a number, not "+aType(v), "give null a value: round(default(x, 0))")
}

// roundInt rounds to a power of ten, half to even.
func (m *machine) roundInt(v value, places int64) (value, *fault) {
	if places >= 0 {
		return m.negate(v, '+')
	}
	if f := m.spend(int(-places)); f != nil {
		return null, f
	}
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(-places), nil)
	q, r := floorDivide(v.big(), power)
	if c := r.Lsh(r, 1).Cmp(power); c > 0 || c == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(1))
	}
	return checkBig(q.Mul(q, power))
}

// roundFloat rounds the exact binary value, half to even, as Python does.
func (m *machine) roundFloat(f float64, places int) (value, *fault) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return floatValue(f), nil
	}
	if places >= 0 {
		places = min(places, 400) // no float has more digits that count
		_, exponent := math.Frexp(f)
		if fault := m.spend(4 + (places+max(exponent, 0)/3)/8); fault != nil {
			return null, fault
		}
		near, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', places, 64), 64)
		if err != nil {
			return finite(near)
		}
		return floatValue(near), nil
	}
	if places < -309 {
		return floatValue(math.Copysign(0, f)), nil
	}
	n, _ := exactDecimal(f)
	d, fault := rounded(n.decimal(), int32(places))
	if fault != nil {
		return null, fault
	}
	return finite(math.Copysign(decimalFloat(decimalValue(d)), f))
}

// powerModulo is pow(a, b, mod), of integers.
func (m *machine) powerModulo(a, b, mod value) (value, *fault) {
	if !a.isInteger() || !b.isInteger() || !mod.isInteger() {
		return null, wrong("pow with a modulus takes integers", "convert them: int(x)")
	}
	x, y, n := a.big(), b.big(), mod.big()
	if n.Sign() == 0 {
		return null, divisionByZero()
	}
	words := n.BitLen()/64 + 1
	if f := m.spend((y.BitLen() + x.BitLen()) * words * words / 16); f != nil {
		return null, f
	}
	positive := new(big.Int).Abs(n)
	out := new(big.Int).Exp(x, y, positive)
	if out == nil {
		return null, wrong("the base has no inverse for this modulus", "use an exponent of 0 or more")
	}
	_, out = floorDivide(out, n)
	return bigValue(out), nil
}

// extreme is min or max: the first of the items that stands so to all others.
func (m *machine) extreme(name string, wanted ordering, args []value, names []string) (value, *fault) {
	positional := args[:len(args)-len(names)]
	fallback := value{}
	for i, n := range names {
		v := args[len(positional)+i]
		if n == "default" {
			fallback = v
		} else if v.kind != kindNone {
			return null, noKey(name)
		}
	}
	items := positional
	switch len(positional) {
	case 0:
		return null, wrong(name+" lacks its items", "pass a list, or several values")
	case 1:
		var f *fault
		if items, f = m.items(positional[0]); f != nil {
			return null, f
		}
	}
	if len(items) == 0 {
		if given(fallback) {
			return fallback, nil
		}
		return null, wrong(name+" of an empty list", "write "+name+"(items, default=0)")
	}
	best := items[0]
	for _, v := range items[1:] {
		if f := m.step(); f != nil {
			return null, f
		}
		o, f := m.order(v, best, 0)
		if f == nil && o == incomparable {
			f = noOrder(v, best)
		}
		if f != nil {
			return null, f
		}
		if o == wanted {
			best = v
		}
	}
	return best, nil
}

func noKey(name string) *fault {
	return wrong(name+" takes no key: functions are no values here", "make a list of (key, value) pairs")
}

func noOrder(a, b value) *fault {
	return wrong(aType(a)+" and "+aType(b)+" have no order", "make them of one type, or leave nulls out: [x for x in items if x is not None]")
}

// sum adds as Python does: floats with a compensation for what rounding loses.
func (m *machine) sum(items, start value) (value, *fault) {
	total := start
	if !given(start) {
		total = intValue(0)
	}
	if total.kind == kindText {
		return null, wrong("sum takes no text", "write join('', items)")
	}
	lost := 0.0
	f := m.each(items, func(v value) *fault {
		if total.kind == kindFloat && (v.kind == kindFloat || v.isSmall()) {
			x, _ := toFloat(v)
			t := total.float()
			next := t + x
			if math.Abs(t) >= math.Abs(x) {
				lost += (t - next) + x
			} else {
				lost += (x - next) + t
			}
			total = floatValue(next)
			return nil
		}
		if v.kind == kindText {
			return wrong("sum takes no text", "write join('', items), or convert: sum([float(x) for x in items])")
		}
		var f *fault
		total, f = m.arithmetic("+", total, v)
		return f
	})
	if f == nil && total.kind == kindFloat && lost != 0 && !math.IsInf(lost, 0) && !math.IsNaN(lost) {
		total = floatValue(total.float() + lost)
	}
	return total, f
}
