package main

import (
	"strconv"
	"strings"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
)

// statement is a SELECT as the database port can do it.
type statement struct {
	columns    []string // none means all
	table      string
	where      []condition
	orderBy    string
	descending bool
	limit      int64
}

type condition struct {
	column string
	value  hexdag.Value
}

type syntaxError string

func (e syntaxError) Error() string {
	return string(e) + "; there is SELECT * or columns FROM one table WHERE column = literal AND ... ORDER BY column DESC LIMIT n, and nothing more: no joins, functions, OR, LIKE, < or >"
}

// parser reads a statement token by token. After an error it reads nothing more.
type parser struct {
	tokens []token
	at     int
	err    error
}

func (p *parser) fail(text string) {
	if p.err == nil {
		p.err = syntaxError(text)
	}
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != end {
		p.at++
	}
	return t
}

// keyword takes a keyword or symbol, if it is what comes.
func (p *parser) keyword(text string) bool {
	t := p.peek()
	if t.kind == name && strings.EqualFold(t.text, text) || t.kind == symbol && t.text == text {
		p.next()
		return true
	}
	return false
}

func (p *parser) expect(text string) {
	if !p.keyword(text) {
		p.fail(text + " is expected where " + p.peek().String() + " is")
	}
}

var keywords = []string{"select", "from", "where", "and", "or", "order", "by", "limit", "as", "join", "group", "having", "not", "union", "distinct", "in", "like", "is", "between", "null", "offset"}

func (p *parser) name() string {
	t := p.next()
	reserved := false
	for _, k := range keywords {
		reserved = reserved || strings.EqualFold(k, t.text)
	}
	if t.kind != quotedName && (t.kind != name || reserved) {
		p.fail("a name is expected where " + t.String() + " is")
	}
	return t.text
}

func parse(text string) (*statement, error) {
	tokens, err := scan(text)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	s := &statement{}
	p.expect("SELECT")
	if !p.keyword("*") {
		s.columns = append(s.columns, p.name())
		for p.err == nil && p.keyword(",") {
			s.columns = append(s.columns, p.name())
		}
	}
	p.expect("FROM")
	s.table = p.name()
	p.clauses(s)
	p.keyword(";")
	if p.peek().kind != end {
		p.fail("the statement goes on with " + p.peek().String())
	}
	return s, p.err
}

func (p *parser) clauses(s *statement) {
	if p.keyword("WHERE") {
		p.condition(s)
		for p.err == nil && p.keyword("AND") {
			p.condition(s)
		}
	}
	if p.keyword("ORDER") {
		p.expect("BY")
		s.orderBy = p.name()
		s.descending = p.keyword("DESC")
		if !s.descending {
			p.keyword("ASC")
		}
	}
	if p.keyword("LIMIT") {
		t := p.next()
		n, err := strconv.ParseInt(t.text, 10, 32)
		if t.kind != number || err != nil || n < 1 {
			p.fail("LIMIT is followed by " + t.String() + ", and not by a positive integer")
		}
		s.limit = n
	}
}

func (p *parser) condition(s *statement) {
	c := condition{column: p.name()}
	p.expect("=")
	t := p.next()
	switch {
	case t.kind == number:
		c.value = hexdag.Value{Kind: hexdag.KindNumber, Text: t.text}
	case t.kind == literal:
		c.value = hexdag.Value{Kind: hexdag.KindString, Text: t.text}
	case t.kind == name && (strings.EqualFold(t.text, "true") || strings.EqualFold(t.text, "false")):
		c.value = hexdag.Value{Kind: hexdag.KindBool, Text: strings.ToLower(t.text)}
	default:
		p.fail("a literal is expected where " + t.String() + " is")
	}
	for _, other := range s.where {
		if other.column == c.column {
			p.fail("WHERE names the column " + c.column + " twice")
		}
	}
	s.where = append(s.where, c)
}
