package main

import "strings"

type kind int

const (
	end kind = iota
	name
	quotedName
	number
	literal
	symbol
)

type token struct {
	kind kind
	text string
}

// String is the token as an error shows it.
func (t token) String() string {
	switch t.kind {
	case end:
		return "the end"
	case literal:
		return "'" + t.text + "'"
	}
	return t.text
}

// scan cuts a statement into tokens, the last of which is the end.
func scan(text string) ([]token, error) {
	var tokens []token
	for {
		text = strings.TrimLeft(text, " \t\r\n")
		if text == "" {
			return append(tokens, token{kind: end}), nil
		}
		t, size, err := first(text)
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, t)
		text = text[size:]
	}
}

// first returns the token that a text begins with, and its size.
func first(text string) (token, int, error) {
	c := text[0]
	switch {
	case strings.HasPrefix(text, "--") || strings.HasPrefix(text, "/*"):
		return token{}, 0, syntaxError("there are no comments")
	case c == '\'' || c == '"':
		return quoted(text)
	case isLetter(c):
		n := run(text, func(c byte) bool { return isLetter(c) || isDigit(c) || c == '$' })
		return token{name, text[:n]}, n, nil
	case isDigit(c) || c == '-' && len(text) > 1 && isDigit(text[1]):
		return numeral(text)
	case strings.IndexByte("*,;=", c) >= 0:
		return token{symbol, text[:1]}, 1, nil
	}
	return token{}, 0, syntaxError("there is no " + strings.ToValidUTF8(text[:1], "\uFFFD") + " in it")
}

// quoted reads a text or a name up to its quote; two of them are one character.
func quoted(text string) (token, int, error) {
	quote := text[:1]
	var b strings.Builder
	at := 1
	for {
		i := strings.Index(text[at:], quote)
		if i < 0 {
			return token{}, 0, syntaxError("a " + quote + " has no end")
		}
		b.WriteString(text[at : at+i])
		at += i + 1
		if !strings.HasPrefix(text[at:], quote) {
			break
		}
		b.WriteString(quote)
		at++
	}
	if quote == `"` {
		return token{quotedName, b.String()}, at, nil
	}
	return token{literal, b.String()}, at, nil
}

// numeral reads a number as JSON has it.
func numeral(text string) (token, int, error) {
	n := 1 + run(text[1:], func(c byte) bool { return isDigit(c) || c == '.' })
	digits := strings.TrimPrefix(text[:n], "-")
	whole, fraction, hasFraction := strings.Cut(digits, ".")
	if len(whole) > 1 && whole[0] == '0' || hasFraction && (fraction == "" || strings.Contains(fraction, ".")) || n < len(text) && isLetter(text[n]) {
		return token{}, 0, syntaxError("a number is not one")
	}
	return token{number, text[:n]}, n, nil
}

func run(text string, belongs func(byte) bool) int {
	n := 0
	for n < len(text) && belongs(text[n]) {
		n++
	}
	return n
}

func isLetter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
