package main

import (
	"strings"
	"unicode/utf8"
)

// emailEnd returns the end of the e-mail address that begins at i, or 0. Both
// parts may be in any script; one part does not mix scripts with and without
// spaces, so that in 邮箱ann@example.com the address begins at ann.
func emailEnd(text string, i int) int {
	at := localEnd(text, i)
	if at == i || at == len(text) {
		return 0
	}
	sign, size := utf8.DecodeRuneInString(text[at:])
	if sign != '@' && sign != '＠' {
		return 0
	}
	return domainEnd(text, at+size)
}

// localEnd returns the end of what can stand before an @, or i if i is inside of it.
func localEnd(text string, i int) int {
	first := after(text, i)
	if !isLocal(first) || i > 0 && isLocal(before(text, i)) && isUnspaced(before(text, i)) == isUnspaced(first) {
		return i
	}
	end := i
	for end < len(text) {
		r, size := utf8.DecodeRuneInString(text[end:])
		if !isLocal(r) || isWord(r) && isUnspaced(r) != isUnspaced(first) {
			break
		}
		end += size
	}
	return end
}

func isLocal(r rune) bool { return isWord(r) || r != 0 && strings.ContainsRune(".-_+%'’", r) }

// domainEnd returns the end of a domain of at least two labels of which the last
// is not a number, or 0.
func domainEnd(text string, i int) int {
	valid := 0
	for labels := 1; ; labels++ {
		end := labelEnd(text, i)
		if end == i {
			return valid
		}
		if labels > 1 && end-i > 1 && !isDigit(text[i]) {
			valid = end
		}
		if end == len(text) || text[end] != '.' {
			return valid
		}
		i = end + 1
	}
}

// labelEnd returns the end of a domain label: words and the hyphens between them.
func labelEnd(text string, i int) int {
	first, end := after(text, i), i
	for j := i; j < len(text); {
		r, size := utf8.DecodeRuneInString(text[j:])
		if r != '-' && (!isWord(r) || isUnspaced(r) != isUnspaced(first)) {
			break
		}
		j += size
		if r != '-' {
			end = j
		}
	}
	return end
}
