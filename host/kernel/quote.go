package kernel

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxQuoted bounds, in bytes, what Quote shows of a text.
const maxQuoted = 512

// Quote makes text that a guest, a model or a file made safe to show in an error,
// a log line or a terminal: control characters, line breaks, escape sequences,
// invisible and direction-changing characters are escaped, invalid UTF-8 is
// marked, and what is longer than 512 bytes is cut.
func Quote(text string) string {
	cut := ""
	if len(text) > maxQuoted {
		end := maxQuoted
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		cut = "… (" + strconv.Itoa(len(text)) + " bytes)"
		text = text[:end]
	}
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && isInvalid(text[i:]):
			b.WriteString(`\x` + strconv.FormatUint(uint64(text[i])|0x100, 16)[1:])
		case r == ' ' || unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String() + cut
}

func isInvalid(s string) bool {
	_, n := utf8.DecodeRuneInString(s)
	return n == 1
}
