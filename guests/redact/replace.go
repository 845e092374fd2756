package main

import (
	"unicode"
	"unicode/utf8"
)

// replace returns text with personal data replaced, and how many pieces. It goes
// through the text once, from one possible beginning to the next.
func replace(text string, names []name) (string, int) {
	var out []byte
	done, n := 0, 0
	for i := 0; i < len(text); {
		label, end := find(text, i, names)
		if label != "" {
			out = append(append(out, text[done:i]...), label...)
			done = end
			n++
		}
		i = end
	}
	if n == 0 {
		return text, 0
	}
	return string(append(out, text[done:]...)), n
}

// find returns the label and the end of the personal data that begins at i. If
// there is none, the label is "" and the search goes on at end.
func find(text string, i int, names []name) (label string, end int) {
	if end := emailEnd(text, i); end > 0 {
		return "[EMAIL]", end
	}
	if end := ibanEnd(text, i); end > 0 {
		return "[IBAN]", end
	}
	if end := dateEnd(text, i); end > 0 {
		return "", end // else a date and a time could make a phone number
	}
	if end := cardEnd(text, i); end > 0 {
		return "[CARD]", end
	}
	if end := phoneEnd(text, i); end > 0 {
		return "[PHONE]", end
	}
	if end := namesEnd(text, i, names); end > 0 {
		return "[NAME]", end
	}
	_, size := utf8.DecodeRuneInString(text[i:])
	return "", i + size
}

func before(text string, i int) rune {
	r, _ := utf8.DecodeLastRuneInString(text[:i])
	return r
}

func after(text string, i int) rune {
	r, _ := utf8.DecodeRuneInString(text[i:])
	return r
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isASCIILetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isASCIIWord(r rune) bool {
	return r < utf8.RuneSelf && (isDigit(byte(r)) || isASCIILetter(byte(r)))
}

// isWord reports whether r is a part of a word: a letter, a mark or a digit.
func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r) }

// isUnspaced reports whether r is of a script that sets words or their endings
// side by side without a space: Thai to Myanmar, and the scripts of East Asia.
func isUnspaced(r rune) bool {
	return r >= 0x0e00 && r <= 0x109f || r >= 0x1100 && r <= 0x11ff || r >= 0x1780 && r <= 0x17ff || r >= 0x2e80 && r < 0xfb00 || r >= 0x20000
}
