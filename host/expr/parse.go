package expr

import (
	"slices"

	"github.com/hexdag/hexdag/host/kernel"
)

// parser reads Python's expression grammar. The first thing that is wrong is kept
// in err, and makes what is left look like the end, so that every loop ends.
type parser struct {
	source string
	tokens []token
	next   int
	depth  int
	err    error
}

func parse(source string) (node, error) {
	tokens, err := lex(source)
	if err != nil {
		return nil, err
	}
	p := &parser{source: source, tokens: tokens}
	if p.peek().kind == tokenEnd {
		return nil, syntaxError(source, 0, "the expression is empty", "write one, such as a.b > 1")
	}
	n := p.expressions(tokenEnd, "")
	if t := p.peek(); t.kind != tokenEnd {
		p.unexpected(t)
	}
	return n, p.err
}

func (p *parser) fail(at int, why, fix string) node {
	if p.err == nil {
		p.err = syntaxError(p.source, at, why, fix)
	}
	p.next = len(p.tokens) - 1
	return &literal{at: 0}
}

func (p *parser) peek() token { return p.tokens[p.next] }

// ahead returns the token after the next.
func (p *parser) ahead() token { return p.tokens[min(p.next+1, len(p.tokens)-1)] }

func (p *parser) take() token {
	t := p.tokens[p.next]
	if t.kind != tokenEnd {
		p.next++
	}
	return t
}

func (p *parser) isOp(ops ...string) bool {
	t := p.peek()
	return t.kind == tokenOp && slices.Contains(ops, t.text)
}

func (p *parser) isWord(word string) bool {
	t := p.peek()
	return t.kind == tokenKeyword && t.text == word
}

// accept takes the next token if it is the operator op.
func (p *parser) accept(op string) bool {
	if p.isOp(op) {
		p.next++
		return true
	}
	return false
}

func (p *parser) acceptWord(word string) bool {
	if p.isWord(word) {
		p.next++
		return true
	}
	return false
}

func (p *parser) expect(op, after string, opened int) {
	if p.accept(op) {
		return
	}
	if t := p.peek(); t.kind != tokenEnd {
		p.unexpected(t)
		return
	}
	p.fail(opened, after+" is never closed", "close it with "+op)
}

// deeper counts a level of nesting; call the result when it is left.
func (p *parser) deeper() (leave func(), ok bool) {
	p.depth++
	if p.depth > maxDepth {
		p.fail(p.peek().at, "it nests deeper than the limit of "+grouped(maxDepth)+" levels", "split it into several expressions")
	}
	return func() { p.depth-- }, p.depth <= maxDepth
}

// expressions reads what is separated by commas: one, or a tuple.
func (p *parser) expressions(end tokenKind, closing string) node {
	start := p.peek().at
	first := p.expression()
	if !p.isOp(",") {
		return first
	}
	items := []node{first}
	for p.accept(",") {
		if t := p.peek(); t.kind == end || closing != "" && p.isOp(closing) {
			break
		}
		items = append(items, p.expression())
	}
	return &sequence{at: at(start), kind: kindTuple, items: items}
}

func (p *parser) expression() node {
	then := p.or()
	start := p.peek().at
	if !p.acceptWord("if") {
		return then
	}
	test := p.or()
	if !p.acceptWord("else") {
		return p.fail(p.peek().at, "else is due here", "write x if test else y")
	}
	leave, ok := p.deeper()
	defer leave()
	if !ok {
		return &literal{}
	}
	return &conditional{at: at(start), test: test, then: then, otherwise: p.expression()}
}

func (p *parser) or() node  { return p.logical("or", p.and) }
func (p *parser) and() node { return p.logical("and", p.not) }

func (p *parser) logical(word string, operand func() node) node {
	start := p.peek().at
	first := operand()
	if !p.isWord(word) {
		return first
	}
	l := &logical{at: at(start), and: word == "and", items: []node{first}}
	for p.acceptWord(word) {
		l.items = append(l.items, operand())
	}
	return l
}

func (p *parser) not() node {
	start := p.peek().at
	if !p.isWord("not") {
		return p.comparison()
	}
	leave, ok := p.deeper()
	defer leave()
	if !ok {
		return &literal{}
	}
	p.take()
	return &unary{at: at(start), op: 'n', of: p.not()}
}

func (p *parser) comparison() node {
	start := p.peek().at
	first := p.sum()
	c := &comparison{at: at(start), first: first}
	for {
		here := p.peek().at
		op := p.comparator()
		if op == "" {
			break
		}
		c.rest = append(c.rest, operand{at(here), op, p.sum()})
	}
	if len(c.rest) == 0 {
		return first
	}
	return c
}

func (p *parser) comparator() string {
	t := p.peek()
	switch {
	case p.isOp("==", "!=", "<", "<=", ">", ">="):
		p.take()
		return t.text
	case p.acceptWord("in"):
		return "in"
	case p.isWord("not") && p.ahead().kind == tokenKeyword && p.ahead().text == "in":
		p.take()
		p.take()
		return "not in"
	case p.acceptWord("is"):
		if p.acceptWord("not") {
			return "is not"
		}
		return "is"
	}
	return ""
}

func (p *parser) sum() node     { return p.chain(p.product, "+", "-") }
func (p *parser) product() node { return p.chain(p.signed, "*", "/", "//", "%") }

func (p *parser) chain(part func() node, ops ...string) node {
	start := p.peek().at
	first := part()
	if !p.isOp(ops...) {
		return first
	}
	b := &chain{at: at(start), first: first}
	for p.isOp(ops...) {
		t := p.take()
		b.rest = append(b.rest, operand{at(t.at), t.text, part()})
	}
	return b
}

func (p *parser) signed() node {
	t := p.peek()
	if !p.isOp("-", "+") {
		return p.power()
	}
	leave, ok := p.deeper()
	defer leave()
	if !ok {
		return &literal{}
	}
	p.take()
	return &unary{at: at(t.at), op: t.text[0], of: p.signed()}
}

func (p *parser) power() node {
	start := p.peek().at
	base := p.postfix()
	t := p.peek()
	if !p.accept("**") {
		return base
	}
	leave, ok := p.deeper()
	defer leave()
	if !ok {
		return &literal{}
	}
	return &chain{at: at(start), first: base, rest: []operand{{at(t.at), "**", p.signed()}}}
}

// postfix reads an atom and what follows it: .name, .0, [index] and .method().
func (p *parser) postfix() node {
	leave, ok := p.deeper()
	defer leave()
	if !ok {
		return &literal{}
	}
	n := p.atom()
	for {
		t := p.peek()
		switch {
		case p.accept("."):
			n = p.member(n)
		case p.accept("["):
			n = p.subscript(n, t.at)
		case p.isOp("("):
			return p.fail(t.at, "only functions and methods can be called, by their names", "write a name before the bracket: len(x), or x.get('k')")
		default:
			return n
		}
	}
}

func (p *parser) member(of node) node {
	t := p.take()
	switch {
	case t.kind == tokenSegment:
		return &attribute{at(t.at), of, t.text}
	case t.kind != tokenName || t.text[0] == '$':
		return p.fail(t.at, "a name or an index is due after the point", "write a.name or a.0; a['any text'] names every member")
	case !p.isOp("("):
		return &attribute{at(t.at), of, t.text}
	}
	if _, ok := methods[t.text]; !ok {
		return p.fail(t.at, "there is no method "+kernel.Quote(t.text), kernel.DidYouMean(t.text, methodNames()))
	}
	m := &method{at: at(t.at), of: of, name: t.text, arguments: p.arguments()}
	if p.err == nil {
		p.check(t.at, methods[t.text], m.arguments)
	}
	return m
}

func (p *parser) subscript(of node, opened int) node {
	n := p.index(of, opened)
	p.expect("]", "the [", opened)
	return n
}

func (p *parser) index(of node, opened int) node {
	var low node
	if !p.isOp(":") {
		low = p.expressions(tokenEnd, "]")
		if !p.isOp(":") {
			return &subscript{at(opened), of, low}
		}
	}
	p.take()
	s := &slice{at: at(opened), of: of, low: low}
	if !p.isOp(":", "]") {
		s.high = p.expression()
	}
	if p.accept(":") && !p.isOp("]") {
		s.step = p.expression()
	}
	return s
}

// arguments reads (a, b, name=c).
func (p *parser) arguments() arguments {
	opened := p.take().at
	var a arguments
	for p.err == nil && !p.isOp(")") {
		t := p.peek()
		switch {
		case p.isOp("*", "**"):
			p.fail(t.at, "arguments cannot be unpacked with "+t.text, "write each argument")
		case t.kind == tokenName && p.ahead().kind == tokenOp && p.ahead().text == "=":
			if slices.Contains(a.names, t.text) {
				p.fail(t.at, "the argument "+kernel.Quote(t.text)+" is given twice", "give it once")
			}
			p.take()
			p.take()
			a.names = append(a.names, t.text)
			a.values = append(a.values, p.expression())
		case len(a.names) > 0:
			p.fail(t.at, "an argument without a name follows one with a name", "put those with names last")
		default:
			a.values = append(a.values, p.expression())
		}
		if p.isWord("for") || p.isWord("async") {
			p.fail(p.peek().at, "generator expressions are not allowed", "put it into square brackets: sum([x for x in items])")
		}
		if !p.accept(",") {
			break
		}
	}
	p.expect(")", "the (", opened)
	return a
}
