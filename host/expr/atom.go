package expr

import (
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

func (p *parser) atom() node {
	t := p.peek()
	switch t.kind {
	case tokenNumber:
		p.take()
		v, why := numberLiteral(t.text)
		if why != "" {
			return p.fail(t.at, why, "write a plain number, such as 1000, 0xff or 2.5e3")
		}
		return &literal{at(t.at), v}
	case tokenText:
		return p.strings()
	case tokenName:
		p.take()
		if p.isOp("(") {
			return p.call(t)
		}
		return &name{at(t.at), t.text}
	case tokenKeyword:
		return p.constant(t)
	}
	switch {
	case p.accept("("):
		return p.group(t.at)
	case p.accept("["):
		return p.list(t.at)
	case p.accept("{"):
		return p.braces(t.at)
	}
	return p.unexpected(t)
}

func (p *parser) constant(t token) node {
	switch t.text {
	case "None":
		p.take()
		return &literal{at(t.at), null}
	case "True", "False":
		p.take()
		return &literal{at(t.at), boolValue(t.text == "True")}
	}
	return p.unexpected(t)
}

// strings reads one string, or several in a row, which are one.
func (p *parser) strings() node {
	start := p.peek().at
	var all []string
	for p.peek().kind == tokenText {
		all = append(all, p.take().text)
	}
	return &literal{at(start), textValue(strings.Join(all, ""))}
}

func (p *parser) call(t token) node {
	f, ok := functions[t.text]
	if !ok {
		return p.fail(t.at, "there is no function "+kernel.Quote(t.text), kernel.DidYouMean(t.text, Functions()))
	}
	c := &call{at: at(t.at), function: t.text, arguments: p.arguments()}
	if p.err == nil {
		p.check(t.at, f, c.arguments)
	}
	return c
}

// check compares arguments with what a function takes, which is known before anything runs.
func (p *parser) check(at int, f *function, a arguments) {
	if why := f.check(len(a.values)-len(a.names), a.names); why != "" {
		p.fail(at, why, "it is "+f.signature)
	}
}

func (p *parser) group(opened int) node {
	if p.accept(")") {
		return &sequence{at: at(opened), kind: kindTuple}
	}
	n := p.expressions(tokenEnd, ")")
	if p.isWord("for") {
		return p.fail(p.peek().at, "generator expressions are not allowed", "put it into square brackets: [x for x in items]")
	}
	p.expect(")", "the (", opened)
	return n
}

func (p *parser) list(opened int) node {
	l := &sequence{at: at(opened), kind: kindList}
	for p.err == nil && !p.isOp("]") {
		l.items = append(l.items, p.expression())
		if len(l.items) == 1 && p.isWord("for") {
			c := &comprehension{at: at(opened), kind: kindList, value: l.items[0], clauses: p.clauses()}
			p.expect("]", "the [", opened)
			return c
		}
		if !p.accept(",") {
			break
		}
	}
	p.expect("]", "the [", opened)
	return l
}

// braces reads a dict, or a dict or set comprehension.
func (p *parser) braces(opened int) node {
	d := &mapping{at: at(opened)}
	for p.err == nil && !p.isOp("}") {
		if p.isOp("**") {
			return p.fail(p.peek().at, "dicts cannot be unpacked with **", "name each member")
		}
		key := p.expression()
		if p.isWord("for") && len(d.keys) == 0 {
			return p.comprehension(&comprehension{at: at(opened), kind: kindSet, value: key})
		}
		if !p.accept(":") {
			if p.isOp(",", "}") {
				return p.fail(opened, "set literals are not allowed", "write set([1, 2])")
			}
			return p.unexpected(p.peek())
		}
		d.keys, d.values = append(d.keys, key), append(d.values, p.expression())
		if p.isWord("for") && len(d.keys) == 1 {
			return p.comprehension(&comprehension{at: at(opened), kind: kindDict, key: key, value: d.values[0]})
		}
		if !p.accept(",") {
			break
		}
	}
	p.expect("}", "the {", opened)
	return d
}

func (p *parser) comprehension(c *comprehension) node {
	c.clauses = p.clauses()
	p.expect("}", "the {", c.pos())
	return c
}

func (p *parser) clauses() []clause {
	var all []clause
	for p.acceptWord("for") {
		c := clause{target: p.targets()}
		if !p.acceptWord("in") && p.err == nil {
			p.unexpected(p.peek())
		}
		c.in = p.or()
		for p.acceptWord("if") {
			c.ifs = append(c.ifs, p.or())
		}
		all = append(all, c)
	}
	return all
}

// targets reads x, or x, y, with or without brackets.
func (p *parser) targets() target {
	first := p.target()
	if !p.isOp(",") {
		return first
	}
	all := target{parts: []target{first}}
	for p.accept(",") && !p.isWord("in") && !p.isOp(")", "]") {
		all.parts = append(all.parts, p.target())
	}
	return all
}

func (p *parser) target() target {
	leave, ok := p.deeper()
	defer leave()
	t := p.take()
	switch {
	case !ok:
	case t.kind == tokenName && t.text[0] != '$':
		return target{name: t.text}
	case t.kind == tokenOp && (t.text == "(" || t.text == "["):
		closing := map[string]string{"(": ")", "[": "]"}[t.text]
		inner := p.targets()
		p.expect(closing, "the "+t.text, t.at)
		if t.text == "[" && inner.name != "" {
			inner = target{parts: []target{inner}}
		}
		return inner
	default:
		p.fail(t.at, "a loop's variable is a plain name", "write for x in items, or for x, y in pairs")
	}
	return target{}
}
