package expr

import (
	"math"
	"math/big"
	"strings"

	"github.com/cockroachdb/apd/v3"
)

// decimals is the context that Python's Decimals have unless told otherwise: 28
// digits, half to even.
var decimals = apd.Context{Precision: 28, Rounding: apd.RoundHalfEven, MaxExponent: maxSpread, MinExponent: -maxSpread, Traps: apd.DefaultTraps &^ (apd.Subnormal | apd.Underflow)}

func badDecimal(why string) *fault {
	return wrong("Decimal: "+why, "use numbers of up to 28 digits with exponents up to "+grouped(maxSpread))
}

// toDecimal converts any number exactly, and text that is one.
func (m *machine) toDecimal(v value) (value, *fault) {
	switch {
	case v.kind == kindDecimal:
		return v, nil
	case v.isInteger():
		return decimalValue(apd.NewWithBigInt(new(apd.BigInt).SetMathBigInt(v.big()), 0)), m.spend(1)
	case v.kind == kindFloat:
		return exactDecimal(v.float())
	case v.kind == kindText:
		return m.parseDecimal(v.text())
	case v.kind == kindMissing:
		return null, isMissing(v)
	}
	return null, wrong(aType(v)+" is no Decimal", "pass a number, or text such as '2.25'")
}

func (m *machine) parseDecimal(s string) (value, *fault) {
	if len(s) > maxDigits {
		return null, beyond("a number of "+grouped(len(s))+" characters", maxDigits, "characters", "use a shorter one")
	}
	d, _, err := apd.NewFromString(strings.ReplaceAll(strings.TrimSpace(s), "_", ""))
	if err != nil && strings.Contains(err.Error(), "exponent") {
		return null, farDecimal()
	}
	if err != nil {
		return null, badDecimal("this text is no number")
	}
	return checkDecimal(d)
}

func farDecimal() *fault {
	return beyond("a Decimal's exponent is too big", maxSpread, "either way", "use smaller numbers")
}

func checkDecimal(d *apd.Decimal) (value, *fault) {
	if d.Form == apd.Finite && (d.Exponent > maxSpread || d.Exponent < -maxSpread) {
		return null, farDecimal()
	}
	return decimalValue(d), nil
}

func exactDecimal(f float64) (value, *fault) {
	r := new(big.Rat).SetFloat64(f)
	if r == nil {
		d, _, err := apd.NewFromString(floatText(f))
		if err != nil {
			return null, badDecimal("this float is no number")
		}
		return decimalValue(d), nil
	}
	twos := r.Denom().BitLen() - 1 // the denominator is a power of two
	n := new(big.Int).Exp(big.NewInt(5), big.NewInt(int64(twos)), nil)
	n.Mul(n, r.Num())
	return decimalValue(apd.NewWithBigInt(new(apd.BigInt).SetMathBigInt(n), int32(-twos))), nil
}

// rational is the exact value of a finite number.
func rational(v value) (*big.Rat, bool) {
	switch {
	case v.isInteger():
		return new(big.Rat).SetInt(v.big()), true
	case v.kind == kindFloat:
		r := new(big.Rat).SetFloat64(v.float())
		return r, r != nil
	case v.kind != kindDecimal || v.decimal().Form != apd.Finite:
		return nil, false
	}
	d := v.decimal()
	n := new(big.Int).Set(d.Coeff.MathBigInt())
	if d.Negative {
		n.Neg(n)
	}
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(d.Exponent, -d.Exponent))), nil)
	if d.Exponent >= 0 {
		return new(big.Rat).SetInt(n.Mul(n, power)), true
	}
	return new(big.Rat).SetFrac(n, power), true
}

func (m *machine) decimalArithmetic(op string, a, b value) (value, *fault) {
	a, f := m.toDecimal(a)
	if f != nil {
		return null, f
	}
	b, f = m.toDecimal(b)
	if f != nil {
		return null, f
	}
	x, y, out := a.decimal(), b.decimal(), new(apd.Decimal)
	for _, v := range []value{a, b} {
		if f := m.reach(v); f != nil {
			return null, f
		}
	}
	if y.IsZero() && (op == "/" || op == "//" || op == "%") {
		return null, divisionByZero()
	}
	var err error
	switch op {
	case "+":
		_, err = decimals.Add(out, x, y)
	case "-":
		_, err = decimals.Sub(out, x, y)
	case "*":
		_, err = decimals.Mul(out, x, y)
	case "/":
		var inexact apd.Condition
		if inexact, err = decimals.Quo(out, x, y); err == nil && !inexact.Inexact() {
			reduce(out, x.Exponent-y.Exponent)
		}
	case "//":
		_, err = decimals.QuoInteger(out, x, y)
	case "%":
		_, err = decimals.Rem(out, x, y)
	case "**":
		return m.decimalPower(x, y)
	}
	if err != nil {
		return null, badDecimal(err.Error())
	}
	return checkDecimal(out)
}

// reach counts the exact use of a number: how far the digits of a Decimal reach from
// its point is what computing with it costs.
func (m *machine) reach(v value) *fault {
	cost := 16
	if d := v.decimal(); d != nil {
		cost += (int(max(d.Exponent, -d.Exponent)) + d.Coeff.BitLen()/4) / 4
	}
	return m.spend(cost)
}

// reduce drops zeros at the end of an exact quotient, down to the exponent that its
// operands have.
func reduce(d *apd.Decimal, exponent int32) {
	ten, digit := apd.NewBigInt(10), new(apd.BigInt)
	for d.Exponent < exponent && !d.IsZero() {
		rest, _ := new(apd.BigInt).QuoRem(&d.Coeff, ten, digit)
		if digit.Sign() != 0 {
			return
		}
		d.Coeff.Set(rest)
		d.Exponent++
	}
}

func (m *machine) decimalPower(x, y *apd.Decimal) (value, *fault) {
	const largest = 10_000
	n, err := y.Int64()
	if err != nil || n > largest || n < -largest {
		return null, badDecimal("a power is an integer up to " + grouped(largest))
	}
	if f := m.spend(1000); f != nil {
		return null, f
	}
	out := new(apd.Decimal)
	if _, err := decimals.Pow(out, x, apd.New(n, 0)); err != nil {
		return null, badDecimal(err.Error())
	}
	return checkDecimal(out)
}

func negateDecimal(v value) value {
	out := new(apd.Decimal).Neg(v.decimal())
	if out.IsZero() {
		out.Negative = false
	}
	return decimalValue(out)
}

func decimalFloat(v value) float64 {
	if r, ok := rational(v); ok {
		f, _ := r.Float64()
		if f == 0 && v.decimal().Negative {
			f = math.Copysign(0, -1)
		}
		return f
	}
	d := v.decimal()
	switch {
	case d.Form == apd.Infinite && d.Negative:
		return math.Inf(-1)
	case d.Form == apd.Infinite:
		return math.Inf(1)
	}
	return math.NaN()
}

// rounded is a Decimal with as many digits after the point, half to even.
func rounded(d *apd.Decimal, places int32) (*apd.Decimal, *fault) {
	out := new(apd.Decimal)
	wide := decimals
	wide.Precision = maxDigits + maxSpread
	if _, err := wide.Quantize(out, d, -places); err != nil {
		return nil, badDecimal("it cannot be rounded to " + grouped(int(places)) + " places")
	}
	return out, nil
}
