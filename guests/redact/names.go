package main

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// name is a word of a name to look for.
type name struct {
	word     string
	exact    bool // too short to match whatever the case: Bo, but not bo
	unspaced bool // of a script in which no space ends a word
}

// particles are parts of names that are common words of their languages.
const particles = " al am bin da das de del den der des di do dos du el ibn la le los san te ten ter und van vom von zu zum zur "

// appendNames adds the words of a full name.
func appendNames(names []name, full string) []name {
	for i := 0; i < len(full); {
		end := nameWordEnd(full, i)
		if end == i {
			_, size := utf8.DecodeRuneInString(full[i:])
			i += size
			continue
		}
		word := full[i:end]
		i = end
		letters := utf8.RuneCountInString(word)
		if letters < 2 || strings.Contains(particles, " "+strings.ToLower(word)+" ") {
			continue
		}
		unspaced := isUnspaced(after(word, 0))
		names = append(names, name{word, letters == 2 && !unspaced, unspaced})
	}
	return names
}

// nameWordEnd returns the end of the word at i: letters and marks, and the
// apostrophes between them as in O'Brien.
func nameWordEnd(text string, i int) int {
	end := i
	for j := i; j < len(text); {
		r, size := utf8.DecodeRuneInString(text[j:])
		letter := unicode.IsLetter(r) || unicode.IsMark(r)
		if !letter && (!isApostrophe(r) || end != j || j == i) {
			break
		}
		j += size
		if letter {
			end = j
		}
	}
	return end
}

func isApostrophe(r rune) bool { return r == '\'' || r == '’' }

// namesEnd returns the end of the names that begin at i, or 0. Names with only a
// space or hyphen between them count as one; an e-mail address behind them is its own.
func namesEnd(text string, i int, names []name) int {
	end := nameEnd(text, i, names)
	for end > 0 {
		r, size := utf8.DecodeRuneInString(text[end:])
		next := 0
		if size > 0 && strings.ContainsRune(spaces+hyphens, r) && emailEnd(text, end+size) == 0 {
			next = nameEnd(text, end+size, names)
		}
		if next == 0 {
			return end
		}
		end = next
	}
	return 0
}

func nameEnd(text string, i int, names []name) int {
	longest := 0
	for _, n := range names {
		end := i + matchPrefix(text[i:], n)
		if end == i || end < longest {
			continue
		}
		if n.unspaced || !isWord(before(text, i)) && !isWord(after(text, end)) {
			longest = end
		}
	}
	return longest
}

// matchPrefix returns how many bytes of text the name takes, 0 if it is not there.
func matchPrefix(text string, n name) int {
	at := 0
	for _, want := range n.word {
		r, size := utf8.DecodeRuneInString(text[at:])
		if size == 0 || r != want && (n.exact || fold(r) != fold(want)) {
			return 0
		}
		at += size
	}
	return at
}

// fold makes letters that differ by case the same, and the two apostrophes.
func fold(r rune) rune {
	if r == '’' {
		return '\''
	}
	return unicode.ToLower(unicode.ToUpper(r))
}
