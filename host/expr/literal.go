package expr

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// text reads a string literal from its opening quote on; prefix is r, u or what is refused.
func (l *lexer) text(prefix string) {
	start := l.at
	switch {
	case strings.Contains(prefix, "f"), strings.Contains(prefix, "t"):
		l.fail(start, "f-strings are not allowed", "write 'total {}'.format(x), or 'total ' + str(x)")
		return
	case strings.Contains(prefix, "b"):
		l.fail(start, "bytes are not allowed", "write a string without b before its quote")
		return
	}
	quote := l.source[l.at : l.at+1]
	if strings.HasPrefix(l.source[l.at:], strings.Repeat(quote, 3)) {
		quote = strings.Repeat(quote, 3)
	}
	l.at += len(quote)
	var out []byte
	for l.at < len(l.source) && l.err == nil {
		rest := l.source[l.at:]
		switch {
		case strings.HasPrefix(rest, quote):
			l.at += len(quote)
			l.add(tokenText, start, string(out))
			return
		case rest[0] == '\\' && len(rest) > 1:
			out = l.escape(out, prefix == "r")
		case rest[0] == '\n' && len(quote) == 1:
			l.fail(start, "a string has no end on its line", "close it with "+quote+", or write \\n for a line end")
		default:
			out = append(out, rest[0])
			l.at++
		}
	}
	l.fail(start, "a string has no end", "close it with "+quote)
}

// escape reads what a backslash begins.
func (l *lexer) escape(out []byte, raw bool) []byte {
	start := l.at
	c := l.source[l.at+1]
	l.at += 2
	if raw {
		return append(out, '\\', c)
	}
	switch c {
	case '\n':
		return out
	case '\\', '\'', '"':
		return append(out, c)
	case 'n':
		return append(out, '\n')
	case 't':
		return append(out, '\t')
	case 'r':
		return append(out, '\r')
	case 'a', 'b', 'f', 'v':
		return append(out, map[byte]byte{'a': 7, 'b': 8, 'f': 12, 'v': 11}[c])
	case 'x':
		return l.codePoint(out, start, 2)
	case 'u':
		return l.codePoint(out, start, 4)
	case 'U':
		return l.codePoint(out, start, 8)
	case 'N':
		l.fail(start, "\\N{...} is not allowed", "write the character itself, or \\u and its number")
		return out
	}
	if c >= '0' && c <= '7' {
		n := rune(c - '0')
		for i := 0; i < 2 && l.at < len(l.source) && l.source[l.at] >= '0' && l.source[l.at] <= '7'; i++ {
			n = n*8 + rune(l.source[l.at]-'0')
			l.at++
		}
		return utf8.AppendRune(out, n)
	}
	l.at-- // what is no escape is a backslash
	return append(out, '\\')
}

func (l *lexer) codePoint(out []byte, start, digits int) []byte {
	if len(l.source)-l.at >= digits {
		if n, err := strconv.ParseUint(l.source[l.at:l.at+digits], 16, 32); err == nil && utf8.ValidRune(rune(n)) && n <= utf8.MaxRune {
			l.at += digits
			return utf8.AppendRune(out, rune(n))
		}
	}
	l.fail(start, "this escape is no character", "write \\xhh, \\uhhhh or \\Uhhhhhhhh with hexadecimal digits, and no half of a surrogate pair")
	return out
}

// numberLiteral reads a number's spelling in a source. why says what is wrong with it.
func numberLiteral(text string) (v value, why string) {
	const misplaced = "underscores stand between digits"
	if len(text) > maxDigits {
		return value{}, "a number of " + grouped(len(text)) + " characters; the limit is " + grouped(maxDigits)
	}
	if strings.HasSuffix(text, "_") || strings.Contains(text, "__") || strings.Contains(text, "_.") || strings.Contains(text, "._") {
		return value{}, misplaced
	}
	plain := strings.ToLower(strings.ReplaceAll(text, "_", ""))
	based := len(plain) > 1 && strings.IndexByte("xob", plain[1]) >= 0
	if !based && strings.ContainsAny(plain, ".e") {
		f, err := strconv.ParseFloat(plain, 64)
		if err != nil && math.IsInf(f, 0) {
			return value{}, "this number is too large for a float"
		}
		return floatValue(f), ""
	}
	if !based && len(plain) > 1 && plain[0] == '0' && strings.Trim(plain, "0") != "" {
		return value{}, "an integer does not begin with 0"
	}
	base := 10
	if based {
		base = map[byte]int{'x': 16, 'o': 8, 'b': 2}[plain[1]]
		plain = plain[2:]
	}
	n, ok := new(big.Int).SetString(plain, base)
	if !ok {
		return value{}, "this is no number"
	}
	if n.BitLen() > maxBits {
		return value{}, "an integer of " + grouped(n.BitLen()) + " bits; the limit is " + grouped(maxBits)
	}
	return bigValue(n), ""
}
