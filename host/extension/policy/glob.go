package policy

import (
	"regexp"
	"strings"
)

// globRegexp returns a glob as a regular expression: * and ? match what is no delimiter, **
// anything, [abc], [!abc], [a-c] and [!a-c] one rune of a class, {a,b} either, and \ the
// rune behind it as it is.
func globRegexp(glob string, delimiters string) (string, error) {
	one := "."
	if delimiters != "" {
		one = "[^" + classOf(delimiters) + "]"
	}
	g := &globReader{rest: []rune(glob), one: one}
	g.out.WriteString("(?s)^")
	if err := g.read(0); err != nil {
		return "", err
	}
	g.out.WriteString("$")
	return g.out.String(), nil
}

// classOf returns runes as they stand in a class of a regular expression.
func classOf(runes string) string {
	var b strings.Builder
	for _, r := range runes {
		if strings.ContainsRune(`\]^-[`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

type globReader struct {
	rest []rune
	one  string // what ? matches
	out  strings.Builder
}

// next takes a rune, 0 at the end.
func (g *globReader) next() rune {
	if len(g.rest) == 0 {
		return 0
	}
	r := g.rest[0]
	g.rest = g.rest[1:]
	return r
}

func (g *globReader) peek() rune {
	if len(g.rest) == 0 {
		return 0
	}
	return g.rest[0]
}

// read reads to the end, or of alternatives to the brace.
func (g *globReader) read(depth int) error {
	for len(g.rest) > 0 {
		switch r := g.next(); r {
		case '*':
			if g.peek() == '*' {
				g.next()
				g.out.WriteString(".*")
			} else {
				g.out.WriteString(g.one + "*")
			}
		case '?':
			g.out.WriteString(g.one)
		case '[':
			if err := g.class(); err != nil {
				return err
			}
		case '{':
			g.out.WriteString("(?:")
			if err := g.read(depth + 1); err != nil {
				return err
			}
			g.out.WriteString(")")
		case '}':
			if depth > 0 {
				return nil
			}
			g.literal(r)
		case ',':
			if depth > 0 {
				g.out.WriteString("|")
			} else {
				g.literal(r)
			}
		case '\\':
			if len(g.rest) == 0 {
				return errGlob
			}
			g.literal(g.next())
		case 0:
			return errGlob
		default:
			g.literal(r)
		}
	}
	if depth > 0 {
		return errGlob
	}
	return nil
}

func (g *globReader) literal(r rune) { g.out.WriteString(regexp.QuoteMeta(string(r))) }

// class reads [abc] or [a-c], with or without a !.
func (g *globReader) class() error {
	g.out.WriteString("[")
	if g.peek() == '!' {
		g.next()
		g.out.WriteString("^")
	}
	if len(g.rest) > 1 && g.rest[1] == '-' {
		return g.between()
	}
	var runes []rune
	for {
		r := g.next()
		if r == ']' && len(runes) > 0 {
			g.out.WriteString(classOf(string(runes)) + "]")
			return nil
		}
		switch r {
		case '\\':
			r = g.next()
		case ']':
			return errGlob
		}
		if r == 0 {
			return errGlob
		}
		runes = append(runes, r)
	}
}

// between reads a-c], in which \ is a rune like any other.
func (g *globReader) between() error {
	low := g.next()
	g.next()
	high := g.next()
	if high < low || g.next() != ']' {
		return errGlob
	}
	g.out.WriteString(classOf(string(low)) + "-" + classOf(string(high)) + "]")
	return nil
}
