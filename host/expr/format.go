package expr

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// spec is Python's format specification: [[fill]align][sign][z][#][0][width][grouping][.precision][type].
type spec struct {
	fill      string
	align     byte // < > ^ =, or 0
	sign      byte // + - or a space
	plusZero  bool // z: a negative zero has no sign
	alternate bool
	zero      bool // a zero before the width
	width     int
	grouping  byte // , or _, or 0
	precision int  // -1 where there is none
	kind      byte // 0 where there is none
}

func parseSpec(text string) (spec, *fault) {
	s := spec{fill: " ", sign: '-', precision: -1}
	rest := text
	if r, n := utf8.DecodeRuneInString(rest); r != utf8.RuneError && len(rest) > n && strings.IndexByte("<>^=", rest[n]) >= 0 {
		s.fill, s.align, rest = rest[:n], rest[n], rest[n+1:]
	} else if rest != "" && strings.IndexByte("<>^=", rest[0]) >= 0 {
		s.align, rest = rest[0], rest[1:]
	}
	if rest != "" && strings.IndexByte("+- ", rest[0]) >= 0 {
		s.sign, rest = rest[0], rest[1:]
	}
	if strings.HasPrefix(rest, "z") {
		s.plusZero, rest = true, rest[1:]
	}
	if strings.HasPrefix(rest, "#") {
		s.alternate, rest = true, rest[1:]
	}
	if strings.HasPrefix(rest, "0") {
		s.zero, rest = true, rest[1:]
		if s.align == 0 {
			s.fill = "0"
		}
	}
	var f *fault
	if s.width, rest, f = formatNumber(rest, "width"); f != nil {
		return s, f
	}
	if rest != "" && (rest[0] == ',' || rest[0] == '_') {
		s.grouping, rest = rest[0], rest[1:]
	}
	if strings.HasPrefix(rest, ".") {
		digits := rest[1:]
		if s.precision, rest, f = formatNumber(digits, "precision"); f != nil {
			return s, f
		}
		if rest == digits {
			return s, badFormat("the format lacks its precision after the point")
		}
	}
	if len(rest) == 1 {
		s.kind, rest = rest[0], ""
	}
	if rest != "" {
		return s, badFormat("the format " + quoted(text) + " is not one of Python's")
	}
	return s, nil
}

func badFormat(why string) *fault {
	return wrong(why, "write such as ',.2f', '05d', '>10', '%' or 'x'")
}

// formatNumber reads the digits at the beginning of s.
func formatNumber(s, name string) (n int, rest string, f *fault) {
	end := 0
	for end < len(s) && isDigit(s[end]) {
		end++
	}
	if end > 0 {
		var err error
		if n, err = strconv.Atoi(s[:end]); err != nil || n > maxWidth {
			return 0, s, beyond("a format's "+name+" is too big", maxWidth, "characters", "use a smaller one")
		}
	}
	return n, s[end:], nil
}

// format is Python's format: v as the specification says.
func (m *machine) format(v value, text string) (string, *fault) {
	if v.kind == kindInstant {
		return m.formatTime(v.instant(), text)
	}
	if text == "" {
		return m.str(v)
	}
	if f := m.spend(16 + len(text)); f != nil {
		return "", f
	}
	s, f := parseSpec(text)
	if f != nil {
		return "", f
	}
	switch {
	case v.kind == kindText:
		return m.formatText(v.text(), s)
	case v.isInteger() && (s.kind == 0 || strings.IndexByte("bcdoxXn", s.kind) >= 0):
		return m.formatInt(v, s)
	case v.isNumber() && (s.kind == 0 || strings.IndexByte("eEfFgGn%", s.kind) >= 0):
		return m.formatFloat(v, s)
	case v.isNumber():
		return "", badFormat(aType(v) + " has no format '" + quoteByte(s.kind) + "'")
	}
	return "", badFormat(aType(v) + " has no formats")
}

func quoteByte(c byte) string { return strings.Trim(quoteRune(rune(c)), "'") }

func (m *machine) formatText(text string, s spec) (string, *fault) {
	if s.kind != 0 && s.kind != 's' || s.align == '=' || s.sign != '-' || s.alternate || s.plusZero || s.grouping != 0 {
		return "", badFormat("text has the formats s, <, > and ^ alone")
	}
	if f := m.write(len(text) + s.width*utf8.UTFMax); f != nil {
		return "", f
	}
	size := utf8.RuneCountInString(text)
	if s.precision >= 0 && s.precision < size {
		text, size = text[:runeOffset(text, s.precision, size)], s.precision
	}
	if s.align == 0 {
		s.align = '<'
	}
	return pad("", text, size, s), nil
}

func (m *machine) formatInt(v value, s spec) (string, *fault) {
	if s.precision >= 0 || s.plusZero {
		return "", badFormat("an integer's format has no precision and no z")
	}
	n := v.big()
	if f := m.spend(n.BitLen() / 8); f != nil {
		return "", f
	}
	sign := s.signOf(n.Sign() < 0)
	if s.kind == 'c' {
		if !n.IsInt64() || n.Int64() < 0 || n.Int64() > utf8.MaxRune || !utf8.ValidRune(rune(n.Int64())) {
			return "", badFormat("this integer is no character")
		}
		return pad("", string(rune(n.Int64())), 1, s), nil
	}
	base, prefix, every := 10, "", 3
	switch s.kind {
	case 'b':
		base, prefix, every = 2, "0b", 4
	case 'o':
		base, prefix, every = 8, "0o", 4
	case 'x', 'X':
		base, prefix, every = 16, "0x", 4
	}
	if s.grouping == ',' && base != 10 {
		return "", badFormat(", groups decimal digits alone; _ groups others")
	}
	digits := strings.TrimPrefix(n.Text(base), "-")
	if s.alternate {
		sign += prefix
	}
	if s.kind == 'X' {
		sign, digits = strings.ToUpper(sign), strings.ToUpper(digits)
	}
	return s.assemble(sign, digits, "", every), nil
}

func (s spec) signOf(negative bool) string {
	switch {
	case negative:
		return "-"
	case s.sign == '+' || s.sign == ' ':
		return string(s.sign)
	}
	return ""
}

// assemble joins sign, grouped digits and what follows them, and pads.
func (s spec) assemble(sign, digits, rest string, every int) string {
	if s.zero && s.align == 0 {
		s.align = '='
	}
	if s.align == 0 {
		s.align = '>'
	}
	if s.grouping != 0 {
		if s.align == '=' && s.fill == "0" {
			digits = zeroGrouped(digits, s.width-len(sign)-len(rest), every)
		}
		digits = string(groupDigits([]byte(digits), s.grouping, every))
	}
	return pad(sign, digits+rest, utf8.RuneCountInString(digits+rest), s)
}

// zeroGrouped puts zeros before digits until they fill width once they are grouped.
func zeroGrouped(digits string, width, every int) string {
	for {
		n := len(digits) + 1
		if n+(n-1)/every > width {
			grouped := len(digits) + (len(digits)-1)/every
			if grouped < width { // a separator cannot come first: one zero more
				digits = "0" + digits
			}
			return digits
		}
		digits = "0" + digits
	}
}

func groupDigits(digits []byte, separator byte, every int) []byte {
	var out []byte
	for i, c := range digits {
		if i > 0 && isHex(digits[i-1]) && (len(digits)-i)%every == 0 {
			out = append(out, separator)
		}
		out = append(out, c)
	}
	return out
}

func isHex(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

// pad fills up to the width; size is how many characters text has.
func pad(sign, text string, size int, s spec) string {
	missing := s.width - size - len(sign)
	if missing <= 0 {
		return sign + text
	}
	left, right := missing, 0
	switch s.align {
	case '<':
		left, right = 0, missing
	case '^':
		left, right = missing/2, missing-missing/2
	case '=':
		return sign + strings.Repeat(s.fill, missing) + text
	}
	return strings.Repeat(s.fill, left) + sign + text + strings.Repeat(s.fill, right)
}

func (m *machine) formatFloat(v value, s spec) (string, *fault) {
	if f := m.spend(32 + max(s.precision, 0)/4); f != nil {
		return "", f
	}
	if v.kind == kindDecimal {
		return m.formatDecimal(v, s)
	}
	f, fault := toFloat(v)
	if fault != nil {
		return "", fault
	}
	negative := math.Signbit(f) && !math.IsNaN(f)
	if s.kind == '%' {
		f *= 100
	}
	body := floatDigits(math.Abs(f), s)
	if s.plusZero && isZeroText(body) {
		negative = false
	}
	sign := s.signOf(negative)
	if s.kind == 'E' || s.kind == 'F' || s.kind == 'G' {
		body = strings.ToUpper(body)
	}
	whole := len(body)
	if i := strings.IndexAny(body, ".eE%"); i >= 0 && !math.IsInf(f, 0) && !math.IsNaN(f) {
		whole = i
	}
	return s.assemble(sign, body[:whole], body[whole:], 3), nil
}

func isZeroText(digits string) bool { return strings.Trim(digits, "0.eE+-%") == "" }

// floatDigits is f, which is not negative, as the specification says, but for padding.
func floatDigits(f float64, s spec) string {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		text := "inf"
		if math.IsNaN(f) {
			text = "nan"
		}
		if s.kind == '%' {
			text += "%"
		}
		return text
	}
	precision := s.precision
	if precision < 0 && s.kind != 0 {
		precision = 6
	}
	switch s.kind {
	case 'e', 'E':
		return point(strconv.FormatFloat(f, 'e', precision, 64), s.alternate)
	case 'f', 'F':
		return point(strconv.FormatFloat(f, 'f', precision, 64), s.alternate)
	case '%':
		return point(strconv.FormatFloat(f, 'f', precision, 64), s.alternate) + "%"
	case 0:
		if precision < 0 {
			return floatText(f)
		}
		return general(f, max(precision, 1), s.alternate, true)
	}
	return general(f, max(precision, 1), s.alternate, false)
}

// point adds the point that # asks for.
func point(text string, alternate bool) string {
	if !alternate || strings.Contains(text, ".") {
		return text
	}
	if i := strings.IndexByte(text, 'e'); i >= 0 {
		return text[:i] + "." + text[i:]
	}
	return text + "."
}

// general is the format g: so many digits that count, with an exponent where that is
// shorter. Without a type, what has no exponent keeps a digit after the point.
func general(f float64, digits int, alternate, plain bool) string {
	scientific := strconv.FormatFloat(f, 'e', digits-1, 64)
	mantissa, exponent, _ := strings.Cut(scientific, "e")
	e, _ := strconv.Atoi(exponent)
	limit := digits
	if plain {
		limit-- // room for the digit after the point
	}
	if e < -4 || e >= limit {
		if !alternate {
			mantissa = trimZeros(mantissa)
		}
		return mantissa + "e" + exponent
	}
	text := strconv.FormatFloat(f, 'f', max(digits-1-e, 0), 64)
	if !alternate {
		text = trimZeros(text)
	}
	if plain && !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

func trimZeros(text string) string {
	if !strings.Contains(text, ".") {
		return text
	}
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}
