package expr

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenName
	tokenKeyword
	tokenNumber
	tokenText
	tokenSegment // the 0 of a.b.0
	tokenOp
)

// token is a word of the source. text is its spelling; a string's is its content.
type token struct {
	kind tokenKind
	at   int
	text string
}

// keywords are the words of Python that cannot be names. Those that expressions
// do not use have a reason in refused.
var keywords = []string{
	"False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else", "except",
	"finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
}

// operators, the longest first: also those that are refused, so that an error can name them.
var operators = []string{
	"**=", "//=", ">>=", "<<=", "...", "===", "!==",
	"**", "//", "==", "!=", "<=", ">=", "<>", "<<", ">>", ":=", "->", "&&", "||", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "@=", "=>", "??",
	"+", "-", "*", "/", "%", "<", ">", "(", ")", "[", "]", "{", "}", ",", ":", ".", "=", "&", "|", "^", "~", "@", ";", "!", "?", "`",
}

type lexer struct {
	source string
	at     int
	tokens []token
	err    error
}

func lex(source string) ([]token, error) {
	l := &lexer{source: source}
	for l.err == nil && l.next() {
	}
	if l.err != nil {
		return nil, l.err
	}
	return append(l.tokens, token{kind: tokenEnd, at: len(source)}), nil
}

func (l *lexer) fail(at int, why, fix string) {
	if l.err == nil {
		l.err = syntaxError(l.source, at, why, fix)
	}
}

func (l *lexer) add(kind tokenKind, at int, text string) {
	l.tokens = append(l.tokens, token{kind, at, text})
}

// last returns the token before, which is the end where there is none.
func (l *lexer) last() token {
	if len(l.tokens) == 0 {
		return token{}
	}
	return l.tokens[len(l.tokens)-1]
}

func (l *lexer) next() bool {
	l.space()
	if l.at >= len(l.source) {
		return false
	}
	c := l.source[l.at]
	switch {
	case c == '"' || c == '\'':
		l.text("")
	case isDigit(c) && l.follows("."):
		start := l.at
		for l.at < len(l.source) && isDigit(l.source[l.at]) {
			l.at++
		}
		l.add(tokenSegment, start, l.source[start:l.at])
		l.apart(start)
	case isDigit(c), c == '.' && l.at+1 < len(l.source) && isDigit(l.source[l.at+1]) && !l.afterValue():
		l.number()
	case c == '$' || c == '_' || c >= utf8.RuneSelf || isLetter(c):
		l.word()
	default:
		l.operator()
	}
	return true
}

// space skips white space, line ends and comments: an expression may span lines.
func (l *lexer) space() {
	for l.at < len(l.source) {
		switch c := l.source[l.at]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
			l.at++
		case c == '\\' && strings.HasPrefix(strings.TrimPrefix(l.source[l.at+1:], "\r"), "\n"):
			l.at += 2
		case c == '#':
			end := strings.IndexByte(l.source[l.at:], '\n')
			if end < 0 {
				end = len(l.source) - l.at
			}
			l.at += end
		default:
			return
		}
	}
}

func (l *lexer) follows(op string) bool {
	t := l.last()
	return t.kind == tokenOp && t.text == op
}

// afterValue says whether a . here begins a segment rather than a number.
func (l *lexer) afterValue() bool {
	switch t := l.last(); t.kind {
	case tokenName, tokenSegment, tokenText:
		return true
	case tokenOp:
		return t.text == ")" || t.text == "]" || t.text == "}"
	}
	return false
}

func (l *lexer) operator() {
	for _, op := range operators {
		if strings.HasPrefix(l.source[l.at:], op) {
			l.add(tokenOp, l.at, op)
			l.at += len(op)
			return
		}
	}
	r, _ := utf8.DecodeRuneInString(l.source[l.at:])
	l.fail(l.at, "the character "+quoteRune(r)+" means nothing here", "remove it, or put text into quotes")
}

func (l *lexer) word() {
	start := l.at
	if l.source[l.at] == '$' {
		l.at++
	}
	first := l.at
	for l.at < len(l.source) {
		r, n := utf8.DecodeRuneInString(l.source[l.at:])
		if r != '_' && !unicode.IsLetter(r) && (l.at == first || !unicode.IsDigit(r) && !unicode.Is(unicode.Mn, r) && !unicode.Is(unicode.Mc, r)) {
			break
		}
		l.at += n
	}
	word := l.source[start:l.at]
	switch {
	case l.at == first && first > start:
		l.fail(start, "a name is due after $", "write $input, $item, or a name of the scope")
	case l.at == first:
		r, _ := utf8.DecodeRuneInString(l.source[l.at:])
		l.fail(start, "the character "+quoteRune(r)+" means nothing here", "remove it, or put text into quotes")
	case l.at < len(l.source) && (l.source[l.at] == '\'' || l.source[l.at] == '"') && isPrefix(word):
		l.text(strings.ToLower(word))
	case !l.follows(".") && isKeyword(word):
		l.add(tokenKeyword, start, word)
	default:
		l.add(tokenName, start, word)
	}
}

func isKeyword(word string) bool {
	_, found := slices.BinarySearch(keywords, word)
	return found
}

// isPrefix says whether word before a quote makes it a special kind of string.
func isPrefix(word string) bool {
	switch strings.ToLower(word) {
	case "r", "u", "b", "f", "rb", "br", "rf", "fr", "t", "rt", "tr":
		return true
	}
	return false
}

// apart requires that a number ends where it seems to.
func (l *lexer) apart(start int) {
	if l.at >= len(l.source) {
		return
	}
	r, _ := utf8.DecodeRuneInString(l.source[l.at:])
	if r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) {
		l.fail(start, "this number runs into "+quoteRune(r), "separate them, or write an operator between")
	}
}

func (l *lexer) number() {
	start := l.at
	rest := strings.ToLower(l.source[l.at:min(l.at+2, len(l.source))])
	base := ""
	switch rest {
	case "0x":
		base = "0123456789abcdef_"
	case "0o":
		base = "01234567_"
	case "0b":
		base = "01_"
	}
	if base != "" {
		l.at += 2
		l.skip(base)
	} else {
		l.decimal()
	}
	if l.at < len(l.source) && l.source[l.at]|0x20 == 'j' {
		l.fail(start, "complex numbers are not allowed", "use a float")
		return
	}
	l.apart(start)
	l.add(tokenNumber, start, l.source[start:l.at])
}

func (l *lexer) decimal() {
	const digits = "0123456789_"
	l.skip(digits)
	if l.at < len(l.source) && l.source[l.at] == '.' {
		l.at++
		l.skip(digits)
	}
	if l.at < len(l.source) && l.source[l.at]|0x20 == 'e' {
		exponent := l.at + 1
		if exponent < len(l.source) && (l.source[exponent] == '+' || l.source[exponent] == '-') {
			exponent++
		}
		if exponent < len(l.source) && isDigit(l.source[exponent]) {
			l.at = exponent
			l.skip(digits)
		}
	}
}

func (l *lexer) skip(set string) {
	for l.at < len(l.source) && strings.IndexByte(set, l.source[l.at]|lowerBit(l.source[l.at])) >= 0 {
		l.at++
	}
}

// lowerBit makes a letter lower-case when it is or-ed with it, and leaves what is no letter.
func lowerBit(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return 0x20
	}
	return 0
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
