package expr

import (
	"cmp"
	"math"
	"math/big"
	"strings"
)

// ordering is how two values stand to each other.
type ordering int8

const (
	less         ordering = -1
	same         ordering = 0
	greater      ordering = 1
	unordered    ordering = 2 // one is NaN, or neither set holds the other
	incomparable ordering = 3 // of types that have no order
)

// compare is a op b. Types that have no order make it false, as the reference does.
func (m *machine) compare(op string, a, b value) (bool, *fault) {
	switch op {
	case "==":
		return m.equal(a, b, 0)
	case "!=":
		eq, f := m.equal(a, b, 0)
		return !eq, f
	case "in":
		return m.contains(b, a)
	case "is":
		return m.identical(a, b)
	case "is not":
		same, f := m.identical(a, b)
		return !same, f
	}
	o, f := m.order(a, b, 0)
	return holds(op, o), f
}

func holds(op string, o ordering) bool {
	switch op {
	case "<":
		return o == less
	case "<=":
		return o == less || o == same
	case ">":
		return o == greater
	case ">=":
		return o == greater || o == same
	}
	return false
}

// identical is what is means on data: one type, and equal.
func (m *machine) identical(a, b value) (bool, *fault) {
	if a.kind != b.kind {
		return false, nil
	}
	return m.equal(a, b, 0)
}

func (m *machine) equal(a, b value, depth int) (bool, *fault) {
	switch {
	case a.isNumber() && b.isNumber():
		o, f := m.orderNumbers(a, b)
		return o == same, f
	case a.kind != b.kind:
		return false, nil
	case a.kind == kindText:
		if len(a.text()) != len(b.text()) {
			return false, nil
		}
		return a.text() == b.text(), m.scan(len(a.text()))
	case a.isSequence(), a.kind == kindRange:
		return m.equalSequences(a, b, depth)
	case a.kind == kindDict, a.kind == kindSet:
		return m.equalTables(a, b, depth)
	case a.kind == kindInstant:
		return a.instant().Equal(b.instant()), nil
	}
	return a.kind == kindNone || a.kind == kindMissing, nil
}

func (m *machine) equalSequences(a, b value, depth int) (bool, *fault) {
	if depth > maxNested {
		return false, tooDeep()
	}
	if count(a) != count(b) {
		return false, nil
	}
	for i := range count(a) {
		if f := m.step(); f != nil {
			return false, f
		}
		if eq, f := m.equal(item(a, i), item(b, i), depth+1); f != nil || !eq {
			return false, f
		}
	}
	return true, nil
}

func (m *machine) equalTables(a, b value, depth int) (bool, *fault) {
	if depth > maxNested {
		return false, tooDeep()
	}
	if count(a) != count(b) {
		return false, nil
	}
	eq := true
	f := m.each(a, func(key value) *fault {
		if !eq {
			return nil
		}
		mine, _, f := m.find(a, key)
		if f != nil {
			return f
		}
		other, found, f := m.find(b, key)
		if f != nil || !found {
			eq = false
			return f
		}
		if a.kind == kindDict {
			eq, f = m.equal(mine, other, depth+1)
		}
		return f
	})
	return eq && f == nil, f
}

func (m *machine) order(a, b value, depth int) (ordering, *fault) {
	switch {
	case a.isNumber() && b.isNumber():
		return m.orderNumbers(a, b)
	case a.kind != b.kind:
		return incomparable, nil
	case a.kind == kindText:
		return ordering(strings.Compare(a.text(), b.text())), m.scan(min(len(a.text()), len(b.text())))
	case a.isSequence():
		return m.orderSequences(a, b, depth)
	case a.kind == kindSet:
		return m.orderSets(a, b)
	case a.kind == kindInstant:
		return ordering(a.instant().Compare(b.instant())), nil
	}
	return incomparable, nil
}

func (m *machine) orderSequences(a, b value, depth int) (ordering, *fault) {
	if depth > maxNested {
		return incomparable, tooDeep()
	}
	for i := range min(count(a), count(b)) {
		if f := m.step(); f != nil {
			return incomparable, f
		}
		x, y := item(a, i), item(b, i)
		if eq, f := m.equal(x, y, depth+1); f != nil {
			return incomparable, f
		} else if !eq {
			return m.order(x, y, depth+1)
		}
	}
	return ordering(cmp.Compare(count(a), count(b))), nil
}

// orderSets is by inclusion.
func (m *machine) orderSets(a, b value) (ordering, *fault) {
	o := ordering(cmp.Compare(count(a), count(b)))
	small, large := a, b
	if o == greater {
		small, large = b, a
	}
	f := m.each(small, func(key value) *fault {
		_, found, f := m.find(large, key)
		if !found {
			o = unordered
		}
		return f
	})
	return o, f
}

// orderNumbers compares exactly, also an integer with a float.
func (m *machine) orderNumbers(a, b value) (ordering, *fault) {
	const exact = 1 << 53
	switch {
	case a.isSmall() && b.isSmall():
		return ordering(cmp.Compare(a.n, b.n)), nil
	case a.kind == kindFloat && b.kind == kindFloat:
		return orderFloats(a.float(), b.float()), nil
	case a.kind == kindFloat && b.isSmall() && b.n < exact && b.n > -exact:
		return orderFloats(a.float(), float64(b.n)), nil
	case b.kind == kindFloat && a.isSmall() && a.n < exact && a.n > -exact:
		return orderFloats(float64(a.n), b.float()), nil
	case a.isInteger() && b.isInteger():
		return ordering(a.big().Cmp(b.big())), m.spend(1)
	}
	for _, v := range []value{a, b} {
		if f := m.reach(v); f != nil {
			return incomparable, f
		}
	}
	x, xOK := rational(a)
	y, yOK := rational(b)
	if xOK && yOK {
		return ordering(x.Cmp(y)), nil
	}
	return orderFloats(near(a, x), near(b, y)), nil
}

// near is what a number compares like with one that is infinite or not a number.
func near(v value, finite *big.Rat) float64 {
	switch {
	case finite != nil:
		return float64(finite.Sign())
	case v.kind == kindDecimal:
		return decimalFloat(v)
	}
	return v.float()
}

func orderFloats(x, y float64) ordering {
	switch {
	case x < y:
		return less
	case x > y:
		return greater
	case math.IsNaN(x) || math.IsNaN(y):
		return unordered
	}
	return same
}

// contains is x in v: false where v is null or cannot hold x.
func (m *machine) contains(v, x value) (bool, *fault) {
	switch v.kind {
	case kindText:
		if x.kind != kindText {
			return false, nil
		}
		return strings.Contains(v.text(), x.text()), m.scan(len(v.text()) + len(x.text()))
	case kindList, kindTuple:
		for i := range count(v) {
			if f := m.step(); f != nil {
				return false, f
			}
			if eq, f := m.equal(item(v, i), x, 0); f != nil || eq {
				return eq, f
			}
		}
		return false, nil
	case kindDict, kindSet:
		_, found, f := m.find(v, x)
		if f != nil && !f.limit {
			return false, nil
		}
		return found, f
	case kindRange:
		s, _ := v.ref.(*span)
		n, ok := wholeNumber(x)
		return ok && s.contains(n), nil
	}
	return false, nil
}

// wholeNumber is the small integer that v equals, if it does.
func wholeNumber(v value) (int64, bool) {
	if v.isSmall() {
		return v.n, true
	}
	if v.kind == kindFloat {
		if h := hashFloat(v.float()); h.kind == kindInt {
			return h.n, true
		}
	}
	return 0, false
}
