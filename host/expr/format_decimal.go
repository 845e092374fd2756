package expr

import (
	"fmt"
	"strings"

	"github.com/cockroachdb/apd/v3"
)

// formatDecimal formats what a Decimal is exactly, where a float would not be.
func (m *machine) formatDecimal(v value, s spec) (string, *fault) {
	d := v.decimal()
	if s.alternate || s.grouping == '_' {
		return "", badFormat("a Decimal's format has no # and no _")
	}
	if d.Form != apd.Finite {
		return s.assemble(s.signOf(d.Negative), strings.TrimPrefix(d.String(), "-"), "", 3), nil
	}
	body, f := decimalDigits(new(apd.Decimal).Abs(d), s)
	if f != nil {
		return "", f
	}
	end := strings.IndexAny(body, ".eE%")
	if end < 0 {
		end = len(body)
	}
	negative := d.Negative && (!s.plusZero || !isZeroText(body))
	return s.assemble(s.signOf(negative), body[:end], body[end:], 3), nil
}

// decimalDigits is d, which is not negative, but for padding.
func decimalDigits(d *apd.Decimal, s spec) (string, *fault) {
	var f *fault
	switch s.kind {
	case 'f', 'F', '%':
		suffix := ""
		if s.kind == '%' {
			d.Exponent += 2
			suffix = "%"
		}
		if s.precision >= 0 {
			d, f = rounded(d, int32(s.precision))
		}
		if f != nil {
			return "", f
		}
		return d.Text('f') + suffix, nil
	case 'e', 'E':
		text := scientific(d, s.precision)
		if s.kind == 'E' {
			text = strings.ToUpper(text)
		}
		return text, nil
	}
	if s.precision >= 0 {
		d = significant(d, max(s.precision, 1))
	}
	text := d.String()
	if s.kind == 'g' || s.kind == 'n' {
		text = strings.ToLower(text)
	}
	return text, nil
}

// significant rounds d to so many digits, if it has more.
func significant(d *apd.Decimal, digits int) *apd.Decimal {
	if d.NumDigits() <= int64(digits) {
		return d
	}
	wide := decimals
	wide.Precision = uint32(digits)
	out := new(apd.Decimal)
	if _, err := wide.Round(out, d); err != nil {
		return d
	}
	return out
}

// scientific is d with one digit before the point, and as many after it as precision
// says, or as it has.
func scientific(d *apd.Decimal, precision int) string {
	if precision >= 0 {
		d = significant(d, precision+1)
	}
	digits := d.Coeff.String()
	exponent := int(d.Exponent) + len(digits) - 1
	if missing := precision + 1 - len(digits); precision >= 0 && missing > 0 {
		if d.IsZero() {
			exponent = int(d.Exponent) + precision
		}
		digits += strings.Repeat("0", missing)
	}
	mantissa := digits[:1]
	if len(digits) > 1 {
		mantissa += "." + digits[1:]
	}
	return fmt.Sprintf("%se%+d", mantissa, exponent)
}
