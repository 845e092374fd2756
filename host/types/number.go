package types

import (
	"encoding/json"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// maxNumber bounds a number's text and its exponent, so that exact arithmetic
// with it is cheap. It is that of package schema.
const maxNumber = 400

// numberText is a number as people and Python's float write it.
var numberText = regexp.MustCompile(`^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]+))?$`)

// parseNumber reads a text as a number, exactly.
func parseNumber(text string) (*big.Rat, bool) {
	m := numberText.FindStringSubmatch(text)
	if len(text) > maxNumber || m == nil {
		return nil, false
	}
	if m[1] != "" {
		if e, err := strconv.Atoi(m[1]); err != nil || e > maxNumber || e < -maxNumber {
			return nil, false
		}
	}
	return new(big.Rat).SetString(text)
}

// toInt returns the integer that a text writes, such as 5, 5.0 or 5e2.
func toInt(text string) (json.Number, bool) {
	r, ok := parseNumber(text)
	if !ok || !r.IsInt() {
		return "", false
	}
	n := r.Num().String()
	return json.Number(n), len(n) <= maxNumber
}

// truncate returns what is left of a number without its fraction.
func truncate(r *big.Rat) json.Number {
	return json.Number(new(big.Int).Quo(r.Num(), r.Denom()).String())
}

// toFloat returns a text's number as a float; one that is too large for it is none.
func toFloat(text string) (json.Number, bool) {
	if _, ok := parseNumber(text); !ok {
		return "", false
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return "", false
	}
	return formatFloat(f), true
}

// formatFloat writes a float as Python does: the shortest text that reads back as
// it, with a point or an exponent.
func formatFloat(f float64) json.Number {
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		format = 'e'
	}
	text := strconv.FormatFloat(f, format, -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return json.Number(text)
}
