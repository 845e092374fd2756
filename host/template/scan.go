package template

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind uint8

const (
	word kind = iota // a name or a keyword
	number
	quoted
	operator
)

// token is a word of an expression. at and size are where it stands in the source.
type token struct {
	kind     kind
	at, size int
	text     string
}

func (t token) is(operatorText string) bool { return t.kind == operator && t.text == operatorText }

func (t token) isPlaceholder() bool {
	return t.kind == word && strings.HasPrefix(t.text, placeholder)
}

// operators of more than one character that matter here: a single = is one of a
// filter's arguments.
var long = []string{"==", "!=", "<=", ">=", "**", "//"}

// scan splits an expression into words. It takes anything: what is no expression is
// found when it is compiled.
func scan(source string) []token {
	var tokens []token
	for i := 0; i < len(source); {
		start := i
		r, n := utf8.DecodeRuneInString(source[i:])
		k := operator
		switch {
		case unicode.IsSpace(r):
			i += n
			continue
		case r == '\'' || r == '"':
			k = quoted
			if i = skipText(source, i); i < 0 {
				i = len(source)
			}
		case r >= '0' && r <= '9':
			k = number
			afterDot := len(tokens) > 0 && tokens[len(tokens)-1].is(".")
			for i < len(source) && (isWordByte(source[i]) || source[i] == '.' && !afterDot) {
				i++
			}
		case r == '$' || r == '_' || unicode.IsLetter(r):
			k = word
			for i += n; i < len(source); i += n {
				if r, n = utf8.DecodeRuneInString(source[i:]); r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) {
					break
				}
			}
		default:
			i += n
			for _, op := range long {
				if strings.HasPrefix(source[start:], op) {
					i = start + len(op)
				}
			}
		}
		tokens = append(tokens, token{kind: k, at: start, size: i - start, text: source[start:i]})
	}
	return tokens
}

func isWordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// join is the source with its placeholders in it.
func join(source string, tokens []token) string {
	var b strings.Builder
	end := 0
	for _, t := range tokens {
		b.WriteString(source[min(end, t.at):t.at])
		b.WriteString(t.text)
		end = t.at + t.size
	}
	b.WriteString(source[min(end, len(source)):])
	return b.String()
}

// joinTokens is join for a part of the source.
func joinTokens(source string, tokens []token) string {
	first, last := tokens[0], tokens[len(tokens)-1]
	part := make([]token, len(tokens))
	for i, t := range tokens {
		t.at -= first.at
		part[i] = t
	}
	return join(source[first.at:last.at+last.size], part)
}

// keywords end an operand, and are none.
var keywords = map[string]bool{"and": true, "or": true, "not": true, "in": true, "is": true, "if": true, "else": true, "for": true}

// endsOperand reports whether a token can be the last of a value.
func (t token) endsOperand() bool {
	switch t.kind {
	case operator:
		return t.text == ")" || t.text == "]" || t.text == "}"
	case word:
		return !keywords[t.text]
	}
	return true
}

// operand returns where the value starts that ends before token end, or -1: a name,
// a literal or brackets, the members, calls and subscripts after it, and a sign.
func operand(tokens []token, end int) int {
	i := end - 1
	for {
		if i < 0 || !tokens[i].endsOperand() {
			return -1
		}
		if tokens[i].kind == operator {
			opening := openingBracket(tokens, i)
			if opening < 0 {
				return -1
			}
			i = opening
			if !tokens[i].is("{") && i > 0 && tokens[i-1].endsOperand() {
				i--
				continue
			}
		}
		if i > 0 && tokens[i].kind == quoted && tokens[i-1].kind == word && tokens[i-1].at+tokens[i-1].size == tokens[i].at {
			i-- // the r of r'...'
		}
		if i > 0 && tokens[i-1].is(".") && tokens[i].kind != operator {
			i -= 2
			continue
		}
		break
	}
	if i > 0 && (tokens[i-1].is("-") || tokens[i-1].is("+")) && (i == 1 || !tokens[i-2].endsOperand()) {
		i--
	}
	return i
}

// openingBracket returns the token that a closing bracket belongs to, or -1.
func openingBracket(tokens []token, closing int) int {
	depth := 0
	for i := closing; i >= 0; i-- {
		switch {
		case tokens[i].is(")") || tokens[i].is("]") || tokens[i].is("}"):
			depth++
		case tokens[i].is("(") || tokens[i].is("[") || tokens[i].is("{"):
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// closingBracket returns the token that closes an opening bracket, or -1.
func closingBracket(tokens []token, opening int) int {
	depth := 0
	for i := opening; i < len(tokens); i++ {
		switch {
		case tokens[i].is("(") || tokens[i].is("[") || tokens[i].is("{"):
			depth++
		case tokens[i].is(")") || tokens[i].is("]") || tokens[i].is("}"):
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// splitArguments splits tokens at the commas outside of brackets.
func splitArguments(tokens []token) [][]token {
	if len(tokens) == 0 {
		return nil
	}
	var args [][]token
	depth, start := 0, 0
	for i, t := range tokens {
		switch {
		case t.is("(") || t.is("[") || t.is("{"):
			depth++
		case t.is(")") || t.is("]") || t.is("}"):
			depth--
		case t.is(",") && depth == 0:
			args = append(args, tokens[start:i])
			start = i + 1
		}
	}
	return append(args, tokens[start:])
}

// inComprehension reports whether brackets around token i hold a for of their own.
func inComprehension(tokens []token, i int) bool {
	type bracket struct{ hasFor bool }
	var open, around []*bracket
	for at, t := range tokens {
		if at == i {
			around = append(around, open...)
		}
		switch {
		case t.is("(") || t.is("[") || t.is("{"):
			open = append(open, &bracket{})
		case (t.is(")") || t.is("]") || t.is("}")) && len(open) > 0:
			open = open[:len(open)-1]
		case t.kind == word && t.text == "for" && len(open) > 0:
			open[len(open)-1].hasFor = true
		}
	}
	for _, b := range around {
		if b.hasFor {
			return true
		}
	}
	return false
}

// pathOf returns the name and the members that an expression consists of, or nil
// if it is anything else: a.b, a.0, a['b'], a[0].
func pathOf(tokens []token) []string {
	if len(tokens) == 0 || tokens[0].kind != word || keywords[tokens[0].text] {
		return nil
	}
	switch tokens[0].text {
	case "True", "False", "None":
		return nil
	}
	path := []string{tokens[0].text}
	for rest := tokens[1:]; len(rest) > 0; {
		switch {
		case len(rest) >= 2 && rest[0].is(".") && (rest[1].kind == word || rest[1].kind == number):
			path, rest = append(path, rest[1].text), rest[2:]
		case len(rest) >= 3 && rest[0].is("[") && rest[2].is("]") && (rest[1].kind == number || rest[1].isPlainText()):
			path, rest = append(path, strings.Trim(rest[1].text, `'"`)), rest[3:]
		default:
			return nil
		}
	}
	return path
}

// isPlainText reports whether a text is what stands between its quotes.
func (t token) isPlainText() bool {
	return t.kind == quoted && len(t.text) >= 2 && !strings.ContainsAny(t.text[1:len(t.text)-1], `\'"`)
}
