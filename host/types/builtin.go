package types

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// builtin are hexDAG's own types. Nothing changes the map.
var builtin = byName(
	&fieldType{name: "str", accepts: []string{"string"}, coerce: isString},
	&fieldType{name: "int", accepts: []string{"integer"}, coerce: coerceInt},
	&fieldType{name: "float", accepts: []string{"number"}, coerce: coerceFloat},
	&fieldType{name: "bool", accepts: []string{"boolean"}, coerce: coerceBool},
	&fieldType{name: "list", accepts: []string{"array"}, coerce: isList},
	&fieldType{name: "dict", accepts: []string{"object"}, coerce: isObject},
	&fieldType{name: "Any", coerce: func(v kernel.Value) (kernel.Value, bool) { return v, true }},

	&fieldType{name: "currency", hint: "an amount of money, as a number", accepts: []string{"number", "string", "null"}, coerce: coerceCurrency},
	&fieldType{name: "flexible_bool", hint: "yes or no", accepts: []string{"boolean", "string", "number", "null"}, coerce: coerceFlexibleBool},
	&fieldType{name: "score", hint: "a number from 0.0 to 1.0", accepts: []string{"number", "string", "null"}, coerce: coerceScore},
	&fieldType{name: "upper_str", hint: "in capitals", accepts: scalars, coerce: text(strings.ToUpper)},
	&fieldType{name: "lower_str", hint: "in small letters", accepts: scalars, coerce: text(strings.ToLower)},
	&fieldType{name: "trimmed_str", hint: "without white space around it", accepts: scalars, coerce: text(strings.TrimSpace)},
	&fieldType{name: "nullable_str", hint: "null if not known", accepts: []string{"string", "null"}, coerce: coerceNullable},
)

// scalars are the JSON types of what can be read as a text.
var scalars = []string{"string", "number", "boolean", "null"}

func byName(types ...*fieldType) map[string]*fieldType {
	m := make(map[string]*fieldType, len(types))
	for _, t := range types {
		m[t.name] = t
	}
	return m
}

func isString(v kernel.Value) (kernel.Value, bool) {
	_, ok := v.(string)
	return v, ok
}

func isList(v kernel.Value) (kernel.Value, bool) {
	_, ok := v.([]any)
	return v, ok
}

func isObject(v kernel.Value) (kernel.Value, bool) {
	_, ok := v.(map[string]any)
	return v, ok
}

// numeral returns the text of a number, or of a string that may write one.
func numeral(v kernel.Value) string {
	switch v := v.(type) {
	case json.Number:
		return string(v)
	case string:
		return strings.TrimSpace(v)
	}
	return ""
}

// coerceInt takes 5, 5.0 and "5", as hexDAG does.
func coerceInt(v kernel.Value) (kernel.Value, bool) { return asValue(toInt(numeral(v))) }

func coerceFloat(v kernel.Value) (kernel.Value, bool) { return asValue(toFloat(numeral(v))) }

func asValue(n json.Number, ok bool) (kernel.Value, bool) { return n, ok }

func coerceBool(v kernel.Value) (kernel.Value, bool) {
	if s, ok := v.(string); ok {
		switch strings.ToLower(strings.TrimSpace(s)) {
		case "true":
			return true, true
		case "false":
			return false, true
		}
	}
	_, ok := v.(bool)
	return v, ok
}

// nulls are the texts that say that there is nothing to say.
var nulls = map[string]bool{
	"n/a": true, "na": true, "none": true, "null": true, "nil": true, "tbd": true, "unknown": true,
	"not available": true, "not specified": true, "-": true, "--": true, "": true,
}

func isNull(text string) bool { return nulls[strings.ToLower(strings.TrimSpace(text))] }

func coerceNullable(v kernel.Value) (kernel.Value, bool) {
	if v == nil {
		return nil, true
	}
	s, ok := v.(string)
	if ok && isNull(s) {
		return nil, true
	}
	return v, ok
}

func coerceFlexibleBool(v kernel.Value) (kernel.Value, bool) {
	switch v := v.(type) {
	case nil, bool:
		return v, true
	case string:
		if isNull(v) {
			return nil, true
		}
	}
	return truth(strings.ToLower(numeral(v)))
}

// truth reads a word as a boolean.
func truth(word string) (kernel.Value, bool) {
	switch word {
	case "true", "yes", "1", "y", "on":
		return true, true
	case "false", "no", "0", "n", "off":
		return false, true
	}
	return nil, false
}

func coerceScore(v kernel.Value) (kernel.Value, bool) {
	switch v.(type) {
	case nil, string, json.Number:
	default:
		return nil, false
	}
	r, ok := parseNumber(numeral(v))
	if !ok {
		return nil, true
	}
	f, _ := r.Float64()
	return formatFloat(min(max(f, 0), 1)), true
}

// text returns the coercion to a text without white space around it. An empty one
// is null.
func text(transform func(string) string) func(kernel.Value) (kernel.Value, bool) {
	return func(v kernel.Value) (kernel.Value, bool) {
		s, ok := plainText(v)
		if s = transform(strings.TrimSpace(s)); s == "" {
			return nil, ok
		}
		return s, ok
	}
}

// plainText returns a scalar as Python's str does; null has no text.
func plainText(v kernel.Value) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "", true
	case string:
		return v, true
	case json.Number:
		return string(v), true
	case bool:
		if v {
			return "True", true
		}
		return "False", true
	}
	return "", false
}

// An amount is one run of digits and separators, with a sign, and words or
// symbols around it. A word that multiplies makes it no amount: $1.5M is not 1.5.
var (
	amount = regexp.MustCompile(`^(?:(?:[^0-9]*[^0-9.,\p{L}−-])?([−-])\s*(?:[A-Za-z]{3}|[A-Za-z]{0,2}\p{Sc})?\s*|(?:[^0-9]*[^0-9.,−-])?)` +
		`([0-9.,'’\x{a0}\x{202f} ]*[0-9][.,]?)([^0-9]*)$`)
	multiplier = regexp.MustCompile(`(?i)^\s*(?:(?:k|m|b|t|bn|mn|mio|mrd|thousand|million|billion|trillion)\b|[%-]\s*$)`)
)

// maxAmount bounds the text of an amount, in bytes.
const maxAmount = 256

func coerceCurrency(v kernel.Value) (kernel.Value, bool) {
	switch v := v.(type) {
	case nil:
		return nil, true
	case json.Number:
		return asValue(toFloat(string(v)))
	case string:
		if digits, ok := amountDigits(v); ok {
			if f, ok := toFloat(digits); ok {
				return f, true
			}
		}
		return nil, true
	}
	return nil, false
}

// amountDigits returns the number that a text writes with separators.
func amountDigits(text string) (string, bool) {
	if len(text) > maxAmount {
		return "", false
	}
	m := amount.FindStringSubmatch(text)
	if m == nil || multiplier.MatchString(m[3]) {
		return "", false
	}
	sign := ""
	if m[1] != "" {
		sign = "-"
	}
	digits := strings.Trim(m[2], " \u00a0\u202f")
	point := decimalPoint(digits)
	whole, fraction := digits, ""
	if point >= 0 {
		whole, fraction = digits[:point], digits[point+1:]
	}
	whole, ok := ungroup(whole)
	return sign + whole + "." + fraction, ok
}

// decimalPoint returns where the fraction of an amount starts, or -1. With both a
// point and a comma, it is the later one; a comma alone, unless three digits follow
// it; a point alone, unless there are several.
func decimalPoint(digits string) int {
	point, comma := strings.LastIndexByte(digits, '.'), strings.LastIndexByte(digits, ',')
	switch {
	case point >= 0 && comma >= 0:
		return max(point, comma)
	case comma >= 0:
		if strings.Count(digits, ",") > 1 || len(digits)-comma == 4 {
			return -1
		}
		return comma
	case strings.Count(digits, ".") > 1:
		return -1
	}
	return point
}

// ungroup removes the one separator that stands between groups of digits: of
// three, but before the last of them two will do, as in India.
func ungroup(whole string) (string, bool) {
	var separator rune
	var b strings.Builder
	group := 0 // digits since the last separator
	for _, r := range whole {
		if r >= '0' && r <= '9' {
			b.WriteRune(r)
			group++
			continue
		}
		inner := separator != 0
		if inner && r != separator || inner && group < 2 || group == 0 || group > 3 {
			return "", false
		}
		separator, group = r, 0
	}
	if b.Len() == 0 {
		return "0", whole == ""
	}
	return b.String(), separator == 0 || group == 3
}
