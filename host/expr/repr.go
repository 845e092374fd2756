package expr

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
)

// Repr returns v as Python's repr shows it: None, True, 1, 1.0, 'text', [1, 'a'],
// {'k': 1}. The members of an object are sorted by name.
func Repr(v kernel.Value) string { return show(v, (*machine).repr) }

// Str returns v as Python's str shows it: text as it is, anything else as Repr.
func Str(v kernel.Value) string { return show(v, (*machine).str) }

// show renders without limits: what it makes is as large as v, which is there already.
func show(v kernel.Value, as func(*machine, value) (string, *fault)) string {
	s, f := as(&machine{steps: math.MaxInt, textLimit: math.MaxInt}, from(v))
	if f != nil {
		return "<" + f.why + ">" // no value of JSON
	}
	return s
}

// str is Python's str.
func (m *machine) str(v value) (string, *fault) {
	switch v.kind {
	case kindText:
		return v.text(), nil
	case kindInstant:
		return isoTime(v.instant(), " "), nil
	case kindDecimal:
		return v.decimal().String(), m.spend(64)
	}
	return m.repr(v)
}

// repr is Python's repr.
func (m *machine) repr(v value) (string, *fault) {
	switch v.kind {
	case kindInt:
		return strconv.FormatInt(v.n, 10), nil
	case kindFloat:
		return floatText(v.float()), nil
	}
	out, f := m.appendRepr(nil, v, 0)
	return string(out), f
}

func (m *machine) appendRepr(dst []byte, v value, depth int) ([]byte, *fault) {
	if f := m.step(); f != nil {
		return dst, f
	}
	if len(dst) > m.textLimit {
		return dst, tooLong(len(dst))
	}
	switch v.kind {
	case kindNone:
		return append(dst, "None"...), nil
	case kindBool:
		if v.n != 0 {
			return append(dst, "True"...), nil
		}
		return append(dst, "False"...), nil
	case kindInt:
		return strconv.AppendInt(dst, v.n, 10), nil
	case kindBig:
		return v.big().Append(dst, 10), m.spend(v.big().BitLen() / 8)
	case kindFloat:
		return append(dst, floatText(v.float())...), nil
	case kindDecimal:
		return fmt.Appendf(dst, "Decimal('%s')", v.decimal()), m.spend(64)
	case kindText:
		if f := m.write(2 * len(v.text())); f != nil {
			return dst, f
		}
		return appendQuoted(dst, v.text()), nil
	case kindInstant:
		return append(dst, timeRepr(v.instant())...), nil
	case kindRange:
		return appendRange(dst, v), nil
	case kindList, kindTuple, kindSet, kindDict:
		return m.appendItems(dst, v, depth)
	case kindMissing:
		return dst, isMissing(v)
	}
	return appendForeign(dst, v)
}

func appendForeign(dst []byte, v value) ([]byte, *fault) {
	if number, ok := v.ref.(json.Number); ok {
		if _, ok := isJSONNumber(string(number)); ok {
			return append(dst, number...), nil
		}
	}
	return dst, unusable(v)
}

// unusable is the fault of computing with what is no value.
func unusable(v value) *fault {
	if number, ok := v.ref.(json.Number); ok {
		if _, ok := isJSONNumber(string(number)); !ok {
			return wrong("the scope gave the number "+quoted(string(number))+", which is not JSON", "give it values as encoding/json decodes them")
		}
		return beyond("a number of "+grouped(len(number))+" characters", maxDigits, "characters", "use a shorter one")
	}
	return wrong(fmt.Sprintf("the scope gave a %T, which is not JSON", v.ref), "give it values as encoding/json decodes them")
}

func appendRange(dst []byte, v value) []byte {
	s, _ := v.ref.(*span)
	if s.step == 1 {
		return fmt.Appendf(dst, "range(%d, %d)", s.start, s.stop)
	}
	return fmt.Appendf(dst, "range(%d, %d, %d)", s.start, s.stop, s.step)
}

func (m *machine) appendItems(dst []byte, v value, depth int) ([]byte, *fault) {
	if depth > maxNested {
		return dst, tooDeep()
	}
	opening, closing := "[", "]"
	switch {
	case v.kind == kindTuple && count(v) == 1:
		opening, closing = "(", ",)"
	case v.kind == kindTuple:
		opening, closing = "(", ")"
	case v.kind == kindSet && count(v) == 0:
		opening, closing = "set(", ")"
	case v.kind != kindList:
		opening, closing = "{", "}"
	}
	dst = append(dst, opening...)
	first := true
	f := m.each(v, func(item value) *fault {
		if !first {
			dst = append(dst, ", "...)
		}
		first = false
		var f *fault
		if dst, f = m.appendRepr(dst, item, depth+1); f != nil || v.kind != kindDict {
			return f
		}
		member, _, f := m.find(v, item)
		if f != nil {
			return f
		}
		dst, f = m.appendRepr(append(dst, ": "...), member, depth+1)
		return f
	})
	return append(dst, closing...), f
}

// floatText is the shortest text that reads back as f, as Python writes it: with a
// point or an exponent.
func floatText(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func appendQuoted(dst []byte, s string) []byte {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	dst = append(slices.Grow(dst, len(s)+2), quote)
	for i, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, '\\', 'n')
		case r == '\r':
			dst = append(dst, '\\', 'r')
		case r == '\t':
			dst = append(dst, '\\', 't')
		case r == utf8.RuneError && s[i] != 0xef: // a byte of invalid UTF-8
			dst = appendEscaped(dst, rune(s[i]))
		case unicode.IsPrint(r):
			dst = utf8.AppendRune(dst, r)
		default:
			dst = appendEscaped(dst, r)
		}
	}
	return append(dst, quote)
}

func appendEscaped(dst []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	letter, digits := byte('x'), 2
	switch {
	case r >= 0x10000:
		letter, digits = 'U', 8
	case r >= 0x100:
		letter, digits = 'u', 4
	}
	dst = append(dst, '\\', letter)
	for digits--; digits >= 0; digits-- {
		dst = append(dst, hex[r>>(4*digits)&15])
	}
	return dst
}
