package template

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hexdag/hexdag/host/expr"
	"github.com/hexdag/hexdag/host/kernel"
)

// expression is one of hexDAG's with Jinja's filters and tests in it: each of these
// stands in the program as a name, which is looked up when it is needed.
type expression struct {
	source  string
	at      int      // where it stands in the template
	path    []string // of an expression that is nothing but a name and members; else nil
	program *expr.Program
	piped   []*piped
}

// piped is a value on its way through a filter or a test.
type piped struct {
	value  *expression
	filter *filter
	name   string
	args   []*expression // by the filter's parameters; nil is the default
	negate bool          // of a test: is not
}

// placeholder is the name of the i-th filter in a program.
const placeholder = "__piped_"

func (p *parser) expression(source string, at int) (*expression, error) {
	c := &compiler{parser: p}
	trimmed := strings.TrimLeft(source, " \t\r\n\f\v")
	at += len(source) - len(trimmed)
	return c.compile(strings.TrimRight(trimmed, " \t\r\n\f\v"), at, 0)
}

// compiler reads one expression.
type compiler struct {
	*parser
	filters int
}

func (c *compiler) compile(source string, at, depth int) (*expression, error) {
	switch {
	case source == "":
		return nil, c.fail(at, "an expression is due", "write one, such as a.b")
	case len(source) > maxExpression:
		return nil, c.place(at, beyond("an expression has %s bytes", len(source), maxExpression, "put large texts into data"))
	case depth > maxNesting:
		return nil, c.place(at, beyond("filters nest %s deep", depth, maxNesting, "use set for parts of it"))
	case strings.Contains(source, placeholder):
		return nil, c.fail(at, "names cannot contain "+placeholder, "choose another one")
	}
	e := &expression{source: source, at: at}
	rewritten, err := c.extract(e, depth)
	if err != nil {
		return nil, err
	}
	if e.program, err = expr.Compile(rewritten); err != nil {
		return nil, explain(c.source, e, err)
	}
	if len(e.piped) == 0 {
		e.path = pathOf(scan(source))
	}
	return e, nil
}

func (c *compiler) place(offset int, e *kernel.Error) error { return at(c.source, offset, e) }

// place of an error inside of an expression, as package expr writes it.
var inside = regexp.MustCompile(`^(?:line (\d+), )?column (\d+): `)

// explain words an error of package expr as one of the template: with its place in
// the template, and with the expression as it was written there.
func explain(source string, e *expression, err error) error {
	var cause *kernel.Error
	if !errors.As(err, &cause) {
		return err
	}
	offset, why := e.at, cause.Why
	if m := inside.FindStringSubmatch(why); m != nil {
		why = why[len(m[0]):]
		if len(e.piped) == 0 {
			offset += offsetOf(e.source, m[1], m[2])
		}
	}
	code := kernel.CodePipeline
	if cause.Code == kernel.CodeLimit {
		code = kernel.CodeLimit
	}
	return &kernel.Error{
		Code: code, What: "the template is wrong at " + position(source, offset),
		Why: kernel.Quote(e.source) + ": " + why, Fix: cause.Fix, Err: err,
	}
}

// offsetOf returns where a line and a column are, both from 1.
func offsetOf(source, line, column string) int {
	start := 0
	if n, err := strconv.Atoi(line); err == nil {
		for range n - 1 {
			start += strings.IndexByte(source[start:], '\n') + 1
		}
	}
	n, err := strconv.Atoi(column)
	if err != nil {
		return start
	}
	for i := range source[start:] {
		if n--; n == 0 {
			return start + i
		}
	}
	return len(source)
}

// extract replaces the filters and tests of an expression by names, from the left.
func (c *compiler) extract(e *expression, depth int) (string, error) {
	tokens := scan(e.source)
	for i := 0; i < len(tokens); i++ {
		p, length, err := c.pipe(e, tokens, i, depth)
		if err != nil {
			return "", err
		}
		if p == nil {
			continue
		}
		if c.filters++; c.filters > maxFilters {
			return "", c.place(e.at, beyond("an expression has %s filters and tests", c.filters, maxFilters, "use set for parts of it"))
		}
		start := operand(tokens, i)
		if start < 0 {
			return "", c.fail(e.at+tokens[i].at, "nothing stands before "+tokens[i].text, "write a value there, or put one into parentheses")
		}
		if inComprehension(tokens, i) {
			return "", c.fail(e.at+tokens[i].at, "a filter or a test inside of a comprehension cannot see its names", "use a function, such as upper(x), or a {% for %}")
		}
		first, last := tokens[start], tokens[i-1]
		operandSource := e.source[first.at : last.at+last.size]
		if p.value, err = c.operand(e, tokens[start:i], operandSource, first.at, depth); err != nil {
			return "", err
		}
		name := token{kind: word, at: first.at, text: placeholder + strconv.Itoa(len(e.piped))}
		name.size = tokens[i+length-1].at + tokens[i+length-1].size - first.at
		e.piped = append(e.piped, p)
		tokens = slices.Replace(tokens, start, i+length, name)
		i = start
	}
	return join(e.source, tokens), nil
}

// operand compiles what a filter is given, which may be what another one makes.
func (c *compiler) operand(e *expression, tokens []token, source string, at, depth int) (*expression, error) {
	if !slices.ContainsFunc(tokens, token.isPlaceholder) {
		return c.compile(source, e.at+at, depth+1)
	}
	o := &expression{source: source, at: e.at + at, piped: e.piped} // its placeholders are those of the whole
	var err error
	if o.program, err = expr.Compile(joinTokens(e.source, tokens)); err != nil {
		return nil, explain(c.source, o, err)
	}
	return o, nil
}

// pipe reads the filter or the test that starts at a token, if one does, and how
// many tokens it takes.
func (c *compiler) pipe(e *expression, tokens []token, i, depth int) (*piped, int, error) {
	switch {
	case tokens[i].is("|"):
		return c.filter(e, tokens, i, depth)
	case tokens[i].kind == word && tokens[i].text == "is" && (i == 0 || !tokens[i-1].is(".")):
		return c.test(e, tokens, i)
	}
	return nil, 0, nil
}

// test reads is name or is not name. The is of Python's None is left to it.
func (c *compiler) test(e *expression, tokens []token, i int) (*piped, int, error) {
	p := &piped{}
	length := 2
	if i+1 < len(tokens) && tokens[i+1].text == "not" {
		p.negate = true
		length++
	}
	if i+length > len(tokens) || tokens[i+length-1].kind != word {
		return nil, 0, nil
	}
	name := tokens[i+length-1]
	switch name.text {
	case "None", "True", "False":
		return nil, 0, nil
	}
	if p.name, p.filter = name.text, tests[name.text]; p.filter == nil {
		return nil, 0, c.fail(e.at+name.at, "there is no test "+kernel.Quote(name.text), kernel.DidYouMean(name.text, slices.Collect(maps.Keys(tests))))
	}
	return p, length, nil
}

func (c *compiler) filter(e *expression, tokens []token, i, depth int) (*piped, int, error) {
	if i+1 >= len(tokens) || tokens[i+1].kind != word {
		return nil, 0, c.fail(e.at+tokens[i].at, "a filter's name is due after |", "write one, such as | default('a'); for conditions write or")
	}
	name := tokens[i+1]
	p := &piped{name: name.text, filter: filters[name.text]}
	if p.filter == nil {
		return nil, 0, c.fail(e.at+name.at, "there is no filter "+kernel.Quote(name.text), kernel.DidYouMean(name.text, filterNames()))
	}
	p.args = make([]*expression, len(p.filter.params))
	if i+2 >= len(tokens) || !tokens[i+2].is("(") {
		return p, 2, c.complete(e, p, name)
	}
	end := closingBracket(tokens, i+2)
	if end < 0 {
		return nil, 0, c.fail(e.at+tokens[i+2].at, "the ( is never closed", "close it")
	}
	for n, arg := range splitArguments(tokens[i+3 : end]) {
		if err := c.argument(e, p, n, arg, depth); err != nil {
			return nil, 0, err
		}
	}
	return p, end + 1 - i, c.complete(e, p, name)
}

// argument reads an argument of a filter: a value, or name=value.
func (c *compiler) argument(e *expression, p *piped, n int, tokens []token, depth int) error {
	if len(tokens) == 0 {
		return c.fail(e.at, "an argument of "+p.name+" is empty", "write it, or remove the comma")
	}
	first := e.at + tokens[0].at
	if len(tokens) > 2 && tokens[0].kind == word && tokens[1].is("=") {
		n = slices.IndexFunc(p.filter.params, func(param param) bool { return param.name == tokens[0].text })
		if n < 0 {
			return c.fail(first, p.name+" has no argument "+kernel.Quote(tokens[0].text), p.filter.usage(p.name))
		}
		tokens = tokens[2:]
	}
	if n >= len(p.args) || p.args[n] != nil {
		return c.fail(first, "an argument too many for "+p.name, p.filter.usage(p.name))
	}
	last := tokens[len(tokens)-1]
	var err error
	p.args[n], err = c.compile(e.source[tokens[0].at:last.at+last.size], e.at+tokens[0].at, depth+1)
	return err
}

// complete requires the arguments that have no default.
func (c *compiler) complete(e *expression, p *piped, name token) error {
	for i, param := range p.filter.params {
		if p.args[i] == nil && param.fallback == "" {
			return c.fail(e.at+name.at, p.name+" lacks its argument "+param.name, p.filter.usage(p.name))
		}
	}
	return nil
}
