package template

import (
	"regexp"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// node is a part of a template: text, output, branch, loop or assignment.
type node interface{ isNode() }

// text is what stands between tags.
type text struct {
	at int
	s  string
}

// output is {{ value }}.
type output struct{ value *expression }

// branch is an if: the body of the first condition that holds; the last may have none.
type branch struct {
	conditions []*expression // nil for else
	bodies     [][]node
}

// loop is a for.
type loop struct {
	at      int
	names   []string
	items   *expression
	body    []node
	ifEmpty []node
}

// assignment is a set.
type assignment struct {
	at    int
	name  string
	value *expression
}

func (text) isNode()        {}
func (output) isNode()      {}
func (*branch) isNode()     {}
func (*loop) isNode()       {}
func (*assignment) isNode() {}

type parser struct {
	source string
	at     int
	depth  int
	trim   bool // the last tag ended with a -
}

func (p *parser) fail(at int, why, fix string) error { return wrong(p.source, at, why, fix) }

func (p *parser) parse() ([]node, error) {
	body, end, err := p.body(tag{})
	if err == nil && end.word != "" {
		err = p.fail(end.at, "{% "+kernel.Quote(end.word)+" %} ends nothing", "remove it, or open what it ends")
	}
	return body, err
}

// tag is a {% %}: its first word and what follows it.
type tag struct {
	at     int
	word   string
	rest   string
	restAt int
}

// ending are the tags that end a body.
var ending = map[string]bool{"elif": true, "else": true, "endif": true, "endfor": true}

// opened names a tag that is open, for an error.
func (p *parser) opened(t tag) string {
	return "the {% " + t.word + " %} of " + position(p.source, t.at)
}

// body reads the nodes after a tag, until one that ends them or the end of the text.
func (p *parser) body(of tag) ([]node, tag, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, tag{}, at(p.source, p.at, beyond("the template's tags nest %s deep", p.depth, maxNesting, "nest them less"))
	}
	defer func() { p.depth-- }()
	var nodes []node
	for {
		start := p.at
		literal, open := p.literal()
		if literal != "" {
			nodes = append(nodes, text{start, literal})
		}
		start = p.at
		var n node
		var err error
		switch open {
		case "":
			if p.depth > 1 {
				err = p.fail(len(p.source), p.opened(of)+" has no end", "close it")
			}
			return nodes, tag{}, err
		case "{#":
			err = p.comment()
		case "{{":
			n, err = p.output()
		default:
			var t tag
			if t, err = p.tag(); err != nil {
				break
			}
			t.at = start
			if ending[t.word] {
				return nodes, t, nil
			}
			n, err = p.statement(t)
		}
		if err != nil {
			return nil, tag{}, err
		}
		if n != nil {
			nodes = append(nodes, n)
		}
	}
}

// literal reads the text up to the next tag, and returns what opens that.
func (p *parser) literal() (literal, open string) {
	rest := p.source[p.at:]
	end := 0
	for {
		i := strings.IndexByte(rest[end:], '{')
		if i < 0 || end+i+1 >= len(rest) {
			end = len(rest)
			break
		}
		end += i
		if c := rest[end+1]; c == '{' || c == '%' || c == '#' {
			open = rest[end : end+2]
			break
		}
		end++
	}
	p.at += end
	return p.trimmed(rest[:end], open != "" && strings.HasPrefix(rest[end+2:], "-")), open
}

// trimmed applies the - of the tag before and of the tag after a text.
func (p *parser) trimmed(literal string, after bool) string {
	const white = " \t\r\n\f\v"
	if p.trim {
		literal = strings.TrimLeft(literal, white)
	}
	if after {
		literal = strings.TrimRight(literal, white)
	}
	p.trim = false
	return literal
}

func (p *parser) comment() error {
	end := strings.Index(p.source[p.at+2:], "#}")
	if end < 0 {
		return p.fail(p.at, "the comment has no end", "close it with #}")
	}
	inside := p.source[p.at+2 : p.at+2+end]
	p.at += end + 4
	p.trim = strings.HasSuffix(inside, "-")
	return nil
}

// inside returns what a tag holds and where that starts, and goes on after it.
func (p *parser) inside(closing string) (string, int, error) {
	open := p.at
	start := p.at + 2
	if strings.HasPrefix(p.source[start:], "-") {
		start++
	}
	end := closingTag(p.source, start, closing)
	if end < 0 {
		return "", 0, p.fail(open, p.source[open:open+2]+" has no "+closing, "close it; quotes and brackets in it have to be closed, too")
	}
	p.at = end + 2
	if p.trim = end > start && p.source[end-1] == '-'; p.trim {
		end--
	}
	return p.source[start:end], start, nil
}

// closingTag returns where a tag ends that holds source from start on, or -1: not
// inside of quotes or brackets.
func closingTag(source string, start int, closing string) int {
	depth := 0
	for i := start; i < len(source); i++ {
		switch c := source[i]; c {
		case '\'', '"':
			if i = skipText(source, i); i < 0 {
				return -1
			}
			i--
		case '(', '[', '{':
			depth++
		case ')', ']', '}', '%':
			if depth <= 0 && strings.HasPrefix(source[i:], closing) {
				return i
			}
			if c != '%' {
				depth--
			}
		}
	}
	return -1
}

// skipText returns where the text ends that starts with a quote at i, or -1.
func skipText(source string, i int) int {
	quote := source[i : i+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(source[i:], triple) {
		quote = triple
	}
	for i += len(quote); i < len(source); i++ {
		if source[i] == '\\' {
			i++
		} else if strings.HasPrefix(source[i:], quote) {
			return i + len(quote)
		}
	}
	return -1
}

func (p *parser) output() (node, error) {
	inside, start, err := p.inside("}}")
	if err != nil {
		return nil, err
	}
	value, err := p.expression(inside, start)
	return output{value}, err
}

var firstWord = regexp.MustCompile(`^\s*([A-Za-z_]*)`)

func (p *parser) tag() (tag, error) {
	inside, start, err := p.inside("%}")
	if err != nil {
		return tag{}, err
	}
	m := firstWord.FindStringSubmatchIndex(inside)
	return tag{word: inside[m[2]:m[3]], rest: inside[m[3]:], restAt: start + m[3]}, nil
}

// tagWords are the tags that can open.
var tagWords = []string{"if", "for", "set", "raw"}

func (p *parser) statement(t tag) (node, error) {
	switch t.word {
	case "if":
		return p.branch(t)
	case "for":
		return p.loop(t)
	case "set":
		return p.assignment(t)
	case "raw":
		return p.raw(t)
	}
	why := "there is no tag " + kernel.Quote(t.word)
	switch t.word {
	case "":
		why = "a tag begins with a word"
	case "include", "import", "from", "extends", "block":
		why += ": a template reads no other one"
	case "macro", "call", "filter", "do", "with", "autoescape", "break", "continue":
		why += " in this part of Jinja2"
	case "endraw", "endset":
		return nil, p.fail(t.at, "{% "+t.word+" %} ends nothing", "remove it")
	}
	return nil, p.fail(t.at, why, kernel.DidYouMean(t.word, tagWords))
}

// bare requires that nothing follows a tag's word.
func (p *parser) bare(t tag) error {
	if strings.TrimSpace(t.rest) != "" {
		return p.fail(t.restAt, kernel.Quote(strings.TrimSpace(t.rest))+" follows {% "+t.word, "remove it")
	}
	return nil
}

func (p *parser) branch(t tag) (node, error) {
	b := &branch{}
	first := t
	for {
		var condition *expression
		var err error
		if t.word == "else" {
			err = p.bare(t)
		} else {
			condition, err = p.expression(t.rest, t.restAt)
		}
		if err != nil {
			return nil, err
		}
		last := t.word == "else"
		var body []node
		if body, t, err = p.body(first); err != nil {
			return nil, err
		}
		b.conditions, b.bodies = append(b.conditions, condition), append(b.bodies, body)
		switch {
		case t.word == "endif":
			return b, p.bare(t)
		case t.word == "endfor" || last:
			return nil, p.fail(t.at, "{% "+t.word+" %} stands where {% endif %} is due", "close "+p.opened(first))
		}
	}
}

var forHead = regexp.MustCompile(`^\s*([A-Za-z_][A-Za-z0-9_]*(?:\s*,\s*[A-Za-z_][A-Za-z0-9_]*)*)\s+in\b`)

func (p *parser) loop(t tag) (node, error) {
	m := forHead.FindStringSubmatchIndex(t.rest)
	if m == nil {
		return nil, p.fail(t.at, "a for names what it goes over", "write {% for item in items %}, or {% for key, value in object.items() %}")
	}
	l := &loop{at: t.at}
	for name := range strings.SplitSeq(t.rest[m[2]:m[3]], ",") {
		l.names = append(l.names, strings.TrimSpace(name))
	}
	for _, name := range l.names {
		if err := p.assignable(name, t.restAt); err != nil {
			return nil, err
		}
	}
	first := t
	var err error
	if l.items, err = p.expression(t.rest[m[1]:], t.restAt+m[1]); err != nil {
		return nil, err
	}
	if l.body, t, err = p.body(first); err != nil {
		return nil, err
	}
	if t.word == "else" {
		if err := p.bare(t); err != nil {
			return nil, err
		}
		if l.ifEmpty, t, err = p.body(first); err != nil {
			return nil, err
		}
	}
	if t.word != "endfor" {
		return nil, p.fail(t.at, "{% "+t.word+" %} stands where {% endfor %} is due", "close "+p.opened(first))
	}
	return l, p.bare(t)
}

// assignable refuses the names that mean something already.
func (p *parser) assignable(name string, at int) error {
	switch name {
	case "loop", "true", "false", "none", "True", "False", "None":
		return p.fail(at, name+" cannot be set", "choose another name")
	}
	return nil
}

var setHead = regexp.MustCompile(`^\s*([A-Za-z_][A-Za-z0-9_]*)\s*=`)

func (p *parser) assignment(t tag) (node, error) {
	m := setHead.FindStringSubmatchIndex(t.rest)
	if m == nil {
		return nil, p.fail(t.at, "a set gives one name a value", "write {% set name = value %}")
	}
	name := t.rest[m[2]:m[3]]
	if err := p.assignable(name, t.restAt); err != nil {
		return nil, err
	}
	value, err := p.expression(t.rest[m[1]:], t.restAt+m[1])
	return &assignment{at: t.at, name: name, value: value}, err
}

var endRaw = regexp.MustCompile(`\{%(-?)\s*endraw\s*(-?)%\}`)

func (p *parser) raw(t tag) (node, error) {
	if err := p.bare(t); err != nil {
		return nil, err
	}
	m := endRaw.FindStringSubmatchIndex(p.source[p.at:])
	if m == nil {
		return nil, p.fail(t.at, "{% raw %} has no {% endraw %}", "close it")
	}
	rest := p.source[p.at:]
	literal := text{p.at, p.trimmed(rest[:m[0]], m[2] < m[3])}
	p.at += m[1]
	p.trim = m[4] < m[5]
	return literal, nil
}
