package expr

import (
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/apd/v3"

	"github.com/hexdag/hexdag/host/kernel"
)

type kind uint8

const (
	absent      kind = iota // an argument that was not given
	kindMissing             // a name that the scope does not know: ref is its spelling
	kindNone
	kindBool    // n is 0 or 1
	kindInt     // n
	kindBig     // an integer that n does not hold: ref is a *big.Int
	kindFloat   // n holds its bits
	kindDecimal // *apd.Decimal
	kindText    // string
	kindList    // []any as it came from JSON, or []value
	kindTuple   // []value
	kindSet     // *table
	kindDict    // map[string]any as it came from JSON, or *table
	kindRange   // *span
	kindInstant // time.Time
	kindForeign // what the scope gave and is no value: a number beyond the limits, or a Go type that is not JSON's
)

// value is what an expression computes with. Small numbers need no allocation, and
// what came from JSON is not copied. Values are never changed.
type value struct {
	kind kind
	n    int64
	ref  any
}

var null = value{kind: kindNone}

func boolValue(b bool) value {
	if b {
		return value{kind: kindBool, n: 1}
	}
	return value{kind: kindBool}
}

func intValue(n int64) value         { return value{kind: kindInt, n: n} }
func floatValue(f float64) value     { return value{kind: kindFloat, n: int64(math.Float64bits(f))} }
func textValue(s string) value       { return value{kind: kindText, ref: s} }
func listValue(items []value) value  { return value{kind: kindList, ref: items} }
func tupleValue(items []value) value { return value{kind: kindTuple, ref: items} }
func decimalValue(d *apd.Decimal) value {
	return value{kind: kindDecimal, ref: d}
}

func bigValue(n *big.Int) value {
	if n.IsInt64() {
		return intValue(n.Int64())
	}
	return value{kind: kindBig, ref: n}
}

func (v value) float() float64 { return math.Float64frombits(uint64(v.n)) }
func (v value) text() string   { s, _ := v.ref.(string); return s }
func (v value) big() *big.Int {
	if n, ok := v.ref.(*big.Int); ok {
		return n
	}
	return big.NewInt(v.n)
}

func (v value) decimal() *apd.Decimal { d, _ := v.ref.(*apd.Decimal); return d }
func (v value) instant() time.Time    { t, _ := v.ref.(time.Time); return t }

// isNull says whether v is None, or missing.
func (v value) isNull() bool { return v.kind == kindNone || v.kind == kindMissing }

// isInteger is true of booleans, too, as in Python.
func (v value) isInteger() bool { return v.kind >= kindBool && v.kind <= kindBig }
func (v value) isSmall() bool   { return v.kind == kindBool || v.kind == kindInt }
func (v value) isNumber() bool  { return v.kind >= kindBool && v.kind <= kindDecimal }
func (v value) isSequence() bool {
	return v.kind == kindList || v.kind == kindTuple
}

// from takes a value of the scope as it is: what is inside it is taken when it is reached.
func from(raw kernel.Value) value {
	switch v := raw.(type) {
	case nil:
		return null
	case bool:
		return boolValue(v)
	case json.Number:
		return fromNumber(v)
	case string:
		return value{kind: kindText, ref: raw} // as it is boxed already
	case []any:
		return value{kind: kindList, ref: raw}
	case map[string]any:
		return value{kind: kindDict, ref: raw}
	case int:
		return intValue(int64(v))
	case int64:
		return intValue(v)
	case float64:
		return floatValue(v)
	}
	return value{kind: kindForeign, ref: raw}
}

func fromNumber(number json.Number) value {
	s := string(number)
	digits := s
	if len(s) > 1 && s[0] == '-' {
		digits = s[1:]
	}
	if len(digits) > 18 || len(digits) == 0 {
		return fromLongNumber(number)
	}
	var n int64
	for i := range len(digits) {
		if !isDigit(digits[i]) {
			return fromLongNumber(number)
		}
		n = n*10 + int64(digits[i]-'0')
	}
	if len(digits) != len(s) {
		n = -n
	}
	return intValue(n)
}

func fromLongNumber(number json.Number) value {
	s := string(number)
	whole, ok := isJSONNumber(s)
	if !ok || len(s) > maxDigits {
		return value{kind: kindForeign, ref: number}
	}
	if whole {
		n, _ := new(big.Int).SetString(s, 10)
		if n.BitLen() > maxBits {
			return value{kind: kindForeign, ref: number}
		}
		return bigValue(n)
	}
	f, _ := strconv.ParseFloat(s, 64) // out of range is infinity, as in Python
	return floatValue(f)
}

// isJSONNumber says whether s is a number of JSON, and whether it is an integer.
func isJSONNumber(s string) (whole, ok bool) {
	s = strings.TrimPrefix(s, "-")
	digits := func() int {
		n := 0
		for n < len(s) && isDigit(s[n]) {
			n++
		}
		s = s[n:]
		return n
	}
	leadingZero := strings.HasPrefix(s, "0")
	if n := digits(); n == 0 || leadingZero && n > 1 {
		return false, false
	}
	whole = s == ""
	if strings.HasPrefix(s, ".") {
		s = s[1:]
		if digits() == 0 {
			return false, false
		}
	}
	if s != "" && s[0]|0x20 == 'e' {
		if s = s[1:]; s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if digits() == 0 {
			return false, false
		}
	}
	return whole, s == ""
}

// typeName is what Python calls the type of v.
func typeName(v value) string {
	return [...]string{"nothing", "missing", "NoneType", "bool", "int", "int", "float", "Decimal", "str", "list", "tuple", "set", "dict", "range", "datetime", "unsupported value"}[v.kind]
}

// aType is typeName as a sentence has it.
func aType(v value) string {
	switch name := typeName(v); name {
	case "NoneType":
		return "None"
	case "missing", "nothing":
		return name
	case "int", "unsupported value":
		return "an " + name
	default:
		return "a " + name
	}
}

// truth is Python's truthiness; what is missing is false.
func truth(v value) bool {
	switch v.kind {
	case kindBool, kindInt:
		return v.n != 0
	case kindFloat:
		return v.float() != 0
	case kindDecimal:
		return !v.decimal().IsZero()
	case kindBig, kindInstant, kindForeign:
		return true
	case kindText:
		return v.text() != ""
	case kindList, kindTuple, kindSet, kindDict, kindRange:
		return count(v) > 0
	}
	return false
}

// count is how many items a collection has.
func count(v value) int {
	switch c := v.ref.(type) {
	case []any:
		return len(c)
	case []value:
		return len(c)
	case map[string]any:
		return len(c)
	case *table:
		return len(c.keys)
	case *span:
		return c.length()
	}
	return 0
}

// item is the i-th item of a list, tuple or range.
func item(v value, i int) value {
	switch c := v.ref.(type) {
	case []any:
		return from(c[i])
	case []value:
		return c[i]
	case *span:
		return intValue(c.start + int64(i)*c.step)
	}
	return null
}

// span is a range.
type span struct{ start, stop, step int64 }

// maxSpan bounds what a range counts with, so that no arithmetic on it overflows.
const maxSpan = 1 << 53

func (s *span) length() int {
	switch {
	case s.step > 0 && s.start < s.stop:
		return int((s.stop-s.start-1)/s.step + 1)
	case s.step < 0 && s.start > s.stop:
		return int((s.start-s.stop-1)/-s.step + 1)
	}
	return 0
}

func (s *span) contains(n int64) bool {
	if s.step > 0 {
		return n >= s.start && n < s.stop && (n-s.start)%s.step == 0
	}
	return n <= s.start && n > s.stop && (s.start-n)%-s.step == 0
}
