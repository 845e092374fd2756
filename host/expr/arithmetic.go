package expr

import (
	"math"
	"math/big"
	"math/bits"
	"strings"
)

// arithmetic computes a op b as Python does.
func (m *machine) arithmetic(op string, a, b value) (value, *fault) {
	if a.kind == kindInt && b.kind == kindInt {
		if v, ok := smallArithmetic(op, a.n, b.n); ok {
			return v, nil
		}
	}
	switch {
	case a.kind == kindMissing:
		return null, isMissing(a)
	case b.kind == kindMissing:
		return null, isMissing(b)
	case a.kind == kindDecimal && (b.isInteger() || b.kind == kindDecimal), b.kind == kindDecimal && a.isInteger():
		return m.decimalArithmetic(op, a, b)
	case a.isInteger() && b.isInteger():
		return m.intArithmetic(op, a, b)
	case a.isNumber() && b.isNumber() && a.kind != kindDecimal && b.kind != kindDecimal:
		return m.floatArithmetic(op, a, b)
	}
	return m.collectionArithmetic(op, a, b)
}

// smallArithmetic is what two small integers come to without an allocation; what
// overflows, divides by zero or is a power is not ok.
func smallArithmetic(op string, a, b int64) (value, bool) {
	switch op {
	case "+":
		n := a + b
		return intValue(n), (n > a) == (b > 0)
	case "-":
		n := a - b
		return intValue(n), (n < a) == (b > 0)
	case "*":
		return multiplySmall(a, b)
	case "/":
		const exact = 1 << 53
		if b == 0 || a > exact || a < -exact || b > exact || b < -exact {
			return null, false
		}
		return floatValue(float64(a) / float64(b)), true
	case "//", "%":
		if b == 0 || b == -1 { // the least integer by -1 overflows
			return null, false
		}
		q, r := a/b, a%b
		if r != 0 && (r < 0) != (b < 0) {
			q, r = q-1, r+b
		}
		if op == "%" {
			return intValue(r), true
		}
		return intValue(q), true
	}
	return null, false
}

func multiplySmall(a, b int64) (value, bool) {
	high, low := bits.Mul64(magnitude(a), magnitude(b))
	if high != 0 || low > math.MaxInt64 {
		return null, false
	}
	return intValue(a * b), true
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

func unsupported(op string, a, b value) *fault {
	for _, v := range []value{a, b} {
		if v.kind == kindForeign {
			return unusable(v)
		}
	}
	fix := "convert one of them: str(x), int(x), float(x)"
	if a.kind == kindNone || b.kind == kindNone {
		fix = "give null a value: default(x, 0)"
	}
	return wrong("unsupported operand types for "+op+": "+aType(a)+" and "+aType(b), fix)
}

func divisionByZero() *fault {
	return wrong("division by zero", "test the divisor first: a / b if b else 0")
}

func (m *machine) intArithmetic(op string, a, b value) (value, *fault) {
	if a.isSmall() && b.isSmall() {
		if v, ok := smallArithmetic(op, a.n, b.n); ok {
			return v, nil
		}
	}
	x, y := a.big(), b.big()
	words := (x.BitLen()/64 + 1) * (y.BitLen()/64 + 1)
	if f := m.spend(words / 8); f != nil {
		return null, f
	}
	if op != "+" && op != "-" && op != "*" && op != "**" && y.Sign() == 0 {
		return null, divisionByZero()
	}
	n := new(big.Int)
	switch op {
	case "+":
		n.Add(x, y)
	case "-":
		n.Sub(x, y)
	case "*":
		n.Mul(x, y)
	case "/":
		f, _ := new(big.Rat).SetFrac(x, y).Float64()
		if f == 0 && y.Sign() < 0 != (x.Sign() < 0) {
			f = math.Copysign(0, -1)
		}
		return finite(f)
	case "//":
		n, _ = floorDivide(x, y)
	case "%":
		_, n = floorDivide(x, y)
	case "**":
		return m.intPower(x, y)
	}
	return checkBig(n)
}

func checkBig(n *big.Int) (value, *fault) {
	if n.BitLen() > maxBits {
		return null, tooBig()
	}
	return bigValue(n), nil
}

// floorDivide rounds towards minus infinity, so that the remainder has the divisor's sign.
func floorDivide(x, y *big.Int) (quotient, remainder *big.Int) {
	q, r := new(big.Int).QuoRem(x, y, new(big.Int))
	if r.Sign() != 0 && r.Sign() != y.Sign() {
		q.Sub(q, big.NewInt(1))
		r.Add(r, y)
	}
	return q, r
}

func (m *machine) intPower(x, y *big.Int) (value, *fault) {
	if y.Sign() < 0 {
		fx, _ := new(big.Float).SetInt(x).Float64()
		fy, _ := new(big.Float).SetInt(y).Float64()
		return floatPower(fx, fy)
	}
	if x.BitLen() > 1 {
		// at least so many bits has the result, which is found before it is computed
		if !y.IsInt64() || y.Int64() > maxBits || int64(x.BitLen()-1)*y.Int64() > maxBits {
			return null, tooBig()
		}
	} else if y.BitLen() > 1 { // a power of -1, 0 or 1 depends on whether y is even
		y = new(big.Int).SetUint64(2 + uint64(y.Bit(0)))
	}
	if f := m.spend(x.BitLen() * int(y.Int64()) / 64); f != nil {
		return null, f
	}
	return checkBig(new(big.Int).Exp(x, y, nil))
}

// toFloat converts a number that is no Decimal.
func toFloat(v value) (float64, *fault) {
	switch v.kind {
	case kindFloat:
		return v.float(), nil
	case kindBig:
		f, _ := new(big.Float).SetInt(v.big()).Float64()
		if math.IsInf(f, 0) {
			return 0, wrong("the integer is too large for a float", "keep to integers")
		}
		return f, nil
	}
	return float64(v.n), nil
}

func (m *machine) floatArithmetic(op string, a, b value) (value, *fault) {
	x, f := toFloat(a)
	if f != nil {
		return null, f
	}
	y, f := toFloat(b)
	if f != nil {
		return null, f
	}
	switch op {
	case "+":
		return floatValue(x + y), nil
	case "-":
		return floatValue(x - y), nil
	case "*":
		return floatValue(x * y), nil
	case "**":
		if f := m.spend(80); f != nil {
			return null, f
		}
		return floatPower(x, y)
	}
	if y == 0 {
		return null, divisionByZero()
	}
	switch op {
	case "/":
		return floatValue(x / y), nil
	case "%":
		return floatValue(floatModulo(x, y)), nil
	}
	return floatValue(floatFloor(x, y)), nil
}

// floatModulo has the sign of y, also where it is zero.
func floatModulo(x, y float64) float64 {
	r := math.Mod(x, y)
	if r == 0 {
		return math.Copysign(0, y)
	}
	if (r < 0) != (y < 0) {
		r += y
	}
	return r
}

func floatFloor(x, y float64) float64 {
	r := math.Mod(x, y)
	q := (x - r) / y
	if r != 0 && (r < 0) != (y < 0) {
		q--
	}
	if q == 0 {
		return math.Copysign(0, x/y)
	}
	whole := math.Floor(q)
	if q-whole > 0.5 {
		whole++
	}
	return whole
}

func floatPower(x, y float64) (value, *fault) {
	if x == 0 && y < 0 {
		return null, wrong("zero has no negative power", "test the base first")
	}
	if x < 0 && !math.IsInf(x, 0) && y != math.Trunc(y) {
		return null, wrong("a fractional power of a negative number is complex", "use abs(x)")
	}
	f := power(x, y)
	if math.IsInf(f, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0) {
		return finite(f)
	}
	return floatValue(f), nil
}

// power is x**y. Where y is an integer, or has few binary places, it is computed
// with digits to spare, so that the last one is right, as C's libraries have it.
func power(x, y float64) float64 {
	const precision, largest, places = 160, 1 << 16, 4
	whole, rest := math.Modf(y)
	scaled := math.Abs(rest) * (1 << places)
	if x == 0 || math.IsInf(x, 0) || math.IsNaN(x) || math.IsNaN(y) || math.Abs(whole) > largest || scaled != math.Trunc(scaled) {
		return math.Pow(x, y)
	}
	base := new(big.Float).SetPrec(precision).SetFloat64(x)
	out := new(big.Float).SetPrec(precision).SetInt64(1)
	root := new(big.Float).SetPrec(precision).Copy(base)
	for bit := uint64(1 << (places - 1)); bit > 0 && scaled != 0; bit >>= 1 {
		if root.Sqrt(root); uint64(scaled)&bit != 0 {
			out.Mul(out, root)
		}
	}
	for n := uint64(math.Abs(whole)); n > 0; n >>= 1 {
		if n&1 != 0 {
			out.Mul(out, base)
		}
		base.Mul(base, base)
	}
	if y < 0 {
		out.Quo(big.NewFloat(1), out)
	}
	f, _ := out.Float64()
	return f
}

func finite(f float64) (value, *fault) {
	if math.IsInf(f, 0) {
		return null, wrong("the result is too large for a float", "use smaller numbers")
	}
	return floatValue(f), nil
}

func (m *machine) negate(v value, op byte) (value, *fault) {
	switch {
	case v.kind == kindMissing:
		return null, isMissing(v)
	case v.isSmall() && (op == '+' || v.n != math.MinInt64):
		if op == '-' {
			v.n = -v.n
		}
		return intValue(v.n), nil
	case v.isInteger():
		if op == '+' {
			return v, nil
		}
		return bigValue(new(big.Int).Neg(v.big())), m.spend(1)
	case v.kind == kindFloat:
		if op == '-' {
			return floatValue(-v.float()), nil
		}
		return v, nil
	case v.kind == kindDecimal:
		if op == '-' {
			return negateDecimal(v), nil
		}
		return v, nil
	}
	return null, wrong("bad operand type for unary "+string(op)+": "+aType(v), "convert it first: int(x), float(x)")
}

// collectionArithmetic joins, repeats, subtracts and formats.
func (m *machine) collectionArithmetic(op string, a, b value) (value, *fault) {
	switch {
	case op == "%" && a.kind == kindText:
		return m.percent(a.text(), b)
	case op == "+" && a.kind == kindText && b.kind == kindText:
		if f := m.write(len(a.text()) + len(b.text())); f != nil {
			return null, f
		}
		return textValue(a.text() + b.text()), nil
	case op == "+" && a.kind == b.kind && a.isSequence():
		return m.concatenate(a, b)
	case op == "*" && b.isInteger():
		return m.repeat(a, b)
	case op == "*" && a.isInteger():
		return m.repeat(b, a)
	case op == "-" && a.kind == kindSet && b.kind == kindSet:
		return m.difference(a, b)
	}
	return null, unsupported(op, a, b)
}

func (m *machine) concatenate(a, b value) (value, *fault) {
	n := count(a) + count(b)
	if f := m.room(n); f != nil {
		return null, f
	}
	all := make([]value, 0, n)
	for _, v := range []value{a, b} {
		for i := range count(v) {
			all = append(all, item(v, i))
		}
	}
	return value{kind: a.kind, ref: all}, nil
}

func (m *machine) difference(a, b value) (value, *fault) {
	left, _ := a.ref.(*table)
	out := newTable()
	for _, key := range left.keys {
		_, found, f := m.find(b, key)
		if f == nil && !found {
			f = out.put(m, key, null, false)
		}
		if f != nil {
			return null, f
		}
	}
	return value{kind: kindSet, ref: out}, nil
}

// repeat is s * n. What is too long is refused before it is made.
func (m *machine) repeat(v, times value) (value, *fault) {
	if v.kind != kindText && !v.isSequence() {
		return null, unsupported("*", v, times)
	}
	n := int64(maxText + 1)
	if times.isSmall() {
		n = max(times.n, 0)
	} else if times.big().Sign() < 0 {
		n = 0
	}
	if v.kind == kindText {
		return m.repeatText(v.text(), n)
	}
	size := int64(count(v))
	if size == 0 || n == 0 {
		return value{kind: v.kind, ref: []value(nil)}, nil
	}
	if n > maxItems || n*size > maxItems {
		return null, tooMany(min(n, math.MaxInt64/size) * size)
	}
	if f := m.room(int(n * size)); f != nil {
		return null, f
	}
	all := make([]value, 0, n*size)
	for range n {
		for i := range int(size) {
			all = append(all, item(v, i))
		}
	}
	return value{kind: v.kind, ref: all}, nil
}

func (m *machine) repeatText(s string, n int64) (value, *fault) {
	size := int64(len(s))
	if size == 0 || n == 0 {
		return textValue(""), nil
	}
	if n > maxText || n*size > maxText {
		return null, tooLong(int(min(n, math.MaxInt64/size) * size))
	}
	if f := m.write(int(n * size)); f != nil {
		return null, f
	}
	return textValue(strings.Repeat(s, int(n))), nil
}
