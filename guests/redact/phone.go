package main

import (
	"strings"
	"unicode/utf8"
)

// phoneEnd returns the end of the phone number that begins at i, or 0. A plus, a
// trunk or international prefix, or an area code in brackets makes it one; else
// only the few groupings that are written for hardly anything but phone numbers.
func phoneEnd(text string, i int) int {
	if !startsPhone(text, i) {
		return 0
	}
	plus, bracket := text[i] == '+', text[i] == '('
	from := i
	if plus {
		from++
	}
	if from < len(text) && text[from] == '(' {
		from++
	}
	digits, groups := readGroups(text, from, phoneSeparators, 3)
	if bracket && (len(groups) < 2 || text[groups[0].end] != ')') {
		return 0
	}
	for n := len(groups); n > 0; n-- {
		end := groups[n-1].end
		if !isASCIIWord(after(text, end)) {
			if plus && isInternational(digits, 8) || !plus && !isDecimal(text, end) && isNational(digits, groups[:n], bracket) {
				return end
			}
		}
		digits = digits[:len(digits)-groups[n-1].digits]
	}
	return 0
}

// startsPhone rules out the inside of identifiers, such as A-0123-456 and #0123456789.
func startsPhone(text string, i int) bool {
	if c := text[i]; c != '+' && c != '(' && !isDigit(c) {
		return false
	}
	r, size := utf8.DecodeLastRuneInString(text[:i])
	if isASCIIWord(r) || size > 0 && strings.ContainsRune("#_+$€£¥", r) {
		return false
	}
	joined := size > 0 && strings.ContainsRune("-/.,", r)
	return !joined || !isASCIIWord(before(text, i-size)) || r == '.' && isASCIILetter(text[i-size-1])
}

// isDecimal reports whether a decimal comma follows, as in 612 345 678,90.
func isDecimal(text string, end int) bool {
	return end+1 < len(text) && text[end] == ',' && isDigit(text[end+1])
}

// isInternational checks a number that begins with its country code (E.164).
func isInternational(digits []byte, least int) bool {
	return len(digits) >= least && len(digits) <= 15 && digits[0] != '0'
}

func isNational(digits []byte, groups []group, bracket bool) bool {
	if bracket {
		return groups[0].digits <= 5 && len(digits) >= 7 && len(digits) <= 12
	}
	if len(digits) < 2 {
		return false
	}
	if digits[0] == '0' {
		if digits[1] == '0' {
			return isInternational(digits[2:], 9)
		}
		written := len(groups) > 1 && groups[0].digits > 1 && len(digits) >= 9 && len(digits) <= 12
		return written || len(groups) == 1 && (len(digits) == 10 || len(digits) == 11)
	}
	return hasPhoneShape(digits, groups)
}

// phoneShapes are groupings of numbers without a trunk prefix: the lengths of
// the groups, and for each position from the first on the digits it can have.
var phoneShapes = []struct {
	groups string
	leads  []string
}{
	{"334", []string{"23456789", "", "", "23456789"}},                  // North America
	{"1334", []string{"1", "23456789", "", "", "23456789"}},            // the same with its country code
	{"333", []string{"6789"}},                                          // Spain, Portugal, Poland
	{"344", []string{"1", "3456789"}}, {"B", []string{"1", "3456789"}}, // mobile phones in China
}

func hasPhoneShape(digits []byte, groups []group) bool {
	shape := make([]byte, len(groups))
	for i, g := range groups {
		shape[i] = "0123456789ABCDEFGHIJK"[g.digits]
	}
	for _, s := range phoneShapes {
		if s.groups != string(shape) {
			continue
		}
		fits := true
		for i, lead := range s.leads {
			fits = fits && (lead == "" || strings.IndexByte(lead, digits[i]) >= 0)
		}
		if fits {
			return true
		}
	}
	return false
}

// dateEnd returns the end of the date that begins at i, or 0: 2024-01-31,
// 31.1.2024, 1/31/24. What goes on with the same separator is no date.
func dateEnd(text string, i int) int {
	if !startsDigits(text, i) {
		return 0
	}
	digits, groups := readGroups(text, i, "-./", 1)
	if len(groups) != 3 {
		return 0
	}
	a, b, c := groups[0], groups[1], groups[2]
	if text[a.end] != text[b.end] {
		return 0
	}
	yearFirst := a.digits == 4 && b.digits <= 2 && c.digits <= 2
	yearLast := a.digits <= 2 && b.digits <= 2 && (c.digits == 4 || c.digits == 2)
	middle := digits[a.digits : a.digits+b.digits]
	if !yearFirst && !yearLast || string(middle) > "31" && b.digits == 2 {
		return 0
	}
	return c.end
}
